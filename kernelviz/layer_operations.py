"""A layer of a network as an operation on plain integers, in words for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelviz.traces import LayerOperation, TracedLayer


def layer_lines(found: LayerOperation) -> list[str]:
    """What the layer is, and how the size of its output follows; then what its units read of the image."""
    from kernelviz.explanation import size_lines

    layer = found.layer
    model = f"{found.source.model}, " if found.source else ""
    lines = [f"{layer.name}: {layer.kind} of {model}image {' × '.join(map(str, found.input_size))}", ""]
    lines += size_lines(found.operation)
    lines.append(f"field       {field_text(layer)}")
    return lines + [f"note        {note}" for note in found.notes]


def field_text(layer: TracedLayer) -> str:
    """What one unit reads of the image."""
    if layer.field is None:
        return f"not known: {layer.lost}" if layer.lost else "not known"
    size = " × ".join(str(axis.size) for axis in layer.field.axes)
    jumps = [axis.jump for axis in layer.field.axes]
    text = f"a unit reads {size} pixels of the image"
    if None not in jumps:
        apart = " × ".join(map(str, jumps)) if len(set(jumps)) > 1 else str(jumps[0])
        text += f", its neighbour {apart} farther on"
    return f"{text}, and the whole image is mixed in" if layer.field.mixes_image else text


def layer_operation_entry(found: LayerOperation) -> dict[str, Any]:
    """The fields of the JSON document: those of ``explain``, and the layer's row of ``layers``."""
    from kernelviz.explanation import explanation_entry
    from kernelviz.traces import layer_entry

    return {
        "layer": layer_entry(found.layer),
        "image_size": list(found.input_size),
        "notes": list(found.notes),
        **explanation_entry(found.operation, None, []),
    }
