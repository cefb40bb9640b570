"""The loop: chunk after chunk of steps, on the host, with logging and saving between them.

The same loop serves one run and a group of runs, whose states are stacked along a leading axis.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from nstjax import optimise
from nstjax.callbacks import Listener, LogLine
from nstjax.experiment.config import Config
from nstjax.optimise import State
from nstjax.runs.journal import Journal
from nstjax.runs.stages import Stage, find_stage
from nstjax.runs.stillness import Stillness
from nstjax.runs.writer import Writer
from nstjax.system import cluster

T = TypeVar("T")

CHUNK_SECONDS = 1.0
"""Seconds that a chunk aims to take: short enough to show progress, long enough to cost nothing."""


def run_loop(
    config: Config,
    restored: State | None,
    logs: list[list[LogLine]],
    stages: Sequence[Stage],
    listener: Listener,
    writer: Writer,
    *,
    count: int = 1,
) -> tuple[State, list[list[LogLine]], Stage]:
    """Make steps until all are made, every run has diverged, or the listener wants to stop.

    Args:
        config: settings of the run; for a group, those of any of its runs.
        restored: the state to continue from, as read from a checkpoint, stacked for a group; None to start at step 0.
        logs: for each run, the lines logged so far; new lines are appended.
        stages: the stages, from coarse to fine. They are compiled when they are needed.
        listener: told of progress; for a group, of the mean over its runs.
        writer: told of every run.
        count: number of runs, from the first on, that the listener is told of; the others fill up a group.

    Returns:
        (the last state, the logs, the stage of that state).
    """
    index = 0 if restored is None else find_stage(stages, int(np.max(restored.step)))
    stage = stages[index]
    state = stage.make_initial_state() if restored is None else stage.device_put(restored)
    steps, failed = _per_run(state.step), _per_run(state.failed)
    if steps.max() < config.total_steps:
        stages[find_stage(stages, int(steps.max()) + 1)].compile()
    # Processes that share a picture do the same at the same time.
    agree, localise = (cluster.agree, cluster.localise) if config.shard_picture else (_keep, _keep)
    journal = Journal(config, logs, listener, writer, count=count)
    stillness, problem, scale, seconds_per_step = Stillness(config, count, listener), None, None, CHUNK_SECONDS

    if count > 1:
        listener.notice(f"the losses shown are means over {count} members")
    listener.started(int(steps.max()), config.total_steps)
    try:
        writer.update(localise(state), journal.latest, stage.method)
        while not failed.all() and not agree(bool(listener.wants_to_stop())):
            # A member whose step was tried again.
            has_behind = ((steps < steps.max()) & ~failed).any()
            if steps.max() == config.total_steps and not has_behind:
                break
            if steps.max() == stage.end and not has_behind:
                writer.save(localise(state))
                shape, index = stage.shape, index + 1
                stage = stages[index]
                listener.notice(_describe_stage(stage, shape))
                state, problem, scale = stage.resize(state), None, None
                continue

            program = stage.compile()
            problem = problem or program.complete(state)
            chunk_start = time.perf_counter()
            # With no steps, those who are behind catch up.
            length = 0 if has_behind else choose_chunk_length(config, int(steps.max()), stage.end, seconds_per_step)
            length = int(agree(length))
            state, metrics = jax.block_until_ready(program.chunk(state, problem, np.int32(length)))
            if scale is None and (_per_run(state.failed) & ~failed).any():
                # Perhaps the lowest loss measures nothing; see ``divergence``. The step is tried again with the scale.
                scale = program.measure_scale()
                problem = replace(problem, scale=scale)
                state = stage.device_put(replace(state, failed=jnp.asarray(failed.reshape(state.failed.shape))))
            made, newly_failed = _per_run(state.step) - steps, _per_run(state.failed) & ~failed
            seconds_per_step = (time.perf_counter() - chunk_start) / max(made.max(), 1)
            names = ("total", *stage.method.objective.names)
            journal.add_chunk(metrics, names, steps, made, newly_failed, seconds_per_step=seconds_per_step)
            stillness.check(steps, made, _per_run(metrics["total"]).reshape(len(logs), -1))
            steps, failed = _per_run(state.step), _per_run(state.failed)
            listener.advanced(int(steps.max()), journal.get_losses())
            writer.update(localise(state), journal.latest, stage.method)
        writer.save(localise(state))
    finally:
        listener.finished()
    return localise(state), logs, stage


def _describe_stage(stage: Stage, shape: tuple[int, int]) -> str:
    """Return a line about the change to a stage from one of this shape."""
    height, width = stage.shape
    if stage.shape != shape:
        return f"continuing at {width}x{height} pixels"
    return f"a further pass begins, with {', '.join(stage.method.objective.names)}"


def _keep(value: T) -> T:
    return value


def _per_run(values: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(values))


def choose_chunk_length(config: Config, step: int, end: int, seconds_per_step: float) -> int:
    """Return the number of steps until a snapshot, a checkpoint, the end of a stage, or a sign of life is due.

    Args:
        config: settings of the run.
        step: number of steps made so far.
        end: number of steps at which the stage ends.
        seconds_per_step: measured in the last chunk.
    """
    due = [stop for stop in (*config.snapshots, end) if stop > step]
    due += [(step // every + 1) * every for every in (config.checkpoint_every, config.snapshot_every) if every]
    return min(*due, step + optimise.CHUNK, step + max(1, int(CHUNK_SECONDS / seconds_per_step))) - step
