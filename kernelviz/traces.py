"""What a watched pass tells of a network: its layers in order, their shapes, sums and fields. Plain facts and NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from kernelviz.errors import UnknownLayerError, UsageError

if TYPE_CHECKING:
    from kernelviz.records import Array, Source

Family: TypeAlias = Literal["conv", "norm", "act", "pool", "linear", "other"]


@dataclass(frozen=True)
class AxisField:
    """What the units of a map read along one axis of the input.

    Unit i reads the rows ``first[i]`` to ``last[i]`` inside the image, none where first > last. ``size`` is the largest
    extent, as if the image had no border; where every step of the map moves it alike, ``jump`` is by how many rows and
    ``offset`` where the first unit's begins, which may lie before the image. Both are None elsewhere.
    """

    first: Array
    last: Array
    size: int
    jump: int | None
    offset: int | None


@dataclass(frozen=True)
class Field:
    """What each unit of a map reads, an ``AxisField`` for each axis of the input: rows, then columns.

    Where ``mixes_image``, something that reads the whole image (a gate, a mean, a normalisation over space, attention)
    took part on the way; the rows and columns are those of the way through convolutions and pools.
    """

    axes: tuple[AxisField, ...]
    mixes_image: bool = False


@dataclass(frozen=True)
class Box:
    """The rows ``top`` to ``bottom`` and the columns ``left`` to ``right`` of the input, all inclusive."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class TracedLayer:
    """A module that ran (or never did, ``runs`` 0) and what the watched pass tells of it.

    ``kind`` is its class, ``family`` what it computes. What a module does not have (a stride, a bias) is None. Of several
    runs the output and its field are those of the first. ``output_shape`` is without the batch, ``layout`` with it, a word
    a dimension: ``N C H W``. ``params`` and ``macs`` are its own, without those of modules inside it. ``field`` is None
    where ``lost`` says why it is not known.
    """

    name: str
    kind: str
    family: Family
    params: int
    macs: int
    runs: int
    output_shape: tuple[int, ...] | None = None
    layout: str = ""
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    padding: tuple[int, ...] | Literal["same"] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int | None = None
    bias: bool | None = None
    field: Field | None = None
    lost: str = ""
    changes: bool = True


@dataclass(frozen=True)
class Trace:
    """One watched pass: its layers in the order in which they ran, those that never ran last.

    ``input_size`` is (C, H, W). ``params`` and ``macs`` are those of the whole network, and the sums over ``layers``:
    multiply-adds of convolutions and matrix products alone.
    """

    input_size: tuple[int, ...]
    layers: tuple[TracedLayer, ...]
    params: int
    macs: int
    source: Source | None = None
    stages: tuple[str, ...] = ()

    def layer(self, name: str) -> TracedLayer:
        """The layer of this name.

        Raises:
            UnknownLayerError: the pass met none.
        """
        found = next((layer for layer in self.layers if layer.name == name), None)
        if found is None:
            raise UnknownLayerError(f"The pass met no layer called {name!r}.", hint="`trace.layers` lists them all.")
        return found

    def field_of(self, layer: str, row: int, column: int) -> Box:
        """The rows and columns of the image that one unit of a layer's output reads.

        Raises:
            UnknownLayerError: the pass met no layer of this name.
            UsageError: it never ran, ran more than once, its field is not known, is that of no 2-D map, or there is no
                such unit.
        """
        record = self.layer(layer)
        if record.runs == 0:
            raise UsageError(f"The layer {layer} did not run, so its units read nothing.", hint="Choose another layer.")
        if record.runs > 1:
            raise UsageError(
                f"The layer {layer} ran {record.runs} times, and its units may read something else each time.",
                hint="Choose a layer that runs once, the one before or behind it for example.",
            )
        if record.field is None or len(record.field.axes) != 2:
            why = record.lost or "Its output is no map of rows and columns."
            raise UsageError(f"What the units of {layer} read is not known.", why)
        rows, columns = record.field.axes
        if not (0 <= row < len(rows.first) and 0 <= column < len(columns.first)):
            size = f"{len(rows.first)} rows and {len(columns.first)} columns"
            raise UsageError(f"The unit must lie in a map of {size}, but got ({row}, {column}).")
        return Box(int(rows.first[row]), int(rows.last[row]), int(columns.first[column]), int(columns.last[column]))
