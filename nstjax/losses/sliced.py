"""Distances of distributions along lines, where optimal transport is sorting: sliced Wasserstein, histograms.

x ``[N, C]`` and t ``[M, C]`` are feature vectors, in any order. Of numbers in a row, optimal transport sends the k-th
smallest of x to the k-th smallest of t; R(x) is what x is sent to, in x's order. Where N and M differ, t is resampled:
its sorted values are cut into N equal shares, and R takes the mean of each. So the gradient is that of the exact
transport, and the value less by what N numbers cannot say of M, which no x changes.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from nstjax.types import Key, Scalar


@dataclass(frozen=True)
class SlicedWasserstein:
    """``mean (sort(F v) - sort(T v))^2`` over positions and random unit directions v, of ``feature_vectors``.

    Args:
        directions: how many, drawn anew at every evaluation; as many as channels by default.

    Reference: Heitz, Vanhoey, Chambon and Belcour, "A Sliced Wasserstein Loss for Neural Texture Synthesis", 2021,
    equations 4 to 7. Where the pictures differ in size the authors' code repeats the target; see above.
    """

    directions: int | None = None

    def __call__(self, x: Float[Array, "n c"], t: Float[Array, "m c"], key: Key) -> Scalar:
        """The distance along directions that the key draws."""
        c = x.shape[1]
        V_DxC = jax.random.normal(key, (self.directions or c, c), x.dtype)
        V_DxC /= jnp.linalg.norm(V_DxC, axis=1, keepdims=True)
        x_DxN, t_DxM = (jnp.matmul(V_DxC, it.T, precision=lax.Precision.HIGHEST) for it in (x, t))
        return jnp.mean((x_DxN - _transported(x_DxN, t_DxM)) ** 2)


sliced_wasserstein = SlicedWasserstein()
"""``SlicedWasserstein`` with as many directions as channels."""


def histogram_matching(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """``sum (F - R(F))^2``, R matching each channel's histogram to the target's; of ``feature_vectors``.

    For the gradient R(F) is a constant.

    Reference: Risser, Wilmot and Barnes, "Stable and Controllable Neural Texture Synthesis and Style Transfer Using
    Histogram Losses", 2017, section 4.
    Differs from the paper: the histograms have no bins, each value is one of its own.
    """
    return jnp.sum((x - lax.stop_gradient(_transported(x.T, t.T)).T) ** 2)


def _transported(x_DxN: Float[Array, "d n"], t_DxM: Float[Array, "d m"]) -> Float[Array, "d n"]:
    """R(x) of each row; constant in x, of which it sees the order alone."""
    quantiles = _resampled(jnp.sort(t_DxM, axis=1), x_DxN.shape[1])
    order = jnp.argsort(lax.stop_gradient(x_DxN), axis=1)
    return jnp.put_along_axis(jnp.zeros_like(quantiles), order, quantiles, axis=1, inplace=False)


def _resampled(t_DxM: Float[Array, "d m"], n: int) -> Float[Array, "d {n}"]:
    """Sorted values, as n of them: the mean of each of n equal shares."""
    d, m = t_DxM.shape
    if m == n:
        return t_DxM
    # In units of 1/(n m), the ends of the n shares and of the m values' own: whole numbers, so that no end is missed.
    ends = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    share, to, of = np.diff(ends) / m, ends[:-1] // m, ends[:-1] // n
    parts = t_DxM[:, of] * jnp.asarray(share, t_DxM.dtype)
    return jnp.zeros((d, n), t_DxM.dtype).at[:, to].add(parts, indices_are_sorted=True)
