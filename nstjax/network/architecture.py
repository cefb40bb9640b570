"""The facts about VGG networks that need no array library: their layers, the layers' names, and flavours of weights.

A layer's canonical name is Keras's: ``block4_conv2`` is the feature after the ReLU, ``block4_pool`` the pooled one.
``relu4_2`` and ``pool4`` are aliases, ``conv4_2`` is the value before the ReLU, ``input`` the picture itself. Names are
the same in every network; which of them a network has follows from its blocks.

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
    """A VGG network, as data: all its layers follow from its blocks.

    Args:
        name: for people, and in files of weights.
        blocks: (convolutions, channels) of each block; a 2x2 pooling ends each.

    Raises:
        UserError: not one to five blocks of one to four convolutions each, which is what layers' names can say.
    """

    name: str
    blocks: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        """Checks the blocks."""
        if not 1 <= len(self.blocks) <= 5 or any(not (1 <= n <= 4 and channels >= 1) for n, channels in self.blocks):
            raise UserError(f"a VGG network has one to five blocks of one to four convolutions, not {[*self.blocks]}")

    @functools.cached_property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions, from the picture down."""
        return tuple(step for step in self.sequence if not step.endswith("pool"))

    @functools.cached_property
    def sequence(self) -> tuple[str, ...]:
        """Names of convolutions and poolings in the order in which they run."""
        return tuple(
            name
            for b, (count, _) in enumerate(self.blocks, 1)
            for name in (*(f"block{b}_conv{c}" for c in range(1, count + 1)), f"block{b}_pool")
        )

    def kernel_shape(self, convolution: str) -> tuple[int, int, int, int]:
        """[height, width, channels in, channels out] of a convolution's kernel, by canonical name."""
        block, index = int(convolution[5]), int(convolution[-1])
        channels_out = self.blocks[block - 1][1]
        channels_in = channels_out if index > 1 else 3 if block == 1 else self.blocks[block - 2][1]
        return (3, 3, channels_in, channels_out)

    def convolutions_to(self, name: str) -> tuple[str, ...]:
        """The convolutions that a layer needs, from the picture down to it, by any form of its name.

        Raises:
            UserError: the network has no such layer; the line names one that has it.
        """
        step = layer(name).step
        if step not in self.sequence:
            others = [network.name for network in NETWORKS.values() if step in network.sequence]
            raise UserError(f"{self.name} has no layer {name}, {' and '.join(others)} has: take its weights")
        return tuple(step for step in self.sequence[: self.sequence.index(step) + 1] if step in self.convolutions)


VGG19 = Architecture("VGG19", ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)))
VGG16 = Architecture("VGG16", ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)))
NETWORKS: dict[str, Architecture] = {network.name: network for network in (VGG19, VGG16)}
"""By name. The first has every layer that another has."""


@dataclass(frozen=True)
class Layer:
    """A position in a network: the step of its sequence that yields it, and whether its ReLU is left out."""

    step: str
    before_relu: bool = False

    @property
    def block(self) -> int:
        """From 1."""
        return int(self.step[5])

    @property
    def halvings(self) -> int:
        """How often the picture has been halved when it gets here."""
        return self.block if self.step.endswith("pool") else self.block - 1


def layer(name: str) -> Layer:
    """The position that ``name`` (canonical, alias or pre-ReLU form) stands for; not for ``input``.

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


def deepest(names: Iterable[str]) -> str | None:
    """The step at which a network may stop and still serve ``names``; None where it need not start."""
    steps = {layer(name).step for name in names if name != "input"}
    return max(steps, key=VGG19.sequence.index, default=None)


def smallest_side(names: Iterable[str]) -> int:
    """The shortest side, in pixels, of a picture that still has one position in every layer of ``names``."""
    return 2 ** max((layer(name).halvings for name in names if name != "input"), default=0)


@dataclass(frozen=True)
class Flavour:
    """How weights want their picture: ``(scale * x - mean) / std`` for x RGB in [0, 1], then the channel order."""

    name: str
    order: Literal["RGB", "BGR"]
    scale: float
    mean: tuple[float, float, float]  # in RGB order, in units of the scaled picture
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
