"""Distances of two sets of vectors, pair by pair: nearest patches, nearest features, self-similarity.

x ``[N, C]`` and t ``[M, C]`` are feature vectors, hypercolumns or patches, in any order. With ``a^ = a / |a|``, the
cosine distance of a and b is ``1 - cos(a, b) = |a^ - b^|^2 / 2``; for a vector of zeros a^ is zero.

No large N x M matrix is kept for the gradient. The nearest vectors are searched in blocks. Their indices are constants
for the gradient, which is exact wherever a small step does not change them. Only distances to the nearest are formed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from nstjax.types import Scalar

_BLOCK = 2**24
"""The largest number of pairs compared at a time: 64 MiB of float32."""

_SHORT = 1e-24
"""The squared length below which a vector counts as zero: the gradient of its direction would overflow in float32."""

_ALIKE = 1e-6
"""The lower bound of the mean distance by which self-similarity divides; it matters where a picture is flat."""


def markov_random_field(x: Float[Array, "n k"], t: Float[Array, "m k"]) -> Scalar:
    """Return half the squared distances to the nearest patches, ``1/2 sum_i |x_i - t_NN(i)|^2``; for ``Patches``.

    NN(i) is the j with the largest cosine ``x_i . t_j / (|x_i| |t_j|)``.

    Reference: Li and Wand, "Combining Markov Random Fields and Convolutional Neural Networks for Image Synthesis",
    2016, equations 2 and 3; the half is that of the authors' code.
    """
    nearest = _find_nearest(x, _normalise(t), _inner_products)
    return 0.5 * jnp.sum((x - t[nearest]) ** 2)


def nearest_cosine(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """Return the mean distance to the nearest vector, ``1/N sum_i min_j [1 - cos(x_i - mean x, t_j - mean t)]``.

    Reference: Kolkin, Kucera, Paris, Sykora, Shechtman and Shakhnarovich, "Neural Neighbor Style Transfer", 2022.
    """
    x, t = x - jnp.mean(x, axis=0), t - jnp.mean(t, axis=0)
    return cosine(x, t[find_nearest_cosine(x, t)])


def find_nearest_cosine(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Int[Array, "n"]:
    """Return for each vector of x the index j of the largest ``cos(x_i - mean x, t_j - mean t)``."""
    x, t = _normalise(x - jnp.mean(x, axis=0)), _normalise(t - jnp.mean(t, axis=0))
    return _find_nearest(x, t, _inner_products)


def cosine(x: Float[Array, "n c"], t: Float[Array, "n c"]) -> Scalar:
    """Return the mean cosine distance of vectors from those of the same index, ``1/N sum_i [1 - cos(x_i, t_i)]``."""
    return jnp.mean(_half_squared_distances(_normalise(x), _normalise(t)))


def relaxed_earth_mover(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """Return the relaxed earth mover's distance, ``max(1/N sum_i min_j D_ij, 1/M sum_j min_i D_ij)``.

    D_ij is the cosine distance ``1 - cos(x_i, t_j)``.

    Reference: Kolkin, Salavon and Shakhnarovich, "Style Transfer by Relaxed Optimal Transport and Self-Similarity"
    (STROTSS), 2019, equations 2 to 4.
    """
    x, t = _normalise(x), _normalise(t)
    nearest_t, nearest_x = _find_nearest_both_ways(x, t, _inner_products)
    from_x, from_t = _half_squared_distances(x, t[nearest_t]), _half_squared_distances(x[nearest_x], t)
    return jnp.maximum(jnp.mean(from_x), jnp.mean(from_t))


def relaxed_earth_mover_of_colours(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """Return the relaxed earth mover's distance with ``D_ij = 1 - cos(x_i, t_j) + |x_i - t_j| / sqrt(C)``.

    Reference: STROTSS' code, which first turns colours by an orthogonal matrix: that changes no distance.
    Differs from the code: no floor of 1e-5 under ``|x_i - t_j|^2``, so that the distance of equal colours is zero.
    """
    x_both, t_both = (_colour_vectors(colours) for colours in (x, t))
    nearest_t, nearest_x = _find_nearest_both_ways(x_both, t_both, _colour_closeness)
    from_x, from_t = _colour_distances(x_both, t_both[nearest_t]), _colour_distances(x_both[nearest_x], t_both)
    return jnp.maximum(jnp.mean(from_x), jnp.mean(from_t))


def self_similarity(x: Float[Array, "n c"], t: Float[Array, "n _"]) -> Scalar:
    """Return the difference of two self-similarities, ``1/N sum_ij | D_ij / sum_i D_ij - D'_ij / sum_i D'_ij |``.

    D are the cosine distances within x, D' those within t. A content loss: x and t are taken at the same N positions.

    Reference: Kolkin et al. 2019 (STROTSS), equation 7; over N, not N^2, as in its code.
    """

    def compare_column(pair: tuple[Array, Array]) -> Array:
        return jnp.sum(jnp.abs(_normalise_distances(x, pair[0]) - _normalise_distances(t, pair[1])))

    x, t = _normalise(x), _normalise(t)
    if len(x) ** 2 > _BLOCK:
        # The gradient computes the columns again: keeping all of them would take N x N numbers.
        compare_column = jax.checkpoint(compare_column)
    return jnp.mean(lax.map(compare_column, (x, t), batch_size=block_size(len(x), len(x))))


def _normalise_distances(x: Float[Array, "n c"], row: Float[Array, "c"]) -> Float[Array, "n"]:
    """Return the cosine distances of one row from all rows of x, divided by their sum."""
    distances = 1 - _inner_products(row, x)
    return distances / jnp.maximum(jnp.sum(distances), _ALIKE * len(x))


def _find_nearest(
    x: Float[Array, "n k"], t: Float[Array, "m k"], closeness: Callable[[Array, Array], Array]
) -> Int[Array, "n"]:
    """Return the index of the closest row of t for each row of x; the first one if several are equally close."""
    x, t = lax.stop_gradient((x, t))
    return lax.map(lambda row: jnp.argmax(closeness(row, t)), x, batch_size=block_size(len(x), len(t)))


def _find_nearest_both_ways(
    x: Float[Array, "n k"], t: Float[Array, "m k"], closeness: Callable[[Array, Array], Array]
) -> tuple[Int[Array, "n"], Int[Array, "m"]]:
    """Return what ``_find_nearest`` returns for x in t, and for t in x; ``closeness`` is symmetric."""
    if len(x) * len(t) > _BLOCK:
        return _find_nearest(x, t, closeness), _find_nearest(t, x, closeness)
    x, t = lax.stop_gradient((x, t))
    pairs = jax.vmap(lambda row: closeness(row, t))(x)
    return jnp.argmax(pairs, axis=1), jnp.argmax(pairs, axis=0)


def block_size(n: int, m: int) -> int:
    """Return how many of n rows are compared with m others at a time."""
    return min(n, max(1, _BLOCK // m))


def _inner_products(row: Float[Array, "c"], t: Float[Array, "m c"]) -> Float[Array, "m"]:
    return jnp.matmul(t, row, precision=lax.Precision.HIGHEST)


def _colour_closeness(row: Float[Array, "k"], t: Float[Array, "m k"]) -> Float[Array, "m"]:
    c = len(row) // 2
    return _inner_products(row[:c], t[:, :c]) - jnp.sqrt(jnp.sum((row[c:] - t[:, c:]) ** 2, axis=1))


def _colour_distances(x: Float[Array, "n k"], t: Float[Array, "n k"]) -> Float[Array, "n"]:
    c = x.shape[1] // 2
    square = jnp.sum((x[:, c:] - t[:, c:]) ** 2, axis=1)
    # Where colours are equal the distance has no gradient: zero is used.
    differ = square > 0
    return _half_squared_distances(x[:, :c], t[:, :c]) + jnp.where(differ, jnp.sqrt(jnp.where(differ, square, 1)), 0)


def _half_squared_distances(x: Float[Array, "n c"], t: Float[Array, "n c"]) -> Float[Array, "n"]:
    return 0.5 * jnp.sum((x - t) ** 2, axis=1)


def _colour_vectors(x: Float[Array, "n c"]) -> Float[Array, "n k"]:
    """Return each row normalised, beside the row over sqrt(C): the two parts that a distance of colours compares."""
    return jnp.concatenate([_normalise(x), x / jnp.sqrt(float(x.shape[1]))], axis=1)


def _normalise(x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    square = jnp.sum(x**2, axis=1, keepdims=True)
    long = square > _SHORT
    return x * jnp.where(long, lax.rsqrt(jnp.where(long, square, 1)), 0)
