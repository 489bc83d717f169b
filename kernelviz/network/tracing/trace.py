"""From an observed forward pass to a ``Trace``: the layers in order, with the receptive fields of their units."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from kernelviz.errors import BrokenPassError, KernelvizError, UsageError
from kernelviz.network.convolutions import first_names, list_layers
from kernelviz.network.inputs import FurtherInputs, as_sizes, axes_read, check_batched
from kernelviz.network.model import Model, named_stages, root_of
from kernelviz.network.selection import without_expert
from kernelviz.network.snapshot import SCRIPTED, is_scripted
from kernelviz.network.tracing import reads
from kernelviz.network.tracing.next_size import naming_next_size
from kernelviz.network.tracing.reads import (
    FAR,
    FIRST,
    FREE_FIRST,
    FREE_LAST,
    LAST,
    POSITION,
    AxisReads,
    TensorReads,
    distinct_slices,
    together,
    whole,
)
from kernelviz.network.tracing.rules import QUANTISED_LINEAR
from kernelviz.network.tracing.stages import stages_by_resolution
from kernelviz.network.tracing.watch import ObservedPass, blank_batch, observe_pass
from kernelviz.network.tracing.window_rules import QUANTISED_CONVOLUTIONS
from kernelviz.network.weights.names import LARGEST_TRACED
from kernelviz.records import AxisField, Field
from kernelviz.traces import Trace, TracedLayer
from kernelviz.wording import AXES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from torch import Tensor

    from kernelviz.network.tracing.watch import ModuleVisit
    from kernelviz.records import Array, ConvLayer, Source
    from kernelviz.traces import Family


def trace(
    network: Model | nn.Module,
    input_size: Sequence[Any] | Mapping[str, Any] | Tensor | None = None,
) -> Trace:
    """Observe one forward pass of an image of ``input_size``, (C, H, W), on ``meta``, without weights or arithmetic.

    If the forward pass depends on values, as that of a detector does, or fails on ``meta`` for another reason, the network
    itself runs on a black image, unless its weights are on ``meta``. The network is not changed.

    ``input_size`` may be omitted for a ``Model``; (C, L) and (C, D, H, W) are sizes as well. Of several inputs it contains
    the sizes, ``((3, 32, 32), (3, 32, 32))``, or by name, ``{"x": (3, 32, 32), "t": torch.tensor([3])}``: a tensor in place
    of a size is itself, and so are numbers, texts and None, as in ``capture_features``. Receptive fields are those on the
    first one, and on others of its height and width.

    Raises:
        UsageError: the input size is missing or not valid.
        BrokenPassError: the network does not take such an input; its ``trace`` holds the layers that ran before.
        NeedsValuesError: the forward pass depends on values, and the network has no weights.
        KernelvizError: the network cannot be copied.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> traced = kernelviz.trace(network, (3, 32, 32))
        >>> for layer in traced.layers:
        ...     print(layer.name, layer.kind, layer.output_shape, layer.macs)
        0 Conv2d (8, 15, 15) 48600
        1 ReLU (8, 15, 15) 0
        2 Conv2d (4, 13, 13) 48672
        >>> traced.field_of("2", 0, 0)
        Box(top=0, bottom=6, left=0, right=6)
    """
    module = root_of(network)
    first, further = as_sizes(module, input_size)
    size = checked_size(network, first)
    try:
        with naming_next_size(network, size):
            observed = observe_pass(module, size, blank_batch(module, size), further)
    except BrokenPassError as error:
        if isinstance(error.observed, ObservedPass):
            found = with_sure_sizes(as_trace(network, error.observed, size), error.observed, module, further)
            error.trace = replace(found, layers=tuple(layer for layer in found.layers if layer.runs))
        raise
    check_batched(module, observed.visits, size)
    return with_sure_sizes(as_trace(network, observed, size), observed, module, further)


def with_sure_sizes(
    traced: Trace, observed: ObservedPass, module: nn.Module, further: FurtherInputs | None = None
) -> Trace:
    """The trace without the sizes of receptive fields that depend on the size of the image.

    An uncertain size must be the same in an image of twice the size, if the network takes one; ``further`` are its other
    inputs.
    """
    title = type(module).__name__  # of the network itself, as in ``network_rows``
    reads_of = {name or title: visit.found for name, visit in observed.visits.items() if visit.found is not None}
    others = {}
    if any(found.uncertain for found in reads_of.values()):
        sides = traced.input_size[1:]
        twice = (traced.input_size[0], *(2 * side for side in sides))
        with suppress(KernelvizError):
            batch = blank_batch(module, twice) if observed.network is module else None
            larger = observe_pass(module, twice, batch, further and further.resized(sides, twice[1:]))
            others = {layer.name: layer.field for layer in as_trace(module, larger, twice).layers}
    layers = (
        _with_sure_size(layer, reads_of.get(layer.name), others.get(layer.name), traced.input_size[1:])
        for layer in traced.layers
    )
    return replace(traced, layers=tuple(layers))


def _with_sure_size(
    layer: TracedLayer, found: TensorReads | None, other: Field | None, sides: Sequence[int]
) -> TracedLayer:
    """The layer with the sizes of its field that do not depend on the image; ``other`` is that in the larger image."""
    if layer.field is None or found is None:
        return layer
    axes = [
        replace(axis, size=None) if reads.torn else axis
        for axis, reads in zip(layer.field.axes, found.axes, strict=True)
    ]
    if found.uncertain and other is not None:
        mixed, guessed = layer.field.mixes_image, found.guessed
        axes = [
            replace(axis, size=_size_of_both(axis, second, side, whole_image=mixed, guessed=guessed))
            for axis, second, side in zip(axes, other.axes, sides, strict=True)
        ]
    lost = "" if all(axis.size is not None for axis in axes) else _GROWS
    return replace(layer, field=replace(layer.field, axes=tuple(axes)), lost=lost)


_GROWS = "the number of rows and columns that a unit reads depends on the size of the image"


def _size_of_both(axis: AxisField, second: AxisField, side: int, *, whole_image: bool, guessed: bool) -> int | None:
    """The size of a receptive field in images of ``side`` and twice as many rows; None if they differ.

    With ``whole_image``, all units may read all of it; if the size is ``guessed``, it must grow by the image then, since
    otherwise a window covers the smaller image only.
    """
    inside, inside_second = _size_inside(axis, side), _size_inside(second, 2 * side)
    if guessed and axis.size is not None and second.size is not None:
        whole_image = whole_image and second.size - axis.size == side
    if axis.size is None or (whole_image and not inside and not inside_second):
        return axis.size
    if axis.size == second.size and max(inside, inside_second) <= axis.size:
        return axis.size
    return inside if inside == inside_second and inside else None


def _size_inside(axis: AxisField, side: int) -> int:
    """The largest extent of the fields that do not touch the border of the image; 0 if all touch it."""
    inside = (axis.first > 0) & (axis.last < side - 1) & (axis.first <= axis.last)
    return int((axis.last - axis.first + 1)[inside].max(initial=0))


def as_trace(
    network: Model | nn.Module, observed: ObservedPass, size: tuple[int, ...], *, fields: bool = True
) -> Trace:
    """The layers of an observed forward pass as a record; it is faster without ``fields``."""
    source, stages = network.source if isinstance(network, Model) else None, named_stages(network)
    if stages is None:
        stages = stages_by_resolution(observed)
    found = network_rows(observed.network, observed.visits, size, source=source, stages=stages, fields=fields)
    return replace(found, first_names=first_names(network))


def checked_size(network: Model | nn.Module, input_size: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one image, (C, H, W): the given one, or the model's own.

    Raises:
        UsageError: it is missing or not valid.
    """
    if input_size is None:
        if not isinstance(network, Model):
            raise UsageError(
                "The input size is missing.", hint="Give the shape of one image, input_size=(3, 224, 224)."
            )
        return network.input_size
    size = tuple(input_size)
    if not 1 <= len(size) <= 4 or not all(isinstance(side, int) and 0 < side <= LARGEST_TRACED for side in size):
        axes = AXES[axes_read(network)].replace("C", "channels").replace("L", "samples").replace("D", "depth")
        form = axes.replace("H", "height").replace("W", "width")
        what = f"The input size must be whole numbers ({form}), but got {size}."
        raise UsageError(what, f"None may be larger than {LARGEST_TRACED}.")
    return size


def receptive_field(carried: TensorReads | None) -> Field | None:
    """The receptive field of each unit of a map; None if it is not known."""
    if carried is None or carried.lost or unsettled(carried):
        return None
    return Field(tuple(_axis_field(_by_position(carried, axis)) for axis in range(len(carried.axes))), carried.mixed)


def unsettled(carried: TensorReads) -> str:
    """Why receptive fields cannot be derived; empty if they can."""
    if carried.several_images:
        return reads.SEVERAL_IMAGES
    axes = [_by_position(carried, axis) for axis in range(len(carried.axes))]
    if not all(axis.planes.size for axis in axes):
        return "its output has no values"
    if astray := [each for each in axes if _astray(each)]:
        known = next((each.gridless for each in astray if each.gridless), "")
        return known or "which element of its output belongs to which row and column was lost track of"
    if any(_crossing(one, other) for one, other in permutations(axes, 2)):
        return "what a unit reads along one axis depends on its place along the other one too"
    return ""


def _astray(reads: AxisReads) -> bool:
    """Whether elements read different rows, but their positions are not known."""
    return bool(reads.spread) and not reads.pooled and not reads.positioned and _differ(reads)


def _differ(reads: AxisReads) -> bool:
    return any(
        (term[plane] != term[plane].flat[0]).any() for term in (reads.planes, *reads.beside) for plane in (FIRST, LAST)
    )


def _crossing(reads: AxisReads, other: AxisReads) -> bool:
    """Whether the rows that an element reads depend on its column, as for the sum of a map and its transpose."""
    if reads.pooled or other.pooled or not set(reads.spread) & set(other.varies_along):
        return False
    reads = _united_but_along(reads, {*reads.varies_along, *other.varies_along})
    planes = distinct_slices(
        [reads.planes[[FIRST, LAST, POSITION]], other.planes[[POSITION]]], range(reads.planes.ndim - 1)
    )
    first, last, row, column = np.broadcast_arrays(*planes[0], *planes[1])
    used = (row >= 0) & (column >= 0)
    if not used.any():
        return False
    positions = [np.unique(position[used], return_inverse=True) for position in (row, column)]
    cells = tuple(inverse for _, inverse in positions)
    table = np.full([len(known) for known, _ in positions], 0)
    for plane, empty, unite in ((first, FAR, np.minimum), (last, -FAR, np.maximum)):
        table[:] = empty
        unite.at(table, cells, plane[used])
        met = np.ma.masked_equal(table, empty)
        if bool((met.max(axis=1) != met.min(axis=1)).any()):
            return True
    return False


def _by_position(carried: TensorReads, axis: int) -> AxisReads:
    """The reads of one axis; its positions are renumbered if a dimension of the tensor belongs to this axis alone."""
    reads = carried.axes[axis]
    home = carried.home(axis)
    others = (other for other in range(len(carried.axes)) if other != axis)
    if home is None or any(home in carried.axes[other].varies_along for other in others):
        return reads
    around = [1] * (reads.planes.ndim - 1)
    around[home] = reads.planes.shape[home + 1]
    planes = reads.planes.copy()
    planes[POSITION] = np.arange(around[home]).reshape(around)
    return replace(reads, planes=planes)


def _axis_field(reads: AxisReads) -> AxisField:
    first, last, free_first, free_last = _as_line(reads)
    reading = free_first <= free_last
    size = int((free_last - free_first + 1)[reading].max()) if reading.any() else 0
    steps = np.unique(np.concatenate([np.diff(free_first), np.diff(free_last)]))
    jump = None
    if len(steps) == 1 and reading.all():
        jump = int(steps[0]) or None  # zero if every unit reads the whole image
    elif len(first) == 1 and not reads.pooled and reads.jump.denominator == 1:
        jump = int(reads.jump)
    nowhere = first > last
    if ((first > free_last) | (last < free_first))[~nowhere].any():
        jump = None  # rows of the far side of the image
    offset = int(free_first[0]) if jump is not None and reading[0] else None
    first[nowhere], last[nowhere] = 0, -1
    return AxisField(first, last, size, jump, offset)


def centres_with_padding(carried: TensorReads, sides: Sequence[int]) -> list[Array] | None:
    """The middles of what units read along each axis, if the map covers more than the ``sides`` of the image, else None.

    A network may pad a batch on one side, as detectors do. Units that read nothing but padding are infinitely far away. If
    most middles are evenly spaced, those of units that read beyond the border of the image continue them.
    """
    if len(carried.axes) != len(sides):
        return None
    lines, beyond = [], False
    for axis, side in enumerate(sides):
        first, last, free_first, free_last = _as_line(_by_position(carried, axis))
        middle = (free_first + free_last) / 2
        padding = free_first > free_last
        inside = np.flatnonzero(~padding & (first <= last))
        if not len(inside) or (np.diff(middle[inside[0] : inside[-1] + 1]) < 0).any():
            return None
        numbers = np.arange(len(middle))
        middle = np.where(padding & (numbers < inside[0]), -np.inf, np.where(padding, np.inf, middle))
        steps = np.diff(middle[inside])
        step = float(np.median(steps)) if len(steps) else 0.0
        if step and 2 * (steps == step).sum() >= len(steps):
            start = inside[int(np.argmax(steps == step))]
            middle[start:] = middle[start] + step * (numbers[start:] - start)
        beyond = beyond or bool((padding & (first > last)).any()) or len(middle) * step > side + step / 4
        lines.append(middle)
    return lines if beyond else None


def _as_line(reads: AxisReads) -> list[Array]:
    """For each position of the map the union of what its elements read, as four arrays."""
    planes = _united_but_along(reads, set(reads.varies_along)).planes
    (planes,) = distinct_slices([planes], range(planes.ndim - 1))
    known = planes[POSITION]
    known = np.where(known < 0, 0, known) if known.max(initial=0) <= 0 else known
    used = known >= 0
    positions = np.unique(known[used])  # merging patches leaves out positions
    known = np.searchsorted(positions, known)
    lines = []
    for plane, empty, unite in (
        (FIRST, FAR, np.minimum), (LAST, -FAR, np.maximum), (FREE_FIRST, FAR, np.minimum), (FREE_LAST, -FAR, np.maximum)
    ):  # fmt: skip
        line = np.full(len(positions), empty, dtype=np.int64)
        unite.at(line, known[used], planes[plane][used])
        lines.append(line)
    return lines


def _united_but_along(reads: AxisReads, dims: Collection[int]) -> AxisReads:
    """Every element reads the union over all dimensions but these."""
    for dim in range(reads.planes.ndim - 1):
        if dim not in dims:
            reads = together(replace(reads, mixed=True), dim)
    return whole(reads)


_FAMILIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    ("conv", ("convolution", "_convolution", *QUANTISED_CONVOLUTIONS)),
    ("linear", ("mm", "addmm", "bmm", "baddbmm", *QUANTISED_LINEAR)),
    ("norm", ("_norm", "norm_", "group_norm", "layer_norm")),
    ("pool", ("pool",)),
)
_WITHOUT_ARITHMETIC = frozenset({
    "view", "_unsafe_view", "permute", "transpose", "t", "clone", "slice", "select", "expand", "cat", "split",
    "split_with_sizes", "unbind", "roll", "constant_pad_nd", "detach", "alias", "_to_copy", "squeeze",
    "unsqueeze", "stack", "unfold", "pixel_shuffle", "pixel_unshuffle", "empty_like", "arange",
})  # fmt: skip


def network_rows(
    network: nn.Module,
    visits: Mapping[str, ModuleVisit],
    size: tuple[int, ...],
    source: Source | None,
    stages: tuple[str, ...],
    *,
    fields: bool = True,
) -> Trace:
    """A row for each module with its own work or parameters or without submodules, in the order of the forward pass."""
    modules = dict(network.named_modules())
    convolutions = {
        without_expert(layer.name) if layer.expert is not None else layer.name: layer for layer in list_layers(network)
    }
    title = type(network).__name__  # of the network itself, whose name is empty
    if title not in modules and title in convolutions:
        convolutions[""] = convolutions[title]
    params = _own_params(modules)
    never_ran = [name for name in modules if name not in visits]
    layers = tuple(
        _row(name or title, modules[name], visits.get(name), params[name], convolutions.get(name), fields=fields)
        for name in [*visits, *never_ran]
        if _has_a_row(modules[name], visits.get(name), params[name])
    )
    return Trace(
        input_size=size,
        layers=layers,
        params=sum(params.values()),
        macs=sum(visit.macs for visit in visits.values()),
        source=source,
        stages=stages,
    )


def row_of(observed: ObservedPass, name: str) -> TracedLayer:
    """The row of a module that has none in a trace, since all that it computes is in modules inside it."""
    module = dict(observed.network.named_modules())[name]
    return _row(name or type(module).__name__, module, observed.visits.get(name), 0, None, fields=True)


def _own_params(modules: Mapping[str, nn.Module]) -> dict[str, int]:
    """The number of each module's own parameters; shared ones count once, where they come first."""
    met: set[int] = set()
    counts = {}
    for name, module in modules.items():
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in met]
        counts[name] = sum(parameter.numel() for parameter in own)
        met.update(map(id, own))
    return counts


def _has_a_row(module: nn.Module, visit: ModuleVisit | None, params: int) -> bool:
    if visit is None:
        return params > 0
    return params > 0 or visit.macs > 0 or not any(module.children())


def _row(
    name: str, module: nn.Module, visit: ModuleVisit | None, params: int, convolution: ConvLayer | None, *, fields: bool
) -> TracedLayer:
    facts = _window_facts(module, convolution)
    kind = type(module).__name__
    if visit is None:
        return TracedLayer(
            name,
            kind,
            "conv" if convolution else "other",
            params,
            0,
            0,
            lost=SCRIPTED if is_scripted(module) else "It did not run.",
            **facts,
        )
    found, shape = visit.found, visit.shape
    field = receptive_field(found) if fields else None
    lost = "" if field else _why_unknown(found, shape) if fields else "Receptive fields were not requested."
    return TracedLayer(
        name,
        kind,
        _family(module, visit, params),
        params,
        visit.macs,
        visit.runs,
        output_shape=shape[1:] if shape is not None else None,
        layout=reads.layout(found, shape or ()),
        field=field,
        lost=lost,
        changes=visit.changes or params > 0,
        **facts,
    )


def _why_unknown(found: reads.TensorReads | None, shape: tuple[int, ...] | None) -> str:
    if found is None:
        return "it returns no tensor" if shape is None else "it reads no image"
    return found.lost or unsettled(found)


def _family(module: nn.Module, visit: ModuleVisit, params: int) -> Family:
    """What a module computes, by the operations of its own forward."""
    names = visit.operations
    if any(module.children()) and visit.macs == 0 and not params:
        return "other"
    if "Norm" in type(module).__name__:
        return "norm"
    for family, words in _FAMILIES:
        exact = family in ("conv", "linear")
        if any(word == name if exact else word in name for name in names for word in words):
            return family
    if "Pool" in type(module).__name__:
        return "pool"
    computes = [name for name in names if name not in _WITHOUT_ARITHMETIC]
    return "act" if computes and not any(name in ("mean", "sum") for name in computes) and params < 10_000 else "other"


def _window_facts(module: Any, convolution: ConvLayer | None) -> dict[str, Any]:
    """Kernel, stride, padding and the like of convolutions and pools, and whether a module has a bias."""
    if convolution is not None:
        return {
            "kernel": convolution.kernel_size,
            "stride": convolution.stride,
            "padding": convolution.padding,
            "dilation": convolution.dilation,
            "groups": convolution.groups,
            "bias": convolution.bias,
        }
    if "Pool" in type(module).__name__:
        with suppress(Exception):  # the attributes of any class with this name may be of any kind, or missing
            return _pool_facts(module)
    return {"bias": module.bias is not None} if isinstance(module, nn.Linear) else {}


def _pool_facts(module: Any) -> dict[str, Any]:
    """Kernel, stride, padding and dilation of a pool; empty for one without a fixed stride, such as a fractional one."""
    if not hasattr(module, "kernel_size") or not hasattr(module, "stride"):
        return {}
    rank = 1 if "1d" in type(module).__name__ else 3 if "3d" in type(module).__name__ else 2
    kernel = _each(module.kernel_size, rank)
    padding = "same" if "Same" in type(module).__name__ else _each(getattr(module, "padding", 0), rank)
    facts = {"kernel": kernel, "stride": _each(module.stride or kernel, rank), "padding": padding}
    return facts | ({"dilation": _each(module.dilation, rank)} if hasattr(module, "dilation") else {})


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if isinstance(value, int) else tuple(map(int, value))
