import pytest

from nstjax.errors import UserError
from nstjax.network.architecture import (
    VGG16,
    VGG19,
    Architecture,
    Layer,
    find_deepest_step,
    find_smallest_side,
    parse_layer,
)


def count_parameters(architecture):
    shapes = map(architecture.kernel_shape, architecture.convolutions)
    return sum(9 * channels_in * channels_out + channels_out for *_, channels_in, channels_out in shapes)


def test_vgg19_has_sixteen_convolutions_and_five_poolings():
    assert len(VGG19.convolutions) == 16
    assert len(VGG19.sequence) == 21
    assert VGG19.sequence[:4] == ("block1_conv1", "block1_conv2", "block1_pool", "block2_conv1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("block4_conv2", Layer("block4_conv2")),
        ("relu4_2", Layer("block4_conv2")),
        ("conv4_2", Layer("block4_conv2", before_relu=True)),
        ("pool3", Layer("block3_pool")),
        ("block3_pool", Layer("block3_pool")),
    ],
)
def test_layers_are_parsed_from_all_forms_of_their_names(name, expected):
    assert parse_layer(name) == expected


@pytest.mark.parametrize("name", ["relu1_3", "conv6_1", "block2_conv3", "pool6", "Relu1_1", "relu1_1 ", ""])
def test_unknown_layers_are_refused(name):
    with pytest.raises(UserError, match="no layer"):
        parse_layer(name)


def test_vgg16_is_vgg19_without_three_convolutions():
    assert len(VGG16.convolutions) == 13
    assert {*VGG19.sequence} - {*VGG16.sequence} == {"block3_conv4", "block4_conv4", "block5_conv4"}
    assert [name for name in VGG19.sequence if name in VGG16.sequence] == [*VGG16.sequence]
    assert VGG16.convolutions_to("relu3_1") == VGG16.convolutions[:5]
    assert VGG16.convolutions_to("pool3") == VGG16.convolutions[:7]
    with pytest.raises(UserError, match="VGG16 has no layer conv3_4, but VGG19 has: use its weights"):
        VGG16.convolutions_to("conv3_4")
    # Simonyan and Zisserman, table 2, without the three dense layers: 14,714,688 parameters.
    assert count_parameters(VGG16) == 14_714_688


@pytest.mark.parametrize("blocks", [(), ((5, 64),), ((1, 0),), ((2, 64),) * 6, ((0, 64),)])
def test_blocks_that_layer_names_cannot_address_are_refused(blocks):
    with pytest.raises(UserError, match="one to five blocks of one to four convolutions"):
        Architecture("another", blocks)


def test_vgg19_has_the_published_number_of_parameters():
    # Simonyan and Zisserman, table 2, without the three dense layers: 20,024,384 parameters.
    assert count_parameters(VGG19) == 20_024_384


def test_find_deepest_step_and_smallest_side():
    assert find_deepest_step(["relu1_1", "pool2", "conv2_2"]) == "block2_pool"
    assert find_deepest_step(["input"]) is None
    assert find_smallest_side(["relu1_2", "input"]) == 1
    assert find_smallest_side(["relu5_4"]) == 16
    assert find_smallest_side(["pool5"]) == 32
