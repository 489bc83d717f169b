"""How the feature maps of a layer become tiles: one a channel, or one for all of them together. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps, Tiles
from kernelviz.views import choose_channels, extent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.components import Basis
    from kernelviz.records import Array


MapView: TypeAlias = Literal["maps", "mean", "max", "norm", "pca"]
MAP_VIEWS: tuple[str, ...] = get_args(MapView)
_ALIKE = 0.98
"""Two maps with a |correlation| of this or more show the same."""


def map_tiles(
    maps: FeatureMaps,
    *,
    view: str = "maps",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    basis: Basis | None = None,
) -> Tiles:
    """The tiles of a layer's maps: the chosen channels in the chosen order, or their ``mean``, ``max`` or ``norm``.

    ``pca`` is one tile (1, H, W, 3) of scores along the components of ``basis``, in standard deviations; without one it
    is fitted to these maps.

    A reduction is taken place by place over the chosen channels, in float64; ``norm`` is the root of the sum of squares.

    Raises:
        UsageError: no such view, no such channel, no such order.
    """
    if view not in MAP_VIEWS:
        raise UsageError(f"Maps are drawn one by one (maps) or as mean, max, norm or pca, but got {view!r}.")
    if view == "pca":
        if channels is not None or top is not None or sort is not None:
            raise UsageError(
                "Principal components are those of all channels.", hint="Leave out the choice of channels."
            )
        from kernelviz.components import component_tiles

        return component_tiles(maps, basis)
    numbers, order = choose_channels(maps.values, channels=channels, top=top, sort=sort)
    total = len(maps.values)
    every = numbers == tuple(range(total))
    chosen = maps.values if every else maps.values[list(numbers)]
    if view != "maps":
        chosen = reduced(chosen, view)[None]
    whole = maps.values if view == "maps" else chosen
    low, high = extent(whole)
    return Tiles(
        values=chosen,
        view=view,
        layout="grid",
        numbers=numbers,
        total=total,
        extent=(low, high),
        quantity="activation" if view == "maps" else f"{view} of activations",
        explanation=_explanation(view),
        signed=low < 0,
        noun="map",
        order=order,
    )


def reduced(values: Array, view: str) -> Array:
    """One map (H, W) of several (C, H, W), place by place: their mean, maximum, or the root of the sum of squares."""
    with np.errstate(invalid="ignore", over="ignore"):
        if view == "mean":
            return np.asarray(values.mean(axis=0, dtype=np.float64))
        if view == "max":
            return np.asarray(values.max(axis=0), dtype=np.float64)
        return np.asarray(np.hypot.reduce(values, axis=0, dtype=np.float64))


def _explanation(view: str) -> str:
    said = {
        "maps": "one tile per channel of the layer’s output",
        "mean": "at each place the mean over the channels",
        "max": "at each place the largest value of all channels",
        "norm": "at each place the root of the sum of squares over the channels",
    }
    return said[view]


def telling_channels(values: Array, count: int) -> tuple[int, ...]:
    """The channels of (C, H, W) with the largest spread, without near-duplicates: |correlation| below 0.98.

    Ties go by number; dead and not finite channels are left out, so that there may be fewer than ``count``.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = flat.std(axis=1)
    usable = np.flatnonzero(np.isfinite(spread) & (spread > 0))
    ranked = sorted(usable.tolist(), key=lambda number: (-spread[number], number))
    chosen: list[int] = []
    shapes: list[Array] = []
    for number in ranked:
        if len(chosen) == count:
            break
        centred = flat[number] - flat[number].mean()
        shape = centred / np.linalg.norm(centred)
        if all(abs(float(shape @ other)) < _ALIKE for other in shapes):
            chosen.append(number)
            shapes.append(shape)
    return tuple(chosen)
