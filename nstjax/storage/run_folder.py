"""The folder of a run, which holds everything about it.

    config.json     the run's record: every resolved setting, and what the run was made with
    inputs/         prepared pictures, weights that no other file holds, and the experiment's file
    checkpoints/    states to resume from
    metrics.jsonl   a line for each logged step
    snapshots/      pictures of intermediate steps
    output.png      the result
    progress.json   the progress a few seconds ago, for observers

Resuming needs the first three. Every file appears whole or not at all, except for the lines of the metrics: a truncated
last line is ignored.
"""

import contextlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import filelock
import numpy as np

from nstjax import images
from nstjax.callbacks import LogLine
from nstjax.errors import UserError
from nstjax.experiment import record
from nstjax.experiment.arrays import check_inputs, open_array, write_array
from nstjax.experiment.config import Config
from nstjax.experiment.experiment import EXPERIMENT, MODULES, Experiment, execute, sha256
from nstjax.experiment.inputs import Inputs, from_arrays
from nstjax.experiment.modules import Modules, read_source
from nstjax.experiment.record import RunRecord
from nstjax.network.weights import Weights
from nstjax.network.weights import write as write_weights
from nstjax.storage import contents, log_lines
from nstjax.storage.new_folder import check_empty
from nstjax.system.files import append, open_atomic, remove_leftovers, write_error_context, write_whole
from nstjax.system.locks import hold_lock, is_lock_held
from nstjax.system.plain_data import parse_json


class RunFolder:
    """The folder of one run; nothing is created before ``create``."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config, self.output = self.path / "config.json", self.path / "output.png"
        self.metrics, self.progress = self.path / "metrics.jsonl", self.path / "progress.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the run's states."""
        return self._state_folder() / "checkpoints"

    def _state_folder(self) -> Path:
        """Return the folder of the checkpoints and the lock; for a member of a sweep it is that of its group."""
        pointer = record.read_pointer(self.config)
        return self.path if pointer is None else self.path / pointer["group"]

    def check_new(self) -> None:
        """Raise if a run cannot start here.

        Raises:
            UserError: the folder already holds a run or other files, is not a folder, or cannot be written.
        """
        if os.path.exists(self.config):  # False, unlike Path.exists, for a path that is too long
            raise UserError(
                f"{self.path} already holds a run: continue it with nstjax resume {self.path} (and --steps for more "
                "steps, if it is finished), or choose another --out"
            )
        check_empty(self.path)

    @contextlib.contextmanager
    def lock(self, warn: Callable[[str], object] = warnings.warn) -> Iterator[None]:
        """Lock the folder; the lock is released however the process ends.

        Args:
            warn: called with one line if the file system has no locks.

        Raises:
            UserError: another living process holds the lock, or this is a member of a sweep that is not there.
        """
        if not (state := self._state_folder()).is_dir() and state != self.path:
            how = "put it back, or resume the sweep, which begins this member again"
            raise UserError(f"the state of {self.path} is in its sweep, and {state} is not there: {how}")
        with write_error_context(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            with write_error_context(self._lock_file):
                try:
                    # Wait a moment, because ``is_locked`` also takes the lock for a moment.
                    stack.enter_context(hold_lock(self._lock_file, warn, timeout=1))
                except filelock.Timeout:
                    raise UserError(f"another process is working in {self.path}: wait for it, or stop it") from None
            yield

    def is_locked(self) -> bool:
        """Return True if a living process holds the lock."""
        return is_lock_held(self._lock_file)

    @property
    def _lock_file(self) -> Path:
        return self._state_folder() / ".lock"

    def create(
        self, run: RunRecord, inputs: Inputs, *, weights: Weights | None = None, experiment: Experiment | None = None
    ) -> None:
        """Write everything that a run is given, and its record last: a folder without a record holds no run.

        Args:
            run: the run's record.
            inputs: prepared pictures.
            weights: weights that no other file holds.
            experiment: the experiment, whose file and modules are copied; None for one that is defined in Python.
        """
        folder = self.path / "inputs"
        with write_error_context(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, array in inputs.to_arrays().items():
                with open_atomic(folder / f"{name}.npy") as file:
                    write_array(file, array)
            if weights is not None:
                write_weights(self.weights, weights)
            for name, source in {} if experiment is None else experiment.sources.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write_whole(folder / name, source.encode())
            write_whole(self._sources, json.dumps(inputs.sources).encode() + b"\n")
        self.write_record(run)

    def discard(self) -> None:
        """Remove what ``create`` has written."""
        self.config.unlink()
        folder = self.path / "inputs"
        for path in (path for path in folder.iterdir() if contents.is_input(path.name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.path / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
            self.path.rmdir()

    @property
    def weights(self) -> Path:
        """Path of the weights that no other file holds."""
        return self.path / "inputs" / "weights.safetensors"

    def write_record(self, run: RunRecord) -> None:
        """Write ``config.json``."""
        with write_error_context(self.config):
            record.write_sealed(self.config, run)

    def read_record(self) -> RunRecord:
        """Return the run's record.

        Raises:
            UserError: there is no run here, or this version cannot follow its record.
        """
        if not self.config.exists():
            if (self.path / "sweep.json").exists():
                how = f"continue it with nstjax resume {self.path}, or in Python with nstjax.resume"
                raise UserError(f"{self.path} holds a sweep, not a run: {how}")
            raise UserError(f"no run in {self.path}: expected a folder made by nstjax run or nstjax sweep")
        return record.read(self.config)

    def read_inputs(self, run: RunRecord) -> Inputs:
        """Return the run's prepared pictures.

        Raises:
            UserError: a picture is missing, or differs from the one that the record names.
        """
        manifest = {name: expected for name, expected in run["pictures"].items() if name != "names"}
        arrays = {name: np.array(self._open_array(run, name)) for name in manifest}
        try:
            inputs = from_arrays(arrays, run["pictures"]["names"])
        except (KeyError, IndexError) as error:
            raise UserError(f"{self.config} is not the record of a run (it lacks a picture: {error})") from None
        check_inputs(inputs, record.parse_config(run))
        return inputs

    def read_previews(self, run: RunRecord, longest: int) -> dict[str, np.ndarray]:
        """Return the pictures that a page shows: the content, its regions if it has some, and the styles, in order.

        Args:
            run: the run's record.
            longest: largest long side in pixels. Of a larger picture evenly spaced pixels are read, and no others.

        Raises:
            UserError: as ``read_inputs``, for one of these.
        """
        previews = {}
        for name in ("content", "regions", *(name for name in run["pictures"] if re.fullmatch(r"style(-\d+)?", name))):
            if name in run["pictures"]:
                array = self._open_array(run, name)
                pixels = array if name == "regions" else np.moveaxis(array, -1, 0)
                step = -(-max(pixels.shape[1:]) // longest)
                sampled = np.array(pixels[:, ::step, ::step])
                previews[name] = sampled if name == "regions" else np.moveaxis(sampled, 0, -1)
        return previews

    def _open_array(self, run: RunRecord, name: str) -> np.ndarray:
        return open_array(self.path / "inputs" / f"{name}.npy", run["pictures"][name])

    @property
    def _sources(self) -> Path:
        """Path of the list of the files that the inputs were read from."""
        return self.path / "inputs" / "sources.json"

    def read_sources(self) -> tuple[str, ...]:
        """Return the paths of the files that the inputs were read from, where they were when the run began."""
        try:
            return parse_json(self._sources.read_text(encoding="utf-8"), tuple[str, ...])
        except (OSError, ValueError):
            return ()  # an older run

    def read_experiment(self, run: RunRecord, on_notice: Callable[[str], object]) -> Experiment:
        """Return the run's experiment, from the copies of its files; they are compared with the record before they run.

        Args:
            run: the run's record.
            on_notice: called with a line that says which file is executed.

        Raises:
            UserError: there is no copy, or it was changed.
        """
        folder, expected = self.path / "inputs", run["experiment"]
        if expected["sha256"] is None:
            how = "resume it there with nstjax.resume(folder, experiment=…)"
            raise UserError(f"the terms of {self.path} were defined in Python: {how}")
        digests = {MODULES + name: digest for name, digest in expected["modules"].items()}
        sources = {}
        for name, digest in {EXPERIMENT: expected["sha256"], **digests}.items():
            sources[name] = read_source(folder / name)
            if sha256(sources[name]) != digest:
                how = "undo the change, or start a new run with it"
                raise UserError(f"{folder / name} was changed after the run began: {how}")
        count = f" and {len(digests)} modules" if digests else ""
        on_notice(f"executing {folder / EXPERIMENT} (sha256 {expected['sha256'][:12]}){count}")
        modules = Modules(folder / MODULES, {name.removeprefix(MODULES): sources[name] for name in digests})
        return execute(expected["name"], folder / EXPERIMENT, sources[EXPERIMENT], modules)

    def log(self, line: Mapping[str, float]) -> None:
        """Append a line to the metrics."""
        with write_error_context(self.metrics):
            append(self.metrics, log_lines.format(line).encode())

    def read_log(self, config: Config) -> list[LogLine]:
        """Return the logged steps of a run with these settings; a loss that was not finite is NaN.

        Raises:
            Failure: a line is not a logged step of this run.
        """
        return log_lines.read(self.metrics, config)

    def rewind_log(self, step: int, config: Config) -> list[LogLine]:
        """Drop the lines of this and later steps, and return the remaining ones."""
        remaining = [line for line in self.read_log(config) if line["step"] < step]
        with write_error_context(self.metrics):
            write_whole(self.metrics, "".join(map(log_lines.format, remaining)).encode())
        return remaining

    def sync_log(self) -> None:
        """Wait until the metrics are on disk, so that no checkpoint outlives earlier lines."""
        if self.metrics.exists():
            with write_error_context(self.metrics), self.metrics.open("rb") as file:
                os.fsync(file.fileno())

    def write_snapshot(self, step: int, picture: np.ndarray) -> None:
        """Write the picture after the given step."""
        path = self.path / "snapshots" / contents.name_snapshot(step)
        with write_error_context(path):
            path.parent.mkdir(exist_ok=True)
            images.save(path, picture)

    def list_snapshots(self) -> dict[int, Path]:
        """Return {step: file} of the snapshots written so far."""
        return contents.list_snapshots(self.path / "snapshots")

    def write_progress(self, line: Mapping[str, float]) -> None:
        """Write the progress of the run."""
        with write_error_context(self.progress):
            write_whole(self.progress, log_lines.format(line).encode())

    def read_progress(self) -> LogLine | None:
        """Return the progress last written; None if there is none, or none with losses."""
        try:
            line = log_lines.parse(self.progress.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return line if "total" in line else None

    def remove_leftovers(self) -> None:
        """Remove the files that a killed process was writing."""
        inputs = [Path(folder) for folder, _, _ in os.walk(self.path / "inputs")]
        for folder in (self.path, self.path / "snapshots", *inputs):
            remove_leftovers(folder)
