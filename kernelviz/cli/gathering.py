"""What is told of all images together: statistics of each channel, and contact sheets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernelviz.cli.gathered_places import check_way, keep_entry, place
from kernelviz.cli.many import Item, Ready, pass_all, tell_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kernelviz.cli.passes import Run
    from kernelviz.cli.talk import Progress
    from kernelviz.drawing.contact import ContactSheet
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.network.capture import Input
    from kernelviz.records import ClassScore, FeatureMaps
    from kernelviz.views.statistics import ChannelStatistics, ChannelTally


def gather(run: Run, paths: Sequence[str], progress: Progress, *, statistics: bool, contact: bool) -> None:
    """Pass every image, and draw what was asked for of each layer over all of them; where one fails, the others go on."""
    from kernelviz.cli.ending import attempt

    if contact:
        _check_channels(run)
    views = [view for view, asked in (("statistics", statistics), ("contact", contact)) if asked]
    wanted = [(name, view) for name in run.drawn for view in views]
    tallies: dict[tuple[str, str], ChannelTally | ContactSheet] = {}
    for name, view in wanted:
        attempt(run.report, name, len(wanted), partial(_begin, run, name, view, tallies))

    taken: dict[str, list[str]] = {}

    def add(each: Ready, maps: FeatureMaps) -> None:
        name = maps.layer or ""
        for view in views:
            if (tally := tallies.get((name, view))) is not None:
                tally.add(maps)
                taken.setdefault(each.path, []).append(name)

    def after(each: Ready, classes: Sequence[ClassScore]) -> None:
        taken.pop(each.path, None)
        tell_image(run, each, classes)

    if tallies:
        pass_all(run, map(Item, paths), always, add, after, progress=progress)
    tell_half_taken(run, taken)
    for (name, _), tally in tallies.items():
        if tally.images:
            attempt(run.report, name, len(wanted), partial(_end, run, tally))


def _begin(run: Run, name: str, view: str, tallies: dict[tuple[str, str], ChannelTally | ContactSheet]) -> None:
    """Begin to gather where the way is free: nobody is to wait for a thousand passes to hear that it is not."""
    from kernelviz.drawing.contact import ContactSheet
    from kernelviz.views.statistics import ChannelTally

    gathers = view == "statistics"
    check_way(run, name, view, [run.goal.suffix, ".npz"] if run.goal.arrays and gathers else [run.goal.suffix])
    tallies[name, view] = ChannelTally(name) if gathers else ContactSheet(run.look.channels, run.look.top or 8)


def _end(run: Run, tally: ChannelTally | ContactSheet) -> None:
    from kernelviz.drawing.contact import ContactSheet

    if isinstance(tally, ContactSheet):
        _draw_contact(run, tally)
    else:
        _tell_statistics(run, tally)


def tell_half_taken(run: Run, taken: Mapping[str, Sequence[str]]) -> None:
    """Say which images failed behind the layers that had taken them in already."""
    from kernelviz.cli.talk import say

    told = [f"{path}: it failed later, but counts in {', '.join(dict.fromkeys(taken[path]))}" for path in taken]
    run.report.warnings += told
    say(*run.goal.said(*told))


def always(number: int, item: Item, given: Input | None) -> Ready | None:
    """Every image is passed, and has no picture of its own."""
    return Ready(number, item, given, {}) if given else None


def _check_channels(run: Run) -> None:
    """Refuse channels that one of the layers has not, or too many of them, before any image is read.

    Raises:
        UsageError: one of these, with the layer.
    """
    from kernelviz.drawing.contact import contact_channels
    from kernelviz.errors import UsageError

    if run.look.channels is None:
        return
    most = {tap.name: tap.layout.size[0] for tap in run.tapped.taps.taps}
    for name in run.drawn:
        try:
            contact_channels(run.look.channels, most[name])
        except UsageError as error:
            what = f"{name}: {error.what}"
            raise UsageError(what, error.why, error.hint or "Choose other --channels, or draw it by itself.") from error


def _write(run: Run, figure: PageFigure, path: Path) -> None:
    from kernelviz.files.writing import save_picture

    figure.recipe = {**(figure.recipe or {}), **({"asked": run.asked} if run.asked else {})}
    save_picture(figure, path, force=run.goal.force)


def _draw_contact(run: Run, sheet: ContactSheet) -> None:
    """Write a contact sheet; what stands in it, and what must not be hidden of it, is said."""
    from kernelviz.cli.talk import say
    from kernelviz.drawing.contact import plot_contact

    path = place(run, sheet.layer, "contact", sheet.images.as_recipe(), run.goal.suffix)
    figure = plot_contact(sheet)
    recipe = figure.recipe or {}
    _write(run, figure, path)
    shown = len(recipe["channels"])
    many = f"{sheet.layer}: {recipe['shown']:,} of {sheet.total:,} images, {shown} maps of each"
    say(*run.goal.said(many, *(f"  {note}" for note in recipe["notes"])))
    odd = {key: recipe[key] for key in ("nonfinite", "limits", "notes")}
    keep_entry(run, path, sheet.layer, "contact", shown=shown, **odd)


def _tell_statistics(run: Run, tally: ChannelTally) -> None:
    """The table for people, the numbers for programs, the figure, and the arrays where they are asked for."""
    from kernelviz.cli.talk import say
    from kernelviz.drawing.statistics_page import plot_statistics
    from kernelviz.views.statistics import statistics_entry, statistics_table

    found = tally.result()
    run.report.more.setdefault("statistics", []).append(statistics_entry(found))
    say(*run.goal.said(f"{found.layer}: {len(found.mean):,} channels over {len(found.images):,} images"))
    say(*run.goal.said(*statistics_table(found, whole=run.goal.verbose)))
    path = place(run, found.layer, "statistics", found.identity, run.goal.suffix)
    _write(run, plot_statistics(found, run.network.source), path)
    kept = partial(
        keep_entry,
        run,
        layer=found.layer,
        view="statistics",
        shown=len(found.mean),
        nonfinite=int(found.nonfinite.sum()),
    )
    kept(path=path)
    if run.goal.arrays:
        _write_arrays(run, path.with_suffix(".npz"), found)
        kept(path=path.with_suffix(".npz"))


def _write_arrays(run: Run, path: Path, found: ChannelStatistics) -> None:
    """The numbers of the statistics as arrays of (C,), and the names of the images that ``image`` counts."""
    import numpy as np

    from kernelviz.drawing.statistics_page import statistics_recipe
    from kernelviz.files.writing import save_arrays

    names = ("mean", "deviation", "zeros", "smallest", "largest", "image", "nonfinite", "dead")
    arrays = {**{name: getattr(found, name) for name in names}, "images": np.array(found.images, dtype=np.str_)}
    recipe = {**statistics_recipe(found, run.network.source), **({"asked": run.asked} if run.asked else {})}
    save_arrays(arrays, path, recipe=recipe, force=run.goal.force)
