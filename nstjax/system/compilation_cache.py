"""JAX's persistent compilation cache: where it lies, and how a process uses it.

A program from the cache computes the same bytes as a freshly compiled one, because its file name encodes everything it
was compiled from, with two exceptions. JAX leaves both out, so the folder's name includes them. One is the processor:
home folders are shared between machines, and code for AVX-512 crashes on a machine without it. The other is the number
of cores that a process may use: XLA divides its loops among them, and that changes the order of additions.

Anyone who can write to the folder can make this process run any code: only its owner has access, and a folder that
others can write to is not used.
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
from nstjax.system.files import user_cache_path
from nstjax.system.permissions import find_writable_by_others

NONE = "none"
"""Name given instead of a folder to disable the cache."""

_SETTINGS = {
    # Nearly all of the time goes into the few programs that take longer to compile. Each picture size adds dozens of
    # others, and JAX lists all files whenever it adds one.
    "jax_persistent_cache_min_compile_time_secs": 0.1,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    # XLA's own caches would make the folder's path part of a program's key.
    "jax_persistent_cache_enable_xla_caches": "none",
    # Size limit of a folder: beyond it JAX removes the least recently used programs. With a limit JAX also locks the
    # folder, so that several processes can share it.
    "jax_compilation_cache_max_size": 2 << 30,
}

_LOCK_SECONDS = 10.0

_CACHE_ERROR = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.*?)': (.*)", re.DOTALL)


def locate_cache(place: str | os.PathLike[str] | None) -> Path:
    """Return the folder of the programs compiled for this machine: PLACE/JAXLIB-MACHINE.

    Args:
        place: folder of all machines; None for the user's cache, next to the weights.
    """
    root = user_cache_path() / "xla" if place is None else Path(place)
    return root / f"{metadata.version('jaxlib')}-{_machine_digest()}"


@contextlib.contextmanager
def enable_cache(place: str | os.PathLike[str] | None, warn: Callable[[str], object]) -> Iterator[None]:
    """Keep the programs that JAX compiles on disk, and load those that are already there instead of compiling them.

    Enter it once per process, and before the first program that matters, because JAX opens a single cache and keeps
    it. A problem with the cache costs a compilation and never stops a run.

    Args:
        place: see ``locate_cache``; "none" disables the cache. With None, JAX's variables JAX_COMPILATION_CACHE_DIR and
            JAX_ENABLE_COMPILATION_CACHE take precedence; JAX's other variables always do.
        warn: called with one line for a problem: at most once for reading and once for writing.
    """
    if place == NONE:
        jax.config.update("jax_enable_compilation_cache", False)
    if not jax.config.values["jax_enable_compilation_cache"]:
        yield
        return
    external = None if place is not None else os.environ.get("JAX_COMPILATION_CACHE_DIR")
    path = locate_cache(place) if external is None else Path(external)
    advice = "choose another folder with --compilation-cache DIR, or none"
    try:
        danger = _find_danger(path)
        if danger is None and external is None:
            _make_private_folder(path)
            danger = _find_danger(path)  # again, since another may have made it first
            with _lock_folder(path):
                _remove_leftovers(path)
    except (OSError, NotImplementedError) as error:  # the latter if the file system has no locks
        reason = getattr(error, "strerror", None) or error
        warn(f"compiled programs are not kept: cannot write {path} ({reason}); {advice}")
        yield
        return
    if danger is not None:
        jax.config.update("jax_enable_compilation_cache", False)
        warn(f"compiled programs are not kept, since they would be executed and {danger}: {advice}")
    if danger is not None or external is not None:
        yield
        return
    # A link in the path could lead elsewhere by the time that JAX follows it.
    path = path.resolve()
    jax.config.update("jax_compilation_cache_dir", str(path))
    for name, value in _SETTINGS.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    with _handle_cache_errors(path, warn):
        yield


def _find_danger(path: Path) -> str | None:
    """Return a phrase that says how others could put programs into a folder; None if they cannot."""
    if "://" in str(path):
        return None  # remote storage, whose permissions are not the file system's
    try:
        danger = find_writable_by_others(path.resolve())
    except (OSError, RuntimeError):
        return None  # the folder cannot be reached, and is reported when it is opened
    if danger is None and hasattr(os, "getuid"):
        for program in path.glob("*-cache"):
            with contextlib.suppress(FileNotFoundError):
                if program.stat().st_uid not in (0, os.getuid()):
                    return f"{program} belongs to another user"
    return danger


def _make_private_folder(path: Path) -> None:
    """Make a folder, and those that it lies in, for this user alone."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(exist_ok=True)


def _machine_digest() -> str:
    """Return a digest of the parts of this machine that XLA compiles for."""
    # Counted as XLA does: the cores that taskset or Slurm leave to this process, or what these variables say.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    variables = [os.environ.get(name) for name in ("NPROC", "PJRT_NPROC")]
    parts = [devices.processor_name(), _cpu_features(), cores, variables]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _cpu_features() -> list[str]:
    """Return the processor's instruction sets; the machine's name if they cannot be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []  # not on Linux
    # Fields of x86 and of ARM; a set, because the cores may differ.
    features = {line for line in lines if re.match(r"(flags|Features|CPU (implementer|variant|part))\s*:", line)}
    return sorted(features) or [platform.node()]


def _lock_folder(path: Path) -> FileLock:
    """Return JAX's own lock of the folder."""
    return FileLock(path / ".lockfile", timeout=_LOCK_SECONDS)


def _remove_leftovers(path: Path) -> None:
    """Remove half-written files of a killed process or a full disk.

    JAX writes a program and then its access time; a program without one would keep JAX from ever writing another.
    """
    for program in path.glob("*-cache"):
        time = program.with_name(program.name.removesuffix("cache") + "atime")
        if not time.exists() or not program.stat().st_size:
            program.unlink()
            time.unlink(missing_ok=True)


@contextlib.contextmanager
def _handle_cache_errors(path: Path, warn: Callable[[str], object]) -> Iterator[None]:
    """Pass JAX's warnings about the cache to ``warn``, and remove programs that cannot be read.

    JAX compiles such a program again, but never overwrites a file.
    """
    reported = set()

    def show(message: Warning | str, *details: Any, **options: Any) -> None:
        match = _CACHE_ERROR.match(str(message))
        if match is None:
            return show_other(message, *details, **options)
        action, program, reason = match.groups()
        if action == "reading":
            with contextlib.suppress(OSError), _lock_folder(path):
                for damaged in path.glob(f"{program}-*"):
                    damaged.unlink()
        if action not in reported:
            reported.add(action)
            effect = "is compiled again" if action == "reading" else "is not kept"
            warn(f"{action} a compiled program in {path} failed ({reason.splitlines()[0]}): it {effect}")

    with warnings.catch_warnings():
        show_other, warnings.showwarning = warnings.showwarning, show
        yield
