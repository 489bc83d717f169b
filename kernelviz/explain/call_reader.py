"""Read a layer as Keras or PyTorch writes it, and reject what its framework would reject.

Sizes follow ``torch.nn`` and Keras 3. For Keras these are ``compute_conv_output_shape`` and, for transposed convolutions
(``deconv_output_length`` in Keras 2), ``_get_output_shape_given_tf_padding`` and
``compute_conv_transpose_padding_args_for_jax`` in ``keras/src/backend/common/backend_utils.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kernelviz.arithmetic.windows import LARGEST, convolution_size, pooling_size, same_padding, size_text
from kernelviz.errors import UsageError
from kernelviz.explain.call_code import keras_code, torch_code
from kernelviz.explain.call_syntax import PREFIXES, Line, Value, WrittenLayer, bound
from kernelviz.explain.call_texts import notes
from kernelviz.explain.calls import (
    ACTIVATIONS,
    ALIASES,
    KERAS_ACTIVATIONS,
    KERAS_LAYER_SLOPE,
    KERAS_SLOPE,
    KEYS,
    LAYERS,
    OTHER_LAYERS,
    TORCH_ACTIVATIONS,
    TORCH_SLOPE,
    Argument,
    Call,
    count_parameters,
    operation_of,
    same_crop,
    valid_crop,
)
from kernelviz.wording import nearest_names, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernelviz.explain.calls import Ends

_SHAPES = {"input_shape": 0, "batch_input_shape": 0, "input_dim": 0, "shape": 0, "batch_shape": 0}.keys()
_COUNTS = frozenset({"filters", "units", "in_channels", "out_channels", "in_features", "out_features"})
_REQUIRED = _COUNTS | {"kernel_size", "output_size"}
_MODES = ("zeros", "reflect", "replicate", "circular")


def _literal(value: object) -> str:
    """A value in an error message."""
    text = repr(value)
    return shown(text if len(text) <= 40 else f"{text[:37]}…")


def _sum(first: Ends, second: Ends) -> Ends:
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(first, second, strict=True))


def read_call(text: str, *, input_size: int | Sequence[int] | None = None) -> Call:
    """Read a layer as Keras or PyTorch writes it.

    The line is parsed, never run: its arguments must be literals. ``model.add(…)``, ``nn.Sequential(…)``, prefixes such as
    ``nn.`` or ``layers.``, a padding layer in front and an activation behind are read as well.

    Args:
        text: For example ``Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))`` or
            ``nn.Conv2d(3, 32, 3, stride=2)``.
        input_size: The size of the input, if the line does not state it: one number for all sides, one for each, or these
            with the channels, in the order of the framework.

    Raises:
        UsageError: The line is not a layer with literal arguments, or its framework would reject it; the message states
            the position.

    Example:
        >>> call = kernelviz.read_call('Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))')
        >>> call.output_size, call.parameters
        ((148, 148), 896)
        >>> print(call.torch)
        nn.Conv2d(3, 32, 3), nn.ReLU()
        >>> kernelviz.read_call("nn.MaxPool2d(3, stride=2)", input_size=112).output_size
        (55, 55)
    """
    return _Reader(Line(text), _sizes(input_size)).call()


def _sizes(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for number in numbers or (None,):
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= LARGEST:
            what = f"The input size must be whole numbers from 1 to {LARGEST:,}, but got {shown(value)}."
            raise UsageError(what, hint="For example 150, (150, 150) or (150, 150, 3)")
    return numbers


@dataclass(frozen=True)
class _Axis:
    """One axis that a window slides along: the size of the input, and what a padding layer adds before and after."""

    size: int | None
    kernel: int
    stride: int
    dilation: int
    before: tuple[int, int]

    @property
    def span(self) -> int:
        """The size of the kernel with its gaps."""
        return self.dilation * (self.kernel - 1) + 1

    def same(self) -> tuple[int, int] | None:
        """What ``same`` pads; None if it depends on an unknown size."""
        if self.stride == 1:
            return same_padding(1, self.kernel, 1, self.dilation)
        if self.size is None:
            return None
        return same_padding(self.size + sum(self.before), self.kernel, self.stride, self.dilation)


class _Reader:
    """One line on its way to a ``Call``: finds the layer among its companions, then sets the attributes."""

    def __init__(self, line: Line, given: tuple[int, ...] | None) -> None:
        self.line = line
        self.given = given
        layers = line.layers()
        self.main = self._main(layers)
        self.signature = LAYERS[self.main.name]
        self.framework = self.signature.framework
        self.rank = self.signature.rank
        self._check_prefix(self.main, self.framework)
        self.values = dict(bound(line, self.main, self.signature.order, self.signature.named))
        self._check_required()
        self.arguments = [self._argument(name, KEYS.get(name, ""), each) for name, each in self.values.items()]
        self.before: Ends = ((0, 0),) * self.rank  # of a padding layer in front
        self.fill = ""
        self.crop: Ends = ((0, 0),) * self.rank
        self.pointwise: Mapping[str, Value] | None = None
        self.after: str | None = None  # an activation layer
        self.flatten = False
        self.channels_last = self.framework == "keras" and (
            self._word("data_format", ("channels_last", "channels_first"), "channels_last") == "channels_last"
        )
        at = layers.index(self.main)
        for layer in layers[:at]:
            self._in_front(layer)
        for layer in layers[at + 1 :]:
            self._behind(layer)
        self.arguments.sort(key=lambda each: each.start)

    def _check_required(self) -> None:
        """Check that no argument without a default is missing; a size alone is taken for the channels."""
        missing = [name for name in self.signature.order if name in _REQUIRED and name not in self.values]
        if self.signature.kind.endswith("pooling") and self.framework == "keras":
            missing = [name for name in missing if name == "output_size"]
        first = self.signature.order[0]
        if "kernel_size" in missing and first in _COUNTS and first in self.values:
            value = self.values[first]
            if isinstance(value.value, tuple):
                what = f"{first} must be a whole number, but got {_literal(value.value)}"
                self.line.reject(value.start, f"{what}: {self.main.name} needs {first} before kernel_size.")
        if missing:
            names = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
            self.line.reject(self.main.start, f"{self.main.name} needs {names}.")

    def _argument(self, name: str, key: str, typed: Value | WrittenLayer) -> Argument:
        """An argument, or a layer behind that acts as one, with its position in the text without blanks around it."""
        before = len(self.line.text) - len(self.line.text.lstrip())
        value = typed.value if isinstance(typed, Value) else typed.name
        return Argument(name, key, typed.text, typed.start - before, typed.end - before, value)

    # What a line contains.

    def _main(self, layers: Sequence[WrittenLayer]) -> WrittenLayer:
        for layer in layers:
            if layer.name not in LAYERS and not self._is_companion(layer.name):
                framework = PREFIXES[layer.prefix]
                if any(layer.name in names for each, names in OTHER_LAYERS.items() if framework in ("", each)):
                    self.line.reject(layer.start, f"{layer.name} is no layer that is explained here.")
                known = [name for name, each in LAYERS.items() if framework in ("", each.framework)]
                near = ", ".join(nearest_names(known, layer.name))
                self.line.reject(layer.start, f"there is no layer {shown(layer.name)}; nearest: {near}.")
        found = [layer for layer in layers if layer.name in LAYERS]
        if not found:
            self.line.reject(layers[0].start, f"{layers[0].name} is no layer that is explained here.")
        separable = len(found) == 2 and all(LAYERS[each.name].framework == "torch" for each in found)
        if len(found) > 1 and not separable:
            self.line.reject(found[1].start, "one layer at a time; write this one in a line of its own.")
        return found[0]

    @staticmethod
    def _is_companion(name: str) -> bool:
        pads = {f"{kind}Padding{rank}D" for kind in ("Zero",) for rank in (1, 2, 3)}
        pads |= {f"{kind}Pad{rank}d" for kind in ("Zero", "Constant") for rank in (1, 2, 3)}
        crops = {f"Cropping{rank}D" for rank in (1, 2, 3)}
        return name in pads | crops | set(TORCH_ACTIVATIONS) | set(KERAS_ACTIVATIONS) | {
            "Activation",
            "Flatten",
            "Input",
            "InputLayer",
        }

    def _check_prefix(self, layer: WrittenLayer, framework: str) -> None:
        if PREFIXES[layer.prefix] not in ("", framework):
            known = [name for name, each in LAYERS.items() if each.framework == PREFIXES[layer.prefix]]
            near = ", ".join(nearest_names(known, layer.name))
            self.line.reject(layer.start, f"{layer.prefix} has no {shown(layer.name)}; nearest: {near}.")

    def _in_front(self, layer: WrittenLayer) -> None:
        """Read an ``Input`` or a padding layer."""
        if layer.name in ("Input", "InputLayer") and self.framework == "keras":
            order = ("shape", "batch_size", "dtype", "sparse", "ragged", "batch_shape", "name")
            values = bound(self.line, layer, order, ())
            if not values.keys() & {"shape", "batch_shape"}:
                self.line.reject(layer.start, f"{layer.name} needs a shape.")
            if self.values.keys() & _SHAPES:
                self.line.reject(layer.start, "the input is stated twice.")
            self.values |= {name: each for name, each in values.items() if name in ("shape", "batch_shape")}
            self.arguments += [self._argument(name, KEYS.get(name, ""), each) for name, each in values.items()]
            return
        names = {f"ZeroPad{self.rank}d", f"ConstantPad{self.rank}d"}
        if self.framework == "keras":
            names = {f"ZeroPadding{self.rank}D"}
        if layer.name not in names or any(map(any, self.before)):
            self.line.reject(layer.start, f"{layer.name} in front of {self.main.name} is not read.")
        self._pad(layer)

    def _pad(self, layer: WrittenLayer) -> None:
        """Read a padding layer."""
        torch, constant = self.framework == "torch", layer.name.startswith("Constant")
        order = ("padding", "value") if constant else ("padding",) if torch else ("padding", "data_format")
        values = bound(self.line, layer, order, () if torch else ("name", "dtype"))
        if "padding" not in values and torch:
            self.line.reject(layer.start, f"{layer.name} needs a padding.")
        value = values["value"].value if "value" in values else None
        if constant and (isinstance(value, bool) or value not in (0, -math.inf)):
            self.line.reject(layer.start, f'{layer.name} is read with the value 0 or float("-inf") only.')
        self.fill = "minus infinity" if constant and value != 0 else "zeros"
        pool = self.signature.kind == "max pooling"
        slides = self.signature.variant not in ("global", "adaptive")
        if (self.fill == "zeros") == pool or self.signature.kind == "transposed convolution" or not slides:
            words = "zeros in front of a maximum are not its own padding, which is −∞" if pool else "this is not read"
            self.line.reject(layer.start, f"{layer.name} in front of {self.main.name}: {words}.")
        self.before = self._ends(values["padding"], 0) if "padding" in values else ((1, 1),) * self.rank
        self.arguments += [self._argument(n, "before", each) for n, each in values.items() if n == "padding"]

    def _behind(self, layer: WrittenLayer) -> None:
        """Read an activation, a pointwise convolution, a crop, or ``Flatten``."""
        if layer.name in LAYERS:
            self._check_prefix(layer, self.framework)
            self.pointwise = self._pointwise(layer)
        elif layer.name == "Flatten":
            self.flatten = True
        elif layer.name in (f"Cropping{self.rank}D", f"ZeroPad{self.rank}d"):
            self.crop = self._cropped(layer)
        else:
            self.after = self._activation_layer(layer)

    def _pointwise(self, layer: WrittenLayer) -> Mapping[str, Value]:
        signature = LAYERS[layer.name]
        first = self.values
        in_channels = first["in_channels"].value if "in_channels" in first else None
        groups = first["groups"].value if "groups" in first else 1
        if (
            (signature.kind, signature.rank) != ("convolution", self.rank)
            or self.signature.kind != "convolution"
            or in_channels is None
            or in_channels != groups
            or "bias" not in first
            or first["bias"].value is not False
        ):
            self.line.reject(layer.start, "one layer at a time; write this one in a line of its own.")
        values = bound(self.line, layer, signature.order, signature.named)
        kernel = values["kernel_size"].value if "kernel_size" in values else None
        one = (kernel == 1 or kernel == (1,) * self.rank) and "out_channels" in values
        inputs = values["in_channels"].value if "in_channels" in values else None
        wanted = first["out_channels"].value if "out_channels" in first else None
        if not one or values.keys() - {"in_channels", "out_channels", "kernel_size", "bias"} or inputs != wanted:
            self.line.reject(
                layer.start, "only a 1 × 1 convolution of all its channels is read behind a depthwise one."
            )
        return values

    def _cropped(self, layer: WrittenLayer) -> Ends:
        torch = layer.name.startswith("Zero")
        name = "padding" if torch else "cropping"
        values = bound(self.line, layer, (name,) if torch else (name, "data_format"), () if torch else ("name",))
        if self.signature.kind != "transposed convolution" or name not in values:
            self.line.reject(layer.start, f"{layer.name} behind {self.main.name} is not read.")
        ends = self._ends(values[name], -LARGEST if torch else 0)
        return tuple((-a, -b) for a, b in ends) if torch else ends

    def _activation_layer(self, layer: WrittenLayer) -> str:
        torch = self.framework == "torch"
        if self.after is not None:
            self.line.reject(layer.start, "a second activation is not read.")
        if layer.name == "Activation" and not torch:
            values = bound(self.line, layer, ("activation",), ("name", "dtype"))
            if "activation" not in values:
                self.line.reject(layer.start, "Activation needs a name.")
            self.arguments.append(self._argument("activation", "activation", values["activation"]))
            return self._activation(values["activation"]) or ""
        name = (TORCH_ACTIVATIONS if torch else KERAS_ACTIVATIONS).get(layer.name)
        if name is None:
            self.line.reject(layer.start, f"{layer.name} behind {self.main.name} is not read.")
        self.arguments.append(self._argument("activation", "activation", layer))
        axis = "dim" if torch else "axis"
        own: tuple[str, ...] = {"leaky_relu": ("negative_slope",), "softmax": (axis,), "log_softmax": (axis,)}.get(
            name, ()
        )
        values = bound(self.line, layer, (*own, *(("inplace",) if torch else ())), () if torch else ("name", "dtype"))
        if axis in values and values[axis].value not in ((1, -1 - self.rank) if torch and self.rank else (-1,)):
            self.line.reject(values[axis].start, "a softmax over another axis than the channels is not read.")
        if name != "leaky_relu":
            return name
        default = TORCH_SLOPE if torch else KERAS_LAYER_SLOPE
        slope = values["negative_slope"].value if "negative_slope" in values else default
        if isinstance(slope, bool) or not isinstance(slope, (int, float)) or not 0 <= slope < 1:
            self.line.reject(values["negative_slope"].start, "the slope must be a number from 0 to 1.")
        return name if slope == KERAS_SLOPE else f"{name}({slope:g})"

    # Values of arguments.

    def _wrong(self, name: str, message: str) -> None:
        self.line.reject(self.values[name].start if name in self.values else self.main.start, message)

    def _number(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        value = self.values.get(name)
        if value is None:
            if default is None:
                self.line.reject(self.main.start, f"{self.main.name} needs {name}.")
            return default
        return self._whole(value, value.value, name, least)

    def _whole(self, value: Value, number: object, name: str, least: int) -> int:
        if isinstance(number, bool) or not isinstance(number, int):
            self.line.reject(value.start, f"{name} must be a whole number, but got {_literal(number)}.")
        if number < least:
            self.line.reject(value.start, f"{name} must be at least {least}, but got {_literal(number)}.")
        if number > LARGEST:
            self.line.reject(value.start, f"{name} must be at most {LARGEST:,}, but got {_literal(number)}.")
        return number

    def _sides(self, name: str, default: tuple[int, ...] | None = None, *, least: int = 1) -> tuple[int, ...]:
        value = self.values.get(name)
        if value is None or (value.value is None and default is not None):
            if default is None:
                self.line.reject(self.main.start, f"{self.main.name} needs {name}.")
            return default
        if isinstance(value.value, tuple):
            if len(value.value) != self.rank:
                wanted = "one number" if self.rank == 1 else f"one number or {self.rank}"
                self.line.reject(value.start, f"{name} takes {wanted}, but got {len(value.value)}.")
            return tuple(self._whole(value, each, name, least) for each in value.value)
        return (self._whole(value, value.value, name, least),) * self.rank

    def _ends(self, value: Value | None, least: int) -> Ends:
        """Before and after of each axis, as padding and cropping layers take them."""
        if value is None:
            return ((0, 0),) * self.rank
        found = value.value
        if not isinstance(found, tuple):
            number = self._whole(value, found, "padding", least)
            return ((number, number),) * self.rank
        if self.framework == "torch":
            if len(found) != 2 * self.rank:
                self.line.reject(value.start, f"padding takes one number or {2 * self.rank}, but got {len(found)}.")
            numbers = [self._whole(value, each, "padding", least) for each in found]
            return tuple((numbers[2 * at], numbers[2 * at + 1]) for at in reversed(range(self.rank)))
        pairs = (found,) if self.rank == 1 else found
        if len(pairs) != self.rank:
            self.line.reject(value.start, f"padding takes one number or {self.rank}, but got {len(pairs)}.")
        ends = []
        for pair in pairs:
            both = pair if isinstance(pair, tuple) else (pair, pair)
            if len(both) != 2:
                self.line.reject(value.start, f"padding takes a number or a pair for each axis, but got {len(both)}.")
            first, last = (self._whole(value, each, "padding", least) for each in both)
            ends.append((first, last))
        return tuple(ends)

    def _truth(self, name: str, *, default: bool) -> bool:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value.value, bool):
            self.line.reject(value.start, f"{name} must be True or False, but got {_literal(value.value)}.")
        return value.value

    def _word(self, name: str, words: Iterable[str], default: str, *, any_case: bool = False) -> str:
        value = self.values.get(name)
        if value is None or value.value is None:
            return default
        known = tuple(words)
        found = value.value.lower() if any_case and isinstance(value.value, str) else value.value
        if found not in known:
            what = f"{name} must be {', '.join(known[:-1])} or {known[-1]}, but got {_literal(value.value)}."
            if isinstance(found, str) and found.lower() in known:
                what = f'{self.framework} takes {name} in lower case only; write "{found.lower()}".'
            self.line.reject(value.start, what)
        return str(found)

    def _activation(self, value: Value | None) -> str | None:
        if value is None or value.value is None:
            return None
        if not isinstance(value.value, str):
            what = f'the activation must be a name in quotes, such as "relu", but got {_literal(value.value)}.'
            self.line.reject(value.start, what)
        name = ALIASES.get(value.value, value.value)
        if name == "linear":
            return None
        if name not in ACTIVATIONS:
            near = ", ".join(nearest_names([*ACTIVATIONS, *ALIASES], value.value))
            self.line.reject(value.start, f"there is no activation {_literal(value.value)}; nearest: {near}.")
        return name

    # The call.

    def call(self) -> Call:
        """The call, checked as its framework would."""
        kind, variant = self.signature.kind, self.signature.variant
        pool, keras = kind.endswith("pooling"), self.framework == "keras"
        size, in_channels = self._input()
        axes = self._axes(size, self._kernel(kind, variant), pool=pool)
        multiplier, groups = self._number("depth_multiplier", 1), self._number("groups", 1)
        out_channels = self._out_channels(in_channels, multiplier, pool=pool)
        if variant == "depthwise":
            groups = in_channels or 1
        if not pool and self.rank:
            self._check_groups(groups, in_channels, out_channels)
        bias = not pool and self._truth("use_bias" if keras else "bias", default=True)
        if self.pointwise is not None:
            kind, multiplier, groups = "separable convolution", (out_channels or 0) // (in_channels or 1), 1
            more = self.pointwise["out_channels"]
            out_channels = self._whole(more, more.value, "out_channels", 1)
            bias = "bias" not in self.pointwise or self.pointwise["bias"].value is not False
        adaptive = self._adaptive(variant)
        name, padding = self._padding(kind, axes)
        counts_padding = self._truth("count_include_pad", default=not keras)
        if pool and any(map(any, self.before)):
            if name == "same" or padding != self.before:
                self._wrong("padding", "padding in front of the pool and in it is not read.")
            counts_padding = True
        self._check_rest()
        first = axes if adaptive is None else []
        facts: dict[str, Any] = {
            "text": self.line.text.strip(), "framework": self.framework, "name": self.main.name, "kind": kind,
            "rank": self.rank, "arguments": tuple(self.arguments), "in_channels": in_channels,
            "out_channels": out_channels, "input_size": size,
            "output_size": self._output(kind, size, axes, adaptive, padding, name),
            "kernel": tuple(axis.kernel for axis in first), "stride": tuple(axis.stride for axis in axes),
            "dilation": tuple(axis.dilation for axis in axes), "padding": padding, "padding_name": name,
            "groups": groups, "depth_multiplier": multiplier, "bias": bias, "activation": self._any_activation(),
            "adaptive": adaptive, "ceil_mode": self._truth("ceil_mode", default=False),
            "count_include_pad": counts_padding, "flat": self._is_flat(variant, adaptive),
            "padding_mode": self.fill or self._word("padding_mode", _MODES, "zeros"),
            "channels_last": self.channels_last,
        }  # fmt: skip
        call = Call(**facts)
        call = replace(call, parameters=0 if pool else count_parameters(call), operation=operation_of(call))
        in_keras, in_torch = (
            call.text if self.framework == name else code(call).text
            for name, code in (("keras", keras_code), ("torch", torch_code))
        )
        return replace(call, keras=in_keras, torch=in_torch, notes=notes(call))

    def _any_activation(self) -> str | None:
        activation = self._activation(self.values.get("activation"))
        if activation and self.after:
            self._wrong("activation", "a second activation is not read.")
        return activation or self.after

    def _axes(self, size: tuple[int | None, ...], kernel: tuple[int, ...], *, pool: bool) -> list[_Axis]:
        """The axes that the window slides along; a pool moves by its window unless a stride is given."""
        stride_name, dilation_name = "stride", "dilation"
        if self.framework == "keras":
            stride_name, dilation_name = "strides", "dilation_rate"
        ones = (1,) * self.rank
        stride = self._sides(stride_name, kernel if pool and kernel else ones)
        dilation = self._sides(dilation_name, ones)
        if self.framework == "keras" and max((1, *stride)) > 1 and max((1, *dilation)) > 1:
            self._wrong(dilation_name, "Keras takes strides or dilation_rate, not both.")
        sides = size if self.rank else ()  # a dense layer acts on the last axis alone
        return [_Axis(*each) for each in zip(sides, kernel or ones, stride, dilation, self.before, strict=True)]

    def _input(self) -> tuple[tuple[int | None, ...], int | None]:
        """Rows and columns of the input, and its channels; None if not stated."""
        name = next((each for each in _SHAPES if each in self.values), None)
        size: tuple[int | None, ...] = (None,) * self.rank
        channels: int | None = None
        if self.framework == "torch":
            name = "in_channels" if self.rank else "in_features"
            channels = self._number(name) if name in self.signature.order else None
        elif name is not None:
            size, channels = self._shape(name)
        if self.given is None:
            return size, channels
        if name is not None and self.framework == "keras" and None not in (*size, channels):
            self._wrong(name, "the line states its input already; omit the other input size.")
        return self._given(size, channels)

    def _shape(self, name: str) -> tuple[tuple[int | None, ...], int | None]:
        value = self.values[name]
        shape: Any = (value.value,) if name == "input_dim" else value.value
        if not isinstance(shape, tuple):
            self.line.reject(value.start, f"{name} must be a tuple, but got {_literal(shape)}.")
        if name.startswith("batch"):
            shape = shape[1:]
        numbers = tuple(None if each is None else self._whole(value, each, name, 1) for each in shape)
        wanted = self.rank + 1
        if (len(numbers) != wanted and self.rank) or not numbers or len(numbers) > 8:
            sides = {0: "the features last", 1: "steps and channels", 2: "rows, columns and channels"}
            words = sides.get(self.rank, "three sides and channels")
            self.line.reject(
                value.start, f"{name} of {self.main.name} must be {words}, but got {len(numbers)} numbers."
            )
        last = self.channels_last or not self.rank
        return (numbers[:-1], numbers[-1]) if last else (numbers[1:], numbers[0])

    def _given(self, size: tuple[int | None, ...], channels: int | None) -> tuple[tuple[int | None, ...], int | None]:
        """The input with what the caller stated about it."""
        given, channels_last = self.given or (), self.channels_last
        sides: tuple[int | None, ...]
        more: int | None
        if not self.rank:
            sides, more = given[:-1] or size, given[-1]
        elif len(given) == 1:
            sides, more = given * self.rank, None
        elif len(given) == self.rank:
            sides, more = given, None
        elif len(given) == self.rank + 1:
            sides, more = (given[:-1], given[-1]) if channels_last else (given[1:], given[0])
        else:
            raise UsageError(
                f"The input of {self.main.name} has {self.rank} sides, but got {len(given)} numbers.",
                hint=f"Give one number, {self.rank}, or {self.rank + 1} with the channels.",
            )
        if more is not None and channels is not None and more != channels:
            order = "features" if not self.rank else "channels last" if channels_last else "channels first"
            raise UsageError(
                f"The line has {channels:,} input channels, but the input size {size_text(given)} has {more:,}.",
                hint=f"The order is that of {self.framework}: {order}.",
            )
        if self.rank:
            for known, side in zip(size, sides, strict=True):
                if known is not None and known != side:
                    what = f"The line states an input of {known:,}, but the input size is {size_text(given)}."
                    raise UsageError(what, hint="Omit the input size, or give the same.")
        return sides, channels if more is None else more

    def _kernel(self, kind: str, variant: str) -> tuple[int, ...]:
        if not self.rank or variant in ("global", "adaptive"):
            return ()
        if self.framework == "keras" and kind.endswith("pooling"):
            return self._sides("pool_size", (2,) * self.rank)
        return self._sides("kernel_size")

    def _out_channels(self, in_channels: int | None, multiplier: int, *, pool: bool) -> int | None:
        if pool:
            return in_channels
        if self.signature.variant == "depthwise":
            return None if in_channels is None else in_channels * multiplier
        name = {0: "units" if self.framework == "keras" else "out_features"}.get(
            self.rank, "filters" if self.framework == "keras" else "out_channels"
        )
        return self._number(name)

    def _check_groups(self, groups: int, in_channels: int | None, out_channels: int | None) -> None:
        for what, channels in (("input", in_channels), ("output", out_channels)):
            if channels is not None and groups and channels % groups:
                self._wrong("groups", f"{groups} groups do not divide {channels} {what} channels.")

    def _adaptive(self, variant: str) -> tuple[int | None, ...] | None:
        if variant == "global":
            return (1,) * self.rank
        if variant != "adaptive":
            return None
        value = self.values.get("output_size")
        if value is None:
            self.line.reject(self.main.start, f"{self.main.name} needs output_size.")
        sides: tuple[object, ...] = value.value if isinstance(value.value, tuple) else (value.value,) * self.rank
        if len(sides) != self.rank:
            self.line.reject(value.start, f"output_size takes one number or {self.rank}, but got {len(sides)}.")
        free = self.framework == "torch"
        return tuple(None if free and s is None else self._whole(value, s, "output_size", 1) for s in sides)

    def _is_flat(self, variant: str, adaptive: tuple[int | None, ...] | None) -> bool:
        if self.flatten and (self.framework == "keras" or adaptive is None or set(adaptive) != {1}):
            self._wrong("", "Flatten is read behind an adaptive pool to size 1 only.")
        return self.flatten or (variant == "global" and not self._truth("keepdims", default=False))

    def _padding(self, kind: str, axes: Sequence[_Axis]) -> tuple[str, Ends | None]:
        """The name of the padding, and how much it is along each axis; None if that depends on an unknown size."""
        if kind == "transposed convolution":
            return self._transposed_padding(axes)
        value = self.values.get("padding")
        pool, torch = kind.endswith("pooling"), self.framework == "torch"
        if torch and not (value is not None and isinstance(value.value, str)):
            return "", _sum(self.before, self._numeric_padding(axes, pool=pool))
        if torch and pool:
            self._wrong("padding", f"padding of {self.main.name} must be a number.")
        causal = self.main.name in ("Conv1D", "Convolution1D")
        words = ("valid", "same", "causal") if causal else ("valid", "same")
        name = self._word("padding", words, "valid", any_case=not torch)
        if name == "valid" or "padding" not in self.signature.order:
            return name if "padding" in self.signature.order else "", self.before
        if name == "causal":
            return name, _sum(self.before, tuple((axis.span - 1, 0) for axis in axes))
        if torch and any(axis.stride > 1 for axis in axes):
            self._wrong("padding", self._same_with_stride(axes))
        ends = [axis.same() for axis in axes]
        if None in ends:
            return name, None
        return name, _sum(self.before, tuple(end for end in ends if end is not None))

    def _numeric_padding(self, axes: Sequence[_Axis], *, pool: bool) -> Ends:
        """The padding of a torch layer in numbers, the same at both ends."""
        sides = self._sides("padding", (0,) * self.rank, least=0)
        for axis, around in zip(axes, sides, strict=True):
            if pool and around > axis.kernel // 2:
                self._wrong(
                    "padding", f"padding must be at most half of the window, but got {around} of {axis.kernel}."
                )
        return tuple((around, around) for around in sides)

    def _same_with_stride(self, axes: Sequence[_Axis]) -> str:
        what = 'torch rejects padding="same" with a stride'
        ends = [axis.same() for axis in axes]
        if None in ends:
            return f"{what}; Keras pads as much as the image size needs."
        numbers = ", ".join(str(each) for pair in reversed(ends) for each in pair or ())
        return f"{what}; what Keras does is nn.ZeroPad{self.rank}d(({numbers})) in front, and padding=0."

    def _transposed_padding(self, axes: Sequence[_Axis]) -> tuple[str, Ends]:
        """What is cut off the full output ``(i - 1)s + d(k - 1) + 1``; negative where it is extended."""
        zeros = (0,) * self.rank
        stated = self.values.get("output_padding")
        extra = self._sides("output_padding", zeros, least=0)
        if self.framework == "torch":
            if "padding" in self.values and isinstance(self.values["padding"].value, str):
                self._wrong("padding", f"padding of {self.main.name} must be a number.")
            if any(more >= max(axis.stride, axis.dilation) for more, axis in zip(extra, axes, strict=True)):
                self._wrong("output_padding", "output_padding must be smaller than the stride or the dilation.")
            if self._word("padding_mode", _MODES, "zeros") != "zeros":
                self._wrong("padding_mode", f"{self.main.name} has no other padding_mode than zeros.")
            sides = self._sides("padding", zeros, least=0)
            return "", _sum(tuple((p, p - more) for p, more in zip(sides, extra, strict=True)), self.crop)
        name = self._word("padding", ("valid", "same"), "valid", any_case=True)
        free = stated is None or stated.value is None
        if not free and any(more >= axis.stride for more, axis in zip(extra, axes, strict=True)):
            self._wrong("output_padding", "output_padding must be smaller than strides.")
        crop = same_crop if name == "same" else valid_crop
        ends = [crop(axis.span, axis.stride, None if free else more) for more, axis in zip(extra, axes, strict=True)]
        return name, _sum(tuple(ends), self.crop)

    def _output(
        self,
        kind: str,
        size: tuple[int | None, ...],
        axes: Sequence[_Axis],
        adaptive: tuple[int | None, ...] | None,
        padding: Ends | None,
        *name: str,
    ) -> tuple[int | None, ...]:
        """The sides of the output; None where the input is not known."""
        if adaptive is not None:
            return tuple(side if want is None else want for side, want in zip(size, adaptive, strict=True))
        if not self.rank:
            return size
        if padding is None:
            return (None,) * self.rank
        one = self._transposed_side if kind == "transposed convolution" else self._side
        return tuple(
            None if axis.size is None else one(axis, axis.size, ends, *name)
            for axis, ends in zip(axes, padding, strict=True)
        )

    def _transposed_side(self, axis: _Axis, size: int, ends: tuple[int, int], name: str) -> int:
        del name
        result = (size - 1) * axis.stride + axis.span - sum(ends)
        if result < 1:
            self._wrong("padding", "the output would be empty: the padding cuts all of it off.")
        return self._bounded(result)

    def _side(self, axis: _Axis, size: int, ends: tuple[int, int], name: str) -> int:
        around = self._bounded(size + sum(ends))
        if self._truth("ceil_mode", default=False):
            own = 0 if name else ends[0] - axis.before[0]
            inner = size + sum(axis.before)
            result = pooling_size(inner, axis.kernel, axis.stride, own, axis.dilation, ceil_mode=True)
        else:
            result = convolution_size(around, axis.kernel, axis.stride, 0, axis.dilation)
        if result < 1:
            kernel = "pool_size" if "pool_size" in self.signature.order else "kernel_size"
            spans = f"{axis.kernel}" + ("" if axis.dilation == 1 else f" spans {axis.span:,} with its dilation, which")
            self._wrong(kernel, f"{kernel} {spans} is larger than the padded input of {around:,}.")
        return result

    def _bounded(self, number: int) -> int:
        if number > LARGEST:
            self._wrong("", f"a size of {number:,} is more than {LARGEST:,}.")
        return number

    def _check_rest(self) -> None:
        """Check arguments that change no size of the output."""
        self._truth("return_indices", default=False)
        if "divisor_override" in self.values and self.values["divisor_override"].value is not None:
            self._number("divisor_override")
        mode = self._word("padding_mode", _MODES, "zeros")
        if mode != "zeros" and any(map(any, self.before)):
            self._wrong("padding_mode", "two kinds of padding are not read.")
