"""Medians of interleaved pairs, after a warm-up: a ratio holds when the machine's speed drifts."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def ratio(ours: Callable[[], object], peer: Callable[[], object], *, pairs: int = 5) -> float:
    """The median of peer / ours over interleaved pairs: how many times faster ours is."""
    ours()
    peer()
    return statistics.median(seconds(peer) / seconds(ours) for _ in range(pairs))


def seconds(work: Callable[[], object]) -> float:
    """CPU and waiting time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu_ratio(ours: Sequence[str], peer: Sequence[str], *, pairs: int = 5) -> float:
    """The median of ours / peer in CPU time of whole processes, interleaved, after one warm-up of each."""
    cpu_seconds(ours)
    cpu_seconds(peer)
    return statistics.median(cpu_seconds(ours) / cpu_seconds(peer) for _ in range(pairs))


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of one Python process and its children.

    Modules have their bytecode, as installed ones do; without it kernelviz alone would be compiled in every run.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
