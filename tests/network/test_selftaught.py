"""The self-taught network: learnt from two pictures, with the same bytes every time, and robust to any pictures."""

import functools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from nstjax.errors import UserError
from nstjax.network import selftaught
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.vgg import VGG

SHALLOW = "block1_conv2"


def shrink(setattr=setattr):
    """Use fewer and smaller crops, and fewer patches."""
    setattr(selftaught, "_CROPS", (6, 32))
    setattr(selftaught, "_PATCHES", 1500)


@pytest.fixture(autouse=True)
def _shrink(monkeypatch):
    shrink(monkeypatch.setattr)


def make_pictures(height=60, width=80):
    """Return a picture of waves and one of blocks, which have directions to cluster."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = np.stack([np.sin(x / 3), np.sin((x + y) / 5), np.cos(y / 4)], axis=-1)
    blocks = np.stack([(x // 8 + y // 6) % 2, (x // 5) % 2, (y // 9) % 2], axis=-1)
    return (0.5 + 0.4 * waves).astype(np.float32), (0.1 + 0.7 * blocks).astype(np.float32)


@functools.cache
def learn(deepest=SHALLOW, seed=0):
    return selftaught.learn(*make_pictures(), seed=seed, deepest=deepest)


def finite_features(weights, *, layer=SHALLOW):
    """Return the features of a test picture, and check that they are finite."""
    network = VGG(weights.parameters, weights.flavour)
    features = np.asarray(network.features(jax.numpy.asarray(make_pictures()[0]), [layer])[layer])
    assert np.isfinite(features).all()
    return features


def test_learning_gives_the_first_layers_of_vgg19_in_the_self_taught_flavour():
    weights = learn("block2_conv1")
    assert list(weights.parameters) == ["block1_conv1", "block1_conv2", "block2_conv1"]
    assert weights.flavour is FLAVOURS["self-taught"]
    for name, (kernel, bias) in weights.parameters.items():
        assert kernel.shape == VGG19.kernel_shape(name)
        assert bias.shape == VGG19.kernel_shape(name)[3:]
        assert kernel.dtype == bias.dtype == np.float32


def test_the_same_pictures_and_seed_give_the_same_bytes():
    repeated = selftaught.learn(*make_pictures(), seed=0, deepest=SHALLOW)
    assert repeated.sha256 == learn().sha256


def test_another_process_gives_the_same_bytes():
    script = (
        "from test_selftaught import SHALLOW, make_pictures, shrink; from nstjax.network import selftaught; shrink();"
        "print(selftaught.learn(*make_pictures(), seed=0, deepest=SHALLOW).sha256)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"}
    environment["PYTHONPATH"] = os.path.dirname(__file__) + os.pathsep + environment["PYTHONPATH"]
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == learn().sha256


def test_a_layer_does_not_depend_on_the_layers_after_it():
    for name in learn().parameters:
        for shallow, deep in zip(learn().parameters[name], learn("block2_conv1").parameters[name], strict=True):
            np.testing.assert_array_equal(shallow, deep)


def test_another_seed_or_picture_gives_another_network():
    assert learn(seed=1).sha256 != learn().sha256
    content, style = make_pictures()
    assert selftaught.learn(content, 1 - style, seed=0, deepest=SHALLOW).sha256 != learn().sha256


def test_every_channel_has_mean_one_over_the_crops():
    weights = learn("block2_conv1")
    content, style = make_pictures()
    crops = jax.numpy.asarray(selftaught._cut_crops((style, content), "block2_conv1", 0))
    network = VGG(weights.parameters, weights.flavour)
    for name, maps in jax.vmap(lambda crop: network.features(crop, weights.parameters))(crops).items():
        # Learning subtracts the mean before the product, the network after it: this differs by float32 rounding.
        np.testing.assert_allclose(maps.mean(axis=(0, 1, 2)), 1, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_pictures_give_finite_features(value):
    flat = np.full((40, 40, 3), value, np.float32)
    weights = selftaught.learn(flat, flat, seed=0, deepest=SHALLOW)
    assert abs(finite_features(weights)).max() < 1e6


def test_nearly_flat_pictures_give_finite_features():
    almost = np.full((40, 40, 3), 0.5, np.float32)
    almost[20, 20] += 1 / 255
    finite_features(selftaught.learn(almost, almost, seed=0, deepest=SHALLOW))


@pytest.mark.parametrize("shape", [(1, 1), (2, 150), (97, 5)])
def test_pictures_smaller_than_a_crop_give_finite_features(shape):
    content, style = make_pictures(*shape)
    finite_features(selftaught.learn(content, style, seed=0, deepest="block1_conv1"), layer="block1_conv1")


def test_progress_names_the_next_layer():
    calls = []
    selftaught.learn(*make_pictures(), seed=0, deepest=SHALLOW, progress=lambda *arguments: calls.append(arguments))
    assert calls == [(0, 2, "block1_conv1"), (1, 2, "block1_conv2"), (2, 2, "block1_conv2")]


def test_crops_are_large_enough_for_block5():
    assert selftaught._cut_crops(make_pictures(), "block5_conv1", 0).shape[1] // 16 >= 12


def test_kmeans_finds_the_directions_of_the_points():
    generator = np.random.default_rng(0)
    truth = np.eye(8, dtype=np.float32)
    points = np.repeat(truth, 50, axis=0) + 0.05 * generator.standard_normal((400, 8), np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centres = selftaught._spherical_kmeans(points, 24, generator)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    assert (truth @ centres.T).max(axis=1).min() > 0.99


def test_whitening_removes_the_covariance_up_to_the_damping():
    generator = np.random.default_rng(0)
    rows = (generator.standard_normal((20_000, 3)) * [3.0, 1.0, 0.1]).astype(np.float32)
    variances = np.array([9, 1, 0.01])
    whitened = rows @ selftaught._compute_whitening(rows)
    expected = variances / (variances + selftaught._DAMPING * variances.mean() + selftaught._FLAT)
    np.testing.assert_allclose(whitened.var(axis=0), expected, rtol=0.05)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deepest": "block4_pool"}, "expected a convolution"),
        ({"seed": -1}, "expected 0 or more"),
        ({"content": np.zeros((8, 8), np.float32)}, r"content picture has shape \[8, 8\]"),
        ({"style": np.full((8, 8, 3), np.nan, np.float32)}, "style picture has values"),
    ],
)
def test_invalid_arguments_are_refused(change, message):
    content, style = make_pictures()
    with pytest.raises(UserError, match=message):
        selftaught.learn(**({"content": content, "style": style, "seed": 0} | change))
