"""A line of Keras or torch is read as its framework would read it, never run, and written in the other framework."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import kernelviz
from kernelviz.errors import UsageError
from kernelviz.explain.call_syntax import LONGEST
from kernelviz.explain.call_texts import call_entry, call_lines
from kernelviz.explain.calls import LAYERS, OTHER_LAYERS

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch copies its input for even kernels
FIRST = 'Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))'
QUICK = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def torch_module(line):
    """The module that a line of torch builds."""
    made = eval(line, {"nn": nn, "__builtins__": {"float": float}})
    return nn.Sequential(*(made if isinstance(made, tuple) else (made,)))


def torch_shape(call):
    """The shape of the output in torch, without the batch."""
    if call.flat:
        return (call.out_channels,)
    return (call.out_channels, *call.output_size) if call.rank else (*call.output_size, call.out_channels)


def torch_input(call):
    """Zeros of the shape that the call takes, in torch's order."""
    shape = (call.in_channels, *call.input_size) if call.rank else (*call.input_size, call.in_channels)
    return torch.zeros(1, *shape)


def measured(line, call):
    """Parameters and output shape of a line of torch."""
    module = torch_module(line)
    with torch.no_grad():
        shape = tuple(module(torch_input(call)).shape[1:])
    return sum(parameter.numel() for parameter in module.parameters()), shape


def facts(call):
    """What two lines that mean the same have in common."""
    operation = call.operation
    if getattr(operation, "padding_name", ""):
        operation = replace_name(operation)
    return (
        call.kind, call.in_channels, call.out_channels, call.input_size, call.output_size, call.parameters, call.bias,
        call.activation, call.flat, operation,
    )  # fmt: skip


def replace_name(operation):
    """The same convolution with its padding in numbers."""
    names = ("input_size", "kernel", "stride", "padding", "dilation", "groups", "in_channels", "out_channels", "bias")
    return kernelviz.Convolution(**{name: getattr(operation, name) for name in names})


def test_the_line_of_the_articles():
    """896 parameters = 27 × 32 + 32 and 148 × 148 × 32, as ``Sequential(Conv2d(3, 32, 3), ReLU())`` has them."""
    call = kernelviz.read_call(FIRST)
    module = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())
    assert (call.parameters, call.output_size, call.out_channels) == (896, (148, 148), 32)
    assert sum(p.numel() for p in module.parameters()) == call.parameters
    assert tuple(module(torch.zeros(1, 3, 150, 150)).shape) == (1, *torch_shape(call))
    assert call.operation == kernelviz.Convolution(
        150, 3, padding=(0, 0, 0, 0), in_channels=3, out_channels=32, bias=True
    )
    assert (call.activation, call.torch) == ("relu", "nn.Conv2d(3, 32, 3), nn.ReLU()")
    text = "\n".join(call_lines(call))
    assert "27 × 32 + 32 = 896" in text
    assert "⌊(150 + 2·0 − 3) / 1⌋ + 1 = 148" in text
    assert "i size of the input, p padding at each end, k size of the kernel, s stride" in text
    assert "w.transpose(3, 2, 0, 1)" in text


@pytest.mark.parametrize(
    "line",
    [
        "nn.Conv2d(3, 32, 3)", "torch.nn.Conv2d(3, 32, 3)", "Conv2d(3, 32, 3),", "  Conv2d(\n  3,\n  32, 3 )\n",
        "model.add(Conv2d(3, 32, 3))", "nn.Sequential(nn.Conv2d(3, 32, 3))", "(Conv2d(3, 32, 3))", "[Conv2d(3, 32, 3)]",
        "Conv2d(in_channels=3, out_channels=32, kernel_size=(3, 3))", "Conv2d(3, 32, [3, 3], dtype=None)",
    ],
)  # fmt: skip
def test_what_may_be_around_a_layer(line):
    """Prefixes, brackets, line breaks, a comma behind, ``add`` and ``Sequential`` change nothing."""
    assert facts(kernelviz.read_call(line)) == facts(kernelviz.read_call("nn.Conv2d(3, 32, 3)"))


@pytest.mark.parametrize("prefix", ["", "layers.", "keras.layers.", "tf.keras.layers.", "keras."])
@pytest.mark.parametrize("line", ["Conv2D(8, 3, strides=2)", "MaxPool2D()", "Dense(4)", "Convolution1D(2, 3)"])
def test_prefixes_of_keras(prefix, line):
    """Each place that Keras exports its layers from is read, and the aliases of layers."""
    assert facts(kernelviz.read_call(prefix + line)) == facts(kernelviz.read_call(line))


@pytest.mark.parametrize(
    ("line", "size", "parameters", "shape", "other"),
    [
        ("nn.Conv2d(3, 32, 3, stride=2, padding=1)", 150, 896, (32, 75, 75),
         "keras.Input((150, 150, 3)), layers.ZeroPadding2D(1), layers.Conv2D(32, 3, strides=2)"),
        ('Conv2D(8, 3, strides=2, padding="same", input_shape=(150, 150, 3))', None, 224, (8, 75, 75),
         "nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, stride=2)"),
        ('Conv2D(8, 3, padding="SAME", data_format="channels_first", input_shape=(3, 9, 7))', None, 224, (8, 9, 7),
         'nn.Conv2d(3, 8, 3, padding="same")'),
        ("keras.Input(shape=(9, 9, 1)), layers.Conv2D(4, (1, 7), use_bias=False)", None, 28, (4, 9, 3),
         "nn.Conv2d(1, 4, (1, 7), bias=False)"),
        ("Conv1D(4, 3, padding='causal', input_shape=(10, 2))", None, 28, (4, 10),
         "nn.ZeroPad1d((2, 0)), nn.Conv1d(2, 4, 3)"),
        ("Conv3D(2, 3, input_shape=(5, 6, 7, 1))", None, 56, (2, 3, 4, 5), "nn.Conv3d(1, 2, 3)"),
        ("DepthwiseConv2D(3, depth_multiplier=2, input_shape=(8, 8, 4))", None, 80, (8, 6, 6),
         "nn.Conv2d(4, 8, 3, groups=4)"),
        ("SeparableConv2D(16, 3, input_shape=(8, 8, 4))", None, 116, (16, 6, 6),
         "nn.Conv2d(4, 4, 3, groups=4, bias=False), nn.Conv2d(4, 16, 1)"),
        ("MaxPooling2D(2, input_shape=(5, 5, 3))", None, 0, (3, 2, 2), "nn.MaxPool2d(2)"),
        ('MaxPooling2D(3, strides=2, padding="same", input_shape=(6, 6, 3))', None, 0, (3, 3, 3),
         "nn.MaxPool2d(3, stride=2, ceil_mode=True)"),
        ('MaxPool2D(2, strides=1, padding="same", input_shape=(5, 5, 3))', None, 0, (3, 5, 5),
         'nn.ConstantPad2d((0, 1, 0, 1), float("-inf")), nn.MaxPool2d(2, stride=1)'),
        ('AveragePooling2D(3, strides=2, padding="same", input_shape=(5, 5, 3))', None, 0, (3, 3, 3),
         "nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)"),
        ("GlobalAveragePooling2D(input_shape=(7, 7, 9))", None, 0, (9,), "nn.AdaptiveAvgPool2d(1), nn.Flatten()"),
        ("GlobalMaxPooling2D(keepdims=True, input_shape=(7, 7, 9))", None, 0, (9, 1, 1), "nn.AdaptiveMaxPool2d(1)"),
        ("nn.AdaptiveAvgPool2d((2, 3))", (9, 7, 7), 0, (9, 2, 3), "layers.AdaptiveAveragePooling2D((2, 3))"),
        ("nn.AvgPool2d(3, stride=2, padding=1)", (2, 9, 9), 0, (2, 5, 5),
         "layers.ZeroPadding2D(1), layers.AveragePooling2D(3, strides=2)"),
        ("Dense(10, activation='softmax', input_shape=(784,))", None, 7850, (10,),
         "nn.Linear(784, 10), nn.Softmax(dim=-1)"),
        ("nn.Linear(784, 10, bias=False)", None, 7840, (10,),
         "keras.Input((784,)), layers.Dense(10, use_bias=False)"),
        ("Conv2DTranspose(16, 3, strides=2, padding='same', input_shape=(7, 7, 8))", None, 1168, (16, 14, 14),
         "nn.ConvTranspose2d(8, 16, 3, stride=2), nn.ZeroPad2d((0, -1, 0, -1))"),
        ("Conv2DTranspose(4, 2, strides=3, input_shape=(5, 5, 1))", None, 20, (4, 15, 15),
         "nn.ConvTranspose2d(1, 4, 2, stride=3, output_padding=1)"),
        ("Conv2DTranspose(4, 3, strides=2, padding='same', output_padding=0, input_shape=(5, 5, 1))", None, 40,
         (4, 9, 9), "nn.ConvTranspose2d(1, 4, 3, stride=2, padding=1)"),
        ("nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)", 7, 516, (4, 14, 14),
         'keras.Input((7, 7, 8)), layers.Conv2DTranspose(4, 4, strides=2, padding="same")'),
        ("nn.ConvTranspose1d(8, 4, 3, 2, 1, 1), nn.LeakyReLU(0.1)", 7, 100, (4, 14),
         "keras.Input((7, 8)), layers.Conv1DTranspose(4, 3, strides=2), layers.Cropping1D((1, 0)), layers.LeakyReLU(0.1)"),
    ],
)  # fmt: skip
def test_lines_and_their_counterparts(line, size, parameters, shape, other):
    """Parameters, shape and the other framework's line; the torch side is run, and each line reads back the same."""
    call = kernelviz.read_call(line, input_size=size)
    given = call.torch if call.framework == "torch" else other
    assert (call.parameters, torch_shape(call)) == (parameters, shape)
    assert measured(given, call) == (parameters, shape)
    assert (call.torch if call.framework == "keras" else call.keras) == other
    sides = (call.in_channels, *call.input_size) if call.rank else call.in_channels
    if call.framework == "torch":
        sides = None if "Input" in other else (*call.input_size, call.in_channels)
    back = kernelviz.read_call(other, input_size=sides)
    assert facts(back) == facts(call)


def test_every_letter_of_a_formula_is_explained():
    """The letters and brackets of a formula are named below it, those of other formulas are not."""
    text = "\n".join(call_lines(kernelviz.read_call("nn.AdaptiveAvgPool2d((2, 3))", input_size=7)))
    assert "i size of the input, o size of the output, n number of the window, from 0 on, ⌊ ⌋ rounded down, ⌈ ⌉" in text
    text = "\n".join(call_lines(kernelviz.read_call("nn.Conv2d(1, 1, 3, dilation=2)", input_size=9)))
    assert "k size of the kernel, k′ size of the kernel with its gaps, s stride, d dilation, ⌊ ⌋ rounded down" in text
    assert "⌈" not in text


def test_a_dense_layer_acts_on_the_last_axis():
    """Leading axes of the input stay, as in torch."""
    call = kernelviz.read_call("Dense(10, input_shape=(4, 7))")
    assert (call.parameters, torch_shape(call)) == (80, (4, 10)) == measured(call.torch, call)
    assert "4 × 10" in "\n".join(call_lines(call))
    assert kernelviz.read_call("nn.Linear(7, 10)", input_size=(4, 7)).output_size == (4,)


def numbers(rank, low, high):
    """One number, or one for each axis."""
    one = st.integers(low, high)
    return one | st.tuples(*[one] * rank)


@st.composite
def torch_lines(draw):
    """A line of torch and the shape of its input."""
    rank, channels = draw(st.sampled_from([1, 2, 2, 3])), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AvgPool", "AdaptiveAvgPool", "Linear"]))
    shape = (channels, *draw(st.tuples(*[st.integers(3, 9)] * rank)))
    if kind == "Linear":
        return f"Linear({channels}, {draw(st.integers(1, 5))}, bias={draw(st.booleans())})", (channels,)
    if kind == "AdaptiveAvgPool":
        return f"AdaptiveAvgPool{rank}d({draw(numbers(rank, 1, 4))})", shape
    options = {"stride": numbers(rank, 1, 3), "padding": numbers(rank, 0, 2)}
    words = [f"{draw(numbers(rank, 1, 4))}"]
    if kind.startswith("Conv"):
        words = [f"{channels}", f"{draw(st.sampled_from([2, 4, 6]))}", *words]
        options |= {"dilation": numbers(rank, 1, 2), "groups": st.sampled_from([1, 2]), "bias": st.booleans()}
        options |= {"output_padding": numbers(rank, 0, 2)} if kind == "ConvTranspose" else {}
    else:
        options["ceil_mode"] = st.booleans()
        options |= {"count_include_pad": st.booleans()} if kind == "AvgPool" else {"dilation": numbers(rank, 1, 2)}
    for name in draw(st.lists(st.sampled_from(sorted(options)), unique=True, max_size=4)):
        words.append(f"{name}={draw(options[name])}")
    return f"{kind}{rank}d({', '.join(words)})", shape


@QUICK
@given(torch_lines())
def test_torch_agrees(case):
    """Whatever torch accepts is read with torch's parameters and output size; whatever it rejects is rejected."""
    line, shape = case
    name = line.split("(")[0]
    try:
        module = torch_module(f"nn.{line}")
        with torch.no_grad():
            result = tuple(module(torch.zeros(1, *shape)).shape[1:])
    except (RuntimeError, ValueError):
        with pytest.raises(UsageError):
            kernelviz.read_call(line, input_size=shape)
        return
    assert isinstance(module[0], getattr(nn, name))
    call = kernelviz.read_call(line, input_size=shape)
    assert call.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert torch_shape(call) == result
    if call.keras is not None:
        given_size = None if "Input" in call.keras else (*shape[1:], shape[0])
        back = kernelviz.read_call(call.keras, input_size=given_size)
        assert facts(back)[:-1] == facts(call)[:-1], call.keras
        assert back.torch is None or measured(back.torch, back) == measured(f"nn.{line}", call)


@st.composite
def keras_lines(draw):
    """A line of Keras that states its input."""
    rank, channels = draw(st.sampled_from([1, 2, 2, 3])), draw(st.sampled_from([1, 2, 4]))
    shape = (*draw(st.tuples(*[st.integers(3, 9)] * rank)), channels)
    kinds = ["Conv{}D", "Conv{}DTranspose", "MaxPooling{}D", "AveragePooling{}D", "GlobalMaxPooling{}D"]
    kinds += ["DepthwiseConv{}D", "SeparableConv{}D"] if rank < 3 else []
    name = draw(st.sampled_from(kinds)).format(rank)
    words = [] if name.startswith(("Global", "Depth")) or "Pooling" in name else [f"{draw(st.sampled_from([2, 4]))}"]
    if not name.startswith("Global"):
        words += [f"{draw(numbers(rank, 1, 4))}", f"padding={draw(st.sampled_from(['same', 'valid', 'Same']))!r}"]
        if draw(st.booleans()):
            words.append(f"strides={draw(numbers(rank, 1, 3))}")
        elif "Pool" not in name and draw(st.booleans()):
            words.append(f"dilation_rate={draw(numbers(rank, 1, 2))}")
        if name.endswith("Transpose") and draw(st.booleans()):
            words.append(f"output_padding={draw(numbers(rank, 0, 1))}")
        if "Conv" in name:
            words += [f"use_bias={draw(st.booleans())}"]
            words += draw(
                st.sampled_from([[], ["activation='relu'"], ["activation='tanh'"], ["activation='leaky_relu'"]])
            )
    return f"{name}({', '.join([*words, f'input_shape={shape}'])})"


@QUICK
@given(keras_lines())
def test_keras_lines_equal_their_torch_lines(line):
    """Parameters and output size are those of the printed torch line, with its explicit padding, which reads back."""
    try:
        call = kernelviz.read_call(line)
    except UsageError:
        assume(False)  # noqa: FBT003
    if call.torch is None:
        assert call.kind == "average pooling"  # padding that is longer at the end, with stride 1
        return
    assert measured(call.torch, call) == (call.parameters, torch_shape(call))
    back = kernelviz.read_call(call.torch, input_size=(call.in_channels, *call.input_size))
    assert facts(back) == facts(call), call.torch


def test_without_a_size_there_are_parameters_only():
    """What the line does not state is None, and ``any`` in the text; the torch line is a lazy one."""
    call = kernelviz.read_call("Conv2D(32, 3, padding='same', strides=2)")
    assert (call.input_size, call.output_size, call.parameters, call.padding, call.torch) == (
        (None, None), (None, None), None, None, None,
    )  # fmt: skip
    assert "9·c × 32 + 32, with c input channels" in "\n".join(call_lines(call))
    assert kernelviz.read_call("Conv2D(32, 3)").torch == "nn.LazyConv2d(32, 3)"
    torch_call = kernelviz.read_call("Conv2d(3, 32, 3)")
    assert (torch_call.parameters, torch_call.operation) == (896, None)
    assert "any × any" in "\n".join(call_lines(torch_call))
    orders = "Keras: channels last, rows × columns × channels; torch: channels first, channels × rows × columns"
    assert orders in "\n".join(call_lines(kernelviz.read_call("Conv2D(32, 3)")))
    partly = kernelviz.read_call("Conv2D(32, 3, input_shape=(None, None, 3))", input_size=(20, 30))
    assert (partly.output_size, partly.parameters) == ((18, 28), 896)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Conv2D(32, 3, strides=2, padding='same', input_shape=(150, 150, 3))", "0 above and 1 below"),
        ("Conv2D(32, 3, strides=2, padding='same', input_shape=(150, 150, 3))", "torch rejects padding"),
        ("Conv2D(32, 3, input_shape=(9, 9, 3))", "channels last, 9 × 9 × 3; torch: channels first, 3 × 9 × 9"),
        ("Conv2D(32, 3, input_shape=(9, 9, 3))", "newer Keras warns about input_shape; keras.Input(shape=(9, 9, 3))"),
        ("Conv2D(32, 3, input_shape=(9, 9, 3))", "have a bias unless use_bias=False (torch: bias=False)"),
        ("Conv2DTranspose(4, 3, input_shape=(9, 9, 2))", "3 × 3 × 4 × 2 (kernel, out, in), torch 2 × 4 × 3 × 3"),
        ("MaxPooling2D(2)", "move a pool by the size of its window unless a stride"),
        ("SeparableConv2D(16, 3, input_shape=(8, 8, 4))", "two layers: a depthwise convolution"),
        ("AveragePooling2D(3, padding='same')", "excludes the padding from averages"),
        ("Conv2D(4, 2, padding='same', input_shape=(9, 9, 2))", "even kernel is padded more at the end"),
        ("Dense(3)", "dense means fully connected"),
    ],
)
def test_differences_are_stated(line, words):
    """Where Keras and torch differ, the text says how."""
    assert words in "\n".join(kernelviz.read_call(line).notes)


def test_what_changes_no_size_is_listed():
    """Initialisers, names and regularisers are read and marked as not drawn."""
    call = kernelviz.read_call('Conv2D(4, 3, kernel_initializer="he_normal", name="first", input_shape=(9, 9, 1))')
    undrawn = [each.name for each in call.arguments if not each.key]
    assert undrawn == ["kernel_initializer", "name"]
    assert "\n".join(call_lines(call)).count("changes no size; not drawn") == 2
    document = json.loads(json.dumps(call_entry(call)))
    assert [each["drawn"] for each in document["call"]["arguments"]] == [True, True, False, False, True]
    assert document["parameters"] == 40


REFUSED = {
    "Conv2DD(32, 3)": "Column 1: there is no layer Conv2DD; nearest: Conv2D",
    "conv2d(3, 32, 3)": "Column 1: there is no layer conv2d; nearest: Conv2",
    "nn.Conv2D(3, 32, 3)": "Column 1: nn has no Conv2D; nearest: Conv2d",
    "os.system('x')": "Column 1: os is not read; nearest",
    "__import__('os').system('x')": "Column 1: only names of layers are called",
    "Conv2D(n, 3)": "Column 8: n is a name; write its number.",
    "Conv2D(32, k_size)": "Column 12: k_size is a name; write its number.",
    "Conv2D(32, 3, padding=same)": 'Column 23: same is a name; write "same" in quotes.',
    "Conv2D(32, 3, activation=tf.nn.relu)": 'write a text in quotes, such as "relu"',
    "Conv2d(3, 32, 3, dtype=torch.float32)": "omit dtype, which changes no size",
    "Conv2D(32, 3, kernel_initializer=he())": "Column 34: he() is a call inside kernel_initializer; omit",
    "Conv2D(2 * 16, 3)": "Column 8: 2 * 16 is a calculation; write its result.",
    "Conv2D(10**30, 3)": "Column 8: 10**30 is a calculation",
    "Conv2D([n for n in (1, 2)], 3)": "Column 8: a comprehension is no literal",
    "Conv2D(f'{1}', 3)": "Column 8: an f-string is no literal",
    "Conv2D(lambda: 3, 3)": "Column 8: a lambda is no literal",
    "Conv2D((a := 3), 3)": "an assignment is no literal",
    "Conv2D(*a)": "Column 8: a * argument is no literal",
    "Conv2D(**a)": "Column 8: a ** argument is no literal",
    "Conv2D(a[0], 3)": "Column 8: an element of a value is no literal",
    "Conv2D(32, 3, filters=4)": "Column 15: filters is given twice.",
    "Conv2D(32, 3, strides=1, strides=2)": "Column 26: strides is given twice.",
    "Conv2D(32, 3, stride=2)": "Column 15: Conv2D has no argument stride; nearest: strides",
    "Conv2d(3, 32, 3, filters=2)": "Conv2d has no argument filters; nearest",
    "Conv2D(kernel_size=3)": "Column 1: Conv2D needs filters.",
    "Conv2D(32)": "Column 1: Conv2D needs kernel_size.",
    "Conv2D()": "Column 1: Conv2D needs filters and kernel_size.",
    "Conv2D((3, 3))": "Column 8: filters must be a whole number, but got (3, 3): Conv2D needs filters before kernel_size.",
    "nn.Conv2d((3, 3))": "Column 11: in_channels must be a whole number, but got (3, 3)",
    "nn.Conv2d()": "Column 1: Conv2d needs in_channels, out_channels and kernel_size.",
    "nn.Linear()": "Column 1: Linear needs in_features and out_features.",
    "DepthwiseConv2D()": "Column 1: DepthwiseConv2D needs kernel_size.",
    "nn.AdaptiveAvgPool2d()": "Column 1: AdaptiveAvgPool2d needs output_size.",
    **{
        f"{name}()": f"Column 1: {name} is no layer that is explained here."
        for name in (
            "Flatten",
            "Dropout",
            "BatchNormalization",
            "BatchNorm2d",
            "LayerNormalization",
            "Activation",
            "ReLU",
            "UpSampling2D",
            "ZeroPadding2D",
            "Embedding",
            "LSTM",
        )
    },
    "nn.BatchNormalization()": "Column 1: there is no layer BatchNormalization",
    "Conv2D(32, 3), Dropout(0.5)": "Column 16: Dropout is no layer that is explained here.",
    "Conv2d(3, 32)": "Column 1: Conv2d needs kernel_size.",
    "Conv2D(0, 3)": "Column 8: filters must be at least 1, but got 0.",
    "Conv2D(-2, 3)": "Column 8: filters must be at least 1, but got -2.",
    "Conv2D(True, 3)": "Column 8: filters must be a whole number, but got True.",
    "Conv2D(1.5, 3)": "Column 8: filters must be a whole number, but got 1.5.",
    "Conv2D('32', 3)": "Column 8: filters must be a whole number, but got '32'.",
    f"Conv2D({10**30}, 3)": "filters must be at most 16,777,216",
    "Conv2D(32, (3, 3, 3))": "Column 12: kernel_size takes one number or 2, but got 3.",
    "Conv2D(32, ())": "kernel_size takes one number or 2, but got 0.",
    "Conv2D(32, 3, activation='rellu')": "Column 15: there is no activation 'rellu'; nearest: relu",
    "Conv2D(32, 3, padding='some')": "padding must be valid or same, but got 'some'.",
    "Conv2D(32, 3, padding='causal')": "padding must be valid or same, but got 'causal'.",
    "Conv2D(32, 3, use_bias=1)": "use_bias must be True or False, but got 1.",
    "Conv2D(32, 3, strides=2, dilation_rate=2)": "Keras takes strides or dilation_rate, not both.",
    "Conv2D(32, 3, groups=3)": "3 groups do not divide 32 output channels",
    "Conv2D(32, 5, input_shape=(3, 3, 1))": "kernel_size 5 is larger than the padded input of 3",
    "Conv2D(32, 5, input_shape=(9, 9))": "must be rows, columns and channels, but got 2 numbers",
    "Conv2d(3, 32, 3, padding='SAME')": 'torch takes padding in lower case only; write "same".',
    "Conv2d(3, 32, 3, padding='same', stride=2)": "Column 18: torch rejects padding",
    "Conv2d(3, 32, 3, 1, 0, 1, 1, True, 'zeros', None, None, 1)": "Conv2d takes 11 arguments by position, but got 12.",
    "ConvTranspose2d(3, 4, 3, output_padding=1)": "output_padding must be smaller than the stride or the dilation",
    "MaxPool2d(2, padding=2)": "padding must be at most half of the window, but got 2 of 2",
    "Conv2D(32, 3)(x)": "Column 1: a layer is called on a value; write the layer alone",
    "x = Conv2D(32, 3)": "Column 1: write the layer alone, without `x =`",
    "Conv2D": "Column 1: Conv2D has no brackets",
    "3": "Column 1: this is no layer",
    "": "The call is empty",
    "Conv2D(32, 3": "a bracket or a quote is not closed",
    "Conv2D(32, 3))": "Column 14: a bracket is closed once too often.",
    "Conv2D(32 3)": "this is not Python",
    "Conv2D(32, 3), Conv2D(32, 3)": "Column 16: one layer at a time",
    "Conv2D(32,\n  n)": "Line 2, column 3: n is a name",
    "Conv2D(32, 'é', n)": "Column 17: n is a name",
    "Conv2D(\x0032, 3)": "Column 8: the character U+0000 is not text.",
    "Conv2D(\ud80032, 3)": "Column 8: the character U+D800 is not text.",
    "(" * 300 + "Conv2D(1, 1)" + ")" * 300: "",
    "-" * 1500 + "1": "",
    "Conv2D(" + "-" * 1900 + "1, 3)": "",
    "Conv2D(" + "[" * 900 + "]" * 900 + ", 3)": "",
    "Conv2D(1" + "0" * 1900 + ", 3)": "",
    "Conv2D(1, 1)," * 100: "at most 8 layers are read",
}


def test_no_layer_of_torch_is_called_unknown():
    """Every module of ``torch.nn`` is read or named as one that is not explained."""
    modules = {
        name for name, each in vars(torch.nn).items() if isinstance(each, type) and issubclass(each, torch.nn.Module)
    }
    assert modules <= {*LAYERS, *OTHER_LAYERS["torch"]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Dense(64, activation='softmax')", ["exp(x) / Σ exp(x): the values add up to 1", "c × 64 + 64, with c inputs"]),
        ("Conv2D(4, 3, activation='softmax')",
         ["the values of all channels at one position add up to 1", "with c input channels"]),
        ("Conv2D(4, 3, data_format='channels_first', activation='softmax')", ["values along the last axis add up to 1"]),
        ("nn.Conv2d(3, 4, 3), nn.Softmax(1)", ["the values of all channels at one position add up to 1"]),
        ("Dense(64, activation='softmax', input_shape=(5, 8))", ["the values of each vector add up to 1"]),
        ("Conv2D(1, 3, input_shape=(9, 9, 3))", ["27 weights in 1 kernel, and 1 bias"]),
        ("Conv2D(2, 3, input_shape=(9, 9, 3))", ["27 weights in each of 2 kernels, and 2 biases"]),
        ("Conv2DTranspose(4, 3, strides=2, padding='same')",
         ["it cuts 1 row at the bottom and 1 column at the right off the full output"]),
        ("Conv2DTranspose(4, 4, strides=2, padding='same')",
         ["it cuts 1 row at each end and 1 column at each end off the full output"]),
    ],
)  # fmt: skip
def test_sentences_fit_the_layer(line, words):
    """A sentence states what this layer does, in the number of its nouns."""
    text = "\n".join(call_lines(kernelviz.read_call(line)))
    for each in words:
        assert each in text


def test_nothing_uneven_is_spoken_of_where_nothing_is():
    """Padding that is even is not explained as uneven."""
    even = kernelviz.read_call("Conv2D(1, 3, padding='same', strides=2, input_shape=(7, 7, 1))")
    uneven = kernelviz.read_call("Conv2D(1, 3, padding='same', strides=2, input_shape=(8, 8, 1))")
    assert "uneven" not in "".join(even.notes)
    assert "uneven" in "".join(uneven.notes)


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: ascii(line)[:50])
def test_what_is_no_layer_is_refused_with_its_position(line):
    """Unknown names with the nearest, values that are no literals, and wrong values, in one line, at once."""
    began = time.perf_counter()
    with pytest.raises(kernelviz.KernelvizError) as caught:
        kernelviz.read_call(line)
    assert isinstance(caught.value, UsageError)
    assert REFUSED[line] in caught.value.what
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert time.perf_counter() - began < 5


def test_nothing_is_run():
    """Arguments and names that would do something are refused before Python looks anything up."""
    seen = []
    sys.modules[__name__].__dict__["Conv2D"] = lambda *_: seen.append(1)
    hostile = [
        "Conv2D(seen.append(1), 3)", "Conv2D(__import__('os').getcwd(), 3)", "exec('x')", "Conv2D(3, 3, name=open('/'))",
        "Conv2D([seen.append(n) for n in range(9)], 3)", "Conv2D(print(), 3)", "nn.Sequential(exec('1'))",
    ]  # fmt: skip
    for line in hostile:
        with pytest.raises(UsageError):
            kernelviz.read_call(line)
    kernelviz.read_call("Conv2D(3, 3)")
    del sys.modules[__name__].__dict__["Conv2D"]
    assert not seen


def test_long_texts_are_refused_unread():
    """A megabyte is refused by its length, whatever it contains."""
    for text in ("Conv2D(" + "1, " * 350_000 + ")", "(" * 1_000_000):
        with pytest.raises(UsageError, match=f"at most {LONGEST:,} characters"):
            kernelviz.read_call(text)
    padded = FIRST + " " * (LONGEST - len(FIRST))
    assert kernelviz.read_call(padded).parameters == 896
    with pytest.raises(UsageError, match="must be text"):
        kernelviz.read_call(3)


@pytest.mark.parametrize("size", [0, -1, True, 1.5, (3, 4, 5, 6), 10**30, (3, 0)])
def test_wrong_input_sizes_are_refused(size):
    """The size of the input is checked as every number of the line."""
    with pytest.raises(UsageError):
        kernelviz.read_call("Conv2d(3, 32, 3)", input_size=size)


def test_a_size_that_contradicts_the_line_is_refused():
    """Channels and sides that the line states cannot be given again with other values."""
    with pytest.raises(UsageError, match="3 input channels, but the input size 4 × 9 × 9 has 4"):
        kernelviz.read_call("Conv2d(3, 32, 3)", input_size=(4, 9, 9))
    with pytest.raises(UsageError, match="states its input already"):
        kernelviz.read_call(FIRST, input_size=150)


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_has_its_text(name):
    """Each layer is read with the fewest arguments, and its texts and its document are made."""
    signature = LAYERS[name]
    needed = {"filters": 4, "kernel_size": 3, "in_channels": 2, "out_channels": 4, "units": 4, "in_features": 3,
              "out_features": 4, "output_size": 2}  # fmt: skip
    needed |= {} if signature.framework == "keras" else {"pool_size": 2}
    words = ", ".join(f"{key}={value}" for key, value in needed.items() if key in signature.order)
    call = kernelviz.read_call(f"{name}({words})")
    assert call.kind == signature.kind
    assert call_lines(call)[0] == f"{name}({words})"
    entry = call_entry(call)
    assert not any(isinstance(value, float) and math.isnan(value) for value in entry.values())
    assert replace(call) == call
