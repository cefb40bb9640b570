"""MAT files of version 5, as MATLAB's save -v7 writes them: chosen variables, from files no larger than a VGG's."""

import struct
import warnings
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from nstjax.errors import UserError

_BLOCK = 1 << 16
_MOST_BYTES = 1 << 30
"""Largest size of all unpacked variables; those of the largest VGG network have 0.6 GB."""
_PACKED = 15
"""Type of a packed variable."""


def read_variables(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read variables of a MAT file.

    Args:
        path: the file.
        names: of the wanted variables.

    Returns:
        {name: value} of those that are there, without sides of length 1: a dict for a struct, a list of them for a
        cell array of structs, a string for text, and an array for numbers.

    Raises:
        UserError: not such a file, cut short, or far larger than a network.
    """
    from scipy.io import loadmat

    with path.open("rb") as file:
        header = file.read(128)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:])
        if order is None or header[124 if order == ">" else 125] != 1:
            raise UserError("not a MAT file of version 5: save it with MATLAB's save -v7")
        _check_unpacked_size(file, order)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as for two variables of one name
        content = loadmat(path, variable_names=[*names], mat_dtype=True, simplify_cells=True)
    return {name: content[name] for name in names if name in content}


def _check_unpacked_size(file: BinaryIO, order: str) -> None:
    """Raise if the variables that follow in a file unpack to far more than a network; they are unpacked in blocks."""
    total = 0
    while len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}2I", tag)
        unpacker = zlib.decompressobj()
        while size and (block := file.read(min(size, _BLOCK))):
            size -= len(block)
            while block:
                total += len(unpacker.decompress(block, _BLOCK) if kind == _PACKED else block)
                if total > _MOST_BYTES:
                    raise UserError(f"unpacks to more than {_MOST_BYTES:,} bytes, more than any VGG network")
                block = unpacker.unconsumed_tail if kind == _PACKED else b""
        if size:
            raise UserError("cut short or damaged: its data end inside a variable")
