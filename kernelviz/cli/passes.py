"""One pass an image: its maps are drawn, and their files told, while the pass goes by."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from kernelviz.cli.options import Style
from kernelviz.cli.pictures import find_place, save_sheet
from kernelviz.cli.skipping import choices_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.behind import Behind
    from kernelviz.cli.pictures import Goal, Look
    from kernelviz.components import Basis
    from kernelviz.documents import Report
    from kernelviz.drawing.highlights import Highlights
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.drawing.singles import Singles
    from kernelviz.files.images import ImageFile
    from kernelviz.map_views import MapView
    from kernelviz.network.catching import Tapped
    from kernelviz.network.models import Model
    from kernelviz.records import ClassScore, FeatureMaps, Image

    Tried = Callable[[Callable[[], object]], None]
    Places = Mapping[str, Sequence[tuple[int | None, Path]]]

OVERVIEW = ""  # the network itself has no map, so that no layer has this name


@dataclass(frozen=True)
class Wish:
    """What is to be drawn of each image."""

    patterns: Sequence[str] | None
    kind: str
    tap: Literal["output", "input"]
    reduce: str | None
    overlay: bool
    overview: bool
    classes: bool
    size: tuple[int, int] | None
    crop: bool | None
    batch_size: int = 1
    skip_existing: bool = False
    single: bool = False
    gathered: bool = False


@dataclass(frozen=True)
class Run:
    """What the passes of all images share: what is caught, ``drawn`` or only ``viewed`` in the overview, and where it goes.

    ``stems`` stand for the images in names of files; ``many`` is their number. ``behind`` writes what threads can write.
    ``asked`` is what was chosen other than usual, ``bases`` the components of layers that are drawn as colour.
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
    many: int
    behind: Behind
    asked: Mapping[str, Any]
    bases: Mapping[str, Basis] = field(default_factory=dict)


def prepare(
    network: Model, wish: Wish, look: Look, goal: Goal, report: Report, *, paths: Sequence[str], behind: Behind
) -> Run:
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
    asked = choices_of(look, wish)
    return Run(network, tapped, drawn, viewed, wish, look, goal, report, stems_of(paths), len(paths), behind, asked)


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


def plan(run: Run, image: Image | ImageFile, stem: str) -> Places:
    """Where the pictures of each layer go, with their channel in an overlay; nothing is in their way.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.files.names import file_stems
    from kernelviz.files.singles import INDEX

    source, what = run.network.source, "features" if run.wish.tap == "output" else "inputs"
    wanted: list[tuple[str, int | None, str, tuple[str, ...]]] = []
    for name in run.drawn:
        for channel, view in views(run):
            ending = () if view == "maps" else (view,)
            wanted.append((name, channel, view, (stem, source.stem, name, what, *ending)))
    if run.wish.overview:
        wanted.append((OVERVIEW, None, "overview", (stem, source.stem, "overview")))
    places: dict[str, list[tuple[int | None, Path]]] = {}
    goal = replace(run.goal, suffix=f"/{INDEX}") if run.wish.single else run.goal
    for (name, channel, view, _), one in zip(wanted, file_stems([each[3] for each in wanted]), strict=True):
        identity = {
            "command": "features", "model": source.as_recipe(), "layer": name or None, "view": view,
            "image": image.as_recipe(),
        }  # fmt: skip
        secret = (source.label, (source.weights.sha256 if source.weights else None) or "", image.sha256)
        places.setdefault(name, []).append((channel, find_place(one, identity, secret, goal, run.report)))
    return places


def views(run: Run) -> list[tuple[int | None, str]]:
    """The pictures of one layer, each by its view and, in an overlay, its channel."""
    from kernelviz.views import parse_channels

    wish = run.wish
    if wish.single:
        return [(None, "single")]
    if not wish.overlay:
        return [(None, str(wish.reduce or "maps"))]
    if run.look.channels is None:
        return [(None, f"overlay-{wish.reduce or 'norm'}")]
    most = max(tap.layout.size[0] for tap in run.tapped.taps.taps)
    return [(channel, f"overlay-{channel}") for channel in parse_channels(run.look.channels, most)]


def draw_layer(run: Run, maps: FeatureMaps, places: Sequence[tuple[int | None, Path]], tried: Tried) -> None:
    """Draw the maps of one layer, write the files and say so; what threads can do is done behind the pass.

    ``tried`` does work that comes later than this one, and names what fails.
    """
    from kernelviz.drawing.overlay import draw_overlay, lay_over, what_is_over
    from kernelviz.files.writing import save_picture

    wish, path = run.wish, places[0][1]
    if wish.overlay:
        for channel, target in places:
            reduce = cast("MapView", wish.reduce or "norm")
            overlay = lay_over(maps, channel, reduce=reduce, scale=run.look.scale)
            figure = draw_overlay(overlay)
            figure.recipe = told(run, figure.recipe or {}, maps.layer)
            save_picture(figure, target, force=run.goal.force)
            say_layer(run, maps, f"{what_is_over(overlay)} over the image", overlay.notes)
            tell(run, target, maps, overlay)
    elif wish.single:
        run.behind.hand(
            partial(write_singles, run, maps, path),
            lambda done: tried(lambda: tell_singles(run, maps, done.result(), path)),
            size=maps.values.nbytes,
        )
    else:
        work = partial(write_layer, run, maps, path)
        if run.look.style is Style.BARE:
            run.behind.hand(
                work, lambda done: tried(lambda: tell_sheet(run, maps, done.result(), path)), size=maps.values.nbytes
            )
        else:
            tell_sheet(run, maps, work(), path)


def write_layer(run: Run, maps: FeatureMaps, path: Path) -> Sheet:
    """Write the picture of one layer, and its numbers where they are asked for."""
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays

    layer = maps.layer or ""
    sheet = make_sheet(maps, view=run.wish.reduce or "maps", basis=run.bases.get(layer), **asdict(run.look))
    sheet = replace(sheet, recipe=told(run, sheet.recipe, layer))
    save_sheet(sheet, path, run.goal, run.look)
    if run.goal.arrays:
        save_arrays({layer: sheet.tiles.values}, path.with_suffix(".npz"), recipe=sheet.recipe, force=run.goal.force)
    return sheet


def tell_sheet(run: Run, maps: FeatureMaps, sheet: Sheet, path: Path) -> None:
    """Say that the picture of one layer was written."""
    from kernelviz.drawing.captions import count_text

    reduced, many = run.wish.reduce, len(maps.values)
    one = f"one picture, the components of {many:,} maps" if reduced == "pca" else f"one map, the {reduced} of {many:,}"
    say_layer(
        run, maps, one if reduced else count_text(sheet.tiles), sheet.caption if run.goal.verbose else sheet.notes
    )
    tell(run, path, maps, sheet)
    if run.goal.arrays:
        tell(run, path.with_suffix(".npz"), maps, sheet)


def write_singles(run: Run, maps: FeatureMaps, index: Path) -> Singles:
    """Write a file for each channel of one layer."""
    from kernelviz.drawing.singles import make_singles
    from kernelviz.files.singles import save_singles

    look = run.look
    singles = make_singles(
        maps,
        channels=look.channels,
        top=look.top,
        sort=look.sort,
        scale=look.scale,
        cmap=look.cmap,
        zoom=look.zoom or 1,
    )
    singles = replace(singles, recipe=told(run, singles.recipe, maps.layer))
    save_singles(singles, index.parent, force=run.goal.force)
    return singles


def tell_singles(run: Run, maps: FeatureMaps, singles: Singles, index: Path) -> None:
    """Say that the files of one layer were written."""
    from kernelviz.cli.talk import result

    say_layer(run, maps, f"{len(singles.numbers):,} of {len(maps.values):,} maps, a file each", ())
    run.report.outputs.append({
        "path": str(index), "layer": maps.layer, "image": _path_of(maps), "view": "single",
        "shape": list(maps.shape or maps.values.shape), "shown": len(singles.numbers), "total": len(maps.values),
        "limits": [singles.scale.low, singles.scale.high], "nonfinite": singles.nonfinite, "notes": [],
    })  # fmt: skip
    if not run.goal.as_json:
        result(index)


def _path_of(maps: FeatureMaps) -> str | None:
    return (maps.image.path or maps.image.name) if maps.image else None


def say_layer(run: Run, maps: FeatureMaps, what: str, lines: Sequence[str]) -> None:
    """One line about one picture, and what is odd about it; what is true of the image is said with that."""
    from kernelviz.cli.talk import say, with_notes

    known = (*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))
    shape = " × ".join(map(str, maps.values.shape))
    say(*run.goal.said(*with_notes(f"{maps.layer}: {maps.kind}, {shape}; {what}", lines, known=known)))


def tell(run: Run, path: Path, maps: FeatureMaps, drawn: Sheet | Overlay) -> None:
    """Keep one written file in the report and print its path."""
    from kernelviz.cli.talk import result
    from kernelviz.documents import output_entry

    run.report.outputs.append(output_entry(path, drawn, maps.layer, _path_of(maps)))
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
    figure.recipe = told(run, figure.recipe or {}, None)
    save_picture(figure, path, force=run.goal.force)
    shown = len(figure.recipe["layers"]) if figure.recipe else 0
    run.report.outputs.append({
        "path": str(path), "layer": None, "image": image.path or image.name, "view": "overview", "shape": None,
        "shown": shown, "total": len(columns), "limits": None, "nonfinite": sum(each.nonfinite for each in columns),
        "notes": list(overview_notes(columns)),
    })  # fmt: skip
    if not run.goal.as_json:
        result(path)
