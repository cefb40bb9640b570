"""The report of the sweep in a folder: its grid, its table and its page."""

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nstjax.errors import Failure, NotWritten, UserError
from nstjax.experiment.inputs import format_title
from nstjax.experiment.plan import format_value
from nstjax.reports import run_report
from nstjax.reports.grid import grid, table
from nstjax.reports.sweep_page import Cell, sweep_page
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import Status, read_sweep_status
from nstjax.storage.sweep_folder import Plan, SweepFolder
from nstjax.system.files import write_error_context

T = TypeVar("T")


class _Layout(NamedTuple):
    """The places of a sweep's members in rows and columns.

    Args:
        column_axis: name of the setting that differs between columns.
        columns: its values.
        row_axis: name of the setting that differs between rows; None if there is one row.
        rows: its values; ``[""]`` if there is one row.
    """

    column_axis: str
    columns: list[str]
    row_axis: str | None
    rows: list[str]

    def arrange(self, items: Sequence[T]) -> list[list[T]]:
        """Return [row][column] of items, one for each member."""
        width = len(self.columns)
        return [[*items[index * width : (index + 1) * width]] for index in range(len(self.rows))]


def write_sweep(folder: SweepFolder, warn: Callable[[str], object]) -> Path:
    """Write the grid, the table and the page of a sweep, and the reports of its members, finished or not.

    Args:
        folder: the folder of the sweep.
        warn: called with a message for each picture and member that cannot be read and is left out.

    Returns:
        The path of the page.

    Raises:
        UserError: there is no sweep in the folder, or none of its members can be read.
        NotWritten: a file could not be written.
    """
    outputs = [member.output for member in folder.member_folders()]
    return run_report.write_latest(outputs, functools.partial(_write, folder, warn))


def _write(folder: SweepFolder, warn: Callable[[str], object]) -> Path:
    plan, members = folder.read_plan(), folder.member_folders()
    statuses = _write_members(folder, members, warn)
    if not any(statuses):
        raise UserError(f"no member of {folder.path} can be reported: each is damaged, or has not started")
    layout = _lay_out(plan)
    outputs = {number: member.output for number, member in enumerate(members) if member.output.exists()}
    readable = run_report.keep_readable(outputs, warn)
    pictures = [readable.get(number) for number in range(len(members))]
    with write_error_context(folder.path / "grid.png"):
        if any(pictures):
            grid(folder.path / "grid.png", **layout._asdict(), pictures=layout.arrange(pictures))
    numbers = [_list_numbers(status) for status in statuses]
    with write_error_context(folder.path / "table.csv"):
        labels = {axis.name: axis.label for axis in plan.axes}
        lines = [
            {"member": name, **{labels[axis]: value for axis, value in assignment.items()}, **values}
            for name, assignment, values in zip(plan.member_names(), plan.assignments(), numbers, strict=True)
        ]
        table(folder.path / "table.csv", lines)
    cells = [
        Cell(name, picture, f"members/{name}/report.html", _list_facts(values))
        for name, picture, values in zip(plan.member_names(), pictures, numbers, strict=True)
    ]
    record = next(member.read_record() for member, status in zip(members, statuses, strict=True) if status)
    target = folder.path / "report.html"
    ended = sum(status is not None and status.ended for status in statuses)
    with write_error_context(target):
        sweep_page(
            target,
            title=format_title(record["pictures"]["names"]),
            facts={"members": f"{ended} of {len(statuses)} finished", "experiment": record["experiment"]["name"]},
            record=_keep_shared(record, plan),
            **layout._asdict(),
            cells=layout.arrange(cells),
        )
    return target


def _write_members(
    folder: SweepFolder, members: Sequence[RunFolder], warn: Callable[[str], object]
) -> list[Status | None]:
    """Write the reports of the members, and return their status; None for one that is damaged or has not started."""
    statuses: list[Status | None] = []
    for member, status in zip(members, read_sweep_status(folder), strict=True):
        try:
            if isinstance(status, str):
                raise UserError(status)
            if status is not None:
                run_report.write(member, warn)
            statuses.append(status)
        except NotWritten:
            raise
        except (UserError, Failure) as error:
            warn(f"{member.path} is left out: {error}")
            statuses.append(None)
    return statuses


def _lay_out(plan: Plan) -> _Layout:
    """Lay the last axis out in columns and the others in rows; paired axes in one row."""
    if plan.paired or len(plan.axes) < 2:
        columns = [", ".join(map(format_value, assignment.values())) for assignment in plan.assignments()]
        return _Layout(", ".join(axis.label for axis in plan.axes) or "the only member", columns, None, [""])
    *down, right = plan.axes
    rows = [", ".join(map(format_value, values)) for values in itertools.product(*(axis.values for axis in down))]
    return _Layout(right.label, [*map(format_value, right.values)], ", ".join(axis.label for axis in down), rows)


def _list_numbers(status: Status | None) -> dict[str, Any]:
    """Return the numbers of a member for the table; none if it was not begun."""
    if status is None:
        return {}
    return {"step": status.step, **status.losses, **({"diverged": "yes"} if status.diverged else {})}


def _list_facts(numbers: dict[str, Any]) -> dict[str, str]:
    """Return the facts of a member for the page: its loss first."""
    losses = {("loss" if name == "total" else name): value for name, value in numbers.items()}
    facts = {"loss": losses.pop("loss", "none yet"), **losses}
    return {name: f"{value:.5g}" if isinstance(value, float) else format_value(value) for name, value in facts.items()}


def _keep_shared(record: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the record without the settings that differ between members."""
    varied = {axis.name for axis in plan.axes}
    config = {name: value for name, value in record["config"].items() if name not in varied}
    config["loss_weights"] = {term: value for term, value in config["loss_weights"].items() if term not in varied}
    shared = {**record, "config": config}
    return {name: value for name, value in shared.items() if name not in ("sweep", "taken_out", "sha256")}
