"""What a test may do: permissions that bind root too, bounds on time, memory and the size of files; no heavy import."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

LINUX = os.path.isdir("/proc/self")  # noqa: PTH112


@contextlib.contextmanager
def permissions_that_bind():
    """Root reads and writes everything; without two capabilities permissions bind it too."""
    if os.geteuid() or not LINUX:
        yield
        return
    library = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert library.capget(header, data) == 0
    kept, data[0] = data[0], data[0] & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert library.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = kept
        assert library.capset(header, data) == 0


class NoEndError(BaseException):
    """Work took too long; a BaseException, so that a command cannot report it as its own error."""


@contextlib.contextmanager
def bounds(seconds=60, memory=3 << 30):
    """Fail if the work inside takes longer, and let it fail if it takes more memory."""

    def end(*_):
        raise NoEndError(f"no end within {seconds} s")

    limits = resource.getrlimit(resource.RLIMIT_AS)
    if LINUX:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, limits[1]))
    handler = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def file_limit(size):
    """No file can become larger than ``size`` bytes, as if the disk were full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
