"""A picture for each channel, pixels only: all of a layer coloured at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.drawing import colour
from kernelviz.drawing.sheets import map_facts, picture_facts
from kernelviz.errors import UsageError
from kernelviz.records import as_maps, check_positive
from kernelviz.views.map_views import map_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.drawing.colour import Scale, ScaleChoice
    from kernelviz.records import Array, Recipe


LARGEST_SIDE = 1 << 14


@dataclass(frozen=True)
class Singles:
    """Channels of one layer as pictures.

    ``levels`` is uint8 (n, H, W), indices into ``palette``; picture i is of channel ``numbers[i]``, and its colours go from
    ``limits[i, 0]`` to ``limits[i, 1]``. Each value becomes ``zoom`` by ``zoom`` pixels. What is not finite is black, a map
    with one value everywhere grey where each map has its own range.
    """

    levels: Array
    palette: Array
    numbers: tuple[int, ...]
    limits: Array
    scale: Scale
    zoom: int
    nonfinite: int
    recipe: Recipe


def make_singles(
    maps: object,
    *,
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    scale: ScaleChoice | None = None,
    cmap: str | None = None,
    zoom: int = 1,
) -> Singles:
    """A picture for each chosen channel of feature maps (C, H, W), at their own resolution times ``zoom``.

    Raises:
        UsageError: a choice that the maps do not allow, or a picture too large.
    """
    subject = as_maps(maps)
    tiles = map_tiles(subject, channels=channels, top=top, sort=sort)
    found = colour.make_scale(tiles, scale)
    check_positive("zoom", zoom)
    if zoom * max(tiles.values.shape[1:]) > LARGEST_SIDE:
        raise UsageError(f"A map at zoom {zoom} is too large for a picture.", hint="Choose a smaller --zoom.")
    levels = colour.levels(tiles.values, found)
    flat = tiles.values.reshape(len(tiles.values), -1)
    finite = np.isfinite(tiles.values)
    levels[~finite] = colour.NOT_FINITE
    dead = (flat == flat[:, :1]).all(axis=1) & (flat.shape[1] > 1)
    if found.kind == "tile":
        levels[dead] = colour.DEAD
    ends = colour.tile_limits(tiles.values, found).reshape(-1)
    own = np.stack([-ends if tiles.signed else np.zeros_like(ends), ends], axis=1)
    limits = own if found.kind == "tile" else np.tile([found.low, found.high], (len(ends), 1))
    facts = picture_facts(tiles, found, None, cmap)
    return Singles(
        levels=levels,
        palette=colour.palette(cmap, signed=tiles.signed),
        numbers=tiles.numbers,
        limits=limits,
        scale=found,
        zoom=zoom,
        nonfinite=int(finite.size - np.count_nonzero(finite)),
        recipe={**map_facts(subject), **facts, "view": "single", "zoom": zoom},
    )
