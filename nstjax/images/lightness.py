"""Lightness without colour: luminance for style transfer, and the content's colours for the result."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.resizing import Resampling, resample
from nstjax.images.spaces import SPACES, to_yiq

_LEAST_DEVIATION = 1 / 255
"""Smallest deviation of luminance: less than one 8-bit step is noise and must not be stretched."""

_ROUNDING = 1e-6  # a colour this far outside [0, 1] still counts as in gamut
_HALVINGS = 12  # bisections of the chroma: down to 1/4096, invisible in 8 bits
_BAND = 256  # rows at a time, because the float64 intermediates take many times the picture's memory


def luminance(rgb: Array) -> Array:
    """Return the luminance of a picture in all three channels: ``Y = 0.299 R + 0.587 G + 0.114 B``, as in YIQ.

    Args:
        rgb: [H, W, 3] in [0, 1].

    Returns:
        float32 [H, W, 3] in [0, 1].
    """
    return np.repeat(np.clip(to_yiq(rgb)[..., :1], 0, 1).astype(np.float32), 3, axis=-1)


def match_luminance(style_y: Array, content_y: Array) -> Array:
    """Give the style's luminance the mean and standard deviation of the content's.

    ``L' = (sigma_content / sigma_style) (L_style - mu_style) + mu_content``

    Args:
        style_y: [H, W, 3] in [0, 1], from ``luminance``.
        content_y: [H', W', 3] in [0, 1], from ``luminance``.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; computed in float64.

    Reference:
        Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, section 4.
        Differs from the paper: a deviation of less than one 8-bit step counts as one step, in both pictures, so that
        a flat picture has a map too.
    """
    style, content = style_y.astype(np.float64), content_y.astype(np.float64)
    scale = max(content.std(), _LEAST_DEVIATION) / max(style.std(), _LEAST_DEVIATION)
    return np.clip(scale * (style - style.mean()) + content.mean(), 0, 1).astype(np.float32)


def keep_colours(picture: Array, content: Array, *, space: str, resampling: Resampling = "lanczos") -> Array:
    """Combine the lightness of ``picture`` with the colours of ``content``.

    If sRGB has no such colour (a bright pixel of a deep colour), the colour is made paler until it has, with its
    lightness and hue in ``space`` unchanged; clipping would damage the brushwork instead.

    Args:
        picture: [H, W, 3] in [0, 1].
        content: [H', W', 3] in [0, 1]; resampled to the picture's size if it has another.
        space: a colour space with lightness as its first axis: "yiq" (YUV and YCbCr give the same result), "lab"
            (CIE L*a*b*, D65) or "oklab".
        resampling: the filter that resamples the content.

    Returns:
        float32 [H, W, 3] in [0, 1]; computed in float64.

    Raises:
        UserError: the space is unknown.
    """
    if space not in SPACES:
        raise UserError(f"unknown colour space {space!r}: expected one of {', '.join(SPACES)}")
    height, width, _ = picture.shape
    if content.shape != picture.shape:
        content = resample(content, height, width, resampling=resampling)
    from_rgb, to_rgb = SPACES[space]
    result = np.empty(picture.shape, np.float32)
    for top in range(0, height, _BAND):
        rows = slice(top, top + _BAND)
        lightness, colour = from_rgb(picture[rows])[..., :1], from_rgb(content[rows])[..., 1:]
        result[rows] = _reduce_chroma(np.concatenate([lightness, colour], axis=-1), to_rgb)
    return result


def _reduce_chroma(
    colours: NDArray[np.float64], to_rgb: Callable[[NDArray], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return colours as sRGB [..., 3], with the largest chroma that fits in [0, 1], found by bisection."""
    rgb = to_rgb(colours)
    outside = ~_is_in_gamut(rgb)
    if outside.any():
        deep = colours[outside]
        low, high = np.zeros(len(deep)), np.ones(len(deep))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = _is_in_gamut(to_rgb(_scale_chroma(deep, middle)))
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        rgb[outside] = to_rgb(_scale_chroma(deep, low))
    return np.clip(rgb, 0, 1)


def _is_in_gamut(rgb: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (rgb.min(axis=-1) >= -_ROUNDING) & (rgb.max(axis=-1) <= 1 + _ROUNDING)


def _scale_chroma(colours_Nx3: NDArray[np.float64], factors_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([colours_Nx3[:, :1], factors_N[:, None] * colours_Nx3[:, 1:]], axis=-1)
