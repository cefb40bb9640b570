"""The host's side of a run: chunk after chunk, with what is logged, kept and shown between them."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from nstjax import device, images, optimise
from nstjax.config import Config
from nstjax.errors import UserError
from nstjax.experiment import Experiment, load
from nstjax.inputs import Inputs, Source, prepare
from nstjax.listener import Listener, Record
from nstjax.optimise import Method, Problem, State, run_chunk
from nstjax.report import contact_sheet
from nstjax.resolve import Resolved, resolve
from nstjax.rundir import RunFolder
from nstjax.types import Targets
from nstjax.vgg import VGG19

_CPU_FACTOR = 1.6
"""XLA leaves its convolutions' working space out of its count on a CPU: resident memory grew by 1.5 times the count at
256 and 384 pixels."""

CHUNK_SECONDS = 1.0
"""How long a chunk aims to last: short enough to show progress, long enough to cost nothing."""


class Diverged(RuntimeError):
    """The loss or its gradient stopped being finite."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run leaves.

    Args:
        picture: float32 [H, W, 3], sRGB, in [0, 1].
        alpha: [H, W], the content's transparency; None where it had none.
        metrics: {"step": [n], "total": [n], term: [n], …} of the logged steps: the values at the picture after
            that many steps; terms before their weights, the total with them.
        steps: how many steps were made; fewer than asked for where the listener wanted to stop.
        record: the resolved configuration, as in ``config.json``.
        folder: of the run; None where nothing was written.
    """

    picture: np.ndarray = field(repr=False)
    alpha: np.ndarray | None = field(repr=False)
    metrics: dict[str, np.ndarray] = field(repr=False)
    steps: int
    record: dict[str, Any] = field(repr=False)
    folder: Path | None

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture: PNG, JPEG, WebP or TIFF by its extension; a PNG carries the resolved configuration.

        Raises:
            UserError: unknown extension, or it cannot be written there.
        """
        images.save(path, self.picture, alpha=self.alpha, text={"nstjax": json.dumps(self.record)})
        return Path(path)


def stylize(
    content: Source,
    style: Source,
    *,
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Result:
    """Draw the content of one picture in the style of another.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1].
        style: likewise.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the run in; nothing is written without one.
        listener: told what happens.
        settings: changes to the experiment's ``Config``: ``size=256, steps=300, loss_weights={"style": 10}``.

    Raises:
        UserError: a mistake in what was asked for, in one line.
        Diverged: the loss or its gradient stopped being finite.
    """
    if not isinstance(experiment, Experiment):
        experiment = load(experiment)
    experiment = experiment.replace(**settings)
    inputs = prepare(content, style, experiment.config)
    return run(experiment, inputs, out=out, listener=listener)


def run(
    experiment: Experiment,
    inputs: Inputs,
    *,
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> Result:
    """``stylize`` for an experiment whose settings are final and pictures that are prepared already."""
    tell = listener or Listener()
    folder = None if out is None else RunFolder(out)
    resolved = resolve(experiment, inputs, tell)
    tell.compiling()
    with experiment.blamed():
        state, problem, program = _compile(resolved, inputs)
    if folder is not None:
        folder.create()
        learnt = resolved.weights if resolved.weights.flavour.name == "self-taught" else None
        folder.write_inputs(inputs.pictures(), weights=learnt, experiment=experiment.source)
        folder.write_config(resolved.record)
    tell.started(resolved.config.steps)
    try:
        state, records = _optimise(resolved.config, state, problem, program, tell, folder, resolved.method)
    finally:
        tell.finished()
    result = Result(
        picture=np.asarray(optimise.picture(state, method=resolved.method)),
        alpha=inputs.alpha,
        metrics={name: np.array([record[name] for record in records]) for name in (records[0] if records else ())},
        steps=int(state.step),
        record=resolved.record,
        folder=None if folder is None else folder.path,
    )
    if folder is not None:
        result.save(folder.output)
        if snapshots := folder.snapshots():
            contact_sheet(folder.path / "sheet.png", snapshots)
    if state.failed:
        terms = ", ".join(f"{name} {records[-1][name]:g}" for name in ("total", *resolved.method.objective.names))
        mend = "try a lower learning rate or lower weights" if result.steps else "it is the start's: look at the terms"
        kept = f"; the picture before it is {folder.output}" if folder else ""
        raise Diverged(f"the loss or its gradient is not finite at step {result.steps} ({terms}): {mend}{kept}")
    return result


def _compile(resolved: Resolved, inputs: Inputs) -> tuple[State, Problem, Callable[..., Any]]:
    """The state before step 0, the problem, and the compiled chunk. Nothing large is computed before it fits.

    Raises:
        UserError: the device has too little memory for pictures of this size.
    """
    config, method, network = resolved.config, resolved.method, resolved.network

    def targets(network: VGG19, content: Array, style: Array) -> Targets:
        return method.objective.targets(network, content=content, style=style)

    def start(picture: Array) -> State:
        key = jax.random.key(config.seed)
        return optimise.init(method, picture, learning_rate=config.learning_rate, key=key)

    weights = {name: jnp.float32(config.loss_weights[name]) for name in method.objective.names}
    pictures = (jnp.asarray(inputs.content), jnp.asarray(inputs.style))
    make_targets = jax.jit(targets).lower(network, *pictures).compile()
    shapes = Problem(network, jax.eval_shape(targets, network, *pictures), weights)
    chunk = run_chunk.lower(jax.eval_shape(start, inputs.start), shapes, np.int32(0), method=method).compile()
    _check_memory([make_targets, chunk], inputs)
    return start(jnp.asarray(inputs.start)), Problem(network, make_targets(network, *pictures), weights), chunk


def _check_memory(programs: list[Any], inputs: Inputs) -> None:
    free = device.free_memory()
    if free is None:
        return
    analyses = [program.memory_analysis() for program in programs]
    needed = max(it.temp_size_in_bytes + it.output_size_in_bytes for it in analyses if it is not None)
    if jax.default_backend() == "cpu":
        needed *= _CPU_FACTOR
    if needed > free:
        height, width, _ = inputs.content.shape
        fitting = int(max(height, width) * math.sqrt(0.9 * free / needed))
        raise UserError(
            f"a picture of {width}x{height} pixels needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB "
            f"are free: --size {fitting} would fit"
        )


def _optimise(
    config: Config,
    state: State,
    problem: Problem,
    program: Callable[..., Any],
    tell: Listener,
    folder: RunFolder | None,
    method: Method,
) -> tuple[State, list[Record]]:
    """Chunk after chunk until the steps are made, the loss is not finite, or the listener wants to stop."""
    records: list[Record] = []
    step, seconds_per_step = 0, CHUNK_SECONDS
    wall, cpu = time.perf_counter(), time.process_time()
    _snapshot(config, state, folder, method)
    while step < config.steps and not state.failed and not tell.wants_to_stop():
        begun = time.perf_counter()
        state, metrics = jax.block_until_ready(
            program(state, problem, np.int32(_chunk_length(config, step, seconds_per_step)))
        )
        now = time.perf_counter()
        made = int(state.step) - step
        seconds_per_step = (now - begun) / max(made, 1)
        # jit returns dictionaries in alphabetical order; people want the terms' own.
        values = {name: np.asarray(metrics[name]) for name in ("total", *method.objective.names)}
        # The step that failed made no step, but its loss says why.
        for offset in range(made + bool(state.failed)):
            losses = {name: float(array[offset]) for name, array in values.items()}
            if _is_logged(config, step + offset) or offset == made:
                times = {
                    "seconds_per_step": seconds_per_step,
                    "wall_seconds": now - wall,
                    "cpu_seconds": time.process_time() - cpu,
                }
                records.append({"step": step + offset, **losses, **times})
                tell.logged(records[-1])
                if folder is not None:
                    folder.log(records[-1])
        step += made
        tell.advanced(step, losses)
        _snapshot(config, state, folder, method)
    return state, records


def _is_logged(config: Config, step: int) -> bool:
    assert config.log_every is not None
    return step % config.log_every == 0 or step == config.steps - 1


def _chunk_length(config: Config, step: int, seconds_per_step: float) -> int:
    """Steps until something is due: a line of the log, a snapshot, the end, or a sign of life."""
    due = [at for at in (*config.snapshots, config.steps) if at > step]
    logged = next(at + 1 for at in range(step, config.steps) if _is_logged(config, at))
    return min(*due, logged, step + optimise.CHUNK, step + max(1, int(CHUNK_SECONDS / seconds_per_step))) - step


def _snapshot(config: Config, state: State, folder: RunFolder | None, method: Method) -> None:
    if folder is not None and int(state.step) in config.snapshots:
        folder.write_snapshot(int(state.step), np.asarray(optimise.current_picture(state, method=method)))
