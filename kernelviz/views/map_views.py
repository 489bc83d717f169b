"""Tiles of the feature maps of a layer, and the choice of the most distinct maps; NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from kernelviz.errors import UsageError
from kernelviz.notebook import record_repr
from kernelviz.records import Axis, FeatureMaps, Tiles, as_maps
from kernelviz.views.components import FULL, Basis, CovarianceTally
from kernelviz.views.kernel_views import choose_channels, extent
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, Image, SeenImage, Source


MapView: TypeAlias = Literal["maps", "mean", "max", "norm", "pca"]
MAP_VIEWS: tuple[str, ...] = get_args(MapView)
_ALIKE = 0.98
"""Maps with a |correlation| of at least this are near-duplicates."""


def map_tiles(
    maps: FeatureMaps,
    *,
    view: str = "maps",
    channels: str | Sequence[int] | None = None,
    top: int | None = None,
    sort: str | None = None,
    basis: Basis | None = None,
    apart: bool = False,
    each: bool = False,
) -> Tiles:
    """The tiles of a layer's maps: the chosen channels in the chosen order, or their ``mean``, ``max`` or ``norm``.

    ``pca`` is one tile (1, H, W, 3) of scores along the components of ``basis``, in standard deviations; without one it
    is fitted to these maps. With ``apart`` the third component is drawn in a picture of its own, with
    ``each`` every component.

    A reduction is over the chosen channels, at every position, in float64; ``norm`` is the root of the sum of squares.

    Raises:
        UsageError: no such view, no such channel, no such order.
    """
    if view not in MAP_VIEWS:
        raise UsageError(f"The view of maps must be maps, mean, max, norm or pca, but got {view!r}.")
    if view == "pca":
        if channels is not None or top is not None or sort is not None:
            raise UsageError("Principal components are of all channels.", hint="Omit the choice of channels.")
        return component_tiles(maps, basis, apart=apart, each=each)
    numbers, order = choose_channels(maps.values, channels=channels, top=top, sort=sort)
    total = len(maps.values)
    every = numbers == tuple(range(total))
    chosen = maps.values if every else maps.values[list(numbers)]
    if view != "maps":
        chosen = reduced(chosen, view)[None]
    whole = maps.values if view == "maps" else chosen
    low, high = extent(whole)
    rows = columns = None
    if chosen.ndim == 4:  # (n, depth, h, w): one row per slice, one column per map; of a reduction one row of slices
        slices = Axis("slice", tuple(map(str, range(chosen.shape[1]))), chosen.shape[1])
        rows, columns = slices, Axis("map", tuple(map(str, numbers)), total)
        if view != "maps":
            rows, columns = Axis("slice", (f"0–{len(slices.labels) - 1}",), 1), slices
        chosen = (chosen if view != "maps" else chosen.swapaxes(0, 1)).reshape(-1, *chosen.shape[2:])
    return Tiles(
        values=chosen,
        view=view,
        layout="grid" if rows is None else "table",
        numbers=numbers,
        total=total,
        extent=(low, high),
        quantity="activation" if view == "maps" else f"{view} of activations",
        explanation=_explanation(view, maps) if rows is None else _volume_explanation(view, maps),
        signed=low < 0,
        numbers_along="tiles" if rows is None else "columns" if view == "maps" else "rows",
        rows=rows,
        columns=columns,
        noun="map",
        order=order,
    )


def reduced(values: Array, view: str) -> Array:
    """Reduce maps (C, H, W) to one (H, W): their mean, maximum, or the root of the sum of squares."""
    with np.errstate(invalid="ignore", over="ignore"):
        if view == "mean":
            return np.asarray(values.mean(axis=0, dtype=np.float64))
        if view == "max":
            return np.asarray(values.max(axis=0), dtype=np.float64)
        return np.asarray(np.hypot.reduce(values, axis=0, dtype=np.float64))


def _explanation(view: str, maps: FeatureMaps) -> str:
    if view == "maps":
        one = "strip" if len(maps.shape or ()) == 2 and maps.values.shape[1] == 1 else "tile"
        return f"one {one} per channel of the layer’s output"
    return {
        "mean": "the mean over the channels at each position",
        "max": "the maximum over the channels at each position",
        "norm": "the root of the sum of squares over the channels at each position",
    }[view]


def _volume_explanation(view: str, maps: FeatureMaps) -> str:
    return "one column of slices per channel of the layer’s output" if view == "maps" else _explanation(view, maps)


def distinct_channels(values: Array, count: int) -> tuple[int, ...]:
    """The channels of (C, H, W) with the largest spread, without near-duplicates: |correlation| below 0.98.

    Ties are in the order of numbers; dead and not finite channels are left out, so there may be fewer than ``count``.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = flat.std(axis=1)
    usable = np.flatnonzero(np.isfinite(spread) & (spread > 0))
    ranked = sorted(usable.tolist(), key=lambda number: (-spread[number], number))
    chosen: list[int] = []
    shapes = np.empty((min(count, len(ranked)), flat.shape[1]))
    for number in ranked:
        if len(chosen) == count:
            break
        centred = flat[number] - flat[number].mean()
        shape = centred / np.linalg.norm(centred)
        if (np.abs(shapes[: len(chosen)] @ shape) < _ALIKE).all():
            shapes[len(chosen)] = shape
            chosen.append(number)
    return tuple(chosen)


@dataclass(frozen=True)
class Highlights:
    """The most distinct maps of one layer: their numbers, their values (n, H, W), and the facts of the layer.

    ``broken`` is the number of maps with values that are not finite, which are not chosen; ``nonfinite`` counts the values.

    Example:
        >>> values = np.stack([np.zeros((4, 4)), np.eye(4), 5 * np.eye(4)[:, ::-1]])
        >>> highlights = kernelviz.highlights_of(kernelviz.FeatureMaps(values), count=2)
        >>> highlights.numbers, highlights.values.shape
        ((2, 1), (2, 4, 4))
    """

    layer: str
    shape: tuple[int, ...]
    numbers: tuple[int, ...]
    values: Array
    signed: bool
    image: Image | None = None
    seen: SeenImage | None = None
    input_size: tuple[int, ...] | None = None
    source: Source | None = None
    notes: tuple[str, ...] = ()
    broken: int = 0
    nonfinite: int = 0

    __repr__ = record_repr


def highlights_of(maps: FeatureMaps, count: int = 5) -> Highlights:
    """The ``count`` maps of a layer with the largest spread, near-duplicates (|correlation| ≥ 0.98) left out.

    Example:
        >>> maps = kernelviz.capture_features(torch.nn.Conv2d(3, 16, 3), torch.rand(3, 24, 24), "Conv2d")[0]
        >>> highlights = kernelviz.highlights_of(maps, count=4)
        >>> len(highlights.numbers), highlights.shape
        (4, (16, 22, 22))
    """
    subject = as_maps(maps)
    numbers = distinct_channels(subject.values, count)
    good = np.isfinite(subject.values)
    finite = subject.values[good]
    return Highlights(
        layer=subject.layer or "",
        shape=subject.values.shape,
        numbers=numbers,
        values=subject.values[list(numbers)],
        signed=bool(finite.size and finite.min() < 0),
        image=subject.image,
        seen=subject.seen,
        input_size=subject.input_size,
        source=subject.source,
        notes=subject.notes,
        broken=int(np.count_nonzero(~good.all(axis=(1, 2)))),
        nonfinite=int(good.size - np.count_nonzero(good)),
    )


def overview_notes(columns: Sequence[Highlights]) -> tuple[str, ...]:
    """Notes of maps that are not finite, of several runs, and of the conversions of the image."""
    broken = [
        f"{column.broken:,} of {column.shape[0]:,} maps of {column.layer} hold values that are not finite: left out"
        for column in columns
        if column.broken
    ]
    first = columns[0]
    seen = [*(first.image.notes if first.image else ()), *(first.seen.notes if first.seen else ())]
    return (*(f"{note} ({column.layer})" for column in columns for note in column.notes), *broken, *seen)


def component_tiles(maps: FeatureMaps, basis: Basis | None = None, *, apart: bool = False, each: bool = False) -> Tiles:
    """One tile (1, H, W, 3): the scores along three components in standard deviations, as red, green and blue.

    With ``apart`` they are drawn as two pictures: the first as light and dark with the second as orange and blue, and the
    third; with ``each`` as three.

    Nothing is clipped; full colour is at two and a half deviations. The scores of a component of zeros are zero.
    """
    if basis is None:
        tally = CovarianceTally()
        tally.add(maps)
        basis = tally.basis()
    channels = len(maps.values)
    over = f"fitted to {counted(basis.images, 'image')}" if basis.images else "of a basis"
    what = f"the first three principal components of all channels, {over}"
    safe = f"{what}, each in one picture" if each else f"{what}: light–dark and orange–blue, the third as red–blue"
    return Tiles(
        values=basis.in_deviations(maps)[None],
        view="pca",
        layout="grid",
        numbers=tuple(range(channels)),
        total=channels,
        extent=(-FULL, FULL),
        quantity="component: share",
        explanation=safe if apart else f"red, green, blue are {what}",
        noun="map",
        parts=tuple(f"{at}: {share:.0%}" for at, share in enumerate(basis.share, 1)),
        pictures=SINGLE_COMPONENTS if each else ("components 1, 2", "component 3") if apart else (),
    )


SINGLE_COMPONENTS = ("component 1", "component 2", "component 3")
"""The pictures of components that are drawn each by itself."""


def averaged(values: Array, most: int, axis: int) -> Array:
    """At most ``most`` values along one axis, as means of neighbours, since a tile of fewer pixels would skip some."""
    length = values.shape[axis]
    if length <= most:
        return values
    starts = np.arange(most) * length // most
    counts = np.diff(starts, append=length)
    shares = np.expand_dims(1 / np.repeat(counts, counts), 1 - axis)
    return np.asarray(np.add.reduceat(values.astype(np.float64) * shares, starts, axis=axis))
