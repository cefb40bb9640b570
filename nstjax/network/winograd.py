"""Winograd's minimal filtering: a 3x3 convolution with a quarter of the multiplications.

F(4, 3) computes four outputs of a three-tap filter g from six inputs d, with six products instead of twelve:

    y = A^T [(G g) * (B^T d)]

Along both axes of a map cut into 4x4 tiles this is thirty-six matrix products over all tiles instead of 144. It is for
CPUs, and faster there only with enough channels: with few, moving the transformed numbers costs more than is saved.

Along the height the transforms are matrix products, along the width they are written out. Otherwise XLA's CPU compiler
would fuse both with everything before them, and compute that again in each place that reads it; it computes the operand
of a matrix product once.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TILE = 4

# Lavin and Gray 2016, equation 14, for the points 0, ±1, ±2 and infinity.
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


def transform_kernel(kernel: Float[np.ndarray, "3 3 c k"]) -> list[Float[np.ndarray, "6 c k"]]:
    """Transform a kernel: ``G g G^T``, computed in float64.

    Returns:
        Six arrays of six matrices each, indexed by their position in a tile along the width, then along the height.
    """
    return [*np.einsum("ai,ijck,bj->back", _G, kernel.astype(np.float64), _G).astype(np.float32)]


def convolve(x: Float[Array, "h w c"], kernel: Sequence[Float[Array, "6 c k"]]) -> Float[Array, "h w k"]:
    """Convolve x, with one zero on each side.

    Args:
        x: [h, w, c].
        kernel: the transformed kernel, from ``transform_kernel``.
    """
    d1, d2, d3, d4 = _split_tiles(x)
    rows = _multiply(_B_T, jnp.stack([_shift(d4, 1), d1, d2, d3, d4, _shift(d1, -1)]))
    products = [_multiply_tiles(v, u) for v, u in zip(_transform_inputs(rows), kernel, strict=True)]
    outputs = _multiply(_A_T, _interleave(_transform_products(products)))
    return _join_tiles(outputs, *x.shape[:2])


def convolve_transpose(dy: Float[Array, "h w k"], kernel: Sequence[Float[Array, "6 c k"]]) -> Float[Array, "h w c"]:
    """Apply the transpose of ``convolve``, which turns the gradient of its output into that of its input.

    It transposes each step of ``convolve``, from the last to the first. A convolution with the turned kernel would do
    the same, but would need a second transformed kernel, as large as the first.

    Args:
        dy: [h, w, k].
        kernel: the transformed kernel, from ``transform_kernel``.
    """
    rows = _multiply(_A_T.T, jnp.stack(_split_tiles(dy)))
    products = [
        _multiply_tiles(m, u.swapaxes(1, 2)) for m, u in zip(_transform_products_transpose(rows), kernel, strict=True)
    ]
    d0, d1, d2, d3, d4, d5 = _multiply(_B_T.T, _interleave(_transform_inputs_transpose(products)))
    return _join_tiles(jnp.stack([d1 + _shift(d5, 1), d2, d3, d4 + _shift(d0, -1)]), *dy.shape[:2])


def _split_tiles(x: Float[Array, "h w c"]) -> list[Float[Array, "n padded_w c"]]:
    """Return four arrays: the first, second, third and fourth row of every tile, with zeros beyond the map."""
    height, width, _ = x.shape
    x = jnp.pad(x, [(0, -height % _TILE), (0, -width % _TILE), (0, 0)])
    x = x.reshape(-1, _TILE, *x.shape[1:])
    # Slices, because swapping the axes takes four times as long with XLA's CPU compiler.
    return [x[:, i] for i in range(_TILE)]


def _join_tiles(tiles: Float[Array, "4 n w c"], height: int, width: int) -> Float[Array, "{height} {width} c"]:
    """Join the four rows of all tiles to a map, without the zeros that ``_split_tiles`` has added."""
    return tiles.swapaxes(0, 1).reshape(-1, *tiles.shape[2:])[:height, :width]


def _multiply(matrix: np.ndarray, x: Float[Array, "b n w c"]) -> Float[Array, "a n w c"]:
    return jnp.dot(jnp.asarray(matrix, x.dtype), x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


def _multiply_tiles(v: Float[Array, "6 n t c"], u: Float[Array, "6 c k"]) -> Float[Array, "6 n t k"]:
    """Multiply the matrices at each of six positions, over all tiles."""
    m = lax.dot_general(v.reshape(6, -1, v.shape[-1]), u, (((2,), (1,)), ((0,), (0,))))
    return m.reshape(*v.shape[:-1], -1)


def _transform_inputs(d: Float[Array, "6 n w c"]) -> list[Float[Array, "6 n t c"]]:
    """Apply ``B^T`` along the width: return the six columns of each tile."""
    d1, d2, d3, d4 = (d[:, :, i::_TILE] for i in range(_TILE))
    d0, d5 = _shift(d4, 1, axis=2), _shift(d1, -1, axis=2)
    return [
        4 * d0 - 5 * d2 + d4,
        (d4 - 4 * d2) + (d3 - 4 * d1),
        (d4 - 4 * d2) - (d3 - 4 * d1),
        (d4 - d2) + 2 * (d3 - d1),
        (d4 - d2) - 2 * (d3 - d1),
        4 * d1 - 5 * d3 + d5,
    ]


def _transform_inputs_transpose(v: Sequence[Float[Array, "6 n t c"]]) -> list[Float[Array, "6 n t c"]]:
    """Apply ``B`` along the width, the transpose of ``_transform_inputs``: return the four columns of each tile."""
    v0, v1, v2, v3, v4, v5 = v
    sum1, difference1, sum2, difference2 = v1 + v2, v1 - v2, v3 + v4, v3 - v4
    return [
        4 * (v5 - difference1) - 2 * difference2 + _shift(v5, 1, axis=2),
        -5 * v0 - 4 * sum1 - sum2,
        difference1 + 2 * difference2 - 5 * v5,
        v0 + sum1 + sum2 + _shift(4 * v0, -1, axis=2),
    ]


def _transform_products(m: Sequence[Float[Array, "6 n t k"]]) -> list[Float[Array, "6 n t k"]]:
    """Apply ``A^T m`` along the width: return the four outputs of each tile."""
    m0, m1, m2, m3, m4, m5 = m
    sum1, difference1, sum2, difference2 = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return [
        m0 + sum1 + sum2,
        difference1 + 2 * difference2,
        sum1 + 4 * sum2,
        difference1 + 8 * difference2 + m5,
    ]


def _transform_products_transpose(y: Float[Array, "6 n w k"]) -> list[Float[Array, "6 n t k"]]:
    """Apply ``A y`` along the width, the transpose of ``_transform_products``."""
    y0, y1, y2, y3 = (y[:, :, i::_TILE] for i in range(_TILE))
    even, odd, even2, odd2 = y0 + y2, y1 + y3, y0 + 4 * y2, 2 * y1 + 8 * y3
    return [y0, even + odd, even - odd, even2 + odd2, even2 - odd2, y3]


def _interleave(columns: Sequence[Float[Array, "6 n t c"]]) -> Float[Array, "6 n w c"]:
    """Interleave the four columns of each tile along the width."""
    positions, rows, tiles, channels = columns[0].shape
    return jnp.stack(columns, 3).reshape(positions, rows, _TILE * tiles, channels)


def _shift(x: Array, offset: int, *, axis: int = 0) -> Array:
    """Shift x along an axis by ``offset``, 1 or -1, with a zero at the free end."""
    return lax.pad(
        x,
        jnp.zeros((), x.dtype),
        [(offset, -offset, 0) if dimension == axis else (0, 0, 0) for dimension in range(x.ndim)],
    )
