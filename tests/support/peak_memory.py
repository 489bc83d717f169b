"""Code for a process of its own that measures the peak of its memory."""

from __future__ import annotations

PEAK = """
import os
from pathlib import Path

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def apart(work):  # each in a process of its own, for a peak of its own
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
"""Defines ``peak()``, in kilobytes, and ``apart(work)``, which calls ``work`` in a child process with a peak of its own."""
