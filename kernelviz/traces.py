"""Results of an observed forward pass, for a network and for a single value of a map, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError
from kernelviz.notebook import html_table, record_repr
from kernelviz.wording import UNKNOWN, inflected, nearest_text, shown, split_name, stage_index, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.arithmetic.operations import Operation, Pooling
    from kernelviz.arithmetic.steps import Step
    from kernelviz.records import Array, Box, ConvLayer, Field, Image, SeenImage, Source


Family: TypeAlias = Literal["conv", "norm", "act", "pool", "linear", "other"]


@dataclass(frozen=True)
class TracedLayer:
    """A module in an observed forward pass; ``runs`` is 0 if it never ran.

    ``kind`` is its class, ``family`` what it computes. Attributes that a module does not have (a stride, a bias) are None.
    The output and its field are those of the first run. ``output_shape`` is without the batch, ``layout`` with it, one word
    per dimension: ``N C H W``. ``params`` and ``macs`` exclude those of modules inside it. ``field`` is None if it is not
    known, and ``lost`` is the reason, as it is if only the size of the field is not known.
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

    __repr__ = record_repr


@dataclass(frozen=True)
class Trace:
    """One observed forward pass: its layers in the order in which they ran, those that never ran last.

    ``input_size`` is (C, H, W). ``params`` and ``macs`` are the sums over ``layers``; ``macs`` are the multiply-adds of
    convolutions and matrix products only. The network itself is called by its class. ``first_names`` maps further names of
    modules, those of shared ones, to the names of the layers.

    Example:
        >>> traced = kernelviz.trace(torch.nn.Conv2d(3, 8, 3, padding=1), (3, 32, 32))
        >>> traced.params, traced.macs
        (224, 221184)
        >>> traced.layer("Conv2d").output_shape
        (8, 32, 32)
        >>> traced.field_of("Conv2d", 0, 5)  # rows and columns, beyond the border too
        Box(top=0, bottom=1, left=4, right=6)
    """

    input_size: tuple[int, ...]
    layers: tuple[TracedLayer, ...]
    params: int
    macs: int
    source: Source | None = None
    stages: tuple[str, ...] = ()
    first_names: Mapping[str, str] = field(default_factory=dict, repr=False)

    __repr__ = record_repr

    def _repr_html_(self) -> str:
        """The table of the layers that change their input, as ``kernelviz layers`` prints it."""
        layers = [layer for layer in self.layers if layer.changes]
        sums = f"{self.params:,} parameters, {self.macs:,} multiply-adds at {' × '.join(map(str, self.input_size))}"
        caption = f"{self.source.label}: {sums}" if self.source else sums
        return html_table(HEADS, [layer_cells(layer) for layer in layers], NUMBERS, caption=caption)

    def layer(self, name: str) -> TracedLayer:
        """The layer with this name, or with that of a run, a part or an expert of it: ``name#2``, ``name:0``.

        ``stage:0`` is the module that ends the first stage.

        Raises:
            UnknownLayerError: there is none, it only contains others, or it does not run so often.
        """
        typed, (module, run, _) = name, split_name(name)
        rows = {layer.name: layer for layer in self.layers}
        if name not in rows and (index := stage_index(name, len(self.stages))) is not None:
            name = module = self.stages[index]
        names = (name, self.first_names.get(name), module, self.first_names.get(module))
        found = next((rows[each] for each in names if each in rows), None)
        if found is not None and run is not None and typed not in rows and not 0 <= run < found.runs:
            raise no_such_run(found.name, found.runs, typed)
        if found is None and name not in self.first_names:
            name = module
        inside = [layer.name for layer in self.layers if layer.name.startswith(f"{name}.")]
        if found is None and inside:
            what = f"{shown(name)} contains other layers and computes nothing itself."
            raise UnknownLayerError(
                what, f"The last one inside it is {inside[-1]}.", "`trace.layers` lists all layers."
            )
        if found is None:
            near = nearest_text(rows, typed)
            raise UnknownLayerError(f"No layer is called {shown(typed)}.", near, "`trace.layers` lists all layers.")
        return found

    def field_of(self, layer: str, row: int, column: int) -> Box:
        """The rows and columns of the image that one unit of a layer's output reads.

        Raises:
            UnknownLayerError: there is no layer with this name.
            UsageError: the layer never ran or ran more than once, its field is not known or not 2-D, or there is no such
                unit.
        """
        record = self.layer(layer)
        if record.runs == 0:
            raise UsageError(
                f"The layer {shown(layer)} did not run, so its units read nothing.", hint="Choose another layer."
            )
        if record.runs > 1:
            raise UsageError(
                f"The layer {shown(layer)} ran {record.runs} times, and its units may read other pixels each time.",
                hint="Choose a layer that runs once, for example the one before or after it.",
            )
        if record.field is None or len(record.field.axes) != 2:
            why = record.lost or "Its output is not a map of rows and columns."
            raise UsageError(f"The receptive field of {shown(layer)} is not known.", why)
        rows, columns = record.field.axes
        if not (0 <= row < len(rows.first) and 0 <= column < len(columns.first)):
            size = f"{len(rows.first)} rows and {len(columns.first)} columns"
            raise UsageError(f"The unit must be in a map of {size}, but got ({row}, {column}).")
        return record.field.box(row, column)


def not_reached(layer: str, hint: str = "") -> KernelvizError:
    """The error for a layer that a forward pass leaves out."""
    why = "The network contains it, but the forward pass does not reach it."
    return KernelvizError(f"The layer {shown(layer)} did not run.", why, hint)


def no_such_run(layer: str, runs: int, typed: str) -> UnknownLayerError:
    """The error for the name of a run, as ``layer#3``, of a layer that does not run so often."""
    count = f"{runs} {inflected(runs, 'time')}"
    return UnknownLayerError(f"{shown(layer)} runs {count}, so there is no {shown(typed)}.")


@dataclass(frozen=True)
class Unit:
    """One value of a convolution's feature map and the numbers that it is computed from.

    ``at`` is (channel, row, column), ``value`` the network's output there. ``numbers`` are the n input channels that the
    kernel reads, ``window`` (n, kh, kw) the values under the kernel, and ``kernel`` (n, kh, kw) their weights (rotated by
    180° for a transposed convolution). ``padding`` (kh, kw) marks the taps outside the input (zeros, unless the layer
    reflects, replicates or wraps its input), ``stretched`` the zeros between the rows of a transposed convolution's input.
    ``rows`` and ``columns`` are the first and the last row and column of ``inputs`` (n, H, W) under the kernel; they may be
    outside. ``around`` is the padding (top, bottom, left, right), including padding that the layer adds itself.
    ``reads_image``: the inputs are the network's own input. ``map`` (h, w) is the whole feature map.

    ``box`` is the unit's receptive field through convolutions and pools; if ``mixes_image``, a gate, a mean or attention
    adds the rest of the image. It is None if it is not known, and ``unseen`` is the reason. All sums are in float64.

    Example:
        >>> unit = kernelviz.trace_unit(torch.nn.Conv2d(3, 8, 3), torch.rand(3, 16, 16), "Conv2d", at=(5, 2, 7))
        >>> unit.kernel.shape, unit.products.shape, unit.sums.shape
        ((3, 3, 3), (3, 3, 3), (3,))
        >>> np.allclose(unit.sums.sum() + unit.bias, unit.value)
        True
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

    __repr__ = record_repr

    @property
    def products(self) -> Array:
        """(n, kh, kw): what each tap contributes."""
        return cast("Array", step_of(self).products)

    @property
    def sums(self) -> Array:
        """(n,): what each input channel contributes."""
        return cast("Array", step_of(self).sums)

    @property
    def total(self) -> float:
        """The sum of all contributions and the bias: ``value`` before rounding to float32."""
        import numpy as np

        with np.errstate(all="ignore"):
            return float(self.sums.sum()) + (self.bias or 0.0)

    def strongest(self, count: int) -> tuple[int, ...]:
        """The positions, in ``numbers``, of the channels that contribute most in size, the largest first."""
        return step_of(self).strongest(count)


@dataclass(frozen=True)
class PooledUnit(Unit):
    """One value of a pooled map: a ``Unit`` whose kernel holds the shares of the values in its window.

    ``operation`` are the sizes of the pooling. A maximum has the share 1 at the first of its largest values, and 0
    elsewhere; a mean has 1 / ``counted`` at every value that it counts. The window has 0 where padding is ignored.

    Example:
        >>> image = torch.arange(16.0).reshape(1, 4, 4)
        >>> unit = kernelviz.trace_unit(torch.nn.MaxPool2d(2), image, "MaxPool2d", at=(0, 1, 0))
        >>> unit.value, unit.window[0], unit.kernel[0]
        (13.0, array([[ 8.,  9.],
               [12., 13.]]), array([[0., 0.],
               [0., 1.]]))
    """

    operation: Pooling | None = None
    counted: int | None = None

    __repr__ = record_repr

    @property
    def maximum(self) -> bool:
        """Whether it is a maximum, not a mean."""
        return self.counted is None

    @property
    def total(self) -> float:
        """The largest value, or the mean: ``value`` before rounding to float32."""
        import numpy as np

        with np.errstate(all="ignore"):
            if self.counted is None:
                return float(self.window[self.kernel > 0][0])
            return float(self.window[self.kernel > 0].sum()) / self.counted

    @property
    def taken(self) -> tuple[int, int] | None:
        """The row and column, in the window, of the value that a maximum takes; None of a mean."""
        if self.counted is not None:
            return None
        _, row, column = (int(at[0]) for at in (self.kernel > 0).nonzero())
        return row, column


@dataclass(frozen=True)
class Maker:
    """The layer that made input channels ``first`` to ``first + count − 1`` of another: its channels from ``channel`` on.

    If ``added``, each is a sum of this layer's channel and others, as after a shortcut; the layer is then the latest one.
    """

    first: int
    count: int
    layer: str
    channel: int
    added: bool = False


@dataclass(frozen=True)
class UnitTerms:
    """Some values of the maps of one convolution, as arrays over these n units: the t strongest terms of each sum.

    ``at`` (n, 3) are channel, row and column, ``values`` (n,) the network's output there. Each value is the sum of
    ``sums`` (n, t), of ``rest`` (n,), what the other input channels contribute, and of ``bias`` (n,), if there is one.
    ``numbers`` (n, t) are the input channels of the terms, the strongest first, ``windows`` and ``kernels``
    (n, t, kh, kw) their factors as in ``Unit``, ``of`` counts the input channels of a unit. ``taps`` (n, kh, kw) is 1 for
    padding and 2 for the zeros between the rows of a transposed convolution's input.
    """

    at: Array
    values: Array
    numbers: Array
    windows: Array
    kernels: Array
    sums: Array
    rest: Array
    taps: Array
    of: int
    bias: Array | None = None

    __repr__ = record_repr

    def only(self, chosen: Array) -> UnitTerms:
        """Some of the units, by a mask (n,) or their positions."""
        arrays = {
            name: value[chosen]
            for name in ("at", "values", "numbers", "windows", "kernels", "sums", "rest", "taps", "bias")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **arrays)


def step_of(unit: Unit) -> Step:
    """The unit as one step of a convolution."""
    from kernelviz.arithmetic.steps import Step

    return Step(
        at=unit.at[1:],
        channel=unit.at[0],
        channels=unit.numbers,
        window=unit.window,
        padding=unit.padding,
        stretched=unit.stretched,
        weights=unit.kernel,
        bias=unit.bias,
        value=unit.value,
    )


@dataclass(frozen=True)
class LayerOperation:
    """The convolution or pool that ran in a layer for an image of ``input_size`` (C, H, W).

    ``layer`` is its row of the trace, ``operation`` its sizes. ``notes`` list irregularities.
    """

    layer: TracedLayer
    operation: Operation
    input_size: tuple[int, ...]
    source: Source | None = None
    notes: tuple[str, ...] = ()

    __repr__ = record_repr


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


HEADS = (
    "layer", "kind", "kernel", "stride", "padding", "dilation", "groups", "bias", "output", "params", "macs", "field",
    "jump", "runs", "layout",
)  # fmt: skip
NUMBERS = frozenset({"groups", "params", "macs", "runs"})


def layer_cells(layer: TracedLayer, *, layout: bool = False) -> tuple[str, ...]:
    """One row as text, under ``HEADS``; empty where something does not apply, and the layout unless requested."""
    return (
        visible(layer.name),
        layer.kind,
        _sides(layer.kernel),
        _sides(layer.stride),
        layer.padding if isinstance(layer.padding, str) else _sides(layer.padding),
        _sides(layer.dilation),
        "" if layer.groups is None else str(layer.groups),
        {True: "yes", False: "no", None: ""}[layer.bias],
        "" if layer.output_shape is None else " × ".join(map(str, layer.output_shape)),
        f"{layer.params:,}",
        f"{layer.macs:,}",
        field_text(layer),
        _jump_text(layer),
        "" if layer.runs == 1 else str(layer.runs),
        layout_text(layer) if layout else "",
    )


def layout_text(layer: TracedLayer) -> str:
    """What each dimension of the output is, as ``N C H W``; with ``lost`` if rows and columns could not be traced."""
    if not layer.runs:
        return ""
    return f"{layer.layout} (lost)" if "?" in layer.layout and layer.lost else layer.layout


def field_text(layer: TracedLayer) -> str:
    """``43`` or ``43 × 27``, with ``+`` if the whole image is mixed in; ``?`` for what is not known."""
    if layer.field is None:
        return UNKNOWN if layer.runs else ""
    sizes = [UNKNOWN if axis.size is None else axis.size for axis in layer.field.axes]
    return _sides(sizes) + ("+" if layer.field.mixes_image else "")


def _jump_text(layer: TracedLayer) -> str:
    if layer.field is None:
        return ""
    jumps = [axis.jump for axis in layer.field.axes]
    return "" if None in jumps else _sides([jump for jump in jumps if jump is not None])


def _sides(sides: Sequence[int | str] | None) -> str:
    """``3`` for a square, else ``3 × 5``."""
    if not sides:
        return ""
    return str(sides[0]) if len(set(sides)) == 1 else " × ".join(map(str, sides))


def total_cells(trace: Trace, layers: Sequence[TracedLayer]) -> tuple[str, ...]:
    """The last row: the sums of the columns above it."""
    cells = dict.fromkeys(HEADS, "")
    many = f"{len(layers)} of {len(trace.layers)}" if len(layers) < len(trace.layers) else str(len(layers))
    cells["layer"] = f"total of {many} layers"
    cells["params"] = f"{sum(layer.params for layer in layers):,}"
    cells["macs"] = f"{sum(layer.macs for layer in layers):,}"
    return tuple(cells.values())
