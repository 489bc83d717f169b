"""One value of a feature map and what it is computed from: window, kernel, products and sums."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from kernelviz.arithmetic.operations import Pooling
from kernelviz.arithmetic.steps import AxisCells, axis_cells, read_cells
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.capture import StopPassError, run_through
from kernelviz.network.inputs import as_input
from kernelviz.network.model import missing_weights, source_of, without_weights
from kernelviz.network.named import find_layer, nearest_convolution
from kernelviz.network.tracing.rules import tensors_in
from kernelviz.network.tracing.trace import trace
from kernelviz.records import ConvLayer, as_array
from kernelviz.traces import PooledUnit, Unit, no_such_run, not_reached
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.network.named import NamedLayer
    from kernelviz.records import Array, Image

    _Sides = tuple[int, int, int, int]


ONLY_FIRST_RUN = "the receptive fields of a layer that runs several times are known of its first run only"
CONVOLVING = frozenset({"convolution", "_convolution"})
MAXIMA = frozenset({"max_pool2d_with_indices", "max_pool2d"})
MEANS = frozenset({"avg_pool2d", "avg_pool1d"})
ADAPTIVE_MEANS = frozenset({"_adaptive_avg_pool2d", "adaptive_avg_pool2d"})
ADAPTIVE_MAXIMA = frozenset({"adaptive_max_pool2d"})
WHOLE = {"mean": "average", "amax": "max"}  # over all rows and columns
_PADDING = {
    "constant_pad_nd": "", "reflection_pad1d": "mirrored", "reflection_pad2d": "mirrored",
    "replication_pad1d": "repeated", "replication_pad2d": "repeated",
}  # fmt: skip
_RECORDED = CONVOLVING | MAXIMA | MEANS | ADAPTIVE_MEANS | ADAPTIVE_MAXIMA | frozenset(WHOLE)


@dataclass(frozen=True)
class RecordedCall:
    """One operation as it ran: the name and arguments of the aten operator, its input and its output.

    ``added`` is the padding that an operation before it added, in torch's order (the last dimension first), ``filling`` its
    content: "" for a constant, else ``mirrored``, ``repeated`` or ``wrapped`` rows and columns. ``versions`` are those of
    input and output when it ran, if they are no copies.
    """

    name: str
    source: Tensor
    arguments: tuple[Any, ...]
    output: Tensor
    added: tuple[int, ...] = ()
    filling: str = ""
    versions: tuple[int, int] | None = None

    @property
    def intact(self) -> bool:
        """Whether input and output are copies, or nothing has overwritten them since."""
        return self.versions is None or self.versions == _versions(self.source, self.output)

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution."""
        return self.name in CONVOLVING

    @property
    def weight(self) -> Tensor:
        """The weight of a convolution."""
        found: Tensor = self.arguments[0]
        return found

    @property
    def bias(self) -> Tensor | None:
        """The bias of a convolution."""
        found: Tensor | None = self.arguments[1]
        return found

    def sides(self, position: int) -> tuple[int, ...]:
        """An argument after the input as integers, one per axis; () if it is omitted."""
        return tuple(map(int, self.arguments[position])) if len(self.arguments) > position else ()

    def flag(self, position: int, *, default: bool) -> bool:
        """An argument after the input as a bool."""
        return bool(self.arguments[position]) if len(self.arguments) > position else default

    @property
    def transposed(self) -> bool:
        """Whether a convolution is a transposed one."""
        return self.flag(5, default=False)

    @property
    def groups(self) -> int:
        """The groups of a convolution."""
        return int(self.arguments[7])


class CallRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the convolutions and pools in one run of one module.

    ``run`` is its number, from 0; ``runs`` counts those that ended. Without ``copies`` the tensors themselves are kept, for
    a caller that reads them before anything overwrites them.
    """

    def __init__(self, run: int = 0, *, copies: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run, self.runs, self.copies = run, 0, copies
        self.calls: list[RecordedCall] = []
        self.ran = False
        self.given: Any = None
        self._padded: dict[int, tuple[Tensor, tuple[int, ...], str]] = {}
        self._wrapped: tuple[tuple[int, ...], tuple[int, ...]] | None = None

    @contextlib.contextmanager
    def within(self, module: nn.Module, ended: Callable[[], None] | None = None) -> Iterator[None]:
        """Record the run of this module; then call ``ended``, or stop the forward pass if there is none."""
        entered = contextlib.ExitStack()  # closed in any case: a layer that fails is never left

        def enter(*_: object) -> None:
            if self.runs == self.run:
                entered.enter_context(self)

        def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self.runs += 1
            if self.runs != self.run + 1:
                return
            entered.close()
            self.given = output
            self.ran = True
            if ended is None:
                raise StopPassError
            ended()

        with contextlib.ExitStack() as hooks:
            hooks.enter_context(entered)
            for each in module.modules():
                if getattr(each, "padding_mode", "") == "circular":
                    hooks.enter_context(each.register_forward_pre_hook(self._wrap))
            hooks.enter_context(module.register_forward_pre_hook(enter))
            hooks.enter_context(module.register_forward_hook(leave))
            yield

    def _wrap(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Record the padding that a convolution will wrap around its input: torch copies it without a padding operation."""
        added = tuple(getattr(module, "_reversed_padding_repeated_twice", ()))
        if inputs and any(added):
            sides = tuple(inputs[0].shape)[-(len(added) // 2) :]
            ends = zip(added[-2::-2], added[::-2], strict=True)
            self._wrapped = added, tuple(side + sum(more) for side, more in zip(sides, ends, strict=True))

    def _added_to(self, name: str, source: Tensor) -> tuple[tuple[int, ...], str]:
        """The padding added to the input of an operation, and its content."""
        wrapped, self._wrapped = (self._wrapped, None) if name in CONVOLVING else (None, self._wrapped)
        if wrapped and tuple(source.shape)[-len(wrapped[1]) :] == wrapped[1]:
            return wrapped[0], "wrapped"
        return self._padded.get(id(source), (None, (), ""))[1:]

    @property
    def convolutions(self) -> list[RecordedCall]:
        """The recorded convolutions."""
        return [call for call in self.calls if call.convolves]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__  # noqa: SLF001
        if name in _PADDING:
            self._padded[id(output)] = output, tuple(args[1]), _PADDING[name]
        elif name in _RECORDED:
            first = output[0] if isinstance(output, tuple) else output
            around = self._added_to(name, args[0])
            kept = _copy if self.copies else _detached
            source, made = kept(args[0]), kept(first)
            versions = None if self.copies else _versions(source, made)
            self.calls.append(RecordedCall(name, source, tuple(map(kept, args[1:])), made, *around, versions))
        return output


class WindowRecorder(CallRecorder):  # type: ignore[no-untyped-call]
    """Records the convolutions and pools in the first run of each of several modules, in one forward pass.

    ``of`` holds them by the module's name, with its output. Padding in a module around another one counts for neither.
    """

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, tuple[list[RecordedCall], Any]] = {}

    @contextlib.contextmanager
    def around(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Record the first run of each of these modules."""
        starts: dict[str, int] = {}

        def enter(name: str) -> Any:
            def entering(*_: object) -> None:
                starts.setdefault(name, len(self.calls))
                self._padded.clear()

            return entering

        def leave(name: str) -> Any:
            def leaving(_module: nn.Module, _inputs: Any, output: Any) -> None:
                self.of.setdefault(name, (self.calls[starts[name] :], output))

            return leaving

        with contextlib.ExitStack() as hooks:
            for name, module in modules.items():
                hooks.enter_context(module.register_forward_pre_hook(enter(name)))
                if getattr(module, "padding_mode", "") == "circular":
                    hooks.enter_context(module.register_forward_pre_hook(self._wrap))
                hooks.enter_context(module.register_forward_hook(leave(name)))
            with self:
                yield


def _copy(value: Any) -> Any:
    """A copy, since later operations may overwrite the tensor."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _versions(source: Tensor, output: Tensor) -> tuple[int, int]:
    """How often the tensors were written."""
    return source._version, output._version  # noqa: SLF001


def trace_unit(
    network: Model | nn.Module,
    image: Image | Tensor,
    layer: str,
    at: tuple[int, int, int],
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Unit:
    """One value of a feature map and the numbers that it is computed from, in a real forward pass.

    The window is the actual input; the kernel is the one that the convolution multiplied with (standardised, mixed,
    parametrised); products and sums are in float64. If the layer runs several times, they are those of the first run, or of
    the second for ``name#2``, whose receptive field is not known. Of a pooling the result is a ``PooledUnit``.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: An ``Image`` from ``read_image``, or a tensor (C, H, W) or (1, C, H, W).
        layer: The exact name of a convolution or a pool, or of a module or a stage that contains exactly one of them.
        at: The unit's channel, row and column.
        input_size: Side, or (H, W), of the input; by default the model's own.
        crop: As in ``capture_features``.

    Raises:
        UnknownLayerError: there is no such layer, or no such run of it.
        UsageError: there is no such unit, the convolution has three axes, or no single convolution or pool computes the
            layer's output.
        KernelvizError: the forward pass failed, or the layer did not run.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> unit = kernelviz.trace_unit(network, torch.rand(3, 16, 16), "0", at=(5, 2, 7))
        >>> unit.window.shape, unit.rows, unit.columns
        ((3, 3, 3), (2, 4), (7, 9))
        >>> np.allclose(unit.total, unit.value)
        True
    """
    return trace_units(network, image, layer, [at], input_size=input_size, crop=crop)[0]


def trace_units(
    network: Model | nn.Module,
    image: Image | Tensor,
    layer: str,
    positions: Sequence[tuple[int, int, int]],
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[Unit, ...]:
    """Several units of one layer in one forward pass; as ``trace_unit``."""
    given = as_input(network, image, input_size=input_size, crop=crop)
    found = find_layer(network, layer, given.size)
    title, module = found.title, found.module
    call = _recorded_call(network, found, given, layer)
    reads = LayerReads(title, module, call)
    for at in positions:
        _check_unit(call, reads.record, at)
    make_unit = _unit if call.convolves else _pooled
    seen = _ReceptiveFields(network, given, found)
    return tuple(replace(make_unit(network, reads, given, at), **seen.of(*at[1:])) for at in positions)


def check_runs(layer: NamedLayer, runs: int, pattern: str) -> None:
    """Check that a layer that ran so many times has the run that a pattern names.

    Raises:
        UnknownLayerError: it has not.
    """
    if layer.run >= runs > 0:
        raise no_such_run(replace(layer, run=0).title, runs, pattern)


def _recorded_call(network: Model | nn.Module, layer: NamedLayer, given: Input, pattern: str) -> RecordedCall:
    """The one convolution, or pool, in the named run of a module, which must compute its output."""
    name, module, recorder = layer.title, layer.module, CallRecorder(layer.run)
    run_through(network, given, recorder.within(module))
    check_runs(layer, recorder.runs, pattern)
    if not recorder.ran:
        raise not_reached(name)
    call = recorded_call(network, module, recorder, name)
    if missing_weights(network) and bool(call.output.isnan().any()):
        raise without_weights(network, name)
    return call


def recorded_call(network: Model | nn.Module, module: nn.Module, recorder: CallRecorder, name: str) -> RecordedCall:
    """The one convolution, or pool, that a recorder met in a run of a module, which must compute its output.

    Raises:
        UsageError: there is none, several, or the module does more.
    """
    calls, given_out = recorder.convolutions, tensors_in(recorder.given)
    pools = [call for call in recorder.calls if not call.convolves and (call.name not in WHOLE or is_global(call))]
    if not calls and len(pools) == 1 and given_out and pools[0].source.ndim < 5:
        if given_out[0].numel() == pools[0].output.numel() and _same(given_out[0].flatten(), pools[0].output.flatten()):
            return pools[0]
        what = f"The layer {shown(name)} does more than pool, so no single window makes its values."
        raise UsageError(what, hint=nearest_convolution(network, name))
    if len(calls) != 1:
        none = "runs no convolution" if not pools else f"runs no convolution and {len(pools)} poolings"
        runs = f"runs {len(calls)} convolutions" if calls else f"is a {type(module).__name__} and {none}"
        what = f"The layer {shown(name)} {runs}, so no single window makes its values."
        raise UsageError(what, hint=nearest_convolution(network, name))
    if not given_out or not calls[0].intact or not _is_output(given_out[0], calls[0]):
        what = f"The layer {shown(name)} does more than convolve, so no single window makes its values."
        raise UsageError(what, hint=nearest_convolution(network, name))
    return calls[0]


def _is_output(given: Tensor, call: RecordedCall) -> bool:
    """Whether a module's output is that of a call."""
    itself = (
        call.versions is not None and given.data_ptr() == call.output.data_ptr() and given.shape == call.output.shape
    )
    return (itself and given.stride() == call.output.stride()) or _same(given, call.output)


def _same(first: Tensor, second: Tensor) -> bool:
    if first.layout != second.layout or first.device != second.device or first.is_quantized != second.is_quantized:
        return False  # their values cannot be compared
    return first.shape == second.shape and bool(torch.equal(first.nan_to_num(), second.nan_to_num()))


def _record(name: str, module: nn.Module, call: RecordedCall) -> ConvLayer:
    """The record of the layer as it ran."""
    weight = call.weight
    inputs, outputs = call.source.shape[1], call.output.shape[1]
    return ConvLayer(
        name=name, kind=type(module).__name__, in_channels=inputs, out_channels=outputs,
        kernel_size=tuple(weight.shape[2:]), stride=call.sides(2), padding=call.sides(3), dilation=call.sides(4),
        groups=call.groups, bias=call.bias is not None, transposed=call.transposed, weight_shape=tuple(weight.shape),
        params=sum(parameter.numel() for parameter in module.parameters()),
    )  # fmt: skip


class _ReceptiveFields:
    """The receptive fields of the units of a layer, from one observed forward pass."""

    def __init__(self, network: Model | nn.Module, given: Input, layer: NamedLayer) -> None:
        self.field, self.why = None, ONLY_FIRST_RUN if layer.run else ""
        if layer.run:
            return
        try:
            traced = trace(network, given.size).layer(layer.name)
        except KernelvizError as error:
            self.why = error.what
            return
        self.field, self.why = traced.field, traced.lost
        if self.field is not None and len(self.field.axes) != 2:
            self.field, self.why = None, "the input has no rows and columns"

    def of(self, row: int, column: int) -> dict[str, Any]:
        """The fields of a ``Unit`` about its receptive field."""
        if self.field is None:
            return {"box": None, "unseen": self.why or "it is not known"}
        rows, columns = self.field.axes
        if row >= len(rows.first) or column >= len(columns.first):
            return {"box": None, "unseen": "the layer's rows and columns are not those of the image"}
        return {"box": self.field.box(row, column), "mixes_image": self.field.mixes_image}


def _check_unit(call: RecordedCall, record: ConvLayer, at: tuple[int, int, int]) -> None:
    channel, row, column = at
    channels, *sizes = call.output.shape[1:]
    height, width = (1, 1, *sizes)[-2:]
    if not (0 <= channel < channels and 0 <= row < height and 0 <= column < width):
        raise UsageError(
            f"The layer {shown(record.name)} gives {channels:,} maps of {height} × {width} values, "
            f"but got channel {channel}, row {row}, column {column}.",
            hint="Channels, rows and columns count from 0.",
        )


class LayerReads:
    """What the values of a convolution or a pool are computed from, prepared once for many of them.

    ``size`` is that of what is read, ``own`` are its rows and columns that are the layer's own input; the others were added
    before. ``output`` (C, H, W) are the maps. A single axis counts as one row.
    The maps are copied from the call unless they are given.

    Raises:
        UsageError: the convolution has three axes.
    """

    def __init__(self, name: str, module: nn.Module, call: RecordedCall, output: Array | None = None) -> None:
        self.name, self.module, self.call = name, module, call
        if call.source.ndim > 4 or (call.convolves and call.weight.ndim > 4):
            raise UsageError(
                f"The layer {shown(name)} convolves over three axes.", hint="Units of maps have a row and a column."
            )
        self.size = pair_of(call.source.shape[2:] or (1,), 1)
        self.output = _planar(as_array(call.output[0])) if output is None else output
        self.own = _own_part(self.size, call.added)

    @cached_property
    def record(self) -> ConvLayer:
        """The sizes of the layer as it ran."""
        return (_record if self.call.convolves else _pool_record)(self.name, self.module, self.call)

    @cached_property
    def source(self) -> Array:
        """(C, H, W): the tensor that is read, with padding that was added before; not a copy."""
        return _planar(as_array(self.call.source[0], copy=False))

    @cached_property
    def weight(self) -> Array:
        """The weight of a convolution with rows and columns, as stored; not a copy."""
        weight = as_array(self.call.weight, copy=False)
        return weight if weight.ndim == 4 else weight[:, :, None, :]

    @cached_property
    def bias(self) -> Array | None:
        """(C,): the bias of a convolution."""
        return None if self.call.bias is None else as_array(self.call.bias)

    @cached_property
    def sides(self) -> list[_Sides]:
        """(kernel, stride, padding, dilation) of rows and of columns."""
        facts = [tuple(self.call.weight.shape[2:]), self.call.sides(2), self.call.sides(3), self.call.sides(4)]
        if len(facts[0]) == 1:
            facts = [(least, fact[0]) for least, fact in zip((1, 1, 0, 1), facts, strict=True)]
        return [(facts[0][axis], facts[1][axis], facts[2][axis], facts[3][axis]) for axis in (0, 1)]

    @property
    def around(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right): the convolution's own padding and that added to its input before."""
        return _with_added((0, *self.call.sides(3))[-2:], self.size, self.own)

    def is_input(self, given: Input) -> bool:
        """Whether the layer reads the network's own input."""
        return _is_input(self.call, given, self.own)

    def is_image(self, given: Input) -> bool:
        """Whether the layer reads the network's own input of rows and columns, all channels at once."""
        return self.call.source.ndim == 4 and self.call.groups == 1 and self.is_input(given)

    @property
    def inputs(self) -> int:
        """The input channels that an output channel reads."""
        return int(self.call.source.shape[1]) // self.call.groups

    def numbers(self, channels: Array) -> Array:
        """(n, inputs): the input channels that n output channels read."""
        numbers = np.arange(self.inputs)
        if self.call.groups == 1:
            return np.broadcast_to(numbers, (len(channels), self.inputs))
        return np.asarray(channels // (self.call.output.shape[1] // self.call.groups) * self.inputs)[:, None] + numbers

    def kernels(self, channels: Array, numbers: Array) -> Array:
        """(n, t, kh, kw): what n output channels multiply the input channels ``numbers`` (n, t) with, as stored.

        The kernels are aligned with the windows: those of a transposed convolution are rotated by 180°.
        """
        columns = self.weight.shape[1]
        if self.call.transposed:
            return np.asarray(self.weight[numbers, (channels % columns)[:, None], ::-1, ::-1])
        if self.call.groups > 1:
            numbers = numbers % columns
        if not self.weight.flags.c_contiguous:
            return np.asarray(self.weight[channels[:, None], numbers])
        kernels = self.weight.reshape(-1, *self.weight.shape[2:])
        return np.asarray(kernels.take(channels[:, None] * columns + numbers, axis=0))

    @cached_property
    def cells(self) -> tuple[AxisCells, AxisCells]:
        """What is under the taps (side, k) of a convolution's kernel at each row, and at each column, of a map.

        The arrays are shared by layers of equal sizes, and cannot be written.
        """
        (down, _), (across, _) = self._axes
        return down, across

    @cached_property
    def inside(self) -> tuple[slice, slice] | None:
        """The rows and columns of a map whose windows contain no padding; None if there are none."""
        (_, rows), (_, columns) = self._axes
        return (rows, columns) if rows and columns else None

    @cached_property
    def _axes(self) -> list[tuple[AxisCells, slice | None]]:
        return [
            _cells(count, sides, size, (own.start, own.stop), transposed=self.call.transposed)
            for count, sides, size, own in zip(self.output.shape[1:], self.sides, self.size, self.own, strict=True)
        ]

    def span(self, axis: int, position: int) -> tuple[int, int]:
        """The first and the last row (column) of the layer's own input under a kernel, which may be outside of it."""
        sides, transposed, start = self.sides[axis], self.call.transposed, self.own[axis].start
        taps, apart = _taps(np.array([position]), sides, transposed=transposed)[0], _apart(sides, transposed=transposed)
        return -(-int(taps[0]) // apart) - start, int(taps[-1]) // apart - start


@lru_cache(maxsize=256)
def _cells(
    count: int, sides: _Sides, size: int, own: tuple[int, int], *, transposed: bool
) -> tuple[AxisCells, slice | None]:
    """What is under the taps (count, k) of a kernel at all positions along one axis, and those without padding."""
    taps = _taps(np.arange(count), sides, transposed=transposed)
    found = axis_cells(taps, size, stride=_apart(sides, transposed=transposed), own=own)
    for array in vars(found).values():
        array.flags.writeable = False
    inside = np.flatnonzero(~found.padding.any(axis=1))
    return found, slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else None


def _apart(sides: _Sides, *, transposed: bool) -> int:
    """A transposed convolution is a convolution over the input with stride - 1 zeros between its rows."""
    return sides[1] if transposed else 1


def _taps(positions: Array, sides: _Sides, *, transposed: bool) -> Array:
    kernel, stride, padding, dilation = sides
    first = positions - (dilation * (kernel - 1) - padding) if transposed else positions * stride - padding
    return np.asarray(first[:, None] + np.arange(kernel) * dilation)


def _unit(network: Model | nn.Module, reads: LayerReads, given: Input, at: tuple[int, int, int]) -> Unit:
    channel, row, column = at
    call, own = reads.call, reads.own
    numbers = reads.numbers(np.array([channel]))
    inputs = reads.source[numbers[0]]
    window, padding, stretched = read_cells(inputs, reads.cells[0].at(row), reads.cells[1].at(column))
    return Unit(
        layer=reads.record,
        at=at,
        value=float(reads.output[at]),
        numbers=tuple(map(int, numbers[0])),
        inputs=inputs[:, own[0], own[1]],
        around=reads.around,
        reads_image=reads.is_image(given),
        window=window,
        kernel=reads.kernels(np.array([channel]), numbers)[0].astype(np.float64),
        padding=padding,
        stretched=stretched,
        rows=reads.span(0, row),
        columns=reads.span(1, column),
        bias=None if call.bias is None else float(call.bias[channel]),
        map=reads.output[channel],
        source=source_of(network),
        image=given.image,
        seen=given.seen,
        input_size=given.size,
    )


def _pool_record(name: str, module: nn.Module, call: RecordedCall) -> ConvLayer:
    """The record of a pool, which reads each channel by itself and has no weights."""
    pooling, _ = pooling_of(call)
    return ConvLayer(
        name=name, kind=type(module).__name__, in_channels=pooling.in_channels, out_channels=pooling.in_channels,
        kernel_size=pooling.kernel, stride=pooling.stride, padding=pooling.padding, dilation=pooling.dilation,
        groups=pooling.in_channels, bias=False, transposed=False, weight_shape=(), params=0,
    )  # fmt: skip


def _pooled(network: Model | nn.Module, reads: LayerReads, given: Input, at: tuple[int, int, int]) -> PooledUnit:
    call, record, source, output, own = reads.call, reads.record, reads.source, reads.output, reads.own
    (channel, row, column), (pooling, _) = at, pooling_of(call)
    spans = pooling.window(row, column)
    down, across = (
        axis_cells(np.array(span), size, own=(part.start, part.stop))
        for span, size, part in zip(spans, source.shape[1:], own, strict=True)
    )
    window, padding, _ = read_cells(source[[channel]], down, across)
    there = (down.present[:, None] & across.present)[None]
    counted, shares = None, np.zeros(window.shape)
    if pooling.kind == "max":
        candidates = np.where(there & ~padding, window, -np.inf)
        window = np.where(padding, 0.0, window)
        shares.ravel()[np.argmax(candidates)] = 1.0  # NaN is the largest, as in torch
    else:
        divisor = call.arguments[5] if call.name == "avg_pool2d" and len(call.arguments) > 5 else None
        counted = int(divisor or (window.size if pooling.count_include_pad else np.count_nonzero(there)))
        shares[there] = 1.0 / counted
    return PooledUnit(
        layer=record, at=at, value=float(output[at]), numbers=(channel,), inputs=source[[channel]][:, own[0], own[1]],
        window=window, kernel=shares, padding=padding, stretched=np.zeros(padding.shape, bool),
        rows=(spans[0][0] - own[0].start, spans[0][-1] - own[0].start),
        columns=(spans[1][0] - own[1].start, spans[1][-1] - own[1].start), bias=None, map=output[channel],
        around=_with_added(pooling.padding, source.shape[1:], own), source=source_of(network),
        image=given.image, seen=given.seen, input_size=given.size, operation=pooling, counted=counted,
    )  # fmt: skip


def _with_added(padding: Sequence[int], sizes: Sequence[int], own: Sequence[slice]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right): the padding of rows and columns, and what was added before."""
    (above, beside) = padding
    rows, columns = ((part.start, size - part.stop) for part, size in zip(own, sizes, strict=True))
    return above + rows[0], above + rows[1], beside + columns[0], beside + columns[1]


def _is_input(call: RecordedCall, given: Input, own: Sequence[slice]) -> bool:
    """Whether the layer reads the network's own input."""
    if call.source.ndim < 3 or call.source.shape[:2] != given.batch.shape[:2]:
        return False
    own_input = (call.source[..., own[1]] if call.source.ndim == 3 else call.source[..., own[0], own[1]]).cpu()
    return _same(own_input, given.batch.detach().cpu().to(own_input.dtype))


def _planar(array: Array) -> Array:
    """(C, H, W) of a map with two axes, one or none."""
    return array if array.ndim == 3 else array.reshape(len(array), 1, -1)


def _own_part(sizes: Sequence[int], added: Sequence[int]) -> tuple[slice, slice]:
    """The rows and columns of the convolved tensor that are the layer's own input, without added padding."""
    amounts = [*added, 0, 0, 0, 0][:4]  # the last dimension's first
    return (
        slice(max(0, amounts[2]), sizes[0] - max(0, amounts[3])),
        slice(max(0, amounts[0]), sizes[1] - max(0, amounts[1])),
    )


def pair_of(sides: Sequence[int], one: int) -> tuple[int, int]:
    """Height and width; a single axis counts as one row."""
    return (one, sides[0]) if len(sides) == 1 else (sides[0], sides[-1])


def is_global(call: RecordedCall) -> bool:
    """Whether a mean or a maximum is over all rows and columns."""
    axes = sorted(axis % call.source.ndim for axis in call.sides(0)) if call.source.ndim == 4 else []
    return axes == [2, 3]


def added_padding(call: RecordedCall) -> tuple[int, int, int, int]:
    """(top, bottom, left, right): padding that was added to the input before; zeros if the input was cropped."""
    left, right, top, bottom = [*call.added, 0, 0, 0, 0][:4]
    return (top, bottom, left, right) if min(top, bottom, left, right) >= 0 else (0, 0, 0, 0)


def pooling_of(call: RecordedCall) -> tuple[Pooling, list[str]]:
    """The sizes of a pool as it ran, and irregularities."""
    size, channels = pair_of(call.source.shape[2:], 1), call.source.shape[1]
    kind: Literal["max", "average"] = "max" if call.name in MAXIMA | ADAPTIVE_MAXIMA | {"amax"} else "average"
    if call.name in WHOLE:
        return Pooling(size, adaptive=1, kind=kind, in_channels=channels), []
    if call.name in ADAPTIVE_MEANS | ADAPTIVE_MAXIMA:
        return Pooling(size, adaptive=pair_of(call.sides(0), 1), kind=kind, in_channels=channels), []
    kernel = pair_of(call.sides(0), 1)
    mean = call.name in MEANS
    ceiling = call.flag(3 if mean else 4, default=False)
    added = added_padding(call)
    what = "zeros" if mean else "values below all others"
    notes = []
    if any(added):
        sides = ", ".join(
            f"{n} {side}" for n, side in zip(added, ("above", "below", "left", "right"), strict=True) if n
        )
        notes = [f"the layer first pads its input with {what}: {sides}; the sizes here include them"]
    return Pooling(
        size, kernel, kind=kind, stride=pair_of(call.sides(1), 1) if call.sides(1) else None,
        padding=pair_of(call.sides(2), 0) if call.sides(2) else 0,
        dilation=pair_of(call.sides(3), 1) if not mean and call.sides(3) else 1, ceil_mode=ceiling,
        count_include_pad=call.flag(4, default=True) if mean else True, in_channels=channels,
    ), notes  # fmt: skip
