"""Reading a VGG network's convolutions out of the files that others publish.

A layer is told by its name (``block1_conv1``, ``conv1_1`` or PyTorch's ``features.0``) and its kernel and bias by their
rank, never by the name of a dataset, which differs from one version of a framework to the next; the network, by the
layers that it has.
No pickle is ever executed: NumPy's are refused, and PyTorch reads with ``weights_only``.
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
from nstjax.network.weights.files import load_tensors, pairs

_NAMES = re.compile(r"(?<![A-Za-z0-9_])(?:block(\d+)_conv(\d+)|conv(\d+)_(\d+))(?!\d)")
_TORCH_NAMES = re.compile(r"(?<![A-Za-z0-9_])features\.(\d+)\.")


@dataclass(frozen=True)
class Contents:
    """What a published file holds: HWIO kernels and biases by convolution, and what it says of itself."""

    parameters: dict[str, tuple[np.ndarray, np.ndarray]]
    architecture: Architecture
    order: Literal["RGB", "BGR"] | None = None  # of the first kernel's channels; None: the flavour's own
    flavour: str | None = None
    source: str | None = None
    license: str | None = None


def read(path: Path) -> Contents:
    """The convolutions in a .h5, .mat, .npz, .safetensors, .pth or .pt file.

    Raises:
        UserError: not such a file, damaged, or of another network; names the layer where there is one.
    """
    require_reader(path.suffix)
    if not path.is_file():
        raise UserError(f"{'a folder' if path.is_dir() else 'not there'}: expected a file of weights")
    try:
        return _READERS[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # each of the libraries has its own exceptions for a damaged file
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"cannot be read as {path.suffix}, damaged or another format: {reason}") from error


def require_reader(suffix: str) -> None:
    """Makes sure that files of that kind, such as ".h5", can be read here.

    Raises:
        UserError: an unknown format, or one whose library is not installed.
    """
    if suffix not in _READERS:
        raise UserError(f"a file {suffix or 'without a suffix'} cannot be converted: expected {', '.join(_READERS)}")
    if _READERS[suffix] is _pytorch and not importlib.util.find_spec("torch"):
        raise UserError(f"reading {suffix} needs PyTorch (pip install torch); the source timm does without")


def _convolution(name: str) -> str | None:
    """The layer that a tensor's name belongs to; None for what is no convolution's, such as the classifier's."""
    if match := _TORCH_NAMES.search(name):
        return f"features.{match[1]}"
    if match := _NAMES.search(name):
        block, index = filter(None, match.groups())
        return f"block{block}_conv{index}"
    return None


def _torch_names(network: Architecture) -> dict[str, str]:
    """{"features.0": "block1_conv1", …}: in PyTorch's sequence a ReLU follows each convolution."""
    names, index = {}, 0
    for step in network.sequence:
        if step in network.convolutions:
            names[f"features.{index}"] = step
            index += 1
        index += 1
    return names


def _network_of(layers: Iterable[str]) -> tuple[Architecture, dict[str, str]]:
    """The network that has these layers, with {name in the file: canonical name}."""
    held = {*layers}
    # Of several that have them all, the one that has them without a gap; the first three blocks alone are VGG19's.
    for whole in (True, False):
        for network in NETWORKS.values():
            names = _torch_names(network) | {name: name for name in network.convolutions}
            canonical = {names.get(name, "") for name in held}
            expected = network.convolutions[: len(held)] if whole else network.convolutions
            if canonical <= {*expected}:
                return network, names
    known = {name for network in NETWORKS.values() for name in (*_torch_names(network), *network.convolutions)}
    if foreign := sorted(held - known):
        raise UserError(f"holds a layer {foreign[0]}, which neither {' nor '.join(NETWORKS)} has: another network")
    raise UserError(f"no one of {' and '.join(NETWORKS)} has all its layers: {', '.join(sorted(held))}")


def _by_layer(tensors: Iterable[tuple[str, Any]]) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Architecture]:
    """Kernels (rank 4) and biases (rank 1) by convolution, in the network's order, and the network."""
    by_name = [(name, layer, tensor) for name, tensor in tensors if (layer := _convolution(name)) is not None]
    network, names = _network_of(layer for _, layer, _ in by_name)
    kernels, biases = {}, {}
    for name, layer, tensor in by_name:
        convolution, array = names[layer], np.asarray(tensor)
        kind = {4: kernels, 1: biases}.get(array.ndim)
        if kind is None or convolution in kind or array.dtype.kind != "f":
            raise UserError(f"layer {convolution}: expected one kernel and one bias, got also {name} {[*array.shape]}")
        if array.ndim == 4 and _TORCH_NAMES.search(name):
            array = array.transpose(2, 3, 1, 0)
        kind[convolution] = np.ascontiguousarray(array, np.float32)
    if not kernels:
        raise UserError(f"holds no layer of {VGG19.name}, such as {VGG19.convolutions[0]}, conv1_1 or features.0")
    return pairs(kernels, biases), network


def _keras(path: Path) -> Contents:
    import h5py

    tensors = []

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and _convolution(name):
            tensors.append((name, item[()]))

    with h5py.File(path) as file:
        file.visititems(keep)
    return Contents(*_by_layer(tensors))


def _matconvnet(path: Path) -> Contents:
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
    return Contents(*_by_layer(_matconvnet_tensors(content["layers"])), order="RGB")


def _matconvnet_tensors(layers: Any) -> Iterator[tuple[str, Any]]:
    for layer in np.atleast_1d(layers):
        if hasattr(layer, "weights"):
            tensors = layer.weights
        elif hasattr(layer, "filters"):  # before MatConvNet 1.0-beta8
            tensors = (layer.filters, layer.biases)
        else:
            continue
        yield from ((layer.name, tensor) for tensor in tensors)


def _numpy(path: Path) -> Contents:
    with np.load(path, allow_pickle=False) as file:
        return Contents(*_by_layer((name, file[name]) for name in file.files if _convolution(name)))


def _safetensors(path: Path) -> Contents:
    tensors, metadata = load_tensors(path, lambda name: _convolution(name) is not None)
    parameters, network = _by_layer(tensors.items())
    flavour, source, license_ = (metadata.get(key) for key in ("flavour", "source", "license"))
    return Contents(parameters, network, flavour=flavour, source=source, license=license_)


def _pytorch(path: Path) -> Contents:
    import torch  # pyright: ignore[reportMissingImports]

    state = torch.load(path, map_location="cpu", weights_only=True)
    return Contents(*_by_layer((name, tensor.numpy()) for name, tensor in state.items() if _convolution(name)))


_READERS = {
    ".h5": _keras,
    ".hdf5": _keras,
    ".mat": _matconvnet,
    ".npz": _numpy,
    ".safetensors": _safetensors,
    ".pth": _pytorch,
    ".pt": _pytorch,
}
