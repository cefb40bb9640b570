"""The grid of tiles of a picture, and the windows in which they are computed."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from nstjax.types import LocalNetwork


@dataclass(frozen=True)
class Cut:
    """The division of one side of a picture into tiles.

    Args:
        length: of the side.
        window: length of each window.
        starts: where each window starts.
        edges: where each tile starts, and where the last one ends; tile k lies in window k.
    """

    length: int
    window: int
    starts: tuple[int, ...]
    edges: tuple[int, ...]


def cut_side(length: int, *, tile: int, halo: int, stride: int) -> Cut:
    """Divide one side of a picture into tiles, evenly, with the fewest windows and as small ones as these can be.

    Args:
        length: of the side, in pixels.
        tile: most pixels of a tile.
        halo: least distance from a tile to the edge of its window, except where that is the edge of the picture.
        stride: windows start at multiples of it, and end where the picture ends or short of it by a multiple.
    """
    halo = -(-halo // stride) * stride
    inner = max(tile // stride, 1) * stride
    window = inner + 2 * halo + length % stride
    if window >= length:
        return Cut(length, length, (0,), (0, length))
    count = -(-(length - window) // inner) + 1
    # The smallest window of which so many are enough: its tiles, between two halos, reach from start to start.
    window = -(-(length + (count - 1) * 2 * halo) // count)
    window += (length - window) % stride
    while -((window - length) // stride // (count - 1)) * stride > window - 2 * halo:
        window += stride
    starts = tuple((length - window) * k // (count - 1) // stride * stride for k in range(count))
    return Cut(length, window, starts, (0, *(start + halo for start in starts[1:]), length))


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture: every row of tiles with every column."""

    rows: Cut
    columns: Cut

    @property
    def window(self) -> tuple[int, int]:
        """The (height, width) of each window."""
        return self.rows.window, self.columns.window

    @property
    def count(self) -> int:
        """The number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def overhead(self) -> float:
        """Pixels computed over pixels of the picture."""
        return self.pixels / (self.rows.length * self.columns.length)

    @property
    def pixels(self) -> int:
        """The number of pixels of all windows."""
        return self.count * math.prod(self.window)

    @property
    def table(self) -> Int[np.ndarray, "tiles 2 3"]:
        """Starts of windows, and starts and ends of tiles, vertically and horizontally, for each tile."""
        sides = [
            [*zip(cut.starts, *zip(*itertools.pairwise(cut.edges), strict=True), strict=True)]
            for cut in (self.rows, self.columns)
        ]
        return np.array([*itertools.product(*sides)], np.int32)


def make_grid(network: LocalNetwork, layers: Iterable[str], shape: Sequence[int], tile: int) -> Grid:
    """Divide a picture of a shape (H, W, …) into tiles of at most ``tile`` pixels a side, for the given layers."""
    layers = tuple(layers)
    stride = max((network.stride(layer) for layer in layers), default=1)
    halo = network.reach(layers)
    rows, columns = (cut_side(length, tile=tile, halo=halo, stride=stride) for length in shape[:2])
    return Grid(rows, columns)
