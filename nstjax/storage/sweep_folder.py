"""A sweep's folder:

    sweep.json      what differs between the members, and who they are
    members/NAME/   a run's folder each
    groups/NAME/    those that are computed together: group.json, and the checkpoints of their one state
    grid.png, table.csv, report.html

A group is named by its first member and its size. Whoever works on it holds it, as a run's folder is held.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.plan import Axis, assignments, member_name
from nstjax.storage.run_folder import RunFolder
from nstjax.system.files import whole_file, writing

SCHEMA = 1
"""Of ``sweep.json``; a change of its form is a new number."""


@dataclass(frozen=True)
class Plan:
    """What a sweep is.

    Args:
        axes: what differs.
        paired: whether the values go together, in place of every combination.
    """

    axes: tuple[Axis, ...]
    paired: bool

    def assignments(self) -> list[dict[str, Any]]:
        """{axis: value} of each member."""
        return assignments(self.axes, paired=self.paired)

    def names(self) -> list[str]:
        """The folder's name of each member."""
        return [member_name(it) for it in self.assignments()]


@dataclass(frozen=True)
class Group:
    """Members that are computed together.

    Args:
        members: their numbers.
        size: how many are computed; what the members lack is filled up with the last of them, and dropped.
        devices: over which they are spread.
        identity: a checksum of what their state depends on.
    """

    members: tuple[int, ...]
    size: int
    devices: int
    identity: str

    @property
    def computed(self) -> tuple[int, ...]:
        """The members with those that fill up."""
        return self.members + self.members[-1:] * (self.size - len(self.members))


class SweepFolder:
    """The folder of a sweep; nothing is made before ``create``."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.index = self.path / "sweep.json"

    def check_new(self, plan: Plan, mine: Sequence[int], *, shared: bool) -> None:
        """That a sweep can begin here.

        Args:
            plan: what it is.
            mine: the members that this process is to begin.
            shared: whether other processes may have begun others.

        Raises:
            UserError: there is one already, or it cannot be written.
        """
        if shared and self.path.is_dir():
            begun = [RunFolder(self.path / "members" / plan.names()[it]).config.exists() for it in mine]
            if not any(begun) and (not self.index.exists() or self.read() == plan):
                return
        if self.index.exists():
            raise UserError(
                f"{self.path} already holds a sweep: nstjax resume {self.path} goes on with it; or choose another --out"
            )
        RunFolder(self.path).check_new()

    def exists(self) -> bool:
        """Whether a sweep is here."""
        return self.index.exists()

    def create(self, plan: Plan) -> None:
        """Write what it is."""
        content: dict[str, Any] = {"schema": SCHEMA, **json.loads(json.dumps(asdict(plan)))}
        with writing(self.index):
            self.path.mkdir(parents=True, exist_ok=True)
            with whole_file(self.index) as file:
                file.write(json.dumps({**content, "sha256": record.digest(content)}, indent=2).encode() + b"\n")

    def read(self) -> Plan:
        """What the sweep is.

        Raises:
            UserError: there is none, or it was changed.
        """
        try:
            content = json.loads(self.index.read_text(encoding="utf-8"))
            digest = content.pop("sha256")
            schema = content.pop("schema")
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{self.index} is no record of a sweep ({error})") from None
        if schema != SCHEMA:
            raise UserError(f"{self.index} has schema {schema}, and this nstjax reads {SCHEMA}")
        if digest != record.digest({"schema": schema, **content}):
            raise UserError(f"{self.index} was changed after the sweep began: undo the change, or begin a new one")
        return Plan(tuple(Axis(it["name"], tuple(it["values"])) for it in content["axes"]), content["paired"])

    def members(self) -> list[RunFolder]:
        """The folder of each member."""
        return [RunFolder(self.path / "members" / name) for name in self.read().names()]

    def group_folder(self, group: Group) -> RunFolder:
        """Where its checkpoints and its lock lie."""
        return RunFolder(self.path / "groups" / f"{group.members[0]:04d}-{group.size}")

    def write_group(self, group: Group) -> None:
        """Say who is computed together."""
        path = self.group_folder(group).path / "group.json"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(json.dumps(asdict(group)).encode() + b"\n")

    def begun(self) -> dict[int, RunFolder]:
        """The members that have a folder, by their numbers."""
        return {number: it for number, it in enumerate(self.members()) if it.config.exists()}

    def groups(self) -> list[Group]:
        """Those that were begun, in order."""
        found = []
        for path in sorted((self.path / "groups").glob("*/group.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(Group(**{**content, "members": tuple(content["members"])}))
        return found
