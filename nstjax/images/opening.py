"""Opening of picture files: a fixed list of formats, and bounds that a file must keep before anything is decoded."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from nstjax.errors import UserError
from nstjax.system.files import check_regular

PIXEL_LIMIT = 178_000_000
"""Largest number of pixels of a picture.

As float32 it takes 2.1 GB, with transparency 2.9; while it is read 2.9, with transparency 3.8, of 16 bits up to 4.5."""

SIDE_LIMIT = 65_535
"""Longest side of a picture in pixels, which is also the longest of a JPEG."""

_BYTES_PER_PIXEL = 8
_EXTRA_BYTES = 64 << 20  # for metadata, which do not grow with the picture

FORMATS = {
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "TIFF": "TIFF",
    "GIF": "GIF",
    "BMP": "BMP",
    "AVIF": "AVIF",
    "JPEG2000": "JPEG 2000",
    "PPM": "PPM",
    "TGA": "TGA",
}
"""Pillow's name to the usual name of each format that is read.

Pillow knows more, but some start other programs (PostScript), and few are pictures that somebody would transfer.
"""

_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP": "JPEG 2000",
}


@contextmanager
def open_image(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> Iterator[ImageFile.ImageFile]:
    """Open an image and read its header; errors there or in the block become UserErrors.

    Args:
        path: a file in one of ``FORMATS``; its first bytes decide which, and not its name.
        limit: the largest number of pixels.

    Raises:
        UserError: the file does not exist, is not a picture in one of the formats, is damaged, or is too large.
    """
    size = check_regular(path, "a picture")
    if size > _BYTES_PER_PIXEL * limit + _EXTRA_BYTES:
        raise UserError(
            f"{path} has {size:,} bytes, more than a picture of {limit:,} pixels needs: export one picture of it, or "
            "raise the limit with --pixel-limit if there is enough memory"
        )
    pillows_limit = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None  # otherwise Pillow raises at its own limit, before the size is known
        with (
            warnings.catch_warnings(action="ignore"),
            Path(path).open("rb") as file,
            Image.open(file, formats=[*FORMATS]) as image,
        ):
            _check_size(path, image, limit)
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(_explain_unidentified(Path(path))) from None
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than is free: shrink it, or close other programs") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise UserError(
            f"{path} is a picture that cannot be decoded ({str(error) or type(error).__name__}): if it is cut short or "
            "damaged, copy it again from its source, otherwise convert it to PNG"
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = pillows_limit


def _check_size(path: str | os.PathLike[str], image: Image.Image, limit: int) -> None:
    if image.width * image.height > limit:
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels, more than the limit of {limit:,}: "
            "shrink it, or raise the limit with --pixel-limit if there is enough memory"
        )
    if max(image.size) > SIDE_LIMIT:
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels, but no side may have more than {SIDE_LIMIT:,}: "
            "crop or shrink it"
        )


def _explain_unidentified(path: Path) -> str:
    *others, last = FORMATS.values()
    expected = f"{', '.join(others)} or {last}"
    with path.open("rb") as file:
        start = file.read(12)
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return (
                f"{path} begins like a {name} picture, but its header is cut short, damaged, or of a kind that Pillow "
                f"does not read: copy it again from its source, or convert it (formats that are read: {expected})"
            )
    return f"{path} is not a picture in a format that is read: expected {expected}; convert it first"
