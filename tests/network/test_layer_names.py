"""A layer has one name in every call, and a forward pass that breaks states where."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import kernelviz
from kernelviz.errors import BrokenPassError, UnknownLayerError, UsageError
from kernelviz.network.layer_operation import layer_operation

SIZE = (3, 16, 16)


def plain():
    """Two convolutions around a ReLU."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))


class Shared(nn.Module):
    """A convolution with three names, and a block with two."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)
        self.b = self.a
        self.block = nn.Sequential(nn.ReLU(), self.a, nn.Conv2d(3, 4, 3))
        self.again = self.block

    def forward(self, x):
        """All of them."""
        return self.again(self.b(self.a(x)))


class Weighted(nn.Module):
    """A network with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        """A scaled image, convolved."""
        return self.conv(x * self.scale)


NETWORKS = {
    "plain": plain,
    "shared": Shared,
    "weighted": Weighted,
    "one layer": lambda: nn.Conv2d(3, 4, 3),
    "parallel": lambda: nn.DataParallel(plain()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(plain()),
    "compiled": lambda: torch.compile(plain()),
    "compiled layer": lambda: torch.compile(nn.Conv2d(3, 4, 3)),
    "compiled and parallel": lambda: torch.compile(nn.DataParallel(plain())),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_name_of_one_call_is_taken_by_every_other(kind):
    """Names of ``list_layers``, ``trace``, ``capture_features`` and ``named_modules`` mean the same layer everywhere."""
    network, image = NETWORKS[kind](), torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    trace = kernelviz.trace(network, SIZE)
    convolutions = [layer.name for layer in kernelviz.list_layers(network)]
    assert set(convolutions) <= {layer.name for layer in trace.layers}
    names = [
        *convolutions,
        *(layer.name for layer in trace.layers),
        *(name for name, module in network.named_modules(remove_duplicate=False) if name and not [*module.children()]),
    ]
    for name in names:
        first = trace.layer(name).name
        assert kernelviz.capture_features(network, image, name)[0].layer == first
        if first in convolutions:
            assert kernelviz.read_kernels(network, name).layer.name == first
            assert [layer.name for layer in kernelviz.select_layers(network, name)] == [first]
            assert layer_operation(network, name, SIZE).layer.name == first
            assert kernelviz.trace_unit(network, image, name, (0, 1, 1)).layer.name == first


def test_the_network_itself():
    """A network with parameters of its own has a row and a map under the name of its class."""
    network, image = Weighted(), torch.rand(1, *SIZE)
    assert [layer.name for layer in kernelviz.trace(network, SIZE).layers] == ["Weighted", "conv"]
    maps = kernelviz.capture_features(network, image, "Weighted")[0]
    assert torch.equal(torch.from_numpy(maps.values), network(image)[0].detach())


def test_runs_of_a_shared_module():
    """The second run has the same name under every name of the module."""
    image = torch.rand(1, *SIZE)
    network = Shared().eval()
    first, other = (kernelviz.capture_features(network, image, name)[0] for name in ("a#3", "block.1#3"))
    assert (first.layer, other.layer) == ("a#3", "a#3")


def broken():
    """A Linear that is made for another input than 32 × 32."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2048, 10))


def test_a_trace_that_breaks_names_the_layer_and_keeps_the_rows_before():
    """What came in and what the layer takes are stated, and the four layers before are there."""
    with pytest.raises(BrokenPassError, match=r"4 \(Linear 2048 → 10\) got 1,800 values") as caught:
        kernelviz.trace(broken(), (3, 32, 32))
    rows = caught.value.trace.layers
    assert [row.name for row in rows] == ["0", "1", "2", "3"]
    assert rows[3].output_shape == (1800,)


def test_maps_before_the_break():
    """Layers before it are captured as ever; with all layers, the maps before it are on the error."""
    network, image = broken(), torch.rand(1, 3, 32, 32)
    assert [maps.layer for maps in kernelviz.capture_features(network, image, ["0", "2"])] == ["0", "2"]
    for layers in ("*", ["2", "4"], None):
        with pytest.raises(BrokenPassError, match=r"4 \(Linear 2048 → 10\) got 1,800 values") as caught:
            kernelviz.capture_features(network, image, layers)
        names = [maps.layer for maps in caught.value.maps]
        assert names == (["0", "1", "2"] if layers == "*" else ["0", "1"] if layers is None else ["2"])
        assert caught.value.missing == (() if layers is None else ("4",))
        assert ("Not captured: 4." in caught.value.why) == (layers is not None)
    with pytest.raises(UnknownLayerError):
        kernelviz.capture_features(network, image, "nosuch")
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Conv2d(4, 8, 3))),
            "1.0 (Conv2d 4 → 8) got 8 channels (8 × 14 × 14)",
        ),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(4)), "1 (BatchNorm2d 4) got 8 channels (8 × 14 × 14)"),
        (nn.Sequential(nn.Conv2d(3, 8, 20)), "0 (Conv2d 3 → 8) got 3 × 16 × 16"),
        (nn.Sequential(nn.Linear(8, 4)), "0 (Linear 8 → 4) got 16 values in the last dimension of 3 × 16 × 16"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Unflatten(1, (3, 3))), "1 (Unflatten) got 8 × 14 × 14"),
    ],
)
def test_where_it_broke(network, message):
    """The innermost layer is named, with what it takes and what came in."""
    with pytest.raises(BrokenPassError) as caught:
        kernelviz.trace(network, SIZE)
    assert message in caught.value.what


def test_a_container_has_no_row():
    """The error for a module that only contains others names one inside it."""
    with pytest.raises(UnknownLayerError, match="contains other layers"):
        kernelviz.trace(nn.Sequential(plain()), SIZE).layer("0")
    with pytest.raises(UsageError, match="matches 2 layers"):
        layer_operation(plain(), "Sequential", SIZE)


class Twice(nn.Module):
    """A convolution that runs twice, on different maps, in a network that names no stages."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)
        self.end = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())

    def forward(self, x):
        """Once at each resolution."""
        return self.end(self.conv(self.pool(self.conv(x))))


def test_the_name_of_a_run_is_taken_by_every_call():
    """Names with runs that a capture returns mean the same layer everywhere, and the values of that run."""
    network, image = Twice().eval(), torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    maps = {each.layer: each for each in kernelviz.capture_features(network, image, "*")}
    assert list(maps) == ["conv", "pool", "conv#2", "end.0", "end.1", "end"]
    trace = kernelviz.trace(network, SIZE)
    assert trace.layer("conv#2") is trace.layer("conv")
    assert kernelviz.read_kernels(network, "conv#2").layer.name == "conv"
    assert [layer.name for layer in kernelviz.select_layers(network, ["conv#2", "conv"])] == ["conv"]
    found = layer_operation(network, "conv#2", SIZE)
    assert (found.layer.name, found.operation.output_size, found.layer.output_shape) == ("conv#2", (8, 8), (3, 8, 8))
    unit = kernelviz.trace_unit(network, image, "conv#2", (1, 2, 3))
    assert (unit.layer.name, unit.value) == ("conv#2", float(maps["conv#2"].values[1, 2, 3]))
    for call in (
        lambda: trace.layer("conv#3"),
        lambda: kernelviz.capture_features(network, image, "conv#3"),
        lambda: layer_operation(network, "conv#3", SIZE),
        lambda: kernelviz.trace_unit(network, image, "conv#3", (0, 0, 0)),
    ):
        with pytest.raises(UnknownLayerError, match="conv runs 2 times, so there is no conv#3"):
            call()


def test_stages_of_a_network_that_names_none_are_those_of_every_call():
    """``stage:0`` and ``stage:-1`` are the last maps at a resolution, for kernels the convolutions up to there."""
    network, image = Twice().eval(), torch.rand(1, *SIZE)
    trace = kernelviz.trace(network, SIZE)
    assert trace.stages[0] == "conv"
    assert [maps.layer for maps in kernelviz.capture_features(network, image, "stage:-1")] == [trace.stages[-1]]
    assert [layer.name for layer in kernelviz.select_layers(network, "stage:0")] == ["conv"]
    assert [layer.name for layer in kernelviz.select_layers(network, "stage:-1")] == ["end.0"]
    assert trace.layer("stage:0").name == "conv"
    assert layer_operation(network, "stage:-1", SIZE).layer.name == "end.0"
    assert kernelviz.trace_unit(network, image, "stage:-1", (0, 0, 0)).layer.name == "end.0"
