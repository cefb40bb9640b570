"""Files that appear whole or not at all, what may be opened, names that every program accepts, and the cache folder."""

import contextlib
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import platformdirs

from nstjax.errors import NotWritten, UserError

NAME_BYTES = 240
"""Largest length in bytes of a derived name; file systems take 255, and a number may follow."""

_OF_THE_SYSTEM = re.compile(
    r"\.DS_Store|\._.*|\.localized|Icon\r|Thumbs\.db|ehthumbs\.db|desktop\.ini|\.directory|\.nfs[0-9a-f]+"
    r"|\.fuse_hidden.*|@eaDir|lost\+found|\.Trash.*|\$RECYCLE\.BIN|System Volume Information|\.Spotlight-V100"
    r"|\.fseventsd|\.TemporaryItems|\.ipynb_checkpoints",
    re.IGNORECASE,
)


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


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that takes its name only once it is complete and on disk, whatever others do meanwhile.

    A run that is resumed removes the temporary files in its folder, since it cannot tell those of a killed process from
    those of one that draws a report of it: the content is then written again.
    """
    path = Path(path)
    while True:
        try:
            with open_atomic(path) as file:
                file.write(content)
            return
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder, which a killed process was writing."""
    for path in folder.glob(".*.part"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def append(path: Path, content: bytes) -> None:
    """Append to a file, which is created if need be; after a failure no part of the content stays."""
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


def check_regular(path: str | os.PathLike[str], expected: str) -> int:
    """Raise unless a file can be opened and read to its end: a device or a pipe may block, or never end.

    Args:
        path: name of the file.
        expected: what it should hold, such as "a picture".

    Returns:
        The size of the file in bytes.

    Raises:
        UserError: there is no such file, it is no regular file, it is empty, or it may not be read.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no file {path} (current folder {Path.cwd()}): expected {expected}; check the name") from None
    except PermissionError:
        raise UserError(f"no permission to read {path}: change its mode or its owner") from None
    except (OSError, ValueError) as error:  # a ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be opened ({reason}): expected {expected}") from None
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{path} is a folder: expected {expected}; give the name of one file")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is a device or a pipe: expected {expected} in a regular file; save it to one first")
    if status.st_size == 0:
        raise UserError(f"{path} is empty (0 bytes): expected {expected}; copy it again from its source")
    return status.st_size


def is_temporary(name: str) -> bool:
    """Return True if ``open_atomic`` gave a file this name, which only a kill leaves behind."""
    return re.fullmatch(r"\.[0-9a-f]{16}\.part", name) is not None


def is_of_the_system(name: str) -> bool:
    """Return True if file browsers, notebooks or operating systems put files of this name into anybody's folders."""
    return _OF_THE_SYSTEM.fullmatch(name) is not None


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Provide a path of plain ASCII letters that leads to a folder, if need be by a temporary link.

    Libraries that access files by patterns or addresses misread brackets, backslashes and colons, and some accept no
    undecodable bytes.

    Args:
        folder: an absolute path.
    """
    if _is_plain(folder):
        yield folder
        return
    place = Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="nstjax-", dir=place if _is_plain(place) else "/tmp") as temporary:
        link = Path(temporary, "folder")
        link.symlink_to(folder, target_is_directory=True)
        yield link


def _is_plain(path: Path) -> bool:
    return re.fullmatch(r"([A-Za-z]:)?[\w/ .,=+-]*", path.as_posix(), re.ASCII) is not None


def join_names(parts: Sequence[str], separator: str) -> str:
    """Join some names into one that any file system takes.

    If there are too many letters, the longest parts are cut, and a digest of the whole keeps the name unique.
    """
    parts = [part.replace("/", "_") for part in parts]
    name = separator.join(parts)
    if _count_bytes(name) <= NAME_BYTES:
        return name
    end = separator + hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    available = NAME_BYTES - _count_bytes(end)
    for share in range(available, 0, -1):
        shortened = separator.join(_cut(part, share) for part in parts)
        if _count_bytes(shortened) <= available:
            return shortened + end
    return _cut(name, available) + end


def _cut(text: str, size: int) -> str:
    """Return as many whole characters from the start as fit into a number of bytes."""
    while _count_bytes(text) > size:
        text = text[:-1]
    return text


def _count_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def check_length(path: str | os.PathLike[str], *, deepest: int = 0) -> None:
    """Raise if the file system takes no path of this length.

    Args:
        path: the file or the folder to be written.
        deepest: bytes by which the paths of files in the folder are longer.

    Raises:
        UserError: the path is too long, or one of its names.
    """
    absolute = Path(path).absolute()
    existing = next(parent for parent in absolute.parents if os.path.exists(parent))
    longest_name = max(len(os.fsencode(name)) for name in absolute.parts)
    for size, limit, part in (
        (longest_name, _get_limit(existing, "PC_NAME_MAX", 255), "a name in it"),
        (len(os.fsencode(absolute)) + deepest, _get_limit(existing, "PC_PATH_MAX", 4096) - 1, "with its files it"),
    ):
        if size > limit:
            raise UserError(f"the path {path} is too long: {part} has {size} bytes, and {limit} are possible")


def _get_limit(folder: Path, name: str, default: int) -> int:
    try:
        return os.pathconf(folder, name)
    except (AttributeError, OSError, ValueError):
        return default  # Windows, or a file system that does not say


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
    try:
        path = platformdirs.user_cache_path("nstjax", appauthor=False)
    except RuntimeError:  # older versions of platformdirs return a path that begins with ~
        path = Path("~")
    # A user without a home folder, as in some containers: a folder that can never exist, so that nothing is kept.
    return Path(os.devnull, "no-home-folder") if path.parts[0] == "~" else path
