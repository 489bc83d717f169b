"""A page arranged for a look: without its captions, or in a fixed size with large type."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from kernelviz.drawing.colour import key_in
from kernelviz.drawing.page import (
    GREY,
    INK,
    QUIET,
    Body,
    Box,
    Item,
    Panel,
    Raster,
    Text,
    badge,
    badged,
    drawable,
    fitted,
    item_bottom,
    moved,
    scaled,
    smallest_text,
    text_block,
    text_width,
    wrap,
)
from kernelviz.errors import UsageError
from kernelviz.wording import PART

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.looks import Look
    from kernelviz.drawing.page import PageParts


MARGIN, EDGE = 44.0, 28.0  # beside a body, above the title and below the last line
TITLE, SMALLEST_TITLE, ASIDE, LINE = 42.0, 28.0, 27.0, 20.0
APART = 22.0
LARGEST = 1.6  # times the usual size
NARROW = 300.0  # of a page without caption


def arrange(page: Panel, look: Look, *, untrained: bool = False) -> Panel:
    """The page in the arrangement of a look; with the badge ``not trained`` if it shows random weights.

    Raises:
        UsageError: The page does not fit into the size of the look with letters that are large enough.
    """
    (arranged,) = arrange_all([page], look, untrained=untrained)
    return arranged


def arrange_all(pages: Sequence[Panel], look: Look, *, untrained: bool = False) -> list[Panel]:
    """The same for the frames of an animation: their bodies have one scale, so that nothing jumps.

    Pages that are arranged already are returned as they are.

    Raises:
        UsageError: As for ``arrange``.
    """
    if look.size is None or all(page.parts is None and (page.width, page.height) == look.size for page in pages):
        found = [page if look.caption or page.parts is None else _without_caption(page.parts()) for page in pages]
        return _with_key([badged(page) for page in found] if untrained else found, look)
    parts = [page.parts() for page in pages if page.parts is not None]
    if len(parts) < len(pages):
        raise ValueError("A page without parts cannot be arranged.")
    return _Slide(parts, look, look.size, untrained=untrained).pages()


def _with_key(pages: list[Panel], look: Look) -> list[Panel]:
    """The pages with the lines about their look below everything else."""
    rasters = [item.content for page in pages for item in page.items if isinstance(item, Raster)]
    lines = key_in(look, rasters) if look.caption else []
    if not lines or any(isinstance(item, Text) and item.text == lines[-1] for item in pages[0].items):
        return pages
    return [_with_lines(page, lines) for page in pages]


def _with_lines(page: Panel, lines: Sequence[str]) -> Panel:
    """The page with more lines of its caption, the left one of the lowest texts."""
    texts = [item for item in page.items if isinstance(item, Text) and item.align == "left" and not item.upright]
    caption = max((text for text in texts if text.x < page.width / 3), key=lambda text: text.y)
    bottom = max(map(item_bottom, page.items))
    broken = [part for line in lines for part in wrap(line, caption.size, page.width - 2 * caption.x)]
    top = max(
        caption.y + 0.36 * caption.size, bottom + (0.5 * caption.size if bottom > caption.y + caption.size else 0)
    )
    words, below = text_block(broken, caption.x, top, caption.size, colour=caption.colour, paragraph="\n".join(lines))
    return Panel((*page.items, *words), page.width, page.height + math.ceil(below - 0.06 * caption.size - bottom))


def _without_caption(parts: PageParts) -> Panel:
    """Title and body."""
    margin = round(1.3 * parts.size)
    width = max(parts.body.width, NARROW)
    title, aside = drawable(parts.title, bold=True), drawable(parts.aside)
    size = parts.size * max(0.7, min(1.0, width / max(1.0, text_width(title, parts.size, bold=True))))
    lines = wrap(title, size, width, bold=True)
    items, y = text_block(lines, margin, 0.75 * margin, size, colour=INK, bold=True, paragraph=parts.title)
    end, small = margin + text_width(lines[-1], size, bold=True) + 0.7 * size, 0.68 * parts.size
    if aside and end + text_width(aside, small) <= margin + width:
        items.append(Text(end, y - 0.36 * size, aside, small, GREY))
    elif aside:
        words, y = text_block(fitted(aside, small, width), margin, y + 2, small)
        items += words
    y = float(round(y + 0.6 * parts.size))
    items += moved(parts.body, margin, y)
    return Panel(tuple(items), math.ceil(width + 2 * margin), math.ceil(y + parts.body.height + 0.8 * margin))


class _Slide:
    """Pages of one size: a title, the body as large as fits, and one line about what changes its meaning."""

    def __init__(self, parts: list[PageParts], look: Look, size: tuple[int, int], *, untrained: bool) -> None:
        self.parts, self.smallest, self.untrained = parts, look.smallest_type, untrained
        self.width, self.height = size
        self.inner = self.width - 2 * MARGIN
        self.badge = badge(LINE)

    def pages(self) -> list[Panel]:
        """The pages, with the first version of the bodies whose letters are large enough.

        Raises:
            UsageError: There is none.
        """
        heads = [self._head(parts) for parts in self.parts]
        top = max(y for _, y, _ in heads) + APART
        first = self.parts[0]
        for version in range(max(1, len(first.versions))):
            room, lines, bodies = 1, [[""]], list[Body]()
            for room in range(1, 5):  # more lines leave less to the body
                foot = self.height - EDGE - room * LINE * 1.36
                box = Box(self.inner, foot - APART * 0.6 - top, self.smallest)
                bodies = [self._body(parts, version, box) for parts in self.parts]
                lines = [self._line(parts, body) for parts, body in zip(self.parts, bodies, strict=True)]
                if max(map(len, lines)) <= room:
                    break
            factor = self._factor(bodies, box)
            if min(smallest_text(body.panel) for body in bodies) * factor >= self.smallest - 0.01:
                heads = [
                    self._head(replace(parts, title=body.title or parts.title, aside=body.aside or parts.aside))
                    if body.title or body.aside
                    else head
                    for head, parts, body in zip(heads, self.parts, bodies, strict=True)
                ]
                placed = zip(heads, [self._centred(body, box, factor) for body in bodies], lines, strict=True)
                pages = [self._page(head, body, line, top) for head, body, line in placed]
                return [
                    replace(page, notices=body.notices or (), facts=body.facts)
                    for page, body in zip(pages, bodies, strict=True)
                ]
        size = f"{self.width:,} × {self.height:,} pixels"
        raise UsageError(f"The picture does not fit {size} with text of {self.smallest:g} pixels.", hint=first.hint)

    def _body(self, parts: PageParts, version: int, box: Box) -> Body:
        return parts.versions[version](box) if parts.versions else Body(parts.body)

    def _factor(self, bodies: list[Body], box: Box) -> float:
        if bodies[0].fixed:
            return 1.0
        width = max(body.panel.width for body in bodies)
        height = max(body.panel.height for body in bodies)
        return min(box.width / width, box.height / height, LARGEST)

    @staticmethod
    def _centred(body: Body, box: Box, factor: float) -> Panel:
        """The body in the middle of its box, whose upper edge is 0."""
        panel = body.panel if body.fixed else scaled(body.panel, factor)
        left = MARGIN + max(0.0, (box.width - panel.width) / 2)
        down = max(0.0, (box.height - panel.height) / 2)
        return Panel(moved(panel, *((round(left), round(down)) if body.fixed else (left, down))), box.width, box.height)

    def _head(self, parts: PageParts) -> tuple[list[Item], float, bool]:
        """The title with the words beside it, or below if they do not fit; its foot; whether it has the badge."""
        title, aside = drawable(parts.title, bold=True), drawable(parts.aside)
        kept = self.badge.width + 20 if self.untrained else 0.0
        size = TITLE
        while text_width(title, size, bold=True) > self.inner - kept and size > SMALLEST_TITLE:
            size -= 1
        lines = wrap(title, size, self.inner, bold=True)
        items, y = text_block(lines, MARGIN, EDGE, size, colour=INK, bold=True, paragraph=parts.title)
        baseline = y - 0.36 * size
        end = MARGIN + text_width(lines[-1], size, bold=True) + 28
        room = self.width - MARGIN - kept - end
        fitting = next((each for each in (ASIDE, 24.0, 21.0, self.smallest) if text_width(aside, each) <= room), 0.0)
        if aside and fitting:
            items.append(Text(end, baseline, aside, fitting, GREY))
            end += text_width(aside, fitting) + 24
        has_badge = self.untrained and end + self.badge.width <= self.width - MARGIN
        if has_badge:
            items += moved(self.badge, end - 8, round(baseline - 0.36 * size - self.badge.height / 2))
        if aside and not fitting:
            words, y = text_block(fitted(aside, LINE + 1, self.inner), MARGIN, y + 2, LINE + 1)
            items += words
        return items, y, has_badge

    def _line(self, parts: PageParts, body: Body) -> list[str]:
        """The last line, in as many lines as it needs."""
        notices = parts.notices if body.notices is None else body.notices
        text = PART.join(dict.fromkeys(each for each in (parts.source, *notices) if each))
        room = self.inner - (self.badge.width + 20 if self.untrained else 0.0)
        size = LINE if text_width(drawable(text), LINE) <= room else self.smallest
        return fitted(drawable(text), size, room)

    def _page(self, head: tuple[list[Item], float, bool], body: Panel, lines: list[str], top: float) -> Panel:
        items, _, has_badge = head
        items = [*items, *moved(body, 0, top)]
        size = LINE if len(lines) == 1 else self.smallest
        size = min(size, *(LINE * self.inner / max(1.0, text_width(line, LINE)) for line in lines or [""]))
        y = self.height - EDGE - len(lines) * size * 1.36
        words, _ = text_block(lines, MARGIN, y, max(size, self.smallest), colour=QUIET)
        items += words
        if self.untrained and not has_badge:
            x = self.width - MARGIN - self.badge.width
            items += moved(self.badge, round(x), round(self.height - EDGE - self.badge.height))
        return Panel(tuple(items), self.width, self.height)
