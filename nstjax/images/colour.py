"""Colour transfer from one picture to another: pure functions of arrays [H, W, 3]."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array

_Matrix = NDArray[np.float64]

_LEAST_VARIANCE = (1 / 255) ** 2
"""Smallest variance of a colour axis: less than one 8-bit step is noise, which stretching would make visible."""

_ADDED_VARIANCE = 1e-5
"""Variance that Gatys et al. add to both covariances, also close to the square of one 8-bit step."""

_LEVELS = 65535
"""Number of a histogram's levels: 8-bit and 16-bit values fall on them, and values that differ by rounding coincide."""


def match_colour(source: Array, target: Array, *, method: str = "monge") -> Array:
    """Give ``source`` the colours of ``target``: its mean and covariance, or its histograms.

    All methods except "histogram" are ``x' = mean_target + T (x - mean_source)`` with ``T source T^T = target`` for
    the covariances. This determines T up to a rotation, in which the methods differ:

    - "monge": the linear map that moves colours least (``monge_map``).
    - "cholesky": ``T = L_target L_source^-1`` from the Cholesky factors; depends on the order of the channels.
    - "pca": ``T = target^1/2 source^-1/2``: whitens along the source's axes, colours along the target's.
    - "histogram": matches the whole histogram of each sRGB channel instead of the covariance (``match_histogram``).
      It has no noise floor: noise is stretched like everything else.

    Flat pictures: "monge" raises small variances to one 8-bit step; "cholesky" and "pca" add 1e-5 to
    the diagonal of both covariances, as Gatys et al. do. So a flat picture has a map too, and the map from a picture
    to itself is the identity. The covariance of the result is off by the same amount.

    Args:
        source: [H, W, 3] in [0, 1], provides the layout.
        target: [H', W', 3] in [0, 1], provides the colours.
        method: one of the above.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; computed in float64.

    Raises:
        UserError: the method is unknown.

    Reference:
        Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer",
        CVMP 2007. Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, section 3, and "Controlling
        Perceptual Factors in Neural Style Transfer", CVPR 2017, whose code has the 1e-5.
        Differs from Pitie and Kokaram: see ``monge_map`` on flat pictures.
    """
    if method == "histogram":
        channels = [match_histogram(source[..., c], target[..., c]) for c in range(3)]
        return np.clip(np.stack(channels, axis=-1), 0, 1).astype(np.float32)
    if method not in _MAPS:
        raise UserError(f"unknown colour matching method {method!r}: expected one of {', '.join(MATCHING_METHODS)}")
    source_mean, source_covariance = _moments(source)
    target_mean, target_covariance = _moments(target)
    transport = _MAPS[method](source_covariance, target_covariance)
    matched = target_mean + (source.astype(np.float64) - source_mean) @ transport.T
    return np.clip(matched, 0, 1).astype(np.float32)


def monge_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    """Return the symmetric T with ``T source T = target``: ``S^-1/2 (S^1/2 target S^1/2)^1/2 S^-1/2``, S the source.

    Differs from the paper: a variance of less than one 8-bit step counts as one step, so that a flat or grey picture
    has a map too. This holds for both pictures, so that the map from a picture to itself is the identity.

    Args:
        source_covariance: [3, 3], for colours in [0, 1].
        target_covariance: [3, 3], for colours in [0, 1].

    Returns:
        float64 [3, 3].
    """
    root = _power(source_covariance, 0.5)
    inverse_root = _power(source_covariance, -0.5)
    middle = root @ _power(target_covariance, 1) @ root
    values, vectors = np.linalg.eigh(middle)
    return inverse_root @ (vectors * np.sqrt(values)) @ vectors.T @ inverse_root


def match_histogram(source: NDArray, target: NDArray) -> NDArray[np.float64]:
    """Give ``source`` the distribution of ``target`` by optimal transport in one dimension, which keeps the order.

    ``x' = mean of Q(t) for t in [F(x-), F(x)]``, with F the source's cumulative distribution, which jumps at x from
    F(x-) to F(x), and Q the target's quantile function. A value that occurs once goes to its quantile; equal values
    stay equal and go to the mean of the quantiles they share. The mean of the result is exactly the target's.

    Args:
        source: any shape, in [0, 1]; values within 1/65535 of each other may count as equal.
        target: any shape, in [0, 1].

    Returns:
        float64, with the shape of ``source``.
    """
    levels = np.rint(source * np.float64(_LEVELS)).astype(np.int32)
    _, group, counts = np.unique(levels, return_inverse=True, return_counts=True)
    # The unit is one value of the target, so that these are whole numbers if both pictures are the same.
    edges = np.concatenate([[0], np.cumsum(counts)]) * (target.size / source.size)
    integral = np.concatenate([[0], np.cumsum(np.sort(target, axis=None), dtype=np.float64)])
    sums = np.diff(np.interp(edges, np.arange(target.size + 1), integral))
    return (sums / np.diff(edges))[group].reshape(source.shape)


def _cholesky_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    source, target = map(np.linalg.cholesky, _add_variance(source_covariance, target_covariance))
    return target @ np.linalg.inv(source)


def _pca_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    source, target = _add_variance(source_covariance, target_covariance)
    return _power(target, 0.5, least=0) @ _power(source, -0.5, least=0)


_MAPS: dict[str, Callable[[_Matrix, _Matrix], _Matrix]] = {
    "monge": monge_map,
    "cholesky": _cholesky_map,
    "pca": _pca_map,
}

MATCHING_METHODS: tuple[str, ...] = (*_MAPS, "histogram")
"""Names of the methods of ``match_colour``."""


def _moments(picture: Array) -> tuple[_Matrix, _Matrix]:
    """Return the mean [3] and the covariance [3, 3] of a picture's colours."""
    colours_Nx3 = picture.reshape(-1, 3).astype(np.float64)
    mean = colours_Nx3.mean(axis=0)
    centred_Nx3 = colours_Nx3 - mean
    return mean, centred_Nx3.T @ centred_Nx3 / len(colours_Nx3)


def _add_variance(*covariances: _Matrix) -> list[_Matrix]:
    return [covariance + _ADDED_VARIANCE * np.eye(3) for covariance in covariances]


def _power(covariance: _Matrix, exponent: float, *, least: float = _LEAST_VARIANCE) -> _Matrix:
    """Return a matrix power of a covariance, after raising its variances to at least ``least``."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.maximum(variances, least) ** exponent) @ axes.T
