"""Statistics: the functions of a feature map that a loss compares.

A feature map is ``features_HxWxC``. In the formulas F is its ``C x N`` matrix, with ``N = H W`` positions, and F_p the
vector of position p. Each function is pure and takes the map of one layer; ``per_layer`` lifts it to a term's layers.

The statistics marked ``@sums_over_positions`` are sums over positions of a function of one position's feature vector,
divided by nothing but a count. They can be blended over pictures and restricted to regions, exactly. They take
``weight_HxW``, the weight w of each position, non-negative and of mean 1: ``sum_p w_p f(F_p) / count``; without it each
weight is 1. A guide T of Gatys et al. (2017, "Controlling Perceptual Factors"), of mean T^2 = 1, is w = T^2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nstjax.arguments import Counts
from nstjax.errors import UserError
from nstjax.types import FeatureMap, Features, MapStatistic, Picture, Statistic
from nstjax.vectors import Hypercolumns as Hypercolumns
from nstjax.vectors import Patches as Patches
from nstjax.vectors import feature_vectors as feature_vectors

_F = TypeVar("_F", bound=Callable[..., Any])

PositionWeights = Float[Array, "h w"]
"""The weight of each position of one map, of mean 1."""

LayerPositionWeights = Mapping[str, Float[Array, "_ _"]]
"""The position weights of several layers, ``{layer: [h, w]}``; sizes differ between layers."""


def sums_over_positions(statistic: _F) -> _F:
    """Mark a statistic as a sum over positions, or as a mean: a sum divided by a count.

    A marked statistic takes position weights, by the keyword ``weight_HxW`` [h, w] if it is a statistic of one map, by
    the keyword ``weights`` {layer: [h, w]} if it is one of a whole term.
    """
    statistic.sums_over_positions = True  # type: ignore[attr-defined]
    return statistic


def is_sum_over_positions(statistic: Statistic | MapStatistic) -> bool:
    """Return whether a statistic, or the one that ``per_layer`` has lifted, is marked ``@sums_over_positions``."""
    marked = statistic.statistic if isinstance(statistic, PerLayer) else statistic
    return getattr(marked, "sums_over_positions", False)


def feature_map(features_HxWxC: FeatureMap) -> FeatureMap:
    """Return the feature map itself, as content losses compare it."""
    return features_HxWxC


@sums_over_positions
def gram_sum(features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None) -> Float[Array, "c c"]:
    """Return the Gram matrix ``F F^T`` of a feature map, summed over positions.

    Reference: Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", 2016, equation 3.
    """
    if weight_HxW is not None:
        # The root of each weight goes to both factors, so that one product is enough. The root has no gradient at
        # zero, and none is needed: weights are constants.
        features_HxWxC = _apply_weight(features_HxWxC, jnp.sqrt(lax.stop_gradient(weight_HxW)))
    return _gram(features_HxWxC.reshape(-1, features_HxWxC.shape[-1]))


def _choose_precision() -> Any:
    """Return the precision of ``jax.default_matmul_precision``, and float32 where none is set."""
    return jax.config.values["jax_default_matmul_precision"] or lax.Precision.HIGHEST


@jax.custom_vjp
def _gram(F_NxC: Float[Array, "n c"]) -> Float[Array, "c c"]:
    return jnp.matmul(F_NxC.T, F_NxC, precision=_choose_precision(), preferred_element_type=_sum_dtype(F_NxC))


def _gram_forward(F_NxC: Array):
    return _gram(F_NxC), F_NxC


def _gram_backward(F_NxC: Array, dG: Array):
    """Return the gradient by one product; JAX's rule for a product would compute the same one twice."""
    return (jnp.matmul(F_NxC, (dG + dG.T).astype(F_NxC.dtype), precision=_choose_precision()),)


_gram.defvjp(_gram_forward, _gram_backward)


@sums_over_positions
def gram(features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None) -> Float[Array, "c c"]:
    """Return the Gram matrix ``F F^T / N`` of a feature map: the mean over positions, comparable across sizes.

    Reference: Gatys' own PyTorch code, the TensorFlow tutorial, pystiche.
    """
    h, w, _ = features_HxWxC.shape
    return gram_sum(features_HxWxC, weight_HxW=weight_HxW) / (h * w)


@sums_over_positions
def gram_per_element(features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None) -> Float[Array, "c c"]:
    """Return the Gram matrix ``F F^T / (C N)`` of a feature map, divided by its number of elements.

    Reference: Johnson, neural-style; the PyTorch tutorial.
    """
    return gram_sum(features_HxWxC, weight_HxW=weight_HxW) / features_HxWxC.size


@sums_over_positions
def gram_over_picture(features: Features, *, weights: LayerPositionWeights | None = None) -> dict[str, Array]:
    """Return the Gram matrix ``F F^T / (H0 W0)`` of each layer, divided by the number of pixels of the picture.

    A statistic of a whole term, not of one layer. The term's layers must include ``input``, which gives the picture's
    height H0 and width W0; ``input`` itself has no Gram matrix.

    Raises:
        UserError: the term's layers do not include ``input``.

    Reference: the Keras example ``neural_style_transfer``.
    """
    if "input" not in features:
        raise UserError(f"gram_over_picture needs the picture's size: add input to the layers {', '.join(features)}")
    h0, w0, _ = features["input"].shape
    return {
        layer: gram_sum(F, weight_HxW=None if weights is None else weights[layer]) / (h0 * w0)
        for layer, F in features.items()
        if layer != "input"
    }


@sums_over_positions
def mean(features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None) -> Float[Array, "c"]:
    """Return the mean of each channel, ``mu = sum_p F_p / N``."""
    weighted = features_HxWxC if weight_HxW is None else _apply_weight(features_HxWxC, lax.stop_gradient(weight_HxW))
    return jnp.mean(weighted, axis=(0, 1), dtype=_sum_dtype(features_HxWxC))


@sums_over_positions
def mean_and_square(
    features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None
) -> dict[str, Float[Array, "c"]]:
    """Return the mean and the mean square of each channel, ``{"mean": mu [C], "square": sum_p F_p^2 / N [C]}``.

    The moments are raw, since sums blend and variances do not: a distance forms ``sigma^2 = square - mu^2``.
    """
    mu, m, about_m, mean_weight = _centre(features_HxWxC, weight_HxW)
    square = mean(about_m**2, weight_HxW=weight_HxW)
    return {"mean": mu, "square": square + 2 * m * mu - mean_weight * m**2}


@sums_over_positions
def moments(features_HxWxC: FeatureMap, *, weight_HxW: PositionWeights | None = None) -> dict[str, Array]:
    """Return the first and second moments, ``{"mean": mu [C], "second": F F^T / N [C, C]}``.

    The moments are raw, as in ``mean_and_square``: a distance forms the covariance ``second - mu mu^T``.
    """
    mu, m, about_m, mean_weight = _centre(features_HxWxC, weight_HxW)
    second = gram(about_m, weight_HxW=weight_HxW)
    return {"mean": mu, "second": second + jnp.outer(m, mu) + jnp.outer(mu, m) - mean_weight * jnp.outer(m, m)}


def _centre(features_HxWxC: Array, weight_HxW: Array | None) -> tuple[Array, Array, Array, Array]:
    """Subtract a map's mean per channel, and return what is needed to move moments back.

    Returns the mean mu, a constant m close to mu, the map minus m, and the mean weight, which is 1 up to rounding.

    Second moments are taken about m and moved back: the result does not depend on m. In float32 this keeps a small
    variation about a large mean, which a plain sum of squares would lose.
    """
    mu, m = mean(features_HxWxC, weight_HxW=weight_HxW), lax.stop_gradient(mean(features_HxWxC))
    mean_weight = jnp.ones((), mu.dtype) if weight_HxW is None else jnp.mean(weight_HxW, dtype=mu.dtype)
    return mu, m, features_HxWxC.astype(mu.dtype) - m, mean_weight


@dataclass(frozen=True)
class PooledLaplacian(Counts):
    """The Laplacian of a picture at one scale: the edges of the sum of its channels, after average pooling.

    ``D[i, j] = 4 q[i, j] - q[i-1, j] - q[i+1, j] - q[i, j-1] - q[i, j+1]``, where q is the sum of the channels,
    averaged over ``pool x pool`` squares. A statistic of the layer ``input``, for a term whose target is the content.

    The borders, the scale and the normalisation follow the authors' code where the paper leaves a choice: rows and
    columns that fill no square are dropped, nothing is padded, and the distance is ``mean_squared``.
    Differs from the code: its pictures are in [0, 256], so its loss is 256^2 times this one.

    Args:
        pool: side of the squares in pixels; 4 in the authors' code.

    Reference: Li, Xu, Nie and Chua, "Laplacian-Steered Neural Style Transfer", 2017; askerlee/lapstyle.
    """

    pool: int

    def __call__(self, picture: Picture) -> Float[Array, "h w 1"]:
        """Return the Laplacian of a picture, [H // pool - 2, W // pool - 2, 1].

        Raises:
            UserError: the picture has fewer than 3 squares in one direction.
        """
        p = self.pool
        h, w = picture.shape[0] // p, picture.shape[1] // p
        if min(h, w) < 3:
            raise UserError(
                f"a Laplacian with pool={p} needs a picture of {3 * p}x{3 * p} pixels or more, "
                f"not {picture.shape[1]}x{picture.shape[0]}: use a smaller pool"
            )
        q = jnp.sum(picture[: h * p, : w * p], axis=-1, keepdims=True).reshape(h, p, w, p, 1).mean(axis=(1, 3))
        return 4 * q[1:-1, 1:-1] - q[:-2, 1:-1] - q[2:, 1:-1] - q[1:-1, :-2] - q[1:-1, 2:]


@dataclass(frozen=True)
class PerLayer:
    """A statistic of one map, applied to each layer of a term; see ``per_layer``."""

    statistic: MapStatistic

    def __call__(self, features: Features, *, weights: LayerPositionWeights | None = None) -> dict[str, Any]:
        """Return the statistic of each layer, ``{layer: statistic(map)}``.

        Args:
            features: {layer: [h, w, c]}.
            weights: position weights, {layer: [h, w]}; only for a sum over positions.

        Raises:
            ValueError: there are weights, and the statistic is not a sum over positions.
        """
        if weights is None:
            return {layer: self.statistic(F) for layer, F in features.items()}
        if not is_sum_over_positions(self):
            raise ValueError(
                f"{self.statistic} takes no position weights: it is not marked as a sum over positions; if it is one, "
                "give it an argument weight_HxW and mark it @sums_over_positions"
            )
        return {layer: self.statistic(F, weight_HxW=weights[layer]) for layer, F in features.items()}


def per_layer(statistic: MapStatistic) -> PerLayer:
    """Lift a statistic of one feature map to all layers of a term: ``{layer: statistic(map)}``.

    Args:
        statistic: feature map [h, w, c] -> any pytree of arrays.
    """
    return PerLayer(statistic)


def _sum_dtype(x: Array) -> Any:
    """Return the dtype in which x is summed: float32, or the dtype of x if that is wider."""
    return x.dtype if x.dtype.itemsize > 4 else jnp.float32


def _apply_weight(features_HxWxC: Array, weight_HxW: Array) -> Array:
    return features_HxWxC * weight_HxW.astype(features_HxWxC.dtype)[..., None]
