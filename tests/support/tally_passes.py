"""Times the patch tally beside forward passes, in a process of its own: what was freed before makes passes faster.

``python tally_passes.py THREADS default|kept`` prints the time in which the maps of an image are added, as a share of the
time of its forward pass; ``kept`` keeps freed memory, as the command does.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median

import torch
from bench import seconds

import kernelviz as kv
from kernelviz.network.capture import make_taps, run
from kernelviz.network.freed_memory import keep_freed_memory
from kernelviz.network.inputs import as_input

LAYERS = ["conv_stem", "blocks.1.1.conv_dw", "blocks.2.1.conv_dw", "blocks.3.2.conv_dw", "blocks.4.1.conv_dw"]
CHANNELS, IMAGES, BLOCK = 1568, 112, 16  # units are sorted in for 16 images at a time


def share_of_the_tally() -> float:
    """The median over blocks of images."""
    model = kv.load_model("tf_efficientnet_lite0", weights="bundled")
    photograph = kv.read_image("sample:grace_hopper").pixels
    tallies = {layer: kv.PatchTally() for layer in LAYERS}
    passes, added = [], []
    given = as_input(model, kv.read_image(photograph))
    plan = make_taps(model, given.size, LAYERS, batch=given.batch)
    for number in range(IMAGES):
        top, left = 2 * number, 16 * (number % 16)
        part = photograph[top : top + 250, left : left + 250]
        given = as_input(model, kv.read_image(part))
        passes.append(seconds(partial(run, plan, given, lambda _: None, to_the_end=False)))
        every = []
        run(plan, given, every.append, to_the_end=False)
        assert sum(len(maps.values) for maps in every) == CHANNELS
        added.append(seconds(lambda every=every: [tallies[maps.layer].add(maps) for maps in every]))
    blocks = [slice(start, start + BLOCK) for start in range(0, IMAGES, BLOCK)]
    return median(sum(added[block]) / sum(passes[block]) for block in blocks)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    if sys.argv[2] == "kept":
        keep_freed_memory()
    sys.stdout.write(f"{share_of_the_tally()}\n")
