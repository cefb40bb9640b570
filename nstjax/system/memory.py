"""Memory that this process has freed: kept for reuse, or returned to the system.

By default glibc soon returns a freed buffer to the system, and the next buffer costs thousands of pages that the system
must clear and map again. Keeping them for reuse halves the system time of learning a network.
"""

import ctypes
import os

# Constants of glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

_LARGE = 32 << 20
"""Size in bytes from which a buffer gets its own mapping; glibc before 2.35 accepts no higher threshold."""


def keep_freed_memory() -> bool:
    """Keep freed buffers of up to 32 MiB in this process, ready for reuse.

    Call it before other threads allocate memory. It does nothing without glibc, nor if the user has tuned glibc's
    allocator in the environment (MALLOC_…, GLIBC_TUNABLES).

    Returns:
        True if the allocator was set up.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ) or not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # The end of the heap is never trimmed. All threads share one heap, because glibc trims the heaps of other threads
    # regardless. Larger buffers, such as a program's temporary buffer, keep their own mappings: taken from the heap
    # they would make steps a tenth faster, but small buffers would settle in the gaps that they leave, the next large
    # one would need new space, and a run took up to four times the memory that its program asks for.
    return all([mallopt(_MMAP_THRESHOLD, _LARGE), mallopt(_TRIM_THRESHOLD, -1), mallopt(_ARENA_MAX, 1)])


def release_freed_memory() -> None:
    """Return freed memory to the system once, so that it counts as free there; do nothing without glibc."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False  # Windows, macOS, musl
