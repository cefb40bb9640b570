"""The page of a sweep: its pictures side by side, each leading to its member's own page, its numbers, its settings."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from nstjax.report.html import embedded, fact_list, record_tables, write_page
from nstjax.report.pictures import opened

_LONG_SIDE = 480
"""Of an embedded picture, at most, in pixels."""

_NOTHING = "not finished"
"""In the place of a picture that is not there yet."""

_NUMBER = re.compile(r"([-−+]?[\d.,]+([eE][-+]?\d+)?)?")
"""A number, or nothing: a column of these is set flush right."""


@dataclass(frozen=True)
class Cell:
    """A member of a sweep, as its page shows it.

    Args:
        name: of the member.
        picture: its file; None where there is none yet.
        href: the path of the member's own page, from the folder of the sweep's page, with ``/`` between its parts.
        facts: {"loss": "0.817", …}, the one that is shown with the picture first.
    """

    name: str
    picture: Path | None
    href: str
    facts: Mapping[str, str]


_Cells: TypeAlias = Sequence[Sequence[Cell | None]]


class _Axes(NamedTuple):
    column_axis: str
    columns: Sequence[str]
    row_axis: str | None
    rows: Sequence[str]


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

    Pictures are embedded as lossy WebP, with 480 pixels on the long side at most: the members' own pages show more.

    Args:
        path: an HTML file.
        title: of the page.
        facts: what to know at a glance, in order: {"members": "8 of 8 finished", …}.
        record: what the members share, as in ``config.json``; of it, only "config" must be there.
        column_axis: what differs from column to column, such as "style weight".
        columns: its values.
        row_axis: what differs from row to row; None where there is one row, which then has no label.
        rows: its values; ``[""]`` without a row_axis.
        cells: [row][column]; None leaves the place empty.
    """
    axes = _Axes(column_axis, columns, row_axis, rows)
    write_page(
        path,
        "sweep_page.html",
        title=escape(title),
        facts=fact_list(facts),
        grid=_grid(axes, cells),
        members=_members(axes, cells),
        record=record_tables(record),
    )


def _grid(axes: _Axes, cells: _Cells) -> str:
    width, height = _size(cells)
    style = f"--columns: {len(axes.columns)}; --width: {width}px; --aspect: {width / height:.4f}"
    corner = ""
    if axes.row_axis is not None:
        # All columns shall be of one width, so none is by its content, and this one by a guess at it.
        longest = max(len(word) for word in [*axes.row_axis.split(), *axes.rows])
        style += f"; --letters: {min(max(longest, 3), 12)}ch"
        corner = f'<th class="label axis" rowspan="2">{escape(axes.row_axis)}</th>'
    values = "".join(f'<th scope="col">{escape(it)}</th>' for it in axes.columns)
    lines = []
    for row, members in zip(axes.rows, cells, strict=True):
        label = "" if axes.row_axis is None else f'<th class="label" scope="row">{escape(row)}</th>'
        lines.append(f"<tr>{label}{''.join(f'<td>{_place(it)}</td>' for it in members)}</tr>")
    return (
        f'<div class="scroll"><table class="grid" style="{style}"><thead>'
        f'<tr>{corner}<th class="axis" colspan="{len(axes.columns)}"><span>{escape(axes.column_axis)}</span></th></tr>'
        f"<tr>{values}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _size(cells: _Cells) -> tuple[int, int]:
    """Of the pictures on the page, as they are of one size."""
    for cell in (it for members in cells for it in members):
        if cell and cell.picture:
            image = opened(cell.picture)
            image.thumbnail((_LONG_SIDE, _LONG_SIDE))
            return image.size
    return _LONG_SIDE, _LONG_SIDE * 3 // 4


def _place(cell: Cell | None) -> str:
    if cell is None:
        return ""
    if cell.picture:
        name, picture = "", embedded(opened(cell.picture), cell.name, longest=_LONG_SIDE)
    else:
        name, picture = f' aria-label="{escape(cell.name)}, {_NOTHING}"', f'<div class="nothing">{_NOTHING}</div>'
    first = [f"<figcaption>{escape(f'{key} {value}')}</figcaption>" for key, value in cell.facts.items()][:1]
    return f'<a href="{_address(cell)}"{name}><figure>{picture}{"".join(first)}</figure></a>'


def _address(cell: Cell) -> str:
    # Of a folder's name, letters that mean something in an address, or none, and bytes that are no letters.
    return quote(os.fsencode(cell.href), safe="/=,")


def _members(axes: _Axes, cells: _Cells) -> str:
    """A table with a line for each member: where it stands in the grid, and all its facts."""
    lines: list[tuple[Cell, dict[str, str]]] = []
    for row, members in zip(axes.rows, cells, strict=True):
        for column, cell in zip(axes.columns, members, strict=True):
            if cell:
                place = {} if axes.row_axis is None else {axes.row_axis: row}
                lines.append((cell, {**place, axes.column_axis: column, **cell.facts}))
    keys = [*dict.fromkeys(key for _, facts in lines for key in facts)]
    numbers = {key: all(_NUMBER.fullmatch(facts.get(key, "")) for _, facts in lines) for key in keys}
    state = {key: ' class="number"' if numbers[key] else "" for key in keys}
    head = "".join(f'<th scope="col"{state[key]}>{escape(key)}</th>' for key in keys)
    body = "".join(
        f'<tr><th class="label" scope="row"><a href="{_address(cell)}">{escape(cell.name)}</a></th>'
        + "".join(f"<td{state[key]}>{escape(facts.get(key, ''))}</td>" for key in keys)
        + "</tr>"
        for cell, facts in lines
    )
    return (
        f'<div class="scroll"><table class="members"><thead><tr><th class="label" scope="col">member</th>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )
