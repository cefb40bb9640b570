"""Colour profiles: the one that every saved file carries, and the way from any other to it."""

import io
from typing import Literal

from PIL import Image, ImageCms


def _built_in(space: Literal["sRGB", "LAB"]) -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    profile[24:36] = bytes(12)  # its date of creation, which would make every file differ from the last
    return bytes(profile)


SRGB: bytes = _built_in("sRGB")
"""An ICC profile of sRGB; the same bytes whenever it is built."""

_LAB = _built_in("LAB")


def to_srgb(image: Image.Image) -> Image.Image:
    """``image`` in 8-bit sRGB, its embedded profile applied, its transparency dropped.

    A profile that is broken, or that describes another kind of pixel than the image has, is ignored and the pixels
    are taken as they are: viewers do the same.

    Args:
        image: of any mode with 8 bits a channel or less.

    Returns:
        An image of mode RGB.
    """
    profile = _LAB if image.mode == "LAB" else image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    pixels = _pixels_for(profile[16:20], image)
    try:
        # Without it a grey ramp of gamma 1.8 comes out 1.5 levels off; with no optimisation, exact but ten times later.
        flags = ImageCms.Flags.HIGHRESPRECALC
        transform = ImageCms.buildTransform(io.BytesIO(profile), io.BytesIO(SRGB), pixels.mode, "RGB", flags=flags)
        return transform.apply(pixels)
    except ImageCms.PyCMSError:
        return image.convert("RGB")


def _pixels_for(space: bytes, image: Image.Image) -> Image.Image:
    """``image`` in the mode that a profile of colour space ``space`` speaks of, if only the form differs."""
    if space == b"RGB " and image.mode not in ("CMYK", "LAB"):
        return image.convert("RGB")
    if space == b"GRAY" and image.mode in ("1", "LA"):
        return image.convert("L")
    return image
