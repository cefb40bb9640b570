"""Tensors in files: what their headers say, and a function that reads the values.

A small file may unpack to gigabytes. So the headers of all tensors are looked at first, and a tensor is read only if it
can be a kernel or a bias of a VGG network.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from nstjax.errors import UserError

LARGEST = 1 << 26
"""Size in bytes of the largest tensor that is read: seven times VGG19's largest kernel."""

_LONGEST_HEADER = 1 << 20
_VALUE = 8  # bytes of the largest type of value in safetensors


@dataclass(frozen=True)
class Tensor:
    """A tensor in an open file.

    Args:
        name: its name in the file.
        shape: its shape.
        size: its size in bytes once it is read.
        read_values: reads its values.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    read_values: Callable[[], np.ndarray]

    def check_size(self) -> None:
        """Raise if the tensor is larger than any of a VGG network."""
        if self.size > LARGEST:
            raise UserError(
                f"{self.name} is {[*self.shape]}, larger than any tensor of a VGG network, so it was not read: another "
                "network, or a damaged file"
            )

    def read(self) -> np.ndarray:
        """Read the values.

        Raises:
            UserError: the tensor is larger than any of a VGG network.
        """
        self.check_size()
        return self.read_values()


@contextmanager
def open_safetensors(path: Path) -> Iterator[tuple[list[Tensor], dict[str, str]]]:
    """Open any safetensors file, for its tensors and its metadata.

    Raises:
        UserError: not a whole safetensors file.
    """
    expected = "not a whole safetensors file of types that NumPy knows"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_HEADER:
        raise UserError(f"{expected}, or of another network (a header of {length:,} bytes)")
    try:
        with safe_open(path, "numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            tensors = [
                Tensor(name, shape, _VALUE * math.prod(shape), functools.partial(file.get_tensor, name))
                for name, shape in shapes.items()
            ]
            yield tensors, file.metadata() or {}
    except (SafetensorError, OSError, TypeError) as error:  # a TypeError: NumPy has no bfloat16
        raise UserError(f"{expected} ({error})") from None
