"""Tests of tiles: a picture computed tile by tile has the loss, the targets and the gradient of the whole one."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import narrow_vgg19, smooth_picture

import nstjax
from nstjax import losses, optimisers, statistics
from nstjax.errors import UserError
from nstjax.network.architecture import VGG19
from nstjax.objective import Objective, content_term, style_term
from nstjax.optimise import Method, Problem, init, run_chunk
from nstjax.shaping import normalised_gradient
from nstjax.statistics import PooledLaplacian, per_layer, sums_over_positions
from nstjax.tiling.checking import check_tiling
from nstjax.tiling.counts import find_powers
from nstjax.tiling.grid import cut_side, make_grid
from nstjax.types import PictureTerm, Term

LAYERS = ("relu1_1", "conv2_1", "pool2", "relu3_1")
TILE = 24
CONTENT, START = smooth_picture(101, 87), smooth_picture(101, 87, seed=3)
STYLES = [smooth_picture(92, 75, seed=1), smooth_picture(40, 39, seed=2)]


def rounding(value, reference):
    """Return the norm of the difference relative to the norm of the reference: of pictures, or of statistics."""
    return float(jnp.linalg.norm(value - reference) / jnp.linalg.norm(reference))


def corner(picture):
    """Return the guides of two regions: a corner, which ends inside of a tile, and the rest."""
    guides = np.zeros((2, *picture.shape[:2]), np.float32)
    guides[0, :30, :37] = 1
    guides[1] = 1 - guides[0]
    return guides


MSE = losses.mean_squared
CONTENTS = content_term(
    ("relu3_1", "conv1_2"), nstjax.layer_mean(losses.variance_scaled, weights={"relu3_1": 2, "conv1_2": 1})
)
WHOLE_MAPS = Term(
    "maps",
    ("relu2_1",),
    per_layer(statistics.feature_map),
    nstjax.layer_sum(lambda x, t: jnp.mean(jnp.abs(x - t))),
    "content",
)
EDGES = Term("edges", ("input",), per_layer(PooledLaplacian(4)), nstjax.layer_sum(MSE), target="content")
PICTURE_TERMS = (
    PictureTerm("tv", losses.total_variation_nine_point),
    PictureTerm("range", losses.value_range),
)
GRAM = style_term(LAYERS, statistics.gram, nstjax.layer_sum(losses.relative_squared))
MOMENTS = style_term(LAYERS, statistics.moments, nstjax.layer_sum(losses.mean_and_covariance))
CHANNELS = style_term(LAYERS[:2], statistics.mean_and_square, nstjax.layer_sum(losses.batch_norm_statistics))
SUMS = style_term(LAYERS[:2], statistics.gram_sum, nstjax.layer_mean(MSE))
OVER_PICTURE = Term("style", ("input", *LAYERS), statistics.gram_over_picture, nstjax.layer_sum(MSE), "style")
CASES = {
    "every statistic": ([GRAM, MOMENTS, CHANNELS, SUMS, OVER_PICTURE], {}, {}),
    "two styles in two regions": (
        [MOMENTS],
        {"padding": "edge", "pooling": "average"},
        {"blend": [[3, 1], [0, 1]], "style_guides": [*map(corner, STYLES)]},
    ),
    "two styles, one in part transparent": (
        [GRAM],
        {"padding": "reflect", "pooling": "l2"},
        {"blend": [1, 2], "style_alphas": [corner(STYLES[0])[1], None]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_terms_gradient_and_targets_are_those_of_the_whole_picture(case):
    style_terms, network, styles = CASES[case]
    vgg = narrow_vgg19("block3_conv1", **network)
    style_terms = [dataclasses.replace(term, name=f"style {k}") for k, term in enumerate(style_terms)]
    whole = Objective((CONTENTS, WHOLE_MAPS, *style_terms, EDGES, *PICTURE_TERMS))
    by_tiles = dataclasses.replace(whole, tile=TILE)
    recomputed = dataclasses.replace(by_tiles, recompute=True)
    assert make_grid(vgg, whole.layers, START.shape, TILE).count == 12

    @jax.jit
    def evaluate(x):
        results = []
        for objective in (whole, by_tiles, recomputed):
            pictures = STYLES if styles else STYLES[0]
            targets = objective.targets(vgg, content=CONTENT, style=pictures, **styles)
            guides = objective.guides(vgg, corner(CONTENT)) if "style_guides" in styles else None
            given = {"network": vgg, "targets": targets, "guides": guides, "weights": dict.fromkeys(whole.names, 1.0)}
            (_, parts), gradient = jax.value_and_grad(lambda x, o=objective, g=given: o(x, **g), has_aux=True)(x)
            results.append((parts, gradient, targets))
        return results

    expected, (parts, gradient, targets), again = evaluate(jnp.asarray(START))
    # The sums over a map are rounded in another order: float32 has 6e-8, and the deepest gradients pass nine layers.
    for name, part in parts.items():
        np.testing.assert_allclose(part, expected[0][name], rtol=1e-5, err_msg=name)
    assert rounding(gradient, expected[1]) < 1e-5
    for target, reference in zip(*map(jax.tree.leaves, (targets, expected[2])), strict=True):
        assert rounding(target, reference) < 1e-5
    # With the content's maps computed again, nothing differs but the order of sums.
    np.testing.assert_allclose([*again[0].values()], [*parts.values()], rtol=1e-6)
    assert rounding(again[1], gradient) < 1e-6
    assert jax.tree.leaves(again[2]["content"])[0].shape == CONTENT.shape


@pytest.mark.parametrize("optimiser", [optimisers.adam(), optimisers.lbfgs(memory=3)], ids=["adam", "lbfgs"])
def test_steps_are_those_of_the_whole_picture(optimiser):
    vgg = narrow_vgg19("block2_conv1", pooling="average")
    terms = (
        content_term("conv2_1", nstjax.layer_sum(MSE)),
        style_term(LAYERS[:2], statistics.gram, nstjax.layer_sum(MSE)),
    )
    pictures = []
    for tile in (None, TILE):
        method = Method(Objective(terms, tile=tile), optimiser)
        targets = jax.jit(method.objective.targets)(vgg, content=CONTENT, style=STYLES[0])
        problem = Problem(vgg, targets, {"content": jnp.float32(1), "style": jnp.float32(100)}, None, jnp.float32(0))
        state = init(method, jnp.asarray(START), learning_rate=0.02, key=jax.random.key(0))
        state, metrics = run_chunk(state, problem, 3, method=method)
        assert metrics["total"][2] < metrics["total"][0]
        pictures.append(state.parameters)
    # Three steps of Adam multiply a difference where a gradient is near zero: a few pixels move by 1e-5.
    assert rounding(pictures[1], pictures[0]) < 1e-5


def test_many_pictures_are_computed_by_tiles_at_once():
    vgg = narrow_vgg19("block1_conv2")
    objective = Objective((style_term("conv1_2", statistics.gram, nstjax.layer_sum(MSE)),), tile=TILE)
    targets = objective.targets(vgg, content=CONTENT, style=STYLES[0])

    @jax.jit
    def gradient(picture, weight):
        weights = {"style": weight}
        return jax.grad(lambda x: objective(x, network=vgg, targets=targets, weights=weights)[0])(picture)

    pictures, weights = jnp.stack([START, CONTENT]), jnp.array([1.0, 3.0])
    for batched, picture, weight in zip(jax.vmap(gradient)(pictures, weights), pictures, weights, strict=True):
        assert rounding(batched, gradient(picture, weight)) < 1e-5  # vmap adds up in another order


@pytest.mark.parametrize(("tile", "halo", "stride"), [(24, 10, 4), (16, 1, 1), (64, 78, 16), (3, 40, 8)])
def test_every_tile_lies_with_its_halo_in_a_window_inside_of_the_picture(tile, halo, stride):
    for length in range(stride, 900, 7):
        cut = cut_side(length, tile=tile, halo=halo, stride=stride)
        assert len(cut.starts) == len(cut.edges) - 1
        assert cut.edges[0] == 0
        assert cut.edges[-1] == length
        for start, first, end in zip(cut.starts, cut.edges[:-1], cut.edges[1:], strict=True):
            assert 0 <= start <= first < end <= start + cut.window <= length
            assert start % stride == first % stride == 0
            assert start == 0 or first - start >= halo
            assert start + cut.window == length or start + cut.window - end >= halo
        if len(cut.starts) > 1:
            assert all(end - first <= max(tile, stride) for first, end in itertools.pairwise(cut.edges[1:-1]))
            assert cut.window % stride == length % stride


def test_the_program_does_not_grow_with_the_picture():
    vgg = narrow_vgg19("block2_conv1")
    objective = Objective((style_term("conv2_1", statistics.gram, nstjax.layer_sum(MSE)),), tile=TILE)
    targets = objective.targets(vgg, content=CONTENT, style=STYLES[0])

    def count_lines(side):
        def loss(x):
            return objective(x, network=vgg, targets=targets, weights={"style": 1.0})[0]

        picture = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
        return str(jax.make_jaxpr(jax.grad(loss))(picture)).count("\n")

    assert count_lines(100) == count_lines(1000)


@pytest.mark.parametrize("layer", ["conv1_1", "relu1_2", "pool1", "relu2_1", "pool2", "conv3_4"])
def test_the_reach_of_a_layer_is_what_its_positions_see(layer):
    vgg = narrow_vgg19("block3_conv4", pooling="average")
    stride = vgg.stride(layer)

    def read(x):
        feature = vgg.features(x, [layer])[layer]
        return jnp.sum(feature[feature.shape[0] // 2, feature.shape[1] // 2] ** 2)

    picture = jnp.asarray(np.random.default_rng(0).uniform(size=(96, 96, 3)), jnp.float32)
    seen = np.flatnonzero(np.any(np.asarray(jax.grad(read)(picture)), axis=(1, 2)))
    first = 96 // stride // 2 * stride
    assert max(first - seen[0], seen[-1] - (first + stride - 1)) == vgg.reach([layer])


def test_the_reach_of_vgg19_is_its_published_receptive_field():
    # Block 5 sees 156 pixels from the start of conv5_1, and conv4_2 sees 84: Galerne et al. 2022.
    assert 2 * VGG19.reach("block5_conv1") + 16 == 156
    assert 2 * VGG19.reach("block4_conv2") + 8 == 84
    assert narrow_vgg19("block1_conv1").reach(["input"]) == 0


def root_of_mean(features_HxWxC, *, weight_HxW=None):
    return jnp.sqrt(statistics.mean(features_HxWxC, weight_HxW=weight_HxW))


@pytest.mark.parametrize(
    ("term", "line"),
    [
        (style_term(LAYERS, statistics.feature_vectors, nstjax.layer_sum(losses.SlicedWasserstein())), "all positions"),
        (Term("style", LAYERS, per_layer(statistics.gram), MSE, lambda network, content, style: 0), "a function makes"),
        (dataclasses.replace(GRAM, shaping=normalised_gradient), "--no-normalise-gradients"),
    ],
)
def test_a_term_that_cannot_be_computed_by_tiles_is_named_with_what_can(term, line):
    network = narrow_vgg19("block3_conv1")
    with pytest.raises(UserError, match=f"'style' cannot be computed by tiles.*{line}.*--tile none"):
        check_tiling([CONTENTS, term, *PICTURE_TERMS], network)
    with pytest.raises(UserError, match=r"stride\(layer\) and reach\(layers\)"):
        check_tiling([CONTENTS], object())


def test_a_statistic_that_is_no_sum_is_refused():
    with pytest.raises(UserError, match=r"root_of_mean .* is marked @sums_over_positions, but is no sum"):
        find_powers(per_layer(sums_over_positions(root_of_mean)), (("relu1_1", 3),))
