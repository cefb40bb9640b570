"""Distances of whole maps, added up tile by tile, so that no map of the picture is kept, or none but the target."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from nstjax.losses.elementwise import is_sum_over_elements
from nstjax.losses.lifting import LayerSum
from nstjax.statistics import PerLayer, feature_map
from nstjax.types import FeatureMap, Picture, Scalar, Term


@functools.partial(jax.tree_util.register_dataclass, data_fields=["step", "unit"], meta_fields=[])
@dataclass(frozen=True)
class Scale:
    """The scale of distances from one layer's target map.

    A distance that is a sum over elements is ``sum e(x - t) / D``, where D depends on the target. If x differs from t
    by a step in one element, the distance shows D but for a factor ``e(step)``, which is the same for every window.

    Args:
        step: a difference that is not lost in the rounding of an element.
        unit: the distance of a map that differs from the target by the step in one element.
    """

    step: Scalar
    unit: Scalar


@functools.partial(jax.tree_util.register_dataclass, data_fields=["maps", "scales"], meta_fields=[])
@dataclass(frozen=True)
class KeptMaps:
    """The target of a term that ``is_additive``: {layer: map}, and {layer: scale}."""

    maps: Mapping[str, FeatureMap]
    scales: Mapping[str, Scale]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["picture", "scales"], meta_fields=[])
@dataclass(frozen=True)
class ComputedMaps:
    """The same without the maps: they are computed whenever needed, from the picture [H, W, 3] whose maps they are."""

    picture: Picture
    scales: Mapping[str, Scale]


_ROWS = 16
"""Rows of a map that are compared at a time to find its scale."""


def is_additive(term: Term) -> bool:
    """Return whether a term compares maps by a distance that is a sum over their elements."""
    compares_maps = isinstance(term.statistic, PerLayer) and term.statistic.statistic is feature_map
    return compares_maps and isinstance(term.distance, LayerSum) and is_sum_over_elements(term.distance.distance)


def make_scale(term: Term, t: FeatureMap) -> Scale:
    """Return the scale of the distances from a map, for a term that ``is_additive``.

    No array of the map's size is made. The whole map is compared with a constant, which needs none, and so is every
    part of it, where the unit is known: ``sum e(x - t) / D`` over ``sum e(x - t) / e(step)`` is the unit.
    """
    step, rows = 1 + jnp.max(jnp.abs(t)), min(_ROWS, len(t))

    def add_part(k: Any, total: Scalar) -> Scalar:
        start = jnp.minimum(k * rows, len(t) - rows)
        part = lax.dynamic_slice_in_dim(t, start, rows)
        is_new = start + jnp.arange(rows) >= k * rows
        constant = jnp.where(is_new[:, None, None], step, part)
        return total + _call(term, constant, part) / _measure_unit(term, part, step)

    units = lax.fori_loop(0, -(-len(t) // rows), add_part, jnp.zeros_like(step))
    return Scale(step, _call(term, jnp.full_like(t, step), t) / units)


def compare_tile(term: Term, x: FeatureMap, t: FeatureMap, scale: Scale, mask: Bool[Array, "h w"]) -> Scalar:
    """Return the part of a distance that belongs to one tile.

    Args:
        term: a term that ``is_additive``.
        x: the map of the tile's window.
        t: the target in that window.
        scale: the scale of the whole target.
        mask: the positions of the tile.
    """
    inside = jnp.where(mask[..., None], x, t)
    return _call(term, inside, t) * (scale.unit / _measure_unit(term, t, scale.step))


def _measure_unit(term: Term, t: Any, step: Any) -> Scalar:
    return _call(term, t.at[0, 0, 0].add(step), t)  # one element: no rounding of a sum


def _call(term: Term, x: Any, t: Any) -> Scalar:
    assert isinstance(term.distance, LayerSum)
    return term.distance.distance(x, t)
