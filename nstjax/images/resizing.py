"""Resizing, done on the sRGB values and not in linear light.

Linear light is physically correct, but the networks were trained on pictures resized in sRGB values, and the systems
that results are compared with do the same.
"""

import math
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture

_Resizable = TypeVar("_Resizable", Picture, Array)

Resampling: TypeAlias = Literal["lanczos", "bicubic", "bilinear", "bilinear-aliased", "area", "gaussian", "nearest"]
"""A filter that resizes pictures.

The first three are Pillow's, anti-aliased where a picture shrinks. "bilinear-aliased" looks at the nearest four pixels
alone, as PyTorch's and TensorFlow's interpolation does by default, and "nearest" at one. "area" gives each pixel the
mean of the area that it covers, as OpenCV's INTER_AREA and Torch's image.scale do; "gaussian" blurs, then interpolates,
as scikit-image's pyramid_reduce does; both enlarge as "bilinear" does.
"""

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}

_BAND = 1 << 20  # pixels

SIZE_MEASURES = {
    "long": "the long side",
    "short": "the short side",
    "height": "the height",
    "width": "the width",
    "area": "the square root of the area",
}
"""Name to description of each measure that a size can refer to."""


def fit_size(height: int, width: int, size: int, *, enlarge: bool = False, by: str = "long") -> tuple[int, int]:
    """Return the (height, width) of a picture resized so that one measure of it is ``size``.

    The other sides are rounded to the nearest pixel, and are at least one.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        size: the new value of the measure, in pixels.
        enlarge: whether a smaller picture grows to ``size``; otherwise it keeps its size.
        by: the measure: "long" or "short" side, "height", "width", or "area", which means ``sqrt(height * width)``.

    Raises:
        UserError: ``size`` is not positive, or the measure is unknown.
    """
    measure = measure_size(height, width, by=by)
    if size < 1:
        raise UserError(f"expected a size of at least 1 pixel for {SIZE_MEASURES[by]}, got {size}")
    if measure <= size and not enlarge:
        return height, width
    new_height, new_width = (max(1, int((2 * side * size + measure) // (2 * measure))) for side in (height, width))
    return new_height, new_width


def measure_size(height: int, width: int, *, by: str = "long") -> float:
    """Return the measure of a picture that a size refers to, in pixels; see ``fit_size``.

    Raises:
        UserError: the measure is unknown.
    """
    if by not in SIZE_MEASURES:
        raise UserError(f"unknown measure of size {by!r}: expected one of {', '.join(SIZE_MEASURES)}")
    if by == "area":
        return math.sqrt(height * width)
    return {"long": max(height, width), "short": min(height, width), "height": height, "width": width}[by]


def resize(
    picture: _Resizable, size: int, *, enlarge: bool = False, by: str = "long", resampling: Resampling = "lanczos"
) -> _Resizable:
    """Resize a picture so that one measure of it is ``size`` pixels, and keep its aspect ratio.

    Args:
        picture: a Picture, or an array [H, W, 3] or [H, W] in [0, 1].
        size: as in ``fit_size``.
        enlarge: as in ``fit_size``.
        by: as in ``fit_size``.
        resampling: the filter.

    Returns:
        A Picture for a Picture, an array for an array; clipped to [0, 1].

    Raises:
        UserError: as in ``fit_size``.
    """
    rgb, alpha = (picture.rgb, picture.alpha) if isinstance(picture, Picture) else (picture, None)
    height, width = fit_size(rgb.shape[0], rgb.shape[1], size, enlarge=enlarge, by=by)
    resized = resample(rgb, height, width, resampling=resampling)
    if not isinstance(picture, Picture):
        return resized
    return Picture(resized, None if alpha is None else resample(alpha, height, width, resampling=resampling))


def resample(samples: Array, height: int, width: int, *, resampling: Resampling = "lanczos") -> Array:
    """Resample an array to another height and width.

    Args:
        samples: float32 [H, W, C] or [H, W], in [0, 1].
        height: the new height, in pixels.
        width: the new width, in pixels.
        resampling: the filter.

    Returns:
        float32 [height, width, C] or [height, width], clipped to [0, 1] because two of the filters overshoot at edges.
    """
    if samples.ndim == 3:
        channels = [resample(channel, height, width, resampling=resampling) for channel in np.moveaxis(samples, -1, 0)]
        return np.stack(channels, axis=-1)
    if find_pixels := _PIXELS.get(resampling):
        samples = _resample_rows(_resample_rows(samples, height, find_pixels).T, width, find_pixels).T
        resampling = "bilinear"
    image = Image.new("F", samples.shape[::-1])
    for rows in split_rows(*samples.shape):  # without another copy of all samples
        image.paste(Image.fromarray(np.ascontiguousarray(samples[rows], np.float32)), (0, rows.start))
    return np.clip(np.asarray(image.resize((width, height), _FILTERS[resampling])), 0, 1)


def _resample_rows(samples: Array, height: int, find_pixels: "_FindPixels") -> Array:
    """Return ``height`` rows, each a weighted sum of the rows of [H, W].

    Filters that only reduce return fewer rows than ``height`` as they are.
    """
    if len(samples) <= height and find_pixels in _REDUCING:
        return samples
    resampled = np.empty((height, samples.shape[1]), np.float32)
    for k in range(height):
        pixels, weights = find_pixels(k, len(samples), height)
        resampled[k] = weights @ samples[pixels]
    return resampled


def _find_covered(k: int, old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that pixel k of ``new`` covers, and the share of each in its length."""
    start, end = k * old / new, (k + 1) * old / new
    pixels = np.arange(math.floor(start), min(math.ceil(end), old))
    return pixels, (np.minimum(pixels + 1, end) - np.maximum(pixels, start)) / (end - start)


def _find_blurred(k: int, old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels between whose blurred values pixel k of ``new`` lies; the edges are mirrored."""
    deviation = old / new / 3
    radius = int(4 * deviation + 0.5)
    gaussian = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation) ** 2)
    gaussian /= gaussian.sum()
    (first, second), weights = _find_neighbours(k, old, new)
    pixels = np.concatenate([np.arange(pixel - radius, pixel + radius + 1) for pixel in (first, second)]) % (2 * old)
    return np.minimum(pixels, 2 * old - 1 - pixels), np.concatenate([weight * gaussian for weight in weights])


def _find_neighbours(k: int, old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two pixels between which the centre of pixel k of ``new`` lies, and their weights."""
    place = min(max((k + 0.5) * old / new - 0.5, 0), old - 1)
    first = math.floor(place)
    return np.array([first, min(first + 1, old - 1)]), np.array([first + 1 - place, place - first])


def _find_nearest(k: int, old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel in which the centre of pixel k of ``new`` lies."""
    return np.array([int((k + 0.5) * old / new)]), np.ones(1)


_FindPixels: TypeAlias = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]

_PIXELS: dict[str, _FindPixels] = {
    "area": _find_covered,
    "gaussian": _find_blurred,
    "bilinear-aliased": _find_neighbours,
    "nearest": _find_nearest,
}
"""The filters that are not Pillow's: (index, old length, new length) -> (pixels, their weights)."""

_REDUCING = (_find_covered, _find_blurred)


def split_rows(height: int, width: int) -> Iterator[slice]:
    """Yield the rows of a picture in bands of about a million pixels."""
    step = max(1, _BAND // width)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
