"""Networks that return or do what none should: one rule of each class of fault that a fuzz test found."""

import random
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch._C import _len_torch_dispatch_stack

import kernelviz
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.layer_operation import layer_operation
from kernelviz.network.model import use_device
from kernelviz.network.tracing.rules import tensors_in

SIZE = (3, 8, 9)
IMAGE = torch.rand(SIZE, generator=torch.Generator().manual_seed(0))


class Returning(nn.Module):
    """A convolution, and what ``make`` makes of its output."""

    def __init__(self, make):
        super().__init__()
        self.conv, self.make = nn.Conv2d(3, 3, 3, padding=1), make

    def forward(self, image):
        """Whatever it makes."""
        return self.make(self.conv(image))


class Around(nn.Module):
    """A network whose only part is called ``part``."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, image):
        """Call the part and forget what it returns."""
        self.part(image)
        return image


def network(make):
    """A network with one part that returns what ``make`` makes."""
    return Around(Returning(make))


FUNCTIONS = {
    "capture_features": lambda net, name: kernelviz.capture_features(net, IMAGE, name),
    "trace": lambda net, _: kernelviz.trace(net, SIZE),
    "trace_unit": lambda net, name: kernelviz.trace_unit(net, IMAGE, name, (0, 0, 0)),
    "layer_operation": lambda net, name: layer_operation(net, name, SIZE),
    "list_layers": lambda net, _: kernelviz.list_layers(net),
    "select_layers": kernelviz.select_layers,
    "select_layers by default": lambda net, _: kernelviz.select_layers(net),
    "read_kernels": kernelviz.read_kernels,
    "capture_many": lambda net, name: kernelviz.capture_many(net, [IMAGE], name, on_map=lambda _: None),
}


def scripted(*parts):
    """The parts compiled by torch.jit, which torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(*parts))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_gives_the_same_reason_for_a_scripted_network(name):
    """Its layers are not accessible; no function claims that it has no convolution."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 3, 3)), IMAGE[None])
    for net in (scripted(nn.Conv2d(3, 3, 3)), traced):
        with pytest.raises(KernelvizError) as caught:
            FUNCTIONS[name](net, "0")
        assert caught.value.what == "The network is scripted (torch.jit), so its layers are not accessible."
        assert "Python module" in caught.value.hint


def test_a_scripted_part_is_named():
    """Functions that look into a layer name the scripted one; the others run, and its kernels cannot be read."""
    net = nn.Sequential(scripted(nn.Conv2d(3, 3, 3)), nn.Conv2d(3, 3, 1))
    for name in ("capture_features", "trace_unit", "layer_operation"):
        with pytest.raises(KernelvizError, match=r"The layer 0 is scripted \(torch\.jit\)"):
            FUNCTIONS[name](net, "0")
        FUNCTIONS[name](net, "1")
    assert "is scripted (torch.jit)" in kernelviz.trace(net, SIZE).layer("0.0").lost
    assert [layer.name for layer in kernelviz.list_layers(net)] == ["1"]
    with pytest.raises(UsageError, match=r"0\.0 is a scripted Conv2d"):
        kernelviz.read_kernels(net, "0.0")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_network_is_wrong_usage(name):
    """A name, a list or None instead of a network is refused with what is expected."""
    for net in ("resnet18", None, [nn.Conv2d(3, 3, 3)]):
        with pytest.raises(UsageError, match="must be a Model or a torch module"):
            FUNCTIONS[name](net, "0")


def test_a_compiled_network_has_the_names_of_its_module_in_every_function():
    """The wrapper of torch.compile is not part of a layer's name."""
    net = torch.compile(nn.Sequential(nn.Conv2d(3, 3, 3)))
    assert [layer.name for layer in kernelviz.list_layers(net)] == ["0"]
    assert kernelviz.trace_unit(net, IMAGE, "0", (0, 0, 0)).layer.name == "0"


def test_tensors_are_found_at_any_depth_and_once_for_each_container():
    """Nesting of any depth, cycles and containers that are shared end quickly, in order."""
    first, second = torch.zeros(1), torch.ones(1)
    deep = [first]
    for _ in range(10_000):
        deep = [deep]
    cycle = [first]
    cycle += [cycle, {"a": cycle, "b": second}]
    twice = [first]
    for _ in range(60):
        twice = [twice, twice]
    assert [id(each) for each in tensors_in(deep)] == [id(first)]
    assert [id(each) for each in tensors_in(cycle)] == [id(first), id(second)]
    assert [id(each) for each in tensors_in(twice)] == [id(first)]
    assert [id(each) for each in tensors_in((first, [second, first]))] == [id(first), id(second), id(first)]


def test_a_value_of_many_shared_lists_is_captured():
    """A layer may return a structure with more paths than anyone can follow."""

    def make(image):
        values = [image]
        for _ in range(60):
            values = [values, values]
        return values

    assert len(kernelviz.capture_features(network(make), IMAGE, "part")) == 1


@pytest.mark.parametrize("make", [lambda image: image[:, :, :0], lambda image: image[:, :0]])
def test_an_empty_output_has_no_map(make):
    """A tensor without values is refused with the layer's name, and left out of patterns."""
    with pytest.raises(UsageError, match="The layer part has no map") as caught:
        kernelviz.capture_features(network(make), IMAGE, "part")
    assert "it has no values" in caught.value.why
    assert [maps.layer for maps in kernelviz.capture_features(network(make), IMAGE, "*")] == ["part.conv"]


@pytest.mark.parametrize("make", [lambda image: torch.complex(image, image), lambda image: image.to(torch.complex64)])
def test_an_output_of_no_real_numbers_is_refused_by_name(make):
    """The error names the layer."""
    with pytest.raises(KernelvizError, match=r"The (output of the )?layer part"):
        kernelviz.capture_features(network(make), IMAGE, "part")


def test_a_network_that_removes_hooks_is_refused():
    """An observed layer whose hooks are gone is named."""
    part = Returning(lambda image: image)
    part.make = lambda image: (part._forward_hooks.clear(), image)[1]
    clearing = Around(part)

    def clear(module, *_):
        module._forward_hooks.clear()

    class Clearing(Returning):
        def forward(self, image):
            clear(self)
            return super().forward(image)

    clearing.part = Clearing(lambda image: image)
    with pytest.raises(KernelvizError, match="The layer part cannot be observed"):
        kernelviz.trace(clearing, SIZE)


def test_random_numbers_of_every_kind_are_restored():
    """A forward pass may draw random numbers of torch, NumPy and Python without moving the caller's."""

    def draw(image):
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        return image

    def state():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    net = network(draw)
    before = state()
    kernelviz.capture_features(net, IMAGE, "part")
    kernelviz.trace(net, SIZE)
    layer_operation(net, "part.conv", SIZE)
    assert state() == before


class SilentError(Exception):
    """An error whose text cannot be read."""

    def __str__(self):
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\nlines of \x1b[31m text"), "ValueError: two lines of \\x1b[31m text"),
        (SilentError(), "SilentError"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_of_the_network_is_one_line_that_names_the_layer(error, text):
    """Its text is on one line, without control characters, and the innermost layer that was running is named."""

    def fail(_image):
        raise error

    def fail_later(image):
        if not image.is_meta:
            raise error
        return image

    for call in (
        lambda: kernelviz.trace(network(fail), SIZE),
        lambda: kernelviz.capture_features(network(fail), IMAGE, "part"),
        lambda: kernelviz.capture_features(network(fail_later), IMAGE, "part"),
    ):
        with pytest.raises(KernelvizError) as caught:
            call()
        assert caught.value.what.endswith(": part (Returning) got 3 × 8 × 9.")
        assert re.fullmatch(
            rf"{re.escape(text)}\. Raised in .*test_hostile_modules\.py, line \d+, in fail\.", caught.value.why
        )


def test_a_layer_that_fails_leaves_no_mode_of_torch():
    """A recorder of operations that was entered in a layer is left if the layer fails."""

    class Failing(nn.Conv2d):
        def forward(self, _image):
            raise ValueError("failed")

    with pytest.raises(KernelvizError):
        kernelviz.trace_unit(Around(Failing(3, 3, 1)), IMAGE, "part", (0, 0, 0))
    assert _len_torch_dispatch_stack() == 0


@pytest.mark.parametrize("change", [torch.Tensor.to_mkldnn, torch.Tensor.to_sparse, lambda output: output.to("meta")])
def test_a_layer_that_returns_another_kind_of_tensor_does_more_than_convolve(change):
    """Values of another layout or device are not compared with those of the convolution."""

    class Changing(nn.Conv2d):
        def forward(self, image):
            return change(super().forward(image))

    with pytest.raises(UsageError, match="The layer part does more than convolve"):
        kernelviz.trace_unit(Around(Changing(3, 3, 1)), IMAGE, "part", (0, 0, 0))


@pytest.mark.parametrize("info", [3, lambda: 3, torch.ones(3), [{"module": 7}, None], {"module": "part"}])
def test_an_attribute_of_timms_name_may_be_anything(info):
    """A network whose ``feature_info`` is not timm's names no stages."""
    net = network(lambda image: image)
    net.feature_info = info
    assert kernelviz.capture_features(net, IMAGE, "part")[0].layer == "part"
    assert kernelviz.select_layers(net)[0].name == "part.conv"


def test_a_module_called_like_a_bank_of_experts_is_no_bank():
    """Only a module that holds a weight for each expert counts as one."""
    odd = type("CondConv2d", (Returning,), {})(lambda image: image)
    odd.num_experts = "x"
    assert [layer.name for layer in kernelviz.list_layers(Around(odd))] == ["part.conv"]


@pytest.mark.parametrize("kind", ["rows", "quantised"])
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_layout_do_not_stop_a_trace(kind):
    """Of parameters without a meta copy the network itself runs."""
    net = Around(nn.Conv2d(3, 3, 1))
    weight = torch.eye(3)
    odd = weight.to_sparse_csr() if kind == "rows" else torch.quantize_per_tensor(weight, 0.1, 0, torch.quint8)
    net.odd = nn.Parameter(odd, requires_grad=False)
    assert kernelviz.trace(net, SIZE).layer("part").runs == 1


def test_a_convolution_without_channels_is_not_drawn():
    """The growth of a network with an empty layer is drawn without it."""
    empty = nn.Conv2d(3, 3, 1)
    empty.weight = nn.Parameter(torch.empty(0, 3, 1, 1))
    empty.bias = None
    with pytest.raises(UsageError, match="No convolution has a known receptive field"):
        kernelviz.plot_growth(kernelviz.trace(Around(empty), SIZE))


def test_an_operation_that_cannot_be_followed_is_the_only_thing_lost():
    """An output of more dimensions than NumPy has leaves the network traced and the layer without a map."""
    net = network(lambda image: image.reshape(1, 3, 8, 9, *[1] * 60))
    assert kernelviz.trace(net, SIZE).layer("part.conv").field is not None
    with pytest.raises(UsageError, match="The layer part has no map"):
        kernelviz.capture_features(net, IMAGE, "part")


@pytest.mark.parametrize("threads", [0, -1, 257, 10**9, 10**30, 1.5, "2"])
def test_the_number_of_threads_is_bounded(threads):
    """Numbers that would end the process are refused before torch gets them, in the library too."""
    before = torch.get_num_threads()
    with pytest.raises(UsageError, match="number of threads"):
        use_device("cpu", threads)
    assert torch.get_num_threads() == before
