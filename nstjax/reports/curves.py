"""The curves of a run: the total and each term against the step, each in a panel."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nstjax.callbacks import TIMES
from nstjax.system.files import write_whole
from nstjax.system.plotting import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 1_000
"""Approximate number of points to which a curve is thinned; no screen shows more."""

_WIDTH, _TOTAL, _TERM, _REST = 440, 120, 88, 30
"""Width of the plot, and heights of the total's panel, of a term's panel and of the space below, in points."""

_TITLE, _BETWEEN, _LEFT, _RIGHT = 20, 7, 7, 14
"""Spaces above a panel for its title, below it, between the edge and the widest number, and on the right, in points."""

_INK, _MUTED, _RULE, _LINE = "#222222", "#666666", "#dddddd", "#2b6a99"

_SETTINGS: dict[Any, Any] = {
    # Text stays text, in a font that the reader has. The first font below is the one that is measured.
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Helvetica Neue", "Arial"],
    "svg.hashsalt": "nstjax",  # without it, names inside the file are random
    "font.size": 11.5,
    "axes.titlesize": 12.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _MUTED,
    "axes.titlepad": 5,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _RULE,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
}

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curves(path: str | os.PathLike[str], metrics: Mapping[str, Sequence[float | None]]) -> None:
    """Write a plot of the total and of every term against the step; equal metrics give equal bytes.

    The axis of a panel is logarithmic if all its values are positive and span a factor between 30 and a million.

    Args:
        path: the SVG file to write.
        metrics: {"step": [n], "total": [n], term: [n], …} of the logged steps. A value that is None or not finite
            leaves a gap. Times may be included and are not drawn.
    """
    matplotlib = import_matplotlib()
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = [name for name in metrics if name not in TIMES]
    steps = np.array(metrics["step"], dtype=float)
    heights = [_TOTAL if name == "total" else _TERM for name in names]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's settings may ask for LaTeX
        matplotlib.rcParams.update(_SETTINGS)
        height = sum(heights) + _REST
        figure = Figure(figsize=(_WIDTH / 72, height / 72), dpi=72)
        canvas = FigureCanvasSVG(figure)
        panels: list[Axes] = []
        for name in names:
            panels.append(figure.add_subplot(sharex=panels[0] if panels else None))
            _draw_panel(panels[-1], name, steps, np.array(metrics[name], dtype=float))
            panels[-1].tick_params(labelbottom=len(panels) == len(names))
        panels[-1].set_xlabel("step", color=_MUTED)
        # Placed by hand: a layout engine draws the figure several times, which takes most of the time of a short run.
        numbers = [axes.bbox.x0 - box.x0 for axes in panels if (box := axes.yaxis.get_tightbbox())]
        left = _LEFT + max(numbers, default=0)
        top = height
        for axes, space in zip(panels, heights, strict=True):
            top -= space
            width, rest = _WIDTH - left - _RIGHT, space - _TITLE - _BETWEEN
            axes.set_position((left / _WIDTH, (top + _BETWEEN) / height, width / _WIDTH, rest / height))
        # The date would differ between equal runs, and the other entries contain addresses.
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        content = io.BytesIO()
        canvas.print_svg(content, metadata=no_metadata)
    write_whole(path, content.getvalue())


def _draw_panel(axes: "Axes", name: str, steps: np.ndarray, values: np.ndarray) -> None:
    """Draw a curve below its name, with its last value on the right."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    axes.set_title(name, loc="left", y=1, color=_INK, weight="bold", parse_math=False)
    round_steps = [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=round_steps, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(x=0.02, y=0.1)
    finite = values[np.isfinite(values)]
    if not len(finite):
        axes.set_yticks([])
        axes.text(0.5, 0.5, "not finite", transform=axes.transAxes, ha="center", va="center", color=_MUTED)
        return
    axes.set_title(_format_number(finite[-1], digits=4), loc="right", y=1, color=_MUTED)
    low, high = finite.min(), finite.max()
    # Beyond a million, a term started at zero up to rounding: a logarithmic axis would show nothing else.
    if low > 0 and 30 * low < high < 1e6 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 100 * low else (1,), numticks=4))
        axes.yaxis.set_minor_locator(LogLocator(subs=()))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=round_steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_number(value, digits=10)))
    kept = _thin_out(values)
    marker = {"marker": "o", "markersize": 3} if len(finite) <= 40 else {}
    axes.plot(
        steps[kept], values[kept], color=_INK if name == "total" else _LINE, linewidth=1.4, clip_on=False, **marker
    )


def _thin_out(values: np.ndarray) -> np.ndarray:
    """Return the indices to draw: the extremes and a missing value of each stretch, so that no peak is lost."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), _POINTS // 2):
        is_finite = np.isfinite(values[stretch])
        if is_finite.any():
            finite = stretch[is_finite]
            kept |= {finite[values[finite].argmin()], finite[values[finite].argmax()]}
        kept.update(stretch[~is_finite][:1])
    return np.array(sorted(kept))


def _format_number(value: float, *, digits: int) -> str:
    """Return a number as people write it: 12,345, 0.0123, 1.5 × 10⁻⁷."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0 or 1e-3 <= abs(rounded) < 1e6:
        text = f"{rounded:,.10g}"
    else:
        mantissa, exponent = f"{rounded:e}".split("e")
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
        text = power if float(mantissa) == 1 else f"{float(mantissa):g} × {power}"
    return text.replace("-", "−")
