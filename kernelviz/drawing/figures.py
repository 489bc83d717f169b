"""Pages become matplotlib figures and pixels, without pyplot and independent of ``rcParams``.

Shaping and rasterising a line of text takes a hundred times as long as drawing its pixels again, so the pixels of lines
are cached: pages repeat numbers and captions, and frames nearly all of their text. Every line is drawn from the cache,
the first time too, so that the pixels of a page do not depend on what was drawn before.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist, allow_rasterization
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.figure import Figure as Figure  # noqa: PLC0414  (re-exported for the packages that save figures)
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.text import Text as MatplotlibText
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform

from kernelviz.drawing.arrangement import arrange
from kernelviz.drawing.colour import (
    STRIPE_INK,
    STRIPE_PERIOD,
    STRIPED,
    Indexed,
    key_in,
    palette_in,
    pixels_in,
    striped_cells,
    textured_pixels,
)
from kernelviz.drawing.fonts import family_of, font_file, run_width, runs, set_width
from kernelviz.drawing.looks import LOOKS, Look
from kernelviz.drawing.page import UNTRAINED, Item, Panel, Raster, Rule, Shape, Strokes, Text, badged, paragraphs
from kernelviz.errors import UsageError
from kernelviz.records import is_untrained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.typing import ColorType

    from kernelviz.drawing.colour import Content
    from kernelviz.records import Array, Recipe


_KEPT = 512  # lines: at most some 10 MB
_PARTS = 8  # of a pixel: lines start at multiples of it, finer than can be seen
_BENCH = 2048, 128  # pixels: nearly every line fits, with an em around it
_bench_lock = threading.Lock()  # all threads share the bench


class _LineKey(NamedTuple):
    """Everything that the pixels of a line depend on; ``x`` and ``y`` are eighths of a pixel."""

    text: str
    font: FontProperties
    horizontal: Literal["left", "center", "right"]
    vertical: Literal["bottom", "baseline", "center", "center_baseline", "top"]
    rotation: float
    mode: Any  # the stubs of Text() accept fewer values than its getter returns
    antialiased: bool
    hinting: object
    dpi: float
    x: int
    y: int


class TextMask(NamedTuple):
    """How much a line covers of each pixel, (H, W) uint8 from the lowest row up, and its offset from the line."""

    cover: Array
    left: int
    bottom: int


class LineArtist(MatplotlibText):
    """One line of text; it is edited like any text of matplotlib, and drawn as one unless it is a plain line."""

    @allow_rasterization  # type: ignore[untyped-decorator]
    def draw(self, renderer: RendererBase) -> None:
        """Draw the cached pixels on a raster, and an element in an SVG with real text; else as any text."""
        if self._is_plain() and hasattr(renderer, "writer") and mpl.rcParams["svg.fonttype"] == "none":
            self._write(renderer)
            return
        if not isinstance(renderer, RendererAgg) or not self._is_plain():
            super().draw(renderer)
            return
        x, y = self.get_transform().transform(self.get_unitless_position())
        if not self.get_visible() or not math.isfinite(x + y):
            return
        (column, part_x), (row, part_y) = (divmod(round(value * _PARTS), _PARTS) for value in (x, y))
        mask = _text_mask(self._key(renderer.dpi, part_x, part_y))
        if mask.cover.size:
            context = renderer.new_gc()
            self._set_gc_clip(context)  # type: ignore[attr-defined]
            renderer.draw_image(context, column + mask.left, row + mask.bottom, _coloured(mask.cover, self.get_color()))
            context.restore()
        self.stale = False

    def _write(self, renderer: Any) -> None:
        """Write an SVG element; ``textLength`` keeps the width if another font is used instead of DejaVu Sans."""
        text, font = self.get_text(), self.get_fontproperties()
        size, upright, bold = font.get_size_in_points(), bool(self.get_rotation()), font.get_weight() == "bold"
        width = set_width(text, size, str(font.get_file()))
        x, y = self._baseline(renderer, width, upright=upright)
        if not (self.get_visible() and text.strip() and math.isfinite(x + y)):
            return
        y = renderer.height - y
        attributes = {
            "x": f"{x:.3f}",
            "y": f"{y:.3f}",
            "fill": to_hex(self.get_color()),
            "font-family": f"{_quoted(font.get_name())}, sans-serif",
            "font-size": f"{size:.6g}",
            "textLength": f"{width:.3f}",
            "lengthAdjust": "spacingAndGlyphs",
            "xml:space": "preserve",  # parts of a line are separated by several spaces
        }
        if bold:
            attributes["font-weight"] = "bold"
        if upright:
            attributes["transform"] = f"rotate(-90 {x:.3f} {y:.3f})"
        renderer.writer.element("text", text, attributes)

    def _baseline(self, renderer: Any, width: float, *, upright: bool) -> tuple[float, float]:
        """Where the baseline of a line of this width starts."""
        if self.get_verticalalignment() == "baseline":
            x, y = self.get_transform().transform(self.get_unitless_position())
            before = {"left": 0.0, "center": width / 2, "right": width}[self.get_horizontalalignment()]
            return (x, y - before) if upright else (x - before, y)
        box, font = self.get_window_extent(renderer), self.get_fontproperties()
        texts = self.get_text(), "lp"  # matplotlib makes room below every line for a p
        below = max(renderer.get_text_width_height_descent(each, font, ismath=False)[2] for each in texts)
        return (box.x1 - below, box.y0) if upright else (box.x0, box.y0 + below)

    def _is_plain(self) -> bool:
        return (
            not ("\n" in self.get_text() or self.get_usetex() or self.get_parse_math() or self.get_wrap())
            and not (self.get_path_effects() or self.get_bbox_patch())
            and self.get_alpha() is None
            and to_rgba(self.get_color())[3] == 1
        )

    def _key(self, dpi: float, part_x: int, part_y: int) -> _LineKey:
        return _LineKey(
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


def _quoted(family: str) -> str:
    """The name of a font as CSS writes it."""
    return family if re.fullmatch("[A-Za-z ]+", family) else "'" + re.sub(r"['\\\\]", "", family) + "'"


def _coloured(cover: Array, colour: ColorType) -> Array:
    """(H, W, 4) uint8: one colour, as opaque as the cover."""
    pixels = np.empty((*cover.shape, 4), np.uint8)
    pixels[..., :3] = [round(255 * part) for part in to_rgb(colour)]
    pixels[..., 3] = cover
    return pixels


@lru_cache(maxsize=_KEPT)
def _text_mask(key: _LineKey) -> TextMask:
    """The mask of a line, drawn by matplotlib in black on a transparent ground."""
    line = MatplotlibText(
        text=key.text,
        color="black",
        fontproperties=key.font,
        horizontalalignment=key.horizontal,
        verticalalignment=key.vertical,
        rotation=key.rotation,
        rotation_mode=key.mode,
        antialiased=key.antialiased,
        parse_math=False,
        usetex=False,
        path_effects=[],
        transform=IdentityTransform(),
    )
    figure, renderer = _bench(key.dpi)
    line.set_figure(figure)
    margin = math.ceil(key.font.get_size_in_points() * key.dpi / 72)  # strokes may leave their box
    with _bench_lock:
        box = line.get_window_extent(renderer)
        left, bottom = math.floor(box.x0) - margin, math.floor(box.y0) - margin
        width, height = math.ceil(box.x1) + margin - left + 1, math.ceil(box.y1) + margin - bottom + 1
        if width > _BENCH[0] or height > _BENCH[1]:
            renderer = RendererAgg(width, height, key.dpi)  # type: ignore[no-untyped-call]
        line.set_position((key.x / _PARTS - left, key.y / _PARTS - bottom))
        line.draw(renderer)
        mask = _trimmed(np.asarray(renderer.buffer_rgba())[::-1, :, 3][:height, :width], left, bottom)
        renderer.clear()
    return mask


def clear_line_cache() -> None:
    """Forget the pixels of all lines."""
    _text_mask.cache_clear()


@lru_cache(maxsize=2)
def _bench(dpi: float) -> tuple[Figure, Any]:
    """A figure and a raster on which lines are drawn one after the other; the raster remembers how wide they are."""
    figure = Figure((1, 1), dpi=dpi, layout="none")  # type: ignore[arg-type]  # None would read rcParams
    return figure, RendererAgg(*_BENCH, dpi)  # type: ignore[no-untyped-call]


def _trimmed(cover: Array, left: int, bottom: int) -> TextMask:
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if not len(rows):
        return TextMask(np.empty((0, 0), np.uint8), left, bottom)
    part = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return TextMask(part, left + int(columns[0]), bottom + int(rows[0]))


class RasterArtist(Artist):
    """A raster handed to the renderer as its pixels: whole-number nearest neighbour at any resolution."""

    def __init__(self, content: Content, box: Bbox, look: Look) -> None:
        super().__init__()
        self._content = content
        self._box = box
        self._look = look
        self._palette = palette_in(look, content.palette) if isinstance(content, Indexed) else None

    @property
    def pixels(self) -> Array:
        """(H, W, 3) uint8: the pixels in the colours of the look, without its textures."""
        return pixels_in(self._look, self._content)

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The box in display pixels."""
        del renderer
        return Bbox.union([self.get_transform().transform_bbox(self._box)])  # upright even if the axis is inverted

    def draw(self, renderer: RendererBase) -> None:
        """Draw the pixels, repeated to the renderer's resolution, or with a transform if the renderer scales images."""
        if not self.get_visible():
            return
        x0, y0, x1, y1 = self.get_window_extent().extents
        context = renderer.new_gc()
        self._set_gc_clip(context)  # type: ignore[attr-defined]
        if renderer.option_scale_image():
            if self._look.textured and hasattr(renderer, "writer") and self._write_stripes(renderer, context):
                context.restore()
                return
            to_page = Affine2D().scale(x1 - x0, y1 - y0)
            fine = VECTOR_DPI / self._figure_dpi()
            pixels = self._textured((x0 * fine, y0 * fine, x1 * fine, y1 * fine), VECTOR_DPI / DPI)
            renderer.draw_image(context, x0, y0, self._upwards() if pixels is None else pixels, to_page)
        else:
            left, bottom = round(x0), round(y0)
            size = max(1, round(y1) - bottom), max(1, round(x1) - left)
            pixels = self._textured((x0, y0, x1, y1), self._figure_dpi() / DPI)
            renderer.draw_image(context, left, bottom, _resized(self._upwards(), *size) if pixels is None else pixels)
        context.restore()

    def _write_stripes(self, renderer: Any, context: Any) -> bool:
        """Write negative cells of an SVG as rectangles with a pattern; whether there are any that are large enough."""
        x0, y0, x1, y1 = self.get_window_extent().extents
        rows, columns = self._content.shape[:2]
        pixel = 72 / DPI  # of the page, in the units of the file
        found = striped_cells(self._content, min((x1 - x0) / columns, (y1 - y0) / rows) / pixel)
        if found is None:
            return False
        to_page, below = Affine2D().scale(x1 - x0, y1 - y0), renderer.height - y1
        renderer.draw_image(context, x0, y0, _opaque(pixels_in(self._look, found.base)[::-1]), to_page)
        known: set[str] = renderer.__dict__.setdefault("stripes", set())
        for (top, left, bottom, right), share in zip(found.boxes, found.shares, strict=True):
            name = f"stripes-{round(1000 * share)}"
            if name not in known:
                known.add(name)
                _write_pattern(renderer.writer, name, float(share), STRIPE_PERIOD * pixel)
            corner = x0 + (x1 - x0) * left / columns, below + (y1 - y0) * top / rows
            size = (x1 - x0) * (right - left) / columns, (y1 - y0) * (bottom - top) / rows
            sides = zip(("x", "y", "width", "height"), (*corner, *size), strict=True)
            renderer.writer.element("rect", **{side: f"{value:.3f}" for side, value in sides}, fill=f"url(#{name})")
        return True

    def _figure_dpi(self) -> float:
        figure = self.get_figure(root=True)
        return DPI if figure is None else float(figure.dpi)

    def _upwards(self) -> Array:
        """RGBA from the lowest row up."""
        if isinstance(self._content, Indexed) and self._palette is not None:
            table = np.full((len(self._palette), 4), 255, np.uint8)
            table[:, :3] = self._palette
            words = np.take(table.view(np.uint32)[:, 0], self._content.index[::-1])
            return words.view(np.uint8).reshape(*words.shape, 4)
        return _opaque(self.pixels[::-1])

    def _textured(self, extents: tuple[float, float, float, float], scale: float) -> Array | None:
        """RGBA with the textures of the look, from the lowest row up; None if it has none."""
        if not self._look.textured:
            return None
        left, bottom, right, top = map(round, extents)
        size = max(1, top - bottom), max(1, right - left)
        height = round(self.get_figure(root=True).bbox.height * DPI / self._figure_dpi() * scale)  # type: ignore[union-attr]
        pixels = textured_pixels(self._look, self._content, size, (height - bottom - size[0], left), scale)
        return _opaque(pixels[::-1])


def _write_pattern(writer: Any, name: str, share: float, period: float) -> None:
    """Write a pattern of diagonal stripes that cover this share of an SVG; those of all cells are parts of one."""
    half, end = period / 2, 2 * period
    lines = f"M{-period:.3f} {period + half:.3f}L{period + half:.3f} {-period:.3f}"
    lines += f"M{-half:.3f} {end:.3f}L{end:.3f} {-half:.3f}"
    side = f"{period:.3f}"
    writer.start("pattern", id=name, patternUnits="userSpaceOnUse", width=side, height=side)
    width = f"{share * period / math.sqrt(2):.3f}"
    writer.element("path", d=lines, stroke=STRIPE_INK, attrib={"stroke-width": width, "fill": "none"})
    writer.end("pattern")


def _opaque(pixels: Array) -> Array:
    """RGB as RGBA."""
    result = np.full((*pixels.shape[:2], 4), 255, np.uint8)
    result[..., :3] = pixels
    return result


def _resized(pixels: Array, rows: int, columns: int) -> Array:
    """RGBA at another size by nearest neighbour; copying words of 32 bits is several times as fast."""
    if pixels.shape[:2] == (rows, columns):
        return pixels
    words: Array = pixels.view(np.uint32)[..., 0]
    down = np.arange(rows) * words.shape[0] // rows
    across = np.arange(columns) * words.shape[1] // columns
    shown: Array = np.take(np.take(words, across, axis=1), down, axis=0)
    return shown.view(np.uint8).reshape(rows, columns, 4)


def add_items(axes: Axes, items: Sequence[Item], points: float, look: Look = LOOKS["page"]) -> None:
    """Add page items to an Axes whose data coordinates are page pixels; ``points`` is the size of one in points."""
    for item in items:
        match item:
            case Text():
                for run in _lines(item, points, look):
                    axes.add_artist(run).set_transform(axes.transData)
            case Raster():
                box = Bbox.from_bounds(item.left, item.top, item.width, item.height)
                axes.add_artist(RasterArtist(item.content, box, look)).set_transform(axes.transData)
            case Rule():
                line = Line2D(
                    (item.x0, item.x1), (item.y0, item.y1), color=look.roles[item.colour], linewidth=item.width * points,
                    linestyle="-", marker="", antialiased=True, solid_capstyle="butt", path_effects=[],
                )  # fmt: skip
                line.set_sketch_params()
                axes.add_artist(line).set_transform(axes.transData)
            case Strokes() | Shape():
                axes.add_artist(_path(item, points, look)).set_transform(axes.transData)


def _path(item: Strokes | Shape, points: float, look: Look) -> PathPatch:
    """Lines or a polygon as one artist; matplotlib scales dashes with the width."""
    if isinstance(item, Strokes):
        corners = np.array(item.lines, dtype=np.float64).reshape(-1, 2)
        path = Path(corners, [Path.MOVETO, Path.LINETO] * len(item.lines))
    else:
        path = Path(np.array([*item.points, item.points[0]]), closed=True)
    filled, colour = isinstance(item, Shape) and item.width == 0, look.roles[item.colour]
    if filled and look.textured and item.colour in STRIPED:
        return _striped_area(path, colour, points, look)
    patch = PathPatch(
        path,
        facecolor=colour if filled else "none",
        edgecolor="none" if filled else colour,
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


def _striped_area(path: Path, colour: str, points: float, look: Look) -> PathPatch:
    """An area with stripes and an outline, which are still different from a filled one in grey."""
    patch = PathPatch(
        path, facecolor=look.ground, edgecolor=colour, linewidth=2 * points, hatch="//", joinstyle="miter",
        antialiased=True, path_effects=[], zorder=2.5,
    )  # fmt: skip
    patch.set_hatch_linewidth(2 * points)
    patch.set_sketch_params()
    return patch


def _vertical(item: Text) -> Literal["center", "center_baseline", "baseline"]:
    if not item.middle:
        return "baseline"
    return "center" if item.upright else "center_baseline"


@lru_cache(maxsize=256)
def _font(size: float, file: str, *, bold: bool) -> FontProperties:
    return FontProperties(family=family_of(file), weight="bold" if bold else "normal", fname=file, size=size)


_CAPITALS = 0.73  # height of capitals in DejaVu Sans, as a share of the size


def _lines(item: Text, points: float, look: Look) -> Iterator[LineArtist]:
    """The artist of a text, or one for each of its runs, one behind the other on one baseline."""
    for page, own in look.words.items():
        item = replace(item, text=item.text.replace(page, own))
    parts = runs(item.text, bold=item.bold)
    if len(parts) == 1 and parts[0].file == font_file(bold=item.bold):
        yield _line(item, points, parts[0].file, look)
        return
    widths = [run_width(part, item.size) + 1 / _PARTS for part in parts]  # their boxes do not touch
    before = {"left": 0.0, "center": sum(widths) / 2, "right": sum(widths)}[item.align]
    x, y, down = item.x, item.y, _CAPITALS * item.size / 2 if item.middle else 0.0
    x, y = (x + down, y + before) if item.upright else (x - before, y + down)
    for part, width in zip(parts, widths, strict=True):
        line = _line(replace(item, x=x, y=y, text=part.text, align="left", middle=False), points, part.file, look)
        line.set_rotation_mode("anchor")
        yield line
        x, y = (x, y - width) if item.upright else (x + width, y)


def _line(item: Text, points: float, file: str, look: Look) -> LineArtist:
    font = _font(item.size * points, file, bold=item.bold)
    return LineArtist(
        item.x,
        item.y,
        item.text,
        color=look.roles[item.colour],
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


DPI = 100  # one page pixel is one pixel of the file
VECTOR_DPI = 300  # of textures in vector files


class PageFigure(Figure):
    """A figure that displays itself as the last line of a notebook cell, is never cropped, and has a recipe.

    ``alternative`` is its text alternative: the title, and the paragraphs of the caption. If its look draws less than the
    ordinary page, ``facts`` are those of its recipe that are different, and ``replaced`` the lines that are not true of it.
    """

    recipe: Recipe | None = None
    look: Look = LOOKS["page"]
    alternative: tuple[str, ...] = ()
    facts: Mapping[str, Any] = {}
    replaced: tuple[str, ...] = ()

    def get_tightbbox(self, renderer: RendererBase | None = None, bbox_extra_artists: Any = None) -> Bbox:
        """The whole page, in inches: ``bbox_inches="tight"`` must not cut a page whose margins were laid out."""
        del renderer, bbox_extra_artists
        return Bbox(np.asarray(self.bbox_inches.get_points()))

    def _repr_png_(self) -> bytes:
        canvas, buffer = self.canvas, io.BytesIO()
        try:
            FigureCanvasAgg(self).print_png(buffer)  # type: ignore[no-untyped-call]
        finally:
            self.set_canvas(canvas)
        return buffer.getvalue()


def draw_page(
    page: Panel, recipe: Recipe | None = None, look: Look = LOOKS["page"], *, badge: bool = True
) -> PageFigure:
    """A figure of this page in a look; a page pixel is one pixel at 100 dpi.

    If the recipe states random weights, the page has the badge ``not trained``; not without ``badge``, which is for
    pictures that do not depend on the weights.
    """
    left_out: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    parts = page.parts() if page.parts is not None and not look.caption else None  # only such looks leave out anything
    if parts is not None:
        rasters = [item.content for item in page.items if isinstance(item, Raster)]
        left_out = (*parts.lines, *key_in(look, rasters))
    untrained = badge and is_untrained(recipe)
    alternative = (*paragraphs(page), *([UNTRAINED] if untrained else []))
    if not look.is_page:
        page = arrange(page, look, untrained=untrained)
        if parts is not None and page.notices:  # they state what is drawn instead of those of the whole page
            replaced = tuple(line for line in parts.notices if line not in page.notices)
            left_out = tuple(line for line in left_out if line not in parts.notices)
            alternative = (*alternative, *page.notices)
    elif untrained:
        page = badged(page)
    figure = PageFigure(
        figsize=(page.width / DPI, page.height / DPI),
        dpi=DPI,
        facecolor=look.ground,
        edgecolor=look.ground,
        layout="none",  # type: ignore[arg-type]  # missing from the stub; None would read rcParams
    )
    figure.patch.set(path_effects=[], sketch_params=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, page.width), ylim=(page.height, 0))
    axes.set_axis_off()
    add_items(axes, page.items, 72 / DPI, look)
    added = look.as_recipe(left_out) if recipe else {}
    added |= {"drawn": list(page.notices)} if page.notices and recipe else {}
    added |= page.facts if recipe else {}
    figure.recipe, figure.look = {**recipe, **added} if recipe and added else recipe, look
    figure.alternative, figure.facts, figure.replaced = alternative, page.facts, replaced
    return figure


def draw_again(figure: PageFigure, page: Panel) -> None:
    """Replace the items of a figure by those of a page of the same size, which takes half as long as a new figure."""
    axes = figure.axes[0]
    for artist in (*axes.artists, *axes.lines, *axes.patches, *axes.texts):
        artist.remove()
    add_items(axes, page.items, 72 / DPI, figure.look)


# The rcParams that matplotlib reads while it writes any figure.
_OUTPUT_RC: dict[str, Any] = {
    "image.composite_image": True,
    "pdf.compression": 6,
    "pdf.fonttype": 42,
    "pdf.inheritcolor": False,
    "pdf.use14corefonts": False,
    "savefig.bbox": "standard",
    "savefig.dpi": "figure",
    "savefig.edgecolor": "auto",
    "savefig.facecolor": "auto",
    "savefig.transparent": False,
    "svg.hashsalt": "kernelviz",
    "svg.id": None,
    "svg.image_inline": True,
}
# Settings of the session: they do not affect drawing, and some keep the value that is read first.
_SESSION_RC = {"backend", "backend_fallback", "date.epoch", "interactive", "savefig.directory", "timezone", "toolbar"}


_rc_lock = threading.RLock()  # rcParams belong to the whole process


def figure_recipe(figure: Figure) -> Recipe | None:
    """The recipe of a figure, if it has one."""
    recipe: Recipe | None = getattr(figure, "recipe", None)
    return recipe


def alternative_of(figure: Figure) -> tuple[str, ...]:
    """The text alternative of a figure, if it has one: a title, and the paragraphs of a description."""
    alternative: tuple[str, ...] = getattr(figure, "alternative", ())
    return alternative


@contextmanager
def _output_settings(figure: Figure) -> Iterator[None]:
    """Set the rcParams that affect output, for one figure at a time, and restore the caller's afterwards."""
    with _rc_lock:
        settings: Any = {}
        if figure_recipe(figure) is not None:
            defaults = {key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if key not in _SESSION_RC}
            settings = {key: value for key, value in defaults.items() if mpl.rcParams[key] != value}
        with mpl.rc_context(settings | _OUTPUT_RC | {"svg.fonttype": "none" if alternative_of(figure) else "path"}):
            yield


def figure_pixels(figure: Figure) -> Array:
    """(H, W, 3) uint8: the rendered figure, over the ground of its look."""
    with _output_settings(figure):
        own_canvas = figure.canvas
        try:
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())
        finally:
            figure.set_canvas(own_canvas)
    return _over_ground(pixels, getattr(figure, "look", LOOKS["page"]).ground)


# Of images in an SVG; thin stripes would become dashes where a viewer leaves out pixels.
_PIXELATED = b"image-rendering:crisp-edges;image-rendering:pixelated"


def figure_vector(figure: Figure, file_format: str, metadata: dict[str, Any]) -> bytes:
    """A figure as SVG or PDF with this metadata and its text alternative."""
    buffer = io.BytesIO()
    title, *caption = alternative_of(figure) or ("",)
    if title and file_format == "pdf":
        metadata = metadata | {"Title": title, "Subject": "\n".join(caption)}
    with _output_settings(figure):
        figure.savefig(buffer, format=file_format, metadata=metadata)
    data = buffer.getvalue()
    if file_format == "svg" and isinstance(figure, PageFigure):
        data = data.replace(_PIXELATED, b"image-rendering:auto") if figure.look.textured else data
        if figure.look.size:  # points, of which CSS has 72 per inch, would be smaller pixels
            sides = b'width="%d" height="%d"' % figure.look.size
            data = re.sub(rb'(<svg [^>]*?)width="[\d.]+pt" height="[\d.]+pt"', rb"\1" + sides, data, count=1)
    return _described(data, title, caption) if title and file_format == "svg" else data


def _described(svg: bytes, title: str, caption: Sequence[str]) -> bytes:
    """The SVG with the elements ``title`` and ``desc``, which name and describe it as an image.

    Their ids differ from those of other pictures, with which it may be in one HTML page.
    """
    mark = hashlib.sha256("\n".join((title, *caption)).encode()).hexdigest()[:8]
    before, root, rest = svg.partition(b"<svg ")
    head, end, body = rest.partition(b">\n")
    role = f'role="img" aria-labelledby="title-{mark}" aria-describedby="desc-{mark}" '
    texts = f'<title id="title-{mark}">{escape(title)}</title>\n'
    texts += f'<desc id="desc-{mark}">{escape(chr(10).join(caption))}</desc>\n'
    return b"".join([before, root, role.encode(), head, end, texts.encode(), body])


def checked_figure(picture: object) -> Figure:
    """The picture, if it is a matplotlib figure.

    Raises:
        UsageError: It is not a figure.
    """
    if not isinstance(picture, Figure):
        raise UsageError(f"The picture must be a Mosaic or a matplotlib Figure, but got {type(picture).__name__}.")
    return picture


def _over_ground(pixels: Array, ground: str) -> Array:
    """(H, W, 3) uint8 of (H, W, 4)."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if pixels[..., 3].min() < 255:
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return np.asarray(image.convert("RGB"))
