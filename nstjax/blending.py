"""Several styles in one term, and regions of the picture that have different styles.

In each region the styles are blended by their shares. A statistic that is a sum over positions is blended itself: the
result is exact, and gives one target for each region. For any other statistic the distances to the styles are blended.

Reference: Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style Transfer",
2017, section 4.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from nstjax.errors import UserError
from nstjax.losses.lifting import LayerSum, call_distance
from nstjax.losses.results import check_statistic
from nstjax.statistics import is_sum_over_positions
from nstjax.types import Distance, Features, Guides, Key, PictureLike, RegionGuides, Scalar, Term

Region: TypeAlias = int | None
"""The index of a region in the guides; None is the whole picture."""

Blend: TypeAlias = Sequence[float] | Sequence[Sequence[float]]
"""One number for each style; or rows of them, one row for each region."""

Shares: TypeAlias = Mapping[Region, tuple[float, ...]]
"""The share of each style in each region; the shares of a region sum to 1."""


@partial(jax.tree_util.register_dataclass, data_fields=["targets", "shares"], meta_fields=["regions"])
@dataclass(frozen=True)
class Mixture:
    """Several targets of one term: ``sum_m share_m distance(statistic in region_m, target_m)``.

    Args:
        targets: M statistics.
        shares: [M], the weight of each distance.
        regions: M regions of the picture, in which its statistic is taken.
    """

    targets: tuple[PyTree, ...]
    shares: Float[Array, "m"]
    regions: tuple[Region, ...]


@partial(jax.tree_util.register_dataclass, data_fields=["values"], meta_fields=[])
@dataclass(frozen=True)
class Distances:
    """The distances of a term at its layers, in place of its statistic.

    Args:
        values: {layer: distance}.
    """

    values: dict[str, Scalar]

    def combine(self, distance: Distance) -> Scalar:
        """Return the value of the term whose distance this is."""
        assert isinstance(distance, LayerSum)
        return replace(distance, distance=_get_first)(self.values, self.values)


def _get_first(x: Scalar, t: Scalar) -> Scalar:
    return x


def normalise_blend(blend: Blend | None, *, styles: int, regions: int | None) -> Shares:
    """Return the share of each style in each region.

    Args:
        blend: numbers of at least 0, of any sum; None: equal shares.
        styles: number of styles.
        regions: number of regions in the style guides; None if there are no guides. A blend in rows has a region for
            each row, with or without guides.

    Raises:
        UserError: the numbers are too many or too few, negative, or all zero.
    """
    rows = [*blend] if blend is not None else [1.0] * styles
    nested = bool(rows) and isinstance(rows[0], Sequence)
    if nested and regions not in (None, len(rows)):
        raise UserError(
            f"the blend has {len(rows)} rows, but the style guides have {regions} regions: give one row for each region"
        )
    if nested:
        return {region: _normalise_row(row, styles) for region, row in enumerate(rows)}
    row = _normalise_row(rows, styles)
    return {None: row} if regions is None else dict.fromkeys(range(regions), row)


def _normalise_row(row: Any, styles: int) -> tuple[float, ...]:
    if not isinstance(row, Sequence) or len(row) != styles:
        raise UserError(
            f"the blend needs a number for each of {styles} styles, or a row of them for each region: got {row}"
        )
    if not all(math.isfinite(number) and number >= 0 for number in row) or not sum(row):
        raise UserError(f"the numbers of a blend must be at least 0, and one must be greater than 0: got {[*row]}")
    return tuple(number / sum(row) for number in row)


def count_regions(styles: Sequence[PictureLike], guides: Sequence[RegionGuides | None]) -> int | None:
    """Return the number of regions in the style guides, after checks of their shapes; None if there are no guides."""
    if len(guides) != len(styles):
        raise UserError(f"{len(guides)} style guides for {len(styles)} styles: give each style its guides, or None")
    for k, (picture, guide) in enumerate(zip(styles, guides, strict=True), 1):
        if guide is not None and (guide.ndim != 3 or guide.shape[1:] != picture.shape[:2]):
            expected = ["regions", *picture.shape[:2]]
            raise UserError(f"the guides of style {k} must be {expected}, as its picture is, not {[*guide.shape]}")
    counts = {guide.shape[0] for guide in guides if guide is not None}
    if len(counts) > 1:
        raise UserError(f"the guides of all styles must have the same regions: got {sorted(counts)} of them")
    return counts.pop() if counts else None


def check_regions(term: Term, shares: Shares) -> None:
    """Raise if there are regions and the term cannot be restricted to one.

    Raises:
        UserError: there are regions, and the term's statistic is not a sum over positions.
    """
    if None not in shares and not has_exact_blends(term):
        reason = "is made by a function" if callable(term.target) else "is not a sum over positions, as gram is"
        part = "target" if callable(term.target) else "statistic"
        raise UserError(f"the term {term.name!r} cannot be guided by regions: its {part} {reason}")


def has_exact_blends(term: Term) -> bool:
    """Return whether the targets of a term can be blended themselves, and restricted to regions."""
    return is_sum_over_positions(term.statistic) and not callable(term.target)


def check_guides(term: Term, target: PyTree, guides: Guides | None) -> None:
    """Raise unless there are guides exactly if the target has regions, and as many as it has."""
    regional = isinstance(target, Mixture) and None not in target.regions
    if guides is None:
        if regional:
            raise ValueError(f"the target of term {term.name!r} has regions: pass guides=")
        return
    if not regional:
        raise ValueError(f"the target of term {term.name!r} has no regions: give targets style_guides, or blend rows")
    for layer in term.layers:
        if len(guides[layer]) != len(target.regions):
            raise UserError(
                f"the guides at {layer} must have {len(target.regions)} regions, as the target has, "
                f"not {len(guides[layer])}"
            )


def check_guide_shapes(guides: Guides, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise unless the guides have the height and width of the map, (h, w, …), of each of these layers."""
    for layer, (h, w, *_) in shapes.items():
        if guides[layer].shape[1:] != (h, w):
            expected = [len(guides[layer]), h, w]
            raise UserError(f"the guides at {layer} must be {expected}, not {[*guides[layer].shape]}")


def measure(term: Term, features: Features, guides: Guides | None, regions: Sequence[Region]) -> dict[Region, PyTree]:
    """Return the statistic of a term in each of the given regions; the region None is the whole picture.

    Raises:
        UserError: the guides do not fit the feature maps, or the statistic does not consist of arrays.
    """
    maps = {layer: features[layer] for layer in term.layers}
    statistics = {}
    for region in regions:
        options = {}
        if region is not None and guides is not None:
            check_guide_shapes(guides, {layer: x.shape for layer, x in maps.items()})
            options = {"weights": {layer: guides[layer][region] for layer in term.layers}}
        statistics[region] = check_statistic(term.statistic(maps, **options), term.statistic)
    return statistics


def list_regions(target: PyTree) -> tuple[Region, ...]:
    """List the regions, each once, in which a target wants the statistic of a picture."""
    return tuple(dict.fromkeys(target.regions)) if isinstance(target, Mixture) else (None,)


def compare(term: Term, statistics: Mapping[Region, PyTree], target: PyTree, key: Key | None) -> Scalar:
    """Return the distance of a term's statistic from its target; for a ``Mixture``, the weighted sum over targets.

    Args:
        term: the term.
        statistics: the statistic in each of ``list_regions(target)``; or ``Distances`` in its place.
        target: the target of the term.
        key: random key; needed only if the distance draws random numbers.
    """
    if isinstance(distances := statistics.get(None), Distances):
        return distances.combine(term.distance)
    if not isinstance(target, Mixture):
        return call_distance(term.distance, statistics[None], target, key)
    value = jnp.float32(0)
    for m, (t, region) in enumerate(zip(target.targets, target.regions, strict=True)):
        target_key = None if key is None else jax.random.fold_in(key, m)
        value += target.shares[m] * call_distance(term.distance, statistics[region], t, target_key)
    return value


def combine_targets(term: Term, shares: Shares, statistics: Sequence[Mapping[Region, PyTree]]) -> PyTree:
    """Return the target of a style term: a plain statistic where one is enough, else a ``Mixture``.

    Args:
        term: the style term.
        shares: the share of each style in each region. Every region counts 1/regions in the term's value.
        statistics: {region: statistic} of each style, for the regions in which the style has a share.
    """
    if has_exact_blends(term):
        share = 1 / len(shares)
        parts = [(share, _blend_statistics(row, statistics, region), region) for region, row in shares.items()]
    else:
        styles = zip(shares[None], statistics, strict=True)
        parts = [(share, by_region[None], None) for share, by_region in styles if share]
    if [region for _, _, region in parts] == [None]:
        return parts[0][1]
    weights, targets, regions = zip(*parts, strict=True)
    return Mixture(targets, jnp.array(weights, jnp.float32), regions)


def _blend_statistics(row: Sequence[float], statistics: Sequence[Mapping[Region, PyTree]], region: Region) -> PyTree:
    styles = [(share, by_region[region]) for share, by_region in zip(row, statistics, strict=True) if share]
    if len(styles) == 1:
        return styles[0][1]
    shares, blended = zip(*styles, strict=True)
    return jax.tree.map(lambda *leaves: sum(share * leaf for share, leaf in zip(shares, leaves, strict=True)), *blended)
