"""The writer of a run: metrics, snapshots, checkpoints and progress, written while the loop runs.

A disk that is full for a minute costs no run: what cannot be written is said once, and tried again. The run ends when
two checkpoints in a row fail. A checkpoint fails too if something from before it cannot be written.
"""

import collections
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nstjax import optimise
from nstjax.callbacks import Listener, LogLine
from nstjax.errors import NotWritten
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
        """Finish the write in progress."""


class FolderWriter(Writer):
    """A writer that writes runs to their folders, and their common state to checkpoints.

    Args:
        folders: the folder of each run, held by this process; None for a run that is not written.
        config: settings of any of the runs.
        postprocess: for each run, turns the picture of a state into the picture that is shown.
        checkpoints: the folder of the checkpoints.
        identity: a checksum of the runs that the state belongs to.
        listener: told from which step the runs continue, and of failed writes.
    """

    def __init__(
        self,
        folders: Sequence[RunFolder | None],
        config: Config,
        postprocess: Sequence[Callable[[np.ndarray], np.ndarray]],
        *,
        checkpoints: Path,
        identity: str,
        listener: Listener,
    ):
        self._folders, self._config, self._postprocess = folders, config, postprocess
        self._checkpoints = Checkpoints(checkpoints, run=identity, keep=self._config.checkpoint_keep)
        if self._config.tensorboard:
            check_installed()
        self._listener = listener
        self._events: list[Events | None] = [None] * len(folders)
        self._unwritten: collections.deque[Callable[[], object]] = collections.deque()
        self._failed_checkpoints, self._has_warned = 0, False
        self._saved_step: int | None = 0
        self._saved_time = self._progress_time = time.monotonic()

    def restore(self, get_abstract_state: Callable[[int], State]) -> tuple[State | None, list[list[LogLine]]]:
        """Read the newest whole checkpoint, and the logs up to its step. Later lines are dropped from the logs.

        Args:
            get_abstract_state: step -> abstract state.

        Returns:
            (state, logs): without a checkpoint the state is None and the logs are empty.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        listener = self._listener
        # Here, since a run whose steps are all made writes no further checkpoint.
        self._checkpoints.remove_leftovers()
        state = self._checkpoints.restore(get_abstract_state, listener.warning)
        step = self._saved_step = 0 if state is None else _get_step(state)
        if step == self._config.total_steps:
            listener.notice(f"all {step:,} steps are already made; ask for more with --steps")
        elif step:
            listener.notice(f"continuing from step {step:,} of {self._config.total_steps:,}")
        elif any(folder.metrics.exists() for folder in self._folders if folder):
            listener.warning("there is no checkpoint: starting again at step 0")
        # A member of a group that has diverged made fewer steps than the others.
        counts = [0] * len(self._folders) if state is None else np.atleast_1d(state.step).tolist()
        logs: list[list[LogLine]] = [[] for _ in self._folders]
        for run, folder in enumerate(self._folders):
            if folder is not None:
                folder.remove_leftovers()
                folder.progress.unlink(missing_ok=True)
                logs[run] = folder.rewind_log(step, self._config)
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
            self._unwritten.append(functools.partial(folder.log, line))
        if events := self._events[run]:
            self._unwritten.append(functools.partial(events.write_losses, line))

    def update(self, state: State, latest: list[LogLine], method: Method) -> None:
        step, now, failed = _get_step(state), time.monotonic(), np.atleast_1d(state.failed)
        self._check_checkpoint()
        if self._config.is_snapshot(step):
            self._draw_snapshots(step, state, failed, method)
        # None is queued while writes fail: the next one will say more.
        if due := now - self._progress_time >= PROGRESS_SECONDS and not self._has_warned:
            self._progress_time = now
        for run, steps in enumerate(np.atleast_1d(state.step)):
            if (folder := self._folders[run]) and (failed[run] or due):
                failure = {"failed": True} if failed[run] else {}
                progress = {**latest[run], "step": int(steps), **failure}
                self._unwritten.append(functools.partial(folder.write_progress, progress))
        try:
            self._write_rest()
        except NotWritten as error:
            self._warn(error)
        overdue = now - self._saved_time >= 60 * self._config.checkpoint_minutes
        if step % self._config.checkpoint_every == 0 or overdue:
            self._save(state)

    def save(self, state: State) -> None:
        self._save(state)
        self._check_checkpoint(wait=True)
        if self._failed_checkpoints:
            self._save(state)
            self._check_checkpoint(wait=True)
        self._write_rest()

    def close(self) -> None:
        self._checkpoints.close()

    def _draw_snapshots(self, step: int, state: State, failed: np.ndarray, method: Method) -> None:
        pictures = optimise.map_states(optimise.current_picture, state, method=method)
        for run, picture in enumerate(np.asarray(pictures)):
            if (folder := self._folders[run]) and not failed[run]:
                picture = self._postprocess[run](picture)
                self._unwritten.append(functools.partial(folder.write_snapshot, step, picture))
                if events := self._events[run]:
                    self._unwritten.append(functools.partial(events.write_picture, step, picture))

    def _write_rest(self) -> None:
        """Write everything except checkpoints; what cannot be written stays in the queue, with all that follows it.

        Raises:
            NotWritten: a file could not be written.
        """
        while self._unwritten:
            self._unwritten[0]()
            self._unwritten.popleft()

    def _save(self, state: State) -> None:
        """Start to write a checkpoint."""
        step = _get_step(state)
        # Do not checkpoint a diverged state.
        if step == self._saved_step or np.all(state.failed):
            return
        self._check_checkpoint(wait=True)
        self._saved_step, self._saved_time = step, time.monotonic()
        try:
            # A checkpoint must not outlive the metrics from before it.
            self._write_rest()
            for folder in filter(None, self._folders):
                folder.sync_log()
        except NotWritten as error:
            self._count_failure(error)
        else:
            self._checkpoints.save(step, state)

    def _check_checkpoint(self, *, wait: bool = False) -> None:
        """Notice whether the last checkpoint was written, unless it is still being written.

        Raises:
            NotWritten: neither it nor the one before it could be written.
        """
        if self._checkpoints.is_writing and not wait:
            return
        try:
            is_written = self._checkpoints.wait()
        except NotWritten as error:
            self._count_failure(error)
        else:
            if is_written:
                self._failed_checkpoints, self._has_warned = 0, False

    def _count_failure(self, error: NotWritten) -> None:
        self._saved_step = None
        self._failed_checkpoints += 1
        if self._failed_checkpoints == 2:
            raise error
        self._warn(error)

    def _warn(self, error: NotWritten) -> None:
        """Say the first failure of a row."""
        if not self._has_warned:
            self._has_warned = True
            self._listener.warning(f"{error}; trying again with the next checkpoint")


def _get_step(state: State) -> int:
    """Return the step that the runs have reached. Runs that have diverged stay behind."""
    return int(np.max(state.step))
