"""Labels of sheets: texts broken into lines, with their middle left out where they are too long.

matplotlib draws the lines (see ``sheet``). They are broken here, because matplotlib breaks lines at spaces only, at the
edge of the figure only, and limits neither the length of a word, such as a path, nor the number of lines.
"""

import bisect
import re
from collections.abc import Callable

Measure = Callable[[str], float]
"""A function from a text in one line to its width in pixels."""


def clean_text(text: str) -> str:
    """Return a text as one line of valid Unicode: the name of a file may hold line breaks and undecodable bytes."""
    return " ".join(text.encode(errors="replace").decode().split())


def wrap_text(text: str, *, width: float, lines: int, measure: Measure) -> list[str]:
    """Break a clean text into lines, and leave out its middle if there are too many.

    Args:
        text: the text, as ``clean_text`` returns it.
        width: largest width of a line, in pixels.
        lines: largest number of lines.
        measure: measures a text.

    Returns:
        At least one line; ``[""]`` for an empty text.
    """
    wrapped = _break_lines(text, width, measure)
    if len(wrapped) <= lines:
        return wrapped

    # The ends of a name say more than its middle: they are the folder and the kind of the file.
    def shorten(left_out: int) -> list[str]:
        kept = len(text) - left_out
        return _break_lines(text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :], width, measure)

    return shorten(bisect.bisect_left(range(len(text)), True, key=lambda left_out: len(shorten(left_out)) <= lines))


def _break_lines(text: str, width: float, measure: Measure) -> list[str]:
    """Break a text at spaces; break a word longer than a line after its parts, as paths have them, or anywhere."""
    lines = [""]
    for word in re.findall(r"\S+\s*", text):
        fits = measure(word.rstrip()) <= width
        for part in [word] if fits else re.findall(r"[^_/,=]*[_/,=]+\s*|[^_/,=]+", word):
            if lines[-1] and measure((lines[-1] + part).rstrip()) > width:
                lines.append("")
            lines[-1] += part
            while (count := _count_fitting(lines[-1].rstrip(), width, measure)) < len(lines[-1].rstrip()):
                lines[-1:] = [lines[-1][:count], lines[-1][count:]]
    return [line.rstrip() for line in lines]


def _count_fitting(text: str, width: float, measure: Measure) -> int:
    """Return the number of leading characters that fit into a line, at least 1."""
    return max(1, bisect.bisect(range(1, len(text) + 1), width, key=lambda count: measure(text[:count])))
