"""The colour bar of a picture of kernels, with a title: one strip, or one each for red, green and blue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.page import (
    BAR_HEIGHT,
    BAR_WIDTH,
    CAPTION,
    QUIET,
    BarStyle,
    Item,
    Panel,
    Text,
    colour_bar,
    text_width,
)

if TYPE_CHECKING:
    from kernelviz.drawing.colour import Content


def kernel_bar(title: str, ends: tuple[str, str] = ("−max", "+max"), *, coloured: bool, signed: bool = True) -> Panel:
    """The colours from the largest negative weight to the largest positive one, from 0 if they are not ``signed``."""
    size = CAPTION
    items: list[Item] = [Text(0, 0.8 * size, title, size, QUIET)]
    y = 1.35 * size
    left = float(round(1.3 * size)) if coloured else 0.0
    width = max(BAR_WIDTH, math.ceil(left + sum(text_width(end, size) for end in ends) + size))
    count = int(width - left)
    pitch = round(1.12 * size)
    if coloured:
        share = np.linspace(-1, 1, count)
        scale = colour.Scale("layer", -1.0, 1.0, signed=True)
        rows = colour.rgb_pixels(np.stack([np.eye(3) * value for value in share], axis=1), scale)
        strips: list[Content] = [rows[at : at + 1] for at in range(3)]
        letters = ("R", "G", "B")
        items += [
            Text(0, y + at * pitch + BAR_HEIGHT / 2, letter, size, QUIET, middle=True)
            for at, letter in enumerate(letters)
        ]
    else:
        strips = [colour.bar_levels(-1.0 if signed else 0.0, 1.0, count, signed=signed)]
    style = BarStyle(BAR_HEIGHT, size, 12 + 0.8 * size, clear=size, tick=6.0)
    middle = (left + width) / 2 if signed else None
    bar, foot = colour_bar(strips, ends, style, left=left, top=y, right=width, middle=middle, pitch=pitch)
    return Panel((*items, *bar), width, foot + 0.3 * size)
