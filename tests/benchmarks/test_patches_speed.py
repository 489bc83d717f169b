from __future__ import annotations

from functools import partial
from statistics import median

import pytest
import torch
from bench import seconds

import kernelviz as kv
from kernelviz.network.capture import make_taps, run
from kernelviz.network.inputs import as_input

pytestmark = pytest.mark.benchmark

LAYERS = ["conv_stem", "blocks.1.1.conv_dw", "blocks.2.1.conv_dw", "blocks.3.2.conv_dw", "blocks.4.1.conv_dw"]
IMAGES, BLOCK = 112, 16  # units are sorted in for 16 images at a time


def test_the_tally_takes_a_tenth_of_the_pass_at_most(bundled):
    """1,568 channels of five layers of EfficientNet-Lite0 at 224: at most 10 % of the forward pass to the last of them.

    Both run in one thread, so that work is compared with work: the tally has one, the forward pass all processors.
    """
    threads = torch.get_num_threads()
    every = share_of_the_tally(bundled)
    torch.set_num_threads(1)
    try:
        one = share_of_the_tally(bundled)
    finally:
        torch.set_num_threads(threads)
    print(f"\ntally of 1,568 channels: {one:.1%} of the pass in one thread, {every:.1%} in {threads}")
    assert one <= 0.10


def share_of_the_tally(bundled) -> float:
    """The time in which the maps of an image are added, as a share of that of its forward pass."""
    photograph = kv.read_image("sample:grace_hopper").pixels
    tallies = {layer: kv.PatchTally() for layer in LAYERS}
    passes, added = [], []
    given = as_input(bundled, kv.read_image(photograph))
    plan = make_taps(bundled, given.size, LAYERS, batch=given.batch)
    for number in range(IMAGES):
        top, left = 2 * number, 16 * (number % 16)
        part = photograph[top : top + 250, left : left + 250]
        given = as_input(bundled, kv.read_image(part))
        passes.append(seconds(partial(run, plan, given, lambda _: None, to_the_end=False)))
        every = []
        run(plan, given, every.append, to_the_end=False)
        assert sum(len(maps.values) for maps in every) == 1568
        added.append(seconds(lambda every=every: [tallies[maps.layer].add(maps) for maps in every]))
    blocks = [slice(start, start + BLOCK) for start in range(0, IMAGES, BLOCK)]  # each sorts units in once
    return median(sum(added[block]) / sum(passes[block]) for block in blocks)
