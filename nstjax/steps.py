"""The host's side of the steps: chunk after chunk, with what is logged, kept and shown between them.

One loop, for the state of one run and for those of many, stacked along a leading axis.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from nstjax import optimise
from nstjax.config import Config
from nstjax.errors import Diverged
from nstjax.keeping import Keeper
from nstjax.listener import TIMES, Listener, Record
from nstjax.optimise import State
from nstjax.program import Program
from nstjax.resolve import Resolved
from nstjax.rundir import RunFolder

CHUNK_SECONDS = 1.0
"""How long a chunk aims to last: short enough to show progress, long enough to cost nothing."""


def make_steps(
    resolved: Resolved,
    state: State,
    records: list[list[Record]],
    compiled: Callable[[], Program],
    tell: Listener,
    keeper: Keeper,
) -> tuple[State, list[list[Record]]]:
    """Chunk after chunk until the steps are made, every loss has diverged, or the listener wants to stop.

    Args:
        resolved: of the run; of many runs, of any of them.
        state: to go on from; with a leading axis where it is that of many runs.
        records: for each run, of the steps made before; those of further logged steps are added.
        compiled: called where there are steps to make.
        tell: of many runs it hears the mean.
        keeper: told of every run.
    """
    config, names = resolved.config, ("total", *resolved.method.objective.names)
    reached, failed = _each(state.step), _each(state.failed)
    seconds_per_step = CHUNK_SECONDS
    program = compiled() if reached.max() < config.steps else None
    before = max((lines[-1] for lines in records if lines), key=lambda line: line["wall_seconds"], default={})
    wall = time.perf_counter() - before.get("wall_seconds", 0)
    cpu = time.process_time() - before.get("cpu_seconds", 0)
    tell.started(int(reached.max()), config.steps)
    try:
        latest: list[Record] = [{} for _ in records]
        keeper.reached(state, latest)
        while program is not None and reached.max() < config.steps and not failed.all() and not tell.wants_to_stop():
            begun = time.perf_counter()
            length = chunk_length(config, int(reached.max()), seconds_per_step)
            state, metrics = jax.block_until_ready(program.chunk(state, program.problem, np.int32(length)))
            now = time.perf_counter()
            made, failing = _each(state.step) - reached, _each(state.failed) & ~failed
            seconds_per_step = (now - begun) / max(made.max(), 1)
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
                    at = int(reached[run]) + offset
                    if config.is_logged(at) or offset == made[run]:
                        lines.append({"step": at, **losses, **times})
                        keeper.logged(run, lines[-1])
                        logged[at].append(lines[-1])
            for at in sorted(logged):
                tell.logged(_mean(logged[at]))
            reached, failed = _each(state.step), _each(state.failed)
            tell.advanced(int(reached.max()), {name: it for name, it in _mean(latest).items() if name not in TIMES})
            keeper.reached(state, latest)
        keeper.finish(state)
    finally:
        tell.finished()
    return state, records


def _each(values: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(values))


def _mean(records: list[Record]) -> Record:
    """Of many runs' values; of one run's, itself."""
    return {name: type(it)(np.mean([record[name] for record in records])) for name, it in records[0].items()}


def chunk_length(config: Config, step: int, seconds_per_step: float) -> int:
    """Steps until something is due: a snapshot, a checkpoint, the end, or a sign of life."""
    due = [at for at in (*config.snapshots, config.steps) if at > step]
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
