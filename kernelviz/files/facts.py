"""What is known of a network, as JSON and back: its source, its layers, its convolutions.

Restoring raises ``LookupError``, ``ValueError``, ``TypeError`` or ``AttributeError`` for what was not written here.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from kernelviz.network.selection import NetworkNames
from kernelviz.network.stored_kernels import StoredKernels
from kernelviz.records import ConvLayer, Source, Weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.traces import Field, LayerOperation, Trace, TracedLayer

Record = TypeVar("Record")


def stored_kernels_from_plain(plain: Any) -> StoredKernels:
    """Restore stored kernels from their ``asdict``."""
    return StoredKernels(
        source=source_from_plain(plain["source"]),
        names=_record(NetworkNames, plain["names"], first_names=dict(plain["names"]["first_names"])),
        first=str(plain["first"]),
        layers=tuple(_record(ConvLayer, layer) for layer in plain["layers"]),
        tensors=dict(plain["tensors"]),
        file=str(plain["file"]),
    )


def source_from_plain(plain: Any) -> Source:
    """Restore a source from its ``asdict``."""
    weights = plain["weights"] and _record(Weights, plain["weights"])
    maps = {name: _tuples(dict(plain[name])) for name in ("preprocessing", "versions", "arguments")}
    return _record(Source, plain, weights=weights, **maps)


_BESIDE = ("own", "windows", "operations")  # what the JSON of a trace has besides its fields


def trace_as_plain(
    trace: Trace, own: Source, windows: Sequence[str], operations: Mapping[str, LayerOperation]
) -> dict[str, Any]:
    """JSON from which ``trace_from_plain`` restores the rows of a trace; what single units read is left out.

    ``operation_in_trace`` restores from it the operations of layers, whose source is ``own``. ``windows`` are the names of
    all convolutions and pools.
    """
    layers = list(map(_layer_as_plain, trace.layers))
    facts = {name: getattr(trace, name) for name in ("input_size", "params", "macs", "stages")}
    source = trace.source and asdict(trace.source)
    return {
        **facts, "first_names": dict(trace.first_names), "source": source, "layers": layers,
        "own": [own.tag, own.licence], "windows": list(windows),
        "operations": {name: [*_operation_as_plain(found.operation), found.notes] for name, found in operations.items()},
    }  # fmt: skip


def trace_from_plain(plain: Any) -> Trace:
    """Restore the rows of a trace, without what single units read."""
    from kernelviz.traces import Trace

    rows = {key: value for key, value in plain.items() if key not in _BESIDE}
    return _record(
        Trace, rows, layers=tuple(map(_layer_from_plain, plain["layers"])), first_names=dict(plain["first_names"]),
        source=plain["source"] and source_from_plain(plain["source"]),
    )  # fmt: skip


def operation_in_trace(plain: Any, name: str) -> LayerOperation | None:
    """Restore the operation of a convolution or pool, or of the only one in a module; None if it is not known."""
    from kernelviz.traces import LayerOperation

    windows = [window for window in plain["windows"] if window == name or window.startswith(f"{name}.")]
    if len(windows) != 1 or windows[0] not in plain["operations"]:
        return None
    kind, sizes, notes = plain["operations"][windows[0]]
    (layer,) = (layer for layer in plain["layers"] if layer["name"] == windows[0])
    tag, licence = plain["own"]
    source = replace(source_from_plain(plain["source"]), tag=tag, licence=licence)
    operation = _operation_from_plain(kind, sizes)
    return LayerOperation(_layer_from_plain(layer), operation, tuple(plain["input_size"]), source, tuple(notes))


def operation_as_plain(found: LayerOperation) -> dict[str, Any]:
    """JSON from which ``operation_from_plain`` restores the operation of a layer."""
    kind, operation = _operation_as_plain(found.operation)
    own = {"input_size": found.input_size, "notes": found.notes, "source": found.source and asdict(found.source)}
    return {**own, "layer": _layer_as_plain(found.layer), "operation": operation, "kind": kind}


def operation_from_plain(plain: Any) -> LayerOperation:
    """Restore the operation of a layer, without what single units read."""
    from kernelviz.traces import LayerOperation

    made = _operation_from_plain(plain["kind"], plain["operation"])
    rest = {key: value for key, value in plain.items() if key != "kind"}
    source = plain["source"] and source_from_plain(plain["source"])
    layer = _layer_from_plain(plain["layer"])
    return _record(LayerOperation, rest, layer=layer, operation=made, source=source)


def _operation_as_plain(operation: Operation) -> tuple[str, dict[str, Any]]:
    """The name of its class, and its fields."""
    return type(operation).__name__, {each.name: getattr(operation, each.name) for each in fields(operation)}


def _operation_from_plain(kind: str, sizes: Any) -> Any:
    from kernelviz.arithmetic import operations

    name = {"Convolution", "TransposedConvolution", "Pooling"} & {kind}
    made = object.__new__(getattr(operations, name.pop()))  # its sizes were checked when it was made
    if set(sizes) != {each.name for each in fields(made)}:
        raise TypeError(kind)
    for each, value in sizes.items():
        object.__setattr__(made, each, _tuples(value))
    return made


def _layer_as_plain(layer: TracedLayer) -> dict[str, Any]:
    own = {each.name: getattr(layer, each.name) for each in fields(layer)}
    return {**own, "field": _field_as_plain(layer.field)}


def _layer_from_plain(plain: Any) -> TracedLayer:
    from kernelviz.traces import TracedLayer

    return _record(TracedLayer, plain, field=_field_from_plain(plain["field"]))


def _field_as_plain(field: Field | None) -> dict[str, Any] | None:
    if field is None:
        return None
    axes = [[axis.size, axis.jump, axis.offset] for axis in field.axes]
    return {"axes": axes, "mixes_image": field.mixes_image}


def _field_from_plain(plain: Any) -> Field | None:
    from kernelviz.traces import AxisField, Field

    if plain is None:
        return None
    return Field(tuple(AxisField((), (), *axis) for axis in plain["axes"]), bool(plain["mixes_image"]))  # type: ignore[arg-type]


def _record(kind: type[Record], plain: Any, **restored: Any) -> Record:
    """A frozen record of plain values; every list becomes a tuple.

    Raises:
        TypeError, KeyError: the fields are not those of the record.
    """
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if set(plain) != names:
        raise TypeError(kind)
    return kind(**{name: restored[name] if name in restored else _tuples(plain[name]) for name in names})


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value
