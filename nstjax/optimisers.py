"""Optimisers: optax's, with the learning rate in their state, where ``init`` puts it and ``vmap`` can spread it.

Each function returns the same object for the same settings, so that what is compiled for it is compiled once. A
schedule is a function step -> factor on the learning rate, any of optax's; it should be hashable by value, or be built
once: a new object compiles anew.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from nstjax.types import Scalar

Schedule: TypeAlias = Callable[[Any], Any]


@functools.cache
def adam(
    *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, schedule: Schedule | None = None
) -> optax.GradientTransformation:
    """Adam.

    Args:
        beta1: decay of the mean of gradients, in [0, 1).
        beta2: decay of the mean of squared gradients, in [0, 1).
        epsilon: added to the root, in units of the gradient.
        schedule: step -> factor on the learning rate; 1 by default.

    Reference: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.
    """
    return _scheduled(
        optax.inject_hyperparams(optax.adam)(learning_rate=1.0, b1=beta1, b2=beta2, eps=epsilon), schedule
    )


@functools.cache
def rmsprop(
    *, decay: float = 0.9, epsilon: float = 1e-8, momentum: float = 0.0, schedule: Schedule | None = None
) -> optax.GradientTransformation:
    """RMSprop, ``g / (sqrt(v) + epsilon)`` as PyTorch has it.

    Args:
        decay: of the mean of squared gradients, in [0, 1).
        epsilon: added to the root, in units of the gradient.
        momentum: in [0, 1).
        schedule: step -> factor on the learning rate; 1 by default.

    Reference: Tieleman and Hinton, "Lecture 6.5: RMSprop", 2012.
    """
    make = optax.inject_hyperparams(optax.rmsprop, static_args=("eps_in_sqrt", "momentum"))
    transform = make(learning_rate=1.0, decay=decay, eps=epsilon, momentum=momentum or None, eps_in_sqrt=False)
    return _scheduled(transform, schedule)


@functools.cache
def sgd(*, momentum: float = 0.0, schedule: Schedule | None = None) -> optax.GradientTransformation:
    """Gradient descent.

    Args:
        momentum: in [0, 1).
        schedule: step -> factor on the learning rate; 1 by default.
    """
    make = optax.inject_hyperparams(optax.sgd, static_args=("momentum",))
    return _scheduled(make(learning_rate=1.0, momentum=momentum or None), schedule)


@functools.cache
def lbfgs(*, memory: int = 10, line_search_steps: int = 20) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a zoom line search for the strong Wolfe conditions; it needs no learning rate, and ignores one.

    A step evaluates the loss once, and once more for each length that the search tries.

    Args:
        memory: how many steps it looks back.
        line_search_steps: how many lengths it tries at most.

    Reference: Nocedal and Wright, "Numerical Optimization", 2006, algorithms 7.4, 3.5 and 3.6.
    """
    search = optax.scale_by_zoom_linesearch(line_search_steps, initial_guess_strategy="one")
    return optax.lbfgs(memory_size=memory, linesearch=search)


def _scheduled(transform: optax.GradientTransformation, schedule: Schedule | None) -> optax.GradientTransformation:
    return optax.chain(transform, optax.scale_by_schedule(schedule)) if schedule else transform


@dataclass(frozen=True)
class Cosine:
    """Schedule: from 1 down to ``end`` along half a cosine over ``horizon`` steps, then constant.

    Reference: Loshchilov and Hutter, "SGDR", 2017.
    """

    horizon: int
    end: float = 0.0

    def __call__(self, step: Int[Array, ""]) -> Scalar:
        """The factor at a step."""
        fraction = jnp.minimum(step / self.horizon, 1)
        return self.end + (1 - self.end) * 0.5 * (1 + jnp.cos(jnp.pi * fraction))


@dataclass(frozen=True)
class Exponential:
    """Schedule: ``rate^(step / steps)``."""

    rate: float
    steps: int

    def __call__(self, step: Int[Array, ""]) -> Scalar:
        """The factor at a step."""
        return jnp.asarray(self.rate ** (step / self.steps), jnp.float32)
