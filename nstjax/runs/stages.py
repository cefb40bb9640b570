"""The stages of a run: one for each size of the picture, from coarse to fine."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from nstjax import multiscale
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.resolve import Resolved, resize_run
from nstjax.optimise import Method, State
from nstjax.parameterisation import find_finest_details
from nstjax.runs import compiling
from nstjax.runs.compiling import Program


@dataclass(frozen=True, eq=False)
class Stage:
    """One size of a run, or of a group of runs that are computed together.

    Args:
        shape: (H, W) of the picture.
        end: number of steps of the run after which the stage ends.
        method: the method at this size.
        abstract_state: a state of this stage, with ``ShapeDtypeStruct`` leaves.
        make_initial_state: makes the state before step 0; called for the first stage only.
        resize: turns the last state of the stage before into the first state of this one.
        device_put: puts a state that was read from a checkpoint on the devices.
        compile: returns the program; compiles it at the first call.
    """

    shape: tuple[int, int]
    end: int
    method: Method
    abstract_state: State
    make_initial_state: Callable[[], State]
    resize: Callable[[State], State]
    device_put: Callable[[State], State]
    compile: Callable[[], Program]


def find_stage(stages: Sequence[Stage], step: int) -> int:
    """Return the index of the stage that a state after `step` steps belongs to.

    The state at the end of a stage belongs to that stage, not to the next.
    """
    return next((index for index, stage in enumerate(stages) if step <= stage.end), len(stages) - 1)


def get_abstract_state(stages: Sequence[Stage], step: int) -> State:
    """Return the abstract state after `step` steps."""
    return stages[find_stage(stages, step)].abstract_state


def make_stages(resolved: Resolved, inputs: Inputs, compile_size: Callable[[Resolved, Inputs], Program]) -> list[Stage]:
    """Make the stages of one run.

    Args:
        resolved: the run.
        inputs: its pictures.
        compile_size: compiles the run at one size.
    """
    sizes = [(resize_run(resolved, pictures), pictures) for pictures in resize_to_each_size(inputs, resolved.config)]
    stages: list[Stage] = []
    for end, (run, pictures) in zip(resolved.config.size_ends, sizes, strict=True):
        before, last = stages[-1].method if stages else run.method, run is sizes[-1][0]
        resize = jax.jit(make_resize(before, run.method, pictures, run.config, last=last))
        stages.append(
            Stage(
                shape=get_shape(pictures),
                end=end,
                method=run.method,
                abstract_state=compiling.make_abstract_state(run, pictures),
                make_initial_state=functools.partial(_make_initial_state, run, pictures),
                resize=functools.partial(resize, details=find_details(run.config, pictures, last=last)),
                device_put=functools.partial(compiling.device_put, resolved=run, inputs=pictures),
                compile=functools.cache(functools.partial(compile_size, run, pictures)),
            )
        )
    return stages


def get_shape(pictures: Inputs) -> tuple[int, int]:
    """Return the (H, W) of the picture that is optimised."""
    height, width, _ = pictures.content.shape
    return height, width


def make_resize(
    before: Method, after: Method, pictures: Inputs, config: Config, *, last: bool
) -> Callable[[State, Array | None], State]:
    """Return the function (state, details or None) that resizes a state to the size of `pictures`.

    Args:
        before: the method at the size of the state.
        after: the method at the size of the pictures.
        pictures: the pictures at the next size.
        config: the settings, for what changes between sizes.
        last: whether the next size is the last.
    """

    def resize(state: State, details: Array | None) -> State:
        return multiscale.resize_state(
            state,
            get_shape(pictures),
            before=before,
            after=after,
            resampling=config.resampling,
            clip=config.clip_sizes,
            details=details,
            restart=config.restart_optimiser,
            rate_factor=config.last_size_rate if last else 1.0,
        )

    return resize


def find_details(config: Config, pictures: Inputs, *, last: bool) -> Array | None:
    """Return the details of the content that are added at the change to the size of `pictures`; None for none."""
    return find_finest_details(jnp.asarray(pictures.content)) if config.content_details and not last else None


def _make_initial_state(resolved: Resolved, pictures: Inputs) -> State:
    return compiling.device_put(compiling.make_initial_state(resolved, pictures), resolved, pictures)
