"""Conversion of a decoded Pillow image, in any mode, to the arrays of a Picture.

It goes through bands of rows, so that it takes little more memory than the image and the arrays.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture
from nstjax.images.profiles import make_converter
from nstjax.images.resizing import split_rows


def to_picture(image: Image.Image, *, low_bytes: Image.Image | None = None) -> Picture:
    """Convert a decoded, upright image to a Picture.

    Args:
        image: any mode; ``nstjax.images.read`` says how each is converted.
        low_bytes: the low bytes of a picture with 16 bits a channel, of which ``image`` has the high ones.

    Raises:
        UserError: deep samples are outside their range, or no pixel is visible.
    """
    decode = _choose_decoder(image, low_bytes)
    rgb = np.empty((image.height, image.width, 3), np.float32)
    alpha = np.ones(rgb.shape[:2], np.float32) if image.has_transparency_data else None
    for rows in split_rows(*rgb.shape[:2]):
        rgb[rows], opacity = decode(rows)
        if alpha is not None and opacity is not None:
            alpha[rows] = opacity
    return combine(rgb, alpha)


def combine(rgb: Array, alpha: Array | None) -> Picture:
    """Return a picture of colours [H, W, 3] and alpha [H, W], whose hidden colours are replaced, in place.

    Raises:
        UserError: no pixel is visible.
    """
    if alpha is None or np.all(alpha == 1):
        return Picture(rgb)
    _replace_hidden_colours(rgb, alpha)
    return Picture(rgb, alpha)


_Decoder = Callable[[slice], tuple[Array, Array | None]]
"""Function of a band of rows that returns its colours [h, W, 3], or greys [h, W, 1], and its alpha [h, W] or None."""


def _choose_decoder(image: Image.Image, low_bytes: Image.Image | None) -> _Decoder:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return lambda rows: _decode_deep_grey(_crop(image, rows))
    if low_bytes is not None:
        return lambda rows: _decode_deep_colour(_crop(image, rows), _crop(low_bytes, rows))
    to_srgb = make_converter(image)

    def decode(rows: slice) -> tuple[Array, Array | None]:
        band = _crop(image, rows)
        band = band.convert("RGBA") if band.mode in ("P", "PA") else band
        alpha = _scale_to_unit(band.convert("RGBA").getchannel("A")) if band.has_transparency_data else None
        return _scale_to_unit(to_srgb(band)), alpha

    return decode


def _crop(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _scale_to_unit(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(255)


def _decode_deep_grey(band: Image.Image) -> tuple[Array, Array | None]:
    """Return grey samples of more than 8 bits at full precision, and the alpha that a PNG's key colour implies."""
    samples = np.asarray(band).astype(np.float32)
    white = np.float32(1 if band.mode == "F" else 65535)
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= white):  # written this way, the test catches NaN too
        raise UserError(f"expected grey samples from 0 to {white:g}, got {low:g} to {high:g}: rescale the picture")
    key = band.info.get("transparency")
    alpha = None if key is None else (samples != key).astype(np.float32)
    return (samples / white)[..., None], alpha


def _decode_deep_colour(high: Image.Image, low: Image.Image) -> tuple[Array, Array | None]:
    """Return colours of 16 bits from images of their high and low bytes, and their alpha or that of a key colour."""
    samples = np.asarray(high, np.uint16) << 8 | np.asarray(low, np.uint16)
    unit = samples.astype(np.float32) / np.float32(65535)
    if high.mode == "RGBA":
        return unit[..., :3], unit[..., 3]
    key = high.info.get("transparency")
    return unit, None if key is None else (samples != np.array(key)).any(axis=-1).astype(np.float32)


def _replace_hidden_colours(rgb: Array, alpha: Array) -> None:
    """Give fully transparent pixels the mean visible colour, in place.

    Editors leave arbitrary colours under full transparency; colours that nobody sees should not influence the style.
    """
    total, colour = 0.0, np.zeros(3)
    for rows in split_rows(*alpha.shape):
        weights = alpha[rows].ravel().astype(np.float64)
        total += weights.sum()
        colour += weights @ rgb[rows].reshape(-1, 3).astype(np.float64)
    if not total:
        raise UserError("expected a visible picture, but every pixel is fully transparent: remove the alpha channel")
    rgb[alpha == 0] = (colour / total).astype(np.float32)
