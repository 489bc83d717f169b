"""What is known of a network, as JSON and back: its source, its layers, its convolutions.

Restoring checks every field against its annotation, and raises any error for what was not written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache, partial
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from kernelviz.records import ConvLayer, Source

if TYPE_CHECKING:
    from kernelviz.arithmetic.operations import Operation
    from kernelviz.network.architecture import Architecture
    from kernelviz.network.stored_kernels import StoredKernels
    from kernelviz.records import Field
    from kernelviz.traces import LayerOperation, Trace, TracedLayer

Record = TypeVar("Record")
Restore: TypeAlias = Callable[[Any], Any]


def stored_kernels_from_plain(plain: Any) -> StoredKernels:
    """Restore stored kernels from their ``asdict``."""
    from kernelviz.network.selection import NetworkNames
    from kernelviz.network.stored_kernels import StoredKernels

    return _record(StoredKernels, plain, names=_record(NetworkNames, plain["names"]))


def architecture_from_plain(plain: Any) -> Architecture:
    """Restore an architecture from its ``asdict``."""
    from kernelviz.network.architecture import Architecture
    from kernelviz.network.selection import NetworkNames

    return _record(Architecture, plain, names=_record(NetworkNames, plain["names"]))


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
    from kernelviz.records import AxisField, Field

    if plain is None:
        return None
    restore_axis = _restorer(tuple[int | None, int | None, int | None])
    axes = tuple(AxisField((), (), *restore_axis(axis)) for axis in plain["axes"])  # type: ignore[arg-type]
    return Field(axes, _restorer(bool)(plain["mixes_image"]))


def _record(kind: type[Record], plain: Any, **restored: Any) -> Record:
    """A frozen record of plain values, each restored as its annotation states, but those in ``restored``.

    Raises:
        TypeError: the fields are not those of the record, or a value is not of the type of its field.
    """
    return kind(**_checked_fields(kind, plain, restored))


def _checked_fields(kind: type, plain: Any, restored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record of plain values; those in ``restored`` are taken from there."""
    restorers = _restorers(kind)
    if set(plain) != restorers.keys():
        raise TypeError(kind)
    return {name: restored[name] if name in restored else restore(plain[name]) for name, restore in restorers.items()}


@cache
def _restorers(kind: type) -> dict[str, Restore]:
    """What restores each field of a record."""
    # names that the modules of records import for the type checker alone; fields of the last ones are restored apart
    names = {"Mapping": Mapping, "Sequence": Sequence, "Source": Source, "ConvLayer": ConvLayer}
    hints = get_type_hints(
        kind, localns={**names, **dict.fromkeys(("Array", "Field", "NetworkNames", "Operation"), Any)}
    )
    return {each.name: _restorer(hints[each.name]) for each in fields(kind)}


@cache
def _restorer(annotation: Any) -> Restore:
    """What restores a value of JSON as an annotation states: lists become tuples, mappings records.

    It raises TypeError if the value is of another type.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    restore: Restore = _tuples
    if origin in (Union, UnionType):
        restore = partial(_any_of, [_restorer(each) for each in inner if each is not NoneType], NoneType in inner)
    elif origin is tuple and inner[-1] is Ellipsis:
        restore = partial(_tuple_of, _restorer(inner[0]))
    elif origin is tuple:
        restore = partial(_exact_tuple_of, [_restorer(each) for each in inner])
    elif origin is Mapping:
        restore = partial(_mapping_of, *map(_restorer, inner))
    elif origin is Literal:
        restore = partial(_one_of, inner)
    elif isinstance(annotation, type) and is_dataclass(annotation):
        restore = partial(_record_of, annotation)
    elif annotation is not Any:
        restore = partial(_of_type, (int, float) if annotation is float else (annotation,))
    return restore


def _of_type(kinds: tuple[type, ...], value: Any) -> Any:
    if type(value) not in kinds:
        raise TypeError(value)
    return value


def _one_of(values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise TypeError(value)
    return value


def _any_of(restorers: Sequence[Restore], optional: bool, value: Any) -> Any:  # noqa: FBT001  (by position, as ``partial``)
    if value is None and optional:
        return None
    for restore in restorers[:-1]:
        try:
            return restore(value)
        except TypeError:
            continue
    return restorers[-1](value)


def _tuple_of(restore: Restore, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return tuple(map(restore, value))


def _exact_tuple_of(restorers: Sequence[Restore], value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != len(restorers):
        raise TypeError(value)
    return tuple(restore(each) for restore, each in zip(restorers, value, strict=True))


def _mapping_of(restore_key: Restore, restore: Restore, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return {restore_key(key): restore(each) for key, each in value.items()}


def _record_of(kind: type, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(value)
    return _record(kind, value)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value
