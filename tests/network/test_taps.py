"""What patterns mean: exact names, runs, parts, globs, stages and kinds; and what cannot be tapped, with the reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.capture import capture_features, make_taps
from kernelviz.network.model import load_model
from kernelviz.network.tracing.trace import trace


class Twice(nn.Module):
    """A layer that runs twice, one that never does, a head, and a name with a hash in it."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.never = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 1)
        self.pool, self.norm, self.head = nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.Linear(3, 5)
        self.add_module("odd#2", nn.Conv2d(3, 3, 1))

    def forward(self, image):
        """Twice through the convolution."""
        image = self.conv(self.act(self.conv(image)))
        image = getattr(self, "odd#2")(self.norm(self.pool(image)))
        return self.head(image.mean((2, 3)))


def names(patterns, network=None, size=(3, 8, 12), **choices):
    """The names of what is tapped."""
    return [tap.name for tap in make_taps(network or Twice(), size, patterns, **choices).taps.taps]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("conv", ["conv", "conv#2"]),
        ("conv#1", ["conv"]),
        ("conv#2", ["conv#2"]),
        ("conv:0", ["conv", "conv#2"]),
        ("odd#2", ["odd#2"]),
        (["pool", "conv#2"], ["conv#2", "pool"]),
        (["conv", "c*", "conv#2"], ["conv", "conv#2"]),
        ("[np]o*", ["norm", "pool"]),
        ("*", ["act", "conv", "conv#2", "norm", "odd#2", "pool"]),
    ],
)
def test_patterns(patterns, expected):
    """Names, runs, parts and globs; each tensor once."""
    assert sorted(names(patterns)) == sorted(expected)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("conv", {"conv", "conv#2", "odd#2"}), ("act", {"act"}), ("norm", {"norm"}), ("pool", {"pool"})],
)
def test_kinds(kind, expected):
    """--kind narrows what was matched."""
    assert set(names("*", kind=kind)) == expected


@pytest.mark.parametrize(
    ("pattern", "error", "words"),
    [
        ("", UnknownLayerError, "empty"),
        ("cnv", UnknownLayerError, "No layer is called"),
        ("x*", UnknownLayerError, "No layer is called"),
        ("conv#3", UnknownLayerError, "runs 2 times"),
        ("conv#0", UnknownLayerError, "counted from 1"),
        ("conv:1", UnknownLayerError, "gives 1 tensor"),
        ("never", KernelvizError, "did not run"),
        ("head", UsageError, "has no map"),
        ("hea*", UsageError, "has no map"),
        ("stage:9", UnknownLayerError, "stage:9"),
    ],
)
def test_what_cannot_be_tapped(pattern, error, words):
    """Each with its own sentence."""
    with pytest.raises(error, match=words) as caught:
        names(pattern)
    if pattern == "cnv":
        assert "conv" in str(caught.value.why)
    if pattern.startswith("hea"):
        assert "(1, 5)" in str(caught.value.why)


def test_kinds_and_sides_are_words():
    """Others are rejected."""
    with pytest.raises(UsageError, match="kind"):
        names("*", kind="weird")
    with pytest.raises(UsageError, match="tap"):
        names("*", tap="both")
    with pytest.raises(UnknownLayerError, match="linear"):
        names("conv", kind="linear")


def test_without_a_pattern_the_first_convolution_and_the_stages():
    """Those of timm's own feature_info; of a network that names none, the last map at each resolution."""
    model = load_model("resnet18d", weights=None)
    assert names(None, model, (3, 64, 64)) == ["conv1.0", "act1", "layer1", "layer2", "layer3", "layer4"]
    assert names("stage:-1", model, (3, 64, 64)) == ["layer4"]
    with pytest.raises(UnknownLayerError, match="stage:9"):
        names("stage:9", model, (3, 64, 64))
    assert names(None) == ["conv", "act", "norm", "odd#2"]


def test_what_has_no_map_is_reported():
    """What a glob matches but gives no map stands beside, with the reason."""
    without = make_taps(Twice(), (3, 8, 12), "*").taps.without
    assert set(without) == {"never", "head"}
    assert "did not run" in without["never"]
    assert "(1, 5)" in without["head"]


def test_centres_are_those_of_the_fields():
    """The middle of what a unit of the middle reads, by the trace's own boxes."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, padding=1)).eval()
    size = (3, 33, 49)
    (maps,) = capture_features(network, torch.randn(size), "1")
    rows, columns = maps.centres
    assert (len(rows), len(columns)) == maps.values.shape[1:]
    box = trace(network, size).field_of("1", 5, 7)
    assert (rows[5], columns[7]) == ((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    np.testing.assert_array_equal(np.diff(rows), 2)


@pytest.mark.parametrize("layers", [None, "*", "Conv2d"])
def test_a_network_that_is_one_layer(layers):
    """It is called by its class."""
    network, image = nn.Conv2d(3, 4, 3).train(), torch.rand(1, 3, 8, 12)
    (maps,) = capture_features(network, image, layers)
    assert (maps.layer, maps.kind) == ("Conv2d", "Conv2d")
    np.testing.assert_array_equal(maps.values, network(image)[0].detach().numpy())
    assert network.training


@pytest.mark.parametrize("layers", [5, [None], {"conv": 1}])
def test_layers_are_texts(layers):
    """Anything else is rejected with a clear error."""
    with pytest.raises(UsageError, match="names or patterns"):
        names(layers)


class Named(nn.Module):
    """Hands on what it takes by keyword."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, image):
        """One tensor and one number."""
        return self.inner(image=image * 2, scale=3)


class Inner(nn.Module):
    """A convolution within, and one number made of nothing."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 5, 3), Gate()

    def forward(self, image, scale):
        """Times the scale."""
        return self.conv(image) * scale * self.gate()


class Gate(nn.Module):
    """Takes nothing."""

    def forward(self):
        """A number."""
        return torch.ones(())


def test_inputs_by_keyword():
    """They are caught like any; a module that takes nothing says that it takes nothing."""
    image = torch.rand(1, 3, 8, 12)
    (maps,) = capture_features(Named(), image, "inner", tap="input")
    np.testing.assert_array_equal(maps.values, (image * 2)[0].numpy())
    with pytest.raises(UsageError) as caught:
        capture_features(Named(), image, "inner.gate", tap="input")
    assert "takes no tensor" in caught.value.why


def test_a_kind_inside_of_modules():
    """--kind takes what is inside of what was named, and without a name all of the network."""
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()), nn.Linear(240, 5))
    assert names("0", network, kind="norm") == ["0.1"]
    assert names(None, network, kind="norm") == ["0.1"]
    assert names(["0", "0.0"], network, kind="conv") == ["0.0"]
    with pytest.raises(UsageError, match="has a map"):
        names("1", network, kind="linear")
    with pytest.raises(UnknownLayerError, match="pool") as caught:
        names("0", network, kind="pool")
    assert "conv, norm" in caught.value.why
