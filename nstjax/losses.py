"""Losses: how far a statistic is from its target, and the losses on the picture itself.

Each is a few lines in the letters of its formula: x a statistic, t its target, D = x - t; picture p ``[H, W, 3]`` with
neighbour differences dx (along the width) and dy (along the height). The weight in front is the objective's.

``layer_sum`` and ``layer_mean`` lift a distance of two statistics to two dicts of them, one per layer.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.types import Distance, Key, Picture, Scalar

_EPSILON = 1e-12
"""Keeps the divisions below finite where a target is flat; it bites only when its mean square is near 1e-12."""


# Distances between a statistic and its target.


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


@dataclass(frozen=True)
class LayerSum:
    """``sum_l w_l distance(x_l, t_l)`` over the layers of a term; see ``layer_sum``."""

    distance: Distance
    weights: tuple[tuple[str, float], ...] | None
    mean: bool

    def __call__(self, x: Mapping[str, Any], t: Mapping[str, Any], key: Key | None = None) -> Scalar:
        """The weighted sum or mean, with a key of its own for each layer where the distance takes one."""
        weights = dict(self.weights) if self.weights is not None else dict.fromkeys(x, 1.0)
        if set(weights) != set(x):
            raise ValueError(f"layer weights for {sorted(weights)}, but the statistic has layers {sorted(x)}")
        keys: list[dict[str, Key]] = [{} for _ in x]
        if takes_key(self.distance):
            if key is None:
                raise ValueError(f"{self.distance} draws random numbers: pass key=")
            keys = [{"key": k} for k in jax.random.split(key, len(x))]
        total = sum(weights[it] * self.distance(x[it], t[it], **k) for it, k in zip(x, keys, strict=True))
        return jnp.asarray(total / sum(weights.values()) if self.mean else total)


def layer_sum(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``: ``sum_l w_l distance(x_l, t_l)``.

    Args:
        distance: (statistic, target) -> scalar, with a third argument ``key`` where it is stochastic.
        weights: ``{layer: w_l}``; all 1 by default.
    """
    return LayerSum(distance, None if weights is None else tuple(weights.items()), mean=False)


def layer_mean(distance: Distance, *, weights: Mapping[str, float] | None = None) -> LayerSum:
    """Lift a distance to ``{layer: statistic}``: ``sum_l w_l distance(x_l, t_l) / sum_l w_l``."""
    return LayerSum(distance, None if weights is None else tuple(weights.items()), mean=True)


def takes_key(distance: Distance) -> bool:
    """Whether a distance draws random numbers, which it says by having an argument named ``key``."""
    if isinstance(distance, LayerSum):
        return takes_key(distance.distance)
    return "key" in inspect.signature(distance).parameters


# Losses on the picture.


def _differences(p: Picture) -> tuple[Array, Array]:
    return p[:, 1:] - p[:, :-1], p[1:] - p[:-1]


def _cropped_differences(p: Picture) -> tuple[Array, Array]:
    """dx and dy at the (H-1) x (W-1) positions that have both."""
    return p[:-1, 1:] - p[:-1, :-1], p[1:, :-1] - p[:-1, :-1]


def total_variation_l1(p: Picture) -> Scalar:
    """``sum |dx| + sum |dy|``: neural-style-pt, neural-style-tf, the TensorFlow tutorial."""
    dx, dy = _differences(p)
    return jnp.sum(jnp.abs(dx)) + jnp.sum(jnp.abs(dy))


def total_variation_mean_l1(p: Picture) -> Scalar:
    """``mean |dx| + mean |dy|``: total variation whose weight means the same at every size."""
    dx, dy = _differences(p)
    return jnp.mean(jnp.abs(dx)) + jnp.mean(jnp.abs(dy))


def total_variation_squared(p: Picture) -> Scalar:
    """``sum dx^2 + sum dy^2``."""
    dx, dy = _differences(p)
    return jnp.sum(dx**2) + jnp.sum(dy**2)


def total_variation_mean_squared(p: Picture) -> Scalar:
    """``mean dx^2 + mean dy^2``: anishathalye/neural-style."""
    dx, dy = _differences(p)
    return jnp.mean(dx**2) + jnp.mean(dy**2)


def total_variation_half_squared(p: Picture) -> Scalar:
    """``1/2 sum (dx^2 + dy^2)`` over the (H-1) x (W-1) crop: what neural-style's TV gradient integrates to."""
    dx, dy = _cropped_differences(p)
    return 0.5 * jnp.sum(dx**2 + dy**2)


def total_variation_periodic(p: Picture) -> Scalar:
    """``sum dx^2 + sum dy^2`` of a picture that wraps around: crowsonkb/style_transfer."""
    dx, dy = p - jnp.roll(p, 1, axis=1), p - jnp.roll(p, 1, axis=0)
    return jnp.sum(dx**2) + jnp.sum(dy**2)


def total_variation_keras(p: Picture) -> Scalar:
    """``sum (dx^2 + dy^2)^1.25`` over the (H-1) x (W-1) crop: the Keras example."""
    dx, dy = _cropped_differences(p)
    return jnp.sum((dx**2 + dy**2) ** 1.25)


def total_variation_pystiche(p: Picture) -> Scalar:
    """``mean (dx^2 + dy^2)`` over the (H-1) x (W-1) crop: pystiche, with its default exponent 2."""
    dx, dy = _cropped_differences(p)
    return jnp.mean(dx**2 + dy**2)


def total_variation_nine_point(p: Picture) -> Scalar:
    """``2 [mean dx^2 / 3 + mean dy^2 / 3 + mean d\\^2 / 12 + mean d/^2 / 12]``, edges replicated.

    d\\ and d/ are the differences along the two diagonals. Reference: crowsonkb/style-transfer-pytorch.
    """
    q = jnp.pad(p, ((1, 1), (1, 1), (0, 0)), mode="edge")
    dx, dy = q[1:-1, 2:] - q[1:-1, 1:-1], q[2:, 1:-1] - q[1:-1, 1:-1]
    down, up = q[1:, 1:] - q[:-1, :-1], q[1:, :-1] - q[:-1, 1:]
    return 2 * (jnp.mean(dx**2) / 3 + jnp.mean(dy**2) / 3 + jnp.mean(down**2) / 12 + jnp.mean(up**2) / 12)


def value_range(p: Picture) -> Scalar:
    """``mean (p - clip(p, 0, 1))^2``: zero inside the range that a file can hold."""
    return jnp.mean((p - jnp.clip(p, 0, 1)) ** 2)
