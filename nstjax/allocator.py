"""What the C library does with the memory that this process has freed.

XLA's convolutions take working space in every step and free it again. glibc maps each such buffer from the system and
gives it back at once, so every step pays for thousands of pages that the system clears and maps anew: on a CPU about a
tenth of the time. Kept, the same pages serve the next step.
"""

import ctypes
import os

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, for what it takes next.

    To be called before other threads take memory. It does nothing without glibc, nor where the user has tuned glibc's
    allocator in the environment (MALLOC_…, GLIBC_TUNABLES).

    Returns:
        Whether it did.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ) or not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # No buffer on a mapping of its own, which free() would undo; a larger M_MMAP_THRESHOLD would do the same, but glibc
    # before 2.35 takes none above 32 MiB. The end of the heap is never trimmed. And one heap for all threads: those of
    # other arenas have an end, beyond which buffers are mapped after all.
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])


def give_back() -> None:
    """Give the system what is freed and kept, once, so that it counts as free there; without glibc, nothing."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False  # Windows, macOS, musl
