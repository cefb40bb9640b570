"""Warnings before the first step: regions too small, transparent areas."""

from collections.abc import Sequence

import numpy as np

from nstjax.blending import has_exact_blends
from nstjax.callbacks import Listener
from nstjax.experiment.inputs import Inputs
from nstjax.network.architecture import parse_layer
from nstjax.objective import Objective
from nstjax.types import Term

_LEAST_SHARE = 0.5


def warn_about_areas(objective: Objective, levels: Sequence[Inputs], listener: Listener) -> None:
    """Warn about regions that vanish at a size or at a layer, and about transparent areas that take part in the style.

    Args:
        objective: says at which layers the style is compared.
        levels: the prepared pictures at each size.
        listener: told of each in one line.
    """
    terms = [term for term in objective.terms if isinstance(term, Term) and term.target != "content"]
    if levels[-1].style_alphas and (names := [term.name for term in terms if not has_exact_blends(term)]):
        listener.warning(
            f"the transparent areas of the style take part in {' and '.join(names)}, in the mean colour of the rest, "
            "since no sum over positions can leave them out there: crop the style to avoid it"
        )
    if levels[-1].regions is not None:
        halvings = [parse_layer(layer).halvings for term in terms for layer in term.layers if layer != "input"]
        _warn_about_regions(levels, max(halvings, default=0), listener)


def _warn_about_regions(levels: Sequence[Inputs], halvings: int, listener: Listener) -> None:
    final = levels[-1]
    assert final.regions is not None
    for region, inside in enumerate(final.regions):
        styles = enumerate(final.style_regions, 1)
        present = {f"style {k}": guides[region].any() for k, guides in styles} | {"the content": inside.any()}
        lost: dict[str, list[str]] = {}
        for level in levels:
            assert level.regions is not None
            pictures = {f"style {k}": guides for k, guides in enumerate(level.style_regions, 1)}
            for name, guides in {"the content": level.regions, **pictures}.items():
                if present[name] and _is_lost(guides[region], halvings):
                    height, width = guides.shape[1:]
                    lost.setdefault(name, []).append(f"{width}x{height}")
        if lost:
            where = " and ".join(f"in {name} at {', '.join(sizes)}" for name, sizes in lost.items())
            listener.warning(
                f"region {region + 1} of {len(final.regions)} (in the order of their colours) is too small {where}: it "
                "fills no half of a pixel there, or a layer does not reach it; paint it larger, or raise --size"
            )


def _is_lost(guide: np.ndarray, halvings: int) -> bool:
    """Return whether a region fills no pixel by half, among those that the network's poolings do not drop."""
    height, width = (side >> halvings << halvings for side in guide.shape)
    return float(guide[:height, :width].max(initial=0)) < _LEAST_SHARE
