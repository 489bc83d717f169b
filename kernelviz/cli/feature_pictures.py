"""The pictures of ``kernelviz features``: read, captured, drawn and written image by image."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from kernelviz.cli.options import Style
from kernelviz.cli.session import find_place, save_sheet
from kernelviz.errors import KernelvizError
from kernelviz.streaming import Passes, ReadImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kernelviz.cli.session import Goal, Look, Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.mosaic import Singles
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.files.images import EncodedImage
    from kernelviz.network.capture import CapturePlan, Input
    from kernelviz.network.model import Model
    from kernelviz.records import ClassScore, FeatureMaps, Image, Recipe
    from kernelviz.threads import Behind
    from kernelviz.views.components import Basis
    from kernelviz.views.map_views import Highlights, MapView

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
    tapped: CapturePlan
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
    from kernelviz.network.capture import blank, make_taps, tap_also
    from kernelviz.network.preprocessing import input_size_of
    from kernelviz.views.kernel_views import parse_channels

    size = (network.input_size[0], *input_size_of(network, wish.size))
    tapped = make_taps(network, size, wish.patterns, kind=wish.kind, tap=wish.tap, batch=blank(size))
    drawn = tuple(tap.name for tap in tapped.taps.taps)
    if look.channels is not None:
        parse_channels(look.channels, max(tap.layout.size[0] for tap in tapped.taps.taps))
    tell_without(tapped, goal, report)
    tapped, viewed = tap_also(tapped) if wish.overview else (tapped, frozenset())
    asked = choices_of(look, wish)
    return Run(network, tapped, drawn, viewed, wish, look, goal, report, stems_of(paths), len(paths), behind, asked)


def tell_without(tapped: CapturePlan, goal: Goal, report: Report) -> None:
    """Count the layers that have no map, and keep why."""
    from kernelviz.cli.terminal import say

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


def plan(run: Run, image: Image | EncodedImage, stem: str) -> Places:
    """Where the pictures of each layer go, with their channel in an overlay; nothing is in their way.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.files.names import file_stems
    from kernelviz.files.single_maps import INDEX

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
    from kernelviz.views.kernel_views import parse_channels

    wish = run.wish
    if wish.single:
        return [(None, "single")]
    if not wish.overlay:
        return [(None, str(wish.reduce or "maps"))]
    if run.look.channels is None:
        return [(None, f"overlay-{wish.reduce or 'norm'}")]
    most = max(tap.layout.size[0] for tap in run.tapped.taps.taps)
    return [(channel, f"overlay-{channel}") for channel in parse_channels(run.look.channels, most)]


def choices_of(look: Look, wish: Wish) -> dict[str, Any]:
    """What was chosen other than usual, as JSON holds it: it tells pictures of one name apart."""
    chosen = {key: value for key, value in asdict(look).items() if value is not None}
    chosen["style"] = None if str(look.style) == "figure" else str(look.style)
    chosen["scale"] = list(look.scale) if isinstance(look.scale, tuple) else look.scale
    chosen["crop"] = wish.crop
    chosen["size"] = list(wish.size) if wish.size else None
    chosen["batch_size"] = wish.batch_size if wish.batch_size > 1 else None
    chosen["classes"] = None if wish.classes else False
    return {key: value for key, value in chosen.items() if value is not None}


def told(run: Run, recipe: Recipe, layer: str | None) -> Recipe:
    """A recipe with what was chosen."""
    asked = asked_of(run, layer)
    return {**recipe, "asked": asked} if asked else recipe


def asked_of(run: Run, layer: str | None) -> dict[str, Any]:
    """What was chosen for one layer; for the overview, which is of all of them, ``layer`` is None."""
    basis = run.bases.get(layer or "")
    return dict(run.asked) if basis is None else {**run.asked, "basis": basis.digest}


def is_done(run: Run, places: Places) -> bool:
    """Whether every file of an image is there, each by its recipe this very picture with these very choices.

    That they are of this model, layer and image was found when they got their places. Of single maps each file that the
    index lists has to be there.
    """
    from kernelviz.files.single_maps import is_complete

    wanted = [(layer, path) for layer, each in places.items() for _, path in each]
    if run.goal.arrays:
        wanted += [(layer, path.with_suffix(".npz")) for layer, path in wanted if layer]
    there = all(_is_there(path, asked_of(run, layer)) for layer, path in wanted)
    return there and (not run.wish.single or all(is_complete(path) for _, path in wanted))


def _is_there(path: Path, asked: dict[str, Any]) -> bool:
    from kernelviz.errors import RecipeError
    from kernelviz.files.recipes import read_recipe

    if not os.path.lexists(path):
        return False
    try:
        recipe = read_recipe(path)
    except RecipeError:
        return False
    return bool(recipe.get("asked", {}) == asked)


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
    from kernelviz.drawing.mosaic import make_singles
    from kernelviz.files.single_maps import save_singles

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
    say_layer(run, maps, f"{len(singles.numbers):,} of {len(maps.values):,} maps, a file each", ())
    _keep(run, index, {
        "path": str(index), "layer": maps.layer, "image": _path_of(maps), "view": "single",
        "shape": list(maps.shape or maps.values.shape), "shown": len(singles.numbers), "total": len(maps.values),
        "limits": [singles.scale.low, singles.scale.high], "nonfinite": singles.nonfinite, "notes": [],
    })  # fmt: skip


def _path_of(maps: FeatureMaps) -> str | None:
    return (maps.image.path or maps.image.name) if maps.image else None


def say_layer(run: Run, maps: FeatureMaps, what: str, lines: Sequence[str]) -> None:
    """One line about one picture, and what is odd about it; what is true of the image is said with that."""
    from kernelviz.cli.terminal import say, with_notes

    known = (*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))
    shape = " × ".join(map(str, maps.values.shape))
    say(*run.goal.said(*with_notes(f"{maps.layer}: {maps.kind}, {shape}; {what}", lines, known=known)))


def tell(run: Run, path: Path, maps: FeatureMaps, drawn: Sheet | Overlay) -> None:
    """Keep one written file in the report and print its path."""
    from kernelviz.cli.session import output_entry

    _keep(run, path, output_entry(path, drawn, maps.layer, _path_of(maps)))


def _keep(run: Run, path: Path, entry: dict[str, Any]) -> None:
    from kernelviz.cli.terminal import result

    run.report.outputs.append(entry)
    if not run.goal.as_json:
        result(path)


def draw_overview(
    run: Run, image: Image, columns: Sequence[Highlights], classes: Sequence[ClassScore], path: Path
) -> None:
    """Draw the overview of one image, write the file and say so."""
    from kernelviz.drawing.overview import plot_overview
    from kernelviz.files.writing import save_picture
    from kernelviz.views.map_views import overview_notes

    figure = plot_overview(columns, classes)
    figure.recipe = told(run, figure.recipe or {}, None)
    save_picture(figure, path, force=run.goal.force)
    shown = len(figure.recipe["layers"]) if figure.recipe else 0
    _keep(run, path, {
        "path": str(path), "layer": None, "image": image.path or image.name, "view": "overview", "shape": None,
        "shown": shown, "total": len(columns), "limits": None, "nonfinite": sum(each.nonfinite for each in columns),
        "notes": list(overview_notes(columns)),
    })  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One image of the run, perhaps with its bytes and the places of its pictures; ``done`` where these are there."""

    path: str
    file: EncodedImage | None = None
    places: Places | None = None
    done: bool = False


@dataclass(frozen=True)
class Ready(ReadImage[Item]):
    """An image that was read, and where its pictures go."""

    places: Places
    columns: list[Highlights] = field(default_factory=list)

    @property
    def path(self) -> str:
        """What the image was called by whoever asked for it."""
        return self.item.path


def draw_all(run: Run, paths: Sequence[str], progress: Progress) -> None:
    """Pass every image through the network, and draw what its layers give while it goes by."""

    def drawn(each: Ready, maps: FeatureMaps) -> None:
        draw(run, each, maps, progress)

    def after(each: Ready, classes: Sequence[ClassScore]) -> None:
        tell_image(run, each, classes)
        if run.wish.overview and each.columns and (image := each.given.image):
            run.behind.settle()
            draw_overview(run, image, each.columns, classes, each.places[OVERVIEW][0][1])

    look = partial(looked_up, run) if run.wish.skip_existing else Item
    pass_all(run, map(look, paths), partial(ready_to_draw, run), drawn, after, progress=progress)
    run.behind.settle()


def looked_up(run: Run, path: str) -> Item:
    """An image with its bytes alone, which tell its pictures from those of another: it need not be decoded for that.

    What fails is left to fail when it is its turn.
    """
    from kernelviz.files.images import load_image

    with contextlib.suppress(KernelvizError):
        file = load_image(path)
        places = plan(run, file, run.stems[path])
        done = is_done(run, places)
        return Item(path, None if done else file, places, done)
    return Item(path)


def pass_all(
    run: Run,
    items: Iterable[Item],
    ready: Callable[[int, Item, Input | None], Ready | None],
    on_map: Callable[[Ready, FeatureMaps], object],
    after: Callable[[Ready, Sequence[ClassScore]], object],
    *,
    progress: Progress,
) -> None:
    """Read, pass, and hand on; ``ready`` says whether an image is to be passed at all. Each that fails is named."""
    from kernelviz.cli.session import attempt

    def failed(_number: int, item: Item, error: KernelvizError) -> None:
        attempt(run.report, item.path, run.many, partial(again, error))

    Passes(
        read=partial(read, run), ready=ready, plan=lambda _: run.tapped, on_map=on_map, after=after, failed=failed,
        batch_size=run.wish.batch_size, to_the_end=run.wish.classes, exclusive=run.behind.exclusive,
        progress=progress if run.many > 1 else lambda *_: None,
    ).run(items, run.many)  # fmt: skip


def again(error: KernelvizError) -> None:
    """Raise the error of an image."""
    raise error


def read(run: Run, item: Item) -> Input | None:
    """Read one image, and make it what the network takes; None where its pictures are there."""
    from kernelviz.files.images import load_image
    from kernelviz.network.capture import as_input

    if item.done:
        return None
    image = (item.file or load_image(item.path)).decode()
    return as_input(run.network, image, input_size=run.wish.size, crop=run.wish.crop)


def ready_to_draw(run: Run, number: int, item: Item, given: Input | None) -> Ready | None:
    """Where the pictures of an image go; None where they are all there and that is enough."""
    from kernelviz.cli.terminal import say

    if given is None:
        run.report.more["images"].append({"path": item.path, "top": [], "skipped": True})
        say(*run.goal.said(f"{item.path}: skipped, its files are there"))
        return None
    if given.image is None:
        raise TypeError(item)
    places = plan(run, given.image, run.stems[item.path]) if item.places is None else item.places
    return Ready(number, item, given, places)


def draw(run: Run, each: Ready, maps: FeatureMaps, progress: Progress) -> None:
    """Draw the maps of one layer of one image; where that fails, the other layers go on."""
    from kernelviz.cli.session import attempt
    from kernelviz.views.map_views import highlights_of

    name = maps.layer or ""
    if run.many == 1:
        names = [tap.name for tap in run.tapped.taps.taps]
        progress(name, names.index(name), len(names))
    if name in run.viewed:
        each.columns.append(highlights_of(maps))
    if name in run.drawn:
        culprit = name if run.many == 1 else each.path
        of = len(run.drawn) * run.many

        def tried(work: Callable[[], Any]) -> None:
            attempt(run.report, culprit, of, work)

        tried(partial(draw_layer, run, maps, each.places[name], tried))


def tell_image(run: Run, each: Ready, classes: Sequence[ClassScore]) -> None:
    """Say what was done to an image and what the network takes it for."""
    from kernelviz.cli.terminal import say

    image, seen = each.given.image, each.given.seen
    notes = (*(image.notes if image else ()), *(seen.notes if seen else ()))
    name = image.name if image else each.path
    run.report.warnings += [f"{name}: {note}" for note in notes]
    run.report.more["images"].append({"path": each.path, "top": [asdict(score) for score in classes]})
    shares = ", ".join(f"{score.label or f'class {score.index}'} {score.probability:.1%}" for score in classes)
    say(*run.goal.said(f"{name}: {shares}" if shares else name, *(f"  {note}" for note in notes)))
