"""Resizing. It is done on the sRGB values, not in linear light.

Linear light is the physics, but the networks were trained on pictures resized in sRGB values, and the systems that
results are compared with do the same.
"""

import math
from typing import TypeVar

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture

_Resizable = TypeVar("_Resizable", Picture, Array)

SIZE_MEASURES = {
    "long": "the long side",
    "short": "the short side",
    "height": "the height",
    "area": "the square root of the area",
}
"""What a size may be of, in words."""


def fitted(height: int, width: int, size: int, *, enlarge: bool = False, by: str = "long") -> tuple[int, int]:
    """(height, width) in pixels of a picture resized so that one measure of it is ``size``.

    The other sides are rounded to the nearest pixel, and are at least one.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        size: the measure's new length, in pixels.
        enlarge: whether a smaller picture grows to ``size``; it is left as it is otherwise.
        by: the measure: "long" or "short" side, "height", or "area", that is ``sqrt(height * width)``.

    Raises:
        UserError: ``size`` is not positive, or an unknown measure.
    """
    now = measured(height, width, by=by)
    if size < 1:
        raise UserError(f"expected a size of at least 1 pixel for {SIZE_MEASURES[by]}, got {size}")
    if now <= size and not enlarge:
        return height, width
    new_height, new_width = (max(1, int((2 * side * size + now) // (2 * now))) for side in (height, width))
    return new_height, new_width


def measured(height: int, width: int, *, by: str = "long") -> float:
    """The measure of a picture, in pixels, that a size is of; see ``fitted``.

    Raises:
        UserError: an unknown measure.
    """
    if by not in SIZE_MEASURES:
        raise UserError(f"expected a size by {', '.join(SIZE_MEASURES)}, got {by!r}")
    if by == "area":
        return math.sqrt(height * width)
    return {"long": max(height, width), "short": min(height, width), "height": height}[by]


def resize(picture: _Resizable, size: int, *, enlarge: bool = False, by: str = "long") -> _Resizable:
    """``picture`` with one measure of it brought to ``size`` pixels, its aspect kept.

    Args:
        picture: a Picture, or an array [H, W, 3] or [H, W] in [0, 1].
        size: as in ``fitted``.
        enlarge: as in ``fitted``.
        by: as in ``fitted``.

    Returns:
        The same kind of thing, clipped to [0, 1].

    Raises:
        UserError: as in ``fitted``.
    """
    if isinstance(picture, Picture):
        alpha = None if picture.alpha is None else resize(picture.alpha, size, enlarge=enlarge, by=by)
        return Picture(resize(picture.rgb, size, enlarge=enlarge, by=by), alpha)
    return resample(picture, *fitted(picture.shape[0], picture.shape[1], size, enlarge=enlarge, by=by))


def resample(samples: Array, height: int, width: int) -> Array:
    """``samples`` at another resolution, by Lanczos interpolation, anti-aliased where it shrinks.

    Args:
        samples: float32 [H, W, C] or [H, W], in [0, 1].
        height: the new one, in pixels.
        width: the new one, in pixels.

    Returns:
        float32 [height, width, C] or [height, width], clipped to [0, 1], which Lanczos overshoots at edges.
    """
    if samples.ndim == 3:
        return np.stack([resample(channel, height, width) for channel in np.moveaxis(samples, -1, 0)], axis=-1)
    image = Image.fromarray(np.ascontiguousarray(samples, np.float32))
    return np.clip(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)), 0, 1)
