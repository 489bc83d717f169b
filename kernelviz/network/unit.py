"""One value of a feature map, with what went into it: the window, the kernel as used, products and sums."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.features import EnoughError, Input, as_input, run_through
from kernelviz.network.kernels import source_of
from kernelviz.network.layers import find_convolution
from kernelviz.network.trace import trace
from kernelviz.records import as_array
from kernelviz.units import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor, nn

    from kernelviz.network.models import Model
    from kernelviz.records import Array, ConvLayer, Image
    from kernelviz.traces import Box


@dataclass(frozen=True)
class _Call:
    """One convolution as it ran: aten's arguments, what came out, and the zeros added before it."""

    source: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    groups: int
    output: Tensor
    added: tuple[int, ...]


def trace_unit(
    network: Model | nn.Module,
    image: Image | Tensor,
    layer: str,
    at: tuple[int, int, int],
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Unit:
    """One value of a convolution's feature map, and the numbers that made it, as they were in a real pass.

    The window holds what really went in; the kernel is the one that the convolution multiplied with (standardised,
    mixed, parametrised); products and sums are taken in float64. Of a layer that runs several times it is the first run.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        image: What ``read_image`` gives, or a ready tensor (C, H, W) or (1, C, H, W).
        layer: The exact name of a convolution.
        at: The unit's channel, row and column.
        input_size: Side, or (H, W), of the input where it is not the model's own.
        crop: As in ``capture_features``.

    Raises:
        UnknownLayerError: no such convolution.
        UsageError: no such unit, or a convolution over three axes.
        KernelvizError: the pass failed, the layer did not run, or it runs no single convolution of its own.
    """
    record, module = find_convolution(network, layer)
    given = as_input(network, image, input_size=input_size, crop=crop)
    call = _watched(network, module, given, record)
    if len(record.kernel_size) > 2:
        raise UsageError(f"The layer {layer} convolves over three axes.", hint="Units of maps have a row and a column.")
    _check_unit(call, record, at)
    return _unit(network, record, given, call, at)


def _watched(network: Model | nn.Module, module: nn.Module, given: Input, record: ConvLayer) -> _Call:
    """The one convolution that runs within the module, in its first run."""
    watch = _Watch()
    with watch.within(module):
        run_through(network, given)
    if not watch.ran:
        raise KernelvizError(f"The layer {record.name} did not run.", "No pass goes through it.")
    if len(watch.calls) != 1:
        what = f"The layer {record.name} runs {len(watch.calls)} convolutions, so no single window makes its values."
        raise KernelvizError(what)
    return watch.calls[0]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the convolutions that run within one module, and the zeros that are added around their input."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []
        self.ran = False
        self.added: dict[int, tuple[int, ...]] = {}

    @contextlib.contextmanager
    def within(self, module: nn.Module) -> Iterator[None]:
        """Watch the first run of this module."""

        def enter(*_: object) -> None:
            self.__enter__()  # type: ignore[no-untyped-call]

        def leave(*_: object) -> None:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.ran = True
            raise EnoughError

        with module.register_forward_pre_hook(enter), module.register_forward_hook(leave):
            yield

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__  # noqa: SLF001
        if name == "constant_pad_nd":
            self.added[id(output)] = tuple(args[1])
        elif name in ("convolution", "_convolution"):
            source, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
            added = self.added.get(id(source), ())
            self.calls.append(
                _Call(
                    source.detach().clone(), weight.detach().clone(), None if bias is None else bias.detach().clone(),
                    tuple(stride), tuple(padding), tuple(dilation), bool(transposed), int(groups),
                    output.detach().clone(), added,
                )
            )  # fmt: skip
        return output


def _check_unit(call: _Call, record: ConvLayer, at: tuple[int, int, int]) -> None:
    channel, row, column = at
    channels, *sizes = call.output.shape[1:]
    height, width = (1, *sizes)[-2:]
    if not (0 <= channel < channels and 0 <= row < height and 0 <= column < width):
        raise UsageError(
            f"The layer {record.name} gives {channels:,} maps of {height} × {width} values, "
            f"but got channel {channel}, row {row}, column {column}.",
            hint="Channels, rows and columns count from 0.",
        )


def _unit(network: Model | nn.Module, record: ConvLayer, given: Input, call: _Call, at: tuple[int, int, int]) -> Unit:
    channel, row, column = at
    source, output = (_planar(as_array(tensor[0])) for tensor in (call.source, call.output))
    numbers, kernel = _kernel_of(call, channel)
    own = _own_part(source.shape[1:], call.added)
    down, across = (
        _taps(place, size, part, sides, transposed=call.transposed)
        for place, size, part, sides in zip((row, column), source.shape[1:], own, _sides(call, kernel), strict=True)
    )
    real = down.real[:, None] & across.real[None, :]
    window = np.where(real, source[np.ix_(numbers, down.index, across.index)].astype(np.float64), 0.0)
    stretched = (down.stretched[:, None] | across.stretched[None, :]) & ~(
        down.outside[:, None] | across.outside[None, :]
    )
    return Unit(
        layer=record,
        at=at,
        value=float(output[at]),
        numbers=tuple(map(int, numbers)),
        inputs=source[numbers][:, own[0], own[1]],
        window=window,
        kernel=kernel,
        padding=down.outside[:, None] | across.outside[None, :],
        stretched=stretched,
        rows=down.span,
        columns=across.span,
        bias=None if call.bias is None else float(call.bias[channel]),
        map=output[channel],
        box=_box(network, given, record.name, row, column),
        source=source_of(network),
        image=given.image,
        seen=given.seen,
        input_size=given.size,
    )


def _planar(array: Array) -> Array:
    """(C, H, W) of a map with one or two axes."""
    return array if array.ndim == 3 else array[:, None, :]


def _kernel_of(call: _Call, channel: int) -> tuple[Array, Array]:
    """The input channels that an output channel reads, and its kernel (n, kh, kw) in float64, as it lies on the window."""
    weight = as_array(call.weight).astype(np.float64)
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    if not call.transposed:
        inputs = weight.shape[1]
        group = channel // (weight.shape[0] // call.groups)
        return np.arange(group * inputs, (group + 1) * inputs), weight[channel]
    inputs, outputs = weight.shape[0] // call.groups, weight.shape[1]
    group = channel // outputs
    numbers = np.arange(group * inputs, (group + 1) * inputs)
    return numbers, weight[numbers, channel % outputs, ::-1, ::-1]


def _sides(call: _Call, kernel: Array) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, padding, dilation) of rows and of columns."""
    facts = [call.stride, call.padding, call.dilation]
    if len(call.stride) == 1:
        facts = [(1, call.stride[0]), (0, call.padding[0]), (1, call.dilation[0])]
    return [(kernel.shape[axis + 1], facts[0][axis], facts[1][axis], facts[2][axis]) for axis in (0, 1)]


def _own_part(sizes: Sequence[int], added: Sequence[int]) -> tuple[slice, slice]:
    """Which rows and columns of what is convolved are the layer's own input, without the zeros put around it."""
    amounts = [*added, 0, 0, 0, 0][:4]  # the last dimension's first
    return (
        slice(max(0, amounts[2]), sizes[0] - max(0, amounts[3])),
        slice(max(0, amounts[0]), sizes[1] - max(0, amounts[1])),
    )


@dataclass(frozen=True)
class _Taps:
    """What the taps of a kernel meet along one axis.

    ``index`` is the row of what is convolved, ``real`` where there is one; ``outside`` is padding, ``stretched`` a zero
    between the rows of a transposed convolution's input. ``span`` are the first and the last row of the layer's own input
    that the kernel lies on, which may be outside of it.
    """

    index: Array
    real: Array
    outside: Array
    stretched: Array
    span: tuple[int, int]


def _taps(place: int, size: int, own: slice, sides: tuple[int, int, int, int], *, transposed: bool) -> _Taps:
    kernel, stride, padding, dilation = sides
    if transposed:  # the same convolution over the input with stride - 1 zeros between its rows
        stretched_at = place - (dilation * (kernel - 1) - padding) + np.arange(kernel) * dilation
        between = stretched_at % stride != 0
        at = np.floor_divide(stretched_at, stride)
        ends = int(-(-stretched_at[0] // stride)), int(at[-1])
    else:
        at = place * stride - padding + np.arange(kernel) * dilation
        between = np.zeros(kernel, bool)
        ends = int(at[0]), int(at[-1])
    real = (at >= 0) & (at < size) & ~between
    outside = (at < own.start) | (at >= own.stop - between)
    index = np.clip(at, 0, size - 1)
    return _Taps(index, real, np.asarray(outside), between, (ends[0] - own.start, ends[1] - own.start))


def _box(network: Model | nn.Module, given: Input, layer: str, row: int, column: int) -> Box | None:
    """What the unit can see of the image; None where that is not known."""
    try:
        return trace(network, given.size).field_of(layer, row, column)
    except KernelvizError:
        return None
