"""Giving one picture the colours of another: pure functions of arrays [H, W, 3]."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nstjax.errors import UserError
from nstjax.images.picture import Array

_Matrix = NDArray[np.float64]

_LEAST_VARIANCE = (1 / 255) ** 2
"""Of a colour axis: less than one 8-bit step is noise, and to stretch it to a target's variance would show it."""

_ADDED_VARIANCE = 1e-5
"""What Gatys et al. add to both covariances: close to the square of one 8-bit step too."""

_LEVELS = 65535
"""Of a channel's histogram: 8-bit and 16-bit values fall on levels, and what only rounding tells apart on the same."""


def match_colour(source: Array, target: Array, *, method: str = "monge") -> Array:
    """``source`` with the colours of ``target``: its mean and covariance, or its histograms.

    All methods but "histogram" are ``x' = mean_target + T (x - mean_source)`` with ``T source T^T = target`` for the
    covariances, which leaves open a rotation; they differ in it:

    - "monge": of all linear maps with that outcome, the one that moves colours least (``monge_map``).
    - "cholesky": ``T = L_target L_source^-1``, of the Cholesky factors; depends on the order of the channels.
    - "pca": ``T = target^1/2 source^-1/2``: whitened along the source's axes, coloured along the target's.
    - "symmetric": the Monge map again, by another treatment of flat pictures.
    - "histogram": no covariance, but each sRGB channel's whole histogram (``transported``). There is no noise floor:
      what a histogram ranks is stretched, noise and all.

    On flat pictures: "monge" raises small variances to one 8-bit step; "cholesky", "pca" and "symmetric" add 1e-5 to
    the diagonal of both covariances, as Gatys et al. do, so that a flat picture has a map too, and a picture's map to
    itself is the identity. The outcome's covariance is off by as much.

    Args:
        source: [H, W, 3] in [0, 1], whose layout is kept.
        target: [H', W', 3] in [0, 1], whose colours are taken.
        method: one of the above.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; computed in float64.

    Raises:
        UserError: an unknown method.

    Reference:
        Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer",
        CVMP 2007. Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, section 3, and "Controlling
        Perceptual Factors in Neural Style Transfer", CVPR 2017, whose code has the 1e-5.
        Differs from the first: see ``monge_map`` on flat pictures.
    """
    if method == "histogram":
        channels = [transported(source[..., c], target[..., c]) for c in range(3)]
        return np.clip(np.stack(channels, axis=-1), 0, 1).astype(np.float32)
    if method not in _MAPS:
        raise UserError(f"expected a colour matching method of {', '.join(MATCHING_METHODS)}, got {method!r}")
    source_mean, source_covariance = _moments(source)
    target_mean, target_covariance = _moments(target)
    transport = _MAPS[method](source_covariance, target_covariance)
    matched = target_mean + (source.astype(np.float64) - source_mean) @ transport.T
    return np.clip(matched, 0, 1).astype(np.float32)


def monge_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    """The symmetric T with ``T source T = target``: ``S^-1/2 (S^1/2 target S^1/2)^1/2 S^-1/2`` for S the source.

    Differs from the paper: a variance of less than one 8-bit step (in both pictures, so that a picture's map to itself
    is the identity) counts as one step, so that a flat or grey picture has a map too.

    Args:
        source_covariance: [3, 3], of colours in [0, 1].
        target_covariance: [3, 3], of colours in [0, 1].

    Returns:
        float64 [3, 3].
    """
    root = _power(source_covariance, 0.5)
    inverse_root = _power(source_covariance, -0.5)
    middle = root @ _power(target_covariance, 1) @ root
    values, vectors = np.linalg.eigh(middle)
    return inverse_root @ (vectors * np.sqrt(values)) @ vectors.T @ inverse_root


def transported(source: NDArray, target: NDArray) -> NDArray[np.float64]:
    """``source`` with the distribution of ``target``: the optimal transport of one dimension, which keeps the order.

    ``x' = mean of Q(t) for t in [F(x-), F(x)]``, with F the source's cumulative distribution, which jumps at x from
    F(x-) to F(x), and Q the target's quantile function. Values that occur once go to their quantile; equal ones stay
    equal and go to the mean of the quantiles they share. The mean is the target's, exactly.

    Args:
        source: of any shape, in [0, 1]; values within 1/65535 of each other may count as equal.
        target: of any shape, in [0, 1].

    Returns:
        float64 of the source's shape.
    """
    levels = np.rint(source * np.float64(_LEVELS)).astype(np.int32)
    _, group, counts = np.unique(levels, return_inverse=True, return_counts=True)
    # In units of one of the target's values, so that a picture transported to itself has whole numbers here.
    edges = np.concatenate([[0], np.cumsum(counts)]) * (target.size / source.size)
    integral = np.concatenate([[0], np.cumsum(np.sort(target, axis=None), dtype=np.float64)])
    sums = np.diff(np.interp(edges, np.arange(target.size + 1), integral))
    return (sums / np.diff(edges))[group].reshape(source.shape)


def _cholesky_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    source, target = (np.linalg.cholesky(it) for it in _widened(source_covariance, target_covariance))
    return target @ np.linalg.inv(source)


def _pca_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    source, target = _widened(source_covariance, target_covariance)
    return _power(target, 0.5, least=0) @ _power(source, -0.5, least=0)


def _symmetric_map(source_covariance: _Matrix, target_covariance: _Matrix) -> _Matrix:
    source, target = _widened(source_covariance, target_covariance)
    root, inverse_root = _power(source, 0.5, least=0), _power(source, -0.5, least=0)
    return inverse_root @ _power(root @ target @ root, 0.5, least=0) @ inverse_root


_MAPS: dict[str, Callable[[_Matrix, _Matrix], _Matrix]] = {
    "monge": monge_map,
    "cholesky": _cholesky_map,
    "pca": _pca_map,
    "symmetric": _symmetric_map,
}

MATCHING_METHODS: tuple[str, ...] = (*_MAPS, "histogram")
"""What ``match_colour`` knows."""


def _moments(picture: Array) -> tuple[_Matrix, _Matrix]:
    """The mean [3] and the covariance [3, 3] of a picture's colours."""
    colours_Nx3 = picture.reshape(-1, 3).astype(np.float64)
    mean = colours_Nx3.mean(axis=0)
    centred_Nx3 = colours_Nx3 - mean
    return mean, centred_Nx3.T @ centred_Nx3 / len(colours_Nx3)


def _widened(*covariances: _Matrix) -> list[_Matrix]:
    return [covariance + _ADDED_VARIANCE * np.eye(3) for covariance in covariances]


def _power(covariance: _Matrix, exponent: float, *, least: float = _LEAST_VARIANCE) -> _Matrix:
    """A matrix power of the covariance whose small variances have been raised to ``least``."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.maximum(variances, least) ** exponent) @ axes.T
