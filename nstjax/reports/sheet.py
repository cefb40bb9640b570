"""Sheets: labels and pictures on white paper, without pyplot and without global state.

matplotlib measures, aligns and draws the labels. The pictures are pasted into the pixels that it has drawn, one after
the other: ``Figure.figimage`` gives the same sheet, but takes twice the time and holds all pictures in memory at once.
"""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nstjax.reports.labels import clean_text, wrap_text
from nstjax.reports.pictures import open_picture
from nstjax.system.files import write_whole
from nstjax.system.plotting import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.text import Text

_DPI = 64
"""Pixels per inch, a power of two: the size in inches, by which matplotlib counts, is exact in floating point."""

_MISSING = "\N{WHITE SQUARE}"
"""The sign for characters that the font does not have, about which matplotlib would warn."""


class Sheet:
    """A white sheet with labels and pictures, measured in pixels from its top left corner.

    Labels can be measured as soon as they are added, before the size of the sheet is set. Every property of the drawing
    is set here, so that the user's matplotlib settings have no effect.

    Args:
        text_size: height of the letters of all labels, in pixels per em.
    """

    def __init__(self, text_size: int) -> None:
        matplotlib = import_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties
        from matplotlib.ft2font import FT2Font
        from matplotlib.transforms import Affine2D

        font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
        points = text_size * 72 / _DPI
        self._font = FontProperties(fname=str(font), size=points)
        self._letters = FT2Font(str(font))
        self._letters.set_size(points, _DPI)
        self._advances: dict[str, float] = {}
        self._figure = Figure(dpi=_DPI, facecolor="white", edgecolor="none", frameon=True)
        self._figure.set_layout_engine("none")
        self._canvas = FigureCanvasAgg(self._figure)
        self._from_top = Affine2D()
        self._pictures: list[tuple[Path, tuple[int, int], tuple[int, int]]] = []

    def resize(self, width: int, height: int) -> None:
        """Set the size of the sheet."""
        self._figure.set_size_inches(width / _DPI, height / _DPI)
        self._from_top.clear().scale(1, -1).translate(0, height)

    def measure(self, texts: Sequence[str]) -> int:
        """Return the width of the longest of some texts, each in one line."""
        return math.ceil(max(self._measure(self._prepare(text)) for text in texts))

    def add_label(
        self,
        text: str,
        *,
        width: float,
        lines: int,
        horizontal: str,
        vertical: str,
        colour: str = "black",
        rotation: float = 0,
    ) -> "Text":
        """Add a label, wrapped; its ``set_position`` takes pixels from the top left corner of the sheet.

        Args:
            text: any text; characters that cannot be drawn are replaced.
            width: largest width of a line, in pixels.
            lines: largest number of lines.
            horizontal: which part of the label is at its position: left, center or right. Lines are centred, or flush
                right with right.
            vertical: which part of the label is at its position: top, center or bottom.
            colour: colour of the letters.
            rotation: angle in degrees, counter-clockwise.
        """
        return self._figure.text(
            0,
            0,
            "\n".join(wrap_text(self._prepare(text), width=width, lines=lines, measure=self._measure)),
            transform=self._from_top,
            fontproperties=self._font,
            color=colour,
            horizontalalignment=horizontal,
            verticalalignment=vertical,
            multialignment="right" if horizontal == "right" else "center",
            rotation=rotation,
            usetex=False,
            parse_math=False,
            antialiased=True,
            path_effects=[],
        )

    def add_picture(self, file: Path, size: tuple[int, int], position: tuple[int, int]) -> None:
        """Add the picture of a file; white shows through where it is transparent.

        Args:
            file: the picture.
            size: (width, height) that it gets, in pixels.
            position: (x, y) of its top left corner.
        """
        self._pictures.append((file, size, position))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Draw the sheet and write it as PNG."""
        self._canvas.draw()
        drawn = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
        for source, size, position in self._pictures:
            picture = open_picture(source).resize(size, Image.Resampling.LANCZOS)
            drawn.paste(picture, position, picture if picture.mode == "RGBA" else None)
        content = io.BytesIO()
        drawn.save(content, "PNG")
        write_whole(path, content.getvalue())

    def _prepare(self, text: str) -> str:
        known = self._letters.get_char_index
        return "".join(letter if known(ord(letter)) else _MISSING for letter in clean_text(text))

    def _measure(self, text: str) -> float:
        # The sum of the letters' advances: a thousand times faster than to lay the text out, and only kerning differs.
        for letter in set(text) - self._advances.keys():
            self._advances[letter] = self._letters.load_char(ord(letter)).linearHoriAdvance / 65536
        return sum(self._advances[letter] for letter in text)


def measure_labels(labels: Sequence["Text"]) -> tuple[int, int]:
    """Return the largest width and the largest height of some labels, in pixels; 0 without labels."""
    boxes = [label.get_window_extent() for label in labels]
    widest, highest = (max((getattr(box, side) for box in boxes), default=0) for side in ("width", "height"))
    return math.ceil(widest), math.ceil(highest)
