"""PNG files written byte by byte, with headers that no library would write."""

import struct
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    depth: int,
    colour_type: int,
    pixels: bytes,
    interlaced: bool = False,
    extra: bytes = b"",
) -> bytes:
    """Return a PNG file.

    Args:
        width: width that the header states.
        height: height that the header states.
        depth: bits of a sample.
        colour_type: 0 for grey, 2 for RGB, 3 for a palette, 4 for grey and alpha, 6 for RGBA.
        pixels: the unpacked rows, each after a byte for its filter.
        interlaced: whether the header says so.
        extra: further chunks before the pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
