"""What the C library does with the memory that this process has freed.

What glibc takes from the system for a buffer it soon gives back, and the next buffer costs thousands of pages that the
system clears and maps anew. Kept, they serve again: the learning of a network spends half as long in the system.
"""

import ctypes
import os

# Of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

_LARGE = 32 << 20
"""Bytes of a buffer that gets a mapping of its own; glibc before 2.35 takes no higher threshold."""


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, buffers above 32 MiB excepted, for what it takes next.

    To be called before other threads take memory. It does nothing without glibc, nor where the user has tuned glibc's
    allocator in the environment (MALLOC_…, GLIBC_TUNABLES).

    Returns:
        Whether it did.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ) or not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # The end of the heap is never trimmed, and there is one heap for all threads, since the others' are trimmed as they
    # please. Larger buffers, such as the one that holds all that a program computes on the way, keep mappings of their
    # own: from the heap they cost a tenth of the steps' time less, but small ones settle in the room that they leave,
    # the next one needs new room, and a run took up to four times the memory that its program asks for.
    return all([mallopt(_MMAP_THRESHOLD, _LARGE), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])


def give_back() -> None:
    """Give the system what is freed and kept, once, so that it counts as free there; without glibc, nothing."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False  # Windows, macOS, musl
