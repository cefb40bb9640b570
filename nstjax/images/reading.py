"""Reading pictures from files."""

import os

from PIL import ExifTags, Image, ImageOps

from nstjax.errors import UserError
from nstjax.images.completeness import check_complete
from nstjax.images.decoding import to_picture
from nstjax.images.opening import PIXEL_LIMIT, open_image
from nstjax.images.picture import Picture
from nstjax.images.sixteen_bits import find_low_bytes


def read(path: str | os.PathLike[str], *, limit: int = PIXEL_LIMIT) -> Picture:
    """Read a picture from a file, upright and in sRGB; the first frame if it is an animation.

    An embedded colour profile is converted to sRGB. Greyscale of 16 bits or float keeps its precision (its profile, if
    any, is not applied), and so does a PNG or TIFF in sRGB with 16 bits a channel; every other kind is read with 8 bits
    a channel, which is all that Pillow keeps. CMYK without a profile is converted by Pillow's formula. Pixels that are
    fully transparent take the mean colour of the visible ones, since nobody sees their own.

    Args:
        path: a file in one of ``opening.FORMATS``.
        limit: the largest number of pixels; checked against the file's header, before anything is decoded.

    Raises:
        UserError: the file does not exist, is not a picture in one of the formats, is cut short or damaged, or has too
            many pixels.
    """
    with open_image(path, limit=limit) as image:
        try:
            check_complete(image)
            low_tiles = find_low_bytes(image)
            _load_upright(image)
            if low_tiles is None:
                return to_picture(image)
            with open_image(path, limit=limit) as low_bytes:
                low_bytes.tile = low_tiles
                _load_upright(low_bytes)
                return to_picture(image, low_bytes=low_bytes)
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
    with open_image(path, limit=limit) as image:
        sideways = image.format != "TIFF" and _read_orientation(image) >= 5  # Pillow gives a TIFF's size upright
        return (image.width, image.height) if sideways else (image.height, image.width)


def _load_upright(image: Image.Image) -> None:
    """Decode an image and turn it upright, in place."""
    image.load()
    vars(image).pop("_decoder", None)  # that of WebP and of AVIF keeps up to two more copies of the picture
    if _read_orientation(image) > 1:
        ImageOps.exif_transpose(image, in_place=True)


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it is invalid."""
    try:
        # The base class's getexif, because the PNG class's decodes the whole picture to look for EXIF after it.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse a picture
        return 1
    return orientation if orientation in range(1, 9) else 1
