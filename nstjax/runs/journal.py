"""The journal of a run or of a group of runs: the lines that are logged, and who is told of them."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nstjax.callbacks import TIMES, Listener, LogLine
from nstjax.experiment.config import Config
from nstjax.runs.writer import Writer


class Journal:
    """The lines of all steps that are logged, with clocks that go on from where the last process stopped.

    Args:
        config: settings of the run; for a group, those of any of its runs.
        logs: for each run, the lines logged so far; new lines are appended.
        listener: told of the mean over the runs.
        writer: told of every run.
        count: number of runs, from the first on, that the listener is told of.

    Attributes:
        latest: for each run, the line of its last step; empty before the first.
    """

    def __init__(
        self,
        config: Config,
        logs: list[list[LogLine]],
        listener: Listener,
        writer: Writer,
        *,
        count: int,
    ):
        self._config, self._logs = config, logs
        self._listener, self._writer, self._count = listener, writer, count
        # A member of a group that diverged before a resume makes no further line.
        self.latest: list[LogLine] = [log[-1] if log else {} for log in logs]
        last_line = max((log[-1] for log in logs if log), key=lambda line: line["wall_seconds"], default={})
        self._wall_start = time.perf_counter() - last_line.get("wall_seconds", 0)
        self._cpu_start = time.process_time() - last_line.get("cpu_seconds", 0)

    def add_chunk(
        self,
        metrics: Mapping[str, Any],
        names: Sequence[str],
        steps: np.ndarray,
        made: np.ndarray,
        failed: np.ndarray,
        *,
        seconds_per_step: float,
    ) -> None:
        """Log the steps of a chunk that are to be logged.

        Args:
            metrics: {name: [chunk], stacked for a group}, as ``optimise.run_chunk`` returns them.
            names: names of the values that a step has, in the order in which people see them.
            steps: [runs], number of steps before the chunk.
            made: [runs], number of steps of the chunk.
            failed: [runs], whether one more step diverged. It changed nothing, but its loss says why.
            seconds_per_step: duration of a step of this chunk.
        """
        times = {
            "seconds_per_step": seconds_per_step,
            "wall_seconds": time.perf_counter() - self._wall_start,
            "cpu_seconds": time.process_time() - self._cpu_start,
        }
        values = {name: np.asarray(metrics[name]).reshape(len(self._logs), -1) for name in names}
        logged: dict[int, list[LogLine]] = defaultdict(list)
        for run, log in enumerate(self._logs):
            for offset in range(made[run] + failed[run]):
                step = int(steps[run]) + offset
                losses = {name: float(array[run, offset]) for name, array in values.items()}
                self.latest[run] = {"step": step, **losses, **times}
                if self._config.is_logged(step) or offset == made[run]:
                    log.append(self.latest[run])
                    self._writer.log(run, self.latest[run])
                    if run < self._count:
                        logged[step].append(self.latest[run])
        for step in sorted(logged):
            self._listener.logged(_mean(logged[step]))

    def get_losses(self) -> LogLine:
        """Return the values of the last step, as a mean over the runs."""
        return {name: value for name, value in _mean(self.latest[: self._count]).items() if name not in TIMES}


def _mean(lines: list[LogLine]) -> LogLine:
    """Return the mean over the runs that have made a step; of each term, over those in which it takes part."""
    known: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        for name, value in line.items():
            known[name].append(value)
    return {name: type(values[0])(np.mean(values)) for name, values in known.items()}
