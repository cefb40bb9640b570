"""The sources of a run's pictures and masks: what a user hands over, opened or refused in one line."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import Image, ImageOps

from nstjax import images
from nstjax.arguments import describe, is_traced, to_text
from nstjax.errors import UserError
from nstjax.experiment.starts import IN_MEMORY
from nstjax.images import decoding, examples
from nstjax.images.masks import Mask


@runtime_checkable
class Array(Protocol):
    """An array of NumPy or JAX, or of another library that NumPy can read."""

    def __array__(self) -> np.ndarray:
        """Return the array as one of NumPy."""
        ...


Source: TypeAlias = str | os.PathLike[str] | Array | Image.Image | images.Picture
"""A picture as a user hands it over: see ``open_source``."""

MaskSource: TypeAlias = str | os.PathLike[str] | Array
"""A mask as a user hands it over: see ``masks.prepare_guides``."""

_ROUNDING = 1e-3
"""How far values may lie outside of [0, 1], where they are clipped."""


def to_sources(name: str, sources: Any) -> list[Any]:
    """Return one source, or a list or tuple of them, as a list.

    Raises:
        UserError: the list is empty.
    """
    several = [*sources] if isinstance(sources, list | tuple) else [sources]
    if not several:
        raise UserError(f"{name} must be at least one picture, not {describe(sources)}")
    return several


def is_file(source: Any) -> bool:
    """Return whether a source is a name or a path, rather than a picture that is in memory."""
    return isinstance(source, str | os.PathLike)


def split_init(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Source | None]:
    """Return settings whose ``init`` is plain data, and the picture to start from if it is in memory."""
    init = settings.get("init")
    if is_file(init) or not isinstance(init, Array | Image.Image | images.Picture):
        return dict(settings), None
    return {**settings, "init": IN_MEMORY}, init


def source_name(source: Any) -> str:
    """Return a picture's readable name: the file name without folder and extension."""
    if not is_file(source):
        return "array"
    name = str(os.fspath(source))
    return name.removeprefix("example:") if name.startswith("example:") else Path(name).stem


def open_source(name: str, source: Source, pixel_limit: int) -> images.Picture:
    """Return the picture of a source.

    Args:
        name: name of the argument, for messages.
        source: a path; ``example:NAME``; a Pillow image; or an array of grey [H, W] or [H, W, 1], of colours [H, W, 3],
            or of colours and alpha [H, W, 4], with floats in [0, 1], uint8 from 0 to 255, or bool.
        pixel_limit: largest number of pixels.

    Raises:
        UserError: the source is none of these, or cannot be read.
    """
    if isinstance(source, images.Picture):
        return images.Picture(_from_array(name, source.rgb).rgb, source.alpha)
    if is_file(source):
        return images.read(_locate(to_text(name, source)), limit=pixel_limit)
    if isinstance(source, Image.Image):
        return _from_pillow(name, source)
    if isinstance(source, Array) and not is_traced(source):
        return _from_array(name, source)
    raise UserError(
        f"{name} must be a path, example:NAME, a Pillow image, or an array [H, W, 3], not {describe(source)}"
    )


def check_header(name: str, source: Source, pixel_limit: int) -> None:
    """Raise if the file of a picture is missing, is no picture or is too large; only its header is read.

    Pictures in memory are passed over. Args and errors are those of ``open_source``.
    """
    if is_file(source):
        images.read_size(_locate(to_text(name, source)), limit=pixel_limit)


def _locate(path: str) -> str:
    """Return the path of a picture, or that of an example."""
    return str(examples.locate(path.removeprefix("example:"))) if path.startswith("example:") else path


def to_mask(name: str, mask: Any) -> Mask:
    """Return a mask as a path, a colour, or an array of NumPy; one of bool is the share 0 or 1.

    Raises:
        UserError: the mask is none of these.
    """
    if is_file(mask):
        return to_text(name, mask)
    if not isinstance(mask, Array) or is_traced(mask):
        raise UserError(f"{name} must be a path, a colour, or an array [regions, H, W], not {describe(mask)}")
    shares = np.asarray(mask)
    return shares.astype(np.float32) if shares.dtype == bool else shares


def to_masks(masks: Any) -> list[Mask]:
    """Return the masks of the styles, one of which may stand alone."""
    several: Sequence[Any] = masks if isinstance(masks, list | tuple) else [masks]
    return [to_mask(f"style_masks[{k}]", mask) for k, mask in enumerate(several)]


def _from_pillow(name: str, image: Image.Image) -> images.Picture:
    if not image.width * image.height:
        raise UserError(f"{name} must be a picture with pixels, not one of {image.width}x{image.height}")
    try:
        return decoding.to_picture(ImageOps.exif_transpose(image))
    except (OSError, UserError) as error:  # an image that Pillow has not read to its end yet
        raise UserError(f"{name}: {error}") from error


def _from_array(name: str, source: Any) -> images.Picture:
    array = np.asarray(source)
    *sides, channels = array.shape if array.ndim == 3 else (*array.shape, 1)
    is_float = np.issubdtype(array.dtype, np.floating) or "float" in array.dtype.name  # bfloat16 is JAX's own
    if len(sides) != 2 or channels not in (1, 3, 4) or not (is_float or array.dtype in (np.uint8, bool)):
        raise UserError(
            f"{name} must be an array [H, W, 3] of floats in [0, 1] or of uint8, not of {array.dtype} {[*array.shape]}"
        )
    if not array.size:
        raise UserError(f"{name} must have pixels, but it is an array of {[*array.shape]}")
    values = array.astype(np.float32, order="C").reshape(*sides, channels) / np.float32(
        255 if array.dtype == np.uint8 else 1
    )
    low, high = values.min(), values.max()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # written this way, the test catches NaN too
        raise UserError(f"{name} must have values in [0, 1], not {low:g} to {high:g}: divide by 255?")
    values = np.clip(values, 0, 1)
    if channels < 4:
        return images.Picture(np.repeat(values, 3, axis=-1) if channels == 1 else values)
    return decoding.combine(np.ascontiguousarray(values[..., :3]), values[..., 3])
