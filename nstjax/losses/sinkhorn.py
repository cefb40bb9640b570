"""Entropic optimal transport by Sinkhorn iterations, from the optional package ott-jax."""

import functools
import importlib.util
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nstjax.arguments import settle_number
from nstjax.errors import UserError
from nstjax.losses.nearest import block_size
from nstjax.types import Scalar

_FLAT = 1e-3
"""The lower bound of the target's mean cost, as a share of the cost between x and t; it matters on flat targets."""

_POINT = 1e-12
"""The absolute lower bound of the mean cost; it matters where x and t are flat and equal."""


@dataclass(frozen=True)
class EntropicTransport:
    """Sinkhorn divergence ``W(x, t) - 1/2 W(x, x) - 1/2 W(t, t)`` of two sets of vectors.

    ``W(x, t) = min_P sum_ij P_ij |x_i - t_j|^2 + e KL(P | 1/(N M))``, where P has row sums 1/N and column sums 1/M. The
    divergence is zero where the sets are equal. For small e it tends to the cost of optimal transport, for large e to
    the squared distance of the means. The potentials are constants for the gradient, which is exact where the
    iterations have converged.

    Args:
        epsilon: e, as a share of the mean cost between two vectors of t.
        iterations: largest number of iterations for each of the three W.
        tolerance: error of the sums of P at which the iterations stop.

    Raises:
        UserError: ott-jax is not installed.

    Reference: Cuturi, "Sinkhorn Distances", 2013; Feydy et al., "Interpolating between Optimal Transport and MMD using
    Sinkhorn Divergences", 2019.
    """

    epsilon: float = 0.05
    iterations: int = 100
    tolerance: float = 1e-3

    def __post_init__(self):
        settle_number(self, "epsilon", least=1e-6)
        settle_number(self, "iterations", least=1, whole=True)
        settle_number(self, "tolerance", least=0)
        if importlib.util.find_spec("ott") is None:
            raise UserError("EntropicTransport needs the ott-jax package: pip install 'nstjax[ott]'")

    def __call__(self, x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
        """Return the divergence of two sets of ``feature_vectors``."""
        from ott.tools import sinkhorn_divergence  # pyright: ignore[reportMissingImports]

        epsilon = self.epsilon * _mean_cost(lax.stop_gradient(x), t)
        limits = {"max_iterations": self.iterations, "threshold": self.tolerance}
        # ott-jax relies on dtype promotion.
        with jax.numpy_dtype_promotion("standard"):
            divergence, _ = sinkhorn_divergence.sinkhorn_divergence(
                _point_cloud_class(), x, t, epsilon=epsilon, solve_kwargs=limits
            )
        return divergence


def _mean_cost(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """Return the mean cost that epsilon is a share of: that between two vectors of t, with a lower bound."""
    mu_x, mu_t = jnp.mean(x, axis=0), jnp.mean(t, axis=0)
    spread_x, spread_t = jnp.mean(jnp.sum((x - mu_x) ** 2, axis=1)), jnp.mean(jnp.sum((t - mu_t) ** 2, axis=1))
    lower_bound = jnp.maximum(_FLAT * (spread_x + spread_t + jnp.sum((mu_x - mu_t) ** 2)), _POINT)
    return jnp.maximum(2 * spread_t, lower_bound)


@functools.cache
def _point_cloud_class() -> Any:
    """Return a class of ott-jax's point cloud that forms costs in blocks; ott-jax's own blocks fail with JAX 0.10."""
    from ott.geometry import pointcloud  # pyright: ignore[reportMissingImports]

    @jax.tree_util.register_pytree_node_class
    class BlockwisePointCloud(pointcloud.PointCloud):
        def apply_lse_kernel(
            self, f: Array, g: Array, eps: Any, vec: Array | None = None, axis: int = 0
        ) -> tuple[Array, Array]:
            """Return ``eps log sum exp((f_i + g_j - C_ij) / eps)``, less the potential of the axis that remains.

            The sum is over i for axis 0, over j for axis 1.
            """
            assert vec is None
            rows, f_rows, columns, f_columns = (self.x, f, self.y, g) if axis == 1 else (self.y, g, self.x, f)
            squares = jnp.sum(columns**2, axis=1)

            def sum_row(row_and_potential: tuple[Array, Array]) -> Array:
                row, potential = row_and_potential
                product = jnp.matmul(columns, row, precision=lax.Precision.HIGHEST)
                cost = jnp.maximum(jnp.sum(row**2) + squares - 2 * product, 0)
                return eps * jax.nn.logsumexp((potential + f_columns - cost) / eps)

            size = block_size(len(rows), len(columns))
            sums = lax.map(jax.checkpoint(sum_row), (rows, f_rows), batch_size=size)
            return sums - jnp.where(jnp.isfinite(f_rows), f_rows, 0), jnp.ones_like(sums)

    return BlockwisePointCloud
