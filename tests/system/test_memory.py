"""What is freed stays with the process, until it is given back."""

import os
import subprocess
import sys

import pytest

from nstjax.system import memory

CODE = """
import os
from nstjax import allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

did = allocator.keep_freed_memory()
before = resident()
buffer = bytearray(b"x") * 2**24
del buffer
after = resident()
allocator.give_back()
print(did, after - before > 14, resident() - before < 4)
"""

glibc = pytest.mark.skipif(not memory._is_glibc(), reason="the C library is not glibc")


def told(**environment):
    ours = {name: it for name, it in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**ours, **environment}).stdout


@glibc
def test_a_freed_buffer_stays_resident_until_it_is_given_back():
    assert told() == "True True True\n"


@glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_user_has_tuned_stays(name):
    assert told(**{name: "glibc.malloc.arena_max=4" if name == "GLIBC_TUNABLES" else "4"}) == "False False True\n"


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(os, "confstr", lambda name: None, raising=False)
    assert not memory.keep_freed_memory()
    memory.give_back()
