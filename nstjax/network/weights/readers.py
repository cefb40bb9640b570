"""Readers of published files of VGG weights.

A layer is recognised by its name (``block1_conv1``, ``conv1_1`` or PyTorch's ``features.0``), its kernel and bias by
their rank, since the names of datasets differ between versions of a framework, and the network by its layers. No pickle
is ever executed: NumPy's are refused, and PyTorch reads with ``weights_only``.
"""

import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS, VGG19, Architecture
from nstjax.network.weights.files import load_tensors, pair_layers

_NAMES = re.compile(r"(?<![A-Za-z0-9_])(?:block(\d+)_conv(\d+)|conv(\d+)_(\d+))(?!\d)")
_TORCH_NAMES = re.compile(r"(?<![A-Za-z0-9_])features\.(\d+)\.")


@dataclass(frozen=True)
class Contents:
    """The contents of a published file: HWIO kernels and biases by convolution, and its metadata."""

    parameters: dict[str, tuple[np.ndarray, np.ndarray]]
    architecture: Architecture
    order: Literal["RGB", "BGR"] | None = None  # of the first kernel's channels; None: as in the flavour
    flavour: str | None = None
    source: str | None = None
    license: str | None = None


def read(path: Path) -> Contents:
    """Return the convolutions in a .h5, .mat, .npz, .safetensors, .pth or .pt file.

    Raises:
        UserError: not such a file, damaged, or of another network; the line names the layer where there is one.
    """
    require_reader(path.suffix)
    if not path.is_file():
        raise UserError(f"{'a folder' if path.is_dir() else 'does not exist'}: expected a file of weights")
    try:
        return _READERS[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # every library raises other exceptions for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"cannot be read as {path.suffix}, damaged or another format: {reason}") from error


def require_reader(suffix: str) -> None:
    """Raise if files of a format cannot be read here.

    Args:
        suffix: of the file, such as ".h5".

    Raises:
        UserError: the format is unknown, or its library is not installed.
    """
    if suffix not in _READERS:
        raise UserError(f"a file {suffix or 'without a suffix'} cannot be converted: expected {', '.join(_READERS)}")
    if _READERS[suffix] is _read_pytorch and not importlib.util.find_spec("torch"):
        raise UserError(f"reading {suffix} needs PyTorch (pip install torch); the source timm needs no PyTorch")


def _extract_layer(name: str) -> str | None:
    """Return the layer in a tensor's name; None for other tensors, such as the classifier's."""
    if match := _TORCH_NAMES.search(name):
        return f"features.{match[1]}"
    if match := _NAMES.search(name):
        block, index = filter(None, match.groups())
        return f"block{block}_conv{index}"
    return None


def _map_torch_names(network: Architecture) -> dict[str, str]:
    """Return {"features.0": "block1_conv1", …}; in PyTorch's sequence a ReLU follows each convolution."""
    names, index = {}, 0
    for step in network.sequence:
        if step in network.convolutions:
            names[f"features.{index}"] = step
            index += 1
        index += 1
    return names


def _recognise_network(layers: Iterable[str]) -> tuple[Architecture, dict[str, str]]:
    """Return the network that has these layers, with {name in the file: canonical name}."""
    layers = {*layers}
    # If several networks have all of them, take the one without a gap; the first three blocks alone are VGG19's.
    for whole in (True, False):
        for network in NETWORKS.values():
            names = _map_torch_names(network) | {name: name for name in network.convolutions}
            canonical = {names.get(name, "") for name in layers}
            expected = network.convolutions[: len(layers)] if whole else network.convolutions
            if canonical <= {*expected}:
                return network, names
    known = {name for network in NETWORKS.values() for name in (*_map_torch_names(network), *network.convolutions)}
    if foreign := sorted(layers - known):
        raise UserError(f"holds a layer {foreign[0]}, which neither {' nor '.join(NETWORKS)} has: another network")
    raise UserError(f"neither {' nor '.join(NETWORKS)} has all its layers: {', '.join(sorted(layers))}")


def _group_by_layer(
    tensors: Iterable[tuple[str, Any]],
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Architecture]:
    """Return kernels (rank 4) and biases (rank 1) by convolution, in the network's order, and the network."""
    by_name = [(name, layer, tensor) for name, tensor in tensors if (layer := _extract_layer(name)) is not None]
    network, names = _recognise_network(layer for _, layer, _ in by_name)
    kernels, biases = {}, {}
    for name, layer, tensor in by_name:
        convolution, array = names[layer], np.asarray(tensor)
        kind = {4: kernels, 1: biases}.get(array.ndim)
        if kind is None or convolution in kind or array.dtype.kind != "f":
            raise UserError(f"layer {convolution}: expected one kernel and one bias, also got {name} {[*array.shape]}")
        if array.ndim == 4 and _TORCH_NAMES.search(name):
            array = array.transpose(2, 3, 1, 0)
        kind[convolution] = np.ascontiguousarray(array, np.float32)
    if not kernels:
        raise UserError(f"holds no layer of {VGG19.name}, such as {VGG19.convolutions[0]}, conv1_1 or features.0")
    return pair_layers(kernels, biases), network


def _read_keras(path: Path) -> Contents:
    import h5py

    tensors = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and _extract_layer(name):
            tensors.append((name, item[()]))

    with h5py.File(path) as file:
        file.visititems(collect)
    return Contents(*_group_by_layer(tensors))


def _read_matconvnet(path: Path) -> Contents:
    import scipy.io

    content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    if "layers" not in content:
        raise UserError("holds no layers: expected a MatConvNet network")
    normalization = content.get("normalization", getattr(content.get("meta"), "normalization", None))
    mean = np.asarray(getattr(normalization, "averageImage", []), np.float64)
    expected = FLAVOURS["caffe"].mean
    if mean.size and (mean.shape[-1] != 3 or not np.allclose(mean.reshape(-1, 3).mean(axis=0), expected, atol=0.01)):
        raise UserError(
            f"its normalization.averageImage is not {expected} in RGB, the mean colour of VGG19's Caffe model"
        )
    return Contents(*_group_by_layer(_list_matconvnet_tensors(content["layers"])), order="RGB")


def _list_matconvnet_tensors(layers: Any) -> Iterator[tuple[str, Any]]:
    for layer in np.atleast_1d(layers):
        if hasattr(layer, "weights"):
            tensors = layer.weights
        elif hasattr(layer, "filters"):  # before MatConvNet 1.0-beta8
            tensors = (layer.filters, layer.biases)
        else:
            continue
        yield from ((layer.name, tensor) for tensor in tensors)


def _read_numpy(path: Path) -> Contents:
    with np.load(path, allow_pickle=False) as file:
        return Contents(*_group_by_layer((name, file[name]) for name in file.files if _extract_layer(name)))


def _read_safetensors(path: Path) -> Contents:
    tensors, metadata = load_tensors(path, lambda name: _extract_layer(name) is not None)
    parameters, network = _group_by_layer(tensors.items())
    flavour, source, license_ = (metadata.get(key) for key in ("flavour", "source", "license"))
    return Contents(parameters, network, flavour=flavour, source=source, license=license_)


def _read_pytorch(path: Path) -> Contents:
    import torch  # pyright: ignore[reportMissingImports]

    state = torch.load(path, map_location="cpu", weights_only=True)
    return Contents(*_group_by_layer((name, tensor.numpy()) for name, tensor in state.items() if _extract_layer(name)))


_READERS = {
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".mat": _read_matconvnet,
    ".npz": _read_numpy,
    ".safetensors": _read_safetensors,
    ".pth": _read_pytorch,
    ".pt": _read_pytorch,
}
