"""``kernelviz kernels``: a model's convolution kernels as pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.cli import options
from kernelviz.cli.session import Goal, Look, check_choices, find_place, load, parse_scale, save_sheet, unused_seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.session import Report
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.network.model import Model
    from kernelviz.records import ConvLayer, Source


@dataclass(frozen=True)
class Reading:
    """What is drawn of a layer: in which view, and whether the weight as stored or as the layer convolves with it."""

    view: str
    stored: bool


@dataclass(frozen=True)
class Task:
    """One picture to be made: of which layer, how, and where it goes."""

    layer: ConvLayer
    reading: Reading
    path: Path


def kernels(
    model: options.ModelName,
    *,
    layer: options.Layers = None,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    stored: options.Stored = False,
    view: options.View = options.ViewName.AUTO,
    scale: options.Scale = None,
    channels: options.Channels = None,
    top: options.Top = None,
    sort: options.Sort = None,
    cmap: options.Cmap = None,
    columns: options.Columns = None,
    zoom: options.Zoom = None,
    style: options.StyleChoice = options.Style.FIGURE,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Draw the convolution kernels of a timm model, a picture a layer.

    For example: kernelviz kernels tf_efficientnet_lite0 -l 'blocks.2.*conv_dw'
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Report, document, json_text

    report = Report("kernels")
    try:
        goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        look = Look(channels, top, sort, parse_scale(scale), cmap, columns, zoom, style)
        check_choices(goal, look)
        with terminal.progress(shown=not quiet) as progress:
            network = load(model, weights, seed, timeout, progress)
            report.source = network.source
            report.warnings += (*network.source.notes, *unused_seed(weights, seed))
            terminal.say(*goal.said(network.source.provenance, *report.warnings))
            tasks = plan(network, layer, Reading(str(view), stored=stored), goal, report)
            check_channels(look, tasks)
            for done, task in enumerate(tasks):
                progress(task.layer.name, done, len(tasks))
                work = partial(draw, network, task, look, goal, report)
                session.attempt(report, task.layer.name, len(tasks), work)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        terminal.result(json_text(document(report)))
    return session.outcome(report)


def check_channels(look: Look, tasks: Sequence[Task]) -> None:
    """Refuse at once channels that no layer has.

    Raises:
        UsageError: they are not written as channels are, or even the largest layer lacks one of them.
    """
    from kernelviz.views.kernel_views import parse_channels

    if look.channels is not None and tasks:
        parse_channels(look.channels, max(task.layer.out_channels for task in tasks))


def plan(network: Model, patterns: Sequence[str] | None, reading: Reading, goal: Goal, report: Report) -> list[Task]:
    """One task for each chosen layer that the view fits; nothing is in the way of any of them.

    Raises:
        KernelvizError: no layer, no view that fits, or something in the way.
    """
    from kernelviz.cli.session import attempt
    from kernelviz.cli.terminal import say
    from kernelviz.files.names import file_stems
    from kernelviz.network.convolutions import left_out, select_layers
    from kernelviz.views.kernel_views import resolve_view

    layers = select_layers(network, patterns)
    for name, why in left_out(network, patterns).items():
        report.warnings.append(f"{name} {why}")
        say(*goal.said(f"Left out: {name} {why}"))
    views: dict[str, str] = {}

    def find_view(layer: ConvLayer) -> None:
        shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        views[layer.name] = resolve_view(shape, layer.groups, reading.view)

    for layer in layers:
        attempt(report, layer.name, len(layers), partial(find_view, layer))
    fitting = [layer for layer in layers if layer.name in views]
    more = ("stored",) if reading.stored else ()
    stems = file_stems([(network.source.stem, layer.name, "kernels", views[layer.name], *more) for layer in fitting])
    tasks = []
    for layer, stem in zip(fitting, stems, strict=True):
        here = replace(reading, view=views[layer.name])
        tasks.append(Task(layer, here, location_of(network.source, layer, here, stem, goal=goal, report=report)))
    return tasks


def location_of(source: Source, layer: ConvLayer, reading: Reading, stem: str, *, goal: Goal, report: Report) -> Path:
    """Where the picture of one layer goes.

    Raises:
        FileInTheWayError: something else stands there.
    """
    identity = {
        "command": "kernels", "model": source.as_recipe(), "layer": layer.name, "view": reading.view,
        "stored": reading.stored or None,
    }  # fmt: skip
    secret = (source.label, (source.weights.sha256 if source.weights else None) or "")
    return find_place(stem, identity, secret, goal, report)


def draw(network: Model, task: Task, look: Look, goal: Goal, report: Report) -> None:
    """Read the kernels of one layer, draw them, write the files and say so."""
    from kernelviz.cli import terminal
    from kernelviz.cli.session import output_entry
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays
    from kernelviz.network.kernels import read_kernels

    def tell(path: Path) -> None:
        report.outputs.append(output_entry(path, sheet, task.layer.name))
        if not goal.as_json:
            terminal.result(path)

    sheet = make_sheet(
        read_kernels(network, task.layer, stored=task.reading.stored), view=task.reading.view, **asdict(look)
    )
    save_sheet(sheet, task.path, goal, look)
    more = sheet.caption if goal.verbose else sheet.notes
    terminal.say(*goal.said(*terminal.with_notes(summary(task.layer, sheet), more)))
    tell(task.path)
    if goal.arrays:
        arrays = {task.layer.name: sheet.tiles.values}
        tell(save_arrays(arrays, task.path.with_suffix(".npz"), recipe=sheet.recipe, force=goal.force))


def summary(layer: ConvLayer, sheet: Sheet) -> str:
    """One line about one picture."""
    from kernelviz.drawing.captions import count_text, layer_text

    return f"{layer.name}: {layer_text(layer)}; {sheet.tiles.view}, {count_text(sheet.tiles)}"
