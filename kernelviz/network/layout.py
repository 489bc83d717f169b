"""Which dimensions of a tensor are channels, rows and columns, and how it becomes maps (C, H, W), the right way up.

The watched pass carries for each element its own row and column and its channel; a ``Layout`` is what these say of one
tensor: a permutation, and where windows or rolls have moved rows about the order that puts them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from kernelviz.network.carried import layout as words_of
from kernelviz.network.fields import PLACE, TORN
from kernelviz.records import shape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kernelviz.network.operations import Found
    from kernelviz.records import Array


@dataclass(frozen=True, eq=False)
class Layout:
    """How a tensor of ``shape``, that of one image, becomes maps of ``size`` (C, H, W).

    ``order`` puts the dimensions of channels first and those of places last; ``places`` are the flat positions of the
    map's units along the latter, None where they lie in order already. ``words`` names the dimensions for people.
    """

    shape: tuple[int, ...]
    size: tuple[int, int, int]
    order: tuple[int, ...]
    places: Array | None
    words: str

    def maps(self, tensor: Tensor) -> Tensor:
        """The maps (C, H, W) of such a tensor: a view of it where that is possible, else a copy."""
        channels, height, width = self.size
        lined = tensor.permute(self.order).reshape(channels, -1)
        if self.places is not None:
            lined = lined[:, torch.as_tensor(self.places, device=lined.device)]
        return lined.reshape(channels, height, width)


class NoMapError(Exception):
    """A tensor is no map, or which of its dimensions is which is not known; the message says why."""


def layout_of(found: Found, shape: Sequence[int]) -> Layout:
    """The layout of a tensor of this shape by what the watched pass knows of it.

    Raises:
        NoMapError: the elements have no rows and columns, or not one value for each channel at each place.
    """
    shape = tuple(shape)
    if found is None:
        raise NoMapError("it does not depend on the image")
    if found.lost:
        raise NoMapError(f"which dimension is which was lost: {found.lost}")
    if not 1 <= len(found.axes) <= 2:
        raise NoMapError("what the network takes is no image of rows and columns")
    lines = [reads.planes[PLACE] for reads in found.axes]
    if any(line.ndim != len(shape) for line in lines):
        raise NoMapError("which dimension is which was lost")
    channels = _channel_dims(found.channel, shape)
    along = {dim for line in lines for dim in range(len(shape)) if _varies(line, dim)}
    spatial = sorted(along - set(channels))  # merged patches are channels, at the place of their first
    if any((line == TORN).any() for line in lines):
        raise NoMapError("it was put together from several places, as the states of a recurrent layer are")
    _check_dims(shape, spatial, channels, flat=bool(along) and not spatial)
    rest = [dim for dim in range(len(shape)) if dim not in spatial and dim not in channels]
    places, height, width = _places(lines, [shape[dim] for dim in spatial], spatial, len(shape))
    size = (prod(shape[dim] for dim in channels), height, width)
    return Layout(shape, size, (*rest, *channels, *spatial), places, words_of(found, shape))


def _varies(plane: Array, dim: int) -> bool:
    return plane.shape[dim] > 1 and bool((plane.take([0], axis=dim) != plane).any())


def _channel_dims(channel: Array | None, shape: tuple[int, ...]) -> list[int]:
    if channel is None or channel.ndim != len(shape) + 1:
        return []
    return [dim for dim in range(len(shape)) if channel.shape[dim + 1] > 1]


def _check_dims(shape: tuple[int, ...], spatial: list[int], channels: list[int], *, flat: bool) -> None:
    """Each dimension is one of channels, or of places, or has size 1."""
    if not spatial and (flat or len(shape) < 4):
        several = sum(size > 1 for size in shape) > 1
        raise NoMapError(
            "none of its dimensions is rows or columns" if several
            else f"it is a vector of {prod(shape):,} numbers without rows and columns"
        )  # fmt: skip
    for dim, size in enumerate(shape):
        if size > 1 and dim not in spatial and dim not in channels:
            raise NoMapError(f"dimension {dim} of {shape_text(shape)} is neither channels nor places of the image")


def _places(
    lines: Sequence[Array], sizes: Sequence[int], spatial: Sequence[int], rank: int
) -> tuple[Array | None, int, int]:
    """Where along the flattened dimensions of places each unit of the map lies, and the map's height and width."""
    flat = []
    for line in lines:
        slice_of_one = line[tuple(slice(None) if dim in spatial else 0 for dim in range(rank))]
        flat.append(np.broadcast_to(slice_of_one, sizes).reshape(-1))
    if not spatial:
        return None, 1, 1
    flat = [line if line.min() < line.max() else np.zeros_like(line) for line in flat]  # one row: a mean, a strip
    rows, columns = flat if len(flat) == 2 else (np.zeros_like(flat[0]), flat[0])
    placed = (rows >= 0) & (columns >= 0)
    row_numbers, row = np.unique(rows[placed], return_inverse=True)
    column_numbers, column = np.unique(columns[placed], return_inverse=True)
    height, width = len(row_numbers), len(column_numbers)
    cells = row * width + column
    if not len(cells) or len(cells) != height * width or len(np.unique(cells)) != height * width:
        raise NoMapError("it does not hold exactly one value for each place of a map")
    places = np.empty(height * width, dtype=np.int64)
    places[cells] = np.flatnonzero(placed)
    in_order = len(placed) == len(places) and bool((places == np.arange(len(places))).all())
    return (None if in_order else places), height, width
