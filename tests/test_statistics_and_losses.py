"""Every statistic and every loss: one contract suite, and a golden value each from NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import smooth_picture

from nstjax import losses, statistics

pytestmark = pytest.mark.usefixtures("strict_dtypes")

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
    "total_variation_pystiche": (CX**2 + CY**2).mean(),
    "total_variation_nine_point": nine_point64(P),
    "value_range": 0.0,
}


def cases():
    """(name, loss of one array, the array where it is zero, an array off it, golden value there), in float64."""

    def to(target, name):
        return lambda x: getattr(losses, name)(x, jnp.asarray(target, x.dtype))

    for name, golden in DISTANCES.items():
        yield pytest.param(to(T, name), T, X, golden, id=name)
    for name, golden in MATRIX_DISTANCES.items():
        yield pytest.param(to(gram64(T) / N, name), gram64(T) / N, gram64(X) / N, golden, id=name)
    for name, golden in PICTURE_LOSSES.items():
        if name == "value_range":
            off = 2 * P - 0.5
            beyond = np.sum(np.where(off < 0, off, np.where(off > 1, off - 1, 0)) ** 2) / off.size
            yield pytest.param(losses.value_range, P, off, beyond, id=name)
        else:
            yield pytest.param(getattr(losses, name), np.full_like(P, 0.3), P, golden, id=name)


CONTRACT = pytest.mark.parametrize(("loss", "zero", "off", "golden"), list(cases()))


def test_every_loss_is_in_the_suite():
    public = {name for name, it in vars(losses).items() if getattr(it, "__module__", "") == losses.__name__}
    lifts = {"LayerSum", "layer_sum", "layer_mean", "takes_key"}
    private = {name for name in public if name.startswith("_")}
    assert public - lifts - private == {*DISTANCES, *MATRIX_DISTANCES, *PICTURE_LOSSES}


@CONTRACT
def test_golden_value(loss, zero, off, golden):
    assert loss(jnp.float32(off)).dtype == jnp.float32
    np.testing.assert_allclose(loss(jnp.float32(off)), golden, rtol=1e-5)


@CONTRACT
def test_zero_at_its_target_and_finite_on_flat_input(loss, zero, off, golden):
    value, gradient = jax.value_and_grad(loss)(jnp.float32(zero))
    assert abs(value) < 1e-12
    assert jnp.isfinite(gradient).all()
    assert jnp.isfinite(jax.grad(loss)(jnp.zeros_like(jnp.float32(off)))).all()


@CONTRACT
def test_gradient_off_its_target(loss, zero, off, golden):
    gradient = jax.grad(loss)(jnp.float32(off))
    assert gradient.dtype == jnp.float32
    assert jnp.isfinite(gradient).all() and jnp.any(gradient != 0)


@CONTRACT
def test_jit_equals_eager_and_vmap_equals_a_loop(loss, zero, off, golden):
    batch = jnp.float32(np.stack([off, 0.5 * off + 0.1, zero]))
    one_by_one = jnp.stack([loss(x) for x in batch])
    np.testing.assert_allclose(jax.vmap(loss)(batch), one_by_one, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(jax.jit(loss)(batch[0]), one_by_one[0], rtol=1e-5)


@CONTRACT
def test_directional_derivative_in_float64(loss, zero, off, golden):
    with jax.enable_x64(True):
        x = jnp.asarray(off)
        direction = jnp.asarray(np.random.default_rng(1).standard_normal(off.shape))
        assert loss(x).dtype == jnp.float64
        step = 1e-6
        numeric = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
        # Central differences: an error of step^2, and rounding of 1e-16 / step.
        np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(x), direction), numeric, rtol=1e-6)


GRAMS = {"gram_sum": 1.0, "gram": 1 / N, "gram_per_element": 1 / (C * N)}


@pytest.mark.parametrize("name", GRAMS)
def test_gram_matrices(name):
    found = getattr(statistics, name)(jnp.float32(X))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, gram64(X) * GRAMS[name], rtol=1e-5, atol=1e-6)


def test_the_gram_matrixs_gradient_is_jaxs_own():
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((C, C)), jnp.float32)  # of no symmetry

    def plain(x):
        F = x.reshape(-1, C)
        return jnp.vdot(weights, F.T @ F)

    found = jax.grad(lambda x: jnp.vdot(weights, statistics.gram_sum(x)))(jnp.float32(X))
    np.testing.assert_allclose(found, jax.grad(plain)(jnp.float32(X)), rtol=1e-5, atol=1e-5)


def test_gram_over_picture_uses_the_pictures_size():
    found = statistics.gram_over_picture({"input": jnp.float32(P), "relu2_1": jnp.float32(X)})
    assert list(found) == ["relu2_1"]
    np.testing.assert_allclose(found["relu2_1"], gram64(X) / (P.shape[0] * P.shape[1]), rtol=1e-5, atol=1e-6)


def test_grams_of_bfloat16_features_accumulate_in_float32():
    features = jnp.full((256, 256, 2), 3.0, jnp.bfloat16)
    found = statistics.gram_sum(features)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.full((2, 2), 9.0 * 65536))  # bfloat16 sums would stop growing at 2304


@pytest.mark.parametrize("name", [n for n, f in vars(statistics).items() if getattr(f, "sums_over_positions", False)])
def test_sums_over_positions_add_up(name):
    """A map cut in two: the statistic is the sum of the parts', each weighted by its share where it is a mean."""
    statistic = getattr(statistics, name)
    top, bottom = jnp.float32(X[:2]), jnp.float32(X[2:])
    shares = (1, 1) if name == "gram_sum" else (top.size / X.size, bottom.size / X.size)
    whole = shares[0] * statistic(top) + shares[1] * statistic(bottom)
    np.testing.assert_allclose(whole, statistic(jnp.float32(X)), rtol=1e-5, atol=1e-6)


def test_layer_sum_and_mean_weight_their_layers():
    x, t = {"a": jnp.float32(X), "b": jnp.float32(T)}, {"a": jnp.float32(T), "b": jnp.float32(2 * T)}
    a, b = losses.mean_squared(x["a"], t["a"]), losses.mean_squared(x["b"], t["b"])
    weights = {"a": 3.0, "b": 0.5}
    np.testing.assert_allclose(losses.layer_sum(losses.mean_squared)(x, t), a + b, rtol=1e-6)
    np.testing.assert_allclose(losses.layer_mean(losses.mean_squared)(x, t), (a + b) / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.layer_sum(losses.mean_squared, weights=weights)(x, t), 3 * a + b / 2, rtol=1e-6)
    mean = losses.layer_mean(losses.mean_squared, weights=weights)(x, t)
    np.testing.assert_allclose(mean, (3 * a + b / 2) / 3.5, rtol=1e-6)


def test_layer_weights_for_other_layers_are_refused():
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
