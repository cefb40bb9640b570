"""Winograd's minimal filtering: a 3x3 convolution with a quarter of the multiplications.

F(4, 3) computes four outputs of a three-tap filter g from six inputs d, with six products instead of twelve:

    y = A^T [(G g) * (B^T d)]

Along both axes of a map cut into 4x4 tiles this is thirty-six matrix products over all tiles instead of 144. It is for
CPUs, and faster there only with enough channels: with few, moving the transformed numbers costs more than is saved.

Along the height the transforms are matrix products, along the width they are written out. Otherwise XLA's CPU compiler
would fuse both with everything before them, and compute that again in each place that reads it; it computes the operand
of a matrix product once.

The polynomials of the method are evaluated at 0, ±√½, ±√2 and infinity: with the paper's ±1 and ±2, rounding errors are
twice as large. The transformed kernel may be in bfloat16: then both factors of the products are, while sums and the
rest keep the dtype of the map. With these points that is as accurate as a direct convolution in bfloat16.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_TILE = 4

_P, _Q = 0.5**0.5, 2**0.5
"""The points besides 0 and infinity are ±p and ±q."""

# Lavin and Gray 2016, equation 14, for these points.
_G = np.array(
    [
        [1, 0, 0],
        *([-2 / 3, -2 / 3 * p, -1 / 3] for p in (_P, -_P)),
        *([1 / 6, 1 / 6 * q, 1 / 3] for q in (_Q, -_Q)),
        [0, 0, 1],
    ]
)
_B_T = np.array(
    [
        [1, 0, -2.5, 0, 1, 0],
        *([0, -2 * p, -2, p, 1, 0] for p in (_P, -_P)),
        *([0, -q / 2, -0.5, q, 1, 0] for q in (_Q, -_Q)),
        [0, 1, 0, -2.5, 0, 1],
    ]
)
_A_T = np.array(
    [
        [1, 1, 1, 1, 1, 0],
        [0, _P, -_P, _Q, -_Q, 0],
        [0, 0.5, 0.5, 2, 2, 0],
        [0, 0.5 * _P, -0.5 * _P, 2 * _Q, -2 * _Q, 1],
    ]
)


def transform_kernel(kernel: Float[np.ndarray, "3 3 c k"]) -> list[Float[np.ndarray, "6 c k"]]:
    """Transform a kernel: ``G g G^T``.

    Returns:
        Six float64 arrays of six matrices each, indexed by their position in a tile along the width, then along the
        height.
    """
    return [*np.einsum("ai,ijck,bj->back", _G, kernel.astype(np.float64), _G)]


def convolve(x: Float[Array, "h w c"], kernel: Sequence[Float[Array, "6 c k"]]) -> Float[Array, "h w k"]:
    """Convolve x, with one zero on each side.

    Args:
        x: [h, w, c].
        kernel: the transformed kernel, from ``transform_kernel``; its dtype is that of the factors.
    """
    d1, d2, d3, d4 = _split_tiles(x)
    rows = _multiply(_B_T, jnp.stack([_shift(d4, 1), d1, d2, d3, d4, _shift(d1, -1)]))
    products = [_multiply_tiles(v, u) for v, u in zip(_transform_inputs(rows), kernel, strict=True)]
    outputs = _multiply(_A_T, _interleave(_transform_products(products)))
    return _join_tiles(outputs, *x.shape[:2])


def convolve_transpose(dy: Float[Array, "h w k"], kernel: Sequence[Float[Array, "6 k c"]]) -> Float[Array, "h w c"]:
    """Apply the transpose of ``convolve``, which turns the gradient of its output into that of its input.

    It transposes each step of ``convolve``, from the last to the first.

    Args:
        dy: [h, w, k].
        kernel: the transformed kernel, each of its matrices transposed.
    """
    rows = _multiply(_A_T.T, jnp.stack(_split_tiles(dy)))
    products = [_multiply_tiles(m, u) for m, u in zip(_transform_products_transpose(rows), kernel, strict=True)]
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
    v_narrow = v.reshape(6, -1, v.shape[-1]).astype(u.dtype)
    m = lax.dot_general(v_narrow, u, (((2,), (1,)), ((0,), (0,))), preferred_element_type=v.dtype)
    return m.reshape(*v.shape[:-1], -1)


def _transform_inputs(d: Float[Array, "6 n w c"]) -> list[Float[Array, "6 n t c"]]:
    """Apply ``B^T`` along the width: return the six columns of each tile."""
    d1, d2, d3, d4 = (d[:, :, i::_TILE] for i in range(_TILE))
    d0, d5 = _shift(d4, 1, axis=2), _shift(d1, -1, axis=2)
    even1, odd1 = d4 - 2 * d2, _P * (d3 - 2 * d1)
    even2, odd2 = d4 - 0.5 * d2, _Q * (d3 - 0.5 * d1)
    return [
        d0 - 2.5 * d2 + d4,
        even1 + odd1,
        even1 - odd1,
        even2 + odd2,
        even2 - odd2,
        d1 - 2.5 * d3 + d5,
    ]


def _transform_inputs_transpose(v: Sequence[Float[Array, "6 n t c"]]) -> list[Float[Array, "6 n t c"]]:
    """Apply ``B`` along the width, the transpose of ``_transform_inputs``: return the four columns of each tile."""
    v0, v1, v2, v3, v4, v5 = v
    even1, odd1, even2, odd2 = v1 + v2, _P * (v1 - v2), v3 + v4, _Q * (v3 - v4)
    return [
        v5 - 2 * odd1 - 0.5 * odd2 + _shift(v5, 1, axis=2),
        -2.5 * v0 - 2 * even1 - 0.5 * even2,
        odd1 + odd2 - 2.5 * v5,
        v0 + even1 + even2 + _shift(v0, -1, axis=2),
    ]


def _transform_products(m: Sequence[Float[Array, "6 n t k"]]) -> list[Float[Array, "6 n t k"]]:
    """Apply ``A^T m`` along the width: return the four outputs of each tile."""
    m0, m1, m2, m3, m4, m5 = m
    even1, odd1, even2, odd2 = m1 + m2, _P * (m1 - m2), m3 + m4, _Q * (m3 - m4)
    return [
        m0 + even1 + even2,
        odd1 + odd2,
        0.5 * even1 + 2 * even2,
        0.5 * odd1 + 2 * odd2 + m5,
    ]


def _transform_products_transpose(y: Float[Array, "6 n w k"]) -> list[Float[Array, "6 n t k"]]:
    """Apply ``A y`` along the width, the transpose of ``_transform_products``."""
    y0, y1, y2, y3 = (y[:, :, i::_TILE] for i in range(_TILE))
    even1, odd1 = y0 + 0.5 * y2, _P * (y1 + 0.5 * y3)
    even2, odd2 = y0 + 2 * y2, _Q * (y1 + 2 * y3)
    return [y0, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, y3]


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
