"""Tests of transport and nearest-neighbour losses beyond the contract suite: their properties and their memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import narrow_vgg19, smooth_picture
from scipy.optimize import linear_sum_assignment

import nstjax
from nstjax import losses, statistics
from nstjax.losses import nearest
from nstjax.objective import Objective

pytestmark = pytest.mark.usefixtures("strict_dtypes")

KEY = jax.random.key(0)
PAIRWISE = [
    "markov_random_field",
    "nearest_cosine",
    "relaxed_earth_mover",
    "relaxed_earth_mover_of_colours",
    "self_similarity",
]
DISTANCES = [*PAIRWISE, "histogram_matching", "moment_matching", "sliced_wasserstein"]


def vectors(n, c=4, *, seed=0, mean=0.3):
    return jnp.float32(mean + np.random.default_rng(seed).standard_normal((n, c)))


def distance(name):
    """Return a distance of (x, t), with a fixed key if it takes one."""
    loss = getattr(losses, name)
    return (lambda x, t: loss(x, t, key=KEY)) if losses.takes_key(loss) else loss


SET_DISTANCES = [name for name in DISTANCES if name != "self_similarity"]
"""Names of the distances for which the order of positions does not matter."""


@pytest.mark.parametrize("name", SET_DISTANCES)
def test_the_order_of_positions_does_not_matter(name):
    x, t = vectors(12), vectors(12, seed=1)
    shuffled = t[np.random.default_rng(2).permutation(12)]
    np.testing.assert_allclose(distance(name)(x, shuffled), distance(name)(x, t), rtol=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_flat_input_and_ties_have_finite_gradients(name):
    evaluate, other = jax.jit(jax.value_and_grad(distance(name))), vectors(12, seed=1)
    for level in (0.0, 1e-30, 0.3, 1e3):
        flat = jnp.full((12, 4), level, jnp.float32)
        mixed = jnp.concatenate([flat[:6], other[:6]])
        for x, t in ((flat, other), (other, flat), (flat, flat), (mixed, other), (mixed, mixed)):
            value, gradient = evaluate(x, t)
            assert jnp.isfinite(value) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("name", SET_DISTANCES)
def test_repeating_the_target_does_not_change_the_distance(name):
    """The sets are compared as distributions, so that pictures of different sizes can be compared."""
    x, t = vectors(12), vectors(4, seed=1)
    once, thrice = (distance(name)(x, target) for target in (t, jnp.concatenate([t] * 3)))
    np.testing.assert_allclose(once, thrice, rtol=1e-5)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (6, 4), (5, 3), (6, 3)])
def test_transport_between_sets_of_different_sizes_is_exact(n, m):
    """Compare with an assignment of repeated values, with as many copies on both sides."""
    x, t = np.random.default_rng(0).standard_normal(n), np.random.default_rng(1).standard_normal(m)
    copies_x, copies_t = np.repeat(x, np.lcm(n, m) // n), np.repeat(t, np.lcm(n, m) // m)
    _, assignment = linear_sum_assignment((copies_x[:, None] - copies_t[None]) ** 2)
    R = copies_t[assignment].reshape(n, -1).mean(axis=1)
    value, gradient = jax.value_and_grad(losses.histogram_matching)(jnp.float32(x)[:, None], jnp.float32(t)[:, None])
    np.testing.assert_allclose(value, np.sum((x - R) ** 2), rtol=1e-5)
    np.testing.assert_allclose(gradient[:, 0], 2 * (x - R), rtol=1e-5, atol=1e-6)


def test_sliced_wasserstein_of_a_shift_is_its_square_divided_by_the_channels():
    """On average over directions ``E (v . d)^2 = |d|^2 / C``."""
    x, d = vectors(20), jnp.float32([1.0, -2.0, 0.5, 3.0])
    value = losses.SlicedWasserstein(directions=4096)(x, x + d, KEY)
    # The standard deviation of (v . d)^2 is about its mean, divided here by the root of 4096.
    np.testing.assert_allclose(value, jnp.sum(d**2) / 4, rtol=0.1)


def test_directions_depend_on_the_key_only():
    x, t = vectors(20), vectors(20, seed=1)
    same = losses.sliced_wasserstein(x, t, KEY), losses.SlicedWasserstein()(x, t, jax.random.key(0))
    assert same[0] == same[1] != losses.sliced_wasserstein(x, t, jax.random.key(1))
    assert losses.takes_key(losses.sliced_wasserstein)
    assert losses.SlicedWasserstein() == losses.sliced_wasserstein != losses.SlicedWasserstein(directions=3)
    assert hash(losses.SlicedWasserstein(directions=3)) == hash(losses.SlicedWasserstein(directions=3))


@pytest.mark.parametrize("name", PAIRWISE)
def test_blocks_of_any_size_give_the_same_result(name, monkeypatch):
    x, t = vectors(13), vectors(13, seed=1)

    def evaluate():
        return jax.jit(jax.value_and_grad(lambda x, t: distance(name)(x, t)))(x, t)

    whole = evaluate()
    for pairs in (1, 40):  # thirteen blocks of one row; four of three rows, and one that is not full
        monkeypatch.setattr(nearest, "_BLOCK", pairs)
        in_blocks = evaluate()
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), whole, in_blocks)


@pytest.mark.parametrize("name", PAIRWISE)
def test_no_matrix_of_all_pairs_is_in_memory(name):
    """The pairs of 16384 positions, as in a picture of 512 pixels, take 1 GiB, and a gradient twice that or more."""
    form = jax.ShapeDtypeStruct((128 * 128, 3), jnp.float32)
    compiled = jax.jit(jax.value_and_grad(distance(name))).lower(form, form).compile()
    # One block of pairs is 64 MiB; self-similarity has six at a time, for two pictures and their gradients.
    assert compiled.memory_analysis().temp_size_in_bytes < (450 if name == "self_similarity" else 80) * 2**20


def test_the_relaxed_earth_mover_takes_the_larger_side():
    """A target with vectors that the picture lacks is far, even if it has all vectors of the picture."""
    t = jnp.eye(4, dtype=jnp.float32)
    np.testing.assert_allclose(losses.relaxed_earth_mover(t[:2], t), 0.5, rtol=1e-6)
    np.testing.assert_allclose(losses.relaxed_earth_mover(t, t[:2]), 0.5, rtol=1e-6)


def test_self_similarity_does_not_change_when_the_features_are_rotated():
    x = vectors(12)
    turned = x @ jnp.float32(np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0])
    np.testing.assert_allclose(losses.self_similarity(x, 2 * turned), 0, atol=1e-5)
    assert losses.self_similarity(x, vectors(12, seed=1)) > 0.1


def test_entropic_transport_without_ott_jax_raises(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(nstjax.UserError, match=r"ott-jax package: pip install 'nstjax\[ott\]'"):
        losses.EntropicTransport()


@pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained")
def test_entropic_transport_of_flat_input_is_finite_and_takes_little_memory():
    pytest.importorskip("ott", reason="ott-jax is not installed")
    evaluate, other = jax.jit(jax.value_and_grad(losses.EntropicTransport())), vectors(12, seed=1)
    for level in (0.0, 1e3):
        flat = jnp.full((12, 4), level, jnp.float32)
        for x, t in ((flat, other), (other, flat), (flat, flat)):
            value, gradient = evaluate(x, t)
            assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
    form = jax.ShapeDtypeStruct((128 * 128, 3), jnp.float32)
    # This is two blocks of pairs; all pairs are 1 GiB.
    assert evaluate.lower(form, form).compile().memory_analysis().temp_size_in_bytes < 150 * 2**20


def bilinear64(F, y, x):
    """Return F at (y, x) in [0, 1); the centre of position (i, j) is at ((i + 0.5) / h, (j + 0.5) / w)."""
    h, w, _ = F.shape
    rows = np.maximum(0, 1 - np.abs(np.clip(y * h - 0.5, 0, h - 1) - np.arange(h)))
    columns = np.maximum(0, 1 - np.abs(np.clip(x * w - 0.5, 0, w - 1) - np.arange(w)))
    return np.einsum("h,w,hwc->c", rows, columns, F)


GENERATOR = np.random.default_rng(0)
MAPS = {"a": GENERATOR.standard_normal((8, 6, 3)), "b": GENERATOR.standard_normal((1, 3, 2))}


def float32(maps):
    return {layer: jnp.float32(F) for layer, F in maps.items()}


def test_hypercolumns_interpolate_every_layer():
    at = np.random.default_rng(2).uniform(size=(40, 2))
    at[0] = 0.0
    expected = [np.concatenate([bilinear64(F, y, x) for F in MAPS.values()]) for y, x in np.float32(at)]
    np.testing.assert_allclose(losses.hypercolumns(float32(MAPS), jnp.float32(at)), expected, rtol=1e-5, atol=1e-6)
    nearest = [np.concatenate([F[int(y * len(F)), int(x * F.shape[1])] for F in MAPS.values()]) for y, x in at]
    np.testing.assert_array_equal(
        losses.hypercolumns(float32(MAPS), jnp.float32(at), interpolate=False), np.float32(nearest)
    )


def test_positions_are_the_centres_of_all_positions_of_the_largest_map():
    at = np.asarray(losses.draw_positions(KEY, 2000, float32(MAPS))) * [8, 6]
    np.testing.assert_allclose(at % 1, 0.5, atol=1e-6)
    assert {tuple(position) for position in at.astype(int).tolist()} == {(i, j) for i in range(8) for j in range(6)}


def test_sampled_positions_depend_on_the_key_and_are_shared_by_sampled_alike():
    x, t = float32(MAPS), float32({layer: F + 1 for layer, F in MAPS.items()})
    alike = losses.sampled_alike(lambda a, b: jnp.mean((b - a) ** 2), positions=7)
    np.testing.assert_allclose(alike(x, t, KEY), 1, rtol=1e-5)
    separate = losses.sampled(lambda a, b: jnp.mean((b - a) ** 2), positions=7, target_positions=7)
    assert separate(x, t, KEY) == separate(x, t, KEY) != separate(x, t, jax.random.key(1))
    assert abs(separate(x, t, KEY) - 1) > 0.01
    sizes = losses.sampled(lambda a, b: jnp.float32(1000 * len(a) + len(b)), positions=5, target_positions=9)
    assert sizes(x, t, KEY) == 5009
    assert sizes(x, jnp.zeros((4, 5)), KEY) == 5004  # a target that a function has made
    assert losses.takes_key(alike) and alike != separate
    assert losses.sampled(losses.self_similarity) == losses.sampled(losses.self_similarity)


def test_a_stochastic_distance_can_be_sampled():
    value = losses.sampled(losses.sliced_wasserstein, positions=7, target_positions=9)(
        float32(MAPS), float32(MAPS), KEY
    )
    assert value > 0


def test_an_objective_gives_each_term_a_gradient_and_each_stochastic_term_a_key():
    """The style has another size than the picture."""
    maps, rows = nstjax.per_layer(statistics.feature_map), nstjax.per_layer(statistics.feature_vectors)
    layers = ("input", "relu1_2", "relu2_2")
    objective = Objective(
        (
            nstjax.Term("content", layers, maps, losses.sampled_alike(losses.self_similarity, positions=32), "content"),
            nstjax.Term("style", layers, maps, losses.sampled(losses.relaxed_earth_mover, positions=32), "style"),
            nstjax.Term("sliced", layers, rows, nstjax.layer_sum(losses.sliced_wasserstein), "style"),
            nstjax.Term("histogram", layers, rows, nstjax.layer_sum(losses.histogram_matching), "style"),
            nstjax.Term("nearest", layers[1:], statistics.Hypercolumns(), losses.nearest_cosine, "style"),
            nstjax.Term(
                "patches",
                layers,
                nstjax.per_layer(statistics.Patches()),
                nstjax.layer_sum(losses.markov_random_field),
                "style",
            ),
        )
    )
    network = narrow_vgg19("block2_conv2")
    content, style = jnp.asarray(smooth_picture(24, 32)), jnp.asarray(smooth_picture(20, 28, seed=1))
    targets = jax.jit(objective.targets)(network, content=content, style=style)

    @jax.jit
    def gradient_of(picture, weights, key):
        return jax.value_and_grad(
            lambda x: objective(x, network=network, targets=targets, weights=weights, key=key)[0]
        )(picture)

    for name in objective.names:
        weights = {term: jnp.float32(term == name) for term in objective.names}
        value, gradient = gradient_of(0.9 * content + 0.05, weights, KEY)
        other, _ = gradient_of(0.9 * content + 0.05, weights, jax.random.key(1))
        assert value > 0 and jnp.isfinite(gradient).all() and jnp.any(gradient != 0)
        assert (abs(other / value - 1) > 1e-4) == (name in ("content", "style", "sliced"))
