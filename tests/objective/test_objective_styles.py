"""Tests of several styles, of regions with different styles, and of shaped gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, find_test_data, narrow_vgg19, smooth_picture

from nstjax import losses, statistics
from nstjax.blending import Mixture
from nstjax.errors import UserError
from nstjax.losses import layer_sum
from nstjax.network.load import build
from nstjax.objective import Objective
from nstjax.shaping import normalised_gradient
from nstjax.statistics import per_layer
from nstjax.types import PictureTerm, Term

CONTENT = smooth_picture(25, 31)
STYLES = (smooth_picture(26, 22, seed=1), smooth_picture(21, 33, seed=2))
OTHER = jnp.asarray(smooth_picture(25, 31, seed=3))
LAYERS = ("relu1_1", "relu2_1")
WEIGHTS = {"content": 1.0, "style": 100.0, "tv": 0.01}
MSE = layer_sum(losses.mean_squared)


def deviation(features_HxWxC):
    """Return the root of a moment, which is not a sum over positions."""
    return jnp.sqrt(jnp.mean(features_HxWxC**2, axis=(0, 1)) + 1e-3)


def make_objective(statistic=statistics.gram, distance=MSE):
    return Objective(
        (
            Term("content", ("relu2_1",), per_layer(statistics.feature_map), MSE, "content"),
            Term("style", LAYERS, per_layer(statistic), distance, "style"),
            PictureTerm("tv", losses.total_variation_l1),
        )
    )


def value(objective, targets, *, picture=OTHER, guides=None, weights=WEIGHTS, key=None, network=None):
    return objective(picture, network=network or NETWORK, targets=targets, weights=weights, guides=guides, key=key)


def halves(picture, *, at):
    """Return the guides of two regions, left and right of a column."""
    guides = np.zeros((2, *picture.shape[:2]), np.float32)
    guides[0, :, :at], guides[1, :, at:] = 1, 1
    return guides


def gram64(x, guide=None):
    """Return Gatys' guided Gram matrix ``(F o T)(F o T)^T / N``, with T scaled to mean(T^2) = 1."""
    x = np.asarray(x, np.float64)
    if guide is not None:
        x = x * (guide / np.sqrt(np.mean(guide**2)))[..., None]
    rows = x.reshape(-1, x.shape[-1])
    return rows.T @ rows / len(rows)


def pooled64(guide, pooling="max"):
    h, w = guide.shape
    four = [guide[i : h // 2 * 2 : 2, j : w // 2 * 2 : 2].astype(np.float64) for i in (0, 1) for j in (0, 1)]
    reduce = {"max": np.max, "average": np.mean, "l2": lambda a, axis: np.sqrt((a**2).sum(axis))}[pooling]
    return reduce(np.stack(four), axis=0)


def pool_to_layer(guide, layer):
    for _ in range(int(layer[4]) - 1):
        guide = pooled64(guide)
    return guide


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


NETWORK = narrow_vgg19("block2_conv1", precision="highest")


# Several styles.


def test_the_targets_of_one_style_are_its_plain_statistics():
    objective = make_objective()
    expected = {
        term.name: term.statistic(NETWORK.features(picture, term.layers))
        for term, picture in zip(objective.terms[:2], (CONTENT, STYLES[0]), strict=True)
    }
    for style, blend in [(STYLES[0], None), ([STYLES[0]], None), (STYLES[0], [3.0]), (STYLES, [2.0, 0.0])]:
        assert_same(objective.targets(NETWORK, content=CONTENT, style=style, blend=blend), expected)


@pytest.mark.parametrize(("blend", "shares"), [(None, (0.5, 0.5)), ([1.0, 3.0], (0.25, 0.75))])
def test_gram_matrices_of_styles_are_blended(blend, shares):
    targets = make_objective().targets(NETWORK, content=CONTENT, style=STYLES, blend=blend)
    features = [NETWORK.features(style, LAYERS) for style in STYLES]
    for layer in LAYERS:
        expected = sum(share * gram64(maps[layer]) for share, maps in zip(shares, features, strict=True))
        np.testing.assert_allclose(targets["style"][layer], expected, rtol=1e-5)


def test_losses_are_blended_where_a_statistic_is_not_a_sum_over_positions():
    objective = make_objective(deviation)
    blended = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=[1.0, 3.0])
    alone = [value(objective, objective.targets(NETWORK, content=CONTENT, style=style))[1]["style"] for style in STYLES]
    assert isinstance(blended["style"], Mixture) and abs(alone[0] / alone[1] - 1) > 0.1
    total, parts = value(objective, blended)
    np.testing.assert_allclose(parts["style"], 0.25 * alone[0] + 0.75 * alone[1], rtol=1e-5)
    np.testing.assert_allclose(total, sum(WEIGHTS[name] * parts[name] for name in parts), rtol=1e-6)


def test_a_new_blend_compiles_nothing():
    objective = make_objective(deviation)
    compiled = jax.jit(lambda targets: value(objective, targets)[0])
    for blend in ([1.0, 1.0], [1.0, 5.0]):
        targets = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend)
        np.testing.assert_allclose(compiled(targets), value(objective, targets)[0], rtol=1e-5)
    assert compiled._cache_size() == 1


def test_a_stochastic_distance_draws_other_numbers_for_each_style():
    def draw(x, t, key):
        return jax.random.uniform(key) + 0 * jnp.sum(x["relu1_1"])

    objective, key = make_objective(deviation, draw), jax.random.key(5)
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=[1.0, 3.0])
    first, second = (jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, 1), m)) for m in (0, 1))
    assert abs(first - second) > 0.01
    actual = value(objective, targets, key=key)[1]["style"]
    np.testing.assert_allclose(actual, 0.25 * first + 0.75 * second, rtol=1e-5)
    with pytest.raises(ValueError, match=r"style.*pass key="):
        value(objective, targets)


# Regions.


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_guides_are_pooled_like_features(pooling):
    network = narrow_vgg19("block4_conv1", pooling=pooling)
    guides = np.random.default_rng(0).uniform(0, 1, (3, 27, 21)).astype(np.float32)
    layers = ["input", "relu1_2", "conv2_1", "pool2", "block4_conv1"]
    actual = network.guides(guides, layers)
    features = jax.eval_shape(lambda x: network.features(x, layers), smooth_picture(27, 21))
    assert list(actual) == layers
    for layer, halvings in zip(layers, (0, 0, 1, 2, 3), strict=True):
        assert actual[layer].shape == (3, *features[layer].shape[:2]) and actual[layer].dtype == jnp.float32
        for weights, T in zip(actual[layer], guides, strict=True):
            for _ in range(halvings):
                T = pooled64(T, pooling)
            np.testing.assert_allclose(weights, T**2 / np.mean(T.astype(np.float64) ** 2), rtol=1e-5)


def test_a_region_that_pooling_drops_has_zero_weights():
    objective, guides = make_objective(), halves(CONTENT, at=30)  # the last of 31 columns
    weights = objective.guides(NETWORK, guides)
    assert weights["relu1_1"][1].max() > 0 and not weights["relu2_1"][1].any()
    targets = objective.targets(NETWORK, content=CONTENT, style=CONTENT, style_guides=[guides])
    gradient = jax.jit(jax.grad(lambda x: value(objective, targets, picture=x, guides=weights)[0]))(OTHER)
    assert jnp.isfinite(gradient).all() and gradient.any()


def test_guided_losses_equal_gatys_formula():
    """The left region has part of one style and all of another; the right region has all of the other."""
    objective = make_objective()
    content_guides = halves(CONTENT, at=12)
    style_guides = [halves(STYLES[0], at=9), None]
    blend = [[1.0, 1.0], [0.0, 2.0]]
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend, style_guides=style_guides)
    actual = value(objective, targets, guides=objective.guides(NETWORK, content_guides))[1]["style"]
    x, first, second = (NETWORK.features(picture, LAYERS) for picture in (OTHER, *STYLES))
    expected = 0.0
    for layer in LAYERS:
        left, right = (gram64(x[layer], pool_to_layer(T, layer)) for T in content_guides)
        whole = gram64(second[layer])
        blended = 0.5 * gram64(first[layer], pool_to_layer(style_guides[0][0], layer)) + 0.5 * whole
        expected += (np.mean((left - blended) ** 2) + np.mean((right - whole) ** 2)) / 2
    np.testing.assert_allclose(actual, expected, rtol=1e-4)  # differences of similar float32 matrices


def test_a_style_needs_no_guide_where_its_share_is_zero():
    objective = make_objective()
    guides = halves(STYLES[0], at=9)
    lacking = guides * np.array([1, 0], np.float32)[:, None, None]
    blend = [[1.0, 1.0], [0.0, 1.0]]
    targets, targets_without_region = (
        objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend, style_guides=[style_guides, None])
        for style_guides in (guides, lacking)
    )
    assert_same(targets, targets_without_region)


def test_a_region_has_no_gradient_outside_its_receptive_field():
    objective = Objective((Term("style", ("relu1_1", "relu2_1"), per_layer(statistics.gram), MSE, "style"),))
    guides = halves(CONTENT, at=8)[:1]
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLES[0], blend=[[1.0]])
    weights = objective.guides(NETWORK, guides)
    gradient = jax.jit(jax.grad(lambda x: value(objective, targets, picture=x, guides=weights)[0]))(OTHER)
    # The first 4 columns of relu2_1 have weights; column p sees the pixels 2p - 4 to 2p + 5.
    assert not gradient[:, 12:].any()
    assert (jnp.abs(gradient[:, :8]).max(axis=(0, 2)) > 0).all()


def test_statistics_of_a_whole_term_have_regions_too():
    """The Gram matrices of the Keras example look at ``input`` for the size of the picture."""
    objective = Objective((Term("style", ("input", *LAYERS), statistics.gram_over_picture, MSE, "style"),))
    guides = [halves(CONTENT, at=12), halves(STYLES[0], at=9)]
    targets = objective.targets(NETWORK, content=CONTENT, style=jnp.asarray(STYLES[0]), style_guides=guides[1:])
    actual = value(objective, targets, guides=objective.guides(NETWORK, guides[0]))[1]["style"]
    maps = [NETWORK.features(picture, LAYERS) for picture in (OTHER, STYLES[0])]
    expected = 0.0
    for layer in LAYERS:
        for region in (0, 1):
            G, A = (
                gram64(F[layer], pool_to_layer(T[region], layer)) * F[layer][..., 0].size / T[region].size
                for F, T in zip(maps, guides, strict=True)
            )
            expected += np.mean((G - A) ** 2) / 2
    np.testing.assert_allclose(actual, expected, rtol=1e-4)  # differences of similar float32 matrices


def test_a_region_of_the_whole_picture_equals_no_region():
    objective = make_objective()
    whole = [jnp.ones((1, *picture.shape[:2])) for picture in (CONTENT, STYLES[0])]
    plain = objective.targets(NETWORK, content=CONTENT, style=STYLES[0])
    guided = objective.targets(NETWORK, content=CONTENT, style=STYLES[0], style_guides=whole[1:])
    expected, actual = value(objective, plain), value(objective, guided, guides=objective.guides(NETWORK, whole[0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), actual, expected)


def test_vmap_over_weights_with_shared_mixtures_equals_a_loop():
    objective = make_objective()
    style_guides = [halves(style, at=9) for style in STYLES]
    targets = jax.jit(
        lambda styles, guides: objective.targets(NETWORK, content=CONTENT, style=styles, style_guides=guides)
    )(list(STYLES), style_guides)
    guides = objective.guides(NETWORK, halves(CONTENT, at=12))

    def total(weight):
        return value(objective, targets, guides=guides, weights={**WEIGHTS, "style": weight})[0]

    weights = jnp.array([1.0, 10.0, 100.0])
    expected = [total(weight) for weight in weights]
    np.testing.assert_allclose(jax.jit(jax.vmap(total))(weights), expected, rtol=1e-5)


def test_real_regions_equal_gatys_formula_in_float64(real_weights):
    from nstjax import images

    def read(name):
        picture, mask = (
            images.read(find_test_data() / "masks" / f"in17_{name}{suffix}.png") for suffix in ("", "_mask")
        )
        rgb, mask = images.resize(picture, 64).rgb, images.resize(mask, 64).rgb[..., 0] > 0.5
        return rgb, np.stack([mask, ~mask]).astype(np.float32)

    (content, content_guides), (style, style_guides) = read("content"), read("style")
    objective, network = make_objective(), build(real_weights, precision="highest")
    targets = objective.targets(network, content=content, style=style, style_guides=[style_guides])
    guides = objective.guides(network, content_guides)
    actual = value(objective, targets, picture=jnp.asarray(content), guides=guides, network=network)[1]["style"]
    x, t = (features64(real_weights.parameters, real_weights.flavour, picture) for picture in (content, style))
    expected = 0.0
    for layer in LAYERS:
        name = f"block{layer[4]}_conv1"
        for T, S in zip(content_guides, style_guides, strict=True):
            G, A = gram64(x[name], pool_to_layer(T, layer)), gram64(t[name], pool_to_layer(S, layer))
            expected += np.mean((G - A) ** 2) / 2
    np.testing.assert_allclose(actual, expected, rtol=1e-4)  # squares of differences of float32 matrices


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blend": [1.0]}, "a number for each of 2 styles"),
        ({"blend": [1.0, -1.0]}, r"at least 0.*got \[1.0, -1.0\]"),
        ({"blend": [[1.0, 1.0], [0.0, 0.0]]}, r"one must be greater than 0: got \[0.0, 0.0\]"),
        ({"blend": [1.0, float("nan")]}, "at least 0"),
        ({"blend": [[1.0, 1.0], 1.0]}, "a row of them for each region: got 1.0"),
        (
            {"blend": [[1.0, 1.0]], "style_guides": [halves(STYLES[0], at=9), None]},
            "1 rows, but the style guides have 2 regions",
        ),
        ({"style_guides": [halves(STYLES[0], at=9)]}, "1 style guides for 2 styles"),
        ({"style_guides": [None, halves(STYLES[0], at=9)]}, r"style 2 must be \['regions', 21, 33\].*\[2, 26, 22\]"),
        ({"style_guides": [halves(STYLES[0], at=9), halves(STYLES[1], at=9)[:1]]}, r"same regions: got \[1, 2\]"),
    ],
)
def test_blends_and_guides_that_do_not_fit_the_styles_raise(options, message):
    with pytest.raises(UserError, match=message) as caught:
        make_objective().targets(NETWORK, content=CONTENT, style=STYLES, **options)
    assert "\n" not in str(caught.value)


def test_regions_need_a_sum_over_positions():
    with pytest.raises(UserError, match="'style' cannot be guided by regions"):
        make_objective(deviation).targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.usefixtures("unchecked_types")
def test_guides_that_do_not_fit_the_picture_or_the_targets_raise():
    objective = make_objective()
    regional = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [0.0, 1.0]])
    plain = objective.targets(NETWORK, content=CONTENT, style=STYLES)
    guides = halves(CONTENT, at=12)
    with pytest.raises(ValueError, match="pass guides="):
        value(objective, regional)
    with pytest.raises(ValueError, match="has no regions"):
        value(objective, plain, guides=objective.guides(NETWORK, guides))
    for wrong, line in ((guides[:1], "must have 2 regions"), (guides[:, :20], r"must be \[2, 25, 31\]")):
        with pytest.raises(UserError, match=f"guides at relu1_1 {line}"):
            value(objective, regional, guides=objective.guides(NETWORK, wrong))
    with pytest.raises(UserError, match=r"\[R, H, W\].*not \[25, 31\]"):
        objective.guides(NETWORK, guides[0])
    with pytest.raises(UserError, match="1x25 pixels are too small for relu2_1, which needs at least 2"):
        objective.guides(NETWORK, guides[:, :, :1])


def test_a_network_without_guides_works_without_regions():
    class Plain:
        def features(self, picture, layers):
            return NETWORK.features(picture, layers)

    objective = make_objective()
    targets = objective.targets(Plain(), content=CONTENT, style=STYLES)
    assert value(objective, targets, network=Plain())[0] == value(objective, targets)[0]
    with pytest.raises(UserError, match="Plain carries no region guides"):
        objective.guides(Plain(), halves(CONTENT, at=12))


# Shaped gradients.


def test_shaped_gradients_equal_neural_styles_formula():
    """Each map of each term gets the gradient ``strength * g / (|g|_1 + 1e-8)``, where g is that of the bare loss."""
    objective = Objective(make_objective().terms[:2])
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLES[0])
    weights = {"content": 5.0, "style": 100.0}
    features, back = jax.vjp(lambda x: NETWORK.features(x, objective.layers), OTHER)
    gradients = {layer: np.zeros(F.shape) for layer, F in features.items()}
    for term in objective.terms:
        for layer in term.layers:
            statistic, target = term.statistic.statistic, targets[term.name][layer]
            loss = lambda x, statistic=statistic, t=target: losses.mean_squared(statistic(x), t)  # noqa: E731
            g = np.asarray(jax.grad(loss)(features[layer]), np.float64)
            gradients[layer] += weights[term.name] * g / np.abs(g).sum()
    (expected,) = back({layer: jnp.float32(g) for layer, g in gradients.items()})
    shaped = objective.with_shaping(normalised_gradient)
    (loss, parts), actual = jax.value_and_grad(
        lambda x: value(shaped, targets, picture=x, weights=weights), has_aux=True
    )(OTHER)
    # Both are sums of many float32 numbers.
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    unshaped = value(objective, targets, weights=weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), (loss, parts), unshaped)


def test_objectives_compare_by_their_shaping():
    objective = make_objective()
    shaped, same = objective.with_shaping(normalised_gradient), make_objective().with_shaping(normalised_gradient)
    assert shaped == same and hash(shaped) == hash(same)
    assert shaped != objective and shaped.with_shaping(None) == objective
    assert shaped.terms[2] == objective.terms[2]
    assert_same(*(either.targets(NETWORK, content=CONTENT, style=STYLES[0]) for either in (objective, shaped)))


def test_shaping_sees_weights_under_vmap():
    objective = make_objective().with_shaping(normalised_gradient)
    targets = objective.targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [1.0, 2.0]])
    guides = objective.guides(NETWORK, halves(CONTENT, at=12))

    @jax.jit
    def gradient(weight):
        weights = {"content": 0.0, "style": weight, "tv": 0.0}
        return jax.grad(lambda x: value(objective, targets, picture=x, guides=guides, weights=weights)[0])(OTHER)

    weights = jnp.array([1.0, 10.0])
    swept = jax.vmap(gradient)(weights)
    # Batched sums run in another order.
    for weight, actual in zip((1.0, 10.0), swept, strict=True):
        expected = gradient(weight)
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(swept[1], 10 * swept[0], rtol=1e-3, atol=1e-4 * np.abs(swept[1]).max())
