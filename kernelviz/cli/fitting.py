"""The principal components that colours stand for: read from files, or fitted over all images in passes of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kernelviz.cli.gathered_places import check_way, keep_entry, place
from kernelviz.cli.gathering import always, tell_half_taken
from kernelviz.cli.many import Item, Ready, pass_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kernelviz.cli.passes import Run
    from kernelviz.cli.talk import Progress
    from kernelviz.records import ClassScore, FeatureMaps
    from kernelviz.views.components import Basis, CovarianceTally


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
    from kernelviz.cli.ending import attempt
    from kernelviz.cli.talk import say
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
    from kernelviz.cli.talk import say
    from kernelviz.files.bases import save_basis

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
    from kernelviz.cli.talk import say
    from kernelviz.errors import UsageError
    from kernelviz.files.bases import read_basis
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
