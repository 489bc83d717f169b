"""Dense, locally connected and shared weights side by side: the numbers as text, and the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.sharing import ImageWeights, Sharing, number_of_weights
from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    INK,
    SEPARATOR,
    Body,
    Item,
    Panel,
    Rule,
    Shape,
    Strokes,
    Text,
    balanced,
    moved,
    outline,
    text_block,
    text_width,
)
from kernelviz.drawing.worksheets import (
    DARK,
    DIM,
    FAINT,
    FORMULA,
    HEAD,
    LEGIBLE,
    LINE,
    MARGIN,
    SETTINGS,
    SMALL,
    WIDEST,
    Cells,
    DigitRule,
    Tint,
    cells_panel,
    circle,
    digit_size,
    frame,
    tallest_of,
    worksheet,
)
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import aligned, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box

    Line = tuple[float, float, float, float]

WIDTH = WIDEST - 2 * MARGIN
LEFT, PITCH, COLUMN = 110.0, 440.0, 384.0  # of the three columns
RADIUS, TALL = 21.0, 210.0  # of a unit; from inputs to outputs
CELL = 54.0
STYLES = {3: ("dotted", "solid", "dashed"), 5: ("dotted", "dash-dot", "solid", "double", "dashed")}
"""The line of each weight of a kernel; larger ones have none."""
DASHES = {"dotted": (4.0, 6.0), "dashed": (14.0, 8.0), "dash-dot": (14.0, 5.0, 4.0, 5.0)}
THICK, THIN, STRONG = 4.0, 1.6, 2.8
LEAST_AXIS = 394.0  # x of the zero of the bars
LONGEST_BAR, SHORTEST_BAR, LEAST_BAR, BAR = 560.0, 150.0, 2.0, 27.0


def plot_sharing(
    units: int = 5,
    kernel: int = 3,
    *,
    image: tuple[int, int, int] = (10, 10, 3),
    maps: int = 100,
    image_kernel: int = 5,
    hidden: int = 300,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw what a dense, a locally connected and a convolutional layer connect, and how many weights each has.

    Args:
        units: The number of inputs, and of outputs, 3 to 9.
        kernel: The number of inputs that an output of the two other layers reads; odd.
        image: Height, width and channels of an image for which the weights are counted.
        maps: The maps of a convolution of this image.
        image_kernel: The side of its kernel.
        hidden: The units of a dense layer on this image.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: The kernel is even or larger than the units, there are too many units, or the kernel exceeds the image.

    Example:
        >>> figure = kernelviz.plot_sharing(units=5, kernel=3)
    """
    from kernelviz.drawing.figures import draw_page

    sharing, counts = Sharing(units, kernel), ImageWeights(image, maps, image_kernel, hidden)
    return draw_page(sharing_page(sharing, counts), sharing_recipe(sharing, counts), find_look(look, caption=caption))


def layer_texts(sharing: Sharing) -> list[tuple[str, list[list[int]], tuple[str, str]]]:
    """Name, matrix and two lines of text for each of the three layers."""
    shared = "the same weights everywhere:"
    return [
        ("dense", sharing.dense, ("every output reads every input,", "each line has its own weight")),
        ("local", sharing.local, ("an output reads its neighbours only,", "each line still has its own weight")),
        (
            "shared", sharing.shared,
            (shared, f"a convolution, kernel {sharing.kernel}, padding {sharing.padding}"),
        ),
    ]  # fmt: skip


def image_rows(counts: ImageWeights) -> list[tuple[str, int, str]]:
    """Name, number of weights and biases, and its calculation for each layer on the image; the last two are compared."""
    kernel = size_text((counts.kernel, counts.kernel, counts.image[2]))
    outputs, per, maps = f"{counts.outputs:,}", f"{counts.per_kernel:,}", f"{counts.maps:,}"
    return [
        (f"dense, {counted(counts.hidden, 'unit')}", counts.dense,
         f"{counts.values:,} × {counts.hidden:,} + {counts.hidden:,}"),
        (f"{counted(counts.maps, 'kernel')} {kernel}", counts.shared, f"{per} × {maps} + {maps}"),
        (f"locally connected, the same {outputs} outputs", counts.local, f"({per} + 1) × {outputs}"),
        (f"dense, the same {outputs} outputs", counts.dense_to_outputs, f"({counts.values:,} + 1) × {outputs}"),
    ]  # fmt: skip


def outputs_text(counts: ImageWeights) -> str:
    """That the two layers do not have the same number of outputs, and what a dense layer with as many takes."""
    if counts.hidden == counts.outputs:
        return f"The same number of outputs: {counts.outputs:,}."
    maps = f"{counted(counts.maps, 'map')} of {size_text(counts.map_size)} = {counts.outputs:,}"
    return (
        f"The numbers of outputs differ: {counts.hidden:,} and {maps}. "
        f"A dense layer to {counts.outputs:,} outputs would take {counts.dense_to_outputs:,}."
    )


def local_text(counts: ImageWeights) -> str:
    """What a locally connected layer with the outputs of the convolution takes."""
    return f"A locally connected layer, with other kernels at every position, would take {counts.local:,}."


GROWTH = (
    "If width and height are doubled, the dense layer has four times the weights, the convolution as many as before."
)


def sharing_lines(sharing: Sharing, counts: ImageWeights) -> list[str]:
    """The explanation as lines of text."""
    n, texts = sharing.units, layer_texts(sharing)
    rows = [
        (name, f"{number_of_weights(matrix):,}", " ".join(lines).replace(": a ", ", a "))
        for name, matrix, lines in texts
    ]
    lines = [f"{n} inputs, {n} outputs, kernel {sharing.kernel}: how many weights?", ""]
    lines += aligned(("layer", "weights", "connections"), rows, ("weights",)).splitlines()
    lines += ["", "Weights are numbered from 1 on; one row per output, one column per input"]
    wide = len(str(n * n))
    tables = [[" ".join((str(entry) if entry else ".").rjust(wide) for entry in row) for row in m] for _, m, _ in texts]
    lines += ["", "  " + "    ".join(name.ljust(len(tables[0][0])) for name, _, _ in texts).rstrip()]
    lines += ["  " + "    ".join(row) for row in zip(*tables, strict=True)]
    for each in (counts, counts.doubled()):
        found = image_rows(each)
        lines += ["", f"image {size_text(each.image)} ({each.values:,} values), weights and biases"]
        widths = max(len(name) for name, _, _ in found), max(len(sum_) for _, _, sum_ in found)
        lines += [f"  {name:<{widths[0]}}  {sum_:>{widths[1]}} = {number:,}" for name, number, sum_ in found]
    return [*lines, "", GROWTH, outputs_text(counts)]


def sharing_entry(sharing: Sharing, counts: ImageWeights) -> dict[str, Any]:
    """The fields of the JSON document."""

    def image(each: ImageWeights) -> dict[str, Any]:
        return {
            "size": list(each.image), "values": each.values, "dense": each.dense, "shared": each.shared,
            "local": each.local, "dense_to_outputs": each.dense_to_outputs, "outputs": each.outputs,
        }  # fmt: skip

    matrices = {name: matrix for name, matrix, _ in layer_texts(sharing)}
    return {
        "operation": "sharing",
        "units": sharing.units,
        "kernel": [sharing.kernel],
        "weights": {name: number_of_weights(matrix) for name, matrix in matrices.items()},
        "matrices": matrices,
        "maps": counts.maps,
        "image_kernel": counts.kernel,
        "hidden": counts.hidden,
        "images": [image(counts), image(counts.doubled())],
    }


def sharing_recipe(sharing: Sharing, counts: ImageWeights) -> dict[str, Any]:
    """The recipe of the picture."""
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"dense, local, shared: {sharing.units} units, kernel {sharing.kernel}",
        "view": "sharing",
        "image": None,
        "settings": {
            "units": sharing.units, "kernel": sharing.kernel, "image": list(counts.image), "maps": counts.maps,
            "image_kernel": counts.kernel, "hidden": counts.hidden,
        },
        "shown": sharing.units,
        "total": sharing.units,
        "limits": None,
        "nonfinite": 0,
        "notes": [],
    }  # fmt: skip


def sharing_page(sharing: Sharing, counts: ImageWeights) -> Panel:
    """Three layers as lines and as matrices, and below them bars for an image."""
    layers = _layers(sharing, Sizes(TALL, 92, min(CELL, COLUMN / sharing.units)))
    y = layers.height - 8
    bars, below = _bars(counts, y + 50)
    n = sharing.units
    body = Panel((*layers.items, Rule(0, y, WIDTH, y, LINE, 1.6), *bars), WIDTH, below)
    fewer = [partial(_layers_in, sharing, counts)]
    settings = f"{n} inputs, {n} outputs: how many weights?"
    return worksheet("Dense, local, shared", settings, body, [], [], fewer=fewer)


UNITS = 137.0  # the middle of the outputs
LEAST_LINES = 110.0  # in a box, from the outputs to the matrix


@dataclass(frozen=True)
class Sizes:
    """From inputs to outputs, from the inputs to the matrix, and a cell of it; no matrix if that is 0."""

    tall: float
    apart: float
    cell: float
    below: float = 38.0  # what is free below the text about the matrices

    @property
    def matrix(self) -> float:
        """The y of the matrices."""
        return UNITS + self.tall + self.apart


def _layers_in(sharing: Sharing, counts: ImageWeights, box: Box) -> Body:
    """The layers with small matrices for a box; without matrices if their digits would not be legible."""
    sizes = _sizes_in(sharing, tallest_of(box))
    missing = [*([] if sizes.cell else ["the matrices"]), f"the weights for an image of {size_text(counts.image)}"]
    notice = f"without {' and '.join(missing)}: dense {counts.dense:,}, shared {counts.shared:,}"
    return Body(_layers(sharing, sizes), (notice,))


def _sizes_in(sharing: Sharing, tallest: float) -> Sizes:
    """The sizes for a height: of many units the lines are shorter, so that the digits of the matrices are legible."""
    compact, least = Sizes(125, 58, 0), math.ceil(LEGIBLE / MATRIX_DIGITS.tall)
    cell = min(CELL, COLUMN / sharing.units, (tallest - compact.matrix - 78) / sharing.units)
    if cell >= least:
        return replace(compact, cell=cell)
    lines = min(compact.tall + compact.apart, tallest - UNITS - sharing.units * least - 38 - 9)
    return Sizes(0.7 * lines, 0.3 * lines, least, below=8) if lines >= LEAST_LINES else Sizes(TALL, 0, 0)


def _layers(sharing: Sharing, sizes: Sizes) -> Panel:
    """The three layers beside each other, and how to read their matrices."""
    items: list[Item] = []
    for number, (name, matrix, lines) in enumerate(layer_texts(sharing)):
        items += moved(_layer(sharing, name, matrix, lines, sizes), LEFT + number * PITCH, 0)
    middle = sizes.matrix + min(96.0, 1.5 * sizes.cell + 15)
    texts = [("outputs", UNITS), ("inputs", UNITS + sizes.tall)]
    texts += [("as a", middle), ("matrix", middle + 29)] if sizes.cell else []
    items += [Text(0, 4 + y, text, SMALL, DIM) for text, y in texts]
    if not sizes.cell:
        return Panel(tuple(items), WIDTH, UNITS + sizes.tall + RADIUS + 4)
    y = sizes.matrix + sharing.units * sizes.cell + 38
    styled = sharing.kernel in STYLES
    same = "equal numbers and equal lines are the same weight" if styled else "equal numbers are the same weight"
    text = f"One row per output, one column per input; {same}."
    return Panel((*items, Text(0, y, text, SMALL, DIM)), WIDTH, y + sizes.below)


def _layer(sharing: Sharing, name: str, matrix: list[list[int]], lines: Sequence[str], sizes: Sizes) -> Panel:
    """A column: the name with the number of weights, the units with their lines, and the matrix."""
    number = counted(number_of_weights(matrix), "weight")
    items: list[Item] = [
        Text(0, 24, name, HEAD, INK, bold=True),
        Text(text_width(name, HEAD, bold=True) + 14, 24, number, HEAD, DIM),
    ]
    words, _ = text_block(list(lines), 0, 37, SMALL, colour=DIM)
    items += words
    n, middle = sharing.units, (sharing.units - 1) // 2
    pitch = (COLUMN - 2 * RADIUS) / (n - 1)
    radius = min(RADIUS, 0.36 * pitch)
    xs = [RADIUS + at * pitch for at in range(n)]
    styles = STYLES.get(sharing.kernel) if name == "shared" else None
    order = [*(at for at in range(n) if at != middle), middle]  # the lines of the middle unit are on top
    for output in order:
        for at, weight in enumerate(matrix[output]):
            if weight:
                ends = _between(xs[output], UNITS, xs[at], UNITS + sizes.tall, radius + 3)
                items += _connection(ends, styles[weight - 1] if styles else "", dark=output == middle)
    for at, x in enumerate(xs):
        items += [
            *([Shape(circle(x, UNITS, radius), DARK)] if at == middle else []),
            Shape(circle(x, UNITS + sizes.tall, radius), SEPARATOR),
            Shape(circle(x, UNITS, radius), DARK, 2.4),
            Shape(circle(x, UNITS + sizes.tall, radius), DARK, 2.4),
        ]
    if not sizes.cell:
        return Panel(tuple(items), COLUMN, UNITS + sizes.tall + RADIUS)
    panel = _matrix(matrix, middle, styles, sizes.cell)
    return Panel((*items, *moved(panel, (COLUMN - panel.width) / 2, sizes.matrix)), COLUMN, sizes.matrix + panel.height)


def _between(x0: float, y0: float, x1: float, y1: float, gap: float) -> Line:
    """The line between two circles."""
    length = math.hypot(x1 - x0, y1 - y0)
    dx, dy = gap * (x1 - x0) / length, gap * (y1 - y0) / length
    return x0 + dx, y0 + dy, x1 - dx, y1 - dy


def _connection(ends: Line, style: str, *, dark: bool) -> Iterator[Item]:
    """A line between two units, in the style of its weight."""
    if not style:
        yield Strokes((ends,), DARK if dark else LINE, STRONG if dark else THIN)
    else:
        yield styled_line(ends, style, DARK if dark else FAINT)


def styled_line(ends: Line, style: str, colour: str, width: float = THICK) -> Strokes:
    """A line, dashed or doubled as its style requires."""
    x0, y0, x1, y1 = ends
    length = math.hypot(x1 - x0, y1 - y0)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    if style == "double":
        apart = 0.8 * width
        sides = [(-dy * apart, dx * apart), (dy * apart, -dx * apart)]
        return Strokes(tuple((x0 + x, y0 + y, x1 + x, y1 + y) for x, y in sides), colour, 0.55 * width)
    pattern = DASHES.get(style, (length, 0.0))
    lines, at, number = [], 0.0, 0
    while at < length:
        part = pattern[number % len(pattern)]
        if number % 2 == 0:
            end = min(length, at + part)
            lines.append((x0 + at * dx, y0 + at * dy, x0 + end * dx, y0 + end * dy))
        at, number = at + part, number + 1
    return Strokes(tuple(lines), colour, width)


MATRIX_DIGITS = DigitRule(largest=26.0, tall=0.6)


def _matrix(matrix: list[list[int]], middle: int, styles: Sequence[str] | None, cell: float) -> Panel:
    """The weight matrix: which weight is where, empty cells grey, the row of the middle unit framed."""
    numbers = np.array(matrix)
    texts = np.where(numbers > 0, numbers.astype(str).astype(object), "")
    bold = np.zeros(numbers.shape, bool)
    bold[middle] = True
    cells = Cells(np.zeros(numbers.shape), Tint(1.0), texts, bold, blank=numbers == 0)
    panel = cells_panel(cells, cell, digit_size([cells], cell, MATRIX_DIGITS), MATRIX_DIGITS)
    items: list[Item] = [*panel.items]
    for (i, j), weight in np.ndenumerate(numbers):
        if weight and styles:
            x, y, half = (j + 0.5) * cell, (i + 0.86) * cell, 0.31 * cell
            colour = DARK if i == middle else FAINT
            items.append(styled_line((x - half, y, x + half, y), styles[weight - 1], colour, 0.75 * THICK))
    read = np.flatnonzero(numbers[middle])
    items.append(frame(middle, int(read[0]), 1, len(read), cell, width=4.5))
    return Panel(tuple(items), panel.width, panel.height)


def _bar_scale(rows: Sequence[tuple[str, int, str]], notes: Sequence[str], room: float) -> float:
    """Pixels of a bar for one weight, such that the texts behind the bars fit into the room."""
    ends = [
        text_width(f"{number:,}", HEAD, bold=True) + text_width(note, SMALL) + 32
        for (_, number, _), note in zip(rows, notes, strict=True)
    ]
    fitting = [(room - end) / number for (_, number, _), end in zip(rows, ends, strict=True)]
    return min(LONGEST_BAR / max(number for _, number, _ in rows), *fitting)


def _bars(counts: ImageWeights, y: float) -> tuple[list[Item], float]:
    """The weights of a dense and of a convolutional layer for the image, and for one twice as wide and high."""
    title, what = "For an image", "weights and biases, one scale from 0"
    items: list[Item] = [
        Text(0, y, title, FORMULA - 3, INK, bold=True),
        Text(text_width(title, FORMULA - 3, bold=True) + 22, y, what, SETTINGS - 2, DIM),
    ]
    images = [counts, counts.doubled()]
    rows = [row for each in images for row in image_rows(each)[:2]]
    notes = [rows[0][2], rows[1][2], rows[2][2], "the same: kernels do not depend on the image size"]
    sides = [
        *(text_width(size_text(each.image), HEAD, bold=True) for each in images),
        *(text_width(counted(each.values, "value"), SMALL) for each in images),
    ]
    axis = max(LEAST_AXIS, max(sides) + 36 + max(text_width(name, SMALL) for name, _, _ in rows) + 18)
    longest = max(number for _, number, _ in rows)
    scale = _bar_scale(rows, notes, WIDTH - axis)
    if scale * longest < SHORTEST_BAR:  # the calculations do not fit behind the bars
        notes = ["", "", "", ""]
        scale = _bar_scale(rows, notes, WIDTH - axis)
    top = y = y + 40
    for at, ((name, number, _), note) in enumerate(zip(rows, notes, strict=True)):
        if at == 2:
            y += 30
        middle, wide = y + BAR / 2, max(LEAST_BAR, number * scale)
        if at % 2 == 0:
            each = images[at // 2]
            items.append(Text(0, middle, size_text(each.image), HEAD, INK, bold=True, middle=True))
            items.append(Text(0, middle + 37, counted(each.values, "value"), SMALL, DIM, middle=True))
        items.append(Text(axis - 18, middle, name, SMALL, INK, align="right", middle=True))
        items.append(outline(axis, y, wide, BAR, colour=DARK if at % 2 else FAINT, line=0))
        x = axis + wide + 14
        items.append(Text(x, middle, f"{number:,}", HEAD, INK, bold=True, middle=True))
        items.append(Text(x + text_width(f"{number:,}", HEAD, bold=True) + 16, middle, note, SMALL, DIM, middle=True))
        y += BAR + 10
    items.append(Rule(axis, top - 10, axis, y + 2, DIM, 2))
    thin = [number for _, number, _ in rows if number * scale < LEAST_BAR]
    texts = [GROWTH, outputs_text(counts), local_text(counts)]
    texts += ["The shortest bars are drawn 2 pixels wide: to scale they would be thinner."] if thin else []
    words, below = text_block(
        [line for text in texts for line in balanced(text, SMALL, WIDTH)], 0, y + 22, SMALL, colour=DIM
    )
    return [*items, *words], below
