"""Winograd's minimal filtering: a 3x3 convolution with a quarter of the multiplications.

F(4, 3) takes four outputs of a three-tap filter g from six inputs d, by six products in place of twelve:

    y = A^T [(G g) * (B^T d)]

and along both axes of a map cut into 4x4 tiles, by thirty-six matrix products over all tiles in place of 144. For CPUs,
where it pays from some number of channels on: below, moving the transformed numbers costs more than is saved.

Along the height the transforms are matrix products, along the width they are written out. XLA's CPU compiler would
otherwise fuse both with all that went before, and compute it anew in each of the places where it is read; an
operand of a matrix product it computes once.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TILE = 4

# Lavin and Gray 2016, equation 14: for the points 0, ±1, ±2 and infinity.
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_B_T = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_A_T = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def transformed(kernel: Float[np.ndarray, "3 3 c k"]) -> list[Float[np.ndarray, "6 c k"]]:
    """``G g G^T``, computed in float64: six by six matrices, by their place across, then down."""
    return [*np.einsum("ai,ijck,bj->back", _G, kernel.astype(np.float64), _G).astype(np.float32)]


def convolve(x: Float[Array, "h w c"], kernel: Sequence[Float[Array, "6 c k"]]) -> Float[Array, "h w k"]:
    """The convolution of x, zeros around it, by a kernel that is ``transformed``."""
    d1, d2, d3, d4 = _tiles(x)
    rows = _times(_B_T, jnp.stack([_moved(d4, 1), d1, d2, d3, d4, _moved(d1, -1)]))
    products = [_products(v, u) for v, u in zip(_across(rows), kernel, strict=True)]
    outputs = _times(_A_T, _side_by_side(_contracted(products)))
    return _joined(outputs, *x.shape[:2])


def transpose(dy: Float[Array, "h w k"], kernel: Sequence[Float[Array, "6 c k"]]) -> Float[Array, "h w c"]:
    """The transpose of ``convolve``, step by step from the last to the first: what takes gradients back to its input.

    A convolution with the turned kernel would do as well, but needs that kernel transformed too, as large again.
    """
    rows = _times(_A_T.T, jnp.stack(_tiles(dy)))
    products = [_products(m, u.swapaxes(1, 2)) for m, u in zip(_expanded(rows), kernel, strict=True)]
    d0, d1, d2, d3, d4, d5 = _times(_B_T.T, _side_by_side(_read_back(products)))
    return _joined(jnp.stack([d1 + _moved(d5, 1), d2, d3, d4 + _moved(d0, -1)]), *dy.shape[:2])


def _tiles(x: Float[Array, "h w c"]) -> list[Float[Array, "n w c"]]:
    """The four rows of all rows of tiles, the last of them and the last columns filled up with zeros."""
    height, width, _ = x.shape
    x = jnp.pad(x, [(0, -height % _TILE), (0, -width % _TILE), (0, 0)])
    x = x.reshape(-1, _TILE, *x.shape[1:])
    # Slices to be stacked: to swap the axes, XLA's CPU compiler takes four times as long.
    return [x[:, i] for i in range(_TILE)]


def _joined(tiles: Float[Array, "4 n w c"], height: int, width: int) -> Float[Array, "h w c"]:
    """The rows of tiles below each other, without what was filled up."""
    return tiles.swapaxes(0, 1).reshape(-1, *tiles.shape[2:])[:height, :width]


def _times(matrix: np.ndarray, x: Float[Array, "b n w c"]) -> Float[Array, "a n w c"]:
    return jnp.dot(jnp.asarray(matrix, x.dtype), x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


def _products(v: Float[Array, "6 n t c"], u: Float[Array, "6 c k"]) -> Float[Array, "6 n t k"]:
    """Over all tiles."""
    m = lax.dot_general(v.reshape(6, -1, v.shape[-1]), u, (((2,), (1,)), ((0,), (0,))))
    return m.reshape(*v.shape[:-1], -1)


def _across(d: Float[Array, "6 n w c"]) -> list[Float[Array, "6 n t c"]]:
    """``B^T d`` along the width: the six columns of each tile."""
    d1, d2, d3, d4 = (d[:, :, i::_TILE] for i in range(_TILE))
    d0, d5 = _moved(d4, 1, axis=2), _moved(d1, -1, axis=2)
    return [
        4 * d0 - 5 * d2 + d4,
        (d4 - 4 * d2) + (d3 - 4 * d1),
        (d4 - 4 * d2) - (d3 - 4 * d1),
        (d4 - d2) + 2 * (d3 - d1),
        (d4 - d2) - 2 * (d3 - d1),
        4 * d1 - 5 * d3 + d5,
    ]


def _read_back(v: Sequence[Float[Array, "6 n t c"]]) -> list[Float[Array, "6 n t c"]]:
    """``B v`` along the width, the transpose of ``_across``: the four columns of each tile."""
    v0, v1, v2, v3, v4, v5 = v
    sum1, difference1, sum2, difference2 = v1 + v2, v1 - v2, v3 + v4, v3 - v4
    return [
        4 * (v5 - difference1) - 2 * difference2 + _moved(v5, 1, axis=2),
        -5 * v0 - 4 * sum1 - sum2,
        difference1 + 2 * difference2 - 5 * v5,
        v0 + sum1 + sum2 + _moved(4 * v0, -1, axis=2),
    ]


def _contracted(m: Sequence[Float[Array, "6 n t k"]]) -> list[Float[Array, "6 n t k"]]:
    """``A^T m`` along the width: the four outputs of each tile."""
    m0, m1, m2, m3, m4, m5 = m
    sum1, difference1, sum2, difference2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return [
        m0 + sum1 + sum2,
        difference1 + 2 * difference2,
        sum1 + 4 * sum2,
        difference1 + 8 * difference2 + m5,
    ]


def _expanded(y: Float[Array, "6 n w k"]) -> list[Float[Array, "6 n t k"]]:
    """``A y`` along the width, the transpose of ``_contracted``."""
    y0, y1, y2, y3 = (y[:, :, i::_TILE] for i in range(_TILE))
    even, odd, even2, odd2 = y0 + y2, y1 + y3, y0 + 4 * y2, 2 * y1 + 8 * y3
    return [y0, even + odd, even - odd, even2 + odd2, even2 - odd2, y3]


def _side_by_side(columns: Sequence[Float[Array, "6 n t c"]]) -> Float[Array, "6 n w c"]:
    """The four columns of each tile beside each other."""
    six, down, across, channels = columns[0].shape
    return jnp.stack(columns, 3).reshape(six, down, _TILE * across, channels)


def _moved(x: Array, by: int, *, axis: int = 0) -> Array:
    """x moved along an axis by one, a zero in the place that it leaves."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(by, -by, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)])
