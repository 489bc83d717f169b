"""A chain of layers along one dimension: its sizes, and what one unit of the last layer reads of those below it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from kernelviz.arithmetic.windows import count, same_padding, transposed_size, transposed_window, window
from kernelviz.errors import UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind: TypeAlias = Literal["conv", "dw", "pool", "up"]

MOST_LAYERS, LONGEST = 12, 10_000
_NEAR = 4  # units on each side of the middle one that are compared
_LAYER = re.compile(r"([a-z]+)(\d{1,5})((?:[a-z]\d{1,5})*)", re.ASCII)
_SETTINGS: dict[Kind, str] = {"conv": "spd", "pool": "sp", "up": "spdo"}
EXAMPLE = "For example conv3, conv3s2p1, conv3d2, pool2, pool3s2, up4s2p1."


@dataclass(frozen=True)
class ChainLayer:
    """One layer as written: a convolution (``dw``: depthwise), a pool, or a transposed convolution (``up``).

    ``padding``, ``groups`` and ``channels`` (those of the output) are None if they were not written.
    """

    text: str
    kind: Kind
    kernel: int
    stride: int
    padding: int | None = None
    dilation: int = 1
    output_padding: int = 0
    groups: int | None = None
    channels: int | None = None

    def at(self, size: int, *, same: bool) -> PlacedLayer:
        """The layer on an input of this size; with ``same``, convolutions without a padding of their own are padded."""
        before = after = self.padding or 0
        if same and self.kind in ("conv", "dw") and self.padding is None:
            before, after = same_padding(size, self.kernel, self.stride, self.dilation)
        return PlacedLayer(self, size, before, after)


@dataclass(frozen=True)
class PlacedLayer:
    """A layer on an input of a known size; ``before`` and ``after`` are its padding (of ``up``: what is cut off)."""

    layer: ChainLayer
    size: int
    before: int
    after: int

    @property
    def span(self) -> int:
        """From the first tap of the kernel to the last."""
        return self.layer.dilation * (self.layer.kernel - 1) + 1

    @property
    def result(self) -> int:
        """The size of the output; below 1 if the layer does not fit."""
        layer = self.layer
        if layer.kind == "up":
            return transposed_size(
                self.size, layer.kernel, layer.stride, self.before, layer.dilation, layer.output_padding
            )
        return (self.size + self.before + self.after - self.span) // layer.stride + 1

    @property
    def formula(self) -> str:
        """``16 − 6 + 1``: how the size of the output is computed."""
        layer, stride = self.layer, self.layer.stride
        span = str(layer.kernel) if layer.dilation == 1 else f"({layer.dilation}·{layer.kernel - 1} + 1)"
        if layer.kind == "up":
            more = f" + {layer.output_padding}" if layer.output_padding else ""
            less = f" − 2·{self.before}" if self.before else ""
            return f"({self.size:,} − 1)·{stride} + {span}{less}{more}"
        around = f"2·{self.before}" if self.before == self.after else f"({self.before} + {self.after})"
        padded = f"{self.size:,} + {around}" if self.before or self.after else f"{self.size:,}"
        if layer.kernel == stride and layer.dilation == 1 and not (self.before or self.after) and self.result > 0:
            return f"{padded} / {stride}" if self.size % stride == 0 else f"⌊{padded} / {stride}⌋"
        steps = f"{padded} − {span}"
        return f"{steps} + 1" if stride == 1 else f"⌊({steps}) / {stride}⌋ + 1"

    def read(self, outputs: bytearray) -> bytearray:
        """Which cells of the input the marked cells of the output read."""
        layer, found = self.layer, bytearray(self.size)
        for position, marked in enumerate(outputs):
            if not marked:
                continue
            if layer.kind == "up":
                for at in transposed_window(position, layer.kernel, layer.stride, self.before, layer.dilation):
                    if 0 <= at < self.size:
                        found[at] = 1
                continue
            cells = window(position, layer.kernel, layer.stride, self.before, layer.dilation)
            skipped = max(0, -(cells.start // layer.dilation))
            part = range(cells.start + skipped * layer.dilation, min(cells.stop, self.size), layer.dilation)
            found[part.start : part.stop : part.step] = b"\1" * len(part)
        return found


@dataclass(frozen=True)
class Chain:
    """The layers that fit, on an input of ``size`` values.

    ``refused`` is the next one if it does not fit: one that was requested, or else another layer like the last.
    ``requested`` counts all that were requested.
    """

    size: int
    layers: tuple[PlacedLayer, ...]
    refused: PlacedLayer | None
    requested: int
    same: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """The input and the output of every layer."""
        return self.size, *(layer.result for layer in self.layers)

    @cached_property
    def unit(self) -> int:
        """The unit of the last layer whose reads are shown: near the middle, and as far from padding as there."""
        last = self.sizes[-1]
        middle = (last - 1) // 2
        near = sorted(range(max(0, middle - _NEAR), min(last, middle + _NEAR + 1)), key=lambda at: abs(at - middle))
        return max(near, key=lambda unit: sum(self.reads_of(unit)[0]))

    @cached_property
    def reads(self) -> tuple[bytearray, ...]:
        """Which cells of the input, and of the output of every layer, the unit depends on."""
        return self.reads_of(self.unit)

    def reads_of(self, unit: int) -> tuple[bytearray, ...]:
        """Which cells of the input, and of the output of every layer, a unit of the last layer depends on."""
        marked = bytearray(self.sizes[-1])
        marked[unit] = 1
        found = [marked]
        for layer in reversed(self.layers):
            found.insert(0, layer.read(found[0]))
        return tuple(found)


def read_layer(
    text: str, settings: Mapping[Kind, str] = _SETTINGS, *, owner: str = "a chain", example: str = EXAMPLE
) -> ChainLayer:
    """A layer as it is written: ``conv3s2p1d2``, ``pool2``, ``up4s2p1o1``.

    The letters are stride, padding, dilation and output padding, groups and channels of the output. The stride of a pool is
    its size by default, else 1. ``settings`` are the kinds of layers that ``owner`` may have, each with its letters.

    Raises:
        UsageError: it is no such text, or torch would reject the settings.
    """
    match = _LAYER.fullmatch(text.strip().lower())
    if match is None or match[1] not in settings:
        raise UsageError(f"There is no layer '{shown(text)}' in {owner}.", "", example)
    kind: Kind = match[1]  # type: ignore[assignment]
    letters = re.findall(r"([a-z])(\d+)", match[3])
    given = {letter: int(number) for letter, number in letters}
    if wrong := [letter for letter, _ in letters if letter not in settings[kind]]:
        raise UsageError(f"The layer '{shown(text)}' of {owner} has no setting {wrong[0]}.", "", example)
    if len(given) < len(letters):
        raise UsageError(f"The layer '{shown(text)}' of {owner} has a setting twice.", "", example)
    kernel = count("kernel", int(match[2]))
    stride = count("stride", given.get("s", kernel if kind == "pool" else 1))
    layer = ChainLayer(
        text.strip().lower(),
        kind,
        kernel,
        stride,
        padding=given.get("p"),
        dilation=count("dilation", given.get("d", 1)),
        output_padding=given.get("o", 0),
        groups=given.get("g"),
        channels=given.get("c"),
    )
    if kind == "pool" and (layer.padding or 0) > kernel // 2:
        what = f"The padding of '{layer.text}' must be at most half of its size, but got {layer.padding} of {kernel}."
        raise UsageError(what, "A window could contain nothing but padding.", f"Choose at most {kernel // 2}.")
    if layer.output_padding and layer.output_padding >= max(stride, layer.dilation):
        what = f"The output padding of '{layer.text}' must be smaller than its stride or dilation"
        raise UsageError(f"{what}, but got {layer.output_padding}.", "", "Choose a smaller one.")
    return layer


def make_chain(size: int, layers: Sequence[str], *, same: bool = False) -> Chain:
    """Compute a chain of layers, up to the first that does not fit.

    Args:
        size: The number of values of the input.
        layers: The layers as written, see ``read_layer``.
        same: Whether convolutions without a padding of their own keep the size, as Keras and torch pad them.

    Raises:
        UsageError: a layer is malformed, none fits, or there are too many layers or values.
    """
    size = count("input size", size)
    written = [read_layer(text) for text in layers]
    if not written:
        raise UsageError("A chain needs a layer.", "", EXAMPLE)
    if len(written) > MOST_LAYERS:
        raise UsageError(f"A chain has at most {MOST_LAYERS} layers, but got {len(written)}.", hint="Omit some.")
    placed: list[PlacedLayer] = []
    length, refused = size, None
    for layer in written:
        if max(length, layer.kernel) > LONGEST:
            raise UsageError(
                f"A chain has at most {LONGEST:,} values in a row, but got {max(length, layer.kernel):,}.",
                hint="Choose a smaller input, or smaller kernels.",
            )
        here = layer.at(length, same=same)
        if here.result < 1:
            refused = here
            break
        placed.append(here)
        length = here.result
    if length > LONGEST:
        raise UsageError(
            f"A chain has at most {LONGEST:,} values in a row, but got {length:,}.", hint="Choose a smaller input."
        )
    if not placed:
        raise UsageError(
            f"No layer fits: {written[0].at(size, same=same).formula} < 1.",
            f"The kernel of {written[0].text} is larger than the input.",
            "Choose a larger input, or a smaller kernel.",
        )
    if refused is None:
        again = written[-1].at(length, same=same)
        refused = again if again.result < 1 else None
    return Chain(size, tuple(placed), refused, len(written), same)


def without_same(chain: Chain, layers: Sequence[str]) -> Chain | None:
    """The same layers without padding by name; None if that changes nothing, or no layer fits."""
    if not chain.same:
        return None
    try:
        bare = make_chain(chain.size, layers)
    except UsageError:
        return None
    return None if replace(bare, same=True) == chain else bare
