"""Warnings about runs that have nothing to do: a loss of zero at the start, a picture that does not move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from nstjax.callbacks import Listener
from nstjax.experiment.config import Config
from nstjax.optimise import State

STEPS = 100
"""Number of steps without a move after which a run is reported; fewer if the whole run has fewer."""


class Stillness:
    """A watch over one run, or over a group of runs. It warns once, and ends nothing.

    Args:
        config: settings of any of the runs.
        runs: number of runs, without copies that fill up a group.
        listener: told what does not move.
    """

    def __init__(self, config: Config, runs: int, listener: Listener):
        self._limit, self._listener = min(STEPS, config.total_steps), listener
        self._still = np.zeros(runs, int)
        self._warned = np.zeros(runs, bool)

    def check(self, state: State, steps: np.ndarray, totals: np.ndarray) -> None:
        """Warn of runs without a loss or without a move.

        Args:
            state: the state after a chunk.
            steps: [runs], number of steps before the chunk.
            totals: [runs, chunk], the losses of the chunk.
        """
        runs = slice(len(self._still))
        made = np.atleast_1d(state.step)[runs] - steps[runs]
        starts_at_zero = (steps[runs] == 0) & (totals[runs, 0] == 0)
        self._warn(starts_at_zero & (made > 0), "starts with a loss of exactly 0, so nothing draws it anywhere")
        self._still = np.where(np.atleast_1d(has_moved(state))[runs], 0, self._still + made)
        is_still = self._still >= self._limit
        self._warn(is_still & (made > 0), f"has not moved at all in the last {self._limit:,} steps")

    def _warn(self, concerned: np.ndarray, problem: str) -> None:
        if (concerned & ~self._warned).any():
            members = f" of {concerned.sum()} of {len(concerned)} members" if len(concerned) > 1 else ""
            picture = f"the picture{members}"
            self._listener.warning(f"{picture} {problem}: check the loss weights and the learning rate")
            self._warned |= concerned


@jax.jit
def has_moved(state: State) -> Bool[Array, "..."]:
    """Return whether the last step changed the parameters; of stacked states, whether it changed each."""

    def differs(new: Array, old: Array) -> Bool[Array, "..."]:
        return jnp.any(new != old, axis=tuple(range(state.step.ndim, new.ndim)))

    return functools.reduce(jnp.logical_or, jax.tree.leaves(jax.tree.map(differs, state.parameters, state.previous)))
