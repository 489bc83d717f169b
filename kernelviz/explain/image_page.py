"""An image as a grid of pixels: its numbers as text, and the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.arithmetic.windows import size_text
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import Item, Panel, Raster, Text, moved, outline, text_width
from kernelviz.drawing.worksheets import (
    BORDER,
    DARK,
    DIM,
    HALO,
    LEGIBLE,
    MARGIN,
    SMALL,
    TITLED,
    WIDEST,
    Cells,
    DigitRule,
    LabelledPicture,
    Tint,
    cells_panel,
    digit_size,
    frame,
    refitted,
    titled,
    worksheet,
)
from kernelviz.errors import UsageError
from kernelviz.version import SCHEMA, __version__
from kernelviz.views.pixels import Pixels, as_pixels
from kernelviz.wording import counted, shown, value_text

if TYPE_CHECKING:
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.records import Array, Image


MOST, MOST_COLOURED = 32, 14  # rows and columns whose numbers are shown
PART = 12  # rows and columns of the part of a larger image
WIDTH = WIDEST - 2 * MARGIN
LARGEST_CELL, BETWEEN = 64.0, 44.0
NUMBERS, COLUMN_NUMBERS = 40.0, SMALL + 8  # the least room for the numbers of rows, and that for those of columns
PHOTO = 560.0  # the longer side of a whole image beside a part of it
# On a slide: rows and columns of which the numbers are legible, and the longer side of a coloured image beside them.
BOXED, BOXED_COLOURED, BOXED_PHOTO = 10, 5, 300.0
DIGITS = DigitRule(largest=26.0, tall=0.5, share=0.94, usual=2.0, bold=False)


@dataclass(frozen=True)
class ImagePart:
    """The numbers of an image, and the rows and columns of those that are shown."""

    pixels: Pixels
    rows: range
    columns: range

    @property
    def whole(self) -> bool:
        """Whether all numbers are shown."""
        return (len(self.rows), len(self.columns)) == self.pixels.size

    @property
    def planes(self) -> Array:
        """(planes, rows, columns): the numbers that are shown."""
        rows, columns = self._slices
        return self.pixels.planes[:, rows, columns]

    @property
    def colours(self) -> Array:
        """(planes, rows, columns, 3) uint8: how their cells are drawn."""
        return self.pixels.colours(*self._slices)

    @property
    def levels(self) -> list[float]:
        """The two different numbers if there are no more, else the ends of the scale."""
        return [*map(float, self.found)] if len(self.found) == 2 else [0.0, float(self.pixels.white)]

    @cached_property
    def found(self) -> list[int]:
        """The different numbers of the whole image."""
        return self.pixels.levels

    @property
    def _slices(self) -> tuple[slice, slice]:
        return slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)


def plot_pixels(
    image: Image,
    *,
    levels: int | None = None,
    at: tuple[int, int] | None = None,
    size: tuple[int, int] | None = None,
    resize: tuple[int, int] | None = None,
    look: LookName = "page",
    caption: bool = True,
) -> PageFigure:
    """Draw an image as a grid of pixels, each a number, or three in colour.

    All numbers of a small image are drawn (up to 32 × 32 pixels, in colour 14 × 14); a larger one is drawn as it is, with
    the numbers of a part of it beside it.

    Args:
        image: The result of ``read_image``.
        levels: The number of levels from black to white, 2 to 256; None for 0 to 255.
        at: The row and column of the part's upper left pixel; by default the part is in the middle.
        size: The rows and columns of the part; by default 12 × 12 of a larger image.
        resize: Rows and columns to which the image is resized first; each pixel is the mean of the area that it covers.
        look: ``page``, ``slide`` (1280 × 720 pixels, large type), ``dark`` or ``print``.
        caption: Whether identity and caption are drawn; without them they are only in the recipe.

    Raises:
        UsageError: The part is not within the image or too large, or there cannot be so many levels.

    Example:
        >>> image = kernelviz.read_image("sample:grace_hopper")
        >>> figure = kernelviz.plot_pixels(image, resize=(12, 10))
    """
    from kernelviz.drawing.figures import draw_page

    part = part_of(as_pixels(image, levels=levels, size=resize), at, size)
    return draw_page(image_page(part), image_recipe(part), find_look(look, caption=caption))


def part_of(pixels: Pixels, at: tuple[int, int] | None = None, size: tuple[int, int] | None = None) -> ImagePart:
    """The part of an image whose numbers are shown: all of a small image, else these rows and columns.

    Raises:
        UsageError: It is not within the image, or too large.
    """
    most = MOST if len(pixels.planes) == 1 else MOST_COLOURED
    if at is None and size is None and max(pixels.size) <= most:
        return ImagePart(pixels, range(pixels.size[0]), range(pixels.size[1]))
    sides = size or (PART, PART)
    if max(sides) > most or min(sides) < 1:
        raise UsageError(
            f"The part must have 1 to {most} rows and columns, but got {size_text(sides)}.",
            "More numbers would not be legible." if max(sides) > most else "",
            f"For example --size {PART}",
        )
    spans = []
    for axis, (noun, side, length) in enumerate(zip(("rows", "columns"), pixels.size, sides, strict=True)):
        first = (side - min(side, length)) // 2 if at is None else at[axis]
        if not 0 <= first < side:
            raise UsageError(
                f"The image has no pixel at row {at[0]}, column {at[1]}." if at else "",
                f"It has {pixels.dimensions} pixels.",
                f"Its {noun} go from 0 to {side - 1}.",
            )
        spans.append(range(first, min(side, first + length)))
    return ImagePart(pixels, *spans)


def size_line(pixels: Pixels) -> str:
    """``300 wide × 200 high = 60,000 pixels``, and the numbers of a coloured image."""
    rows, columns = pixels.size
    line = f"{columns:,} wide × {rows:,} high = {rows * columns:,} {'pixel' if rows * columns == 1 else 'pixels'}"
    return line if len(pixels.planes) == 1 else f"{line}, × 3 colours = {3 * rows * columns:,} numbers"


def scale_text(part: ImagePart) -> str:
    """What the numbers mean."""
    low, high = (value_text(value) for value in part.levels)
    if len(part.pixels.planes) == 3:
        return f"each pixel is three numbers, how much red, green and blue: {low} is none, {high} is full"
    if len(part.found) == 2:
        return f"each pixel is one of two numbers: {low} is {_tone(part, 0)}, {high} is {_tone(part, 1)}"
    return f"each pixel is one number: {low} is black, {high} is white"


def _tone(part: ImagePart, which: int) -> str:
    share = part.levels[which] / part.pixels.white
    return "black" if share == 0 else "white" if share == 1 else "grey"


def part_line(part: ImagePart) -> str:
    """Which numbers are shown; empty if all are."""
    if part.whole:
        return ""
    (rows, columns), total = (part.rows, part.columns), part.pixels.size
    return (
        f"numbers of rows {rows[0]} to {rows[-1]} and columns {columns[0]} to {columns[-1]}: "
        f"{len(rows) * len(columns):,} of {total[0] * total[1]:,} pixels"
    )


def image_lines(part: ImagePart) -> list[str]:
    """The size, what the numbers mean, and the numbers with their rows and columns."""
    lines = [f"{shown(part.pixels.name)}: {size_line(part.pixels)}", scale_text(part)]
    lines += [line for line in (part_line(part),) if line]
    lines.append("rows and columns are counted from 0")
    wide = max(len(str(part.pixels.white)), len(str(part.columns[-1])))
    first = len(str(part.rows[-1]))
    for name, plane in zip(part.pixels.names, part.planes, strict=True):
        head = " ".join(str(column).rjust(wide) for column in part.columns)
        lines += ["", *([name] if len(part.planes) > 1 else []), f"  {'':>{first}}   {head}"]
        for row, values in zip(part.rows, plane, strict=True):
            lines.append(f"  {row:>{first}} | {' '.join(f'{value:.0f}'.rjust(wide) for value in values)}")
    return lines


def image_entry(part: ImagePart) -> dict[str, Any]:
    """The fields of the JSON document."""
    rows, columns = part.pixels.size
    return {
        "operation": "image",
        "image": part.pixels.name,
        "width": columns,
        "height": rows,
        "pixels": rows * columns,
        "colours": len(part.pixels.planes),
        "white": part.pixels.white,
        "rows": [part.rows[0], part.rows[-1]],
        "columns": [part.columns[0], part.columns[-1]],
        "planes": dict(zip(part.pixels.names, part.planes.astype(int).tolist(), strict=True)),
        "notes": list(part.pixels.notes),
    }


def image_recipe(part: ImagePart) -> dict[str, Any]:
    """The recipe of the picture."""
    rows, columns = part.pixels.size
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "explain",
        "model": None,
        "layer": f"image, {size_text(part.pixels.size)}, white {part.pixels.white}",
        "view": _view(part),
        "image": image_hash(part),
        "settings": {"white": part.pixels.white, "name": part.pixels.name},
        "shown": len(part.rows) * len(part.columns),
        "total": rows * columns,
        "limits": [0.0, float(part.pixels.white)],
        "nonfinite": 0,
        "notes": list(part.pixels.notes),
    }


def _view(part: ImagePart) -> str:
    return f"image {part.rows[0]},{part.columns[0]} {len(part.rows)} × {len(part.columns)}"


def part_name(part: ImagePart) -> list[str]:
    """The first pixel and the rows and columns of a part, as in the name of a file; empty for a whole image."""
    if part.whole:
        return []
    return [f"{part.rows[0]}-{part.columns[0]}", f"{len(part.rows)}x{len(part.columns)}"]


def image_hash(part: ImagePart) -> str:
    """Sixteen hex digits that identify the image and its levels."""
    digest = sha256(repr((part.pixels.planes.shape, part.pixels.white)).encode())
    for plane in part.pixels.planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()[:16]


def image_page(part: ImagePart, tallest: float = math.inf) -> Panel:
    """The image, and its numbers or those of a part; for a box of this height those of fewer rows and columns."""
    if tallest < math.inf:
        part = _middle(part, BOXED if len(part.planes) == 1 else BOXED_COLOURED)
    pictures = _pictures(part, tallest)
    across = len(pictures)
    if sum(each.width for each in pictures) + BETWEEN * (across - 1) > WIDTH + 1:
        across = 2
    columns = [max(each.width for each in pictures[at::across]) for at in range(across)]
    lefts = [sum(columns[:at]) + BETWEEN * at for at in range(across)]
    items: list[Item] = []
    y = bottom = 0.0
    for first in range(0, len(pictures), across):
        row = pictures[first : first + across]
        for x, each in zip(lefts, row, strict=False):
            items += each.at(x, y)
        bottom = y + max(each.height for each in row)
        y = bottom + 30
    title = "An image is a grid of pixels"
    lines = [size_line(part.pixels), scale_text(part)]
    notes = [part_line(part), "rows and columns are counted from 0", *part.pixels.notes]
    settings = f"{shown(part.pixels.name)}: {part.pixels.dimensions} pixels"
    body = Panel(tuple(items), lefts[-1] + columns[-1], bottom)
    notices = [text for text in (scale_text(part), part_line(part)) if text]
    fewer = [partial(refitted, partial(image_page, part))] if tallest == math.inf else []
    facts = {"shown": len(part.rows) * len(part.columns), "view": _view(part), "part": part_name(part)}
    return worksheet(title, settings, body, [], notes, lines=lines, notices=notices, fewer=fewer, facts=facts)


def _middle(part: ImagePart, most: int) -> ImagePart:
    """At most so many rows and columns in the middle of the part."""
    rows, columns = (
        span[(len(span) - min(len(span), most)) // 2 :][:most] for span in (part.rows, part.columns)
    )  # fmt: skip
    return ImagePart(part.pixels, rows, columns)


def _pictures(part: ImagePart, tallest: float) -> list[LabelledPicture]:
    """The image itself, unless its numbers take the whole page, and each plane with its numbers."""
    boxed = tallest < math.inf
    photo = min(PHOTO, tallest - TITLED, BOXED_PHOTO if boxed and len(part.planes) == 3 else PHOTO)
    rows, columns = len(part.rows), len(part.columns)
    planes, numbers = len(part.planes), _row_numbers(part)
    per_plane = numbers + BETWEEN
    cell = min(LARGEST_CELL, (WIDTH - numbers) / columns)
    whole: list[LabelledPicture] = []
    if (part.whole and 2 * (columns * LARGEST_CELL * 0.7 + per_plane) <= WIDTH) or planes == 3:
        count = planes + 1 if part.whole else planes
        row = (WIDTH + BETWEEN - count * per_plane - (0 if part.whole else photo + BETWEEN)) / count / columns
        two = (WIDTH + BETWEEN - 2 * per_plane) / 2 / columns
        cell = min(LARGEST_CELL, row if row >= 2.0 * LEGIBLE else two)
    elif not part.whole:
        cell = min(LARGEST_CELL, (WIDTH - photo - per_plane) / columns)
    if boxed:
        cell = min(cell, (tallest - TITLED - COLUMN_NUMBERS) / rows)
    if not part.whole:
        whole = [_whole(part, min(photo, WIDTH / 2 - BETWEEN))]
    elif planes == 3 or 2 * (columns * cell + per_plane) <= WIDTH + BETWEEN:
        whole = [_aligned(_whole(part, cell * max(rows, columns)), numbers)]
    numbers_of = size_text((rows, columns))  # of an image that is not square rows and columns are stated
    numbers_of = numbers_of if rows == columns else f"{counted(rows, 'row')}, {counted(columns, 'column')}"
    name = part.pixels.names if planes == 3 else ("its numbers" if whole else "the numbers",)
    return [
        *whole,
        *(_shifted(titled(each, numbers_of, _plane(part, plane, cell), foot=0), numbers)
          for plane, each in enumerate(name)),
    ]  # fmt: skip


def _row_numbers(part: ImagePart) -> float:
    """The room for the numbers of the rows."""
    return max(NUMBERS, text_width(str(part.rows[-1]), SMALL) + 14)


def _aligned(picture: LabelledPicture, numbers: float) -> LabelledPicture:
    """The image where the cells of a plane are: behind the numbers of its rows, below those of its columns."""
    moved_down = moved(Panel(picture.items, 0, 0), numbers, 0)
    heads = [item for item in moved_down if isinstance(item, Text)]
    others = moved(Panel(tuple(item for item in moved_down if not isinstance(item, Text)), 0, 0), 0, COLUMN_NUMBERS)
    size = picture.size[0] + COLUMN_NUMBERS, picture.size[1]
    return replace(picture, items=(*heads, *others), size=size, width=picture.width + numbers)


def _shifted(picture: LabelledPicture, numbers: float) -> LabelledPicture:
    """The same with its title above the cells, not above the numbers of the rows."""
    head = picture.items[:2] if len(picture.items) > 1 and isinstance(picture.items[1], Text) else picture.items[:1]
    rest = picture.items[len(head) :]
    return replace(picture, items=(*moved(Panel(head, 0, 0), numbers, 0), *rest))


def _plane(part: ImagePart, plane: int, cell: float) -> Panel:
    """The numbers of a plane on its colours, with the numbers of rows and columns."""
    values = part.planes[plane]
    texts = np.array([[f"{value:.0f}" for value in row] for row in values], object)
    cells = Cells(values.astype(np.float64), Tint(float(part.pixels.white)), texts, colours=part.colours[plane])
    widest = Cells(np.zeros((1, 1)), cells.tint, np.array([[str(part.pixels.white)]], object))
    panel = cells_panel(cells, cell, digit_size([cells, widest], cell, DIGITS), DIGITS)
    left = _row_numbers(part)
    items: list[Item] = [*moved(panel, left, COLUMN_NUMBERS)]
    for number, row in enumerate(part.rows):
        y = COLUMN_NUMBERS + (number + 0.5) * cell
        items.append(Text(left - 8, y, str(row), SMALL, DIM, align="right", middle=True))
    step = 1 if text_width("00", SMALL) + 6 <= cell and len(str(part.columns[-1])) < 3 else 2
    if len(str(part.columns[-1])) > 2 and cell < text_width("0000", SMALL) + 8:
        step = 3
    for number, column in enumerate(part.columns):
        if number % step == 0:
            items.append(Text(left + (number + 0.5) * cell, SMALL, str(column), SMALL, DIM, align="center"))
    return Panel(tuple(items), left + panel.width, COLUMN_NUMBERS + panel.height)


def _whole(part: ImagePart, side: float = PHOTO) -> LabelledPicture:
    """The image as it looks, its part in a frame."""
    pixels = part.pixels
    height, width = pixels.size
    factor = side / max(height, width)
    shape = round(height * factor), round(width * factor)
    items: list[Item] = [Raster(_resized(pixels.picture, shape), 0, 0, shape[1], shape[0])]
    items.append(outline(0, 0, shape[1], shape[0], colour=BORDER, line=2.0))
    if not part.whole:
        box = (part.rows[0], part.columns[0], len(part.rows), len(part.columns), factor)
        items += [frame(*box, colour=HALO, width=9), frame(*box, colour=DARK, width=4)]
    return titled("the image", pixels.dimensions, Panel(tuple(items), shape[1], shape[0]), foot=0)


def _resized(pixels: Array, shape: tuple[int, int]) -> Array:
    """A large image smoothly reduced; a small one stays as it is, since its pixels are to be seen."""
    if max(pixels.shape[:2]) <= max(shape):
        return pixels
    from PIL import Image as Pillow

    return np.asarray(Pillow.fromarray(pixels).resize(shape[::-1], Pillow.Resampling.LANCZOS))
