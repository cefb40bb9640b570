"""Several styles, regions with styles of their own, and shaped gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import features64, narrow_vgg19, smooth_picture, test_data

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
LAYERS = ("relu1_1", "relu2_1", "relu3_1")
WEIGHTS = {"content": 1.0, "style": 100.0, "tv": 0.01}
MSE = layer_sum(losses.mean_squared)


def deviation(features_HxWxC):
    """The root of a moment: no sum over positions."""
    return jnp.sqrt(jnp.mean(features_HxWxC**2, axis=(0, 1)) + 1e-3)


def with_style(statistic=statistics.gram, distance=MSE):
    return Objective(
        (
            Term("content", ("relu3_1",), per_layer(statistics.feature_map), MSE, "content"),
            Term("style", LAYERS, per_layer(statistic), distance, "style"),
            PictureTerm("tv", losses.total_variation_l1),
        )
    )


def value(objective, targets, *, picture=OTHER, guides=None, weights=WEIGHTS, key=None, network=None):
    return objective(picture, network=network or NETWORK, targets=targets, weights=weights, guides=guides, key=key)


def halves(picture, *, at):
    """Two regions, left and right of a column."""
    guides = np.zeros((2, *picture.shape[:2]), np.float32)
    guides[0, :, :at], guides[1, :, at:] = 1, 1
    return guides


def gram64(x, guide=None):
    """Gatys' guided Gram matrix ``(F o T)(F o T)^T / N``, T scaled to mean(T^2) = 1."""
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


def at_layer(guide, layer):
    for _ in range(int(layer[4]) - 1):
        guide = pooled64(guide)
    return guide


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


NETWORK = narrow_vgg19("block3_conv1", precision="highest")


# Several styles.


def test_one_style_gives_the_targets_that_it_always_gave():
    it = with_style()
    expected = {
        term.name: term.statistic(NETWORK.features(picture, term.layers))
        for term, picture in zip(it.terms[:2], (CONTENT, STYLES[0]), strict=True)
    }
    for style, blend in [(STYLES[0], None), ([STYLES[0]], None), (STYLES[0], [3.0]), (STYLES, [2.0, 0.0])]:
        assert_same(it.targets(NETWORK, content=CONTENT, style=style, blend=blend), expected)


@pytest.mark.parametrize(("blend", "shares"), [(None, (0.5, 0.5)), ([1.0, 3.0], (0.25, 0.75))])
def test_gram_matrices_are_blended_themselves(blend, shares):
    targets = with_style().targets(NETWORK, content=CONTENT, style=STYLES, blend=blend)
    features = [NETWORK.features(style, LAYERS) for style in STYLES]
    for layer in LAYERS:
        expected = sum(share * gram64(maps[layer]) for share, maps in zip(shares, features, strict=True))
        np.testing.assert_allclose(targets["style"][layer], expected, rtol=1e-5)


def test_of_anything_else_the_losses_are_blended():
    it = with_style(deviation)
    blended = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=[1.0, 3.0])
    alone = [value(it, it.targets(NETWORK, content=CONTENT, style=style))[1]["style"] for style in STYLES]
    assert isinstance(blended["style"], Mixture) and abs(alone[0] / alone[1] - 1) > 0.1
    total, parts = value(it, blended)
    np.testing.assert_allclose(parts["style"], 0.25 * alone[0] + 0.75 * alone[1], rtol=1e-5)
    np.testing.assert_allclose(total, sum(WEIGHTS[name] * parts[name] for name in parts), rtol=1e-6)


def test_another_blend_compiles_nothing():
    it = with_style(deviation)
    compiled = jax.jit(lambda targets: value(it, targets)[0])
    for blend in ([1.0, 1.0], [1.0, 5.0]):
        targets = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend)
        np.testing.assert_allclose(compiled(targets), value(it, targets)[0], rtol=1e-5)
    assert compiled._cache_size() == 1


def test_each_style_of_a_stochastic_distance_draws_its_own_numbers():
    def drawn(x, t, key):
        return jax.random.uniform(key) + 0 * jnp.sum(x["relu1_1"])

    it, key = with_style(deviation, drawn), jax.random.key(5)
    targets = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=[1.0, 3.0])
    first, second = (jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, 1), m)) for m in (0, 1))
    assert abs(first - second) > 0.01
    found = value(it, targets, key=key)[1]["style"]
    np.testing.assert_allclose(found, 0.25 * first + 0.75 * second, rtol=1e-5)
    with pytest.raises(ValueError, match=r"style.*pass key="):
        value(it, targets)


# Regions.


@pytest.mark.parametrize("pooling", ["max", "average", "l2"])
def test_guides_are_pooled_as_features_are(pooling):
    network = narrow_vgg19("block4_conv1", pooling=pooling)
    guides = np.random.default_rng(0).uniform(0, 1, (3, 27, 21)).astype(np.float32)
    layers = ["input", "relu1_2", "conv2_1", "pool2", "block4_conv1"]
    found = network.guides(guides, layers)
    features = network.features(smooth_picture(27, 21), layers)
    assert list(found) == layers
    for layer, halvings in zip(layers, (0, 0, 1, 2, 3), strict=True):
        assert found[layer].shape == (3, *features[layer].shape[:2]) and found[layer].dtype == jnp.float32
        for weights, T in zip(found[layer], guides, strict=True):
            for _ in range(halvings):
                T = pooled64(T, pooling)
            np.testing.assert_allclose(weights, T**2 / np.mean(T.astype(np.float64) ** 2), rtol=1e-5)


def test_a_region_that_pooling_drops_weighs_nothing():
    it, guides = with_style(), halves(CONTENT, at=30)  # the last of 31 columns
    weights = it.guides(NETWORK, guides)
    assert weights["relu1_1"][1].max() > 0 and not weights["relu2_1"][1].any()
    targets = it.targets(NETWORK, content=CONTENT, style=CONTENT, style_guides=[guides])
    gradient = jax.grad(lambda x: value(it, targets, picture=x, guides=weights)[0])(OTHER)
    assert jnp.isfinite(gradient).all() and gradient.any()


def test_guided_losses_are_gatys():
    """Two regions: a blend of part of one style and all of another on the left, all of the other on the right."""
    it = with_style()
    content_guides = halves(CONTENT, at=12)
    style_guides = [halves(STYLES[0], at=9), None]
    blend = [[1.0, 1.0], [0.0, 2.0]]
    targets = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend, style_guides=style_guides)
    found = value(it, targets, guides=it.guides(NETWORK, content_guides))[1]["style"]
    x, first, second = (NETWORK.features(picture, LAYERS) for picture in (OTHER, *STYLES))
    expected = 0.0
    for layer in LAYERS:
        left, right = (gram64(x[layer], at_layer(T, layer)) for T in content_guides)
        whole = gram64(second[layer])
        blended = 0.5 * gram64(first[layer], at_layer(style_guides[0][0], layer)) + 0.5 * whole
        expected += (np.mean((left - blended) ** 2) + np.mean((right - whole) ** 2)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # differences of like float32 matrices


def test_a_style_may_lack_a_region_in_which_it_has_no_share():
    it = with_style()
    guides = halves(STYLES[0], at=9)
    lacking = guides * np.array([1, 0], np.float32)[:, None, None]
    blend = [[1.0, 1.0], [0.0, 1.0]]
    one, other = (
        it.targets(NETWORK, content=CONTENT, style=STYLES, blend=blend, style_guides=[it_, None])
        for it_ in (guides, lacking)
    )
    assert_same(one, other)


def test_a_region_moves_no_pixel_that_it_does_not_see():
    it = Objective((Term("style", ("relu1_1", "relu2_1"), per_layer(statistics.gram), MSE, "style"),))
    guides = halves(CONTENT, at=8)[:1]
    targets = it.targets(NETWORK, content=CONTENT, style=STYLES[0], blend=[[1.0]])
    weights = it.guides(NETWORK, guides)
    gradient = jax.grad(lambda x: value(it, targets, picture=x, guides=weights)[0])(OTHER)
    # Of relu2_1's positions the first 4 have a weight; position p sees the pixels 2p - 4 to 2p + 5.
    assert not gradient[:, 12:].any()
    assert (jnp.abs(gradient[:, :8]).max(axis=(0, 2)) > 0).all()


def test_statistics_of_a_whole_term_have_regions_too():
    """The Keras example's Gram matrices: of each layer, over the picture's size, ``input`` being looked at for that."""
    it = Objective((Term("style", ("input", *LAYERS), statistics.gram_over_picture, MSE, "style"),))
    guides = [halves(CONTENT, at=12), halves(STYLES[0], at=9)]
    targets = it.targets(NETWORK, content=CONTENT, style=jnp.asarray(STYLES[0]), style_guides=guides[1:])
    found = value(it, targets, guides=it.guides(NETWORK, guides[0]))[1]["style"]
    maps = [NETWORK.features(picture, LAYERS) for picture in (OTHER, STYLES[0])]
    expected = 0.0
    for layer in LAYERS:
        for region in (0, 1):
            G, A = (
                gram64(of[layer], at_layer(T[region], layer)) * of[layer][..., 0].size / T[region].size
                for of, T in zip(maps, guides, strict=True)
            )
            expected += np.mean((G - A) ** 2) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # differences of like float32 matrices


def test_a_region_of_everything_is_no_region():
    it = with_style()
    whole = [jnp.ones((1, *picture.shape[:2])) for picture in (CONTENT, STYLES[0])]
    plain = it.targets(NETWORK, content=CONTENT, style=STYLES[0])
    guided = it.targets(NETWORK, content=CONTENT, style=STYLES[0], style_guides=whole[1:])
    expected, found = value(it, plain), value(it, guided, guides=it.guides(NETWORK, whole[0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_weights_are_swept_over_mixtures_that_are_shared():
    it = with_style()
    style_guides = [halves(style, at=9) for style in STYLES]
    targets = jax.jit(lambda styles, guides: it.targets(NETWORK, content=CONTENT, style=styles, style_guides=guides))(
        list(STYLES), style_guides
    )
    guides = it.guides(NETWORK, halves(CONTENT, at=12))
    of = lambda weight: value(it, targets, guides=guides, weights={**WEIGHTS, "style": weight})[0]  # noqa: E731
    weights = jnp.array([1.0, 10.0, 100.0])
    expected = [of(weight) for weight in weights]
    np.testing.assert_allclose(jax.jit(jax.vmap(of))(weights), expected, rtol=1e-5)


def test_real_regions_equal_gatys_formula_in_float64(real_weights):
    from nstjax import images

    def read(name):
        picture, mask = (images.read(test_data() / "masks" / f"in17_{name}{it}.png") for it in ("", "_mask"))
        rgb, mask = images.resize(picture, 64).rgb, images.resize(mask, 64).rgb[..., 0] > 0.5
        return rgb, np.stack([mask, ~mask]).astype(np.float32)

    (content, content_guides), (style, style_guides) = read("content"), read("style")
    it, network = with_style(), build(real_weights, precision="highest")
    targets = it.targets(network, content=content, style=style, style_guides=[style_guides])
    guides = it.guides(network, content_guides)
    found = value(it, targets, picture=jnp.asarray(content), guides=guides, network=network)[1]["style"]
    of = lambda x: features64(real_weights.parameters, real_weights.flavour, x)  # noqa: E731
    x, t = of(content), of(style)
    expected = 0.0
    for layer in LAYERS:
        step = f"block{layer[4]}_conv1"
        for T, S in zip(content_guides, style_guides, strict=True):
            G, A = gram64(x[step], at_layer(T, layer)), gram64(t[step], at_layer(S, layer))
            expected += np.mean((G - A) ** 2) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # squares of differences of float32 matrices


# What cannot be.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blend": [1.0]}, "a number for each of 2 styles"),
        ({"blend": [1.0, -1.0]}, r"at least 0.*got \[1.0, -1.0\]"),
        ({"blend": [[1.0, 1.0], [0.0, 0.0]]}, r"one of them is more: got \[0.0, 0.0\]"),
        ({"blend": [1.0, float("nan")]}, "at least 0"),
        ({"blend": [[1.0, 1.0], 1.0]}, "a row of them a region: got 1.0"),
        ({"blend": [[1.0, 1.0]], "style_guides": [halves(STYLES[0], at=9), None]}, "1 rows, the style guides 2"),
        ({"style_guides": [halves(STYLES[0], at=9)]}, "1 style guides for 2 styles"),
        ({"style_guides": [None, halves(STYLES[0], at=9)]}, r"style 2 must be \['regions', 21, 33\].*\[2, 26, 22\]"),
        ({"style_guides": [halves(STYLES[0], at=9), halves(STYLES[1], at=9)[:1]]}, r"same regions: got \[1, 2\]"),
    ],
)
def test_what_does_not_fit_the_styles_is_refused(options, message):
    with pytest.raises(UserError, match=message) as caught:
        with_style().targets(NETWORK, content=CONTENT, style=STYLES, **options)
    assert "\n" not in str(caught.value)


def test_only_sums_over_positions_have_regions():
    with pytest.raises(UserError, match="'style' cannot be guided by regions"):
        with_style(deviation).targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [0.0, 1.0]])


def test_guides_must_fit_the_picture_and_the_targets():
    it = with_style()
    regional = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [0.0, 1.0]])
    plain = it.targets(NETWORK, content=CONTENT, style=STYLES)
    guides = halves(CONTENT, at=12)
    with pytest.raises(ValueError, match="pass guides="):
        value(it, regional)
    with pytest.raises(ValueError, match="has no regions"):
        value(it, plain, guides=it.guides(NETWORK, guides))
    for wrong in (guides[:1], guides[:, :20]):
        with pytest.raises(UserError, match=r"guides at relu1_1 must be \[2, 25, 31\]"):
            value(it, regional, guides=it.guides(NETWORK, wrong))
    with pytest.raises(UserError, match=r"\[R, H, W\].*not \[25, 31\]"):
        it.guides(NETWORK, guides[0])
    with pytest.raises(UserError, match="3x25 pixels are too small for relu3_1: at least 4"):
        it.guides(NETWORK, guides[:, :, :3])


def test_a_network_without_guides_serves_where_there_are_none():
    class Plain:
        def features(self, picture, layers):
            return NETWORK.features(picture, layers)

    it = with_style()
    targets = it.targets(Plain(), content=CONTENT, style=STYLES)
    assert value(it, targets, network=Plain())[0] == value(it, targets)[0]
    with pytest.raises(UserError, match="Plain carries no region guides"):
        it.guides(Plain(), halves(CONTENT, at=12))


# Shaped gradients.


def test_shaped_gradients_are_neural_styles():
    """At every map of every term ``strength * g / (|g|_1 + 1e-8)``, g being the gradient of the term's loss there."""
    it = Objective(with_style().terms[:2])
    targets = it.targets(NETWORK, content=CONTENT, style=STYLES[0])
    weights = {"content": 5.0, "style": 100.0}
    features, back = jax.vjp(lambda x: NETWORK.features(x, it.layers), OTHER)
    gradients = {layer: np.zeros(map.shape) for layer, map in features.items()}
    for term in it.terms:
        for layer in term.layers:
            of = lambda x, term=term, layer=layer: losses.mean_squared(  # noqa: E731
                term.statistic.statistic(x), targets[term.name][layer]
            )
            g = np.asarray(jax.grad(of)(features[layer]), np.float64)
            gradients[layer] += weights[term.name] * g / np.abs(g).sum()
    (expected,) = back({layer: jnp.float32(g) for layer, g in gradients.items()})
    shaped = it.shaped(normalised_gradient)
    (loss, parts), found = jax.value_and_grad(
        lambda x: value(shaped, targets, picture=x, weights=weights), has_aux=True
    )(OTHER)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())  # of many float32 terms
    unshaped = value(it, targets, weights=weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), (loss, parts), unshaped)


def test_shaped_objectives_compare_by_how_they_are_shaped():
    it = with_style()
    shaped, again = (objective.shaped(normalised_gradient) for objective in (it, with_style()))
    assert shaped == again and hash(shaped) == hash(again)
    assert shaped != it and shaped.shaped(None) == it
    assert shaped.terms[2] == it.terms[2]
    assert_same(*(o.targets(NETWORK, content=CONTENT, style=STYLES[0]) for o in (it, shaped)))


def test_shaping_sees_the_weights_that_are_swept():
    it = with_style().shaped(normalised_gradient)
    targets = it.targets(NETWORK, content=CONTENT, style=STYLES, blend=[[1.0, 0.0], [1.0, 2.0]])
    guides = it.guides(NETWORK, halves(CONTENT, at=12))

    def gradient(weight):
        weights = {"content": 0.0, "style": weight, "tv": 0.0}
        return jax.grad(lambda x: value(it, targets, picture=x, guides=guides, weights=weights)[0])(OTHER)

    weights = jnp.array([1.0, 10.0])
    swept = jax.vmap(gradient)(weights)
    # Batched sums run in another order.
    for weight, found in zip((1.0, 10.0), swept, strict=True):
        expected = gradient(weight)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(swept[1], 10 * swept[0], rtol=1e-3, atol=1e-4 * np.abs(swept[1]).max())
