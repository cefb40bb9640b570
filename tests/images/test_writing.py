"""Saving: values read back, profile and text of the file, and that a file is complete or absent."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from nstjax.errors import UserError
from nstjax.images import check_output, read, save

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 17, 3)).astype(np.float32) / np.float32(255)
ALPHA = RNG.integers(1, 255, (12, 17)).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.webp", "a.tif", "a.tiff"])
def test_eight_bit_values_are_read_back_exactly(tmp_path, name):
    path = tmp_path / name
    save(path, RGB, alpha=ALPHA)
    picture = read(path)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.rgb, RGB)
    np.testing.assert_array_equal(picture.alpha, ALPHA)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg"])
def test_a_jpeg_is_close_and_keeps_colour_at_full_resolution(tmp_path, name):
    stripes = np.zeros((32, 32, 3), np.float32)
    stripes[:, 0::2] = (0.8, 0.3, 0.3)
    stripes[:, 1::2] = (0.3, 0.3, 0.8)  # at half the resolution only grey would be left
    save(tmp_path / name, stripes)
    np.testing.assert_allclose(read(tmp_path / name).rgb, stripes, atol=6 / 255)  # at quality 95


def test_a_transparent_picture_is_composited_on_white_in_a_jpeg(tmp_path):
    save(tmp_path / "a.jpg", np.full((16, 16, 3), (1, 0, 0), np.float32), alpha=np.full((16, 16), 0.5, np.float32))
    picture = read(tmp_path / "a.jpg")
    assert picture.alpha is None
    np.testing.assert_allclose(picture.rgb, np.broadcast_to((1, 0.5, 0.5), (16, 16, 3)), atol=3 / 255)  # a JPEG


def test_values_are_clipped_and_rounded_to_nearest(tmp_path):
    save(
        tmp_path / "a.png", np.array([[[-1, 0.499 / 255, 0.501 / 255], [254.499 / 255, 254.501 / 255, 7]]], np.float32)
    )
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), [[[0, 0, 1], [254, 255, 255]]])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_every_format_carries_an_srgb_profile_and_equal_bytes(tmp_path, name):
    save(tmp_path / name, RGB)
    save(tmp_path / f"again.{name}", RGB)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again.{name}").read_bytes()
    with Image.open(tmp_path / name) as image:
        profile = image.info["icc_profile"]
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(profile)))
    assert profile[24:36] == bytes(12), "a creation date would change the bytes every day"


def test_a_png_keeps_its_text(tmp_path):
    text = {"Software": "nstjax", "config": '{"style": "Čapek, 北斎"}', "lines": "one\ntwo"}
    save(tmp_path / "a.png", RGB, text=text)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info.items() >= text.items()


def test_text_is_ignored_in_other_formats(tmp_path):
    save(tmp_path / "a.webp", RGB, text={"Software": "nstjax"})
    assert b"nstjax" not in (tmp_path / "a.webp").read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    with pytest.raises(UserError, match=r"a.png: expected finite values"):
        save(tmp_path / "a.png", np.full((4, 4, 3), value, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_picture_too_large_for_its_format_is_refused_with_an_alternative(tmp_path):
    with pytest.raises(UserError, match=r"a.webp: 16384 x 1 pixels do not fit in WEBP .*use .png"):
        save(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.float32))


def raise_disk_full(*_args, **_options):
    raise OSError(28, "No space left on device")


def raise_interrupt(*_args, **_options):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize(("failure", "raised"), [(raise_disk_full, UserError), (raise_interrupt, KeyboardInterrupt)])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, failure, raised):
    path = tmp_path / "a.png"
    save(path, RGB)
    before = path.read_bytes()
    monkeypatch.setattr(os, step, failure)
    with pytest.raises(raised) as caught:
        save(path, 1 - RGB)
    if raised is UserError:
        assert "a.png cannot be written (No space left on device)" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


def test_the_file_is_complete_before_it_gets_its_name(tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def recording_replace(source, target):
        calls.append((Path(source).parent, Path(source).stat().st_size, Path(target).exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", recording_replace)
    save(tmp_path / "a.png", RGB)
    assert calls == [(tmp_path, (tmp_path / "a.png").stat().st_size, False)]


def test_the_file_has_the_usual_permissions(tmp_path):
    save(tmp_path / "a.png", RGB)
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_the_check_passes_a_good_output_and_leaves_no_file(tmp_path):
    check_output(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("act", [check_output, lambda path: save(path, RGB)], ids=["check_output", "save"])
def test_an_unknown_extension_is_refused(tmp_path, act):
    with pytest.raises(UserError, match=r"extension '.bmp': expected a name that ends in .png, .jpg"):
        act(tmp_path / "a.bmp")
    with pytest.raises(UserError, match=r"no extension"):
        act(tmp_path / "a")


def test_the_check_refuses_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "plain").touch()
    with pytest.raises(UserError, match=r"folder.png is a folder"):
        check_output(tmp_path / "folder.png")
    with pytest.raises(UserError, match=r"no folder .*missing to write a.png in"):
        check_output(tmp_path / "missing" / "a.png")
    with pytest.raises(UserError, match=r"no folder .*plain to write a.png in"):
        check_output(tmp_path / "plain" / "a.png")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_written_to_is_refused():
    with pytest.raises(UserError, match=r"folder /proc cannot be written to"):
        check_output("/proc/a.png")
    with pytest.raises(UserError, match=r"/proc/a.png cannot be written"):
        save("/proc/a.png", RGB)
