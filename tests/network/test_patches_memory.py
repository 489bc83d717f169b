"""Memory while patches are tallied: it does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from peak_memory import PEAK

FOLLOW = f"""{PEAK}
import torch
import kernelviz as kv

network = torch.nn.Sequential(torch.nn.Conv2d(3, 256, 3), torch.nn.ReLU(), torch.nn.Conv2d(256, 64, 3))
tallies = {{"0": kv.PatchTally(lowest=True), "2": kv.PatchTally()}}
peaks = {{}}

def images():
    numbers = torch.Generator().manual_seed(0)
    for number in range(10_000):
        if number in (1_000, 9_999):
            peaks[number] = peak()
        yield torch.rand(3, 24, 24, generator=numbers)

kv.capture_many(network, images(), ["0", "2"], on_map=lambda maps: tallies[maps.layer].add(maps))
assert all(len(tally.result().images) == 10_000 for tally in tallies.values())
print("GROWN", peaks[9_999] - peaks[1_000])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_ten_thousand_images_take_no_more_memory_than_a_thousand():
    """Between the thousandth and the last image at most 12 MB more, mostly the names of images."""
    finished = subprocess.run([sys.executable, "-c", FOLLOW], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    grown = int(finished.stdout.rpartition("GROWN")[2]) / 1024
    print(f"\n10,000 images: {grown:.1f} MB more than 1,000")  # noqa: T201
    assert grown <= 12
