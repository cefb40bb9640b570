"""L-BFGS without a line search makes PyTorch's steps, one evaluation each, from any start."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import smooth_picture

import nstjax
from nstjax import losses, optimisers
from nstjax.objective import Objective
from nstjax.optimise import Method, Problem, init, run_chunk, trace_chunk
from nstjax.types import PictureTerm

# Two losses that PyTorch can compute as well.


def compute_quadratic(x):
    """Return a quadratic form of twelve variables whose condition number is about 10,000."""
    return 0.5 * jnp.sum(jnp.logspace(0, 4, 12) * x**2) + jnp.sum(x[1:] * x[:-1])


def make_picture(shift):
    return 0.5 + 0.4 * jnp.sin(jnp.arange(108.0) + shift)


def compute_features(picture):
    """Return four features of a picture of 6x6 pixels: a convolution with a kernel of 3x3 pixels, and a ReLU."""
    picture = picture.reshape(6, 6, 3)
    patches = jnp.stack([picture[i : i + 4, j : j + 4] for i in range(3) for j in range(3)], axis=2)
    return jax.nn.relu(patches.reshape(16, 27) @ jnp.cos(jnp.arange(108.0)).reshape(27, 4) / 3)


def compute_gram(features):
    return features.T @ features / 16


def compute_transfer(picture):
    """Return a content loss and a style loss of these features."""
    content = compute_features(make_picture(1)), compute_features(picture)
    style = compute_gram(compute_features(make_picture(2) ** 2)), compute_gram(content[1])
    return 1e4 * jnp.mean((content[0] - content[1]) ** 2) + 1e6 * jnp.mean((style[0] - style[1]) ** 2)


# {case: (loss, start, settings, losses at evaluations 5, 10, 15 and 20, first three values after 20 steps)}.
# The numbers are from PyTorch 2.13 in float64: the same functions written with torch, and one call of
# torch.optim.LBFGS(max_iter=20, history_size=memory).step; in the last case its parameter is 255 times the picture.
CASES = {
    "quadratic": (
        compute_quadratic,
        lambda: jnp.cos(jnp.arange(12.0)),
        {},
        [125.2281612, 18.12155432, 6.720881302, 1.97694944],
        [0.8919741869, 0.4107151463, -0.2556226418],
    ),
    "short memory": (
        compute_quadratic,
        lambda: jnp.cos(jnp.arange(12.0)),
        {"memory": 3},
        [125.2281612, 28.21244385, 29.2217186, 7.267251794],
        [0.9485255518, 0.4787868454, -0.3336053848],
    ),
    "style transfer": (
        compute_transfer,
        lambda: make_picture(0),
        {},
        [15.42639445, 5.111602198, 4.113057041, 3.314662164],
        [0.6061631349, 0.8692923288, 0.714802399],
    ),
    "on the 0-255 scale": (
        compute_transfer,
        lambda: make_picture(0),
        {"first_step": 1 / 255},
        [19.36339729, 4.490454728, 2.873675581, 1.814438455],
        [0.6091147347, 0.8606461765, 0.7231538039],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps_equal_those_of_pytorch(case):
    loss, make_start, settings, expected, first = CASES[case]
    with jax.enable_x64(True):
        optimiser = optimisers.fixed_step_lbfgs(**settings)
        x = make_start()
        state, evaluate, update = optimiser.init(x), jax.jit(jax.value_and_grad(loss)), jax.jit(optimiser.update)
        values = []
        for _ in range(20):
            value, gradient = evaluate(x)
            change, state = update(gradient, state, x)
            values.append(value)
            x = optax.apply_updates(x, change)
        assert x.dtype == np.float64
        np.testing.assert_allclose(np.array(values)[4::5], expected, rtol=1e-6)
        np.testing.assert_allclose(x[:3], first, atol=1e-6)


@pytest.mark.parametrize("line_search", [False, True])
def test_a_step_costs_one_evaluation_without_a_line_search(line_search):
    evaluations = []

    def count(picture):
        jax.debug.callback(lambda: evaluations.append(1))
        return losses.total_variation_squared(picture)

    optimiser = optimisers.lbfgs(memory=4) if line_search else optimisers.fixed_step_lbfgs(memory=4)
    method = Method(Objective((PictureTerm("tv", count),)), optimiser)
    start = init(method, jnp.asarray(smooth_picture(8, 9)), learning_rate=1.0, key=jax.random.key(0))
    state, _ = run_chunk(start, Problem(None, {}, {"tv": 1.0}), 6, method=method)
    jax.block_until_ready(state)
    jax.effects_barrier()
    assert len(evaluations) > 6 if line_search else len(evaluations) == 6


def test_members_of_a_sweep_and_a_start_at_the_minimum_are_as_if_alone():
    """The second picture is flat and has no gradient."""
    pictures = jnp.stack([smooth_picture(8, 9), jnp.full((8, 9, 3), 0.5), smooth_picture(8, 9, seed=1)])
    method = Method(
        Objective((PictureTerm("tv", losses.total_variation_squared),)), optimisers.fixed_step_lbfgs(memory=3)
    )
    problem = Problem(None, {}, {"tv": 1.0})

    def run(picture):
        state = init(method, picture, learning_rate=1.0, key=jax.random.key(0))
        return trace_chunk(state, problem, 8, method)[0].parameters

    together, run_alone = jax.jit(jax.vmap(run))(pictures), jax.jit(run)
    for picture, member in zip(pictures, together, strict=True):
        np.testing.assert_allclose(member, run_alone(picture), atol=1e-5)
    np.testing.assert_array_equal(together[1], pictures[1])
    assert losses.total_variation_squared(together[0]) < 0.1 * losses.total_variation_squared(pictures[0])


def test_a_pair_along_which_the_loss_does_not_curve_upwards_is_not_remembered():
    optimiser = optimisers.fixed_step_lbfgs(memory=3)
    x = jnp.array([0.3, -0.2])
    state, update = optimiser.init(x), jax.jit(optimiser.update)
    for expected in (0, 0, 1):
        gradient = x if expected else -x  # of a loss with a maximum, then of one with a minimum
        change, state = update(gradient, state, x)
        assert int(optax.tree.get(state, "stored")) == expected
        x = x + change
    assert np.isfinite(x).all()


TOTAL_VARIATION = '''"""Total variation alone, whose steps are a hundred times too long."""
import nstjax

config = nstjax.Config(
    loss_weights={"tv": 1.0}, sizes=16, steps=3, optimiser="lbfgs", line_search=False, step_length=100.0,
    learning_rate=100.0, log_every=1,
)

def terms(config):
    return (nstjax.PictureTerm("tv", nstjax.losses.total_variation_squared),)
'''


def test_a_jump_of_the_loss_does_not_end_a_run_without_a_line_search(workspace):
    Path("jump.py").write_text(TOTAL_VARIATION)
    arguments = {"experiment": "jump.py", "weights": "vgg.safetensors"}
    totals = nstjax.stylize("content.png", "style.png", **arguments).metrics["total"]
    assert totals[2] > 1000 * totals.min()
    with pytest.raises(nstjax.Failure, match="more than 1000 times its lowest"):
        nstjax.stylize("content.png", "style.png", **arguments, optimiser="sgd")
