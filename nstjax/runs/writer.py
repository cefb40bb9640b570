"""What runs keep while its steps are made: metrics, snapshots, checkpoints, and how far it is."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nstjax import optimise
from nstjax.callbacks import Listener, Record
from nstjax.experiment.config import Config
from nstjax.optimise import Method, State
from nstjax.storage.checkpoints import Checkpoints
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.tensorboard import Events, require

PROGRESS_SECONDS = 5.0
"""How old ``progress.json`` may get while chunks end."""


class Keeper:
    """Keeps nothing; what a run without a folder has."""

    def logged(self, run: int, line: Record) -> None:
        """A step of a run is logged."""

    def reached(self, state: State, latest: list[Record], method: Method) -> None:
        """A chunk, or the beginning, has led to this state; the last losses and times of each run."""

    def finish(self, state: State) -> None:
        """Return once this state, the last one of its size, is safe."""

    def close(self) -> None:
        """No more will be kept."""


class FolderKeeper(Keeper):
    """Keeps runs in their folders, and their state, which is one, in checkpoints.

    Args:
        folders: of each run, held by this process; None of one that is not to be kept.
        config: of any of them.
        finish: makes of each run's picture the one that is shown.
        checkpoints: where they lie.
        identity: a checksum of what the state belongs to.
    """

    def __init__(
        self,
        folders: Sequence[RunFolder | None],
        config: Config,
        finish: Sequence[Callable[[np.ndarray], np.ndarray]],
        *,
        checkpoints: Path,
        identity: str,
    ):
        self._folders, self._config, self._finish = folders, config, finish
        self._checkpoints = Checkpoints(checkpoints, run=identity, keep=self._config.checkpoint_keep)
        if self._config.tensorboard:
            require()
        self._events: list[Events | None] = [None] * len(folders)
        self._saved_step = 0
        self._saved_at = self._said_at = time.monotonic()

    def begin(self, form: Callable[[int], State], tell: Listener) -> tuple[State | None, list[list[Record]]]:
        """Where the runs stand: the newest whole checkpoint, and each one's metrics up to there.

        Metrics beyond it are dropped. Without a checkpoint the state is None, and the metrics are none.

        Args:
            form: step -> the shapes of the state after so many.
            tell: of where they stand.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        # Also where no more is written, as when all steps are made.
        self._checkpoints.sweep()
        state = self._checkpoints.restore(form, tell.warning)
        step = self._saved_step = 0 if state is None else _step(state)
        if step == self._config.steps:
            tell.notice(f"all {step:,} steps are made; --steps asks for more")
        elif step:
            tell.notice(f"going on from step {step:,} of {self._config.steps:,}")
        elif any(folder.metrics.exists() for folder in self._folders if folder):
            tell.warning("there is no checkpoint: beginning again at step 0")
        records: list[list[Record]] = [[] for _ in self._folders]
        for run, folder in enumerate(self._folders):
            if folder is not None:
                folder.sweep()
                folder.progress.unlink(missing_ok=True)
                records[run] = folder.rewind_log(step)
                there = {line["step"] for line in records[run]}
                if missing := sum(it not in there for it in range(0, step, self._config.log_every or 1)):
                    tell.warning(f"{folder.metrics} lacks {missing} of the logged steps before step {step:,}")
                if self._config.tensorboard:
                    self._events[run] = Events(folder.path / "tensorboard", step)
        return state, records

    def logged(self, run: int, line: Record) -> None:
        if folder := self._folders[run]:
            folder.log(line)
        if events := self._events[run]:
            events.losses(line)

    def reached(self, state: State, latest: list[Record], method: Method) -> None:
        step, now, failed = _step(state), time.monotonic(), np.atleast_1d(state.failed)
        if self._config.is_snapshot(step):
            self._snapshot(step, state, failed, method)
        overdue = now - self._saved_at >= 60 * self._config.checkpoint_minutes
        if step % self._config.checkpoint_every == 0 or overdue:
            self._save(state)
        if due := now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
        for run, made in enumerate(np.atleast_1d(state.step)):
            if (folder := self._folders[run]) and (failed[run] or due):
                ending = {"failed": True} if failed[run] else {}
                folder.write_progress({"step": int(made), **latest[run], **ending})

    def finish(self, state: State) -> None:
        self._save(state)
        self._checkpoints.wait()

    def close(self) -> None:
        self._checkpoints.close()
        for events in filter(None, self._events):
            events.close()

    def _snapshot(self, step: int, state: State, failed: np.ndarray, method: Method) -> None:
        pictures = optimise.each(optimise.current_picture, state, method=method)
        for run, picture in enumerate(np.asarray(pictures)):
            if (folder := self._folders[run]) and not failed[run]:
                picture = self._finish[run](picture)
                folder.write_snapshot(step, picture)
                if events := self._events[run]:
                    events.picture(step, picture)

    def _save(self, state: State) -> None:
        step = _step(state)
        # What has diverged is not worth to go on from.
        if step == self._saved_step or np.all(state.failed):
            return
        for folder in filter(None, self._folders):
            folder.secure_log()
        self._saved_step, self._saved_at = step, time.monotonic()
        self._checkpoints.save(step, state)


def _step(state: State) -> int:
    """That the runs have reached; those that have diverged stay behind."""
    return int(np.max(state.step))
