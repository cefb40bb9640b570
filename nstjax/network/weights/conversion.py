"""From a file that others publish to weights whose flavour is known and whose kernels were checked."""

import hashlib
import os
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.weights import fingerprints, readers
from nstjax.network.weights.files import Weights, about
from nstjax.network.weights.manifest import Source, recognise


def convert(path: str | os.PathLike[str], *, flavour: str | None = None, origin: Source | None = None) -> Weights:
    """The weights in a .h5, .mat, .npz, .safetensors or (where PyTorch is installed) .pth file.

    Args:
        flavour: "caffe", "torchvision" or "self-taught"; by default what the origin, the file or the fingerprints say.
        origin: the source that published the file; by default told by the file's checksum.

    Returns:
        Weights with the channels in their flavour's order, checked as ``fingerprints.check`` does.

    Raises:
        UserError: unreadable, another network, of no flavour that can be told, or not the kernels of that flavour; one
            line that names the layer where there is one.
    """
    path = Path(path)
    with about(path):
        contents = readers.read(path)
        origin = origin or recognise(path)
        flavour = flavour or (origin.flavour if origin else contents.flavour)
        if flavour is not None and flavour not in FLAVOURS:
            raise UserError(f"no flavour is called {flavour!r}: expected one of {', '.join(FLAVOURS)}")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        weights = Weights(
            _in_order(contents, FLAVOURS[flavour or "caffe"].order),
            FLAVOURS[flavour or "caffe"],
            f"{origin.name}, {origin.address}" if origin else contents.source or path.name,
            source_sha256=sha256,
            license=origin.license if origin else contents.license or "unknown",
            architecture=contents.architecture,
        )
        unknown = fingerprints.difference(weights.parameters) == (weights.architecture.convolutions[0], None)
        if flavour is None and (unknown or weights.architecture != VGG19):
            raise UserError(
                "its kernels are not those of the Caffe VGG19, so its flavour must be said: --flavour torchvision"
            )
        fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return weights


def _in_order(contents: readers.Contents, order: str) -> dict:
    """The parameters with the first kernel's input channels in that order."""
    parameters = dict(contents.parameters)
    first = contents.architecture.convolutions[0]
    if contents.order not in (None, order) and first in parameters:
        kernel, bias = parameters[first]
        parameters[first] = (kernel[:, :, ::-1].copy(), bias)
    return parameters
