"""The convolution or pool that runs in a layer, as integers."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from kernelviz.arithmetic.operations import Convolution, TransposedConvolution
from kernelviz.errors import BrokenPassError, KernelvizError, UsageError
from kernelviz.network.capture import StopPassError
from kernelviz.network.model import root_of
from kernelviz.network.named import find_layer, nearest_convolution, window_names
from kernelviz.network.snapshot import PreservedModule, preserved_random_state
from kernelviz.network.tracing.meta import on_meta
from kernelviz.network.tracing.next_size import naming_next_size
from kernelviz.network.tracing.trace import as_trace, checked_size, with_sure_sizes
from kernelviz.network.tracing.watch import ObservedPass, blank_batch, observe_pass
from kernelviz.network.units import (
    ONLY_FIRST_RUN,
    WHOLE,
    CallRecorder,
    RecordedCall,
    WindowRecorder,
    added_padding,
    check_runs,
    is_global,
    pair_of,
    pooling_of,
)
from kernelviz.threads import no_warnings
from kernelviz.traces import LayerOperation, not_reached
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.arithmetic.windows import Pair
    from kernelviz.network.model import Model
    from kernelviz.network.named import NamedLayer
    from kernelviz.traces import Trace, TracedLayer


def layer_operation(network: Model | nn.Module, layer: str, input_size: Sequence[int] | None = None) -> LayerOperation:
    """The convolution or pool that runs in a layer for an image of ``input_size`` (C, H, W); needs no weights.

    All sizes are those of the actual run, including padding that the layer adds itself (``same`` of TensorFlow), on the
    side where it was added. If a layer runs several times, they are those of the first run, or of the second for
    ``name#2``. A module that contains exactly one convolution or pool means that one.

    Raises:
        UnknownLayerError: there is no such layer, or no such run of it.
        UsageError: the layer is neither a convolution nor a pool, contains several of them, or has three axes.
        KernelvizError: the network does not take such an input, or the layer does not run.
    """
    return operation_and_trace(network, layer, input_size)[0]


def operation_and_trace(
    network: Model | nn.Module, layer: str, input_size: Sequence[int] | None = None
) -> tuple[LayerOperation, Trace | None]:
    """The ``layer_operation``, and the trace that it is from; None if that forward pass did not end."""
    size = checked_size(network, input_size)
    found = find_layer(network, layer, size)
    name, title, kind = found.name, found.title, type(found.module).__name__
    observed, whole = _observed(network, size, name)
    traced = with_sure_sizes(as_trace(network, observed, size), observed, root_of(network))
    record = next((one for one in traced.layers if one.name == (name or kind)), None)
    if name not in observed.visits:
        raise not_reached(title)
    check_runs(found, len(observed.visits[name].given), layer)
    image = blank_batch(root_of(network), size) if observed.network is root_of(network) else None
    call, output = _ran(observed.network, found, size, image)
    if record is None or call is None:
        hint = "`kernelviz layers MODEL --kind conv` lists the convolutions, `--kind pool` the pools."
        raise UsageError(f"The layer {shown(title)} is a {kind}, neither a convolution nor a pool.", hint=hint)
    if output != tuple(call.output.shape):
        what = f"The layer {shown(title)} is a {kind}, which does more than convolve or pool."
        raise UsageError(what, hint=nearest_convolution(network, title))
    record = replace(record, name=title)
    if found.run:
        record = replace(record, output_shape=tuple(call.output.shape[1:]), field=None, lost=ONLY_FIRST_RUN)
    return _layer_operation(record, call, traced, found.run), traced if whole else None


def window_operations(network: Model, traced: Trace) -> tuple[list[str], dict[str, LayerOperation]]:
    """The names of all modules that are convolutions or pools, and the ``layer_operation`` of each that has one.

    They are found in one forward pass on ``meta``, for the input size of a trace of the whole network.
    """
    root, recorder = root_of(network), WindowRecorder()
    names, rows, found = window_names(root), {row.name: row for row in traced.layers}, {}
    with no_warnings(), torch.no_grad(), preserved_random_state(), contextlib.suppress(Exception):  # as far as it runs
        meta_copy = on_meta(root)
        like = next((tensor for tensor in meta_copy.parameters() if tensor.is_floating_point()), torch.empty(0))
        modules = dict(meta_copy.named_modules())
        with recorder.around({name: modules[name] for name in names}):
            meta_copy(torch.empty(1, *traced.input_size, dtype=like.dtype, device="meta"))
    for name, (calls, given) in recorder.of.items():
        call, output = _window_of(calls, given)
        if name in rows and call is not None and output == tuple(call.output.shape):
            with contextlib.suppress(KernelvizError):
                found[name] = _layer_operation(rows[name], call, traced)
    return names, found


def _layer_operation(row: TracedLayer, call: RecordedCall, traced: Trace, run: int = 0) -> LayerOperation:
    """The operation of a row of a trace, in one run of it.

    Raises:
        UsageError: it has three axes.
    """
    operation, notes = _operation(row.name, call)
    if row.runs > 1:
        which = f"run {run + 1}" if run else "the first"
        notes.append(f"it runs {row.runs} times in one forward pass; these are the sizes of {which}")
    return LayerOperation(row, operation, traced.input_size, traced.source, tuple(notes))


def _observed(network: Model | nn.Module, size: tuple[int, ...], name: str) -> tuple[ObservedPass, bool]:
    """The observed forward pass, and whether it ended; one that breaks is enough if the layer ran before.

    Raises:
        KernelvizError: the network does not take such an input.
    """
    module = root_of(network)
    try:
        with naming_next_size(network, size):
            return observe_pass(module, size, blank_batch(module, size)), True
    except BrokenPassError as error:
        if not isinstance(error.observed, ObservedPass) or name not in error.observed.visits:
            raise
        return error.observed, False


def _ran(
    network: nn.Module, layer: NamedLayer, size: Sequence[int], image: Tensor | None
) -> tuple[RecordedCall | None, tuple[int, ...] | None]:
    """The one convolution or pool that runs in a layer of an observed network, and the shape of the layer's output.

    ``image`` is a batch for the network itself; None if it is a copy on ``meta``.
    """
    recorder = CallRecorder(layer.run)
    if image is None:
        like = next((tensor for tensor in network.parameters() if tensor.is_floating_point()), torch.empty(0))
        image = torch.empty(1, *size, dtype=like.dtype, device="meta")
    with (
        no_warnings(),
        PreservedModule(network).undisturbed(),
        recorder.within(dict(network.named_modules())[layer.name]),
        contextlib.suppress(StopPassError),
    ):
        network(image)
    return _window_of(recorder.calls, recorder.given)


def _window_of(calls: Sequence[RecordedCall], output: object) -> tuple[RecordedCall | None, tuple[int, ...] | None]:
    """The one convolution or pool among the calls in a layer, and the shape of the layer's output."""
    given = getattr(output, "shape", None)
    windows = [call for call in calls if call.name not in WHOLE or is_global(call)]
    return windows[0] if len(windows) == 1 else None, None if given is None else _with_spatial_axes(windows, given)


def _with_spatial_axes(windows: Sequence[RecordedCall], given: Sequence[int]) -> tuple[int, ...]:
    """The shape of the layer's output; a global pool may return it without rows and columns."""
    shape = tuple(given)
    if len(windows) == 1 and len(shape) == 2 and windows[0].output.ndim == 4:
        return (*shape, 1, 1)
    if len(windows) == 1 and windows[0].output.ndim == 2:
        return shape[:2]
    return shape


def _operation(name: str, call: RecordedCall) -> tuple[Operation, list[str]]:
    if call.convolves:
        return (_transposed(name, call), []) if call.transposed else _convolution(name, call)
    return pooling_of(call)


def _sizes(name: str, tensor: Tensor) -> Pair:
    sides = tuple(tensor.shape[2:])
    if len(sides) > 2:
        raise UsageError(
            f"The layer {shown(name)} convolves over three axes.", hint="Only one or two axes can be explained."
        )
    return pair_of(sides, 1)


def _convolution(name: str, call: RecordedCall) -> tuple[Convolution, list[str]]:
    size = _sizes(name, call.source)
    above, beside = pair_of(call.sides(3), 0)
    edges = [above, above, beside, beside]
    added = added_padding(call)
    size = size[0] - added[0] - added[1], size[1] - added[2] - added[3]
    notes = [f"the padding is not zeros but {call.filling} rows and columns"] if call.filling else []
    operation = Convolution(
        size, pair_of(call.weight.shape[2:], 1), stride=pair_of(call.sides(2), 1),
        padding=tuple(before + more for before, more in zip(edges, added, strict=True)),
        dilation=pair_of(call.sides(4), 1), groups=call.groups, in_channels=call.source.shape[1],
        out_channels=call.output.shape[1], bias=call.bias is not None,
    )  # fmt: skip
    return operation, notes


def _transposed(name: str, call: RecordedCall) -> TransposedConvolution:
    return TransposedConvolution(
        _sizes(name, call.source), pair_of(call.weight.shape[2:], 1), stride=pair_of(call.sides(2), 1),
        padding=pair_of(call.sides(3), 0), output_padding=pair_of(call.sides(6), 0), dilation=pair_of(call.sides(4), 1),
        groups=call.groups, in_channels=call.source.shape[1], out_channels=call.output.shape[1],
        bias=call.bias is not None,
    )  # fmt: skip
