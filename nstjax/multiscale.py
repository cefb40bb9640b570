"""Coarse to fine: the state of a run, resized from one size of its picture to the next."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from nstjax import images
from nstjax.optimise import Average, Method, State, init_kept, init_start
from nstjax.parameterisation import Resampling, resize_picture
from nstjax.types import Picture

_KERNELS: dict[str, Resampling] = {"lanczos": "cubic", "bicubic": "bicubic"}
"""Interpolation of the result for each filter, linear for the others.

Between sizes a picture grows, where Lanczos would ring, and areas and nearest pixels would be blocks."""


def resize_state(
    state: State,
    shape: tuple[int, int],
    *,
    before: Method,
    after: Method,
    resampling: images.Resampling = "lanczos",
    clip: bool = False,
    details: Picture | None = None,
    restart: bool = False,
    rate_factor: float = 1.0,
) -> State:
    """Return the state with which a run continues at its next size.

    The picture (or the average, if that is kept) and Adam's moments are resized. The number of steps, the learning rate
    and the key stay. The lowest loss, the best picture and the average start again, because losses at two sizes cannot
    be compared; so does the memory of L-BFGS.

    Args:
        state: the state after the last step at its size.
        shape: (H, W) of the next size.
        before: the method at the size of ``state``.
        after: the method at the next size.
        resampling: the filter of the run's pictures.
        clip: whether the picture is clipped to [0, 1] first.
        details: picture [H, W, 3] that is added to the resized one; None for nothing.
        restart: if True, the optimiser starts again, with its present learning rate.
        rate_factor: factor on the learning rate.

    Reference: Crowson, style-transfer-pytorch, with "bicubic".
    """
    old, new = before.parameterisation, after.parameterisation
    kernel = _KERNELS.get(resampling, "linear")

    def resize(parameters: PyTree) -> PyTree:
        picture = old.decode(parameters)
        picture = resize_picture(jnp.clip(picture, 0, 1) if clip else picture, *shape, kernel)
        return new.encode(jnp.clip(picture, 0, 1) if after.clamp else picture)

    def select(running: PyTree, failed: PyTree) -> PyTree:
        return jax.tree.map(functools.partial(jnp.where, state.failed), failed, running)

    average = state.kept if isinstance(state.kept, Average) else None
    parameters = resize(state.parameters if average is None else average.value)
    if details is not None:
        parameters = new.encode(new.decode(parameters) + details)
    kept = init_kept(after, parameters)
    if average is not None:
        kept = select(kept, Average.init(parameters, after.average_decay))
    elif kept is not None:
        kept = select(kept, resize(state.kept))
    previous = state.previous
    if previous is not None:
        previous = select(jax.tree.map(jnp.copy, parameters), resize(previous))
    return State(
        parameters=parameters,
        previous=previous,  # a run that has diverged stops here, and this is its result
        optimiser=_resize_optimiser(
            state.optimiser, parameters, shape, before, after, kernel=kernel, restart=restart, rate_factor=rate_factor
        ),
        key=state.key,
        step=state.step,
        failed=state.failed,
        lowest=jnp.full_like(state.lowest, jnp.inf),
        kept=kept,
        start=init_start(after, parameters),
    )


def _resize_optimiser(
    optimiser: PyTree,
    parameters: PyTree,
    shape: tuple[int, int],
    before: Method,
    after: Method,
    *,
    kernel: Resampling,
    restart: bool,
    rate_factor: float,
) -> PyTree:
    """Return the optimiser's state for parameters of the next size."""
    if rate_factor != 1:
        optimiser = optax.tree.set(optimiser, learning_rate=rate_factor * optax.tree.get(optimiser, "learning_rate"))
    initial = after.optimiser.init(parameters)
    if restart or optax.tree.get(optimiser, "diff_params_memory") is not None:
        return optax.tree.set(initial, learning_rate=optax.tree.get(optimiser, "learning_rate"))

    def resize(moment: PyTree, kernel: Resampling) -> PyTree:
        return before.parameterisation.resize(moment, *shape, method=kernel)

    def clip(moment: Array) -> Array:
        return jnp.maximum(moment, 0)

    moments: dict[str, Any] = {}
    for name in ("mu", "trace"):
        if (moment := optax.tree.get(optimiser, name)) is not None:
            moments[name] = resize(moment, "bicubic" if kernel == "bicubic" else "cubic")
    if (squares := optax.tree.get(optimiser, "nu")) is not None:
        moments["nu"] = jax.tree.map(clip, resize(squares, "linear"))
    resized = optax.tree.set(initial, **moments) if moments else initial
    # The scalar leaves, counts and hyper-parameters such as the learning rate, are kept.
    scalars = {path: leaf for path, leaf in jax.tree_util.tree_leaves_with_path(optimiser) if not leaf.ndim}
    return jax.tree_util.tree_map_with_path(lambda path, leaf: scalars.get(path, leaf), resized)
