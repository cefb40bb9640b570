"""The facts about VGG19 that need no array library: its layers, their names, and its weights' flavours.

A layer's canonical name is Keras's: ``block4_conv2`` is the feature after the ReLU, ``block4_pool`` the pooled one.
``relu4_2`` and ``pool4`` are aliases, ``conv4_2`` is the value before the ReLU, ``input`` the picture itself.

Reference: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015,
table 1, column E.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nstjax.errors import UserError

Pooling = Literal["max", "average", "l2"]
Padding = Literal["zero", "edge", "reflect"]

BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""(convolutions, channels) of each block; a 2x2 pooling ends each."""

CONVOLUTIONS: tuple[str, ...] = tuple(
    f"block{b}_conv{c}" for b, (count, _) in enumerate(BLOCKS, 1) for c in range(1, count + 1)
)
"""The sixteen convolutions, from the picture down."""

SEQUENCE: tuple[str, ...] = tuple(
    name
    for b, (count, _) in enumerate(BLOCKS, 1)
    for name in (*(f"block{b}_conv{c}" for c in range(1, count + 1)), f"block{b}_pool")
)
"""Convolutions and poolings in the order in which they run."""


@dataclass(frozen=True)
class Layer:
    """A position in the network: the step of SEQUENCE that yields it, and whether its ReLU is left out."""

    step: str
    before_relu: bool = False

    @property
    def block(self) -> int:
        """From 1."""
        """From 1."""
        return int(self.step[5])

    @property
    def depth(self) -> int:
        """Index into SEQUENCE."""
        return SEQUENCE.index(self.step)

    @property
    def halvings(self) -> int:
        """How often the picture has been halved when it gets here."""
        return self.block if self.step.endswith("pool") else self.block - 1


def layer(name: str) -> Layer:
    """The position that ``name`` (canonical, alias or pre-ReLU form) stands for; not for ``input``.

    Raises:
        UserError: no such layer.
    """
    if name in SEQUENCE:
        return Layer(name)
    if match := re.fullmatch(r"(relu|conv)([1-5])_([1-4])", name):
        step = f"block{match[2]}_conv{match[3]}"
        if step in SEQUENCE:
            return Layer(step, before_relu=match[1] == "conv")
    if match := re.fullmatch(r"pool([1-5])", name):
        return Layer(f"block{match[1]}_pool")
    raise UserError(
        f"no layer {name!r} in VGG19: expected input, block1_conv1 … block5_conv4 (or relu1_1 … relu5_4), "
        "conv1_1 … conv5_4 (before the ReLU) or block1_pool … block5_pool"
    )


def deepest(names: Iterable[str]) -> str | None:
    """The step of SEQUENCE at which the network may stop and still serve ``names``; None where it need not start."""
    layers = [layer(name) for name in names if name != "input"]
    return max(layers, key=lambda it: it.depth).step if layers else None


def kernel_shape(convolution: str) -> tuple[int, int, int, int]:
    """[height, width, channels in, channels out] of a convolution's kernel, by canonical name."""
    block, index = int(convolution[5]), int(convolution[-1])
    channels_out = BLOCKS[block - 1][1]
    channels_in = channels_out if index > 1 else 3 if block == 1 else BLOCKS[block - 2][1]
    return (3, 3, channels_in, channels_out)


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
    it.name: it
    for it in (
        Flavour("caffe", "BGR", 255.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
        Flavour("torchvision", "RGB", 1.0, _IMAGENET_MEAN, (0.229, 0.224, 0.225)),
        Flavour("self-taught", "RGB", 1.0, _IMAGENET_MEAN, (0.25, 0.25, 0.25), "average", "reflect"),
    )
}
