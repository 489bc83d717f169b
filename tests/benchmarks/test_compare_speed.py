"""Comparing all kernels of two weights costs little beside loading one of them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from bench import ratio, seconds

from kernelviz import compare_weights, load_model

pytestmark = pytest.mark.benchmark


def test_21008_kernels_cost_less_than_loading_them():
    """All 49 layers of EfficientNet-Lite0 and its 198 other tensors: 0.1 s where one load takes 0.25 s."""
    first = load_model("tf_efficientnet_lite0", weights="bundled")
    second = replace(first, module=copy.deepcopy(first.module))
    with torch.no_grad():
        for parameter in second.module.parameters():
            parameter.add_(0.01)

    def load() -> None:
        load_model("tf_efficientnet_lite0", weights="bundled")

    def compare() -> None:
        found = compare_weights(first, second)
        assert sum(len(layer.changes) for layer in found.layers) == 21_008

    times = ratio(compare, load, pairs=9)
    print(f"\n21,008 kernels in {seconds(compare):.3f} s, {times:.1f} times as fast as loading them")
    assert times >= 1.5
