"""Winograd's filtering against direct convolution: features, gradients, and where it is used."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import convolve64, random_weights, smooth_picture, test_data

import nstjax
from nstjax import images
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.resolve import _REPAYS
from nstjax.network import convolution
from nstjax.network.load import build

SHAPES = [(8, 8), (9, 12), (7, 5), (3, 18), (1, 4), (1, 1)]


def example(h, w, c, k):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((h, w, c)).astype(np.float32)
    kernel = generator.standard_normal((3, 3, c, k)) / np.sqrt(9 * c)
    return x, kernel.astype(np.float32)


def relative(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("channels", [(64, 128), (128, 64)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_one_convolution_equals_float64(shape, channels, padding):
    x, kernel = example(*shape, *channels)
    prepared = convolution.prepare(kernel, backend="winograd")
    assert isinstance(prepared, convolution.Winograd)
    mode = {"zero": "constant", "reflect": "reflect"}[padding]
    expected = convolve64(x, kernel, 0.0, mode=mode)
    found = convolution.apply(jnp.asarray(x), prepared, padding=padding)
    assert found.shape == expected.shape and found.dtype == jnp.float32
    assert relative(found, expected) < 5e-6  # a few roundings more than a direct sum's 1e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_one_convolutions_gradient_equals_that_of_direct_convolution(shape, padding):
    x, kernel = example(*shape, 64, 128)
    to = jnp.asarray(example(*shape, 128, 64)[0])
    gradients = {}
    for backend in ("direct", "winograd"):
        prepared = convolution.prepare(kernel, backend=backend)

        def product(x, prepared=prepared):
            return jnp.vdot(convolution.apply(x, prepared, padding=padding), to)

        gradients[backend] = jax.grad(product)(jnp.asarray(x))
    assert relative(gradients["winograd"], gradients["direct"]) < 5e-6  # as above


def test_the_kernels_own_gradient_is_that_of_what_is_computed():
    x, kernel = map(jnp.asarray, example(5, 6, 64, 128))
    prepared = convolution.prepare(np.asarray(kernel), backend="winograd")
    found = jax.grad(lambda it: jnp.sum(convolution.apply(x, it) ** 2))(prepared)
    nudge = 1e-2 * jnp.ones_like(prepared.kernel[2])
    kernel = [*prepared.kernel[:2], prepared.kernel[2] + nudge, *prepared.kernel[3:]]
    moved = dataclasses.replace(prepared, kernel=kernel)
    change = jnp.sum(convolution.apply(x, moved) ** 2) - jnp.sum(convolution.apply(x, prepared) ** 2)
    # The loss is quadratic in the kernel: what is left beside the linear part is the square of the change.
    square = jnp.sum((convolution.apply(x, moved) - convolution.apply(x, prepared)) ** 2)
    np.testing.assert_allclose(jnp.vdot(found.kernel[2], nudge), change - square, rtol=1e-2)


def test_the_gradient_takes_no_kernels_of_its_own():
    _, kernel = example(1, 1, 64, 128)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(convolution.prepare(kernel, backend="winograd")))
    # XLA's own 3x3, for other devices, and six by six matrices.
    assert held == kernel.nbytes * (9 + 36) / 9


def test_a_batch_equals_its_members():
    x, kernel = example(6, 9, 64, 128)
    prepared = convolution.prepare(kernel, backend="winograd")
    both = jax.vmap(lambda x: convolution.apply(x, prepared))(jnp.stack([x, x[::-1]]))
    np.testing.assert_allclose(both[1], convolution.apply(jnp.asarray(x[::-1]), prepared), rtol=1e-4, atol=1e-5)


def test_few_channels_are_convolved_directly():
    for channels in ((3, 64), (64, 64), (32, 128)):
        assert isinstance(convolution.prepare(example(3, 3, *channels)[1], backend="winograd"), convolution.Direct)


LAYERS = ["block1_conv1", "block2_conv1", "block2_conv2", "block3_conv1", "block3_conv4"]


def gradient(network, picture, target):
    """Of a Gram and a content loss, with respect to the picture."""

    @jax.jit
    def of(network, picture):
        def loss(picture):
            features = network.features(picture, LAYERS)
            grams = [jnp.mean((nstjax.statistics.gram(features[name]) - target[name]) ** 2) for name in LAYERS[:4]]
            return sum(grams) + jnp.mean(features[LAYERS[4]] ** 2)

        return jax.grad(loss)(picture)

    return of(network, jnp.asarray(picture))


def agree(weights, picture, style):
    """Features within 1e-5; gradients within 2e-2, a cosine above 0.9999: a ReLU or a maximum that tips over where two
    inputs are equal up to rounding changes a gradient by more than its own rounding."""
    direct, filtered = (build(weights, backend=backend) for backend in ("direct", "winograd"))
    assert sum(isinstance(it.kernel.get_value(), convolution.Winograd) for it in filtered.convolutions.values()) >= 3
    expected, found = (network.features(picture, LAYERS) for network in (direct, filtered))
    for name in LAYERS:
        assert relative(found[name], expected[name]) < 1e-5
    target = {name: nstjax.statistics.gram(map) for name, map in direct.features(style, LAYERS[:4]).items()}
    expected, found = (np.asarray(gradient(network, picture, target), np.float64) for network in (direct, filtered))
    assert np.vdot(found, expected) / np.linalg.norm(found) / np.linalg.norm(expected) > 0.9999
    assert relative(found, expected) < 2e-2


def test_a_networks_features_and_gradient_agree_with_direct_convolution():
    agree(random_weights("block3_conv4", flavour="caffe"), smooth_picture(46, 61), smooth_picture(50, 40, seed=1))


def test_they_agree_on_real_pictures_with_real_weights(real_weights, real_picture):
    style = images.resize(images.read(test_data() / "images" / "starry_night.jpg"), 110).rgb
    agree(real_weights, real_picture, style)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_other_devices_programs_hold_direct_convolutions_alone(platform):
    x, kernel = example(8, 8, 64, 128)

    def text(backend, platform):
        prepared = convolution.prepare(kernel, backend=backend)
        value = jax.jit(jax.value_and_grad(lambda x: jnp.sum(convolution.apply(x, prepared) ** 2)))
        return jax.export.export(value, platforms=[platform])(x).mlir_module()

    for word in ("stablehlo.convolution", "stablehlo.dot_general"):
        assert text("winograd", platform).count(word) == text("direct", platform).count(word)
    assert "stablehlo.convolution" not in text("winograd", "cpu")
    assert len(re.findall("stablehlo.dot_general", text("winograd", "cpu"))) >= 16


# What a run takes.


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({"steps": 2}, "direct"),
        ({"steps": 2, "convolution": "winograd"}, "winograd"),
        ({"steps": 2, "convolution": "direct"}, "direct"),
    ],
    ids=str,
)
def test_a_run_records_what_it_takes(place, settings, taken):
    result = nstjax.stylize("content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", **settings)
    assert result.record["config"]["convolution"] == taken


def test_long_runs_take_winograds_filtering_where_it_can_be_had(place, monkeypatch):
    pixels = 48 * 36
    steps = -(-_REPAYS // pixels)
    made = {}
    monkeypatch.setattr("nstjax.runs.stylize.make_steps", lambda config, *rest: made.update(config=config) or 1 / 0)
    for settings, taken in [
        ({}, "winograd"),
        ({"steps": steps - 1}, "direct"),
        ({"dtype": "bfloat16"}, "direct"),
        ({"shard_picture": True, "parameterisation": "pixels"}, "direct"),
        ({"convolution": "direct"}, "direct"),
    ]:
        settings = {"weights": "vgg.safetensors", "size": 48, "enlarge": True, "steps": steps, **settings}
        with pytest.raises(ZeroDivisionError):
            nstjax.stylize("content.png", "style.png", experiment="quick.py", **settings)
        assert made["config"].convolution == taken


@pytest.mark.parametrize("other", [{"dtype": "bfloat16"}, {"shard_picture": True}], ids=str)
def test_what_winograds_filtering_does_not_go_with_is_refused(other):
    with pytest.raises(UserError, match="convolution winograd does not go with"):
        Config(convolution="winograd", **other)
    with pytest.raises(UserError, match="needs float32"):
        build(random_weights("block1_conv2"), backend="winograd", dtype=jnp.bfloat16)
