"""``kernelviz kernels``: a model's convolution kernels as pictures."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kernelviz.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.talk import Progress
    from kernelviz.documents import Report
    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.network.models import Model
    from kernelviz.records import ConvLayer, Source

PICTURE_SUFFIXES = {".png", ".svg", ".pdf", ".gif", ".jpg", ".jpeg", ".webp", ".npz"}
CHOICE_FOR = {".svg": " --format svg", ".pdf": " --format pdf", ".npz": " --arrays"}


@dataclass(frozen=True)
class Look:
    """The choices of how a picture looks, as ``make_sheet`` takes them."""

    channels: str | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None
    style: options.Style


@dataclass(frozen=True)
class Goal:
    """What is read, where the pictures go, and how much is said on the way."""

    stored: bool
    directory: Path
    suffix: str
    arrays: bool
    force: bool
    quiet: bool
    verbose: bool
    as_json: bool


@dataclass(frozen=True)
class Task:
    """One picture to be made: of which layer, in which view, and where it goes."""

    layer: ConvLayer
    view: str
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
    from kernelviz.cli import ending, talk
    from kernelviz.documents import Report, document, json_text

    report = Report("kernels")
    try:
        goal = Goal(stored, output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        look = Look(channels, top, sort, parse_scale(scale), cmap, columns, zoom, style)
        check_choices(goal, look)
        with talk.progress(shown=not quiet) as progress:
            network = load(model, weights, seed, timeout, progress)
            report.source = network.source
            report.warnings += (*network.source.notes, *unused_seed(weights, seed))
            talk.say(*said(goal, network.source.provenance, *report.warnings))
            tasks = plan(network, layer, view, goal, report)
            check_channels(look, tasks)
            for done, task in enumerate(tasks):
                progress(task.layer.name, done, len(tasks))
                work = partial(draw, network, task, look, goal, report)
                ending.attempt(report, task.layer.name, len(tasks), work)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return ending.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        talk.result(json_text(document(report)))
    return ending.outcome(report)


def parse_scale(text: str | None) -> ScaleChoice | None:
    """``tile``, ``layer`` or the two numbers of ``LO,HI``.

    Raises:
        UsageError: it is none of them, or the two numbers are no range.
    """
    from kernelviz.errors import UsageError

    if text is None or text in ("tile", "layer"):
        return cast("ScaleChoice | None", text)
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not -math.inf < low < high < math.inf:
        what = f"A scale is tile, layer or LO,HI with LO below HI, but got {text!r}."
        raise UsageError(what, hint="For example --scale=-1,1")
    return low, high


def check_choices(goal: Goal, look: Look) -> None:
    """Refuse at once what can be told from the command alone.

    Raises:
        UsageError: a file as output directory, bare tiles in a format other than PNG, or no such colour map.
    """
    from kernelviz.errors import UsageError

    check_directory(goal.directory)
    if look.style is options.Style.BARE and goal.suffix != ".png":
        raise UsageError(
            f"Bare tiles are written as PNG, not as {goal.suffix[1:].upper()}.", hint="Leave out --format, or --style."
        )
    if look.cmap is not None:
        from kernelviz.drawing.colour import ramp

        ramp(look.cmap, signed=True)


def check_directory(directory: Path) -> None:
    """Refuse a file's name where a directory is asked for.

    Raises:
        UsageError: it ends like a picture.
    """
    from kernelviz.errors import UsageError

    if directory.suffix.lower() in PICTURE_SUFFIXES and not directory.is_dir():
        what = f"--output takes a directory, but {directory} is a file's name."
        more = CHOICE_FOR.get(directory.suffix.lower(), "")
        raise UsageError(what, hint=f"Type `-o {shlex.quote(str(directory.parent))}{more}`.")


def check_channels(look: Look, tasks: Sequence[Task]) -> None:
    """Refuse at once channels that no layer has.

    Raises:
        UsageError: they are not written as channels are, or even the largest layer lacks one of them.
    """
    from kernelviz.views import parse_channels

    if look.channels is not None and tasks:
        parse_channels(look.channels, max(task.layer.out_channels for task in tasks))


def load(name: str, weights: str, seed: int, timeout: float, progress: Progress) -> Model:
    """The model; importing torch and timm is what takes long."""
    progress("importing torch and timm", 0, 0)
    from kernelviz.network.models import load_model

    progress(f"building {name}", 0, 0)
    return load_model(name, weights=weights, seed=seed, timeout=timeout, progress=progress)


def unused_seed(weights: str, seed: int) -> tuple[str, ...]:
    """What is to be said of a seed that nothing was made with."""
    return (f"--seed {seed} changes nothing: it is for --weights random",) if seed and weights != "random" else ()


def plan(network: Model, patterns: Sequence[str] | None, view: str, goal: Goal, report: Report) -> list[Task]:
    """One task for each chosen layer that the view fits; nothing is in the way of any of them.

    Raises:
        KernelvizError: no layer, no view that fits, or something in the way.
    """
    from kernelviz.cli.ending import attempt
    from kernelviz.cli.talk import say
    from kernelviz.files.names import file_stems
    from kernelviz.network.layers import left_out, select_layers
    from kernelviz.views import resolve_view

    layers = select_layers(network, patterns)
    for name, why in left_out(network, patterns).items():
        report.warnings.append(f"{name} {why}")
        say(*said(goal, f"Left out: {name} {why}"))
    views: dict[str, str] = {}

    def find_view(layer: ConvLayer) -> None:
        shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        views[layer.name] = resolve_view(shape, layer.groups, str(view))

    for layer in layers:
        attempt(report, layer.name, len(layers), partial(find_view, layer))
    fitting = [layer for layer in layers if layer.name in views]
    more = ("stored",) if goal.stored else ()
    names = [(network.source.stem, layer.name, "kernels", views[layer.name], *more) for layer in fitting]
    return [
        find_place(network.source, layer, views[layer.name], stem, goal=goal, report=report)
        for layer, stem in zip(fitting, file_stems(names), strict=True)
    ]


def find_place(source: Source, layer: ConvLayer, view: str, stem: str, *, goal: Goal, report: Report) -> Task:
    """The task of one layer; where its name is taken by other weights' picture, that of its own weights is added.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.cli.talk import say
    from kernelviz.files.names import short_hash
    from kernelviz.files.writing import check_target, is_of_another

    model = source.as_recipe()
    weights = source.weights
    identity = {"command": "kernels", "model": model, "layer": layer.name, "view": view, "stored": goal.stored or None}
    suffixes = [goal.suffix, ".npz"] if goal.arrays else [goal.suffix]
    if not goal.force and any(is_of_another(goal.directory / f"{stem}{end}", identity) for end in suffixes):
        stem = f"{stem}-{short_hash(source.label, (weights.sha256 if weights else None) or '')}"
        report.warnings.append(f"{layer.name}: a picture of other weights has the plain name, so {stem} is this one's")
        say(*said(goal, report.warnings[-1]))
    for end in suffixes:
        check_target(goal.directory / f"{stem}{end}", identity, force=goal.force)
    return Task(layer, view, goal.directory / f"{stem}{goal.suffix}")


def draw(network: Model, task: Task, look: Look, goal: Goal, report: Report) -> None:
    """Read the kernels of one layer, draw them, write the files and say so."""
    from kernelviz.cli import talk
    from kernelviz.documents import output_entry
    from kernelviz.drawing.mosaic import make_mosaic
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.network.kernels import read_kernels

    def tell(path: Path) -> None:
        report.outputs.append(output_entry(path, sheet, task.layer.name))
        if not goal.as_json:
            talk.result(path)

    sheet = make_sheet(read_kernels(network, task.layer, stored=goal.stored), view=task.view, **asdict(look))
    if look.style is options.Style.BARE:
        save_picture(make_mosaic(sheet), task.path, force=goal.force)
    else:
        from kernelviz.drawing.figures import draw_sheet

        save_picture(draw_sheet(sheet), task.path, force=goal.force)
    more = sheet.caption if goal.verbose else sheet.notes
    talk.say(*said(goal, summary(task.layer, sheet), *(f"  {line}" for line in more)))
    tell(task.path)
    if goal.arrays:
        arrays = {task.layer.name: sheet.tiles.values}
        tell(save_arrays(arrays, task.path.with_suffix(".npz"), recipe=sheet.recipe, force=goal.force))


def summary(layer: ConvLayer, sheet: Sheet) -> str:
    """One line about one picture."""
    from kernelviz.drawing.captions import count_text, layer_text

    return f"{layer.name}: {layer_text(layer)}; {sheet.tiles.view}, {count_text(sheet.tiles)}"


def said(goal: Goal, first: str, *more: str) -> tuple[str, ...]:
    """The lines for people: none when quiet."""
    return () if goal.quiet else (first, *more)
