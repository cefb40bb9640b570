"""Resizing: sizes, anti-aliasing and the range of values."""

import numpy as np
import pytest
from PIL import Image

from nstjax.errors import UserError
from nstjax.images import Picture, fit_size, resample, resize, resizing

SMALL = np.random.default_rng(0).uniform(0, 1, (6, 9, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("height", "width", "size", "enlarge", "expected"),
    [
        (600, 800, 400, False, (300, 400)),
        (800, 600, 400, False, (400, 300)),
        (333, 1000, 100, False, (33, 100)),
        (335, 1000, 100, False, (34, 100)),  # 33.5 rounds up
        (1, 5000, 100, False, (1, 100)),
        (30, 40, 400, False, (30, 40)),
        (30, 40, 400, True, (300, 400)),
        (30, 40, 40, True, (30, 40)),
    ],
)
def test_the_long_side_gets_the_size(height, width, size, enlarge, expected):
    assert fit_size(height, width, size, enlarge=enlarge) == expected
    picture = Picture(np.full((height, width, 3), 0.5, np.float32), np.ones((height, width), np.float32))
    resized = resize(picture, size, enlarge=enlarge)
    assert resized.alpha is not None
    assert resized.rgb.shape == (*expected, 3) and resized.alpha.shape == expected
    np.testing.assert_allclose(resized.rgb, 0.5, atol=1e-6)  # the float32 weights sum to one up to rounding
    assert resized.rgb.dtype == resized.alpha.dtype == np.float32


@pytest.mark.parametrize(
    ("height", "width", "size", "by", "enlarge", "expected"),
    [
        (600, 800, 300, "short", False, (300, 400)),
        (800, 600, 300, "short", False, (400, 300)),
        (600, 800, 300, "height", False, (300, 400)),
        (800, 600, 400, "height", False, (400, 300)),
        (100, 333, 10, "short", False, (10, 33)),
        (600, 800, 700, "short", False, (600, 800)),
        (60, 80, 90, "height", True, (90, 120)),
        (90, 160, 60, "area", False, (45, 80)),  # sqrt(90 * 160) is 120
        (90, 160, 120, "area", True, (90, 160)),
        (90, 160, 240, "area", False, (90, 160)),
        (90, 160, 240, "area", True, (180, 320)),
        (567, 633, 512, "area", False, (485, 541)),  # 484.6 x 541.0
        (1, 5000, 2, "area", False, (1, 141)),
    ],
)
def test_other_measures_get_the_size(height, width, size, by, enlarge, expected):
    assert fit_size(height, width, size, enlarge=enlarge, by=by) == expected
    picture = Picture(np.full((height, width, 3), 0.5, np.float32), np.ones((height, width), np.float32))
    resized = resize(picture, size, enlarge=enlarge, by=by)
    assert resized.alpha is not None
    assert resized.rgb.shape == (*expected, 3) and resized.alpha.shape == expected


def test_a_size_of_zero_is_refused():
    with pytest.raises(UserError, match=r"at least 1 pixel for the long side, got 0"):
        fit_size(10, 10, 0)
    with pytest.raises(UserError, match=r"at least 1 pixel for the square root of the area, got 0"):
        fit_size(10, 10, 0, by="area")


def test_an_unknown_measure_is_refused():
    with pytest.raises(UserError, match=r"'width': expected one of long, short, height, area"):
        fit_size(10, 10, 5, by="width")


def test_a_picture_that_already_fits_is_unchanged():
    np.testing.assert_array_equal(resize(SMALL, 9), SMALL)


def test_shrinking_averages_pixels():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::2] = 1
    inside = resize(stripes, 8)[:, 1:-1]  # at the border the filter's window ends within a stripe
    np.testing.assert_allclose(inside, 0.5, atol=0.01)  # Lanczos keeps a little of the finest stripes


def test_resizing_is_on_srgb_values_and_keeps_a_ramp():
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (16, 1))
    expected = ramp.reshape(4, 4, 64, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(
        resample(ramp, 4, 64)[:, 3:-3], expected[:, 3:-3], atol=1e-4
    )  # Lanczos is not a box filter


def test_overshoot_is_clipped():
    step = np.zeros((8, 8), np.float32)
    step[:, 4:] = 1
    enlarged = resize(step, 64, enlarge=True)
    assert enlarged.min() == 0 and enlarged.max() == 1


@pytest.mark.parametrize("shape", [(9, 5), (60, 90), (9, 90), (40, 3)])
def test_bands_of_rows_give_the_bits_of_the_whole_picture(monkeypatch, shape):
    monkeypatch.setattr(resizing, "_BAND", 50)
    picture = np.random.default_rng(0).uniform(0, 1, (40, 30, 3)).astype(np.float32)
    whole = [Image.fromarray(picture[..., c].copy()).resize(shape[::-1], Image.Resampling.LANCZOS) for c in range(3)]
    np.testing.assert_array_equal(resample(picture, *shape), np.clip(np.dstack([*map(np.asarray, whole)]), 0, 1))
