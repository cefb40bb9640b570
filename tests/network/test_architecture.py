import pytest

from nstjax.errors import UserError
from nstjax.network.architecture import VGG16, VGG19, Architecture, Layer, deepest, layer, smallest_side


def test_sixteen_convolutions_and_five_poolings():
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
def test_every_name_of_a_layer(name, expected):
    assert layer(name) == expected


@pytest.mark.parametrize("name", ["relu1_3", "conv6_1", "block2_conv3", "pool6", "Relu1_1", "relu1_1 ", ""])
def test_unknown_layers_are_refused(name):
    with pytest.raises(UserError, match="no layer"):
        layer(name)


def test_vgg16_lacks_three_of_vgg19s_convolutions():
    assert len(VGG16.convolutions) == 13
    assert {*VGG19.sequence} - {*VGG16.sequence} == {"block3_conv4", "block4_conv4", "block5_conv4"}
    assert [name for name in VGG19.sequence if name in VGG16.sequence] == [*VGG16.sequence]
    assert VGG16.convolutions_to("relu3_1") == VGG16.convolutions[:5]
    assert VGG16.convolutions_to("pool3") == VGG16.convolutions[:7]
    with pytest.raises(UserError, match="VGG16 has no layer conv3_4, VGG19 has"):
        VGG16.convolutions_to("conv3_4")
    # The same table, column D: 14,714,688 parameters.
    assert sum(9 * i * o + o for *_, i, o in map(VGG16.kernel_shape, VGG16.convolutions)) == 14_714_688


@pytest.mark.parametrize("blocks", [(), ((5, 64),), ((1, 0),), ((2, 64),) * 6, ((0, 64),)])
def test_blocks_that_no_name_of_a_layer_reaches_are_refused(blocks):
    with pytest.raises(UserError, match="one to five blocks of one to four convolutions"):
        Architecture("another", blocks)


def test_parameters_add_up_to_vgg19s():
    # Simonyan and Zisserman, table 2, less the three dense layers: 20,024,384 parameters.
    assert sum(9 * i * o + o for *_, i, o in map(VGG19.kernel_shape, VGG19.convolutions)) == 20_024_384


def test_deepest_and_smallest_side():
    assert deepest(["relu1_1", "pool2", "conv2_2"]) == "block2_pool"
    assert deepest(["input"]) is None
    assert smallest_side(["relu1_2", "input"]) == 1
    assert smallest_side(["relu5_4"]) == 16
    assert smallest_side(["pool5"]) == 32
