"""Which tensors share their memory, and what a write through one of them makes of what is known of the others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.weak import TensorWeakRef

from kernelviz.network.carried import Carried, concatenated
from kernelviz.network.fields import narrowed
from kernelviz.network.moves import part_of
from kernelviz.network.operations import tensors_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.network.operations import Found


class Sharing:
    """The living tensors of each memory that more than one of them was seen to lie in."""

    def __init__(self) -> None:
        self._met: dict[int, list[TensorWeakRef]] = {}

    def meet(self, source: torch.Tensor, outputs: Sequence[torch.Tensor]) -> None:
        """Note that ``outputs`` are views of the memory of ``source``."""
        where = _memory(source)
        if where is None:
            return
        met = [known for known in self._met.get(where, ()) if known() is not None]
        met += [TensorWeakRef(tensor) for tensor in (source, *outputs) if not any(known() is tensor for known in met)]
        self._met[where] = met

    def others(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The other living tensors in this one's memory."""
        where = _memory(tensor)
        if where is None:
            return []
        living = [known() for known in self._met.get(where, ())]
        return [other for other in living if other is not None and other is not tensor and _memory(other) == where]


def written_by(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[torch.Tensor]:
    """The tensors whose elements an operation overwrites, by its schema."""
    places, names = _writes(func)
    if not places:
        return ()
    return tensors_in([*(args[place] for place in places if place < len(args)), *map(kwargs.get, names)])


@lru_cache(maxsize=4096)
def _writes(func: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    if torch.Tag.inplace_view in func.tags:
        return (), ()  # another view of the same elements
    written = [
        (place, argument.name)
        for place, argument in enumerate(func._schema.arguments)  # noqa: SLF001
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return tuple(place for place, _ in written), tuple(name for _, name in written)


@lru_cache(maxsize=4096)
def makes_views(func: Any) -> bool:
    """Whether what an operation gives lies in the memory of its first argument."""
    aliases = (result.alias_info for result in func._schema.returns)  # noqa: SLF001
    return func._overloadpacket.__name__ == "_unsafe_view" or any(  # noqa: SLF001
        alias is not None and not alias.is_write for alias in aliases
    )


def after_write(name: str, written: torch.Tensor, value: Found, other: torch.Tensor, before: Found) -> Found:
    """What is known of ``other``, until now ``before``, after the operation ``name`` gave ``written`` its ``value``."""
    if (before is None and value is None) or not _overlap(written, other):
        return before
    inside, around = _box(written, other), _box(other, written)
    if around is not None:
        return value if inside is not None or value is None or value.lost else _cut(value, around)
    if before is not None and before.lost:
        return before
    if value is not None and value.lost:
        return value
    if inside is not None:
        pasted = _pasted(before, value, inside, other.shape)
        return pasted and pasted.each(narrowed)
    return Carried(lost=f"{name} overwrites part of a tensor")


def _memory(tensor: torch.Tensor) -> int | None:
    return int(tensor.untyped_storage()._cdata) if tensor.layout == torch.strided else None  # noqa: SLF001


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    if not one.numel() or not other.numel():
        return False
    (first, last), (other_first, other_last) = _extent(one), _extent(other)
    return one.dtype != other.dtype or (first <= other_last and other_first <= last)


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The first and last position of a tensor in its memory."""
    first = int(tensor.storage_offset())
    steps = sum((size - 1) * int(stride) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + steps


def _box(inner: torch.Tensor, outer: torch.Tensor) -> list[tuple[int, int]] | None:
    """Where ``inner`` lies in ``outer``: start and stop along each dimension; None where it is no such block."""
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


def _cut(carried: Carried, box: Sequence[tuple[int, int]]) -> Carried:
    for dim, (start, stop) in enumerate(box):
        carried = part_of(carried, dim, slice(start, stop))
    return carried


def _pasted(base: Found, value: Found, box: Sequence[tuple[int, int]], shape: Sequence[int]) -> Found:
    """``base`` of this shape with ``value`` in a block of it; at least one of them reads the image."""
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
