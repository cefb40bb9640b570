"""The host's side of the steps: chunk after chunk, with what is logged, kept and shown between them.

One loop, for the state of one run and for those of many, stacked along a leading axis.
"""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from nstjax import optimise
from nstjax.callbacks import TIMES, Listener, Record
from nstjax.errors import Diverged
from nstjax.experiment.config import Config
from nstjax.optimise import Method, State
from nstjax.runs.stages import Stage, at
from nstjax.runs.writer import Keeper
from nstjax.storage.run_folder import RunFolder

CHUNK_SECONDS = 1.0
"""How long a chunk aims to last: short enough to show progress, long enough to cost nothing."""


def make_steps(
    config: Config,
    begun: State | None,
    records: list[list[Record]],
    stages: Sequence[Stage],
    tell: Listener,
    keeper: Keeper,
) -> tuple[State, list[list[Record]], Method]:
    """Size after size, chunk after chunk, until the steps are made, every loss has diverged, or a stop is wanted.

    Args:
        config: of the run; of many runs, of any of them.
        begun: the state to go on from, as it was read; with a leading axis where it is that of many runs. None: step 0.
        records: for each run, of the steps made before; those of further logged steps are added.
        stages: of the run; compiled where there are steps to make.
        tell: of many runs it hears the mean.
        keeper: told of every run.

    Returns:
        (the state at the end, the records, the method of its size).
    """
    number = 0 if begun is None else at(stages, int(np.max(begun.step)))
    state = stages[0].first() if begun is None else stages[number].placed(begun)
    names = ("total", *stages[0].method.objective.names)
    reached, failed = _each(state.step), _each(state.failed)
    seconds_per_step = CHUNK_SECONDS
    if reached.max() < config.steps:
        stages[at(stages, int(reached.max()) + 1)].compiled()
    before = max((lines[-1] for lines in records if lines), key=lambda line: line["wall_seconds"], default={})
    wall = time.perf_counter() - before.get("wall_seconds", 0)
    cpu = time.process_time() - before.get("cpu_seconds", 0)
    tell.started(int(reached.max()), config.steps)
    try:
        latest: list[Record] = [{} for _ in records]
        keeper.reached(state, latest, stages[number].method)
        while reached.max() < config.steps and not failed.all() and not tell.wants_to_stop():
            if reached.max() == stages[number].end:
                keeper.finish(state)
                number += 1
                height, width = stages[number].shape
                tell.notice(f"going on at {width}x{height} pixels")
                state = stages[number].carried(state)
                continue
            program = stages[number].compiled()
            before_chunk = time.perf_counter()
            length = chunk_length(config, int(reached.max()), stages[number].end, seconds_per_step)
            state, metrics = jax.block_until_ready(program.chunk(state, program.problem, np.int32(length)))
            now = time.perf_counter()
            made, failing = _each(state.step) - reached, _each(state.failed) & ~failed
            seconds_per_step = (now - before_chunk) / max(made.max(), 1)
            times = {
                "seconds_per_step": seconds_per_step,
                "wall_seconds": now - wall,
                "cpu_seconds": time.process_time() - cpu,
            }
            # jit returns dictionaries in alphabetical order; people want the terms' own.
            values = {name: np.asarray(metrics[name]).reshape(len(records), -1) for name in names}
            logged: dict[int, list[Record]] = defaultdict(list)
            for run, lines in enumerate(records):
                # The step that failed made no step, but its loss says why.
                for offset in range(made[run] + failing[run]):
                    losses = {name: float(array[run, offset]) for name, array in values.items()}
                    latest[run] = {**losses, **times}
                    step = int(reached[run]) + offset
                    if config.is_logged(step) or offset == made[run]:
                        lines.append({"step": step, **losses, **times})
                        keeper.logged(run, lines[-1])
                        logged[step].append(lines[-1])
            for step in sorted(logged):
                tell.logged(_mean(logged[step]))
            reached, failed = _each(state.step), _each(state.failed)
            tell.advanced(int(reached.max()), {name: it for name, it in _mean(latest).items() if name not in TIMES})
            keeper.reached(state, latest, stages[number].method)
        keeper.finish(state)
    finally:
        tell.finished()
    return state, records, stages[number].method


def _each(values: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(values))


def _mean(records: list[Record]) -> Record:
    """Of many runs' values; of one run's, itself."""
    return {name: type(it)(np.mean([record[name] for record in records])) for name, it in records[0].items()}


def chunk_length(config: Config, step: int, end: int, seconds_per_step: float) -> int:
    """Steps until something is due: a snapshot, a checkpoint, the end of a size, or a sign of life."""
    due = [at for at in (*config.snapshots, end) if at > step]
    due += [(step // every + 1) * every for every in (config.checkpoint_every, config.snapshot_every) if every]
    return min(*due, step + optimise.CHUNK, step + max(1, int(CHUNK_SECONDS / seconds_per_step))) - step


def check(state: State, records: list[Record], folder: RunFolder | None) -> None:
    """That the run has not diverged.

    Raises:
        Diverged: it has; says at which step, how, and what may mend it.
    """
    if not state.failed:
        return
    step, last, lowest = int(state.step), records[-1], float(state.lowest)
    losses = ", ".join(f"{name} {value:g}" for name, value in last.items() if name not in TIMES)
    if 0 < optimise.DIVERGED * lowest < last["total"] < math.inf:
        what = f"the loss at step {step} is more than {optimise.DIVERGED:g} times its lowest, {lowest:g}"
    else:
        what = f"the loss or its gradient is not finite at step {step}"
    mend = "try a lower learning rate or lower weights" if step else "it is the start's: look at the terms"
    kept = f"; the picture before it is {folder.output}" if folder else ""
    raise Diverged(f"{what} ({losses}): {mend}{kept}")
