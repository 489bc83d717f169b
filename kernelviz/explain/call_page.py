"""The picture of a convolution as Keras or torch writes it: each argument joined by a letter to what it sets."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.windows import window
from kernelviz.drawing.colour import plain
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    INK,
    LINE_HEIGHT,
    SEPARATOR,
    Body,
    Item,
    Panel,
    Raster,
    Rule,
    Shape,
    Strokes,
    Text,
    drawable,
    drawn_width,
    fitted,
    outline,
    scaled_size,
    text_width,
    wrap,
)
from kernelviz.drawing.worksheets import (
    BORDER,
    DARK,
    DASH,
    DIM,
    DISC,
    HEAD,
    LINE,
    MARGIN,
    SMALL,
    TITLE,
    WIDEST,
    Cells,
    Tint,
    arrow_items,
    disc,
    strongest,
    tints,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.explain.call_code import keras_code, slope_of, torch_code
from kernelviz.explain.call_reader import read_call
from kernelviz.explain.call_texts import (
    FRAMEWORKS,
    activation_words,
    along,
    any_text,
    formulas,
    input_text,
    kernel_channels,
    meaning,
    not_written,
    output_text,
    per_kernel,
    sizes_text,
)
from kernelviz.explain.calls import ACTIVATIONS, Call
from kernelviz.explain.unit_parts import map_colours, mark, resampled
from kernelviz.records import LUMA, as_bank
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import counted, inflected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.drawing.colour import Content
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.explain.call_code import Code
    from kernelviz.records import Array, KernelBank

WIDTH = WIDEST - 2 * MARGIN
CODE, SMALLEST_CODE = 32.0, 25.0
FACE, DEEPEST, PER_CHANNEL = 252.0, 88.0, 6.0  # sides of the largest block, and its depth, all and for a channel
CLOSEST = 2.2  # pixels between the lines of two channels
MIDDLE_BELOW_HEAD = 24.0
PLANE, SHIFT, MOST_PLANES = 74.0, 27.0, 3
GRID = (141.0, 256.0)
LARGEST_PITCH, SMALLEST_PITCH = 32.0, 6.0
BLANK, DARKER, SIDE_FILL = "blank", "darker blank", "side"
MOST_VALUES = 1 << 20  # of a map that is computed for the picture
DRAWN = ("Conv2D", "Convolution2D", "Conv2d", "LazyConv2d")
"""The layers that are drawn."""

_COLUMN_OF = {
    "input": "input", "padding": "input", "data_format": "input", "padding_mode": "input", "out_channels": "kernels",
    "kernel": "kernels", "dilation": "kernels", "groups": "kernels", "activation": "activation", "stride": "output",
    "bias": "bias",
}  # fmt: skip
"""Where the picture shows what an argument sets."""


def plot_call(
    call: Call | str,
    *,
    image: object = None,
    kernels: object = None,
    kernel: int | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw a 2-D convolution as Keras or torch writes it: each argument joined by a letter to its part of the picture.

    Args:
        call: The result of ``read_call`` for ``Conv2D`` or ``Conv2d``, or a line for it.
        image: The photograph of the input: an ``Image``, or (H, W, 3) uint8; drawn if the input has one or three channels.
        kernels: The kernels to draw: a ``KernelBank``, a tensor or an array of the shape of the call's weight. With an
            image one of the maps is computed. Without them the kernels are grey.
        kernel: The kernel that is enlarged, and whose map is shown. Default: the one with the largest norm.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: The call is no call or another layer, or image or kernels have another shape.

    Example:
        >>> figure = kernelviz.plot_call("Conv2D(8, 3, input_shape=(32, 32, 3))")
    """
    from kernelviz.drawing.figures import draw_page

    given: object = call
    call = read_call(call) if isinstance(call, str) else call
    if not isinstance(given, (Call, str)):
        what = f"The call must be text or the result of read_call, but got {type(given).__name__}."
        raise UsageError(what, hint="For example plot_call('Conv2D(32, 3, input_shape=(28, 28, 1))')")
    check_drawable(call)
    page = _Page(call, _pixels(image), None if kernels is None else as_bank(kernels), kernel)
    return draw_page(page.panel(), call_recipe(call, page), find_look(look, caption=caption))


def check_drawable(call: Call, hint: str = "") -> None:
    """Check that there is a picture of this layer.

    Args:
        call: The layer.
        hint: What to do if there is none.

    Raises:
        UsageError: there is none.
    """
    if call.name not in DRAWN:
        raise UsageError(
            f"{call.name} is explained in text only.", "Pictures are drawn of Conv2D (Keras) and Conv2d (torch).",
            hint,
        )  # fmt: skip


def call_recipe(call: Call, page: _Page | None = None) -> dict[str, Any]:
    """The recipe of the picture; without the page what identifies it."""
    bank = page.bank if page else None
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": call.text,
        "view": "call",
        "image": call_hash(call),
        "settings": {
            "framework": call.framework, "input_size": list(call.input_size), "in_channels": call.in_channels,
            "out_channels": call.out_channels, "kernel": list(call.kernel), "stride": list(call.stride),
            "padding": None if call.padding is None else [list(pair) for pair in call.padding],
            "dilation": list(call.dilation), "groups": call.groups, "bias": call.bias, "activation": call.activation,
        },
        "kernels": bank.source.as_recipe() if bank and bank.source else None,
        "shown": page.grid_shown if page else None,
        "total": call.out_channels,
        "limits": None if page is None or page.limit is None else [-page.limit, page.limit],
        "nonfinite": 0,
        "notes": page.notes() if page else [],
    }  # fmt: skip


def call_hash(call: Call) -> str:
    """Sixteen hex digits that identify the line and its input."""
    from hashlib import sha256

    return sha256(repr((call.text, call.input_size, call.in_channels)).encode()).hexdigest()[:16]


def _pixels(image: object) -> Array | None:
    """(H, W, 3) uint8.

    Raises:
        UsageError: it is something else.
    """
    if image is None:
        return None
    pixels = np.asarray(getattr(image, "pixels", image))
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise UsageError("The image must be an Image, or (H, W, 3) uint8.", hint="Read it with kernelviz.read_image.")
    return pixels


@dataclass(frozen=True)
class _Note:
    """A caption of a column: its letter (empty for none), a dark line and lighter ones."""

    letter: str
    first: str
    rest: tuple[str, ...] = ()


SHARES = (0.75, 0.6, 0.45, 0.3)  # of the side of a block on a page, in a box


class _Page:
    """One page: the photograph in the size of the input, one map, and the layout in columns."""

    def __init__(self, call: Call, image: Array | None, bank: KernelBank | None, kernel: int | None) -> None:
        self.call = call
        self.face, self.factor = FACE, 1.0  # of a block; of what is drawn by that of the page
        self.known = None not in (*call.input_size, *call.output_size)
        self.bank = bank
        self.weight: Array | None = None
        self.kernel = 0
        self.limit: float | None = None
        if bank is not None:
            self.weight = np.asarray(bank.weight, np.float64)
            wanted = (call.out_channels, kernel_channels(call), *call.kernel)
            if self.weight.shape != wanted:
                raise UsageError(
                    f"The kernels must be {sizes_text(wanted)}, but got {sizes_text(self.weight.shape)}.",
                    hint="Give kernels of the call's shape, or none.",
                )
            self.weight = np.where(np.isfinite(self.weight), self.weight, 0.0)
            norms = np.sqrt((self.weight**2).sum(axis=(1, 2, 3)))
            self.kernel = int(norms.argmax()) if kernel is None else int(kernel)
            if not 0 <= self.kernel < len(norms):
                raise UsageError(f"There are kernels 0 to {len(norms) - 1}, but got {kernel!r}.")
            self.limit = strongest(self.weight, self.weight.sum(axis=1))
        self.photo = self._photo(image)
        self.map = self._map()
        self.letters = self._letters()
        self.pitch, self.grid_columns, self.grid_shown = _grid(call.out_channels or 1)

    # Numbers.

    def _photo(self, image: Array | None) -> Array | None:
        """The middle of the photograph with the sides of the input, (H, W, 3) or (H, W, 1) uint8."""
        if image is None or self.call.in_channels not in (1, 3):
            return None
        from PIL import Image

        height, width = ((side or 150) for side in self.call.input_size)
        most = 2 * int(FACE)
        if not self._small_enough(height, width):
            height, width = (
                max(1, round(height * most / max(height, width))),
                max(1, round(width * most / max(height, width))),
            )
        rows, columns = image.shape[:2]
        part = min(rows / height, columns / width)
        tall, wide = max(1, round(height * part)), max(1, round(width * part))
        top, left = (rows - tall) // 2, (columns - wide) // 2
        cut = Image.fromarray(image[top : top + tall, left : left + wide])
        pixels = np.asarray(cut.resize((width, height), Image.Resampling.LANCZOS))
        if self.call.in_channels == 1:
            pixels = np.rint(pixels @ LUMA)[..., None].astype(np.uint8)
        return pixels

    @staticmethod
    def _small_enough(height: int, width: int) -> bool:
        return height * width <= MOST_VALUES

    def _map(self) -> Array | None:
        """The output channel of the kernel, without a bias."""
        call = self.call
        if self.photo is None or self.weight is None or not self.known or call.groups > 1 or self.bank is None:
            return None
        height, width = (side or 0 for side in call.input_size)
        rows, columns = (side or 0 for side in call.output_size)
        if (
            not (self._small_enough(height, width) and self._small_enough(rows, columns))
            or call.padding_mode != "zeros"
        ):
            return None
        facts: Mapping[str, Any] = self.bank.source.preprocessing if self.bank.source else {}
        channels = call.in_channels or 1
        mean, deviation = (
            np.resize(facts.get(key, default), channels) for key, default in (("mean", 0.0), ("std", 1.0))
        )
        values = (self.photo / 255.0 - mean) / deviation
        padded = np.pad(values, (*(call.padding or ()), (0, 0)))
        total = np.zeros((rows, columns))
        for channel, plane in enumerate(self.weight[self.kernel]):
            for (i, j), factor in np.ndenumerate(plane):
                y, x = i * call.dilation[0], j * call.dilation[1]
                part = padded[y : y + (rows - 1) * call.stride[0] + 1 : call.stride[0],
                              x : x + (columns - 1) * call.stride[1] + 1 : call.stride[1], channel]  # fmt: skip
                total += factor * part
        curve = self._curve()
        return total if call.activation is None or curve is None else curve(total)

    def _curve(self) -> Callable[[Array], Array] | None:
        """The activation as a function of arrays; None for those of several channels."""
        if self.call.activation is None:
            return None
        name, slope = slope_of(self.call.activation)
        return None if "softmax" in name else lambda values: _activated(name, slope, values)

    # Texts.

    def _letters(self) -> dict[str, str]:
        """A letter for each part that the line sets, in the order of its arguments."""
        found: dict[str, str] = {}
        for argument in self.call.arguments:
            key = _key(argument.key)
            if key in _COLUMN_OF and key not in found:
                if key == "activation" and self.call.activation is None:
                    continue
                found[key] = chr(ord("a") + len(found))
        return found

    def _typed(self) -> list[tuple[str, str]]:
        """The typed line in pieces, each with what it sets."""
        call, pieces, at = self.call, [], 0
        seen: set[str] = set()
        for argument in call.arguments:
            pieces.append((re.sub(r"\s+", " ", call.text[at : argument.start]), ""))
            key = _key(argument.key)
            pieces.append((argument.text, key if key in self.letters and key not in seen else ""))
            seen.add(key)
            at = argument.end
        pieces.append((re.sub(r"\s+", " ", call.text[at:]), ""))
        return [piece for piece in pieces if piece[0]]

    def _other(self) -> Code:
        return torch_code(self.call) if self.call.framework == "keras" else keras_code(self.call)

    def _texts(self) -> dict[str, list[_Note]]:
        """The captions of each column."""
        call, letters = self.call, self.letters
        found: dict[str, list[_Note]] = {name: [] for name in ("input", "kernels", "activation", "output")}
        outputs, reads = call.out_channels or 0, kernel_channels(call)
        found["input"].append(self._input_note())
        others = [key for key in letters if _COLUMN_OF[key] == "input" and key != "input"]
        found["input"] += [self._plain(key) for key in others]
        maps = f"{counted(outputs, 'kernel')}, {counted(outputs, 'map')}"
        word = "filter" if call.framework == "keras" else "output channel"
        first = (
            (f"{counted(outputs, word)}: {maps}",)
            if call.framework == "keras"
            else (f"{counted(outputs, word)}:", maps)
        )
        found["kernels"].append(_Note(letters.get("out_channels", ""), first[0], first[1:]))
        size = sizes_text(call.kernel)
        channels = "1 channel" if reads == 1 else f"all {any_text(reads)} channels" if reads else "all channels"
        if call.groups > 1:
            channels = f"{any_text(reads)} of {any_text(call.in_channels)} channels"
        bias = " and 1 bias each" if call.bias else " each, no bias"
        weights = (
            f"{counted(per_kernel(call), 'weight')}{bias}"
            if reads
            else f"{sizes_text(call.kernel)} weights per channel"
        )
        found["kernels"].append(_Note(letters.get("kernel", ""), f"{size} cells in {channels}:", (weights,)))
        found["kernels"] += [self._plain(key) for key in ("dilation", "groups") if key in letters]
        if call.activation is not None:
            name, slope = slope_of(call.activation)
            function = ACTIVATIONS[name]
            words = "negative → 0" if name == "relu" else activation_words(call, name)
            a = (f"a = {slope:g}",) if name == "leaky_relu" else ()
            found["activation"].append(_Note(letters.get("activation", ""), f"{function.formula}:", (words, *a)))
        found["output"] += self._output_notes()
        return {name: sorted(each, key=lambda note: note.letter) for name, each in found.items()}

    def _input_note(self) -> _Note:
        call = self.call
        if call.in_channels is None:
            channels = "any number of channels"
        else:
            names = {3: ": red, green, blue", 1: ": grey"}.get(call.in_channels, "") if self.photo is not None else ""
            channels = f"{counted(call.in_channels, 'channel')}{names}"
        if None in call.input_size:
            return _Note(self.letters.get("input", ""), channels, ("rows and columns: any",))
        rows, columns = (
            counted(side or 0, noun) for side, noun in zip(call.input_size, ("row", "column"), strict=True)
        )
        return _Note(self.letters.get("input", ""), f"{rows}, {columns},", (channels,))

    def _plain(self, key: str) -> _Note:
        """A caption from the meaning of the argument."""
        argument = next(each for each in self.call.arguments if _key(each.key) == key)
        first, _, rest = meaning(self.call, argument).partition(": ")
        return _Note(self.letters[key], f"{first}:" if rest else first, (rest,) if rest else ())

    def _output_notes(self) -> list[_Note]:
        call, letters = self.call, self.letters
        each = "one map for each kernel"
        notes = [_Note("", "its size depends on that of the input", (each,))]
        if formulas(call):
            rows, columns = (_short(call, at) for at in range(2))
            first = (rows,) if rows == columns else (f"rows: {rows}", f"columns: {columns}")
            notes = [_Note("", first[0], (*first[1:], each))]
        if "stride" in letters:
            steps = " × ".join(map(str, call.stride)) if len(set(call.stride)) > 1 else str(call.stride[0])
            places = along(call.stride, 2) if len(set(call.stride)) > 1 else f"{steps} places"
            rest = "every place" if max(call.stride) == 1 else f"the window moves {places} at a time"
            notes.append(_Note(letters["stride"], f"stride {steps}:", (rest,)))
        return notes

    def notes(self) -> list[str]:
        """The caption of the page."""
        call = self.call
        lines = []
        absent = not_written(call)
        lines += [f"defaults (not written): {absent}"] if absent else []
        undrawn = [each.text for each in call.arguments if not each.key]
        lines += [f"not drawn, as they change no size: {', '.join(undrawn)}"] if undrawn else []
        if call.padding and any(map(any, call.padding)):
            lines.append("dashed: padding around the input")
        if self.known:
            lines.append(f"small frames: a window of {sizes_text(call.kernel)} and the value computed from it")
        if self.bank is not None:
            source = self.bank.source
            name = (
                f"{self.bank.layer.name} of {source.model}" if self.bank.layer and source else "kernels that were given"
            )
            trained = bool(source and source.weights and source.weights.source != "random")
            what = f"{'the kernels of a trained first layer of this shape' if trained else 'kernels'} ({name})"
            less = ", with the stride and padding of this line and no bias" if self.map is not None else ""
            lines.append(
                f"colours: {what}{less}, summed over their channels in the small tiles; red positive, blue negative"
            )
            lines.append(f"enlarged: kernel {self.kernel}" + ("; its map is shown" if self.map is not None else ""))
            if source and source.short_label:
                lines.append(f"weights: {source.short_label}")
        else:
            lines.append("grey kernels: an untrained layer has no kernels to show, and no map")
        lines += self._cut()
        if self.known:
            lines.append("sides and depths of input and output are drawn to scale")
        else:
            lines.append("sides are not drawn to scale: the size of the image is not known")
        return [drawable(line) for line in lines]

    def _cut(self) -> list[str]:
        """How many planes and kernels are drawn, if these are not all."""
        lines, planes, kernels = [], kernel_channels(self.call), self.call.out_channels or 0
        if planes and planes > MOST_PLANES:
            lines.append(f"{MOST_PLANES} of {planes:,} planes of one kernel are drawn")
        if self.grid_shown < kernels:
            lines.append(f"{self.grid_shown:,} of {kernels:,} kernels are drawn")
        return lines

    # Layout.

    def panel(self) -> Panel:
        """The page."""
        call, framework = self.call, FRAMEWORKS[self.call.framework]
        other = FRAMEWORKS["torch" if call.framework == "keras" else "keras"]
        items, y = self._code(self._typed(), 0.0, framework, WIDTH)
        parts, y = self._columns(y + 62)
        items += parts
        words, y = self._parameters(y + 62)
        items += words
        y += 32
        items.append(Rule(0, y, WIDTH, y, SEPARATOR, 2))
        code, y = self._second(y + 34, other)
        items += code
        title = "One line, taken apart"
        source = self.bank.source.short_label if self.bank is not None and self.bank.source else ""
        grey = ["grey kernels: not trained"] if self.bank is None else []
        fewer = [partial(self._line, share=SHARES[0], parameters=True)]
        fewer += [partial(self._line, share=share, parameters=False) for share in SHARES]
        return worksheet(
            title, f"a convolution in {framework} and in {other}", Panel(tuple(items), WIDTH, y), [], self.notes(),
            source=source, notices=[*grey, *self._cut()], fewer=fewer,
        )  # fmt: skip

    def _line(self, box: Box, *, share: float, parameters: bool) -> Body:
        """The first line and the columns with smaller blocks, and perhaps the parameters; the rest as notices."""
        framework, pitch = FRAMEWORKS[self.call.framework], self.pitch
        self.face, self.pitch = share * FACE, share * pitch
        panel = Panel((), WIDTH, 1)
        for _ in range(2):  # the second time the code is measured as it will be drawn
            items, y = self._code(self._typed(), 0.0, framework, WIDTH)
            parts, y = self._columns(y + 44)
            items += parts
            if parameters:
                words, y = self._parameters(y + 48)
                items += words
            panel = Panel(tuple(items), WIDTH, y)
            self.factor = min(box.width / WIDTH, box.height / y)
        self.face, self.pitch, self.factor = FACE, pitch, 1.0
        grey = ["grey kernels: not trained"] if self.bank is None else []
        code, other = self._other(), FRAMEWORKS["torch" if self.call.framework == "keras" else "keras"]
        text = "no exact counterpart" if code.reason else "".join(text for text, _ in code.pieces)
        count = [] if parameters or self.call.parameters is None else [f"{self.call.parameters:,} parameters"]
        notices = (*grey, *count, f"{other}: {text}", *self._cut())
        return Body(panel, notices, aside=f"a convolution in {framework}")

    def _code(self, pieces: Sequence[tuple[str, str]], y: float, label: str, room: float) -> tuple[list[Item], float]:
        """A line of code with discs above what it sets; returns the y below it."""
        items: list[Item] = []
        if label:
            items.append(Text(WIDTH, y + SMALL, label, HEAD, DIM, align="right"))
        room -= text_width(label, HEAD) + 30 if label else 0
        pieces = _merged([(drawable(text, bold=bool(key)), self.letters.get(key, "")) for text, key in pieces])
        wide = sum(text_width(text, 1.0, bold=bool(letter)) for text, letter in pieces)
        size = float(math.floor(min(CODE, max(SMALLEST_CODE, room / max(wide, 1.0)))))
        x, line = 0.0, y + 2 * DISC + 14 + size
        pitch = size + 2 * DISC + 34
        for piece, letter in pieces:
            text, bold = piece, bool(letter)
            if x and x + self._drawn(text.rstrip(), size, bold=bold) > room and len(text) > 2:
                x, line, text = 0.0, line + pitch, text.lstrip()
            whole = self._drawn(text.rstrip(), size, bold=bold) <= room
            for number, part in enumerate([text] if whole else wrap(text, size, room - 20, bold=bold)):
                if number:
                    x, line = 0.0, line + pitch
                width = self._drawn(part, size, bold=bold)
                items.append(Text(x, line, part, size, INK, bold))
                if letter:
                    items.append(Rule(x, line + 11, x + width, line + 11, DARK, 2.4))
                    if number == 0:
                        items += disc(x + width / 2, line - size - DISC - 4, letter)
                x += width + 0.5
        return items, line + 13

    def _drawn(self, text: str, size: float, *, bold: bool) -> float:
        """The width of a text as it will be drawn."""
        return drawn_width(text, scaled_size(Text(0, 0, text, size, bold=bold), self.factor), bold=bold) / self.factor

    def _columns(self, y: float) -> tuple[list[Item], float]:
        """Input, kernels, activation and output beside each other, and the y below their captions."""
        call = self.call
        active = call.activation is not None
        sides = self._faces()
        depths = self._depths()
        margin = self._margins(sides["input"][0] / (call.input_size[0] or 1))
        pad_left = margin[2]
        ends = {"input": pad_left + sides["input"][1] + max(depths[0], margin[3])}
        spots = self._spots(ends["input"], active=active)
        items, top = self._heads(y + HEAD, spots)
        top += MIDDLE_BELOW_HEAD
        tall = max(
            self.face,
            *(face[0] / 2 + depth + self.face / 2 for face, depth in zip(sides.values(), depths, strict=True)),
        )
        middle = top + tall - self.face / 2
        items += self._block(
            spots["input"][0] + pad_left, middle, sides["input"], depths[0], channels=call.in_channels, name="input"
        )
        items += self._block(
            spots["output"][0], middle, sides["output"], depths[1], channels=call.out_channels, name="output"
        )
        kernels, width = self._kernels(spots["kernels"][0], middle)
        items += kernels
        items += arrow_items(ends["input"] + 14, middle, spots["kernels"][0] - 14, 2.6)
        end = spots["kernels"][0] + width
        if active and self._curve() is not None:
            items += arrow_items(end + 14, middle, spots["activation"][0] - 14, 2.6)
            plot, width = self._plot(spots["activation"][0], middle)
            items += plot
            end = spots["activation"][0] + width
        items += arrow_items(end + 14, middle, spots["output"][0] - 14, 2.6)
        below = middle + self.face / 2 + max(0.0, margin[1] - (self.face - sides["input"][0]) / 2) + 30
        bottom = below
        for name, notes in self._texts().items():
            if name in spots:
                more, y = _captions(notes, *spots[name], below)
                items += more
                bottom = max(bottom, y)
        return items, bottom

    def _heads(self, y: float, spots: Mapping[str, tuple[float, float]]) -> tuple[list[Item], float]:
        """The name of each column and the size of what it shows, on one line or on two, and the y of the last line."""
        call, reads = self.call, kernel_channels(self.call)
        heads = {
            "input": ("input", input_text(call)),
            "output": ("output", output_text(call)),
            "kernels": (
                counted(call.out_channels or 0, "kernel"),
                sizes_text([*call.kernel, reads] if call.channels_last else [reads, *call.kernel]),
            ),
        }
        if call.activation is not None:
            name = slope_of(call.activation)[0]
            heads["activation"] = (ACTIVATIONS[name].module or name, "")
        two = any(
            text_width(a, HEAD, bold=True) + 14 + text_width(b, HEAD) > spots[name][1] + 20
            for name, (a, b) in heads.items()
        )
        below = y + (HEAD + 8 if two else 0)
        items: list[Item] = []
        for name, (word, size) in heads.items():
            x = spots[name][0]
            items.append(Text(x, y, word, HEAD, INK, bold=True))
            if size:
                items.append(Text(x + (0.0 if two else text_width(word, HEAD, bold=True) + 14), below, size, HEAD, DIM))
        return items, below

    def _spots(self, end: float, *, active: bool) -> dict[str, tuple[float, float]]:
        """Where the columns start and how wide their captions may be; ``end`` is that of the input's picture."""
        output = 1036.0 if active else 1000.0
        kernels = max(358.0 if active else 440.0, end + 58)
        spots = {"input": (0.0, kernels - 14), "output": (output, WIDTH - output)}
        if not active:
            return spots | {"kernels": (kernels, output - kernels - 30)}
        activation = max(762.0, kernels + self._kernels(0.0, 0.0)[1] + 58)
        return spots | {
            "kernels": (kernels, activation - kernels - 20),
            "activation": (activation, output - activation - 24),
        }

    def _faces(self) -> dict[str, tuple[float, float]]:
        """Height and width of input and output on the page, in one proportion."""
        call = self.call
        if not self.known:
            return {"input": (self.face * 0.8, self.face * 0.8), "output": (self.face * 0.8, self.face * 0.8)}
        top, bottom, left, right = (n for pair in call.padding or () for n in pair)
        size = [side or 0 for side in call.input_size]
        padded = size[0] + top + bottom, size[1] + left + right
        factor = self.face / max(*padded, *(side or 0 for side in call.output_size))
        return {
            name: (max(3.0, (rows or 0) * factor), max(3.0, (columns or 0) * factor))
            for name, (rows, columns) in (("input", call.input_size), ("output", call.output_size))
        }

    def _depths(self) -> tuple[float, float]:
        """How deep input and output are, as many pixels for a channel in both."""
        inputs, outputs = self.call.in_channels or 0, self.call.out_channels or 0
        channel = min(PER_CHANNEL, DEEPEST / max(inputs, outputs, 1))
        return (inputs * channel, outputs * channel) if self.call.in_channels else (18.0, outputs * channel)

    def _margins(self, factor: float) -> tuple[float, float, float, float]:
        """Pixels of padding above, below, left and right of the input, visible if there is any."""
        ends = [n for pair in self.call.padding or () for n in pair]
        found = [max(6.0, n * factor) if n and self.known else 8.0 if n else 0.0 for n in ends]
        return (found[0], found[1], found[2], found[3]) if len(found) == 4 else (0.0, 0.0, 0.0, 0.0)

    def _block(
        self, x: float, middle: float, face: tuple[float, float], depth: float, *, channels: int | None, name: str
    ) -> list[Item]:
        """A block: its first channel in front, the others behind it."""
        height, width = face
        top = middle - height / 2
        right, bottom = x + width, top + height
        items: list[Item] = []
        if depth >= 1:
            above = ((x, top), (right, top), (right + depth, top - depth), (x + depth, top - depth))
            beside = ((right, top), (right, bottom), (right + depth, bottom - depth), (right + depth, top - depth))
            count = channels or 0
            if count > 1 and depth / count < CLOSEST:  # a line for each channel would be an area
                items += [Shape(above, SIDE_FILL), Shape(beside, SIDE_FILL)]
            elif count > 1:
                lines = []
                for at in range(1, count):
                    move = depth * at / count
                    lines += [
                        (x + move, top - move, right + move, top - move),
                        (right + move, top - move, right + move, bottom - move),
                    ]
                items.append(Strokes(tuple(lines), LINE, 1.2))
            items += [Shape(above, BORDER, 2.0), Shape(beside, BORDER, 2.0)]
        picture = self._face(name, face)
        items.append(Raster(picture, x, top, width, height))
        if self.known:
            items.append(outline(x, top, width, height, colour=BORDER, line=2.4))
        else:
            items.append(Strokes(_sides(x, top, width, height), BORDER, 2.4, dashed=True))
        if name == "input":
            around = self._margins(height / (self.call.input_size[0] or 1))
            if any(around):
                box = x - around[2], top - around[0], width + around[2] + around[3], height + around[0] + around[1]
                items.append(Strokes(_sides(*box), DASH, 2.0, dashed=True))
        if self.known:
            items += self._frame(name, x, top, face)
        return items

    def _face(self, name: str, face: tuple[float, float]) -> Content:
        values = self.photo if name == "input" else self.map
        if values is None:
            return plain(BLANK)
        if name == "output":
            return map_colours(values).indexed(values)
        pixels = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
        size = max(1, round(face[0])), max(1, round(face[1]))
        if pixels.shape[0] <= size[0] and pixels.shape[1] <= size[1]:
            return np.asarray(pixels)
        return resampled(pixels, size)

    def _frame(self, name: str, x: float, top: float, face: tuple[float, float]) -> list[Item]:
        """The window in the input, or its value in the output, for one output cell."""
        call = self.call
        cell = [int(share * (side or 1)) for share, side in zip((0.43, 0.65), call.output_size, strict=True)]
        if name == "output":
            ranges = [range(at, at + 1) for at in cell]
            sides = call.output_size
        else:
            ranges = [
                window(at, k, s, before, d)
                for at, k, s, (before, _), d in zip(
                    cell, call.kernel, call.stride, call.padding or (), call.dilation, strict=True
                )
            ]
            sides = call.input_size
        down, across = (length / (side or 1) for length, side in zip(face, sides, strict=True))
        first = x + ranges[1].start * across, top + ranges[0].start * down
        size = (ranges[1][-1] + 1 - ranges[1].start) * across, (ranges[0][-1] + 1 - ranges[0].start) * down
        return mark(first[0] + 3, first[1] + 3, size[0] - 6, size[1] - 6, least=6.0)

    def _kernels(self, x: float, middle: float) -> tuple[list[Item], float]:
        """One kernel plane by plane, and all kernels; returns their width."""
        call = self.call
        rows, columns = call.kernel
        cell = PLANE / max(rows, columns)
        height, width = max(2.0, rows * cell), max(2.0, columns * cell)
        planes = min(kernel_channels(call) or 1, MOST_PLANES)
        items: list[Item] = []
        tall = height + (planes - 1) * SHIFT
        bottom = middle + tall / 2
        for at in reversed(range(planes)):
            left, top = x + 2 + at * SHIFT, bottom - height - at * SHIFT
            values = None if self.weight is None else self.weight[self.kernel, at]
            items.append(Raster(self._tile(values), left, top, width, height))
            hidden = at > 0 and width > SHIFT < height  # by the plane in front, up to its upper and right edges
            cut = (left + width - SHIFT, top + SHIFT) if hidden else (left, top + height)
            lines = _grid_lines(left, top, rows, columns, cell=cell, cut=cut) if cell >= 8 else ()
            items += [Strokes(lines, LINE, 1.4)] if lines else []
            items.append(Strokes(_plane_edges(left, top, width, height, cut), DARK, 3.0))
        stack = width + (planes - 1) * SHIFT + 4
        total = call.out_channels or 1
        shown, across = self.grid_shown, self.grid_columns
        pitch, down = self.pitch, math.ceil(shown / across)
        tile = pitch * (0.8 if pitch > 12 else 0.75)
        scale = tile / max(rows, columns)
        start = x + stack + (44 if stack < 150 else 30)
        first = middle - (down * pitch - (pitch - tile)) / 2
        sums = None if self.weight is None else self.weight.sum(axis=1)
        for number in range(shown):
            row, column = divmod(number, across)
            high, wide = max(1.0, rows * scale), max(1.0, columns * scale)
            left, top = start + column * pitch + (tile - wide) / 2, first + row * pitch + (tile - high) / 2
            colours = self._tile(None if sums is None else sums[number])
            if sums is None and pitch <= 10:
                colours = plain(DARKER)
            items.append(Raster(colours, left, top, wide, high))
            if number == self.kernel and total > 1:
                more = max(0.0, 5.0 - high) / 2, max(0.0, 5.0 - wide) / 2
                box = left - more[1], top - more[0], wide + 2 * more[1], high + 2 * more[0]
                items.append(outline(*box, colour=DARK, line=4.0 if pitch > 12 else 2.0))
            elif pitch > 10:
                items.append(outline(left, top, wide, high, colour=LINE, line=1.6))
        return items, start - x + across * pitch - (pitch - tile)

    def _tile(self, values: Array | None) -> Content:
        if values is None or self.limit is None:
            return plain(BLANK)
        return tints(Cells(values, Tint(self.limit, pale=False)), digits=False)

    def _plot(self, x: float, middle: float) -> tuple[list[Item], float]:
        """The curve of the activation between its axes."""
        curve, side = self._curve(), 104.0
        if curve is None:
            return [], 0.0
        reach = 3.0
        across = np.linspace(-reach, reach, 121)
        up = curve(across)
        keep = np.abs(up) <= reach
        scale = side / 2 / reach
        points = [(x + side / 2 + a * scale, middle - b * scale) for a, b in zip(across[keep], up[keep], strict=True)]
        lines = tuple((*a, *b) for a, b in pairwise(points))
        axes = ((x, middle, x + side, middle), (x + side / 2, middle - side / 2, x + side / 2, middle + side / 2))
        return [Strokes(axes, BORDER, 2.0), Strokes(lines, DARK, 4.4)], side

    def _parameters(self, y: float) -> tuple[list[Item], float]:
        """The number of parameters, and where it comes from."""
        call = self.call
        items: list[Item] = []
        if call.parameters is None:
            head, rest = "parameters", _open_parameters(call)
        else:
            head, rest = f"{call.parameters:,} {inflected(call.parameters, 'parameter')}", _closed_parameters(call)
        items.append(Text(0, y, head, TITLE, INK, bold=True))
        x = text_width(head, TITLE, bold=True) + 20
        letter = self.letters.get("bias")
        if letter:
            items += disc(x + DISC, y - 9, letter)
            x += 2 * DISC + 14
        for line in fitted(rest, HEAD, WIDTH - x):
            items.append(Text(x, y, line, HEAD, DIM))
            y += HEAD * LINE_HEIGHT
        return items, y - HEAD * LINE_HEIGHT

    def _second(self, y: float, other: str) -> tuple[list[Item], float]:
        """The line of the other framework, with notes beside it or below."""
        code = self._other()
        if code.reason:
            lines = wrap(f"{other}: no exact counterpart. {code.reason}", HEAD, WIDTH)
            items: list[Item] = [
                Text(0, y + HEAD * (1 + LINE_HEIGHT * at), line, HEAD, DIM) for at, line in enumerate(lines)
            ]
            return items, y + HEAD * LINE_HEIGHT * len(lines)
        pieces = [(text, key if key in self.letters else "") for text, key in code.pieces]
        pieces = _once(pieces)
        wide = sum(text_width(text, CODE, bold=bool(key)) for text, key in pieces)
        notes = self._layout_notes()
        needed = max(text_width(note, SMALL) for note in notes)
        label = text_width(other, HEAD) + 30
        beside = wide + 46 + needed + label <= WIDTH
        items, bottom = self._code(pieces, y, other, WIDTH if not beside else wide + 2 + label)
        if beside:
            left, top = wide + 46, y + 10
        else:
            left, top = 0.0, bottom + 12
        for at, note in enumerate(notes):
            items.append(Text(left, top + SMALL + at * SMALL * 1.38, note, SMALL, DIM))
        return items, max(bottom, top + SMALL * (1 + 1.38 * (len(notes) - 1)))

    def _layout_notes(self) -> list[str]:
        call = self.call
        kernel, reads, outputs = sizes_text(call.kernel), any_text(kernel_channels(call)), any_text(call.out_channels)
        keras = input_text(call, last=call.framework == "torch" or call.channels_last)
        order = "last" if call.framework == "torch" or call.channels_last else "first"
        lines = []
        if call.framework == "keras" and self.known and call.torch and "ZeroPad" not in call.torch:
            lines.append("no image size: the layer takes any")
        return [
            *lines,
            f"torch: channels first, {input_text(call, last=False)}; weight {outputs} × {reads} × {kernel}",
            f"Keras: channels {order}, {keras}; weight {kernel} × {reads} × {outputs}",
        ]


def _key(key: str) -> str:
    return "padding" if key == "before" else key


def _once(pieces: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pieces with each key only where it first occurs."""
    seen: set[str] = set()
    found = []
    for text, key in pieces:
        found.append((text, "" if key in seen else key))
        seen.add(key)
    return found


def _grid(count: int) -> tuple[float, int, int]:
    """The distance of the tiles of all kernels, how many are in a row, and how many are drawn."""
    pitch = LARGEST_PITCH
    while pitch > SMALLEST_PITCH and int(GRID[0] // pitch) * int(GRID[1] // pitch) < count:
        pitch -= 0.5
    across = int(GRID[0] // pitch)
    shown = min(count, across * int(GRID[1] // pitch))
    return pitch, min(across, shown), shown


def _grid_lines(
    left: float, top: float, rows: int, columns: int, *, cell: float, cut: tuple[float, float]
) -> tuple[tuple[float, float, float, float], ...]:
    """The lines between cells; left of ``cut`` down to it, and below it from it on."""
    right, bottom = left + columns * cell, top + rows * cell
    down = [left + at * cell for at in range(1, columns)]
    across = [top + at * cell for at in range(1, rows)]
    return (
        *((x, top, x, cut[1] if x < cut[0] else bottom) for x in down),
        *((cut[0] if y > cut[1] else left, y, right, y) for y in across),
    )


def _plane_edges(
    left: float, top: float, width: float, height: float, cut: tuple[float, float]
) -> tuple[tuple[float, float, float, float], ...]:
    """The edges of a plane that the one in front leaves visible."""
    right, bottom = left + width, top + height
    return (left - 1.5, top, right + 1.5, top), (right, top, right, bottom + 1.5), (cut[0], bottom, right, bottom), (
        left, top, left, cut[1] + (1.5 if cut[1] == bottom else 0),
    )  # fmt: skip


def _sides(x: float, y: float, width: float, height: float) -> tuple[tuple[float, float, float, float], ...]:
    right, bottom = x + width, y + height
    return (x, y, right, y), (right, y, right, bottom), (right, bottom, x, bottom), (x, bottom, x, y)


def _merged(pieces: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pieces with those without a letter joined, except where a line may break."""
    found: list[tuple[str, str]] = []
    for text, letter in pieces:
        if found and not letter and not found[-1][1] and not found[-1][0].endswith(" "):
            found[-1] = (found[-1][0] + text, "")
        else:
            found.append((text, letter))
    return found


def _captions(notes: Sequence[_Note], x: float, width: float, y: float) -> tuple[list[Item], float]:
    """The captions of a column from y on, and the y below them."""
    items: list[Item] = []
    pitch = SMALL * 1.38
    for note in notes:
        indent = 2 * DISC + 10 if note.letter else 0.0
        if note.letter:
            items += disc(x + DISC, y + DISC, note.letter)
        lines = [(line, INK) for line in _with_results(wrap(note.first, SMALL, width - indent))]
        lines += [(line, DIM) for rest in note.rest for line in _with_results(wrap(rest, SMALL, width - indent))]
        for line, colour in lines:
            items.append(Text(x + indent, y + DISC, line, SMALL, colour, middle=True))
            y += pitch
        y += 12
    return items, y


def _with_results(lines: Sequence[str]) -> list[str]:
    """The lines with each ``=`` on the line of its result."""
    found: list[str] = []
    for line in lines:
        if found and found[-1].endswith(" ="):
            found[-1] = found[-1].removesuffix(" =")
            found.append(f"= {line}")
        else:
            found.append(line)
    return found


def _short(call: Call, at: int) -> str:
    """``150 − 3 + 1 = 148`` if nothing else matters, else the formula with its numbers."""
    formula = formulas(call)[at]
    if formula.letters == "i":
        return f"as large as the input: {formula.result:,}"
    if call.stride[at] == 1 and call.dilation[at] == 1 and not any((call.padding or ())[at]):
        return f"{call.input_size[at]} − {call.kernel[at]} + 1 = {formula.result}"
    return formula.text


def _closed_parameters(call: Call) -> str:
    per, outputs = per_kernel(call), call.out_channels or 0
    weights = f"{per:,} {inflected(per, 'weight')}"
    tail = ", for any image size"
    if not call.bias:
        return f"= {outputs:,} × {weights}, no bias{tail}"
    return f"= {outputs:,} × ({weights} + 1 bias) = {per:,} × {outputs:,} + {outputs:,}{tail}"


def _open_parameters(call: Call) -> str:
    cells, outputs = math.prod(call.kernel), call.out_channels or 0
    bias = f" + {outputs:,}" if call.bias else ""
    return f"= {cells}·c × {outputs:,}{bias} for c input channels and any image size"


def _activated(name: str, slope: float, values: Array) -> Array:
    """The activation of every value."""
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-values))
        softplus = np.logaddexp(0, values)
        functions: dict[str, Callable[[], Array]] = {
            "relu": lambda: np.maximum(0, values),
            "relu6": lambda: np.clip(values, 0, 6),
            "leaky_relu": lambda: np.maximum(slope * values, values),
            "elu": lambda: np.where(values > 0, values, np.expm1(np.minimum(values, 0))),
            "celu": lambda: np.where(values > 0, values, np.expm1(np.minimum(values, 0))),
            "selu": lambda: (
                1.0507009873554805 * np.where(values > 0, values, 1.6732632423543772 * np.expm1(np.minimum(values, 0)))
            ),
            "gelu": lambda: values * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(values / math.sqrt(2))),
            "silu": lambda: values * sigmoid,
            "mish": lambda: values * np.tanh(softplus),
            "sigmoid": lambda: sigmoid,
            "hard_sigmoid": lambda: np.clip(values + 3, 0, 6) / 6,
            "hard_silu": lambda: values * np.clip(values + 3, 0, 6) / 6,
            "tanh": lambda: np.tanh(values),
            "hard_tanh": lambda: np.clip(values, -1, 1),
            "tanh_shrink": lambda: values - np.tanh(values),
            "softplus": lambda: softplus,
            "softsign": lambda: values / (1 + np.abs(values)),
            "log_sigmoid": lambda: -np.logaddexp(0, -values),
            "exponential": lambda: np.exp(values),
        }
        return np.asarray(functions[name]())
