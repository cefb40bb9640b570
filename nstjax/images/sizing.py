"""Resizing. It is done on the sRGB values, not in linear light.

Linear light is the physics, but the networks were trained on pictures resized in sRGB values, and the systems that
results are compared with do the same.
"""

from typing import TypeVar

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture

_Resizable = TypeVar("_Resizable", Picture, Array)


def fitted(height: int, width: int, size: int, *, enlarge: bool = False) -> tuple[int, int]:
    """(height, width) in pixels of a picture resized so that its long side is ``size``.

    The short side is rounded to the nearest pixel, and is at least one.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        size: the long side's new length, in pixels.
        enlarge: whether a smaller picture grows to ``size``; it is left as it is otherwise.

    Raises:
        UserError: ``size`` is not positive.
    """
    if size < 1:
        raise UserError(f"expected a size of at least 1 pixel for the long side, got {size}")
    long = max(height, width)
    if long <= size and not enlarge:
        return height, width
    return max(1, (2 * height * size + long) // (2 * long)), max(1, (2 * width * size + long) // (2 * long))


def resize(picture: _Resizable, size: int, *, enlarge: bool = False) -> _Resizable:
    """``picture`` with its long side brought to ``size`` pixels, its aspect kept.

    Args:
        picture: a Picture, or an array [H, W, 3] or [H, W] in [0, 1].
        size: as in ``fitted``.
        enlarge: as in ``fitted``.

    Returns:
        The same kind of thing, clipped to [0, 1].

    Raises:
        UserError: ``size`` is not positive.
    """
    if isinstance(picture, Picture):
        alpha = None if picture.alpha is None else resize(picture.alpha, size, enlarge=enlarge)
        return Picture(resize(picture.rgb, size, enlarge=enlarge), alpha)
    return resample(picture, *fitted(picture.shape[0], picture.shape[1], size, enlarge=enlarge))


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
