"""Progress of a run, read from the files of its folder: needs no array library and does not disturb the run."""

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nstjax.callbacks import TIMES, LogLine
from nstjax.errors import Failure, UserError
from nstjax.experiment.record import parse_config
from nstjax.storage.contents import SEAL, checkpoint_steps
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Status:
    """The progress of a run.

    Args:
        step: number of steps made, according to the files.
        steps: number of steps to make in all.
        losses: newest known losses.
        seconds_per_step: recent speed; None before the first step.
        checkpoint: step of the newest checkpoint; None if there is none.
        checkpoint_age: seconds since that checkpoint was written.
        running: whether a living process holds the folder.
        diverged: whether the loss diverged at this step.
    """

    step: int
    steps: int
    losses: LogLine
    seconds_per_step: float | None
    checkpoint: int | None
    checkpoint_age: float | None
    running: bool
    diverged: bool

    @property
    def ended(self) -> bool:
        """True if there is nothing more to do."""
        return self.diverged or self.step == self.steps

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all steps are made, at the present speed."""
        return None if self.seconds_per_step is None else (self.steps - self.step) * self.seconds_per_step


def read_status(folder: RunFolder) -> Status:
    """Return the status of a run.

    Raises:
        UserError: there is no run in the folder.
    """
    config = parse_config(folder.read_record())
    # A log line has the number of steps made before its values, the progress the number of steps made.
    log = folder.read_log(config)
    logged = {**log[-1], "step": log[-1]["step"] + 1} if log else {"step": 0}
    progress = folder.read_progress() or {"step": 0}
    newest = progress if progress.get("failed") or progress["step"] > logged["step"] else logged
    written, checkpoints = {}, folder.checkpoints
    for step in checkpoint_steps(checkpoints):
        with contextlib.suppress(OSError):  # without a seal, or removed meanwhile
            written[step] = (checkpoints / str(step) / SEAL).stat().st_mtime
    checkpoint = max(written, default=None)
    return Status(
        step=int(max(newest["step"], checkpoint or 0)),
        steps=config.total_steps,
        losses={name: value for name, value in newest.items() if name not in (*TIMES, "failed")},
        seconds_per_step=newest.get("seconds_per_step"),
        checkpoint=checkpoint,
        checkpoint_age=None if checkpoint is None else time.time() - written[checkpoint],
        running=folder.is_locked(),
        diverged=bool(newest.get("failed")),
    )


def format_status(status: Status, folder: RunFolder) -> Iterator[str]:
    """Yield the lines that describe a run's status."""
    yield f"step {status.step:,} of {status.steps:,}"
    if status.losses:
        yield "loss " + "  ".join(f"{name} {value:.5g}" for name, value in status.losses.items())
    if status.seconds_per_step is not None:
        yield f"speed {status.seconds_per_step:.3g} s per step"
    if status.checkpoint is None:
        yield "no checkpoint yet"
    else:
        yield f"last checkpoint at step {status.checkpoint:,}, {format_duration(status.checkpoint_age or 0)} ago"
    if status.running:
        left = "" if status.seconds_left is None else f", {format_duration(status.seconds_left)} left"
        yield f"a process is working on it{left}"
    elif status.diverged:
        yield "its loss diverged: start again with a lower learning rate or lower weights"
    elif status.step < status.steps:
        yield f"no process is working on it: nstjax resume {shlex.quote(str(folder.path))}"
    elif folder.output.exists():
        yield f"finished: {folder.output}"
    else:
        yield f"finished, but its picture is missing: nstjax resume {shlex.quote(str(folder.path))} draws it again"


def read_sweep_status(sweep: SweepFolder) -> list[Status | str | None]:
    """Return the status of each member; None for one that has not started, and for a damaged one what is wrong."""
    statuses: list[Status | str | None] = []
    for folder in sweep.member_folders():
        try:
            statuses.append(read_status(folder) if folder.config.exists() else None)
        except (UserError, Failure) as error:
            statuses.append(str(error))
    return statuses


def format_sweep_status(sweep: SweepFolder) -> Iterator[str]:
    """Yield a line for each member of a sweep, and the lines that describe the whole."""
    names, members = sweep.read_plan().member_names(), read_sweep_status(sweep)
    width = max(map(len, names))
    for name, member in zip(names, members, strict=True):
        if not isinstance(member, Status):
            yield f"{name:{width}}  {member or 'not started'}"
            continue
        loss = f"  loss {member.losses['total']:.5g}" if member.losses else ""
        note = "  diverged" if member.diverged else "  running" if member.running else ""
        yield f"{name:{width}}  step {member.step:,} of {member.steps:,}{loss}{note}"
    whole = [member for member in members if isinstance(member, Status)]
    ended = sum(member.ended for member in whole)
    yield f"{ended} of {len(members)} members are finished"
    if ended < len(members) and not any(member.running for member in whole):
        yield f"no process is working on it: nstjax resume {shlex.quote(str(sweep.path))}"


def format_duration(seconds: float) -> str:
    """Return a readable duration: 42 s, 3 min 20 s, 5 h 10 min, 2 d 3 h."""
    seconds = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"
