"""Many runs of one experiment at a time: the same loop over their stacked state.

What is computed together is a group: one program, one state, one root of checkpoints. Groups know nothing of each
other.
"""

import functools
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import jax

from nstjax import report
from nstjax.callbacks import Listener
from nstjax.errors import Diverged, Failure, NotWritten, UserError
from nstjax.experiment import record
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, Source, finished, source_name
from nstjax.experiment.plan import PICTURES, Axis, settings
from nstjax.experiment.resolve import SELF_TAUGHT, Resolved, resolve, restore, varied
from nstjax.images.masks import Mask
from nstjax.runs.loop import check, make_steps
from nstjax.runs.stages import form_at
from nstjax.runs.stylize import Result, result_of
from nstjax.runs.writer import FolderKeeper, Keeper
from nstjax.storage import status, tensorboard
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import Group, Plan, SweepFolder
from nstjax.sweeps.batch import Members, fitted
from nstjax.sweeps.groups import grouped, halved, pointed
from nstjax.sweeps.pictures import pictures_of, shared, with_missing
from nstjax.sweeps.stages import levels_of, of_members
from nstjax.system.files import writing
from nstjax.system.processes import Place

ALONE = Place()
"""The place of a process that shares nothing."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep leaves.

    Args:
        assignments: {axis: value} of each member.
        members: the result of each, in the same order; None of those that were not begun before a stop, that have
            become runs of their own, or that are another process's.
        finished: whether every member, whoever's it is, has made its steps or has diverged.
        folder: of the sweep; None where nothing was written.
    """

    assignments: list[dict[str, Any]]
    members: list[Result | None] = field(repr=False)
    finished: bool
    folder: Path | None


def sweep(
    content: Source | Sequence[Source],
    style: Source | Sequence[Source],
    *,
    vary: Mapping[str, Sequence[Any]],
    paired: bool = False,
    blend: Sequence[Source] = (),
    content_mask: Mask | None = None,
    style_masks: Sequence[Mask] = (),
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    group_size: int | None = None,
    place: Place = ALONE,
    listener: Listener | None = None,
    **changes: Any,
) -> SweepResult:
    """Run an experiment with every combination of some values, many of them at a time.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1]; or several of them, of one size.
        style: likewise.
        vary: {name: values}: of a term, for its weight; or "learning_rate", "seed", "init_noise".
        paired: the first values together, then the second, in place of every combination.
        blend: further styles, with which each of the styles is blended; see ``style_weights``.
        content_mask: as for ``stylize``, where one content picture and one style are given.
        style_masks: likewise, of the style and of those it is blended with.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the sweep in; nothing is written without one.
        group_size: how many at a time; by default as many as fit into memory.
        place: of this process among those that share the sweep, and its folder; see ``cluster.join``.
        listener: told what happens; of losses, the mean of the group.
        changes: to the experiment's ``Config``, for all members.

    Raises:
        UserError: a mistake in what was asked for, in one line.
        Failure: something that is kept could not be written.
    """
    tell = listener or Listener()
    if not isinstance(experiment, Experiment):
        experiment = load(experiment)
    experiment = experiment.replace(**changes)
    pictures: list[list[Any]] = [[*it] if isinstance(it, list | tuple) else [it] for it in (content, style)]
    axes = [
        Axis(name, tuple(source_name(it) for it in sources))
        for name, sources in zip(PICTURES, pictures, strict=True)
        if len(sources) > 1
    ]
    axes += [Axis(name, tuple(values)) for name, values in vary.items()]
    plan = Plan(tuple(axes), paired)
    folder = None if out is None else SweepFolder(out)
    mine = range(place.index, len(plan.assignments()), place.count)
    if folder is not None:
        folder.check_new(plan, mine, shared=place.count > 1)
        if experiment.config.tensorboard:
            tensorboard.require()
    elif place.count > 1:
        raise UserError("processes that share a sweep need a folder that all of them see: give out")
    if content_mask is not None and any(len(it) > 1 for it in pictures):
        raise UserError("masks are of one content picture and one style: begin a sweep for each of the pictures")
    inputs = pictures_of(plan, experiment, pictures, blend=blend, content_mask=content_mask, style_masks=style_masks)
    first = resolve(experiment, inputs[0], tell)
    if first.inputs is not inputs[0]:  # its weights ask for other sizes
        settled = replace(experiment, config=experiment.config_for(first.weights.flavour.name))
        inputs = pictures_of(plan, settled, pictures, blend=blend, content_mask=content_mask, style_masks=style_masks)
    if first.config.weights == SELF_TAUGHT and any(len(it) > 1 for it in pictures):
        tell.warning("the network is learnt from the first two pictures, and serves all members")
    runs = [varied(first, experiment, it, settings(at)) for at, it in zip(plan.assignments(), inputs, strict=True)]
    tell.compiling()
    with experiment.blamed():
        levels = levels_of(runs, inputs, jax.local_devices())
        size = fitted(levels[-1], mine, inputs[0], group_size=group_size, tell=tell)
    groups = grouped(runs, mine, size, levels[-1].devices)
    if folder is None:
        results: list[Result | None] = [None] * len(runs)
        for group in groups:
            _run(group, levels, runs, inputs, results, tell, None)
        finished = all(it is not None and it.ended for it in results)
        return SweepResult(plan.assignments(), results, finished, None)
    _create(folder, plan, groups, runs, inputs, experiment)
    return _go_on(folder, plan, groups, levels, runs, inputs, tell)


def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: Experiment | None = None,
    place: Place = ALONE,
    listener: Listener | None = None,
) -> SweepResult:
    """Go on with a sweep, each group from its newest whole checkpoint.

    Args:
        path: the sweep's folder.
        steps: extend every member to so many steps in all.
        experiment: whose terms are minimised, where the sweep began with one that was made in Python.
        place: of this process among those that go on with it; as many as there are now.
        listener: told what happens.

    Raises:
        UserError: there is no sweep, another process is at work on it, or what it needs is missing or was changed.
        Failure: all checkpoints of a group are damaged, or something could not be written.
    """
    tell = listener or Listener()
    folder = SweepFolder(path)
    plan, homes = folder.read(), folder.begun()
    groups = folder.groups()
    if not groups:
        raise UserError(f"no member of {folder.path} was begun: begin the sweep again with another --out")
    records = {number: home.read_record() for number, home in homes.items()}
    if steps is not None:
        records = {number: it if "taken_out" in it else record.extended(it, steps) for number, it in records.items()}
    known = dict(zip(homes, shared([home.read_inputs(records[it]) for it, home in homes.items()]), strict=True))
    head = min(homes)
    experiment = experiment or homes[head].read_experiment(records[head])
    first = restore(records[head], experiment, known[head], homes[head].weights, tell)
    inputs = with_missing(plan, first.config, known)
    runs = [
        replace(first, config=record.config_of(records[number]), record=records[number])
        if number in records
        else varied(first, experiment, it, settings(assignment))
        for number, (assignment, it) in enumerate(zip(plan.assignments(), inputs, strict=True))
    ]
    devices = jax.local_devices()
    if len(devices) != groups[0].devices:
        tell.warning(f"{len(devices)} devices where the sweep began with {groups[0].devices}: the last bits may differ")
    size = groups[0].size
    levels = levels_of(runs, inputs, devices[: math.gcd(size, len(devices))])
    # What was begun on other devices says from now on that it went on here.
    groups = [replace(it, devices=levels[-1].devices) for it in groups]
    placed = {number for group in groups for number in group.members}
    missing = [number for number in range(len(runs)) if number not in placed]
    units = [*groups, *grouped(runs, missing, size, levels[-1].devices)]
    mine = units[place.index :: place.count]
    for group in groups:
        for number in group.members:
            if "taken_out" not in runs[number].record:
                runs[number] = pointed(runs[number], number, homes[number], group, folder)
    _create(folder, plan, [it for it in mine if it not in groups], runs, inputs, experiment)
    tell.compiling()
    with experiment.blamed():
        return _go_on(folder, plan, mine, levels, runs, inputs, tell)


def _create(
    folder: SweepFolder,
    plan: Plan,
    groups: Sequence[Group],
    runs: list[Resolved],
    inputs: Sequence[Inputs],
    experiment: Experiment,
) -> None:
    """Write the members' folders, the groups, and the sweep's record last: a folder without one holds no sweep."""
    homes = [RunFolder(folder.path / "members" / name) for name in plan.names()]
    for group in groups:
        for member in group.members:
            runs[member] = pointed(runs[member], member, homes[member], group, folder)
            learnt = runs[member].weights if runs[member].config.weights == SELF_TAUGHT else None
            homes[member].create(runs[member].record, inputs[member], weights=learnt, experiment=experiment.source)
        folder.write_group(group)
    folder.create(plan)


def _go_on(
    folder: SweepFolder,
    plan: Plan,
    groups: Sequence[Group],
    levels: Sequence[Members],
    runs: list[Resolved],
    inputs: Sequence[Inputs],
    tell: Listener,
) -> SweepResult:
    """Bring each group from where it stands to its end, and draw the whole."""
    results: list[Result | None] = [None] * len(runs)
    tell.keeping(str(folder.path))
    try:
        waiting = [*groups]
        while waiting and not tell.wants_to_stop():
            group = waiting.pop(0)
            if len(groups) > 1:
                tell.notice(f"a group of {len(group.members)}, and {len(waiting)} after it")
            with folder.group_folder(group).held():
                try:
                    _run(group, levels, runs, inputs, results, tell, folder)
                except jax.errors.JaxRuntimeError as error:
                    if "RESOURCE_EXHAUSTED" not in str(error):
                        raise
                    if group.size == group.devices:
                        raise Failure(
                            "out of memory with one member at a time: begin again with a smaller --size"
                        ) from error
                    waiting = [*halved(group, levels, runs, folder, tell), *waiting]
        finished = all(it is not None and it.ended for it in status.of_sweep(folder))
        if finished:
            report.write_sweep(folder, tell.warning)
        return SweepResult(plan.assignments(), results, finished, folder.path)
    except NotWritten as error:
        raise NotWritten(f"{error}; mend that, then: nstjax resume {shlex.quote(str(folder.path))}") from error


def _run(
    group: Group,
    levels: Sequence[Members],
    runs: Sequence[Resolved],
    inputs: Sequence[Inputs],
    results: list[Result | None],
    tell: Listener,
    folder: SweepFolder | None,
) -> None:
    """Bring one group to its end; fills in the results of its members, but of those that are runs of their own."""
    mine = {index: it for index, it in enumerate(group.members) if "taken_out" not in runs[it].record}
    if not mine:
        return
    config = runs[next(iter(mine.values()))].config
    stages = of_members(levels, group.computed, config.size_ends)
    homes: list[RunFolder | None] = [None] * group.size
    keeper, state = Keeper(), None
    records: list[list[Any]] = [[] for _ in homes]
    if folder is not None:
        named = folder.members()
        homes = [named[mine[index]] if index in mine else None for index in range(group.size)]
        place = folder.group_folder(group).path / "checkpoints"
        finish = [functools.partial(finished, inputs=inputs[it], config=config) for it in group.computed]
        keeper = FolderKeeper(homes, config, finish, checkpoints=place, identity=group.identity)
    try:
        if isinstance(keeper, FolderKeeper):
            state, records = keeper.begin(form_at(stages), tell)
            # They may be extended, or go on on other devices.
            for index, member in mine.items():
                cast("RunFolder", homes[index]).write_record(runs[member].record)
            cast("SweepFolder", folder).write_group(group)
        state, records, method = make_steps(config, state, records, stages, tell, keeper)
    finally:
        keeper.close()
    for index, member in mine.items():
        one = jax.tree.map(lambda leaf, index=index: leaf[index], state)
        home = homes[index]
        results[member] = result = result_of(runs[member], inputs[member], one, method, records[index], home)
        if home is not None:
            with writing(home.output):
                result.save(home.output)
        try:
            check(one, records[index], home)
        except Diverged as error:
            tell.warning(str(error))
