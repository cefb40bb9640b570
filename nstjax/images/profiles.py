"""Colour profiles: the sRGB profile of every saved file, and conversion from any other profile to sRGB."""

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageCms


def _build_profile(space: Literal["sRGB", "LAB"]) -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes())
    profile[24:36] = bytes(12)  # the creation date, which would make equal pictures give different files
    return bytes(profile)


SRGB: bytes = _build_profile("sRGB")
"""An ICC profile of sRGB; always the same bytes."""

_LAB = _build_profile("LAB")


def make_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return a function that converts parts of an image to 8-bit sRGB: it applies the profile, and drops transparency.

    A profile that is broken, or that describes another kind of pixel than the image has, is ignored and the pixels
    are used unchanged, as viewers do.

    Args:
        image: any mode with 8 bits a channel or less; its embedded profile holds for all of its parts.
    """
    profile = _LAB if image.mode == "LAB" else image.info.get("icc_profile")
    if not profile:
        return _to_rgb
    space = profile[16:20]
    mode = "RGBA" if image.mode in ("P", "PA") else image.mode  # palettes are looked up first
    mode = _convert_for_profile(space, Image.new(mode, (1, 1))).mode
    try:
        # Without this flag a grey ramp of gamma 1.8 is 1.5 levels off. No optimisation at all is exact but ten times
        # slower.
        flags = ImageCms.Flags.HIGHRESPRECALC
        transform = ImageCms.buildTransform(io.BytesIO(profile), io.BytesIO(SRGB), mode, "RGB", flags=flags)
    except ImageCms.PyCMSError:
        return _to_rgb
    return lambda part: transform.apply(_convert_for_profile(space, part))


def is_srgb(profile: bytes | None) -> bool:
    """Return whether a profile changes no colour by more than one level of 8 bits; True without a profile."""
    if profile is None or profile == SRGB:
        return True
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    image = Image.fromarray(colours)
    image.info["icc_profile"] = profile
    return bool(np.abs(np.asarray(make_converter(image)(image), np.int16) - colours).max() <= 1)


def _to_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _convert_for_profile(space: bytes, image: Image.Image) -> Image.Image:
    """Convert ``image`` to the mode that a profile of colour space ``space`` describes, if that loses nothing."""
    if space == b"RGB " and image.mode not in ("CMYK", "LAB"):
        return image.convert("RGB")
    if space == b"GRAY" and image.mode in ("1", "LA"):
        return image.convert("L")
    return image
