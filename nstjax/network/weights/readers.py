"""Readers of published files of VGG weights.

A layer is recognised by its name (``block1_conv1``, ``conv1_1`` or PyTorch's ``features.0``), its kernel and bias by
their rank, since the names of datasets differ between versions of a framework, and the network by its layers. No pickle
is ever executed: NumPy's are refused, and PyTorch reads with ``weights_only``.
"""

import importlib.util
import math
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS, VGG19, Architecture
from nstjax.network.weights import matlab
from nstjax.network.weights.files import pair_layers
from nstjax.network.weights.tensors import Tensor, open_safetensors

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
    """Return the convolutions in a .h5, .mat, .npz, .safetensors, .pth or .pt file, for which there is a reader.

    Raises:
        UserError: not such a file, damaged, or of another network; the line names the layer where there is one.
    """
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
    tensors: Iterable[Tensor],
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Architecture]:
    """Return kernels (rank 4) and biases (rank 1) by convolution, in the network's order, and the network."""
    by_name = [(layer, tensor) for tensor in tensors if (layer := _extract_layer(tensor.name)) is not None]
    network, names = _recognise_network(layer for layer, _ in by_name)
    kernels: dict[str, Tensor] = {}
    biases: dict[str, Tensor] = {}
    for layer, tensor in by_name:  # all headers before any value
        convolution, kind = names[layer], {4: kernels, 1: biases}.get(len(tensor.shape))
        if kind is None or convolution in kind:
            raise _unexpected(convolution, tensor)
        tensor.check_size()
        kind[convolution] = tensor
    if not kernels:
        raise UserError(f"holds no layer of {VGG19.name}, such as {VGG19.convolutions[0]}, conv1_1 or features.0")
    read_kernels, read_biases = (
        {convolution: _read_values(convolution, tensor) for convolution, tensor in kind.items()}
        for kind in (kernels, biases)
    )
    return pair_layers(read_kernels, read_biases), network


def _read_values(convolution: str, tensor: Tensor) -> np.ndarray:
    array = tensor.read()
    if array.dtype.kind != "f":
        raise _unexpected(convolution, tensor)
    if array.ndim == 4 and _TORCH_NAMES.search(tensor.name):
        array = array.transpose(2, 3, 1, 0)
    return np.ascontiguousarray(array, np.float32)


def _unexpected(convolution: str, tensor: Tensor) -> UserError:
    return UserError(f"layer {convolution}: expected one kernel and one bias, also got {tensor.name} {[*tensor.shape]}")


def _read_keras(path: Path) -> Contents:
    import h5py

    datasets: list[tuple[str, h5py.Dataset]] = []

    def find_link(name: str, link: Any) -> tuple[str, Any] | None:
        return None if isinstance(link, h5py.HardLink) else (name, link)

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and _extract_layer(name):
            datasets.append((name, item))

    with h5py.File(path) as file:
        if soft := file.visititems_links(find_link):
            raise UserError(f"{soft[0]} is a link to {soft[1].path}: expected a file that holds its data itself")
        file.visititems(collect)
        return Contents(*_group_by_layer([_describe_dataset(name, dataset) for name, dataset in datasets]))


def _describe_dataset(name: str, dataset: Any) -> Tensor:
    import h5py

    properties = dataset.id.get_create_plist()
    # Pieces may unpack to any size, and values in other files may be anywhere. Keras writes neither.
    if properties.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or properties.get_external_count():
        raise UserError(
            f"{name} is in pieces, which may be compressed, or in another file: expected its values in one piece; "
            "rewrite the file with h5repack --layout CONTI"
        )
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    return Tensor(name, dataset.shape, size, lambda: dataset[()])


def _read_matconvnet(path: Path) -> Contents:
    content = matlab.read_variables(path, ("layers", "normalization", "meta"))
    if "layers" not in content:
        raise UserError("holds no layers: expected a MatConvNet network")
    normalization = content.get("normalization") or content.get("meta", {}).get("normalization", {})
    mean = np.asarray(normalization.get("averageImage", []), np.float64)
    expected = FLAVOURS["caffe"].mean
    if mean.size and (mean.shape[-1] != 3 or not np.allclose(mean.reshape(-1, 3).mean(axis=0), expected, atol=0.01)):
        raise UserError(
            f"its normalization.averageImage is not {expected} in RGB, the mean colour of VGG19's Caffe model"
        )
    return Contents(*_group_by_layer(_list_matconvnet_tensors(content["layers"])), order="RGB")


def _list_matconvnet_tensors(layers: Any) -> Iterator[Tensor]:
    for layer in np.atleast_1d(layers):
        # "filters" before MatConvNet 1.0-beta8.
        tensors = (layer["filters"], layer["biases"]) if "filters" in layer else layer.get("weights", ())
        for values in tensors:
            yield Tensor(layer["name"], values.shape, values.nbytes, lambda values=values: values)


def _read_numpy(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        members = (member for member in archive.infolist() if _extract_layer(member.filename))
        return Contents(*_group_by_layer([_describe_member(archive, member) for member in members]))


def _describe_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{member.filename} is compressed in a way that NumPy does not use")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise UserError(f"{member.filename} is a pickle, which may run any code, so it was not read")

    def read_values() -> np.ndarray:
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    return Tensor(member.filename.removesuffix(".npy"), shape, math.prod(shape) * dtype.itemsize, read_values)


def _read_safetensors(path: Path) -> Contents:
    with open_safetensors(path) as (tensors, metadata):
        parameters, network = _group_by_layer(tensors)
    flavour, source, license_ = (metadata.get(key) for key in ("flavour", "source", "license"))
    return Contents(parameters, network, flavour=flavour, source=source, license=license_)


def _read_pytorch(path: Path) -> Contents:
    import torch  # pyright: ignore[reportMissingImports]

    archived = zipfile.is_zipfile(path)
    if archived:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise UserError("holds compressed tensors, which PyTorch does not write: save it with torch.save")
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=archived)
    named = ((name, tensor) for name, tensor in state.items() if _extract_layer(name))
    return Contents(*_group_by_layer([_describe_torch(name, tensor) for name, tensor in named]))


def _describe_torch(name: str, tensor: Any) -> Tensor:
    size = tensor.numel() * tensor.element_size()
    return Tensor(name, tuple(tensor.shape), size, lambda: tensor.numpy().copy())


_READERS = {
    ".h5": _read_keras,
    ".hdf5": _read_keras,
    ".mat": _read_matconvnet,
    ".npz": _read_numpy,
    ".safetensors": _read_safetensors,
    ".pth": _read_pytorch,
    ".pt": _read_pytorch,
}
