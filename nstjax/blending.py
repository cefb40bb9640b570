"""Several styles in one term, and regions of the picture with styles of their own.

In each region the styles are blended by their shares. What is a sum over positions is blended itself, exactly, and
gives one target a region; of anything else the distances to each style are blended.

Reference: Gatys, Ecker, Bethge, Hertzmann and Shechtman, "Controlling Perceptual Factors in Neural Style Transfer",
2017, section 4.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from nstjax.errors import UserError
from nstjax.statistics import is_sum_over_positions
from nstjax.types import Features, Guides, Term

Region: TypeAlias = int | None
"""Which of the guides; None is the whole picture."""

Blend: TypeAlias = Sequence[float] | Sequence[Sequence[float]]
"""K numbers, the share of each style; or R rows of them, one for each region."""

Shares: TypeAlias = Mapping[Region, tuple[float, ...]]
"""In each region, the share of each style; they sum to 1."""


@partial(jax.tree_util.register_dataclass, data_fields=["targets", "shares"], meta_fields=["regions"])
@dataclass(frozen=True)
class Mixture:
    """Several targets of one term: ``sum_m share_m distance(statistic in region_m, target_m)``.

    Args:
        targets: statistics.
        shares: [M].
        regions: where the picture's own statistic is taken for each.
    """

    targets: tuple[PyTree, ...]
    shares: Float[Array, "m"]
    regions: tuple[Region, ...]


def shares(blend: Blend | None, *, styles: int, regions: int | None) -> Shares:
    """What each style contributes to each region.

    Args:
        blend: at least 0 each, of any sum; None: equal shares.
        styles: how many there are.
        regions: how many the styles' guides have, if they have any: a blend in rows has regions without them too.

    Raises:
        UserError: the numbers are too many or too few, negative, or all zero.
    """
    rows = [*blend] if blend is not None else [1.0] * styles
    nested = bool(rows) and isinstance(rows[0], Sequence)
    if nested and regions not in (None, len(rows)):
        raise UserError(f"the blend has {len(rows)} rows, the style guides {regions} regions: give a row for each")
    if nested:
        return {region: _normalised(row, styles) for region, row in enumerate(rows)}
    row = _normalised(rows, styles)
    return {None: row} if regions is None else dict.fromkeys(range(regions), row)


def _normalised(row: Any, styles: int) -> tuple[float, ...]:
    if not isinstance(row, Sequence) or len(row) != styles:
        raise UserError(f"the blend needs a number for each of {styles} styles, or a row of them a region: got {row}")
    if not all(math.isfinite(it) and it >= 0 for it in row) or not sum(row):
        raise UserError(f"the shares of a blend are at least 0, and one of them is more: got {[*row]}")
    return tuple(it / sum(row) for it in row)


def check_regions(term: Term, shares: Shares) -> None:
    """Refuse regions to a term that cannot see them.

    Raises:
        UserError: there are regions, and the term's statistic is no sum over positions.
    """
    if None not in shares and not is_sum_over_positions(term.statistic):
        raise UserError(
            f"the term {term.name!r} cannot be guided by regions: its statistic is no sum over positions, as gram is"
        )


def statistic(term: Term, features: Features, guides: Guides | None, region: Region) -> PyTree:
    """The statistic of a term, of a region alone or of the whole picture."""
    own = {layer: features[layer] for layer in term.layers}
    if region is None or guides is None:
        return term.statistic(own)
    return term.statistic(own, weights={layer: guides[layer][region] for layer in term.layers})


def target(term: Term, shares: Shares, statistics: Sequence[Mapping[Region, PyTree]]) -> PyTree:
    """What a style term is compared with: a Mixture, or a plain target where one for the whole picture will do.

    Args:
        term: whose target it is.
        shares: of each style in each region; a region's own share in the value is 1/regions.
        statistics: {region: statistic} of each style, for the regions in which it has a share.
    """
    if is_sum_over_positions(term.statistic):
        parts = [(1 / len(shares), _blended(row, statistics, region), region) for region, row in shares.items()]
    else:
        parts = [(it, found[None], None) for it, found in zip(shares[None], statistics, strict=True) if it]
    if [region for _, _, region in parts] == [None]:
        return parts[0][1]
    of, targets, regions = zip(*parts, strict=True)
    return Mixture(targets, jnp.array(of, jnp.float32), regions)


def _blended(row: Sequence[float], statistics: Sequence[Mapping[Region, PyTree]], region: Region) -> PyTree:
    of, found = zip(*((it, each[region]) for it, each in zip(row, statistics, strict=True) if it), strict=True)
    if len(of) == 1:
        return found[0]
    return jax.tree.map(lambda *leaves: sum(it * leaf for it, leaf in zip(of, leaves, strict=True)), *found)
