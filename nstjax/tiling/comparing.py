"""Distances of whole maps, added up tile by tile, so that no map of the picture is kept but the target."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from nstjax.losses.elementwise import is_sum_over_elements
from nstjax.losses.lifting import LayerSum
from nstjax.statistics import PerLayer, feature_map
from nstjax.types import FeatureMap, Scalar, Term


@functools.partial(jax.tree_util.register_dataclass, data_fields=["map", "step", "unit"], meta_fields=[])
@dataclass(frozen=True)
class Reference:
    """The target map of one layer, and what a distance from it is divided by.

    A distance that is a sum over elements is ``sum e(x - t) / D``, where D depends on the target. If x differs from t
    by a step in one element, the distance shows D but for a factor ``e(step)``, which is the same for every window.

    Args:
        map: the target.
        step: a difference that is not lost in the rounding of an element.
        unit: the distance of a map that differs from the target by the step in one element.
    """

    map: FeatureMap
    step: Scalar
    unit: Scalar


def is_additive(term: Term) -> bool:
    """Return whether a term compares maps by a distance that is a sum over their elements."""
    compares_maps = isinstance(term.statistic, PerLayer) and term.statistic.statistic is feature_map
    return compares_maps and isinstance(term.distance, LayerSum) and is_sum_over_elements(term.distance.distance)


def make_references(term: Term, target: dict[str, FeatureMap]) -> dict[str, Reference]:
    """Return the reference of each layer of a term that ``is_additive``."""

    def make(t: FeatureMap) -> Reference:
        step = 1 + jnp.max(jnp.abs(t))
        return Reference(t, step, _measure_unit(term, t, step))

    return {layer: make(target[layer]) for layer in term.layers}


def compare_tile(term: Term, x: FeatureMap, reference: Reference, mask: Bool[Array, "h w"]) -> Scalar:
    """Return the part of a distance that belongs to one tile.

    Args:
        term: a term that ``is_additive``.
        x: the map of the tile's window.
        reference: the reference, whose map is that of the window.
        mask: the positions of the tile.
    """
    t = reference.map
    inside = jnp.where(mask[..., None], x, t)
    return _call(term, inside, t) * (reference.unit / _measure_unit(term, t, reference.step))


def _measure_unit(term: Term, t: Any, step: Any) -> Scalar:
    return _call(term, t.at[0, 0, 0].add(step), t)  # one element: no rounding of a sum


def _call(term: Term, x: Any, t: Any) -> Scalar:
    assert isinstance(term.distance, LayerSum)
    return term.distance.distance(x, t)
