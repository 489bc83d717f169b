"""Captured maps equal those of a stopped forward pass bit for bit, in each family's own layout."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import timm
import torch
from stopped_pass import known_maps, parsed, tensors_of, value_at
from timm.models.maxxvit import grid_reverse
from timm.models.swin_transformer import window_reverse

from kernelviz.network.capture import capture_features

SIZED = {"img_size": (64, 96)}
TIMM = {
    "resnet18d": {}, "densenet121": {}, "vgg11": {"mlp_ratio": 0.1}, "efficientnet_b0": {}, "convnext_atto": {},
    "swin_tiny_patch4_window7_224": SIZED, "vit_tiny_patch16_224": SIZED, "maxvit_pico_rw_256": {"img_size": (64, 128)},
    "inception_v3": {}, "hrnet_w18_small": {}, "coat_tiny": SIZED, "mvitv2_tiny": {"img_size": (64, 64)},
    "levit_128s": SIZED, "edgenext_xx_small": {}, "volo_d1_224": SIZED, "test_resnet": {}, "test_efficientnet": {},
    "test_byobnet": {}, "test_nfnet": {}, "test_mambaout": {}, "test_vit": SIZED, "test_convnext": {},
    "coatnet_pico_rw_224": SIZED,
    "poolformerv2_s12": {}, "pvt_v2_b0": {}, "starnet_s050": {}, "regnetx_002": {}, "mobilenetv3_small_050": {},
    "ghostnet_050": {}, "resnetv2_18": {}, "focalnet_tiny_srf": {}, "dla34": {}, "mobilevit_xxs": {"img_size": (64, 128)},
}  # fmt: skip
MORE_OF_TIMM = {
    "repvgg_a0": {}, "hardcorenas_a": {}, "poolformer_s12": {}, "cait_xxs24_224": SIZED, "xcit_nano_12_p8_224": {},
    "crossvit_tiny_240": {"img_size": (240, 240)}, "res2net50_14w_8s": {}, "fastvit_t8": {}, "twins_svt_small": {},
    "davit_tiny": {}, "mixer_s32_224": {"img_size": (224, 224)}, "tiny_vit_5m_224": {},
    "pit_ti_224": {"img_size": (224, 224)}, "visformer_tiny": {"img_size": (224, 224)}, "convmixer_768_32": {},
    "efficientformer_l1": {"img_size": (224, 224)}, "sequencer2d_s": {},
}  # fmt: skip
TORCHVISION = ["resnet18", "squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5", "alexnet", "swin_t", "convnext_tiny"]
MORE_OF_TORCHVISION = ["mnasnet0_5", "regnet_y_400mf", "vit_b_16", "googlenet"]
FIXED = {
    "inception_v3": (107, 139), "mobilevit_xxs": (64, 128), "twins_svt_small": (64, 64), "vit_b_16": (224, 224),
    "mixer_s32_224": (224, 224), "tiny_vit_5m_224": (224, 224),
}  # fmt: skip
CHANNELS_FIRST = {
    "resnet18d", "densenet121", "vgg11", "efficientnet_b0", "inception_v3", "hrnet_w18_small", "test_resnet", "resnet18",
    "test_efficientnet", "test_byobnet", "test_nfnet", "poolformerv2_s12", "starnet_s050", "regnetx_002", "alexnet",
    "mobilenetv3_small_050", "ghostnet_050", "resnetv2_18", "dla34", "squeezenet1_1", "mobilenet_v2", "repvgg_a0",
    "shufflenet_v2_x0_5", "hardcorenas_a", "poolformer_s12", "res2net50_14w_8s", "fastvit_t8", "mnasnet0_5",
    "regnet_y_400mf", "googlenet", "convmixer_768_32", "convnext_atto",
}  # fmt: skip
PREFIX = {"vit_tiny_patch16_224": 1, "test_vit": 1}


def build(name, **choices):
    """A network of timm's with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, **choices).eval()


def build_torchvisions(name):
    """A network of torchvision's with random weights."""
    torchvision = pytest.importorskip("torchvision")
    choices = {"init_weights": False} if name == "googlenet" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None, **choices).eval()


def check(network, name, sides, most):
    """Compare up to so many layers, spread over the network; how many in which way."""
    batch = torch.randn(1, 3, *sides, generator=torch.Generator().manual_seed(1))
    every = capture_features(network, batch, "*")
    checked = Counter()
    for maps in every[:: -(-len(every) // most)]:
        module, run, part = parsed(maps.layer)
        value = tensors_of(value_at(network, module, batch, run=run))[part]
        known = true_maps(network, name, module, value, maps.values.shape)
        if known is not None:
            assert known.shape == maps.values.shape, (maps.layer, value.shape)
            np.testing.assert_array_equal(maps.values, known.numpy(), err_msg=f"{name} {maps.layer}", strict=True)
        else:
            (ours, many), (theirs, at_most) = (np.unique(each, return_counts=True) for each in (maps.values, value))
            at = np.minimum(np.searchsorted(theirs, ours), len(theirs) - 1)
            assert (theirs[at] == ours).all(), (name, maps.layer)
            assert (many <= at_most[at]).all(), (name, maps.layer)
            assert maps.values.size > 0.05 * value.numel(), (name, maps.layer)  # prefixes and padding are left out
        checked["layout" if known is not None else "values"] += 1
    return checked


def true_maps(network, name, module, value, shape):
    """The maps by what the family's own code says of its layout; None if it is not known here."""
    if name in CHANNELS_FIRST:
        return known_maps(value, shape) if value.ndim == 4 else None
    if name in PREFIX:
        return known_maps(value, shape, prefix=PREFIX[name], last=module in {"patch_embed", "patch_embed.norm"})
    if name == "test_convnext":
        _, block, inside = module.rpartition("blocks.")
        return known_maps(value, shape, last=bool(block) and (".mlp" in inside or ".norm" in inside))
    if name.startswith("swin_tiny"):
        return swins(network, module, value, shape)
    if name.startswith("maxvit"):
        return maxvits(network, module, value, shape)
    return None


def swins(network, module, value, shape):
    """Channels last; inside attention windows, of a map that may have been rolled and padded."""
    if ".attn" not in module:
        return known_maps(value, shape, last=module != "patch_embed.proj")
    block = network.get_submodule(module.partition(".attn")[0])
    side, _ = block.window_size
    if value.ndim != 3 or value.shape[1] != side * side:
        return None
    rows, columns = (-(-length // side) * side for length in shape[1:])
    whole = window_reverse(value.reshape(-1, side, side, value.shape[-1]), block.window_size, rows, columns)
    whole = torch.roll(whole[:, : shape[1], : shape[2]], block.shift_size, dims=(1, 2))
    return whole[0].permute(2, 0, 1)


def maxvits(network, module, value, shape):
    """Channels first in convolutions; last in attention, where windows and grids lie in the batch."""
    if ".attn_" not in module:
        return known_maps(value, shape)
    block = network.get_submodule(".".join(module.split(".")[:5]))
    if ".attn." not in f"{module}.":
        return known_maps(value, shape, last=True) if value.shape[0] == 1 else None
    if value.ndim != 4 or value.shape[1:3] != tuple(block.partition_size):
        return None
    if "attn_grid" in module:
        return grid_reverse(value, block.partition_size, shape[1:])[0].permute(2, 0, 1)
    return window_reverse(value, block.partition_size, *shape[1:])[0].permute(2, 0, 1)


def sides_of(name, choices):
    """The sides of the input; unequal where the network allows it, so that a turned map shows."""
    return choices.get("img_size") or FIXED.get(name, (64, 96))


@pytest.mark.sampled
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if number % 3 else ()) for number, name in enumerate(TIMM)]
)
def test_maps_are_what_a_stopped_pass_gives(name):
    """Up to 40 modules of networks of many families, bit for bit."""
    choices = TIMM[name]
    checked = check(build(name, **choices), name, sides_of(name, choices), 40)
    assert checked.total() >= 10
    if name in CHANNELS_FIRST:
        assert checked["layout"] >= 0.9 * checked.total()


@pytest.mark.parametrize("name", TORCHVISION[:5])
def test_maps_of_torchvisions_networks(name):
    """The same for networks that timm knows nothing of."""
    checked = check(build_torchvisions(name), name, sides_of(name, {}), 40)
    assert checked.total() >= 10


@pytest.mark.parametrize(
    ("name", "least"),
    [("swin_tiny_patch4_window7_224", 60), pytest.param("maxvit_pico_rw_256", 100, marks=pytest.mark.slow)],
)
def test_windows_lie_where_timms_own_code_puts_them(name, least):
    """Every module of a network that works in windows, its maps put together again by timm's own functions."""
    choices = {"depths": (1, 2, 1, 1)} if name.startswith("swin") else {"depths": (1, 1, 1, 1)}
    sides = (112, 168) if name.startswith("swin") else (64, 128)
    checked = check(build(name, img_size=sides, **choices), name, sides, 1000)
    assert checked["layout"] >= least


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TIMM, *MORE_OF_TIMM])
def test_every_module_is_what_a_stopped_pass_gives(name):
    """All modules that have a map, of more networks."""
    choices = {**TIMM, **MORE_OF_TIMM}[name]
    assert check(build(name, **choices), name, sides_of(name, choices), 10_000).total() >= 15


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCHVISION, *MORE_OF_TORCHVISION])
def test_every_module_of_torchvisions_networks(name):
    """All modules that have a map."""
    assert check(build_torchvisions(name), name, sides_of(name, {}), 10_000).total() >= 15
