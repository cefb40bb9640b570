"""Distances of any statistic, element by element: the content losses, and the losses of Gram matrices."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.types import Scalar

_F = TypeVar("_F", bound=Callable[..., Any])


def sums_over_elements(distance: _F) -> _F:
    """Mark a distance of maps as ``sum e(x - t) / D``: a sum over elements, with D from the shape and from t alone.

    Such a distance of a large picture is added up tile by tile; of any other, the whole maps are kept.
    """
    distance.sums_over_elements = True  # type: ignore[attr-defined]
    return distance


def is_sum_over_elements(distance: Callable[..., Any]) -> bool:
    """Return whether a distance is marked ``@sums_over_elements``."""
    return getattr(distance, "sums_over_elements", False)


_EPSILON = 1e-12
"""Keeps the divisions below finite where a target is flat; it matters only where its mean square is near 1e-12."""


@sums_over_elements
def sum_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """Return the sum of squares ``sum (x - t)^2``: the content loss of the Keras example."""
    return jnp.sum((x - t) ** 2)


@sums_over_elements
def half_sum_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """Return half the sum of squares, ``1/2 sum (x - t)^2``.

    Reference: Gatys, Ecker and Bethge 2016, equation 1.
    """
    return 0.5 * jnp.sum((x - t) ** 2)


@sums_over_elements
def mean_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """Return the mean of squares ``mean (x - t)^2``.

    Reference: the content and Gram losses of neural-style, pystiche and the tutorials.
    """
    return jnp.mean((x - t) ** 2)


def quarter_mean_squared(x: Float[Array, "c c"], t: Float[Array, "c c"]) -> Scalar:
    """Return a quarter of the mean of squares, ``1/(4 C^2) sum (x - t)^2``, of matrices [C, C].

    With ``gram`` this is the style loss ``1/(4 C^2 N^2) sum (F F^T - T T^T)^2``, for pictures of any two sizes.

    Reference: Gatys, Ecker and Bethge 2016, equation 4.
    """
    return jnp.mean((x - t) ** 2) / 4


def keras_style(x: Float[Array, "c c"], t: Float[Array, "c c"]) -> Scalar:
    """Return the Keras example's style loss ``1/(4 * 3^2) sum (x - t)^2``, for ``gram_over_picture``.

    Reference: the Keras example ``neural_style_transfer`` (its "channels" are the picture's three at every layer).
    """
    return jnp.sum((x - t) ** 2) / (4 * 3**2)


@sums_over_elements
def root_scaled_content(x: Float[Array, "h w c"], t: Float[Array, "h w c"]) -> Scalar:
    """Return the content loss of neural-style-tf, ``1/(2 sqrt(C) sqrt(N)) sum (x - t)^2``."""
    return jnp.sum((x - t) ** 2) / (2 * jnp.sqrt(float(x.size)))


@sums_over_elements
def relative_squared(x: Float[Array, "..."], t: Float[Array, "..."]) -> Scalar:
    """Return the relative squared error ``sum (x - t)^2 / sum t^2``.

    Its value does not depend on the scale of the activations.
    """
    return jnp.sum((x - t) ** 2) / (jnp.sum(t**2) + _EPSILON)


@sums_over_elements
def variance_scaled(x: Float[Array, "h w c"], t: Float[Array, "h w c"]) -> Scalar:
    """Return the mean of squares over the variance, ``mean (x - t)^2 / var(t)``, over all of t.

    A content loss that does not depend on the scale of the activations.
    """
    return jnp.mean((x - t) ** 2) / (jnp.var(t) + _EPSILON)
