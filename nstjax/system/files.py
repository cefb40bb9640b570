"""Files that appear whole or not at all, and the user's cache folder."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import platformdirs

from nstjax.errors import NotWritten, UserError


@contextlib.contextmanager
def open_atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only once it is complete and on disk.

    Until then, and after any failure, an existing file of that name stays as it is.

    Args:
        path: name of the finished file; its folder must exist.
    """
    path = Path(path)
    # In the same folder, so that the rename stays within one file system. A short name, since the real one may be long.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Return True if ``open_atomic`` gave a file this name, which only a kill leaves behind."""
    return re.fullmatch(r"\.[0-9a-f]{16}\.part", name) is not None


@contextlib.contextmanager
def write_error_context(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into one that names the file.

    Raises:
        NotWritten: replaces an ``OSError``, or a ``UserError`` caused by one.
    """
    try:
        yield
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise NotWritten(f"cannot write {path}: {error.__cause__.strerror}") from error
        raise


def user_cache_path() -> Path:
    """Return the folder for reproducible data: nstjax/ in ``$XDG_CACHE_HOME`` or in the system's cache folder."""
    return platformdirs.user_cache_path("nstjax", appauthor=False)
