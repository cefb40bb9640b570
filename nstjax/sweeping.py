"""Many runs of one experiment at a time: the same loop over their stacked state.

What is computed together is a group: one program, one state, one root of checkpoints. Groups know nothing of each
other.
"""

import hashlib
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nstjax import events, record, report
from nstjax.errors import Diverged, NotWritten
from nstjax.experiment import Experiment, load
from nstjax.inputs import Inputs, Source, prepare, restarted, source_name
from nstjax.keeping import FolderKeeper, Keeper
from nstjax.listener import Listener
from nstjax.loop import Result, result_of
from nstjax.many import Members, fitted
from nstjax.resolve import Resolved, resolve, restore, varied
from nstjax.rundir import RunFolder, writing
from nstjax.steps import check, make_steps
from nstjax.sweepdir import Group, Plan, SweepFolder
from nstjax.variation import PICTURES, Axis, settings


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep leaves.

    Args:
        assignments: {axis: value} of each member.
        members: the result of each, in the same order; None of those that were not begun before a stop.
        folder: of the sweep; None where nothing was written.
        apart: the numbers of members that have become runs of their own, which have None here.
    """

    assignments: list[dict[str, Any]]
    members: list[Result | None] = field(repr=False)
    folder: Path | None
    apart: frozenset[int] = frozenset()

    @property
    def finished(self) -> bool:
        """Whether every member has made its steps, or has diverged."""
        rest = [it for number, it in enumerate(self.members) if number not in self.apart]
        return all(it is not None and it.ended for it in rest)


def sweep(
    content: Source | Sequence[Source],
    style: Source | Sequence[Source],
    *,
    vary: Mapping[str, Sequence[Any]],
    paired: bool = False,
    experiment: str | os.PathLike[str] | Experiment = "default",
    out: str | os.PathLike[str] | None = None,
    group_size: int | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> SweepResult:
    """Run an experiment with every combination of some values, many of them at a time.

    Args:
        content: path, ``example:NAME``, or array [H, W, 3] in [0, 1]; or several of them, of one size.
        style: likewise.
        vary: {name: values}: of a term, for its weight; or "learning_rate", "seed", "init_noise".
        paired: the first values together, then the second, in place of every combination.
        experiment: a preset's name, an experiment file, or an ``Experiment``.
        out: folder to keep the sweep in; nothing is written without one.
        group_size: how many at a time; by default as many as fit into memory.
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
    if folder is not None:
        folder.check_new()
        if experiment.config.tensorboard:
            events.require()
    inputs = _inputs(plan, experiment, pictures)
    first = resolve(experiment, inputs[0], tell)
    runs = [varied(first, experiment, it, settings(at)) for at, it in zip(plan.assignments(), inputs, strict=True)]
    tell.compiling()
    with experiment.blamed():
        members = Members(runs, inputs, jax.local_devices())
        compiled, size = fitted(members, inputs[0], group_size=group_size, tell=tell)
    groups = _grouped(runs, size, members.devices)
    if folder is None:
        results: list[Result | None] = [None] * len(runs)
        for group in groups:
            _run(group, members, compiled, runs, inputs, results, tell, None)
        return SweepResult(plan.assignments(), results, None)
    _create(folder, plan, groups, runs, inputs, experiment)
    return _go_on(folder, plan, groups, members, {size: compiled}, runs, inputs, tell)


def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: Experiment | None = None,
    listener: Listener | None = None,
) -> SweepResult:
    """Go on with a sweep, each group from its newest whole checkpoint.

    Args:
        path: the sweep's folder.
        steps: extend every member to so many steps in all.
        experiment: whose terms are minimised, where the sweep began with one that was made in Python.
        listener: told what happens.

    Raises:
        UserError: there is no sweep, another process is at work on it, or what it needs is missing or was changed.
        Failure: all checkpoints of a group are damaged, or something could not be written.
    """
    tell = listener or Listener()
    folder = SweepFolder(path)
    plan, homes = folder.read(), folder.members()
    records = [home.read_record() for home in homes]
    if steps is not None:
        records = [it if "taken_out" in it else record.extended(it, steps) for it in records]
    inputs = _shared([home.read_inputs(it) for home, it in zip(homes, records, strict=True)])
    experiment = experiment or homes[0].read_experiment(records[0])
    first = restore(records[0], experiment, inputs[0], homes[0].weights, tell)
    runs = [replace(first, config=record.config_of(it), record=it) for it in records]
    groups = folder.groups()
    devices = jax.local_devices()
    if len(devices) != groups[0].devices:
        tell.warning(f"{len(devices)} devices where the sweep began with {groups[0].devices}: the last bits may differ")
    tell.compiling()
    with experiment.blamed():
        members = Members(runs, inputs, devices[: math.gcd(groups[0].size, len(devices))])
        compiled = {size: members.compile(size) for size in {group.size for group in groups}}
    return _go_on(folder, plan, groups, members, compiled, runs, inputs, tell)


def _inputs(plan: Plan, experiment: Experiment, pictures: list[list[Any]]) -> list[Inputs]:
    """The pictures of each member; equal ones are the same arrays."""
    pairs: dict[tuple[int, int], Inputs] = {}
    starts: dict[Any, Inputs] = {}
    found = []
    for assignment in plan.assignments():
        config = experiment.replace(**settings(assignment)).config
        axes = {axis.name: axis.values for axis in plan.axes}
        c, s = (axes[it].index(assignment[it]) if it in axes else 0 for it in PICTURES)
        which = (c, s)
        if which not in pairs:
            pairs[which] = prepare(pictures[0][c], pictures[1][s], experiment.config)
        start = (which, config.seed if config.init_noise or config.init != "content" else None, config.init_noise)
        if start not in starts:
            starts[start] = restarted(pairs[which], config)
        found.append(starts[start])
    return found


def _shared(inputs: list[Inputs]) -> list[Inputs]:
    """The same pictures, equal ones as one array."""
    arrays: dict[bytes, np.ndarray] = {}

    def one(array: np.ndarray) -> np.ndarray:
        return arrays.setdefault(hashlib.sha256(array.tobytes()).digest(), array)

    return [replace(it, content=one(it.content), style=one(it.style), start=one(it.start)) for it in inputs]


def _grouped(runs: Sequence[Resolved], size: int, devices: int) -> list[Group]:
    groups = []
    for at in range(0, len(runs), size):
        members = tuple(range(at, min(at + size, len(runs))))
        together = "".join(record.identity(runs[it].record) for it in members) + f" {size} on {devices}"
        groups.append(Group(members, size, devices, hashlib.sha256(together.encode()).hexdigest()))
    return groups


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
        place = folder.group_folder(group)
        for index, member in enumerate(group.members):
            home = homes[member]
            pointer = {
                "group": os.path.relpath(place.path, home.path),
                "index": index,
                "size": group.size,
                "devices": group.devices,
                "identity": group.identity,
            }
            runs[member] = replace(runs[member], record=record.sealed({**runs[member].record, "sweep": pointer}))
            learnt = runs[member].weights if runs[member].weights.path is None else None
            home.create(runs[member].record, inputs[member], weights=learnt, experiment=experiment.source)
        folder.write_group(group)
    folder.create(plan)


def _go_on(
    folder: SweepFolder,
    plan: Plan,
    groups: Sequence[Group],
    members: Members,
    compiled: Mapping[int, Any],
    runs: Sequence[Resolved],
    inputs: Sequence[Inputs],
    tell: Listener,
) -> SweepResult:
    """Bring each group from where it stands to its end, and draw the whole."""
    results: list[Result | None] = [None] * len(runs)
    tell.keeping(str(folder.path))
    try:
        for number, group in enumerate(groups, start=1):
            if tell.wants_to_stop():
                break
            tell.notice(f"group {number} of {len(groups)}")
            with folder.group_folder(group).held():
                _run(group, members, compiled[group.size], runs, inputs, results, tell, folder)
        apart = frozenset(number for number, it in enumerate(runs) if "taken_out" in it.record)
        found = SweepResult(plan.assignments(), results, folder.path, apart)
        if found.finished:
            report.write_sweep(folder, tell.warning)
        return found
    except NotWritten as error:
        raise NotWritten(f"{error}; mend that, then: nstjax resume {shlex.quote(str(folder.path))}") from error


def _run(
    group: Group,
    members: Members,
    compiled: Any,
    runs: Sequence[Resolved],
    inputs: Sequence[Inputs],
    results: list[Result | None],
    tell: Listener,
    folder: SweepFolder | None,
) -> None:
    """Bring one group to its end; fills in the results of its members."""
    homes: list[RunFolder | None] = [None] * group.size
    keeper, state = Keeper(), None
    records: list[list[Any]] = [[] for _ in homes]
    if folder is not None:
        named = folder.members()
        for index, member in enumerate(group.members):
            if "taken_out" not in runs[member].record:
                homes[index] = named[member]
                named[member].write_record(runs[member].record)  # it may be extended
        keeper = FolderKeeper(
            homes,
            runs[group.members[0]],
            checkpoints=folder.group_folder(group).path / "checkpoints",
            identity=group.identity,
        )
    try:
        if isinstance(keeper, FolderKeeper):
            state, records = keeper.begin(members.form(group.size), tell)
        state = members.first_state(group.computed) if state is None else members.placed(state)
        made = lambda: members.program(compiled, group.computed)  # noqa: E731
        state, records = make_steps(runs[group.members[0]], state, records, made, tell, keeper)
    finally:
        keeper.close()
    for index, member in enumerate(group.members):
        if "taken_out" in runs[member].record:
            continue
        one = jax.tree.map(lambda leaf, index=index: leaf[index], state)
        home = homes[index]
        results[member] = result = result_of(runs[member], inputs[member], one, records[index], home)
        if home is not None:
            with writing(home.output):
                result.save(home.output)
        try:
            check(one, records[index], home)
        except Diverged as error:
            tell.warning(str(error))
