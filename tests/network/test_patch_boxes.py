"""A patch is exactly what its unit reads: noise outside of its box changes nothing, and inside of it everything."""

from __future__ import annotations

import pytest
import timm
import torch

import kernelviz as kv

FAMILIES = [
    "resnet18", "mobilenetv2_100", "densenet121", "convnext_atto", "regnetx_002", "repvgg_a0", "dla34", "selecsls42",
    "mnasnet_small", "vgg11_bn", "hrnet_w18_small", "ghostnetv2_100", "fbnetc_100",
]  # fmt: skip
SAMPLE = {"resnet18", "mnasnet_small"}
SIDE = 96


def value_of(network, layer, image, at):
    """One value of the output of a module, by a plain hook."""
    kept = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad():
        network(image[None])
    handle.remove()
    return kept[0][tuple(int(index) for index in at)].item()


@pytest.mark.parametrize(
    "name", [one if one in SAMPLE else pytest.param(one, marks=pytest.mark.slow) for one in FAMILIES]
)
def test_noise_outside_the_box_leaves_the_value_bitwise(name):
    """For the best units of some channels of several layers of a family of networks, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name).eval()
        image, noise, other = torch.randn(3, 3, SIDE, SIDE)
    kept = {}

    def keep(maps):
        if maps.field is not None and not maps.field.mixes_image and len(kept) < 40:
            tally = kv.PatchTally(1)
            tally.add(maps)
            kept[maps.layer] = tally.result()

    names = [layer.name for layer in kv.list_layers(network)][1::3]
    kv.capture_features(network, image, names, on_map=keep)
    usable = {layer: found for layer, found in kept.items() if found.exact and max(found.sizes) <= 64}
    assert len(usable) >= 2
    for layer in list(usable)[-3:]:
        found = usable[layer]
        for channel in (0, len(found.values) // 2):
            value, (_, row, column) = found.values[channel, 0], found.places[channel, 0]
            box = found.highest.boxes[channel, 0].tolist()
            rows, columns = (slice(max(0, box[at]), box[at + 1] + 1) for at in (0, 2))
            outside, inside = noise.clone(), image.clone()
            outside[:, rows, columns] = image[:, rows, columns]
            inside[:, rows, columns] = other[:, rows, columns]
            same, changed = (value_of(network, layer, each, (0, channel, row, column)) for each in (outside, inside))
            assert same == value, (layer, channel)
            assert changed != value, (layer, channel)
