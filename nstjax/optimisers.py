"""Optax optimisers with the learning rate in their state: ``optimise.init`` sets it, and ``jax.vmap`` can vary it.

Each function returns the same object for the same settings, so a program is compiled once for each setting. A schedule
is a function step -> factor on the learning rate, such as optax's schedules. It should be hashable by value or created
once: each new object triggers a new compilation.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeAlias, TypeVar

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

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
    *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, schedule: Schedule | None = None
) -> optax.GradientTransformation:
    """Return the Adam optimiser.

    Args:
        beta1: decay rate of the mean of gradients, in [0, 1).
        beta2: decay rate of the mean of squared gradients, in [0, 1).
        epsilon: constant added to the root, in units of the gradient; above 0, since gradients may be zero.
        schedule: function step -> factor on the learning rate; 1 by default.

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    transform = optax.inject_hyperparams(optax.adam)(learning_rate=1.0, b1=beta1, b2=beta2, eps=epsilon)
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
