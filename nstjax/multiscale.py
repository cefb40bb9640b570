"""Coarse to fine: the state of a run, carried from one size of its picture to the next."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from nstjax.optimise import Average, Method, State, first_kept
from nstjax.parameterisation import Resampling


def carried(state: State, shape: tuple[int, int], *, before: Method, after: Method) -> State:
    """The state with which a run goes on at its next size.

    The picture (where an average is kept, the average) is resized, Adam's moments with it; the count of steps, the
    learning rate and the key stay. The lowest loss, the best picture and the average begin anew, since losses of two
    sizes do not compare; so does what L-BFGS remembers.

    Args:
        state: after the last step at its size.
        shape: (H, W) of the next size.
        before: the method at the size that ends.
        after: at the next.

    Reference: Crowson, style-transfer-pytorch.
    Differs from it: JAX's cubic kernel (Keys, a = -0.5) where PyTorch has a = -0.75.
    """
    old, new = before.parameterisation, after.parameterisation

    def resized(parameters: PyTree) -> PyTree:
        picture = jax.image.resize(old.decode(parameters), (*shape, 3), "cubic")
        return new.encode(jnp.clip(picture, 0, 1) if after.clamp else picture)

    def or_failed(going_on: PyTree, failed: PyTree) -> PyTree:
        return jax.tree.map(functools.partial(jnp.where, state.failed), failed, going_on)

    average = state.kept if isinstance(state.kept, Average) else None
    parameters = resized(state.parameters if average is None else average.value)
    kept = first_kept(after, parameters)
    if average is not None:
        kept = or_failed(kept, Average.of(parameters, after.average_decay))
    elif kept is not None:
        kept = or_failed(kept, resized(state.kept))
    return State(
        parameters=parameters,
        # A run that has diverged goes no further, and this is its result.
        previous=or_failed(jax.tree.map(jnp.copy, parameters), resized(state.previous)),
        optimiser=_carried_optimiser(state.optimiser, parameters, shape, before, after),
        key=state.key,
        step=state.step,
        failed=state.failed,
        lowest=jnp.full_like(state.lowest, jnp.inf),
        kept=kept,
    )


def _carried_optimiser(
    optimiser: PyTree, parameters: PyTree, shape: tuple[int, int], before: Method, after: Method
) -> PyTree:
    """The optimiser's state for parameters of the next size."""
    fresh = after.optimiser.init(parameters)
    if optax.tree.get(optimiser, "diff_params_memory") is not None:
        return fresh

    def resized(moment: PyTree, kernel: Resampling) -> PyTree:
        return before.parameterisation.resize(moment, *shape, method=kernel)

    def positive(moment: Array) -> Array:
        return jnp.maximum(moment, 0)

    carry: dict[str, Any] = {}
    for name in ("mu", "trace"):
        if (moment := optax.tree.get(optimiser, name)) is not None:
            carry[name] = resized(moment, "cubic")
    if (squares := optax.tree.get(optimiser, "nu")) is not None:
        carry["nu"] = jax.tree.map(positive, resized(squares, "linear"))
    fresh = optax.tree.set(fresh, **carry) if carry else fresh
    # What is left are counts and hyper-parameters, the learning rate among them.
    kept = {path: leaf for path, leaf in jax.tree_util.tree_leaves_with_path(optimiser) if not leaf.ndim}
    return jax.tree_util.tree_map_with_path(lambda path, new: kept.get(path, new), fresh)
