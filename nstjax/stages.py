"""The stages of a run: its sizes one after the other, each with its pictures and its program."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from nstjax import program, pyramid
from nstjax.inputs import Inputs, at_each_size
from nstjax.many import Members, pair
from nstjax.optimise import Method, State
from nstjax.program import Program
from nstjax.resolve import Resolved, at_size


@dataclass(frozen=True, eq=False)
class Stage:
    """One size of a run, or of many runs that are computed together.

    Args:
        shape: (H, W) of the picture.
        end: how many steps are made when it ends.
        method: at this size.
        form: the shapes of its state.
        first: makes the state before step 0; of the first stage alone.
        carried: makes its state of the last one of the stage before.
        placed: puts a state that was read where this stage wants it.
        compiled: its program; compiled once.
    """

    shape: tuple[int, int]
    end: int
    method: Method
    form: State
    first: Callable[[], State]
    carried: Callable[[State], State]
    placed: Callable[[State], State]
    compiled: Callable[[], Program]


def at(stages: Sequence[Stage], step: int) -> int:
    """The number of the stage to which a state after so many steps belongs; what ends a stage belongs to it."""
    return next((number for number, stage in enumerate(stages) if step <= stage.end), len(stages) - 1)


def form_at(stages: Sequence[Stage]) -> Callable[[int], State]:
    """Step -> the shapes of the state."""
    return lambda step: stages[at(stages, step)].form


def of_run(run: Resolved, inputs: Inputs, compile_it: Callable[[Resolved, Inputs], Program]) -> list[Stage]:
    """The stages of one run.

    Args:
        run: resolved.
        inputs: its pictures.
        compile_it: compiles it at one size.
    """
    levels = [(at_size(run, it), it) for it in at_each_size(inputs, run.config)]
    found: list[Stage] = []
    for end, (level, pictures) in zip(run.config.size_ends, levels, strict=True):
        carry = _carry(found[-1].method if found else level.method, level.method, pictures)
        found.append(
            Stage(
                _shape(pictures),
                end,
                level.method,
                program.state_form(level, pictures),
                functools.partial(_first, level, pictures),
                jax.jit(carry),
                functools.partial(program.placed, resolved=level, inputs=pictures),
                functools.cache(functools.partial(compile_it, level, pictures)),
            )
        )
    return found


def _shape(pictures: Inputs) -> tuple[int, int]:
    height, width, _ = pictures.content.shape
    return height, width


def _first(level: Resolved, pictures: Inputs) -> State:
    return program.placed(program.first_state(level, pictures), level, pictures)


def _carry(before: Method, after: Method, pictures: Inputs) -> Callable[[State], State]:
    return functools.partial(pyramid.carried, shape=_shape(pictures), before=before, after=after)


def of_members(levels: Sequence[Members], computed: Sequence[int], size_ends: Sequence[int]) -> list[Stage]:
    """The stages of the runs of a group; ``levels`` are all the sweep's members at each size."""
    found: list[Stage] = []
    for end, level in zip(size_ends, levels, strict=True):
        carry = jax.jit(jax.vmap(_carry(found[-1].method if found else level.method, level.method, level.pictures)))
        found.append(
            Stage(
                _shape(level.pictures),
                end,
                level.method,
                level.form(len(computed)),
                functools.partial(level.first_state, computed),
                functools.partial(_then, carry, level.placed),
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
