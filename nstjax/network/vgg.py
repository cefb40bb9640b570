"""VGG networks as a Flax module that reads pictures: float32 ``[H, W, 3]``, sRGB, in [0, 1].

The module holds the flavour of its weights: scale, mean and channel order of the picture, pooling and padding. It is a
pytree that goes straight through ``jax.jit``, ``jax.grad`` and ``jax.vmap``.
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
    find_deepest_step,
    find_smallest_side,
    find_stride,
    parse_layer,
)
from nstjax.types import FeatureMap, Features, Guides, PictureLike, RegionGuides


class Convolution(nnx.Module):
    """A 3x3 convolution with bias.

    Args:
        prepared: the kernel, from ``convolution.prepare``.
        bias: [channels out].
    """

    def __init__(self, prepared: convolution.Prepared, bias: Any):
        self.kernel = nnx.Param(prepared)
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))

    def __call__(self, x: FeatureMap, padding: Padding) -> Float[Array, "h w k"]:
        """Convolve x and add the bias, without ReLU.

        Returns:
            [h, w, k] in the dtype of the convolution; on CPUs in float32 if that is wider.
        """
        y = convolution.apply(x, self.kernel.get_value(), padding=padding)
        # Narrow sums halve the bytes of each map, which matters on accelerators. On CPUs, jaxlib 0.11.2 leaves parts of
        # the output of a narrow convolution with bias and ReLU unwritten.
        dtype = _widen(y.dtype) if jax.default_backend() == "cpu" else y.dtype
        return y.astype(dtype) + self.bias.get_value().astype(dtype)


class VGG(nnx.Module):
    """The convolutional part of a VGG network, as deep as its weights reach.

    Args:
        parameters: {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}, from the first convolution on, in order.
        flavour: the flavour of the weights: the picture format they expect, and their pooling and padding.
        architecture: the architecture that the weights belong to.
        pooling: replaces the pooling of the flavour.
        padding: replaces the padding of the flavour. "zero" puts zeros around the map at every convolution; "edge"
            repeats the edge of the picture at the first convolution, with zeros at the others; "reflect" mirrors the
            map at every convolution.
        backend: backend of the convolutions; see ``convolution.prepare``.
        precision: precision of the products of the convolutions; see ``convolution.prepare``.
        dtype: dtype of the convolutions, float32 or bfloat16, and on accelerators of the maps between them; the biases
            and the features that are returned stay float32. See ``convolution.prepare`` for the backend "winograd".
        rematerialise: if True, store only the inputs of the blocks and the features asked for, and compute the rest
            again for the gradient: less memory, more time.

    Raises:
        UserError: the parameters are not the first convolutions of the architecture.

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
                f"the weights must hold the convolutions of {architecture.name} in order, "
                f"from {architecture.convolutions[0]} on, not {[*parameters]}"
            )
        self.architecture = architecture
        self.flavour = flavour
        self.pooling: Pooling = pooling or flavour.pooling
        self.padding: Padding = padding or flavour.padding
        self.dtype = jnp.dtype(dtype)
        self.rematerialise = rematerialise
        prepare = functools.partial(convolution.prepare, backend=backend, precision=precision, dtype=self.dtype)
        self.convolutions = nnx.Dict(
            {name: Convolution(prepare(kernel), bias) for name, (kernel, bias) in parameters.items()}
        )

    def preprocess(self, picture: Float[Array | np.ndarray, "*batch h w 3"]) -> Float[Array, "*batch h w 3"]:
        """Return the picture in the scale and channel order for which the weights were trained."""
        flavour = self.flavour
        x = (flavour.scale * picture - jnp.array(flavour.mean)) / jnp.array(flavour.std)
        return jnp.asarray(x[..., ::-1] if flavour.order == "BGR" else x)

    def features(self, picture: PictureLike, layers: Iterable[str]) -> Features:
        """Return the features of a picture; the network runs no further than the deepest layer asked for.

        Args:
            picture: float32 [H, W, 3], sRGB, in [0, 1].
            layers: names such as ``block4_conv2`` or ``relu4_2`` (after the ReLU), ``conv4_2`` (before it),
                ``block4_pool`` or ``pool4``, ``input`` (the picture itself).

        Returns:
            {layer: [h, w, c]}, with the names and the order of ``layers``; float32, or wider if ``dtype`` is.

        Raises:
            UserError: the network has no such layer, the weights end before it, or the picture is too small for it.
        """
        names = tuple(layers)
        self._check(picture, names)
        requested: dict[Layer, str] = {parse_layer(name): name for name in names if name != "input"}
        # Two aliases of one layer are computed under one of the two names.
        aliases = {name: requested.get(parse_layer(name)) for name in names if name != "input"}
        features = {"input": jnp.asarray(picture)}
        stop = find_deepest_step(names)
        sequence = self.architecture.sequence
        steps = sequence[: sequence.index(stop) + 1] if stop else ()
        x = self.preprocess(picture)
        for _, block in itertools.groupby(steps, lambda step: step.split("_")[0]):
            run_block = functools.partial(self._run_steps, tuple(block), requested)
            x, block_features = (jax.checkpoint(run_block) if self.rematerialise else run_block)(x)
            features |= block_features
        wide = {name: x.astype(_widen(x.dtype)) for name, x in features.items()}
        return {name: wide[aliases.get(name) or name] for name in names}

    def stride(self, layer: str) -> int:
        """Return the number of pixels along a side that belong to one position of a layer."""
        return find_stride(layer)

    def reach(self, layers: Iterable[str]) -> int:
        """Return the most pixels that a position of these layers sees beyond its own, in any direction."""
        return max((self.architecture.reach(name) for name in layers if name != "input"), default=0)

    def guides(self, guides_RxHxW: RegionGuides, layers: Iterable[str]) -> Guides:
        """Return position weights ``T^2 / mean(T^2)``, for T the region guides, pooled to each layer.

        Args:
            guides_RxHxW: float32 [R, H, W], 0 or more; their scale does not matter.
            layers: names of layers; see ``features``.

        Returns:
            {layer: float32 [R, h, w]}, of mean 1 for each region, or all 0 if pooling has left nothing of the region.

        Raises:
            UserError: there is no such layer, the guides are not [R, H, W], or they are too small for a layer.

        Reference: Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style
        Transfer", 2017, section 4.
        Differs from the authors' code, which scales the guides down, or selects the positions that see the region, or
        those that see nothing else.
        """
        guides_RxHxW = jnp.asarray(guides_RxHxW, jnp.float32)
        if guides_RxHxW.ndim != 3:
            raise UserError(f"region guides must be [R, H, W], one [H, W] for each region, not {[*guides_RxHxW.shape]}")
        halvings = {name: 0 if name == "input" else parse_layer(name).halvings for name in layers}
        last = max(halvings, key=halvings.__getitem__, default="input")
        if min(guides_RxHxW.shape[1:]) < 2 ** halvings.get(last, 0):
            _, h, w = guides_RxHxW.shape
            raise UserError(
                f"region guides of {w}x{h} pixels are too small for {last}, "
                f"which needs at least {2 ** halvings[last]} on each side"
            )
        pooled = [jnp.moveaxis(guides_RxHxW, 0, -1)]  # pooling expects the regions on the axis of the channels
        for _ in range(halvings.get(last, 0)):
            pooled.append(convolution.pool(pooled[-1], self.pooling))
        weights = [jnp.moveaxis(_normalise_guides(T), -1, 0) for T in pooled]
        return {name: weights[count] for name, count in halvings.items()}

    def _run_steps(
        self, steps: tuple[str, ...], requested: Mapping[Layer, str], x: FeatureMap
    ) -> tuple[Float[Array, "_ _ _"], dict[str, Float[Array, "_ _ _"]]]:
        """Return the output of these steps, and {name: feature map} of the requested layers among them."""
        features = {}
        for step in steps:
            with jax.named_scope(step):  # the layer's name in profiles
                if step.endswith("pool"):
                    x = convolution.pool(x, self.pooling)
                else:
                    before_relu = self.convolutions[step](x, self._padding_at(step))
                    if name := requested.get(Layer(step, before_relu=True)):
                        features[name] = before_relu
                    x = convolution.relu(before_relu)
            if name := requested.get(Layer(step)):
                features[name] = x
        return x, features

    def _padding_at(self, step: str) -> Padding:
        return "zero" if self.padding == "edge" and step != self.architecture.convolutions[0] else self.padding

    def _check(self, picture: PictureLike, names: tuple[str, ...]) -> None:
        if picture.ndim != 3 or picture.shape[-1] != 3:
            raise UserError(f"a picture must be [H, W, 3], not {[*picture.shape]}: use jax.vmap for batches")
        for name in names:
            if name == "input":
                continue
            if self.architecture.convolutions_to(name)[-1] not in self.convolutions:
                last = list(self.convolutions)[-1]
                raise UserError(f"layer {name} is deeper than these weights, which end at {last}")
            if min(picture.shape[:2]) < (smallest := find_smallest_side([name])):
                h, w, _ = picture.shape
                raise UserError(
                    f"a picture of {w}x{h} pixels is too small for {name}, which needs at least {smallest} on each side"
                )


def _widen(dtype: Any) -> Any:
    return jnp.float32 if dtype.itemsize < 4 else dtype


def _normalise_guides(T_HxWxR: Float[Array, "h w regions"]) -> Float[Array, "h w regions"]:
    squares = T_HxWxR**2
    mean = squares.mean(axis=(0, 1))
    # An odd row that pooling drops may be all of a region: its weights are then zero, not 0/0.
    return jnp.where(mean > 0, squares / jnp.where(mean > 0, mean, 1), 0)
