"""Read kernels from a safetensors file alone, without torch: those that convolve as they are stored."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kernelviz.records import KernelBank, as_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kernelviz.network.selection import NetworkNames
    from kernelviz.records import Array, ConvLayer, Source


@dataclass(frozen=True)
class StoredKernels:
    """The convolutions of a network, and where their weights are in a safetensors file.

    ``first`` is the one that a forward pass meets first. ``tensors`` names, for each layer that convolves with a tensor of
    ``file`` as it is, that tensor.
    """

    source: Source
    names: NetworkNames
    first: str
    layers: tuple[ConvLayer, ...]
    tensors: Mapping[str, str]
    file: str

    def select(self, patterns: Sequence[str] | None) -> list[ConvLayer] | None:
        """The convolutions that the patterns name, as ``select_layers``; None if one of them is not in the file.

        Raises:
            UnknownLayerError: there is no such stage.
        """
        from kernelviz.network.selection import chosen_records

        chosen = chosen_records(patterns, self.layers, self.names, self.first)
        return None if chosen is None or any(layer.name not in self.tensors for layer in chosen) else chosen

    def holds(self, layers: Sequence[ConvLayer]) -> bool:
        """Whether the file has the kernels of these layers, in the shapes that the layers state."""
        try:
            with opened(self.file) as tensors:
                return all(
                    tensors.shape(self.tensors[each.name]) == each.weight_shape == _shape(each) for each in layers
                )
        except (OSError, ValueError, KeyError, ArithmeticError):
            return False

    def read(self, layer: ConvLayer, *, stored: bool = False) -> KernelBank:
        """The kernels of one of the layers in ``tensors``, as ``read_kernels`` returns them.

        Raises:
            OSError, ValueError, KeyError: the file has changed.
        """
        with opened(self.file) as tensors:
            weight = as_array(tensors.read(self.tensors[layer.name]))
        return stored_bank(weight, layer, self.source, reading="stored" if stored else None)


class StoredTensors:
    """The tensors of an open safetensors file; each is read when it is needed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.names = frozenset(file.keys())

    def read(self, name: str) -> Array:
        """One tensor.

        Raises:
            ValueError: there is none of this name, or NumPy has no such type.
        """
        from safetensors import SafetensorError

        try:
            found: Array = self._file.get_tensor(name)
        except (SafetensorError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(str(error)) from None
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one tensor, whose numbers are not read.

        Raises:
            ValueError: there is none of this name.
        """
        from safetensors import SafetensorError

        try:
            return tuple(self._file.get_slice(name).get_shape())
        except (SafetensorError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(str(error)) from None


def _shape(layer: ConvLayer) -> tuple[int, ...]:
    """The shape of a layer's weight as its numbers of channels and its kernel determine it."""
    first, second = layer.out_channels, layer.in_channels
    if layer.transposed:
        first, second = second, first
    return (first, second // layer.groups, *layer.kernel_size)


@contextmanager
def opened(file: Path | str) -> Iterator[StoredTensors]:
    """A safetensors file, opened.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        tensors = safe_open(file, framework="numpy")
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    with tensors as held:
        yield StoredTensors(held)


def stored_bank(
    weight: Array,
    layer: ConvLayer,
    source: Source,
    notes: tuple[str, ...] = (),
    reading: Literal["effective", "stored"] | None = None,
) -> KernelBank:
    """The record of a layer's weight as the module holds it; the axes of a transposed convolution are turned."""
    if layer.transposed:
        notes = ("transposed convolution: axes swapped to (out, in / groups, ...)", *notes)
        weight = _turned(weight, layer.groups)
    return KernelBank(weight, layer, source, layer.groups, notes, reading)


def _turned(weight: Array, groups: int) -> Array:
    """(in, out / groups, *k) of a transposed convolution as (out, in / groups, *k)."""
    inputs, outputs, *kernel = weight.shape
    grouped = weight.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    return grouped.reshape(groups * outputs, inputs // groups, *kernel)


def tensors_file(tensors: Mapping[str, Array]) -> bytes:
    """The content of a safetensors file with these tensors."""
    from safetensors.numpy import save

    content: Any = save(dict(tensors))
    return bytes(content)
