"""Gradient shaping: identities whose backward rule is their own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.types import FeatureMap, Scalar

_EPSILON = 1e-8


@jax.custom_vjp
def normalised_gradient(x: FeatureMap, strength: Scalar | float) -> FeatureMap:
    """x, whose gradient is brought to the L1 norm ``strength``: ``g -> strength * g / (||g||_1 + 1e-8)``.

    The gradient that arrives already is ``strength`` times that of the bare loss, as behind a term of that weight; so
    what leaves is ``strength * g / (||g||_1 + strength * 1e-8)``, in the arriving g. A strength of 0 gives 0.

    Args:
        x: the feature map that one loss looks at.
        strength: the weight w >= 0 of the loss; it has no gradient of its own.

    Reference: Johnson, neural-style, ``-normalize_gradients``.
    """
    return x


def _forward(x: Array, strength: Scalar | float):
    return x, jnp.asarray(strength)


def _backward(strength: Array, g: Float[Array, "h w c"]):
    wide = g.dtype if g.dtype.itemsize > 4 else jnp.float32
    w = strength.astype(wide)
    norm = jnp.sum(jnp.abs(g), dtype=wide) + w * _EPSILON
    # Without a gradient there is nothing to scale: where w is 0, and norm with it, 0/0 must not arise.
    scale = jnp.where(norm > 0, w / jnp.where(norm > 0, norm, 1), 0)
    return g * scale.astype(g.dtype), jnp.zeros_like(strength)


normalised_gradient.defvjp(_forward, _backward)
