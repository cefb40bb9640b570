"""Colours of 16 bits a channel, of which Pillow reads one byte each, and writes none."""

import io
import struct
import sys
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile, PngImagePlugin, TiffImagePlugin

from nstjax.images.profiles import SRGB, is_srgb
from nstjax.images.resizing import split_rows

_OTHER_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Layout of the samples in a file to the layout with the bytes exchanged, of which Pillow keeps the low byte."""


def find_low_bytes(image: ImageFile.ImageFile) -> list | None:
    """Return the tiles with which the same file, opened again, is read as the low bytes of its samples.

    Args:
        image: an opened image of which nothing is decoded yet.

    Returns:
        The tiles; None if the samples have no more bytes, or if the image has a profile other than sRGB, which Pillow
        applies to 8 bits alone.
    """
    if image.format not in ("PNG", "TIFF") or not is_srgb(image.info.get("icc_profile")):
        return None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2:
        return None
    tiles = []
    for tile in image.tile:
        layout, *others = (tile.args,) if isinstance(tile.args, str) else (tile.args or ("",))
        if layout not in _OTHER_BYTES:
            return None
        tiles.append(tile._replace(args=(_OTHER_BYTES[layout], *others)))
    return tiles or None


def encode_png(samples: NDArray[np.uint16], text: PngImagePlugin.PngInfo) -> bytes:
    """Return a PNG file in sRGB.

    Args:
        samples: [H, W, 3], or [H, W, 4] with alpha.
        text: the text chunks.
    """
    height, width, channels = samples.shape
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    colour_type = 2 if channels == 3 else 6
    PngImagePlugin.putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    PngImagePlugin.putchunk(file, b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB))
    for kind, data, *_ in text.chunks:
        PngImagePlugin.putchunk(file, kind, data)
    packer = zlib.compressobj()
    for rows in split_rows(height, width):
        # Each row begins with 1: its bytes are the differences from the pixel before.
        content = samples[rows].astype(">u2").view(np.uint8).reshape(rows.stop - rows.start, -1)
        filtered = np.ones((len(content), 1 + content.shape[1]), np.uint8)
        pixel = 2 * channels
        filtered[:, 1 : 1 + pixel] = content[:, :pixel]
        filtered[:, 1 + pixel :] = content[:, pixel:] - content[:, :-pixel]
        if packed := packer.compress(filtered.tobytes()):
            PngImagePlugin.putchunk(file, b"IDAT", packed)
    PngImagePlugin.putchunk(file, b"IDAT", packer.flush())
    PngImagePlugin.putchunk(file, b"IEND")
    return file.getvalue()


def encode_tiff(samples: NDArray[np.uint16]) -> bytes:
    """Return a TIFF file in sRGB, packed without loss.

    Args:
        samples: [H, W, 3], or [H, W, 4] with alpha.
    """
    height, width, channels = samples.shape
    strips = []
    for rows in split_rows(height, width):
        differences = samples[rows].astype("<u2")
        differences[:, 1:] -= samples[rows, :-1]
        strips.append(zlib.compress(differences.tobytes()))
    plugin = TiffImagePlugin
    tags = plugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    tags[plugin.IMAGEWIDTH], tags[plugin.IMAGELENGTH] = width, height
    tags[plugin.BITSPERSAMPLE], tags[plugin.SAMPLESPERPIXEL] = (16,) * channels, channels
    tags[plugin.COMPRESSION], tags[plugin.PREDICTOR] = 8, 2  # deflate, of the differences from the pixel before
    tags[plugin.PHOTOMETRIC_INTERPRETATION] = 2  # RGB
    tags[plugin.ROWSPERSTRIP] = next(split_rows(height, width)).stop
    tags[plugin.STRIPOFFSETS] = tuple(sum(map(len, strips[:k])) for k in range(len(strips)))  # from the tags' end on
    tags[plugin.STRIPBYTECOUNTS] = tuple(map(len, strips))
    tags[plugin.ICCPROFILE] = SRGB
    if channels == 4:
        tags[plugin.EXTRASAMPLES] = 2  # alpha, with which the colours are not multiplied
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + b"".join(strips)
