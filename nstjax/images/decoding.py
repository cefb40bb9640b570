"""From a decoded Pillow image, of whatever mode, to the arrays of a Picture."""

import numpy as np
from PIL import Image

from nstjax.errors import UserError
from nstjax.images.picture import Array, Picture
from nstjax.images.profiles import to_srgb


def to_picture(image: Image.Image) -> Picture:
    """The picture in a decoded, upright image.

    Args:
        image: of any mode; ``nstjax.images.read`` says what becomes of each.

    Raises:
        UserError: deep samples outside their range, or nothing visible.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey, alpha = _deep_grey(image)
        rgb = np.repeat(grey[..., None], 3, axis=-1)
    else:
        image = image.convert("RGBA") if image.mode in ("P", "PA") else image
        rgb = _unit(to_srgb(image))
        alpha = _unit(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None
    if alpha is None or np.all(alpha == 1):
        return Picture(rgb)
    return Picture(_without_hidden_colours(rgb, alpha), alpha)


def _unit(image: Image.Image) -> Array:
    return np.asarray(image, np.float32) / np.float32(255)


def _deep_grey(image: Image.Image) -> tuple[Array, Array | None]:
    """Grey samples of more than 8 bits, at their full precision, and the alpha that a PNG's key colour stands for."""
    samples = np.asarray(image).astype(np.float32)
    white = np.float32(1 if image.mode == "F" else 65535)
    low, high = samples.min(), samples.max()
    if not (low >= 0 and high <= white):  # so written, it is true of NaN as well
        raise UserError(
            f"expected grey samples from 0 to {white:g}, but they run from {low:g} to {high:g}: rescale the picture"
        )
    key = image.info.get("transparency")
    alpha = None if key is None else (samples != key).astype(np.float32)
    return samples / white, alpha


def _without_hidden_colours(rgb: Array, alpha: Array) -> Array:
    """``rgb`` with the mean visible colour wherever nothing can be seen.

    Editors leave anything at all beneath full transparency; what nobody sees should not steer a style.
    """
    visible = alpha > 0
    if not visible.any():
        raise UserError("expected something to see, but every pixel is fully transparent: remove the alpha channel")
    mean = np.average(rgb[visible], axis=0, weights=alpha[visible].astype(np.float64))
    return np.where(visible[..., None], rgb, mean.astype(np.float32))
