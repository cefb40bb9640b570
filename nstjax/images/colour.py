"""Giving one picture the colours of another: pure functions of arrays [H, W, 3]."""

import numpy as np
from numpy.typing import NDArray

from nstjax.images.picture import Array

_LEAST_VARIANCE = (1 / 255) ** 2
"""Of a colour axis: less than one 8-bit step is noise, and to stretch it to a target's variance would show it."""


def match_colour(source: Array, target: Array) -> Array:
    """``source`` with the mean colour and the colour covariance of ``target``, by the linear Monge map.

    ``x' = mean_target + T (x - mean_source)``: of all linear maps with that outcome, the one that moves colours least.

    Args:
        source: [H, W, 3] in [0, 1], whose layout is kept.
        target: [H', W', 3] in [0, 1], whose colours are taken.

    Returns:
        float32 [H, W, 3], clipped to [0, 1]; computed in float64.

    Reference:
        Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer",
        CVMP 2007. Differs from the paper: see ``monge_map`` on flat pictures.
    """
    source_mean, source_covariance = _moments(source)
    target_mean, target_covariance = _moments(target)
    transport = monge_map(source_covariance, target_covariance)
    matched = target_mean + (source.astype(np.float64) - source_mean) @ transport
    return np.clip(matched, 0, 1).astype(np.float32)


def monge_map(source_covariance: NDArray[np.float64], target_covariance: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _moments(picture: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean [3] and the covariance [3, 3] of a picture's colours."""
    colours_Nx3 = picture.reshape(-1, 3).astype(np.float64)
    mean = colours_Nx3.mean(axis=0)
    centred_Nx3 = colours_Nx3 - mean
    return mean, centred_Nx3.T @ centred_Nx3 / len(colours_Nx3)


def _power(covariance: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """A matrix power of the covariance whose small variances have been raised to _LEAST_VARIANCE."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.maximum(variances, _LEAST_VARIANCE) ** exponent) @ axes.T
