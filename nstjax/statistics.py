"""Statistics: what is compared of a feature map.

A feature map is ``features_HxWxC``; in the formulas F is its ``C x N`` matrix with ``N = H W`` positions. Each function
here is pure and takes one layer's map; ``per_layer`` lifts it to a term's features.

The statistics marked ``@sums_over_positions`` are sums over positions of a function of one position's feature vector,
divided by nothing but a count: pictures and regions can be blended, weighted and added up in them, exactly. They take
``weight_HxW``, the weight w of each position, non-negative and of mean 1: ``sum_p w_p f(F_p) / count``. Without it
each weight is 1. A guide T of Gatys et al. ("Controlling Perceptual Factors in Neural Style Transfer", 2017), which is
normalised to mean T^2 = 1, is w = T^2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nstjax.errors import UserError
from nstjax.types import FeatureMap, Features, Picture

_F = TypeVar("_F", bound=Callable[..., Any])

Weight = Float[Array, "h w"]
"""The weight of each position, of mean 1."""

Weights = Mapping[str, Float[Array, "_ _"]]
"""The same of several layers, each of a size of its own."""


def sums_over_positions(statistic: _F) -> _F:
    """Mark a statistic as a sum (or, divided by a count, a mean) over positions, which takes their weights.

    A statistic of one map takes ``weight_HxW``; one of a whole term takes ``weights``, ``{layer: [h, w]}``.
    """
    statistic.sums_over_positions = True  # type: ignore[attr-defined]
    return statistic


def is_sum_over_positions(statistic: Callable[..., Any]) -> bool:
    """Whether a statistic of one map, of a whole term, or lifted by ``per_layer`` is marked as such a sum."""
    of_one = statistic.statistic if isinstance(statistic, PerLayer) else statistic
    return getattr(of_one, "sums_over_positions", False)


def feature_map(features_HxWxC: FeatureMap) -> FeatureMap:
    """The map itself, F: what content losses compare."""
    return features_HxWxC


def feature_vectors(features_HxWxC: FeatureMap) -> Float[Array, "n c"]:
    """The vectors of all positions, F^T [N, C], row by row of the map: what losses of transport compare."""
    return features_HxWxC.reshape(-1, features_HxWxC.shape[-1])


@sums_over_positions
def gram_sum(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T``, summed over positions.

    Reference: Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", 2016, equation 3.
    """
    if weight_HxW is not None:
        # Half of each weight goes to either factor, so that one product serves. A root has no gradient at zero, and
        # nobody needs one: weights are constants.
        features_HxWxC = _weighted(features_HxWxC, jnp.sqrt(lax.stop_gradient(weight_HxW)))
    return _gram(features_HxWxC.reshape(-1, features_HxWxC.shape[-1]))


@jax.custom_vjp
def _gram(F_NxC: Float[Array, "n c"]) -> Float[Array, "c c"]:
    return jnp.matmul(F_NxC.T, F_NxC, precision=lax.Precision.HIGHEST, preferred_element_type=_wide(F_NxC))


def _gram_forward(F_NxC: Array):
    return _gram(F_NxC), F_NxC


def _gram_backward(F_NxC: Array, dG: Array):
    """One product where the rule for a product of two would make two of the same."""
    return (jnp.matmul(F_NxC, (dG + dG.T).astype(F_NxC.dtype), precision=lax.Precision.HIGHEST),)


_gram.defvjp(_gram_forward, _gram_backward)


@sums_over_positions
def gram(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T / N``: the mean over positions, so pictures of unlike sizes compare.

    Reference: Gatys' own PyTorch code, the TensorFlow tutorial, pystiche.
    """
    h, w, _ = features_HxWxC.shape
    return gram_sum(features_HxWxC, weight_HxW=weight_HxW) / (h * w)


@sums_over_positions
def gram_per_element(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T / (C N)``.

    Reference: Johnson, neural-style; the PyTorch tutorial.
    """
    return gram_sum(features_HxWxC, weight_HxW=weight_HxW) / features_HxWxC.size


@sums_over_positions
def gram_over_picture(features: Features, *, weights: Weights | None = None) -> dict[str, Array]:
    """Gram matrices ``F F^T / (H0 W0)`` of every layer but ``input``, with the *picture's* height and width.

    A statistic of a whole term, not of one layer: its layers must contain ``input``.

    Reference: the Keras example ``neural_style_transfer``.
    """
    if "input" not in features:
        raise UserError(f"Gram matrices over the picture need its size: add input to the layers {', '.join(features)}")
    h0, w0, _ = features["input"].shape
    return {
        layer: gram_sum(F, weight_HxW=None if weights is None else weights[layer]) / (h0 * w0)
        for layer, F in features.items()
        if layer != "input"
    }


@sums_over_positions
def mean(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> Float[Array, "c"]:
    """Mean of each channel, ``mu = sum_p F_p / N``."""
    weighted = features_HxWxC if weight_HxW is None else _weighted(features_HxWxC, lax.stop_gradient(weight_HxW))
    return jnp.mean(weighted, axis=(0, 1), dtype=_wide(features_HxWxC))


@sums_over_positions
def mean_and_square(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> dict[str, Float[Array, "c"]]:
    """{"mean": ``mu``, "square": ``sum_p F_p^2 / N``} of each channel.

    Moments are raw, since sums blend and variances do not: a distance forms ``sigma^2 = square - mu^2``.
    """
    mu, m, about_m, share = _centred(features_HxWxC, weight_HxW)
    square = mean(about_m**2, weight_HxW=weight_HxW)
    return {"mean": mu, "square": square + 2 * m * mu - share * m**2}


@sums_over_positions
def moments(features_HxWxC: FeatureMap, *, weight_HxW: Weight | None = None) -> dict[str, Array]:
    """{"mean": ``mu`` [C], "second": ``F F^T / N`` [C, C]}.

    Raw like ``mean_and_square``: a distance forms the covariance ``second - mu mu^T``.
    """
    mu, m, about_m, share = _centred(features_HxWxC, weight_HxW)
    second = gram(about_m, weight_HxW=weight_HxW)
    return {"mean": mu, "second": second + jnp.outer(m, mu) + jnp.outer(mu, m) - share * jnp.outer(m, m)}


def _centred(features_HxWxC: Array, weight_HxW: Array | None) -> tuple[Array, Array, Array, Array]:
    """mu; a constant m close to it; the map less m; the mean weight, 1 but for rounding.

    Second moments are taken about m and moved back, which is the same for every m. In float32 it keeps the little that
    a map varies about a large mean, of which the sum of the squares would keep nothing.
    """
    mu, m = mean(features_HxWxC, weight_HxW=weight_HxW), lax.stop_gradient(mean(features_HxWxC))
    share = jnp.ones((), mu.dtype) if weight_HxW is None else jnp.mean(weight_HxW, dtype=mu.dtype)
    return mu, m, features_HxWxC.astype(mu.dtype) - m, share


@dataclass(frozen=True)
class PooledLaplacian:
    """Edges of the picture at one scale: the Laplacian of its channels' sum, after average pooling.

    ``D[i, j] = 4 q[i, j] - q[i-1, j] - q[i+1, j] - q[i, j-1] - q[i, j+1]``, where q is the sum of the channels,
    averaged over ``pool x pool`` squares. A statistic of the layer ``input``, whose target is the content.

    The edges, the scale of pictures and the normalisation are as the authors' code has them, where it and the paper's
    formula leave a choice: rows and columns that fill no square are dropped, nothing is padded, and the distance is
    ``mean_squared``. Differs from it: its pictures are in [0, 256], so its loss is 256^2 times this one's.

    Args:
        pool: side of the squares in pixels; 4 in the authors' code.

    Reference: Li, Xu, Nie and Chua, "Laplacian-Steered Neural Style Transfer", 2017; askerlee/lapstyle.
    """

    pool: int

    def __call__(self, picture: Picture) -> Float[Array, "h w 1"]:
        """The Laplacian [H // pool - 2, W // pool - 2, 1]: a map, as other content losses compare them.

        Raises:
            UserError: the picture is too small to pool so far.
        """
        p = self.pool
        h, w = picture.shape[0] // p, picture.shape[1] // p
        if min(h, w) < 3:
            raise UserError(
                f"the Laplacian of squares of {p} pixels needs a picture of {3 * p}x{3 * p} or more, "
                f"not {picture.shape[1]}x{picture.shape[0]}: take a smaller pool"
            )
        q = jnp.sum(picture[: h * p, : w * p], axis=-1, keepdims=True).reshape(h, p, w, p, 1).mean(axis=(1, 3))
        return 4 * q[1:-1, 1:-1] - q[:-2, 1:-1] - q[2:, 1:-1] - q[1:-1, :-2] - q[1:-1, 2:]


@dataclass(frozen=True)
class Patches:
    """Squares of a map that lie wholly in it, ``size * size * C`` numbers each.

    Args:
        size: of their sides, in positions.
        stride: positions from one to the next.

    Reference: Li and Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis",
    2016.
    """

    size: int = 3
    stride: int = 2

    def __call__(self, features_HxWxC: FeatureMap) -> Float[Array, "m k"]:
        """The patches [M, size * size * C], row by row of the map.

        Raises:
            UserError: the map is smaller than a patch.
        """
        h, w, c = features_HxWxC.shape
        size, stride = self.size, self.stride
        if min(h, w) < size:
            raise UserError(
                f"a map of {w}x{h} positions has no patch of {size}x{size}: take a larger picture or a layer less deep"
            )
        rows, columns = (h - size) // stride + 1, (w - size) // stride + 1
        shifted = [
            features_HxWxC[i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
            for i in range(size)
            for j in range(size)
        ]
        return jnp.stack(shifted, axis=2).reshape(rows * columns, size * size * c)


@dataclass(frozen=True)
class Hypercolumns:
    """What every layer says of one position, one layer behind the other, each divided by how many channels it has.

    A statistic of a whole term: its maps are brought to one size by bilinear interpolation.

    Args:
        stride: of positions, in those of the term's largest map.

    Reference: Kolkin et al., "Neural Neighbor Style Transfer", 2022.
    """

    stride: int = 4

    def __call__(self, features: Features) -> Float[Array, "n k"]:
        """The hypercolumns [N, sum of C]."""
        h, w = (max(sides) for sides in zip(*(F.shape[:2] for F in features.values()), strict=True))
        size = max(h // self.stride, 1), max(w // self.stride, 1)
        brought = [
            jax.image.resize(F, (*size, F.shape[-1]), "linear", antialias=False) / F.shape[-1]
            for F in features.values()
        ]
        return jnp.concatenate(brought, axis=-1).reshape(size[0] * size[1], -1)


@dataclass(frozen=True)
class PerLayer:
    """A statistic of one map, applied to each layer of a term."""

    statistic: Callable[..., Any]

    def __call__(self, features: Features, *, weights: Weights | None = None) -> dict[str, Any]:
        """{layer: statistic(map)}.

        Args:
            features: {layer: [h, w, c]}.
            weights: {layer: [h, w]}, of each position, where the statistic is a sum over positions.

        Raises:
            ValueError: weights for a statistic that is no such sum.
        """
        if weights is None:
            return {layer: self.statistic(features_HxWxC) for layer, features_HxWxC in features.items()}
        if not is_sum_over_positions(self):
            raise ValueError(
                f"{self.statistic} is no sum over positions and takes no weights: mark one that is, and has the "
                "argument weight_HxW, with @sums_over_positions"
            )
        return {layer: self.statistic(F, weight_HxW=weights[layer]) for layer, F in features.items()}


def per_layer(statistic: Callable[..., Any]) -> PerLayer:
    """Lift a statistic of one feature map to a term's layers: ``{layer: statistic(map)}``."""
    return PerLayer(statistic)


def _wide(x: Array) -> Any:
    """The dtype in which x is added up: float32, or x's own where that is wider."""
    return x.dtype if x.dtype.itemsize > 4 else jnp.float32


def _weighted(features_HxWxC: Array, weight_HxW: Array) -> Array:
    return features_HxWxC * weight_HxW.astype(features_HxWxC.dtype)[..., None]
