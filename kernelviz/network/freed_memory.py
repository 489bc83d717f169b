"""What the C library does with freed memory, in processes that are ours: the command's and those of workers."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_KEPT = 64 * 2**20
_LARGEST = 32 * 2**20  # the most that glibc takes


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory for the next allocation, and take blocks of up to 32 MiB from it.

    By default it soon returns freed memory to the system: the forward pass of EfficientNet-Lite0 then touches 14 to 19 MB
    of new pages for each image, which takes a quarter of its time (``mallopt(3)``). A library leaves that to its caller, so
    that only the command and the workers call this. Other C libraries, and a choice of the user
    (``MALLOC_TRIM_THRESHOLD_``, ``GLIBC_TUNABLES``), remain as they are.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return
        choose = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, ValueError):  # Windows, macOS, musl
        return
    choose(_MMAP_THRESHOLD, _LARGEST)
    choose(_TRIM_THRESHOLD, _KEPT)
