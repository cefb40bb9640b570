"""Folders for new runs and sweeps: their names, and the checks that one can begin there."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from nstjax.errors import UserError
from nstjax.storage.contents import is_input
from nstjax.system.files import check_length, is_of_the_system, is_temporary, join_names

_DEEPEST = 400
"""Bytes by which the path of a file in the folder of a run or a sweep is longer than the folder's, at most."""


@contextlib.contextmanager
def create_numbered_folder(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Create the folder ``folder/NAME-NAME-N`` with the first free N from 1; remove it if it is empty at the end."""
    stem, existed = join_names(names, "-"), folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = folder / f"{stem}-{number}"
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another folder with --out") from None
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            if not existed:
                folder.rmdir()


def check_empty(folder: Path, *, known: Container[str] = ()) -> None:
    """Raise if something that is not known cannot or must not be written into a folder.

    What a run that was killed as it started has left does not count, nor what the system puts into folders.

    Args:
        folder: the folder, which need not exist.
        known: names of files that may be in it.

    Raises:
        UserError: the path is too long, other files are in the folder, or it cannot be written.
    """
    check_length(folder, deepest=_DEEPEST)
    names = set(os.listdir(folder)) if folder.is_dir() else set()
    started = {".lock"}
    # The lock says that a run began here, and that these are not inputs that the user keeps in a folder of this name.
    if ".lock" in names and (folder / "inputs").is_dir() and all(map(_is_expected, os.listdir(folder / "inputs"))):
        started.add("inputs")
    for name in sorted(names - started):
        if name not in known and not is_temporary(name) and not is_of_the_system(name):
            raise UserError(f"{folder} is not empty ({name} is in it): choose another --out")
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another --out") from None


def _is_expected(name: str) -> bool:
    return is_input(name) or is_temporary(name) or is_of_the_system(name)
