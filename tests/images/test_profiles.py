"""Colour profiles, tested with hand-built profiles against their matrices."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstjax.images import read

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]


@pytest.fixture
def file(tmp_path):
    """Return a function that writes an image to a named file and returns its path."""

    def write(name: str, image: Image.Image, **options) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def unit(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / np.float32(255)


def on_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Build a minimal version 2 ICC display profile."""
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s", offset + len(body), 0x02100000, b"mntr", space, b"XYZ ").ljust(36, b"\0")
    return (
        head
        + b"acsp".ljust(32, b"\0")
        + xyz(0.9642, 1, 0.8249)[8:].ljust(60, b"\0")
        + struct.pack(">I", len(tags))
        + table
        + body
    )


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in values))


def gamma(value: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(256 * value))


# Colorants adapted to D50, one in each column: of Adobe RGB (1998), and of sRGB after Lindbloom.
ADOBE_TO_XYZ = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB_TO_XYZ = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
ADOBE_GAMMA = 563 / 256


def adobe_profile() -> bytes:
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249)}
    for channel, colorant in zip((b"r", b"g", b"b"), ADOBE_TO_XYZ.T, strict=True):
        tags |= {channel + b"XYZ": xyz(*colorant), channel + b"TRC": gamma(ADOBE_GAMMA)}
    return profile(b"RGB ", tags)


def srgb_encoded(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_an_embedded_profile_is_converted_to_srgb(file, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = file(name, Image.fromarray(COLOURS), icc_profile=adobe_profile(), **options)
    linear = (COLOURS / 255) ** ADOBE_GAMMA @ ADOBE_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T
    # lcms works in fixed point and rounds to 8 bits; the profile rounds its colorants to 1/65536.
    np.testing.assert_allclose(read(path).rgb, srgb_encoded(linear), atol=1.01 / 255)
    assert np.abs(unit(COLOURS) - srgb_encoded(linear)).max() > 20 / 255, "the profile must change the colours"


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_converted_to_srgb(file, mode):
    ramp = np.arange(256, dtype=np.uint8)[None]
    macintosh = profile(b"GRAY", {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": gamma(461 / 256)})
    path = file("a.png", Image.fromarray(ramp).convert(mode), icc_profile=macintosh)
    expected = on_grey(srgb_encoded((ramp / 255) ** (461 / 256)))
    np.testing.assert_allclose(read(path).rgb, expected, atol=1.01 / 255)  # 8 bits


def test_a_colour_profile_applies_to_grey_and_palette_pictures(file):
    shades = COLOURS // 128 * 255  # 8 colours, so that a palette holds them exactly
    palette = Image.fromarray(shades).quantize(8)
    whole = read(file("rgb.png", Image.fromarray(shades), icc_profile=adobe_profile())).rgb
    np.testing.assert_array_equal(read(file("p.png", palette, icc_profile=adobe_profile())).rgb, whole)
    grey = read(file("l.png", Image.fromarray(GREY), icc_profile=adobe_profile())).rgb
    expected = srgb_encoded((GREY / 255) ** ADOBE_GAMMA)
    np.testing.assert_allclose(grey, on_grey(expected), atol=1.01 / 255)  # 8 bits


@pytest.mark.parametrize(
    "broken",
    [b"nonsense", adobe_profile()[:200], profile(b"CMYK", {}), profile(b"GRAY", {b"kTRC": gamma(1)})],
    ids=["nonsense", "cut short", "for CMYK", "for grey"],
)
def test_a_profile_that_does_not_fit_is_ignored(file, broken):
    path = file("a.png", Image.fromarray(COLOURS), icc_profile=broken)
    np.testing.assert_array_equal(read(path).rgb, unit(COLOURS))
