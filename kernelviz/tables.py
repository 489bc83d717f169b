"""Traces become tables: with rich on a terminal, as aligned text in a pipe; no name is ever cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelviz.wording import UNKNOWN, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from kernelviz.traces import Trace, TracedLayer


HEADS = (
    "layer", "kind", "kernel", "stride", "padding", "dilation", "groups", "bias", "output", "params", "macs", "field",
    "jump", "runs", "layout",
)  # fmt: skip
_NUMBERS = frozenset({"groups", "params", "macs", "runs"})


def layer_cells(layer: TracedLayer, *, layout: bool = False) -> tuple[str, ...]:
    """One row as text, under ``HEADS``; empty where something does not apply, and the layout where it is not asked for."""
    return (
        visible(layer.name) or "(the network)",
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
    """What each dimension of the output is: ``N C H W``; ``lost`` where rows and columns were lost track of."""
    if not layer.runs:
        return ""
    return f"{layer.layout} (lost)" if "?" in layer.layout and layer.lost else layer.layout


def field_text(layer: TracedLayer) -> str:
    """``43`` or ``43 × 27``, with ``+`` where the whole image is mixed in; ``?`` where it is not known."""
    if layer.field is None:
        return UNKNOWN if layer.runs else ""
    return _sides([axis.size for axis in layer.field.axes]) + ("+" if layer.field.mixes_image else "")


def _jump_text(layer: TracedLayer) -> str:
    if layer.field is None:
        return ""
    jumps = [axis.jump for axis in layer.field.axes]
    return "" if None in jumps else _sides([jump for jump in jumps if jump is not None])


def _sides(sides: Sequence[int] | None) -> str:
    """``3`` for a square, ``3 × 5`` for what is none."""
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


def layout_legend() -> list[str]:
    """What the words of the column ``layout`` mean."""
    return [
        "layout: a word for each dimension of the output: N images, C channels, H rows, W columns, HW both (tokens, say)",
        "?: a dimension of which it is not known; lost: rows and columns were lost track of, for the reason below",
    ]


def legend(layers: Iterable[TracedLayer]) -> list[str]:
    """What the signs in these rows mean, and why fields are unknown."""
    lines = ["macs: multiply-adds of convolutions and matrix products alone, for one image"]
    lines.append("field: rows and columns of the input that one unit reads, as if the image had no border")
    layers = list(layers)
    if any(layer.field is not None and layer.field.mixes_image for layer in layers):
        lines.append("+: the whole image is mixed in as well, by a mean, a gate, attention or a norm over space")
    reasons: dict[str, str] = {}
    for layer in layers:
        if layer.field is None and layer.runs:
            reasons.setdefault(layer.lost, layer.name)
    lines += [f"?: unknown from {visible(name)} on: {visible(reason)}" for reason, name in list(reasons.items())[:3]]
    never = sum(layer.runs == 0 for layer in layers)
    return lines + ([f"runs 0: {never} layers did not run in this pass"] if never else [])


def plain_table(trace: Trace, layers: Sequence[TracedLayer], *, layout: bool = False) -> str:
    """Aligned text, a line a layer; columns in which nothing stands are left out."""
    rows = [HEADS, *(layer_cells(layer, layout=layout) for layer in layers), total_cells(trace, layers)]
    shown = _shown(rows[1:])
    widths = {at: max(len(row[at]) for row in rows) for at in shown}
    return "\n".join("  ".join(_set(row[at], widths[at], HEADS[at]) for at in shown).rstrip() for row in rows)


def rich_table(trace: Trace, layers: Sequence[TracedLayer], *, layout: bool = False) -> Table:
    """The same for a terminal; no cell folds."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [layer_cells(layer, layout=layout) for layer in layers]
    total = total_cells(trace, layers)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    shown = _shown([*rows, total])
    for at in shown:
        right = HEADS[at] in _NUMBERS
        options: dict[str, Any] = {"justify": "right" if right else "left", "no_wrap": True}
        table.add_column(HEADS[at], footer=Text(total[at]), **options)
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))
    return table


def _shown(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [at for at in range(len(HEADS)) if any(row[at] for row in rows)]


def _set(cell: str, width: int, head: str) -> str:
    return cell.rjust(width) if head in _NUMBERS else cell.ljust(width)
