"""Winograd's filtering against direct convolution: features, gradients, and where it is used."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import convolve64, find_test_data, random_weights, smooth_picture

import nstjax
from nstjax import images
from nstjax.callbacks import Listener
from nstjax.experiment.resolve import _WINOGRAD_REPAYS_FROM
from nstjax.network import convolution
from nstjax.network.load import build

SHAPES = [(8, 8), (9, 12), (7, 5), (3, 18), (1, 4), (1, 1)]


def make_example(h, w, c, k):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((h, w, c)).astype(np.float32)
    kernel = generator.standard_normal((3, 3, c, k)) / np.sqrt(9 * c)
    return x, kernel.astype(np.float32)


def relative_error(values, expected):
    values, expected = np.asarray(values, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_a_convolution_equals_float64_and_its_gradient_that_of_direct_convolution(shape, padding):
    assert_convolution(shape, (64, 128), padding)


def test_a_convolution_to_fewer_channels_is_filtered_too():
    assert_convolution((7, 5), (128, 64), "zero")


def assert_convolution(shape, channels, padding):
    x, kernel = make_example(*shape, *channels)
    direction = make_example(*shape, *channels[::-1])[0]

    @jax.jit
    def convolve(x, prepared, direction):
        y, back = jax.vjp(lambda x: convolution.apply(x, prepared, padding=padding), x)
        return y, *back(direction)

    prepared = {backend: convolution.prepare(kernel, backend=backend) for backend in ("direct", "winograd")}
    assert isinstance(prepared["winograd"], convolution.Winograd)
    results = {backend: convolve(x, kernel, direction) for backend, kernel in prepared.items()}
    y, gradient = results["winograd"]
    expected = convolve64(x, kernel, 0.0, mode={"zero": "constant", "reflect": "reflect"}[padding])
    assert y.shape == expected.shape and y.dtype == jnp.float32
    # A few more roundings than a direct sum, which has 1e-6.
    assert relative_error(y, expected) < 5e-6
    assert relative_error(gradient, results["direct"][1]) < 5e-6


@pytest.mark.parametrize("channels", [(64, 64), (64, 128), (128, 64)], ids=str)
def test_in_bfloat16_the_products_alone_are_rounded(channels):
    x, kernel = make_example(24, 31, *channels)
    direction = make_example(24, 31, *channels[::-1])[0]
    prepared = convolution.prepare(kernel, backend="winograd", dtype=jnp.bfloat16)
    assert isinstance(prepared, convolution.Winograd)
    assert {leaf.dtype for leaf in jax.tree.leaves(prepared)} == {jnp.dtype(jnp.bfloat16)}

    @jax.jit
    def convolve(x, prepared, direction):
        y, back = jax.vjp(lambda x: convolution.apply(x, prepared), x)
        return y, *back(direction)

    y, gradient = convolve(x, prepared, direction)
    assert y.dtype == gradient.dtype == jnp.float32
    # Both factors have eight bits, a relative rounding of 2e-3, which the transforms amplify by four; with other points
    # (±1, ±2) by nine.
    assert 1e-3 < relative_error(y, convolve64(x, kernel, 0.0)) < 1.3e-2
    turned = np.flip(kernel, (0, 1)).swapaxes(2, 3)
    assert 1e-3 < relative_error(gradient, convolve64(direction, turned, 0.0)) < 1.3e-2


def test_in_bfloat16_no_product_reads_a_transposed_kernel():
    """XLA's product with a transposed factor in bfloat16 is three times as slow."""
    x, kernel = make_example(8, 8, 64, 128)
    prepared = convolution.prepare(kernel, backend="winograd", dtype=jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda x, prepared: jnp.sum(convolution.apply(x, prepared) ** 2)))
    program = jax.export.export(gradient, platforms=["cpu"])(x, prepared).mlir_module()
    products = [line for line in program.splitlines() if "dot_general" in line and "bf16" in line]
    assert len(products) == 12  # six each way
    assert all("contracting_dims = [2] x [1]" in line for line in products)
    assert "stablehlo.transpose" not in "".join(line for line in program.splitlines() if "bf16" in line)


def test_the_gradient_of_the_kernel_equals_finite_differences():
    x, kernel = map(jnp.asarray, make_example(5, 6, 64, 128))
    prepared = convolution.prepare(np.asarray(kernel), backend="winograd")
    gradient = jax.jit(jax.grad(lambda prepared: jnp.sum(convolution.apply(x, prepared) ** 2)))(prepared)
    nudge = 1e-2 * jnp.ones_like(prepared.kernel[2])
    kernel = [*prepared.kernel[:2], prepared.kernel[2] + nudge, *prepared.kernel[3:]]
    moved = dataclasses.replace(prepared, kernel=kernel)
    change = jnp.sum(convolution.apply(x, moved) ** 2) - jnp.sum(convolution.apply(x, prepared) ** 2)
    # The loss is quadratic in the kernel: it changes by a linear part and by the square of the change of the output.
    square = jnp.sum((convolution.apply(x, moved) - convolution.apply(x, prepared)) ** 2)
    np.testing.assert_allclose(jnp.vdot(gradient.kernel[2], nudge), change - square, rtol=1e-2)


def test_the_gradient_needs_no_second_transformed_kernel():
    _, kernel = make_example(1, 1, 64, 128)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(convolution.prepare(kernel, backend="winograd")))
    # The 3x3 kernel, for other devices, and six by six matrices.
    assert size == kernel.nbytes * (9 + 36) / 9


def test_a_batch_equals_its_members():
    x, kernel = make_example(6, 9, 64, 128)
    prepared = convolution.prepare(kernel, backend="winograd")
    apply = jax.jit(convolution.apply)
    both = jax.jit(jax.vmap(convolution.apply, (0, None)))(jnp.stack([x, x[::-1]]), prepared)
    np.testing.assert_allclose(both[1], apply(jnp.asarray(x[::-1]), prepared), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "channels"),
    [
        (jnp.float32, (3, 64)),
        (jnp.float32, (64, 64)),
        (jnp.float32, (32, 128)),
        (jnp.bfloat16, (3, 64)),
        (jnp.bfloat16, (32, 64)),
    ],
    ids=str,
)
def test_few_channels_are_convolved_directly_in_float32(dtype, channels):
    kernel = make_example(3, 3, *channels)[1]
    prepared = convolution.prepare(kernel, backend="winograd", dtype=dtype)
    assert isinstance(prepared, convolution.Direct) and prepared.kernel.dtype == jnp.float32


LAYERS = ["block1_conv1", "block2_conv1", "block2_conv2", "block3_conv1", "block3_conv4"]


def compute_gradient(network, picture, target):
    """Return the gradient of a Gram and a content loss with respect to the picture."""

    @jax.jit
    def run(network, picture):
        def loss(picture):
            features = network.features(picture, LAYERS)
            grams = [jnp.mean((nstjax.statistics.gram(features[name]) - target[name]) ** 2) for name in LAYERS[:4]]
            return sum(grams) + jnp.mean(features[LAYERS[4]] ** 2)

        return jax.grad(loss)(picture)

    return run(network, jnp.asarray(picture))


def assert_agreement(weights, picture, style):
    """Check that both backends agree: features to 1e-5, gradients to 2e-2, with a cosine above 0.9999.

    Gradients differ by more than their rounding where a ReLU or a maximum falls on its other side, because two inputs
    are equal up to rounding.
    """
    direct, filtered = (build(weights, backend=backend) for backend in ("direct", "winograd"))
    kernels = [layer.kernel.get_value() for layer in filtered.convolutions.values()]
    assert sum(isinstance(kernel, convolution.Winograd) for kernel in kernels) >= 3
    compute = jax.jit(lambda network, picture: network.features(picture, LAYERS))
    expected, features = (compute(network, picture) for network in (direct, filtered))
    for name in LAYERS:
        assert relative_error(features[name], expected[name]) < 1e-5
    target = {name: nstjax.statistics.gram(map) for name, map in compute(direct, style).items()}
    expected, gradient = (
        np.asarray(compute_gradient(network, picture, target), np.float64) for network in (direct, filtered)
    )
    assert np.vdot(gradient, expected) / np.linalg.norm(gradient) / np.linalg.norm(expected) > 0.9999
    assert relative_error(gradient, expected) < 2e-2


def test_a_networks_features_and_gradient_agree_with_direct_convolution():
    assert_agreement(
        random_weights("block3_conv4", flavour="caffe"), smooth_picture(46, 61), smooth_picture(50, 40, seed=1)
    )


def test_both_agree_on_real_pictures_with_real_weights(real_weights, real_picture):
    style = images.resize(images.read(find_test_data() / "images" / "starry_night.jpg"), 110).rgb
    assert_agreement(real_weights, real_picture, style)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_programs_for_other_devices_hold_direct_convolutions_alone(platform):
    x, kernel = make_example(8, 8, 64, 128)

    def export_text(backend, platform):
        prepared = convolution.prepare(kernel, backend=backend)
        value = jax.jit(jax.value_and_grad(lambda x: jnp.sum(convolution.apply(x, prepared) ** 2)))
        return jax.export.export(value, platforms=[platform])(x).mlir_module()

    for word in ("stablehlo.convolution", "stablehlo.dot_general"):
        assert export_text("winograd", platform).count(word) == export_text("direct", platform).count(word)
    assert "stablehlo.convolution" not in export_text("winograd", "cpu")
    assert len(re.findall("stablehlo.dot_general", export_text("winograd", "cpu"))) >= 16


# Which convolution a run uses.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 2}, "direct"),
        ({"steps": 2, "convolution": "winograd"}, "winograd"),
        ({"steps": 2, "convolution": "direct"}, "direct"),
    ],
    ids=str,
)
def test_a_run_records_the_convolution_that_it_uses(workspace, settings, expected):
    result = nstjax.stylize("content.png", "style.png", experiment="quick.py", weights="vgg.safetensors", **settings)
    assert result.record["config"]["convolution"] == expected


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_run_chooses_filtering_and_bfloat16_where_they_are_faster(workspace, monkeypatch, multiplies):
    monkeypatch.setattr("nstjax.system.devices.multiplies_bfloat16", lambda: multiplies)
    steps = -(-_WINOGRAD_REPAYS_FROM // (48 * 36))
    made = {}
    monkeypatch.setattr("nstjax.runs.stylize.run_loop", lambda config, *rest: made.update(config=config) or 1 / 0)
    listener = Listener()
    half = {"dtype": "bfloat16"}
    no_products = "this processor has no products of bfloat16"
    filtered = ("winograd", "bfloat16", "") if multiplies else ("winograd", "float32", no_products)
    for settings, expected in [
        ({}, ("winograd", "float32", "")),
        ({"steps": steps - 1}, ("direct", "float32", "")),
        ({"convolution": "direct"}, ("direct", "float32", "")),
        (half, filtered),
        ({**half, "steps": 2, "convolution": "winograd"}, filtered),
        ({**half, "steps": steps - 1}, ("direct", "float32", "bfloat16 is not faster in so short a run")),
        ({**half, "convolution": "direct"}, ("direct", "bfloat16", "")),
    ]:
        settings = {"weights": "vgg.safetensors", "size": 48, "enlarge": True, "steps": steps, **settings}
        notices = []
        listener.notice = notices.append
        with pytest.raises(ZeroDivisionError):
            nstjax.stylize("content.png", "style.png", experiment="quick.py", listener=listener, **settings)
        convolution, dtype, reason = expected
        assert (made["config"].convolution, made["config"].dtype) == (convolution, dtype)
        about_dtype = [line for line in notices if "float32" in line]
        assert about_dtype == ([f"the network computes in float32: {reason}"] if reason else [])
