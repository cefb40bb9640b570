"""A run's folder, its whole truth:

    config.json     the record: every setting resolved, and what the run was made with
    inputs/         what it was given: prepared pictures, weights that no file holds, the experiment's file
    checkpoints/    the states to go on from
    metrics.jsonl   a line for each logged step
    snapshots/      pictures on the way
    output.png      the result
    progress.json   how far it was a few seconds ago, for those who watch

Going on needs the first three. Every file appears whole or not at all, but for the lines of the metrics: a last line
that was cut short is no line.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import filelock
import numpy as np

from nstjax import images
from nstjax.callbacks import Record
from nstjax.errors import Failure, UserError
from nstjax.experiment import record
from nstjax.experiment.experiment import Experiment, load
from nstjax.experiment.inputs import Inputs, from_pictures
from nstjax.experiment.record import RunRecord
from nstjax.network.weights import Weights
from nstjax.network.weights import write as write_weights
from nstjax.system.files import whole_file, writing


@contextlib.contextmanager
def new_folder(folder: Path, stem: str) -> Iterator[Path]:
    """A new folder ``folder/stem-N`` with the first N from 1 that is not taken; removed if it is empty at the end."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = folder / f"{stem}-{number}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            folder.rmdir()


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, in order, whole or not."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


class RunFolder:
    """The folder of one run; nothing is made before ``create``."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config, self.output = self.path / "config.json", self.path / "output.png"
        self.metrics, self.progress = self.path / "metrics.jsonl", self.path / "progress.json"

    @property
    def checkpoints(self) -> Path:
        """Where its states lie."""
        return self._home() / "checkpoints"

    def _home(self) -> Path:
        """Where its checkpoints and its lock lie: those of a sweep's member with its group's."""
        try:
            return self.path / json.loads(self.config.read_text(encoding="utf-8"))["sweep"]["group"]
        except (OSError, ValueError, TypeError, KeyError):
            return self.path

    def check_new(self) -> None:
        """That a run can begin here.

        Raises:
            UserError: it holds a run already, is no folder, or cannot be written.
        """
        if self.config.exists() or self.checkpoints.exists():
            raise UserError(
                f"{self.path} already holds a run: go on with it by nstjax resume {self.path}, or choose another --out"
            )
        there = {it.name for it in self.path.iterdir()} if self.path.is_dir() else set()
        if other := there - {".lock", "inputs"}:  # which a run leaves that was killed as it began
            raise UserError(f"{self.path} is not empty ({min(other)} is in it): choose another --out")
        existing = next(it for it in (self.path, *self.path.absolute().parents) if it.exists())
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError as error:
            raise UserError(
                f"cannot write into the folder {self.path}: {error.strerror}; choose another --out"
            ) from None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder while this process lives; it is freed by whatever ends the process.

        Raises:
            UserError: another living process holds it.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        with writing(Path(lock.lock_file)):
            try:
                # A moment's patience: ``is_held`` holds it for a moment, too.
                lock.acquire(timeout=1)
            except filelock.Timeout:
                mend = "wait until it has ended, or stop it"
                raise UserError(f"another process is at work in {self.path}: {mend}") from None
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Whether a living process holds the folder."""
        lock = self._lock()
        if not Path(lock.lock_file).exists():
            return False
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return True
        except OSError:
            return False  # nobody writes where nobody can
        lock.release()
        return False

    def _lock(self) -> filelock.BaseFileLock:
        return filelock.FileLock(self._home() / ".lock")

    def create(
        self, run: RunRecord, inputs: Inputs, *, weights: Weights | None = None, experiment: str | None = None
    ) -> None:
        """Write all that a run is given, and its record last: a folder without one holds no run.

        Args:
            run: its record.
            inputs: its prepared pictures.
            weights: where no file outside holds them.
            experiment: the text of its experiment's file.
        """
        folder = self.path / "inputs"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, array in inputs.pictures().items():
                with whole_file(folder / f"{name}.npy") as file:
                    np.save(file, array)
            if weights is not None:
                write_weights(self.weights, weights)
            if experiment is not None:
                with whole_file(folder / "experiment.py") as file:
                    file.write(experiment.encode())
        self.write_record(run)

    def discard(self) -> None:
        """Take back what ``create`` has written."""
        self.config.unlink()
        shutil.rmtree(self.path / "inputs")
        (self.path / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    @property
    def weights(self) -> Path:
        """Where the weights lie that no file outside holds."""
        return self.path / "inputs" / "weights.safetensors"

    def write_record(self, run: RunRecord) -> None:
        """Write ``config.json``."""
        with writing(self.config), whole_file(self.config) as file:
            file.write(json.dumps(run, indent=2).encode() + b"\n")

    def read_record(self) -> RunRecord:
        """The run's record.

        Raises:
            UserError: there is no run here, or its record cannot be obeyed.
        """
        if not self.config.exists():
            raise UserError(f"no run in {self.path}: expected a folder that nstjax run has made")
        return record.read(self.config)

    def read_inputs(self, run: RunRecord) -> Inputs:
        """The pictures that the run was given.

        Raises:
            UserError: one is missing, or is not the one that the record names.
        """
        arrays: dict[str, np.ndarray] = {}
        recorded = dict(run["pictures"])
        names = recorded.pop("names")
        for name, expected in recorded.items():
            path = self.path / "inputs" / f"{name}.npy"
            try:
                arrays[name] = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise UserError(f"cannot read {path}, which the run needs to go on: {error}") from None
            if hashlib.sha256(arrays[name].tobytes()).hexdigest() != expected["sha256"]:
                raise UserError(f"{path} is not the picture that the run began with: put that one back")
        return from_pictures(arrays, names)

    def read_experiment(self, run: RunRecord) -> Experiment:
        """The experiment of the run, from the copy of its file.

        Raises:
            UserError: there is none, or it was changed.
        """
        path, expected = self.path / "inputs" / "experiment.py", run["experiment"]
        if expected["sha256"] is None:
            raise UserError(
                f"the terms of {self.path} were made in Python: go on there, by nstjax.resume(folder, experiment=…)"
            )
        experiment = load(path)
        if experiment.sha256 != expected["sha256"]:
            raise UserError(f"{path} was changed after the run began: undo the change, or begin a new run with it")
        return experiment

    def log(self, line: Mapping[str, float]) -> None:
        """Append a line to the metrics."""
        with writing(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(_json_line(line))

    def read_log(self) -> list[Record]:
        """The logged steps; a loss that was not a number is NaN."""
        try:
            lines = self.metrics.read_text(encoding="utf-8").split("\n")[:-1]
            parsed = [_parsed(line) for line in lines]
        except FileNotFoundError:
            return []
        except ValueError as error:
            mend = "mend it, or remove the file, which loses the curves"
            raise Failure(f"{self.metrics} has a line that is no logged step ({error}): {mend}") from None
        return [*{line["step"]: line for line in parsed}.values()]

    def rewind_log(self, step: int) -> list[Record]:
        """Drop the lines of this step and later ones; returns those that stay."""
        kept = [line for line in self.read_log() if line["step"] < step]
        with writing(self.metrics), whole_file(self.metrics) as file:
            file.writelines(_json_line(line).encode() for line in kept)
        return kept

    def secure_log(self) -> None:
        """Return once the metrics are on the disk, so that no checkpoint outlives lines from before it."""
        if self.metrics.exists():
            with writing(self.metrics), self.metrics.open("rb") as file:
                os.fsync(file.fileno())

    def write_snapshot(self, step: int, picture: np.ndarray) -> None:
        """The picture after some steps."""
        path = self.path / "snapshots" / f"{step:06d}.png"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            images.save(path, picture)

    def snapshots(self) -> dict[int, Path]:
        """{step: file} of the pictures kept so far."""
        paths = (self.path / "snapshots").glob("[0-9]*.png")
        return dict(sorted((int(path.stem), path) for path in paths))

    def write_progress(self, line: Mapping[str, float]) -> None:
        """Say how far the run is."""
        with writing(self.progress), whole_file(self.progress) as file:
            file.write(_json_line(line).encode())

    def read_progress(self) -> Record | None:
        """What was said last of how far the run is; None where nothing was."""
        try:
            return _parsed(self.progress.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def sweep(self) -> None:
        """Remove the files that a killed process was writing."""
        for folder in (self.path, self.path / "inputs", self.path / "snapshots"):
            for path in folder.glob(".*.part"):
                path.unlink()


def _parsed(line: str) -> Record:
    values = json.loads(line)
    if not isinstance(values, dict) or "step" not in values:
        raise ValueError("it has no step")
    return {name: math.nan if it is None else it for name, it in values.items()}


def _json_line(values: Mapping[str, float]) -> str:
    # JSON has no NaN: a loss that is not a number is null.
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps(finite) + "\n"
