"""Folders of runs and of sweeps: ``resume``, ``status`` and ``report``, as the command line has them.

Only ``resume`` imports JAX.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nstjax import reports
from nstjax.arguments import to_text
from nstjax.callbacks import Listener, to_listener
from nstjax.errors import UserError
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import Status, read_status, read_sweep_status
from nstjax.storage.sweep_folder import SweepFolder
from nstjax.system.processes import parse_part

if TYPE_CHECKING:
    from nstjax.experiment.experiment import Experiment
    from nstjax.runs.result import Result
    from nstjax.sweeps.sweep import SweepResult


def resume(
    path: str | os.PathLike[str],
    *,
    steps: int | None = None,
    experiment: "Experiment | None" = None,
    part: str | None = None,
    listener: Listener | None = None,
) -> "Result | SweepResult":
    """Continue a run or a sweep from its newest checkpoints, as if it had not been stopped.

    Args:
        path: its folder; that of a sweep's member makes a single run of the member first.
        steps: extends the run, or every member, to this number of steps in all.
        experiment: supplies the terms if they were made in Python. Terms from a file are read from the folder.
        part: "I/N", the part of a sweep's groups that this process continues; None for all.
        listener: told of progress; can stop the run.

    Raises:
        UserError: there is neither, another process works on it, or something that it needs is missing or was changed.
        Diverged: the loss of the run diverged.
        Failure: all checkpoints are damaged, or a file could not be written.
    """
    from nstjax.runs import stylize
    from nstjax.sweeps import sweep

    if SweepFolder(to_text("path", path)).exists():
        return sweep.resume(path, steps=steps, experiment=experiment, part=part, listener=listener)
    if parse_part(part).count > 1:
        raise UserError(f"part divides the members of a sweep, but {path} holds no sweep: leave it out")
    return stylize.resume(path, steps=steps, experiment=experiment, listener=listener)


def status(path: str | os.PathLike[str]) -> Status | dict[str, Status | str | None]:
    """Return how far a run is; of a sweep, {member: how far it is}.

    A member that has not started has None instead, and a damaged one a line that says what is wrong.

    Raises:
        UserError: there is neither a run nor a sweep.
    """
    sweep = SweepFolder(to_text("path", path))
    if sweep.exists():
        return dict(zip(sweep.read_plan().member_names(), read_sweep_status(sweep), strict=True))
    return read_status(RunFolder(sweep.path))


def report(path: str | os.PathLike[str], *, listener: Listener | None = None) -> Path:
    """Draw the pictures and the page of a run or a sweep, finished or not, and return the path of the page.

    Raises:
        UserError: there is neither a run nor a sweep.
        Failure: a file could not be written.
    """
    sweep, listener = SweepFolder(to_text("path", path)), to_listener(listener)
    if sweep.exists():
        return reports.write_sweep(sweep, listener.warning)
    return reports.write(RunFolder(sweep.path), listener.warning)
