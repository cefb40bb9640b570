"""The pictures of a sweep in one file, in rows and columns, and the numbers of a sweep as a table."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nstjax.reports.pictures import scale_size
from nstjax.reports.sheet import Sheet, measure_labels
from nstjax.system.files import write_whole

_LARGEST = 6_000
"""Largest width and largest height of all pictures together, in pixels; many pictures become smaller."""

_SMALLEST_TEXT = 16
"""Smallest size of the labels, in pixels. Large grids get larger labels, since a screen shows them scaled down."""

_LABEL_WIDTH = 8
"""Width that a label gets next to a smaller picture before it is wrapped, in multiples of the text size."""

_LINE_HEIGHT = 1.25
"""Height of a line of text, in multiples of the text size."""

_NAME = "#666666"
"""Colour of the name of an axis; its values are black."""


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
    """Write pictures in rows and columns, with the values that made them above and on the left.

    Args:
        path: the PNG file to write.
        column_axis: name of the setting that differs between columns, such as "style weight".
        columns: its values.
        row_axis: name of the setting that differs between rows; None if there is one row, which then has no label.
        rows: its values; ``[""]`` without a row_axis.
        pictures: picture files [row][column], all of the same size; None leaves a cell empty.
        width: largest width of a picture in the grid, in pixels; smaller pictures are not enlarged.
    """
    files = [file for row in pictures for file in row if file]
    size = _scale_cell(files, width, columns=len(columns), rows=len(rows))
    em = max(_SMALLEST_TEXT, round(min(len(columns) * size[0] / 72, size[0] / 8)))
    gap, label_width = round(0.75 * em), _LABEL_WIDTH * em
    sheet = Sheet(em)

    # Above the pictures: the name of the column axis, and below it the values.
    step_x = max(size[0], min(label_width, sheet.measure([column_axis, *columns]))) + gap
    span_x = len(columns) * step_x - gap
    name_x = sheet.add_label(column_axis, width=span_x, lines=2, horizontal="center", vertical="top", colour=_NAME)
    values_x = [
        sheet.add_label(value, width=step_x - gap, lines=3, horizontal="center", vertical="bottom") for value in columns
    ]
    top = gap + measure_labels([name_x])[1] + gap // 2 + measure_labels(values_x)[1] + gap // 2

    # On the left of the pictures: the name of the row axis, turned, and the values.
    left, step_y, values_y, name_y = gap, size[1] + gap, [], None
    if row_axis is not None:
        lines = max(2, int(size[1] / (_LINE_HEIGHT * em)))
        value_width = max(label_width, size[0] // 2)
        values_y = [
            sheet.add_label(value, width=value_width, lines=lines, horizontal="right", vertical="center")
            for value in rows
        ]
        widest, highest = measure_labels(values_y)
        step_y = gap + max(size[1], min(label_width, sheet.measure([row_axis])) // len(rows), highest)
        name_y = sheet.add_label(
            row_axis,
            width=len(rows) * step_y - gap,
            lines=2,
            horizontal="left",
            vertical="center",
            colour=_NAME,
            rotation=90,
        )
        left += measure_labels([name_y])[0] + gap + widest + gap
    span_y = len(rows) * step_y - gap

    sheet.resize(left + span_x + gap, top + span_y + gap)
    middles_x = [left + index * step_x + (step_x - gap) // 2 for index in range(len(columns))]
    middles_y = [top + index * step_y + (step_y - gap) // 2 for index in range(len(rows))]
    name_x.set_position((left + span_x // 2, gap))
    for x, label in zip(middles_x, values_x, strict=True):
        label.set_position((x, top - gap // 2))
    if name_y:
        name_y.set_position((gap, top + span_y // 2))
    for y, label in zip(middles_y, values_y, strict=row_axis is not None):
        label.set_position((left - gap, y))
    for y, row in zip(middles_y, pictures, strict=True):
        for x, file in zip(middles_x, row, strict=True):
            if file:
                sheet.add_picture(file, size, (x - size[0] // 2, y - size[1] // 2))
    sheet.save(path)


def table(path: str | os.PathLike[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as CSV; the header is their keys, in the order in which they first appear.

    Args:
        path: the CSV file to write.
        rows: {key: value}; a key that a row lacks is an empty field. Floats are written with all their digits.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*dict.fromkeys(key for row in rows for key in row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # The name of a file may hold undecodable bytes.
    write_whole(path, text.getvalue().encode(errors="backslashreplace"))


def _scale_cell(files: Sequence[Path], width: int, *, columns: int, rows: int) -> tuple[int, int]:
    """Return the (width, height) of each picture in the grid; of an empty cell if there are no pictures."""
    width = max(1, min(width, _LARGEST // columns))
    if not files:
        return width, width
    size = scale_size(files[0], width)
    height = max(1, _LARGEST // rows)
    return size if size[1] <= height else scale_size(files[0], max(1, size[0] * height // size[1]))
