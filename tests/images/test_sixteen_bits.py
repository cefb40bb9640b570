"""Sixteen bits a channel."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from png_files import chunk, png

from nstjax.images import read

SAMPLES = np.random.default_rng(0).integers(0, 65536, (6, 9, 4), dtype=np.uint16)
SAMPLES[..., 3] |= 1  # no pixel is hidden


def unit(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / np.float32(65535)


def deep_png(samples: np.ndarray, extra: bytes = b"") -> bytes:
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, depth=16, colour_type=2 if channels == 3 else 6, pixels=rows, extra=extra)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_keeps_every_bit(tmp_path, channels):
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(SAMPLES[..., :channels]))
    picture = read(path)
    np.testing.assert_array_equal(picture.rgb, unit(SAMPLES[..., :3]))
    assert (picture.alpha is None) == (channels == 3)
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, unit(SAMPLES[..., 3]))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_tiff_keeps_every_bit(tmp_path, order, compression, channels):
    samples = SAMPLES[..., :channels]
    data = samples.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if compression == 8 else data
    tags = ImageFileDirectory_v2(b"II*\0\0\0\0\0" if order == "<" else b"MM\0*\0\0\0\0")
    tags.update({256: 9, 257: 6, 258: (16,) * channels, 259: compression, 262: 2, 273: 0, 277: channels, 278: 6})
    tags[279] = len(data)
    if channels == 4:
        tags[338] = 2
    mark = b"II*\0" if order == "<" else b"MM\0*"
    (tmp_path / "a.tif").write_bytes(mark + struct.pack(f"{order}I", 8) + tags.tobytes(8) + data)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").rgb, unit(samples[..., :3]))


def test_a_key_colour_is_compared_in_all_bits(tmp_path):
    samples = SAMPLES[..., :3].copy()
    samples[0, 0], samples[0, 1] = (258, 259, 260), (258, 259, 261)
    (tmp_path / "a.png").write_bytes(deep_png(samples, chunk(b"tRNS", struct.pack(">3H", 258, 259, 260))))
    alpha = read(tmp_path / "a.png").alpha
    assert alpha is not None
    assert (alpha == 0).sum() == 1 and alpha[0, 0] == 0


def test_the_orientation_is_applied_to_both_bytes(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.png").write_bytes(deep_png(SAMPLES[..., :3], chunk(b"eXIf", exif.tobytes()[6:])))
    np.testing.assert_array_equal(read(tmp_path / "a.png").rgb, unit(np.rot90(SAMPLES[..., :3], -1)))


def test_a_profile_of_srgb_keeps_every_bit_and_another_is_applied(tmp_path):
    def write(profile: bytes) -> np.ndarray:
        extra = chunk(b"iCCP", b"any\0\0" + zlib.compress(profile))
        (tmp_path / "a.png").write_bytes(deep_png(SAMPLES[..., :3], extra))
        return read(tmp_path / "a.png").rgb

    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    np.testing.assert_array_equal(write(bytes(srgb)), unit(SAMPLES[..., :3]))
    red = srgb.index(b"rXYZ"), srgb.index(b"bXYZ")
    swapped = bytearray(srgb)
    swapped[red[0] : red[0] + 4], swapped[red[1] : red[1] + 4] = b"bXYZ", b"rXYZ"  # another space: red is blue
    other = write(bytes(swapped))
    expected = io.BytesIO()
    Image.fromarray((SAMPLES[..., :3] >> 8).astype(np.uint8)).save(expected, "PNG", icc_profile=bytes(swapped))
    (tmp_path / "b.png").write_bytes(expected.getvalue())
    np.testing.assert_array_equal(other, read(tmp_path / "b.png").rgb)
