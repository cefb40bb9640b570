"""The stages of a run: one for each size of the picture, from coarse to fine, and perhaps a pass after the last."""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array

from nstjax import multiscale
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import Inputs, resize_to_each_size
from nstjax.experiment.resolve import Resolved, make_stage_run
from nstjax.optimise import Method, State
from nstjax.parameterisation import find_finest_details
from nstjax.runs import compiling
from nstjax.runs.compiling import Program
from nstjax.system import cluster


class Stage(Protocol):
    """One size of a run, or of a group of runs that are computed together; or the pass after the last size.

    Attributes:
        shape: (H, W) of the picture.
        end: number of steps of the run after which the stage ends.
        method: the method of this stage.
        abstract_state: a state of this stage, with ``ShapeDtypeStruct`` leaves.
    """

    shape: tuple[int, int]
    end: int
    method: Method
    abstract_state: State

    def make_initial_state(self) -> State:
        """Make the state before step 0; called for the first stage only."""
        ...

    def resize(self, state: State) -> State:
        """Turn the last state of the stage before into the first state of this one."""
        ...

    def device_put(self, state: State) -> State:
        """Put a state that was read from a checkpoint on the devices."""
        ...

    def compile(self) -> Program:
        """Return the program, which is compiled at the first call."""
        ...


def find_stage(stages: Sequence[Stage], step: int) -> int:
    """Return the index of the stage that a state after `step` steps belongs to.

    The state at the end of a stage belongs to that stage, not to the next.
    """
    return next((index for index, stage in enumerate(stages) if step <= stage.end), len(stages) - 1)


def get_abstract_state(stages: Sequence[Stage], step: int) -> State:
    """Return the abstract state after `step` steps."""
    return stages[find_stage(stages, step)].abstract_state


def share_state(state: State | None, stages: Sequence[Stage]) -> State | None:
    """Return the state from which the leader of a cluster continues, in every process; None at the start of a run.

    Args:
        state: the leader's state, as read from a checkpoint; None in the other processes.
        stages: the stages of the run.
    """
    step = int(cluster.agree(-1 if state is None else int(state.step)))
    if step < 0:
        return None
    if state is None:
        state = jax.tree.map(_make_zeros, get_abstract_state(stages, step))
    return cluster.agree(state)


def _make_zeros(leaf: jax.ShapeDtypeStruct) -> Array:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key(0) if is_key else jnp.zeros(leaf.shape, leaf.dtype)


class RunStage:
    """One stage of a single run; see ``Stage``.

    Args:
        run: the run, at this stage.
        pictures: its pictures at this size.
        index: index of the stage.
        begin: number of steps of the run after which the stage begins.
        end: number of steps of the run after which the stage ends.
        before: the method of the stage before; at the first one, that of the run.
        compile_size: compiles the run at one size, for a number of steps.
    """

    def __init__(
        self,
        run: Resolved,
        pictures: Inputs,
        index: int,
        *,
        begin: int,
        end: int,
        before: Method,
        compile_size: Callable[[Resolved, Inputs, int], Program],
    ):
        self._run, self._pictures, self._index = run, pictures, index
        self._resize = jax.jit(make_resize(before, run.method, pictures, run.config, index))
        self.shape, self.end, self.method = get_shape(pictures), end, run.method
        self.abstract_state = compiling.make_abstract_state(run, pictures)
        self.compile = functools.cache(functools.partial(compile_size, run, pictures, end - begin))

    def make_initial_state(self) -> State:
        """Make the state before step 0."""
        return self.device_put(compiling.make_initial_state(self._run, self._pictures))

    def resize(self, state: State) -> State:
        """Turn the last state of the stage before into the first state of this one."""
        details = find_details(self._run.config, self._pictures, self._index)
        return self._resize(state, compiling.device_put(details, self._run))

    def device_put(self, state: State) -> State:
        """Put a state on the devices."""
        return compiling.device_put(state, self._run)


def make_stages(
    resolved: Resolved, inputs: Inputs, compile_size: Callable[[Resolved, Inputs, int], Program]
) -> list[RunStage]:
    """Make the stages of one run.

    Args:
        resolved: the run.
        inputs: its pictures.
        compile_size: compiles the run at one size, for a number of steps.
    """
    levels = resize_to_each_size(inputs, resolved.config)
    stages: list[RunStage] = []
    for index, end in enumerate(resolved.config.stage_ends):
        pictures = levels[min(index, len(levels) - 1)]
        run = make_stage_run(resolved, pictures, index)
        before, begin = (stages[-1].method, stages[-1].end) if stages else (run.method, 0)
        times = {"begin": begin, "end": end}
        stages.append(RunStage(run, pictures, index, **times, before=before, compile_size=compile_size))
    return stages


def get_shape(pictures: Inputs) -> tuple[int, int]:
    """Return the (H, W) of the picture that is optimised."""
    height, width, _ = pictures.content.shape
    return height, width


def make_resize(
    before: Method, after: Method, pictures: Inputs, config: Config, index: int
) -> Callable[[State, Array | None], State]:
    """Return the function (state, details or None) that resizes a state to the size of `pictures`.

    Args:
        before: the method of the state's stage.
        after: the method of the next stage.
        pictures: the pictures at the next stage.
        config: the settings, for what changes between sizes.
        index: index of the next stage.
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
            rate_factor=config.last_size_rate if index == len(config.every_size) - 1 else 1.0,
        )

    return resize


def find_details(config: Config, pictures: Inputs, index: int) -> Array | None:
    """Return the details of the content that are added at the change to the stage of an index; None for none."""
    if not config.content_details or index >= len(config.every_size) - 1:
        return None
    return find_finest_details(jnp.asarray(pictures.content))
