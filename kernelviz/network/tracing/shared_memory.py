"""The memory that tensors share: which are views of one storage, and what is known of them after one is written into."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.weak import TensorWeakRef

from kernelviz.network.tracing.reads import TensorReads, concatenated, narrowed
from kernelviz.network.tracing.rules import Found, part_of, tensors_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class SharedMemory:
    """The living tensors of each storage that several tensors share."""

    def __init__(self) -> None:
        self._met: dict[int, list[TensorWeakRef]] = {}
        self._first: dict[int, TensorWeakRef] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Record a tensor that reads the image, unless its storage has one."""
        where = memory_of(tensor)
        if where is not None and self.first(tensor) is None:
            self._first[where] = TensorWeakRef(tensor)

    def first(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The first recorded tensor in the storage of this one that still exists."""
        where = memory_of(tensor)
        known = self._first.get(where) if where is not None else None
        found: torch.Tensor | None = known() if known is not None else None
        return found if found is not None and memory_of(found) == where else None

    def meet(self, source: torch.Tensor, outputs: Sequence[torch.Tensor]) -> None:
        """Record that ``outputs`` are views of the storage of ``source``."""
        where = memory_of(source)
        if where is None:
            return
        met = [known for known in self._met.get(where, ()) if known() is not None]
        met += [TensorWeakRef(tensor) for tensor in (source, *outputs) if not any(known() is tensor for known in met)]
        self._met[where] = met

    def others(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The other living tensors in the storage of this one."""
        where = memory_of(tensor)
        if where is None:
            return []
        living = [known() for known in self._met.get(where, ())]
        return [other for other in living if other is not None and other is not tensor and memory_of(other) == where]


def written_by(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[torch.Tensor]:
    """The tensors whose elements an operation overwrites, according to its schema."""
    positions, names = _writes(func)
    if not positions:
        return ()
    return tensors_in([*(args[position] for position in positions if position < len(args)), *map(kwargs.get, names)])


@lru_cache(maxsize=4096)
def _writes(func: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    if torch.Tag.inplace_view in func.tags:
        return (), ()  # another view of the same elements
    written = [
        (position, argument.name)
        for position, argument in enumerate(func._schema.arguments)  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return tuple(position for position, _ in written), tuple(name for _, name in written)


@lru_cache(maxsize=4096)
def makes_views(func: Any) -> bool:
    """Whether the output of an operation shares the storage of its first argument."""
    aliases = (result.alias_info for result in func._schema.returns)  # noqa: SLF001
    return func._overloadpacket.__name__ == "_unsafe_view" or any(  # noqa: SLF001
        alias is not None and not alias.is_write for alias in aliases
    )


def after_write(name: str, written: torch.Tensor, value: Found, other: torch.Tensor, before: Found) -> Found:
    """What is known of ``other`` (so far ``before``) after the operation ``name`` wrote ``value`` into ``written``."""
    if (before is None and value is None) or not _overlap(written, other):
        return before
    if abs(written.ndim - other.ndim) == 1:
        return _after_write_into_row(name, written, value, other, before)
    inside, around = _box(written, other), _box(other, written)
    if around is not None:
        return value if inside is not None or value is None else _cut(value, around)
    return _after_partial_write(name, value, inside, other.shape, before)


def _after_partial_write(
    name: str, value: Found, inside: Sequence[tuple[int, int]] | None, shape: Sequence[int], before: Found
) -> Found:
    """What is known of a tensor of this shape after ``value`` was written into the block ``inside`` of it."""
    if before is not None and before.lost:
        return before
    if value is not None and value.lost:
        return without_reads(before, value.lost)
    if inside is None:
        return without_reads(before, f"{name} overwrites part of a tensor")
    pasted = _pasted(before, value, inside, shape)
    return pasted and pasted.each(narrowed)


def _after_write_into_row(name: str, written: torch.Tensor, value: Found, other: torch.Tensor, before: Found) -> Found:
    """As ``after_write``, if one tensor has a dimension less, as ``batch[0]`` has."""
    for dim in range(max(written.ndim, other.ndim)):
        if written.ndim < other.ndim and _box(written.unsqueeze(dim), other) is not None:
            return after_write(name, written.unsqueeze(dim), _lifted(value, dim), other, before)
        if other.ndim < written.ndim and _box(other.unsqueeze(dim), written) is not None:
            after = after_write(name, written, value, other.unsqueeze(dim), _lifted(before, dim))
            return _selected(after, dim)
    return _after_partial_write(name, None, None, other.shape, before)


def _lifted(found: Found, dim: int) -> Found:
    """What is known of a tensor with one more dimension, of size 1."""
    return found and found.moved(lambda planes: np.expand_dims(planes, dim + 1))


def _selected(found: Found, dim: int) -> Found:
    """What is known of a tensor without one of its dimensions, which has size 1."""
    return found and found.moved(lambda planes: planes.squeeze(dim + 1))


def without_reads(found: Found, lost: str) -> TensorReads:
    """What is known of a tensor after other values were written into it: its elements are where they were."""
    return TensorReads(lost=lost) if found is None else replace(found, lost=lost)


def memory_of(tensor: torch.Tensor) -> int | None:
    """The address of the storage, or of its values, which several storages may share after an exchange by DLPack."""
    if tensor.layout != torch.strided:
        return None
    storage = tensor.untyped_storage()
    return int((0 if tensor.is_meta else storage.data_ptr()) or storage._cdata)  # noqa: SLF001


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.numel() or not other.numel():
        return False
    (first, last), (other_first, other_last) = _extent(one), _extent(other)
    return one.dtype != other.dtype or (first <= other_last and other_first <= last)


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The first and last position of a tensor in its storage."""
    first = int(tensor.storage_offset())
    steps = sum((size - 1) * int(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + steps


def _box(inner: torch.Tensor, outer: torch.Tensor) -> list[tuple[int, int]] | None:
    """The block of ``outer`` that is ``inner``: start and stop along each dimension; None if it is not a block."""
    if inner.ndim != outer.ndim or inner.dtype != outer.dtype:
        return None
    box = [(0, 1)] * outer.ndim
    dims = sorted((dim for dim in range(outer.ndim) if outer.shape[dim] > 1), key=outer.stride, reverse=True)
    if any(inner.shape[dim] > 1 for dim in range(outer.ndim) if dim not in dims):
        return None
    away = int(inner.storage_offset() - outer.storage_offset())
    for at, dim in enumerate(dims):
        stride, size = outer.stride(dim), inner.shape[dim]
        reach = sum((outer.shape[finer] - 1) * outer.stride(finer) for finer in dims[at + 1 :])
        if stride <= reach or (size > 1 and inner.stride(dim) != stride):
            return None
        start, away = divmod(away, stride)
        box[dim] = start, start + size
        if start < 0 or start + size > outer.shape[dim]:
            return None
    return None if away else box


def _cut(carried: TensorReads, box: Sequence[tuple[int, int]]) -> TensorReads:
    for dim, (start, stop) in enumerate(box):
        carried = part_of(carried, dim, slice(start, stop))
    return carried


def known_of_view(tensor: torch.Tensor, other: torch.Tensor, found: TensorReads) -> TensorReads:
    """What is known of a tensor in the memory of ``other``, of which ``found`` is known."""
    box = _box(tensor, other)
    return TensorReads(lost="it is another view of the memory of a map") if box is None else _cut(found, box)


def _pasted(base: Found, value: Found, box: Sequence[tuple[int, int]], shape: Sequence[int]) -> Found:
    """``base`` of this shape after ``value`` was written into a block of it."""
    dim = next((dim for dim, (start, stop) in enumerate(box) if stop - start < shape[dim]), None)
    if dim is None or (base is None and value is None):
        return value
    start, stop = box[dim]
    pieces = [(at, to) for at, to in ((0, start), (start, stop), (stop, shape[dim])) if at < to]
    parts: list[Found] = [base and part_of(base, dim, slice(*piece)) for piece in pieces]
    middle = pieces.index((start, stop))
    inner_box = [(0, stop - start) if at == dim else side for at, side in enumerate(box)]
    inner_shape = [stop - start if at == dim else size for at, size in enumerate(shape)]
    parts[middle] = _pasted(parts[middle], value, inner_box, inner_shape)
    if all(part is None for part in parts):
        return None
    return concatenated(parts, [to - at for at, to in pieces], dim, len(shape))
