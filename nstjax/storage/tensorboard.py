"""TensorBoard's event files of a run."""

from pathlib import Path

import numpy as np

from nstjax.callbacks import TIMES, Record
from nstjax.errors import UserError


def require() -> None:
    """That event files can be written.

    Raises:
        UserError: the library is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UserError("--tensorboard needs the tensorboardX package: pip install 'nstjax[tensorboard]'") from None


class Events:
    """Writes event files.

    Args:
        folder: to write them into.
        step: from which the run goes on; TensorBoard hides what older files have of it and later ones.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        # Files are named by the second, and two parts of a run may begin within one.
        self._writer = SummaryWriter(str(folder), purge_step=step or None, filename_suffix=f".{step}")

    def losses(self, line: Record) -> None:
        """The total, the terms and the speed of a step."""
        for name, value in line.items():
            if name not in TIMES:
                self._writer.add_scalar(f"loss/{name}", value, int(line["step"]))
        self._writer.add_scalar("seconds_per_step", line["seconds_per_step"], int(line["step"]))

    def picture(self, step: int, picture: np.ndarray) -> None:
        """The picture [H, W, 3] after some steps."""
        self._writer.add_image("picture", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still to be written."""
        self._writer.close()
