"""Colour spaces that separate lightness from colour: conversion from sRGB and back.

All are float64 [..., 3]: lightness first, then two colour axes, both 0 for greys. The functions of a pair are inverses
of each other up to rounding, also outside the gamut. sRGB is in [0, 1], with its transfer function.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Colours: TypeAlias = NDArray[np.float64]

_YIQ = np.array(
    [
        [0.299, 0.587, 0.114],
        [0.595716, -0.274453, -0.321263],
        [0.211456, -0.522591, 0.311135],
    ]
)
"""The NTSC matrix of 1953, for encoded values. YUV and YCbCr have the same Y and colour plane."""

_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""The matrix from linear sRGB, whose white is D65, to XYZ; Lindbloom's values."""

_WHITE = _XYZ.sum(axis=1)  # the exact sum, so that greys have exactly no colour

_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

_KNEE = 6 / 29  # below it CIE's cube root becomes a line of the same slope


def to_yiq(rgb: NDArray) -> Colours:
    """Convert sRGB to YIQ, with Y in [0, 1], on the encoded values and not in linear light."""
    return rgb @ _YIQ.T


def from_yiq(yiq: NDArray) -> Colours:
    """Convert YIQ to sRGB."""
    return yiq @ np.linalg.inv(_YIQ).T


def to_lab(rgb: NDArray) -> Colours:
    """Convert sRGB to CIE L*a*b* under D65, with L* in [0, 100]."""
    t = to_linear(rgb) @ _XYZ.T / _WHITE
    f = np.where(t > _KNEE**3, np.cbrt(t), t / (3 * _KNEE**2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def from_lab(lab: NDArray) -> Colours:
    """Convert CIE L*a*b* under D65 to sRGB."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    t = np.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
    return from_linear(t * _WHITE @ np.linalg.inv(_XYZ).T)


def to_oklab(rgb: NDArray) -> Colours:
    """Convert sRGB to OkLab, with L in [0, 1].

    Reference:
        Ottosson, "A perceptual color space for image processing", 2020, with the matrices of 2021-01-25.
    """
    return np.cbrt(to_linear(rgb) @ _CONES.T) @ _OKLAB.T


def from_oklab(oklab: NDArray) -> Colours:
    """Convert OkLab to sRGB."""
    return from_linear((oklab @ np.linalg.inv(_OKLAB).T) ** 3 @ np.linalg.inv(_CONES).T)


def to_linear(rgb: NDArray) -> Colours:
    """Convert sRGB to linear light by the curve of IEC 61966-2-1; values below 0 continue its line."""
    rgb = np.asarray(rgb, np.float64)
    curve = ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4
    return np.where(rgb <= 0.04045, rgb / 12.92, curve)


def from_linear(light: NDArray) -> Colours:
    """Convert linear light to sRGB.

    Differs from the standard: the line ends at 0.04045 / 12.92, which the standard rounds to 0.0031308, so that it
    inverts ``to_linear`` near the knee too.
    """
    curve = 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.04045 / 12.92, light * 12.92, curve)


SPACES: dict[str, tuple[Callable[[NDArray], Colours], Callable[[NDArray], Colours]]] = {
    "yiq": (to_yiq, from_yiq),
    "lab": (to_lab, from_lab),
    "oklab": (to_oklab, from_oklab),
}
"""Name to (conversion from sRGB, conversion to sRGB)."""
