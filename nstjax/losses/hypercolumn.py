"""Distances of hypercolumns: they see all layers of a term at once, at random positions.

A hypercolumn is the feature vectors of all layers at one position of the picture, one after the other. The statistic
is the term's maps, ``per_layer(feature_map)``. The distance draws the positions, from a new key at every step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nstjax.arguments import settle_number
from nstjax.losses.lifting import call_distance
from nstjax.types import Distance, Key, Scalar


@dataclass(frozen=True)
class Sampled:
    """A distance of hypercolumns at random positions; see ``sampled`` and ``sampled_alike``.

    Args:
        distance: (x [N, C], t [M, C]) -> scalar, with a third argument ``key`` if it draws random numbers.
        positions: N, the number of positions in the picture.
        target_positions: M, the number of positions in the target; None: the same positions as in the picture.
    """

    distance: Distance
    positions: int
    target_positions: int | None

    def __post_init__(self):
        settle_number(self, "positions", least=1, whole=True)
        if self.target_positions is not None:
            settle_number(self, "target_positions", least=1, whole=True)

    def __call__(
        self, x: Mapping[str, Float[Array, "_ _ _"]], t: Mapping[str, Float[Array, "_ _ _"]], key: Key
    ) -> Scalar:
        """Return the distance of two ``{layer: map}`` at positions drawn from the key."""
        key_x, key_t, key_distance = jax.random.split(key, 3)
        dtype = next(iter(x.values())).dtype
        positions_x = jax.random.uniform(key_x, (self.positions, 2), dtype)
        positions_t = positions_x
        if self.target_positions is not None:
            positions_t = jax.random.uniform(key_t, (self.target_positions, 2), dtype)
        return call_distance(self.distance, hypercolumns(x, positions_x), hypercolumns(t, positions_t), key_distance)


def sampled(distance: Distance, *, positions: int = 1024, target_positions: int = 1024) -> Sampled:
    """Lift a distance of vectors to maps ``{layer: [h, w, c]}``, read at random positions: for a style term.

    Args:
        distance: (x [N, C], t [M, C]) -> scalar, with a third argument ``key`` if it draws random numbers.
        positions: N, the number of positions drawn evenly over the picture.
        target_positions: M, the number of positions drawn evenly over the target, independently.
    """
    return Sampled(distance, positions, target_positions)


def sampled_alike(distance: Distance, *, positions: int = 1024) -> Sampled:
    """Lift a distance of vectors to maps that are read at the same random positions: for a content term.

    Args:
        distance: (x [N, C], t [N, C]) -> scalar; row i of x and row i of t belong to the same position.
        positions: N, the number of positions drawn evenly over the picture.
    """
    return Sampled(distance, positions, None)


def hypercolumns(maps: Mapping[str, Float[Array, "_ _ _"]], at: Float[Array, "n 2"]) -> Float[Array, "n k"]:
    """Return the hypercolumns of several maps at the given positions, [N, sum of C].

    Args:
        maps: {layer: [h, w, c]}, read by bilinear interpolation.
        at: [N, 2], positions (y, x) in [0, 1), from the upper left corner of the picture to the lower right one.

    Reference: Hariharan, Arbelaez, Girshick and Malik, "Hypercolumns for Object Segmentation and Fine-grained
    Localization", 2015.
    """
    return jnp.concatenate([_interpolate(F, at) for F in maps.values()], axis=1)


def _interpolate(features_HxWxC: Float[Array, "h w c"], at: Float[Array, "n 2"]) -> Float[Array, "n c"]:
    """Interpolate between the centres of a map's positions; outside the outermost centres, take the nearest value."""
    h, w, _ = features_HxWxC.shape
    y, x = jnp.clip(at[:, 0] * h - 0.5, 0, h - 1), jnp.clip(at[:, 1] * w - 0.5, 0, w - 1)
    i, j = y.astype(int), x.astype(int)
    down, right = (y - i.astype(y.dtype))[:, None], (x - j.astype(x.dtype))[:, None]
    i2, j2 = jnp.minimum(i + 1, h - 1), jnp.minimum(j + 1, w - 1)
    above = (1 - right) * features_HxWxC[i, j] + right * features_HxWxC[i, j2]
    below = (1 - right) * features_HxWxC[i2, j] + right * features_HxWxC[i2, j2]
    return (1 - down) * above + down * below
