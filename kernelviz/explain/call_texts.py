"""A layer as text for people and as JSON: what each argument means, sizes, parameters, and where Keras and torch differ."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from kernelviz.arithmetic.windows import (
    Formula,
    adaptive_formula,
    same_padding,
    transposed_formula,
    window_formula,
)
from kernelviz.explain.call_code import keras_code, slope_of, torch_code
from kernelviz.explain.calls import ACTIVATIONS
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.explain.calls import Argument, Call

FRAMEWORKS = {"keras": "Keras", "torch": "torch"}
AXES = {1: ("steps",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}
_AXIS = {1: ("step",), 2: ("row", "column"), 3: ("slice", "row", "column")}
LETTERS = {
    "i": "size of the input", "o": "size of the output", "p": "padding at each end", "p₀": "padding before",
    "p₁": "padding after", "k": "size of the kernel", "k′": "size of the kernel with its gaps", "s": "stride",
    "d": "dilation", "n": "number of the window, from 0 on", "⌊": "⌊ ⌋ rounded down", "⌈": "⌈ ⌉ rounded up",
    "mod": "remainder of a division",
}  # fmt: skip


def any_text(number: int | None) -> str:
    """A number, or ``any``."""
    return "any" if number is None else f"{number:,}" if number >= 10_000 else str(number)


def sizes_text(sizes: Sequence[int | None]) -> str:
    """``150 × 150 × 3``; ``any`` for what is not known."""
    return " × ".join(map(any_text, sizes))


def shape_of(call: Call, sizes: Sequence[int | None], channels: int | None, *, last: bool) -> tuple[int | None, ...]:
    """A shape with the channels in one of the two orders."""
    return (*sizes, channels) if last or not call.rank else (channels, *sizes)


def input_text(call: Call, *, last: bool | None = None) -> str:
    """The shape of the input, in the order of its framework unless ``last`` determines it."""
    order = call.channels_last if last is None else last
    return sizes_text(shape_of(call, call.input_size, call.in_channels, last=order))


def output_text(call: Call, *, last: bool | None = None) -> str:
    """The shape of the output."""
    if call.flat:
        return any_text(call.out_channels)
    order = call.channels_last if last is None else last
    return sizes_text(shape_of(call, call.output_size, call.out_channels, last=order))


def along(numbers: Sequence[int], rank: int) -> str:
    """``2 rows and 2 columns``."""
    return " and ".join(counted(number, noun) for number, noun in zip(numbers, _AXIS[rank], strict=True))


def kernel_channels(call: Call) -> int | None:
    """The input channels that one kernel reads."""
    return None if call.in_channels is None else call.in_channels // max(1, call.groups)


def is_depthwise(call: Call) -> bool:
    """Whether each kernel reads one of several channels."""
    return call.name.startswith("Depthwise") or (call.groups > 1 and call.groups == call.in_channels)


def meaning(call: Call, argument: Argument) -> str:
    """What one argument means for this layer, in plain words."""
    texts = {
        "out_channels": _outputs, "input": _inputs, "kernel": _kernel, "stride": _stride, "padding": _padding,
        "before": _before, "dilation": _dilation, "groups": _groups, "bias": _bias, "activation": _activation,
        "data_format": _data_format, "depth_multiplier": _multiplier, "output_padding": _output_padding,
        "padding_mode": _padding_mode, "output_size": _output_size,
    }  # fmt: skip
    if argument.key in texts:
        return texts[argument.key](call)
    if argument.key == "ceil_mode":
        return "a last window may exceed the input" if argument.value else "no window exceeds the input"
    if argument.key == "count_include_pad":
        return "averages include the padding" if argument.value else "averages exclude the padding"
    if argument.key == "keepdims":
        return "the pooled axes stay, with size 1" if argument.value else "the pooled axes are dropped"
    if argument.key == "divisor_override":
        return "sums are divided by this number instead of the number of cells"
    return "changes no size; not drawn"


def _outputs(call: Call) -> str:
    outputs = call.out_channels or 0
    if call.kind == "dense layer":
        return f"{counted(outputs, 'output')}, each connected to all inputs"
    if call.kind == "separable convolution":
        return f"{counted(outputs, 'map')} in the output, each a mixture of all maps of the first of the two layers"
    return f"{counted(outputs, 'kernel')}; {inflected(outputs, 'it', 'each')} makes one map of the output"


def _inputs(call: Call) -> str:
    if not call.rank:
        more = f"{sizes_text(call.input_size)} vectors of " if call.input_size else ""
        return f"{more}{any_text(call.in_channels)} {inflected(call.in_channels or 0, 'feature')} in"
    channels = f"{any_text(call.in_channels)} {inflected(call.in_channels or 0, 'channel')}"
    if call.framework == "torch":
        return f"{channels} in the input; torch takes images of any size"
    names = AXES[call.rank]
    return ", ".join([*(f"{any_text(n)} {name}" for n, name in zip(call.input_size, names, strict=True)), channels])


def _kernel(call: Call) -> str:
    size = sizes_text(call.kernel) if call.rank > 1 else along(call.kernel, 1)
    if call.kind.endswith("pooling"):
        value = "the largest value" if call.kind.startswith("max") else "the mean"
        return f"windows of {size}; {value} of each is kept"
    reads = kernel_channels(call)
    if call.kind == "separable convolution" or is_depthwise(call):
        return f"each kernel is {size}, in one input channel"
    where = (
        "the input channel"
        if reads == 1
        else f"all {any_text(reads)} input channels"
        if reads
        else "all input channels"
    )
    if call.groups > 1:
        where = f"the {reads} input channels of its group" if reads else "the input channels of its group"
    return f"each kernel is {size}, in {where}"


def _stride(call: Call) -> str:
    if call.kind == "transposed convolution":
        return f"the kernels of neighbouring values are {along(call.stride, call.rank)} apart in the output"
    return f"the window moves {along(call.stride, call.rank)} at a time"


def _padding(call: Call) -> str:
    if call.kind == "transposed convolution":
        return _cut(call)
    if call.padding_name == "valid":
        return "no padding: the window stays inside the input"
    if call.padding_name == "causal":
        zeros = sum(before for before, _ in call.padding or ())
        return f"{counted(zeros, 'zero')} in front, so that no output reads what comes later"
    if call.padding_name == "same":
        padded = f", here {_ends(call)}" if call.padding is not None else ""
        what = "the output is as large as the input" if max(call.stride) == 1 else "output = input / stride, rounded up"
        return f"padding so that {what}{padded}"
    if not any(map(any, call.padding or ())):
        return "no padding"
    fill = "−∞" if call.kind.startswith("max") else "zeros"
    if call.padding_mode not in ("zeros", "minus infinity"):
        fill = f"padding ({call.padding_mode})"
    return f"{fill} around the input: {_ends(call)}"


def _before(call: Call) -> str:
    fill = "−∞" if call.padding_mode == "minus infinity" else "zeros"
    return f"a layer in front that pads with {fill}; in all {_ends(call)}"


def _ends(call: Call) -> str:
    """``1 row at each end and 1 column at each end``; ``0 above and 1 below, …``."""
    ends = call.padding or ()
    words = {
        "step": ("before", "after"),
        "row": ("above", "below"),
        "column": ("left", "right"),
        "slice": ("before", "after"),
    }
    if len(set(ends)) == 1 and ends[0][0] == ends[0][1]:
        return f"{ends[0][0]} at each end" if call.rank == 1 else f"{ends[0][0]} on each side"
    parts = []
    for (a, b), noun in zip(ends, _AXIS[call.rank], strict=True):
        before, after = words[noun]
        parts.append(f"{a} {before} and {b} {after}")
    return ", ".join(parts)


def _cut(call: Call) -> str:
    """What the padding of a transposed convolution cuts off the output."""
    ends = call.padding or ()
    if call.framework == "torch":
        return f"{along(_typed_sides(call, 'padding'), call.rank)} cut off at each end of the output"
    if call.padding_name == "same":
        stated = any(each.key == "output_padding" and each.value is not None for each in call.arguments)
        what = "" if stated else "padding so that output = input × stride; it "
        cut = all(b >= 0 for _, b in ends)
        return (
            f"{what}{_cut_text(call)} off the full output" if cut else what.removesuffix("; it ") or "padding of Keras"
        )
    return "nothing is cut off the output"


def _cut_text(call: Call) -> str:
    """``cuts 1 row at the bottom and 1 column at the right``."""
    ends = {"step": ("start", "end"), "slice": ("front", "back"), "row": ("top", "bottom"), "column": ("left", "right")}
    parts = []
    for (a, b), noun in zip(call.padding or (), _AXIS[call.rank], strict=True):
        if a == b:
            parts += [f"{counted(a, noun)} at each end"] if a else []
        else:
            parts += [f"{counted(n, noun)} at the {end}" for n, end in zip((a, b), ends[noun], strict=True) if n > 0]
    return f"cuts {' and '.join(parts) or 'nothing'}"


def _typed_sides(call: Call, key: str) -> tuple[int, ...]:
    """The numbers of an argument, one for each axis; zeros if it is not a number."""
    value = next((each.value for each in call.arguments if each.key == key), 0)
    sides = value if isinstance(value, tuple) else (value,) * call.rank
    return tuple(side if isinstance(side, int) else 0 for side in sides)


def _output_padding(call: Call) -> str:
    if all(each.value is None for each in call.arguments if each.key == "output_padding"):
        return "as many as the padding requires"
    return f"{along(_typed_sides(call, 'output_padding'), call.rank)} more at the end of the output"


def _dilation(call: Call) -> str:
    if max(call.dilation) == 1:
        return "no gaps in the kernel"
    spans = [d * (k - 1) + 1 for d, k in zip(call.dilation, call.kernel, strict=True)]
    apart = sizes_text(call.dilation) if len(set(call.dilation)) > 1 else str(call.dilation[0])
    return f"the cells of a kernel are {apart} apart: it spans {sizes_text(spans)}"


def _groups(call: Call) -> str:
    if call.groups == 1:
        return "one group: every kernel reads all channels"
    reads = kernel_channels(call)
    each = "" if reads is None else f", {counted(reads, 'channel')} each"
    return f"the input channels in {call.groups} groups{each}; a kernel reads one group"


def _bias(call: Call) -> str:
    if not call.bias:
        return "no bias is added"
    what = "output" if call.kind == "dense layer" else "kernel"
    return f"one number for each {what} is added"


def _activation(call: Call) -> str:
    if call.activation is None:
        return "no activation: values stay as they are"
    name, slope = slope_of(call.activation)
    a = f", a = {slope:g}" if name == "leaky_relu" else ""
    return f"{ACTIVATIONS[name].formula}: {activation_words(call, name)}{a}"


def activation_words(call: Call, name: str) -> str:
    """What an activation does; a softmax is over the channels, except in Keras with channels first."""
    if name != "softmax" or (call.rank and (call.framework == "torch" or call.channels_last)):
        return ACTIVATIONS[name].words
    if not call.rank and not call.input_size:
        return "the values add up to 1"
    return "the values of each vector add up to 1" if not call.rank else "the values along the last axis add up to 1"


def _data_format(call: Call) -> str:
    return f"shapes are written {'channels last' if call.channels_last else 'channels first'}: {input_text(call)}"


def _multiplier(call: Call) -> str:
    return f"{counted(call.depth_multiplier, 'kernel')} for each input channel"


def _padding_mode(call: Call) -> str:
    words = {"zeros": "with zeros", "reflect": "with the mirrored image", "replicate": "with the border values",
             "circular": "with the opposite side of the image"}  # fmt: skip
    return f"padding is filled {words.get(call.padding_mode, call.padding_mode)}; it changes no size"


def _output_size(call: Call) -> str:
    return f"the output is {sizes_text(call.adaptive or ())}, for any input size; the windows adapt to it"


# Sizes.


def formulas(call: Call) -> tuple[Formula, ...]:
    """The formula of the output size along each axis whose input is known; empty for dense layers and global pools."""
    found = []
    for at in range(call.rank):
        side, result = call.input_size[at], call.output_size[at]
        if side is not None and result is not None and (call.kernel or _has_windows(call)):
            found.append(_formula(call, at, side, result))
    return tuple(found) if len(found) == call.rank else ()


def _has_windows(call: Call) -> bool:
    return call.adaptive is not None and any(side != 1 for side in call.adaptive)


def _formula(call: Call, at: int, side: int, result: int) -> Formula:
    if call.adaptive is not None:
        return adaptive_formula(side, result)
    k, s, d, ends = call.kernel[at], call.stride[at], call.dilation[at], (call.padding or ())[at]
    if call.kind == "transposed convolution":
        return _transposed(call, at, side, result)
    if call.padding_name in ("same", "causal"):
        front = sum(ends) - sum(same_padding(side, k, s, d)) if call.padding_name == "same" else 0
        if front == 0 or call.padding_name == "causal":
            text = f"⌈{side} / {s}⌉" if s > 1 else str(side)
            return Formula("⌈i / s⌉" if s > 1 else "i", text, "", "", "", result)
    return window_formula(side, k, s, ends, d, result, ceil_mode=call.ceil_mode)


def _transposed(call: Call, at: int, side: int, result: int) -> Formula:
    """The formula of a transposed convolution, as its framework computes it."""
    k, s, d, (a, b) = call.kernel[at], call.stride[at], call.dilation[at], (call.padding or ())[at]
    if call.framework == "torch" and 0 <= a - b < max(s, d) and a >= 0:
        return transposed_formula(side, k, s, a, d, a - b, result)
    span = d * (k - 1) + 1
    stated = any(each.key == "output_padding" and each.value is not None for each in call.arguments)
    kernel, where = ("k", ()) if d == 1 else ("k′", (f"k′ = d(k − 1) + 1 = {d}·{k - 1} + 1 = {span}",))
    if call.padding_name == "same" and not stated and result == side * s:
        return Formula("i·s", f"{side}·{s}", "", "", "", result, ())
    if call.padding_name == "valid" and not stated and result == (side - 1) * s + max(span, s):
        text = f"({side} − 1)·{s} + max({span}, {s})"
        return Formula(f"(i − 1)·s + max({kernel}, s)", text, "", "", "", result, where)
    cut = a + b
    more = f"{'−' if cut >= 0 else '+'} {abs(cut)}"
    letters = f"(i − 1)·s + {kernel} {'− cut off' if cut >= 0 else '+ output padding'}"
    return Formula(letters, f"({side} − 1)·{s} + {span} {more}", "", "", "", result, where)


def legend(found: Sequence[Formula]) -> list[str]:
    """The letters of these formulas, explained."""
    text = " ".join(part for each in found for part in (each.letters, *each.where))
    text = re.sub(r"output padding|cut off|as given; window|reads from|before|after|one less: .*|max|to", " ", text)
    alone = {letter: letter if letter in "⌊⌈" else rf"(?<![a-z]){letter}(?![a-z₀₁′])" for letter in LETTERS}
    used = [letter for letter, pattern in alone.items() if re.search(pattern, text)]
    return [LETTERS[letter] if letter in "⌊⌈" else f"{letter} {LETTERS[letter]}" for letter in used]


def parameters_text(call: Call) -> str:
    """``27 × 32 + 32 = 896``, the parameters as weights of a kernel times kernels, and biases."""
    if call.kind.endswith("pooling"):
        return "none: nothing is learned"
    cells = math.prod(call.kernel)
    if call.kind == "dense layer":
        inputs = "c" if call.in_channels is None else f"{call.in_channels:,}"
        return _sum_text(call, f"{inputs} × {call.out_channels:,}")
    if call.kind == "separable convolution":
        middle = "c" if call.in_channels is None else f"{call.in_channels * call.depth_multiplier:,}"
        return _sum_text(call, f"{cells} × {middle} + {middle} × {call.out_channels:,}")
    if call.in_channels is None or call.out_channels is None:
        outputs = "c" if call.out_channels is None else f"{call.out_channels:,}"
        per = f"{cells}" if is_depthwise(call) else f"{cells}·c" + (f" / {call.groups}" if call.groups > 1 else "")
        return _sum_text(call, f"{per} × {outputs}")
    return _sum_text(call, f"{per_kernel(call):,} × {call.out_channels:,}")


def _sum_text(call: Call, weights: str) -> str:
    outputs = "c" if call.out_channels is None else f"{call.out_channels:,}"
    text = f"{weights} + {outputs}" if call.bias else weights
    if call.parameters is not None:
        return f"{text} = {call.parameters:,}"
    return f"{text}, with c {'input channels' if call.rank else 'inputs'}"


def per_kernel(call: Call) -> int:
    """The weights of one kernel."""
    return (kernel_channels(call) or 0) * math.prod(call.kernel)


def _parameters_lines(call: Call) -> list[str]:
    lines = [parameters_text(call)]
    if call.kind.endswith("pooling"):
        return lines
    bias = f"and {counted(call.out_channels or 0, 'bias', 'biases')}" if call.bias else "no bias"
    if call.out_channels is None:
        bias = "and a bias for each output channel" if call.bias else "no bias"
    if call.kind == "dense layer":
        lines.append(f"a weight for each pair of input and output, {bias}")
    elif call.kind == "separable convolution":
        lines.append(f"a kernel for each channel, then 1 × 1 kernels that mix them, {bias}")
    else:
        channels = kernel_channels(call)
        per = sizes_text([*call.kernel, channels])
        weights = (
            f"{per} = {counted(per_kernel(call), 'weight')}"
            if channels
            else f"{sizes_text(call.kernel)} weights per channel"
        )
        each = "" if call.out_channels == 1 else "each of "
        kernels = f" in {each}{counted(call.out_channels, 'kernel')}" if call.out_channels else " in each kernel"
        lines.append(f"{weights}{kernels}, {bias}")
    if call.rank:
        lines.append("the size of the input does not matter")
    return lines


def macs(call: Call) -> int | None:
    """Multiply-adds for one input; None if a size is not known."""
    if call.kind.endswith("pooling"):
        return 0
    sizes = call.input_size if call.kind == "transposed convolution" else call.output_size
    weights = call.weights
    if weights is None or None in sizes:
        return None
    return math.prod(side or 0 for side in sizes) * weights


def call_lines(call: Call) -> list[str]:
    """The call for people: arguments, sizes, parameters, the other framework's line, and notes."""
    framework = FRAMEWORKS[call.framework]
    lines = [re.sub(r"\s*\n\s*", " ", call.text), f"{_kind_text(call)} in {framework}", ""]
    width = min(34, max((len(each.text) for each in call.arguments), default=0))
    lines += [f"  {each.text.ljust(width)}  {argument_name(each)}{meaning(call, each)}" for each in call.arguments]
    absent = not_written(call)
    lines += [f"  defaults (not written): {absent}"] if absent else []
    lines += [
        "",
        f"input       {input_text(call)}",
        *_size_lines(call),
        f"output      {output_text(call)}{_outcome(call)}",
    ]
    parameters = _parameters_lines(call)
    lines += [f"parameters  {parameters[0]}", *(f"            {line}" for line in parameters[1:])]
    work = macs(call)
    lines += [f"work        {work:,} multiply–adds"] if work else []
    lines += ["", *code_lines(call)]
    return [*lines, *(f"note        {note}" for note in call.notes)]


def _kind_text(call: Call) -> str:
    """``A convolution``, ``A global average pooling``."""
    kind: str = call.kind
    if call.adaptive is not None:
        kind = f"{'adaptive' if _has_windows(call) else 'global'} {kind}"
    return f"{'An' if kind[0] == 'a' else 'A'} {kind}"


def argument_name(argument: Argument) -> str:
    """The name of a parameter that is given by position, before its meaning."""
    return "" if argument.text.startswith(argument.name) or "(" in argument.text[1:] else f"{argument.name}: "


def _outcome(call: Call) -> str:
    if call.flat:
        return "  one number per channel"
    if call.kind == "dense layer":
        return ""
    return "  one map per channel" if call.kind.endswith("pooling") else "  one map per kernel"


def _size_lines(call: Call) -> list[str]:
    found = formulas(call)
    if not found:
        if call.rank and None in call.input_size and call.kernel:
            return ["size        add --input 150 for the size of the output"]
        return []
    if all(each.letters == "i" for each in found):
        return ["size        as large as the input"]
    lines = [f"size        {found[0].letters}"]
    if len(set(found)) == 1:
        lines += [f"            {found[0].text}", *(f"            {line}" for line in found[0].where)]
    else:
        lines += [
            f"            {letters}"
            for letters in dict.fromkeys(f.letters for f in found)
            if letters != found[0].letters
        ]
        for name, formula in zip(AXES[call.rank], found, strict=True):
            where = f"   ({'; '.join(formula.where)})" if formula.where else ""
            lines.append(f"  {name:<10}{formula.text}{where}")
    words = legend(found)
    return lines + ([f"            {', '.join(words)}"] if words else [])


def code_lines(call: Call) -> list[str]:
    """The other framework's line, or why there is none."""
    other = "torch" if call.framework == "keras" else "keras"
    code = (torch_code if other == "torch" else keras_code)(call)
    name = FRAMEWORKS[other]
    return [f"{name:<12}{code.text or f'no exact counterpart: {code.reason}'}"]


DEFAULTS = {
    "keras": {
        "strides": "strides=1", "padding": 'padding="valid"', "dilation_rate": "dilation_rate=1", "groups": "groups=1",
        "activation": "activation=None", "use_bias": "use_bias=True", "depth_multiplier": "depth_multiplier=1",
        "keepdims": "keepdims=False", "pool_size": "pool_size=2",
    },
    "torch": {
        "stride": "stride=1", "padding": "padding=0", "dilation": "dilation=1", "groups": "groups=1",
        "bias": "bias=True", "output_padding": "output_padding=0", "ceil_mode": "ceil_mode=False",
        "count_include_pad": "count_include_pad=True",
    },
}  # fmt: skip
"""The defaults that decide sizes and parameters."""


def not_written(call: Call) -> str:
    """The defaults that apply because the line does not write them."""
    from kernelviz.explain.calls import LAYERS

    written = {each.name for each in call.arguments}
    found = dict(DEFAULTS[call.framework])
    if call.kind.endswith("pooling"):
        stride = "strides" if call.framework == "keras" else "stride"
        found[stride] = f"{stride}=None (the size of the window)"
    order = LAYERS[call.name].order
    absent = [text for name, text in found.items() if name in order and name not in written]
    if call.activation is not None:
        absent = [text for text in absent if not text.startswith("activation")]
    return ", ".join(absent)


# Notes.


def notes(call: Call) -> tuple[str, ...]:
    """Where Keras and torch differ for this layer, and what surprises."""
    found = [*_kind_notes(call), *_layout_notes(call), *_weight_notes(call)]
    if not call.kind.endswith("pooling"):
        word = "use_bias=False" if call.framework == "keras" else "bias=False"
        other = "bias=False" if call.framework == "keras" else "use_bias=False"
        found.append(f"Keras and torch have a bias unless {word} ({FRAMEWORKS[_other(call)]}: {other}) is written")
    elif call.kernel:
        found.append("both frameworks move a pool by the size of its window unless a stride is written")
    found += _padding_notes(call)
    if any(each.name in ("input_shape", "batch_input_shape", "input_dim") for each in call.arguments):
        shape = shape_of(call, call.input_size, call.in_channels, last=call.channels_last)
        text = f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"
        found.append(
            f"newer Keras warns about input_shape; keras.Input(shape={text}) in front of the layer does the same"
        )
    return tuple(found)


def _other(call: Call) -> str:
    return "torch" if call.framework == "keras" else "keras"


def _kind_notes(call: Call) -> list[str]:
    if call.kind == "separable convolution":
        middle = "" if call.in_channels is None else f" ({call.in_channels * call.depth_multiplier:,} maps)"
        return [f"two layers: a depthwise convolution without bias{middle}, then a 1 × 1 convolution over all its maps"]
    if call.kind == "dense layer":
        return ["dense means fully connected; it acts on the last axis"]
    return []


def _layout_notes(call: Call) -> list[str]:
    if not call.rank:
        return []
    keras, torch = input_text(call, last=call.framework == "torch" or call.channels_last), input_text(call, last=False)
    order = (
        "channels first, as this line sets it"
        if call.framework == "keras" and not call.channels_last
        else "channels last"
    )
    if call.in_channels is None and not any(call.input_size):  # the sizes would read any × any × any
        names = AXES[call.rank]
        keras, torch = (" × ".join(shape) for shape in ((*names, "channels"), ("channels", *names)))
        keras = torch if order != "channels last" else keras
    return [f"Keras: {order}, {keras}; torch: channels first, {torch}"]


def _weight_notes(call: Call) -> list[str]:
    """The axes of the weight in both frameworks, and how one becomes the other."""
    if call.kind.endswith("pooling") or call.kind == "separable convolution":
        return []
    inputs, outputs = any_text(call.in_channels), any_text(call.out_channels)
    if call.kind == "dense layer":
        return [
            f"weight: Keras {inputs} × {outputs} (in, out), torch {outputs} × {inputs}: w.T turns one into the other"
        ]
    kernel, rank = sizes_text(call.kernel), call.rank
    axes = ", ".join(str(at) for at in (rank + 1, rank, *range(rank)))
    reads = any_text(kernel_channels(call))
    if call.kind == "transposed convolution":
        keras, order = f"{kernel} × {outputs} × {inputs}", "kernel, out, in"
        torch = f"{inputs} × {any_text((call.out_channels or 0) // max(1, call.groups))} × {kernel}"
    elif call.name.startswith("Depthwise"):
        keras, order = f"{kernel} × {inputs} × {call.depth_multiplier}", "kernel, in, multiplier"
        torch = f"{outputs} × 1 × {kernel}"
        axes = ", ".join(str(at) for at in (rank, rank + 1, *range(rank)))
        shape = f"({outputs if call.out_channels else -1}, 1, {', '.join(map(str, call.kernel))})"
        return [f"weight: Keras {keras} ({order}), torch {torch}: w.transpose({axes}).reshape{shape} is torch's"]
    else:
        keras, order = f"{kernel} × {reads} × {outputs}", "kernel, in, out"
        torch = f"{outputs} × {reads} × {kernel}"
    return [f"weight: Keras {keras} ({order}), torch {torch}: w.transpose({axes}) turns Keras' into torch's"]


def _padding_notes(call: Call) -> list[str]:
    found = []
    if call.padding_name == "same" and call.kind != "transposed convolution" and max(call.stride) > 1:
        name = f"nn.ZeroPad{call.rank}d" if call.kind.endswith("convolution") else "ceil_mode"
        instead = f"the torch line pads by {name}" if call.padding and any(a != b for a, b in call.padding) else ""
        what = (
            'torch rejects padding="same" with a stride'
            if call.kind.endswith("convolution")
            else "torch's pools have no same"
        )
        ends = "" if call.padding is None else f", here {_ends(call)}"
        is_even = call.padding is not None and all(a == b for a, b in call.padding)
        first = "" if is_even else f"Keras pads uneven sums more at the end{ends}"
        found.append("; ".join(part for part in (first, what, instead) if part))
    elif call.padding_name == "same" and call.kind != "transposed convolution" and any(k % 2 == 0 for k in call.kernel):
        found.append(f"an even kernel is padded more at the end, in Keras and in torch: {_ends(call)}")
    if call.padding_name == "same" and call.kind == "average pooling":
        found.append("Keras excludes the padding from averages; torch includes it unless count_include_pad=False")
    if (
        call.padding_name == "same"
        and call.kind == "transposed convolution"
        and any(b > a for a, b in call.padding or ())
    ):
        found.append(
            f"Keras {_cut_text(call)} off the output; torch cuts both ends alike, and the rest by a negative pad"
        )
    return found


def call_entry(call: Call) -> dict[str, Any]:
    """The fields of the JSON document: those of ``explain``, and what only a call has."""
    found = formulas(call)
    operation = call.operation
    other = "torch" if call.framework == "keras" else "keras"
    code = (torch_code if other == "torch" else keras_code)(call)
    return {
        "operation": call.kind,
        "settings": None,
        "input_size": list(call.input_size),
        "kernel": list(call.kernel),
        "in_channels": call.in_channels,
        "out_channels": call.out_channels,
        "output_size": list(call.output_size),
        "formula": (found[0].text if len(set(found)) == 1 else "; ".join(f.text for f in found)) if found else None,
        "formulas": [
            {"letters": each.letters, "numbers": each.numbers, "result": each.result, "where": list(each.where)}
            for each in found
        ],
        "parameters": call.parameters,
        "dense_parameters": getattr(operation, "dense_parameters", None) or None,
        "macs": macs(call),
        "unread": None if operation is None else list(operation.unread),
        "input": None, "kernel_values": None, "bias": None, "output": None, "steps_total": None, "steps": [],
        "largest": None, "made_up": None, "seed": None, "known_filters": [],
        "call": {
            "text": call.text,
            "framework": call.framework,
            "name": call.name,
            "kind": call.kind,
            "arguments": [
                {
                    "name": each.name, "key": each.key or None, "text": each.text, "column": each.start + 1,
                    "meaning": meaning(call, each), "drawn": bool(each.key),
                }
                for each in call.arguments
            ],
            "stride": list(call.stride),
            "padding": None if call.padding is None else [list(pair) for pair in call.padding],
            "dilation": list(call.dilation),
            "groups": call.groups,
            "bias": call.bias,
            "activation": call.activation,
            "input_shape": list(shape_of(call, call.input_size, call.in_channels, last=call.channels_last)),
            "output_shape": [call.out_channels]
            if call.flat
            else list(shape_of(call, call.output_size, call.out_channels, last=call.channels_last)),
            "keras": call.keras,
            "torch": call.torch,
            "no_code": code.reason or None,
            "notes": list(call.notes),
        },
    }  # fmt: skip
