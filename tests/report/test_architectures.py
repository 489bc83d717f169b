"""Reports of many architectures: bounded, alive in a browser, and with every part in its column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pages import OUTSIDE, opened, ready
from torch import nn

from kernelviz import load_model, make_report, read_image, save_report

ARCHITECTURES = [
    "resnet18d", "resnet50", "densenet121", "efficientnet_b0", "mobilenetv3_small_100", "convnext_atto", "vgg11",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "maxvit_rmlp_pico_rw_256", "regnety_002", "resnext50_32x4d",
    "ghostnet_100", "repvgg_a0", "hrnet_w18_small", "inception_v3", "mixer_b16_224", "pvt_v2_b0", "coat_lite_tiny",
    "edgenext_xx_small",
]  # fmt: skip


class UNet(nn.Module):
    """A network as users write them: two levels, transposed convolutions, maps joined across."""

    def __init__(self):
        super().__init__()

        def twice(inputs, outputs):
            layers = (nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
            return nn.Sequential(*layers, nn.ReLU())

        self.down = nn.ModuleList([twice(3, 16), twice(16, 32)])
        self.middle = twice(32, 64)
        self.up = nn.ModuleList([nn.ConvTranspose2d(64, 32, 2, stride=2), nn.ConvTranspose2d(32, 16, 2, stride=2)])
        self.join = nn.ModuleList([twice(64, 32), twice(32, 16)])
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        """Maps of two classes, as large as the input."""
        kept = []
        for down in self.down:
            kept.append(down(x))
            x = nn.functional.max_pool2d(kept[-1], 2)
        x = self.middle(x)
        for up, join, before in zip(self.up, self.join, reversed(kept), strict=True):
            x = join(torch.cat([up(x), before], 1))
        return self.head(x)


def report_of(name):
    """The report of an architecture with random weights, or of the U-Net, which is given a tensor."""
    if name != "U-Net":
        return make_report(load_model(name, weights="random"), "sample:grace_hopper")
    pixels = read_image("sample:grace_hopper").pixels[:448:2, 32:480:2]
    return make_report(UNet(), torch.from_numpy(np.moveaxis(pixels, 2, 0) / 255).float())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ARCHITECTURES, "U-Net"])
def test_each_architecture_has_a_page(browser, tmp_path, name):
    """With random weights the page stays below 8 MB, and its first, middle and last layer are shown and fit."""
    report = report_of(name)
    path = save_report(report, tmp_path / "report.html")
    assert path.stat().st_size <= 8_000_000
    names = [layer.name for layer in report.layers]
    with opened(browser, path) as page:
        for layer in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
            page.evaluate("layer => { location.hash = encodeURIComponent(layer); }", layer)
            ready(page, layer)
            for width in (1440, 375, 320):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(50)
                assert page.evaluate(OUTSIDE) == []
