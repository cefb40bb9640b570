"""A picture's light apart from its colours: style transfer on luminance alone, and colours kept afterwards."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.resizing import resample
from nstjax.images.spaces import SPACES, to_yiq

_LEAST_DEVIATION = 1 / 255
"""Of luminance: less than one 8-bit step is noise, not to be stretched."""

_ROUNDING = 1e-6  # beyond [0, 1]: no colour out of gamut yet
_HALVINGS = 12  # of the interval in which the chroma is sought: to 1/4096, which 8 bits do not show
_BAND = 256  # rows at a time, since the float64 on the way takes many times a picture's own memory


def luminance(rgb: Array) -> Array:
    """The grey picture of YIQ's Y, in all three channels: ``Y = 0.299 R + 0.587 G + 0.114 B``.

    Args:
        rgb: [H, W, 3] in [0, 1].

    Returns:
        float32 [H, W, 3] in [0, 1].
    """
    return np.repeat(np.clip(to_yiq(rgb)[..., :1], 0, 1).astype(np.float32), 3, axis=-1)


def match_luminance(style_y: Array, content_y: Array) -> Array:
    """The style's luminance with the mean and standard deviation of the content's.

    ``L' = (sigma_content / sigma_style) (L_style - mu_style) + mu_content``

    Args:
        style_y: [H, W, 3] in [0, 1], from ``luminance``.
        content_y: [H', W', 3] in [0, 1], from ``luminance``.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; computed in float64.

    Reference:
        Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, section 4.
        Differs from the paper: a deviation of less than one 8-bit step counts as one, in both, so that a flat picture
        has a map too.
    """
    style, content = style_y.astype(np.float64), content_y.astype(np.float64)
    scale = max(content.std(), _LEAST_DEVIATION) / max(style.std(), _LEAST_DEVIATION)
    return np.clip(scale * (style - style.mean()) + content.mean(), 0, 1).astype(np.float32)


def keep_colours(picture: Array, content: Array, *, space: str) -> Array:
    """The lightness of ``picture`` with the colours of ``content``.

    Where the screen has no such colour (a bright pixel of a deep colour), the colour is made paler until it has, its
    lightness and its hue kept as the space tells them; clipping would take from the brushwork instead.

    Args:
        picture: [H, W, 3] in [0, 1].
        content: [H', W', 3] in [0, 1]; resampled to the picture's size where it has another.
        space: whose first axis is the lightness: "yiq" (YUV and YCbCr come to the same), "lab" (CIE L*a*b*, D65) or
            "oklab".

    Returns:
        float32 [H, W, 3] in [0, 1]; computed in float64.

    Raises:
        UserError: an unknown space.
    """
    if space not in SPACES:
        raise UserError(f"expected a colour space of {', '.join(SPACES)}, got {space!r}")
    height, width, _ = picture.shape
    if content.shape != picture.shape:
        content = resample(content, height, width)
    from_rgb, to_rgb = SPACES[space]
    kept = np.empty(picture.shape, np.float32)
    for top in range(0, height, _BAND):
        rows = slice(top, top + _BAND)
        lightness, colour = from_rgb(picture[rows])[..., :1], from_rgb(content[rows])[..., 1:]
        kept[rows] = _in_gamut(np.concatenate([lightness, colour], axis=-1), to_rgb)
    return kept


def _in_gamut(colours: NDArray[np.float64], to_rgb: Callable[[NDArray], NDArray[np.float64]]) -> NDArray[np.float64]:
    """sRGB [..., 3] of colours whose chroma is scaled down, by bisection, as far as [0, 1] asks for."""
    rgb = to_rgb(colours)
    outside = ~_inside(rgb)
    if outside.any():
        deep = colours[outside]
        low, high = np.zeros(len(deep)), np.ones(len(deep))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            inside = _inside(to_rgb(_paler(deep, middle)))
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        rgb[outside] = to_rgb(_paler(deep, low))
    return np.clip(rgb, 0, 1)


def _inside(rgb: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (rgb.min(axis=-1) >= -_ROUNDING) & (rgb.max(axis=-1) <= 1 + _ROUNDING)


def _paler(colours_Nx3: NDArray[np.float64], factors_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([colours_Nx3[:, :1], factors_N[:, None] * colours_Nx3[:, 1:]], axis=-1)
