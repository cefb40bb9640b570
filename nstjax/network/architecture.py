"""Architectures of VGG networks as data, without an array library: layers, their names, and flavours of weights.

The canonical name of a layer is that of Keras: ``block4_conv2`` is the feature map after the ReLU, ``block4_pool`` the
pooled one. ``relu4_2`` and ``pool4`` are aliases, ``conv4_2`` is the value before the ReLU, ``input`` the picture
itself. Names are the same in every network; the blocks of a network determine which of them it has.

Reference: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
table 1, columns D (VGG16) and E (VGG19).
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nstjax.errors import UserError

Pooling = Literal["max", "average", "l2"]
Padding = Literal["zero", "edge", "reflect"]


@dataclass(frozen=True)
class Architecture:
    """The architecture of a VGG network, given by its blocks.

    Args:
        name: name in messages and in files of weights.
        blocks: (number of convolutions, channels) of each block. Each block ends with a 2x2 pooling.

    Raises:
        UserError: there are not one to five blocks of one to four convolutions each, which layer names can address.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Check the blocks."""
        if not 1 <= len(self.blocks) <= 5 or any(
            not (1 <= count <= 4 and channels >= 1) for count, channels in self.blocks
        ):
            raise UserError(f"a VGG network has one to five blocks of one to four convolutions, not {[*self.blocks]}")

    @functools.cached_property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions, from the picture on."""
        return tuple(step for step in self.sequence if not step.endswith("pool"))

    @functools.cached_property
    def sequence(self) -> tuple[str, ...]:
        """Names of the convolutions and poolings, in the order in which they run."""
        return tuple(
            name
            for b, (count, _) in enumerate(self.blocks, 1)
            for name in (*(f"block{b}_conv{c}" for c in range(1, count + 1)), f"block{b}_pool")
        )

    def kernel_shape(self, convolution: str) -> tuple[int, int, int, int]:
        """Return [height, width, channels in, channels out] of the kernel of a convolution, by canonical name."""
        block, index = int(convolution[5]), int(convolution[-1])
        channels_out = self.blocks[block - 1][1]
        channels_in = channels_out if index > 1 else 3 if block == 1 else self.blocks[block - 2][1]
        return (3, 3, channels_in, channels_out)

    def convolutions_to(self, name: str) -> tuple[str, ...]:
        """Return the convolutions that a layer needs, from the picture on, by any form of its name.

        Raises:
            UserError: the network has no such layer; the message names one that has it.
        """
        step = parse_layer(name).step
        if step not in self.sequence:
            others = [network.name for network in NETWORKS.values() if step in network.sequence]
            raise UserError(f"{self.name} has no layer {name}, but {' and '.join(others)} has: use its weights")
        return tuple(step for step in self.sequence[: self.sequence.index(step) + 1] if step in self.convolutions)

    def count_map_values(self, name: str) -> float:
        """Return the number of values in a layer's map, for each pixel of the picture."""
        return self.kernel_shape(self.convolutions_to(name)[-1])[3] / find_stride(name) ** 2

    def count_values(self, name: str) -> float:
        """Return the number of values that the convolutions up to a layer compute, for each pixel of the picture."""
        return sum(map(self.count_map_values, self.convolutions_to(name)))

    def reach(self, name: str) -> int:
        """Return the most pixels that a position of a layer sees beyond its own square, in any direction.

        The square of position p has the pixels from ``p s`` to ``p s + s - 1``, for the layer's stride s.

        Raises:
            UserError: the network has no such layer.
        """
        first = last = 0  # of the positions that position 0 sees, from the layer down to the picture
        convolutions = self.convolutions_to(name)
        step = parse_layer(name).step
        for earlier in reversed(self.sequence[: self.sequence.index(step) + 1]):
            if earlier in convolutions:
                first, last = first - 1, last + 1
            else:
                first, last = 2 * first, 2 * last + 1
        return max(-first, last - (find_stride(name) - 1))


VGG19 = Architecture("VGG19", ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)))
VGG16 = Architecture("VGG16", ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)))
NETWORKS: dict[str, Architecture] = {network.name: network for network in (VGG19, VGG16)}
"""Networks by name. The first has every layer that any of them has."""


@dataclass(frozen=True)
class Layer:
    """A position in a network whose value is a feature map.

    Args:
        step: name of the convolution or pooling that yields it.
        before_relu: True for the value before the ReLU of a convolution.
    """

    step: str
    before_relu: bool = False

    @property
    def block(self) -> int:
        """Number of the block, from 1."""
        return int(self.step[5])

    @property
    def halvings(self) -> int:
        """Number of poolings up to and including this layer; each halves the sides of the picture."""
        return self.block if self.step.endswith("pool") else self.block - 1


def parse_layer(name: str) -> Layer:
    """Return the layer with this name (canonical, alias or pre-ReLU form), which must not be ``input``.

    Raises:
        UserError: no network has such a layer.
    """
    if name in VGG19.sequence:
        return Layer(name)
    if match := re.fullmatch(r"(relu|conv)([1-5])_([1-4])", name):
        step = f"block{match[2]}_conv{match[3]}"
        if step in VGG19.sequence:
            return Layer(step, before_relu=match[1] == "conv")
    if match := re.fullmatch(r"pool([1-5])", name):
        return Layer(f"block{match[1]}_pool")
    raise UserError(
        f"no layer {name!r} in {' or '.join(NETWORKS)}: expected input, block1_conv1 … block5_conv4 (or relu1_1 … "
        "relu5_4), conv1_1 … conv5_4 (before the ReLU) or block1_pool … block5_pool"
    )


def find_deepest_step(names: Iterable[str]) -> str | None:
    """Return the last step that a network must run to yield these layers; None if it need not run at all."""
    steps = {parse_layer(name).step for name in names if name != "input"}
    return max(steps, key=VGG19.sequence.index, default=None)


def find_stride(name: str) -> int:
    """Return the number of pixels along a side that belong to one position of a layer; 1 for ``input``."""
    return 1 if name == "input" else 2 ** parse_layer(name).halvings


def find_smallest_side(names: Iterable[str]) -> int:
    """Return the shortest side, in pixels, that leaves at least one position in each of these layers."""
    return 2 ** max((parse_layer(name).halvings for name in names if name != "input"), default=0)


@dataclass(frozen=True)
class Flavour:
    """The picture format and the variant of VGG for which weights were trained.

    The network reads ``(scale * x - mean) / std`` for x RGB in [0, 1], with the channels in ``order``.

    Args:
        name: name of the flavour.
        order: order of the colour channels.
        scale: factor on the picture.
        mean: mean to subtract, in RGB order, in units of the scaled picture.
        std: standard deviation to divide by, in RGB order, in units of the scaled picture.
        pooling: kind of pooling.
        padding: values outside the map at each convolution.
    """

    name: str
    order: Literal["RGB", "BGR"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pooling: Pooling = "max"
    padding: Padding = "zero"


_IMAGENET_MEAN = (0.485, 0.456, 0.406)

FLAVOURS: dict[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour("caffe", "BGR", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
        Flavour("torchvision", "RGB", 1.0, _IMAGENET_MEAN, (0.229, 0.224, 0.225)),
        Flavour("self-taught", "RGB", 1.0, _IMAGENET_MEAN, (0.25, 0.25, 0.25), "average", "reflect"),
    )
}
"""Flavours by name."""
