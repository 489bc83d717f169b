"""What is known of a network, as JSON and back: its source, its layers, its convolutions.

Restoring raises ``ValueError``, ``TypeError``, ``KeyError`` or ``AttributeError`` for what was not written here.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from kernelviz.network.selection import NetworkNames
from kernelviz.network.stored_kernels import StoredKernels
from kernelviz.records import ConvLayer, Source, Weights

if TYPE_CHECKING:
    from kernelviz.traces import Field, Trace, TracedLayer

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


def trace_as_plain(trace: Trace) -> dict[str, Any]:
    """JSON from which ``trace_from_plain`` restores the rows of a trace; what single units read is left out."""
    layers = [
        {**{each.name: getattr(layer, each.name) for each in fields(layer)}, "field": _field_as_plain(layer.field)}
        for layer in trace.layers
    ]
    own = {name: getattr(trace, name) for name in ("input_size", "params", "macs", "stages")}
    source = trace.source and asdict(trace.source)
    return {**own, "first_names": dict(trace.first_names), "source": source, "layers": layers}


def trace_from_plain(plain: Any) -> Trace:
    """Restore the rows of a trace, without what single units read."""
    from kernelviz.traces import Trace, TracedLayer

    def restored(layer: Any) -> TracedLayer:
        return _record(TracedLayer, layer, field=_field_from_plain(layer["field"]))

    return _record(
        Trace, plain, layers=tuple(map(restored, plain["layers"])), first_names=dict(plain["first_names"]),
        source=plain["source"] and source_from_plain(plain["source"]),
    )  # fmt: skip


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
