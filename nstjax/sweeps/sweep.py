"""One experiment run with many settings and pictures, many runs at a time.

In order, and where to find each step:

    1. list the members: one for each combination         experiment/plan.py
    2. choose the weights, settings for their flavour      experiment/choice.py
    3. prepare the pictures of the members                 sweeps/pictures.py
    4. settle the settings of the first, vary the others   experiment/resolve.py
    5. compile, choose how many members fit into memory    sweeps/batch.py
    6. divide the members into groups                      sweeps/groups.py
    7. create the folders                                  sweeps/groups.py, storage/sweep_folder.py
    8. run group after group                               runs/loop.py
    9. draw the grid, write the table and the report       report/

A group is computed together: it has one program, one state, and one folder of checkpoints. Groups do not depend on each
other. See README.md in this folder.
"""

import functools
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import jax

from nstjax import reports
from nstjax.arguments import check_kind, to_flag, to_mapping, to_number, to_text, to_tuple
from nstjax.callbacks import Listener, to_listener
from nstjax.errors import Diverged, Failure, NotWritten, UserError
from nstjax.experiment.choice import SELF_TAUGHT, settle
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, restore_colours
from nstjax.experiment.plan import PICTURES, Axis, to_settings
from nstjax.experiment.randomness import NO_EFFECT, is_random
from nstjax.experiment.resolve import Resolved, resolve, vary_run
from nstjax.experiment.sources import MaskSource, Source, split_init, to_sources
from nstjax.runs.failure import raise_if_diverged
from nstjax.runs.loop import run_loop
from nstjax.runs.result import Result, make_result
from nstjax.runs.stages import get_abstract_state
from nstjax.runs.writer import FolderWriter, Writer
from nstjax.storage import tensorboard
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import Status, read_sweep_status
from nstjax.storage.sweep_folder import Group, Plan, SweepFolder
from nstjax.sweeps.batch import Members, choose_group_size
from nstjax.sweeps.groups import (
    choose_device_count,
    create_folders,
    is_attached,
    make_groups,
    remove_split_groups,
    split_group,
)
from nstjax.sweeps.pictures import check_pictures, name_pictures, prepare_members
from nstjax.sweeps.restoring import attach_members, restore_members
from nstjax.sweeps.stages import make_group_stages, make_members
from nstjax.system.files import write_error_context
from nstjax.system.jax_settings import is_out_of_memory, protect_run
from nstjax.system.processes import parse_part


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The result of a sweep.

    Args:
        assignments: {axis: value} of each member.
        members: the result of each member, in the same order; None for members that were not begun before a stop, that
            were detached from the sweep, or that belong to another process.
        finished: whether every member, of every process, has made its steps or has diverged.
        folder: the folder of the sweep; None if nothing was written.
    """

    assignments: list[dict[str, Any]]
    members: list[Result | None] = field(repr=False)
    finished: bool
    folder: Path | None


@protect_run("choose a smaller --size, or a smaller --group-size")
def sweep(
    content: Source | Sequence[Source],
    style: Source | Sequence[Source],
    *,
    vary: Mapping[str, Any],
    paired: bool = False,
    blend: Source | Sequence[Source] = (),
    content_mask: MaskSource | None = None,
    style_masks: MaskSource | Sequence[MaskSource] = (),
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    group_size: int | None = None,
    part: str | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> SweepResult:
    """Run an experiment with every combination of some values, many runs at a time.

    Args:
        content: a picture, as for ``stylize``; or a list of them, of one size.
        style: a picture, as for ``stylize``; or a list of them.
        vary: {name: values}; a name is a term, whose weight varies, or "learning_rate", "seed" or "init_noise".
        paired: pair the first values, the second values and so on, instead of every combination.
        blend: further styles, blended with each of the styles; see ``blend_shares``.
        content_mask: the regions of the content, as for ``stylize``; only with one content picture and one style.
        style_masks: the regions of the style and of the styles blended with it, as for ``stylize``.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the sweep in; nothing is written without one.
        group_size: number of members that are computed together; by default as many as fit into memory.
        part: "I/N" if N processes share the sweep and its folder, and this is the I-th of them; None for the whole.
        listener: told of progress, with the mean of the losses over the group; can stop the sweep.
        changes: changes to the experiment's ``Config``, for all members.

    Raises:
        UserError: the arguments contain a mistake; the message is one line.
        Failure: a file of the sweep could not be written.
    """
    if not isinstance(experiment, Experiment):
        experiment = load(experiment)
    out, listener = None if out is None else to_text("out", out), to_listener(listener)
    group_size = None if group_size is None else to_number("group-size", group_size, least=1, whole=True)
    index, count = parse_part(part)
    changes, init = split_init(changes)
    experiment = experiment.replace(**changes)
    if experiment.config.shard_picture:
        raise UserError("a sweep spreads its members over the devices, and no picture: add --no-shard-picture")
    pictures = [to_sources("content", content), to_sources("style", style)]
    named = zip(PICTURES, pictures, strict=True)
    axes = [Axis(name, name_pictures(sources)) for name, sources in named if len(sources) > 1]
    axes += [Axis(name, to_tuple(f"vary[{name!r}]", values)) for name, values in to_mapping("vary", vary).items()]
    plan = Plan(tuple(axes), to_flag("paired", paired))
    folder = None if out is None else SweepFolder(out)
    numbers = range(index, len(plan.assignments()), count)
    if not numbers:
        raise UserError(f"part {part} of a sweep of {len(plan.assignments())} is empty: use no more parts than members")
    if folder is not None:
        folder.check_new(plan, numbers, shared=count > 1)
        if experiment.config.tensorboard:
            tensorboard.check_installed()
    elif count > 1:
        raise UserError("processes that share a sweep need a folder that all of them can read and write: give out")
    if content_mask is not None and any(len(sources) > 1 for sources in pictures):
        raise UserError("masks need one content picture and one style: begin a sweep for each of the pictures")
    options = {"blend": blend, "content_mask": content_mask, "style_masks": style_masks, "init": init}
    check_pictures(pictures, experiment.config, **options)
    experiment, choice = settle(experiment, listener)
    inputs = prepare_members(plan, experiment, pictures, **options)
    first = resolve(experiment, choice, inputs[0], listener)
    if first.config.weights == SELF_TAUGHT and any(len(sources) > 1 for sources in pictures):
        listener.warning("the network is learnt from the first two pictures and used for all members")
    runs = [
        vary_run(first, experiment, member_inputs, to_settings(assignment))
        for assignment, member_inputs in zip(plan.assignments(), inputs, strict=True)
    ]
    if any("seed" in settings for settings in (*experiment.changes, vary)) and not any(map(is_random, runs)):
        listener.notice(NO_EFFECT)
    listener.compiling()
    with experiment.error_context():
        members_by_stage = make_members(runs, inputs, jax.local_devices())
        largest = members_by_stage[len(runs[0].config.every_size) - 1 :]
        size = choose_group_size(largest, numbers, inputs[0], group_size=group_size, listener=listener)
    groups = make_groups(runs, numbers, size, largest[0].device_count)
    if folder is None:
        results: list[Result | None] = [None] * len(runs)
        for group in groups:
            _run_group(group, members_by_stage, runs, inputs, results, listener, None)
        finished = all(result is not None and result.ended for result in results)
        return SweepResult(plan.assignments(), results, finished, None)
    with folder.lock(listener.warning):
        # Again, since another process may have taken the folder while this one compiled.
        folder.check_new(plan, numbers, shared=count > 1)
        if count == 1:
            folder.remove_beginning()
        create_folders(folder, plan, groups, runs, inputs, experiment)
    with experiment.error_context():
        return _run_groups(folder, plan, groups, members_by_stage, runs, inputs, listener)


@protect_run("free some, and resume again")
def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: Experiment | None = None,
    part: str | None = None,
    listener: Listener | None = None,
) -> SweepResult:
    """Continue a sweep, each group from its newest whole checkpoint.

    Args:
        path: the sweep's folder.
        steps: extends every member to this number of steps in all.
        experiment: supplies the terms if they were made in Python. Terms from a file are read from the folder.
        part: "I/N" if N processes continue the sweep, which may be other than before; None for the whole.
        listener: told of progress; can stop the sweep.

    Raises:
        UserError: there is no sweep, another process works on it, or something that it needs is missing or was changed.
        Failure: all checkpoints of a group are damaged, or a file of the sweep could not be written.
    """
    listener, folder = to_listener(listener), SweepFolder(to_text("path", path))
    steps = None if steps is None else to_number("steps", steps, least=0, whole=True)
    check_kind("experiment", experiment, Experiment | None, "an Experiment")
    index, count = parse_part(part)
    plan = folder.read_plan()
    restored = restore_members(folder, plan, listener, steps=steps, experiment=experiment)
    groups, runs, inputs = restored.groups, restored.runs, restored.inputs
    remove_split_groups(folder, groups)
    devices = jax.local_devices()
    size, device_count = groups[0].size, choose_device_count(groups, len(devices), listener)
    members_by_stage = make_members(runs, inputs, devices[:device_count])
    # The record of a group begun on other devices says from now on that it continued on these.
    groups = [replace(group, devices=device_count) for group in groups]
    all_groups = [*groups, *make_groups(runs, restored.missing, size, device_count)]
    selected = all_groups[index::count]
    attach_members(restored, folder, [group for group in selected if group in groups], listener)
    new_groups = [group for group in selected if group not in groups]
    create_folders(folder, plan, new_groups, runs, inputs, restored.experiment)
    listener.compiling()
    with restored.experiment.error_context():
        return _run_groups(folder, plan, selected, members_by_stage, runs, inputs, listener)


def _run_groups(
    folder: SweepFolder,
    plan: Plan,
    groups: Sequence[Group],
    members_by_stage: Sequence[Members],
    runs: list[Resolved],
    inputs: Sequence[Inputs],
    listener: Listener,
) -> SweepResult:
    """Run the groups one after the other; write the report once every member of the sweep has ended."""
    results: list[Result | None] = [None] * len(runs)
    folder.remove_leftovers()
    listener.resumable(str(folder.path))
    try:
        waiting = [*groups]
        while waiting and not listener.wants_to_stop():
            group = waiting.pop(0)
            if len(groups) > 1:
                listener.notice(f"running a group of {len(group.members)}; groups left after it: {len(waiting)}")
            with folder.group_folder(group).lock(listener.warning):
                try:
                    _run_group(group, members_by_stage, runs, inputs, results, listener, folder)
                except (MemoryError, jax.errors.JaxRuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    if group.size == group.devices:
                        raise Failure(
                            "out of memory with one member at a time: begin again with a smaller --size"
                        ) from error
                    waiting = [*split_group(group, members_by_stage, runs, folder, listener), *waiting]
        finished = all(isinstance(member, Status) and member.ended for member in read_sweep_status(folder))
        if finished:
            reports.write_sweep(folder, listener.warning)
        return SweepResult(plan.assignments(), results, finished, folder.path)
    except NotWritten as error:
        raise NotWritten(f"{error}; fix that, then run: nstjax resume {shlex.quote(str(folder.path))}") from error


def _run_group(
    group: Group,
    members_by_stage: Sequence[Members],
    runs: Sequence[Resolved],
    inputs: Sequence[Inputs],
    results: list[Result | None],
    listener: Listener,
    folder: SweepFolder | None,
) -> None:
    """Run one group to its end, and fill in the results of its members, except those that were detached."""
    attached = {k: member for k, member in enumerate(group.members) if is_attached(runs[member])}
    if not attached:
        return
    config = runs[next(iter(attached.values()))].config
    stages = make_group_stages(members_by_stage, group.padded_members, config)
    run_folders: list[RunFolder | None] = [None] * group.size
    writer, state = Writer(), None
    logs: list[list[Any]] = [[] for _ in run_folders]
    if folder is not None:
        all_folders = folder.member_folders()
        run_folders = [all_folders[attached[k]] if k in attached else None for k in range(group.size)]
        checkpoints = folder.group_folder(group).path / "checkpoints"
        postprocess = [
            functools.partial(restore_colours, inputs=inputs[member], config=config) for member in group.padded_members
        ]
        writer = FolderWriter(
            run_folders, config, postprocess, checkpoints=checkpoints, identity=group.identity, listener=listener
        )
    try:
        if isinstance(writer, FolderWriter):
            state, logs = writer.restore(functools.partial(get_abstract_state, stages))
            for k, member in attached.items():  # its number of steps or of devices may be new
                cast("RunFolder", run_folders[k]).write_record(runs[member].record)
            cast("SweepFolder", folder).write_group(group)
        state, logs, stage = run_loop(config, state, logs, stages, listener, writer, count=len(group.members))
    finally:
        writer.close()
    for k, member in attached.items():
        member_state, run_folder = jax.tree.map(lambda leaf, k=k: leaf[k], state), run_folders[k]
        result = make_result(runs[member], inputs[member], member_state, stage.method, logs[k], run_folder)
        results[member] = result
        if run_folder is not None:
            with write_error_context(run_folder.output):
                result.save(run_folder.output)
        try:
            raise_if_diverged(member_state, logs[k], run_folder, stage=None)
        except Diverged as error:
            listener.warning(str(error))
