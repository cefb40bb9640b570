"""Locks of folders that a process works in, released however it ends; some file systems have none."""

import contextlib
import errno
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Numbers of the errors by which a file system says that it has no locks."""


@contextlib.contextmanager
def hold_lock(path: Path, warn: Callable[[str], object], *, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of a file; if its file system has no locks, warn and go on without.

    Args:
        path: the file, which is created.
        warn: called with one line if there are no locks.
        timeout: seconds to wait for another process that holds the lock; negative to wait for as long as it takes.

    Raises:
        filelock.Timeout: another process still holds the lock.
    """
    lock = filelock.FileLock(path)
    try:
        _acquire(lock, timeout)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        warn(f"the file system of {path.parent} has no locks: let no other process work in this folder")
    try:
        yield
    finally:
        lock.release()


def is_lock_held(path: Path) -> bool:
    """Return True if a living process holds the lock of a file."""
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        _acquire(lock, 0)
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):
        return False  # nobody works in a read-only folder, or there are no locks
    lock.release()
    return False


def _acquire(lock: filelock.BaseFileLock, timeout: float) -> None:
    with warnings.catch_warnings(action="ignore"):  # of two lines, where a file takes the place of a missing lock
        lock.acquire(timeout=timeout)
