"""Conversion of a decoded Pillow image, in any mode, to the arrays of a Picture."""

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture
from nstjax.images.profiles import to_srgb


def to_picture(image: Image.Image) -> Picture:
    """Convert a decoded, upright image to a Picture.

    Args:
        image: any mode; ``nstjax.images.read`` says how each is converted.

    Raises:
        UserError: deep samples are outside their range, or no pixel is visible.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, alpha = _decode_deep_grey(image)
        rgb = np.repeat(grey[..., None], 3, axis=-1)
    else:
        image = image.convert("RGBA") if image.mode in ("P", "PA") else image
        rgb = _scale_to_unit(to_srgb(image))
        alpha = _scale_to_unit(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None
    if alpha is None or np.all(alpha == 1):
        return Picture(rgb)
    return Picture(_replace_hidden_colours(rgb, alpha), alpha)


def _scale_to_unit(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(255)


def _decode_deep_grey(image: Image.Image) -> tuple[Array, Array | None]:
    """Return grey samples of more than 8 bits at full precision, and the alpha that a PNG's key colour implies."""
    samples = np.asarray(image).astype(np.float32)
    white = np.float32(1 if image.mode == "F" else 65535)
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= white):  # written this way, the test catches NaN too
        raise UserError(f"expected grey samples from 0 to {white:g}, got {low:g} to {high:g}: rescale the picture")
    key = image.info.get("transparency")
    alpha = None if key is None else (samples != key).astype(np.float32)
    return samples / white, alpha


def _replace_hidden_colours(rgb: Array, alpha: Array) -> Array:
    """Give fully transparent pixels the mean visible colour.

    Editors leave arbitrary colours under full transparency; colours that nobody sees should not influence the style.
    """
    visible = alpha > 0
    if not visible.any():
        raise UserError("expected a visible picture, but every pixel is fully transparent: remove the alpha channel")
    mean = np.average(rgb[visible], axis=0, weights=alpha[visible].astype(np.float64))
    return np.where(visible[..., None], rgb, mean.astype(np.float32))
