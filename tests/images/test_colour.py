"""Colour transfer: the statistics that each method matches, and flat or nearly flat pictures."""

import numpy as np
import pytest
import scipy.linalg

from nstjax.errors import UserError
from nstjax.images import MATCHING_METHODS, match_colour, monge_map
from nstjax.images.colour import match_histogram


def picture(seed: int, *, spread: float = 0.05, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Draw correlated colours well inside [0, 1], so that nothing is clipped."""
    rng = np.random.default_rng(seed)
    mixing = spread * (np.eye(3) + 0.5 * rng.uniform(-1, 1, (3, 3)))
    return (rng.uniform(0.4, 0.6, 3) + rng.uniform(-1.7, 1.7, (*shape, 3)) @ mixing).astype(np.float32)


def moments(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = colours.reshape(-1, 3).astype(np.float64)
    return flat.mean(axis=0), np.cov(flat, rowvar=False, bias=True)


def test_the_result_has_the_targets_mean_and_covariance():
    source, target = picture(1), picture(2, shape=(30, 20))
    matched = match_colour(source, target)
    assert matched.dtype == np.float32
    assert matched.shape == source.shape
    assert matched.min() > 0 and matched.max() < 1, "the test needs colours that are not clipped"
    for actual, expected in zip(moments(matched), moments(target), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-7)  # the result is rounded to float32


def test_the_monge_map_is_symmetric_positive_and_maps_one_covariance_to_the_other():
    (_, source), (_, target) = moments(picture(3)), moments(picture(4))
    transport = monge_map(source, target)
    np.testing.assert_allclose(transport, transport.T, atol=1e-12)
    assert np.linalg.eigvalsh(transport).min() > 0
    np.testing.assert_allclose(transport @ source @ transport, target, atol=1e-15)


def test_the_monge_map_of_diagonal_covariances_is_the_ratio_of_deviations():
    transport = monge_map(np.diag([0.01, 0.04, 0.09]), np.diag([0.04, 0.01, 0.09]))
    np.testing.assert_allclose(transport, np.diag([2.0, 0.5, 1.0]), atol=1e-12)


@pytest.mark.parametrize("spread", [0.05, 1e-4, 0.0], ids=["colourful", "under the noise floor", "flat"])
def test_a_picture_matched_to_itself_is_unchanged(spread):
    source = picture(5, spread=spread)
    np.testing.assert_allclose(match_colour(source, source), source, atol=1e-7)  # float32's rounding


def test_a_grey_picture_matched_to_itself_stays_grey():
    grey = np.repeat(np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10, 1), 3, axis=-1)
    np.testing.assert_allclose(match_colour(grey, grey), grey, atol=1e-7)  # float32's rounding


def test_a_flat_source_becomes_the_targets_mean():
    flat = np.full((8, 9, 3), (0.2, 0.3, 0.4), np.float32)
    target = picture(6)
    expected = np.broadcast_to(moments(target)[0], flat.shape)
    # The mean of equal float32 values has a rounding error, which the map stretches about fifteenfold.
    np.testing.assert_allclose(match_colour(flat, target), expected, atol=1e-6)


def test_a_flat_target_leaves_at_most_one_step_of_variation():
    matched = match_colour(picture(7), np.full((3, 3, 3), (0.5, 0.25, 0.75), np.float32))
    mean, covariance = moments(matched)
    np.testing.assert_allclose(mean, (0.5, 0.25, 0.75), atol=1e-6)
    np.testing.assert_allclose(covariance, np.eye(3) / 255**2, atol=1e-9)


def test_noise_below_one_step_is_not_amplified():
    rng = np.random.default_rng(8)
    near_grey = np.float32(0.5) + rng.normal(0, 1e-4, (40, 40, 3)).astype(np.float32)
    target = picture(9)
    gain = match_colour(near_grey, target).std(axis=(0, 1)) / near_grey.std(axis=(0, 1))
    assert gain.max() < 255 * np.sqrt(np.linalg.eigvalsh(moments(target)[1]).max())


def test_the_result_is_clipped_and_repeatable():
    rng = np.random.default_rng(10)
    source, target = rng.uniform(0, 1, (2, 30, 30, 3)).astype(np.float32)
    target = np.round(target)  # black and white in every channel, the largest possible variance
    matched = match_colour(source, target)
    assert matched.min() == 0 and matched.max() == 1
    np.testing.assert_array_equal(matched, match_colour(source, target))


LINEAR = [method for method in MATCHING_METHODS if method != "histogram"]


@pytest.mark.parametrize("method", LINEAR)
def test_every_linear_method_matches_mean_and_covariance(method):
    source, target = picture(11), picture(12, shape=(30, 20))
    matched = match_colour(source, target, method=method)
    assert matched.dtype == np.float32 and matched.shape == source.shape
    mean, covariance = moments(matched)
    np.testing.assert_allclose(mean, moments(target)[0], atol=1e-7)  # the result is rounded to float32
    # Gatys et al. add 1e-5 to both diagonals, which changes the result by about that much.
    np.testing.assert_allclose(covariance, moments(target)[1], atol=1e-7 if method == "monge" else 2e-5)


@pytest.mark.parametrize("method", LINEAR)
def test_each_linear_method_equals_its_formula(method):
    (source_mean, source), (target_mean, target) = moments(picture(13)), moments(picture(14))
    source, target = source + 1e-5 * np.eye(3), target + 1e-5 * np.eye(3)
    if method == "cholesky":
        transport = np.linalg.cholesky(target) @ np.linalg.inv(np.linalg.cholesky(source))
    elif method == "pca":
        transport = scipy.linalg.sqrtm(target) @ np.linalg.inv(scipy.linalg.sqrtm(source))
    else:
        root = scipy.linalg.sqrtm(source)
        transport = np.linalg.inv(root) @ scipy.linalg.sqrtm(root @ target @ root) @ np.linalg.inv(root)
    expected = target_mean + (picture(13) - source_mean) @ transport.T
    actual = match_colour(picture(13), picture(14), method=method)
    # The Monge map does not add 1e-5, which changes its T by a few thousandths here.
    np.testing.assert_allclose(actual, expected, atol=2e-3 if method == "monge" else 1e-6)


@pytest.mark.parametrize("method", MATCHING_METHODS)
@pytest.mark.parametrize("spread", [0.05, 1e-4, 0.0], ids=["colourful", "almost flat", "flat"])
def test_a_picture_matched_to_itself_by_any_method_is_unchanged(method, spread):
    source = picture(15, spread=spread)
    # The levels of the histogram are 1/65535 apart, and equal levels get the same mean.
    np.testing.assert_allclose(match_colour(source, source, method=method), source, atol=1.6e-5)


@pytest.mark.parametrize("method", MATCHING_METHODS)
def test_a_flat_source_becomes_the_targets_mean_by_any_method(method):
    flat, target = np.full((8, 9, 3), (0.2, 0.3, 0.4), np.float32), picture(16)
    # The mean of equal float32 values has a rounding error, which the map stretches about twentyfold.
    np.testing.assert_allclose(match_colour(flat, target, method=method)[0, 0], moments(target)[0], atol=1e-6)


def test_histograms_of_equal_size_are_matched_exactly():
    source, target = picture(17), picture(18, shape=(50, 40))
    ranks = source.reshape(-1, 3).argsort(axis=0).argsort(axis=0)
    source = (ranks / 2000).reshape(40, 50, 3).astype(np.float32)  # no two values are equal
    matched = match_colour(source, target, method="histogram")
    for c in range(3):
        np.testing.assert_allclose(np.sort(matched[..., c], axis=None), np.sort(target[..., c], axis=None), atol=1e-7)
        assert (np.argsort(matched[..., c], axis=None) == np.argsort(source[..., c], axis=None)).all()


def test_histograms_of_different_sizes_are_matched_to_the_mean_of_the_quantiles():
    np.testing.assert_allclose(match_histogram(np.array([0.9, 0.1]), np.array([0.0, 0.2, 0.6, 1.0])), [0.8, 0.1])
    np.testing.assert_allclose(match_histogram(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.6])), [0.0, 0.3, 0.6])


def test_equal_values_stay_equal_and_the_mean_is_the_targets():
    source = np.array([0.5, 0.5, 0.5 + 1e-7, 0.7])  # values that differ only by rounding count as equal
    matched = match_histogram(source, np.array([0.0, 0.3, 0.6, 1.0]))
    np.testing.assert_allclose(matched, [0.3, 0.3, 0.3, 1.0])
    eight_bit, target = np.rint(picture(19) * 255)[..., 0] / 255, picture(20, shape=(33, 17))[..., 0]
    np.testing.assert_allclose(match_histogram(eight_bit, target).mean(), target.mean(dtype=np.float64), atol=1e-12)


def test_an_unknown_method_is_refused():
    with pytest.raises(UserError, match=r"'mean': expected one of monge, cholesky, pca, histogram"):
        match_colour(picture(1), picture(2), method="mean")
