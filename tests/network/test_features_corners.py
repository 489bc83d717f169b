"""The right way up: what changes in a corner of the image changes the same corner of the maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch

from kernelviz.network.capture import make_taps, run
from kernelviz.network.inputs import Input

SMALL = {"img_size": (64, 96)}
NETWORKS = {
    "swin_tiny_patch4_window7_224": {"img_size": (112, 168), "depths": (1, 2, 1, 1)},
    "test_vit": SMALL,
    "maxvit_pico_rw_256": {"img_size": (64, 128), "depths": (1, 1, 1, 1)},
    "edgenext_xx_small": {},
    "volo_d1_224": SMALL,
    "test_convnext": {},
}
MORE = {
    "vit_tiny_patch16_224": SMALL, "coat_tiny": SMALL, "mvitv2_tiny": {"img_size": (64, 64)}, "levit_128s": SMALL,
    "pvt_v2_b0": {}, "twins_svt_small": {}, "xcit_nano_12_p8_224": {}, "davit_tiny": {}, "resnet18d": {},
    "mobilevit_xxs": {},
    "hrnet_w18_small": {}, "cait_xxs24_224": SMALL, "tiny_vit_5m_224": {},
    "swinv2_tiny_window8_256": {"img_size": (128, 192)}, "swinv2_cr_tiny_224": {"img_size": (224, 224)},
    "coatnet_pico_rw_224": SMALL, "gcvit_xxtiny": {"img_size": (224, 224)}, "nest_tiny": {"img_size": (224, 224)},
    "focalnet_tiny_srf": {}, "mambaout_femto": {}, "efficientformer_l1": {"img_size": (224, 224)},
    "fastvit_t8": {}, "convformer_s18": {}, "visformer_tiny": {"img_size": (224, 224)},
    "hiera_tiny_224": {"img_size": (224, 224)},
    "sequencer2d_s": {}, "mixer_s32_224": {"img_size": (224, 224)}, "pit_ti_224": {"img_size": (224, 224)},
    "convit_tiny": {"img_size": (224, 224)}, "crossvit_tiny_240": {"img_size": (240, 240)}, "beit_base_patch16_224": SMALL,
    "eva02_tiny_patch14_224": {"img_size": (56, 84)}, "maxxvit_rmlp_nano_rw_256": {"img_size": (64, 128)},
    "nextvit_small": {}, "repvit_m0_9": {}, "efficientvit_b0": {}, "efficientvit_m0": {"img_size": (224, 224)},
    "samvit_base_patch16": {"img_size": (64, 64)}, "shvit_s1": {}, "rdnet_tiny": {}, "vitamin_small_224": SMALL,
    "tnt_s_legacy_patch16_224": {"img_size": (224, 224)},
}  # fmt: skip
SIDES = {"mobilevit_xxs": (64, 128), "twins_svt_small": (64, 96), "tiny_vit_5m_224": (224, 224)}
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def check(name, choices, most, *, several=False):
    """In how many layers the light shows, in how many not, and in which it shows in another corner.

    With ``several`` only where the four corners change places, as in a map that is turned or flipped: where attention
    or a large kernel mixes the whole image, one corner may by chance be the brightest for several lights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, **choices).eval()
    sides = choices.get("img_size") or SIDES.get(name, (64, 96))
    image = torch.randn(1, 3, *sides, generator=torch.Generator().manual_seed(1)) / 10
    plan = make_taps(network, (3, *sides), "*")
    large = tuple(tap for tap in plan.taps.taps if min(tap.layout.size[1:]) >= 2)
    plan = replace(plan, taps=replace(plan.taps, taps=large[:: -(-len(large) // most)]))
    before = captured(plan, image)
    shows = {layer: [] for layer in before}
    for corner in CORNERS:
        height, width = (side // 4 for side in sides)
        lit = image.clone()
        rows = slice(-height, None) if corner[0] else slice(height)
        lit[..., rows, slice(-width, None) if corner[1] else slice(width)] += 2
        for layer, values in captured(plan, lit).items():
            shares = quarters(np.abs(values - before[layer]).sum(axis=0))
            brightest = max(shares, key=shares.get)
            if shares[brightest] > max(0.4, 1.5 * sorted(shares.values())[-2]):  # one corner, not a side
                shows[layer].append((corner, brightest))
    wrong = [layer for layer, pairs in shows.items() if any(lit != corner for corner, lit in pairs)]
    turned = [layer for layer in wrong if len({lit for _, lit in shows[layer]}) == len(CORNERS)]
    clear = sum(len(pairs) == len(CORNERS) for pairs in shows.values())
    return clear, len(shows) - clear, turned if several else wrong


def captured(plan, image):
    """The values of every layer."""
    kept = {}
    run(plan, Input(image), lambda maps: kept.update({maps.layer: maps.values}), to_the_end=False)
    return kept


def quarters(change):
    """The share of the change in each corner; what lies in the middle counts for none."""
    height, width = (max(side // 2, 1) for side in change.shape)
    total = max(float(change.sum()), 1e-30)
    return {
        (down, across): float(
            change[
                slice(-height, None) if down else slice(height), slice(-width, None) if across else slice(width)
            ].sum()
        )
        / total
        for down, across in CORNERS
    }


@pytest.mark.sampled
@pytest.mark.parametrize("name", NETWORKS)
def test_a_bright_corner_lights_the_same_corner(name):
    """Each of the four corners in turn: maps neither turned, nor flipped, nor put together in another order."""
    clear, dim, wrong = check(name, NETWORKS[name], 40)
    assert not wrong
    assert clear > dim


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETWORKS, *MORE])
def test_corners_of_more_networks(name):
    """The same for more families."""
    clear, dim, wrong = check(name, (NETWORKS | MORE)[name], 10_000, several=True)
    assert not wrong
    assert clear >= (3 if name.startswith("mixer") else 20), dim  # which mixes all tokens from its first block on
