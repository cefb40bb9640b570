"""The report of the run in a folder: its contact sheet, its curves and its page."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nstjax import images
from nstjax.callbacks import LogLine, collect_values
from nstjax.errors import UserError
from nstjax.experiment.inputs import format_title
from nstjax.experiment.record import RunRecord, parse_config
from nstjax.reports.contact_sheet import contact_sheet
from nstjax.reports.curves import curves
from nstjax.reports.pictures import open_picture
from nstjax.reports.run_page import LONG_SIDE, page
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import Status, format_duration, read_status
from nstjax.system.files import write_error_context

_MOST_FRAMES = 40
"""Largest number of snapshots on the page, which embeds the pictures."""


def write_latest(outputs: Sequence[Path], write: Callable[[], Path]) -> Path:
    """Write a report, and again if one of the results in it was written meanwhile.

    A run that ends draws its report last. The report of an earlier state, which another process began before that, must
    not stay in its place.
    """
    while True:
        before = [_identify(path) for path in outputs]
        target = write()
        if [_identify(path) for path in outputs] == before:
            return target


def _identify(path: Path) -> tuple[int, int] | None:
    """Return what changes whenever a file is written; None if there is no file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns


def write(folder: RunFolder, warn: Callable[[str], object]) -> Path:
    """Write the contact sheet, the curves and the page of a run, finished or not.

    Args:
        folder: the folder of the run.
        warn: called with a message for each snapshot that cannot be read and is left out.

    Returns:
        The path of the page.

    Raises:
        UserError: there is no run in the folder.
        NotWritten: a file could not be written.
    """
    return write_latest([folder.output], functools.partial(_write, folder, warn))


def _write(folder: RunFolder, warn: Callable[[str], object]) -> Path:
    run = folder.read_record()
    pictures = folder.read_previews(run, longest=2 * LONG_SIDE)  # the page shrinks them smoothly
    lines, snapshots = folder.read_log(parse_config(run)), keep_readable(folder.list_snapshots(), warn)
    sheet, plot, target = (folder.path / name for name in ("sheet.png", "curves.svg", "report.html"))
    with write_error_context(sheet):
        if snapshots:
            contact_sheet(sheet, snapshots)
    with write_error_context(plot):
        if lines:
            curves(plot, collect_values(lines))
    with write_error_context(target):
        page(
            target,
            title=format_title(run["pictures"]["names"]),
            record=run,
            facts=_list_facts(run, read_status(folder), lines),
            content=pictures.pop("content"),
            regions=pictures.pop("regions", None),
            styles=[*pictures.values()],
            result=_read_result(folder),
            snapshots={step: snapshots[step] for step in _choose_steps([*snapshots])},
            curves=plot.read_text(encoding="utf-8") if lines else None,
        )
    return target


def _list_facts(run: RunRecord, status: Status, lines: list[LogLine]) -> dict[str, str]:
    facts = {"steps": f"{status.step:,} of {status.steps:,}"}
    if status.diverged:
        facts["steps"] += ", then the loss diverged"
    # The status was read after the lines: a run that was resumed from its start meanwhile has none.
    if lines and status.losses and status.seconds_per_step is not None:
        facts["loss"] = f"{status.losses['total']:.5g}"
        facts["time"] = format_duration(lines[-1]["wall_seconds"])
        facts["speed"] = f"{status.seconds_per_step:.3g} s a step"
    return facts | {
        "experiment": run["experiment"]["name"],
        "weights": ", ".join(run["weights"][key] for key in ("network", "flavour") if key in run["weights"]),
        "device": run["device"]["kind"],
    }


def _read_result(folder: RunFolder) -> Image.Image | None:
    try:
        return open_picture(folder.output)
    except UserError:
        return None  # the picture is written when the run is finished or stopped


def keep_readable(pictures: dict[int, Path], warn: Callable[[str], object]) -> dict[int, Path]:
    """Return those of some picture files that can be read."""
    readable = {}
    for number, path in pictures.items():
        try:
            with images.open_image(path) as picture:
                picture.load()
            readable[number] = path
        except UserError as error:
            warn(f"the picture {path} is left out: {error}")
    return readable


def _choose_steps(steps: list[int]) -> list[int]:
    """Choose steps for the page, evenly spaced, including the first and the last."""
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), _MOST_FRAMES)).round().astype(int)
    return [steps[index] for index in chosen]
