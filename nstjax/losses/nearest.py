"""Distances of two sets of vectors, pair by pair: nearest patches, nearest features, self-similarity.

x ``[N, C]`` and t ``[M, C]`` are feature vectors, hypercolumns or patches, in any order. With a^ for a over its length,
the cosine distance of a and b is ``1 - cos(a, b) = |a^ - b^|^2 / 2``; of a vector of zeros a^ is zero.

No N x M matrix is kept. Which vector is the nearest is found in blocks and is a constant for the gradient, as it is
wherever a small step leaves it the same; of the distances themselves only those that count are formed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from nstjax.types import Scalar

_BLOCK = 2**24
"""The most pairs that are compared at a time: 64 MiB of float32."""

_SHORT = 1e-24
"""The squared length below which a vector counts as zero: in float32 the gradient of its direction would overflow."""

_ALIKE = 1e-6
"""The least mean distance of a vector from all that self-similarity divides by: it bites where a picture is flat."""


def markov_random_field(x: Float[Array, "n k"], t: Float[Array, "m k"]) -> Scalar:
    """``1/2 sum_i |x_i - t_NN(i)|^2``, NN(i) the j whose ``x_i . t_j / (|x_i| |t_j|)`` is the largest; of ``Patches``.

    Reference: Li and Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis",
    2016, equations 2 and 3; the half is that of the authors' code.
    """
    nearest = _nearest(x, _unit(t), _product)
    return 0.5 * jnp.sum((x - t[nearest]) ** 2)


def nearest_cosine(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """``1/N sum_i min_j [1 - cos(x_i - mean x, t_j - mean t)]``.

    Reference: Kolkin, Kucera, Paris, Sykora, Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.
    """
    x, t = _unit(x - jnp.mean(x, axis=0)), _unit(t - jnp.mean(t, axis=0))
    return jnp.mean(_half_squares(x, t[_nearest(x, t, _product)]))


def relaxed_earth_mover(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """``max(1/N sum_i min_j D_ij, 1/M sum_j min_i D_ij)`` with the cosine distance ``D_ij = 1 - cos(x_i, t_j)``.

    Reference: Kolkin, Salavon and Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and Self-Similarity"
    (STROTSS), 2019, equations 2 to 4.
    """
    x, t = _unit(x), _unit(t)
    from_x = _half_squares(x, t[_nearest(x, t, _product)])
    from_t = _half_squares(x[_nearest(t, x, _product)], t)
    return jnp.maximum(jnp.mean(from_x), jnp.mean(from_t))


def relaxed_earth_mover_of_colours(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """``relaxed_earth_mover`` with ``D_ij = 1 - cos(x_i, t_j) + |x_i - t_j| / sqrt(C)``.

    Reference: STROTSS' code, which turns colours by an orthogonal matrix first: that leaves all of it as it is.
    Differs from the code: no floor of 1e-5 under ``|x_i - t_j|^2``, so that equal colours have no distance.
    """
    x_both, t_both = (jnp.concatenate([_unit(it), it / jnp.sqrt(float(it.shape[1]))], axis=1) for it in (x, t))
    from_x = _of_colours(x_both, t_both[_nearest(x_both, t_both, _near_colours)])
    from_t = _of_colours(x_both[_nearest(t_both, x_both, _near_colours)], t_both)
    return jnp.maximum(jnp.mean(from_x), jnp.mean(from_t))


def self_similarity(x: Float[Array, "n c"], t: Float[Array, "n _"]) -> Scalar:
    """``1/N sum_ij | D_ij / sum_i D_ij - D'_ij / sum_i D'_ij |``: D of x's cosine distances, D' of t's.

    A content loss: x and t are taken at the same N positions.

    Reference: Kolkin et al. 2019 (STROTSS), equation 7; over N, not N^2, as in its code.
    """

    def column(pair: tuple[Array, Array]) -> Array:
        return jnp.sum(jnp.abs(_shares(x, pair[0]) - _shares(t, pair[1])))

    x, t = _unit(x), _unit(t)
    # Columns are computed anew for the gradient, in place of keeping them all.
    each = lax.map(jax.checkpoint(column), (x, t), batch_size=block(len(x), len(x)))
    return jnp.mean(each)


def _shares(x: Float[Array, "n c"], of: Float[Array, "c"]) -> Float[Array, "n"]:
    distances = 1 - _product(of, x)
    return distances / jnp.maximum(jnp.sum(distances), _ALIKE * len(x))


def _nearest(
    x: Float[Array, "n k"], t: Float[Array, "m k"], closeness: Callable[[Array, Array], Array]
) -> Int[Array, "n"]:
    """For each row of x the row of t that is the closest; the first of several."""
    x, t = lax.stop_gradient((x, t))
    return lax.map(lambda row: jnp.argmax(closeness(row, t)), x, batch_size=block(len(x), len(t)))


def block(n: int, m: int) -> int:
    """How many of n rows are compared with m others at a time."""
    return min(n, max(1, _BLOCK // m))


def _product(row: Float[Array, "c"], t: Float[Array, "m c"]) -> Float[Array, "m"]:
    return jnp.matmul(t, row, precision=lax.Precision.HIGHEST)


def _near_colours(row: Float[Array, "k"], t: Float[Array, "m k"]) -> Float[Array, "m"]:
    c = len(row) // 2
    return _product(row[:c], t[:, :c]) - jnp.sqrt(jnp.sum((row[c:] - t[:, c:]) ** 2, axis=1))


def _of_colours(x: Float[Array, "n k"], t: Float[Array, "n k"]) -> Float[Array, "n"]:
    c = x.shape[1] // 2
    square = jnp.sum((x[:, c:] - t[:, c:]) ** 2, axis=1)
    # Where colours are equal the distance has no gradient, and zero is taken for it.
    differ = square > 0
    return _half_squares(x[:, :c], t[:, :c]) + jnp.where(differ, jnp.sqrt(jnp.where(differ, square, 1)), 0)


def _half_squares(x: Float[Array, "n c"], t: Float[Array, "n c"]) -> Float[Array, "n"]:
    return 0.5 * jnp.sum((x - t) ** 2, axis=1)


def _unit(x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    square = jnp.sum(x**2, axis=1, keepdims=True)
    long = square > _SHORT
    return x * jnp.where(long, lax.rsqrt(jnp.where(long, square, 1)), 0)
