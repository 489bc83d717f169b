from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from bench import seconds
from PIL import Image
from torchvision.utils import save_image

from kernelviz import make_singles, save_singles
from kernelviz.records import FeatureMaps

pytestmark = pytest.mark.benchmark

IMAGES = 200
PAIRS = 5
PASSES = str(Path(__file__).parents[1] / "support" / "folder_passes.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """JPEGs of 640 × 480 pixels, as a camera in a corner makes them."""
    directory = tmp_path_factory.mktemp("photos")
    numbers = np.random.default_rng(0)
    for number in range(IMAGES):
        coarse = Image.fromarray(numbers.integers(0, 255, (30, 40, 3), dtype=np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(directory / f"{number:03d}.jpg", quality=90)
    return directory


@pytest.mark.parametrize("length", ["whole", "stopped"])
def test_a_folder_goes_nearly_as_fast_as_its_passes(folder, tmp_path, length):
    """layer1 of every image as bare picture: at least 0.8 of the images a second of a loop that only loads and passes."""

    def taken(side: str) -> float:
        arguments = [sys.executable, PASSES, side, length, str(folder), str(tmp_path)]
        return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)

    share = statistics.median(taken("peer") / taken("ours") for _ in range(PAIRS))
    print(f"\nlayer1 of a folder, {length} passes: {share:.2f} of the images a second of a plain loop")
    assert share >= 0.8


@pytest.fixture
def memory(tmp_path):
    """A directory in memory where there is one: to make a file on a disk takes both sides as long."""
    place = Path("/dev/shm")
    if not place.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=place) as directory:
        yield Path(directory)


def test_single_maps_beat_save_image(memory):
    """20,000 files, indexed and coloured: at least 5 times faster than one save_image each."""
    values = np.random.default_rng(0).normal(size=(2000, 28, 28)).clip(0).astype(np.float32)
    maps = FeatureMaps(values)

    def ours(run: int) -> None:
        for number in range(10):
            save_singles(make_singles(maps), memory / f"{run}-{number}")

    def peer() -> None:
        tensors = torch.from_numpy(values)
        for number in range(2000):
            save_image(tensors[number], memory / f"peer{number}.png", normalize=True)

    ours(0)
    peer()
    times = statistics.median(10 * seconds(peer) / seconds(partial(ours, run)) for run in (1, 2, 3))
    print(f"\n20,000 single maps: {times:.1f} times faster than save_image")
    assert times >= 5
