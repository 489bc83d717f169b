"""What is known of a network, as JSON and back: its source, its layers, its convolutions.

Restoring checks every field against its annotation, and raises any error for what was not written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from kernelviz.arithmetic.operations import Operation
from kernelviz.network.architecture import Architecture
from kernelviz.network.selection import NetworkNames
from kernelviz.network.stored_kernels import StoredKernels
from kernelviz.records import ConvLayer, Source

if TYPE_CHECKING:
    from kernelviz.traces import Field, LayerOperation, Trace, TracedLayer

Record = TypeVar("Record")


def stored_kernels_from_plain(plain: Any) -> StoredKernels:
    """Restore stored kernels from their ``asdict``."""
    return _record(StoredKernels, plain)


def architecture_from_plain(plain: Any) -> Architecture:
    """Restore an architecture from its ``asdict``."""
    return _record(Architecture, plain)


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
    if not plain["layers"]:
        raise ValueError("no layers")
    return _record(Trace, rows, layers=tuple(map(_layer_from_plain, plain["layers"])))


def operation_in_trace(plain: Any, name: str) -> LayerOperation | None:
    """Restore the operation of a convolution or pool, or of the only one in a module; None if it is not known."""
    windows = [window for window in plain["windows"] if window == name or window.startswith(f"{name}.")]
    if len(windows) != 1 or windows[0] not in plain["operations"]:
        return None
    kind, sizes, notes = plain["operations"][windows[0]]
    (layer,) = (layer for layer in plain["layers"] if layer["name"] == windows[0])
    tag, licence = plain["own"]
    source = asdict(replace(_record(Source, plain["source"]), tag=tag, licence=licence))
    return operation_from_plain({
        "layer": layer, "kind": kind, "operation": sizes, "input_size": plain["input_size"], "source": source,
        "notes": notes,
    })  # fmt: skip


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
    return _record(LayerOperation, rest, layer=_layer_from_plain(plain["layer"]), operation=made)


def _operation_as_plain(operation: Operation) -> tuple[str, dict[str, Any]]:
    """The name of its class, and its fields."""
    return type(operation).__name__, {each.name: getattr(operation, each.name) for each in fields(operation)}


def _operation_from_plain(kind: str, sizes: Any) -> Any:
    from kernelviz.arithmetic import operations

    name = {"Convolution", "TransposedConvolution", "Pooling"} & {kind}
    made = object.__new__(getattr(operations, name.pop()))
    for each, value in _checked_fields(type(made), sizes, {}).items():
        object.__setattr__(made, each, value)
    _ = made.output_size  # of impossible sizes it raises
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
    numbers = [_restored(tuple[int | None, int | None, int | None], axis) for axis in plain["axes"]]
    return Field(tuple(AxisField((), (), *axis) for axis in numbers), _restored(bool, plain["mixes_image"]))  # type: ignore[arg-type]


def _record(kind: type[Record], plain: Any, **restored: Any) -> Record:
    """A frozen record of plain values, each restored as its annotation states.

    Raises:
        TypeError: the fields are not those of the record, or a value is not of the type of its field.
    """
    return kind(**_checked_fields(kind, plain, restored))


def _checked_fields(kind: type, plain: Any, restored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record of plain values; those in ``restored`` are taken from there."""
    names = {each.name for each in fields(kind)}
    if set(plain) != names:
        raise TypeError(kind)
    hints = _annotations(kind)
    return {name: restored[name] if name in restored else _restored(hints[name], plain[name]) for name in names}


@cache
def _annotations(kind: type) -> dict[str, Any]:
    """The annotations of a record, also of names that its module imports for the type checker only."""
    unread: dict[str, Any] = {"Array": Any, "Mapping": Mapping, "Sequence": Sequence, "Operation": Operation}
    return get_type_hints(
        kind, localns={**unread, "Source": Source, "ConvLayer": ConvLayer, "NetworkNames": NetworkNames}
    )


def _restored(annotation: Any, value: Any) -> Any:
    """A value of JSON as an annotation states: lists become tuples, mappings records.

    Raises:
        TypeError: it is of another type.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return _tuples(value)
    if origin in (Union, UnionType):
        for each in inner:
            with suppress(TypeError):
                return _restored(each, value)
    elif isinstance(value, list | tuple | Mapping):
        return _restored_container(annotation, value)
    elif (origin is Literal and value in inner) or type(value) in (
        (int, float) if annotation is float else (annotation,)
    ):
        return value
    raise TypeError(f"{value!r} is not of the type {annotation}")


def _restored_container(annotation: Any, value: Any) -> Any:
    """A list or a mapping of JSON as the annotation of a tuple, a mapping or a record states."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if len(kinds) == len(value):
            return tuple(map(_restored, kinds, value))
    elif origin is Mapping and isinstance(value, Mapping):
        return {_restored(inner[0], key): _restored(inner[1], each) for key, each in value.items()}
    elif isinstance(annotation, type) and is_dataclass(annotation) and isinstance(value, Mapping):
        return _record(annotation, value)
    raise TypeError(f"{value!r} is not of the type {annotation}")


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value
