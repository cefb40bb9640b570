"""Contact sheets: the pictures of some steps in one file."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from nstjax.reports.pictures import scale_size
from nstjax.reports.sheet import Sheet

_TEXT = 16
"""Size of the labels, in pixels."""

_LINE = 26
"""Space for a label above its picture, in pixels."""

_GAP = 4
"""Space between a label and its picture, in pixels."""

_BORDER = 12
"""Space around the pictures, in pixels."""


def contact_sheet(path: str | os.PathLike[str], pictures: Mapping[int, Path], *, width: int = 320) -> None:
    """Write the pictures of some steps side by side, each below its step.

    Args:
        path: the PNG file to write.
        pictures: {step: picture file}, at least one, all of the same size.
        width: largest width of a picture on the sheet, in pixels; smaller pictures are not enlarged.
    """
    columns = min(len(pictures), max(2, math.ceil(math.sqrt(1.5 * len(pictures)))))
    rows = math.ceil(len(pictures) / columns)
    size = scale_size(next(iter(pictures.values())), width)
    labels = [f"step {step:,}" for step in pictures]
    sheet = Sheet(_TEXT)
    widest = sheet.measure(labels)
    step_x, step_y = max(size[0], widest) + _BORDER, size[1] + _LINE + _BORDER
    sheet.resize(columns * step_x + _BORDER, rows * step_y + _BORDER)
    for index, (label, file) in enumerate(zip(labels, pictures.values(), strict=True)):
        x, y = _BORDER + index % columns * step_x, _BORDER + index // columns * step_y
        text = sheet.add_label(label, width=widest, lines=1, horizontal="left", vertical="bottom")
        text.set_position((x, y + _LINE - _GAP))
        sheet.add_picture(file, size, (x, y + _LINE))
    sheet.save(path)
