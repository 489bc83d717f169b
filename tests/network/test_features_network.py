"""The caller's network comes back as it was, whatever it is and however the forward pass ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stopped_pass import parsed, tensors_of, value_at
from torch import nn

from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.capture import capture_features


class Residual(nn.Module):
    """A block that overwrites: in-place activation and in-place shortcut; its activation runs twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.unused = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        """Convolution, activation, convolution, shortcut, the same activation."""
        image = self.act(self.norm(self.conv1(image)))
        shortcut = image
        image = self.conv2(image)
        image += shortcut
        return self.act(image)


def small(**choices):
    """A small network; choices are those of its first convolution."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, **choices), Residual(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1))


def picture(*sides, seed=0):
    """A ready tensor."""
    return torch.randn(1, 3, *sides, generator=torch.Generator().manual_seed(seed))


def same(network, maps, batch, **choices):
    """Whether maps are what a stopped pass gives."""
    module, run, part = parsed(maps.layer)
    value = tensors_of(value_at(network, module, batch, run=run, **choices))[part]
    return np.array_equal(value[0].float().numpy(), maps.values)


def state_of(network):
    """All that a forward pass could change."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return (
        [{name: list(getattr(part, name)) for name in hooks} for part in network.modules()],
        [sorted(vars(part)) for part in network.modules()],
        [part.training for part in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [(name, value.tolist(), value._version) for name, value in network.named_buffers()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    )


class BrokenError(Exception):
    """What goes wrong in a test."""


def break_in_pass(network):
    """A layer that raises in a real forward pass only."""

    def broken(image):
        if not image.is_meta:
            raise BrokenError
        return nn.functional.conv2d(image, network[3].weight)

    network[3].forward = broken


@pytest.mark.parametrize("end", ["end", "pass", "on_map", "interrupt", "no such layer"])
def test_the_network_is_as_before(end):
    """Hooks (the caller's own too), modes, buffers, gradients and the random state; however it ends."""
    network = small().train()
    network[1].norm.eval()
    network[3].weight.requires_grad_(requires_grad=False)
    network[0].register_forward_hook(lambda *_: None)
    network[1].register_forward_pre_hook(lambda *_: None)
    if end == "pass":
        break_in_pass(network)
    before = state_of(network)

    def on_map(_maps):
        if end == "on_map":
            raise BrokenError
        if end == "interrupt":
            raise KeyboardInterrupt

    wanted = "nosuch" if end == "no such layer" else "*"
    errors = {
        "on_map": BrokenError,
        "interrupt": KeyboardInterrupt,
        "pass": KernelvizError,
        "no such layer": UnknownLayerError,
    }
    if end in errors:
        with pytest.raises(errors[end]):
            capture_features(network, picture(17, 23), wanted, on_map=on_map)
    else:
        assert capture_features(network, picture(17, 23), wanted, on_map=on_map) == ()
    assert state_of(network) == before


def test_maps_are_what_they_were_before_being_overwritten():
    """In-place activations, in-place shortcuts and second runs: each map is that of its own moment."""
    network, batch = small().eval(), picture(17, 23)
    every = capture_features(network, batch, "*")
    names = [maps.layer for maps in every]
    assert names == ["0", "1.conv1", "1.norm", "1.act", "1.conv2", "1.act#2", "1", "2", "3"]
    assert all(same(network, maps, batch) for maps in every)
    norm, conv2, act = (every[names.index(name)].values for name in ("1.norm", "1.conv2", "1.act#2"))
    assert norm.min() < 0
    assert conv2.min() < 0
    assert act.min() == 0
    assert every[names.index("1.act#2")].notes == ("run 2 of 2",)


def test_what_goes_in():
    """tap="input" catches what a layer takes, before it overwrites it."""
    network, batch = small().eval(), picture(17, 23)
    every = capture_features(network, batch, ["0", "1.act"], tap="input")
    assert [maps.layer for maps in every] == ["0", "1.act", "1.act#2"]
    assert np.array_equal(every[0].values, batch[0].numpy())
    assert all(same(network, maps, batch, taken=True) for maps in every)
    assert all(maps.tap == "input" for maps in every)
    assert every[1].values.min() < 0


def test_the_pass_ends_behind_the_last_layer():
    """What is not requested does not run; what is named but does not run is rejected."""
    network, batch = small().eval(), picture(17, 23)
    break_in_pass(network)
    assert [maps.layer for maps in capture_features(network, batch, "1.conv1")] == ["1.conv1"]
    with pytest.raises(KernelvizError, match="did not run"):
        capture_features(network, batch, "1.unused")


class Several(nn.Module):
    """Gives tuples, lists and dicts."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.one, self.two = kind, nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 5)

    def forward(self, image):
        """Two maps in a collection."""
        one, two = self.one(image), self.two(image)
        return {"tuple": (one, two), "list": [one, (two, None)], "dict": {"one": one, "deep": {"two": two}}}[self.kind]


@pytest.mark.parametrize("kind", ["tuple", "list", "dict"])
def test_every_tensor_of_a_collection(kind):
    """``name:0`` and ``name:1``, each by its own name too."""
    network = nn.Sequential(nn.Identity(), Several(kind)).eval()
    batch = picture(9, 12)
    both = capture_features(network, batch, "1")
    assert [(maps.layer, maps.values.shape) for maps in both] == [("1:0", (4, 7, 10)), ("1:1", (2, 5, 8))]
    assert all(same(network, maps, batch) for maps in both)
    (second,) = capture_features(network, batch, "1:1")
    assert np.array_equal(second.values, both[1].values)
    with pytest.raises(UnknownLayerError, match="gives 2 tensors"):
        capture_features(network, batch, "1:2")


def test_lost_layouts_are_refused_with_their_shape():
    """A vector, and rows mixed with channels: no map is guessed."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(280, 6)).eval()
    with pytest.raises(UsageError, match="no map") as caught:
        capture_features(network, picture(9, 12), "2")
    assert "(1, 6)" in str(caught.value.why)
    (only,) = capture_features(network, picture(9, 12), "0")
    assert only.values.shape == (4, 7, 10)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_other_kinds(kind):
    """Half precision comes as float32 without a change, double as double."""
    network, batch = small().eval().to(kind), picture(17, 23)
    every = capture_features(network, batch, "*")
    assert all(maps.values.dtype == (np.float64 if kind is torch.float64 else np.float32) for maps in every)
    for maps in every:
        module, run, _ = parsed(maps.layer)
        value = value_at(network, module, batch.to(kind), run=run)[0]
        assert np.array_equal(value.to(torch.float64).numpy(), maps.values.astype(np.float64))


def test_one_dimension_and_three():
    """A line becomes maps of one row, a volume maps of three axes; a batch of several volumes is rejected."""
    batch = torch.randn(2, 20)
    (maps,) = capture_features(nn.Sequential(nn.Conv1d(2, 3, 5)), batch, "0")
    assert maps.values.shape == (3, 1, 16)
    volumes = nn.Sequential(nn.Conv3d(1, 1, 3))
    (maps,) = capture_features(volumes, torch.randn(1, 1, 4, 5, 6), "0")
    assert maps.values.shape == (1, 2, 3, 4)
    with pytest.raises(UsageError, match=r"2 × 1 × 4 × 4 × 4|\(2, 1, 4, 4, 4\)"):
        capture_features(volumes, torch.randn(2, 1, 4, 4, 4), "0")


class Choosy(nn.Module):
    """The control flow of the forward pass depends on values."""

    def __init__(self):
        super().__init__()
        self.dark, self.bright = nn.Conv2d(3, 2, 3), nn.Conv2d(3, 2, 3)

    def forward(self, image):
        """One of two convolutions."""
        return self.bright(image) if float(image.mean()) > 0 else self.dark(image)


def test_a_network_with_data_dependent_control_flow():
    """It cannot be observed without numbers, so it is observed with them."""
    network = Choosy().train()
    for batch, name in ((picture(9, 12).abs(), "bright"), (-picture(9, 12).abs(), "dark")):
        before = state_of(network)
        (maps,) = capture_features(network, batch, "*")
        assert maps.layer == name
        assert same(network, maps, batch)
        assert state_of(network) == before


def test_a_compiled_network():
    """The network that was compiled is the one that is looked into, under its own names."""
    network, batch = small().eval(), picture(17, 23)
    every = capture_features(torch.compile(network, backend="eager"), batch, "1.conv*")
    assert [maps.layer for maps in every] == ["1.conv1", "1.conv2"]
    assert all(same(network, maps, batch) for maps in every)


def test_a_module_with_two_names():
    """It has two runs under its first name, and answers to the second name too."""
    shared = nn.Conv2d(3, 3, 3, padding=1)
    network = nn.Sequential(shared, nn.ReLU(), shared).eval()
    every = capture_features(network, picture(9, 12), "2")
    assert [maps.layer for maps in every] == ["0", "0#2"]
    assert all(same(network, maps, picture(9, 12)) for maps in every)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "parametrized"])
def test_weights_that_are_made_anew_in_each_pass(kind):
    """Old-style hooks and parametrisations: maps are those of the weight that was used, and nothing moves."""
    layer = nn.Conv2d(3, 4, 3)
    if kind == "parametrized":
        nn.utils.parametrizations.weight_norm(layer)
    elif kind == "spectral_norm":
        nn.utils.spectral_norm(layer)
    else:
        with pytest.warns(FutureWarning, match="weight_norm"):
            nn.utils.weight_norm(layer)
    network = nn.Sequential(layer, nn.ReLU()).eval()
    before = state_of(network)
    (maps,) = capture_features(network, picture(9, 12), "0")
    assert state_of(network) == before
    assert same(network, maps, picture(9, 12))


@pytest.mark.parametrize(
    "given", [np.zeros((3, 9, 9)), torch.zeros(2, 3, 9, 9), torch.zeros(9), torch.zeros(1, 3, 0, 9)]
)
def test_what_is_no_image(given):
    """Arrays, batches of several, vectors and empty tensors are rejected with a clear error."""
    with pytest.raises(UsageError):
        capture_features(small(), given, "0")


def test_a_network_without_numbers():
    """One that was built on meta says so."""
    with torch.device("meta"):
        network = small()
    with pytest.raises(UsageError, match="without weights"):
        capture_features(network, picture(17, 23), "0")
