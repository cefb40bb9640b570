"""The writer of a run: metrics, snapshots, checkpoints and progress, written while the loop runs."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nstjax import optimise
from nstjax.callbacks import Listener, LogLine
from nstjax.experiment.config import Config
from nstjax.optimise import Method, State
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.tensorboard import Events, check_installed

PROGRESS_SECONDS = 5.0
"""Age in seconds at which ``progress.json`` is written again, at the end of a chunk."""


class Writer:
    """A writer that writes nothing, for runs without a folder."""

    def log(self, run: int, line: LogLine) -> None:
        """Write a logged line of one run."""

    def update(self, state: State, latest: list[LogLine], method: Method) -> None:
        """Write what is due, before the first chunk and after each chunk.

        Args:
            state: the state of the run, or of a group.
            latest: for each run, the line of its last step; empty before the first.
            method: the method at the size of the state.
        """

    def save(self, state: State) -> None:
        """Write a checkpoint of the last state of a stage. Return once it is on the disk."""

    def close(self) -> None:
        """Close the files."""


class FolderWriter(Writer):
    """A writer that writes runs to their folders, and their common state to checkpoints.

    Args:
        folders: the folder of each run, held by this process; None for a run that is not written.
        config: settings of any of the runs.
        postprocess: for each run, turns the picture of a state into the picture that is shown.
        checkpoints: the folder of the checkpoints.
        identity: a checksum of the runs that the state belongs to.
    """

    def __init__(
        self,
        folders: Sequence[RunFolder | None],
        config: Config,
        postprocess: Sequence[Callable[[np.ndarray], np.ndarray]],
        *,
        checkpoints: Path,
        identity: str,
    ):
        self._folders, self._config, self._postprocess = folders, config, postprocess
        self._checkpoints = Checkpoints(checkpoints, run=identity, keep=self._config.checkpoint_keep)
        if self._config.tensorboard:
            check_installed()
        self._events: list[Events | None] = [None] * len(folders)
        self._saved_step = 0
        self._saved_time = self._progress_time = time.monotonic()

    def restore(
        self, get_abstract_state: Callable[[int], State], listener: Listener
    ) -> tuple[State | None, list[list[LogLine]]]:
        """Read the newest whole checkpoint, and the logs up to its step. Later lines are dropped from the logs.

        Args:
            get_abstract_state: step -> abstract state.
            listener: told from which step the runs continue.

        Returns:
            (state, logs): without a checkpoint the state is None and the logs are empty.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        # Here, since a run whose steps are all made writes no further checkpoint.
        self._checkpoints.remove_leftovers()
        state = self._checkpoints.restore(get_abstract_state, listener.warning)
        step = self._saved_step = 0 if state is None else _get_step(state)
        if step == self._config.steps:
            listener.notice(f"all {step:,} steps are already made; ask for more with --steps")
        elif step:
            listener.notice(f"continuing from step {step:,} of {self._config.steps:,}")
        elif any(folder.metrics.exists() for folder in self._folders if folder):
            listener.warning("there is no checkpoint: starting again at step 0")
        # A member of a group that has diverged made fewer steps than the others.
        counts = [0] * len(self._folders) if state is None else np.atleast_1d(state.step).tolist()
        logs: list[list[LogLine]] = [[] for _ in self._folders]
        for run, folder in enumerate(self._folders):
            if folder is not None:
                folder.remove_leftovers()
                folder.progress.unlink(missing_ok=True)
                logs[run] = folder.rewind_log(step)
                logged = {line["step"] for line in logs[run]}
                expected = range(0, counts[run], self._config.log_every or 1)
                if missing := sum(number not in logged for number in expected):
                    listener.warning(
                        f"{folder.metrics} lacks {missing} of the logged steps before step {counts[run]:,}"
                    )
                if self._config.tensorboard:
                    self._events[run] = Events(folder.path / "tensorboard", step)
        return state, logs

    def log(self, run: int, line: LogLine) -> None:
        if folder := self._folders[run]:
            folder.log(line)
        if events := self._events[run]:
            events.write_losses(line)

    def update(self, state: State, latest: list[LogLine], method: Method) -> None:
        step, now, failed = _get_step(state), time.monotonic(), np.atleast_1d(state.failed)
        if self._config.is_snapshot(step):
            self._write_snapshots(step, state, failed, method)
        overdue = now - self._saved_time >= 60 * self._config.checkpoint_minutes
        if step % self._config.checkpoint_every == 0 or overdue:
            self._save(state)
        if due := now - self._progress_time >= PROGRESS_SECONDS:
            self._progress_time = now
        for run, steps in enumerate(np.atleast_1d(state.step)):
            if (folder := self._folders[run]) and (failed[run] or due):
                failure = {"failed": True} if failed[run] else {}
                folder.write_progress({**latest[run], "step": int(steps), **failure})

    def save(self, state: State) -> None:
        self._save(state)
        self._checkpoints.wait()

    def close(self) -> None:
        self._checkpoints.close()
        for events in filter(None, self._events):
            events.close()

    def _write_snapshots(self, step: int, state: State, failed: np.ndarray, method: Method) -> None:
        pictures = optimise.map_states(optimise.current_picture, state, method=method)
        for run, picture in enumerate(np.asarray(pictures)):
            if (folder := self._folders[run]) and not failed[run]:
                picture = self._postprocess[run](picture)
                folder.write_snapshot(step, picture)
                if events := self._events[run]:
                    events.write_picture(step, picture)

    def _save(self, state: State) -> None:
        step = _get_step(state)
        # Do not checkpoint a diverged state.
        if step == self._saved_step or np.all(state.failed):
            return
        # A checkpoint must not outlive the metrics from before it.
        for folder in filter(None, self._folders):
            folder.sync_log()
        self._saved_step, self._saved_time = step, time.monotonic()
        self._checkpoints.save(step, state)


def _get_step(state: State) -> int:
    """Return the step that the runs have reached. Runs that have diverged stay behind."""
    return int(np.max(state.step))
