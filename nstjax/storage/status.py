"""How far the run of a folder is, read from its files alone: no array library, and nothing is disturbed."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nstjax.callbacks import TIMES, Record
from nstjax.experiment.record import config_of
from nstjax.storage.run_folder import RunFolder, checkpoint_steps
from nstjax.storage.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Args:
        step: made so far, as far as the files say.
        steps: to be made in all.
        losses: the newest known.
        seconds_per_step: lately; None before the first.
        checkpoint: the step of the newest checkpoint; None where there is none.
        checkpoint_age: seconds since it was written.
        held: whether a living process is at work on it.
        diverged: whether its loss left all bounds at this step.
    """

    step: int
    steps: int
    losses: Record
    seconds_per_step: float | None
    checkpoint: int | None
    checkpoint_age: float | None
    held: bool
    diverged: bool

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return self.diverged or self.step == self.steps

    @property
    def seconds_left(self) -> float | None:
        """Until all steps are made, at the present speed."""
        return None if self.seconds_per_step is None else (self.steps - self.step) * self.seconds_per_step


def of(folder: RunFolder) -> Status:
    """The status of a run.

    Raises:
        UserError: there is no run in the folder.
    """
    config = config_of(folder.read_record())
    # A line's step is the one that its values come before; the progress counts the steps made.
    log = folder.read_log()
    logged = {**log[-1], "step": log[-1]["step"] + 1} if log else {"step": 0}
    progress = folder.read_progress() or {"step": 0}
    newest = progress if progress.get("failed") or progress["step"] > logged["step"] else logged
    whole = (it for it in checkpoint_steps(folder.checkpoints) if (folder.checkpoints / str(it) / "seal.json").exists())
    checkpoint = max(whole, default=None)
    age = None if checkpoint is None else time.time() - (folder.checkpoints / str(checkpoint)).stat().st_mtime
    return Status(
        step=int(max(newest["step"], checkpoint or 0)),
        steps=config.steps,
        losses={name: value for name, value in newest.items() if name not in (*TIMES, "failed")},
        seconds_per_step=newest.get("seconds_per_step"),
        checkpoint=checkpoint,
        checkpoint_age=age,
        held=folder.is_held(),
        diverged=bool(newest.get("failed")),
    )


def lines(status: Status, folder: RunFolder) -> Iterator[str]:
    """The status for people."""
    yield f"step {status.step:,} of {status.steps:,}"
    if status.losses:
        yield "loss " + "  ".join(f"{name} {value:.5g}" for name, value in status.losses.items())
    if status.seconds_per_step is not None:
        yield f"speed {status.seconds_per_step:.3g} s a step"
    if status.checkpoint is None:
        yield "no checkpoint yet"
    else:
        yield f"last checkpoint at step {status.checkpoint:,}, {duration(status.checkpoint_age or 0)} ago"
    if status.held:
        left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
        yield f"a process is at work on it{left}"
    elif status.diverged:
        yield "its loss diverged: begin again with a lower learning rate or lower weights"
    elif status.step < status.steps:
        yield f"no process is at work on it: nstjax resume {shlex.quote(str(folder.path))}"
    elif folder.output.exists():
        yield f"finished: {folder.output}"
    else:
        yield f"finished, but its picture is gone: nstjax resume {shlex.quote(str(folder.path))} draws it again"


def of_sweep(sweep: SweepFolder) -> list[Status | None]:
    """The status of each member; None of one that was not begun."""
    return [of(home) if home.config.exists() else None for home in sweep.members()]


def sweep_lines(sweep: SweepFolder) -> Iterator[str]:
    """The status of a sweep for people: of each member a line, and then of the whole."""
    names, found = sweep.read().names(), of_sweep(sweep)
    width = max(map(len, names))
    for name, it in zip(names, found, strict=True):
        if it is None:
            yield f"{name:{width}}  not begun"
            continue
        loss = f"  loss {it.losses['total']:.5g}" if it.losses else ""
        note = "  diverged" if it.diverged else "  in work" if it.held else ""
        yield f"{name:{width}}  step {it.step:,} of {it.steps:,}{loss}{note}"
    ended = sum(it is not None and it.ended for it in found)
    yield f"{ended} of {len(found)} members are finished"
    if ended < len(found) and not any(it is not None and it.held for it in found):
        yield f"no process is at work on it: nstjax resume {shlex.quote(str(sweep.path))}"


def duration(seconds: float) -> str:
    """A time for people: 42 s, 3 min 20 s, 5 h 10 min, 2 d 3 h."""
    seconds = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"
