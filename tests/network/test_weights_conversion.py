"""Converting the files that others publish, written here in each of their layouts."""

import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from weights_examples import equal_weights, find_real_file, make_weights, name_tensors

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, VGG16, VGG19, Architecture
from nstjax.network.weights import Weights, convert, convert_file, fingerprints, manifest, read, write

TORCH_INDICES = {
    VGG19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
    VGG16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}


def save_keras(path: Path, weights: Weights, *, nested: bool = False) -> None:
    """Save a file of an early Keras: a group per layer, with or without the layer's name again inside."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.parameters.items():
            group = file.create_group(name)
            prefix = f"{name}/" if nested else ""
            group[f"{prefix}{name}_W_1:0"] = kernel
            group[f"{prefix}{name}_b_1:0"] = bias
        file.create_group("block1_pool")
        file.create_group("fc1")["fc1_W_1:0"] = np.zeros((4, 4), np.float32)


def save_matconvnet(path: Path, weights: Weights, *, old: bool = False, mean=FLAVOURS["caffe"].mean) -> None:
    """Save a file of MatConvNet: a cell array of layers, first kernel in RGB; in older files a layer has two fields."""
    import scipy.io

    layers = []
    for name, (kernel, bias) in weights.parameters.items():
        kernel = kernel[:, :, ::-1] if name == "block1_conv1" else kernel
        short = f"conv{name[5]}_{name[-1]}"
        if old:
            layers.append({"name": short, "type": "conv", "filters": kernel, "biases": bias[None]})
        else:
            pair = np.empty((1, 2), object)
            pair[0, 0], pair[0, 1] = kernel, bias[None]
            layers.append({"name": short, "type": "conv", "weights": pair})
        layers.append({"name": short.replace("conv", "relu"), "type": "relu"})
    cell = np.empty((1, len(layers)), object)
    cell[0, :] = layers
    normalization = {"averageImage": np.array(mean, np.float32).reshape(1, 1, 3)}
    head = {"normalization": normalization} if old else {"meta": {"normalization": normalization}}
    scipy.io.savemat(path, {"layers": cell, **head})


def torch_state(weights: Weights) -> dict[str, np.ndarray]:
    """Return the tensors as torchvision and timm name and lay them out, with a part of the classifier."""
    state = {"classifier.0.weight": np.zeros((4, 4), np.float32)}
    for index, (kernel, bias) in zip(TORCH_INDICES[weights.architecture], weights.parameters.values(), strict=False):
        state[f"features.{index}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        state[f"features.{index}.bias"] = bias
    return state


def save_numpy(path: Path, weights: Weights) -> None:
    np.savez(path, **name_tensors(weights))  # pyright: ignore[reportArgumentType]


def save_numpy_short(path: Path, weights: Weights) -> None:
    names = {
        f"{name}/{part}": f"conv{name[5]}_{name[-1]}_{letter}" for name in VGG19.convolutions for part, letter in PARTS
    }
    np.savez(path, **{names[name]: tensor for name, tensor in name_tensors(weights).items()})  # pyright: ignore


PARTS = (("kernel", "W"), ("bias", "b"))


@pytest.mark.parametrize(
    ("file_name", "save"),
    [
        ("flat.h5", save_keras),
        ("nested.h5", lambda path, weights: save_keras(path, weights, nested=True)),
        ("ours.npz", save_numpy),
        ("short.npz", save_numpy_short),
        ("torch.safetensors", lambda path, weights: save_file(torch_state(weights), path)),
        ("ours.safetensors", write),
    ],
)
def test_every_layout_gives_the_same_weights(file_name: str, save: Callable, tmp_path: Path):
    weights = make_weights(4)
    save(tmp_path / file_name, weights)
    again = convert(tmp_path / file_name, flavour="torchvision")
    assert equal_weights(weights, again)
    assert (again.flavour.name, len(again.source_sha256)) == ("torchvision", 64)


@pytest.mark.parametrize("network", [VGG19, VGG16])
@pytest.mark.parametrize("layers", [8, None])
def test_the_network_is_recognised_by_its_layers(network: Architecture, layers: int | None, tmp_path: Path):
    weights = make_weights(layers or len(network.convolutions), architecture=network)
    save_file(torch_state(weights), tmp_path / "torch.safetensors")
    save_keras(tmp_path / "keras.h5", weights)
    for name in ("torch.safetensors", "keras.h5"):
        again = convert(tmp_path / name, flavour="torchvision")
        assert again.architecture == network
        assert equal_weights(weights, again)
    write(tmp_path / "ours.safetensors", again)
    assert read(tmp_path / "ours.safetensors").architecture == network


def test_layers_of_two_networks_are_refused(tmp_path: Path):
    state = torch_state(make_weights(8, architecture=VGG16)) | torch_state(make_weights(8))
    save_file(state, tmp_path / "both.safetensors")
    with pytest.raises(UserError, match="neither VGG19 nor VGG16 has all its layers"):
        convert(tmp_path / "both.safetensors", flavour="torchvision")


def test_pth_files_are_read_if_torch_is_installed(tmp_path: Path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weights = make_weights(4)
    path = tmp_path / "vgg19.pth"
    torch.save({name: torch.from_numpy(tensor) for name, tensor in torch_state(weights).items()}, path)
    assert equal_weights(weights, convert(path, flavour="torchvision"))
    torch.save(Trap(tmp_path / "sprung"), path)
    with pytest.raises(UserError, match=r"cannot be read as .pth"):
        convert(path, flavour="torchvision")
    assert not (tmp_path / "sprung").exists()


def test_pth_files_need_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "vgg19.pth").write_bytes(b"any")
    with pytest.raises(UserError, match=r"needs PyTorch .* the source timm needs no PyTorch"):
        convert(tmp_path / "vgg19.pth")


class Trap:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_pickle_is_executed(tmp_path: Path):
    np.savez(tmp_path / "trap.npz", conv1_1_W=np.array([Trap(tmp_path / "sprung")], dtype=object))
    with pytest.raises(UserError, match=r"conv1_1_W.npy is a pickle, .* not read"):
        convert(tmp_path / "trap.npz")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UserError, match=r"cannot be read as \.npz"):
        convert(tmp_path / "pickle.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("old", [False, True])
def test_matconvnets_rgb_kernel_becomes_bgr(old: bool, tmp_path: Path):
    original = read(find_real_file())
    path = tmp_path / "imagenet-vgg-verydeep-19.mat"
    save_matconvnet(path, original, old=old)
    again = convert(path)
    assert equal_weights(original, again)
    assert again.flavour.name == "caffe"


def test_matconvnets_mean_colour_is_checked(tmp_path: Path):
    path = tmp_path / "other.mat"
    save_matconvnet(path, make_weights(2), mean=(103.939, 116.779, 123.68))
    with pytest.raises(UserError, match=r"averageImage is not \(123.68, 116.779, 103.939\)"):
        convert(path, flavour="caffe")


def test_a_damaged_or_unknown_file_is_one_line(tmp_path: Path):
    for suffix in ("h5", "mat", "npz", "safetensors"):
        path = tmp_path / f"vgg19.{suffix}"
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        with pytest.raises(UserError, match=f"vgg19.{suffix}") as caught:
            convert(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"\.onnx cannot be converted: expected \.h5"):
        convert(tmp_path / "vgg19.onnx")
    with pytest.raises(UserError, match=r"no file .*none.h5"):
        convert(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.update({"features.1.weight": np.zeros(64, np.float32)}),
            "features.1, which neither VGG19 nor VGG16 has",
        ),
        (lambda s: s.pop("features.2.bias"), "layer block1_conv2 has no bias"),
        (
            lambda s: [s.pop("features.2.bias"), s.pop("features.2.weight")],
            "layer block1_conv2 is missing before block2",
        ),
        (
            lambda s: s.update({"features.5.weight": s["features.5.weight"][:7]}),
            r"layer block2_conv1: its kernel is .*7\]",
        ),
        (
            lambda s: s.update({"features.0.weight": s["features.0.weight"].astype(np.int8)}),
            "layer block1_conv1: expected",
        ),
        (lambda s: s.update({"features.0.bias": np.full(64, np.inf, np.float32)}), "layer block1_conv1: .* not finite"),
        (lambda s: s.update({"features.7.weight": s["features.7.weight"] * 0}), "block2_conv2 is not a trained kernel"),
    ],
)
def test_another_network_is_refused_by_layer(change: Callable, message: str, tmp_path: Path):
    state = torch_state(make_weights(4))
    change(state)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "other.safetensors", flavour="torchvision")


def test_the_flavour_follows_from_the_kernels_or_must_be_given(tmp_path: Path):
    save_file(torch_state(make_weights(2)), tmp_path / "any.safetensors")
    with pytest.raises(UserError, match="flavour is unknown: add --flavour torchvision"):
        convert(tmp_path / "any.safetensors")
    with pytest.raises(UserError, match="block1_conv1 is not that of the Caffe VGG19: other values"):
        convert(tmp_path / "any.safetensors", flavour="caffe")
    with pytest.raises(UserError, match="no flavour is called 'vanilla'"):
        convert(tmp_path / "any.safetensors", flavour="vanilla")

    original = read(find_real_file())
    save_file(torch_state(original), tmp_path / "justin.safetensors")  # the layout of jcjohnson's vgg19-d01eb7cb.pth
    assert equal_weights(original, convert(tmp_path / "justin.safetensors"))
    with pytest.raises(UserError, match="of the flavour caffe, not VGG19's of the flavour torchvision"):
        convert(tmp_path / "justin.safetensors", flavour="torchvision")


MISREADINGS = {
    "channels look RGB, expected BGR": lambda k: k[:, :, ::-1] if k.shape[2] == 3 else k,
    "rotated by 180 degrees": lambda k: k[::-1, ::-1],
    "height and width are exchanged": lambda k: k.transpose(1, 0, 2, 3),
    "mirrored left to right": lambda k: k[:, ::-1],
    "mirrored top to bottom": lambda k: k[::-1],
    "channels in and out are exchanged": lambda k: k.transpose(0, 1, 3, 2).reshape(k.shape),
    r"laid out as \[out, in, height, width\]": lambda k: k.transpose(3, 2, 0, 1).reshape(k.shape),
    "rotated by 180 degrees, and its channels look RGB": lambda k: k[::-1, ::-1, ::-1],
    "other values": lambda k: k * 1.01,
}


@pytest.mark.parametrize(("message", "misread"), MISREADINGS.items(), ids=[*MISREADINGS])
def test_misread_caffe_kernels_are_refused_with_the_reason(message: str, misread: Callable, tmp_path: Path):
    original = read(find_real_file())
    changed = {
        name: (np.ascontiguousarray(misread(kernel)), bias) for name, (kernel, bias) in original.parameters.items()
    }
    save_keras(tmp_path / "misread.h5", Weights(changed, original.flavour, "misread"))
    with pytest.raises(UserError, match=f"block1_conv1 is not that of the Caffe VGG19: .*{message}"):
        convert(tmp_path / "misread.h5", flavour="caffe")


@pytest.mark.parametrize("layer", VGG19.convolutions[:8])
def test_every_layer_is_checked_against_its_fingerprint(layer: str):
    parameters = dict(read(find_real_file()).parameters)
    kernel, bias = parameters[layer]
    rounded = kernel.astype(np.float16).astype(np.float32)
    assert fingerprints.find_difference({**parameters, layer: (rounded, bias)}) is None
    dead = np.where(np.arange(kernel.shape[3]) == 5, 0, kernel)
    assert fingerprints.find_difference({**parameters, layer: (dead, bias)}) == (layer, None)
    turned = fingerprints.find_difference({**parameters, layer: (kernel[::-1, ::-1], bias)})
    assert turned == (layer, "the kernel is rotated by 180 degrees")
    assert fingerprints.find_difference({**parameters, layer: (kernel, bias + 0.1)}) == (
        layer,
        "its kernel matches but its bias does not",
    )


def test_the_manifests_fingerprints_are_those_of_the_trained_weights():
    parameters = read(find_real_file()).parameters
    lines = set(fingerprints.format_toml(parameters).splitlines())
    assert lines <= set(manifest_file().read_text().splitlines())


def manifest_file() -> Path:
    """Return the path of the manifest in the clone."""
    return Path(manifest.__file__).parents[3] / "weights" / "manifest.toml"


def test_a_converted_file_is_written_into_the_cache_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    save_keras(tmp_path / "mine.h5", make_weights(2))
    path = convert_file(tmp_path / "mine.h5", flavour="torchvision")
    assert path == tmp_path / "nstjax" / "weights" / "mine.safetensors"
    assert equal_weights(read(path), make_weights(2))
    assert read(path).source == "mine.h5"
    with pytest.raises(UserError, match="cannot be written"):
        convert_file(tmp_path / "mine.h5", flavour="torchvision", out=tmp_path / "mine.h5" / "out.safetensors")


def test_a_converted_file_replaces_only_another_converted_file(tmp_path: Path):
    source, out = tmp_path / "mine.safetensors", tmp_path / "out.safetensors"
    save_file(name_tensors(make_weights(2)), source, {"flavour": "torchvision"})
    for _ in range(2):
        convert_file(source, flavour="torchvision", out=out)
    (tmp_path / "picture.safetensors").write_text("mine")
    for target, message in (
        (source, "would write over the file that is converted"),
        (tmp_path / "picture.safetensors", "exists, and is not a converted file"),
        (tmp_path / "picture.png", r"a converted file ends in \.safetensors"),
        (tmp_path / ("x" * 300 + ".safetensors"), "is too long"),
    ):
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(UserError, match=message):
            convert_file(source, flavour="torchvision", out=target)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_licence_and_a_source_survive_the_conversion(tmp_path: Path):
    tensors = {name: tensor for name, tensor in load_file(find_real_file()).items() if name.startswith("block1")}
    save_file(tensors, tmp_path / "a.safetensors", {"source": "Oxford", "license": "CC BY 4.0"})
    weights = convert(tmp_path / "a.safetensors")
    assert (weights.source, weights.license, weights.flavour.name) == ("Oxford", "CC BY 4.0", "caffe")
