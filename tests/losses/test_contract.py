"""Contract suite of every loss, with the statistic it compares, and a golden value of each from NumPy in float64."""

import functools
import importlib.util
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture
from scipy.special import logsumexp

from nstjax import losses, statistics

pytestmark = pytest.mark.usefixtures("strict_dtypes")

WITH_OTT = [
    pytest.mark.skipif(importlib.util.find_spec("ott") is None, reason="ott-jax is not installed"),
    pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained"),
]

GENERATOR = np.random.default_rng(0)
X, T = (GENERATOR.standard_normal((6, 5, 4)) + 0.5 for _ in range(2))  # feature maps [h, w, c]
P = smooth_picture(7, 9).astype(np.float64)
H, W, C = X.shape
N = H * W


def gram64(x):
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows


# name: (float64 value at X, T, written from the formula)
DISTANCES = {
    "sum_squared": np.sum((X - T) ** 2),
    "half_sum_squared": np.sum((X - T) ** 2) / 2,
    "mean_squared": np.sum((X - T) ** 2) / (C * N),
    "root_scaled_content": np.sum((X - T) ** 2) / (2 * np.sqrt(C) * np.sqrt(N)),
    "relative_squared": np.sum((X - T) ** 2) / np.sum(T**2),
    "variance_scaled": np.sum((X - T) ** 2) / np.sum((T - T.mean()) ** 2),
}
MATRIX_DISTANCES = {
    "quarter_mean_squared": np.sum((gram64(X) / N - gram64(T) / N) ** 2) / (4 * C**2),
    "keras_style": np.sum((gram64(X) / N - gram64(T) / N) ** 2) / 36,
}


def moments64(x):
    """Return the mean and variance of each channel, and the covariance."""
    rows = x.reshape(-1, x.shape[-1])
    return rows.mean(0), rows.var(0), np.cov(rows.T, bias=True)


def wasserstein64(x, t):
    """Return the distance of the Gaussians of two maps, by eigenvalues instead of iterations."""
    (mu_x, _, S_x), (mu_t, _, S_t) = moments64(x), moments64(t)
    S_x, S_t = (S + 1e-4 * np.eye(len(S)) for S in (S_x, S_t))
    # The trace of the root of S_t^1/2 S_x S_t^1/2, which has the eigenvalues of S_x S_t.
    mixed = np.sqrt(np.linalg.eigvals(S_x @ S_t).real).sum()
    return np.mean((mu_x - mu_t) ** 2) + (np.trace(S_x + S_t) - 2 * mixed) / len(S_x)


# name: (statistic, float64 value at X, T)
(MU_X, VAR_X, S_X), (MU_T, VAR_T, S_T) = moments64(X), moments64(T)
MOMENT_DISTANCES = {
    "batch_norm_statistics": (
        "mean_and_square",
        np.sum((MU_X - MU_T) ** 2 + (np.sqrt(VAR_X) - np.sqrt(VAR_T)) ** 2) / C,
    ),
    "mean_and_covariance": ("moments", np.sum((MU_X - MU_T) ** 2) / C + np.sum((S_X - S_T) ** 2) / C**2),
    "wasserstein_gaussian": ("moments", wasserstein64(X, T)),
}


def cosines64(x, t):
    """Return the cosine of every row of x with every row of t, pair by pair."""
    return np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in t] for a in x])


def markov_random_field64(x, t):
    """Return the Markov random field distance of the patches of two maps."""
    corners = [(i, j) for i in range(0, H - 2, 2) for j in range(0, W - 2, 2)]
    patches_x, patches_t = ([features[i : i + 3, j : j + 3] for i, j in corners] for features in (x, t))
    total = 0
    for patch in patches_x:
        nearest = max(patches_t, key=lambda other: np.sum(patch * other) / np.sqrt(np.sum(other**2)))
        total += np.sum((patch - nearest) ** 2) / 2
    return total


def sliced64(x, t):
    V = np.float64(jax.random.normal(KEY, (C, C), jnp.float32))
    return np.mean([(np.sort(x @ v) - np.sort(t @ v)) ** 2 for v in V / np.sqrt((V**2).sum(1, keepdims=True))])


def self_similarity64(x, t):
    D_x, D_t = 1 - cosines64(x, x), 1 - cosines64(t, t)
    return sum(np.abs(D_x[:, j] / D_x[:, j].sum() - D_t[:, j] / D_t[:, j].sum()).sum() for j in range(N)) / N


def relaxed_earth_mover64(D):
    return max(D.min(axis=1).mean(), D.min(axis=0).mean())


def sinkhorn64(x, t):
    """Return the Sinkhorn divergence for epsilon=0.5, from enough iterations to converge."""
    cost = lambda a, b: ((a[:, None] - b[None]) ** 2).sum(axis=2)  # noqa: E731
    e = 0.5 * cost(t, t).mean()

    def transport(C):
        f, g = np.zeros((len(C), 1)), np.zeros((1, len(C[0])))
        for _ in range(2000):
            f = -e * logsumexp((g - C) / e - np.log(len(C[0])), axis=1, keepdims=True)
            g = -e * logsumexp((f - C) / e - np.log(len(C)), axis=0, keepdims=True)
        return f.mean() + g.mean()

    return transport(cost(x, t)) - transport(cost(x, x)) / 2 - transport(cost(t, t)) / 2


# name: (statistic, float64 value at X, T)
KEY = jax.random.key(3)
ROWS_X, ROWS_T = X.reshape(N, C), T.reshape(N, C)
EUCLIDEAN = np.sqrt([[np.mean((a - b) ** 2) for b in ROWS_T] for a in ROWS_X])
VECTOR_DISTANCES = {
    "cosine": ("feature_vectors", np.mean(1 - np.diag(cosines64(ROWS_X, ROWS_T)))),
    "EntropicTransport": ("feature_vectors", sinkhorn64(ROWS_X, ROWS_T)),
    "histogram_matching": (
        "feature_vectors",
        sum(np.sum((np.sort(ROWS_X[:, c]) - np.sort(ROWS_T[:, c])) ** 2) for c in range(C)),
    ),
    "markov_random_field": ("Patches", markov_random_field64(X, T)),
    "moment_matching": ("feature_vectors", np.abs(MU_X - MU_T).sum() / C + np.abs(S_X - S_T).sum() / C**2),
    "nearest_cosine": ("feature_vectors", np.mean((1 - cosines64(ROWS_X - MU_X, ROWS_T - MU_T)).min(axis=1))),
    "relaxed_earth_mover": ("feature_vectors", relaxed_earth_mover64(1 - cosines64(ROWS_X, ROWS_T))),
    "relaxed_earth_mover_of_colours": (
        "feature_vectors",
        relaxed_earth_mover64(1 - cosines64(ROWS_X, ROWS_T) + EUCLIDEAN),
    ),
    "self_similarity": ("feature_vectors", self_similarity64(ROWS_X, ROWS_T)),
    "sliced_wasserstein": ("feature_vectors", sliced64(ROWS_X, ROWS_T)),
}
ROUNDING = {
    "wasserstein_gaussian": 1e-6,
    "self_similarity": 1e-6,
    "moment_matching": 1e-6,
    "EntropicTransport": 1e-5,
}
"""Rounding errors of losses that subtract numbers near 1; the others subtract before they square, and are exact."""

DX, DY = P[:, 1:] - P[:, :-1], P[1:] - P[:-1]
CX, CY = DX[:-1], DY[:, :-1]
WX, WY = P - np.roll(P, 1, 1), P - np.roll(P, 1, 0)


def nine_point64(p):
    h, w, _ = p.shape
    at = lambda i, j: p[min(max(i, 0), h - 1), min(max(j, 0), w - 1)]  # noqa: E731
    right = [(at(i, j + 1) - at(i, j)) ** 2 for i in range(h) for j in range(w)]
    below = [(at(i + 1, j) - at(i, j)) ** 2 for i in range(h) for j in range(w)]
    down = [(at(i + 1, j + 1) - at(i, j)) ** 2 for i in range(-1, h) for j in range(-1, w)]
    up = [(at(i + 1, j) - at(i, j + 1)) ** 2 for i in range(-1, h) for j in range(-1, w)]
    return 2 * (np.mean(right) / 3 + np.mean(below) / 3 + np.mean(down) / 12 + np.mean(up) / 12)


PICTURE_LOSSES = {
    "total_variation_l1": np.abs(DX).sum() + np.abs(DY).sum(),
    "total_variation_mean_l1": np.abs(DX).mean() + np.abs(DY).mean(),
    "total_variation_squared": (DX**2).sum() + (DY**2).sum(),
    "total_variation_mean_squared": (DX**2).mean() + (DY**2).mean(),
    "total_variation_half_squared": ((CX**2).sum() + (CY**2).sum()) / 2,
    "total_variation_periodic": (WX**2).sum() + (WY**2).sum(),
    "total_variation_keras": ((CX**2 + CY**2) ** 1.25).sum(),
    "TotalVariation": np.sqrt(CX**2 + CY**2).sum(),
    "total_variation_pystiche": (CX**2 + CY**2).mean(),
    "total_variation_nine_point": nine_point64(P),
    "value_range": 0.0,
}


def cases():
    """Yield (loss of one array, its zero, another array, golden value there, rounding) of each loss, in float64."""

    def case(name, loss, zero, off, golden):
        marks = WITH_OTT if name == "EntropicTransport" else ()
        return pytest.param(loss, zero, off, golden, ROUNDING.get(name, 1e-12), id=name, marks=marks)

    def element_loss(name, target):
        return lambda x: getattr(losses, name)(x, jnp.asarray(target, x.dtype))

    def moment_loss(name, statistic):
        return lambda x: getattr(losses, name)(statistic(x), statistic(jnp.asarray(T, x.dtype)))

    def vector_loss(name, statistic):
        if name == "EntropicTransport":
            converged = {"epsilon": 0.5, "iterations": 300, "tolerance": 1e-9}
            return lambda x: losses.EntropicTransport(**converged)(statistic(x), statistic(jnp.asarray(T, x.dtype)))
        distance = getattr(losses, name)
        key = {"key": KEY} if losses.takes_key(distance) else {}
        return lambda x: distance(statistic(x), statistic(jnp.asarray(T, x.dtype)), **key)

    for name, golden in DISTANCES.items():
        yield case(name, element_loss(name, T), T, X, golden)
    for name, golden in MATRIX_DISTANCES.items():
        yield case(name, element_loss(name, gram64(T) / N), gram64(T) / N, gram64(X) / N, golden)
    for name, (statistic, golden) in MOMENT_DISTANCES.items():
        yield case(name, moment_loss(name, getattr(statistics, statistic)), T, X, golden)
    for name, (statistic, golden) in VECTOR_DISTANCES.items():
        function = getattr(statistics, statistic)
        yield case(name, vector_loss(name, function() if inspect.isclass(function) else function), T, X, golden)
    for name, golden in PICTURE_LOSSES.items():
        if name == "value_range":
            off = 2 * P - 0.5
            beyond = np.sum(np.where(off < 0, off, np.where(off > 1, off - 1, 0)) ** 2) / off.size
            yield case(name, losses.value_range, P, off, beyond)
        else:
            loss = losses.TotalVariation(1.0) if name == "TotalVariation" else getattr(losses, name)
            yield case(name, loss, np.full_like(P, 0.3), P, golden)


CONTRACT = pytest.mark.parametrize(("loss", "zero", "off", "golden", "floor"), list(cases()))


def test_every_loss_is_in_the_suite():
    lifts = {"LayerSum", "layer_sum", "layer_mean", "takes_key", "Sampled", "sampled", "sampled_alike", "hypercolumns"}
    lifts |= {"draw_positions", "sums_over_elements", "is_sum_over_elements"}
    # wasserstein_gaussian, sliced_wasserstein, nearest_cosine and moment_matching are in it, which are made of these.
    parts = {"WassersteinGaussian", "SlicedWasserstein", "find_nearest_cosine", "moment_difference", "vector_moments"}
    contract = {*DISTANCES, *MATRIX_DISTANCES, *MOMENT_DISTANCES, *VECTOR_DISTANCES, *PICTURE_LOSSES}
    assert set(losses.__all__) - lifts - parts == contract
    modules = {name: getattr(value, "__module__", "") for name, value in vars(losses).items()}
    public = {name for name, module in modules.items() if module.startswith("nstjax.losses.")}
    assert public == set(losses.__all__)


@functools.cache
def differentiate(loss):
    """Return the compiled value and gradient of a loss, which the tests share."""
    return jax.jit(jax.value_and_grad(loss))


@CONTRACT
def test_value_equals_numpys_and_its_gradient_is_finite_and_not_zero(loss, zero, off, golden, floor):
    value, gradient = differentiate(loss)(jnp.float32(off))
    assert value.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(value, golden, rtol=1e-5)
    assert jnp.isfinite(gradient).all() and jnp.any(gradient != 0)


@CONTRACT
def test_loss_is_zero_at_its_target_and_has_finite_gradients_there_and_on_flat_input(loss, zero, off, golden, floor):
    value, gradient = differentiate(loss)(jnp.float32(zero))
    assert abs(value) < floor
    assert jnp.isfinite(gradient).all()
    _, gradient = differentiate(loss)(jnp.zeros_like(jnp.float32(off)))
    assert jnp.isfinite(gradient).all()


@CONTRACT
def test_jit_equals_eager_and_vmap_equals_a_loop(loss, zero, off, golden, floor):
    batch = jnp.float32(np.stack([off, 0.5 * off + 0.1, zero]))
    one_by_one = jnp.stack([differentiate(loss)(x)[0] for x in batch])
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(batch), one_by_one, rtol=1e-5, atol=floor)
    np.testing.assert_allclose(loss(batch[0]), one_by_one[0], rtol=1e-5)


@CONTRACT
def test_gradient_equals_finite_differences_in_float64(loss, zero, off, golden, floor):
    with jax.enable_x64(True):
        x = jnp.asarray(off)
        direction = jnp.asarray(np.random.default_rng(1).standard_normal(off.shape))
        step = 1e-6
        (value, gradient), (above, _), (below, _) = (
            differentiate(loss)(x + factor * step * direction) for factor in (0, 1, -1)
        )
        assert value.dtype == jnp.float64
        # Central differences: an error of step^2, and rounding of 1e-16 / step.
        np.testing.assert_allclose(jnp.vdot(gradient, direction), (above - below) / (2 * step), rtol=1e-6)


def test_layer_sum_and_mean_weight_their_layers():
    x, t = {"a": jnp.float32(X), "b": jnp.float32(T)}, {"a": jnp.float32(T), "b": jnp.float32(2 * T)}
    a, b = losses.mean_squared(x["a"], t["a"]), losses.mean_squared(x["b"], t["b"])
    weights = {"a": 3.0, "b": 0.5}
    np.testing.assert_allclose(losses.layer_sum(losses.mean_squared)(x, t), a + b, rtol=1e-6)
    np.testing.assert_allclose(losses.layer_mean(losses.mean_squared)(x, t), (a + b) / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.layer_sum(losses.mean_squared, weights=weights)(x, t), 3 * a + b / 2, rtol=1e-6)
    mean = losses.layer_mean(losses.mean_squared, weights=weights)(x, t)
    np.testing.assert_allclose(mean, (3 * a + b / 2) / 3.5, rtol=1e-6)


def test_layer_weights_for_other_layers_raise():
    x = {"a": jnp.float32(X)}
    with pytest.raises(ValueError, match=r"\['b'\].*\['a'\]"):
        losses.layer_sum(losses.mean_squared, weights={"b": 1.0})(x, x)


def test_equal_lifts_compare_equal():
    weights = {"a": 1.0, "b": 2.0}
    assert losses.layer_sum(losses.mean_squared, weights=weights) == losses.layer_sum(
        losses.mean_squared, weights=dict(weights)
    )
    assert hash(statistics.per_layer(statistics.gram)) == hash(statistics.per_layer(statistics.gram))
    assert losses.layer_sum(losses.mean_squared) != losses.layer_mean(losses.mean_squared)


def noisy(x, t, key):
    return jnp.mean((x - t) ** 2 * jax.random.uniform(key, x.shape))


def test_stochastic_distances_get_a_key_for_each_layer():
    lifted = losses.layer_sum(noisy)
    assert losses.takes_key(lifted) and losses.takes_key(noisy) and not losses.takes_key(losses.mean_squared)
    x, t = {"a": jnp.float32(X), "b": jnp.float32(X)}, {"a": jnp.float32(T), "b": jnp.float32(T)}
    key, first, second = jax.random.key(0), {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}
    first, second = (losses.layer_sum(noisy, weights=weights)(x, t, key) for weights in (first, second))
    assert first != second
    with pytest.raises(ValueError, match="pass key="):
        lifted(x, t)
