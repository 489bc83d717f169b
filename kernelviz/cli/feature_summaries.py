"""What ``kernelviz features`` says of all images together: statistics, contact sheets and principal components."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kernelviz.cli.feature_pictures import Item, Ready, pass_all, tell_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kernelviz.cli.feature_pictures import Run
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.contact import ContactSheet
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.network.capture import Input
    from kernelviz.records import ClassScore, FeatureMaps, Recipe
    from kernelviz.views.components import Basis, CovarianceTally
    from kernelviz.views.statistics import ChannelStatistics, ChannelTally


def check_way(run: Run, layer: str, view: str, suffixes: Sequence[str]) -> None:
    """Look before the passes whether files of these names may be written; which images they are of is not known yet.

    Raises:
        FileInTheWayError: something stands there that is no such file, of these images or of others.
    """
    from kernelviz.files.writing import check_target, is_of_another

    stem, identity = _stem(run, layer, view), _identity(run, layer, view, None)
    for suffix in suffixes:
        path = run.goal.directory / f"{stem}{suffix}"
        if run.goal.force or not is_of_another(path, identity):
            check_target(path, identity, force=run.goal.force)


def place(run: Run, layer: str, view: str, images: Recipe | None, suffix: str) -> Path:
    """Where a file goes that is told of ``images``; where those of others, or of other weights, are, digits are added.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.cli.session import find_place

    source = run.network.source
    weights = (source.weights.sha256 if source.weights else None) or ""
    goal = replace(run.goal, suffix=suffix, arrays=run.goal.arrays and view == "statistics")
    identity = _identity(run, layer, view, images)
    secret = (source.label, weights, images["sha256"] if images else "")
    return find_place(_stem(run, layer, view), identity, secret, goal, run.report)


def _stem(run: Run, layer: str, view: str) -> str:
    from kernelviz.files.names import file_stems

    what = "features" if run.wish.tap == "output" else "inputs"
    stems = file_stems([(run.network.source.stem, name, what, view) for name in run.drawn])
    return stems[run.drawn.index(layer)]


def _identity(run: Run, layer: str, view: str, images: Recipe | None) -> dict[str, Any]:
    model = run.network.source.as_recipe()
    return {"command": "features", "model": model, "layer": layer, "view": view, "image": images}


def keep_entry(
    run: Run, path: Path, layer: str, view: str, *, shown: int, nonfinite: int = 0,
    limits: Sequence[float] | None = None, notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Keep one written file in the report, and print its path."""
    from kernelviz.cli.terminal import result

    layout = {tap.name: tap.layout for tap in run.tapped.taps.taps}[layer]
    run.report.outputs.append({
        "path": str(path), "layer": layer, "image": None, "view": view, "shape": list(layout.shape[1:]), "shown": shown,
        "total": layout.size[0], "limits": list(limits) if limits else None, "nonfinite": nonfinite,
        "notes": list(notes),
    })  # fmt: skip
    if not run.goal.as_json:
        result(path)


def with_bases(run: Run, paths: Sequence[str], files: Sequence[Path], progress: Progress) -> tuple[Run, Sequence[str]]:
    """The run with the components of each layer, where it draws them: read from files, else fitted over all images.

    Images that failed while they were fitted are left out of what comes back, and so are layers without components.
    """
    if run.wish.reduce != "pca":
        return run, paths
    known = _read(run, files)
    missing = [name for name in run.drawn if name not in known]
    if not missing:
        return replace(run, bases=known), paths
    fitted, good = _fit(run, paths, missing, progress)
    bases = {**known, **fitted}
    return replace(run, bases=bases, drawn=tuple(name for name in run.drawn if name in bases)), good


def _fit(
    run: Run, paths: Sequence[str], layers: Sequence[str], progress: Progress
) -> tuple[dict[str, Basis], Sequence[str]]:
    from kernelviz.cli.session import attempt
    from kernelviz.cli.terminal import say
    from kernelviz.views.components import CovarianceTally

    for name in layers:
        check_way(run, name, "basis", [".npz"])
    tallies = {name: CovarianceTally() for name in layers}
    good: list[str] = []
    say(*run.goal.said("fitting principal components to all images, then drawing them"))

    taken: dict[str, list[str]] = {}

    def add(each: Ready, maps: FeatureMaps) -> None:
        if maps.layer in tallies:
            tallies[maps.layer].add(maps)
            taken.setdefault(each.path, []).append(maps.layer)

    def after(each: Ready, _classes: Sequence[ClassScore]) -> None:
        taken.pop(each.path, None)
        good.append(each.path)

    first = replace(run, wish=replace(run.wish, classes=False))
    pass_all(first, map(Item, paths), always, add, after, progress=progress)
    tell_half_taken(run, taken)
    bases: dict[str, Basis] = {}

    def keep(name: str, tally: CovarianceTally) -> None:
        bases[name] = _save(run, name, tally)

    for name, tally in tallies.items():
        if tally.images:
            attempt(run.report, name, len(run.drawn), partial(keep, name, tally))
    return bases, good


def _save(run: Run, name: str, tally: CovarianceTally) -> Basis:
    """The components of one layer, kept in a file."""
    from kernelviz.cli.terminal import say
    from kernelviz.files.writing import save_basis

    basis = tally.basis()
    path = place(run, name, "basis", basis.identity, ".npz")
    save_basis(basis, path, run.network.source, force=run.goal.force)
    shares = ", ".join(f"{share:.1%}" for share in basis.share)
    say(*run.goal.said(f"{name}: {shares} of the variance over {tally.positions:,} places"))
    keep_entry(run, path, name, "basis", shown=len(basis.components))
    return basis


def _read(run: Run, files: Sequence[Path]) -> dict[str, Basis]:
    """The components in these files, by layer.

    Raises:
        UsageError: one is no basis, is one of a layer that is not drawn or has another number of channels, or two are of
            one layer.
    """
    from kernelviz.cli.terminal import say
    from kernelviz.errors import UsageError
    from kernelviz.files.writing import read_basis
    from kernelviz.views.components import fit_note

    sizes = {tap.name: tap.layout.size[0] for tap in run.tapped.taps.taps if tap.name in run.drawn}
    known: dict[str, Basis] = {}
    for file in files:
        basis = read_basis(file)
        name = basis.layer
        if name in known:
            raise UsageError(f"Two bases are of {name}.", hint=f"Leave out {file}, or the one before it.")
        if name not in sizes:
            what = f"The basis is one of {name or 'a layer without a name'}, which is not drawn."
            raise UsageError(what, hint=f"Drawn are {', '.join(sizes)}: add -l {name}, or leave out --basis.")
        if len(basis.mean) != sizes[name]:
            what = f"The basis of {name} has {len(basis.mean):,} channels, but the layer has {sizes[name]:,}."
            raise UsageError(what, hint="Use a basis that was fitted on this layer of this network.")
        known[name] = basis
        told = [f"{file}: {note}" for note in fit_note(basis, run.network.source)]
        run.report.warnings += told
        say(*run.goal.said(*told))
    return known


def gather(run: Run, paths: Sequence[str], progress: Progress, *, statistics: bool, contact: bool) -> None:
    """Pass every image, and draw what was asked for of each layer over all of them; where one fails, the others go on."""
    from kernelviz.cli.session import attempt

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
    from kernelviz.cli.terminal import say

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
    from kernelviz.cli.terminal import say
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
    from kernelviz.cli.terminal import say
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
