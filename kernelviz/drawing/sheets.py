"""Tiles become a sheet: which of them fit, where they stand, what their colours mean, and the words around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.drawing.colour import FAINT, GOOD_AS_ZERO, Scale, ScaleChoice, make_scale, ramp
from kernelviz.drawing.grids import (
    BARE_PIXELS,
    FIGURE_PIXELS,
    MOSAIC_SHARE,
    Grid,
    plan_heat_map,
    plan_table,
    plan_tiles,
)
from kernelviz.drawing.wording import PART, number_text, numbers_text, runs_text
from kernelviz.errors import UsageError
from kernelviz.records import Axis, ConvLayer, KernelBank, Recipe, Tiles, shape_text
from kernelviz.views import as_bank, kernel_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array

SCHEMA = 1


@dataclass(frozen=True)
class Marks:
    """What is odd about the tiles of a sheet: tile indices, and how many values are not finite."""

    zero: tuple[int, ...]
    faint: tuple[int, ...]
    constant: tuple[int, ...]
    broken: tuple[int, ...]
    nonfinite: int


@dataclass(frozen=True)
class Sheet:
    """All tiles of one picture with their places, scale, words and recipe; nothing of it is drawn yet."""

    tiles: Tiles
    grid: Grid
    scale: Scale
    marks: Marks
    colours: str | None
    title: str
    identity: str
    caption: tuple[str, ...]
    recipe: Recipe
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> int:
        """How many kernels (or channels) stand in the picture."""
        return len(self.tiles.numbers)


def make_sheet(
    kernels: object,
    *,
    view: str = "auto",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    columns: int | None = None,
    zoom: int | None = None,
    style: Literal["figure", "bare"] = "figure",
) -> Sheet:
    """The sheet of a kernel bank, or of a plain weight (out_channels, in_channels / groups, *kernel_size).

    Figures hold at most 4 megapixels and bare pictures 64: what does not fit is left out, and the caption says so.

    Raises:
        UsageError: a view, scale, colour map or choice that this bank does not allow.
    """
    if style not in ("figure", "bare"):
        raise UsageError(f"A style is figure or bare, but got {style!r}.")
    bank = as_bank(kernels)
    tiles = kernel_tiles(bank, view=view, channels=channels, top=top, sort=sort)
    ramp(cmap, signed=tiles.signed)
    found_scale = make_scale(tiles, scale)
    most = int(FIGURE_PIXELS * MOSAIC_SHARE) if style == "figure" else BARE_PIXELS
    grid, tiles = lay_out(tiles, columns=columns, zoom=zoom, most_pixels=most)
    if found_scale.kind == "range":
        found_scale = make_scale(tiles, scale)
    marks = find_marks(tiles, found_scale)
    words = {"title": kernel_title(bank, tiles), "identity": kernel_identity(bank)}
    return Sheet(
        tiles=tiles,
        grid=grid,
        scale=found_scale,
        marks=marks,
        colours=cmap,
        caption=caption(tiles, found_scale, marks, bank.notes),
        recipe=kernel_recipe(bank, tiles, found_scale, grid, cmap),
        notes=notes(tiles, found_scale, marks, bank.notes),
        **words,
    )


def lay_out(tiles: Tiles, *, columns: int | None, zoom: int | None, most_pixels: int) -> tuple[Grid, Tiles]:
    """The grid of these tiles, and those of them that fit into it."""
    height, width = tiles.values.shape[1:3]
    if tiles.layout == "grid":
        regular = tiles.numbers == tuple(range(tiles.numbers[0], tiles.numbers[0] + len(tiles.numbers)))
        digits = 0 if regular else len(str(max(tiles.numbers)))
        count = len(tiles.values)
        grid = plan_tiles(count, (height, width), columns=columns, zoom=zoom, digits=digits, most_pixels=most_pixels)
        shown = min(count, grid.arrangement.size)
        return grid, replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    rows, across = len(tiles.rows.labels), len(tiles.columns.labels)
    if tiles.layout == "heatmap":
        grid, rows, across = plan_heat_map(rows, across, zoom=zoom, most_pixels=most_pixels)
        return grid, _cut(tiles, tiles.values[:, :rows, :across], rows, across)
    grid = plan_table(rows, across, (height, width), band=columns, zoom=zoom, most_pixels=most_pixels)
    cells = grid.arrangement[grid.arrangement >= 0]
    fitting_rows, fitting = int(cells.max()) // across + 1, int((cells % across).max()) + 1
    table = tiles.values.reshape(rows, across, *tiles.values.shape[1:])[:fitting_rows, :fitting]
    renumbered = np.where(grid.arrangement >= 0, grid.arrangement // across * fitting + grid.arrangement % across, -1)
    values = table.reshape(-1, *tiles.values.shape[1:])
    return replace(grid, arrangement=renumbered), _cut(tiles, values, fitting_rows, fitting)


def _cut(tiles: Tiles, values: Array, rows: int, columns: int) -> Tiles:
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    kept = rows if tiles.numbers_along == "rows" else columns
    return replace(
        tiles,
        values=values,
        numbers=tiles.numbers[:kept],
        rows=replace(tiles.rows, labels=tiles.rows.labels[:rows]),
        columns=replace(tiles.columns, labels=tiles.columns.labels[:columns]),
    )


def find_marks(tiles: Tiles, scale: Scale) -> Marks:
    """Tiles as good as zero (every value within half a colour level), faint, constant, and those with broken values."""
    per_tile = tiles.values
    if tiles.layout == "heatmap":  # there a kernel is a row or a column of pixels
        per_tile = np.moveaxis(per_tile[0], 0 if tiles.numbers_along == "rows" else 1, 0)
    flat = per_tile.reshape(len(per_tile), -1)
    finite = np.isfinite(flat)
    whole = finite.all(axis=1)
    size = np.abs(np.where(finite, flat, 0)).max(axis=1, initial=0)
    limit = scale.limit if scale.kind == "range" else max(map(abs, tiles.extent))
    zero = np.asarray(whole & (size <= GOOD_AS_ZERO * limit))
    faint = np.asarray(whole & ~zero & (size < FAINT * limit))
    constant = np.asarray(whole & ~zero & (flat == flat[:, :1]).all(axis=1) & (flat.shape[1] > 1))
    return Marks(
        zero=_where(zero),
        faint=_where(faint),
        constant=_where(constant & ~faint),
        broken=_where(np.asarray(~whole)),
        nonfinite=int(flat.size - np.count_nonzero(finite)),
    )


def _where(flags: Array) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(flags)))


def kernels_of(tiles: Tiles, indices: Sequence[int]) -> tuple[int, ...]:
    """The kernel numbers of tile indices; in a table those kernels all of whose tiles are named."""
    if tiles.layout != "table" or tiles.columns is None or tiles.rows is None:
        return tuple(tiles.numbers[index] for index in indices)
    flags = np.zeros(len(tiles.values), dtype=bool)
    flags[list(indices)] = True
    table = flags.reshape(len(tiles.rows.labels), len(tiles.columns.labels))
    return tuple(tiles.numbers[i] for i in np.flatnonzero(table.all(axis=0 if tiles.numbers_along == "columns" else 1)))


def kernel_title(bank: KernelBank, tiles: Tiles) -> str:
    """``Kernels of LAYER``, with what a table shows of them behind it."""
    name = f"Kernels of {bank.layer.name}" if bank.layer else "Kernels"
    by = {"channels": ", channel by channel", "matrix": ", input by input"}.get(tiles.view, "")
    return name + (by if tiles.layout == "table" else "")


def kernel_identity(bank: KernelBank) -> str:
    """Model and weights, the layer's settings, the weight's shape."""
    parts = [bank.source.label] if bank.source else []
    if bank.layer:
        parts.append(layer_text(bank.layer))
    return PART.join([*parts, f"weight {shape_text(bank.layer.weight_shape if bank.layer else bank.weight.shape)}"])


def layer_text(layer: ConvLayer) -> str:
    """``Conv2d 3 → 32, 3 × 3, stride 2``: a layer's settings as far as they are not the usual ones."""
    size = " × ".join(map(str, layer.kernel_size))
    if layer.depthwise and layer.in_channels == layer.out_channels:
        parts = [f"depthwise {layer.kind}, {layer.in_channels:,} channels", size]
    else:
        parts = [f"{layer.kind} {layer.in_channels:,} → {layer.out_channels:,}", size]
        if layer.groups > 1:
            parts.append(f"{layer.groups} groups")
    for name in ("stride", "dilation"):
        values = getattr(layer, name)
        if any(value != 1 for value in values):
            parts.append(f"{name} {values[0] if len(set(values)) == 1 else ' × '.join(map(str, values))}")
    return ", ".join(parts)


def caption(tiles: Tiles, scale: Scale, marks: Marks, extra: Sequence[str]) -> tuple[str, ...]:
    """The lines below a picture: view and n of m, scale and limit, what is odd, notes."""
    lines = [f"View {tiles.view}: {tiles.explanation}", f"{count_text(tiles)}", scale_text(tiles, scale)]
    if tiles.layout == "grid":
        lines[:2] = [f"{lines[0]}{PART}{lines[1]}"]
    return tuple(line for line in (*lines, *oddities(tiles, marks), *extra) if line)


def notes(tiles: Tiles, scale: Scale, marks: Marks, extra: Sequence[str]) -> tuple[str, ...]:
    """What must not be hidden, each a sentence: cut, clipped, not finite, as good as zero, and the bank's own notes."""
    cut = [count_text(tiles)] if len(tiles.numbers) < tiles.total or _axis_cut(tiles) else []
    return (*cut, *([clipped_text(tiles, scale)] if scale.below + scale.above else []), *oddities(tiles, marks), *extra)


def _axis_cut(tiles: Tiles) -> bool:
    return any(axis is not None and len(axis.labels) < axis.total for axis in (tiles.rows, tiles.columns))


def count_text(tiles: Tiles) -> str:
    """``32 of 32 kernels``, and in a table how many of how many along the other side."""
    noun = f"{tiles.noun}s" if tiles.total != 1 else tiles.noun
    text = f"{len(tiles.numbers):,} of {tiles.total:,} {noun}"
    other = {"rows": tiles.columns, "columns": tiles.rows}.get(tiles.numbers_along)
    if other is not None and (len(other.labels) < other.total or tiles.layout == "heatmap"):
        text += f", {len(other.labels):,} of {_plural(other)}"
    return text if tiles.order == "index" else f"{text}, by {tiles.order}, the largest first"


def _plural(axis: Axis) -> str:
    first, *rest = axis.name.split(" ")
    words = [first, rest[0] + "s", *rest[1:]] if rest else [first + "s"]
    return f"{axis.total:,} {' '.join(words)}"


def scale_text(tiles: Tiles, scale: Scale) -> str:
    """The line of the caption that says what a colour means."""
    grey = "mid-grey 0, " if tiles.view == "rgb" else ""
    if scale.kind == "range":
        clipped = f"{PART}{clipped_text(tiles, scale)}" if scale.below + scale.above else ""
        return f"Scale {number_text(scale.low, plus=True)} to {number_text(scale.high, plus=True)}, as asked{clipped}"
    if scale.kind == "tile":
        return f"Scale tile: {grey}full colour its own largest {_size(tiles)}; tiles do not compare"
    if scale.limit == 0:
        return "Scale layer: every value is 0"
    limit = f"±{number_text(scale.limit)}" if scale.signed else f"0 to {number_text(scale.high)}"
    if tiles.view == "rgb":
        return f"Scale layer: mid-grey 0, full colour {limit}, the same in every tile"
    same = "" if tiles.layout == "heatmap" else ", the same in every tile"
    return f"Scale layer: one {'limit' if scale.signed else 'range'}, {limit}{same}"


def _size(tiles: Tiles) -> str:
    return "weight" if tiles.quantity == "weight" else "value"


def clipped_text(tiles: Tiles, scale: Scale) -> str:
    """How many values lie outside the scale."""
    return f"{scale.below + scale.above:,} of {tiles.values.size:,} values lie outside and take the end colour"


def oddities(tiles: Tiles, marks: Marks) -> list[str]:
    """Counts and numbers of what is marked: broken, as good as zero, faint, constant."""
    lines = []
    if marks.nonfinite:
        broken = kernels_touched(tiles, marks.broken)
        many = f"in {len(broken)} {tiles.noun}{'s' if len(broken) != 1 else ''}"
        framed = "" if tiles.layout == "heatmap" else " with a black frame"
        verb = "is" if marks.nonfinite == 1 else "are"
        lines.append(
            f"{marks.nonfinite:,} of {tiles.values.size:,} values {verb} not finite, chequered, {many}{framed}: "
            f"{numbers_text(broken)}"
        )
    parts = []
    if zero := kernels_of(tiles, marks.zero):
        struck = "" if tiles.layout == "heatmap" else ", struck through"
        parts.append(f"{len(zero):,} {_are(zero)} as good as zero{struck}: {numbers_text(zero)}")
    if tiles.layout == "grid":
        if faint := kernels_of(tiles, marks.faint):
            parts.append(f"{len(faint):,} more below 5 %: {numbers_text(faint)}")
        if constant := kernels_of(tiles, marks.constant):
            parts.append(f"{len(constant):,} {_are(constant)} constant: {numbers_text(constant)}")
    return [*lines, *([PART.join(parts)] if parts else [])]


def kernels_touched(tiles: Tiles, indices: Sequence[int]) -> tuple[int, ...]:
    """The kernel numbers that have at least one of these tiles."""
    if tiles.layout != "table" or tiles.columns is None:
        return tuple(tiles.numbers[index] for index in indices)
    across = len(tiles.columns.labels)
    columns = tiles.numbers_along == "columns"
    return tuple(tiles.numbers[i] for i in sorted({k % across if columns else k // across for k in indices}))


def _are(numbers: Sequence[int]) -> str:
    return "is" if len(numbers) == 1 else "are"


def kernel_recipe(bank: KernelBank, tiles: Tiles, scale: Scale, grid: Grid, cmap: str | None) -> dict[str, Any]:
    """How this picture was made, for machines; no path in it."""
    from kernelviz import __version__

    source = bank.source
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "kernels",
        "environment": {**source.versions, "device": source.device} if source else None,
        "model": source.as_recipe() if source else None,
        "layer": bank.layer.name if bank.layer else None,
        "view": tiles.view,
        "shape": list(bank.layer.weight_shape if bank.layer else bank.weight.shape),
        "channels": runs_text(tiles.numbers),
        "sort": tiles.order,
        "shown": len(tiles.numbers),
        "total": tiles.total,
        "scale": scale.kind,
        "limits": [scale.low, scale.high],
        "cmap": cmap,
        "zoom": grid.zoom[1],
        "columns": int(grid.arrangement.shape[1]),
    }
