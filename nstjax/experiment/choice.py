"""The choice of a run's weights, and of its settings for their flavour, before any picture is prepared.

Starts no device. The terms of an experiment are only built, which imports JAX, if its settings name no layers.
"""

import dataclasses

from nstjax.callbacks import Listener
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.network.weights import Choice, NoWeights, choose

SELF_TAUGHT = "self-taught"


def settle(experiment: Experiment, listener: Listener) -> tuple[Experiment, Choice | None]:
    """Choose the weights that the settings name, and settle the settings for their flavour.

    Args:
        experiment: the terms to minimise, and the settings as changed by the user.
        listener: receives warnings, and the progress of a download.

    Returns:
        (the experiment with the settings for the flavour, the weights; None for a network that is to be learnt from the
        pictures)

    Raises:
        UserError: there are no such weights, or the settings for their flavour contain a mistake.
    """
    choice = _choose_weights(experiment, listener)
    flavour = SELF_TAUGHT if choice is None else choice.weights.flavour.name
    config = experiment.config_for(flavour)
    _warn_about_flavour(experiment, flavour, config, listener)
    return dataclasses.replace(experiment, config=config), choice


def _choose_weights(experiment: Experiment, listener: Listener) -> Choice | None:
    config = experiment.config
    if config.weights == SELF_TAUGHT:
        return None
    layers = config.every_layer or _list_layers(experiment)
    try:
        return choose(config.weights, layers=layers, on_notice=listener.notice, progress=listener.downloading)
    except NoWeights as error:
        listener.warning(f"{error}; using a network learnt from the two pictures instead")
        return None


def _list_layers(experiment: Experiment) -> tuple[str, ...]:
    from nstjax.experiment.terms import make_objective  # imports JAX, which most experiments do without here

    return make_objective(experiment, experiment.config).layers


def _warn_about_flavour(experiment: Experiment, flavour: str, config: Config, listener: Listener) -> None:
    """Warn about weights that an experiment's settings are not meant for, or say which loss weights it has for them."""
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
