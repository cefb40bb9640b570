"""TensorBoard's event files of a run.

tensorboardX encodes the events, but does not write them: its writer has a thread that a full disk ends with a
traceback, and then waits for that thread forever.
"""

import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np

from nstjax.callbacks import TIMES, LogLine
from nstjax.errors import UserError
from nstjax.system.files import append, write_error_context


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
    """Writer of an event file.

    Args:
        folder: folder of the event files.
        step: first step to be written; TensorBoard then hides this and later steps of older files.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX.proto.event_pb2 import SessionLog  # type: ignore[attr-defined]

        # The step is in the name, because two parts of a run may start within the same second.
        self._path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{step}"
        with write_error_context(folder):
            folder.mkdir(exist_ok=True)
        first = {"step": step, "session_log": SessionLog(status=SessionLog.START)} if step else {}
        self._write({"file_version": "brain.Event:2"}, *filter(None, [first]))

    def write_losses(self, line: LogLine) -> None:
        """Write the total, the terms and the speed of a step."""
        from tensorboardX.summary import scalar

        values = {f"loss/{name}": value for name, value in line.items() if name not in TIMES}
        values["seconds_per_step"] = line["seconds_per_step"]
        self._write(*({"step": int(line["step"]), "summary": scalar(name, value)} for name, value in values.items()))

    def write_picture(self, step: int, picture: np.ndarray) -> None:
        """Write the picture [H, W, 3] after the given step."""
        from tensorboardX.summary import image

        self._write({"step": step, "summary": image("picture", picture, dataformats="HWC")})

    def _write(self, *events: dict[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

        content = b"".join(_frame(Event(wall_time=time.time(), **event).SerializeToString()) for event in events)
        with write_error_context(self._path):
            append(self._path, content)


def _frame(data: bytes) -> bytes:
    """Return a record of TensorFlow's format: length, checksum of the length, data, checksum of the data."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    from tensorboardX.crc32c import crc32c

    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
