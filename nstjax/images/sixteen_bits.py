"""Colours of 16 bits a channel, of which Pillow reads one byte each, and writes none."""

import sys

from PIL import ImageFile, TiffImagePlugin

from nstjax.images.profiles import is_srgb

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
        layout, *others = (tile.args,) if isinstance(tile.args, str) else tile.args
        if layout not in _OTHER_BYTES:
            return None
        tiles.append(tile._replace(args=(_OTHER_BYTES[layout], *others)))
    return tiles
