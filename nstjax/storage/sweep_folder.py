"""The folder of a sweep.

    sweep.json      the axes of the sweep, which determine its members
    members/NAME/   the run's folder of each member
    groups/NAME/    members that are computed together: group.json, and the checkpoints of their joint state
    grid.png, table.csv, report.html

A group is named after its first member and its size. The process that works on a group locks its folder, as a run's
folder is locked.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.plan import Axis, combine_axes, member_name
from nstjax.experiment.record import Pointer, RunRecord
from nstjax.storage.contents import is_input
from nstjax.storage.new_folder import check_empty
from nstjax.storage.run_folder import RunFolder
from nstjax.system.files import check_length, is_of_the_system, is_temporary, remove_leftovers, write_error_context
from nstjax.system.locks import hold_lock

SCHEMA = 1
"""Version of the format of ``sweep.json``."""


@dataclass(frozen=True)
class Plan:
    """The axes of a sweep and how they combine.

    Args:
        axes: the settings or pictures that differ between members.
        paired: whether the values are paired instead of combined in every way.
    """

    axes: tuple[Axis, ...]
    paired: bool

    def assignments(self) -> list[dict[str, Any]]:
        """Return the value on each axis, for each member."""
        return combine_axes(self.axes, paired=self.paired)

    def member_names(self) -> list[str]:
        """Return the folder name of each member."""
        return [member_name(assignment) for assignment in self.assignments()]


@dataclass(frozen=True)
class Group:
    """Members that are computed together.

    Args:
        members: numbers of the members.
        size: number of members computed; missing ones are copies of the last member, and are dropped.
        devices: number of devices that the members are spread over.
        identity: checksum of everything that their state depends on.

    Raises:
        ValueError: there are no members, or more than are computed.
    """

    members: tuple[int, ...]
    size: int
    devices: int
    identity: str

    def __post_init__(self):
        if (
            not 0 < len(set(self.members)) == len(self.members) <= self.size
            or min(self.members) < 0
            or self.devices < 1
        ):
            raise ValueError(f"a group of {self.size} cannot have the members {[*self.members]}")

    @property
    def padded_members(self) -> tuple[int, ...]:
        """Members including the copies that fill up the group."""
        return self.members + self.members[-1:] * (self.size - len(self.members))


class SweepFolder:
    """The folder of a sweep; nothing is created before ``create``."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.index = self.path / "sweep.json"

    def check_new(self, plan: Plan, members: Sequence[int], *, shared: bool) -> None:
        """Raise if a sweep cannot start here.

        Args:
            plan: the plan of the sweep.
            members: numbers of the members that this process is to start.
            shared: whether other processes may have started other members.

        Raises:
            UserError: there is a sweep already, or the folder cannot be written.
        """
        names = plan.member_names()
        check_length(self.path / "members" / max(names, key=lambda name: len(os.fsencode(name))))
        if self._is_beginning():
            return check_empty(self.path, known=("members", "groups"))
        if shared and os.path.isdir(self.path):
            check_empty(self.path, known=(self.index.name, "members", "groups"))
            started = [RunFolder(self.path / "members" / names[number]).config.exists() for number in members]
            if not any(started) and (not self.index.exists() or self.read_plan() == plan):
                return
        if os.path.exists(self.index):
            raise UserError(
                f"{self.path} already holds a sweep: continue it with nstjax resume {self.path} (and --steps for more "
                "steps, if it is finished), or choose another --out"
            )
        RunFolder(self.path).check_new()

    @contextlib.contextmanager
    def lock(self, warn: Callable[[str], object]) -> Iterator[None]:
        """Lock the folder while a process creates members in it; other processes wait.

        Args:
            warn: called with one line if the file system has no locks.
        """
        with write_error_context(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with hold_lock(self.path / ".lock", warn):
            yield

    def exists(self) -> bool:
        """Return True if there is a sweep here.

        Raises:
            UserError: there is the beginning of one, which was stopped before all of its folder was written.
        """
        if self._is_beginning():
            raise UserError(f"the sweep in {self.path} was stopped as it began: give its command again")
        return self.index.exists()

    def _is_beginning(self) -> bool:
        """Return True if there is only what ``create_folders`` writes before the plan: the folder can be used again."""
        if self.index.exists() or not (self.path / "members").is_dir():
            return False
        names = {path.name for pattern in ("*", "members/*/*", "groups/*/*") for path in self.path.glob(pattern)}
        names -= {".lock", "members", "groups", "config.json", "inputs", "group.json"}
        inputs = {path.name for path in self.path.glob("members/*/inputs/*") if not is_input(path.name)}
        return all(is_temporary(name) or is_of_the_system(name) for name in names | inputs)

    def remove_beginning(self) -> None:
        """Remove the folders of a sweep that was stopped as it began; its members may have been others."""
        # The members last: without their folder, one that is stopped here too would not be known as a beginning.
        for name in ("groups", "members"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove the files of the sweep and of its groups that a killed process was writing."""
        for folder in (self.path, *(self.path / "groups").glob("*")):
            remove_leftovers(folder)

    def create(self, plan: Plan) -> None:
        """Write the plan of the sweep."""
        with write_error_context(self.index):
            self.path.mkdir(parents=True, exist_ok=True)
            record.write_sealed(self.index, record.seal(json.loads(json.dumps(asdict(plan))), schema=SCHEMA))

    def read_plan(self) -> Plan:
        """Return the plan of the sweep.

        Raises:
            UserError: there is none, or it was changed.
        """
        if not self.index.exists():
            raise UserError(f"no sweep in {self.path}: expected a folder made by nstjax sweep")
        return record.read_sealed(self.index, Plan, schema=SCHEMA, owner="sweep")

    def member_folders(self) -> list[RunFolder]:
        """Return the folder of each member."""
        return [RunFolder(self.path / "members" / name) for name in self.read_plan().member_names()]

    def group_folder(self, group: Group) -> RunFolder:
        """Return the folder of a group's checkpoints and lock."""
        return RunFolder(self.path / "groups" / f"{group.members[0]:04d}-{group.size}")

    def write_group(self, group: Group) -> None:
        """Write the file that says which members are computed together."""
        path = self.group_folder(group).path / "group.json"
        with write_error_context(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            record.write_sealed(path, record.seal(json.loads(json.dumps(asdict(group))), schema=SCHEMA))

    def started_members(self) -> dict[int, RunFolder]:
        """Return {number: folder} of the members that have started."""
        return {number: folder for number, folder in enumerate(self.member_folders()) if folder.config.exists()}

    def read_groups(self, records: Mapping[int, RunRecord]) -> list[Group]:
        """Return the groups that have started, in order.

        A file that is lost or damaged is replaced by what the members' records say.

        Args:
            records: the records of the members that have started.

        Raises:
            UserError: the file of a group and the record of one of its members are both lost.
        """
        count, read = len(self.read_plan().assignments()), []
        for path in (self.path / "groups").glob("*/group.json"):
            if not re.fullmatch("[0-9]{4,}-[0-9]+", path.parent.name):
                continue  # a copy
            with contextlib.suppress(UserError):
                read.append(record.read_sealed(path, Group, schema=SCHEMA, owner="group"))
        groups: dict[int, Group] = {}  # the group of each member
        # While a group is split its parts are there too, and count once it is gone.
        for group in sorted(read, key=lambda group: -group.size):
            if max(group.members) < count and groups.keys().isdisjoint(group.members):
                groups |= dict.fromkeys(group.members, group)
        for group in self._rebuild_groups({member: records[member] for member in records.keys() - groups.keys()}):
            groups |= dict.fromkeys(group.members, group)
        return sorted({*groups.values()}, key=lambda group: group.members)

    def _rebuild_groups(self, records: Mapping[int, RunRecord]) -> Iterator[Group]:
        """Yield the groups that the records of some members point to, if there are folders of these groups."""
        pointers: dict[Path, dict[int, tuple[int, Pointer]]] = {}
        for member, run_record in records.items():
            if pointer := run_record.get("sweep") or run_record.get("taken_out"):
                path = self.path / "groups" / re.split(r"[/\\]", pointer["group"])[-1]
                if path.is_dir():
                    pointers.setdefault(path, {})[pointer["index"]] = member, pointer
        for path, members in pointers.items():
            if sorted(members) != [*range(len(members))]:
                how = f"remove {path}, and its other members begin again"
                raise UserError(f"{path / 'group.json'} is lost or damaged, and so is the record of a member: {how}")
            _, pointer = members[0]
            numbers = tuple(members[index][0] for index in sorted(members))
            yield Group(numbers, pointer["size"], pointer["devices"], pointer["identity"])
