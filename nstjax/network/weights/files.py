"""Weights of a VGG network in memory, and the files of converted weights.

A file is safetensors: ``block1_conv1/kernel`` [3, 3, in, out] and ``block1_conv1/bias`` [out] in float32, and so on for
the first or all convolutions of the network. Its metadata hold the network's name and blocks, the flavour, the source,
the sha256 of the file that was converted, the licence, and the digest of the content. A file that names no network is
VGG19's.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS, VGG19, Architecture, Flavour, parse_layer
from nstjax.network.weights import fingerprints, manifest
from nstjax.network.weights.tensors import open_safetensors
from nstjax.system.files import check_regular, open_atomic

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Weights:
    """The first or all convolutions of a VGG network.

    Raises:
        UserError: a layer is missing, has a wrong shape, or is not finite.
    """

    parameters: dict[str, tuple[np.ndarray, np.ndarray]]  # {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}
    flavour: Flavour
    source: str  # one line: where the weights are from
    source_sha256: str = ""  # of the file that was converted
    license: str = "unknown"
    architecture: Architecture = VGG19
    reference: str | None = None  # path or name with which ``find`` returns these weights again; None: there is none

    def __post_init__(self) -> None:
        """Check the layers."""
        network = self.architecture
        for name, expected in zip(self.parameters, network.convolutions, strict=False):
            if name != expected:
                raise UserError(
                    f"layer {expected} is missing before {name}: a gap, or another network than {network.name}"
                )
        if not 1 <= len(self.parameters) <= len(network.convolutions):
            raise UserError(
                f"expected {network.convolutions[0]} and the layers after it, got {len(self.parameters)} layers"
            )
        for name, (kernel, bias) in self.parameters.items():
            shape = network.kernel_shape(name)
            for part, tensor, expected in (("kernel", kernel, shape), ("bias", bias, shape[3:])):
                if tensor.shape != expected:
                    raise UserError(
                        f"layer {name}: its {part} is {[*tensor.shape]}, expected {[*expected]} in {network.name}"
                    )
                if tensor.dtype != np.float32:
                    raise UserError(f"layer {name}: its {part} is {tensor.dtype}, expected float32")
                if not np.isfinite(tensor).all():
                    raise UserError(f"layer {name}: its {part} has values that are not finite")

    @property
    def deepest(self) -> str:
        """The name of the last convolution."""
        return list(self.parameters)[-1]

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of the flavour and of every layer's name and bytes, whatever their layout in a file."""
        digest = hashlib.sha256(self.flavour.name.encode())
        for name, tensors in self.parameters.items():
            digest.update(b"\0" + name.encode() + b"\0")
            for tensor in tensors:
                digest.update(np.ascontiguousarray(tensor, "<f4").data)
        return digest.hexdigest()

    def require(self, names: Iterable[str] | None) -> None:
        """Raise if these weights cannot compute some layers.

        Args:
            names: of the layers, in any form that ``architecture.parse_layer`` accepts; None means the whole network.

        Raises:
            UserError: a layer is deeper than these weights, or not in their network; the line names weights that have
                it.
        """
        convolutions = self.architecture.convolutions
        for name in convolutions[-1:] if names is None else (name for name in names if name != "input"):
            step = parse_layer(name).step
            if step not in self.architecture.sequence:
                sources = manifest.load_sources().values()
                others = [source.name for source in sources if step in NETWORKS[source.network].sequence]
                raise UserError(
                    f"layer {name} is not in {self.architecture.name}; these weights have it: {', '.join(others)}"
                )
            needed = self.architecture.convolutions_to(name)
            if missing := [step for step in needed if step not in self.parameters]:
                raise UserError(
                    f"layer {name} needs {missing[-1]}, but these weights hold only {convolutions[0]} to {self.deepest}"
                )


@contextlib.contextmanager
def prefix_errors(subject: object) -> Iterator[None]:
    """Put the subject, such as a path, in front of every user error raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject}: {error}") from error


def pair_layers(
    kernels: dict[str, np.ndarray], biases: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return {"block1_conv1": (kernel, bias), …} in the order of the network.

    Raises:
        UserError: a layer has a kernel and no bias, or a bias and no kernel.
    """
    names = [name for name in VGG19.convolutions if name in kernels or name in biases]
    for name in names:
        if name not in kernels or name not in biases:
            raise UserError(f"layer {name} has no {'kernel' if name in biases else 'bias'}")
    return {name: (kernels[name], biases[name]) for name in names}


def _split_name(name: str) -> tuple[str, str]:
    """Return the convolution and "kernel" or "bias"."""
    convolution, _, part = name.partition("/")
    if convolution not in VGG19.convolutions or part not in ("kernel", "bias"):
        raise UserError(f"holds {name}, so it is another network or not yet converted: try nstjax weights convert")
    return convolution, part


def read(path: str | os.PathLike[str]) -> Weights:
    """Return the weights in a file of converted weights.

    A file that does not state its flavour counts as Caffe's if its kernels match the fingerprints.

    Raises:
        UserError: not such a file, damaged, or of another network; the line names the layer where there is one.
    """
    path = Path(path)
    check_regular(path, "a file of weights")
    if path.suffix != SUFFIX:
        raise UserError(f"{path} is no {SUFFIX} file: convert it with nstjax weights convert {path}")
    with prefix_errors(path):
        parts: dict[str, dict[str, np.ndarray]] = {"kernel": {}, "bias": {}}
        with open_safetensors(path) as (tensors, metadata):
            names = [_split_name(tensor.name) for tensor in tensors]
            for (convolution, part), tensor in zip(names, tensors, strict=True):
                parts[part][convolution] = tensor.read()
        flavour = metadata.get("flavour", "caffe")
        if flavour not in FLAVOURS:
            raise UserError(f"its flavour is {flavour!r}, expected one of {', '.join(FLAVOURS)}")
        weights = Weights(
            pair_layers(parts["kernel"], parts["bias"]),
            FLAVOURS[flavour],
            metadata.get("source", path.name),
            source_sha256=metadata.get("source_sha256", ""),
            license=metadata.get("license", "unknown"),
            architecture=_read_architecture(metadata),
            reference=str(path.absolute()),
        )
        if "flavour" not in metadata and fingerprints.find_difference(weights.parameters):
            raise UserError(f"it does not state its flavour: add it with nstjax weights convert {path} --flavour …")
        if metadata.get("sha256", weights.sha256) != weights.sha256:
            raise UserError("damaged: its content does not have the sha256 that it states")
    return weights


def _read_architecture(metadata: Mapping[str, str]) -> Architecture:
    if "network" not in metadata:
        return VGG19
    try:
        blocks = tuple((int(count), int(channels)) for count, channels in json.loads(metadata["blocks"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"it does not state the blocks of its network {metadata['network']} ({error!r})") from None
    return Architecture(metadata["network"], blocks)


def write(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write a file of converted weights, whole or not at all; the same weights give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {
        f"{name}/{part}": np.ascontiguousarray(tensor, "<f4")
        for name, pair in weights.parameters.items()
        for part, tensor in zip(("kernel", "bias"), pair, strict=True)
    }
    header: dict[str, object] = {
        "__metadata__": {
            "network": weights.architecture.name,
            "blocks": json.dumps(weights.architecture.blocks),
            "flavour": weights.flavour.name,
            "source": weights.source,
            "source_sha256": weights.source_sha256,
            "license": weights.license,
            "sha256": weights.sha256,
        }
    }
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, end]}
    # Not by the library, which changes the order of the metadata each time. The header is padded so that the tensors
    # start at a multiple of eight bytes, as the format recommends.
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open_atomic(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.data)
