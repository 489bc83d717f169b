"""Tiles become a sheet: which of them fit, where they stand in whole pixels, and what their colours mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kernelviz.drawing.captions import caption, kernel_identity, kernel_title, map_identity, map_notes, map_title, notes
from kernelviz.drawing.colour import Scale, ScaleChoice, make_scale, ramp
from kernelviz.drawing.grids import BARE_PIXELS, FIGURE_PIXELS, Grid, plan_heat_map, plan_table, plan_tiles
from kernelviz.drawing.marks import Marks, find_marks
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps, KernelBank, as_bank
from kernelviz.views.components import fit_note
from kernelviz.views.kernel_views import kernel_tiles
from kernelviz.views.map_views import map_tiles
from kernelviz.wording import runs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, Axis, Recipe, Source, Tiles
    from kernelviz.views.components import Basis


SCHEMA = 1


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


@dataclass(frozen=True)
class Words:
    """What a picture says of its subject: title, identity, notes, and the facts of its recipe."""

    title: str
    identity: str
    notes: tuple[str, ...]
    facts: Recipe


def make_sheet(
    subject: object,
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
    basis: Basis | None = None,
) -> Sheet:
    """The sheet of a kernel bank, of feature maps, or of a plain weight (out_channels, in_channels / groups, *kernel_size).

    ``basis`` are the components of the view ``pca`` of feature maps; without one they are fitted to these maps alone.
    Figures hold at most 4 megapixels and bare pictures 64: what does not fit is left out, and the caption says so.

    Raises:
        UsageError: a view, scale, colour map or choice that this bank does not allow.
    """
    if style not in ("figure", "bare"):
        raise UsageError(f"A style is figure or bare, but got {style!r}.")
    held = subject if isinstance(subject, FeatureMaps) else as_bank(subject)
    if isinstance(held, FeatureMaps):
        shown = "maps" if view == "auto" else view
        tiles = map_tiles(held, view=shown, channels=channels, top=top, sort=sort, basis=basis)
    else:
        tiles = kernel_tiles(held, view=view, channels=channels, top=top, sort=sort)
    ramp(cmap, signed=tiles.signed)
    found_scale = make_scale(tiles, scale)
    most = FIGURE_PIXELS if style == "figure" else BARE_PIXELS
    grid, tiles = lay_out(tiles, columns=columns, zoom=zoom, most_pixels=most)
    if found_scale.kind == "range":
        found_scale = make_scale(tiles, scale)
    marks = find_marks(tiles, found_scale)
    words = _words(held, tiles, basis)
    return Sheet(
        tiles=tiles,
        grid=grid,
        scale=found_scale,
        marks=marks,
        colours=cmap,
        title=words.title,
        identity=words.identity,
        caption=caption(tiles, found_scale, marks, words.notes),
        recipe={**words.facts, **picture_facts(tiles, found_scale, grid, cmap)},
        notes=notes(tiles, found_scale, marks, words.notes),
    )


def _words(held: FeatureMaps | KernelBank, tiles: Tiles, basis: Basis | None) -> Words:
    if isinstance(held, FeatureMaps):
        more = fit_note(basis, held.source) if tiles.view == "pca" else ()
        return Words(map_title(held, tiles), map_identity(held), (*more, *map_notes(held)), map_facts(held))
    return Words(kernel_title(held, tiles), kernel_identity(held), held.notes, kernel_facts(held))


def lay_out(tiles: Tiles, *, columns: int | None, zoom: int | None, most_pixels: int) -> tuple[Grid, Tiles]:
    """The grid of these tiles, and those of them that fit into it."""
    height, width = tiles.values.shape[1:3]
    regular = tiles.numbers == tuple(range(tiles.numbers[0], tiles.numbers[0] + len(tiles.numbers)))
    digits = 0 if regular or tiles.is_reduced else len(str(max(tiles.numbers)))
    if tiles.layout == "grid":
        count = len(tiles.values)
        grid = plan_tiles(count, (height, width), columns=columns, zoom=zoom, digits=digits, most_pixels=most_pixels)
        if tiles.is_reduced:
            return grid, tiles  # one tile of all of them
        shown = min(count, grid.arrangement.size)
        return grid, replace(tiles, values=tiles.values[:shown], numbers=tiles.numbers[:shown])
    if tiles.rows is None or tiles.columns is None:
        raise ValueError("A table or a heat map has two axes.")
    rows, across = len(tiles.rows.labels), len(tiles.columns.labels)
    if tiles.layout == "heatmap":
        grid, rows, across = plan_heat_map(rows, across, zoom=zoom, most_pixels=most_pixels)
        return grid, _cut(tiles, tiles.values[:, :rows, :across], rows, across)
    size = (height, width)
    grid = plan_table(rows, across, size, band=columns, zoom=zoom, digits=digits, most_pixels=most_pixels)
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


def source_facts(command: str, source: Source | None) -> dict[str, Any]:
    """The part of a recipe that tells the command, the versions and the model; no path in it."""
    from kernelviz.version import __version__

    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": command,
        "environment": {**source.versions, "device": source.device, "threads": source.threads} if source else None,
        "model": source.as_recipe() if source else None,
    }


def kernel_facts(bank: KernelBank) -> dict[str, Any]:
    """The part of a recipe that tells whose kernels these are."""
    return {
        **source_facts("kernels", bank.source),
        "layer": bank.layer.name if bank.layer else None,
        "shape": list(bank.layer.weight_shape if bank.layer else bank.weight.shape),
        **({"weight": bank.reading} if bank.reading else {}),
        **({"stored": True} if bank.reading == "stored" else {}),
    }


def map_facts(maps: FeatureMaps) -> dict[str, Any]:
    """The part of a recipe that tells whose maps these are, and of which image."""
    return {
        **source_facts("features", maps.source),
        "layer": maps.layer,
        "tap": maps.tap,
        "image": maps.image.as_recipe() if maps.image else None,
        "input_size": list(maps.input_size) if maps.input_size else None,
        "seen": maps.seen.as_recipe() if maps.seen else None,
        "shape": list(maps.shape or maps.values.shape),
    }


def picture_facts(tiles: Tiles, scale: Scale, grid: Grid | None, cmap: str | None) -> dict[str, Any]:
    """The part of a recipe that tells what is drawn and how."""
    return {
        "view": tiles.view,
        "channels": runs_text(tiles.numbers),
        "sort": tiles.order,
        "shown": len(tiles.numbers),
        "total": tiles.total,
        "rows": _axis_entry(tiles.rows),
        "columns": _axis_entry(tiles.columns),
        "scale": scale.kind,
        "limits": [scale.low, scale.high],
        "cmap": None if tiles.view == "rgb" else cmap,
        "zoom": grid.zoom[1] if grid else None,
        "tiles_a_row": int(grid.arrangement.shape[1]) if grid else None,
    }


def _axis_entry(axis: Axis | None) -> dict[str, Any] | None:
    """What the rows or columns of a table are; None for tiles that only follow one another."""
    return None if axis is None else {"name": axis.name, "shown": len(axis.labels), "total": axis.total}
