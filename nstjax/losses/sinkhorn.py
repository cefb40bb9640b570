"""Optimal transport with entropy, by Sinkhorn's iterations: ott-jax's, which is an optional package."""

import functools
import importlib.util
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from nstjax.errors import UserError
from nstjax.losses.nearest import block
from nstjax.types import Scalar

_FLAT = 1e-3
"""The least mean cost that epsilon is a share of, by that between x and t: it bites where the target is flat."""

_POINT = 1e-12
"""The least at all: it bites where both are flat, and the same."""


@dataclass(frozen=True)
class EntropicTransport:
    """Sinkhorn divergence ``W(x, t) - 1/2 W(x, x) - 1/2 W(t, t)`` of two sets of vectors.

    ``W(x, t) = min_P sum_ij P_ij |x_i - t_j|^2 + e KL(P | 1/(N M))``, P having the sums 1/N and 1/M. It is zero where
    the sets are the same; a small e makes it the cost of optimal transport, a large one that of the means alone. The
    potentials are constants for the gradient, which is exact where the iterations have converged.

    Args:
        epsilon: e as a share of the mean cost between two vectors of t.
        iterations: at most, of each of the three.
        tolerance: of the sums of P, at which iterations end.

    Raises:
        UserError: there is no ott-jax.

    Reference: Cuturi, "Sinkhorn Distances", 2013; Feydy et al., "Interpolating between Optimal Transport and MMD using
    Sinkhorn Divergences", 2019.
    """

    epsilon: float = 0.05
    iterations: int = 100
    tolerance: float = 1e-3

    def __post_init__(self):
        if importlib.util.find_spec("ott") is None:
            raise UserError("EntropicTransport needs the ott-jax package: pip install 'nstjax[ott]'")

    def __call__(self, x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
        """The divergence of two sets of ``feature_vectors``."""
        from ott.tools import sinkhorn_divergence  # pyright: ignore[reportMissingImports]

        epsilon = self.epsilon * _scale(lax.stop_gradient(x), t)
        ends = {"max_iterations": self.iterations, "threshold": self.tolerance}
        # ott-jax counts on dtypes being promoted.
        with jax.numpy_dtype_promotion("standard"):
            divergence, _ = sinkhorn_divergence.sinkhorn_divergence(
                _geometry(), x, t, epsilon=epsilon, solve_kwargs=ends
            )
        return divergence


def _scale(x: Float[Array, "n c"], t: Float[Array, "m c"]) -> Scalar:
    """The mean cost of what epsilon is a share of."""
    mu_x, mu_t = jnp.mean(x, axis=0), jnp.mean(t, axis=0)
    spread_x, spread_t = jnp.mean(jnp.sum((x - mu_x) ** 2, axis=1)), jnp.mean(jnp.sum((t - mu_t) ** 2, axis=1))
    least = jnp.maximum(_FLAT * (spread_x + spread_t + jnp.sum((mu_x - mu_t) ** 2)), _POINT)
    return jnp.maximum(2 * spread_t, least)


@functools.cache
def _geometry() -> Any:
    """ott-jax's point cloud with costs that are formed in blocks and not kept: its own way fails with JAX 0.10."""
    from ott.geometry import pointcloud  # pyright: ignore[reportMissingImports]

    @jax.tree_util.register_pytree_node_class
    class Blocks(pointcloud.PointCloud):
        def apply_lse_kernel(
            self, f: Array, g: Array, eps: Any, vec: Array | None = None, axis: int = 0
        ) -> tuple[Array, Array]:
            """eps log sum exp((f_i + g_j - C_ij) / eps) over i (axis 0) or j (axis 1), less the other's potential."""
            assert vec is None
            rows, own, others, of_others = (self.x, f, self.y, g) if axis == 1 else (self.y, g, self.x, f)
            squares = jnp.sum(others**2, axis=1)

            def one(row: Array, potential: Array) -> Array:
                product = jnp.matmul(others, row, precision=lax.Precision.HIGHEST)
                cost = jnp.maximum(jnp.sum(row**2) + squares - 2 * product, 0)
                return eps * jax.nn.logsumexp((potential + of_others - cost) / eps)

            size = block(len(rows), len(others))
            found = lax.map(jax.checkpoint(lambda it: one(*it)), (rows, own), batch_size=size)
            return found - jnp.where(jnp.isfinite(own), own, 0), jnp.ones_like(found)

    return Blocks
