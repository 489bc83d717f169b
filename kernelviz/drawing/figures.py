"""Pages become matplotlib figures and pixels, without pyplot and independent of ``rcParams``.

Shaping and rasterising a line of type takes a hundred times as long as putting its pixels down again, so the pixels of
lines are kept: pages repeat their numbers and captions, and frames everything they say.
"""

from __future__ import annotations

import io
import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from kernelviz.drawing.artists import add_items
from kernelviz.drawing.mosaic import make_mosaic
from kernelviz.drawing.page import Panel, moved
from kernelviz.drawing.panels import bar_panel, mosaic_page, tiles_panel
from kernelviz.drawing.sheets import Sheet, make_sheet
from kernelviz.records import as_bank, as_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase

    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.records import Recipe
    from kernelviz.views.components import Basis
    from kernelviz.views.map_views import MapView


DPI = 100  # one page pixel is one pixel of the file


class PageFigure(Figure):
    """A figure that shows itself as the last line of a notebook cell, is never cropped, and knows its recipe."""

    recipe: Recipe | None = None

    def get_tightbbox(self, renderer: RendererBase | None = None, bbox_extra_artists: Any = None) -> Bbox:
        """The whole page, in inches: ``bbox_inches="tight"`` must not cut a page whose margins were laid out."""
        del renderer, bbox_extra_artists
        return Bbox(np.asarray(self.bbox_inches.get_points()))

    def _repr_png_(self) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas, buffer = self.canvas, io.BytesIO()
        try:
            FigureCanvasAgg(self).print_png(buffer)  # type: ignore[no-untyped-call]
        finally:
            self.set_canvas(canvas)
        return buffer.getvalue()


class Choices(TypedDict, total=False):
    """How ``plot_kernels`` draws; see there."""

    transposed: bool
    view: str
    channels: str | Sequence[int] | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None


@overload
def plot_kernels(kernels: object, *, ax: None = None, **choices: Unpack[Choices]) -> PageFigure: ...
@overload
def plot_kernels(kernels: object, *, ax: Axes, **choices: Unpack[Choices]) -> Axes: ...
def plot_kernels(
    kernels: object,
    *,
    ax: Axes | None = None,
    transposed: bool = False,
    view: str = "auto",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
) -> PageFigure | Axes:
    """Draw the kernels of one layer: a KernelBank, or a plain weight (out_channels, in_channels / groups, height, width).

    Without ``ax`` a new figure comes back, a page with title and caption. With ``ax`` the tiles and the colour bar are
    drawn into that Axes, nothing else of it is touched, and it comes back. ``transposed`` says that a plain weight is that
    of a transposed convolution, (in_channels, out_channels, height, width). One- and three-dimensional kernels are drawn
    as strips and as columns of slices.

    Raises:
        UsageError: a shape, view, scale or choice that does not fit.
    """
    bank = as_bank(kernels, transposed=transposed)
    draw = partial(make_sheet, bank, view=view, channels=channels, top=top, sort=sort, scale=scale, cmap=cmap)
    return _plot(draw, ax, columns, zoom)


class MapChoices(TypedDict, total=False):
    """How ``plot_features`` draws; see there."""

    reduce: MapView | None
    basis: Basis | None
    channels: str | Sequence[int] | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None


@overload
def plot_features(maps: object, *, ax: None = None, **choices: Unpack[MapChoices]) -> PageFigure: ...
@overload
def plot_features(maps: object, *, ax: Axes, **choices: Unpack[MapChoices]) -> Axes: ...
def plot_features(
    maps: object,
    *,
    ax: Axes | None = None,
    reduce: MapView | None = None,
    basis: Basis | None = None,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
) -> PageFigure | Axes:
    """Draw the feature maps of one layer: a FeatureMaps, or a plain array or tensor (C, H, W) or (1, C, H, W).

    ``reduce`` draws one map instead of all: at each place the ``mean``, ``max`` or ``norm`` over the chosen channels,
    or, as colour, the first three principal components (``pca``) of ``basis``, without one of these maps alone.
    Without ``ax`` a new figure comes back, a page with title and caption. With ``ax`` the tiles and the colour bar are
    drawn into that Axes, nothing else of it is touched, and it comes back.

    Raises:
        UsageError: a shape, scale or choice that does not fit.
    """
    subject, view = as_maps(maps), reduce or "maps"
    choice = partial(make_sheet, subject, view=view, channels=channels, top=top, sort=sort, scale=scale, cmap=cmap)
    return _plot(partial(choice, basis=basis), ax, columns, zoom)


def _plot(draw: Callable[..., Sheet], ax: Axes | None, columns: int | None, zoom: int | None) -> PageFigure | Axes:
    """A page of its own, or into an Axes."""
    sheet = draw(columns=columns, zoom=zoom)
    if ax is None:
        return draw_sheet(sheet)
    if zoom is None and sheet.tiles.layout == "grid":
        sheet = draw(columns=sheet.grid.arrangement.shape[1], zoom=_zoom_for(ax, sheet))
    return _draw_into(ax, sheet)


def _zoom_for(ax: Axes, sheet: Sheet) -> int:
    """The zoom at which the tiles are a little smaller than the Axes: enlarging them loses no line of pixels."""
    box, grid = ax.get_window_extent(), sheet.grid
    return max(1, math.floor(grid.zoom[1] * min(0.88 * box.width / grid.width, 0.78 * box.height / grid.height)))


def draw_sheet(sheet: Sheet) -> PageFigure:
    """A sheet as a page of its own."""
    figure = draw_page(mosaic_page(sheet, make_mosaic(sheet)))
    figure.recipe = sheet.recipe
    return figure


def draw_page(page: Panel) -> PageFigure:
    """A figure of exactly this page, one page pixel a pixel at 100 dpi."""
    figure = PageFigure(
        figsize=(page.width / DPI, page.height / DPI),
        dpi=DPI,
        facecolor="white",
        edgecolor="white",
        layout="none",  # type: ignore[arg-type]  # missing from the stub; None would ask rcParams
    )
    figure.patch.set(path_effects=[], sketch_params=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, page.width), ylim=(page.height, 0))
    axes.set_axis_off()
    add_items(axes, page.items, 72 / DPI)
    return figure


def draw_again(figure: PageFigure, page: Panel) -> None:
    """Put other items onto the figure of a page of the same size: half of the work of a new one."""
    axes = figure.axes[0]
    for artist in (*axes.artists, *axes.lines, *axes.patches, *axes.texts):
        artist.remove()
    add_items(axes, page.items, 72 / DPI)


def _draw_into(ax: Axes, sheet: Sheet) -> Axes:
    """Tiles and bar in the Axes' own coordinates, type at about 8 points whatever the size of the Axes."""
    mosaic = make_mosaic(sheet)
    box = ax.get_window_extent()
    pixels_per_point = ax.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    width = mosaic.pixels.shape[1]
    unit = max(0.2, 8 / 25 * pixels_per_point * 1.1 * width / max(1.0, box.width))
    tiles, bar = tiles_panel(sheet, mosaic, unit), bar_panel(sheet, unit)
    total = max(tiles.width, bar.width)
    height = tiles.height + 20 * unit + bar.height
    items = (*moved(tiles, 0, 0), *moved(bar, total - bar.width, tiles.height + 20 * unit))
    ax.set(xlim=(0, total), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    ax.set_axis_off()
    share = min(box.width / total, box.height / height)
    add_items(ax, items, share / pixels_per_point)
    return ax
