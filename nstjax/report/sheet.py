"""Contact sheets: the pictures of some steps in one file."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from nstjax.atomic import whole_file

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
    with Image.open(next(iter(pictures.values()))) as first:
        width = min(width, first.width)
        height = round(first.height * width / first.width)
    font = ImageFont.load_default(16)
    labels = [f"step {step:,}" for step in pictures]
    widest = math.ceil(max(font.getlength(label) for label in labels))
    cell = (max(width, widest) + _BORDER, height + _LINE + _BORDER)
    sheet = Image.new("RGB", (columns * cell[0] + _BORDER, rows * cell[1] + _BORDER), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (label, file) in enumerate(zip(labels, pictures.values(), strict=True)):
        x, y = _BORDER + index % columns * cell[0], _BORDER + index // columns * cell[1]
        draw.text((x, y), label, fill="black", font=font)
        with Image.open(file) as picture:
            sheet.paste(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (x, y + _LINE))
    with whole_file(path) as file:
        sheet.save(file, "PNG")
