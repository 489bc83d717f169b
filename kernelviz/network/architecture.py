"""What a network is without its numbers: its layers, and the names and shapes of the tensors that a weights file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.network.selection import NetworkNames
    from kernelviz.records import ConvLayer, Source


@dataclass(frozen=True)
class Architecture:
    """A network without its numbers.

    ``first`` is the convolution that a forward pass meets first. ``plain`` are the names of the layers that convolve with
    their parameter ``weight`` as it is stored: their kernels can be read from a file alone. ``tensors`` are those of the
    state of the network by name: the type, as ``float32``, and the shape.
    """

    source: Source
    names: NetworkNames
    first: str
    layers: tuple[ConvLayer, ...]
    plain: tuple[str, ...]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]

    def select(self, patterns: Sequence[str] | None) -> list[ConvLayer] | None:
        """The convolutions that the patterns name, as ``select_layers``; None if one of them names none.

        Raises:
            UnknownLayerError: there is no such stage.
        """
        from kernelviz.network.selection import chosen_records

        return chosen_records(patterns, self.layers, self.names, self.first)

    def weight_of(self, layer: str) -> str | None:
        """The tensor that is the weight of a layer as it convolves; None if the network has to compute it."""
        name = f"{layer}.weight"
        if layer not in self.plain:
            return None
        return name if name in self.tensors else "weight" if "weight" in self.tensors else None
