"""Lines of type as matplotlib's texts that a raster keeps: pages repeat their numbers and captions, frames all they say.

Shaping and rasterising a line takes a hundred times as long as putting its pixels down again.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import allow_rasterization
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text as MatplotlibText
from matplotlib.transforms import IdentityTransform

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase
    from matplotlib.font_manager import FontProperties
    from matplotlib.typing import ColorType

    from kernelviz.records import Array


_KEPT = 512  # lines: at most some 10 MB
_PARTS = 8  # of a pixel: where in one a line may begin, finer than the eye can tell
_BENCH = 2048, 64  # pixels: nearly every line fits
_drawing = threading.Lock()  # the bench is one for all


class _Look(NamedTuple):
    """All that the pixels of a line depend on; ``x`` and ``y`` are eighths of a pixel."""

    text: str
    font: FontProperties
    horizontal: Literal["left", "center", "right"]
    vertical: Literal["bottom", "baseline", "center", "center_baseline", "top"]
    rotation: float
    mode: Any  # the stubs let Text() take fewer than its getter gives
    antialiased: bool
    hinting: object
    dpi: float
    x: int
    y: int


class Ink(NamedTuple):
    """How much of each pixel a line covers, (H, W) uint8 from the lowest row up, and where: pixels from its place."""

    cover: Array
    left: int
    bottom: int


class LineArtist(MatplotlibText):
    """One line of type. Edited as any text of matplotlib's, and drawn as one where it is more than a plain line."""

    @allow_rasterization  # type: ignore[untyped-decorator]
    def draw(self, renderer: RendererBase) -> None:
        """Put its kept pixels down on a raster; any other renderer draws a text."""
        if not isinstance(renderer, RendererAgg) or not self._is_plain():
            super().draw(renderer)
            return
        x, y = self.get_transform().transform(self.get_unitless_position())
        if not self.get_visible() or not math.isfinite(x + y):
            return
        (column, part_x), (row, part_y) = (divmod(round(place * _PARTS), _PARTS) for place in (x, y))
        ink = _ink(self._look(renderer.dpi, part_x, part_y))
        if ink.cover.size:
            context = renderer.new_gc()
            self._set_gc_clip(context)  # type: ignore[attr-defined]
            renderer.draw_image(context, column + ink.left, row + ink.bottom, _coloured(ink.cover, self.get_color()))
            context.restore()
        self.stale = False

    def _is_plain(self) -> bool:
        return (
            not ("\n" in self.get_text() or self.get_usetex() or self.get_parse_math() or self.get_wrap())
            and not (self.get_path_effects() or self.get_bbox_patch())
            and self.get_alpha() is None
            and to_rgba(self.get_color())[3] == 1
        )

    def _look(self, dpi: float, part_x: int, part_y: int) -> _Look:
        return _Look(
            text=self.get_text(),
            font=self.get_fontproperties().copy(),
            horizontal=self.get_horizontalalignment(),
            vertical=self.get_verticalalignment(),
            rotation=self.get_rotation(),
            mode=self.get_rotation_mode(),
            antialiased=self.get_antialiased(),
            hinting=mpl.rcParams["text.hinting"],
            dpi=dpi,
            x=part_x,
            y=part_y,
        )


def _coloured(cover: Array, colour: ColorType) -> Array:
    """(H, W, 4) uint8: one colour, as opaque as the cover."""
    pixels = np.empty((*cover.shape, 4), np.uint8)
    pixels[..., :3] = [round(255 * part) for part in to_rgb(colour)]
    pixels[..., 3] = cover
    return pixels


@lru_cache(maxsize=_KEPT)
def _ink(look: _Look) -> Ink:
    """A line drawn by matplotlib alone, in black on nothing."""
    line = MatplotlibText(
        text=look.text,
        color="black",
        fontproperties=look.font,
        horizontalalignment=look.horizontal,
        verticalalignment=look.vertical,
        rotation=look.rotation,
        rotation_mode=look.mode,
        antialiased=look.antialiased,
        parse_math=False,
        usetex=False,
        path_effects=[],
        transform=IdentityTransform(),
    )
    line.set_figure(Figure((1, 1), dpi=look.dpi, layout="none"))  # type: ignore[arg-type]  # None would ask rcParams
    margin = math.ceil(look.font.get_size_in_points() * look.dpi / 72)  # strokes may leave their box
    with _drawing:
        renderer: Any = _bench(look.dpi)
        box = line.get_window_extent(renderer)
        left, bottom = math.floor(box.x0) - margin, math.floor(box.y0) - margin
        width, height = math.ceil(box.x1) + margin - left + 1, math.ceil(box.y1) + margin - bottom + 1
        if width > _BENCH[0] or height > _BENCH[1]:
            renderer = RendererAgg(width, height, look.dpi)  # type: ignore[no-untyped-call]
        line.set_position((look.x / _PARTS - left, look.y / _PARTS - bottom))
        line.draw(renderer)
        ink = _trimmed(np.asarray(renderer.buffer_rgba())[::-1, :, 3][:height, :width], left, bottom)
        renderer.clear()
    return ink


def forget_lines() -> None:
    """Draw every line anew."""
    _ink.cache_clear()


@lru_cache(maxsize=2)
def _bench(dpi: float) -> RendererAgg:
    """A raster on which lines are drawn one after the other; it remembers how wide they are."""
    return RendererAgg(*_BENCH, dpi)  # type: ignore[no-untyped-call]


def _trimmed(cover: Array, left: int, bottom: int) -> Ink:
    rows, columns = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Ink(np.empty((0, 0), np.uint8), left, bottom)
    part = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return Ink(part, left + int(columns[0]), bottom + int(rows[0]))
