"""The pictures of each member of a sweep."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs, Source, from_pictures, prepare, restarted
from nstjax.experiment.plan import PICTURES, settings
from nstjax.storage.sweep_folder import Plan


def with_missing(plan: Plan, config: Config, known: Mapping[int, Inputs]) -> list[Inputs]:
    """The pictures of each member; of those that were never begun, from one that has the same.

    Raises:
        UserError: none has.
    """
    assignments = plan.assignments()

    def pictures(number: int) -> list[Any]:
        return [assignments[number].get(it) for it in PICTURES]

    found = []
    for number, assignment in enumerate(assignments):
        like = [it for other, it in known.items() if pictures(other) == pictures(number)]
        if not like:
            raise UserError(f"{plan.names()[number]} was never begun, and its pictures are not here: begin a new sweep")
        found.append(known.get(number) or restarted(like[0], config.replace(**settings(assignment))))
    return found


def pictures_of(
    plan: Plan, experiment: Experiment, pictures: list[list[Any]], *, blend: Sequence[Source] = (), **masks: Any
) -> list[Inputs]:
    """The pictures of each member; equal ones are the same arrays.

    Args:
        plan: of the sweep.
        experiment: with its settings.
        pictures: the content pictures, and the styles.
        blend: further styles, for each of the styles.
        masks: as for ``inputs.prepare``.
    """
    pairs: dict[tuple[int, int], Inputs] = {}
    starts: dict[Any, Inputs] = {}
    found = []
    for assignment in plan.assignments():
        config = experiment.replace(**settings(assignment)).config
        axes = {axis.name: axis.values for axis in plan.axes}
        c, s = (axes[it].index(assignment[it]) if it in axes else 0 for it in PICTURES)
        which = (c, s)
        if which not in pairs:
            pairs[which] = prepare(pictures[0][c], [pictures[1][s], *blend], experiment.config, **masks)
        drawn = config.init_noise or config.init_deviation or config.init != "content"
        start = (which, config.seed if drawn else None, config.init_noise, config.init_deviation)
        if start not in starts:
            starts[start] = restarted(pairs[which], config)
        found.append(starts[start])
    return found


def shared(inputs: list[Inputs]) -> list[Inputs]:
    """The same pictures, equal ones as one array."""
    arrays: dict[bytes, np.ndarray] = {}

    def one(array: np.ndarray) -> np.ndarray:
        return arrays.setdefault(hashlib.sha256(array.tobytes()).digest(), array)

    return [from_pictures({name: one(array) for name, array in it.pictures().items()}, it.names) for it in inputs]
