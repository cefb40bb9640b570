"""Tests of the statistics: golden values from NumPy in float64, position weights, and sums over positions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture

from nstjax import losses, statistics
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.runs import compiling

pytestmark = pytest.mark.usefixtures("strict_dtypes")

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((6, 5, 4)) + 0.5  # a feature map [h, w, c]
WEIGHT = GENERATOR.uniform(0, 1, (6, 5))
WEIGHT[:2] = 0
WEIGHT /= WEIGHT.mean()
P = smooth_picture(7, 9).astype(np.float64)
H, W, C = X.shape
N = H * W


def gram64(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows


def weighted64(weight):
    """Return {statistic: its value at X}, written position by position."""
    positions = [(weight[i, j], X[i, j]) for i in range(H) for j in range(W)]
    gram, mean = sum(w * np.outer(f, f) for w, f in positions), sum(w * f for w, f in positions) / N
    return {
        "gram_sum": gram,
        "gram": gram / N,
        "gram_per_element": gram / (C * N),
        "mean": mean,
        "mean_and_square": {"mean": mean, "square": sum(w * f**2 for w, f in positions) / N},
        "moments": {"mean": mean, "second": gram / N},
    }


def assert_close(actual, expected, **tolerance):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **tolerance), actual, expected)


# Statistics of one map; gram_over_picture, of a whole term, is tested separately.
SUMS = [n for n, f in vars(statistics).items() if getattr(f, "sums_over_positions", False) and n != "gram_over_picture"]


def test_every_sum_over_positions_is_in_the_suite():
    assert set(SUMS) == set(weighted64(WEIGHT))


@pytest.mark.parametrize("name", SUMS)
def test_values_without_and_with_weights_equal_numpys(name):
    statistic, x = getattr(statistics, name), jnp.float32(X)
    actual = statistic(x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(actual))
    assert_close(actual, weighted64(np.ones((H, W)))[name], rtol=1e-5, atol=1e-6)
    assert_close(statistic(x, weight_HxW=jnp.float32(WEIGHT)), weighted64(WEIGHT)[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SUMS)
def test_a_mask_gives_the_statistic_of_the_positions_inside(name):
    statistic, inside = getattr(statistics, name), WEIGHT > 0
    mask = inside / inside.mean()
    subset = statistic(jnp.float32(X[inside][:, None]))  # a map [n, 1, c]
    if name == "gram_sum":  # a plain sum, not divided by a count
        subset = subset / inside.mean()
    assert_close(statistic(jnp.float32(X), weight_HxW=jnp.float32(mask)), subset, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SUMS)
def test_sums_over_positions_add_up(name):
    """The statistic of a map cut in two is the sum of those of the parts, weighted by their sizes if it is a mean."""
    statistic = getattr(statistics, name)
    top, bottom = jnp.float32(X[:2]), jnp.float32(X[2:])
    shares = (1, 1) if name == "gram_sum" else (top.size / X.size, bottom.size / X.size)
    whole = jax.tree.map(lambda a, b: shares[0] * a + shares[1] * b, statistic(top), statistic(bottom))
    assert_close(whole, statistic(jnp.float32(X)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SUMS)
def test_gradient_equals_finite_differences_in_float64(name):
    statistic = getattr(statistics, name)
    with jax.enable_x64(True):
        x, direction = jnp.asarray(X), jnp.asarray(np.random.default_rng(1).standard_normal(X.shape))

        def total(x, weight=None):
            leaves = jax.tree.leaves(statistic(x, weight_HxW=weight))
            assert all(leaf.dtype == jnp.float64 for leaf in leaves)
            return sum(jnp.sum(leaf * jnp.arange(1.0, leaf.size + 1).reshape(leaf.shape)) for leaf in leaves)

        for weight in (None, jnp.asarray(WEIGHT)):
            gradient = jax.grad(total)(x, weight)
            numeric = (total(x + 1e-6 * direction, weight) - total(x - 1e-6 * direction, weight)) / 2e-6
            # Central differences: rounding of 1e-16 / 1e-6 in sums of some hundreds.
            np.testing.assert_allclose(jnp.vdot(gradient, direction), numeric, rtol=1e-7)
        np.testing.assert_array_equal(gradient[:2], 0)  # where the weight is zero


@pytest.mark.parametrize("name", SUMS)
def test_bfloat16_features_are_summed_in_float32(name):
    features = jnp.full((256, 256, 2), 3.0, jnp.bfloat16)
    for weight in (None, jnp.ones((256, 256))):
        actual = getattr(statistics, name)(features, weight_HxW=weight)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(actual))
        assert_close(actual, getattr(statistics, name)(jnp.full((256, 256, 2), 3.0)), rtol=1e-6)


def test_the_gram_matrixs_gradient_equals_the_automatic_one():
    upstream = jnp.asarray(np.random.default_rng(1).standard_normal((C, C)), jnp.float32)  # not symmetric

    def plain(x):
        F = x.reshape(-1, C)
        return jnp.vdot(upstream, F.T @ F)

    actual = jax.grad(lambda x: jnp.vdot(upstream, statistics.gram_sum(x)))(jnp.float32(X))
    np.testing.assert_allclose(actual, jax.grad(plain)(jnp.float32(X)), rtol=1e-5, atol=1e-5)


def test_gram_over_picture_is_divided_by_the_pictures_size():
    features, (h0, w0, _) = {"input": jnp.float32(P), "relu2_1": jnp.float32(X)}, P.shape
    actual = statistics.gram_over_picture(features)
    assert_close(actual, {"relu2_1": gram64(X) / (h0 * w0)}, rtol=1e-5, atol=1e-6)
    weighted = statistics.gram_over_picture(features, weights={"relu2_1": jnp.float32(WEIGHT)})
    assert_close(weighted, {"relu2_1": weighted64(WEIGHT)["gram_sum"] / (h0 * w0)}, rtol=1e-5, atol=1e-6)


def test_lifted_statistics_pass_each_layer_its_weights():
    features, weights = {"a": jnp.float32(X), "b": jnp.float32(2 * X)}, {"b": jnp.float32(WEIGHT)}
    weights["a"] = jnp.ones((H, W))
    actual = statistics.per_layer(statistics.mean)(features, weights=weights)
    assert_close(actual["a"], statistics.mean(features["a"]), rtol=1e-6)
    assert_close(actual["b"], 2 * weighted64(WEIGHT)["mean"], rtol=1e-5)


def plain(features_HxWxC):
    return features_HxWxC.mean(axis=(0, 1))


@statistics.sums_over_positions
def marked(features_HxWxC, *, weight_HxW=None):
    return statistics.mean(features_HxWxC, weight_HxW=weight_HxW)


def test_sums_over_positions_are_recognised_lifted_or_not():
    for statistic in (statistics.gram, statistics.gram_over_picture, statistics.moments, marked):
        assert statistics.is_sum_over_positions(statistic)
        assert statistics.is_sum_over_positions(statistics.per_layer(statistic))
    for statistic in (statistics.feature_map, plain, statistics.PooledLaplacian(4), statistics.per_layer(plain)):
        assert not statistics.is_sum_over_positions(statistic)


def test_position_weights_for_an_unmarked_statistic_raise():
    features, weights = {"a": jnp.float32(X)}, {"a": jnp.float32(WEIGHT)}
    assert_close(statistics.per_layer(marked)(features, weights=weights)["a"], weighted64(WEIGHT)["mean"], rtol=1e-5)
    assert statistics.per_layer(plain)(features)["a"].shape == (C,)
    with pytest.raises(ValueError, match=r"plain.*not marked as a sum over positions.*@sums_over_positions"):
        statistics.per_layer(plain)(features, weights=weights)


def test_feature_vectors_and_patches_are_ordered_row_by_row():
    np.testing.assert_array_equal(statistics.feature_vectors(jnp.float32(X))[1 * W + 3], np.float32(X[1, 3]))
    windows = np.lib.stride_tricks.sliding_window_view(np.float32(X), (3, 3), axis=(0, 1))  # [4, 3, C, 3, 3]
    for stride in (1, 2, 3):
        patches = windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
        expected = patches.reshape(patches.shape[0] * patches.shape[1], 9 * C)
        np.testing.assert_array_equal(statistics.Patches(stride=stride)(jnp.float32(X)), expected)
    assert statistics.Patches() == statistics.Patches(size=3, stride=2) != statistics.Patches(size=5)


def test_a_map_smaller_than_a_patch_raises():
    with pytest.raises(UserError, match="5x6 positions has no patch of 7x7: use a larger picture or a layer less"):
        statistics.Patches(size=7)(jnp.float32(X))


def test_hypercolumns_stack_the_layers_at_each_position():
    fine, coarse = np.random.default_rng(1).standard_normal((16, 24, 3)), np.zeros((4, 6, 5)) + np.arange(5)
    actual = statistics.Hypercolumns(stride=4)({"a": jnp.float32(fine), "b": jnp.float32(coarse)})
    assert actual.shape == (24, 8)
    # Hypercolumns lie on a grid from corner to corner: 4 rows in 16 are at the thirds of 15, which are whole numbers.
    columns = np.linspace(0, 23, 6)
    left, share = columns.astype(int), (columns % 1)[:, None]
    expected = ((1 - share) * fine[::5][:, left] + share * fine[::5][:, np.minimum(left + 1, 23)]) / 3
    np.testing.assert_allclose(actual[:, :3], expected.reshape(24, 3), atol=1e-6)
    np.testing.assert_allclose(actual[:, 3:], np.broadcast_to(np.arange(5) / 5, (24, 5)), rtol=1e-6)
    assert statistics.Hypercolumns() == statistics.Hypercolumns(stride=4)


def test_pooled_laplacian_equals_its_formula():
    picture, p = smooth_picture(21, 17).astype(np.float64), 4  # a row and a column that fill no square
    grey = picture.sum(axis=-1)
    q = np.array([[grey[i * p : i * p + p, j * p : j * p + p].mean() for j in range(4)] for i in range(5)])
    expected = np.zeros((3, 2, 1))
    for i in range(3):
        for j in range(2):
            y, x = i + 1, j + 1
            expected[i, j] = 4 * q[y, x] - q[y - 1, x] - q[y + 1, x] - q[y, x - 1] - q[y, x + 1]
    actual = statistics.PooledLaplacian(p)(jnp.float32(picture))
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_pooled_laplacian_sees_edges_only():
    y, x = jnp.mgrid[:12, :16] / 16
    ramp = jnp.stack([y, x, 1 - x], axis=-1)
    np.testing.assert_allclose(statistics.PooledLaplacian(2)(ramp), np.zeros((4, 6, 1)), atol=1e-6)
    statistic = statistics.per_layer(statistics.PooledLaplacian(2))
    distance = losses.layer_sum(losses.mean_squared)
    edge = ramp.at[:, 8:].add(1.0)
    assert distance(statistic({"input": edge}), statistic({"input": ramp})) > 1
    assert statistics.PooledLaplacian(2) == statistics.PooledLaplacian(2) != statistics.PooledLaplacian(4)


def test_a_picture_too_small_to_pool_raises():
    with pytest.raises(UserError, match="48x48 pixels or more, not 50x40: use a smaller pool"):
        statistics.PooledLaplacian(16)(jnp.zeros((40, 50, 3)))


def test_second_moments_keep_a_small_spread_about_a_large_mean():
    """The variance is 1e-4 of the squared mean: a plain sum of squares in float32 would lose it."""
    x = (1 + 0.01 * np.random.default_rng(0).standard_normal((64, 64, 3))).astype(np.float32)
    rows = x.astype(np.float64).reshape(-1, 3)
    weight = np.random.default_rng(1).uniform(0.5, 1.5, (64, 64))
    weight /= weight.mean()
    centred = rows - weight.reshape(1, -1) @ rows / len(rows)
    expected = (centred * weight.reshape(-1, 1)).T @ centred / len(rows)
    actual = statistics.moments(jnp.asarray(x), weight_HxW=jnp.float32(weight))
    # Numbers near 1 are rounded to 6e-8, and the variance is 1e-4.
    np.testing.assert_allclose(actual["second"] - np.outer(actual["mean"], actual["mean"]), expected, atol=5e-7)
    squares = statistics.mean_and_square(jnp.asarray(x), weight_HxW=jnp.float32(weight))
    np.testing.assert_allclose(squares["square"] - squares["mean"] ** 2, np.diag(expected), atol=5e-7)


@pytest.mark.parametrize(("setting", "expected"), [("default", "HIGH"), ("high", "HIGH"), ("highest", "HIGHEST")])
def test_gram_matrices_follow_the_precision_of_a_run_and_are_exact_outside(setting, expected):
    def read_precisions() -> set[str]:
        gradient = jax.grad(lambda x: jnp.sum(statistics.gram(x) ** 2))
        return set(re.findall(r"precision = \[(\w+), \w+\]", jax.jit(gradient).lower(jnp.ones((4, 4, 3))).as_text()))

    assert read_precisions() == {"HIGHEST"}
    with compiling.set_precision(Config(precision=setting)):
        assert read_precisions() == {expected}
    with jax.default_matmul_precision("highest"), compiling.set_precision(Config(precision="default")):
        assert read_precisions() == {"HIGHEST"}
