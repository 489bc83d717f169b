"""What each unit of a map reads, from what its tensor's elements read; or why that is not known."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.network.fields import FAR, FIRST, FREE_FIRST, FREE_LAST, LAST, PLACE, Reads, together, whole
from kernelviz.traces import AxisField, Field

if TYPE_CHECKING:
    from collections.abc import Collection

    from kernelviz.network.carried import Carried
    from kernelviz.records import Array


def field(carried: Carried | None) -> Field | None:
    """The box of each unit of a map as a record; None where it is not known."""
    if carried is None or carried.lost or unsettled(carried):
        return None
    return Field(tuple(_axis_field(_by_position(carried, axis)) for axis in range(len(carried.axes))), carried.mixed)


def unsettled(carried: Carried) -> str:
    """Why boxes cannot be told from what is carried; empty where they can."""
    axes = [_by_position(carried, axis) for axis in range(len(carried.axes))]
    if any(map(_astray, axes)):
        return "which element of its output belongs to which row and column was lost track of"
    if any(_crossing(reads, other) for reads, other in permutations(axes, 2)):
        return "what a unit reads along one axis depends on its place along the other one too"
    return ""


def _astray(reads: Reads) -> bool:
    """Whether elements read different things, and which place each has is not known."""
    return bool(reads.spread) and not reads.pooled and not reads.placed and _differ(reads)


def _differ(reads: Reads) -> bool:
    return any(
        (term[plane] != term[plane].flat[0]).any() for term in (reads.planes, *reads.beside) for plane in (FIRST, LAST)
    )


def _crossing(reads: Reads, other: Reads) -> bool:
    """Whether elements in one row read other rows for another column, as where a map meets its own transpose."""
    if reads.pooled or other.pooled or not set(reads.spread) & set(other.lies_along):
        return False
    reads = _united_but_along(reads, {*reads.lies_along, *other.lies_along})
    first, last, _, _, row, column = np.broadcast_arrays(*reads.planes, other.planes[PLACE])
    used = (row >= 0) & (column >= 0)
    if not used.any():
        return False
    places = [np.unique(place[used], return_inverse=True) for place in (row, column)]
    cells = tuple(inverse for _, inverse in places)
    table = np.full([len(known) for known, _ in places], 0)
    for plane, empty, unite in ((first, FAR, np.minimum), (last, -FAR, np.maximum)):
        table[:] = empty
        unite.at(table, cells, plane[used])
        met = np.ma.masked_equal(table, empty)
        if bool((met.max(axis=1) != met.min(axis=1)).any()):
            return True
    return False


def _by_position(carried: Carried, axis: int) -> Reads:
    """The reads of one axis, its places numbered as they stand in a tensor that has a dimension for this axis alone."""
    reads = carried.axes[axis]
    home = carried.home(axis)
    others = (other for other in range(len(carried.axes)) if other != axis)
    if home is None or any(home in carried.axes[other].lies_along for other in others):
        return reads
    around = [1] * (reads.planes.ndim - 1)
    around[home] = reads.planes.shape[home + 1]
    planes = reads.planes.copy()
    planes[PLACE] = np.arange(around[home]).reshape(around)
    return replace(reads, planes=planes)


def _axis_field(reads: Reads) -> AxisField:
    first, last, free_first, free_last = _as_line(reads)
    reading = free_first <= free_last
    size = int((free_last - free_first + 1)[reading].max()) if reading.any() else 0
    steps = np.unique(np.concatenate([np.diff(free_first), np.diff(free_last)]))
    jump = None
    if len(steps) == 1 and reading.all():
        jump = int(steps[0]) or None  # nothing moves where every unit reads the whole image
    elif len(first) == 1 and not reads.pooled and reads.jump.denominator == 1:
        jump = int(reads.jump)
    offset = int(free_first[0]) if jump is not None and reading[0] else None
    nowhere = first > last
    first[nowhere], last[nowhere] = 0, -1
    return AxisField(first, last, size, jump, offset)


def _as_line(reads: Reads) -> list[Array]:
    """For each place of the map what its elements read together, as four arrays; one place where there are none."""
    reads = _united_but_along(reads, set(reads.lies_along))
    known = reads.planes[PLACE]
    known = np.where(known < 0, 0, known) if known.max() <= 0 else known
    used = known >= 0
    places = np.unique(known[used])  # merging patches leaves out places
    known = np.searchsorted(places, known)
    lines = []
    for plane, empty, unite in (
        (FIRST, FAR, np.minimum), (LAST, -FAR, np.maximum), (FREE_FIRST, FAR, np.minimum), (FREE_LAST, -FAR, np.maximum)
    ):  # fmt: skip
        line = np.full(len(places), empty, dtype=np.int64)
        unite.at(line, known[used], reads.planes[plane][used])
        lines.append(line)
    return lines


def _united_but_along(reads: Reads, dims: Collection[int]) -> Reads:
    """Every element reads what all along the other dimensions read together."""
    for dim in range(reads.planes.ndim - 1):
        if dim not in dims:
            reads = together(replace(reads, mixed=True), dim)
    return whole(reads)
