"""Reading pictures from files."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nstjax.errors import UserError
from nstjax.images.decoding import to_picture
from nstjax.images.picture import Picture

PIXEL_LIMIT = 178_000_000
"""Largest number of pixels of a picture: about 2 GB as float32, and close to Pillow's own limit."""

_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP": "JPEG 2000",
}


def read(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> Picture:
    """Read a picture from a file, upright and in sRGB; the first frame if it is an animation.

    An embedded colour profile is converted to sRGB. Greyscale of 16 bits or float keeps its precision (its profile, if
    any, is not applied); every other kind is read with 8 bits a channel, which is all that Pillow keeps of 16-bit RGB.
    CMYK without a profile is converted by Pillow's formula. Fully transparent pixels take the mean colour of the
    visible ones, so that hidden colours do not influence the style.

    Args:
        path: a file in any format that Pillow reads.
        limit: the largest number of pixels; checked against the file's header, before anything is decoded.

    Raises:
        UserError: the file does not exist, is not a picture, is damaged, or has too many pixels.
    """
    with _open(path, limit) as image:
        image.load()
        upright = ImageOps.exif_transpose(image) if _read_orientation(image) > 1 else image
    try:
        return to_picture(upright)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_size(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> tuple[int, int]:
    """Return the (height, width) in pixels of the picture that ``read`` would return, from the file's header alone.

    Args:
        path: as in ``read``.
        limit: as in ``read``.

    Raises:
        UserError: as in ``read``, if the header shows it.
    """
    with _open(path, limit) as image:
        sideways = image.format != "TIFF" and _read_orientation(image) >= 5  # Pillow gives a TIFF's size upright
        return (image.width, image.height) if sideways else (image.height, image.width)


@contextmanager
def _open(path: str | os.PathLike[str], limit: int) -> Iterator[Image.Image]:
    """Open an image and read its header; errors there or in the block become UserErrors."""
    _check_file(Path(path))
    pillows_limit = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None  # otherwise Pillow raises at its own limit, before the size is known
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.width * image.height > limit:
                raise UserError(
                    f"{path} has {image.width} x {image.height} pixels, more than the limit of {limit:,}: "
                    "shrink it, or raise the limit with --pixel-limit if there is enough memory"
                )
            Image.MAX_IMAGE_PIXELS = limit  # also limits pictures inside the file, as in an .ico
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(_explain_unidentified(Path(path))) from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise UserError(
            f"{path} is a picture that cannot be decoded ({str(error) or type(error).__name__}): if it is cut short or "
            "damaged, copy it again from its source, otherwise convert it to PNG"
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = pillows_limit


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"{path} is a folder: expected the name of one picture in it")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path} is a device or a pipe: expected a regular file; save the picture to one first")
        if status.st_size == 0:
            raise UserError(f"{path} is empty (0 bytes): expected a picture; copy it again from its source")
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no file {path} (current folder {Path.cwd()}): check the name of the picture") from None
    except PermissionError:
        raise UserError(f"no permission to read {path}: change its mode or its owner") from None
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror}): expected the path of a picture") from None


def _explain_unidentified(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    for signature, name in _SIGNATURES.items():
        if start.startswith(signature):
            return (
                f"{path} begins like a {name} picture, but its header is cut short, damaged, or of a kind that Pillow "
                "does not read: copy it again from its source, or convert it to PNG"
            )
    return (
        f"{path} is not a picture that Pillow can read: expected PNG, JPEG, WebP, TIFF or a similar format; "
        "convert it first"
    )


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it is invalid."""
    try:
        # The base class's getexif, because the PNG class's decodes the whole picture to look for EXIF after it.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse a picture
        return 1
    return orientation if orientation in range(1, 9) else 1
