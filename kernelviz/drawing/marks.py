"""What is odd about tiles: as good as zero, faint, constant, not finite; and which kernels that concerns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing.colour import FAINT, GOOD_AS_ZERO, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, Tiles


@dataclass(frozen=True)
class Marks:
    """What is odd about the tiles of a sheet: tile indices, and how many values are not finite."""

    zero: tuple[int, ...]
    faint: tuple[int, ...]
    constant: tuple[int, ...]
    broken: tuple[int, ...]
    nonfinite: int
    dead: tuple[int, ...] = ()


def find_marks(tiles: Tiles, scale: Scale) -> Marks:
    """Tiles as good as zero (every value within half a colour level), faint, constant, and those with broken values.

    A map is dead where it has one value everywhere; with a range of its own it is never called faint.
    """
    per_tile = tiles.values
    if tiles.layout == "heatmap":  # there a kernel is a row or a column of pixels
        per_tile = np.moveaxis(per_tile[0], 0 if tiles.numbers_along == "rows" else 1, 0)
    flat = per_tile.reshape(len(per_tile), -1)
    finite = np.isfinite(flat)
    whole = finite.all(axis=1)
    size = np.abs(np.where(finite, flat, 0)).max(axis=1, initial=0).astype(np.float64)
    limit = scale.limit if scale.kind == "range" else max(map(abs, tiles.extent))
    zero = np.asarray(whole & (size <= GOOD_AS_ZERO * limit))
    faint = np.asarray(whole & ~zero & (size < FAINT * limit))
    flat_tile = np.asarray(whole & (flat == flat[:, :1]).all(axis=1) & (flat.shape[1] > 1))
    constant, dead = flat_tile & ~zero, np.zeros_like(zero)
    if tiles.noun == "map":
        dead, constant, faint = flat_tile, np.zeros_like(zero), np.zeros_like(zero)
        zero = zero & ~dead & (scale.kind != "tile")
    return Marks(
        zero=_where(zero),
        faint=_where(faint),
        constant=_where(constant & ~faint),
        broken=_where(np.asarray(~whole)),
        nonfinite=int(flat.size - np.count_nonzero(finite)),
        dead=_where(dead),
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


def kernels_touched(tiles: Tiles, indices: Sequence[int]) -> tuple[int, ...]:
    """The kernel numbers that have at least one of these tiles."""
    if tiles.layout != "table" or tiles.columns is None:
        return tuple(tiles.numbers[index] for index in indices)
    across = len(tiles.columns.labels)
    columns = tiles.numbers_along == "columns"
    return tuple(tiles.numbers[i] for i in sorted({k % across if columns else k // across for k in indices}))
