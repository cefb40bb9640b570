"""Conversion of a published file into weights of a known flavour with checked kernels."""

import hashlib
import os
from pathlib import Path

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, VGG19
from nstjax.network.weights import fingerprints, readers
from nstjax.network.weights.files import Weights, prefix_errors
from nstjax.network.weights.manifest import Source, recognise
from nstjax.system.files import check_regular


def convert(path: str | os.PathLike[str], *, flavour: str | None = None, origin: Source | None = None) -> Weights:
    """Return the weights in a .h5, .mat, .npz, .safetensors or (if PyTorch is installed) .pth file.

    Args:
        path: the published file.
        flavour: "caffe", "torchvision" or "self-taught"; by default what the origin, the file or the fingerprints say.
        origin: the source that published the file; by default the one that has the file's checksum.

    Returns:
        Weights with the channels in the order of their flavour, checked by ``fingerprints.check``.

    Raises:
        UserError: the file cannot be read, holds another network, its flavour is unknown, or its kernels are not those
            of the flavour; the line names the layer where there is one.
    """
    path = Path(path)
    with prefix_errors(path):
        readers.require_reader(path.suffix)
    check_regular(path, "a published file of weights")
    with prefix_errors(path):
        contents = readers.read(path)
        origin = origin or recognise(path)
        flavour = flavour or (origin.flavour if origin else contents.flavour)
        if flavour is not None and flavour not in FLAVOURS:
            raise UserError(f"no flavour is called {flavour!r}: expected one of {', '.join(FLAVOURS)}")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        weights = Weights(
            _reorder_channels(contents, FLAVOURS[flavour or "caffe"].order),
            FLAVOURS[flavour or "caffe"],
            f"{origin.name}, {origin.address}" if origin else contents.source or path.name,
            source_sha256=sha256,
            license=origin.license if origin else contents.license or "unknown",
            architecture=contents.architecture,
        )
        unknown = fingerprints.find_difference(weights.parameters) == (weights.architecture.convolutions[0], None)
        if flavour is None and (unknown or weights.architecture != VGG19):
            raise UserError(
                "its kernels are not those of the Caffe VGG19, so its flavour is unknown: add --flavour torchvision"
            )
        fingerprints.check(weights.parameters, weights.flavour.name, architecture=weights.architecture)
    return weights


def _reorder_channels(contents: readers.Contents, order: str) -> dict:
    """Return the parameters with the input channels of the first kernel in the given order."""
    parameters = dict(contents.parameters)
    first = contents.architecture.convolutions[0]
    if contents.order not in (None, order) and first in parameters:
        kernel, bias = parameters[first]
        parameters[first] = (kernel[:, :, ::-1].copy(), bias)
    return parameters
