"""The objective of an experiment: its terms, checked against its settings."""

from collections.abc import Sequence

import jax

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.objective import Objective
from nstjax.shaping import normalised_gradient
from nstjax.system.functions import describe_function
from nstjax.types import PictureTerm, Term


def make_objective(experiment: Experiment, config: Config) -> Objective:
    """Build the objective from the experiment's terms, which must each have a weight.

    Raises:
        UserError: the experiment's function fails or returns something else, or the terms and the weights do not fit.
    """
    with experiment.error_context():
        terms = experiment.terms(config)
    where = describe_function(experiment.terms)
    if not isinstance(terms, Sequence) or not all(isinstance(term, Term | PictureTerm) for term in terms):
        came = "None: is its return missing?" if terms is None else type(terms).__name__
        raise UserError(f"{where} must return a tuple of nstjax.Term or nstjax.PictureTerm objects, not {came}")
    tile = config.tile if isinstance(config.tile, int) else None
    devices = jax.device_count() if config.shard_picture else 1
    try:
        objective = Objective(tuple(terms), tile=tile, devices=devices, recompute=config.recompute_content)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    weights = {**config.loss_weights, **config.finish_weights}
    if missing := [name for name in objective.names if name not in weights]:
        raise UserError(f"term {missing[0]!r} has no weight: give it one in the experiment's loss_weights")
    if unknown := [name for name in weights if name not in objective.names]:
        raise UserError(f"no term {unknown[0]!r} to weight: the experiment has {', '.join(objective.names)}")
    if not config.loss_weights:
        raise UserError("loss_weights is empty: finish_weights is for a pass after those of the sizes")
    return objective.with_shaping(normalised_gradient) if config.normalise_gradients else objective
