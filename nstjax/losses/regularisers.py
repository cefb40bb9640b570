"""Losses on the picture itself: differences of neighbouring pixels, and values outside the range.

Picture p ``[H, W, 3]``, with neighbour differences dx (along the width) and dy (along the height).
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array

from nstjax.arguments import settle_number
from nstjax.types import Picture, Scalar


def _differences(p: Picture) -> tuple[Array, Array]:
    return p[:, 1:] - p[:, :-1], p[1:] - p[:-1]


def _variation(p: Picture, power: float) -> Array:
    """Return ``(dx^2 + dy^2)^(power/2)`` at the (H-1) x (W-1) positions that have both."""
    square = (p[:-1, 1:] - p[:-1, :-1]) ** 2 + (p[1:, :-1] - p[:-1, :-1]) ** 2
    if power == 2:
        return square
    # Where a picture is flat, the chain rule gives no finite derivative for a power below 2: zero is used.
    varies = square > 0
    return jnp.where(varies, jnp.where(varies, square, 1) ** (power / 2), 0)


def total_variation_l1(p: Picture) -> Scalar:
    """Return the total variation ``sum |dx| + sum |dy|``.

    Reference: neural-style-pt, neural-style-tf, the TensorFlow tutorial.
    """
    dx, dy = _differences(p)
    return jnp.sum(jnp.abs(dx)) + jnp.sum(jnp.abs(dy))


def total_variation_mean_l1(p: Picture) -> Scalar:
    """Return the total variation ``mean |dx| + mean |dy|``.

    The same weight suits pictures of every size.
    """
    dx, dy = _differences(p)
    return jnp.mean(jnp.abs(dx)) + jnp.mean(jnp.abs(dy))


def total_variation_squared(p: Picture) -> Scalar:
    """Return the squared total variation ``sum dx^2 + sum dy^2``."""
    dx, dy = _differences(p)
    return jnp.sum(dx**2) + jnp.sum(dy**2)


def total_variation_mean_squared(p: Picture) -> Scalar:
    """Return the squared total variation ``mean dx^2 + mean dy^2``.

    Reference: anishathalye/neural-style.
    """
    dx, dy = _differences(p)
    return jnp.mean(dx**2) + jnp.mean(dy**2)


def total_variation_half_squared(p: Picture) -> Scalar:
    """Return half the squared total variation, ``1/2 sum (dx^2 + dy^2)``, over the (H-1) x (W-1) crop.

    Reference: neural-style, which computes the gradient of this loss.
    """
    return 0.5 * jnp.sum(_variation(p, 2.0))


def total_variation_periodic(p: Picture) -> Scalar:
    """Return the squared total variation ``sum dx^2 + sum dy^2`` of a picture that wraps around.

    Reference: crowsonkb/style_transfer.
    """
    dx, dy = p - jnp.roll(p, 1, axis=1), p - jnp.roll(p, 1, axis=0)
    return jnp.sum(dx**2) + jnp.sum(dy**2)


def total_variation_keras(p: Picture) -> Scalar:
    """Return the total variation ``sum (dx^2 + dy^2)^1.25`` over the (H-1) x (W-1) crop.

    Reference: the Keras example ``neural_style_transfer``.
    """
    return jnp.sum(_variation(p, 2.5))


def total_variation_pystiche(p: Picture) -> Scalar:
    """Return the squared total variation ``mean (dx^2 + dy^2)`` over the (H-1) x (W-1) crop.

    Reference: pystiche, with its default exponent 2.
    """
    return jnp.mean(_variation(p, 2.0))


@dataclass(frozen=True)
class TotalVariation:
    """Total variation with any exponent: ``sum (dx^2 + dy^2)^(power/2)`` over the (H-1) x (W-1) crop.

    Args:
        power: 1 or more. 1 leaves edges sharp, 2 rounds them, and more spreads each edge over many pixels.

    Raises:
        UserError: the power is below 1.

    Reference: Mahendran and Vedaldi, "Understanding Deep Image Representations by Inverting Them", 2015 (their beta).
    """

    power: float = 2.0

    def __post_init__(self):
        settle_number(self, "power", least=1)

    def __call__(self, p: Picture) -> Scalar:
        """Return the total variation of a picture."""
        return jnp.sum(_variation(p, self.power))


def total_variation_nine_point(p: Picture) -> Scalar:
    """Return the total variation of nine points, with the edges replicated.

    ``2 [mean dx^2 / 3 + mean dy^2 / 3 + mean d\\^2 / 12 + mean d/^2 / 12]``, where d\\ and d/ are the differences
    along the two diagonals.

    Reference: crowsonkb/style-transfer-pytorch.
    """
    q = jnp.pad(p, ((1, 1), (1, 1), (0, 0)), mode="edge")
    dx, dy = q[1:-1, 2:] - q[1:-1, 1:-1], q[2:, 1:-1] - q[1:-1, 1:-1]
    down, up = q[1:, 1:] - q[:-1, :-1], q[1:, :-1] - q[:-1, 1:]
    return 2 * (jnp.mean(dx**2) / 3 + jnp.mean(dy**2) / 3 + jnp.mean(down**2) / 12 + jnp.mean(up**2) / 12)


def value_range(p: Picture) -> Scalar:
    """Return the mean squared excess ``mean (p - clip(p, 0, 1))^2``: zero inside the range that a file can hold."""
    return jnp.mean((p - jnp.clip(p, 0, 1)) ** 2)
