"""Standard streams that cannot end a run: what their terminal, pipe or disk no longer takes is dropped."""

import codecs
import io
import os
import sys
from typing import Any

_ERRORS = "nstjax"
"""Name of the way in which the streams encode what their encoding lacks."""


class _LossyFile(io.RawIOBase):
    """An unbuffered file that drops what it cannot write.

    Args:
        file: the unbuffered file of a standard stream.
    """

    def __init__(self, file: Any):
        self._file = file

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, data: Any) -> int:
        try:
            written = self._file.write(data)
        except OSError:
            written = None
        # None: the reader is behind, and whoever made the pipe has forbidden to wait.
        return memoryview(data).nbytes if written is None else written


def protect_streams() -> None:
    """Replace stdout and stderr by streams that drop what they cannot write, and show any character in some form.

    Call it before other modules keep these streams.
    """
    # The next file opened gets the number of a closed stream, and XLA would write its messages into that file.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error(_ERRORS, _encode_any)
    for name in ("stdout", "stderr"):
        setattr(sys, name, _protect(getattr(sys, name)))


def _protect(stream: Any) -> io.TextIOWrapper:
    """Return a stream that writes to the same place as `stream`; None if that was closed before Python started."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    stream.flush()
    # Without a buffer (python -u), the binary file is the unbuffered one, and must not get a buffer here.
    file = _LossyFile(getattr(stream.buffer, "raw", stream.buffer))
    return io.TextIOWrapper(
        file if stream.write_through else io.BufferedWriter(file),  # pyright: ignore[reportArgumentType]
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _encode_any(error: UnicodeError) -> tuple[bytes, int]:
    """Encode what a stream's encoding lacks: undecodable bytes of a file's name as they are, letters as escapes."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else letter.encode("ascii", "backslashreplace")
        for letter in letters
    ), error.end
