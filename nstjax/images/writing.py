"""Saving pictures: a file is written completely or not at all, and equal pictures give equal bytes."""

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from nstjax.errors import UserError
from nstjax.images.picture import Array
from nstjax.images.profiles import SRGB
from nstjax.images.resizing import split_rows
from nstjax.images.sixteen_bits import encode_png, encode_tiff
from nstjax.system.files import check_length, open_atomic

# PNG, WebP and TIFF are lossless. JPEG keeps colour at full resolution, because brushwork has fine colour detail.
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def save(
    path: str | os.PathLike[str],
    rgb: Array,
    *,
    alpha: Array | None = None,
    text: Mapping[str, str] | None = None,
    depth: int = 8,
) -> None:
    """Write a picture with an sRGB profile, in the format of the name's extension.

    Args:
        path: a name that ends in .png, .jpg, .jpeg, .webp, .tif or .tiff; an existing file is replaced.
        rgb: [H, W, 3], sRGB; clipped to [0, 1].
        alpha: [H, W]; clipped to [0, 1]. A JPEG has no alpha: the picture is composited on white.
        text: keyword to value, written to the text chunks of a PNG; ignored for the other formats.
        depth: bits of each channel: 8, or 16 in a PNG or TIFF.

    Raises:
        UserError: the path cannot be written, a value is not finite, or the format cannot hold the picture.
    """
    path = Path(path)
    format = _choose_format(path, depth)
    try:
        content = _encode(format, rgb, alpha, text or {}, depth)
        with open_atomic(path) as file:
            file.write(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): choose another folder, or free some space"
        ) from error


def check_output(path: str | os.PathLike[str], *, depth: int = 8) -> None:
    """Raise if ``save`` could not write to ``path``; leaves no file behind.

    Called before a long run, so that it does not fail at its end.

    Args:
        path: as in ``save``.
        depth: as in ``save``.

    Raises:
        UserError: the extension is unknown, its format has no such depth, the path is too long or a folder, or its
            folder cannot be written to.
    """
    path = Path(path)
    _choose_format(path, depth)
    check_length(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: expected the name of a picture file")
        if not path.parent.is_dir():
            raise UserError(f"no folder {path.parent} to write {path.name} in: create it first, or choose another")
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"folder {path.parent} cannot be written to ({error.strerror}): choose another") from None


def _choose_format(path: Path, depth: int) -> str:
    try:
        format = _FORMATS[path.suffix.lower()]
    except KeyError:
        extension = f"extension {path.suffix!r}" if path.suffix else "no extension"
        raise UserError(f"{path} has {extension}: expected a name that ends in {', '.join(_FORMATS)}") from None
    if depth not in (8, 16):
        raise UserError(f"the depth of {path} must be 8 or 16 bits, not {depth}")
    if depth == 16 and format not in ("PNG", "TIFF"):
        raise UserError(f"{path} would be a {format}, which has 8 bits a colour: use .png or .tiff, or depth 8")
    return format


def _encode(format: str, rgb: Array, alpha: Array | None, text: Mapping[str, str], depth: int) -> bytes:
    samples = _quantise(rgb, alpha, depth, opaque=format == "JPEG")
    if depth == 16:
        return encode_png(samples, _text_chunks(text)) if format == "PNG" else encode_tiff(samples)
    image = Image.fromarray(samples)
    options = {**_OPTIONS[format], "icc_profile": SRGB}
    if format == "PNG":
        options["pnginfo"] = _text_chunks(text)
    buffer = io.BytesIO()
    try:
        image.save(buffer, format, **options)
    except (OSError, ValueError) as error:  # mostly sides that are too long for the format
        height, width = rgb.shape[:2]
        raise UserError(f"{width} x {height} pixels do not fit in {format} ({error}): use .png or .tiff") from error
    return buffer.getvalue()


def _quantise(rgb: Array, alpha: Array | None, depth: int, *, opaque: bool) -> NDArray[Any]:
    """Return the samples of a picture, [H, W, 3] or with alpha [H, W, 4]; rows in bands, so that large ones fit.

    Args:
        rgb: as in ``save``.
        alpha: as in ``save``.
        depth: bits of a sample.
        opaque: whether the picture is composited on white.
    """
    height, width, channels = rgb.shape
    blended, has_alpha = alpha is not None and opaque, alpha is not None and not opaque
    samples = np.empty((height, width, channels + has_alpha), np.uint16 if depth == 16 else np.uint8)
    for rows in split_rows(height, width):
        layers = rgb[rows] if alpha is None else np.concatenate([rgb[rows], alpha[rows][..., None]], axis=-1)
        if not np.isfinite(layers).all():
            raise UserError("expected finite values, got NaN or infinity: lower the learning rate of the run")
        layers = np.clip(layers, 0, 1)
        if blended:
            layers = 1 + (layers[..., :3] - 1) * layers[..., 3:]
        samples[rows] = np.rint(layers * (2**depth - 1))
    return samples


def _text_chunks(text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        chunks.add_text(keyword, value)
    return chunks
