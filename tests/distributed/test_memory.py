"""What the process that merges keeps of each image."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import Shuffled

import kernelviz as kv
from kernelviz.distributed import Ray, gather_many
from kernelviz.records import FeatureMaps, Image


class Replayed:
    """Answers as workers do, without a network: the maps of an image are two numbers."""

    def __init__(self, layers):
        self.layers = layers

    def map_chunks(self, make_worker, chunks):
        """Yield each chunk with tallies of its images."""
        del make_worker
        maps = np.array([[[1.0]], [[2.0]]], np.float32)
        for chunk in chunks:
            tallies = {("s", layer): kv.ChannelTally(layer) for layer in self.layers}
            for item in chunk.items:
                path = item.value.encode().decode()  # as it comes out of a pickle
                image = Image(maps, Path(path).name, "x", path, f"{item.place:064x}", "PNG", "RGB")
                for tally in tallies.values():
                    tally.add(FeatureMaps(maps, layer=tally.layer, image=image), place=item.place)
            yield chunk, type("Answer", (), {"tallies": tallies, "failed": ()})()


@pytest.mark.parametrize(("count", "layers"), [(384, "abc"), pytest.param(60_000, "a", marks=pytest.mark.slow)])
def test_less_than_two_hundred_bytes_are_kept_of_an_image(count, layers):
    """However many layers: between a quarter and all of the images, besides their paths, which the caller has.

    Both are multiples of 32, after which no numbers wait to be added to the sums: their number is bounded, but not 0.
    """
    paths = [f"/data/photographs/{number:07d}.jpeg" for number in range(count)]
    sizes = []

    def watch(_, done, total):
        if (done >= total / 4 and not sizes) or done == total:
            gc.collect()
            sizes.append((done, tracemalloc.get_traced_memory()[0]))

    tracemalloc.start()
    gather_many(torch.nn.Identity(), paths, tallies={"s": kv.ChannelTally}, engine=Replayed(layers), progress=watch)
    tracemalloc.stop()
    assert (sizes[-1][1] - sizes[0][1]) / (sizes[-1][0] - sizes[0][0]) <= 200


def resident():
    """Megabytes of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("engine", [Shuffled, lambda: Ray(workers=1)], ids=["here", "ray"])
def test_three_thousand_images_take_as_much_memory_as_five_hundred(engine):
    """The process that merges grows by at most 10 MB from the five-hundredth to the last image."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 3, stride=2), torch.nn.ReLU()).eval()
    sizes = {}

    def images():
        for _ in range(3000):
            yield torch.rand(3, 32, 32)

    def watch(_, done, __):
        if done >= 500:
            sizes.setdefault(done, resident())

    tallies = {"s": kv.ChannelTally, "c": kv.CovarianceTally}
    gather_many(network, images(), "0", tallies=tallies, engine=engine(), progress=watch)
    assert max(sizes.values()) - sizes[min(sizes)] <= 10
