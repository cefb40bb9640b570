"""Distances of hypercolumns: they see all layers of a term at once, at random positions.

A hypercolumn is the feature vectors of all layers at one position of the picture, one after the other. The statistic
is the term's maps, ``per_layer(feature_map)``. The distance draws the positions, from a new key at every step; those
of the target may also be drawn once, by a function that makes the target.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
        target_positions: M, the number of positions in the target's maps; None: the same positions as in the picture.
    """

    distance: Distance
    positions: int
    target_positions: int | None

    def __post_init__(self):
        settle_number(self, "positions", least=1, whole=True)
        if self.target_positions is not None:
            settle_number(self, "target_positions", least=1, whole=True)

    def __call__(self, x: Mapping[str, Float[Array, "_ _ _"]], t: Any, key: Key) -> Scalar:
        """Return the distance of hypercolumns at positions drawn from the key.

        Args:
            x: {layer: map}.
            t: {layer: map} of the same layers; anything else is the target of ``distance`` as it is.
            key: random key.
        """
        key_x, key_t, key_distance = jax.random.split(key, 3)
        at = draw_positions(key_x, self.positions, x)
        if isinstance(t, Mapping) and t.keys() == x.keys():
            target_at = at
            if self.target_positions is not None:
                target_at = draw_positions(key_t, self.target_positions, t)
            t = hypercolumns(t, target_at)
        return call_distance(self.distance, hypercolumns(x, at), t, key_distance)


def sampled(distance: Distance, *, positions: int = 1024, target_positions: int = 1024) -> Sampled:
    """Lift a distance of vectors to maps ``{layer: [h, w, c]}``, read at random positions: for a style term.

    Args:
        distance: (x [N, C], t [M, C]) -> scalar, with a third argument ``key`` if it draws random numbers.
        positions: N, the number of positions drawn evenly over the picture.
        target_positions: M, the number of positions drawn evenly over the target's maps, independently. A target that
            a function makes, such as hypercolumns at positions drawn once, is compared as it is.
    """
    return Sampled(distance, positions, target_positions)


def sampled_alike(distance: Distance, *, positions: int = 1024) -> Sampled:
    """Lift a distance of vectors to maps that are read at the same random positions: for a content term.

    Args:
        distance: (x [N, C], t [N, C]) -> scalar; row i of x and row i of t belong to the same position.
        positions: N, the number of positions drawn evenly over the picture.
    """
    return Sampled(distance, positions, None)


def draw_positions(key: Key, count: int, maps: Mapping[str, Float[Array, "_ _ _"]]) -> Float[Array, "n 2"]:
    """Draw positions [N, 2] for ``hypercolumns``: centres of positions of the largest map, evenly, with repetition."""
    sides = [max(sides) for sides in zip(*(F.shape[:2] for F in maps.values()), strict=True)]
    dtype = next(iter(maps.values())).dtype
    return (jax.random.randint(key, (count, 2), 0, jnp.array(sides)).astype(dtype) + 0.5) / jnp.array(sides, dtype)


def hypercolumns(
    maps: Mapping[str, Float[Array, "_ _ _"]], at: Float[Array, "n 2"], *, interpolate: bool = True
) -> Float[Array, "n k"]:
    """Return the hypercolumns of several maps at the given positions, [N, sum of C].

    Args:
        maps: {layer: [h, w, c]}.
        at: [N, 2], positions (y, x) in [0, 1), from the upper left corner of the picture to the lower right one.
        interpolate: read the maps by bilinear interpolation; otherwise take the nearest feature vector of each.

    Reference: Hariharan, Arbelaez, Girshick and Malik, "Hypercolumns for Object Segmentation and Fine-grained
    Localization", 2015.
    """
    read = _interpolate if interpolate else _read_nearest
    return jnp.concatenate([read(F, at) for F in maps.values()], axis=1)


def _read_nearest(features_HxWxC: Float[Array, "h w c"], at: Float[Array, "n 2"]) -> Float[Array, "n c"]:
    h, w, _ = features_HxWxC.shape
    return features_HxWxC[(at[:, 0] * h).astype(int), (at[:, 1] * w).astype(int)]


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
