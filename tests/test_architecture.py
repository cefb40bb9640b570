import pytest

from nstjax.architecture import (
    CONVOLUTIONS,
    SEQUENCE,
    Layer,
    deepest,
    kernel_shape,
    layer,
    smallest_side,
)
from nstjax.errors import UserError


def test_sixteen_convolutions_and_five_poolings():
    assert len(CONVOLUTIONS) == 16
    assert len(SEQUENCE) == 21
    assert SEQUENCE[:4] == ("block1_conv1", "block1_conv2", "block1_pool", "block2_conv1")


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


def test_parameters_add_up_to_vgg19s():
    # Simonyan and Zisserman, table 2, less the three dense layers: 20,024,384 parameters.
    assert sum(9 * i * o + o for *_, i, o in map(kernel_shape, CONVOLUTIONS)) == 20_024_384


def test_deepest_and_smallest_side():
    assert deepest(["relu1_1", "pool2", "conv2_2"]) == "block2_pool"
    assert deepest(["input"]) is None
    assert smallest_side(["relu1_2", "input"]) == 1
    assert smallest_side(["relu5_4"]) == 16
    assert smallest_side(["pool5"]) == 32
