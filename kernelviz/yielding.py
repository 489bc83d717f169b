"""Threads that give way to the pass of a network."""

from __future__ import annotations

import contextlib
import os
import threading

_LOWEST = 19


def give_way() -> None:
    """Let the calling thread run only where no other wants its processor, where the system can tell threads apart.

    Each operation of a pass ends when the slowest of its threads does: one that shares its processor holds up all others.
    """
    with contextlib.suppress(AttributeError, OSError):  # elsewhere than on Linux a thread has no priority of its own
        if os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
