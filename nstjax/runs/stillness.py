"""Warnings about runs that have nothing to do: a loss of zero at the start, a loss that does not change."""

import numpy as np

from nstjax.callbacks import Listener
from nstjax.experiment.config import Config

STEPS = 100
"""Steps with the same loss after which a run is reported; fewer if the whole run has fewer, but at least 2."""


class Stillness:
    """A watch over one run, or over a group of runs. It warns once, and ends nothing.

    Args:
        config: settings of any of the runs.
        runs: number of runs, without copies that fill up a group.
        listener: told which runs have nothing to do.
    """

    def __init__(self, config: Config, runs: int, listener: Listener):
        self._limit, self._listener = max(2, min(STEPS, config.total_steps)), listener
        self._losses, self._counts = np.full(runs, np.nan), np.zeros(runs, int)
        self._warned = np.zeros(runs, bool)

    def check(self, steps: np.ndarray, made: np.ndarray, totals: np.ndarray) -> None:
        """Warn of runs without a loss, or with the same loss again and again.

        Args:
            steps: [runs], number of steps before the chunk.
            made: [runs], number of steps in the chunk; none if the first of them diverged.
            totals: [runs, chunk], the losses of the chunk.
        """
        runs = len(self._losses)
        starts_at_zero = (steps[:runs] == 0) & (made[:runs] > 0) & (totals[:runs, 0] == 0)
        self._warn(starts_at_zero, "starts with a loss of exactly 0")
        for step, loss in enumerate(totals[:runs, : made.max()].T):
            counts = 1 + np.where(loss == self._losses, self._counts, 0)
            self._counts = np.where(step < made[:runs], counts, self._counts)
            self._losses = np.where(step < made[:runs], loss, self._losses)
        self._warn(self._counts >= self._limit, f"has had exactly the same loss for {self._limit:,} steps")

    def _warn(self, concerned: np.ndarray, problem: str) -> None:
        if (concerned & ~self._warned).any():
            members = f" of {concerned.sum()} of {len(concerned)} members" if len(concerned) > 1 else ""
            problem = f"the picture{members} {problem}, so nothing draws it anywhere"
            self._listener.warning(f"{problem}: check the loss weights and the learning rate")
            self._warned |= concerned
