"""Freed memory stays in the process until it is released."""

import os
import subprocess
import sys

import pytest

from nstjax.system import memory

CODE = """
import os
from nstjax.system import memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

kept = memory.keep_freed_memory()
before = resident()
buffer = bytearray(b"x") * 2**24
del buffer
after = resident()
memory.release_freed_memory()
print(kept, after - before > 14, resident() - before < 4)
"""

glibc = pytest.mark.skipif(not memory._is_glibc(), reason="the C library is not glibc")


def run_code(**environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**inherited, **environment}).stdout


@glibc
def test_a_freed_buffer_stays_resident_until_it_is_released():
    assert run_code() == "True True True\n"


@glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_an_allocator_tuned_by_the_user_is_left_alone(name):
    assert run_code(**{name: "glibc.malloc.arena_max=4" if name == "GLIBC_TUNABLES" else "4"}) == "False False True\n"


def test_nothing_is_done_without_glibc(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: None, raising=False)
    assert not memory.keep_freed_memory()
    memory.release_freed_memory()
