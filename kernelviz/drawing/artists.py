"""Page items become matplotlib's artists: pixels as they are, lines, polygons, type."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Bbox

from kernelviz.drawing.page import Item, Raster, Rule, Shape, Strokes, Text, font_file
from kernelviz.drawing.typesetting import LineArtist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase

    from kernelviz.records import Array


class RasterArtist(Artist):
    """Pixels handed to the renderer as they are: whole-number nearest neighbour at any resolution."""

    def __init__(self, pixels: Array, box: Bbox) -> None:
        super().__init__()
        self.pixels = pixels
        self._box = box

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The box in display pixels."""
        del renderer
        return Bbox.union([self.get_transform().transform_bbox(self._box)])  # the right way up, whatever the axis

    def draw(self, renderer: RendererBase) -> None:
        """Repeat the pixels to the renderer's own, or hand them over with a transform to one that scales."""
        if not self.get_visible():
            return
        x0, y0, x1, y1 = self.get_window_extent().extents
        upwards = _opaque(self.pixels[::-1])
        context = renderer.new_gc()
        self._set_gc_clip(context)  # type: ignore[attr-defined]
        if renderer.option_scale_image():
            to_page = Affine2D().scale(x1 - x0, y1 - y0)
            renderer.draw_image(context, x0, y0, upwards, to_page)
        else:
            left, bottom = round(x0), round(y0)
            size = max(1, round(y1) - bottom), max(1, round(x1) - left)
            renderer.draw_image(context, left, bottom, _resized(upwards, *size))
        context.restore()


def _opaque(pixels: Array) -> Array:
    """RGB as RGBA."""
    result = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    result[..., :3] = pixels
    return result


def _resized(pixels: Array, rows: int, columns: int) -> Array:
    """RGBA at another size, each pixel whole; as words of 32 bits they are moved several times as fast."""
    if pixels.shape[:2] == (rows, columns):
        return pixels
    words: Array = pixels.view(np.uint32)[..., 0]
    down = np.arange(rows) * words.shape[0] // rows
    across = np.arange(columns) * words.shape[1] // columns
    shown: Array = np.take(np.take(words, across, axis=1), down, axis=0)
    return shown.view(np.uint8).reshape(rows, columns, 4)


def add_items(axes: Axes, items: Sequence[Item], points: float) -> None:
    """Put page items into an Axes whose data are page pixels; ``points`` is how many points a page pixel takes."""
    for item in items:
        match item:
            case Text():
                axes.add_artist(_text(item, points)).set_transform(axes.transData)
            case Raster():
                box = Bbox.from_bounds(item.left, item.top, item.width, item.height)
                axes.add_artist(RasterArtist(item.pixels, box)).set_transform(axes.transData)
            case Rule():
                line = Line2D(
                    (item.x0, item.x1), (item.y0, item.y1), color=item.colour, linewidth=item.width * points,
                    linestyle="-", marker="", antialiased=True, solid_capstyle="butt", path_effects=[],
                )  # fmt: skip
                line.set_sketch_params()
                axes.add_artist(line).set_transform(axes.transData)
            case Strokes() | Shape():
                axes.add_artist(_path(item, points)).set_transform(axes.transData)


def _path(item: Strokes | Shape, points: float) -> PathPatch:
    """Lines or a polygon as one artist; matplotlib scales dashes with the width."""
    if isinstance(item, Strokes):
        corners = np.array(item.lines, dtype=np.float64).reshape(-1, 2)
        path = Path(corners, [Path.MOVETO, Path.LINETO] * len(item.lines))
    else:
        path = Path(np.array([*item.points, item.points[0]]), closed=True)
    filled = isinstance(item, Shape) and item.width == 0
    patch = PathPatch(
        path,
        facecolor=item.colour if filled else "none",
        edgecolor="none" if filled else item.colour,
        linewidth=item.width * points,
        linestyle=(0, (3, 2.4)) if isinstance(item, Strokes) and item.dashed else "-",
        joinstyle="miter",
        capstyle="butt",
        antialiased=True,
        hatch=None,
        path_effects=[],
        zorder=2.5 if isinstance(item, Shape) else 2,
    )
    patch.set_sketch_params()
    return patch


def _vertical(item: Text) -> Literal["center", "center_baseline", "baseline"]:
    if not item.middle:
        return "baseline"
    return "center" if item.upright else "center_baseline"


@lru_cache(maxsize=256)
def _font(size: float, *, bold: bool) -> FontProperties:
    return FontProperties(fname=str(font_file(bold=bold)), size=size)


def _text(item: Text, points: float) -> LineArtist:
    font = _font(item.size * points, bold=item.bold)
    return LineArtist(
        item.x,
        item.y,
        item.text,
        color=item.colour,
        fontproperties=font,
        horizontalalignment=item.align,
        verticalalignment=_vertical(item),
        rotation=90 if item.upright else 0,
        rotation_mode="default",
        parse_math=False,
        usetex=False,
        antialiased=True,
        path_effects=[],
        zorder=3,
    )
