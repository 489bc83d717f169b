"""``kernelviz features``: what a model's layers make of images, as pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options
from kernelviz.cli.layers import InputSize, KindChoice, parse_size
from kernelviz.cli.pictures import Goal, Look, check_choices, find_place, load, parse_scale, save_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.talk import Progress
    from kernelviz.documents import Report
    from kernelviz.drawing.highlights import Highlights
    from kernelviz.network.features import Input, Tapped
    from kernelviz.network.models import Model
    from kernelviz.records import ClassScore, FeatureMaps, Image


class Side(StrEnum):
    """Which side of a module is caught."""

    OUTPUT = "output"
    INPUT = "input"


class Reduction(StrEnum):
    """What one map is made of all channels."""

    MEAN = "mean"
    MAX = "max"
    NORM = "norm"


Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...", help="Files, folders with -r, globs, - for standard input, or sample:grace_hopper."
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A module by its exact name (name#2 its second run, name:0 a part of a tuple), a glob over dotted names "
        "('layer*.act2'), or stage:0. Repeatable. Without it: the first convolution and the stages, and an overview.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Take folders, with all below them.")]
Tap = Annotated[Side, typer.Option("--tap", help="What a module gives, or what goes into it.")]
Reduce = Annotated[
    Reduction | None,
    typer.Option(
        "--reduce",
        help="One map a layer: at each place this of all channels.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Overlay = Annotated[
    bool,
    typer.Option(
        "--overlay",
        help="Lay it over what the network saw: each of --channels or --top, else the reduction (norm).",
        rich_help_panel=options.PICTURES,
    ),
]
Overview = Annotated[
    bool | None,
    typer.Option(
        "--overview/--no-overview",
        help="One picture an image: its classes, and the maps of the stages that say most. On without --layer.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]
Classes = Annotated[bool, typer.Option("--classes/--no-classes", help="Run to the end for the first five classes.")]
Crop = Annotated[
    bool | None,
    typer.Option("--crop/--no-crop", help="Cut out the middle, or show it all; the model's own rule unless said."),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, metavar="N", help="Of torch.", show_default=False)]
Device = Annotated[options.DeviceName, typer.Option("--device", help="Where the pass runs.")]


@dataclass(frozen=True)
class Wish:
    """What is to be drawn of each image."""

    patterns: Sequence[str] | None
    kind: str
    tap: Side
    reduce: Reduction | None
    overlay: bool
    overview: bool
    classes: bool
    size: tuple[int, int] | None
    crop: bool | None


@dataclass
class Run:
    """A run over several images: what is shared, and what has been made of the present one."""

    network: Model
    wish: Wish
    look: Look
    goal: Goal
    report: Report
    stems: dict[str, str]
    images: list[dict[str, Any]] = field(default_factory=list)
    tapped: Tapped | None = None
    drawn: frozenset[str] = frozenset()
    viewed: frozenset[str] = frozenset()


def features(
    model: options.ModelName,
    images: Images,
    *,
    layer: Layers = None,
    recursive: Recursive = False,
    kind: KindChoice = None,
    tap: Tap = Side.OUTPUT,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    classes: Classes = True,
    input_size: InputSize = None,
    crop: Crop = None,
    device: Device = options.DeviceName.AUTO,
    threads: Threads = None,
    reduce: Reduce = None,
    overlay: Overlay = False,
    overview: Overview = None,
    channels: options.Channels = None,
    top: options.Top = None,
    sort: options.Sort = None,
    scale: options.Scale = None,
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
    """Run a timm model on images and draw the feature maps of its layers, a picture a layer and image.

    For example: kernelviz features tf_efficientnet_lite0 photo.jpg -l 'blocks.2' --top 16 --sort std
    """
    from kernelviz.cli import ending, talk
    from kernelviz.documents import Report, document, json_text

    report = Report("features")
    run = None
    try:
        goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        look = Look(channels, top, sort, parse_scale(scale), cmap, columns, zoom, style)
        check_choices(goal, look)
        check_kinds(goal, look, reduce, overlay=overlay)
        paths = find(images, goal, report, recursive=recursive)
        with talk.progress(shown=not quiet) as progress:
            network = load(model, weights, seed, timeout, progress, threads=threads, device=str(device))
            report.source = network.source
            report.warnings += network.source.notes
            talk.say(*goal.said(network.source.provenance, *network.source.notes))
            plain = style is options.Style.FIGURE and not (layer or reduce or overlay or tap is Side.INPUT)
            wish = Wish(
                layer, str(kind or "all"), tap, reduce, overlay, plain if overview is None else overview, classes,
                size[1:] if (size := parse_size(input_size, network)) else None, crop,
            )  # fmt: skip
            run = Run(network, wish, look, goal, report, stems_of(paths))
            for done, path in enumerate(paths):
                progress(Path(path).name, done, len(paths))
                ending.attempt(report, path, len(paths), partial(draw_image, run, path, progress))
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return ending.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        talk.result(json_text(document(report, None, images=run.images)))
    return ending.outcome(report)


def check_kinds(goal: Goal, look: Look, reduce: Reduction | None, *, overlay: bool) -> None:
    """Refuse choices that exclude each other.

    Raises:
        UsageError: an overlay of bare tiles, with arrays, or of maps that are not known before the pass.
    """
    from kernelviz.errors import UsageError

    if reduce and look.style is options.Style.BARE and overlay is False and look.columns:
        raise UsageError("One map has no columns.", hint="Leave out --columns, or --reduce.")
    if overlay and (look.top or look.sort):
        raise UsageError("An overlay takes the maps that --channels names.", hint="Leave out --top and --sort.")
    if overlay and goal.arrays:
        raise UsageError("An overlay has no arrays.", hint="Leave out --overlay for the numbers.")
    if overlay and look.style is options.Style.BARE:
        raise UsageError("An overlay is a page, not bare tiles.", hint="Leave out --style, or --overlay.")


def find(arguments: Sequence[str], goal: Goal, report: Report, *, recursive: bool) -> tuple[str, ...]:
    """The images that the arguments mean; what was left out is said."""
    from kernelviz.cli.talk import say
    from kernelviz.files.finding import find_images

    found = find_images(arguments, recursive=recursive)
    report.warnings += found.notes
    for note in found.notes:
        say(*goal.said(note))
    return found.images


def stems_of(paths: Sequence[str]) -> dict[str, str]:
    """What stands for each image in names of files; those that would meet get digits of a hash of their path."""
    from kernelviz.files.names import short_hash

    stems = {path: Path(path.removeprefix("sample:")).stem if path != "-" else "stdin" for path in paths}
    many = Counter(stem.casefold() for stem in stems.values())
    return {path: f"{stem}-{short_hash(path)}" if many[stem.casefold()] > 1 else stem for path, stem in stems.items()}


def draw_image(run: Run, path: str, progress: Progress) -> None:
    """Read one image, pass it through the network, and draw what its layers give while it goes by."""
    from kernelviz.cli.talk import say
    from kernelviz.files.images import read_image
    from kernelviz.network.features import as_input
    from kernelviz.network.features import run as run_pass

    image = read_image(path)
    given = as_input(run.network, image, input_size=run.wish.size, crop=run.wish.crop)
    tapped = tap(run, given)
    places = plan(run, image, run.stems[path])
    notes = [*image.notes, *(given.seen.notes if given.seen else ())]
    run.report.warnings += [f"{image.name}: {note}" for note in notes]
    columns: list[Highlights] = []
    names = [tap.name for tap in tapped.taps.taps]

    def on_map(maps: FeatureMaps) -> None:
        name = maps.layer or ""
        progress(name, names.index(name), len(names))
        if name in run.viewed:
            from kernelviz.drawing.highlights import highlights_of

            columns.append(highlights_of(maps))
        if name in run.drawn:
            from kernelviz.cli.ending import attempt

            attempt(run.report, name, len(run.drawn), partial(draw_layer, run, maps, places[name]))

    classes = run_pass(tapped, given, on_map, to_the_end=run.wish.classes)
    run.images.append({
        "path": path,
        "top": [asdict(score) for score in classes],
    })  # fmt: skip
    shares = ", ".join(f"{score.label or f'class {score.index}'} {score.probability:.1%}" for score in classes)
    say(*run.goal.said(f"{image.name}: {shares}" if shares else image.name, *(f"  {note}" for note in notes)))
    if run.wish.overview and columns:
        draw_overview(run, columns, classes, places[""])


def tap(run: Run, given: Input) -> Tapped:
    """What is caught: the layers to be drawn, and those of the overview; the same for all images of one size."""
    from kernelviz.cli.talk import say
    from kernelviz.network.features import make_taps, tap_also

    if run.tapped is not None and run.tapped.input_size == given.size:
        return run.tapped
    wish = run.wish
    tapped = make_taps(run.network, given.size, wish.patterns, kind=wish.kind, tap=wish.tap.value)
    run.drawn = frozenset(tap.name for tap in tapped.taps.taps)
    if wish.overview:
        tapped, run.viewed = tap_also(tapped)
    if run.tapped is None:
        without = [f"{name}: {why}" for name, why in tapped.taps.without.items()]
        run.report.warnings += without
        if without:
            verb = "layer has" if len(without) == 1 else "layers have"
            say(*run.goal.said(f"{len(without)} {verb} no map{'' if run.goal.verbose else ' (-v lists them)'}"))
            say(*(f"  {line}" for line in without if run.goal.verbose))
    run.tapped = tapped
    return tapped


def plan(run: Run, image: Image, stem: str) -> dict[str, list[tuple[int | None, Path]]]:
    """Where the pictures of each layer go, and, under the empty name, the overview; nothing is in their way.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.files.names import file_stems

    layers = [tap.name for tap in run.tapped.taps.taps if tap.name in run.drawn] if run.tapped else []
    what = "features" if run.wish.tap is Side.OUTPUT else "inputs"
    wanted: list[tuple[str, int | None, str, tuple[str, ...]]] = []
    for name in layers:
        for channel, view in views(run):
            ending = () if view == "maps" else (view,)
            wanted.append((name, channel, view, (stem, run.network.source.stem, name, what, *ending)))
    if run.wish.overview:
        wanted.append(("", None, "overview", (stem, run.network.source.stem, "overview")))
    places: dict[str, list[tuple[int | None, Path]]] = {}
    for (name, channel, view, _), one in zip(wanted, file_stems([each[3] for each in wanted]), strict=True):
        identity = {
            "command": "features", "model": run.network.source.as_recipe(), "layer": name or None, "view": view,
            "image": image.as_recipe(),
        }  # fmt: skip
        weights = run.network.source.weights
        secret = (run.network.source.label, (weights.sha256 if weights else None) or "", image.sha256)
        places.setdefault(name, []).append((channel, find_place(one, identity, secret, run.goal, run.report)))
    return places


def views(run: Run) -> list[tuple[int | None, str]]:
    """The pictures of one layer, each by its view and, in an overlay, its channel."""
    wish = run.wish
    if not wish.overlay:
        return [(None, str(wish.reduce or "maps"))]
    if run.look.channels is None:
        return [(None, f"overlay-{wish.reduce or 'norm'}")]
    from kernelviz.views import parse_channels

    return [(channel, f"overlay-{channel}") for channel in parse_channels(run.look.channels, 1 << 30)]


def draw_layer(run: Run, maps: FeatureMaps, places: Sequence[tuple[int | None, Path]]) -> None:
    """Draw the maps of one layer, write the files and say so."""
    if run.wish.overlay:
        for channel, path in places:
            draw_overlay(run, maps, channel, path)
        return
    from kernelviz.cli.talk import say
    from kernelviz.drawing.captions import count_text
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays

    goal = run.goal
    path = places[0][1]
    sheet = make_sheet(maps, view=str(run.wish.reduce or "maps"), **asdict(run.look))
    save_sheet(sheet, path, goal, run.look)
    more = sheet.caption if goal.verbose else sheet.notes[: len(sheet.notes) - len(shared_notes(maps))]
    shape = " × ".join(map(str, maps.values.shape))
    say(*goal.said(f"{maps.layer}: {maps.kind}, {shape}; {count_text(sheet.tiles)}", *(f"  {line}" for line in more)))
    tell(run, path, maps, sheet_entry(sheet))
    if goal.arrays:
        arrays = {maps.layer or "": sheet.tiles.values}
        target = path.with_suffix(".npz")
        save_arrays(arrays, target, recipe=sheet.recipe, force=goal.force)
        tell(run, target, maps, sheet_entry(sheet))


def shared_notes(maps: FeatureMaps) -> tuple[str, ...]:
    """What is true of the image as a whole, and said with it."""
    return (*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))


def sheet_entry(sheet: Any) -> dict[str, Any]:
    """What stands in a mosaic, for the document."""
    return {
        "view": sheet.tiles.view,
        "shape": list(sheet.recipe["shape"]),
        "shown": sheet.shown,
        "total": sheet.tiles.total,
        "limits": [sheet.scale.low, sheet.scale.high],
        "nonfinite": sheet.marks.nonfinite,
        "notes": list(sheet.notes),
    }


def tell(run: Run, path: Path, maps: FeatureMaps | None, facts: dict[str, Any]) -> None:
    """Keep one written file in the report and print its path."""
    from kernelviz.cli.talk import result

    image = maps.image.path or maps.image.name if maps and maps.image else None
    run.report.outputs.append({"path": str(path), "layer": maps.layer if maps else None, "image": image, **facts})
    if not run.goal.as_json:
        result(path)


def draw_overlay(run: Run, maps: FeatureMaps, channel: int | None, path: Path) -> None:
    """One map, or the reduction, over what the network saw."""
    from kernelviz.drawing.overlay import plot_overlay
    from kernelviz.files.writing import save_picture

    figure = plot_overlay(maps, channel, reduce=(run.wish.reduce or Reduction.NORM).value, scale=run.look.scale)
    save_picture(figure, path, force=run.goal.force)
    recipe = figure.recipe or {}
    keys = ("view", "shape", "shown", "total", "limits")
    tell(run, path, maps, {key: recipe.get(key) for key in keys} | {"nonfinite": None, "notes": []})


def draw_overview(run: Run, columns: list[Highlights], classes: Sequence[ClassScore], places: Any) -> None:
    """The overview of one image."""
    from kernelviz.drawing.overview import plot_overview
    from kernelviz.files.writing import save_picture

    path = places[0][1]
    save_picture(plot_overview(columns, classes), path, force=run.goal.force)
    shown = {"view": "overview", "shape": None, "shown": len(columns), "total": len(columns)}
    image = columns[0].image
    tell(run, path, None, {**shown, "limits": None, "nonfinite": None, "notes": []})
    run.report.outputs[-1]["image"] = image.path or image.name if image else None
