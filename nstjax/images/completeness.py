"""Checks that a picture file holds all of its pixels.

Pillow notices a file that ends early. It does not notice data that end early inside a whole file, as broken exports and
repaired memory cards leave them: the missing pixels become black or grey.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from PIL import Image, ImageFile, TiffImagePlugin

from nstjax.errors import UserError

_BLOCK = 1 << 16  # bytes that are unpacked at a time
_MOST_SCANS = 100
"""Largest number of scans of a JPEG. Encoders make about ten; each costs the time of a whole picture."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type to samples of a pixel
_ADAM7 = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
"""The passes of an interlaced PNG: first row, step of rows, first column, step of columns."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")  # neither stuffing nor a restart
_START, _END, _SCAN, _PROGRESSIVE = 0xD8, 0xD9, 0xDA, (0xC2, 0xCA)
_NOISE = b"".join(bytes(97 * k % 251 for k in range(251)) + bytes([0xFF, 0xD0 + number]) for number in range(8))
"""Bytes without a marker, and after them each restart in turn: some of them count wherever the data have ended."""


def check_complete(image: ImageFile.ImageFile) -> None:
    """Raise if an opened image, of which nothing is decoded yet, lacks pixels.

    PNG, JPEG and uncompressed TIFF are checked; Pillow's decoders of the other formats notice it themselves.

    Raises:
        UserError: the data end before the last pixel.
    """
    file = image.fp
    assert file is not None
    position = file.tell()
    file.seek(0)
    if image.format == "PNG":
        complete = _is_png_complete(file)
    elif image.format in ("JPEG", "MPO"):
        complete = _is_jpeg_complete(file.read())
    else:
        complete = not isinstance(image, TiffImagePlugin.TiffImageFile) or _is_tiff_complete(image)
    file.seek(position)
    if not complete:
        raise UserError(
            "the picture is cut short or damaged: its data end before its last pixel; copy it again from its source, "
            "or export it again"
        )


def _is_png_complete(file: IO[bytes]) -> bool:
    """Return whether the pixels unpack to as many bytes as the header says; nothing larger than a block is kept."""
    chunks = _list_png_chunks(file)
    header = next(file.read(length) for kind, length in chunks if kind == b"IHDR")
    missing = _count_png_bytes(*struct.unpack(">IIBB2xB", header[:13]))
    unpacker = zlib.decompressobj()
    for block in _read_png_pixels(file, chunks):
        while block and not unpacker.eof:
            missing -= len(unpacker.decompress(block, _BLOCK))
            if missing <= 0:
                return True
            block = unpacker.unconsumed_tail
    return missing <= len(unpacker.flush())


def _list_png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the kind and the length of each chunk, with the file at the start of its content."""
    position = 8
    while file.seek(position) and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, length
        position += length + 12


def _read_png_pixels(file: IO[bytes], chunks: Iterator[tuple[bytes, int]]) -> Iterator[bytes]:
    """Yield the packed pixels in blocks; they end with the first chunk of another kind behind them."""
    begun = False
    for kind, length in chunks:
        if kind == b"IDAT":
            begun = True
            while length and (block := file.read(min(length, _BLOCK))):
                length -= len(block)
                yield block
        elif begun:
            return


def _count_png_bytes(width: int, height: int, depth: int, colour_type: int, interlaced: int) -> int:
    """Return the size of all unpacked rows, each of which begins with a byte for its filter."""
    bits = depth * _PNG_CHANNELS[colour_type]
    total = 0
    for top, rows, left, columns in _ADAM7 if interlaced else [(0, 1, 0, 1)]:
        pass_height, pass_width = len(range(top, height, rows)), len(range(left, width, columns))
        total += pass_height * (1 + (pass_width * bits + 7) // 8) if pass_width else 0
    return total


def _is_jpeg_complete(content: bytes) -> bool:
    """Return whether all scans are there, and the last one is whole: noise behind it changes no pixel."""
    scans, frame, end = _list_jpeg_scans(content)
    if len(scans) > _MOST_SCANS:
        raise UserError(f"the picture has {len(scans)} scans, which take long: save it again with another program")
    if end is None:
        return True  # the decoder notices a file without an end
    if frame is not None and not _are_progressive_scans_complete(scans, frame):
        return False
    return _decode_half(content[:end]) == _decode_half(content[:end] + _NOISE)


def _list_jpeg_scans(content: bytes) -> tuple[list[bytes], bytes | None, int | None]:
    """Return the headers of the scans, the header of the frame if it is progressive, and where the picture ends."""
    scans: list[bytes] = []
    frame, position = None, 0
    while match := _JPEG_MARKER.search(content, position):
        marker, position = content[match.start() + 1], match.end()
        if marker == _END:
            return scans, frame, match.start()
        if marker != _START:
            length = int.from_bytes(content[position : position + 2])
            header = content[position + 2 : position + length]
            position += length
            if marker in _PROGRESSIVE:
                frame = header
            elif marker == _SCAN:
                scans.append(header)
    return scans, frame, None


def _are_progressive_scans_complete(scans: list[bytes], frame: bytes) -> bool:
    """Return whether the scans refine every coefficient of every component to its last bit."""
    missing_bits = {(component, number): 16 for component in frame[6::3] for number in range(64)}
    for scan in scans:
        count = scan[0]
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        for component in scan[1 : 1 + 2 * count : 2]:
            missing_bits |= {(component, number): bits & 15 for number in range(first, last + 1)}
    return not any(missing_bits.values())


def _decode_half(content: bytes) -> bytes:
    """Return the pixels of a JPEG at half its size, from its content without the marker of its end."""
    with Image.open(io.BytesIO(content + bytes([0xFF, _END])), formats=["JPEG"]) as image:
        image.draft(None, (max(1, image.width // 2), max(1, image.height // 2)))
        return image.tobytes()


def _is_tiff_complete(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether the strips or tiles of an uncompressed TIFF cover it, once in each layer."""
    if image.tile[0].codec_name != "raw":
        return True
    layers = len(image.getbands()) if image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 else 1
    extents = [tile.extents or (0, 0, *image.size) for tile in image.tile]
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in extents)
    return 1 <= area / (image.width * image.height * layers) < 2
