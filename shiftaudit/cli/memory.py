"""glibc's allocator, told to keep what was freed for the next layer's activations."""

from __future__ import annotations

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
_KEPT_BYTES = 2**31 - 1
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")


def keep_memory() -> bool:
    """Keep up to 2 GiB of freed memory in the process: an activation then costs no new pages at every step.

    By default glibc maps every large tensor anew and hands it back, which was measured as a third of a step's CPU time. It
    concerns the whole process, so that only commands do it, and not where the user chose settings of their own.

    Returns:
        Whether the settings were taken; False on any other C library.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _OWN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
