"""Texts as small pictures: wrapped, and where that does not suffice, with their middle left out."""

import bisect
import math
import os
import re
from collections.abc import Sequence
from typing import Literal, cast

from PIL import Image, ImageDraw, ImageFont


class Labels:
    """Texts drawn in one font and size, black on white.

    Args:
        texts: all that will be drawn, by which the font is chosen.
        size: in pixels.
    """

    def __init__(self, texts: Sequence[str], size: int) -> None:
        self._font = _font(size, plain=all(_clean(text).isascii() for text in texts))
        self.line: int = sum(self._font.getmetrics())
        """The height of a line, in pixels."""

    def longest(self, texts: Sequence[str]) -> int:
        """The width of the longest of them, unwrapped."""
        return math.ceil(max(self._font.getlength(_clean(text)) for text in texts))

    def draw(
        self,
        text: str,
        *,
        width: int,
        lines: int,
        align: Literal["centre", "right"] = "centre",
        fill: str = "black",
    ) -> Image.Image:
        """A text in a picture no larger than it is.

        Args:
            text: any; white space and what is no character is made plain.
            width: of a line, at most, in pixels.
            lines: how many, at most.
            align: of lines that are shorter than the longest.
            fill: the colour of the letters.
        """
        wrapped = self._fitted(_clean(text), width, lines)
        longest = max(1, math.ceil(max(self._font.getlength(it) for it in wrapped)))
        label = Image.new("RGB", (longest, len(wrapped) * self.line), "white")
        share = {"centre": 0.5, "right": 1}[align]
        for index, it in enumerate(wrapped):
            place = round(share * (longest - self._font.getlength(it))), index * self.line
            ImageDraw.Draw(label).text(place, it, fill=fill, font=self._font)
        return label

    def _fitted(self, text: str, width: int, lines: int) -> list[str]:
        wrapped = self._wrapped(text, width)
        if len(wrapped) <= lines:
            return wrapped

        # Names tell more at their ends, a folder's and a kind's, than in their middle.
        def shortened(left_out: int) -> list[str]:
            kept = len(text) - left_out
            return self._wrapped(text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :], width)

        enough = bisect.bisect_left(range(len(text)), True, key=lambda it: len(shortened(it)) <= lines)
        return shortened(enough)

    def _wrapped(self, text: str, width: int) -> list[str]:
        """Broken at spaces; a word that is longer than a line, as paths are, after its parts, or anywhere."""
        lines = [""]
        for word in re.findall(r"\S+\s*", text):
            whole = self._font.getlength(word.rstrip()) <= width
            for part in [word] if whole else re.findall(r"[^_/,=]*[_/,=]+\s*|[^_/,=]+", word):
                if lines[-1] and self._font.getlength((lines[-1] + part).rstrip()) > width:
                    lines.append("")
                lines[-1] += part
                while (fit := self._fit(lines[-1].rstrip(), width)) < len(lines[-1].rstrip()):
                    lines[-1:] = [lines[-1][:fit], lines[-1][fit:]]
        return [line.rstrip() for line in lines]

    def _fit(self, text: str, width: int) -> int:
        """How many of its characters a line takes; one at least."""
        return max(1, bisect.bisect(range(1, len(text) + 1), width, key=lambda it: self._font.getlength(text[:it])))


def _font(size: int, *, plain: bool) -> ImageFont.FreeTypeFont:
    if plain:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    # Pillow's own font has but the letters of English.
    import matplotlib

    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _clean(text: str) -> str:
    """In one line, and of characters only, which a file's name may hold others beside."""
    return " ".join(text.encode(errors="replace").decode().split())
