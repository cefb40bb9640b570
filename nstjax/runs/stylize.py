"""One run, from two pictures to the result. Read this file from top to bottom.

In order, and where to find each step:

    1. load the experiment: settings and terms             experiment/experiment.py, and its presets
    2. choose the weights, settings for their flavour      experiment/choice.py
    3. read and resize the pictures                        experiment/inputs.py
    4. settle every open setting                           experiment/resolve.py
    5. split the run into stages: its sizes, a last pass   runs/stages.py
    6. create the folder, with all that a resume needs     storage/run_folder.py
    7. compile                                             runs/compiling.py
    8. loop over chunks of steps                           runs/loop.py; one step: optimise.py, its loss: objective.py
       and write metrics, snapshots and checkpoints        runs/writer.py
    9. save the picture, write the report                  report/

``stylize`` does it all, ``run`` does 4 to 9, and ``resume`` reads 1 to 4 from a folder and goes on with 5, 7, 8 and 9.
"""

import contextlib
import functools
import os
import shlex
from collections.abc import Sequence
from typing import Any

import jax

from nstjax import reports
from nstjax.arguments import check_kind, to_number, to_text
from nstjax.callbacks import Listener, to_listener
from nstjax.errors import Failure, NotWritten, UserError
from nstjax.experiment import record
from nstjax.experiment.choice import settle
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, check_sources, prepare, restore_colours
from nstjax.experiment.randomness import NO_EFFECT, is_random
from nstjax.experiment.resolve import Resolved, resolve, restore
from nstjax.experiment.sources import MaskSource, Source, split_init
from nstjax.network.weights import Choice
from nstjax.optimise import State
from nstjax.runs import compiling
from nstjax.runs.compiling import Program
from nstjax.runs.failure import raise_if_diverged
from nstjax.runs.loop import run_loop
from nstjax.runs.result import Result, make_result
from nstjax.runs.stages import Stage, get_abstract_state, get_shape, make_stages, share_state
from nstjax.runs.writer import FolderWriter, Writer
from nstjax.storage import tensorboard
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import format_duration
from nstjax.system import cluster
from nstjax.system.files import write_error_context
from nstjax.system.jax_settings import explain_out_of_memory, protect_run


def stylize(
    content: Source,
    style: Source | Sequence[Source],
    *,
    content_mask: MaskSource | None = None,
    style_masks: MaskSource | Sequence[MaskSource] = (),
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Result:
    """Draw the content of one picture in the style of another.

    Args:
        content: a path, ``example:NAME``, a Pillow image, or an array [H, W, 3] of floats in [0, 1] or of uint8.
        style: the same; several styles in a list are blended, in shares of ``blend_shares``.
        content_mask: the regions of the content: a picture file with a colour for each, or an array [R, h, w].
        style_masks: the regions of each style; a region of the content is drawn in the style of the region that has
            the same colour.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the run in; nothing is written without one.
        listener: told of progress; can stop the run.
        settings: changes to the experiment's ``Config``: ``size=256, steps=300, loss_weights={"style": 10}``; ``init``
            may also be a picture, as ``content`` may.

    Raises:
        UserError: the arguments contain a mistake; the message is one line.
        Diverged: the loss diverged.
        Failure: a file of the run could not be written.
    """
    if not isinstance(experiment, Experiment):
        experiment = load(experiment)
    out, listener = None if out is None else to_text("out", out), to_listener(listener)
    settings, init = split_init(settings)
    experiment = experiment.replace(**settings)
    masks = {"content_mask": content_mask, "style_masks": style_masks}
    check_sources(content, style, experiment.config, **masks)
    experiment, choice = settle(experiment, listener)
    inputs = prepare(content, style, experiment.config, **masks, init=init)
    return run(experiment, choice, inputs, out=out, listener=listener)


@protect_run("choose a smaller --size")
def run(
    experiment: Experiment,
    choice: Choice | None,
    inputs: Inputs,
    *,
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
) -> Result:
    """Run what ``settle`` and ``prepare`` return: an experiment, its weights, and its pictures; see ``stylize``."""
    listener = to_listener(listener)
    folder = None if out is None or _follows(experiment.config) else RunFolder(out)
    if folder is not None:
        folder.check_new()
        if experiment.config.tensorboard:
            tensorboard.check_installed()
    resolved = resolve(experiment, choice, inputs, listener)
    if any("seed" in changes for changes in experiment.changes) and not is_random(resolved):
        listener.notice(NO_EFFECT)
    stages = _make_stages(experiment, resolved, inputs, listener)
    if folder is None:
        _compile_largest(stages)
        return _run_without_folder(resolved, inputs, stages, listener)
    with folder.lock(listener.warning):
        folder.check_new()  # again, since another process may have taken it
        learnt = resolved.weights if resolved.weights.reference is None else None
        # Before compiling, which may take minutes, and so may the learning of the weights.
        folder.create(resolved.record, inputs, weights=learnt, experiment=experiment)
        listener.resumable(str(folder.path))
        try:
            with explain_out_of_memory("choose a smaller --size"):
                _compile_largest(stages)
                stages[0].compile()
        except (UserError, Failure):
            folder.discard()
            raise
        return _run_in_folder(folder, resolved, inputs, stages, listener)


@protect_run("free some, and resume again")
def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: Experiment | None = None,
    listener: Listener | None = None,
) -> Result:
    """Continue a run from its newest whole checkpoint, as if it had not been stopped.

    A member of a sweep is first detached from its sweep, and is a single run from then on.

    Args:
        path: the run's folder.
        steps: extends the run to this number of steps in all. A schedule still ends where it was to end.
        experiment: supplies the terms if they were made in Python. Terms from a file are read from the folder.
        listener: told of progress; can stop the run.

    Raises:
        UserError: there is no run, another process works on it, or something that it needs is missing or was changed.
        Diverged: the loss diverged.
        Failure: all checkpoints are damaged, or a file of the run could not be written.
    """
    listener, folder = to_listener(listener), RunFolder(to_text("path", path))
    steps = None if steps is None else to_number("steps", steps, least=0, whole=True)
    check_kind("experiment", experiment, Experiment | None, "an Experiment")
    if "sweep" in folder.read_record():
        with folder.lock(listener.warning):  # holds the whole group, whose checkpoints are read
            experiment = _detach_member(folder, experiment, listener)
    # A process that follows writes nothing, so it needs no lock: the leader has it.
    follows = _follows(record.parse_config(folder.read_record()))
    with contextlib.nullcontext() if follows else folder.lock(listener.warning):
        run_record = folder.read_record()
        if steps is not None:
            run_record = record.extend(run_record, steps)
        inputs = folder.read_inputs(run_record)
        experiment = experiment or folder.read_experiment(run_record, listener.notice)
        resolved = restore(run_record, experiment, inputs, folder.weights, listener)
        listener.resumable(str(folder.path))
        stages = _make_stages(experiment, resolved, inputs, listener)
        run_stages = _run_without_folder if follows else functools.partial(_run_in_folder, folder)
        return run_stages(resolved, inputs, stages, listener)


def _compile_largest(stages: Sequence[Stage]) -> None:
    """Compile every stage of the last size, to learn before the first step whether they fit into memory."""
    for stage in stages:
        if stage.shape == stages[-1].shape:
            stage.compile()


def _follows(config: Config) -> bool:
    """Return whether this process shares a picture that another process leads."""
    return config.shard_picture and not cluster.leads()


def _make_stages(experiment: Experiment, resolved: Resolved, inputs: Inputs, listener: Listener) -> Sequence[Stage]:
    def compile_size(resolved: Resolved, inputs: Inputs, steps: int) -> Program:
        def tell_cost(seconds: float, memory: float) -> None:
            height, width = get_shape(inputs)
            cost = f"{format_duration(seconds * steps)} and {memory / 2**30:.1f} GiB"
            listener.notice(f"the {steps:,} steps at {width}x{height} pixels will take about {cost}")

        listener.compiling()
        with experiment.error_context():
            return compiling.compile(resolved, inputs, tell_cost=tell_cost)

    with experiment.error_context():
        return make_stages(resolved, inputs, compile_size)


def _run_without_folder(resolved: Resolved, inputs: Inputs, stages: Sequence[Stage], listener: Listener) -> Result:
    """Run from step 0, or from where the leader of the cluster is, and write nothing."""
    config = resolved.config
    state = share_state(None, stages) if config.shard_picture else None
    state, (log,), stage = run_loop(config, state, [[]], stages, listener, Writer())
    raise_if_diverged(state, log, None, stage=stage)
    return make_result(resolved, inputs, state, stage.method, log, None)


def _run_in_folder(
    folder: RunFolder, resolved: Resolved, inputs: Inputs, stages: Sequence[Stage], listener: Listener
) -> Result:
    """Run from the newest checkpoint, or from step 0, to the end, and write everything to the folder."""
    config = resolved.config
    postprocess = functools.partial(restore_colours, inputs=inputs, config=config)
    identity = record.identity(resolved.record)
    writer = FolderWriter(
        [folder], config, [postprocess], checkpoints=folder.checkpoints, identity=identity, listener=listener
    )
    command = f"nstjax resume {shlex.quote(str(folder.path))}"
    try:
        state, logs = writer.restore(functools.partial(get_abstract_state, stages))
        if config.shard_picture:
            state = share_state(state, stages)
        folder.write_record(resolved.record)  # its number of steps may be new
        with explain_out_of_memory(f"free some, then run: {command}; or begin again with a smaller --size"):
            state, (log,), stage = run_loop(config, state, logs, stages, listener, writer)
        result = make_result(resolved, inputs, state, stage.method, log, folder)
        with write_error_context(folder.output):
            result.save(folder.output)
        if result.ended:
            reports.write(folder, listener.warning)
        raise_if_diverged(state, log, folder, stage=stage)
        return result
    except NotWritten as error:
        raise NotWritten(f"{error}; fix that, then run: {command}") from error
    finally:
        writer.close()


def _detach_member(folder: RunFolder, experiment: Experiment | None, listener: Listener) -> Experiment:
    """Make a single run of a sweep's member: copy its slice of the group's state, and say so in its record.

    Returns the experiment, which is read from the folder if it is not given.

    Its program differs from the group's, so the last bits of its further steps may differ.
    """
    run_record = folder.read_record()
    group = run_record.pop("sweep")
    inputs = folder.read_inputs(run_record)
    experiment = experiment or folder.read_experiment(run_record, listener.notice)
    resolved = restore(run_record, experiment, inputs, folder.weights, listener)
    stages = _make_stages(experiment, resolved, inputs, listener)
    keep = resolved.config.checkpoint_keep

    def get_group_state(step: int) -> State:
        state = get_abstract_state(stages, step)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((group["size"], *leaf.shape), leaf.dtype), state)

    with contextlib.closing(Checkpoints(folder.checkpoints, run=group["identity"], keep=keep)) as checkpoints:
        group_state = checkpoints.restore(get_group_state, listener.warning)
    state = None if group_state is None else jax.tree.map(lambda leaf: leaf[group["index"]], group_state)
    step = 0 if state is None else int(state.step)
    detached = record.seal({**run_record, "taken_out": {**group, "step": step}})
    if state is not None:
        identity = record.identity(detached)
        with contextlib.closing(Checkpoints(folder.path / "checkpoints", run=identity, keep=keep)) as checkpoints:
            checkpoints.save(step, state)
            checkpoints.wait()
    folder.write_record(detached)
    listener.notice(f"detached from its sweep at step {step:,}: it is a single run from now on")
    return experiment
