"""Freed memory is kept by processes that are ours, and only where the user has not chosen otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import resource
import numpy as np
from kernelviz.network.freed_memory import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [np.ones(2**18, np.float32) for _ in range(12)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def page_faults(**variables: str) -> int:
    """Page faults of 20 rounds of 12 arrays of a megabyte each, in a process with these environment variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**environment, **variables})
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has mallopt")
def test_freed_memory_is_used_again():
    """Arrays of a megabyte that follow freed ones take no new pages, unless the user's choice has each of them mapped."""
    assert page_faults() < 100
    assert page_faults(MALLOC_MMAP_THRESHOLD_="131072") > 1000
