"""Compiled programs that one process leaves to the next: JAX's persistent compilation cache, and where it lies.

A program from the cache computes the same bytes as one that is compiled anew, since its file's name tells JAX all that
it was compiled from, but for two things that JAX leaves out and the folder's name has in it. One is the processor:
homes are shared between machines, and code for AVX-512 ends a process on a machine that has none. The other is the
number of cores that a process may use, among which XLA divides its loops, and with them the order in which it adds up.

Whoever can write to the folder can have this process run what he likes, so it is its owner's alone.
"""

import contextlib
import hashlib
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock

from nstjax.system import devices
from nstjax.system.files import user_cache

NONE = "none"
"""In place of a folder: no cache."""

_SETTINGS = {
    # Nearly all of the time goes into the few programs that take longer. Of the others there are dozens for every size
    # of a picture, and JAX looks at all files whenever it adds one.
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    # XLA's own caches would put the folder's path into what a program is known by.
    "jax_persistent_cache_enable_xla_caches": "none",
    # Of a folder. Beyond that the programs go that were not used for longest. With a bound JAX locks the folder, too,
    # so that several processes may use it.
    "jax_compilation_cache_max_size": 2 << 30,
}

_LOCK_SECONDS = 10.0

_TROUBLE = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.*?)': (.*)", re.DOTALL)


def folder(place: str | os.PathLike[str] | None) -> Path:
    """Where the programs for this machine lie: PLACE/JAXLIB-MACHINE.

    Args:
        place: None for the user's cache, beside the weights.
    """
    root = user_cache() / "xla" if place is None else Path(place)
    return root / f"{metadata.version('jaxlib')}-{_machine()}"


@contextlib.contextmanager
def cached(place: str | os.PathLike[str] | None, warn: Callable[[str], object]) -> Iterator[None]:
    """Meanwhile, programs that JAX compiles are kept on the disk, and those found there are not compiled.

    To be entered once in a process, and before the first program that matters, since JAX opens one cache and stays with
    it. Whatever is wrong with the cache costs a compilation, and stops nothing.

    Args:
        place: see ``folder``; "none" for no cache. With None, what JAX's own variables JAX_COMPILATION_CACHE_DIR and
            JAX_ENABLE_COMPILATION_CACHE say comes first; its other variables always do.
        warn: told in one line what is wrong with the cache: at most once that it cannot be read, or not written.
    """
    if place == NONE:
        jax.config.update("jax_enable_compilation_cache", False)
    ours = place is not None or "JAX_COMPILATION_CACHE_DIR" not in os.environ
    if not ours or not jax.config.values["jax_enable_compilation_cache"]:
        yield
        return
    path = folder(place)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            _sweep(path)
    except (OSError, NotImplementedError) as error:  # the latter where the file system knows no locks
        reason = getattr(error, "strerror", None) or error
        warn(f"compiled programs are not kept: cannot write {path} ({reason}); --compilation-cache DIR|none")
        yield
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    for name, value in _SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    with _mending(path, warn):
        yield


def _machine() -> str:
    """A digest of what of this machine XLA compiles for."""
    # As XLA counts them: those that taskset or Slurm leave to this process, or what these variables say.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = [os.environ.get(name) for name in ("NPROC", "PJRT_NPROC")]
    known = [devices.processor(), _features(), cores, said]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:12]


def _features() -> list[str]:
    """The instructions that the processor has; where that cannot be read, the machine's name stands for them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []  # not on Linux
    # As x86 and as ARM have it; a set, since not all cores need be alike.
    found = {line for line in lines if re.match(r"(flags|Features|CPU (implementer|variant|part))\s*:", line)}
    return sorted(found) or [platform.node()]


def _locked(path: Path) -> FileLock:
    """JAX's own lock of the folder."""
    return FileLock(path / ".lockfile", timeout=_LOCK_SECONDS)


def _sweep(path: Path) -> None:
    """Remove what a process that was killed, or a full disk, left half-written.

    JAX writes a program, then its time; a program without one would keep it from ever writing another.
    """
    for program in path.glob("*-cache"):
        time = program.with_name(program.name.removesuffix("cache") + "atime")
        if not time.exists() or not program.stat().st_size:
            program.unlink()
            time.unlink(missing_ok=True)


@contextlib.contextmanager
def _mending(path: Path, warn: Callable[[str], object]) -> Iterator[None]:
    """Meanwhile, JAX's warnings about the cache go to ``warn``, and a program that cannot be read is removed.

    JAX compiles it again, but never writes over a file.
    """
    told = set()

    def show(message: Warning | str, *details: Any, **more: Any) -> None:
        trouble = _TROUBLE.match(str(message))
        if trouble is None:
            return shown(message, *details, **more)
        what, program, reason = trouble.groups()
        if what == "reading":
            with contextlib.suppress(OSError), _locked(path):
                for damaged in path.glob(f"{program}-*"):
                    damaged.unlink()
        if what not in told:
            told.add(what)
            does = "is compiled anew" if what == "reading" else "is not kept"
            warn(f"{what} a compiled program in {path} failed ({reason.splitlines()[0]}): it {does}")

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show
        yield
