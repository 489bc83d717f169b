"""Every map of torchvision's networks is that of a plain forward hook."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch import nn

import kernelviz
from kernelviz.errors import NeedsValuesError, UsageError
from kernelviz.network.model import load_model

models = pytest.importorskip("torchvision").models

SMALLEST = {
    "classification": [
        ("resnet18", (3, 64, 64)), ("alexnet", (3, 96, 96)), ("convnext_tiny", (3, 64, 64)), ("densenet121", (3, 64, 64)),
        ("efficientnet_b0", (3, 64, 64)), ("efficientnet_v2_s", (3, 64, 64)), ("googlenet", (3, 64, 64)),
        ("inception_v3", (3, 96, 96)), ("maxvit_t", (3, 224, 224)), ("mnasnet0_5", (3, 64, 64)),
        ("mobilenet_v2", (3, 64, 64)), ("mobilenet_v3_small", (3, 64, 64)), ("regnet_x_400mf", (3, 64, 64)),
        ("regnet_y_400mf", (3, 64, 64)), ("resnext50_32x4d", (3, 64, 64)), ("shufflenet_v2_x0_5", (3, 64, 64)),
        ("squeezenet1_1", (3, 64, 64)), ("swin_t", (3, 96, 96)), ("swin_v2_t", (3, 96, 96)), ("vgg11", (3, 64, 64)),
        ("vit_b_16", (3, 224, 224)), ("wide_resnet50_2", (3, 64, 64)),
    ],
    "segmentation": [
        ("lraspp_mobilenet_v3_large", (3, 64, 64)), ("deeplabv3_mobilenet_v3_large", (3, 64, 64)),
        ("fcn_resnet50", (3, 64, 64)),
    ],
    "detection": [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", (3, 160, 200)), ("ssdlite320_mobilenet_v3_large", (3, 160, 200)),
        ("fcos_resnet50_fpn", (3, 160, 200)), ("keypointrcnn_resnet50_fpn", (3, 160, 200)),
        ("maskrcnn_resnet50_fpn", (3, 160, 200)), ("retinanet_resnet50_fpn", (3, 160, 200)),
        ("ssd300_vgg16", (3, 160, 200)),
    ],
    "optical flow": [("raft_small", (3, 128, 128))],
    "video": [
        ("r3d_18", (3, 8, 32, 32)), ("mc3_18", (3, 8, 32, 32)), ("mvit_v1_b", (3, 16, 224, 224)),
        ("mvit_v2_s", (3, 16, 224, 224)), ("r2plus1d_18", (3, 8, 32, 32)), ("s3d", (3, 16, 224, 224)),
        ("swin3d_t", (3, 8, 64, 64)),
    ],
}  # fmt: skip
TABLES = "cpb_mlp"
"""A part of names: linear layers that make a table of positions; its dimensions are not those of an image."""


def build(name):
    """A network without published weights, in eval mode."""
    builder = inspect.signature(models.get_model_builder(name)).parameters
    none = {key: None for key in ("weights", "weights_backbone") if key in builder}
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return models.get_model(name, **none, **more).eval()


def hooked(network, inputs):
    """The output of each run of each module that is a tensor of four or five dimensions, by name and number of the run."""
    seen, runs, handles = {}, {}, []

    def hook(name):
        def catch(_module, _inputs, output):
            runs[name] = runs.get(name, 0) + 1
            if isinstance(output, torch.Tensor) and output.ndim in (4, 5) and output.numel():
                seen[name if runs[name] == 1 else f"{name}#{runs[name]}"] = output.clone().numpy()

        return catch

    for name, module in network.named_modules():
        if name and TABLES not in name:
            handles.append(module.register_forward_hook(hook(name)))
    with torch.no_grad():
        network(*inputs)
    for handle in handles:
        handle.remove()
    return seen


def is_map_of(maps, output):
    """Whether maps (C, ...) hold the values of an output of the one image.

    Its channels may come last, heads may count as channels, its windows or tokens may have been put in their places.
    """
    values, notes = maps.values, " ".join(maps.notes)
    if values.shape == output[0].shape and np.array_equal(values, output[0]):
        return len(output) == 1 or f"1 of {len(output):,}" in notes
    last = np.moveaxis(output, -1, 1)[0]
    if values.shape == last.shape and np.array_equal(values, last):
        return True
    tokens = math.prod(values.shape[1:])
    if output.ndim == 4 and output.shape[2] == tokens + 1:  # the first token is that of the class
        output = output[:, :, 1:]
    return np.array_equal(np.sort(values, axis=None), np.sort(output, axis=None))


def check(name, size):
    """The network and its maps by layer, after every one that a hook sees was found to be captured, bitwise."""
    network, generator = build(name), torch.Generator().manual_seed(1)
    inputs = tuple(torch.rand(1, *size, generator=generator) for _ in range(2 if "raft" in name else 1))
    expected = hooked(network, inputs)
    captured = kernelviz.capture_features(network, inputs if len(inputs) > 1 else inputs[0], "*")
    maps = {each.layer: each for each in captured}
    assert len(expected) > 0
    assert not expected.keys() - maps.keys()
    assert [layer for layer, output in expected.items() if not is_map_of(maps[layer], output)] == []
    return network, maps


@pytest.mark.parametrize("family", ["classification", "segmentation", "optical flow", "video"])
def test_maps_of_a_network_of_each_family(family):
    """The first network of a family; that of the detectors is below."""
    check(*SMALLEST[family][0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [network for family in SMALLEST.values() for network in family[1:]])
def test_maps_of_the_smallest_network_of_every_architecture(name, size):
    """Of all of torchvision's architectures."""
    check(name, size)


@pytest.mark.slow
def test_a_detector():
    """Every map is that of a hook; of a head the first row is drawn, and a layer that runs per level has runs.

    Its trace is of a real forward pass: without weights there is none, and the state of the network stays.
    """
    name, size = SMALLEST["detection"][0]
    network, maps = check(name, size)
    assert maps["backbone.body.0.0"].values.shape == (16, 160, 208)
    assert maps["roi_heads.box_roi_pool"].values.shape == (256, 7, 7)
    assert maps["roi_heads.box_roi_pool"].notes[0] == "1 of 150 along its first axis: the first is drawn"
    runs = [f"rpn.head.cls_logits{run}" for run in ("", "#2", "#3")]
    assert [layer for layer in maps if "cls_logits" in layer] == runs
    rows = {row.name: row for row in kernelviz.trace(network.train(), size).layers}
    assert network.training
    assert rows["backbone.body.0.0"].output_shape == (16, 160, 208)
    assert rows["roi_heads.box_head.fc6"].output_shape == (1024,)
    assert rows["rpn.head.conv.0.0"].runs == 3
    assert rows["roi_heads.box_roi_pool"].field is None
    assert rows["backbone.fpn.layer_blocks.0.0"].lost
    with pytest.raises(NeedsValuesError, match="depends on the values of tensors"):
        kernelviz.trace(network.to("meta"), size)


class Boxes(nn.Module):
    """A head over as many patches as the image has bright pixels."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3)

    def forward(self, x):
        """One row per pixel above one half."""
        count = int((x[0, 0] > 0.5).sum())
        return self.head(self.conv(x)[:, :, :6, :6].repeat(count, 1, 1, 1))


def test_the_number_of_rows_may_differ_from_image_to_image():
    """An image without any has no map, which is reported for that image; the others are drawn."""
    network, dark, bright = Boxes(), torch.zeros(3, 8, 8), torch.zeros(3, 8, 8)
    bright[0, 0, :3] = 1
    with pytest.raises(kernelviz.KernelvizError, match="The layer head has no map for this image"):
        kernelviz.capture_features(network, dark, "head")
    found = []
    failed = kernelviz.capture_many(network, [bright, dark, bright], "head", on_map=found.append)
    assert [each.number for each in failed] == [1]
    assert [maps.notes[0][:6] for maps in found] == ["1 of 3", "1 of 3"]


@pytest.mark.parametrize("name", ["r3d_18", "s3d"])
def test_a_network_of_videos_reads_no_photograph(name):
    """Its size has frames, and an image is refused with the axes that it takes."""
    model = load_model(f"torchvision:{name}", weights=None)
    assert model.input_size[:2] == (3, 16)
    assert kernelviz.trace(model).layers[0].output_shape[1] >= 8
    with pytest.raises(UsageError, match=r"reads volumes \(C, D, H, W\), not images"):
        kernelviz.capture_features(model, kernelviz.read_image("sample:grace_hopper"))
