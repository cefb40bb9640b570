"""Tests of the distances of moments beyond the contract suite: flat and dead channels, real features, blending."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import find_test_data

from nstjax import images, losses, statistics
from nstjax.network.vgg import VGG

pytestmark = pytest.mark.usefixtures("strict_dtypes")

CASES = {
    "batch_norm_statistics": statistics.mean_and_square,
    "mean_and_covariance": statistics.moments,
    "wasserstein_gaussian": statistics.moments,
}


def features(seed=0, *, shape=(12, 10, 6), mean=0.5, scale=1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("level", [0.0, 0.3, 1e3])
def test_dead_and_constant_channels_have_finite_gradients(name, level):
    distance, statistic = getattr(losses, name), CASES[name]
    dead = features().astype(np.float32)
    dead[..., :2] = level
    flat = np.full_like(dead, level)
    target = statistic(jnp.float32(features(1, scale=3)))
    for x, t in (
        (dead, target),
        (flat, target),
        (dead, statistic(jnp.asarray(flat))),
        (flat, statistic(jnp.asarray(dead))),
    ):
        value, gradient = jax.value_and_grad(lambda x, t=t: distance(statistic(x), t))(jnp.asarray(x))
        assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("name", CASES)
def test_blended_moments_equal_the_moments_of_both_pictures_together(name):
    """Half of each picture gives the target of a picture that has the two side by side."""
    distance, statistic = getattr(losses, name), CASES[name]
    a, b, x = (jnp.float32(features(seed, mean=seed)) for seed in (0, 1, 2))
    blended = jax.tree.map(lambda p, q: 0.5 * p + 0.5 * q, statistic(a), statistic(b))
    together = statistic(jnp.concatenate([a, b]))
    np.testing.assert_allclose(distance(statistic(x), blended), distance(statistic(x), together), rtol=1e-5)


def test_equal_wasserstein_distances_compare_equal():
    assert losses.WassersteinGaussian() == losses.wasserstein_gaussian != losses.WassersteinGaussian(steps=20)
    assert hash(losses.WassersteinGaussian(steps=20)) == hash(losses.WassersteinGaussian(steps=20))


def test_wasserstein_gradient_equals_that_of_the_exact_distance():
    """Compare with finite differences through eigenvalues, in float64, with enough steps for exact roots."""

    def exact(x):
        rows, rows_t = x.reshape(-1, 6), target.reshape(-1, 6)
        S_x, S_t = (np.cov(r.T, bias=True) + 1e-4 * np.eye(6) for r in (rows, rows_t))
        mixed = np.sqrt(np.linalg.eigvals(S_x @ S_t).real).sum()
        return np.mean((rows.mean(0) - rows_t.mean(0)) ** 2) + (np.trace(S_x + S_t) - 2 * mixed) / 6

    x, target = features(), features(1, mean=-0.2, scale=2)
    direction = features(2)
    numeric = (exact(x + 1e-5 * direction) - exact(x - 1e-5 * direction)) / 2e-5
    with jax.enable_x64(True):
        distance, t = losses.WassersteinGaussian(steps=20), statistics.moments(jnp.asarray(target))
        gradient = jax.grad(lambda x: distance(statistics.moments(x), t))(jnp.asarray(x))
        # Central differences: an error of 1e-10, and rounding of 1e-16 / 1e-5.
        np.testing.assert_allclose(jnp.vdot(gradient, direction), numeric, rtol=1e-8)
        # The target's gradient passes through both roots.
        swapped = jax.grad(lambda t: distance(statistics.moments(jnp.asarray(target)), statistics.moments(t)))
        np.testing.assert_allclose(swapped(jnp.asarray(x)), gradient, rtol=1e-8, atol=1e-12)


def root64(S, steps):
    """Return the square root of S by Newton-Schulz iterations in float64 NumPy."""
    norm = np.sqrt((S**2).sum())
    y, z = S / norm, np.eye(len(S))
    for _ in range(steps):
        half = (3 * np.eye(len(S)) - z @ y) / 2
        y, z = y @ half, half @ z
    return y * np.sqrt(norm)


def test_wasserstein_of_real_features_is_near_the_exact_distance(real_weights, real_picture):
    """The value in float32 equals that in float64, and is as near the exact distance as the steps allow."""
    network, layers = VGG(real_weights.parameters, real_weights.flavour), ("relu1_1", "relu2_1", "relu3_1")
    painting = images.resize(images.read(find_test_data() / "images" / "starry_night.jpg"), 128).rgb
    photograph_features, painting_features = (
        jax.jit(lambda picture: network.features(picture, layers))(picture) for picture in (real_picture, painting)
    )
    for layer in layers:
        maps = [features[layer] for features in (photograph_features, painting_features)]
        x, t = (statistics.moments(features_HxWxC) for features_HxWxC in maps)
        rows_x, rows_t = (np.float64(features_HxWxC).reshape(-1, len(x["mean"])) for features_HxWxC in maps)
        c = rows_x.shape[1]
        S_x, S_t = (np.cov(rows.T, bias=True) + 1e-4 * np.eye(c) for rows in (rows_x, rows_t))
        means = np.mean((rows_x.mean(0) - rows_t.mean(0)) ** 2)
        values, vectors = np.linalg.eigh(S_t)
        root = vectors * np.sqrt(values) @ vectors.T
        exact = means + (np.trace(S_x + S_t) - 2 * np.sqrt(np.linalg.eigvalsh(root @ S_x @ root)).sum()) / c
        for steps, tolerance in ((12, 0.15), (20, 0.02)):
            root = root64(S_t, steps)
            same = means + (np.trace(S_x + S_t) - 2 * np.trace(root64(root @ S_x @ root, steps))) / c
            value, gradient = jax.jit(jax.value_and_grad(losses.WassersteinGaussian(steps=steps)))(x, t)
            # Errors of 2e-4 were seen: rounding in directions that vary a millionth as much as the strongest.
            np.testing.assert_allclose(value, same, rtol=1e-3)
            np.testing.assert_allclose(value, exact, rtol=tolerance)
            assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
