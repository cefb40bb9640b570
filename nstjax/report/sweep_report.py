"""What is drawn of a sweep: its grid, its table, its page."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nstjax.experiment.inputs import title_of
from nstjax.experiment.plan import shown
from nstjax.report import run_report
from nstjax.report.grid import grid, table
from nstjax.report.sweep_page import Cell, sweep_page
from nstjax.storage import status
from nstjax.storage.status import Status
from nstjax.storage.sweep_folder import Plan, SweepFolder
from nstjax.system.files import writing


def write_sweep(folder: SweepFolder, warn: Callable[[str], object]) -> Path:
    """Draw the grid, the table and the page of a sweep, and the pages of its members, finished or not.

    Args:
        folder: of the sweep.
        warn: told of what cannot be drawn.

    Returns:
        The page.

    Raises:
        UserError: there is no sweep in the folder.
        NotWritten: one of them could not be written.
    """
    plan, homes, found = folder.read(), folder.members(), status.of_sweep(folder)
    for home, it in zip(homes, found, strict=True):
        if it is not None:
            run_report.write(home, warn)
    column_axis, columns, row_axis, rows, places = _layout(plan)
    pictures = [home.output if home.output.exists() else None for home in homes]
    with writing(folder.path / "grid.png"):
        if any(pictures):
            shapes = {"column_axis": column_axis, "columns": columns, "row_axis": row_axis, "rows": rows}
            grid(folder.path / "grid.png", **shapes, pictures=_placed(pictures, places))
    labels, members = {axis.name: axis.label for axis in plan.axes}, [_losses(it) for it in found]
    with writing(folder.path / "table.csv"):
        lines = [
            {"member": name, **{labels[axis]: value for axis, value in assignment.items()}, **losses}
            for name, assignment, losses in zip(plan.names(), plan.assignments(), members, strict=True)
        ]
        table(folder.path / "table.csv", lines)
    cells = [
        Cell(name, picture, f"members/{name}/report.html", {it: _short(value) for it, value in _facts(losses).items()})
        for name, picture, losses in zip(plan.names(), pictures, members, strict=True)
    ]
    record = next(home.read_record() for home in homes if home.config.exists())
    target = folder.path / "report.html"
    ended = sum(it is not None and it.ended for it in found)
    with writing(target):
        sweep_page(
            target,
            title=title_of(record["pictures"]["names"]),
            facts={"members": f"{ended} of {len(found)} finished", "experiment": record["experiment"]["name"]},
            record=_common(record, plan),
            column_axis=column_axis,
            columns=columns,
            row_axis=row_axis,
            rows=rows,
            cells=_placed(cells, places),
        )
    return target


def _layout(plan: Plan) -> tuple[str, list[str], str | None, list[str], list[tuple[int, int]]]:
    """The last axis goes to the right, all others down; paired ones all to the right. And each member's place."""
    if plan.paired or len(plan.axes) < 2:
        columns = [", ".join(shown(value) for value in it.values()) for it in plan.assignments()]
        label = ", ".join(axis.label for axis in plan.axes) or "the only member"
        return label, columns, None, [""], [(0, index) for index in range(len(columns))]
    *down, right = plan.axes
    rows = [", ".join(map(shown, it)) for it in itertools.product(*(axis.values for axis in down))]
    places = list(itertools.product(range(len(rows)), range(len(right.values))))
    return right.label, [shown(it) for it in right.values], ", ".join(axis.label for axis in down), rows, places


def _placed(things: Sequence[Any], places: Sequence[tuple[int, int]]) -> list[list[Any]]:
    rows: dict[int, list[Any]] = {}
    for (row, _), thing in zip(places, things, strict=True):
        rows.setdefault(row, []).append(thing)
    return [*rows.values()]


def _losses(now: Status | None) -> dict[str, Any]:
    if now is None:
        return {}
    return {"step": now.step, **now.losses, **({"diverged": "yes"} if now.diverged else {})}


def _facts(member: dict[str, Any]) -> dict[str, Any]:
    """What the page says of a member: its loss first."""
    losses = {("loss" if name == "total" else name): it for name, it in member.items()}
    return {"loss": losses.pop("loss", "none yet"), **losses}


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else shown(value)


def _common(record: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The record but for what differs between the members."""
    varied = {axis.name for axis in plan.axes}
    config = {name: it for name, it in record["config"].items() if name not in varied}
    config["loss_weights"] = {term: it for term, it in config["loss_weights"].items() if term not in varied}
    return {
        name: it for name, it in {**record, "config": config}.items() if name not in ("sweep", "taken_out", "sha256")
    }
