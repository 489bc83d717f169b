"""One observed forward pass tells order, shapes, sums and fields, and leaves the network as it was."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from timm_modules import one_of_each
from torch import nn

from kernelviz.errors import InputSizeError, KernelvizError, UnknownLayerError, UsageError
from kernelviz.network.capture import capture_features
from kernelviz.network.model import load_model
from kernelviz.network.tracing.trace import trace
from kernelviz.network.tracing.watch import observe_pass

LONG = {"crossvit_tiny_240", "pvt_v2_b0", "twins_svt_small"}  # each takes a second or more
SAMPLE = [
    "test_resnet", "test_efficientnet", "test_byobnet", "test_convnext", "test_vit", "test_nfnet",
    "test_mambaout", "test_coatnet", "vgg11", "resnetv2_18", "swin_tiny_patch4_window7_224", "cait_xxs24_224",
    "crossvit_tiny_240", "hrnet_w18_small", "legacy_xception", "mobilenetv3_small_050", "levit_128s",
    "poolformerv2_s12", "pvt_v2_b0", "res2next50", "skresnet18", "starnet_s050", "twins_svt_small", "volo_d1_224",
    "xcit_nano_12_p8_224",
]  # fmt: skip


def sizes(traced, *names):
    """The sizes of fields that are square."""
    fields = [traced.layer(name).field for name in names]
    assert all(rows.size == columns.size for rows, columns in (field.axes for field in fields))
    return [field.axes[0].size for field in fields]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("resnet18", 11_689_512, 1.8141), ("resnet50", 25_557_032, 4.0892), ("resnet18d", 11_708_744, 2.0537),
     ("vgg16", 138_357_544, 15.4703), ("convnext_tiny", 28_589_128, 4.4555),
     ("swin_tiny_patch4_window7_224", 28_288_354, 4.4906)],
)  # fmt: skip
def test_published_sums(name, params, macs):
    """Parameters, and multiply-adds of convolutions and matrix products, are the published ones, and rows add up."""
    traced = trace(load_model(name, weights=None))
    assert traced.params == params == sum(layer.params for layer in traced.layers)
    assert round(traced.macs / 1e9, 4) == macs
    assert traced.macs == sum(layer.macs for layer in traced.layers)


def test_published_fields_of_vgg():
    """The receptive fields, the stride and the padding that TF-slim publishes."""
    traced = trace(load_model("vgg16", weights=None))
    names = [f"features.{number}" for number in (0, 4, 10, 21, 24, 28, 30)]
    assert sizes(traced, *names) == [3, 6, 24, 92, 132, 196, 212]
    last = traced.layer("features.30").field.axes[0]
    assert (last.jump, last.offset) == (32, -90)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("resnet18d", {"conv1.0": 3, "conv1": 11, "maxpool": 15, "layer1": 47, "layer2": 103, "layer3": 215, "layer4": 439}),
     ("resnet18", {"layer4": 435}), ("resnet50", {"layer4": 427})],
)  # fmt: skip
def test_published_fields_of_resnets(name, fields):
    """Of a container it is the field of the last layer in it that keeps its place."""
    traced = trace(load_model(name, weights=None))
    for container, size in fields.items():
        inside = [layer.name for layer in traced.layers if f"{layer.name}.".startswith(f"{container}.")]
        assert max(sizes(traced, *inside)) == size


def test_published_fields_of_mobilenet():
    """Its first six blocks."""
    traced = trace(load_model("mobilenetv1_100", weights=None))
    blocks = [layer for layer in traced.layers if layer.kind == "Conv2d" and layer.kernel == (3, 3)]
    assert [layer.field.axes[0].size for layer in blocks[:6]] == [3, 7, 11, 19, 27, 43]


def test_a_unit_reads_a_box_inside_the_image():
    """Boxes end at the border, where sizes go on beyond it."""
    traced = trace(load_model("resnet18d", weights=None))
    box = traced.field_of("conv1.0", 0, 111)
    assert (box.top, box.bottom, box.left, box.right) == (0, 1, 221, 223)
    assert traced.layer("conv1.0").field.axes[0].offset == -1


def test_unknown_layers_and_units_of_a_trace_are_rejected():
    """A wrong layer and a unit outside are rejected with a clear error."""
    traced = trace(nn.Sequential(nn.Conv2d(3, 4, 3)), (3, 8, 8))
    with pytest.raises(UnknownLayerError, match="nosuch"):
        traced.field_of("nosuch", 0, 0)
    with pytest.raises(UsageError, match="6 rows and 6 columns"):
        traced.field_of("0", 6, 0)


def test_a_size_of_samples_is_for_networks_that_make_images_of_them():
    """A convolution does not, and how its input must look is stated."""
    with pytest.raises(KernelvizError, match=r"give one, \(C, H, W\)"):
        trace(nn.Conv2d(3, 4, 3), (3,))


@pytest.mark.parametrize("size", [None, (), (3, 0, 8), (3, 8.5, 8)])
def test_the_input_size_must_be_one(size):
    """A missing or impossible size is rejected."""
    with pytest.raises(UsageError, match="input size"):
        trace(nn.Conv2d(3, 4, 3), size)


def test_an_input_that_does_not_fit():
    """What the network says becomes one error that names the size."""
    with pytest.raises(KernelvizError, match="3 × 100 × 100"):
        trace(load_model("vit_tiny_patch16_224", weights=None), (3, 100, 100))


class _Doing(nn.Module):
    def __init__(self, do):
        super().__init__()
        self.conv, self.out, self.do = nn.Conv2d(3, 3, 3, padding=1), nn.Identity(), do

    def forward(self, image):
        return self.out(self.do(self.conv(image)))


def test_what_a_network_makes_on_the_cpu_meets_the_image():
    """A constant made in forward, without a device, joins the forward pass; numbers read from it are still there."""

    def ramp(image):
        steps = torch.linspace(0, 1, image.shape[-1])
        return torch.cat([image + steps, image * steps.tolist()[1]], 1)

    layer = trace(_Doing(ramp), (3, 9, 8)).layer("out")
    assert layer.output_shape == (6, 9, 8)
    assert [axis.size for axis in layer.field.axes] == [3, 3]


@pytest.mark.parametrize(
    ("do", "what"),
    [
        (lambda image: image if image.sum() > 0 else -image, "depends on the values of tensors"),
        (lambda image: torch.zeros(image.shape).copy_(image), "depends on the values of tensors"),
        (lambda image: image.view(1, 5, -1), "input of 3 × 9 × 8"),
    ],
)
def test_the_reasons_of_failed_passes_are_distinguished(do, what):
    """Only what is a matter of the size is called one; what needs values runs with weights."""
    with pytest.raises(KernelvizError) as error:
        trace(_Doing(do).to("meta"), (3, 9, 8))
    assert what in error.value.what
    if "values" in what:
        assert trace(_Doing(do), (3, 9, 8)).layer("out").output_shape == (3, 9, 8)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_network_is_refused_in_words():
    """What torch.jit compiled cannot be observed, and the error says what to give instead."""
    scripted = torch.jit.trace(nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8))
    with pytest.raises(KernelvizError, match=r"torch\.jit"):
        trace(scripted, (3, 9, 8))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_scripted_part_is_observed_from_outside():
    """Its operations count for the receptive fields behind it; the part itself has a reason instead of a map."""
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()).eval())
    network = nn.Sequential(nn.Conv2d(3, 3, 3), scripted, nn.Conv2d(3, 3, 3)).eval()
    traced = trace(network, (3, 9, 8))
    assert [axis.size for axis in traced.layer("2").field.axes] == [7, 7]
    assert "torch.jit" in traced.layer("1.0").lost
    image, given = torch.rand(1, 3, 9, 8), []
    handle = network[2].register_forward_hook(lambda *all_of: given.append(all_of[2].clone()))
    with torch.no_grad():
        network(image)
    handle.remove()
    np.testing.assert_array_equal(capture_features(network, image, "*")[-1].values, given[0][0].numpy())
    with pytest.raises(KernelvizError, match=r"torch\.jit"):
        capture_features(network, image, "1")


def test_an_error_that_the_network_catches_moves_no_work():
    """Behind a part that raised, work counts for the module that does it."""

    class Catching(nn.Module):
        def __init__(self):
            super().__init__()
            self.broken, self.conv = nn.Linear(5, 5), nn.Conv2d(3, 2, 3)

        def forward(self, image):
            try:
                return self.broken(image)
            except RuntimeError:
                return self.conv(image) + 1

    seen = observe_pass(Catching(), (3, 9, 8))
    assert seen.visits[""].operations["add"] == 1
    assert "add" not in seen.visits["broken"].operations


def test_the_network_stays_as_it_was():
    """Modes, buffers, gradients, hooks, the device and the random state are untouched, and hooks do not run."""
    network = timm.create_model("test_resnet").train()
    network.conv1.eval()
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes, hooks = [part.training for part in network.modules()], len(network._forward_hooks)
    state = torch.get_rng_state()
    trace(network, (3, 64, 64))
    assert torch.equal(state, torch.get_rng_state())
    assert not calls
    assert [part.training for part in network.modules()] == modes
    assert len(network._forward_hooks) == hooks
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in network.parameters())


def test_plain_tensors_are_not_moved():
    """A tensor that is neither parameter nor buffer stays the caller's, and the forward pass works all the same."""

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.ones(3, 1, 1)
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.conv(x * self.scale)

    network = Holder()
    assert trace(network, (3, 9, 9)).layer("conv").output_shape == (2, 7, 7)
    assert network.scale.device.type == "cpu"


def test_order_runs_and_what_never_ran():
    """Rows come in the order of the forward pass; units of what ran twice, or never and so comes last, are rejected."""

    class Order(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Conv2d(3, 3, 1)
            self.second = nn.Conv2d(3, 3, 3)
            self.first = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.second(self.second(self.first(x)))

    traced = trace(Order(), (3, 9, 9))
    assert [(layer.name, layer.runs) for layer in traced.layers] == [("first", 1), ("second", 2), ("unused", 0)]
    assert traced.macs == 9 * 81 + 81 * 49 + 81 * 25
    for name, why in (("unused", "did not run"), ("second", "ran 2 times")):
        with pytest.raises(UsageError, match=why):
            traced.field_of(name, 0, 0)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "layer", "layout"),
    [("test_resnet", "layer1.0.conv1", "N C H W"), ("test_vit", "blocks.0.norm1", "N HW C"),
     ("swin_tiny_patch4_window7_224", "layers.0.blocks.1.attn.qkv", "HW HW C"),
     ("swin_tiny_patch4_window7_224", "layers.0.blocks.0.norm1", "N H W C"),
     ("poolformerv2_s12", "stages.0.blocks.0.norm1", "N C H W")],
)  # fmt: skip
def test_layouts_are_followed(name, layer, layout):
    """Channels last, tokens and windows are known as such, not guessed from sizes."""
    assert trace(load_model(name, weights=None)).layer(layer).layout == layout


@pytest.mark.sampled
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if number % 3 == 2 or name in LONG else ())
        for number, name in enumerate(SAMPLE)
    ],
)
def test_sums_add_up_for_every_family(name):
    """A table for each of twenty-five families, whose columns add up."""
    check_sums(name)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), one_of_each())
def test_sums_add_up_for_every_module_of_timm(module, name):
    """A table for a network of each of timm's modules."""
    del module
    check_sums(name)


def check_sums(name):
    """Every convolution has an output, and both columns add up."""
    traced = trace(load_model(name, weights=None))
    assert sum(layer.params for layer in traced.layers) == traced.params
    assert sum(layer.macs for layer in traced.layers) == traced.macs > 0
    assert all(layer.output_shape for layer in traced.layers if layer.runs and layer.family == "conv")


@pytest.mark.sampled
@pytest.mark.parametrize(
    "name",
    ["resnet18", "vgg11", "densenet121", "mobilenet_v2", "squeezenet1_0", "googlenet", "alexnet", "mnasnet0_5",
     "shufflenet_v2_x0_5"],
)  # fmt: skip
def test_torchvisions_networks_need_no_name_of_timm(name):
    """Any nn.Module can be traced, and all its convolutions have a field."""
    torchvision = pytest.importorskip("torchvision")
    choices = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, **choices)
    traced = trace(network, (3, 224, 224))
    assert all(layer.field for layer in traced.layers if layer.family == "conv" and layer.runs)
    assert all(
        np.diff(layer.field.axes[0].first).min(initial=0) >= 0
        for layer in traced.layers
        if layer.family == "conv" and layer.runs
    )


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Conv2d(3, 4, 3, stride=2), (3, 17, 2)),
        (nn.Conv2d(3, 4, 3), (3, 1, 17)),
        (nn.Conv2d(3, 4, (3, 2), padding=(1, 0), dilation=2), (3, 9, 2)),
        (nn.Conv1d(3, 4, 3), (3, 2)),
        (nn.Conv3d(3, 4, 3, stride=2), (3, 9, 9, 2)),
    ],
)
def test_a_kernel_larger_than_the_image_is_the_error_of_a_real_pass(layer, size):
    """A traced convolution, which has no values, takes no image that the convolution itself does not take."""
    with pytest.raises(RuntimeError) as real:
        layer(torch.zeros(1, *size))
    for device in ("cpu", "meta"):
        network = nn.Sequential(nn.ReLU(), layer).to(device)
        with pytest.raises(InputSizeError, match="does not take an input of") as traced:
            trace(network, size)
        assert traced.value.why == str(real.value)
        assert traced.value.hint == "Give the input size that the network was built for."


def test_an_empty_map_has_no_receptive_field():
    """A crop may leave nothing of a map; its layers have rows, with the reason why there is no field."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ZeroPad2d((-4, 0, 0, 0)), nn.BatchNorm2d(4), nn.Dropout())
    for traced in (trace(network.eval(), (3, 6, 6)), trace(network.to("meta"), (3, 6, 6))):
        assert [layer.output_shape for layer in traced.layers] == [(4, 4, 4)] + [(4, 4, 0)] * 3
        assert [layer.lost for layer in traced.layers] == [""] + ["its output has no values"] * 3


ANY_SIZE = (
    "efficientnet_v2",
    "maxvit_t",
    "swin",
)  # torchvision names the size of their training; they take less as well


def test_published_smallest_sizes():
    """A plain convolutional network of torchvision takes its published min_size and nothing below it."""
    for name in ("alexnet", "vgg11", "squeezenet1_0", "inception_v3"):
        assert check_smallest_size(name)


@pytest.mark.slow
def test_all_published_smallest_sizes():
    """Every classification network of torchvision takes its min_size; below it none does whose layers then give nothing."""
    torchvision = pytest.importorskip("torchvision")
    names = torchvision.models.list_models(module=torchvision.models)
    assert len(names) >= 80
    assert sum(map(check_smallest_size, names)) == 26  # the others take one pixel, or any size


def check_smallest_size(name):
    """Whether the min_size is a limit; it then is taken, and one pixel less in either direction is not."""
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    height, width = weights.meta["min_size"]
    choices = {"init_weights": False} if name in {"inception_v3", "googlenet"} else {}
    choices |= {"image_size": height} if name.startswith("vit_") else {}
    if name.startswith("regnet") and not name.endswith("400mf"):
        return False  # built on no other device than one with numbers, and all alike but for their size
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        network = torchvision.models.get_model(name, weights=None, **choices)
    trace(network, (3, height, width))
    limit = height > 1 and not name.startswith(ANY_SIZE)
    for size in ((3, height - 1, width), (3, height, width - 1)) if limit else ():
        with pytest.raises(KernelvizError, match="does not take"):
            trace(network, size)
    return limit


MEMORY = """
import resource
from kernelviz.network.model import load_model
from kernelviz.network.tracing.trace import trace
trace(load_model("test_resnet", weights=None))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
traced = trace(load_model("vgg16", weights=None))
print(traced.params, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts in other units elsewhere")
def test_half_a_gigabyte_of_weights_takes_no_memory():
    """The table of vgg16, whose weights are 553 MB, takes less than 100 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    params, kilobytes = map(int, done.stdout.split())
    assert params == 138_357_544
    assert kilobytes < 100_000


def test_a_number_type_is_not_called_a_size():
    """Two number types that do not go together are told apart from a size that does not fit."""

    def clash(_image):
        raise RuntimeError("expected m1 and m2 to have the same dtype, but got: float != double")  # torch's words

    with pytest.raises(KernelvizError, match="data type"):
        trace(_Doing(clash), (3, 9, 8))
