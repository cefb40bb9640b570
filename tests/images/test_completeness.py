"""Completeness: whole files whose data end before the last pixel."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from png_files import png

from nstjax.errors import UserError
from nstjax.images import read, read_size

NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def check_refused(path: Path) -> None:
    with pytest.raises(UserError, match="cut short or damaged") as caught:
        read(path)
    assert str(path) in str(caught.value)
    read_size(path)  # the header is right


@pytest.mark.parametrize("rows", [0, 10, 39])
def test_a_png_whose_rows_end_early_is_refused(tmp_path, rows):
    pixels = (b"\0" + bytes(range(168))) * rows
    check_refused(write(tmp_path / "a.png", png(56, 40, depth=8, colour_type=2, pixels=pixels)))


def test_a_tiny_png_of_a_large_picture_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.core, "new", None)  # no image is created
    check_refused(write(tmp_path / "a.png", png(13_000, 13_000, depth=8, colour_type=2, pixels=bytes(1000))))


@pytest.mark.parametrize(("depth", "colour_type", "bits"), [(8, 2, 24), (1, 0, 1)])
def test_an_interlaced_png_is_complete_with_its_last_pass(tmp_path, depth, colour_type, bits):
    passes = [(1, 1), (1, 1), (1, 1), (3, 1), (2, 2), (5, 1)]  # width and height of those of 5 x 3 that have pixels
    pixels = b"".join((b"\0" + bytes((width * bits + 7) // 8)) * height for width, height in passes)
    options = {"depth": depth, "colour_type": colour_type, "interlaced": True}
    assert read(write(tmp_path / "a.png", png(5, 3, pixels=pixels, **options))).rgb.shape == (3, 5, 3)
    check_refused(write(tmp_path / "b.png", png(5, 3, pixels=pixels[:-1], **options)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_whole_pngs_of_every_kind_are_complete(tmp_path, mode):
    Image.fromarray(NOISE).convert("L").convert(mode).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").rgb.shape == (40, 56, 3)


JPEG_OPTIONS = [
    {},
    {"progressive": True},
    {"quality": 97, "subsampling": 0, "optimize": True},
    {"restart_marker_rows": 1},
    {"restart_marker_blocks": 1},
]


@pytest.mark.parametrize("options", JPEG_OPTIONS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_jpeg_whose_data_end_early_is_refused(tmp_path, options, share):
    content = jpeg(**options)
    assert read(write(tmp_path / "whole.jpg", content + b"more")).rgb.shape == (40, 56, 3)
    start = content.index(b"\xff\xda") + 14
    cut = content[: start + int(share * (len(content) - start))].rstrip(b"\xff") + b"\xff\xd9"
    check_refused(write(tmp_path / "cut.jpg", cut))


def test_a_jpeg_without_its_last_scans_is_refused(tmp_path):
    content = jpeg(progressive=True)
    check_refused(write(tmp_path / "a.jpg", content[: content.rindex(b"\xff\xda")] + b"\xff\xd9"))


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path):
    content = jpeg(progressive=True)
    last = content.rindex(b"\xff\xda")
    path = write(tmp_path / "a.jpg", content[:-2] + content[last:-2] * 200 + b"\xff\xd9")
    with pytest.raises(UserError, match=r"a.jpg: the picture has 2\d\d scans, which take long"):
        read(path)


def tiff(strips: list[bytes], rows: int) -> bytes:
    """Return an uncompressed TIFF of 56 x 40 pixels from its strips."""
    tags = ImageFileDirectory_v2()
    tags.update({256: 56, 257: 40, 258: (8, 8, 8), 259: 1, 262: 2, 277: 3, 278: rows})
    offsets = [sum(map(len, strips[:k])) for k in range(len(strips))]
    tags.update({273: tuple(offsets), 279: tuple(map(len, strips))})
    return b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + b"".join(strips)


def test_a_tiff_without_some_of_its_strips_is_refused(tmp_path):
    strips = [NOISE[start : start + 10].tobytes() for start in range(0, 40, 10)]
    whole = read(write(tmp_path / "whole.tif", tiff(strips, 10)))
    np.testing.assert_array_equal(whole.rgb, NOISE.astype(np.float32) / np.float32(255))
    check_refused(write(tmp_path / "a.tif", tiff(strips[:2], 10)))
    check_refused(write(tmp_path / "b.tif", tiff(strips * 50, 10)))  # each strip again and again


def test_a_webp_whose_data_end_early_is_refused(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "WEBP", lossless=True)
    half = buffer.getvalue()[20 : len(buffer.getvalue()) // 4 * 2]
    head = b"RIFF" + struct.pack("<I", 12 + len(half)) + b"WEBPVP8L" + struct.pack("<I", len(half))
    with pytest.raises(UserError, match="cut short"):
        read(write(tmp_path / "a.webp", head + half))


def test_a_gif_whose_data_end_early_is_refused(tmp_path):
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + b"," + struct.pack("<HHHHB", 0, 0, 8, 8, 0)
    with pytest.raises(UserError, match="cut short"):
        read(write(tmp_path / "a.gif", head + b"\2\2\x4c\1\0;"))  # clear, one pixel, end


def test_a_damaged_png_is_refused_before_it_is_decoded(tmp_path):
    content = bytearray(png(56, 40, depth=8, colour_type=2, pixels=(b"\0" + bytes(range(168))) * 40))
    content[content.index(b"IDAT") + 6] ^= 0xFF
    with pytest.raises(UserError, match=r"cut short or damaged|cannot be decoded") as caught:
        read(write(tmp_path / "a.png", bytes(content)))
    assert "\n" not in str(caught.value)
