"""Opening: which formats are read, and files that would take far more time or memory than a picture."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from png_files import chunk, png

from nstjax.errors import UserError
from nstjax.images import read, read_size
from nstjax.images.opening import FORMATS, PIXEL_LIMIT, open_image

SOURCES = Path(__file__).parents[2] / "nstjax"


def test_a_postscript_file_starts_no_other_program(tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho 10.0\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(UserError, match=r"picture.png is not a picture .*: expected PNG, JPEG, .* PPM or TGA; convert"):
        read(path)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("format", ["ICO", "PCX", "EPS", "PDF", "ICNS", "SGI"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, format):
    Image.new("RGB", (16, 16)).save(tmp_path / "picture.png", format)
    with pytest.raises(UserError, match="expected PNG"):
        read(tmp_path / "picture.png")


@pytest.mark.parametrize("format", FORMATS)
def test_the_content_decides_the_format_and_not_the_name(tmp_path, format):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "picture.txt", format)
    np.testing.assert_allclose(read(tmp_path / "picture.txt").rgb[8, 8], (1, 0, 0), atol=3 / 255)  # some are lossy


def test_pictures_are_opened_in_one_place():
    calls = [path.name for path in SOURCES.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert sorted(calls) == ["completeness.py", "opening.py"]  # the former opens JPEGs alone, from memory


def test_a_long_thin_picture_is_refused(tmp_path):
    path = tmp_path / "thin.png"
    path.write_bytes(png(1, 65_536, depth=1, colour_type=0, pixels=bytes(2 * 65_536)))
    with pytest.raises(UserError, match="has 1 x 65536 pixels, but no side may have more than 65,535: crop or shrink"):
        read_size(path)
    path.write_bytes(png(65_535, 1, depth=1, colour_type=0, pixels=bytes(8193)))
    assert read(path).rgb.shape == (1, 65_535, 3)


def test_a_file_larger_than_any_picture_is_refused_unread(tmp_path):
    path = tmp_path / "huge.png"
    path.touch()
    os.truncate(path, 8 * PIXEL_LIMIT + (65 << 20))  # takes no space on the disk
    with pytest.raises(UserError, match="bytes, more than a picture of 178,000,000 pixels needs"):
        read(path)


def test_a_text_that_unpacks_to_much_is_refused(tmp_path):
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20)))
    path = tmp_path / "text.png"
    path.write_bytes(png(1, 1, depth=8, colour_type=0, pixels=bytes(2), extra=text))
    with pytest.raises(UserError, match=r"cannot be decoded .*too large"):
        read(path)


def test_a_colour_profile_that_unpacks_to_much_is_refused(tmp_path):
    profile = chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(2 << 20)))
    path = tmp_path / "profile.png"
    path.write_bytes(png(1, 1, depth=8, colour_type=0, pixels=bytes(2), extra=profile))
    with pytest.raises(UserError, match=r"cannot be decoded .*too large"):
        read(path)


def test_only_the_first_picture_of_many_is_decoded(tmp_path):
    frames = [Image.new("P", (8, 8), number) for number in range(50)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with open_image(tmp_path / "a.gif") as image:
        image.load()
        assert image.tell() == 0


def test_memory_while_reading_is_bounded(tmp_path):
    """Reading takes at most 22 bytes a pixel at its peak: 4 GB at the limit."""
    side = 3000
    path = tmp_path / "large.webp"
    Image.new("RGBA", (side, side), (200, 100, 50, 128)).save(path, lossless=True, method=0)
    code = (
        "import resource, sys; from nstjax import images;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024;"
        "before = peak(); images.resize(images.read(sys.argv[1]), 64); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 22 * side**2 + (40 << 20)  # of bands, and of libraries


def test_the_profile_of_a_tiff_may_claim_any_length(tmp_path):
    header = struct.pack("<4sIH", b"II*\0", 8, 2)
    entries = struct.pack("<HHIIHHII", 256, 3, 1, 1, 34675, 7, 0x7FFF_FFFF, 8)
    path = tmp_path / "a.tif"
    path.write_bytes(header + entries + bytes(4))
    with pytest.raises(UserError, match="begins like a TIFF picture"):
        read(path)
