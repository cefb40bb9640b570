"""What is drawn of the run of a folder: its sheet, its curves, its page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from nstjax import images
from nstjax.callbacks import Record
from nstjax.errors import UserError
from nstjax.experiment.record import RunRecord
from nstjax.report.contact_sheet import contact_sheet
from nstjax.report.curves import curves
from nstjax.report.run_page import page
from nstjax.storage import status
from nstjax.storage.run_folder import RunFolder
from nstjax.storage.status import Status, duration
from nstjax.system.files import writing

_MOST_FRAMES = 40
"""On the page, of the snapshots: it holds the pictures themselves."""


def write(folder: RunFolder, warn: Callable[[str], object]) -> Path:
    """Draw the sheet, the curves and the page of a run, finished or not.

    Args:
        folder: of the run.
        warn: told of snapshots that cannot be read and are left out.

    Returns:
        The page.

    Raises:
        UserError: there is no run in the folder.
        NotWritten: one of them could not be written.
    """
    run = folder.read_record()
    inputs = folder.read_inputs(run)
    lines, snapshots = folder.read_log(), _readable(folder.snapshots(), warn)
    sheet, plot, target = (folder.path / name for name in ("sheet.png", "curves.svg", "report.html"))
    with writing(sheet):
        if snapshots:
            contact_sheet(sheet, snapshots)
    with writing(plot):
        if lines:
            curves(plot, {name: [line[name] for line in lines] for name in lines[0]})
    with writing(target):
        page(
            target,
            title=inputs.title,
            record=run,
            facts=_facts(run, status.of(folder), lines),
            content=inputs.content,
            styles=inputs.styles,
            regions=inputs.regions,
            result=_result(folder),
            snapshots={step: snapshots[step] for step in _spread([*snapshots])},
            curves=plot.read_text(encoding="utf-8") if lines else None,
        )
    return target


def _facts(run: RunRecord, now: Status, lines: list[Record]) -> dict[str, str]:
    facts = {"steps": f"{now.step:,} of {now.steps:,}"}
    if now.diverged:
        facts["steps"] += ", then the loss diverged"
    if lines:
        facts["loss"] = f"{now.losses['total']:.5g}"
        facts["time"] = duration(lines[-1]["wall_seconds"])
        facts["speed"] = f"{now.seconds_per_step:.3g} s a step"
    return facts | {
        "experiment": run["experiment"]["name"],
        "weights": run["weights"]["flavour"],
        "device": run["device"]["kind"],
    }


def _result(folder: RunFolder) -> np.ndarray | None:
    try:
        picture = images.read(folder.output)
    except UserError:
        return None  # there is none before the run is finished or stopped
    return picture.rgb if picture.alpha is None else np.dstack([picture.rgb, picture.alpha])


def _readable(snapshots: dict[int, Path], warn: Callable[[str], object]) -> dict[int, Path]:
    found = {}
    for step, path in snapshots.items():
        try:
            with Image.open(path) as picture:
                picture.load()
            found[step] = path
        except OSError as error:
            warn(f"the snapshot {path} is left out: {error}")
    return found


def _spread(steps: list[int]) -> list[int]:
    """So many of them as the page takes, evenly, the first and the last among them."""
    chosen = np.linspace(0, len(steps) - 1, min(len(steps), _MOST_FRAMES)).round().astype(int)
    return [steps[index] for index in chosen]
