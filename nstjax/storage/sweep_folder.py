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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.plan import Axis, combine_axes, member_name
from nstjax.storage.new_folder import check_empty
from nstjax.storage.run_folder import RunFolder
from nstjax.system.files import check_length, open_atomic, write_error_context
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
    """

    members: tuple[int, ...]
    size: int
    devices: int
    identity: str

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
        """Return True if there is a sweep here."""
        return self.index.exists()

    def create(self, plan: Plan) -> None:
        """Write the plan of the sweep."""
        content: dict[str, Any] = {"schema": SCHEMA, **json.loads(json.dumps(asdict(plan)))}
        with write_error_context(self.index):
            self.path.mkdir(parents=True, exist_ok=True)
            with open_atomic(self.index) as file:
                file.write(json.dumps({**content, "sha256": record.digest(content)}, indent=2).encode() + b"\n")

    def read_plan(self) -> Plan:
        """Return the plan of the sweep.

        Raises:
            UserError: there is none, or it was changed.
        """
        if not self.index.exists():
            raise UserError(f"no sweep in {self.path}: expected a folder made by nstjax sweep")
        try:
            content = json.loads(self.index.read_text(encoding="utf-8"))
            digest = content.pop("sha256")
            schema = content.pop("schema")
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{self.index} is not the record of a sweep ({error})") from None
        if schema != SCHEMA:
            raise UserError(f"{self.index} has schema {schema}, but this nstjax reads {SCHEMA}")
        if digest != record.digest({"schema": schema, **content}):
            raise UserError(f"{self.index} was changed after the sweep began: undo the change, or start a new sweep")
        return Plan(tuple(Axis(axis["name"], tuple(axis["values"])) for axis in content["axes"]), content["paired"])

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
            with open_atomic(path) as file:
                file.write(json.dumps(asdict(group)).encode() + b"\n")

    def started_members(self) -> dict[int, RunFolder]:
        """Return {number: folder} of the members that have started."""
        return {number: folder for number, folder in enumerate(self.member_folders()) if folder.config.exists()}

    def read_groups(self) -> list[Group]:
        """Return the groups that have started, in order."""
        groups = []
        for path in sorted((self.path / "groups").glob("*/group.json")):
            if re.fullmatch("[0-9]{4,}-[0-9]+", path.parent.name):  # not a copy
                try:
                    content = json.loads(path.read_text(encoding="utf-8"))
                    groups.append(Group(**{**content, "members": tuple(content["members"])}))
                except (OSError, ValueError, TypeError, KeyError) as error:
                    raise UserError(f"{path} is not the record of a group ({error}): restore the original") from None
        return groups
