"""Contact sheets: the pictures of some steps in one file."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from nstjax.report.pictures import put, save, size_within

_BORDER = 12
_LINE = 26


def contact_sheet(path: str | os.PathLike[str], pictures: Mapping[int, Path], *, width: int = 320) -> None:
    """Write the pictures of some steps side by side, each under its step.

    Args:
        path: a PNG file.
        pictures: {step: file}, all of one size.
        width: of each on the sheet, in pixels; never enlarged.
    """
    columns = min(len(pictures), max(2, math.ceil(math.sqrt(1.5 * len(pictures)))))
    rows = math.ceil(len(pictures) / columns)
    size = size_within(next(iter(pictures.values())), width)
    font = ImageFont.load_default(16)
    labels = [f"step {step:,}" for step in pictures]
    widest = math.ceil(max(font.getlength(label) for label in labels))
    cell = (max(size[0], widest) + _BORDER, size[1] + _LINE + _BORDER)
    sheet = Image.new("RGB", (columns * cell[0] + _BORDER, rows * cell[1] + _BORDER), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (label, file) in enumerate(zip(labels, pictures.values(), strict=True)):
        x, y = _BORDER + index % columns * cell[0], _BORDER + index // columns * cell[1]
        draw.text((x, y), label, fill="black", font=font)
        put(sheet, file, size, (x, y + _LINE))
    save(path, sheet)
