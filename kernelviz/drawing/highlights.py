"""The few maps of a layer that say most, so that the others need not be kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.map_views import telling_channels
from kernelviz.records import as_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array, FeatureMaps, Image, SeenImage, Source


@dataclass(frozen=True)
class Highlights:
    """The few maps of one layer that say most: their numbers, their values (n, H, W), and the layer's own facts.

    ``broken`` counts the layer's maps with values that are not finite, which are never chosen; ``nonfinite`` those values.
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


def highlights_of(maps: FeatureMaps, count: int = 5) -> Highlights:
    """The ``count`` maps of a layer with the largest spread, near-duplicates (|correlation| ≥ 0.98) left out."""
    subject = as_maps(maps)
    numbers = telling_channels(subject.values, count)
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
    """What must not be hidden: maps that are not finite, several runs, and what was done to the image."""
    broken = [
        f"{column.broken:,} of {column.shape[0]:,} maps of {column.layer} hold values that are not finite: left out"
        for column in columns
        if column.broken
    ]
    first = columns[0]
    seen = [*(first.image.notes if first.image else ()), *(first.seen.notes if first.seen else ())]
    return (*(f"{note} ({column.layer})" for column in columns for note in column.notes), *broken, *seen)
