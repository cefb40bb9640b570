"""Files that appear whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file, open for writing, that takes its name only once it is written and on the disk.

    Until then, and after any failure, what stood under the name stands there still.

    Args:
        path: where it shall lie; the folder must exist.
    """
    path = Path(path)
    # In the same folder, for a rename within one file system, and short, since the real name may be a long one.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
