"""Groups of members that are computed together: dividing members into groups, writing groups, splitting them."""

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment import record
from nstjax.experiment.choice import SELF_TAUGHT
from nstjax.experiment.experiment import Experiment
from nstjax.experiment.inputs import Inputs
from nstjax.experiment.resolve import Resolved
from nstjax.runs.stages import get_abstract_state
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.contents import checkpoint_steps
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.seals import parse_seal
from nstjax.storage.sweep_folder import Group, Plan, SweepFolder
from nstjax.sweeps.batch import Members
from nstjax.sweeps.stages import make_group_stages


def make_groups(runs: Sequence[Resolved], numbers: Sequence[int], size: int, devices: int) -> list[Group]:
    """Divide members into groups of one size.

    Args:
        runs: the run of each member of the sweep.
        numbers: the members to divide.
        size: number of runs that are computed together. The last group is filled up with copies of its last member.
        devices: number of devices that a group is spread over.
    """
    groups = []
    for start in range(0, len(numbers), size):
        members = tuple(numbers[start : start + size])
        text = "".join(record.identity(runs[member].record) for member in members) + f" {size} on {devices}"
        groups.append(Group(members, size, devices, hashlib.sha256(text.encode()).hexdigest()))
    return groups


def choose_device_count(groups: Sequence[Group], available: int, listener: Listener) -> int:
    """Choose the number of devices for groups that were begun: as many as divide the sizes of all of them evenly.

    Groups that ran out of memory were split, so their sizes may differ.

    Args:
        groups: the groups that were begun.
        available: number of devices that there are.
        listener: told if some stay idle, and if the groups ran on another number before.
    """
    sizes = {group.size for group in groups}
    count = max(k for k in range(1, available + 1) if not any(size % k for size in sizes))
    before = sorted({group.devices for group in groups})
    if before != [count]:
        listener.warning(
            f"continuing on {count} of {available} devices, but the sweep last ran on "
            f"{' and '.join(map(str, before))}: the last bits may differ"
        )
    elif count < available:
        members = " and ".join(map(str, sorted(sizes)))
        listener.notice(f"using {count} of {available} devices, over which groups of {members} members spread evenly")
    return count


def is_attached(run: Resolved) -> bool:
    """Return whether a member is written by its group: it was not detached, and its pictures are not lost."""
    return "taken_out" not in run.record


def point_to_group(run: Resolved, member: int, run_folder: RunFolder, group: Group, folder: SweepFolder) -> Resolved:
    """Return the run with a record that says which group holds its state.

    Args:
        run: the run of the member.
        member: its number.
        run_folder: its folder.
        group: the group that it belongs to.
        folder: the folder of the sweep.
    """
    pointer = {
        "group": os.path.relpath(folder.group_folder(group).path, run_folder.path),
        "index": group.members.index(member),
        "size": group.size,
        "devices": group.devices,
        "identity": group.identity,
    }
    return replace(run, record=record.seal({**run.record, "sweep": pointer}))


def create_folders(
    folder: SweepFolder,
    plan: Plan,
    groups: Sequence[Group],
    runs: list[Resolved],
    inputs: Sequence[Inputs],
    experiment: Experiment,
) -> None:
    """Write the folders of the members and of the groups, and last the sweep's record.

    A folder without that record holds no sweep.

    Args:
        folder: the folder of the sweep.
        plan: the plan of the sweep.
        groups: the groups whose members are written.
        runs: the run of each member; the records of the groups' members are changed to point to their groups.
        inputs: the pictures of each member.
        experiment: the experiment, whose source is kept.
    """
    run_folders = [RunFolder(folder.path / "members" / name) for name in plan.member_names()]
    for group in groups:
        for member in group.members:
            runs[member] = run = point_to_group(runs[member], member, run_folders[member], group, folder)
            create_member(run_folders[member], run, inputs[member], experiment)
        folder.write_group(group)
    folder.create(plan)


def create_member(folder: RunFolder, run: Resolved, inputs: Inputs, experiment: Experiment) -> None:
    """Write the folder of a member."""
    learnt = run.weights if run.config.weights == SELF_TAUGHT else None
    folder.create(run.record, inputs, weights=learnt, experiment=experiment)


def split_group(
    group: Group, members_by_stage: Sequence[Members], runs: list[Resolved], folder: SweepFolder, listener: Listener
) -> list[Group]:
    """Split a group that needs more memory than there is in two, which continue from its last checkpoint.

    Args:
        group: the group to split.
        members_by_stage: the members of the sweep, at each stage.
        runs: the run of each member; the records of the group's members are changed to point to their new groups.
        folder: the folder of the sweep.
        listener: told of the split.

    Returns:
        The new groups.
    """
    half = -(-group.size // (2 * group.devices)) * group.devices
    listener.warning(f"out of memory with {group.size} members at a time: continuing with {half}")
    old, run_folders = folder.group_folder(group), folder.member_folders()
    keep = runs[group.members[0]].config.checkpoint_keep
    stages = make_group_stages(members_by_stage, group.padded_members, runs[0].config)
    with closing(Checkpoints(old.path / "checkpoints", run=group.identity, keep=keep)) as checkpoints:
        state = checkpoints.restore(functools.partial(get_abstract_state, stages), listener.warning)
    parts = make_groups(runs, group.members, half, group.devices)
    for part in parts:
        path = folder.group_folder(part).path
        if state is not None:
            indices = np.array([group.members.index(member) for member in part.padded_members])
            path.mkdir(parents=True, exist_ok=True)
            with closing(Checkpoints(path / "checkpoints", run=part.identity, keep=keep)) as part_checkpoints:
                part_state = jax.tree.map(lambda leaf, indices=indices: leaf[indices], state)
                part_checkpoints.save(int(np.max(state.step)), part_state)
                part_checkpoints.wait()
        for member in part.members:
            if is_attached(runs[member]):
                runs[member] = point_to_group(runs[member], member, run_folders[member], part, folder)
                run_folders[member].write_record(runs[member].record)
        folder.write_group(part)
    # From here on the parts count; see ``SweepFolder.read_groups``.
    (old.path / "group.json").unlink()
    _remove_group(old.path, group.identity)
    return parts


def remove_split_groups(folder: SweepFolder, groups: Sequence[Group]) -> None:
    """Remove the groups that were split by a process that was killed before it had removed them.

    Args:
        folder: the folder of the sweep.
        groups: the groups that were begun.
    """
    sizes = {group.members[0]: group.size for group in groups}
    for path in (folder.path / "groups").glob("*-*"):
        if (name := re.fullmatch(r"(\d{4,})-(\d+)", path.name)) and not (path / "group.json").exists():
            first, size = int(name[1]), int(name[2])
            if size > sizes.get(first, size):
                steps = checkpoint_steps(path / "checkpoints")
                with suppress(OSError, ValueError):  # without a whole checkpoint
                    _remove_group(path, parse_seal(path / "checkpoints" / str(steps[-1]))["run"] if steps else "")


def _remove_group(path: Path, identity: str) -> None:
    """Remove the folder of a group, except for files of the user's."""
    with closing(Checkpoints(path / "checkpoints", run=identity, keep=0)) as checkpoints:
        checkpoints.remove_all()
    (path / ".lock").unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()
