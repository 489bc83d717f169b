"""What settings of convolutions cost on the same input: weights, multiply-adds and numbers, and what one output reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from kernelviz.arithmetic.chains import LONGEST, MOST_LAYERS, ChainLayer, read_layer
from kernelviz.arithmetic.operations import Convolution, Pooling
from kernelviz.arithmetic.windows import count, pair
from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.arithmetic.chains import Kind
    from kernelviz.arithmetic.windows import Pair, Sides

MOST_SETTINGS, MOST_CHANNELS = 8, 100_000
COST_EXAMPLE = "For example conv7, conv3+conv3+conv3, dw7+conv1, conv1x7+conv7x1, conv3s2, conv3g4, conv3c128, pool2."
_LETTERS: Mapping[Kind, str] = {"conv": "spdgc", "dw": "spd", "pool": "sp"}
_REPEATED = re.compile(r"(?:(\d{1,2})x)?([a-z].*)", re.ASCII)
_SIDES = re.compile(r"(\d+)x(\d+)", re.ASCII)


@dataclass(frozen=True)
class CostLayer:
    """A layer of a setting, as written, and its operation on the input that it has there."""

    text: str
    operation: Convolution | Pooling

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel has its own kernel and channels are not mixed."""
        return isinstance(self.operation, Convolution) and 1 < self.operation.groups == self.operation.in_channels

    @property
    def values(self) -> int:
        """The numbers of the output."""
        rows, columns = self.operation.output_size
        return self.operation.out_channels * rows * columns

    @property
    def formula(self) -> str:
        """``3·3·64·64``: how the weights are computed; ``3·3·64·64 + 64`` with biases; empty for a pool."""
        made = self.operation
        if isinstance(made, Pooling):
            return ""
        each = made.in_channels // made.groups
        factors = [*made.kernel, *([] if self.is_depthwise else [each]), made.out_channels]
        product = "·".join(f"{factor:,}" for factor in factors)
        return f"{product} + {made.out_channels:,}" if made.bias else product


@dataclass(frozen=True)
class Cost:
    """A setting: one layer, or several after each other, on an input of known size.

    Args:
        text: The setting as written, such as ``3xconv3``.
        layers: Its layers, each with its operation.
    """

    text: str
    layers: tuple[CostLayer, ...]

    __repr__ = record_repr

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of the output."""
        last = self.layers[-1].operation
        return last.out_channels, *last.output_size

    @property
    def parameters(self) -> int:
        """The weights, and the biases if they are counted."""
        return sum(layer.operation.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one input, including those with padding, excluding the bias."""
        return sum(layer.operation.macs for layer in self.layers)

    @property
    def values(self) -> int:
        """The numbers of the outputs of all layers, which training keeps."""
        return sum(layer.values for layer in self.layers)

    @cached_property
    def receptive_field(self) -> Pair:
        """The rows and columns of the input that one value of the output depends on, as if the image had no border."""
        found = [1, 1]
        for axis in (0, 1):
            jump = 1
            for layer in self.layers:
                made = layer.operation
                found[axis] += made.dilation[axis] * (made.kernel[axis] - 1) * jump
                jump *= made.stride[axis]
        return found[0], found[1]

    @property
    def formula(self) -> str:
        """How the weights are computed: ``3·(3·3·64·64)``, ``7·7·64 + 1·1·64·64``; ``0`` without weights."""
        groups = [
            (text, len([*each])) for text, each in groupby(filter(None, (layer.formula for layer in self.layers)))
        ]
        alone = len(groups) == 1
        parts = [
            text if number == 1 and (alone or "+" not in text) else f"({text})" if number == 1 else f"{number}·({text})"
            for text, number in groups
        ]
        return " + ".join(parts) or "0"


def compare_costs(
    size: Sides,
    settings: Sequence[str],
    *,
    in_channels: int = 1,
    out_channels: int | None = None,
    padding: str | None = None,
    bias: bool = False,
) -> tuple[Cost, ...]:
    """Count what settings of convolutions cost on the same input.

    Args:
        size: Rows and columns of the input, up to 10,000.
        settings: Up to eight settings, each of up to twelve layers joined by ``+``: ``conv7``, ``conv3+conv3+conv3`` or
            ``3xconv3``, ``conv1x7+conv7x1``, a depthwise one ``dw7+conv1``, ``pool2``; with stride, padding, dilation,
            groups and channels of the output ``conv3s2p1d1g4c128``.
        in_channels: The channels of the input.
        out_channels: The channels of the output of each convolution that has none of its own; by default those of the
            input.
        padding: ``same`` pads the convolutions that have no padding of their own so that they keep the size, or with a
            stride as Keras pads them. By default there is none.
        bias: Whether each output channel of a convolution has a bias.

    Raises:
        UsageError: A setting is malformed or does not fit the input, or there are too many.
    """
    sides = pair("input size", size)
    settings = [settings] if isinstance(settings, str) else list(settings)
    inputs = count("number of input channels", in_channels)
    outputs = inputs if out_channels is None else count("number of output channels", out_channels)
    if padding not in (None, "same", "valid"):
        raise UsageError(
            f"The padding must be same or valid, but got {padding!r}.", "Numbers are written at each layer.",
            "For example conv3p1",
        )  # fmt: skip
    if not settings:
        raise UsageError("There is no setting to count.", "", COST_EXAMPLE)
    if len(settings) > MOST_SETTINGS:
        what = f"At most {MOST_SETTINGS} settings are compared, but got {len(settings)}."
        raise UsageError(what, hint="Omit some.")
    if max(sides) > LONGEST or max(inputs, outputs) > MOST_CHANNELS:
        raise UsageError(
            f"Sides must be at most {LONGEST:,} and channels {MOST_CHANNELS:,}, but got "
            f"{max(sides) if max(sides) > LONGEST else max(inputs, outputs):,}.",
            hint="Give smaller numbers.",
        )
    return tuple(_counted(text, sides, (inputs, outputs), same=padding == "same", bias=bias) for text in settings)


def _counted(text: str, size: Pair, channels: Pair, *, same: bool, bias: bool) -> Cost:
    """One setting on an input of this size; ``channels`` are those of the input, and of outputs by default."""
    layers: list[CostLayer] = []
    inputs, outputs = channels
    for word, (rows, columns) in _layers(text):
        try:
            made = _operation((rows, columns), size, (inputs, outputs), same=same, bias=bias)
        except UsageError as problem:
            alone = word == text
            what = f"The setting '{shown(text)}' does not fit{'' if alone else f' at {word}'}: {problem.what}"
            raise UsageError(what, problem.why, problem.hint) from None
        layers.append(CostLayer(word, made))
        size, inputs = made.output_size, made.out_channels
    return Cost(text, tuple(layers))


def _layers(text: str) -> list[tuple[str, tuple[ChainLayer, ChainLayer]]]:
    """The layers of a setting as written, each read for its rows and for its columns.

    Raises:
        UsageError: It is no such text, or there are too many layers.
    """
    found: list[tuple[str, tuple[ChainLayer, ChainLayer]]] = []
    for part in text.lower().split("+"):
        match = _REPEATED.fullmatch(part.strip())
        number = 1 if match is None or match[1] is None else count("number of layers", int(match[1]))
        word = part.strip() if match is None else match[2]
        rows, columns = (
            read_layer(_SIDES.sub(side, word), _LETTERS, owner="the comparison", example=COST_EXAMPLE)
            for side in (r"\1", r"\2")
        )
        if (rows.groups, rows.channels) != (columns.groups, columns.channels):
            what = f"Groups and channels of the layer '{shown(word)}' must be one number each."
            raise UsageError(what, "Only sizes have rows and columns.", COST_EXAMPLE)
        found += [(word, (rows, columns))] * number
        if len(found) > MOST_LAYERS:
            raise UsageError(
                f"A setting has at most {MOST_LAYERS} layers, but '{shown(text)}' has more.", hint="Omit some."
            )
    return found


def _operation(
    layers: tuple[ChainLayer, ChainLayer], size: Pair, channels: Pair, *, same: bool, bias: bool
) -> Convolution | Pooling:
    rows, columns = layers
    (top, bottom), (left, right) = (
        (placed.before, placed.after)
        for placed in (layer.at(side, same=same) for layer, side in zip(layers, size, strict=True))
    )
    kernel, stride = (rows.kernel, columns.kernel), (rows.stride, columns.stride)
    inputs, outputs = channels
    if rows.kind == "pool":
        return Pooling(size, kernel, stride=stride, padding=(top, left), in_channels=inputs)
    depthwise = rows.kind == "dw"
    return Convolution(
        size,
        kernel,
        stride=stride,
        padding=(top, bottom, left, right),
        dilation=(rows.dilation, columns.dilation),
        groups=inputs if depthwise else 1 if rows.groups is None else rows.groups,
        in_channels=inputs,
        out_channels=inputs if depthwise else outputs if rows.channels is None else rows.channels,
        bias=bias,
    )
