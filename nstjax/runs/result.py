"""The result of a run."""

import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nstjax import images, optimise
from nstjax.callbacks import LogLine, collect_values
from nstjax.experiment.inputs import Inputs, restore_colours
from nstjax.experiment.record import RunRecord, count_steps
from nstjax.experiment.resolve import Resolved
from nstjax.optimise import Method, State
from nstjax.storage.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a run.

    Args:
        picture: float32 [H, W, 3], sRGB, in [0, 1].
        alpha: [H, W], the content's transparency; None if it had none.
        metrics: {"step": [n], "total": [n], term: [n], …} of the logged steps: the values at the picture after
            that number of steps. Terms are before their weights, NaN where they take no part; the total is the
            weighted sum.
        steps: number of steps made; fewer than asked for if the listener stopped the run.
        diverged: whether the loss diverged at that step.
        record: the resolved configuration, as in ``config.json``.
        folder: the folder of the run; None if nothing was written.
    """

    picture: np.ndarray = field(repr=False)
    alpha: np.ndarray | None = field(repr=False)
    metrics: dict[str, np.ndarray] = field(repr=False)
    steps: int
    diverged: bool
    record: dict[str, Any] = field(repr=False)
    folder: Path | None

    @property
    def ended(self) -> bool:
        """True if all steps are made or the loss has diverged."""
        return self.diverged or self.steps == count_steps(self.record)

    def save(self, path: str | os.PathLike[str], *, depth: int | None = None) -> Path:
        """Write the picture as PNG, JPEG, WebP or TIFF, by its extension. A PNG carries the resolved configuration.

        Args:
            path: name of the file.
            depth: bits of each colour, 8 or 16; by default the setting of the run.

        Raises:
            UserError: the extension is unknown or holds no such depth, or the file cannot be written.
        """
        text = {"nstjax": json.dumps(_remove_folders(self.record))}
        bits = self.record["config"]["depth"] if depth is None else depth
        images.save(path, self.picture, alpha=self.alpha, text=text, depth=bits)
        return Path(path)


def _remove_folders(run_record: RunRecord) -> RunRecord:
    """Remove the user's folders from a record, since pictures are published."""
    config = run_record["config"]
    return {**run_record, "config": {**config, "weights": Path(config["weights"]).name}}


def make_result(
    resolved: Resolved,
    inputs: Inputs,
    state: State,
    method: Method,
    log: list[LogLine],
    folder: RunFolder | None,
) -> Result:
    """Make the result of a run from its last state.

    Args:
        resolved: the run.
        inputs: its pictures.
        state: the last state.
        method: the method at the size of that state.
        log: the logged lines.
        folder: the folder of the run, if it has one.
    """
    picture = restore_colours(np.asarray(optimise.picture(state, method=method)), inputs, resolved.config)
    resample = functools.partial(images.resample, resampling=resolved.config.resampling)
    return Result(
        picture=picture,
        alpha=None if inputs.alpha is None else resample(inputs.alpha, *picture.shape[:2]),
        metrics={name: np.array(values) for name, values in collect_values(log).items()},
        steps=int(state.step),
        diverged=bool(state.failed),
        record=resolved.record,
        folder=None if folder is None else folder.path,
    )
