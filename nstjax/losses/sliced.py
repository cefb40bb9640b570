"""Distances of distributions along lines, where optimal transport is sorting: sliced Wasserstein, histograms.

x ``[N, C]`` and t ``[M, C]`` are feature vectors, in any order. On a line, optimal transport sends the k-th smallest
value of x to the k-th smallest of t; R(x) are the values of t that x is sent to, in the order of x. Where N and M
differ, t is resampled: its sorted values are cut into N equal shares, and R takes the mean of each share. The gradient
is then that of the exact transport; the value is smaller by the variance within the shares, which does not depend on x.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nstjax.arguments import settle_number
from nstjax.losses.sorting import argsort_rows, sort_rows
from nstjax.types import Key, Scalar


@dataclass(frozen=True)
class SlicedWasserstein:
    """Sliced Wasserstein distance of ``feature_vectors``: ``mean (sort(F v) - sort(T v))^2``.

    The mean is over positions and random unit directions v.

    Args:
        directions: number of directions, drawn again at every evaluation; the number of channels by default.

    Reference: Heitz, Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", 2021,
    equations 4 to 7.
    Differs from the code: where the pictures differ in size, the code repeats the target; here it is resampled.
    """

    directions: int | None = None

    def __post_init__(self):
        if self.directions is not None:
            settle_number(self, "directions", least=1, whole=True)

    def __call__(self, x: Float[Array, "n c"], t: Float[Array, "m c"], key: Key) -> Scalar:
        """Return the distance along directions drawn from the key."""
        c = x.shape[1]
        V_DxC = jax.random.normal(key, (self.directions or c, c), x.dtype)
        V_DxC /= jnp.linalg.norm(V_DxC, axis=1, keepdims=True)
        x_DxN, t_DxM = (jnp.matmul(V_DxC, vectors.T, precision=lax.Precision.HIGHEST) for vectors in (x, t))
        return jnp.mean((x_DxN - _transport(x_DxN, t_DxM)) ** 2)


sliced_wasserstein = SlicedWasserstein()
"""The ``SlicedWasserstein`` distance with as many directions as channels."""


def histogram_matching(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """Return the squared distance to the features with matched histograms, ``sum (F - R(F))^2``.

    For ``feature_vectors``. R matches the histogram of each channel to the target's; R(F) is a constant for the
    gradient.

    Reference: Risser, Wilmot and Barnes, "Stable and Controllable Neural Texture Synthesis and Style Transfer Using
    Histogram Losses", 2017, section 4.
    Differs from the paper: the histograms have no bins; values are matched one by one.
    """
    return jnp.sum((x - lax.stop_gradient(_transport(x.T, t.T)).T) ** 2)


def _transport(x_DxN: Float[Array, "d n"], t_DxM: Float[Array, "d m"]) -> Float[Array, "d n"]:
    """Return R(x) of each row. It depends on the order of x alone, so it has no gradient in x."""
    quantiles = _resample(sort_rows(t_DxM), x_DxN.shape[1])
    order = argsort_rows(x_DxN)
    return jnp.put_along_axis(jnp.zeros_like(quantiles), order, quantiles, axis=1, inplace=False)


def _resample(t_DxM: Float[Array, "d m"], n: int) -> Float[Array, "d {n}"]:
    """Resample rows of sorted values to n values each: the means of n equal shares."""
    d, m = t_DxM.shape
    if m == n:
        return t_DxM
    # The ends of the n shares and of the m values, in units of 1/(n m): as whole numbers they compare exactly.
    ends = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    fraction, target, source = np.diff(ends) / m, ends[:-1] // m, ends[:-1] // n
    # Row k of these tables has the k-th part of every share, because XLA's CPU compiler gathers numbers ten times
    # faster than it adds to scattered ones.
    count = np.bincount(target)
    part = np.arange(count.max())[:, None]
    index = np.minimum(np.cumsum(count) - count + part, len(source) - 1)
    sources, weights = jnp.asarray(source[index]), jnp.asarray(np.where(part < count, fraction[index], 0), t_DxM.dtype)

    def add_parts(k: Array, total_DxN: Array) -> Array:
        return total_DxN + t_DxM[:, sources[k]] * weights[k]

    return lax.fori_loop(0, len(part), add_parts, jnp.zeros((d, n), t_DxM.dtype))
