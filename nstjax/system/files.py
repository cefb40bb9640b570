"""Files that appear whole or not at all, and the user's cache folder."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import platformdirs

from nstjax.errors import NotWritten, UserError


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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """An error of the disk says what could not be written.

    Raises:
        NotWritten: in place of the operating system's error.
    """
    try:
        yield
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise NotWritten(f"cannot write {path}: {error.__cause__.strerror}") from error
        raise


def user_cache() -> Path:
    """Return the folder for what can be made again: nstjax/ in ``$XDG_CACHE_HOME``, or what the system has for that."""
    return platformdirs.user_cache_path("nstjax", appauthor=False)
