"""Reading: all kinds of pictures that Pillow knows, and all kinds of bad files."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from png_files import png

from nstjax.errors import UserError
from nstjax.images import read, read_size

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]


@pytest.fixture
def file(tmp_path):
    """Return a function that writes an image or bytes to a named file and returns its path."""

    def write(name: str, content: Image.Image | bytes, **options) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path, **options)
        return path

    return write


def unit(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) / np.float32(255)


def on_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


# Kinds of pixel


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga", "a.gif", "a.webp", "a.jp2"])
def test_eight_bit_colour_is_read_exactly(file, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    image = Image.fromarray(COLOURS)
    image = image.quantize(256) if name.endswith("gif") else image
    picture = read(file(name, image, **options))
    assert picture.rgb.dtype == np.float32
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.rgb, unit(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_grey_keeps_every_value(file, name):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    picture = read(file(name, Image.fromarray(ramp)))
    np.testing.assert_array_equal(picture.rgb, on_grey(ramp.astype(np.float32) / np.float32(65535)))


def test_big_endian_sixteen_bit_grey_is_read(file):
    values = np.array([[0, 1, 256], [255, 40000, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (3, 2), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read(file("a.tif", image)).rgb, on_grey(values / np.float32(65535)))


def test_float_samples_are_read_unchanged(file):
    values = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    np.testing.assert_array_equal(read(file("a.tif", Image.fromarray(values))).rgb, on_grey(values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 2]], np.float32), "0 to 1, got 0 to 2"),
        (np.array([[-0.5, 1]], np.float32), "0 to 1, got -0.5 to 1"),
        (np.array([[0.5, float("nan")]], np.float32), "0 to 1, got nan to nan"),
        (np.array([[0, 70000]], np.int32), "0 to 65535, got 0 to 70000"),
    ],
)
def test_deep_samples_out_of_range_are_refused(file, values, message):
    path = file("a.tif", Image.fromarray(values))
    with pytest.raises(UserError, match=f"a.tif: .*{message}: rescale"):
        read(path)


def test_one_bit_pixels_are_black_and_white(file):
    picture = read(file("a.png", Image.fromarray(GREY > 127)))
    np.testing.assert_array_equal(picture.rgb, on_grey((GREY > 127).astype(np.float32)))


def test_the_inverted_cmyk_of_adobe_is_read_correctly(file):
    inks = np.array([[(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255)]], np.uint8).repeat(16, 0).repeat(16, 1)
    path = file("a.jpg", Image.fromarray(inks, "CMYK"), quality=100)
    assert b"Adobe" in path.read_bytes()
    white, cyan, black = read(path).rgb[8, [8, 24, 40]]
    np.testing.assert_allclose([white, cyan, black], [(1, 1, 1), (0, 1, 1), (0, 0, 0)], atol=3 / 255)  # a JPEG


def test_lab_is_converted_to_srgb(file):
    image = Image.merge("LAB", [Image.new("L", (2, 2), v) for v in (255, 128, 128)])  # white
    np.testing.assert_allclose(read(file("a.tif", image)).rgb, 1, atol=1 / 255)  # lcms rounds to 8 bits


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_of_an_animation_is_read(file, name):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if name.endswith("webp") else {}
    picture = read(file(name, frames[0], save_all=True, append_images=frames[1:], **options))
    np.testing.assert_array_equal(picture.rgb, np.tile(np.array([1, 0, 0], np.float32), (3, 4, 1)))


# Transparency

ALPHA = np.array([[0, 255, 128], [255, 0, 51]], np.uint8)


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("RGBA", "a.webp"), ("LA", "a.png"), ("RGBA", "a.tif")])
def test_alpha_is_a_separate_array(file, mode, name):
    colours = COLOURS[:2, :3] if mode == "RGBA" else on_grey(GREY[:2, :3])
    image = Image.merge(mode, [*Image.fromarray(colours).convert(mode[:-1]).split(), Image.fromarray(ALPHA)])
    picture = read(file(name, image, **({"lossless": True, "exact": True} if name.endswith("webp") else {})))
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, unit(ALPHA))
    visible = ALPHA > 0
    np.testing.assert_array_equal(picture.rgb[visible], unit(colours)[visible])


@pytest.mark.parametrize(
    ("image", "key"),
    [
        (Image.fromarray(GREY), int(GREY[2, 3])),
        (Image.fromarray(COLOURS), tuple(COLOURS[2, 3].tolist())),
        (Image.fromarray(COLOURS).quantize(16), int(np.asarray(Image.fromarray(COLOURS).quantize(16))[2, 3])),
        (Image.fromarray(GREY.astype(np.uint16) * 200), int(GREY[2, 3]) * 200),
    ],
    ids=["grey", "colour", "palette", "16-bit"],
)
def test_a_key_colour_is_transparent(file, image, key):
    picture = read(file("a.png", image, transparency=key))
    samples = np.asarray(image)
    transparent = (samples == key) if samples.ndim == 2 else (samples == key).all(-1)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, (~transparent).astype(np.float32))


def test_hidden_colours_become_the_mean_of_the_visible_ones(file):
    pixels = np.array([[(255, 0, 255, 0), (200, 100, 0, 255), (100, 0, 50, 85)]], np.uint8)
    picture = read(file("a.png", Image.fromarray(pixels)))
    expected = (np.array([200, 100, 0]) * 3 + np.array([100, 0, 50])) / 4 / 255
    np.testing.assert_allclose(picture.rgb[0, 0], expected, rtol=1e-6)  # float32's rounding


def test_an_opaque_alpha_is_left_out(file):
    assert read(file("a.png", Image.fromarray(COLOURS).convert("RGBA"))).alpha is None


def test_a_picture_with_nothing_visible_is_refused(file):
    with pytest.raises(UserError, match=r"a.png: .*every pixel is fully transparent"):
        read(file("a.png", Image.new("RGBA", (4, 4))))


# Orientation

UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_the_exif_orientation_is_applied_to_picture_and_size(file, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}
    path = file(name, Image.fromarray(COLOURS), exif=exif, **options)
    expected = unit(UPRIGHT[orientation](COLOURS))
    np.testing.assert_array_equal(read(path).rgb, expected)
    assert read_size(path) == expected.shape[:2]


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_invalid_orientation_is_ignored(file, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = file("a.png", Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(read(path).rgb, unit(COLOURS))
    assert read_size(path) == (6, 9)


@pytest.mark.parametrize("name", ["a.jpg", "a.avif"])
def test_the_size_of_a_lossy_picture_is_the_size_that_is_read(file, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = file(name, Image.fromarray(COLOURS), exif=exif)
    assert read_size(path) == read(path).rgb.shape[:2] == (9, 6)


def test_a_damaged_exif_block_is_ignored(file):
    path = file("a.png", Image.fromarray(COLOURS), exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(read(path).rgb, unit(COLOURS))


# Bad input


def read_error(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught, warnings.catch_warnings(action="error"):
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_each_kind_of_bad_path_has_a_message(tmp_path, file):
    assert read_error(tmp_path / "nowhere.png").startswith("no file")
    assert read_error(file("plain", b"x") / "below.png").startswith("no file")
    assert "is a folder" in read_error(tmp_path)
    assert "is empty" in read_error(file("empty.png", b""))
    assert "is not a picture" in read_error(file("letter.png", b"Dear reader, this is no picture at all."))
    assert "cannot be opened (File name too long)" in read_error(tmp_path / ("x" * 300))
    os.mkfifo(tmp_path / "pipe")
    assert "device or a pipe" in read_error(tmp_path / "pipe")


def test_a_file_without_permission_is_refused(file, monkeypatch):
    path = file("a.png", Image.fromarray(COLOURS))

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, whom no file mode stops
    assert "no permission to read" in read_error(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif", "a.jp2"])
def test_a_truncated_picture_is_reported_as_cut_short(file, name):
    content = file(name, Image.fromarray(COLOURS.repeat(8, 0).repeat(8, 1))).read_bytes()
    assert "cut short" in read_error(file(name, content[: len(content) // 2]))
    assert "cut short" in read_error(file(name, content[:16]))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif", "a.bmp", "a.jp2", "a.avif", "a.ico"])
def test_damage_of_any_kind_raises_a_user_error_or_nothing(file, name):
    whole = file(name, Image.fromarray(COLOURS.repeat(4, 0).repeat(4, 1)).resize((32, 32))).read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(40):
        content = bytearray(whole)
        for position in rng.integers(0, len(content), 8):
            content[position] = rng.integers(256)
        path = file(name, bytes(content if trial % 2 else content[: rng.integers(1, len(content))]))
        try:
            with warnings.catch_warnings(action="error"):
                assert np.isfinite(read(path, limit=10**6).rgb).all()
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 5


@pytest.mark.parametrize("side", [15_000, 60_000], ids=["where Pillow warns", "where Pillow raises"])
def test_a_decompression_bomb_is_refused_by_its_header_alone(file, side):
    path = file("bomb.png", png(side, side, depth=8, colour_type=2, pixels=b""))
    before = Image.MAX_IMAGE_PIXELS
    message = read_error(path)
    assert f"{side} x {side}" in message and "178,000,000" in message and "--pixel-limit" in message
    with warnings.catch_warnings(action="error"):
        assert read_size(path, limit=side**2) == (side, side)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_inclusive(file):
    path = file("a.png", Image.fromarray(COLOURS))
    assert read(path, limit=54).rgb.shape == (6, 9, 3)
    assert "limit of 53" in read_error(path, limit=53)


def test_reading_the_size_decodes_nothing(file):
    whole = file("a.jpg", Image.fromarray(COLOURS.repeat(20, 0).repeat(20, 1))).read_bytes()
    cut = file("cut.jpg", whole[: len(whole) // 2])
    assert read_size(cut) == (120, 180)
    assert "cut short" in read_error(cut)
