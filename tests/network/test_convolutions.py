"""Which convolutions a network has, and which of them a name, a pattern or a stage means."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import CondConv2d, Conv2dSame, ScaledStdConv2dSame
from torch import nn

from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import NoConvolutionsError, UnknownLayerError
from kernelviz.network.convolutions import first_convolution, list_layers
from kernelviz.network.kernels import architecture_of, read_kernels
from kernelviz.network.model import load_model
from kernelviz.network.named import find_convolution, left_out, select_layers


@pytest.fixture(scope="module")
def resnet18d():
    """The architecture alone: enough for names and shapes."""
    return load_model("resnet18d", weights=None)


class Backwards(nn.Module):
    """Defines its convolutions in the order in which they do not run, and draws random numbers before the first."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(4, 5, 3)
        self.first = nn.Conv2d(3, 4, 3)
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, image):
        """Count, add noise, convolve twice."""
        self.passes += 1
        image = image + torch.rand_like(image)
        return self.second(self.first(self.norm(image)))


def names(layers):
    """The names alone."""
    return [layer.name for layer in layers]


def refusal(network, *patterns):
    """The error that the patterns end in."""
    with pytest.raises(UnknownLayerError) as caught:
        select_layers(network, list(patterns))
    return caught.value


def test_every_convolution_is_listed_as_torch_has_it(resnet18d):
    """Order, shapes and parameter counts are the modules' own."""
    layers = list_layers(resnet18d)
    modules = {name: m for name, m in resnet18d.module.named_modules() if isinstance(m, nn.Conv2d)}
    assert names(layers) == list(modules)
    for layer, module in zip(layers, modules.values(), strict=True):
        assert layer.weight_shape == tuple(module.weight.shape)
        assert layer.params == module.weight.numel()
        assert (layer.kernel_size, layer.stride, layer.padding) == (module.kernel_size, module.stride, module.padding)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv1d(4, 6, 3, groups=2),
        nn.Conv2d(4, 4, (3, 5), groups=4, bias=False),
        nn.Conv3d(2, 3, 1, dilation=2),
        nn.ConvTranspose1d(4, 6, 3, stride=2),
        nn.ConvTranspose2d(4, 6, 3, groups=2),
        nn.ConvTranspose3d(2, 3, 2),
    ],
)
def test_each_kind_of_convolution_is_described(module):
    """Rank, channels, groups and stored shape of all six kinds are true."""
    (layer,) = list_layers(nn.Sequential(module))
    assert layer.kind == type(module).__name__
    assert layer.weight_shape == tuple(module.weight.shape)
    assert layer.transposed == ("Transpose" in layer.kind)
    assert (layer.in_channels, layer.out_channels, layer.groups) == (
        module.in_channels,
        module.out_channels,
        module.groups,
    )
    assert layer.bias == (module.bias is not None)
    assert layer.params == sum(parameter.numel() for parameter in module.parameters())
    assert layer.depthwise == (layer.groups == layer.in_channels > 1)


@pytest.mark.parametrize(
    ("module", "padding"),
    [
        (nn.Conv2d(3, 4, 3, padding="same"), "same"),
        (nn.Conv2d(3, 4, 3, padding="valid"), (0, 0)),
        (nn.Conv2d(3, 4, 3, padding=(1, 2)), (1, 2)),
        (Conv2dSame(3, 4, 3, stride=2), "same"),
        (ScaledStdConv2dSame(3, 4, 3, stride=2, padding="SAME"), "same"),
        (ScaledStdConv2dSame(3, 4, 3, padding=1), (1, 1)),
    ],
)
def test_padding_is_what_the_layer_does(module, padding):
    """Layers that pad by themselves are ``same``, though their attribute reads (0, 0)."""
    assert list_layers(nn.Sequential(module))[0].padding == padding


def test_a_network_that_is_one_convolution():
    """It has a name that can be shown and that leads back to it."""
    conv = nn.Conv2d(3, 8, 3)
    assert names(list_layers(conv)) == ["Conv2d"]
    assert names(select_layers(conv)) == names(select_layers(conv, "Conv2d")) == ["Conv2d"]
    assert find_convolution(conv, "Conv2d")[1] is conv


def test_shared_modules_appear_once():
    """One module under two names is one layer."""
    conv = nn.Conv2d(3, 3, 3)
    assert names(list_layers(nn.Sequential(conv, conv))) == ["0"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("layer1.0.conv2", ["layer1.0.conv2"]),
        ("layer1.0", ["layer1.0.conv1", "layer1.0.conv2"]),
        ("conv1", ["conv1.0", "conv1.3", "conv1.6"]),
        ("*downsample*", ["layer2.0.downsample.1", "layer3.0.downsample.1", "layer4.0.downsample.1"]),
        ("layer[34].1.conv?", ["layer3.1.conv1", "layer3.1.conv2", "layer4.1.conv1", "layer4.1.conv2"]),
        ("layer4.?", [f"layer4.{x}" for x in ("0.conv1", "0.conv2", "0.downsample.1", "1.conv1", "1.conv2")]),
        ("stage:0", ["conv1.0", "conv1.3", "conv1.6"]),
        ("stage:1", ["layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"]),
        ("stage:-5", ["conv1.0", "conv1.3", "conv1.6"]),
    ],
)
def test_what_a_pattern_means(resnet18d, pattern, expected):
    """Exact names first, then what a module contains, then shell patterns across dots, then stages."""
    assert names(select_layers(resnet18d, [pattern])) == expected
    assert names(select_layers(resnet18d, pattern)) == expected
    assert names(select_layers(resnet18d.module, pattern)) == expected


def test_a_pattern_takes_all_in_order(resnet18d):
    """``*`` is every convolution once, in the order of definition."""
    assert select_layers(resnet18d, ["*", "conv1.0"]) == list_layers(resnet18d)


def test_patterns_keep_their_order_without_repeats(resnet18d):
    """What is named first comes first, and nothing comes twice."""
    chosen = select_layers(resnet18d, ["layer1.1", "conv1.3", "layer1.1.conv2"])
    assert names(chosen) == ["layer1.1.conv1", "layer1.1.conv2", "conv1.3"]


def test_the_last_stage_of_a_network_of_blocks(bundled):
    """A stage whose module holds convolutions is what lies in that module."""
    chosen = names(select_layers(bundled, ["stage:-1"]))
    assert chosen
    assert all(name.startswith("blocks.6.") for name in chosen)


def test_a_name_with_brackets_is_itself_first():
    """A literal name wins over what it would mean as a shell pattern."""
    network = nn.Module()
    network.add_module("c[12]", nn.Conv2d(1, 1, 1))
    network.add_module("c1", nn.Conv2d(1, 1, 1))
    assert names(select_layers(network, "c[12]")) == ["c[12]"]
    assert names(select_layers(network, "c[1]")) == ["c1"]


@pytest.mark.parametrize(
    "pattern", ["nosuch", "layer1.0.conv9", "LAYER1.0.CONV1", "layer9*", "[", "\n", "[/bold]", "x" * 9999]
)
def test_what_matches_nothing_leads_on(resnet18d, pattern):
    """Three nearest names that exist, and one to type."""
    error = refusal(resnet18d, pattern)
    nearest = error.why.removeprefix("Nearest: ").rstrip(".").split(", ")
    assert len(nearest) == 3
    assert set(nearest) <= set(names(list_layers(resnet18d)))
    assert f"--layer {nearest[0]}" in error.hint
    assert error.what.isprintable()


def test_the_nearest_name_comes_first(resnet18d):
    """One wrong letter leads to the right name."""
    assert refusal(resnet18d, "layer3.0.downsmple.1").why.startswith("Nearest: layer3.0.downsample.1,")


@pytest.mark.parametrize("patterns", [[""], ["conv1.0", ""]])
def test_an_empty_pattern_is_refused(resnet18d, patterns):
    """An empty string is no way to choose, while no patterns at all are."""
    assert "empty" in refusal(resnet18d, *patterns).what
    with pytest.raises(UnknownLayerError, match="empty"):
        select_layers(resnet18d, "")
    assert names(select_layers(resnet18d, [])) == ["conv1.0"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("act1", "act1 is a ReLU, not a convolution"),
        ("global_pool", "is a SelectAdaptivePool2d, not a convolution"),
        ("*.act?", "not a convolution, but a ReLU"),
        ("stage:5", "no stage:5"),
        ("stage:-6", "no stage:-6"),
        ("stage:", "no stage:"),
        ("stage:one", "no stage:one"),
        ("stage:" + "9" * 5000, "no stage:9"),
    ],
)
def test_what_is_no_convolution_is_named(resnet18d, pattern, expected):
    """What the name means instead, and a name that would do."""
    error = refusal(resnet18d, pattern)
    assert expected in error.what
    assert "--layer conv1.0" in error.hint


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [("*", ["0", "1:0", "1:1", "1:2"]), ("1", ["1:0", "1:1", "1:2"]), ("1:2", ["1:2"]),
     ("[01]", ["0", "1:0", "1:1", "1:2"]), ("1:[02]", ["1:0", "1:2"])],
)  # fmt: skip
def test_every_expert_is_a_layer(pattern, chosen):
    """A CondConv2d has a bank of kernels an expert, each with a name; its own name means all of them."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), CondConv2d(4, 6, (3, 5), stride=2, groups=2, num_experts=3))
    layers = select_layers(network, pattern)
    assert names(layers) == chosen
    assert (layers[-1].weight_shape, layers[-1].stride, layers[-1].padding) == ((6, 2, 3, 5), (2, 2), (1, 2))
    assert layers[-1].params == 6 * 2 * 3 * 5
    assert first_convolution(nn.Sequential(CondConv2d(3, 4, 3)), None) == "0:0"
    assert "inside it: 1:0, 1:1, 1:2" in refused(network, "1")
    assert "No layer is called 1:3" in refused(network, "1:3")


def refused(network, name):
    """What is said where this is no layer's exact name."""
    with pytest.raises(UnknownLayerError) as caught:
        find_convolution(network, name)
    return f"{caught.value.what} {caught.value.why}"


def test_networks_without_stages():
    """Where timm names no stages, stage:0 is rejected; in other networks it is found by a forward pass."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2))
    assert names(select_layers(network, "stage:0")) == ["0"]
    assert "stage:0 to stage:1" in refusal(network, "stage:2").why
    network[2] = nn.Conv2d(5, 4, 3)
    assert names(select_layers(network, "stage:0")) == ["0"]  # it runs before the break
    network[0] = nn.Conv2d(3, 5, 300)
    assert "0 (Conv2d 3 → 5) got 3 × 224 × 224" in refusal(network, "stage:0").why
    network.pretrained_cfg = {}
    assert "names no stages" in refusal(network, "stage:0").why
    nameless = load_model("mvitv2_tiny", weights=None)  # its feature_info names modules that do not exist
    assert "no such module" in refusal(nameless, "stage:0").why


def test_lazy_convolutions_are_left_out():
    """What has no shape yet is not listed, and asking for it says why, without giving it one."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LazyConv2d(5, 3))
    assert names(list_layers(network)) == ["0"]
    assert names(select_layers(network)) == ["0"]
    assert first_convolution(network, (3, 8, 8)) == "0"
    assert "before its first forward pass" in refusal(network, "1").what
    assert isinstance(network[1], nn.LazyConv2d)
    with pytest.raises(NoConvolutionsError) as caught:
        select_layers(nn.LazyConv2d(3, 3))
    assert "before its first forward pass" in caught.value.why


def test_looking_for_the_first_gives_no_lazy_module_its_shape():
    """A lazy module in front of the first convolution stays lazy."""
    network = nn.Sequential(nn.LazyBatchNorm2d(), nn.Conv2d(3, 4, 3))
    assert first_convolution(network, (3, 8, 8)) == "1"
    assert isinstance(network[0], nn.LazyBatchNorm2d)


@pytest.mark.parametrize("patterns", [None, ["*"], ["embeds.proj"]])
def test_a_network_without_convolutions(patterns):
    """What stands at their place is named."""
    with pytest.raises(NoConvolutionsError, match="naflexvit_base_patch16_gap has no convolution") as caught:
        select_layers(load_model("naflexvit_base_patch16_gap", weights=None), patterns)
    assert "embeds.proj, is a Linear" in caught.value.why
    assert "kernelviz kernels" in caught.value.hint
    assert list_layers(nn.ReLU()) == []
    assert first_convolution(nn.ReLU(), (3, 4, 4)) is None


def test_the_first_convolution_is_the_one_that_a_pass_meets():
    """The order of running counts, not that of definition; without a size it cannot be known."""
    assert first_convolution(Backwards(), (3, 8, 8)) == "first"
    assert first_convolution(Backwards(), None) == "second"


def test_nothing_runs_behind_the_first_convolution():
    """The forward pass ends there: an error further on is never met."""

    class Fails(nn.Module):
        def forward(self, _):
            raise AssertionError

    network = nn.Sequential(nn.Identity(), nn.Sequential(nn.Conv2d(3, 3, 1), Fails()))
    assert first_convolution(network, (3, 4, 4)) == "1.0"


def test_a_pass_that_fails_falls_back():
    """Where the forward pass fails before a convolution, definition order decides, and no hook stays."""
    network = nn.Sequential(nn.Linear(99, 3), nn.Conv2d(3, 3, 1))
    assert first_convolution(network, (3, 4, 4)) == "1"
    assert not network[1]._forward_pre_hooks


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_pass_has_the_dtype_of_the_network(dtype):
    """A network in another precision is run in it."""
    assert first_convolution(Backwards().to(dtype), (3, 8, 8)) == "first"


def test_a_model_on_meta_has_a_first_convolution(resnet18d):
    """Names need no numbers."""
    assert first_convolution(resnet18d, resnet18d.input_size) == "conv1.0"
    assert names(select_layers(resnet18d)) == ["conv1.0"]


def test_the_network_is_left_as_it_was():
    """Modes, buffers, gradients, hooks and the random state are those from before."""
    network = Backwards().train()
    network.second.eval()
    modes = [part.training for part in network.modules()]
    state = copy.deepcopy(network.state_dict())
    random_state = torch.get_rng_state()
    first_convolution(network, (3, 8, 8))
    select_layers(network, "*")
    list_layers(network)
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in network.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.is_grad_enabled()


def test_what_convolves_but_is_not_drawn_is_reported():
    """A pattern that takes in layers without readable kernels names them, with the reason."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyConv2d(5, 3), nn.ReLU())
    assert list(left_out(network, "*")) == ["1"]
    assert "before its first forward pass" in left_out(network, ["*"])["1"]
    assert left_out(network, "0") == left_out(network) == {}


STEMS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.late = nn.Conv2d(3, 6, 3, padding=1)
        self.stem = nn.Conv2d(3, 6, 5, padding=2)
        self.small = nn.Conv2d(3, 6, 5, padding=2)
        self.squeeze = nn.Conv2d(12, 3, 1)
        self.unused = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        resized = nn.functional.interpolate((x - 0.5) * torch.tensor([1.0, 2.0, 3.0])[:, None, None], scale_factor=0.5)
        wide = nn.functional.interpolate(self.small(resized), scale_factor=2)
        held = torch.zeros(len(x), 3, *x.shape[2:], device=x.device)
        held.copy_(self.squeeze(torch.cat([self.stem(x), wide], 1)).softmax(1))
        return self.late(held)
"""


@pytest.mark.parametrize("weights", ["random", None])
def test_three_input_channels_that_a_layer_made_are_no_colours(tmp_path, monkeypatch, weights):
    """Kernels are drawn as colour if their layer reads the image, wherever it stands; if it never runs, by their shape."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(STEMS)
    model = load_model("net.py:Net", weights=weights, input_size=(3, 32, 32))
    reads = {layer.name: layer.reads_image for layer in list_layers(model)}
    assert reads == {"late": False, "stem": True, "small": True, "squeeze": None, "unused": None}
    assert architecture_of(model).layers == tuple(list_layers(model))
    if weights:
        for name, view in (("late", "sum"), ("stem", "rgb"), ("small", "rgb"), ("unused", "rgb")):
            assert make_sheet(read_kernels(model, name)).tiles.view == view
    (first, *_) = list_layers(load_model("test_resnet", weights=None))
    assert first.reads_image is None  # not in doubt
