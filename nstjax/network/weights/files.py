"""A VGG network's weights in memory, and nstjax's own files of them.

A file is safetensors: ``block1_conv1/kernel`` [3, 3, in, out] and ``block1_conv1/bias`` [out] in float32, and so on for
a first part of the network's convolutions; its metadata hold the network's name and blocks, the flavour, where the
weights are from, the sha256 of the file they were converted from, the license, and the digest of the content. A file
that does not say its network is VGG19's.
"""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS, VGG19, Architecture, Flavour, layer
from nstjax.network.weights import fingerprints, manifest
from nstjax.system.files import whole_file

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Weights:
    """A VGG network's convolutions from the first one down, as far as they are held.

    Raises:
        UserError: a layer is missing, has a wrong shape, or is not finite.
    """

    parameters: dict[str, tuple[np.ndarray, np.ndarray]]  # {"block1_conv1": (kernel [3, 3, in, out], bias [out]), …}
    flavour: Flavour
    source: str  # one line: where they are from
    source_sha256: str = ""  # of the file that they were converted from
    license: str = "unknown"
    architecture: Architecture = VGG19
    reference: str | None = None  # what ``find`` takes to give them again: a path or a name; None: nothing does

    def __post_init__(self) -> None:
        """Checks the layers."""
        network = self.architecture
        for held, expected in zip(self.parameters, network.convolutions, strict=False):
            if held != expected:
                raise UserError(
                    f"layer {expected} is missing before {held}: a gap, or another network than {network.name}"
                )
        if not 1 <= len(self.parameters) <= len(network.convolutions):
            raise UserError(
                f"expected {network.convolutions[0]} and the layers after it, got {len(self.parameters)} layers"
            )
        for name, (kernel, bias) in self.parameters.items():
            shape = network.kernel_shape(name)
            for what, tensor, expected in (("kernel", kernel, shape), ("bias", bias, shape[3:])):
                if tensor.shape != expected:
                    raise UserError(
                        f"layer {name}: its {what} is {[*tensor.shape]}, expected {[*expected]} in {network.name}"
                    )
                if tensor.dtype != np.float32:
                    raise UserError(f"layer {name}: its {what} is {tensor.dtype}, expected float32")
                if not np.isfinite(tensor).all():
                    raise UserError(f"layer {name}: its {what} has values that are not finite")

    @property
    def deepest(self) -> str:
        """The last convolution held."""
        return list(self.parameters)[-1]

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of the flavour and of every layer's name and bytes, however they lie in a file."""
        digest = hashlib.sha256(self.flavour.name.encode())
        for name, tensors in self.parameters.items():
            digest.update(b"\0" + name.encode() + b"\0")
            for tensor in tensors:
                digest.update(np.ascontiguousarray(tensor, "<f4").data)
        return digest.hexdigest()

    def require(self, names: Iterable[str] | None) -> None:
        """Make sure that layers can be served.

        Args:
            names: in any form that ``architecture.layer`` knows; None means the whole network.

        Raises:
            UserError: one is deeper than these weights, or not in their network; names weights that have it.
        """
        convolutions = self.architecture.convolutions
        for name in convolutions[-1:] if names is None else (name for name in names if name != "input"):
            step = layer(name).step
            if step not in self.architecture.sequence:
                having = [
                    source.name for source in manifest.sources().values() if step in NETWORKS[source.network].sequence
                ]
                raise UserError(
                    f"layer {name} is not in {self.architecture.name}; these weights have it: {', '.join(having)}"
                )
            needed = self.architecture.convolutions_to(name)
            if missing := [step for step in needed if step not in self.parameters]:
                raise UserError(
                    f"layer {name} needs {missing[-1]}, but these weights hold only {convolutions[0]} to {self.deepest}"
                )


@contextlib.contextmanager
def about(subject: object) -> Iterator[None]:
    """Puts the subject, most often a path, in front of any user error raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject}: {error}") from error


def load_tensors(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors whose names are ``wanted``, and the metadata, of any safetensors file.

    Raises:
        UserError: it is not a whole safetensors file.
    """
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in filter(wanted, file.keys())}, file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:  # a TypeError: bfloat16, which NumPy has not
        raise UserError(f"not a whole safetensors file of types that NumPy knows ({error})") from None


def pairs(kernels: dict[str, np.ndarray], biases: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{"block1_conv1": (kernel, bias), …} in every network's order.

    Raises:
        UserError: a layer has the one but not the other.
    """
    held = [name for name in VGG19.convolutions if name in kernels or name in biases]
    for name in held:
        if name not in kernels or name not in biases:
            raise UserError(f"layer {name} has no {'kernel' if name in biases else 'bias'}")
    return {name: (kernels[name], biases[name]) for name in held}


def _is_ours(name: str) -> bool:
    # Raises at the first foreign name, before gigabytes of another model are read.
    convolution, _, part = name.partition("/")
    if convolution not in VGG19.convolutions or part not in ("kernel", "bias"):
        raise UserError(f"holds {name}, so it is another network's or needs nstjax weights convert first")
    return True


def read(path: str | os.PathLike[str]) -> Weights:
    """The weights in one of nstjax's own files.

    A file that does not say its flavour is taken for Caffe's where its kernels match the fingerprints.

    Raises:
        UserError: not such a file, damaged, or of another network; one line that names the layer where there is one.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'not there'}: expected a file of weights")
    if path.suffix != SUFFIX:
        raise UserError(f"{path} is no {SUFFIX} file: make one of it with nstjax weights convert {path}")
    with about(path):
        tensors, metadata = load_tensors(path, _is_ours)
        kernels = {name.removesuffix("/kernel"): it for name, it in tensors.items() if name.endswith("/kernel")}
        biases = {name.removesuffix("/bias"): it for name, it in tensors.items() if name.endswith("/bias")}
        flavour = metadata.get("flavour", "caffe")
        if flavour not in FLAVOURS:
            raise UserError(f"its flavour is {flavour!r}, expected one of {', '.join(FLAVOURS)}")
        weights = Weights(
            pairs(kernels, biases),
            FLAVOURS[flavour],
            metadata.get("source", path.name),
            source_sha256=metadata.get("source_sha256", ""),
            license=metadata.get("license", "unknown"),
            architecture=_architecture(metadata),
            reference=str(path.absolute()),
        )
        if "flavour" not in metadata and fingerprints.difference(weights.parameters):
            raise UserError(f"it does not say its flavour: say it with nstjax weights convert {path} --flavour …")
        if metadata.get("sha256", weights.sha256) != weights.sha256:
            raise UserError("damaged: its content does not have the sha256 that it states")
    return weights


def _architecture(metadata: Mapping[str, str]) -> Architecture:
    if "network" not in metadata:
        return VGG19
    try:
        blocks = tuple((int(count), int(channels)) for count, channels in json.loads(metadata["blocks"]))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"it does not say the blocks of its network {metadata['network']} ({error!r})") from None
    return Architecture(metadata["network"], blocks)


def write(path: str | os.PathLike[str], weights: Weights) -> None:
    """Writes one of nstjax's own files: whole or not at all, and the same bytes for the same weights.

    Raises:
        OSError: it cannot be written there.
    """
    tensors = {
        f"{name}/{what}": np.ascontiguousarray(tensor, "<f4")
        for name, pair in weights.parameters.items()
        for what, tensor in zip(("kernel", "bias"), pair, strict=True)
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
    # Written by hand because the library puts the metadata in a new order each time. The header is padded so that the
    # tensors start at a multiple of eight bytes, as the format recommends.
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.data)
