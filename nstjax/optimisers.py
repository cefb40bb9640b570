"""Optax optimisers with the learning rate in their state: ``optimise.init`` sets it, and ``jax.vmap`` can vary it.

Each function returns the same object for the same settings, so a program is compiled once for each setting. A schedule
is a function step -> factor on the learning rate, such as optax's schedules. It should be hashable by value or created
once: each new object triggers a new compilation.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from nstjax.arguments import settle_number, to_number
from nstjax.types import Scalar

Schedule: TypeAlias = Callable[[Any], Any]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SHARE = {"least": 0, "most": math.nextafter(1, 0)}
_COUNT = {"least": 1, "whole": True}
_LIMITS: dict[str, dict[str, Any]] = {
    "beta1": _SHARE,
    "beta2": _SHARE,
    "decay": _SHARE,
    "momentum": _SHARE,
    "epsilon": {"least": 0},
    "memory": _COUNT,
    "first_step": {"least": 1e-6},
    "line_search_steps": _COUNT,
}


def _remember(make: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return a function that checks its settings, and returns the same object for the same settings."""
    cached = functools.cache(make)

    @functools.wraps(make)
    def checked(*arguments: _P.args, **settings: _P.kwargs) -> _T:
        limited = {name: to_number(name, settings[name], **_LIMITS[name]) for name in settings.keys() & _LIMITS.keys()}
        return cached(*arguments, **{**settings, **limited})  # pyright: ignore[reportCallIssue]

    return checked


@_remember
def adam(
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    early_epsilon: bool = False,
    schedule: Schedule | None = None,
) -> optax.GradientTransformation:
    """Return the Adam optimiser.

    Args:
        beta1: decay rate of the mean of gradients, in [0, 1).
        beta2: decay rate of the mean of squared gradients, in [0, 1).
        epsilon: constant added to the root, in units of the gradient; above 0, since gradients may be zero.
        early_epsilon: if True, epsilon is added before the bias of the mean square is corrected, as in TensorFlow and
            Torch: at step t, counted from 1, it counts ``1 / sqrt(1 - beta2^t)`` times.
        schedule: function step -> factor on the learning rate; 1 by default.

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015; the early epsilon is that of the end
    of section 2.
    """
    eps = (lambda step: epsilon / jnp.sqrt(1 - beta2 ** (step + 1))) if early_epsilon else epsilon
    transform = optax.inject_hyperparams(optax.adam)(learning_rate=1.0, b1=beta1, b2=beta2, eps=eps)
    return _add_schedule(transform, schedule)


@_remember
def rmsprop(
    *, decay: float = 0.9, epsilon: float = 1e-8, momentum: float = 0.0, schedule: Schedule | None = None
) -> optax.GradientTransformation:
    """Return the RMSprop optimiser with the update of PyTorch, ``g / (sqrt(v) + epsilon)``.

    Args:
        decay: decay rate of the mean of squared gradients, in [0, 1).
        epsilon: constant added to the root, in units of the gradient; above 0, since gradients may be zero.
        momentum: decay rate of the momentum, in [0, 1); 0 for none.
        schedule: function step -> factor on the learning rate; 1 by default.

    Reference: Tieleman and Hinton, "Lecture 6.5: RMSprop", 2012.
    """
    make_rmsprop = optax.inject_hyperparams(optax.rmsprop, static_args=("eps_in_sqrt", "momentum"))
    transform = make_rmsprop(learning_rate=1.0, decay=decay, eps=epsilon, momentum=momentum or None, eps_in_sqrt=False)
    return _add_schedule(transform, schedule)


@_remember
def sgd(*, momentum: float = 0.0, schedule: Schedule | None = None) -> optax.GradientTransformation:
    """Return gradient descent, with or without momentum.

    Args:
        momentum: decay rate of the momentum, in [0, 1); 0 for none.
        schedule: function step -> factor on the learning rate; 1 by default.
    """
    make_sgd = optax.inject_hyperparams(optax.sgd, static_args=("momentum",))
    return _add_schedule(make_sgd(learning_rate=1.0, momentum=momentum or None), schedule)


@_remember
def lbfgs(*, memory: int = 10, line_search_steps: int = 20) -> optax.GradientTransformationExtraArgs:
    """Return L-BFGS with a zoom line search for the strong Wolfe conditions.

    It ignores the learning rate. Each step evaluates the loss once, and once more for each step length that the line
    search tries.

    Args:
        memory: number of past steps that approximate the Hessian.
        line_search_steps: maximum number of step lengths to try.

    Reference: Nocedal and Wright, "Numerical Optimization", 2006, algorithms 7.4, 3.5 and 3.6.
    """
    search = optax.scale_by_zoom_linesearch(line_search_steps, initial_guess_strategy="one")
    return optax.lbfgs(memory_size=memory, linesearch=search)


@_remember
def fixed_step_lbfgs(*, memory: int = 100, first_step: float = 1.0) -> optax.GradientTransformation:
    """Return L-BFGS without a line search, as PyTorch and Torch have it: the learning rate is the length of its steps.

    Each step evaluates the loss once, and nothing keeps the loss from rising. From a start where it curves downwards,
    nothing is remembered at first, a step is the whole gradient, and the loss jumps before it falls, as in PyTorch.

    Args:
        memory: number of past steps that approximate the Hessian.
        first_step: sum of the absolute changes in the first step, at learning rate 1; less if the gradient is small.
            For a source whose pictures are on the 0-255 scale it is ``1 / 255``.

    Reference: Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4; ``torch.optim.LBFGS``.
    Differs from PyTorch: it has no tolerances at which it stops, and a past step is the change of the parameters that
    was really made, also where a picture was clipped.
    """
    make_lbfgs = optax.inject_hyperparams(_make_fixed_step_lbfgs, static_args=("memory", "first_step"))
    return make_lbfgs(learning_rate=1.0, memory=memory, first_step=first_step)


class FixedStepState(NamedTuple):
    """The state of L-BFGS without a line search; its names are those of optax's L-BFGS.

    Args:
        count: number of steps made.
        stored: number of pairs ever stored in the memory.
        params: parameters before the last step.
        updates: gradient at these.
        diff_params_memory: changes of the parameters, stacked along a leading axis of the memory's length.
        diff_updates_memory: changes of the gradient that belong to them.
        weights_memory: the inverse of the inner product of each pair.
        scale: the Hessian's inverse before the memory, a multiple of the identity.
    """

    count: Int[Array, ""]
    stored: Int[Array, ""]
    params: PyTree
    updates: PyTree
    diff_params_memory: PyTree
    diff_updates_memory: PyTree
    weights_memory: Float[Array, "memory"]
    scale: Scalar


_LEAST_CURVATURE = 1e-10
"""Inner product of the changes of parameters and gradient up to which a pair is not stored; PyTorch's number."""


def _make_fixed_step_lbfgs(learning_rate: Scalar, *, memory: int, first_step: float) -> optax.GradientTransformation:
    def init(params: PyTree) -> FixedStepState:
        zeros = optax.tree.zeros_like(params)
        empty = jax.tree.map(lambda leaf: jnp.zeros((memory, *leaf.shape), leaf.dtype), params)
        dtype = jnp.result_type(*jax.tree.leaves(params))
        none, weights = jnp.int32(0), jnp.zeros(memory, dtype)
        # In units of first_step the scale is 1, as in the source.
        return FixedStepState(none, none, zeros, zeros, empty, empty, weights, jnp.asarray(first_step**2, dtype))

    def update(updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, FixedStepState]:
        gradient, state = updates, _add_pair(state, params, updates)
        shortened = jnp.minimum(1, 1 / (first_step * optax.tree.norm(gradient, ord=1)))
        length = jnp.where(state.count == 1, shortened, 1)
        return optax.tree.scale(-learning_rate * length, _multiply_by_inverse_hessian(gradient, state)), state

    return optax.GradientTransformation(init, update)


def _add_pair(state: FixedStepState, params: PyTree, gradient: PyTree) -> FixedStepState:
    """Return the state after a step, with the changes since the step before if the loss curves upwards along them."""
    pair = optax.tree.sub(params, state.params), optax.tree.sub(gradient, state.updates)
    curvature = jnp.asarray(optax.tree.vdot(*pair))
    stores = (state.count > 0) & (curvature > _LEAST_CURVATURE)
    slot = state.stored % len(state.weights_memory)

    def store(memory: Array, entry: Array) -> Array:
        return memory.at[slot].set(jnp.where(stores, entry, memory[slot]))

    return FixedStepState(
        count=state.count + 1,
        stored=state.stored + stores,
        params=params,
        updates=gradient,
        diff_params_memory=jax.tree.map(store, state.diff_params_memory, pair[0]),
        diff_updates_memory=jax.tree.map(store, state.diff_updates_memory, pair[1]),
        weights_memory=store(state.weights_memory, 1 / curvature),
        scale=jnp.where(stores, curvature / optax.tree.norm(pair[1], squared=True), state.scale),
    )


def _multiply_by_inverse_hessian(gradient: PyTree, state: FixedStepState) -> PyTree:
    """Multiply the gradient by the inverse of the Hessian that the memory approximates."""
    size = len(state.weights_memory)
    kept = jnp.minimum(state.stored, size)

    def read(slot: Int[Array, ""]) -> tuple[Scalar, PyTree, PyTree]:
        memories = state.diff_params_memory, state.diff_updates_memory
        return state.weights_memory[slot], *jax.tree.map(lambda memory: memory[slot], memories)

    def subtract(age: Int[Array, ""], carry: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        vector, shares = carry
        slot = (state.stored - 1 - age) % size
        weight, diff_params, diff_updates = read(slot)
        share = weight * optax.tree.vdot(diff_params, vector)
        return optax.tree.add_scale(vector, -share, diff_updates), shares.at[slot].set(share)

    def add(place: Int[Array, ""], vector: PyTree) -> PyTree:
        slot = (state.stored - kept + place) % size
        weight, diff_params, diff_updates = read(slot)
        return optax.tree.add_scale(vector, shares[slot] - weight * optax.tree.vdot(diff_updates, vector), diff_params)

    # From the newest pair to the oldest, and back.
    vector, shares = lax.fori_loop(0, kept, subtract, (gradient, jnp.zeros_like(state.weights_memory)))
    return lax.fori_loop(0, kept, add, optax.tree.scale(state.scale, vector))


def _add_schedule(transform: optax.GradientTransformation, schedule: Schedule | None) -> optax.GradientTransformation:
    return optax.chain(transform, optax.scale_by_schedule(schedule)) if schedule else transform


@dataclass(frozen=True)
class Cosine:
    """A schedule that falls from 1 to ``end`` along half a cosine, then stays constant.

    Args:
        horizon: number of steps of the fall.
        end: last factor.

    Reference: Loshchilov and Hutter, "SGDR", 2017.
    """

    horizon: int
    end: float = 0.0

    def __post_init__(self):
        settle_number(self, "horizon", **_COUNT)
        settle_number(self, "end", least=0)

    def __call__(self, step: int | Int[Array, ""]) -> Scalar:
        """Return the factor at a step."""
        fraction = jnp.minimum(step / self.horizon, 1)
        return self.end + (1 - self.end) * 0.5 * (1 + jnp.cos(jnp.pi * fraction))


@dataclass(frozen=True)
class Exponential:
    """An exponential schedule, ``rate^(step / steps)``.

    Args:
        rate: factor after ``steps`` steps.
        steps: number of steps for one factor of ``rate``.
    """

    rate: float
    steps: int

    def __post_init__(self):
        settle_number(self, "rate", least=0)
        settle_number(self, "steps", **_COUNT)

    def __call__(self, step: int | Int[Array, ""]) -> Scalar:
        """Return the factor at a step."""
        return jnp.asarray(self.rate ** (step / self.steps), jnp.float32)
