"""Linear weights of a layer take as long as some forward passes, not one backward pass per channel."""

from __future__ import annotations

import pytest
import torch
from bench import ratio, seconds

from kernelviz import load_model
from kernelviz.network.affine import AffineCopy
from kernelviz.network.capture import make_taps
from kernelviz.network.linear_weights import fields_of, linear_weights

pytestmark = pytest.mark.benchmark


def test_96_channels_cost_at_most_twenty_forward_passes():
    """All channels of blocks.1.0.conv_dw, with their checks, against a forward pass at 224."""
    model = load_model("tf_efficientnet_lite0")
    size = model.input_size
    (tap,) = make_taps(model, size, "blocks.1.0.conv_dw").taps.taps
    network = AffineCopy(model.module, [tap])
    network.check(size)
    image = torch.randn(1, *size)

    def forward() -> None:
        with torch.no_grad():
            model.module(image)

    def expand() -> None:
        linear_weights(network, tap, fields_of(tap, size))

    times = ratio(forward, expand, pairs=3)
    print(f"\n96 channels in {seconds(expand):.2f} s, {times:.1f} forward passes")
    assert times <= 20
