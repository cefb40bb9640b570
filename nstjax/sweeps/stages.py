"""The stages of a sweep's members: sizes one after the other, each with a group's pictures and program."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax

from nstjax.experiment.inputs import Inputs, at_each_size
from nstjax.experiment.resolve import Resolved, at_size
from nstjax.optimise import State
from nstjax.runs.stages import Stage, carry, shape_of
from nstjax.sweeps.batch import Members, pair


def of_members(levels: Sequence[Members], computed: Sequence[int], size_ends: Sequence[int]) -> list[Stage]:
    """The stages of the runs of a group; ``levels`` are all the sweep's members at each size."""
    found: list[Stage] = []
    for end, level in zip(size_ends, levels, strict=True):
        carried = jax.jit(jax.vmap(carry(found[-1].method if found else level.method, level.method, level.pictures)))
        found.append(
            Stage(
                shape_of(level.pictures),
                end,
                level.method,
                level.form(len(computed)),
                functools.partial(level.first_state, computed),
                functools.partial(_then, carried, level.placed),
                level.placed,
                functools.cache(functools.partial(level.program, computed)),
            )
        )
    return found


def _then(first: Callable[[State], Any], second: Callable[[Any], State], state: State) -> State:
    return second(first(state))


def levels_of(runs: Sequence[Resolved], inputs: Sequence[Inputs], devices: Sequence[Any]) -> list[Members]:
    """All members of a sweep at each of its sizes; pictures that are the same stay the same arrays."""
    resized = {pair(it): at_each_size(it, runs[0].config) for it in {pair(it): it for it in inputs}.values()}
    each = [(replace(resized[pair(it)][0], start=it.start), *resized[pair(it)][1:]) for it in inputs]
    return [
        Members([at_size(run, level) for run, level in zip(runs, pictures, strict=True)], pictures, devices)
        for pictures in zip(*each, strict=True)
    ]
