"""The pictures of files, put on sheets and pages."""

import os
from pathlib import Path

from PIL import Image

from nstjax.system.files import whole_file


def opened(file: Path) -> Image.Image:
    """The picture in a file, with its transparency if it has any."""
    with Image.open(file) as picture:
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def size_within(file: Path, width: int) -> tuple[int, int]:
    """The size of the picture in a file, made so narrow, but never enlarged."""
    with Image.open(file) as picture:
        width = min(width, picture.width)
        return width, max(1, round(picture.height * width / picture.width))


def put(sheet: Image.Image, file: Path, size: tuple[int, int], place: tuple[int, int]) -> None:
    """Paste the picture in a file; the sheet shows where it is transparent."""
    picture = opened(file).resize(size, Image.Resampling.LANCZOS)
    sheet.paste(picture, place, picture if picture.mode == "RGBA" else None)


def save(path: str | os.PathLike[str], sheet: Image.Image) -> None:
    """Write a sheet as PNG."""
    with whole_file(path) as file:
        sheet.save(file, "PNG")
