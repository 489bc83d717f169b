"""Planes of a tensor whose shape changes: seen as another shape, or broadcast to a higher rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kernelviz.network.fields import check_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.records import Array


def reshaped(planes: Array, before: Sequence[int], after: Sequence[int]) -> Array:
    """Planes (n, *dims) of a tensor of shape ``before``, seen as shape ``after``.

    Dimensions are matched in groups of equal products, so that only groups in which something differs take memory.
    """
    pieces: list[int] = []
    sources: list[Sequence[int]] = []
    for ours, theirs in _groups(before, after):
        stored = [planes.shape[dim + 1] for dim in ours]
        if all(size == 1 for size in stored):
            sources.append([])
            pieces += [1] * len(theirs)
        else:
            sources.append(ours)
            pieces += [after[dim] for dim in theirs]
    full = [planes.shape[0]] + [
        before[dim] if any(dim in group for group in sources) else 1 for dim in range(len(before))
    ]
    check_size(full)
    return _compact(np.broadcast_to(planes, full).reshape([planes.shape[0], *pieces]))


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Runs of dimensions of two shapes of one size whose products are equal, as short as they come."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        ours, theirs, left, right = [], [], 1, 1
        if i < len(before):
            ours.append(i)
            left = before[i]
            i += 1
        if j < len(after) and not (left == 1 and after[j] != 1):
            theirs.append(j)
            right = after[j]
            j += 1
        while left != right:
            if left < right:
                ours.append(i)
                left *= before[i]
                i += 1
            else:
                theirs.append(j)
                right *= after[j]
                j += 1
        groups.append((ours, theirs))
    return groups


def _compact(planes: Array) -> Array:
    """The same with size 1 wherever nothing differs along a dimension."""
    for dim in range(1, planes.ndim):
        if planes.shape[dim] > 1:
            start = planes.take([0], axis=dim)
            if (planes == start).all():
                planes = start
    return planes


def aligned(planes: Array, rank: int) -> Array:
    """Planes of a tensor that is broadcast to a higher rank."""
    missing = rank - (planes.ndim - 1)
    return planes.reshape(planes.shape[0], *[1] * missing, *planes.shape[1:]) if missing > 0 else planes
