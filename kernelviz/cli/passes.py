"""What the passes of all images share: what is caught, and where the pictures of each go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kernelviz.cli.pictures import find_place
from kernelviz.cli.skipping import choices_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.pictures import Goal, Look
    from kernelviz.documents import Report
    from kernelviz.files.images import ImageFile
    from kernelviz.network.capture import Tapped
    from kernelviz.network.model import Model
    from kernelviz.records import Image
    from kernelviz.threads import Behind
    from kernelviz.views.components import Basis

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
