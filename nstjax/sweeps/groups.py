"""Which members of a sweep are computed together, and how that is changed while their state is kept."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import jax
import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment import record
from nstjax.experiment.resolve import Resolved
from nstjax.runs.stages import form_at
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import Group, SweepFolder
from nstjax.sweeps.batch import Members
from nstjax.sweeps.stages import of_members


def grouped(runs: Sequence[Resolved], numbers: Sequence[int], size: int, devices: int) -> list[Group]:
    """Groups of some members, of one size; the last is filled up."""
    groups = []
    for at in range(0, len(numbers), size):
        members = tuple(numbers[at : at + size])
        together = "".join(record.identity(runs[it].record) for it in members) + f" {size} on {devices}"
        groups.append(Group(members, size, devices, hashlib.sha256(together.encode()).hexdigest()))
    return groups


def pointed(run: Resolved, member: int, home: RunFolder, group: Group, folder: SweepFolder) -> Resolved:
    """The run with a record that says where its state is."""
    pointer = {
        "group": os.path.relpath(folder.group_folder(group).path, home.path),
        "index": group.members.index(member),
        "size": group.size,
        "devices": group.devices,
        "identity": group.identity,
    }
    return replace(run, record=record.sealed({**run.record, "sweep": pointer}))


def halved(
    group: Group, levels: Sequence[Members], runs: list[Resolved], folder: SweepFolder, tell: Listener
) -> list[Group]:
    """Two groups in place of one that needs more memory than there is, from its last checkpoint on.

    Args:
        group: that is cut in two.
        levels: all members of the sweep, at each size.
        runs: of each; those of the group are pointed to their new places.
        folder: of the sweep.
        tell: told of it.
    """
    half = -(-group.size // (2 * group.devices)) * group.devices
    tell.warning(f"out of memory with {group.size} members at a time: going on with {half}")
    old, homes = folder.group_folder(group), folder.members()
    keep = runs[group.members[0]].config.checkpoint_keep
    with closing(Checkpoints(old.path / "checkpoints", run=group.identity, keep=keep)) as theirs:
        form = form_at(of_members(levels, group.computed, runs[0].config.size_ends))
        state = theirs.restore(form, tell.warning)
    parts = grouped(runs, group.members, half, group.devices)
    for part in parts:
        place = folder.group_folder(part).path
        if state is not None:
            which = np.array([group.members.index(it) for it in part.computed])
            place.mkdir(parents=True, exist_ok=True)
            with closing(Checkpoints(place / "checkpoints", run=part.identity, keep=keep)) as new:
                new.save(int(np.max(state.step)), jax.tree.map(lambda leaf, which=which: leaf[which], state))
                new.wait()
        for member in part.members:
            if "taken_out" not in runs[member].record:
                runs[member] = pointed(runs[member], member, homes[member], part, folder)
                homes[member].write_record(runs[member].record)
        folder.write_group(part)
    shutil.rmtree(old.path)
    return parts
