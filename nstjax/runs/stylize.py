"""The host's side of a run: chunk after chunk, with what is logged, kept and shown between them."""

import contextlib
import functools
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nstjax import images, optimise, report
from nstjax.callbacks import Listener, Record
from nstjax.errors import NotWritten, UserError
from nstjax.experiment import record
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, Source, finished, prepare
from nstjax.experiment.record import RunRecord
from nstjax.experiment.resolve import Resolved, resolve, restore
from nstjax.images.masks import Mask
from nstjax.optimise import Method, State
from nstjax.runs import compiling, stages
from nstjax.runs.compiling import Program
from nstjax.runs.loop import check, make_steps
from nstjax.runs.stages import Stage
from nstjax.runs.writer import FolderKeeper, Keeper
from nstjax.storage import tensorboard
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import RunFolder
from nstjax.system.files import writing


@dataclass(frozen=True, eq=False)
class Result:
    """What a run leaves.

    Args:
        picture: float32 [H, W, 3], sRGB, in [0, 1].
        alpha: [H, W], the content's transparency; None where it had none.
        metrics: {"step": [n], "total": [n], term: [n], …} of the logged steps: the values at the picture after
            that many steps; terms before their weights, the total with them.
        steps: how many steps were made; fewer than asked for where the listener wanted to stop.
        diverged: whether the loss left all bounds at that step.
        record: the resolved configuration, as in ``config.json``.
        folder: of the run; None where nothing was written.
    """

    picture: np.ndarray = field(repr=False)
    alpha: np.ndarray | None = field(repr=False)
    metrics: dict[str, np.ndarray] = field(repr=False)
    steps: int
    diverged: bool
    record: dict[str, Any] = field(repr=False)
    folder: Path | None

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self.diverged or self.steps == self.record["config"]["steps"]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture: PNG, JPEG, WebP or TIFF by its extension; a PNG carries the resolved configuration.

        Raises:
            UserError: unknown extension, or it cannot be written there.
        """
        images.save(path, self.picture, alpha=self.alpha, text={"nstjax": json.dumps(_public(self.record))})
        return Path(path)


def _public(run: RunRecord) -> RunRecord:
    """A record without the folders of whoever made it: pictures are shown around."""
    return {**run, "config": {**run["config"], "weights": Path(run["config"]["weights"]).name}}


def stylize(
    content: Source,
    style: Source | Sequence[Source],
    *,
    content_mask: Mask | None = None,
    style_masks: Sequence[Mask] = (),
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Result:
    """Draw the content of one picture in the style of another.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1].
        style: likewise; several are blended, in shares of ``style_weights``.
        content_mask: which regions the content has: a picture's file with a colour for each, or an array [R, h, w].
        style_masks: of each style; a region of the content is drawn in the style of the region of its colour.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the run in; nothing is written without one.
        listener: told what happens.
        settings: changes to the experiment's ``Config``: ``size=256, steps=300, loss_weights={"style": 10}``.

    Raises:
        UserError: a mistake in what was asked for, in one line.
        Diverged: the loss left all bounds.
        Failure: something that is kept could not be written.
    """
    if not isinstance(experiment, Experiment):
        experiment = load(experiment)
    experiment = experiment.replace(**settings)
    inputs = prepare(content, style, experiment.config, content_mask=content_mask, style_masks=style_masks)
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
    if folder is not None:
        folder.check_new()
        if experiment.config.tensorboard:
            tensorboard.require()
    resolved = resolve(experiment, inputs, tell)
    inputs = resolved.inputs
    sizes = _stages(experiment, resolved, inputs, tell)
    if folder is None:
        sizes[-1].compiled()
        state, (records,), method = make_steps(resolved.config, None, [[]], sizes, tell, Keeper())
        check(state, records, None)
        return result_of(resolved, inputs, state, method, records, None)
    with folder.held():
        folder.check_new()  # again: another process may have been faster
        learnt = resolved.weights if resolved.weights.reference is None else None
        # Before the program is compiled, which may take minutes, as the learning of the weights may have.
        folder.create(resolved.record, inputs, weights=learnt, experiment=experiment.source)
        tell.keeping(str(folder.path))
        try:
            sizes[-1].compiled()  # the largest first: that it does not fit should be said before any step is made
            sizes[0].compiled()
        except UserError:
            folder.discard()
            raise
        return _go_on(folder, resolved, inputs, sizes, tell)


def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: Experiment | None = None,
    listener: Listener | None = None,
) -> Result:
    """Go on with a run from its newest whole checkpoint, as if nothing had happened.

    Args:
        path: the run's folder.
        steps: extend the run to so many steps in all. A schedule still ends where it was to end.
        experiment: whose terms are minimised, where the run began with one that was made in Python; the file of any
            other is in the folder.
        listener: told what happens.

    Raises:
        UserError: there is no run, another process is at work on it, or what it needs is missing or was changed.
        Diverged: the loss left all bounds.
        Failure: all checkpoints are damaged, or something could not be written.
    """
    tell = listener or Listener()
    folder = RunFolder(path)
    if "sweep" in folder.read_record():
        with folder.held():  # with its group, which must not be at work
            _take_out(folder, experiment, tell)
    with folder.held():
        run = folder.read_record()
        if steps is not None:
            run = record.extended(run, steps)
        inputs = folder.read_inputs(run)
        experiment = experiment or folder.read_experiment(run)
        resolved = restore(run, experiment, inputs, folder.weights, tell)
        tell.keeping(str(folder.path))
        return _go_on(folder, resolved, inputs, _stages(experiment, resolved, inputs, tell), tell)


def _take_out(folder: RunFolder, experiment: Experiment | None, tell: Listener) -> None:
    """Make of a sweep's member a run of its own, with its slice of the group's state; its record says so.

    It goes on by another program than the group's, so the last bits of what follows may differ.
    """
    run = folder.read_record()
    group = run.pop("sweep")
    inputs = folder.read_inputs(run)
    experiment = experiment or folder.read_experiment(run)
    resolved = restore(run, experiment, inputs, folder.weights, tell)
    one = stages.form_at(_stages(experiment, resolved, inputs, tell))

    def stacked(step: int) -> State:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((group["size"], *leaf.shape), leaf.dtype), one(step))

    keep = resolved.config.checkpoint_keep
    with contextlib.closing(Checkpoints(folder.checkpoints, run=group["identity"], keep=keep)) as theirs:
        state = theirs.restore(stacked, tell.warning)
    mine = None if state is None else jax.tree.map(lambda leaf: leaf[group["index"]], state)
    step = 0 if mine is None else int(mine.step)
    alone = record.sealed({**run, "taken_out": {**group, "step": step}})
    if mine is not None:
        run_id = record.identity(alone)
        with contextlib.closing(Checkpoints(folder.path / "checkpoints", run=run_id, keep=keep)) as own:
            own.save(step, mine)
            own.wait()
    folder.write_record(alone)
    tell.notice(f"taken out of its sweep at step {step:,}: from here on a run of its own")


def _stages(experiment: Experiment, resolved: Resolved, inputs: Inputs, tell: Listener) -> list[Stage]:
    def compile_it(resolved: Resolved, inputs: Inputs) -> Program:
        tell.compiling()
        with experiment.blamed():
            return compiling.compile(resolved, inputs)

    with experiment.blamed():
        return stages.of_run(resolved, inputs, compile_it)


def _go_on(folder: RunFolder, resolved: Resolved, inputs: Inputs, sizes: list[Stage], tell: Listener) -> Result:
    """Bring the run of a folder from where it stands to its end."""
    config, run = resolved.config, resolved.record
    finish = functools.partial(finished, inputs=inputs, config=config)
    keeper = FolderKeeper([folder], config, [finish], checkpoints=folder.checkpoints, identity=record.identity(run))
    try:
        state, records = keeper.begin(stages.form_at(sizes), tell)
        folder.write_record(run)  # it may be extended
        state, (records,), method = make_steps(config, state, records, sizes, tell, keeper)
        result = result_of(resolved, inputs, state, method, records, folder)
        with writing(folder.output):
            result.save(folder.output)
        if result.ended:
            report.write(folder, tell.warning)
        check(state, records, folder)
        return result
    except NotWritten as error:
        raise NotWritten(f"{error}; mend that, then: nstjax resume {shlex.quote(str(folder.path))}") from error
    finally:
        keeper.close()


def result_of(
    resolved: Resolved,
    inputs: Inputs,
    state: State,
    method: Method,
    records: list[Record],
    folder: RunFolder | None,
) -> Result:
    """What a run leaves that has come to this state, by this method, which is that of its size."""
    picture = finished(np.asarray(optimise.picture(state, method=method)), inputs, resolved.config)
    return Result(
        picture=picture,
        alpha=None if inputs.alpha is None else images.resample(inputs.alpha, *picture.shape[:2]),
        metrics={name: np.array([it[name] for it in records]) for name in (records[0] if records else ())},
        steps=int(state.step),
        diverged=bool(state.failed),
        record=resolved.record,
        folder=None if folder is None else folder.path,
    )
