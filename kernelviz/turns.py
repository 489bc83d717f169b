"""The threads that read and write beside the passes of a network, or in turns with them."""

from __future__ import annotations

import os


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = max(2, min(4, processors()))
"""Threads that read, or write, at once: more would hold more images in memory."""
