"""Distances of hypercolumns: of all of a term's layers at once, at random positions.

A hypercolumn is what every layer says of one position of the picture, one layer behind the other. The statistic is the
term's maps, ``per_layer(feature_map)``; positions are drawn by the distance, which has the key, anew at every step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.losses.lifting import takes_key
from nstjax.types import Distance, Key, Scalar


@dataclass(frozen=True)
class Sampled:
    """``distance(hypercolumns of x, hypercolumns of t)``; see ``sampled`` and ``sampled_alike``."""

    distance: Distance
    positions: int
    target_positions: int | None

    def __call__(
        self, x: Mapping[str, Float[Array, "_ _ _"]], t: Mapping[str, Float[Array, "_ _ _"]], key: Key
    ) -> Scalar:
        """The distance at positions that the key draws."""
        key_x, key_t, key_distance = jax.random.split(key, 3)
        dtype = next(iter(x.values())).dtype
        at_x = jax.random.uniform(key_x, (self.positions, 2), dtype)
        at_t = at_x
        if self.target_positions is not None:
            at_t = jax.random.uniform(key_t, (self.target_positions, 2), dtype)
        own = {"key": key_distance} if takes_key(self.distance) else {}
        return self.distance(hypercolumns(x, at_x), hypercolumns(t, at_t), **own)


def sampled(distance: Distance, *, positions: int = 1024, target_positions: int = 1024) -> Sampled:
    """Lift a distance of vectors ``(x [N, C], t [M, C])`` to maps ``{layer: [h, w, c]}``, read at random positions.

    Args:
        distance: for a style; with a third argument ``key`` where it is stochastic itself.
        positions: N, drawn evenly over the picture.
        target_positions: M, drawn evenly over the target, by themselves.
    """
    return Sampled(distance, positions, target_positions)


def sampled_alike(distance: Distance, *, positions: int = 1024) -> Sampled:
    """Lift a distance of vectors to maps that are read at the same random positions: for a content.

    Args:
        distance: (x [N, C], t [N, C]) -> scalar, row i of either being of the same position.
        positions: N, drawn evenly over the picture.
    """
    return Sampled(distance, positions, None)


def hypercolumns(maps: Mapping[str, Float[Array, "_ _ _"]], at: Float[Array, "n 2"]) -> Float[Array, "n k"]:
    """What the maps say at some positions, [N, sum of their channels].

    Args:
        maps: {layer: [h, w, c]}, read by bilinear interpolation.
        at: (y, x) in [0, 1), from the picture's upper left corner to its lower right one.

    Reference: Hariharan, Arbelaez, Girshick and Malik, "Hypercolumns for Object Segmentation and Fine-grained
    Localization", 2015.
    """
    return jnp.concatenate([_read(F, at) for F in maps.values()], axis=1)


def _read(features_HxWxC: Float[Array, "h w c"], at: Float[Array, "n 2"]) -> Float[Array, "n c"]:
    """Between the centres of positions; beyond the outermost ones their own value."""
    h, w, _ = features_HxWxC.shape
    y, x = jnp.clip(at[:, 0] * h - 0.5, 0, h - 1), jnp.clip(at[:, 1] * w - 0.5, 0, w - 1)
    i, j = y.astype(int), x.astype(int)
    down, right = (y - i.astype(y.dtype))[:, None], (x - j.astype(x.dtype))[:, None]
    i2, j2 = jnp.minimum(i + 1, h - 1), jnp.minimum(j + 1, w - 1)
    above = (1 - right) * features_HxWxC[i, j] + right * features_HxWxC[i, j2]
    below = (1 - right) * features_HxWxC[i2, j] + right * features_HxWxC[i2, j2]
    return (1 - down) * above + down * below
