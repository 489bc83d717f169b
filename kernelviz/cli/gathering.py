"""What is told of all images together: statistics, contact sheets, and the components that colours stand for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.cli.many import Item, Ready, pass_all, tell_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernelviz.cli.passes import Run
    from kernelviz.cli.talk import Progress
    from kernelviz.components import Basis
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.network.catching import Input
    from kernelviz.records import FeatureMaps
    from kernelviz.statistics import ChannelStatistics


def gather(run: Run, paths: Sequence[str], progress: Progress, *, statistics: bool, contact: bool) -> None:
    """Pass every image, and draw what was asked for of each layer over all of them."""
    from kernelviz.drawing.channel_statistics import plot_statistics
    from kernelviz.drawing.contact import ContactSheet, plot_contact
    from kernelviz.statistics import ChannelTally
    from kernelviz.views import parse_channels

    look = run.look
    tallies = {name: ChannelTally(name) for name in run.drawn} if statistics else {}
    most = {tap.name: tap.layout.size[0] for tap in run.tapped.taps.taps}
    sheets = {
        name: ContactSheet(parse_channels(look.channels, most[name]) if look.channels else None, look.top or 8)
        for name in (run.drawn if contact else ())
    }

    def add(_each: Ready, maps: FeatureMaps) -> None:
        name = maps.layer or ""
        if name in tallies:
            tallies[name].add(maps)
        if name in sheets:
            sheets[name].add(maps)

    pass_all(run, map(Item, paths), _always, add, partial(tell_image, run), progress=progress)
    for name in run.drawn:
        if name in tallies and tallies[name].images:
            found = tallies[name].result()
            _tell_statistics(run, found)
            path = _write(run, name, "statistics", partial(plot_statistics, found, run.network.source))
            _entry(run, path, name, len(found.mean), found.nonfinite.sum())
            if run.goal.arrays:
                _write_arrays(run, path.with_suffix(".npz"), found)
        if name in sheets and sheets[name].rows:
            path = _write(run, name, "contact", partial(plot_contact, sheets[name]))
            _entry(run, path, name, len(sheets[name].channels or ()))


def _always(number: int, item: Item, given: Input | None) -> Ready | None:
    return Ready(number, item.path, given, {}) if given else None


def _write(run: Run, layer: str, view: str, plot: Callable[[], PageFigure]) -> Path:
    """Write the figure of one layer over all images, and print its path."""
    from kernelviz.cli.talk import result
    from kernelviz.files.writing import save_picture

    path = place(run, layer, view)
    figure = plot()
    figure.recipe = {**(figure.recipe or {}), **({"asked": run.asked} if run.asked else {})}
    save_picture(figure, path, force=run.goal.force)
    if not run.goal.as_json:
        result(path)
    return path


def place(run: Run, layer: str, view: str) -> Path:
    """Where what is told of a layer over all images goes.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.cli.pictures import find_place
    from kernelviz.files.names import file_stems

    source, what = run.network.source, "features" if run.wish.tap == "output" else "inputs"
    stem = file_stems([(source.stem, layer, what, view)])[0]
    identity = {"command": "features", "model": source.as_recipe(), "layer": layer, "view": view, "image": None}
    secret = (source.label, (source.weights.sha256 if source.weights else None) or "")
    return find_place(stem, identity, secret, run.goal, run.report)


def _entry(run: Run, path: Path, layer: str, shown: int, nonfinite: int = 0) -> None:
    total = {tap.name: tap.layout for tap in run.tapped.taps.taps}[layer]
    view = path.stem.rpartition("-")[2]
    run.report.outputs.append({
        "path": str(path), "layer": layer, "image": None, "view": view, "shape": list(total.shape[1:]), "shown": shown,
        "total": total.size[0], "limits": None, "nonfinite": int(nonfinite), "notes": [],
    })  # fmt: skip


def _tell_statistics(run: Run, found: ChannelStatistics) -> None:
    """The table for people, and the numbers for programs."""
    from kernelviz.cli.talk import say
    from kernelviz.documents import statistics_entry
    from kernelviz.tables import statistics_table

    run.report.more.setdefault("statistics", []).append(statistics_entry(found))
    say(*run.goal.said(f"{found.layer}: {len(found.mean):,} channels over {len(found.images):,} images"))
    say(*run.goal.said(*statistics_table(found, whole=run.goal.verbose)))


def _write_arrays(run: Run, path: Path, found: ChannelStatistics) -> None:
    """The numbers of the statistics as arrays of (C,)."""
    from kernelviz.cli.talk import result
    from kernelviz.drawing.channel_statistics import statistics_recipe
    from kernelviz.files.writing import save_arrays

    names = ("mean", "deviation", "zeros", "smallest", "largest", "image", "nonfinite", "dead")
    recipe = {**statistics_recipe(found, run.network.source), **({"asked": run.asked} if run.asked else {})}
    save_arrays({name: getattr(found, name) for name in names}, path, recipe=recipe, force=run.goal.force)
    _entry(run, path, found.layer, len(found.mean), found.nonfinite.sum())
    if not run.goal.as_json:
        result(path)


def with_bases(run: Run, paths: Sequence[str], files: Sequence[Path], progress: Progress) -> tuple[Run, Sequence[str]]:
    """The run with the components of each layer, where it draws them: read from files, else fitted over all images.

    Images that failed while they were fitted are left out of what comes back.
    """
    if run.wish.reduce != "pca":
        return run, paths
    from kernelviz.files.bases import read_basis

    known = {basis.layer: basis for basis in map(read_basis, files)}
    _check_bases(run, known)
    missing = [name for name in run.drawn if name not in known]
    if not missing:
        return replace(run, bases=known), paths
    fitted, good = _fit(run, paths, missing, progress)
    return replace(run, bases={**known, **fitted}), good


def _fit(
    run: Run, paths: Sequence[str], layers: Sequence[str], progress: Progress
) -> tuple[dict[str, Basis], Sequence[str]]:
    from kernelviz.cli.talk import result, say
    from kernelviz.components import CovarianceTally
    from kernelviz.files.bases import save_basis

    tallies = {name: CovarianceTally() for name in layers}
    good: list[str] = []
    say(*run.goal.said("fitting principal components to all images, then drawing them"))

    def add(_each: Ready, maps: FeatureMaps) -> None:
        if maps.layer in tallies:
            tallies[maps.layer].add(maps)

    first = replace(run, wish=replace(run.wish, classes=False))
    pass_all(first, map(Item, paths), _always, add, lambda each, _: good.append(each.path), progress=progress)
    bases = {}
    for name, tally in tallies.items():
        if not tally.images:
            continue
        bases[name] = tally.basis()
        path = place(replace(run, goal=replace(run.goal, suffix=".npz")), name, "basis")
        save_basis(bases[name], path, run.network.source, force=run.goal.force)
        shares = ", ".join(f"{share:.1%}" for share in bases[name].share)
        say(*run.goal.said(f"{name}: {shares} of the variance over {tally.positions:,} places"))
        _entry(run, path, name, len(bases[name].components))
        if not run.goal.as_json:
            result(path)
    return bases, good


def _check_bases(run: Run, known: dict[str, Basis]) -> None:
    """Refuse components of layers that are not drawn, and of other numbers of channels.

    Raises:
        UsageError: one of these.
    """
    from kernelviz.errors import UsageError

    sizes = {tap.name: tap.layout.size[0] for tap in run.tapped.taps.taps if tap.name in run.drawn}
    for name, basis in known.items():
        if name not in sizes:
            what = f"The basis is one of {name or 'a layer without a name'}, which is not drawn."
            raise UsageError(what, hint=f"Drawn are {', '.join(sizes)}: add -l {name}, or leave out --basis.")
        if len(basis.mean) != sizes[name]:
            what = f"The basis of {name} has {len(basis.mean):,} channels, but the layer has {sizes[name]:,}."
            raise UsageError(what, hint="Use a basis that was fitted on this layer of this network.")
