"""Sixteen bits a channel."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from png_files import chunk, png

from nstjax.errors import UserError
from nstjax.images import check_output, read, resizing, save

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


RGB, ALPHA = unit(SAMPLES[..., :3]), unit(SAMPLES[..., 3])


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("band", [1, 20, 1 << 20])
def test_saved_samples_are_read_back_exactly(tmp_path, monkeypatch, name, alpha, band):
    monkeypatch.setattr(resizing, "_BAND", band)
    save(tmp_path / name, RGB, alpha=alpha, depth=16)
    picture = read(tmp_path / name)
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert (picture.alpha is None) == (alpha is None)
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, ALPHA)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_other_readers_see_the_same_colours_and_the_profile(tmp_path, name):
    save(tmp_path / name, RGB, depth=16, text={"nstjax": "settings"})
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(np.asarray(image), SAMPLES[..., :3] >> 8)
        assert "sRGB" in ImageCms.getProfileDescription(io.BytesIO(image.info["icc_profile"]))
        if name == "a.png":
            assert image.text == {"nstjax": "settings"}
    if name == "a.tif":
        tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), SAMPLES[..., :3])


def test_equal_pictures_give_equal_bytes_and_values_are_clipped_and_rounded(tmp_path):
    values = np.array([[[-1, 0.499 / 65535, 0.501 / 65535], [65534.499 / 65535, 0.5, 7]]], np.float64).astype(
        np.float32
    )
    for name in ("a.png", "b.png", "a.tif", "b.tif"):
        save(tmp_path / name, values, depth=16)
        expected = np.array([[[0, 0, 1], [65534, 32768, 65535]]], np.float32) / np.float32(65535)
        np.testing.assert_array_equal(read(tmp_path / name).rgb, expected)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_formats_of_8_bits_are_refused(tmp_path, name):
    for call in (lambda: save(tmp_path / name, RGB, depth=16), lambda: check_output(tmp_path / name, depth=16)):
        with pytest.raises(UserError, match=f"{name} would be a .* 8 bits a colour: use .png or .tiff, or depth 8"):
            call()
    with pytest.raises(UserError, match="must be 8 or 16 bits, not 12"):
        save(tmp_path / "a.png", RGB, depth=12)
    assert not [*tmp_path.iterdir()]
