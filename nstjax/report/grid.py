"""The pictures of a sweep in one file, in the rows and columns of what was varied; and its numbers as a table."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from nstjax.report.labels import Labels
from nstjax.report.pictures import put, save, size_within
from nstjax.system.files import whole_file

_LARGEST = 6_000
"""What the pictures take together, at most, in pixels; more of them are smaller."""

_SMALLEST_TEXT = 16
"""In pixels. It grows with the grid, which a screen shows the smaller the larger it is."""

_ROOM = 8
"""What a label may take where its picture is smaller, in heights of the text; beyond that it is wrapped."""

_NAME = "#666666"
"""The colour of an axis's name; its values are black."""


def grid(
    path: str | os.PathLike[str],
    *,
    column_axis: str,
    columns: Sequence[str],
    row_axis: str | None,
    rows: Sequence[str],
    pictures: Sequence[Sequence[Path | None]],
    width: int = 320,
) -> None:
    """Write the pictures in rows and columns, with the values that made them above and at the left.

    Args:
        path: a PNG file.
        column_axis: what differs from column to column, such as "style weight".
        columns: its values.
        row_axis: what differs from row to row; None where there is one row, which then has no label.
        rows: its values; ``[""]`` without a row_axis.
        pictures: [row][column], all of one size; None leaves the place empty.
        width: of each in the grid, in pixels; never enlarged.
    """
    size = _size([file for row in pictures for file in row if file], width, columns=len(columns), rows=len(rows))
    em = max(_SMALLEST_TEXT, round(min(len(columns) * size[0] / 72, size[0] / 8)))
    gap, room = round(0.75 * em), _ROOM * em
    labels = Labels([column_axis, row_axis or "", *columns, *rows], em)

    # As far apart as the pictures or the labels ask; then what lies above, then what lies at the left, and the places.
    step_x = max(size[0], min(room, labels.longest([column_axis, *columns]))) + gap
    span_x = len(columns) * step_x - gap
    values_x = [labels.draw(it, width=step_x - gap, lines=3) for it in columns]
    name_x = labels.draw(column_axis, width=span_x, lines=2, fill=_NAME)
    top = gap + name_x.height + gap // 2 + max(it.height for it in values_x) + gap // 2

    left, step_y, values_y, name_y = gap, size[1] + gap, [], None
    if row_axis is not None:
        lines = max(2, size[1] // labels.line)
        values_y = [labels.draw(it, width=max(room, size[0] // 2), lines=lines, align="right") for it in rows]
        step_y = gap + max(size[1], min(room, labels.longest([row_axis])) // len(rows), *(it.height for it in values_y))
        name_y = labels.draw(row_axis, width=len(rows) * step_y - gap, lines=2, fill=_NAME)
        name_y = name_y.transpose(Image.Transpose.ROTATE_90)
        left += name_y.width + gap + max(it.width for it in values_y) + gap
    span_y = len(rows) * step_y - gap

    sheet = Image.new("RGB", (left + span_x + gap, top + span_y + gap), "white")
    xs = [left + index * step_x + (step_x - gap) // 2 for index in range(len(columns))]  # the middles of the places
    ys = [top + index * step_y + (step_y - gap) // 2 for index in range(len(rows))]
    sheet.paste(name_x, (left + (span_x - name_x.width) // 2, gap))
    for x, label in zip(xs, values_x, strict=True):
        sheet.paste(label, (x - label.width // 2, top - gap // 2 - label.height))
    if name_y:
        sheet.paste(name_y, (gap, top + (span_y - name_y.height) // 2))
    for y, label in zip(ys, values_y, strict=row_axis is not None):
        sheet.paste(label, (left - gap - label.width, y - label.height // 2))
    for y, files in zip(ys, pictures, strict=True):
        for x, file in zip(xs, files, strict=True):
            if file:
                put(sheet, file, size, (x - size[0] // 2, y - size[1] // 2))
    save(path, sheet)


def table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV; the keys, in the order in which they first appear, are its header.

    Args:
        path: a CSV file.
        rows: {key: value}; one that a row has not is empty in it. A float is read back to the bit.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*dict.fromkeys(key for row in rows for key in row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole_file(path) as file:
        # A file's name may hold what is no character.
        file.write(text.getvalue().encode(errors="backslashreplace"))


def _size(files: Sequence[Path], width: int, *, columns: int, rows: int) -> tuple[int, int]:
    """Of each picture in the grid; where there is none, of a place."""
    width = max(1, min(width, _LARGEST // columns))
    if not files:
        return width, width
    size = size_within(files[0], width)
    high = max(1, _LARGEST // rows)
    return size if size[1] <= high else size_within(files[0], max(1, size[0] * high // size[1]))
