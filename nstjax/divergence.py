"""Divergence: when the loss of a run counts as lost.

A loss is compared with its lowest value so far. Where a run starts next to its minimum, as with one picture as content
and style, the lowest value is rounding error and measures nothing: any step multiplies it. So the lowest value counts
as no less than half the loss of white noise, which is about the loss between two different pictures.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from nstjax.objective import Objective
from nstjax.types import Guides, Network, Picture, Scalar, Targets

RATIO = 1000.0
"""Ratio of the loss to its lowest value so far above which a run has diverged."""

RATIO_IF_JUMPING = 1e9
"""The same ratio for L-BFGS without a line search: its loss can jump a thousandfold and fall again in a few steps."""

_FLOOR = 0.5
"""The share of the scale that the lowest loss counts as at least. Away from a minimum, the first steps of Adam and
RMSprop at their usual rates reach up to 400 times the scale and come back."""


def has_diverged(
    total: Scalar, gradient: PyTree, *, lowest: Scalar, scale: float | Scalar, ratio: float = RATIO
) -> Bool[Array, ""]:
    """Return whether a loss has diverged.

    It has if it or its gradient is not finite, or if it is more than ``ratio`` times the lowest so far, which counts as
    no less than half the scale. The ratio means nothing where losses are negative, or where both are zero.

    Args:
        total: the loss.
        gradient: its gradient.
        lowest: the lowest loss so far; infinite at first.
        scale: the result of ``measure_scale``; 0 compares with the lowest loss alone.
        ratio: the ratio above which it has; ``RATIO`` or ``RATIO_IF_JUMPING``.
    """
    finite = jnp.isfinite(total) & jnp.all(
        jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)])
    )
    least = jnp.maximum(lowest, _FLOOR * scale)
    return ~finite | ((lowest >= 0) & (least > 0) & (total > ratio * least))


@functools.partial(jax.jit, static_argnames="objective")
def measure_scale(
    network: Network | None,
    picture: Picture,
    targets: Targets,
    weights: Mapping[str, float | Scalar],
    guides: Guides | None,
    *,
    objective: Objective,
) -> Scalar:
    """Return the scale of a loss: ``sum_t |w_t| value_t`` of white noise. A value that is not finite counts as zero.

    Args:
        network: the network whose features the terms see.
        picture: [H, W, 3], of the shape that is optimised; its values do not matter.
        targets: from ``Objective.targets``.
        weights: {term: w_t}.
        guides: from ``Objective.guides``; None without regions.
        objective: the terms; static.
    """
    key = jax.random.key(0)
    noise = jax.random.uniform(key, picture.shape, picture.dtype)
    targets = objective.complete_targets(targets, network, picture)
    _, values = objective(noise, network=network, targets=targets, weights=weights, key=key, guides=guides)
    finite = {name: jnp.where(jnp.isfinite(value), value, 0) for name, value in values.items()}
    return sum((abs(weights[name]) * value for name, value in finite.items()), jnp.float32(0))
