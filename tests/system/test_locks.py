import errno
import os
from pathlib import Path

import filelock
import pytest

from nstjax.system.locks import hold_lock, is_lock_held


def test_a_lock_is_held_until_the_end_of_its_block(tmp_path):
    path = tmp_path / ".lock"
    assert not is_lock_held(path)
    with hold_lock(path, pytest.fail):
        assert is_lock_held(path)
        with pytest.raises(filelock.Timeout), hold_lock(path, pytest.fail, timeout=0):
            pass
    assert not is_lock_held(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_costs_at_most_a_warning(tmp_path, monkeypatch, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", fail)
    warnings, entered = [], False
    with hold_lock(tmp_path / ".lock", warnings.append):
        entered = True
    assert entered and not is_lock_held(tmp_path / ".lock")
    # For ENOSYS a file takes the place of the lock.
    line = f"the file system of {tmp_path} has no locks: let no other process work in this folder"
    assert warnings == [line] or (number == errno.ENOSYS and not warnings)


def test_other_errors_of_a_lock_are_raised(tmp_path):
    Path(tmp_path, "file").touch()
    with pytest.raises(OSError), hold_lock(tmp_path / "file" / ".lock", pytest.fail):
        pass
