"""Picture files as the report reads them: with their transparency, and small enough for a sheet or a page."""

from pathlib import Path

from PIL import Image

from nstjax.images import open_image


def open_picture(file: Path) -> Image.Image:
    """Return the picture of a file as RGB, or as RGBA if it has transparency."""
    with open_image(file) as picture:
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def scale_size(file: Path, width: int) -> tuple[int, int]:
    """Return the (width, height) of the picture of a file, scaled down to a largest width; never enlarged."""
    with open_image(file) as picture:
        width = min(width, picture.width)
        return width, max(1, round(picture.height * width / picture.width))
