"""Optimisers lower a loss, resume to the byte, and mean the same on both scales of the picture."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import smooth_picture

from nstjax import losses, optimisers
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.units import from_255
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, init, picture, run_chunk
from nstjax.types import PictureTerm

START = smooth_picture(8, 9)
OPTIMISERS = {
    "adam": optimisers.adam(),
    "adam with an early epsilon": optimisers.adam(epsilon=1e-3, early_epsilon=True),
    "rmsprop": optimisers.rmsprop(decay=0.99),
    "rmsprop with momentum": optimisers.rmsprop(momentum=0.5),
    "sgd": optimisers.sgd(),
    "sgd with momentum": optimisers.sgd(momentum=0.9),
    "exponential schedule": optimisers.sgd(schedule=optimisers.Exponential(0.5, 3)),
    "lbfgs": optimisers.lbfgs(memory=3),
    "lbfgs without a line search": optimisers.fixed_step_lbfgs(memory=3),
}


def make_objective():
    return Objective((PictureTerm("tv", losses.total_variation_squared),))


def init_state(method, rate=0.01):
    return init(method, jnp.asarray(START), learning_rate=rate, key=jax.random.key(0))


def make_problem():
    return Problem(None, {}, {"tv": 1.0})


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_loss_falls_and_an_interrupted_run_gives_the_same_bytes(name):
    method = Method(make_objective(), OPTIMISERS[name], keep="average")
    whole, metrics = run_chunk(init_state(method), make_problem(), 9, method=method)
    totals = np.asarray(metrics["total"])[:9]
    assert totals[-1] < 0.95 * totals[0]
    interrupted = init_state(method)
    for steps in (2, 4, 3):
        interrupted, _ = run_chunk(interrupted, make_problem(), steps, method=method)
    for state in (whole, interrupted):
        assert int(state.step) == 9
    plain = [dataclasses.replace(state, key=jax.random.key_data(state.key)) for state in (whole, interrupted)]
    for a, b in zip(*map(jax.tree.leaves, plain), strict=True):
        np.testing.assert_array_equal(a, b)


def test_lbfgs_ignores_the_learning_rate_and_nears_the_minimum():
    method = Method(make_objective(), optimisers.lbfgs())
    ends = [run_chunk(init_state(method, rate), make_problem(), 12, method=method)[0] for rate in (1e-3, 10.0)]
    np.testing.assert_array_equal(ends[0].parameters, ends[1].parameters)
    start, end = (float(losses.total_variation_squared(jnp.asarray(p))) for p in (START, ends[0].parameters))
    assert end < 0.05 * start  # the loss is quadratic, and its minimum is 0


def test_equal_settings_give_the_same_object():
    assert optimisers.rmsprop(decay=0.9) is optimisers.rmsprop(decay=0.9)
    assert optimisers.Exponential(0.9, 10) == optimisers.Exponential(0.9, 10)
    assert optimisers.adam(schedule=optimisers.Cosine(5)) is optimisers.adam(schedule=optimisers.Cosine(5))


def test_an_early_epsilon_is_added_before_the_bias_is_corrected():
    settings = {"beta1": 0.8, "beta2": 0.95, "epsilon": 0.1}
    optimiser = optimisers.adam(**settings, early_epsilon=True)
    state = optax.tree.set(optimiser.init(jnp.zeros(2)), learning_rate=jnp.float32(0.5))
    mean, square = np.zeros(2), np.zeros(2)
    for step, gradient in enumerate(np.array([[1.0, 0.01], [0.5, -0.02], [-1.0, 0.03]]), 1):
        updates, state = optimiser.update(jnp.asarray(gradient, jnp.float32), state)
        mean, square = 0.8 * mean + 0.2 * gradient, 0.95 * square + 0.05 * gradient**2
        rate = 0.5 * np.sqrt(1 - 0.95**step) / (1 - 0.8**step)
        np.testing.assert_allclose(updates, -rate * mean / (np.sqrt(square) + 0.1), rtol=1e-5)


def test_exponential_schedule_equals_the_formula():
    schedule = optimisers.Exponential(0.96, 100)
    np.testing.assert_allclose([schedule(step) for step in (0, 50, 100, 200)], [1, 0.96**0.5, 0.96, 0.96**2], rtol=1e-6)


# The formulas of the papers in float64 NumPy.


def adam64(x, gradient, steps, rate, epsilon, beta1=0.9, beta2=0.999):
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, steps + 1):
        g = gradient(x)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        x = x - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
    return x


def rmsprop64(x, gradient, steps, rate, epsilon, decay=0.999):
    v = np.zeros_like(x)
    for _ in range(steps):
        g = gradient(x)
        v = decay * v + (1 - decay) * g**2
        x = x - rate * g / (np.sqrt(v) + epsilon)
    return x


def sgd64(x, gradient, steps, rate, epsilon):
    for _ in range(steps):
        x = x - rate * gradient(x)
    return x


@pytest.mark.parametrize(
    ("name", "reference", "rate", "epsilon"),
    [("adam", adam64, 3.0, 2.0), ("rmsprop", rmsprop64, 0.1, 2.0), ("sgd", sgd64, 4.0, None)],
)
def test_settings_converted_from_the_0_255_scale_give_the_same_pictures(name, reference, rate, epsilon):
    """Compare with a loop on the 0-255 scale whose loss is that of the picture divided by 255."""

    def gradient(x):
        """Return the gradient of 1000 times the sum of squared vertical differences of x / 255."""
        d = np.diff(x / 255, axis=0)
        g = np.zeros_like(x)
        g[1:] += 2 * d
        g[:-1] -= 2 * d
        return 1000 * g / 255

    expected = reference(255 * START.astype(np.float64), gradient, 6, rate, epsilon) / 255
    config = Config(**from_255(name, learning_rate=rate, epsilon=epsilon))
    optimiser = {
        "adam": lambda: optimisers.adam(epsilon=config.epsilon),
        "rmsprop": lambda: optimisers.rmsprop(decay=0.999, epsilon=config.epsilon),
        "sgd": optimisers.sgd,
    }[name]()
    method = Method(Objective((PictureTerm("tv", lambda p: jnp.sum((p[1:] - p[:-1]) ** 2)),)), optimiser)
    start = init(method, jnp.asarray(START), learning_rate=config.learning_rate, key=jax.random.key(0))
    state, _ = run_chunk(start, Problem(None, {}, {"tv": 1000.0}), 6, method=method)
    moved = np.abs(expected - START).max()
    assert moved > 1e-4
    # Rounding of six steps in float32: 0.01 % of the distance.
    np.testing.assert_allclose(state.parameters, expected, atol=1e-4 * moved + 1e-7)


def test_the_first_step_of_lbfgs_is_converted():
    expected = {"optimiser": "lbfgs", "line_search": False, "step_length": 1, "first_step": 1 / 255}
    assert from_255("lbfgs", learning_rate=1) == expected


def test_settings_without_a_scale_cannot_be_converted():
    with pytest.raises(UserError, match=r"adam, rmsprop, sgd, lbfgs.*not 'newton'"):
        from_255("newton", learning_rate=1)
    with pytest.raises(UserError, match="optimiser sgd has no epsilon"):
        from_255("sgd", learning_rate=1, epsilon=1e-8)


def test_the_bias_of_the_average_is_corrected():
    method = Method(make_objective(), optimisers.sgd(), keep="average", average_decay=0.8)
    pictures, state = [START], init_state(method)
    for _ in range(4):
        state, _ = run_chunk(state, make_problem(), 1, method=method)
        pictures.append(np.asarray(state.parameters))
    weights = 0.8 ** np.arange(5)[::-1]
    expected = np.average(np.array(pictures, np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(picture(state, method=method), expected, rtol=1e-5)
    kept, _ = run_chunk(init_state(method), make_problem(), 0, method=method)
    np.testing.assert_allclose(picture(kept, method=method), START, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimiser": "newton"}, "adam, rmsprop, sgd, lbfgs"),
        (
            {"optimiser": "lbfgs", "clamp": True},
            "clamp does not go with the line search of optimiser lbfgs: add --no-clamp or --no-line-search",
        ),
        (
            {"optimiser": "lbfgs", "schedule": "cosine"},
            r"schedule \(cosine\) does not go with optimiser lbfgs: add --schedule constant",
        ),
        (
            {"optimiser": "lbfgs", "schedule": "cosine", "line_search": False},
            r"schedule \(cosine\) does not go with optimiser lbfgs: add --schedule constant",
        ),
        ({"optimiser": "lbfgs", "normalise_gradients": True}, "add --no-normalise-gradients"),
        ({"optimiser": "sgd", "momentum": 1.0}, "momentum must be below 1"),
        ({"average_decay": 1.0}, "average-decay must be below 1"),
        ({"memory": 0}, "memory must be at least 1"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Config(**settings)


def test_any_optax_optimiser_with_injected_learning_rate_works():
    optimiser = optax.inject_hyperparams(optax.adam)(learning_rate=1.0)
    method = Method(make_objective(), optimiser)
    state, _ = run_chunk(init_state(method), make_problem(), 2, method=method)
    assert int(state.step) == 2
