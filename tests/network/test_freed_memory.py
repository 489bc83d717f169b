"""Freed memory is kept by processes that are ours, and only where the user has not chosen otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernelviz.network import freed_memory

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
    assert page_faults(MALLOC_ARENA_MAX="2") < 100  # which is no choice of what is kept
    assert page_faults(MALLOC_MMAP_THRESHOLD_="131072") > 1000


@pytest.mark.parametrize("name", ["MALLOC_TOP_PAD_", "GLIBC_TUNABLES"])
def test_the_choice_of_the_user_is_kept(monkeypatch, name):
    """What the user chose in either form is not replaced, and systems without ``confstr`` or glibc are left alone."""
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda *_: pytest.fail("malloc was changed"))
    for each in [each for each in os.environ if each.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(each)
    with monkeypatch.context() as context:
        context.setenv(name, "glibc.malloc.mmap_max=0" if name == "GLIBC_TUNABLES" else "1")
        freed_memory.keep_freed_memory()
    for error in (ValueError("unrecognized configuration name"), OSError(22, "Invalid argument"), AttributeError()):

        def fail(_, error=error):
            raise error

        monkeypatch.setattr(os, "confstr", fail, raising=False)
        freed_memory.keep_freed_memory()
    monkeypatch.setattr(os, "confstr", lambda _: None)
    freed_memory.keep_freed_memory()
