"""The stages of a run: its sizes one after the other, each with its pictures and its program."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax

from nstjax import multiscale
from nstjax.experiment.inputs import Inputs, at_each_size
from nstjax.experiment.resolve import Resolved, at_size
from nstjax.optimise import Method, State
from nstjax.runs import compiling
from nstjax.runs.compiling import Program


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
        carried = carry(found[-1].method if found else level.method, level.method, pictures)
        found.append(
            Stage(
                shape_of(pictures),
                end,
                level.method,
                compiling.state_form(level, pictures),
                functools.partial(_first, level, pictures),
                jax.jit(carried),
                functools.partial(compiling.placed, resolved=level, inputs=pictures),
                functools.cache(functools.partial(compile_it, level, pictures)),
            )
        )
    return found


def shape_of(pictures: Inputs) -> tuple[int, int]:
    """Return the (H, W) of the picture that is optimised."""
    height, width, _ = pictures.content.shape
    return height, width


def _first(level: Resolved, pictures: Inputs) -> State:
    return compiling.placed(compiling.first_state(level, pictures), level, pictures)


def carry(before: Method, after: Method, pictures: Inputs) -> Callable[[State], State]:
    """Make the function that carries a state to the size of other pictures, and to their method."""
    return functools.partial(multiscale.carried, shape=shape_of(pictures), before=before, after=after)
