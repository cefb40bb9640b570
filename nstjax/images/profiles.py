"""Colour profiles: the sRGB profile of every saved file, and conversion from any other profile to sRGB."""

import io
from typing import Literal

from PIL import Image, ImageCms


def _build_profile(space: Literal["sRGB", "LAB"]) -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    profile[24:36] = bytes(12)  # the creation date, which would make equal pictures give different files
    return bytes(profile)


SRGB: bytes = _build_profile("sRGB")
"""An ICC profile of sRGB; always the same bytes."""

_LAB = _build_profile("LAB")


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image to 8-bit sRGB: apply its embedded profile and drop its transparency.

    A profile that is broken, or that describes another kind of pixel than the image has, is ignored and the pixels
    are used unchanged, as viewers do.

    Args:
        image: any mode with 8 bits a channel or less.

    Returns:
        An image of mode RGB.
    """
    profile = _LAB if image.mode == "LAB" else image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    pixels = _convert_for_profile(profile[16:20], image)
    try:
        # Without this flag a grey ramp of gamma 1.8 is 1.5 levels off. No optimisation at all is exact but ten times
        # slower.
        flags = ImageCms.Flags.HIGHRESPRECALC
        transform = ImageCms.buildTransform(io.BytesIO(profile), io.BytesIO(SRGB), pixels.mode, "RGB", flags=flags)
        return transform.apply(pixels)
    except ImageCms.PyCMSError:
        return image.convert("RGB")


def _convert_for_profile(space: bytes, image: Image.Image) -> Image.Image:
    """Convert ``image`` to the mode that a profile of colour space ``space`` describes, if that loses nothing."""
    if space == b"RGB " and image.mode not in ("CMYK", "LAB"):
        return image.convert("RGB")
    if space == b"GRAY" and image.mode in ("1", "LA"):
        return image.convert("L")
    return image
