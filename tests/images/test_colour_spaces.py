"""Colour spaces: known colours and round trips; luminance; keeping the content's colours."""

import numpy as np
import pytest
from conftest import smooth_picture

from nstjax.errors import UserError
from nstjax.images import SPACES, keep_colours, luminance, match_luminance, resample
from nstjax.images.spaces import from_linear, to_linear

RED, GREEN, BLUE, WHITE = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize(
    ("space", "rgb", "expected", "tolerance"),
    [
        ("lab", RED, (53.2408, 80.0925, 67.2032), 1e-4),  # Lindbloom's calculator, which prints four digits
        ("lab", GREEN, (87.7347, -86.1827, 83.1793), 1e-4),
        ("lab", BLUE, (32.2970, 79.1875, -107.8602), 1e-4),
        ("lab", WHITE, (100, 0, 0), 1e-4),
        ("lab", np.full(3, 119 / 255), (50.034, 0, 0), 1e-3),
        ("oklab", RED, (0.62796, 0.22486, 0.12585), 1e-5),  # five digits, from the examples of CSS Color 4
        ("oklab", GREEN, (0.86644, -0.23389, 0.17950), 1e-5),
        ("oklab", BLUE, (0.45201, -0.03246, -0.31153), 1e-5),
        ("oklab", WHITE, (1, 0, 0), 1e-7),  # the matrices have ten digits, and their rows sum to 1 within 1e-8
        ("yiq", RED, (0.299, 0.595716, 0.211456), 1e-12),
        ("yiq", WHITE, (1, 0, 0), 1e-12),
    ],
)
def test_known_colours_are_converted(space, rgb, expected, tolerance):
    np.testing.assert_allclose(SPACES[space][0](rgb), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("space", SPACES)
def test_the_round_trip_gives_the_same_colours(space):
    to_space, to_rgb = SPACES[space]
    rgb = np.random.default_rng(0).uniform(-0.1, 1.1, (20, 500, 3))  # out of gamut too
    rgb[0] = rgb[1].clip(0, 0.01)  # near black, where all the curves become lines
    np.testing.assert_allclose(to_rgb(to_space(rgb)), rgb, rtol=0, atol=1e-12)


def test_the_transfer_function_and_its_inverse_meet_at_the_knee():
    values = np.linspace(0.04045 - 1e-7, 0.04045 + 1e-7, 1001)
    np.testing.assert_allclose(from_linear(to_linear(values)), values, rtol=0, atol=1e-15)
    assert (np.diff(to_linear(values)) > 0).all()
    np.testing.assert_allclose(to_linear(np.array([0.0, 0.5, 1.0])), [0, 0.21404114, 1], atol=1e-8)


def test_luminance_is_y_in_three_channels():
    grey = luminance(np.array([[RED, GREEN, BLUE, WHITE]], np.float32))
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey[0], np.repeat([[0.299], [0.587], [0.114], [1]], 3, axis=1), atol=1e-7)


def test_matched_luminance_has_the_contents_mean_and_deviation():
    style, content = (0.3 + 0.4 * luminance(smooth_picture(20, 30, seed=seed)) for seed in (1, 2))
    matched = match_luminance(style, 0.5 * content)
    assert matched.dtype == np.float32 and matched.shape == style.shape
    np.testing.assert_allclose(matched.mean(), 0.5 * content.mean(), atol=1e-6)  # float32's sums
    np.testing.assert_allclose(matched.std(), 0.5 * content.std(), atol=1e-6)
    np.testing.assert_allclose(match_luminance(style, style), style, atol=1e-7)


def test_flat_luminance_is_matched_to_the_mean():
    flat, content = np.full((4, 5, 3), 0.8, np.float32), luminance(smooth_picture(20, 30))
    # The mean of equal float32 values has a rounding error, which the map stretches as far as it can.
    np.testing.assert_allclose(match_luminance(flat, content), content.mean(dtype=np.float64), atol=1e-5)
    np.testing.assert_allclose(match_luminance(content, flat).std(), 1 / 255, rtol=1e-3)  # float32's sums


@pytest.mark.parametrize("space", SPACES)
def test_kept_colours_have_the_pictures_lightness_and_the_contents_hue(space):
    picture, content = smooth_picture(24, 32, seed=3), smooth_picture(24, 32, seed=4)
    content[:2], picture[:2] = (1, 0, 0), 0.9  # a bright red is beyond the gamut
    kept = keep_colours(picture, content, space=space)
    assert kept.dtype == np.float32 and kept.min() >= 0 and kept.max() <= 1
    to_space, to_rgb = SPACES[space]
    actual, wanted, colours = to_space(kept), to_space(picture), to_space(content)
    # The gamut has a tolerance of 1e-6, which OkLab's cube root turns into 0.005 near black.
    np.testing.assert_allclose(actual[..., 0], wanted[..., 0], rtol=0, atol=5e-3)
    requested = np.concatenate([wanted[..., :1], colours[..., 1:]], axis=-1)
    inside = ((to_rgb(requested) >= 0) & (to_rgb(requested) <= 1)).all(axis=-1)
    assert 0.3 < inside.mean() < 1
    np.testing.assert_allclose(
        actual[inside], requested[inside], rtol=0, atol=1e-4
    )  # float32's rounding; Lab goes up to 100
    chroma, full = np.linalg.norm(actual[..., 1:], axis=-1), np.linalg.norm(requested[..., 1:], axis=-1)
    assert (chroma <= full + 1e-3 * full.max()).all()
    along = (actual[..., 1:] * requested[..., 1:]).sum(axis=-1)
    clear = ~inside & (wanted[..., 0] > 0.1 * wanted[..., 0].max())
    np.testing.assert_allclose(along[clear], (chroma * full)[clear], rtol=1e-3)  # the same hue, to rounding


@pytest.mark.parametrize("space", SPACES)
def test_a_picture_keeps_its_own_colours(space):
    picture = smooth_picture(20, 30)
    np.testing.assert_allclose(keep_colours(picture, picture, space=space), picture, rtol=0, atol=1e-6)


def test_a_content_of_another_size_is_resampled():
    picture, content = smooth_picture(20, 30, seed=1), smooth_picture(40, 60, seed=2)
    expected = keep_colours(picture, resample(content, 20, 30), space="yiq")
    np.testing.assert_array_equal(keep_colours(picture, content, space="yiq"), expected)


def test_bands_of_rows_do_not_change_the_result():
    tall = smooth_picture(600, 5), smooth_picture(600, 5, seed=1)  # picture and content
    whole = keep_colours(*tall, space="oklab")
    parts = [
        keep_colours(*(picture[rows] for picture in tall), space="oklab") for rows in (slice(0, 300), slice(300, 600))
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_an_unknown_space_is_refused():
    with pytest.raises(UserError, match=r"'hsv': expected one of yiq, lab, oklab"):
        keep_colours(smooth_picture(4, 4), smooth_picture(4, 4), space="hsv")
