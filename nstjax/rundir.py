"""A run's folder: ``config.json``, ``inputs/``, ``metrics.jsonl``, ``snapshots/`` and ``output.png``.

Every file in it appears whole or not at all, but for the lines of the metrics, each of which is written at once.
"""

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nstjax import images
from nstjax.atomic import whole_file
from nstjax.errors import UserError
from nstjax.weights import Weights
from nstjax.weights import write as write_weights


def free_name(folder: Path, stem: str) -> Path:
    """``folder/stem-N`` with the first N from 1 that is not taken."""
    number = 1
    while (path := folder / f"{stem}-{number}").exists():
        number += 1
    return path


class RunFolder:
    """The folder of one run.

    Args:
        path: of the folder; nothing is made before ``create``.

    Raises:
        UserError: it holds a run already, is no folder, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if (self.path / "config.json").exists():
            raise UserError(f"{self.path} already holds a run: choose another --out, or remove it")
        existing = next(it for it in (self.path, *self.path.absolute().parents) if it.exists())
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError as error:
            raise UserError(
                f"cannot write into the folder {self.path}: {error.strerror}; choose another --out"
            ) from None

    def create(self) -> None:
        """Make the folder, with its parents."""
        (self.path / "inputs").mkdir(parents=True, exist_ok=True)

    @property
    def output(self) -> Path:
        """Where the result lies."""
        return self.path / "output.png"

    def write_config(self, record: dict[str, Any]) -> None:
        """The resolved configuration, before step 0."""
        with whole_file(self.path / "config.json") as file:
            file.write(json.dumps(record, indent=2).encode() + b"\n")

    def write_inputs(
        self, pictures: dict[str, np.ndarray], *, weights: Weights | None = None, experiment: str | None = None
    ) -> None:
        """All that a run was given: its prepared pictures, weights that no file holds, its experiment's text."""
        folder = self.path / "inputs"
        for name, array in pictures.items():
            with whole_file(folder / f"{name}.npy") as file:
                np.save(file, array)
        if weights is not None:
            write_weights(folder / "weights.safetensors", weights)
        if experiment is not None:
            with whole_file(folder / "experiment.py") as file:
                file.write(experiment.encode())

    def log(self, record: Mapping[str, float]) -> None:
        """Append a line to the metrics."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            # JSON has no NaN: a loss that is not a number is null.
            finite = {name: value if math.isfinite(value) else None for name, value in record.items()}
            file.write(json.dumps(finite) + "\n")

    def write_snapshot(self, step: int, picture: np.ndarray) -> None:
        """The picture after some steps."""
        (self.path / "snapshots").mkdir(exist_ok=True)
        images.save(self.path / "snapshots" / f"{step:06d}.png", picture)

    def snapshots(self) -> dict[int, Path]:
        """{step: file} of the pictures kept so far."""
        return {int(path.stem): path for path in sorted((self.path / "snapshots").glob("[0-9]*.png"))}
