"""One grammar of patterns for every command, and what a module that contains others stands for."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from kernelviz.cli.layers import matching
from kernelviz.errors import UnknownLayerError, UsageError
from kernelviz.network.capture import make_taps
from kernelviz.network.layer_operation import layer_operation
from kernelviz.network.named import select_layers
from kernelviz.network.tracing.trace import trace
from kernelviz.network.units import trace_unit

SIZE = (3, 16, 16)


@pytest.fixture(scope="module")
def network():
    """A stem with one convolution, a body with two and a pool, and a head without any."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            body=nn.Sequential(nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)),
            head=nn.Sequential(nn.ReLU()),
        )
    ).eval()


SELECTING = {
    "kernels, match": lambda network, pattern: [layer.name for layer in select_layers(network, pattern)],
    "features": lambda network, pattern: [tap.name for tap in make_taps(network, SIZE, pattern).taps.taps],
    "layers": lambda network, pattern: matching(trace(network, SIZE), pattern),
    "explain layer": lambda network, pattern: [layer_operation(network, pattern, SIZE).layer.name],
    "explain layer --image": lambda network, pattern: [
        trace_unit(network, torch.zeros(SIZE), pattern, (0, 0, 0)).layer.name
    ],
}
"""How each command turns a pattern into the names of layers."""

MEANT = {
    "stem.0": [["stem.0"]] * 5,
    "stem": [["stem.0"], ["stem"], ["stem.0", "stem.1", "stem.2"], ["stem.0"], ["stem.0"]],
    "body": [["body.0", "body.2"], ["body"], ["body.0", "body.1", "body.2"], UsageError, UsageError],
    "*.0": [
        ["stem.0", "body.0"],
        ["stem.0", "body.0", "head.0"],
        ["stem.0", "body.0", "head.0"],
        *[UsageError] * 2,
    ],
    "st?m": [["stem.0"], ["stem"], ["stem.0", "stem.1", "stem.2"], ["stem.0"], ["stem.0"]],
    "stem.0#1": [["stem.0"]] * 5,
    "stem.0:0": [["stem.0"]] * 5,
    "stem.0#0": [UnknownLayerError] * 5,
    "stem.0:1": [UnknownLayerError, UnknownLayerError, ["stem.0"], *[UnknownLayerError] * 2],
    "stage:0": [["stem.0"], ["stem"], ["stem.0", "stem.1", "stem.2"], ["stem.0"], ["stem.0"]],
    "stage:7": [UnknownLayerError] * 5,
    "stm.0": [UnknownLayerError] * 5,
    "": [UnknownLayerError] * 5,
}


@pytest.mark.parametrize("command", SELECTING)
@pytest.mark.parametrize("pattern", MEANT)
def test_a_pattern_means_the_same_layers_in_every_command(network, command, pattern):
    """Names, globs, runs, parts and stages; a container is what is inside it, itself, or its only convolution or pool."""
    wanted = MEANT[pattern][list(SELECTING).index(command)]
    if isinstance(wanted, list):
        assert SELECTING[command](network, pattern) == wanted
        return
    with pytest.raises(wanted) as caught:
        SELECTING[command](network, pattern)
    words = {"stm.0": "Nearest: stem.0", "": "name is empty", "body": "body.0, body.1, body.2"}
    assert words.get(pattern, "") in str(caught.value)
