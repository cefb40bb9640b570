"""Gradient shaping: functions that return their input unchanged and replace its gradient."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.types import FeatureMap, Features, Scalar, Term

_EPSILON = 1e-8
"""The number added to the norm of the bare gradient before the division; it matters where that norm is near 1e-8."""


def apply_shaping(term: Term, features: Features, weights: Mapping[str, float | Scalar]) -> Features:
    """Return the maps of a term's layers, {layer: [h, w, c]}, with the term's gradient shaping if it has one."""
    maps = {layer: features[layer] for layer in term.layers}
    if term.shaping is None:
        return maps
    return {layer: term.shaping(x, jnp.asarray(weights[term.name], x.dtype)) for layer, x in maps.items()}


@jax.custom_vjp
def normalised_gradient(x: FeatureMap, strength: Scalar | float) -> FeatureMap:
    """Return x, and scale its gradient to the L1 norm ``strength``: ``g -> strength * g / (||g||_1 + 1e-8)``.

    Here g is the gradient of the bare loss. Behind a term of weight ``strength``, the gradient that arrives is already
    ``strength`` times as large; in terms of that arriving g the rule is ``strength * g / (||g||_1 + strength * 1e-8)``.
    A strength of 0 gives 0.

    Args:
        x: [h, w, c], the feature map that one loss looks at.
        strength: the weight w >= 0 of the loss; the map passes no gradient to it.

    Returns:
        x, unchanged.

    Reference: Johnson, neural-style, ``-normalize_gradients``.
    """
    return x


def _forward(x: Array, strength: Scalar | float):
    return x, jnp.asarray(strength)


def _backward(strength: Array, g: Float[Array, "h w c"]):
    dtype = g.dtype if g.dtype.itemsize > 4 else jnp.float32
    w = strength.astype(dtype)
    norm = jnp.sum(jnp.abs(g), dtype=dtype) + w * _EPSILON
    # A zero gradient needs no scale: where w is 0, and norm with it, 0/0 must not arise.
    scale = jnp.where(norm > 0, w / jnp.where(norm > 0, norm, 1), 0)
    return g * scale.astype(g.dtype), jnp.zeros_like(strength)


normalised_gradient.defvjp(_forward, _backward)
