"""``kernelviz layers``: the layers of a network, their sizes and receptive fields, without its weights."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, terminal
from kernelviz.errors import BrokenPassError, NeedsValuesError, UsageError
from kernelviz.wording import aligned, filled_columns, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.cli.outputs import OutputChoices
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.traces import Trace, TracedLayer


def layout_legend(axes: int) -> list[str]:
    """The explanation of the column ``layout`` for a network whose input has so many axes."""
    more = {1: "L samples", 3: "D slices, H rows, W columns, DHW all"}.get(axes, "H rows, W columns, HW both")
    return [
        f"layout: the dimensions of the output: N images, C channels, {more} (such as tokens)",
        "?: unknown dimension; lost: rows and columns could not be traced, for the reason below",
    ]


def legend(layers: Iterable[TracedLayer]) -> list[str]:
    """The explanation of the columns and signs in these rows, and why receptive fields are unknown."""
    lines = ["macs: multiply-adds of convolutions and matrix products only, for one image"]
    layers = list(layers)
    signal = any(layer.field is not None and len(layer.field.axes) == 1 for layer in layers)
    pixels, image = ("samples", "signal") if signal else ("pixels", "image")
    lines[0] = lines[0].replace("image", image)
    lines.append(f"field: receptive field, the {pixels} that one unit reads, as if without a border")
    lines.append(f"jump: how many {pixels} apart the receptive fields of neighbouring units are")
    if any(layer.field is not None and layer.field.mixes_image for layer in layers):
        lines.append(f"+: the whole {image} contributes too, through a mean, a gate, attention or a norm over space")
    reasons: dict[str, str] = {}
    for layer in layers:
        if layer.lost and layer.runs:
            reasons.setdefault(layer.lost, layer.name)
    lines += [f"?: unknown from {visible(name)} on: {visible(reason)}" for reason, name in list(reasons.items())[:3]]
    never = sum(layer.runs == 0 for layer in layers)
    return lines + ([f"runs 0: {never} layers did not run in this forward pass"] if never else [])


def plain_table(trace: Trace, layers: Sequence[TracedLayer], *, layout: bool = False, width: int | None = None) -> str:
    """Aligned text, one line per layer, or more to fit a width; empty columns are omitted."""
    from kernelviz.traces import HEADS, NUMBERS, layer_cells, total_cells

    rows = [layer_cells(layer, layout=layout) for layer in layers]
    return aligned(HEADS, [*rows, total_cells(trace, layers)], NUMBERS, width=width)


def rich_table(trace: Trace, layers: Sequence[TracedLayer], *, layout: bool = False) -> Table:
    """The same as a rich table for a terminal; no cell is folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from kernelviz.traces import HEADS, NUMBERS, layer_cells, total_cells

    rows = [layer_cells(layer, layout=layout) for layer in layers]
    total = total_cells(trace, layers)
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False)
    shown = filled_columns([*rows, total])
    for at in shown:
        right = HEADS[at] in NUMBERS
        options: dict[str, Any] = {"justify": "right" if right else "left", "no_wrap": True}
        table.add_column(HEADS[at], footer=Text(total[at]), **options)
    for row in rows:
        table.add_row(*(Text(row[at]) for at in shown))
    return table


Layout = Annotated[
    bool, typer.Option("--layout", help="Print which dimension of each output is channel, row or column; also with -v.")
]
Plot = Annotated[
    bool,
    typer.Option(
        "--plot",
        help="Draw receptive field, resolution and channels along the network.",
        rich_help_panel=options.PICTURES,
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
            help="A module: its exact name (name#2 if it runs twice), a glob over dotted names, or stage:0. "
            "A container selects the modules inside it. Repeatable.",
            autocompletion=options.complete_layer,
            show_default=False,
        ),
    ] = None,
    kind: options.KindChoice = None,
    model_arg: options.ModelArgs = None,
    input_size: options.InputSize = None,
    layout: Layout = False,
    plot: Plot = False,
    no_cache: options.NoCache = False,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """List the layers of a model in the order in which they run, with their receptive fields; needs no weights.

    For example: kernelviz layers resnet18d --kind conv
    """
    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.cli.outputs import OutputChoices, chosen_look
    from kernelviz.cli.session import run_command
    from kernelviz.traces import layer_entry

    def work(report: Report) -> None:
        destination = OutputChoices(
            output, f".{file_format}", arrays=False, force=force, look=chosen_look(look, no_caption, report)
        )
        chosen = ModelChoices(
            model, None, arguments=model_arg, runs=True, input_size=input_size, cache=not (no_cache or plot)
        )  # fmt: skip
        with terminal.progress(shown=not quiet) as progress:
            found, broken = find_trace(chosen, report, progress)
        try:
            listed = choose(found, layer, kind)
        except UsageError as error:
            raise (broken or error) from None
        if as_json:
            report.more |= {
                "input_size": list(found.input_size),
                "preprocessing": dict(report.source.preprocessing) if report.source else {},
                "layers": [layer_entry(one) for one in listed],
                "totals": {key: sum(getattr(one, key) for one in listed) for key in ("params", "macs")},
            }
        else:
            report.inform(*terminal.fold_message(heading(found)))
        if plot and not broken:
            draw(found, destination, report, sized=input_size is not None)
        elif not as_json:
            show(found, listed, layout=layout or verbose, quiet=quiet)
        if broken:
            raise broken

    return run_command("layers", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


def choose(found: Trace, patterns: Sequence[str] | None, kind: options.Kind | None) -> list[TracedLayer]:
    """The layers selected by patterns and kind; by default all that change their input.

    Raises:
        UnknownLayerError: a pattern matches nothing.
        UsageError: no layer is left.
    """
    chosen = (
        list(found.layers) if kind is options.Kind.ALL or patterns else [one for one in found.layers if one.changes]
    )
    if patterns:
        names = {name for pattern in patterns for name in matching(found, pattern)}
        chosen = [one for one in chosen if one.name in names]
    if kind not in (None, options.Kind.ALL):
        chosen = [one for one in chosen if one.family == str(kind)]
    if not chosen:
        raise UsageError(f"No selected layer is of the kind {kind}.", hint="Omit --kind to see all.")
    return chosen


def matching(traced: Trace, pattern: str) -> list[str]:
    """The names of the layers that one pattern means: a module that contains others stands for the layers inside it.

    Raises:
        UnknownLayerError: there are none.
    """
    from kernelviz.network.selection import match_layers, members, unknown_layer, with_containers, with_first_name

    names, hint = [one.name for one in traced.layers], "`--kind all` lists every layer."
    pattern = pattern if pattern in names else with_first_name(pattern, traced.first_names)
    match = match_layers(pattern, with_containers(filter(None, names)), traced.stages, hint=hint)
    found = members(match, names) if match else []
    if match and match.run is not None:
        runs = {one.name: one.runs for one in traced.layers}
        found = [name for name in found if runs[name] > match.run]
    if not found:
        raise unknown_layer(pattern, names, hint)
    return found


def heading(found: Trace) -> list[str]:
    """The lines above the table."""
    source = found.source
    if source is None:
        return []
    expects = source.preprocessing
    size = " × ".join(map(str, found.input_size))
    sums = f"{found.params:,} parameters, {found.macs:,} multiply-adds at {size}"
    colours = ", ".join(f"{key} ({', '.join(f'{value:.4g}' for value in expects[key])})" for key in ("mean", "std"))
    what = "preprocessing, a guess" if "mean" in expects.get("guessed", ()) else "preprocessing"
    lines = [f"{source.model}: {sums}"]
    if len(found.input_size) != 2:  # a signal has no colours
        lines.append(f"{what}: {colours}, {expects['interpolation']}, crop {expects['crop_pct']}")
    return [*lines, f"licence of the weights{f' ({source.tag})' if source.tag else ''}: {source.licence or 'unknown'}"]


def find_trace(choices: ModelChoices, report: Report, progress: Progress) -> tuple[Trace, BrokenPassError | None]:
    """The trace of a model, remembered or observed, with the tag and the licence of its published weights.

    If its forward pass breaks, the layers that ran before, and the error.

    Raises:
        KernelvizError: the model cannot be built, or nothing of it runs.
    """
    from kernelviz.cli import loading, remembered
    from kernelviz.cli.completion import keep_models
    from kernelviz.traces import Trace

    known = remembered.recalled_trace(choices) if choices.cache else None
    if known is not None and known.source is not None:
        loading.announce(known.source, choices, report)
        return known, None
    network = loading.load(choices, report, progress)
    from kernelviz.network.model import published_source
    from kernelviz.network.tracing.trace import trace

    progress(f"tracing {choices.name}", 0, 0)
    source = report.source = published_source(network)
    size, depends = options.parse_size(choices.input_size, network, traced=True), False
    try:
        try:
            found = trace(network, size)
        except NeedsValuesError:
            depends = True
            progress(f"running {choices.name}", 0, 0)
            network = loading.load(replace(choices, weights="random", runs=False), report, progress)
            found = trace(network, size)
            report.warn("the forward pass depends on values: the network ran on a black image")
    except BrokenPassError as error:
        if not isinstance(error.trace, Trace) or not error.trace.layers:
            raise
        return replace(error.trace, source=source), error
    if choices.cache and not depends:
        remembered.remember_trace(choices, network, found)
    if choices.cache:
        keep_models(choices.name)
    return replace(found, source=source), None


def show(found: Trace, chosen: Sequence[TracedLayer], *, layout: bool, quiet: bool) -> None:
    """Print the table on stdout and its explanation on stderr."""
    if not _show_styled(found, chosen, layout=layout):
        terminal.print_text(*plain_table(found, chosen, layout=layout, width=terminal.width()).split("\n"))
    if not quiet:
        layouts = layout_legend(len(found.input_size) - 1) if layout else []
        terminal.print_message(*terminal.fold_message([*layouts, *legend(chosen)]))


def _show_styled(found: Trace, chosen: Sequence[TracedLayer], *, layout: bool) -> bool:
    """Print the table with rules and bold heads, on a terminal that is wide enough; whether it is."""
    out = terminal.results()
    if out is None or not out.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):  # rich cuts at 80 on these two
        return False
    from rich.console import Console
    from rich.measure import Measurement

    plain = bool(os.environ.get("NO_COLOR"))  # rich alone would still print bold
    console = Console(file=out, markup=False, highlight=False, color_system=None if plain else "auto")
    table = rich_table(found, chosen, layout=layout)
    if Measurement.get(console, console.options.update(width=2**15), table).maximum > console.width:
        return False
    console.print(table)
    return True


def draw(found: Trace, output: OutputChoices, report: Report, *, sized: bool = False) -> None:
    """Draw how the network grows, into a file; its name has the size of the input if that was chosen."""
    from kernelviz.cli.outputs import save_page
    from kernelviz.cli.session import output_row
    from kernelviz.drawing.growth import plot_growth
    from kernelviz.files.names import file_stems

    stem = found.source.model if found.source else "network"
    size = ["x".join(map(str, found.input_size))] if sized else []
    (name,) = file_stems([(stem, "layers", "growth", *size)])
    figure = plot_growth(found, look=output.look.name, caption=output.look.caption)
    path = save_page(figure, output.directory / f"{name}{output.suffix}", report, force=output.force)
    report.add_output(output_row(path))
