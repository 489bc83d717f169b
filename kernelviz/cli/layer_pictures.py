"""The pictures of one image: its layers and its overview are drawn, written and told."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kernelviz.cli.options import Style
from kernelviz.cli.passes import Run
from kernelviz.cli.pictures import save_sheet
from kernelviz.cli.skipping import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.drawing.mosaic import Singles
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.records import ClassScore, FeatureMaps, Image
    from kernelviz.views.map_views import Highlights, MapView

    Tried = Callable[[Callable[[], object]], None]
    Places = Mapping[str, Sequence[tuple[int | None, Path]]]


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
    from kernelviz.cli.talk import say, with_notes

    known = (*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))
    shape = " × ".join(map(str, maps.values.shape))
    say(*run.goal.said(*with_notes(f"{maps.layer}: {maps.kind}, {shape}; {what}", lines, known=known)))


def tell(run: Run, path: Path, maps: FeatureMaps, drawn: Sheet | Overlay) -> None:
    """Keep one written file in the report and print its path."""
    from kernelviz.documents import output_entry

    _keep(run, path, output_entry(path, drawn, maps.layer, _path_of(maps)))


def _keep(run: Run, path: Path, entry: dict[str, Any]) -> None:
    from kernelviz.cli.talk import result

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
