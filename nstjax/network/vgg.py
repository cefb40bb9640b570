"""A VGG network as a Flax module that reads pictures: float32 ``[H, W, 3]``, sRGB, in [0, 1].

The module belongs to a set of weights and carries their flavour: the picture's scale, mean and channel order, the
pooling, the padding. It goes straight through ``jax.jit``, ``jax.grad`` and ``jax.vmap``.
"""

import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from nstjax.errors import UserError
from nstjax.network import convolution
from nstjax.network.architecture import (
    VGG19,
    Architecture,
    Flavour,
    Layer,
    Padding,
    Pooling,
    deepest,
    layer,
    smallest_side,
)
from nstjax.types import FeatureMap, Features, Guides, Picture


class Convolution(nnx.Module):
    """One 3x3 convolution: its prepared kernel and its bias [channels out]."""

    def __init__(self, prepared: convolution.Prepared, bias: Any):
        self.kernel = nnx.Param(prepared)
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))

    def __call__(self, x: FeatureMap, padding: Padding) -> FeatureMap:
        """The convolution of x, in x's precision, plus the bias in float32; before any ReLU."""
        prepared = jax.tree.map(lambda leaf: leaf.astype(x.dtype), self.kernel.get_value())
        y = convolution.apply(x, prepared, padding=padding)
        # Bias and ReLU never in bfloat16: besides being exacter, it keeps clear of a fusion of the three that in jaxlib
        # 0.11.2, on CPUs, leaves parts of its output unwritten.
        wide = jnp.float32 if y.dtype.itemsize < 4 else y.dtype
        return y.astype(wide) + self.bias.get_value().astype(wide)


class VGG(nnx.Module):
    """The convolutional part of a VGG network, as deep as its weights reach.

    Args:
        parameters: {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}, from the first convolution down.
        flavour: what the weights expect of a picture.
        architecture: which network the weights are of.
        pooling: in place of the flavour's own.
        padding: in place of the flavour's own. "zero" is zeros at every convolution; "edge" repeats the picture's edge
            at the first one, with zeros at the others; "reflect" mirrors at every one.
        backend: of the convolutions; see ``convolution.prepare``.
        precision: of the convolutions' products; see ``convolution.prepare``.
        dtype: in which the network convolves, float32 or bfloat16; parameters, biases and features stay float32.
        rematerialise: keep for the gradient what a block is given and what is asked for, and compute the rest anew.

    Reference: Simonyan and Zisserman 2015; edge padding: Crowson, style-transfer-pytorch.
    """

    def __init__(
        self,
        parameters: Mapping[str, tuple[np.ndarray, np.ndarray]],
        flavour: Flavour,
        *,
        architecture: Architecture = VGG19,
        pooling: Pooling | None = None,
        padding: Padding | None = None,
        backend: convolution.Backend = "direct",
        precision: convolution.Precision = "default",
        dtype: Any = jnp.float32,
        rematerialise: bool = False,
    ):
        if tuple(parameters) != architecture.convolutions[: len(parameters)]:
            raise UserError(
                f"the weights must hold {architecture.name}'s convolutions from {architecture.convolutions[0]} down, "
                f"not {[*parameters]}"
            )
        self.architecture = architecture
        self.flavour = flavour
        self.pooling: Pooling = pooling or flavour.pooling
        self.padding: Padding = padding or flavour.padding
        self.dtype = jnp.dtype(dtype)
        self.rematerialise = rematerialise
        if backend == "winograd" and self.dtype.itemsize < 4:
            raise UserError(f"Winograd's filtering needs float32 or wider, not {self.dtype}: take backend direct")
        self.convolutions = nnx.Dict(
            {
                name: Convolution(convolution.prepare(kernel, backend=backend, precision=precision), bias)
                for name, (kernel, bias) in parameters.items()
            }
        )

    def preprocess(self, picture: Picture) -> Picture:
        """The picture in the scale and channel order that the weights were trained on."""
        flavour = self.flavour
        x = (flavour.scale * picture - jnp.array(flavour.mean)) / jnp.array(flavour.std)
        return x[..., ::-1] if flavour.order == "BGR" else x

    def features(self, picture: Picture, layers: Iterable[str]) -> Features:
        """The features of a picture, no deeper than the deepest layer asked for.

        Args:
            picture: float32 [H, W, 3], sRGB, in [0, 1].
            layers: ``block4_conv2`` or ``relu4_2`` (after the ReLU), ``conv4_2`` (before it), ``block4_pool`` or
                ``pool4``, ``input`` (the picture itself).

        Returns:
            {name as asked: [h, w, c]}, in the order asked; float32, or wider where the network convolves in wider.

        Raises:
            UserError: no such layer in this network, the weights do not reach it, or the picture is too small for it.
        """
        names = tuple(layers)
        self._check(picture, names)
        wanted: dict[Layer, str] = {layer(name): name for name in names if name != "input"}
        aliases = {name: wanted.get(layer(name)) for name in names if name != "input"}
        found = {"input": picture}
        stop = deepest(names)
        sequence = self.architecture.sequence
        steps = sequence[: sequence.index(stop) + 1] if stop else ()
        x = self.preprocess(picture)
        for _, block in itertools.groupby(steps, lambda step: step.split("_")[0]):
            through = functools.partial(self._through, tuple(block), wanted)
            x, maps = (jax.checkpoint(through) if self.rematerialise else through)(x)
            found |= maps
        return {name: found[aliases.get(name) or name] for name in names}

    def guides(self, guides_RxHxW: Float[Array, "regions height width"], layers: Iterable[str]) -> Guides:
        """Position weights ``T^2 / mean(T^2)``, T being region guides carried to each layer by the network's pooling.

        Args:
            guides_RxHxW: float32 [R, H, W], at least 0; their scale does not matter.
            layers: as for ``features``.

        Returns:
            {name as asked: float32 [R, h, w]}, each region's of mean 1, or all 0 where nothing of it is left.

        Raises:
            UserError: no such layer, or the guides are too small for it.

        Reference: Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style
        Transfer", 2017, section 4.
        Differs from the authors' code, which scales guides down, or takes the positions that see the region, or those
        that see nothing else.
        """
        guides_RxHxW = jnp.asarray(guides_RxHxW, jnp.float32)
        if guides_RxHxW.ndim != 3:
            raise UserError(f"region guides are [R, H, W], one [H, W] for each region, not {[*guides_RxHxW.shape]}")
        halvings = {name: 0 if name == "input" else layer(name).halvings for name in layers}
        most = max(halvings, key=halvings.__getitem__, default="input")
        if min(guides_RxHxW.shape[1:]) < 2 ** halvings.get(most, 0):
            _, h, w = guides_RxHxW.shape
            raise UserError(
                f"region guides of {w}x{h} pixels are too small for {most}: at least {2 ** halvings[most]} a side"
            )
        carried = [jnp.moveaxis(guides_RxHxW, 0, -1)]  # regions stand where a map's channels do
        for _ in range(halvings.get(most, 0)):
            carried.append(convolution.pool(carried[-1], self.pooling))
        weights = [jnp.moveaxis(_position_weights(T), -1, 0) for T in carried]
        return {name: weights[count] for name, count in halvings.items()}

    def _through(self, steps: tuple[str, ...], wanted: Mapping[Layer, str], x: FeatureMap) -> tuple[FeatureMap, dict]:
        """What comes out of some steps, and {name: map} of those that are wanted."""
        found = {}
        for step in steps:
            if step.endswith("pool"):
                x = convolution.pool(x, self.pooling)
            else:
                before_relu = self.convolutions[step](x.astype(self.dtype), self._padding_at(step))
                if name := wanted.get(Layer(step, before_relu=True)):
                    found[name] = before_relu
                x = convolution.relu(before_relu)
            if name := wanted.get(Layer(step)):
                found[name] = x
        return x, found

    def _padding_at(self, step: str) -> Padding:
        return "zero" if self.padding == "edge" and step != self.architecture.convolutions[0] else self.padding

    def _check(self, picture: Picture, names: tuple[str, ...]) -> None:
        if picture.ndim != 3 or picture.shape[-1] != 3:
            raise UserError(f"a picture is [H, W, 3], not {[*picture.shape]}: batches go through jax.vmap")
        for name in names:
            if name == "input":
                continue
            if self.architecture.convolutions_to(name)[-1] not in self.convolutions:
                held = list(self.convolutions)[-1]
                raise UserError(f"layer {name} is deeper than these weights, which end at {held}")
            if min(picture.shape[:2]) < (least := smallest_side([name])):
                h, w, _ = picture.shape
                raise UserError(f"a picture of {w}x{h} pixels is too small for {name}: at least {least} a side")


def _position_weights(T_HxWxR: Float[Array, "h w regions"]) -> Float[Array, "h w regions"]:
    squares = T_HxWxR**2
    mean = squares.mean(axis=(0, 1))
    # An odd row that pooling drops may hold all of a region: weights of zero, not 0/0.
    return jnp.where(mean > 0, squares / jnp.where(mean > 0, mean, 1), 0)
