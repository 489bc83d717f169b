"""Reports of many architectures: bounded, alive in a browser, and with every part in its column."""

from __future__ import annotations

import pytest
from pages import OUTSIDE, opened, ready

from kernelviz import load_model, make_report, save_report

ARCHITECTURES = [
    "resnet18d", "resnet50", "densenet121", "efficientnet_b0", "mobilenetv3_small_100", "convnext_atto", "vgg11",
    "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "maxvit_rmlp_pico_rw_256", "regnety_002", "resnext50_32x4d",
    "ghostnet_100", "repvgg_a0", "hrnet_w18_small", "inception_v3", "mixer_b16_224", "pvt_v2_b0", "coat_lite_tiny",
    "edgenext_xx_small",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_has_a_page(browser, tmp_path, name):
    """With random weights the page stays below 8 MB, and its first, middle and last layer are shown and fit."""
    report = make_report(load_model(name, weights="random"), "sample:grace_hopper")
    path = save_report(report, tmp_path / "report.html")
    assert path.stat().st_size <= 8_000_000
    names = [layer.name for layer in report.layers]
    with opened(browser, path) as page:
        for layer in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
            page.evaluate("layer => { location.hash = encodeURIComponent(layer); }", layer)
            ready(page, layer)
            for width in (1440, 375):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(50)
                assert page.evaluate(OUTSIDE) == []
