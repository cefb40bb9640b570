"""What a run keeps while its steps are made: metrics, snapshots, checkpoints, and how far it is."""

import time

import numpy as np

from nstjax import optimise
from nstjax.checkpoint import Checkpoints
from nstjax.config import Config
from nstjax.events import Events
from nstjax.listener import Listener, Record
from nstjax.optimise import Method, State
from nstjax.record import RunRecord, config_of, identity
from nstjax.rundir import RunFolder

PROGRESS_SECONDS = 5.0
"""How old ``progress.json`` may get while chunks end."""


class Keeper:
    """Keeps nothing; what a run without a folder has."""

    def logged(self, line: Record) -> None:
        """A step is logged."""

    def reached(self, state: State, line: Record) -> None:
        """A chunk, or the beginning, has led to this state; the last step's losses and times."""

    def finish(self, state: State) -> None:
        """Return once this state, the last one, is safe."""

    def close(self) -> None:
        """No more will be kept."""


class FolderKeeper(Keeper):
    """Keeps a run in its folder.

    Args:
        folder: of the run, which this process holds.
        run: its record.
        method: of the run.
    """

    def __init__(self, folder: RunFolder, run: RunRecord, method: Method):
        self._folder, self._method = folder, method
        self._config: Config = config_of(run)
        self._checkpoints = Checkpoints(folder.checkpoints, run=identity(run), keep=self._config.checkpoint_keep)
        self._events: Events | None = None
        self._saved_step = 0
        self._saved_at = self._said_at = time.monotonic()

    def begin(self, form: State, tell: Listener) -> tuple[State | None, list[Record]]:
        """Where the run stands: the state of its newest whole checkpoint, and the metrics up to there.

        Metrics beyond it are dropped. Without a checkpoint the state is None, and the metrics are none.

        Raises:
            Failure: there are checkpoints, and all of them are damaged.
        """
        state = self._checkpoints.restore(form, tell.warning)
        step = self._saved_step = 0 if state is None else int(state.step)
        if step == self._config.steps:
            tell.notice(f"all {step:,} steps are made; --steps asks for more")
        elif self._folder.metrics.exists():
            tell.notice(f"going on from step {step:,} of {self._config.steps:,}")
        self._folder.sweep()
        self._folder.progress.unlink(missing_ok=True)
        records = self._folder.rewind_log(step)
        if self._config.tensorboard:
            self._events = Events(self._folder.path / "tensorboard", step)
        return state, records

    def logged(self, line: Record) -> None:
        self._folder.log(line)
        if self._events:
            self._events.losses(line)

    def reached(self, state: State, line: Record) -> None:
        step, now = int(state.step), time.monotonic()
        if state.failed:
            self._folder.write_progress({"step": step, **line, "failed": True})
            return
        if self._config.is_snapshot(step):
            picture = np.asarray(optimise.current_picture(state, method=self._method))
            self._folder.write_snapshot(step, picture)
            if self._events:
                self._events.picture(step, picture)
        overdue = now - self._saved_at >= 60 * self._config.checkpoint_minutes
        if step % self._config.checkpoint_every == 0 or overdue:
            self._save(state)
        if now - self._said_at >= PROGRESS_SECONDS:
            self._folder.write_progress({"step": step, **line})
            self._said_at = now

    def finish(self, state: State) -> None:
        if not state.failed:
            self._save(state)
        self._checkpoints.wait()

    def close(self) -> None:
        self._checkpoints.close()
        if self._events:
            self._events.close()

    def _save(self, state: State) -> None:
        if int(state.step) == self._saved_step:
            return
        self._folder.secure_log()
        self._saved_step, self._saved_at = int(state.step), time.monotonic()
        self._checkpoints.save(self._saved_step, state)
