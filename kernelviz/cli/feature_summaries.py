"""All images of ``kernelviz features`` together: statistics, contact sheets and principal components."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from kernelviz.cli import outputs, session, terminal
from kernelviz.cli.feature_workers import Jobs, gather
from kernelviz.errors import UsageError
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kernelviz.cli.feature_pictures import FeatureRun
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.contact import ContactSheet
    from kernelviz.records import FeatureMaps, Recipe
    from kernelviz.views.components import Basis, CovarianceTally
    from kernelviz.views.statistics import ChannelStatistics, ChannelTally

    Receiver = Callable[[int, FeatureMaps], object]


def check_paths(run: FeatureRun, stem: str, identity: dict[str, Any], suffixes: Sequence[str]) -> None:
    """Check before any forward pass that files of these names may be written; their images are not known yet.

    Raises:
        FileInTheWayError: something has one of these paths that is no such file, of these images or of others.
    """
    from kernelviz.files.writing import check_target, is_of_another

    for suffix in suffixes:
        path = run.output.directory / f"{stem}{suffix}"
        if run.output.force or not is_of_another(path, identity):
            check_target(path, identity, force=run.output.force)


def _check_paths(run: FeatureRun, layer: str, view: str, suffixes: Sequence[str]) -> None:
    check_paths(run, _stem(run, layer, view), _identity(run, layer, view, None), suffixes)


def path_of(run: FeatureRun, layer: str, view: str, images: Recipe | None, suffix: str) -> Path:
    """The path of a file about ``images``; if it is taken by that of others, or of other weights, digits are added.

    Raises:
        FileInTheWayError: something else has this path.
    """
    output = replace(run.output, suffix=suffix, arrays=run.output.arrays and view == "statistics")
    identity = _identity(run, layer, view, images)
    return outputs.picture_path(_stem(run, layer, view), identity, output, run.report)


def _stem(run: FeatureRun, layer: str, view: str) -> str:
    from kernelviz.files.names import file_stems

    what = "features" if run.choices.tap == "output" else "inputs"
    stems = file_stems([(run.plan.network.source.stem, name, what, view) for name in run.plan.drawn])
    return stems[run.plan.drawn.index(layer)]


def _identity(run: FeatureRun, layer: str, view: str, images: Recipe | None) -> dict[str, Any]:
    model = run.plan.network.source.as_recipe()
    return {"command": "features", "model": model, "layer": layer, "view": view, "image": images}


def add_output(run: FeatureRun, path: Path, layer: str, view: str, **facts: Any) -> None:
    """Keep a file that was written in the report."""
    layout = {tap.name: tap.layout for tap in run.plan.capture.taps.taps}[layer]
    row = session.output_row(path, layer=layer, view=view, shape=layout.shape[1:], total=layout.size[0], **facts)
    run.report.add_output(row)


def with_bases(run: FeatureRun, paths: Sequence[str], progress: Progress) -> tuple[FeatureRun, Sequence[str]]:
    """The run with the principal components of each layer: from files, else fitted over all images.

    Images that failed during the fit are left out of the returned paths, and layers without components of the plan.
    """
    known = _read_bases(run)
    missing = [name for name in run.plan.drawn if name not in known]
    if not missing:
        return replace(run, plan=replace(run.plan, bases=known)), paths
    fitted, good = _fit(run, paths, missing, progress)
    bases = {**known, **fitted}
    drawn = tuple(name for name in run.plan.drawn if name in bases)
    return replace(run, plan=replace(run.plan, bases=bases, drawn=drawn)), good


def _fit(
    run: FeatureRun, paths: Sequence[str], layers: Sequence[str], progress: Progress
) -> tuple[dict[str, Basis], Sequence[str]]:
    from kernelviz.views.components import CovarianceTally

    for name in layers:
        _check_paths(run, name, "basis", [".npz"])
    tallies = {name: CovarianceTally() for name in layers}
    run.report.inform("fitting principal components to all images, then drawing them")
    fit = replace(run, choices=replace(run.choices, classes=False))
    good = gather(fit, Jobs(paths), {(name, "basis"): tally for name, tally in tallies.items()}, progress, report=False)
    bases: dict[str, Basis] = {}

    def keep(name: str, tally: CovarianceTally) -> None:
        bases[name] = _save_basis(run, name, tally)

    for name, tally in tallies.items():
        if tally.images:
            session.attempt(run.report, name, len(run.plan.drawn), partial(keep, name, tally))
    return bases, good


def _save_basis(run: FeatureRun, name: str, tally: CovarianceTally) -> Basis:
    """The principal components of one layer, saved to a file."""
    from kernelviz.files.writing import save_basis

    basis = tally.basis()
    path = path_of(run, name, "basis", basis.identity, ".npz")
    save_basis(basis, path, run.plan.network.source, force=run.output.force)
    shares = ", ".join(f"{share:.1%}" for share in basis.share)
    run.report.inform(f"{name}: {shares} of the variance over {tally.positions:,} positions")
    _warn_of_copies(run, tally)
    add_output(
        run, path, name, "basis", shown=len(basis.components), nonfinite=0, notes=tally.images.duplicates_notes()
    )
    return basis


def _warn_of_copies(run: FeatureRun, tally: ChannelTally | CovarianceTally) -> None:
    """Name files of the same bytes, which are counted once, for the first of the layers."""
    run.report.warn(*(note for note in tally.images.duplicates_notes() if note not in run.report.warnings))


def _read_bases(run: FeatureRun) -> dict[str, Basis]:
    """The principal components in the files of ``--basis``, by layer.

    Raises:
        UsageError: one is no basis, is of a layer that is not drawn or has another number of channels, or two are of one
            layer.
    """
    from kernelviz.files.writing import read_basis
    from kernelviz.views.components import fit_note

    sizes = {name: size for name, size in run.plan.sizes.items() if name in run.plan.drawn}
    known: dict[str, Basis] = {}
    for file in run.choices.bases:
        basis = read_basis(file)
        name = basis.layer
        if name in known:
            raise UsageError(f"Two bases were given for {name}.", hint=f"Omit {file}, or the one before it.")
        if name not in sizes:
            what = f"The basis is of {name or 'a layer without a name'}, which is not drawn."
            raise UsageError(what, hint=f"Drawn are {', '.join(sizes)}: add -l {name}, or omit --basis.")
        if len(basis.mean) != sizes[name]:
            what = f"The basis of {name} has {counted(len(basis.mean), 'channel')}, but the layer has {sizes[name]:,}."
            raise UsageError(what, hint="Use a basis that was fitted on this layer of this network.")
        known[name] = basis
        run.report.warn(*(f"{file}: {note}" for note in fit_note(basis, run.plan.network.source)))
    return known


def draw_summaries(run: FeatureRun, paths: Sequence[str], progress: Progress) -> None:
    """Run every image through the network, and draw the requested summaries of each layer; if one fails, others go on."""
    choices = run.choices
    if choices.contact:
        _check_channels(run)
    views = [view for view, chosen in (("statistics", choices.statistics), ("contact", choices.contact)) if chosen]
    wanted = [(name, view) for name in run.plan.drawn for view in views]
    tallies: dict[tuple[str, str], ChannelTally | ContactSheet] = {}
    for name, view in wanted:
        session.attempt(run.report, name, len(wanted), partial(_begin, run, name, view, tallies))

    if tallies:
        gather(run, Jobs(paths), tallies, progress)
    for (name, _), tally in tallies.items():
        if tally.images:
            session.attempt(run.report, name, len(wanted), partial(_end, run, tally))


def _begin(run: FeatureRun, name: str, view: str, tallies: dict[tuple[str, str], ChannelTally | ContactSheet]) -> None:
    """Begin a tally if its paths are free: better to fail now than after a thousand images."""
    from kernelviz.drawing.contact import ContactSheet
    from kernelviz.views.statistics import ChannelTally

    statistics = view == "statistics"
    suffixes = [run.output.suffix, ".npz"] if run.output.arrays and statistics else [run.output.suffix]
    _check_paths(run, name, view, suffixes)
    picture = run.choices.picture
    tallies[name, view] = ChannelTally(name) if statistics else ContactSheet(picture.channels, picture.top or 8)


def _end(run: FeatureRun, tally: ChannelTally | ContactSheet) -> None:
    from kernelviz.drawing.contact import ContactSheet

    if isinstance(tally, ContactSheet):
        _draw_contact(run, tally)
    else:
        _draw_statistics(run, tally)


def _check_channels(run: FeatureRun) -> None:
    """Reject channels that one of the layers does not have, or too many of them, before any image is read.

    Raises:
        UsageError: one of these, with the layer.
    """
    from kernelviz.drawing.contact import contact_channels

    channels = run.choices.picture.channels
    if channels is None:
        return
    for name in run.plan.drawn:
        try:
            contact_channels(channels, run.plan.sizes[name])
        except UsageError as error:
            what = f"{name}: {error.what}"
            raise UsageError(what, error.why, error.hint or "Choose other --channels, or draw it by itself.") from error


def _draw_contact(run: FeatureRun, sheet: ContactSheet) -> None:
    """Write a contact sheet, and report what it shows."""
    from kernelviz.drawing.contact import plot_contact

    path = path_of(run, sheet.layer, "contact", sheet.images.as_recipe(), run.output.suffix)
    look = run.output.look
    figure = plot_contact(sheet, look=look.name, caption=look.caption)
    recipe = run.recipe(figure.recipe, None)
    figure.recipe = recipe
    outputs.save_page(figure, path, run.report, force=run.output.force)
    shown = len(recipe["channels"])
    line = f"{sheet.layer}: {recipe['shown']:,} of {sheet.total:,} images, {shown} maps of each"
    run.report.inform(line, *(f"  {note}" for note in recipe["notes"]))
    run.report.drawn.pop(str(path), None)  # the recipe counts images, and the row the maps of each
    facts = {key: recipe[key] for key in ("nonfinite", "limits", "notes")}
    facts["notes"] = [*recipe.get("drawn", ()), *facts["notes"]]
    add_output(run, path, sheet.layer, "contact", shown=shown, **facts)


def _draw_statistics(run: FeatureRun, tally: ChannelTally) -> None:
    """Print the table, write the figure and, with ``--arrays``, the numbers, and keep these in the document."""
    from kernelviz.drawing.statistics_page import plot_statistics
    from kernelviz.views.statistics import statistics_entry, statistics_table

    found, source = tally.result(), run.plan.network.source
    run.report.more.setdefault("statistics", []).append(statistics_entry(found))
    run.report.inform(
        f"{found.layer}: {counted(len(found.mean), 'channel')} over {counted(len(found.images), 'image')}"
    )
    _warn_of_copies(run, tally)
    run.report.inform(*statistics_table(found, whole=run.report.verbose, width=terminal.message_width()))
    path = path_of(run, found.layer, "statistics", found.identity, run.output.suffix)
    look = run.output.look
    figure = plot_statistics(found, source, look=look.name, caption=look.caption)
    figure.recipe = run.recipe(figure.recipe, None)
    outputs.save_page(figure, path, run.report, force=run.output.force)
    facts = {"shown": len(found.mean), "nonfinite": int(found.nonfinite.sum()), "notes": found.notes}
    add_output(run, path, found.layer, "statistics", **facts)
    if run.output.arrays:
        add_output(run, _write_arrays(run, path.with_suffix(".npz"), found), found.layer, "statistics", **facts)


def _write_arrays(run: FeatureRun, path: Path, found: ChannelStatistics) -> Path:
    """Write the statistics as arrays (C,), with the names of the images that ``image`` counts."""
    import numpy as np

    from kernelviz.drawing.statistics_page import statistics_recipe
    from kernelviz.files.writing import save_arrays

    names = ("mean", "deviation", "zeros", "smallest", "largest", "image", "nonfinite", "dead")
    arrays = {**{name: getattr(found, name) for name in names}, "images": np.array(found.images, dtype=np.str_)}
    recipe = run.recipe(statistics_recipe(found, run.plan.network.source), None)
    return save_arrays(arrays, path, recipe=recipe, force=run.output.force)
