"""TensorBoard's event files of a run."""

from pathlib import Path

import numpy as np

from nstjax.callbacks import TIMES, LogLine
from nstjax.errors import UserError


def check_installed() -> None:
    """Raise if event files cannot be written.

    Raises:
        UserError: tensorboardX is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UserError("--tensorboard needs the tensorboardX package: pip install 'nstjax[tensorboard]'") from None


class Events:
    """Writer of event files.

    Args:
        folder: folder of the event files.
        step: first step to be written; TensorBoard then hides this and later steps of older files.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        # Files are named by the second, and two parts of a run may start within the same one.
        self._writer = SummaryWriter(str(folder), purge_step=step or None, filename_suffix=f".{step}")

    def write_losses(self, line: LogLine) -> None:
        """Write the total, the terms and the speed of a step."""
        for name, value in line.items():
            if name not in TIMES:
                self._writer.add_scalar(f"loss/{name}", value, int(line["step"]))
        self._writer.add_scalar("seconds_per_step", line["seconds_per_step"], int(line["step"]))

    def write_picture(self, step: int, picture: np.ndarray) -> None:
        """Write the picture [H, W, 3] after the given step."""
        self._writer.add_image("picture", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()
