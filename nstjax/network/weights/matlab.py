"""MAT files of version 5, as MATLAB's save -v7 writes them: chosen variables, and no value larger than a VGG's.

A packed file is unpacked in blocks, and large values are passed over, so that no file takes much memory.

Reference:
    MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nstjax.errors import UserError
from nstjax.network.weights.tensors import LARGEST, Tensor

_BLOCK = 1 << 16
_MOST_BYTES = 1 << 30  # of unpacked variables; those of the largest VGG network have 0.6 GB
_MOST_ARRAYS = 20_000  # a VGG network has about 2,000, most of them the names of classes
_MOST_KEPT = 1 << 28  # bytes of values

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type in a tag to NumPy's name. MATLAB stores whole numbers as small as they fit."""

_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Class of an array of numbers to NumPy's name."""

_CELL, _STRUCT, _TEXT = 1, 2, 4
_ARRAY, _PACKED = 14, 15


def read_variables(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read variables of a MAT file.

    Args:
        path: the file.
        names: of the wanted variables.

    Returns:
        {name: value} of those that are there: a list for a cell array, a list of dicts for a struct array, a string
        for text, and a ``Tensor`` for numbers, without sides of length 1. Sparse arrays and objects are None.

    Raises:
        UserError: not such a file, cut short, or far larger than a network.
    """
    variables: dict[str, Any] = {}
    with path.open("rb") as file:
        header = file.read(128)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:])
        if order is None or header[124 if order == ">" else 125] != 1:
            raise UserError("not a MAT file of version 5: save it with MATLAB's save -v7")
        position = 128
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}2I", tag)
            if kind == _PACKED:
                parser = _Parser(_unpack(file, size), order)
                kind, array_size, _ = parser.read_tag()
            else:
                parser, array_size = _Parser(_read_blocks(file, size), order), size
            if kind == _ARRAY:
                name, value = parser.read_array(array_size, names)
                if name in variables:
                    raise UserError(f"holds two variables {name}: damaged")
                if name in names:
                    variables[name] = value
            position += 8 + size
            file.seek(position)
    return variables


def _read_blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, _BLOCK))):
        size -= len(block)
        yield block


def _unpack(file: BinaryIO, size: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for block in _read_blocks(file, size):
        while block:
            yield unpacker.decompress(block, _BLOCK)
            block = unpacker.unconsumed_tail
    yield unpacker.flush()


class _Parser:
    """A reader of one variable, from the blocks of its bytes."""

    def __init__(self, blocks: Iterator[bytes], order: str):
        self._blocks, self._order = blocks, order
        self._block = memoryview(b"")
        self._position = self._arrays = self._kept = 0

    def read_tag(self) -> tuple[int, int, bytes | None]:
        """Read a tag: the type of an element, its size in bytes, and its data if they are small and in the tag."""
        tag = self._read(8)
        kind, size = struct.unpack(f"{self._order}2I", tag)
        if not kind >> 16:
            return kind, size, None
        return kind & 0xFFFF, kind >> 16, tag[4 : 4 + (kind >> 16)]

    def read_array(self, size: int, names: Collection[str] | None = None) -> tuple[str, Any]:
        """Read the name and the value of an array of ``size`` bytes; a name that is not wanted has no value."""
        self._arrays += 1
        if self._arrays > _MOST_ARRAYS:
            raise UserError(f"holds more than {_MOST_ARRAYS:,} arrays, far more than a VGG network: another file")
        if not size:
            return "", None
        kind = struct.unpack(f"{self._order}I", self._read_element(64)[:4])[0] & 0xFF
        sides = self._read_element(64)
        shape = struct.unpack(f"{self._order}{len(sides) // 4}i", sides)
        name = self._read_element(256).decode("latin-1")
        return name, self._read_value(kind, shape) if names is None or name in names else None

    def _read_value(self, kind: int, shape: tuple[int, ...]) -> Any:
        if kind == _CELL:
            return [self._read_inner() for _ in range(math.prod(shape))]
        if kind == _STRUCT:
            length = struct.unpack(f"{self._order}i", self._read_element(8)[:4])[0]
            joined = self._read_element(1 << 16)
            fields = [joined[k : k + length].split(b"\0")[0].decode("latin-1") for k in range(0, len(joined), length)]
            return [{field: self._read_inner() for field in fields} for _ in range(math.prod(shape) if fields else 0)]
        if kind == _TEXT:
            stored, size, data = self.read_tag()
            text = data if data is not None else self._read(size) if size < _BLOCK else b""
            return text.decode("latin-1" if stored in (1, 2, 16) else "utf-16")
        return self._read_numbers(_CLASSES[kind], shape) if kind in _CLASSES else None

    def _read_inner(self) -> Any:
        """Read the value of an array inside another."""
        _, size, _ = self.read_tag()
        end = self._position + size
        _, value = self.read_array(size)
        if self._position > end:
            raise UserError("damaged: a part is longer than the whole")
        self._skip(end - self._position)
        return value

    def _read_numbers(self, type_name: str, shape: tuple[int, ...]) -> Tensor:
        stored, size, data = self.read_tag()
        squeezed = tuple(side for side in shape if side != 1)
        size_read = math.prod(shape) * np.dtype(type_name).itemsize
        if max(size, size_read) > LARGEST:
            return Tensor("", squeezed, max(size, size_read), lambda: np.empty(0))  # not read, so passed over
        self._kept += size_read
        if self._kept > _MOST_KEPT:
            raise UserError(f"holds more than {_MOST_KEPT:,} bytes of numbers, far more than a VGG network")
        data = self._read(size) if data is None else data
        numbers = np.frombuffer(data, self._order + _STORED[stored]).astype(type_name)
        return Tensor("", squeezed, size_read, lambda: numbers.reshape(squeezed, order="F"))

    def _read_element(self, most: int) -> bytes:
        """Read the data of an element, which fill a multiple of eight bytes."""
        _, size, data = self.read_tag()
        if data is not None:
            return data
        if size > most:
            raise UserError(f"has {size:,} bytes where a MAT file has at most {most}: damaged")
        data = self._read(size)
        self._skip(-size % 8)
        return data

    def _read(self, size: int) -> bytes:
        return b"".join(self._take(size))

    def _skip(self, size: int) -> None:
        for _ in self._take(size):
            pass

    def _take(self, size: int) -> Iterator[memoryview]:
        """Yield the next ``size`` bytes in parts."""
        self._position += size
        if self._position > _MOST_BYTES:
            raise UserError(f"unpacks to more than {_MOST_BYTES:,} bytes, more than any VGG network: another file")
        while size > 0:
            while not self._block:
                block = next(self._blocks, None)
                if block is None:
                    raise UserError("cut short or damaged: its data end inside a variable")
                self._block = memoryview(block)
            part, self._block = self._block[:size], self._block[size:]
            size -= len(part)
            yield part
