import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import narrow_vgg19, smooth_picture

from nstjax import losses, optimise, optimisers, statistics
from nstjax.errors import UserError
from nstjax.losses import layer_sum
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, init, run_chunk
from nstjax.optimisers import adam
from nstjax.parameterisation import Fourier, Pixels
from nstjax.statistics import per_layer
from nstjax.types import PictureTerm, Term

CONTENT, STYLE = smooth_picture(24, 31), smooth_picture(26, 22, seed=1)
OTHER = smooth_picture(24, 31, seed=2)
WEIGHTS = {"content": 1.0, "style": 100.0, "tv": 0.01}


def noisy(x, t, key):
    return jnp.mean((x - t) ** 2 * jax.random.uniform(key, x.shape))


def objective(content_distance=losses.mean_squared):
    return Objective(
        (
            Term("content", ("relu3_1",), per_layer(statistics.feature_map), layer_sum(content_distance), "content"),
            Term("style", ("relu1_1", "relu2_1"), per_layer(statistics.gram), layer_sum(losses.mean_squared), "style"),
            PictureTerm("tv", losses.total_variation_l1),
        )
    )


def problem(objective, *, weights=WEIGHTS, seed=0):
    network = narrow_vgg19("block3_conv1", seed=seed)
    return Problem(network, objective.targets(network, content=CONTENT, style=STYLE), weights)


def start(method, *, learning_rate=0.02, picture=CONTENT):
    return init(method, jnp.asarray(picture), learning_rate=learning_rate, key=jax.random.key(7))


def leaves(state):
    state = dataclasses.replace(state, key=jax.random.key_data(state.key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def assert_same_bytes(first, second):
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


# The objective.


def test_total_is_the_weighted_sum_of_the_parts():
    summed = objective()
    p = problem(summed)
    total, parts = summed(jnp.asarray(OTHER), network=p.network, targets=p.targets, weights=WEIGHTS)
    assert list(parts) == ["content", "style", "tv"]
    np.testing.assert_allclose(total, sum(WEIGHTS[name] * parts[name] for name in parts), rtol=1e-6)
    features = p.network.features(OTHER, ["relu1_1", "relu2_1"])
    targets = p.network.features(STYLE, ["relu1_1", "relu2_1"])
    style = sum(np.mean((gram64(features[layer]) - gram64(targets[layer])) ** 2) for layer in features)
    np.testing.assert_allclose(parts["style"], style, rtol=1e-4)  # differences of similar float32 matrices
    total, parts = summed(jnp.asarray(CONTENT), network=p.network, targets=p.targets, weights=WEIGHTS)
    assert parts["content"] < 1e-10


def gram64(x):
    rows = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def test_equal_objectives_have_equal_hashes_and_layers_are_listed_once():
    assert objective() == objective() and hash(objective()) == hash(objective())
    assert objective().layers == ("relu3_1", "relu1_1", "relu2_1")


@pytest.mark.parametrize("terms", [(), (PictureTerm("a", losses.value_range), PictureTerm("a", losses.value_range))])
def test_objectives_need_terms_of_different_names(terms):
    with pytest.raises(UserError, match=r"at least one term|different names: got a, a"):
        Objective(terms)


def test_a_stochastic_distance_needs_a_key_and_depends_on_it():
    stochastic = objective(noisy)
    p = problem(stochastic)

    def evaluate(key):
        return stochastic(jnp.asarray(OTHER), network=p.network, targets=p.targets, weights=WEIGHTS, key=key)

    assert evaluate(jax.random.key(0))[0] != evaluate(jax.random.key(1))[0]
    with pytest.raises(ValueError, match=r"pass key="):
        evaluate(None)


def test_vmap_over_weights_equals_a_loop():
    weighted = objective()
    p = problem(weighted)

    def value(weight):
        weights = {**WEIGHTS, "style": weight}
        return weighted(jnp.asarray(OTHER), network=p.network, targets=p.targets, weights=weights)[0]

    weights = jnp.array([1.0, 10.0, 100.0])
    np.testing.assert_allclose(jax.vmap(value)(weights), [value(weight) for weight in weights], rtol=1e-5)


# The optimisation.


def test_loss_falls_and_every_step_is_recorded():
    method = Method(objective(), adam())
    state, metrics = run_chunk(start(method), problem(method.objective), 30, method=method)
    assert int(state.step) == 30 and not state.failed
    assert set(metrics) == {"total", "content", "style", "tv"}
    totals = np.asarray(metrics["total"])
    assert np.isfinite(totals[:30]).all() and np.isnan(totals[30:]).all()
    assert totals[29] < 0.3 * totals[0]


def test_cutting_a_run_into_chunks_does_not_change_a_bit():
    for method in (
        Method(objective(noisy), adam(schedule=optimisers.Cosine(12)), Fourier(24, 31), keep="best"),
        Method(objective(), adam(), Pixels(), clamp=True),
    ):
        p = problem(method.objective)
        whole, metrics = run_chunk(start(method), p, 12, method=method)
        cut = start(method)
        totals = []
        for steps in (1, 4, 0, 7):
            cut, part = run_chunk(cut, p, steps, method=method)
            totals += [*np.asarray(part["total"])[:steps]]
        assert_same_bytes(whole, cut)
        np.testing.assert_array_equal(np.asarray(metrics["total"])[:12], totals)


def test_new_weights_targets_rates_and_numbers_of_steps_compile_nothing():
    run_chunk.clear_cache()
    for seed, weight, rate, steps in [(0, 1.0, 0.1, 2), (1, 1e4, 0.02, 5), (2, 0.0, 1e-3, 1)]:
        method = Method(objective(), adam(), Pixels())
        p = problem(method.objective, weights={**WEIGHTS, "style": jnp.float32(weight)}, seed=seed)
        run_chunk(start(method, learning_rate=rate), p, np.int32(steps), method=method)
    assert run_chunk._cache_size() == 1


def test_the_state_is_donated():
    method = Method(objective(), adam(), keep="best")
    state = start(method)
    run_chunk(state, problem(method.objective), 1, method=method)
    with pytest.raises((RuntimeError, ValueError), match=r"deleted|donated"):
        np.asarray(state.parameters)


def test_everything_in_the_state_is_float32():
    method = Method(objective(), adam(), Fourier(24, 31), keep="best")
    state, _ = run_chunk(start(method), problem(method.objective), 2, method=method)
    state = dataclasses.replace(state, key=None)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32", "bool"}


def test_adam_equals_a_loop_in_float64():
    """Compare three terms with Adam as its paper writes it, with gradients from JAX."""
    schedule = optimisers.Cosine(10, end=0.1)
    method = Method(objective(), adam(beta1=0.8, beta2=0.95, epsilon=1e-3, schedule=schedule))
    p = problem(method.objective)
    state, _ = run_chunk(start(method, learning_rate=0.05), p, 6, method=method)
    gradient = jax.jit(
        jax.grad(lambda x: method.objective(x, network=p.network, targets=p.targets, weights=WEIGHTS)[0])
    )
    x, m, v = CONTENT.astype(np.float64), 0.0, 0.0
    for t in range(1, 7):
        g = np.asarray(gradient(jnp.float32(x)), np.float64)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        rate = 0.05 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * (t - 1) / 10)))
        x -= rate * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
    # Each step is up to 0.05; where a gradient is near zero, its sign, and so the step, depends on rounding.
    difference = np.abs(np.asarray(state.parameters) - x)
    assert np.median(difference) < 1e-6 and np.mean(difference > 1e-3) < 0.01


def test_any_optax_schedule_or_optimiser_lowers_the_loss():
    transform = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
    for optimiser in (adam(schedule=optax.exponential_decay(1.0, 10, 0.5)), transform):
        method = Method(objective(), optimiser)
        _, metrics = run_chunk(start(method, learning_rate=1e-3), problem(method.objective), 3, method=method)
        assert metrics["total"][2] < metrics["total"][0]


def test_an_optimiser_without_a_learning_rate_in_its_state_raises():
    with pytest.raises(UserError, match="learning_rate"):
        start(Method(objective(), optax.adam(0.1)))


def test_clamping_keeps_pixels_in_range_and_raises_for_other_parameters():
    method = Method(objective(), adam(), clamp=True)
    state, _ = run_chunk(start(method, learning_rate=0.5), problem(method.objective), 5, method=method)
    assert state.parameters.min() >= 0 and state.parameters.max() <= 1
    unclamped = Method(objective(), adam())
    state, _ = run_chunk(start(unclamped, learning_rate=0.5), problem(unclamped.objective), 5, method=unclamped)
    assert state.parameters.max() > 1
    with pytest.raises(UserError, match="clamping needs pixels"):
        Method(objective(), adam(), Fourier(24, 31), clamp=True)


@pytest.mark.parametrize(("keep", "offset"), [("best", 0), ("after-best", 1)])
def test_the_kept_picture_has_the_lowest_loss_or_is_the_next(keep, offset):
    method = Method(objective(), adam(), keep=keep)
    p = problem(method.objective)
    state, totals = start(method, learning_rate=0.3), []  # a rate at which the loss goes up and down
    pictures = [np.asarray(state.parameters)]
    for _ in range(12):
        state, metrics = run_chunk(state, p, 1, method=method)
        totals.append(float(metrics["total"][0]))
        pictures.append(np.asarray(state.parameters))
    best = int(np.argmin(totals))
    assert 0 < best < 11  # otherwise the test proves nothing
    # The kept picture may be computed apart from the next one, with another last bit; no other one is as close.
    distances = [np.abs(state.kept - picture).max() for picture in pictures]
    assert distances.pop(best + offset) < 1e-6 and min(distances) > 1e-2
    np.testing.assert_allclose(state.lowest, totals[best])
    np.testing.assert_array_equal(optimise.picture(state, method=method), np.clip(state.kept, 0, 1))


def nan_below_half(p):
    """Return the mean of a picture; NaN once it is below a half."""
    mean = jnp.mean(p)
    return jnp.where(mean < 0.5, jnp.nan, mean)


def cliff(p):
    """Return a loss that stays finite while its gradient does not."""
    return jnp.mean(jnp.sqrt(jnp.maximum(p - 0.5, 0)))


@pytest.mark.parametrize("loss", [nan_below_half, cliff])
def test_the_state_freezes_at_the_first_step_that_is_not_finite(loss):
    method = Method(Objective((PictureTerm("loss", loss),)), adam())
    p = Problem(None, {}, {"loss": 1.0})
    state = start(method, learning_rate=0.01, picture=np.full((4, 4, 3), 0.545, np.float32))
    state, metrics = run_chunk(state, p, 100, method=method)
    failed_at = int(state.step)
    assert state.failed and 0 < failed_at < 100
    assert np.isnan(np.asarray(metrics["loss"])[failed_at + 1 :]).all()
    again = start(method, learning_rate=0.01, picture=np.full((4, 4, 3), 0.545, np.float32))
    again, _ = run_chunk(again, p, failed_at, method=method)
    assert not again.failed
    np.testing.assert_array_equal(again.parameters, state.parameters)
    assert jnp.isfinite(state.parameters).all()


def test_vmap_over_weights_and_rates_equals_single_runs():
    method = Method(objective(), adam())
    p = problem(method.objective)
    weights, rates = jnp.array([1.0, 1000.0]), jnp.array([0.01, 0.03])

    def run(weight, rate):
        weighted = dataclasses.replace(p, loss_weights={**WEIGHTS, "style": weight})
        state = init(method, jnp.asarray(CONTENT), learning_rate=rate, key=jax.random.key(7))
        return run_chunk(state, weighted, 10, method=method)[0].parameters

    swept = jax.jit(jax.vmap(run))(weights, rates)
    for i in range(2):
        # Batched sums run in another order, and Adam turns the rounding of a tiny gradient into a whole step.
        difference = np.abs(swept[i] - run(weights[i], rates[i]))
        assert np.quantile(difference, 0.99) < 1e-3
    assert np.abs(swept[0] - swept[1]).max() > 0.05


def test_a_distance_gets_the_layers_of_its_target_in_their_order_though_jit_sorts_them():
    layers = ("relu2_1", "input", "relu1_1")  # not sorted

    def compare_in_order(x, t):
        assert [*x] == [*t] == [*layers]
        return sum(jnp.mean((a - b) ** 2) for a, b in zip(x.values(), t.values(), strict=True))

    terms = Objective((Term("style", layers, per_layer(statistics.mean), compare_in_order, target="style"),))
    network = narrow_vgg19("block2_conv1")
    for styles in (STYLE, [STYLE, OTHER]):
        expected = terms.targets(network, content=CONTENT, style=styles)
        targets = jax.jit(lambda network, styles=styles: terms.targets(network, content=CONTENT, style=styles))(network)
        assert [*targets["style"]] == sorted(layers)
        values = [
            terms(jnp.asarray(CONTENT), network=network, targets=t, weights={"style": 1.0})[0]
            for t in (expected, targets)
        ]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-5)
