"""The page of a run: one HTML file with its pictures, its curves and its configuration, which needs no network."""

import colorsys
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from nstjax.report.html import embedded, fact_list, record_tables, write_page
from nstjax.report.pictures import opened

_LONG_SIDE = 1_200
"""Of an embedded picture, at most, in pixels."""


def page(
    path: str | os.PathLike[str],
    *,
    title: str,
    record: Mapping[str, Any],
    facts: Mapping[str, str],
    content: np.ndarray,
    styles: Sequence[np.ndarray],
    regions: np.ndarray | None,
    result: np.ndarray | None,
    snapshots: Mapping[int, Path],
    curves: str | None,
) -> None:
    """Write the page of a run; what there is not, it does not mention.

    Pictures are embedded as lossy WebP, with 1,200 pixels on the long side at most: for looking at, not for keeping.

    Args:
        path: an HTML file.
        title: of the page.
        record: the resolved configuration, as in ``config.json``.
        facts: what to know at a glance, in order: {"steps": "30,000 of 30,000", …}.
        content: [H, W, 3 or 4] in [0, 1], as are the styles and the result.
        styles: likewise, each of a size of its own.
        regions: of the content, [R, H, W]; None where it has none.
        result: None where there is none yet.
        snapshots: {step: picture file} of the steps kept.
        curves: the text of an SVG file, as ``nstjax.report.curves`` writes it.
    """
    write_page(
        path,
        "page.html",
        title=escape(title),
        facts=fact_list(facts),
        pictures=_pictures(_given(content, styles, regions), None if result is None else _from_array(result)),
        snapshots=_snapshots(snapshots),
        curves=_curves(curves),
        record=record_tables(record),
    )


def _from_array(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8))


def _figure(image: Image.Image, name: str, *, grow: float) -> str:
    caption = f"<figcaption>{name} <span>{image.width} × {image.height}</span></figcaption>"
    return f'<figure style="flex-grow: {grow:.4f}">{embedded(image, name, longest=_LONG_SIDE)}{caption}</figure>'


def _aspect(image: Image.Image) -> float:
    """Width over height, but of an extreme picture less, which would leave its neighbours a sliver."""
    return min(max(image.width / image.height, 0.5), 2)


def _given(content: np.ndarray, styles: Sequence[np.ndarray], regions: np.ndarray | None) -> dict[str, Image.Image]:
    """{caption: picture}; each region in a tint of its own."""
    given = {"Content": content}
    if regions is not None:
        tints = [colorsys.hsv_to_rgb(number / len(regions), 0.5, 0.9) for number in range(len(regions))]
        given["Regions"] = np.tensordot(regions, tints, axes=(0, 0))
    for number, style in enumerate(styles, 1):
        given["Style" if len(styles) == 1 else f"Style {number}"] = style
    return {name: _from_array(it) for name, it in given.items()}


def _pictures(given: Mapping[str, Image.Image], result: Image.Image | None) -> str:
    """The result, and beside it, as high together, content above styles; without a result those in a row."""
    # Things in a row are of one height where their widths are as their aspects.
    aspects = [_aspect(it) for it in given.values()]
    inputs = "".join(_figure(it, name, grow=grow) for (name, it), grow in zip(given.items(), aspects, strict=True))
    if result is None:
        return f'<div class="pictures" style="--aspect: {sum(aspects):.4f}">{inputs}</div>'
    column = 1 / sum(1 / aspect for aspect in aspects)
    aspect = _aspect(result)
    return (
        f'<div class="pictures" style="--aspect: {aspect + column:.4f}">{_figure(result, "Result", grow=aspect)}'
        f'<div class="inputs" style="flex-grow: {column:.4f}">{inputs}</div></div>'
    )


def _snapshots(snapshots: Mapping[int, Path]) -> str:
    """All of them in a grid, which the page's script turns into one place with a slider."""
    if not snapshots:
        return ""
    figures = []
    for step, file in sorted(snapshots.items()):
        picture = embedded(opened(file), f"step {step:,}", longest=_LONG_SIDE)
        figures.append(f"<figure>{picture}<figcaption>step {step:,}</figcaption></figure>")
    return Template(_SNAPSHOTS).substitute(figures="".join(figures), last=len(figures) - 1)


_SNAPSHOTS = """<section id="snapshots">
<h2>On the way</h2>
<div class="frames">$figures</div>
<div class="control" hidden>
<button type="button" aria-label="previous snapshot">‹</button>
<input type="range" min="0" max="$last" value="$last" step="1" aria-label="snapshot">
<button type="button" aria-label="next snapshot">›</button>
<output></output>
</div>
</section>"""


def _curves(svg: str | None) -> str:
    if svg is None:
        return ""
    # What precedes the element belongs to a file of its own, not into a page.
    plot = svg[svg.index("<svg") :].strip()
    note = "The total has the terms times their weights; the terms are shown without. On the right: the last values."
    return (
        f'<section id="curves"><h2>Losses</h2><figure role="img" aria-label="losses against the step">{plot}</figure>'
        f"<p>{note}</p></section>"
    )
