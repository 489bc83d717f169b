"""A page as plain values: texts, rasters and rules at positions in pixels, and the texts above and below a picture.

Layout is arithmetic on these values; only ``figures`` turns them into artists of matplotlib.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from kernelviz.drawing.fonts import drawable as drawable  # noqa: PLC0414  (re-exported for the builders of pages)
from kernelviz.drawing.fonts import drawn_width as drawn_width  # noqa: PLC0414
from kernelviz.drawing.fonts import text_width as text_width  # noqa: PLC0414
from kernelviz.wording import PART, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernelviz.drawing.colour import Content
    from kernelviz.records import Array


# Roles of colours; the look of a picture gives each its colour.
INK = "ink"
GREY = "grey"
QUIET = "quiet"
LINE_HEIGHT = 1.36

Align: TypeAlias = Literal["left", "center", "right"]


@dataclass(frozen=True)
class Text:
    """One line of text; ``x`` is its left, centre or right, as ``align`` states, ``y`` its baseline, or its middle.

    ``colour`` is a role, here and in every other item.
    ``paragraph`` is the whole paragraph of title or caption that begins with this line, for the text alternative.
    """

    x: float
    y: float
    text: str
    size: float
    colour: str = GREY
    bold: bool = False
    align: Align = "left"
    middle: bool = False
    upright: bool = False
    paragraph: str = ""


@dataclass(frozen=True)
class Raster:
    """Pixels in a box; each covers the same whole number of page pixels if the box allows it."""

    content: Content
    left: float
    top: float
    width: float
    height: float

    @cached_property
    def pixels(self) -> Array:
        """(H, W, 3) uint8: as on a page of the look ``page``."""
        from kernelviz.drawing.colour import pixels_in
        from kernelviz.drawing.looks import LOOKS

        return pixels_in(LOOKS["page"], self.content)


@dataclass(frozen=True)
class Rule:
    """A straight line."""

    x0: float
    y0: float
    x1: float
    y1: float
    colour: str = QUIET
    width: float = 1.0


@dataclass(frozen=True)
class Strokes:
    """Straight lines of one kind, each (x0, y0, x1, y1); optionally dashed."""

    lines: tuple[tuple[float, float, float, float], ...]
    colour: str = QUIET
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Shape:
    """A closed polygon: its outline of this width, or its area if the width is 0."""

    points: tuple[tuple[float, float], ...]
    colour: str = INK
    width: float = 0.0


Item: TypeAlias = Text | Raster | Rule | Strokes | Shape


@dataclass(frozen=True)
class Panel:
    """Items in a box with its upper left corner at (0, 0); y grows downwards.

    A whole page also has a function that makes its ``parts``, from which it can be arranged in another way. If it was, and
    shows less than the ordinary page, ``notices`` state what it shows, and ``facts`` are what its recipe has instead of
    the facts of the ordinary page.
    """

    items: tuple[Item, ...]
    width: float
    height: float
    parts: Callable[[], PageParts] | None = field(default=None, compare=False, repr=False)
    notices: tuple[str, ...] = field(default=(), compare=False)
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Box:
    """The space for the body of a page, and the size of the smallest letters in it, in pixels."""

    width: float
    height: float
    smallest: float


@dataclass(frozen=True)
class Body:
    """The picture of a page without its texts, and its notices if they are not those of the page.

    A ``fixed`` one is in whole pixels and must not be scaled. ``facts`` are the entries of the recipe that are different if
    this is what is drawn, such as ``shown``; ``title`` and ``aside`` are those of the page if they are different, too.
    """

    panel: Panel
    notices: tuple[str, ...] | None = None
    fixed: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    aside: str = ""


@dataclass(frozen=True)
class PageParts:
    """The parts of a page.

    Args:
        title: The title; ``aside`` are words that may be beside it.
        body: The picture with its colour bar, as on the page itself.
        aside: The view or the settings; ``source`` is the model with its weights.
        source: As above.
        identity: The line below the title.
        caption: The lines below the picture.
        notices: Of the lines those that change the meaning: what is missing, clipped, or not finite.
        versions: Functions that lay the body out for a box, from the whole body to less and less of it. What they
            return is scaled to the box; the first whose letters are large enough is drawn.
        hint: What to choose if none is.
        size: Of the letters of the title.
        facts: What the recipe states of this picture, as ``facts`` of a Body.
    """

    title: str
    body: Panel
    aside: str = ""
    source: str = ""
    identity: str = ""
    caption: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    versions: tuple[Callable[[Box], Body], ...] = ()
    hint: str = "Draw a page: --look page."
    size: float = 40.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines around the picture that a look may leave out, each once."""
        lines = dict.fromkeys(line for line in (self.identity, *self.caption, *self.notices) if line)
        return tuple(line for line in lines if not any(line != other and line in other for other in lines))


def whole_body(
    title: str, items: Sequence[Item], box: tuple[float, float, float, float], *, source: str = "", identity: str = "",
    lines: Sequence[str] = (), notices: Sequence[str] = (), size: float = 40.0,
) -> PageParts:  # fmt: skip
    """The parts of a page whose picture is drawn as a whole: the items in a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    body = Panel(moved(Panel(tuple(items), 0, 0), -left, -top), right - left, bottom - top)
    return PageParts(
        title, body, source=source, identity=identity, caption=tuple(lines), notices=tuple(notices),
        versions=(lambda _: Body(body),), size=size,
    )  # fmt: skip


def scaled(panel: Panel, factor: float) -> Panel:
    """A panel of another size, with all that is in it."""
    result: list[Item] = []
    for item in panel.items:
        match item:
            case Text():
                size = scaled_size(item, factor)
                result.append(replace(item, x=item.x * factor, y=item.y * factor, size=size))
            case Raster():
                box = {side: getattr(item, side) * factor for side in ("left", "top", "width", "height")}
                result.append(replace(item, **box))
            case Rule():
                ends = {end: getattr(item, end) * factor for end in ("x0", "y0", "x1", "y1", "width")}
                result.append(replace(item, **ends))
            case Strokes():
                lines = tuple((x0 * factor, y0 * factor, x1 * factor, y1 * factor) for x0, y0, x1, y1 in item.lines)
                result.append(replace(item, lines=lines, width=item.width * factor))
            case Shape():
                points = tuple((x * factor, y * factor) for x, y in item.points)
                result.append(replace(item, points=points, width=item.width * factor))
    return Panel(tuple(result), panel.width * factor, panel.height * factor)


def scaled_size(item: Text, factor: float) -> float:
    """The size of a scaled text; of large letters a little less where hinting would make it too wide for its place."""
    size = item.size * factor
    if size < 22 or item.align != "left" or factor == 1:
        return size
    room = factor * drawn_width(item.text, item.size, bold=item.bold) + 1
    smaller = (size * (1 - 0.01 * less) for less in range(8))
    return next((each for each in smaller if drawn_width(item.text, each, bold=item.bold) <= room), size)


def item_bottom(item: Item) -> float:
    """The y at which an item ends."""
    match item:
        case Text():
            return item.y + (0.6 if item.middle else 0.3) * item.size
        case Raster():
            return item.top + item.height
        case Rule():
            return max(item.y0, item.y1)
        case Strokes():
            return max(max(y0, y1) for _, y0, _, y1 in item.lines)
        case Shape():
            return max(y for _, y in item.points)


def right_end(items: Sequence[Item]) -> float:
    """The x at which the last of the texts ends; 0 without any."""
    shares = {"left": 1.0, "center": 0.5, "right": 0.0}
    ends = (
        item.x + shares[item.align] * text_width(item.text, item.size, bold=item.bold)
        for item in items
        if isinstance(item, Text) and not item.upright
    )
    return max(ends, default=0.0)


def smallest_text(panel: Panel) -> float:
    """The size of the smallest letters of a panel; infinite without any."""
    return min((item.size for item in panel.items if isinstance(item, Text)), default=math.inf)


def moved(panel: Panel, x: float, y: float) -> tuple[Item, ...]:
    """The items of a panel with its upper left corner moved to (x, y)."""
    result: list[Item] = []
    for item in panel.items:
        match item:
            case Text():
                result.append(replace(item, x=item.x + x, y=item.y + y))
            case Raster():
                result.append(replace(item, left=item.left + x, top=item.top + y))
            case Rule():
                result.append(replace(item, x0=item.x0 + x, y0=item.y0 + y, x1=item.x1 + x, y1=item.y1 + y))
            case Strokes():
                lines = tuple((x0 + x, y0 + y, x1 + x, y1 + y) for x0, y0, x1, y1 in item.lines)
                result.append(replace(item, lines=lines))
            case Shape():
                result.append(replace(item, points=tuple((px + x, py + y) for px, py in item.points)))
    return tuple(result)


def wrap(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """Break a text into lines of at most this width; nothing is left out.

    Lines are broken after spaces; a word wider than a line also after dots, underscores, slashes and hyphens, then
    anywhere.
    """
    lines, line = [], ""
    for piece in _pieces(text, size, width, bold=bold):
        if not piece.strip() or text_width(line + piece, size, bold=bold) <= width:
            line += piece
            continue
        if line.strip():
            lines.append(line.strip())
        line = piece
    return [*lines, line.strip()] if line.strip() else lines


def _pieces(text: str, size: float, width: float, *, bold: bool) -> Iterator[str]:
    """The unbreakable pieces: spaces, words, the parts of words that are too wide, the letters of parts that are."""
    for word in re.findall(r"\s+|\S+", text):
        wide = text_width(word, size, bold=bold) > width
        for part in re.findall(r"[^._/-]*[._/-]+|[^._/-]+", word) if wide else [word]:
            whole = not part.strip() or text_width(part, size, bold=bold) <= width
            yield from [part] if whole else part


def text_block(
    lines: list[str],
    x: float,
    y: float,
    size: float,
    *,
    colour: str = GREY,
    bold: bool = False,
    paragraph: str = "",
) -> tuple[list[Item], float]:
    """Lines below each other from the top ``y``, and the y below the last one; ``paragraph`` is as in ``Text``."""
    step = size * LINE_HEIGHT
    items: list[Item] = [
        Text(x, y + size + step * i, line, size, colour, bold, paragraph="" if i else visible(paragraph))
        for i, line in enumerate(lines)
    ]
    return items, y + step * len(lines)


def paragraphs(page: Panel) -> tuple[str, ...]:
    """The title of a page and the paragraphs of its caption: its text alternative."""
    return tuple(item.paragraph for item in page.items if isinstance(item, Text) and item.paragraph)


PAGE_WIDTH = 1600.0  # of a page that is not as wide as its tiles
CONTENT = 1440  # pixels: the width that a mosaic aims for, and that the sizes below are meant for
TITLE, IDENTITY, CAPTION, LABEL = 40.0, 27.0, 25.0, 25.0
MARGIN = 56.0
BAR_WIDTH, BAR_HEIGHT = 330.0, 15.0  # of a colour bar
OUTLINE = "outline"  # around a picture
SEPARATOR = "separator"  # the line between parts of a page


def heading(title: str, identity: str, at: tuple[float, float], width: float, unit: float) -> tuple[list[Item], float]:
    """The bold title and the grey line under it from (x, y) on, and the y below them."""
    x, y = at
    text = drawable(title, bold=True)
    size = TITLE * unit * max(0.7, min(1.0, width / max(1.0, text_width(text, TITLE * unit, bold=True))))
    lines = balanced(text, size, width, bold=True)
    first, y = text_block(lines, x, y, size, colour=INK, bold=True, paragraph=title)
    lines = fitted(drawable(identity), IDENTITY * unit, width)
    second, y = text_block(lines, x, y + 4 * unit, IDENTITY * unit, paragraph=identity)
    return first + second, y


UNTRAINED = "not trained"
BADGE, BADGE_INK = "badge", "badge ink"
BADGE_SHARE = 0.0185  # of a page's width: the size of the badge's letters, nearly 12 pixels at a width of 640


def badge(size: float) -> Panel:
    """The badge of pictures of random weights, in letters of this size: a filled label with rounded ends."""
    tall = float(round(1.7 * size))
    wide, radius = round(text_width(UNTRAINED, size, bold=True) + 1.5 * size), tall / 2
    turns = [math.pi * (0.5 + step / 12) for step in range(13)]
    left = [(radius + radius * math.cos(turn), radius - radius * math.sin(turn)) for turn in turns]
    outline = (*left, *((wide - x, tall - y) for x, y in left))
    word = Text(
        wide / 2, tall / 2, UNTRAINED, size, BADGE_INK, bold=True, align="center", middle=True, paragraph=UNTRAINED
    )
    return Panel((Shape(outline, BADGE), word), wide, tall)


def badged(page: Panel) -> Panel:
    """The page with the badge after its title, which is its first item; below it if there is no room beside it."""
    first = page.items[0]
    if not isinstance(first, Text):
        raise TypeError(first)
    label = badge(max(0.7 * first.size, BADGE_SHARE * page.width))
    alike = takewhile(lambda item: isinstance(item, Text) and (item.x, item.size) == (first.x, first.size), page.items)
    title: list[Item] = list(alike)
    y = max(line.y for line in title if isinstance(line, Text))
    title += [item for item in page.items[len(title) :] if isinstance(item, Text) and item.y == y]  # beside the title
    line = [item for item in title if isinstance(item, Text) and item.y == y]
    end = max(item.x + text_width(item.text, item.size, bold=item.bold) for item in line) + 0.6 * first.size
    middle = y - 0.36 * first.size  # of its capitals
    if end + label.width <= page.width - min(first.x, 0.05 * page.width):
        return replace(page, items=(*page.items, *moved(label, end, round(middle - label.height / 2))))
    down = label.height + 0.3 * first.size
    rest = tuple(item for item in page.items if item not in title)
    items = (*title, *moved(label, first.x, y + 0.36 * first.size), *moved(Panel(rest, 0, 0), 0, round(down)))
    return Panel(items, page.width, page.height + round(down))


def caption_block(
    caption: Sequence[str], at: tuple[float, float], width: float, unit: float
) -> tuple[list[Item], float]:
    """The lines of a caption from (x, y) on, and the y below them."""
    size, (x, y) = CAPTION * unit, at
    items: list[Item] = []
    for part in caption:
        more, y = text_block(balanced(drawable(part), size, width), x, y, size, paragraph=part)
        items += more
    return items, y


def balanced(text: str, size: float, width: float, *, bold: bool = False) -> list[str]:
    """The lines of a text, broken earlier if the last one would be a single word or less than a third of a line."""
    breaks = partial(wrap, bold=True) if bold else fitted
    best = lines = whole = breaks(text, size, width)
    if whole and whole[-1] in text.split(PART):  # it is broken between its parts
        return whole
    least = width / 3
    while len(lines) == len(whole) > 1 and width > 0:
        if " " in lines[-1]:
            best = lines
            if text_width(lines[-1], size, bold=bold) >= least:
                break
        width -= 0.2 * size
        lines = breaks(text, size, width)
    return best


@dataclass(frozen=True)
class BarStyle:
    """How a colour bar and its labels look, in pixels.

    ``height`` is that of one strip, ``size`` that of the labels, whose baseline is ``drop`` below the lowest strip. The
    middle label is drawn if more than ``clear`` is free on both sides of its position. ``tick`` is the length of the
    ticks; without ``end_ticks`` the two ends have none. ``whole`` strips end at a whole pixel.
    """

    height: float
    size: float
    drop: float
    clear: float
    tick: float = 0.0
    line: float = 1.0
    end_ticks: bool = True
    whole: bool = False
    colour: str = QUIET


def colour_bar(
    strips: Sequence[Content],
    ends: tuple[str, str],
    style: BarStyle,
    *,
    left: float = 0.0,
    top: float = 0.0,
    right: float,
    middle: float | None = None,
    middle_label: str = "0",
    pitch: float | None = None,
) -> tuple[list[Item], float]:
    """A colour bar, and the y of its labels' baseline.

    Args:
        strips: The pixels of each strip, one row; they are below each other, ``pitch`` apart, touching without it.
        ends: The labels of the left and the right end; an empty one is left out, with its tick.
        style: Sizes and distances.
        left: Where the strips begin.
        top: Where the first strip begins.
        right: Where the strips end.
        middle: The x of the middle label; None for no such label.
        middle_label: Its text.
        pitch: From the top of one strip to the top of the next.
    """
    tops = [top + number * (style.height if pitch is None else pitch) for number in range(len(strips))]
    width = int(right - left) if style.whole else right - left
    items: list[Item] = [Raster(strip, left, y, width, style.height) for strip, y in zip(strips, tops, strict=True)]
    bottom = tops[-1] + style.height
    low, high = (text_width(end, style.size) for end in ends)
    labels: list[tuple[float, str, Align, bool]] = [(left, ends[0], "left", style.end_ticks)]
    if middle is not None and min(middle - left - low, right - middle - high) > style.clear:
        labels.append((middle, middle_label, "center", True))
    labels.append((right, ends[1], "right", style.end_ticks))
    for x, text, align, ticked in labels:
        if text and ticked and style.tick:
            items.append(Rule(x, bottom, x, bottom + style.tick, width=style.line))
        if text:
            items.append(Text(x, bottom + style.drop, text, style.size, style.colour, align=align))
    return items, bottom + style.drop


def outline(left: float, top: float, width: float, height: float, *, colour: str = OUTLINE, line: float = 1.0) -> Shape:
    """The outline of a box; its area if ``line`` is 0."""
    right, bottom = left + width, top + height
    return Shape(((left, top), (right, top), (right, bottom), (left, bottom)), colour, line)


def fitted(text: str, size: float, width: float) -> list[str]:
    """Break a line that does not fit, first between its parts."""
    lines: list[str] = []
    for part in text.split(PART):
        joined = f"{lines[-1]}{PART}{part}" if lines else part
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines += wrap(part, size, width)
    return lines
