"""The words above and below a picture: title, identity line, caption; type scales with the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.drawing.page import INK, Item, drawable, text_block, text_width, wrap
from kernelviz.wording import PART

if TYPE_CHECKING:
    from collections.abc import Sequence


CONTENT = 1440.0  # the width of tiles for which the sizes below are meant, in pixels
TITLE, IDENTITY, CAPTION, LABEL = 40.0, 27.0, 25.0, 25.0
MARGIN = 56.0


def heading(title: str, identity: str, at: tuple[float, float], width: float, unit: float) -> tuple[list[Item], float]:
    """The bold title and the grey line under it from (x, y) on, and the y below them."""
    x, y = at
    title = drawable(title, bold=True)
    size = TITLE * unit * max(0.7, min(1.0, width / max(1.0, text_width(title, TITLE * unit, bold=True))))
    first, y = text_block(wrap(title, size, width, bold=True), x, y, size, colour=INK, bold=True)
    lines = fitted(drawable(identity), IDENTITY * unit, width)
    second, y = text_block(lines, x, y + 4 * unit, IDENTITY * unit)
    return first + second, y


def caption_block(
    caption: Sequence[str], at: tuple[float, float], width: float, unit: float
) -> tuple[list[Item], float]:
    """The lines of a caption from (x, y) on, and the y below them."""
    size = CAPTION * unit
    lines = [line for part in caption for line in fitted(drawable(part), size, width)]
    return text_block(lines, *at, size)


def fitted(text: str, size: float, width: float) -> list[str]:
    """A line that does not fit is first broken between its parts, each line as full as it goes."""
    lines: list[str] = []
    for part in text.split(PART):
        joined = f"{lines[-1]}{PART}{part}" if lines else part
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines += wrap(part, size, width)
    return lines
