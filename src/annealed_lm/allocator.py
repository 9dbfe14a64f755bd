"""The memory of one training step, kept for the next."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of mallopt's settings, as malloc.h numbers them."""
LARGEST = 2**31 - 1
MAPPED_FROM = 2**30
"""Bytes from which on a piece of memory is still asked from the system, and given back to it."""


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of freed tensors. By default glibc gives large pieces back to the system at once, and the
    next step's tensors get pages that the system has to clear first.

    Returns:
        whether it does: other C libraries than glibc have no such setting, and there nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
