"""The filter bank as one picture, and images beside their filter responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kernelviz.drawing.captions import outside_text
from kernelviz.drawing.colour import (
    INKS,
    LEVELS,
    OUTLINE,
    ColourTiles,
    Indexed,
    Ramp,
    Scale,
    bar_levels,
    levels,
    rgb_pixels,
)
from kernelviz.drawing.looks import find_look
from kernelviz.drawing.page import (
    INK,
    LINE_HEIGHT,
    PAGE_WIDTH,
    SEPARATOR,
    TITLE,
    BarStyle,
    Body,
    Item,
    PageParts,
    Panel,
    Raster,
    Rule,
    Text,
    colour_bar,
    drawable,
    moved,
    smallest_text,
    text_block,
    text_width,
    wrap,
)
from kernelviz.drawing.worksheets import Tint, page_tint
from kernelviz.filters.bank import ALIKE, QUARTERS, Filter, classical_filters, name_and_position
from kernelviz.filters.filtering import Response, seen_by
from kernelviz.filters.matching import colour_directions
from kernelviz.version import __version__
from kernelviz.wording import PART, number_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.looks import LookName
    from kernelviz.drawing.page import Box
    from kernelviz.records import Array, Source

    Part: TypeAlias = tuple[slice, slice]
    FurtherPanels: TypeAlias = Callable[[Part, int, float, float], "Further"]


EDGE = 2  # pixels of outline around a tile


@dataclass(frozen=True)
class Further:
    """Panels after those of the responses, as head and body: the lines that explain them, and what is clipped in them."""

    panels: Sequence[tuple[Panel, Panel]] = ()
    notes: Sequence[str] = ()
    clipped: Sequence[str] = ()


def zoom_for(side: int, room: float) -> int:
    """The pixels per value at which ``side`` values fill about this width."""
    return max(1, round(room / side))


def stamp(
    values: Array, x: float, y: float, zoom: int, cmap: str | None = None, *, limit: float | None = None
) -> Raster:
    """A tile of (h, w) values in its own symmetric range, or of (3, h, w) as colour, with an outline, at (x, y).

    With a ``limit`` the range is from −limit to limit.
    """
    finite = np.where(np.isfinite(values), values, 0)
    limit = (float(np.abs(finite).max(initial=0)) if limit is None else limit) or 1.0
    scale = Scale("layer", -1.0, 1.0, signed=True)
    shares = finite / limit
    if values.ndim == 3:
        return framed(rgb_pixels(np.moveaxis(shares, 0, -1)[None], scale)[0], x, y, zoom)
    return framed(Indexed(levels(shares[None], scale)[0], Ramp(cmap, signed=True)), x, y, zoom)


def framed(shown: Array | Indexed, x: float, y: float, zoom: int, *, grid: bool = False) -> Raster:
    """Pixels (H, W, 3) or indices (H, W), each ``zoom`` page pixels wide, with an outline.

    With ``grid`` there is a line above and to the left of each of them, too.
    """
    small = shown.index if isinstance(shown, Indexed) else shown
    ink = OUTLINE if isinstance(shown, Indexed) else INKS[OUTLINE]
    large = np.repeat(np.repeat(small, zoom, axis=0), zoom, axis=1)
    if grid:
        large[::zoom], large[:, ::zoom] = ink, ink
    down, across = (np.pad(np.repeat(np.arange(size), zoom), EDGE, constant_values=-1) for size in small.shape[:2])
    result = np.empty((len(down), len(across), *small.shape[2:]), np.uint8)
    result[:] = ink
    result[EDGE:-EDGE, EDGE:-EDGE] = large
    cells = down, across
    content = Indexed(result, shown.palette, cells) if isinstance(shown, Indexed) else ColourTiles(result, cells)
    return Raster(content, x, y, len(across), len(down))


def own_scale_bar(right: float, y: float) -> list[Item]:
    """The colour bar of tiles that each have their own scale, ending at ``right``."""
    width = 12 * TYPE
    strip = bar_levels(-1, 1, int(width), signed=True)
    clear = 0.4 * TYPE + text_width("0", TYPE) / 2
    style = BarStyle(0.6 * TYPE, TYPE, 12 + 0.8 * TYPE, clear=clear, tick=6)
    left = right - width
    return colour_bar([strip], ("−max", "+max"), style, left=left, top=y, right=right, middle=left + width / 2)[0]


HEAD, ROOM, TILE_GAP, NAMES = 30.0, 58.0, 10.0, 330.0
SWATCH, ACROSS = 32, 5
_DIRECTION = re.compile(r"(vertical|horizontal|diagonal \([/\\]\)) ")
TALLEST, ALL_OF = 2330.0, 7  # up to this size every filter is drawn
KINDS = {"line end": "line ends", "pixel": "pixels", "gabor": "Gabor functions"}


def plot_filters(size: int = 3, *, look: LookName = "page", caption: bool = True) -> PageFigure:
    """Draw all classical filters of one size.

    ``look`` is ``page``, ``slide``, ``dark`` or ``print``; ``caption=False`` leaves out identity and caption.

    Raises:
        UsageError: There are none of this size.

    Example:
        >>> figure = kernelviz.plot_filters(2)
    """
    from kernelviz.drawing.figures import draw_page

    recipe = {"command": "filter", "layer": None, "view": f"bank-{size}", "image": None}
    return draw_page(bank_page(size), recipe, find_look(look, caption=caption))


def bank_page(size: int) -> Panel:
    """The page: kinds as headings, one row per stem, and below them the colours."""
    filters = [one for one in classical_filters(size) if "@" not in one.name]
    title = f"Classical filters of {size} × {size}"
    items, y = text_block([title], MARGIN, 0.7 * MARGIN, TITLE, colour=INK, bold=True, paragraph=title)
    rows, y, shown = _bank_rows(filters, y, TALLEST if size <= ALL_OF else TALLEST - 250)
    items += rows
    more, y = _colours(y)
    items += more
    y += 20
    items.append(Rule(MARGIN, y, PAGE_WIDTH - MARGIN, y, SEPARATOR, 2))
    items += own_scale_bar(PAGE_WIDTH - MARGIN, y + 34)
    smaller = size > 3 and size % 2 == 1
    lines = [
        "one colour scale per tile; filters are not flipped",
        "colours: both ends, + and −, of each colour direction of three-channel kernels",
        f"filters with |cosine| above {ALIKE:g} form a family: kernels of this size do not distinguish them",
        *([f"{shown} of {len(filters)} filters are drawn"] if shown < len(filters) else []),
        *(["also available: filters of smaller odd sizes, centred, such as sobel-x@3"] if smaller else []),
    ]
    for line in lines:
        broken = wrap(line, TYPE, PAGE_WIDTH - 2 * MARGIN - 14 * TYPE)
        more, y = text_block(broken, MARGIN, y + (18 if line == lines[0] else 0), TYPE, paragraph=line)
        items += more
    parts = partial(_bank_parts, filters, title, lines, TALLEST if size <= ALL_OF else TALLEST - 250)
    return Panel(tuple(items), PAGE_WIDTH, float(round(y + 0.6 * MARGIN)), parts)


def _bank_parts(filters: list[Filter], title: str, lines: list[str], tallest: float) -> PageParts:
    def body(tallest: float, *, whole: bool) -> Body:
        items, y, shown = _bank_rows(filters, 0.0, tallest)
        if whole:
            more, y = _colours(y)
            items += more
        items += own_scale_bar(PAGE_WIDTH - MARGIN, y + 20)
        panel = Panel(moved(Panel(tuple(items), 0, 0), -MARGIN, 0), PAGE_WIDTH - 2 * MARGIN, y + 20 + 2.4 * TYPE)
        cut = (f"{shown} of {len(filters)} filters",) if shown < len(filters) else ()
        return Body(panel, cut, facts={"shown": shown, "total": len(filters)})

    versions = (lambda _: body(tallest, whole=True), partial(_bank_grid, filters))
    return PageParts(title, body(tallest, whole=True).panel, "", "", "", tuple(lines), (), versions)


def _bank_grid(filters: list[Filter], box: Box) -> Body:
    """As many filters as fit in a box, each with its name below."""
    share = TYPE / (1.01 * box.smallest)
    width, height = box.width * share, box.height * share - 3.4 * TYPE
    zoom = max(1, int(1.4 * ROOM // len(filters[0].values)))
    side = len(filters[0].values) * zoom + 2 * EDGE
    pitch, down = max(side, *(text_width(one.name, TYPE) for one in filters)) + 22, side + 1.3 * TYPE + 18
    across, rows = max(1, int((width + 22) // pitch)), max(1, int((height + 18) // down))
    items: list[Item] = []
    for at, one in enumerate(filters[: across * rows]):
        x, y = round(at % across * pitch), round(at // across * down)
        items += [stamp(one.values, x, y, zoom), Text(x, y + side + 1.1 * TYPE, one.name, TYPE)]
    lines = -(-min(len(filters), across * rows) // across)
    right, foot = across * pitch - 22, lines * down - 18
    items += own_scale_bar(right, foot + TYPE)
    cut = (f"{across * rows} of {len(filters)} filters",) if across * rows < len(filters) else ()
    facts = {"shown": min(len(filters), across * rows), "total": len(filters)}
    return Body(Panel(tuple(items), right, foot + 3.4 * TYPE), cut, facts=facts)


def _bank_rows(filters: list[Filter], y: float, tallest: float) -> tuple[list[Item], float, int]:
    """One row per stem under headings of their kinds, from this y to about the other; the y below, and their number."""
    items: list[Item] = []
    kind = previous = ""
    shown = 0
    for stem in dict.fromkeys(one.stem for one in filters):
        if y > tallest:
            break
        rows = [one for one in filters if one.stem == stem]
        if rows[0].kind != kind:
            kind = rows[0].kind
            more, y = _heading(KINDS.get(kind, f"{kind}s"), y)
            items += more
        shown += len(rows)
        more, y = _row(rows, y)
        items += [item for item in more if not (isinstance(item, Text) and item.text == previous)]
        previous = more[-1].text if isinstance(more[-1], Text) else previous
    return items, y, shown


def _heading(words: str, y: float) -> tuple[list[Item], float]:
    rule = Rule(MARGIN, y + 10, PAGE_WIDTH - MARGIN, y + 10, SEPARATOR, 2)
    return [rule, Text(MARGIN, y + 48, words, HEAD, INK, bold=True)], y + 62


def _colours(y: float) -> tuple[list[Item], float]:
    """Each direction in colour: what it reads as positive, what as negative, and its name."""
    items, y = _heading("colours", y)
    directions = colour_directions()
    pitch = (PAGE_WIDTH - 2 * MARGIN) / ACROSS
    side = SWATCH + 2 * EDGE
    for at, one in enumerate(directions):
        down, right = divmod(at, ACROSS)
        x, top = round(MARGIN + right * pitch), round(y + down * (side + TILE_GAP))
        weights = np.array(one.weights)[:, None, None]
        items += [stamp(weights, x, top, SWATCH), stamp(-weights, x + side + 4, top, SWATCH)]
        items.append(Text(x + 2 * side + 16, top + side / 2, one.name, TYPE, INK, middle=True))
    return items, y + ((len(directions) - 1) // ACROSS + 1) * (side + TILE_GAP)


def _labels(filters: list[Filter]) -> tuple[str, str]:
    """The first name of a row, and how the others are written, so that each can be typed."""
    names = [one.name for one in filters]
    if len(names) == 1:
        return names[0], ""
    if len(names) > len(QUARTERS) or filters[0].stem.startswith("gabor"):
        return names[0], f"… {names[-1]}"
    stem = filters[0].stem
    return names[0], ", ".join(name.removeprefix(stem) for name in names[1:])


def _row(filters: list[Filter], y: float) -> tuple[list[Item], float]:
    """The names on the left, then the filters in as many lines as needed, then their purpose."""
    size = len(filters[0].values)
    zoom = max(1, int(ROOM // size))
    tile = size * zoom + 2 * EDGE
    first, others = _labels(filters)
    middle = y + tile / 2 - (0.55 * TYPE if others else 0)
    items: list[Item] = [Text(MARGIN, middle, first, TYPE, INK, bold=True, middle=True)]
    if others:
        items.append(Text(MARGIN, middle + 1.15 * TYPE, others, TYPE, middle=True))
    left = MARGIN + NAMES
    across = max(1, int((PAGE_WIDTH - MARGIN - left + TILE_GAP) // (tile + TILE_GAP)))
    for at, one in enumerate(filters):
        down, right = divmod(at, across)
        items.append(
            stamp(one.values, round(left + right * (tile + TILE_GAP)), round(y + down * (tile + TILE_GAP)), zoom)
        )
    below = y + max(((len(filters) - 1) // across + 1) * (tile + TILE_GAP), 2.7 * TYPE if others else 0)
    about = _DIRECTION.sub("", filters[0].about)
    x = left + min(len(filters), across) * (tile + TILE_GAP) + 12
    if filters[0].family != filters[0].stem:
        about += f" (family {filters[0].family})"
    if x + text_width(about, TYPE) <= PAGE_WIDTH - MARGIN:
        items.append(Text(x, y + tile / 2, about, TYPE, middle=True))
    return items, below


MARGIN, GAP, TYPE, NAME = 52.0, 48.0, 25.0, 29.0
COLUMN = {1: 720.0, 2: 600.0, 3: 466.0, 4: 392.0}  # of a column, in units of type, by how many there are
BLOCK, BLOCKS = 180.0, 150.0  # of a kernel, and of one of three beside each other
NARROWEST = 140.0  # of the texts beside a kernel; with less room they are below it
SMALLEST_TYPE = 23.0
QUANTILE = 0.99
MOST_PIXELS = 4_000_000


def filter_recipe(responses: Sequence[Response]) -> dict[str, object]:
    """The recipe of the picture; it contains no path."""
    models, entry = [source.as_recipe() for source in _sources(responses)], preprocessing_entry(responses)
    return {
        "kernelviz": __version__,
        "command": "filter",
        "model": models[0] if len(models) == 1 else models or None,
        "image": None,
        "view": [each.name for each in responses],
        "border": responses[0].border,
        "kernels": [each.kernel.tolist() for each in responses],
        **({"preprocessing": entry} if entry else {}),
    }


def preprocessing_entry(responses: Sequence[Response]) -> dict[str, object] | list[dict[str, object]] | None:
    """``mean`` and ``std`` of the networks whose kernels read the colours as these do; a list if there are several.

    Nothing is resized; other kernels read luma from 0 to 1.
    """
    sources = _sources([each for each in responses if each.source and each.kernel.ndim == 3])
    entries = [entry for source in sources if (entry := source.preprocessing_entry())]
    found = [{key: entry[key] for key in ("mean", "std", "chosen", "guessed")} for entry in entries]
    return found[0] if len(found) == 1 else found or None


def _sources(responses: Sequence[Response]) -> list[Source]:
    """The sources of the learned kernels, each once."""
    return list({each.source.label: each.source for each in responses if each.source}.values())


def filter_page(responses: Sequence[Response], title: str = "", more: FurtherPanels | None = None) -> Panel:
    """The page, with ``title``, the size of the image and the sources of learned kernels at the top.

    ``more`` returns the further panels of the part, the zoom, the unit and the width of the others.
    """
    rows, columns = responses[0].values.shape
    share = 1.0
    while True:
        part = (slice_of(rows, share), slice_of(columns, share))
        page = _page(responses, part, title, more)
        area = page.width * page.height
        if area <= MOST_PIXELS or (part[0].stop - part[0].start) * (part[1].stop - part[1].start) <= 64**2:
            return page
        share *= min(0.95, float(np.sqrt(MOST_PIXELS / area)))


def slice_of(length: int, share: float) -> slice:
    """The middle share of ``length`` pixels."""
    kept = max(1, round(length * share))
    return slice((length - kept) // 2, (length - kept) // 2 + kept)


def _page(
    responses: Sequence[Response], part: tuple[slice, slice], title: str, more: FurtherPanels | None = None
) -> Panel:
    rows, columns = (each.stop - each.start for each in part)
    zoom = max(1, 440 // max(rows, columns))
    across = _across(len(responses))
    width = max(columns * zoom + 2 * EDGE, 280, *(each.kernel.shape[-1] + 2 * EDGE for each in responses))
    unit = width / COLUMN[across]
    panels = [_image_panel(seen_by(responses), part, zoom, unit, width)]
    tint = page_tint(*(each.kernel for each in responses))
    look = KernelLook(tint, _kernel_side(responses, unit, width), several=len(responses) > 1)
    panels += [_response_panel(each, part, zoom, unit, width, look=look) for each in responses]
    further = more(part, zoom, unit, width) if more else Further()
    panels += further.panels
    margin, gap = MARGIN * unit, GAP * unit
    inner = across * width + (across - 1) * gap
    whole = responses[0].values.shape
    heading = ", ".join([f"{whole[1]:,} × {whole[0]:,} pixels", *(one.short_label for one in _sources(responses))])
    name = drawable(title or "Filters", bold=True)
    items, y = text_block(
        wrap(name, TITLE * unit, inner, bold=True), margin, 0.7 * margin, TITLE * unit, colour=INK, bold=True,
        paragraph=title or "Filters",
    )  # fmt: skip
    lines = wrap(drawable(heading), TYPE * unit, inner)
    block, y = text_block(lines, margin, y + 2 * unit, TYPE * unit, paragraph=heading)
    items += block
    y = float(round(y + 24 * unit))
    body, y = _columns(panels, across, (margin, y), width, unit)
    items += body
    lines = [*_caption(responses, part, zoom), *further.notes]
    for text in lines:
        block, y = text_block(prose(text, TYPE * unit, inner), margin, y, TYPE * unit, paragraph=text)
        items += block
    if more:
        parts = partial(
            _parts_with_further, responses, panels, title, lines, further=further, more=more, unit=unit, width=width
        )
    else:
        parts = partial(_parts, responses, panels, title or "Filters", lines, unit=unit, width=width)
    return Panel(tuple(items), float(round(inner + 2 * margin)), float(round(y + 0.6 * margin)), parts)


def _parts(
    responses: Sequence[Response], panels: list[tuple[Panel, Panel]], title: str, lines: list[str], *, unit: float,
    width: float,
) -> PageParts:  # fmt: skip
    whole, total = responses[0].values.shape, len(responses)

    def body(kept: int) -> Panel:
        return _body(panels[: kept + 1], width, unit)

    def as_body(panel: Panel, kept: int, *more: str) -> Body:
        cut = [f"{kept} of {total} filters"] if kept < total else []
        return Body(panel, (*cut, *more, *_clipped_texts(responses[:kept])), facts={"shown": kept, "total": total})

    def boxed(_: Box, kept: int) -> Body:
        return as_body(body(kept), kept)

    def cropped(box: Box, kept: int) -> Body:
        def draw(part: Part) -> Panel:
            page = _page(responses[:kept], part, title).parts
            return page().body if page else Panel((), 1, 1)

        panel, middle = _middle_part(draw, whole, box)
        return as_body(panel, kept, *middle)

    counts, sources = range(total, 0, -1), ", ".join(one.short_label for one in _sources(responses))
    return PageParts(
        title, body(total), "", sources, f"{whole[1]:,} × {whole[0]:,} pixels",
        tuple(lines), _clipped_texts(responses),
        (*(partial(boxed, kept=kept) for kept in counts), *(partial(cropped, kept=kept) for kept in (min(2, total), 1))),
        "Choose fewer filters, or smaller ones.", TITLE * unit,
    )  # fmt: skip


def _parts_with_further(
    responses: Sequence[Response], panels: list[tuple[Panel, Panel]], title: str, lines: list[str], *,
    further: Further, more: FurtherPanels, unit: float, width: float,
) -> PageParts:  # fmt: skip
    """The parts of a page with further panels: if not all have space, these remain, since the title names them."""
    whole, total = responses[0].values.shape, len(panels) - 1
    clipped = (*_clipped_texts(responses), *further.clipped)

    def all_of(_: Box) -> Body:
        return Body(_body(panels, width, unit), clipped, facts={"shown": total, "total": total})

    def only_further(box: Box) -> Body:
        def draw(part: Part) -> Panel:
            rows, columns = (each.stop - each.start for each in part)
            zoom = max(1, 440 // max(rows, columns))
            wide = max(columns * zoom + 2 * EDGE, 280)
            scale = wide / COLUMN[_across(len(further.panels))]
            image = _image_panel(seen_by(responses), part, zoom, scale, wide)
            return _body([image, *more(part, zoom, scale, wide).panels], wide, scale)

        panel, middle = _middle_part(draw, whole, box)
        without = f"without the panels of {' and '.join(each.name for each in responses)}"
        facts = {"shown": len(further.panels), "total": total}
        return Body(panel, (*middle, without, *further.clipped), facts=facts)

    return PageParts(
        title, _body(panels, width, unit), "", "", f"{whole[1]:,} × {whole[0]:,} pixels", tuple(lines), clipped,
        (all_of, only_further), "Choose a smaller image.", TITLE * unit,
    )  # fmt: skip


def _middle_part(draw: Callable[[Part], Panel], whole: tuple[int, int], box: Box) -> tuple[Panel, list[str]]:
    """What is drawn of the middle of an image, as large as fits in a box, and the line that states it."""
    share = 1.0
    while True:
        part = (slice_of(whole[0], share), slice_of(whole[1], 1.0))
        panel = draw(part)
        factor = min(box.width / panel.width, box.height / panel.height)
        if smallest_text(panel) * factor >= box.smallest or share < 0.1:
            rows, columns = (each.stop - each.start for each in part)
            line = f"the middle {columns:,} × {rows:,} of {whole[1]:,} × {whole[0]:,}"
            return panel, [line] if share < 1 else []
        share *= 0.9


def _body(panels: list[tuple[Panel, Panel]], width: float, unit: float) -> Panel:
    """The image and the other panels, without the texts of the page."""
    across = _across(len(panels) - 1)
    items, y = _columns(panels, across, (0.0, 0.0), width, unit)
    return Panel(tuple(items), across * width + (across - 1) * GAP * unit, y)


def _columns(
    panels: list[tuple[Panel, Panel]], across: int, at: tuple[float, float], width: float, unit: float
) -> tuple[list[Item], float]:
    """The image in the first column and the responses in the others, from (x, y) on; and the y below them."""
    (margin, y), gap = at, GAP * unit
    items: list[Item] = []
    for start in range(1, len(panels), across - 1):  # the column below the image stays empty
        shelf = list(enumerate(panels[start : start + across - 1], 1))
        shelf = [(0, panels[0]), *shelf] if start == 1 else shelf
        heads = max(head.height for _, (head, _) in shelf)
        for column, (head, body) in shelf:
            x = float(round(margin + column * (width + gap)))
            items += moved(head, x, y)
            items += moved(body, x, float(round(y + heads)))
        y = float(round(y + heads + max(body.height for _, (_, body) in shelf) + 24 * unit))
    return items, y


def _across(responses: int) -> int:
    """The number of columns: the image, and the responses in full rows."""
    return 3 if responses == 4 else min(3, responses) + 1


def _image_panel(image: Array, part: tuple[slice, slice], zoom: int, unit: float, width: float) -> tuple[Panel, Panel]:
    shown = np.clip(image[part], 0, 1)
    pixels = np.rint(255 * (shown if shown.ndim == 3 else shown[:, :, None].repeat(3, axis=2))).astype(np.uint8)
    picture = framed(pixels, 0, 0, zoom)
    foot = picture.height + 10 * unit
    words = ["the image, 0 to 1"]
    beyond = int(np.count_nonzero((image < 0) | (image > 1)))
    if beyond:
        low, high = number_text(float(image.min())), number_text(float(image.max()))
        words.append(f"{beyond:,} of {image.size:,} values outside, from {low} to {high}")
    lines = [line for text in words for line in prose(text, TYPE * unit, width)]
    items, y = text_block(lines, 0, foot, TYPE * unit)
    return Panel((), 0, 0), Panel((picture, *items), picture.width, y)


def _response_panel(
    response: Response, part: tuple[slice, slice], zoom: int, unit: float, width: float, *, look: KernelLook
) -> tuple[Panel, Panel]:
    """The kernel with its name on top, the response with its colour bar below."""
    block = _kernel_items(response.kernel, unit, look)
    side = max(item.left + item.width for item in block if isinstance(item, Raster))
    foot = max(item.top + item.height for item in block if isinstance(item, Raster))
    x, y, room = side + 22 * unit, 0.0, width - side - 22 * unit
    if room < NARROWEST * unit:
        x, y, room = 0.0, foot + 12 * unit, width
    about = response.about
    if response.agreement is not None:
        about += f"; correlation of both responses {number_text(response.agreement)}"
    name, position = name_and_position(response.name)
    name = drawable(name, bold=True)
    size = NAME * unit * max(0.85, min(1.0, room / text_width(name, NAME * unit, bold=True)))
    words, y = text_block(wrap(name, size, room, bold=True), x, y, size, colour=INK, bold=True,
                          paragraph=f"{response.name}: {about}")  # fmt: skip
    lines = [line for text in (position, about) for line in prose(drawable(text), TYPE * unit, room)]
    more, y = text_block(lines, x, y + 4 * unit, TYPE * unit)
    head = Panel((*block, *words, *more), width, max(foot, y) + 24 * unit)
    values = response.values[part]
    low, high, signed = limits_of(response)
    shares = np.clip((values - low) / (high - low), 0, 1)
    picture = framed(_shaded(shares, signed=signed), 0, 0, zoom)
    bar, y = _bar(response, picture.height + 12 * unit, picture.width, unit)
    return head, Panel((picture, *bar), max(picture.width, width), y)


def limits_of(response: Response) -> tuple[float, float, bool]:
    """The values at the ends of the colours, and whether they are symmetric about 0.

    0 to 1 if the filter keeps a flat image; else the 99 % quantile of the absolute values of the whole response.
    """
    if response.keeps_light:
        return 0.0, 1.0, False
    limit = float(np.quantile(np.abs(response.values), QUANTILE)) or float(np.abs(response.values).max()) or 1.0
    return -limit, limit, True


def _clipped_texts(responses: Sequence[Response]) -> tuple[str, ...]:
    """That values are outside the colours, if some are."""
    beyond = total = 0
    for each in responses:
        low, high, _ = limits_of(each)
        beyond += int(np.count_nonzero((each.values < low) | (each.values > high)))
        total += each.values.size
    return (outside_text(beyond, total),) if beyond else ()


def _shaded(shares: Array, *, signed: bool) -> Array | Indexed:
    """Shares of the range (H, W): colours from −1 to 1, or an image."""
    if signed:
        return Indexed(np.rint(shares * (LEVELS - 1)).astype(np.uint8), Ramp(None, signed=True))
    return np.repeat(np.rint(shares * 255).astype(np.uint8)[..., None], 3, axis=-1)


def _bar(response: Response, y: float, width: float, unit: float) -> tuple[list[Item], float]:
    """The colour bar, with ≤ or ≥ at an end that values exceed."""
    low, high, signed = limits_of(response)
    size = TYPE * unit
    below = "≤ " if (response.values < low).any() else ""
    above = "≥ " if (response.values > high).any() else ""
    ends = (f"{below}{number_text(low)}", f"{above}{number_text(high, plus=signed)}")
    width = max(width, sum(text_width(end, size) for end in ends) + size)
    strip = _shaded(np.linspace(0, 1, int(width))[None], signed=signed)
    drop = 10 * unit + 0.8 * size
    style = BarStyle(14 * unit, size, drop, clear=size, tick=6 * unit, line=unit, end_ticks=False)
    items, foot = colour_bar([strip], ends, style, top=y, right=width, middle=width / 2 if signed else None)
    return items, foot + 0.4 * size


@dataclass(frozen=True)
class KernelLook:
    """The colours of the kernels of a page, about how wide each is, and whether there are several."""

    tint: Tint
    side: float
    several: bool


def _kernel_side(responses: Sequence[Response], unit: float, width: float) -> float:
    """About how wide the kernels are: all larger if a number needs it."""
    small, large = BLOCKS * unit, BLOCK * unit
    if width >= COLUMN[3] * unit:
        return large
    flat = [each.kernel for each in responses if each.kernel.ndim == 2]
    helps = any(not _digits_of(kernel, unit, small) and _digits_of(kernel, unit, large) for kernel in flat)
    return large if helps else small


def _digits_of(kernel: Array, unit: float, side: float) -> float:
    """The size of the numbers in the cells of a kernel that is about so wide; 0 if they do not fit."""
    zoom = zoom_for(max(kernel.shape), side)
    widest = max(text_width(_cell_text(value), TYPE * unit) for value in kernel.flat)
    size = min(TYPE * unit, TYPE * unit * (zoom - 8 * unit) / max(widest, 1e-9))
    return 0.0 if size < SMALLEST_TYPE * unit or zoom < size * LINE_HEIGHT else size


def _kernel_items(kernel: Array, unit: float, look: KernelLook) -> list[Item]:
    """A kernel as cells with its numbers if they fit, in one colour scale with the others, else in its own range."""
    zoom, tint = zoom_for(max(kernel.shape[-2:]), look.side), look.tint
    if kernel.ndim == 3:
        return [stamp(kernel, 0, 0, zoom)]
    size = _digits_of(kernel, unit, look.side)
    if not size:
        return [framed(tint.indexed(kernel), 0, 0, zoom) if look.several else stamp(kernel, 0, 0, zoom)]
    words = [[_cell_text(value) for value in row] for row in kernel]
    items: list[Item] = [framed(tint.indexed(kernel, digits=True), 0, 0, zoom, grid=True)]
    for (row, column), _ in np.ndenumerate(kernel):
        x, y = EDGE + (column + 0.5) * zoom, EDGE + (row + 0.5) * zoom
        items.append(Text(x, y, words[row][column], size, INK, align="center", middle=True))
    return items


def _cell_text(value: float) -> str:
    if abs(value) < 0.005:
        return "0.00" if value else "0"
    text = f"{value:.0f}" if value == round(value) else f"{value:.2f}".replace("0.", ".", 1)
    return text.replace("-", "−")


def _caption(responses: Sequence[Response], part: tuple[slice, slice], zoom: int) -> list[str]:
    whole, border = responses[0].values.shape, responses[0].border
    rule = {"repeat": "border pixels repeated", "mirror": "border mirrored", "zero": "zeros beyond the border"}[border]
    shown = (part[0].stop - part[0].start, part[1].stop - part[1].start)
    size = "pixel for pixel" if zoom == 1 else f"each pixel {zoom} × {zoom}"
    if shown != whole:
        size += f", the middle {shown[1]:,} × {shown[0]:,} of {whole[1]:,} × {whole[0]:,}"
    lines = [f"cross-correlation, {rule}{PART}{size}"]
    if any(not each.keeps_light for each in responses):
        lines.append("colours symmetric about 0, saturated at the 99 % quantile of each response")
    if any(each.keeps_light for each in responses):
        lines.append("responses of filters with sum 1 are drawn as images, 0 to 1")
    if len(responses) > 1:
        lines.append("numbers of kernels: one logarithmic colour scale for all kernels")
    return lines + _notes(responses) + list(responses[0].reading)


def _notes(responses: Sequence[Response]) -> list[str]:
    """How the image was prepared, with the names of the filters concerned if these are not all."""
    pairs = [(note, each.name) for each in responses for note in each.notes]
    if seen_by(responses).ndim == 3:
        pairs += [
            ("applied to the luma of the image", each.name)
            for each in responses
            if each.image.ndim == 2 and not each.notes
        ]
    lines = []
    for note in dict.fromkeys(note for note, _ in pairs):
        names = [name for each_note, name in pairs if each_note == note]
        lines.append(note if len(names) == len(responses) else f"{', '.join(names)}: {note}")
    return lines


def prose(text: str, size: float, width: float) -> list[str]:
    """Lines broken between words, but not before or within a number; a word that is too long is broken anywhere.

    If the last line would be a single word, lines are broken earlier where that takes no further line.
    """
    lines = found = _broken_lines(text, size, width)
    while len(lines) == len(found) > 1 and " " not in lines[-1]:
        width -= 0.5 * size
        lines = _broken_lines(text, size, width) if width > 0 else []
    return lines if len(lines) == len(found) else found


def _broken_lines(text: str, size: float, width: float) -> list[str]:
    lines = [""]
    for word in re.split(r" (?!\d)", text):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            *full, last = wrap(word, size, width) if text_width(word, size) > width else [word]
            lines += [*full, last]
    return [line for line in lines if line]
