"""A layer in the code of the other framework, in pieces that a picture can mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelviz.arithmetic.windows import same_padding
from kernelviz.explain.calls import ACTIVATIONS, KERAS_SLOPE, TORCH_SLOPE, own_padding, same_crop, valid_crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.explain.calls import Call, Ends

DEPENDS = "how much `same` pads with a stride depends on the image size, which is not stated"


@dataclass(frozen=True)
class Code:
    """A line of code as pieces, each with what it sets (empty for commas and brackets), or the reason why there is none."""

    pieces: tuple[tuple[str, str], ...]
    reason: str = ""

    @property
    def text(self) -> str | None:
        """The line; None if there is none."""
        return "".join(text for text, _ in self.pieces) if not self.reason else None


class _NoneError(Exception):
    """There is no exact counterpart, for this reason."""


def torch_code(call: Call) -> Code:
    """The layer in torch."""
    try:
        return Code(tuple(_joined(_torch_layers(call))))
    except _NoneError as reason:
        return Code((), str(reason))


def keras_code(call: Call) -> Code:
    """The layer in Keras."""
    try:
        return Code(tuple(_joined(_keras_layers(call))))
    except _NoneError as reason:
        return Code((), str(reason))


_Piece = tuple[str, str]


def _joined(layers: Sequence[Sequence[_Piece]]) -> list[_Piece]:
    found: list[_Piece] = []
    for layer in layers:
        found += [(", ", "")] if found else []
        found += layer
    return found


def _layer(name: str, arguments: Sequence[_Piece]) -> list[_Piece]:
    found: list[_Piece] = [(f"{name}(", "")]
    for at, argument in enumerate(arguments):
        found += [(", ", "")] if at else []
        found.append(argument)
    return [*found, (")", "")]


def _side(sides: Sequence[object]) -> str:
    """One number for all sides if they are equal, else a tuple."""
    return str(sides[0]) if len(set(sides)) == 1 else f"({', '.join(map(str, sides))})"


def _named(name: str, sides: Sequence[object], default: object, key: str) -> list[_Piece]:
    return [] if all(side == default for side in sides) else [(f"{name}={_side(sides)}", key)]


def _torch_pad(name: str, ends: Ends, more: str = "") -> list[_Piece]:
    numbers = ", ".join(str(each) for pair in reversed(ends) for each in pair)
    return _layer(f"nn.{name}", [(f"({numbers}){more}", "padding")])


def _torch_layers(call: Call) -> list[list[_Piece]]:
    if call.padding is None:
        raise _NoneError(DEPENDS)
    if call.kind == "dense layer":
        inputs = [] if call.in_channels is None else [(str(call.in_channels), "input")]
        rest = [] if call.bias else [("bias=False", "bias")]
        name = "nn.Linear" if inputs else "nn.LazyLinear"
        return [_layer(name, [*inputs, (str(call.out_channels), "out_channels"), *rest]), *_torch_activation(call)]
    if call.kind.endswith("pooling"):
        return _torch_pool(call)
    rank = call.rank
    depthwise = call.name.startswith("Depthwise")
    if (depthwise or call.kind == "separable convolution") and call.in_channels is None:
        raise _NoneError("torch needs the number of channels, which is not stated")
    middle = (call.in_channels or 0) * call.depth_multiplier
    two = call.kind == "separable convolution"
    inputs = [] if call.in_channels is None else [(str(call.in_channels), "input")]
    outputs = (str(middle), "depth_multiplier") if two else (str(call.out_channels), "out_channels")
    arguments = [*inputs, outputs, (_side(call.kernel), "kernel"), *_named("stride", call.stride, 1, "stride")]
    lazy = "" if inputs else "Lazy"
    if call.kind == "transposed convolution":
        return _torch_transposed(call, f"nn.{lazy}ConvTranspose{rank}d", arguments)
    front: list[list[_Piece]] = []
    if call.padding_name == "same" and max(call.stride) == 1 and not _around_more_than_same(call):
        if any(map(any, call.padding)):
            arguments.append(('padding="same"', "padding"))
    elif all(a == b for a, b in call.padding):
        arguments += _named("padding", [a for a, _ in call.padding], 0, "padding")
    else:
        front.append(_torch_pad(f"ZeroPad{rank}d", call.padding))
    arguments += _named("dilation", call.dilation, 1, "dilation")
    groups = call.in_channels or 1 if two else call.groups
    arguments += [(f"groups={groups}", "groups")] if groups > 1 else []
    if two:
        first = _layer(
            f"nn.Conv{rank}d", [*arguments, *([("groups=1", "groups")] if groups == 1 else []), ("bias=False", "")]
        )
        rest = [] if call.bias else [("bias=False", "bias")]
        second = _layer(
            f"nn.Conv{rank}d", [(str(middle), ""), (str(call.out_channels), "out_channels"), ("1", ""), *rest]
        )
        return [*front, first, second, *_torch_activation(call)]
    arguments += [] if call.bias else [("bias=False", "bias")]
    return [*front, _layer(f"nn.{lazy}Conv{rank}d", arguments), *_torch_activation(call)]


def _around_more_than_same(call: Call) -> bool:
    """Whether a padding layer in front adds to ``same``."""
    own = tuple(same_padding(1, k, 1, d) for k, d in zip(call.kernel, call.dilation, strict=True))
    return call.padding != own


def _torch_transposed(call: Call, name: str, arguments: list[_Piece]) -> list[list[_Piece]]:
    """Cut off as torch can, and more at the end by a negative padding behind."""
    ends = call.padding or ()
    if any(a < 0 for a, _ in ends):
        raise _NoneError("torch extends an output at its end only")
    extra = [max(0, a - b) for a, b in ends]
    if any(more >= max(s, d) for more, s, d in zip(extra, call.stride, call.dilation, strict=True)):
        raise _NoneError("torch's output_padding must be smaller than the stride or the dilation")
    arguments += _named("padding", [a for a, _ in ends], 0, "padding")
    arguments += _named("output_padding", extra, 0, "output_padding")
    arguments += [(f"groups={call.groups}", "groups")] if call.groups > 1 else []
    arguments += [] if call.bias else [("bias=False", "bias")]
    arguments += _named("dilation", call.dilation, 1, "dilation")
    cut = tuple((0, min(0, a - b)) for a, b in ends)
    behind = [_torch_pad(f"ZeroPad{call.rank}d", cut)] if any(map(any, cut)) else []
    return [_layer(name, arguments), *behind, *_torch_activation(call)]


def _torch_pool(call: Call) -> list[list[_Piece]]:
    short = "Max" if call.kind.startswith("max") else "Avg"
    if call.adaptive is not None:
        size = [(_side(call.adaptive), "output_size")]
        flat = [_layer("nn.Flatten", [])] if call.flat else []
        return [_layer(f"nn.Adaptive{short}Pool{call.rank}d", size), *flat]
    arguments = [(_side(call.kernel), "kernel")]
    arguments += [] if call.stride == call.kernel else [(f"stride={_side(call.stride)}", "stride")]
    settings = own_padding(call)
    front: list[list[_Piece]] = []
    if settings is None:
        pad = ("ConstantPad", ', float("-inf")') if short == "Max" else ("ZeroPad", "")
        if short == "Avg" and call.padding_name == "same":
            raise _NoneError("torch's average pools cannot leave out padding that is longer at the end with stride 1")
        front = [_torch_pad(f"{pad[0]}{call.rank}d", call.padding or (), pad[1])]
    else:
        around, ceil_mode, include = settings
        arguments += _named("padding", around, 0, "padding")
        arguments += [("ceil_mode=True", "padding")] if ceil_mode else []
        arguments += [("count_include_pad=False", "padding")] if short == "Avg" and any(around) and not include else []
    return [*front, _layer(f"nn.{short}Pool{call.rank}d", arguments)]


def slope_of(activation: str) -> tuple[str, float]:
    """The name of an activation and its slope: ``leaky_relu(0.01)`` is ``leaky_relu`` with 0.01."""
    name, _, rest = activation.partition("(")
    return name, float(rest.rstrip(")")) if rest else KERAS_SLOPE


def _torch_activation(call: Call) -> list[list[_Piece]]:
    if call.activation is None:
        return []
    name, slope = slope_of(call.activation)
    module = ACTIVATIONS[name].module
    if not module:
        raise _NoneError(f"torch has no module for the activation {name}")
    argument = ""
    if name == "leaky_relu":
        argument = "" if slope == TORCH_SLOPE else f"{slope:g}"
    elif name.endswith("softmax"):
        if call.framework == "keras" and not call.channels_last:
            raise _NoneError("Keras' softmax is over the last axis, which is not the channels here")
        argument = "dim=1" if call.rank else "dim=-1"
    return [[(f"nn.{module}({argument})", "activation")]]


def _keras_layers(call: Call) -> list[list[_Piece]]:
    if call.kind == "dense layer":
        arguments: list[_Piece] = [(str(call.out_channels), "out_channels")]
        return _keras_finish(call, "Dense", arguments, [])
    if call.kind.endswith("pooling"):
        return _keras_pool(call)
    if call.kind == "transposed convolution":
        return _keras_transposed(call)
    _check_keras(call)
    rank, front = call.rank, []
    depthwise = call.kind == "convolution" and _is_depthwise(call)
    arguments = [] if depthwise else [(str(call.out_channels), "out_channels")]
    arguments += [(_side(call.kernel), "kernel"), *_named("strides", call.stride, 1, "stride")]
    ends = call.padding or ()
    if any(map(any, ends)):
        same = tuple(same_padding(1, k, 1, d) for k, d in zip(call.kernel, call.dilation, strict=True))
        if max(call.stride) == 1 and ends == same:
            arguments.append(('padding="same"', "padding"))
        else:
            front.append(_layer(f"layers.ZeroPadding{rank}D", [(_keras_ends(ends), "padding")]))
    arguments += _named("dilation_rate", call.dilation, 1, "dilation")
    name = f"Conv{rank}D"
    if call.kind == "separable convolution" or depthwise:
        multiplier = call.depth_multiplier if not depthwise else (call.out_channels or 1) // (call.in_channels or 1)
        arguments += [(f"depth_multiplier={multiplier}", "depth_multiplier")] if multiplier > 1 else []
        name = f"{'Depthwise' if depthwise else 'Separable'}Conv{rank}D"
    elif call.groups > 1:
        arguments.append((f"groups={call.groups}", "groups"))
    return _keras_finish(call, name, arguments, front)


def _is_depthwise(call: Call) -> bool:
    """Whether Keras' ``DepthwiseConv`` does the same; it takes one stride for both axes."""
    return call.groups > 1 and call.groups == call.in_channels and call.rank < 3 and len(set(call.stride)) == 1


def _check_keras(call: Call) -> None:
    if max(call.stride) > 1 and max(call.dilation) > 1:
        raise _NoneError("Keras takes strides or dilation_rate, not both")
    if call.padding_mode not in ("zeros", "") and any(map(any, call.padding or ())):
        raise _NoneError(f"Keras' convolutions pad with zeros only, not with padding_mode={call.padding_mode!r}")


def _keras_ends(ends: Ends) -> str:
    """A padding or cropping as Keras takes it: a number, one for each axis, or pairs."""
    if all(a == b for a, b in ends):
        sides = [a for a, _ in ends]
        return _side(sides) if len(ends) > 1 or len(set(sides)) == 1 else str(sides[0])
    pairs = ", ".join(f"({a}, {b})" for a, b in ends)
    return pairs if len(ends) == 1 else f"({pairs})"


def _keras_finish(
    call: Call, name: str, arguments: list[_Piece], front: list[list[_Piece]], behind: Sequence[list[_Piece]] = ()
) -> list[list[_Piece]]:
    """The layer with its input in front, its activation and its bias."""
    shape: list[list[_Piece]] = []
    if call.in_channels is not None:
        sizes = (*call.input_size, call.in_channels)
        text = f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(map(str, sizes))})"
        shape = [_layer("keras.Input", [(text, "input")])]
    after: list[list[_Piece]] = []
    if call.activation is not None:
        kind, slope = slope_of(call.activation)
        if slope == KERAS_SLOPE:
            arguments.append((f'activation="{kind}"', "activation"))
        else:
            after = [[(f"layers.LeakyReLU({slope:g})", "activation")]]
    arguments += [] if call.bias else [("use_bias=False", "bias")]
    return [*shape, *front, _layer(f"layers.{name}", arguments), *behind, *after]


def _keras_transposed(call: Call) -> list[list[_Piece]]:
    """``valid`` or ``same`` if one of them cuts off as much, else ``valid`` and a crop."""
    _check_keras(call)
    if call.groups > 1:
        raise _NoneError("Keras' transposed convolutions have no groups")
    ends = call.padding or ()
    if any(a < 0 for a, _ in ends):
        raise _NoneError("Keras extends an output at its end only")
    arguments = [(str(call.out_channels), "out_channels"), (_side(call.kernel), "kernel")]
    arguments += _named("strides", call.stride, 1, "stride")
    spans = [d * (k - 1) + 1 for k, d in zip(call.kernel, call.dilation, strict=True)]
    valid = [-valid_crop(span, s)[1] for span, s in zip(spans, call.stride, strict=True)]
    behind: list[list[_Piece]] = []
    if ends == tuple(same_crop(span, s) for span, s in zip(spans, call.stride, strict=True)):
        arguments += [('padding="same"', "padding")]
    else:
        more = [max(0, -b) for _, b in ends]
        if any(extra >= s for extra, s in zip(more, call.stride, strict=True) if extra):
            raise _NoneError("Keras' output_padding must be smaller than strides")
        arguments += [] if more == valid else [(f"output_padding={_side(more)}", "output_padding")]
        crop = tuple((a, max(0, b)) for a, b in ends)
        if any(map(any, crop)):
            behind.append(_layer(f"layers.Cropping{call.rank}D", [(_keras_ends(crop), "padding")]))
    arguments += _named("dilation_rate", call.dilation, 1, "dilation")
    return _keras_finish(call, f"Conv{call.rank}DTranspose", arguments, [], behind)


def _keras_pool(call: Call) -> list[list[_Piece]]:
    word = call.kind.partition(" ")[0].capitalize()
    if "return_indices" in {each.name for each in call.arguments if each.value is True}:
        raise _NoneError("Keras' pools do not return the positions of the maxima")
    if any(each.name == "divisor_override" and each.value is not None for each in call.arguments):
        raise _NoneError("Keras' pools have no divisor_override")
    if call.adaptive is None:
        return _keras_sliding_pool(call, word)
    if all(side == 1 for side in call.adaptive):
        keep = [] if call.flat else [("keepdims=True", "keepdims")]
        return [_layer(f"layers.Global{word}Pooling{call.rank}D", keep)]
    if None in call.adaptive:
        raise _NoneError("Keras' adaptive pools take whole numbers only")
    return [_layer(f"layers.Adaptive{word}Pooling{call.rank}D", [(_side(call.adaptive), "output_size")])]


def _keras_sliding_pool(call: Call, word: str) -> list[list[_Piece]]:
    if max(call.dilation) > 1:
        raise _NoneError("Keras' pools have no dilation")
    arguments = [(_side(call.kernel), "kernel")]
    arguments += [] if call.stride == call.kernel else [(f"strides={_side(call.stride)}", "stride")]
    padded = any(map(any, call.padding or ()))
    name = f"layers.{word}Pooling{call.rank}D"
    if (padded or call.ceil_mode) and _is_same_pool(call):
        return [_layer(name, [*arguments, ('padding="same"', "padding")])]
    if call.ceil_mode and None in call.input_size:
        raise _NoneError("Keras' pools have no ceil_mode: add the size with --input")
    if call.ceil_mode and _ceil_matters(call):
        raise _NoneError("Keras' pools have no ceil_mode")
    if not padded:
        return [_layer(name, arguments)]
    front = _layer(f"layers.ZeroPadding{call.rank}D", [(_keras_ends(call.padding or ()), "padding")])
    if word == "Max":
        text = "".join(text for text, _ in _joined([front, _layer(name, arguments)]))
        why = "Keras' pools cannot pad by −∞ on both sides"
        raise _NoneError(f"{why}; {text} is equal if no input is negative, as behind a ReLU")
    if not call.count_include_pad:
        raise _NoneError("Keras' average pools cannot leave out padding on both sides")
    return [front, _layer(name, arguments)]


def _is_same_pool(call: Call) -> bool:
    """Whether Keras' ``same`` pads as this pool does, for inputs of this size."""
    if call.kind.startswith("average") and call.count_include_pad and any(map(any, call.padding or ())):
        return False
    sides = zip(call.input_size, call.output_size, call.kernel, call.stride, call.padding or (), strict=True)
    for side, result, k, s, (a, b) in sides:
        if side is None and s > 1:
            return False
        before, after = same_padding(1 if side is None else side, k, s)
        if before != a or (side is not None and result != -(-side // s)):
            return False
        if not call.ceil_mode and (before, after) != (a, b) and (side is None or after > b):
            return False
        if call.ceil_mode and side is None and after != b:
            return False
    return True


def _ceil_matters(call: Call) -> bool:
    sides = zip(call.input_size, call.output_size, call.kernel, call.stride, call.padding or (), strict=True)
    return any((side or 0) + a + b < (result or 0) * s - s + k for side, result, k, s, (a, b) in sides)
