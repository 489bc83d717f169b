"""What an observed forward pass tells of a network, and of a single value of a map, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from kernelviz.errors import UnknownLayerError, UsageError
from kernelviz.wording import nearest_text, shown

if TYPE_CHECKING:
    from kernelviz.arithmetic.operations import Operation
    from kernelviz.records import Array, ConvLayer, Image, SeenImage, Source


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
            near = nearest_text([layer.name for layer in self.layers], name)
            raise UnknownLayerError(f"No layer is called {shown(name)}.", near, "`trace.layers` lists all layers.")
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
                f"The layer {layer} ran {record.runs} times, and its units may read other pixels each time.",
                hint="Choose a layer that runs once, for example the one before or after it.",
            )
        if record.field is None or len(record.field.axes) != 2:
            why = record.lost or "Its output is no map of rows and columns."
            raise UsageError(f"The receptive field of {layer} is not known.", why)
        rows, columns = record.field.axes
        if not (0 <= row < len(rows.first) and 0 <= column < len(columns.first)):
            size = f"{len(rows.first)} rows and {len(columns.first)} columns"
            raise UsageError(f"The unit must be in a map of {size}, but got ({row}, {column}).")
        return Box(int(rows.first[row]), int(rows.last[row]), int(columns.first[column]), int(columns.last[column]))


@dataclass(frozen=True)
class Unit:
    """One value of a convolution's feature map, worked out.

    ``at`` is (channel, row, column), ``value`` what the network gave there. ``window`` (n, kh, kw) holds what the kernel
    met in the ``numbers`` of the n input channels that it reads. ``padding`` (kh, kw) tells what lies around the input
    (zeros, unless the layer mirrors, repeats or wraps it), ``stretched`` the zeros between the rows of a transposed one's.
    ``kernel`` (n, kh, kw) lies on it tap by tap (that of a transposed convolution is turned by 180°). ``rows`` and
    ``columns`` are the first and the last of ``inputs`` (n, H, W) under the kernel; they may lie outside.
    ``around`` is the padding (top, bottom, left, right), of the layer and what it puts around its input by itself.
    ``reads_image`` says that these inputs are the network's own. ``map`` (h, w) is the whole feature map.

    ``box`` is what the unit sees of the image through convolutions and pools; where ``mixes_image``, a gate, a mean or
    attention mixes in the rest. It is None where that is not known, and ``unseen`` says why. All sums are in float64.
    """

    layer: ConvLayer
    at: tuple[int, int, int]
    value: float
    numbers: tuple[int, ...]
    inputs: Array
    window: Array
    kernel: Array
    padding: Array
    stretched: Array
    rows: tuple[int, int]
    columns: tuple[int, int]
    bias: float | None
    map: Array
    around: tuple[int, int, int, int] = (0, 0, 0, 0)
    reads_image: bool = False
    box: Box | None = None
    mixes_image: bool = False
    unseen: str = ""
    source: Source | None = None
    image: Image | None = None
    seen: SeenImage | None = None
    input_size: tuple[int, ...] | None = None

    @property
    def products(self) -> Array:
        """(n, kh, kw): what each tap contributes."""
        with np.errstate(all="ignore"):
            return self.window * self.kernel

    @property
    def sums(self) -> Array:
        """(n,): what each input channel contributes."""
        with np.errstate(all="ignore"):
            return np.asarray(self.products.sum(axis=(1, 2)))

    @property
    def total(self) -> float:
        """All contributions and the bias, added up: ``value`` before float32 rounded it."""
        with np.errstate(all="ignore"):
            return float(self.sums.sum()) + (self.bias or 0.0)

    def strongest(self, count: int) -> tuple[int, ...]:
        """The places, in ``numbers``, of the channels that contribute most in size, the largest first."""
        sizes = abs(self.sums)
        return tuple(sorted(range(len(sizes)), key=lambda position: (-float(sizes[position]), position))[:count])


@dataclass(frozen=True)
class LayerOperation:
    """The convolution or pool that ran in a layer for an image of ``input_size`` (C, H, W).

    ``layer`` is what the watched pass tells of it, ``operation`` its sizes. ``notes`` say what is odd.
    """

    layer: TracedLayer
    operation: Operation
    input_size: tuple[int, ...]
    source: Source | None = None
    notes: tuple[str, ...] = ()


def layer_entry(layer: TracedLayer) -> dict[str, Any]:
    """One row of the layer table."""
    field = layer.field
    return {
        "name": layer.name,
        "kind": layer.kind,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "bias": layer.bias,
        "output_shape": layer.output_shape,
        "layout": layer.layout or None,
        "params": layer.params,
        "macs": layer.macs,
        "runs": layer.runs,
        "receptive_field": None
        if field is None
        else {
            "size": [axis.size for axis in field.axes],
            "jump": _all_or_none([axis.jump for axis in field.axes]),
            "offset": _all_or_none([axis.offset for axis in field.axes]),
            "global": field.mixes_image,
        },
        "unknown": layer.lost or None,
    }


def _all_or_none(numbers: list[int | None]) -> list[int | None] | None:
    return None if None in numbers else numbers
