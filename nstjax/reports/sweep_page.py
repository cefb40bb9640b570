"""The page of a sweep: its pictures side by side, each linked to the page of its member, its numbers, its settings."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from nstjax.reports.html import Embedded, embed, group_record, write_page
from nstjax.reports.pictures import open_picture

_LONG_SIDE = 480
"""Largest long side of an embedded picture, in pixels."""

_NUMBER = re.compile(r"([-−+]?[\d.,]+([eE][-+]?\d+)?)?")
"""A number, or nothing; a column of these is set flush right."""


@dataclass(frozen=True)
class Cell:
    """A member of a sweep, as its page shows it.

    Args:
        name: name of the member.
        picture: its picture file; None if there is none yet.
        href: path of the member's page, relative to the folder of the sweep's page, with ``/`` between its parts.
        facts: {"loss": "0.817", …}; the first one is shown with the picture.
    """

    name: str
    picture: Path | None
    href: str
    facts: Mapping[str, str]


class _Place(NamedTuple):
    """A cell as the template shows it in the grid."""

    name: str
    href: str
    embedded: Embedded | None
    caption: str


class _Column(NamedTuple):
    """A column of the members' table."""

    name: str
    is_number: bool


class _Line(NamedTuple):
    """A line of the members' table, with a value for each column."""

    name: str
    href: str
    values: Sequence[str]


class _Table(NamedTuple):
    """The members' table: the place of each member in the grid, and all its facts."""

    columns: Sequence[_Column]
    lines: Sequence[_Line]


def sweep_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    facts: Mapping[str, str],
    record: Mapping[str, Any],
    column_axis: str,
    columns: Sequence[str],
    row_axis: str | None,
    rows: Sequence[str],
    cells: Sequence[Sequence[Cell | None]],
) -> None:
    """Write the page of a sweep.

    Pictures are embedded as lossy WebP, with at most 480 pixels on the long side; the members' pages show larger ones.

    Args:
        path: the HTML file to write.
        title: title of the page.
        facts: the facts below the title, in order: {"members": "8 of 8 finished", …}.
        record: the settings that the members share, as in ``config.json``; only "config" is required.
        column_axis: name of the setting that differs between columns, such as "style weight".
        columns: its values.
        row_axis: name of the setting that differs between rows; None if there is one row, which then has no label.
        rows: its values; ``[""]`` without a row_axis.
        cells: [row][column]; None leaves a cell empty.
    """
    places = [[cell and _make_place(cell) for cell in row] for row in cells]
    embedded = (place.embedded for row in places for place in row if place and place.embedded)
    first = next(embedded, None)  # all pictures have the same size
    width, height = (first.width, first.height) if first else (_LONG_SIDE, _LONG_SIDE * 3 // 4)
    # The columns of pictures have the same width, so that of the labels is a guess instead of following its content.
    longest = max(len(word) for word in [*(row_axis or "").split(), *rows])
    write_page(
        path,
        "sweep_page.html",
        title=title,
        facts=facts,
        record=group_record(record),
        column_axis=column_axis,
        columns=columns,
        row_axis=row_axis,
        rows=[*zip(rows, places, strict=True)],
        letters=min(max(longest, 3), 12),
        width=width,
        aspect=width / height,
        table=_tabulate_members(column_axis, columns, row_axis, rows, cells),
    )


def _make_place(cell: Cell) -> _Place:
    embedded = embed(open_picture(cell.picture), cell.name, longest=_LONG_SIDE) if cell.picture else None
    caption = next((f"{name} {value}" for name, value in cell.facts.items()), "")
    return _Place(cell.name, _quote_address(cell), embedded, caption)


def _quote_address(cell: Cell) -> str:
    # The name of a folder may hold characters with a meaning in addresses, and undecodable bytes.
    return quote(os.fsencode(cell.href), safe="/=,")


def _tabulate_members(
    column_axis: str,
    columns: Sequence[str],
    row_axis: str | None,
    rows: Sequence[str],
    cells: Sequence[Sequence[Cell | None]],
) -> _Table:
    members: list[tuple[Cell, dict[str, str]]] = []
    for row, row_cells in zip(rows, cells, strict=True):
        for column, cell in zip(columns, row_cells, strict=True):
            if cell:
                place = {} if row_axis is None else {row_axis: row}
                members.append((cell, {**place, column_axis: column, **cell.facts}))
    names = [*dict.fromkeys(name for _, facts in members for name in facts)]
    return _Table(
        [_Column(name, all(_NUMBER.fullmatch(facts.get(name, "")) for _, facts in members)) for name in names],
        [_Line(cell.name, _quote_address(cell), [facts.get(name, "") for name in names]) for cell, facts in members],
    )
