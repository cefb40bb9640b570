"""Warnings before the first step: weights that the settings are not meant for, regions too small, transparent areas."""

from collections.abc import Sequence

import numpy as np

from nstjax.blending import has_exact_blends
from nstjax.callbacks import Listener
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.network.architecture import parse_layer
from nstjax.objective import Objective
from nstjax.types import Term

_LEAST_SHARE = 0.5


def warn_about_flavour(experiment: Experiment, flavour: str, config: Config, listener: Listener) -> None:
    """Warn about weights that an experiment's settings are not meant for, or say which loss weights it has for them.

    Args:
        experiment: says which flavours it has settings for.
        flavour: flavour of the chosen weights.
        config: the settings for this flavour.
        listener: told in one line; of settings for this flavour by a notice.
    """
    if experiment.flavour in (None, flavour):
        return
    given = {term for settings in experiment.changes for term in settings.get("loss_weights", ())}
    if flavour in experiment.flavours:
        weights = ",".join(f"{term}={weight:g}" for term, weight in config.loss_weights.items())
        meant = f"{experiment.name} is meant for {experiment.flavour} weights"
        listener.notice(f"{meant}; with {flavour} ones its loss weights are {weights}")
    elif given != {*config.loss_weights}:
        listener.warning(
            f"the loss weights of {experiment.name} are meant for {experiment.flavour} weights: with {flavour} ones, "
            "whose activations have another size, the result may be grey, unstyled or without the photograph; "
            f"choose {experiment.flavour} weights by --weights, or give each term another weight by --loss-weights"
        )


def warn_about_areas(objective: Objective, inputs: Inputs, config: Config, listener: Listener) -> None:
    """Warn about regions that vanish at a size or at a layer, and about transparent areas that take part in the style.

    Args:
        objective: says at which layers the style is compared.
        inputs: the prepared pictures.
        config: says at which sizes.
        listener: told of each in one line.
    """
    terms = [term for term in objective.terms if isinstance(term, Term) and term.target != "content"]
    if inputs.style_alphas and (names := [term.name for term in terms if not has_exact_blends(term)]):
        listener.warning(
            f"the transparent areas of the style take part in {' and '.join(names)}, in the mean colour of the rest, "
            "since no sum over positions can leave them out there: crop the style to avoid it"
        )
    if inputs.regions is not None:
        halvings = [parse_layer(layer).halvings for term in terms for layer in term.layers if layer != "input"]
        _warn_about_regions(resize_to_each_size(inputs, config), max(halvings, default=0), listener)


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
