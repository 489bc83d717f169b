"""``kernelviz layers``: what a network is made of and what its units see, without its weights."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options
from kernelviz.wording import UNKNOWN, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from kernelviz.cli.session import Report
    from kernelviz.network.model import Model
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


Layout = Annotated[
    bool, typer.Option("--layout", help="Say which dimension of each output is channel, row, column; -v says it too.")
]
Plot = Annotated[
    bool,
    typer.Option(
        "--plot", help="Draw field, resolution and channels along the network.", rich_help_panel=options.PICTURES
    ),
]


def layers(
    model: options.ModelName,
    *,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="PATTERN",
            help="A name, or a glob over dotted names. Repeatable.",
            show_default=False,
        ),
    ] = None,
    kind: options.KindChoice = None,
    input_size: options.InputSize = None,
    layout: Layout = False,
    plot: Plot = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """List the layers of a timm model in the order in which they run, with what their units see; needs no weights.

    For example: kernelviz layers resnet18d --kind conv
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Report, document, json_text
    from kernelviz.traces import layer_entry

    report = Report("layers")
    try:
        with terminal.progress(shown=not quiet) as progress:
            progress("importing torch and timm", 0, 0)
            from kernelviz.network.model import load_model
            from kernelviz.network.tracing.trace import trace

            progress(f"tracing {model}", 0, 0)
            network = load_model(model, weights=None)
            tag, licence = published(network)
            report.source = replace(network.source, tag=tag, licence=licence)
            told = trace(network, options.parse_size(input_size, network))
        chosen = choose(told, layer, kind)
        if plot:
            draw(told, output, str(file_format), report, force=force)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        totals = {"params": sum(one.params for one in chosen), "macs": sum(one.macs for one in chosen)}
        more: dict[str, Any] = {
            "input_size": list(told.input_size),
            "preprocessing": dict(network.source.preprocessing),
            "layers": [layer_entry(one) for one in chosen],
            "totals": totals,
        }
        terminal.result(json_text(document(report, None, **more)))
        return session.DONE
    if not quiet:
        terminal.say(*heading(network, told))
    if plot:
        terminal.result("\n".join(entry["path"] for entry in report.outputs))
    else:
        show(told, chosen, layout=layout or verbose, quiet=quiet)
    return session.DONE


def choose(told: Trace, patterns: Sequence[str] | None, kind: options.Kind | None) -> list[TracedLayer]:
    """The layers that the patterns and the kind name; without either those that do something.

    Raises:
        UnknownLayerError: a pattern matches nothing.
        UsageError: no layer is left.
    """
    from kernelviz.errors import UsageError

    chosen = list(told.layers) if kind is options.Kind.ALL or patterns else [one for one in told.layers if one.changes]
    if patterns:
        names = {name for pattern in patterns for name in matching(told, pattern)}
        chosen = [one for one in chosen if one.name in names]
    if kind not in (None, options.Kind.ALL):
        chosen = [one for one in chosen if one.family == str(kind)]
    if not chosen:
        raise UsageError(f"No layer of the kind {kind} is left.", hint="Leave out --kind to see all.")
    return chosen


def matching(told: Trace, pattern: str) -> list[str]:
    """The names of the layers that one pattern means: a module that contains others stands for the layers inside it.

    Raises:
        UnknownLayerError: none.
    """
    from kernelviz.network.selection import match_layers, members, unknown_layer, with_containers

    names, hint = [one.name for one in told.layers], "`--kind all` lists every layer."
    match = match_layers(pattern, with_containers(filter(None, names)), told.stages, hint=hint)
    found = members(match, names) if match else []
    if not found:
        raise unknown_layer(pattern, names, hint)
    return found


def heading(network: Model, told: Trace) -> list[str]:
    """What stands above the table."""
    expects = network.source.preprocessing
    channels, height, width = told.input_size
    sums = f"{told.params:,} parameters, {told.macs:,} multiply-adds at {channels} × {height} × {width}"
    colours = f"mean {expects['mean']}, std {expects['std']}"
    lines = [
        f"{network.source.model}: {sums}",
        f"preprocessing: {colours}, {expects['interpolation']}, crop {expects['crop_pct']}",
    ]
    tag, licence = published(network)
    return [*lines, f"licence of the weights{f' ({tag})' if tag else ''}: {licence or 'not known'}"]


def published(network: Model) -> tuple[str | None, str | None]:
    """The tag and the licence of the weights that are published for this network; None where they are not known."""
    facts = getattr(network.module, "pretrained_cfg", None) or {}
    return network.source.tag or facts.get("tag"), network.source.licence or facts.get("license")


def show(told: Trace, chosen: Sequence[TracedLayer], *, layout: bool, quiet: bool) -> None:
    """Print the table on stdout, and what its signs mean for people."""
    from kernelviz.cli import terminal

    if sys.stdout is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.measure import Measurement

        plain = bool(os.environ.get("NO_COLOR"))  # rich alone would still print bold
        console = Console(markup=False, highlight=False, color_system=None if plain else "auto")
        table = rich_table(told, chosen, layout=layout)
        console.width = max(console.width, Measurement.get(console, console.options.update(width=2**15), table).maximum)
        console.print(table)  # lines too long for the terminal go on in the next one: no name is cut
    else:
        terminal.result(plain_table(told, chosen, layout=layout))
    if not quiet:
        terminal.say(*(layout_legend() if layout else []), *legend(chosen))


def draw(told: Trace, directory: Path, suffix: str, report: Report, *, force: bool) -> None:
    """Draw how the network grows into a file of the directory."""
    from kernelviz.drawing.growth import plot_growth
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_picture

    stem = told.source.model if told.source else "network"
    (name,) = file_stems([(stem, "layers", "growth")])
    path = save_picture(plot_growth(told), directory / f"{name}.{suffix}", force=force)
    entry = dict.fromkeys(("layer", "image", "shape", "shown", "total", "limits", "nonfinite"))
    report.outputs.append({"path": str(path), **entry, "notes": []})
