"""Statistics: what is compared of a feature map.

A feature map is ``features_HxWxC``; in the formulas F is its ``C x N`` matrix with ``N = H W`` positions. Each function
here is pure and takes one layer's map; ``per_layer`` lifts it to a term's features.

The statistics marked ``@sums_over_positions`` are sums over positions of a function of one position's feature vector,
divided by nothing but a count: pictures and regions can be blended, weighted and added up in them, exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nstjax.types import FeatureMap, Features

_F = TypeVar("_F", bound=Callable[..., Any])


def sums_over_positions(statistic: _F) -> _F:
    """Mark a statistic as a sum (or, divided by a count, a mean) over positions."""
    statistic.sums_over_positions = True  # type: ignore[attr-defined]
    return statistic


def feature_map(features_HxWxC: FeatureMap) -> FeatureMap:
    """The map itself, F: what content losses compare."""
    return features_HxWxC


@sums_over_positions
def gram_sum(features_HxWxC: FeatureMap) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T``, summed over positions.

    Reference: Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", 2016, equation 3.
    """
    return _gram(features_HxWxC.reshape(-1, features_HxWxC.shape[-1]))


@jax.custom_vjp
def _gram(F_NxC: Float[Array, "n c"]) -> Float[Array, "c c"]:
    dtype = F_NxC.dtype if F_NxC.dtype.itemsize > 4 else jnp.float32
    return jnp.matmul(F_NxC.T, F_NxC, precision=lax.Precision.HIGHEST, preferred_element_type=dtype)


def _gram_forward(F_NxC: Array):
    return _gram(F_NxC), F_NxC


def _gram_backward(F_NxC: Array, dG: Array):
    """One product where the rule for a product of two would make two of the same."""
    return (jnp.matmul(F_NxC, (dG + dG.T).astype(F_NxC.dtype), precision=lax.Precision.HIGHEST),)


_gram.defvjp(_gram_forward, _gram_backward)


@sums_over_positions
def gram(features_HxWxC: FeatureMap) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T / N``: the mean over positions, so pictures of unlike sizes compare.

    Reference: Gatys' own PyTorch code, the TensorFlow tutorial, pystiche.
    """
    h, w, _ = features_HxWxC.shape
    return gram_sum(features_HxWxC) / (h * w)


@sums_over_positions
def gram_per_element(features_HxWxC: FeatureMap) -> Float[Array, "c c"]:
    """Gram matrix ``F F^T / (C N)``.

    Reference: Johnson, neural-style; the PyTorch tutorial.
    """
    return gram_sum(features_HxWxC) / features_HxWxC.size


def gram_over_picture(features: Features) -> dict[str, Array]:
    """Gram matrices ``F F^T / (H0 W0)`` of every layer but ``input``, with the *picture's* height and width.

    A statistic of a whole term, not of one layer: its layers must contain ``input``.

    Reference: the Keras example ``neural_style_transfer``.
    """
    h0, w0, _ = features["input"].shape
    return {layer: gram_sum(F) / (h0 * w0) for layer, F in features.items() if layer != "input"}


@dataclass(frozen=True)
class PerLayer:
    """A statistic of one map, applied to each layer of a term."""

    statistic: Callable[[FeatureMap], Any]

    def __call__(self, features: Features) -> dict[str, Any]:
        """{layer: statistic(map)}."""
        return {layer: self.statistic(features_HxWxC) for layer, features_HxWxC in features.items()}


def per_layer(statistic: Callable[[FeatureMap], Any]) -> PerLayer:
    """Lift a statistic of one feature map to a term's layers: ``{layer: statistic(map)}``."""
    return PerLayer(statistic)
