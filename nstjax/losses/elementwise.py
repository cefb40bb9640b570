"""Distances of any statistic, position by position, from its target: content losses, and Gram matrices' losses."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.types import Scalar

_EPSILON = 1e-12
"""Keeps the divisions below finite where a target is flat; it bites only when its mean square is near 1e-12."""


def sum_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """``sum (x - t)^2``: the Keras example's content loss."""
    return jnp.sum((x - t) ** 2)


def half_sum_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """``1/2 sum (x - t)^2``.

    Reference: Gatys, Ecker and Bethge 2016, equation 1.
    """
    return 0.5 * jnp.sum((x - t) ** 2)


def mean_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """``mean (x - t)^2``: the content loss of neural-style, pystiche and the tutorials, and their Gram loss."""
    return jnp.mean((x - t) ** 2)


def quarter_mean_squared(x: Float[Array, "c c"], t: Float[Array, "c c"]) -> Scalar:
    """``1/(4 C^2) sum (x - t)^2`` of matrices [C, C].

    With ``gram`` this is the style loss ``1/(4 C^2 N^2) sum (F F^T - T T^T)^2``, for pictures of unlike sizes too.

    Reference: Gatys, Ecker and Bethge 2016, equation 4.
    """
    return jnp.mean((x - t) ** 2) / 4


def keras_style(x: Float[Array, "c c"], t: Float[Array, "c c"]) -> Scalar:
    """``1/(4 * 3^2) sum (x - t)^2``, for ``gram_over_picture``.

    Reference: the Keras example ``neural_style_transfer`` (its "channels" are the picture's three at every layer).
    """
    return jnp.sum((x - t) ** 2) / (4 * 3**2)


def root_scaled_content(x: Float[Array, "h w c"], t: Float[Array, "h w c"]) -> Scalar:
    """``1/(2 sqrt(C) sqrt(N)) sum (x - t)^2``: the content loss of neural-style-tf."""
    return jnp.sum((x - t) ** 2) / (2 * jnp.sqrt(float(x.size)))


def relative_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """``sum (x - t)^2 / sum t^2``: the same number whatever the scale of the network's activations."""
    return jnp.sum((x - t) ** 2) / (jnp.sum(t**2) + _EPSILON)


def variance_scaled(x: Float[Array, "h w c"], t: Float[Array, "h w c"]) -> Scalar:
    """``mean (x - t)^2 / var(t)``, the variance over all of t: a content loss free of the activations' scale."""
    return jnp.mean((x - t) ** 2) / (jnp.var(t) + _EPSILON)
