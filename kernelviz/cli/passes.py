"""One pass an image: its maps are drawn, and their files told, while the pass goes by."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernelviz.cli.pictures import find_place, save_sheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.cli.pictures import Goal, Look
    from kernelviz.cli.talk import Progress
    from kernelviz.documents import Report
    from kernelviz.drawing.highlights import Highlights
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.map_views import MapView
    from kernelviz.network.features import Tapped
    from kernelviz.network.models import Model
    from kernelviz.records import ClassScore, FeatureMaps, Image

    Places = Mapping[str, Sequence[tuple[int | None, Path]]]

OVERVIEW = ""  # the network itself has no map, so that no layer has this name


@dataclass(frozen=True)
class Wish:
    """What is to be drawn of each image."""

    patterns: Sequence[str] | None
    kind: str
    tap: Literal["output", "input"]
    reduce: MapView | None
    overlay: bool
    overview: bool
    classes: bool
    size: tuple[int, int] | None
    crop: bool | None


@dataclass(frozen=True)
class Run:
    """What the passes of all images share: what is caught, ``drawn`` or only ``viewed`` in the overview, and where it goes.

    ``stems`` stand for the images in names of files.
    """

    network: Model
    tapped: Tapped
    drawn: tuple[str, ...]
    viewed: frozenset[str]
    wish: Wish
    look: Look
    goal: Goal
    report: Report
    stems: Mapping[str, str]


def prepare(network: Model, wish: Wish, look: Look, goal: Goal, report: Report, *, paths: Sequence[str]) -> Run:
    """Find what is to be caught, before any image is read.

    Raises:
        KernelvizError: no such layer, one without a map, an input size that the network refuses, or channels that no
            layer has.
    """
    from kernelviz.network.features import blank, make_taps, tap_also
    from kernelviz.network.preprocessing import input_size_of
    from kernelviz.views import parse_channels

    size = (network.input_size[0], *input_size_of(network, wish.size))
    tapped = make_taps(network, size, wish.patterns, kind=wish.kind, tap=wish.tap, batch=blank(size))
    drawn = tuple(tap.name for tap in tapped.taps.taps)
    if look.channels is not None:
        parse_channels(look.channels, max(tap.layout.size[0] for tap in tapped.taps.taps))
    tell_without(tapped, goal, report)
    tapped, viewed = tap_also(tapped) if wish.overview else (tapped, frozenset())
    return Run(network, tapped, drawn, viewed, wish, look, goal, report, stems_of(paths))


def tell_without(tapped: Tapped, goal: Goal, report: Report) -> None:
    """Count the layers that have no map, and keep why."""
    from kernelviz.cli.talk import say

    without = [f"{name}: {why}" for name, why in tapped.taps.without.items()]
    report.warnings += without
    if without:
        verb = "layer has" if len(without) == 1 else "layers have"
        say(*goal.said(f"{len(without)} {verb} no map{'' if goal.verbose else ' (-v lists them)'}"))
        say(*(f"  {line}" for line in without if goal.verbose and not goal.quiet))


def stems_of(paths: Sequence[str]) -> dict[str, str]:
    """What stands for each image in names of files; those that would meet get digits of a hash of their path."""
    from kernelviz.files.names import safe_part, short_hash

    stems = {path: Path(path.removeprefix("sample:")).stem if path != "-" else "stdin" for path in paths}
    many = Counter(safe_part(stem).casefold() for stem in stems.values())
    return {
        path: f"{stem}-{short_hash(path)}" if many[safe_part(stem).casefold()] > 1 else stem
        for path, stem in stems.items()
    }


def draw_image(run: Run, path: str, progress: Progress) -> None:
    """Read one image, pass it through the network, and draw what its layers give while it goes by."""
    from kernelviz.cli.ending import attempt
    from kernelviz.drawing.highlights import highlights_of
    from kernelviz.files.images import read_image
    from kernelviz.network.features import as_input
    from kernelviz.network.features import run as run_pass

    image = read_image(path)
    given = as_input(run.network, image, input_size=run.wish.size, crop=run.wish.crop)
    places = plan(run, image, run.stems[path])
    columns: list[Highlights] = []
    names = [tap.name for tap in run.tapped.taps.taps]

    def on_map(maps: FeatureMaps) -> None:
        name = maps.layer or ""
        progress(name, names.index(name), len(names))
        if name in run.viewed:
            columns.append(highlights_of(maps))
        if name in run.drawn:
            attempt(run.report, name, len(run.drawn), partial(draw_layer, run, maps, places[name]))

    classes = run_pass(run.tapped, given, on_map, to_the_end=run.wish.classes)
    notes = (*image.notes, *(given.seen.notes if given.seen else ()))
    tell_image(run, image, path, classes, notes)
    if run.wish.overview and columns:
        draw_overview(run, image, columns, classes, places[OVERVIEW][0][1])


def tell_image(run: Run, image: Image, path: str, classes: Sequence[ClassScore], notes: Sequence[str]) -> None:
    """Say what was done to an image and what the network takes it for."""
    from kernelviz.cli.talk import say

    run.report.warnings += [f"{image.name}: {note}" for note in notes]
    run.report.more["images"].append({"path": path, "top": [asdict(score) for score in classes]})
    shares = ", ".join(f"{score.label or f'class {score.index}'} {score.probability:.1%}" for score in classes)
    say(*run.goal.said(f"{image.name}: {shares}" if shares else image.name, *(f"  {note}" for note in notes)))


def plan(run: Run, image: Image, stem: str) -> Places:
    """Where the pictures of each layer go, with their channel in an overlay; nothing is in their way.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.files.names import file_stems

    source, what = run.network.source, "features" if run.wish.tap == "output" else "inputs"
    wanted: list[tuple[str, int | None, str, tuple[str, ...]]] = []
    for name in run.drawn:
        for channel, view in views(run):
            ending = () if view == "maps" else (view,)
            wanted.append((name, channel, view, (stem, source.stem, name, what, *ending)))
    if run.wish.overview:
        wanted.append((OVERVIEW, None, "overview", (stem, source.stem, "overview")))
    places: dict[str, list[tuple[int | None, Path]]] = {}
    for (name, channel, view, _), one in zip(wanted, file_stems([each[3] for each in wanted]), strict=True):
        identity = {
            "command": "features", "model": source.as_recipe(), "layer": name or None, "view": view,
            "image": image.as_recipe(),
        }  # fmt: skip
        secret = (source.label, (source.weights.sha256 if source.weights else None) or "", image.sha256)
        places.setdefault(name, []).append((channel, find_place(one, identity, secret, run.goal, run.report)))
    return places


def views(run: Run) -> list[tuple[int | None, str]]:
    """The pictures of one layer, each by its view and, in an overlay, its channel."""
    from kernelviz.views import parse_channels

    wish = run.wish
    if not wish.overlay:
        return [(None, str(wish.reduce or "maps"))]
    if run.look.channels is None:
        return [(None, f"overlay-{wish.reduce or 'norm'}")]
    most = max(tap.layout.size[0] for tap in run.tapped.taps.taps)
    return [(channel, f"overlay-{channel}") for channel in parse_channels(run.look.channels, most)]


def draw_layer(run: Run, maps: FeatureMaps, places: Sequence[tuple[int | None, Path]]) -> None:
    """Draw the maps of one layer, write the files and say so."""
    from kernelviz.drawing.captions import count_text
    from kernelviz.drawing.overlay import draw_overlay, lay_over, what_is_over
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays, save_picture

    goal, wish = run.goal, run.wish
    if wish.overlay:
        for channel, path in places:
            overlay = lay_over(maps, channel, reduce=wish.reduce or "norm", scale=run.look.scale)
            save_picture(draw_overlay(overlay), path, force=goal.force)
            say_layer(run, maps, f"{what_is_over(overlay)} over the image", overlay.notes)
            tell(run, path, maps, overlay)
        return
    path = places[0][1]
    sheet = make_sheet(maps, view=wish.reduce or "maps", **asdict(run.look))
    save_sheet(sheet, path, goal, run.look)
    what = f"one map, the {wish.reduce} of {len(maps.values):,}" if wish.reduce else count_text(sheet.tiles)
    say_layer(run, maps, what, sheet.caption if goal.verbose else sheet.notes)
    tell(run, path, maps, sheet)
    if goal.arrays:
        target = path.with_suffix(".npz")
        save_arrays({maps.layer or "": sheet.tiles.values}, target, recipe=sheet.recipe, force=goal.force)
        tell(run, target, maps, sheet)


def say_layer(run: Run, maps: FeatureMaps, what: str, lines: Sequence[str]) -> None:
    """One line about one picture, and what is odd about it; what is true of the image is said with that."""
    from kernelviz.cli.talk import say

    common = {*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ())}
    shape = " × ".join(map(str, maps.values.shape))
    more = [line for line in lines if line not in common]
    say(*run.goal.said(f"{maps.layer}: {maps.kind}, {shape}; {what}", *(f"  {line}" for line in more)))


def tell(run: Run, path: Path, maps: FeatureMaps, drawn: Sheet | Overlay) -> None:
    """Keep one written file in the report and print its path."""
    from kernelviz.cli.talk import result
    from kernelviz.documents import output_entry

    image = (maps.image.path or maps.image.name) if maps.image else None
    run.report.outputs.append(output_entry(path, drawn, maps.layer, image))
    if not run.goal.as_json:
        result(path)


def draw_overview(
    run: Run, image: Image, columns: Sequence[Highlights], classes: Sequence[ClassScore], path: Path
) -> None:
    """Draw the overview of one image, write the file and say so."""
    from kernelviz.cli.talk import result
    from kernelviz.drawing.highlights import overview_notes
    from kernelviz.drawing.overview import plot_overview
    from kernelviz.files.writing import save_picture

    figure = plot_overview(columns, classes)
    save_picture(figure, path, force=run.goal.force)
    shown = len(figure.recipe["layers"]) if figure.recipe else 0
    run.report.outputs.append({
        "path": str(path), "layer": None, "image": image.path or image.name, "view": "overview", "shape": None,
        "shown": shown, "total": len(columns), "limits": None, "nonfinite": sum(each.nonfinite for each in columns),
        "notes": list(overview_notes(columns)),
    })  # fmt: skip
    if not run.goal.as_json:
        result(path)
