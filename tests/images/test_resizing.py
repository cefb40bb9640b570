"""Resizing: sizes, anti-aliasing and the range of values."""

import numpy as np
import pytest
from conftest import smooth_picture
from PIL import Image
from scipy.ndimage import gaussian_filter

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
        (800, 600, 300, "width", False, (400, 300)),
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
    with pytest.raises(UserError, match=r"'depth': expected one of long, short, height, width, area"):
        fit_size(10, 10, 5, by="depth")


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


@pytest.mark.parametrize("resampling", ["lanczos", "bicubic"])
def test_overshoot_is_clipped(resampling):
    step = np.zeros((8, 8), np.float32)
    step[:, 4:] = 1
    enlarged = resize(step, 64, enlarge=True, resampling=resampling)
    assert enlarged.min() == 0 and enlarged.max() == 1


@pytest.mark.parametrize("shape", [(9, 5), (60, 90), (9, 90), (40, 3)])
def test_bands_of_rows_give_the_bits_of_the_whole_picture(monkeypatch, shape):
    monkeypatch.setattr(resizing, "_BAND", 50)
    picture = np.random.default_rng(0).uniform(0, 1, (40, 30, 3)).astype(np.float32)
    whole = [Image.fromarray(picture[..., c].copy()).resize(shape[::-1], Image.Resampling.LANCZOS) for c in range(3)]
    np.testing.assert_array_equal(resample(picture, *shape), np.clip(np.dstack([*map(np.asarray, whole)]), 0, 1))


@pytest.mark.parametrize("size", [(13, 17), (60, 71), (13, 71)], ids=["smaller", "larger", "both"])
@pytest.mark.parametrize("resampling", ["lanczos", "bicubic", "bilinear"])
def test_filters_are_those_of_pillow(resampling, size):
    picture = smooth_picture(30, 40)
    resampled = resample(picture, *size, resampling=resampling)
    for channel in range(3):
        image = Image.fromarray(picture[..., channel].copy())
        expected = image.resize(size[::-1], Image.Resampling[resampling.upper()])
        np.testing.assert_array_equal(resampled[..., channel], np.clip(np.asarray(expected), 0, 1))


def measure_overlaps(old, new):
    """Return [new, old]: the share of each old pixel in each new one, of a row of pixels."""
    ends = np.arange(new + 1) * old / new
    overlaps = np.minimum(ends[1:, None], np.arange(old) + 1) - np.maximum(ends[:-1, None], np.arange(old))
    return np.maximum(overlaps, 0) * new / old


@pytest.mark.parametrize("size", [(13, 17), (15, 20), (1, 1), (29, 40)])
def test_area_takes_the_mean_of_what_a_pixel_covers(size):
    picture = np.random.default_rng(0).random((30, 40, 3), np.float32).astype(np.float64)
    expected = np.einsum("ih,jw,hwc->ijc", measure_overlaps(30, size[0]), measure_overlaps(40, size[1]), picture)
    np.testing.assert_allclose(resample(picture.astype(np.float32), *size, resampling="area"), expected, atol=1e-6)
    if size == (15, 20):
        np.testing.assert_allclose(expected, picture.reshape(15, 2, 20, 2, 3).mean(axis=(1, 3)), atol=1e-12)


def test_area_enlarges_as_bilinear_does():
    picture = smooth_picture(12, 15)
    np.testing.assert_array_equal(
        resample(picture, 20, 31, resampling="area"), resample(picture, 20, 31, resampling="bilinear")
    )
    narrow = np.einsum("jw,hwc->hjc", measure_overlaps(15, 7), picture).astype(np.float32)
    np.testing.assert_allclose(
        resample(picture, 20, 7, resampling="area"), resample(narrow, 20, 7, resampling="bilinear"), atol=1e-6
    )


@pytest.mark.parametrize("size", [(13, 17), (15, 20), (1, 1), (60, 71)])
def test_aliased_interpolation_looks_at_four_pixels(size):
    """The middle of pixel i of n is at (i + 0.5) / n of the side; beyond the outermost middles the value stays."""
    picture = np.random.default_rng(0).random((30, 40, 3), np.float32)
    weights = []
    for old, new in zip(picture.shape, size, strict=False):
        at = np.clip((np.arange(new)[:, None] + 0.5) * old / new - 0.5, 0, old - 1)
        weights.append(np.maximum(0, 1 - np.abs(at - np.arange(old))))
    expected = np.einsum("ih,jw,hwc->ijc", *weights, picture.astype(np.float64))
    resampled = resample(picture, *size, resampling="bilinear-aliased")
    assert resampled.dtype == np.float32
    np.testing.assert_allclose(resampled, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(10, 16), (7, 40), (1, 1)])
def test_gaussian_blurs_by_a_third_of_the_reduction_and_interpolates(size):
    picture = np.random.default_rng(0).random((30, 40, 3), np.float32)
    deviations = [old / new / 3 if old > new else 0 for old, new in zip((30, 40), size, strict=True)]
    blurred = np.float32(gaussian_filter(picture.astype(np.float64), (*deviations, 0)))
    expected = resample(blurred, *size, resampling="bilinear-aliased")
    np.testing.assert_allclose(resample(picture, *size, resampling="gaussian"), expected, atol=1e-6)


def test_nearest_takes_one_pixel():
    picture = np.random.default_rng(0).random((30, 40, 3), np.float32)
    np.testing.assert_array_equal(resample(picture, 10, 8, resampling="nearest"), picture[1::3, 2::5])
    enlarged = resample(picture, 60, 120, resampling="nearest")
    np.testing.assert_array_equal(enlarged, picture.repeat(2, axis=0).repeat(3, axis=1))


def test_transparency_is_resized_by_the_same_filter():
    picture = Picture(smooth_picture(30, 40), smooth_picture(30, 40, seed=1)[..., 0])
    resized = resize(picture, 20, resampling="area")
    assert resized.alpha is not None and picture.alpha is not None
    np.testing.assert_array_equal(resized.rgb, resample(picture.rgb, 15, 20, resampling="area"))
    np.testing.assert_array_equal(resized.alpha, resample(picture.alpha, 15, 20, resampling="area"))
