"""The self-taught network: learnt from two pictures, the same bytes every time, and fit for any pictures."""

import functools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import random_weights

from nstjax.errors import UserError
from nstjax.network import selftaught
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.vgg import VGG

SHALLOW = "block1_conv2"


def be_quick(setattr=setattr):
    """Fewer and smaller crops, fewer patches."""
    setattr(selftaught, "_CROPS", (6, 32))
    setattr(selftaught, "_PATCHES", 1500)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    be_quick(monkeypatch.setattr)


def pictures(height=60, width=80):
    """Waves and blocks, so that there is something to cluster."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = np.stack([np.sin(x / 3), np.sin((x + y) / 5), np.cos(y / 4)], axis=-1)
    blocks = np.stack([(x // 8 + y // 6) % 2, (x // 5) % 2, (y // 9) % 2], axis=-1)
    return (0.5 + 0.4 * waves).astype(np.float32), (0.1 + 0.7 * blocks).astype(np.float32)


@functools.cache
def learnt(deepest=SHALLOW, seed=0):
    return selftaught.learn(*pictures(), seed=seed, deepest=deepest)


def finite_features(weights, *, layer=SHALLOW):
    """Features of the pictures of these tests under ``weights``."""
    network = VGG(weights.parameters, weights.flavour)
    features = np.asarray(network.features(jax.numpy.asarray(pictures()[0]), [layer])[layer])
    assert np.isfinite(features).all()
    return features


def test_a_prefix_of_vgg19_of_its_own_flavour():
    weights = learnt("block2_conv1")
    assert list(weights.parameters) == ["block1_conv1", "block1_conv2", "block2_conv1"]
    assert weights.flavour is FLAVOURS["self-taught"]
    for name, (kernel, bias) in weights.parameters.items():
        assert kernel.shape == VGG19.kernel_shape(name)
        assert bias.shape == VGG19.kernel_shape(name)[3:]
        assert kernel.dtype == bias.dtype == np.float32


def test_same_pictures_and_seed_same_bytes():
    again = selftaught.learn(*pictures(), seed=0, deepest=SHALLOW)
    assert again.sha256 == learnt().sha256


def test_same_bytes_in_another_process():
    script = (
        "from test_selftaught import SHALLOW, be_quick, pictures; from nstjax.network import selftaught; be_quick();"
        "print(selftaught.learn(*pictures(), seed=0, deepest=SHALLOW).sha256)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"}
    environment["PYTHONPATH"] = os.path.dirname(__file__) + os.pathsep + environment["PYTHONPATH"]
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == learnt().sha256


def test_a_layer_does_not_depend_on_how_deep_one_goes():
    for name in learnt().parameters:
        for shallow, deep in zip(learnt().parameters[name], learnt("block2_conv1").parameters[name], strict=True):
            np.testing.assert_array_equal(shallow, deep)


def test_another_seed_or_picture_another_network():
    assert learnt(seed=1).sha256 != learnt().sha256
    content, style = pictures()
    assert selftaught.learn(content, 1 - style, seed=0, deepest=SHALLOW).sha256 != learnt().sha256


def test_every_channel_has_unit_mean_over_the_training_crops():
    weights = learnt("block2_conv1")
    content, style = pictures()
    crops = jax.numpy.asarray(selftaught._crops((style, content), "block2_conv1", 0))
    network = VGG(weights.parameters, weights.flavour)
    for name, maps in jax.vmap(lambda crop: network.features(crop, weights.parameters))(crops).items():
        # The bias takes the mean off after the product, here before it: float32 rounding of the one against the other.
        np.testing.assert_allclose(maps.mean(axis=(0, 1, 2)), 1, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_flat_pictures_teach_nothing_but_break_nothing(value):
    flat = np.full((40, 40, 3), value, np.float32)
    weights = selftaught.learn(flat, flat, seed=0, deepest=SHALLOW)
    assert abs(finite_features(weights)).max() < 1e6


def test_nearly_flat_pictures():
    almost = np.full((40, 40, 3), 0.5, np.float32)
    almost[20, 20] += 1 / 255
    finite_features(selftaught.learn(almost, almost, seed=0, deepest=SHALLOW))


@pytest.mark.parametrize("shape", [(1, 1), (2, 150), (97, 5)])
def test_pictures_smaller_than_a_crop(shape):
    content, style = pictures(*shape)
    finite_features(selftaught.learn(content, style, seed=0, deepest="block1_conv1"), layer="block1_conv1")


def test_known_layers_come_back_unchanged_and_set_the_scale():
    known = random_weights("block1_conv2", flavour="caffe")
    content, style = pictures()
    weights = selftaught.learn(content, style, seed=0, deepest="block2_conv1", known=known)
    assert list(weights.parameters) == list(VGG19.convolutions[:3])
    assert weights.flavour is known.flavour
    assert known.source in weights.source
    for name, tensors in known.parameters.items():
        for ours, theirs in zip(weights.parameters[name], tensors, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    network = VGG(weights.parameters, weights.flavour)
    features = network.features(jax.numpy.asarray(style), ["block1_conv2", "block2_conv1"])
    last_known, first_learnt = (float(it.mean()) for it in features.values())
    assert last_known / 3 < first_learnt < 3 * last_known


def test_known_layers_that_suffice_are_all():
    known = random_weights("block1_conv2", flavour="caffe")
    weights = selftaught.learn(*pictures(), seed=0, deepest="block1_conv1", known=known)
    assert list(weights.parameters) == list(known.parameters)


def test_progress_names_the_next_layer():
    told = []
    selftaught.learn(*pictures(), seed=0, deepest=SHALLOW, progress=lambda *told_now: told.append(told_now))
    assert told == [(0, 2, "block1_conv1"), (1, 2, "block1_conv2"), (2, 2, "block1_conv2")]


def test_crops_are_large_enough_for_block5():
    assert selftaught._crops(pictures(), "block5_conv1", 0).shape[1] // 16 >= 12


def test_kmeans_finds_the_directions_that_there_are():
    generator = np.random.default_rng(0)
    truth = np.eye(8, dtype=np.float32)
    points = np.repeat(truth, 50, axis=0) + 0.05 * generator.standard_normal((400, 8), np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centres = selftaught._spherical_kmeans(points, 24, generator)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, rtol=1e-5)
    assert (truth @ centres.T).max(axis=1).min() > 0.99


def test_whitening_undoes_a_covariance_up_to_its_damping():
    generator = np.random.default_rng(0)
    rows = (generator.standard_normal((20_000, 3)) * [3.0, 1.0, 0.1]).astype(np.float32)
    variances = np.array([9, 1, 0.01])
    whitened = rows @ selftaught._whitening(rows)
    expected = variances / (variances + selftaught._DAMPING * variances.mean() + selftaught._FLAT)
    np.testing.assert_allclose(whitened.var(axis=0), expected, rtol=0.05)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"deepest": "block4_pool"}, "expected a convolution"),
        ({"seed": -1}, "expected 0 or more"),
        ({"content": np.zeros((8, 8), np.float32)}, "content picture is"),
        ({"style": np.full((8, 8, 3), np.nan, np.float32)}, "style picture has values"),
    ],
)
def test_mistakes_are_told_in_a_line(change, complaint):
    content, style = pictures()
    with pytest.raises(UserError, match=complaint):
        selftaught.learn(**({"content": content, "style": style, "seed": 0} | change))
