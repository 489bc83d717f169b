"""Read a layer as Keras or PyTorch writes it, and reject what its framework would reject.

Sizes follow ``torch.nn`` and Keras 3. For Keras these are ``compute_conv_output_shape`` and, for transposed convolutions
(``deconv_output_length`` in Keras 2), ``_get_output_shape_given_tf_padding`` and
``compute_conv_transpose_padding_args_for_jax`` in ``keras/src/backend/common/backend_utils.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace
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
    TORCH_ACTIVATIONS,
    TORCH_SLOPE,
    Argument,
    Call,
    count_parameters,
    operation_of,
)
from kernelviz.wording import nearest_names, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernelviz.explain.calls import Ends

_SHAPES = {"input_shape": 0, "batch_input_shape": 0, "input_dim": 0, "shape": 0, "batch_shape": 0}.keys()
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
    """
    return _Reader(Line(text), _sizes(input_size)).call()


def _sizes(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers: tuple[Any, ...] = (value,) if isinstance(value, int) else tuple(value)  # type: ignore[arg-type]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= LARGEST:
            what = f"The input size must be whole numbers from 1 to {LARGEST:,}, but got {shown(value)}."
            raise UsageError(what, hint="For example 150, (150, 150) or (150, 150, 3)")
    return numbers


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
        self.arguments = [self._argument(name, KEYS.get(name, ""), each) for name, each in self.values.items()]
        self.before: Ends = ((0, 0),) * self.rank  # of a padding layer in front
        self.fill = ""
        self.crop: Ends = ((0, 0),) * self.rank
        self.pointwise: Mapping[str, Value] | None = None
        self.after: str | None = None  # an activation layer
        self.flatten = False
        at = layers.index(self.main)
        for layer in layers[:at]:
            self._in_front(layer)
        for layer in layers[at + 1 :]:
            self._behind(layer)
        self.arguments.sort(key=lambda each: each.start)

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
                known = [name for name, each in LAYERS.items() if framework in ("", each.framework)]
                near = ", ".join(nearest_names(known, layer.name))
                self.line.reject(layer.start, f"there is no layer {shown(layer.name)}; nearest: {near}.")
        found = [layer for layer in layers if layer.name in LAYERS]
        if not found:
            self.line.reject(layers[0].start, f"{layers[0].name} alone is no layer that is explained here.")
        separable = len(found) == 2 and all(LAYERS[each.name].framework == "torch" for each in found)
        if len(found) > 1 and not separable:
            self.line.reject(found[1].start, "one layer at a time; write this one in a line of its own.")
        return found[0]

    @staticmethod
    def _is_companion(name: str) -> bool:
        pads = {f"{kind}Padding{rank}D" for kind in ("Zero",) for rank in (1, 2, 3)}
        pads |= {f"{kind}Pad{rank}d" for kind in ("Zero", "Constant") for rank in (1, 2, 3)}
        crops = {f"Cropping{rank}D" for rank in (1, 2, 3)}
        return name in pads | crops | set(TORCH_ACTIVATIONS) | set(KERAS_ACTIVATIONS) | {"Activation", "Flatten", "Input", "InputLayer"}

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
        torch = self.framework == "torch"
        names = (f"ZeroPad{self.rank}d", f"ConstantPad{self.rank}d") if torch else (f"ZeroPadding{self.rank}D",)
        if not self.rank or layer.name not in names or any(map(any, self.before)):
            self.line.reject(layer.start, f"{layer.name} in front of {self.main.name} is not read.")
        constant = layer.name.startswith("Constant")
        order = ("padding", "value") if constant else ("padding",) if torch else ("padding", "data_format")
        values = bound(self.line, layer, order, () if torch else ("name", "dtype"))
        if "padding" not in values and torch:
            self.line.reject(layer.start, f"{layer.name} needs a padding.")
        ends = self._ends(values.get("padding"), 0) if "padding" in values else ((1, 1),) * self.rank
        fill = "zeros"
        if constant:
            value = values["value"].value if "value" in values else None
            if value not in (0, -math.inf) or isinstance(value, bool):
                self.line.reject(layer.start, f"{layer.name} is read with the value 0 or float(\"-inf\") only.")
            fill = "zeros" if value == 0 else "minus infinity"
        pool = self.signature.kind == "max pooling"
        if (fill == "zeros") == pool or self.signature.kind == "transposed convolution" or self.signature.variant in (
            "global", "adaptive",
        ):  # fmt: skip
            words = "zeros in front of a maximum are not its own padding, which is −∞" if pool else "is not read"
            self.line.reject(layer.start, f"{layer.name} in front of {self.main.name}: {words}.")
        self.before, self.fill = ends, fill
        for name, each in values.items():
            if name == "padding":
                self.arguments.append(self._argument(name, "before", each))

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
        one = kernel == 1 or kernel == (1,) * self.rank
        inputs = values["in_channels"].value if "in_channels" in values else None
        wanted = first["out_channels"].value if "out_channels" in first else None
        if not one or values.keys() - {"in_channels", "out_channels", "kernel_size", "bias"} or inputs != wanted:
            self.line.reject(layer.start, "only a 1 × 1 convolution of all its channels is read behind a depthwise one.")
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
        if self.after is not None:
            self.line.reject(layer.start, "a second activation is not read.")
        if layer.name == "Activation" and self.framework == "keras":
            values = bound(self.line, layer, ("activation",), ("name", "dtype"))
            if "activation" not in values:
                self.line.reject(layer.start, "Activation needs a name.")
            self.arguments.append(self._argument("activation", "activation", values["activation"]))
            return self._activation(values["activation"]) or ""
        table = KERAS_ACTIVATIONS if self.framework == "keras" else TORCH_ACTIVATIONS
        if layer.name not in table:
            self.line.reject(layer.start, f"{layer.name} behind {self.main.name} is not read.")
        name = table[layer.name]
        order: tuple[str, ...] = ("inplace",) if self.framework == "torch" else ()
        if name == "leaky_relu":
            order = ("negative_slope", *order)
        elif name.endswith("softmax"):
            order = ("dim",) if self.framework == "torch" else ("axis",)
        values = bound(self.line, layer, order, () if self.framework == "torch" else ("name", "dtype"))
        if name.endswith("softmax"):
            axes = (-1,) if not self.rank or self.framework == "keras" else (1, -1 - self.rank)
            axis = values[order[0]] if order[0] in values else None
            if axis is not None and axis.value not in axes:
                self.line.reject(axis.start, "a softmax over another axis than the channels is not read.")
        self.arguments.append(self._argument("activation", "activation", layer))
        if name != "leaky_relu":
            return name
        default = TORCH_SLOPE if self.framework == "torch" else KERAS_LAYER_SLOPE
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
        pool, weighted = kind.endswith("pooling"), not kind.endswith("pooling")
        channels_last = self.framework == "keras" and self._channels_last()
        size, in_channels = self._input(channels_last)
        ones = (1,) * self.rank
        kernel = self._kernel(kind, variant)
        stride_name, dilation_name = ("strides", "dilation_rate") if self.framework == "keras" else ("stride", "dilation")
        stride = self._sides(stride_name, kernel if pool and kernel else ones)
        dilation = self._sides(dilation_name, ones)
        if self.framework == "keras" and max((1, *stride)) > 1 and max((1, *dilation)) > 1:
            self._wrong(dilation_name, "Keras takes strides or dilation_rate, not both.")
        multiplier = self._number("depth_multiplier", 1)
        groups = self._number("groups", 1)
        out_channels = self._out_channels(in_channels, multiplier, pool=pool)
        if variant == "depthwise":
            groups = in_channels or 1
        if weighted and self.rank:
            self._check_groups(groups, in_channels, out_channels)
        if self.pointwise is not None:
            kind, multiplier, groups = "separable convolution", (out_channels or 0) // (in_channels or 1), 1
            more = self.pointwise.get("out_channels")
            if more is None:
                self.line.reject(self.main.start, "the second layer needs out_channels.")
            out_channels = self._whole(more, more.value, "out_channels", 1)
        adaptive = self._adaptive(variant)
        ceil_mode = self._truth("ceil_mode", default=False)
        name, padding = self._padding(kind, size, kernel, stride, dilation)
        if kind == "transposed convolution":
            output = self._transposed_output(size, kernel, stride, dilation, padding or ())
        elif not self.rank:
            output = size
        elif adaptive is not None:
            output = tuple(side if want is None else want for side, want in zip(size, adaptive, strict=True))
        else:
            output = self._output(size, kernel, stride, dilation, padding, name, ceil_mode=ceil_mode)
        flat = self._is_flat(variant)
        if self.pointwise is not None:
            bias = self.pointwise["bias"].value is not False if "bias" in self.pointwise else True
        else:
            bias = weighted and self._truth("use_bias" if self.framework == "keras" else "bias", default=True)
        activation = self._activation(self.values.get("activation"))
        if activation and self.after:
            self._wrong("activation", "a second activation is not read.")
        count_include_pad = self._truth("count_include_pad", default=self.framework == "torch")
        if pool and any(map(any, self.before)):
            if name == "same" or padding != self.before:
                self._wrong("padding", "padding in front of the pool and in it is not read.")
            count_include_pad = True
        self._check_rest()
        facts: dict[str, Any] = {
            "text": self.line.text.strip(), "framework": self.framework, "name": self.main.name, "kind": kind,
            "rank": self.rank, "arguments": tuple(self.arguments), "in_channels": in_channels,
            "out_channels": in_channels if pool else out_channels, "input_size": size, "output_size": output,
            "kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "padding_name": name,
            "groups": groups, "depth_multiplier": multiplier, "bias": bias, "activation": activation or self.after,
            "adaptive": adaptive, "ceil_mode": ceil_mode, "count_include_pad": count_include_pad,
            "padding_mode": self.fill or self._word("padding_mode", _MODES, "zeros"), "flat": flat,
            "channels_last": channels_last,
        }  # fmt: skip
        call = Call(**facts)
        call = replace(call, parameters=0 if pool else count_parameters(call), operation=operation_of(call))
        keras, torch = (
            call.text if self.framework == name else code(call).text
            for name, code in (("keras", keras_code), ("torch", torch_code))
        )
        return replace(call, keras=keras, torch=torch, notes=notes(call))

    def _channels_last(self) -> bool:
        return self._word("data_format", ("channels_last", "channels_first"), "channels_last") == "channels_last"

    def _input(self, channels_last: bool) -> tuple[tuple[int | None, ...], int | None]:
        """Rows and columns of the input, and its channels; None if not stated."""
        name = next((each for each in _SHAPES if each in self.values), None)
        size: tuple[int | None, ...] = (None,) * self.rank
        channels: int | None = None
        if self.framework == "torch":
            name = "in_channels" if self.rank else "in_features"
            channels = self._number(name) if name in self.signature.order else None
        elif name is not None:
            size, channels = self._shape(name, channels_last)
        if self.given is None:
            return size, channels
        if name is not None and self.framework == "keras" and None not in (*size, channels):
            self._wrong(name, "the line states its input already; omit the other input size.")
        return self._given(size, channels, channels_last)

    def _shape(self, name: str, channels_last: bool) -> tuple[tuple[int | None, ...], int | None]:
        value = self.values[name]
        shape = (value.value,) if name == "input_dim" else value.value
        if name == "shape" and isinstance(shape, int):
            shape = (shape,)
        if not isinstance(shape, tuple):
            self.line.reject(value.start, f"{name} must be a tuple, but got {_literal(shape)}.")
        if name.startswith("batch"):
            shape = shape[1:]
        numbers = tuple(None if each is None else self._whole(value, each, name, 1) for each in shape)
        wanted = self.rank + 1
        if (len(numbers) != wanted and self.rank) or not numbers or len(numbers) > 8:
            sides = {0: "the features last", 1: "steps and channels", 2: "rows, columns and channels"}
            words = sides.get(self.rank, "three sides and channels")
            self.line.reject(value.start, f"{name} of {self.main.name} must be {words}, but got {len(numbers)} numbers.")
        last = channels_last or not self.rank
        return (numbers[:-1], numbers[-1]) if last else (numbers[1:], numbers[0])

    def _given(
        self, size: tuple[int | None, ...], channels: int | None, channels_last: bool
    ) -> tuple[tuple[int | None, ...], int | None]:
        """The input with what the caller stated about it."""
        given = self.given or ()
        if not self.rank:
            sides: tuple[int, ...] = given[:-1]
            more: int | None = given[-1]
            if self.framework == "keras" and size and sides != size:
                sides = tuple(a or b for a, b in zip(size, sides, strict=False))
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
        sides = value.value if isinstance(value.value, tuple) else (value.value,) * self.rank
        if len(sides) != self.rank:
            self.line.reject(value.start, f"output_size takes one number or {self.rank}, but got {len(sides)}.")
        free = self.framework == "torch"
        return tuple(None if free and s is None else self._whole(value, s, "output_size", 1) for s in sides)

    def _is_flat(self, variant: str) -> bool:
        if self.framework == "torch":
            if self.flatten and self.signature.variant != "adaptive":
                self._wrong("", "Flatten is read behind an adaptive pool only.")
            return self.flatten
        if self.flatten:
            self._wrong("", "Flatten is no part of the layer; write it in a line of its own.")
        return variant == "global" and not self._truth("keepdims", default=False)

    def _padding(
        self,
        kind: str,
        size: tuple[int | None, ...],
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> tuple[str, Ends | None]:
        """The name of the padding, and how much it is along each axis."""
        if not kernel:
            return "", ((0, 0),) * self.rank
        if kind == "transposed convolution":
            return self._transposed_padding(kernel, stride, dilation)
        value = self.values.get("padding")
        name = ""
        if self.framework == "keras" or (value is not None and isinstance(value.value, str)):
            words = ("valid", "same", "causal") if self._causal() else ("valid", "same")
            if self.framework == "torch" and kind.endswith("pooling"):
                self._wrong("padding", f"padding of {self.main.name} must be a number.")
            name = self._word("padding", words, "valid", any_case=self.framework == "keras")
        if name == "same" and self.framework == "torch" and max(stride) > 1:
            self._wrong("padding", self._same_with_stride(size, kernel, stride, dilation))
        if name in ("", "valid"):
            own = tuple((n, n) for n in self._sides("padding", (0,) * self.rank, least=0)) if not name else None
            if own and kind.endswith("pooling"):
                for side, (around, _) in zip(kernel, own, strict=True):
                    if around > side // 2:
                        what = f"padding must be at most half of the window, but got {around} of {side}."
                        self._wrong("padding", what)
            return name, _sum(self.before, own or ((0, 0),) * self.rank)
        if name == "causal":
            own = tuple((d * (k - 1), 0) for k, d in zip(kernel, dilation, strict=True))
            return name, _sum(self.before, own)
        ends = []
        for side, (first, last), k, s, d in zip(size, self.before, kernel, stride, dilation, strict=True):
            if side is None and s > 1:
                return name, None
            before, after = same_padding((side or 1) + first + last if s > 1 else 1, k, s, d)
            ends.append((first + before, last + after))
        return name, tuple(ends)

    def _causal(self) -> bool:
        return self.framework == "keras" and self.main.name in ("Conv1D", "Convolution1D")

    def _same_with_stride(
        self, size: tuple[int | None, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> str:
        what = 'torch rejects padding="same" with a stride'
        if None in size:
            return f"{what}; Keras pads as much as the image size needs."
        ends = [same_padding(i or 1, k, s, d) for i, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
        numbers = ", ".join(str(each) for pair in reversed(ends) for each in pair)
        return f"{what}; what Keras does is nn.ZeroPad{self.rank}d(({numbers})) in front, and padding=0."

    def _transposed_padding(
        self, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> tuple[str, Ends]:
        """What is cut off the full output ``(i - 1)s + d(k - 1) + 1``; negative where it is extended."""
        ends = []
        if self.framework == "torch":
            if "padding" in self.values and isinstance(self.values["padding"].value, str):
                self._wrong("padding", f"padding of {self.main.name} must be a number.")
            more = self._sides("output_padding", (0,) * self.rank, least=0)
            for p, extra, s, d in zip(self._sides("padding", (0,) * self.rank, least=0), more, stride, dilation, strict=True):
                if extra >= max(s, d):
                    self._wrong("output_padding", "output_padding must be smaller than the stride or the dilation.")
                ends.append((p, p - extra))
            if self._word("padding_mode", _MODES, "zeros") != "zeros":
                self._wrong("padding_mode", f"{self.main.name} has no other padding_mode than zeros.")
            return "", _sum(tuple(ends), self.crop)
        name = self._word("padding", ("valid", "same"), "valid", any_case=True)
        stated = self.values.get("output_padding")
        extra = self._sides("output_padding", (0,) * self.rank, least=0) if stated and stated.value is not None else None
        for at, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
            span = d * (k - 1) + 1
            if extra and extra[at] >= s:
                self._wrong("output_padding", "output_padding must be smaller than strides.")
            if name == "valid":
                ends.append((0, -(extra[at] if extra else max(span, s) - span)))
                continue
            total = s + span - 2 if extra is None else span + span % 2 - 2 + extra[at]
            left = min(total // 2 + total % 2, span - 1)
            ends.append((span - 1 - left, span - 1 - (total - left)))
        return name, _sum(tuple(ends), self.crop)

    def _transposed_output(
        self,
        size: tuple[int | None, ...],
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        crops: Ends,
    ) -> tuple[int | None, ...]:
        found = []
        for side, k, s, d, (a, b) in zip(size, kernel, stride, dilation, crops, strict=True):
            result = None if side is None else (side - 1) * s + d * (k - 1) + 1 - a - b
            if result is not None and result < 1:
                self._wrong("padding", "the output would be empty: the padding cuts all of it off.")
            found.append(self._bounded(result))
        return tuple(found)

    def _output(
        self,
        size: tuple[int | None, ...],
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        padding: Ends | None,
        name: str,
        *,
        ceil_mode: bool,
    ) -> tuple[int | None, ...]:
        found: list[int | None] = []
        kernel_name = "pool_size" if "pool_size" in self.signature.order else "kernel_size"
        for at, (side, k, s, d) in enumerate(zip(size, kernel, stride, dilation, strict=True)):
            if side is None or padding is None:
                found.append(None)
                continue
            around, span = side + sum(padding[at]), d * (k - 1) + 1
            self._bounded(around)
            if ceil_mode:
                own = (padding[at][0] - self.before[at][0]) if not name else 0
                result = pooling_size(side + sum(self.before[at]), k, s, own, d, ceil_mode=True)
            else:
                result = convolution_size(around, k, s, 0, d)
            if result < 1:
                spans = f"{k}" if d == 1 else f"{k} spans {span:,} with its dilation, which"
                self._wrong(kernel_name, f"{kernel_name} {spans} is larger than the padded input of {around:,}.")
            found.append(result)
        return tuple(found)

    def _bounded(self, number: int | None) -> int | None:
        if number is not None and number > LARGEST:
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


