"""The page of a run: one HTML file with its pictures, its curves and its settings, which opens without a network."""

import colorsys
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from nstjax.reports.html import Embedded, embed, group_record, write_page
from nstjax.reports.pictures import open_picture

LONG_SIDE = 1_200
"""Largest long side of an embedded picture, in pixels."""


class _Figure(NamedTuple):
    """A picture of the page; ``grow`` is its share of the width of its row."""

    embedded: Embedded
    grow: float


class _Pictures(NamedTuple):
    """The pictures at the top of the page: the result with the inputs in a column at its right, or the inputs alone."""

    result: _Figure | None
    inputs: Sequence[_Figure]
    inputs_grow: float
    aspect: float


def page(
    path: str | os.PathLike[str],
    *,
    title: str,
    record: Mapping[str, Any],
    facts: Mapping[str, str],
    content: np.ndarray,
    styles: Sequence[np.ndarray],
    regions: np.ndarray | None,
    result: Image.Image | None,
    snapshots: Mapping[int, Path],
    curves: str | None,
) -> None:
    """Write the page of a run; parts without data are left out.

    Pictures are embedded as lossy WebP, with at most 1,200 pixels on the long side: for looking at, not for keeping.

    Args:
        path: the HTML file to write.
        title: title of the page.
        record: the resolved configuration, as in ``config.json``.
        facts: the facts below the title, in order: {"steps": "30,000 of 30,000", …}.
        content: the content picture, [H, W, 3 or 4] in [0, 1].
        styles: the style pictures, [H, W, 3 or 4] in [0, 1], of any sizes.
        regions: regions of the content picture, [R, H, W]; None if it has none.
        result: the result; None if there is none yet.
        snapshots: {step: picture file}.
        curves: the text of an SVG file, as ``nstjax.reports.curves`` writes it; None if nothing is logged yet.
    """
    # Imported here, for those who only import the package.
    from markupsafe import Markup

    write_page(
        path,
        "run_page.html",
        title=title,
        facts=facts,
        record=group_record(record),
        pictures=_arrange_pictures(_name_inputs(content, styles, regions), result),
        snapshots=[
            embed(open_picture(file), f"step {step:,}", longest=LONG_SIDE) for step, file in sorted(snapshots.items())
        ],
        # The lines before the element belong to a file, not to a page. matplotlib has escaped the names of the terms.
        curves=None if curves is None else Markup(curves[curves.index("<svg") :].strip()),
    )


def _to_image(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8))


def _clip_aspect(image: Image.Image) -> float:
    """Return width over height, within bounds: next to an extreme picture, the others would be slivers."""
    return min(max(image.width / image.height, 0.5), 2)


def _name_inputs(
    content: np.ndarray, styles: Sequence[np.ndarray], regions: np.ndarray | None
) -> dict[str, Image.Image]:
    """Return {caption: picture} of the inputs; each region has a tint."""
    inputs = {"Content": content}
    if regions is not None:
        tints = [colorsys.hsv_to_rgb(number / len(regions), 0.5, 0.9) for number in range(len(regions))]
        inputs["Regions"] = np.tensordot(regions, tints, axes=(0, 0))
    for number, style in enumerate(styles, 1):
        inputs["Style" if len(styles) == 1 else f"Style {number}"] = style
    return {name: _to_image(array) for name, array in inputs.items()}


def _arrange_pictures(inputs: Mapping[str, Image.Image], result: Image.Image | None) -> _Pictures:
    """Arrange the result next to the column of the inputs; without a result, the inputs in a row."""
    # Pictures in a row are of one height where their widths are proportional to their aspects.
    aspects = [_clip_aspect(image) for image in inputs.values()]
    figures = [
        _Figure(embed(image, name, longest=LONG_SIDE), aspect)
        for (name, image), aspect in zip(inputs.items(), aspects, strict=True)
    ]
    if result is None:
        return _Pictures(None, figures, inputs_grow=0, aspect=sum(aspects))
    column, aspect = 1 / sum(1 / aspect for aspect in aspects), _clip_aspect(result)
    return _Pictures(_Figure(embed(result, "Result", longest=LONG_SIDE), aspect), figures, column, aspect + column)
