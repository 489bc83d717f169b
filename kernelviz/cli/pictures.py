"""What all commands that write pictures share: how they look, where they go, and what is in their way."""

from __future__ import annotations

import gc
import math
import os
import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from kernelviz.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kernelviz.cli.talk import Progress
    from kernelviz.documents import Report
    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.network.model import Model


PICTURE_SUFFIXES = {".png", ".svg", ".pdf", ".gif", ".jpg", ".jpeg", ".webp", ".npz"}
CHOICE_FOR = {".svg": " --format svg", ".pdf": " --format pdf", ".npz": " --arrays"}


@dataclass(frozen=True)
class Look:
    """The choices of how a picture looks, as ``make_sheet`` takes them."""

    channels: str | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None
    style: options.Style


@dataclass(frozen=True)
class Goal:
    """Where the pictures go, and how much is said on the way."""

    directory: Path
    suffix: str
    arrays: bool
    force: bool
    quiet: bool
    verbose: bool
    as_json: bool

    def said(self, *lines: str) -> tuple[str, ...]:
        """The lines for people: none when quiet."""
        return () if self.quiet else lines


def parse_scale(text: str | None) -> ScaleChoice | None:
    """``tile``, ``layer`` or the two numbers of ``LO,HI``.

    Raises:
        UsageError: it is none of them, or the two numbers are no range.
    """
    from kernelviz.errors import UsageError

    if text is None or text in ("tile", "layer"):
        return cast("ScaleChoice | None", text)
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not -math.inf < low < high < math.inf:
        what = f"A scale is tile, layer or LO,HI with LO below HI, but got {text!r}."
        raise UsageError(what, hint="For example --scale=-1,1")
    return low, high


def check_choices(goal: Goal, look: Look) -> None:
    """Refuse at once what can be told from the command alone.

    Raises:
        UsageError: a file as output directory, bare tiles in a format other than PNG, or no such colour map.
    """
    from kernelviz.errors import UsageError

    check_directory(goal.directory)
    if look.style is options.Style.BARE and goal.suffix != ".png":
        raise UsageError(
            f"Bare tiles are written as PNG, not as {goal.suffix[1:].upper()}.", hint="Leave out --format, or --style."
        )
    if look.cmap is not None:
        from kernelviz.drawing.colour import ramp

        ramp(look.cmap, signed=True)


def check_directory(directory: Path) -> None:
    """Refuse a file's name where a directory is asked for.

    Raises:
        UsageError: it ends like a picture.
    """
    from kernelviz.errors import UsageError

    if directory.suffix.lower() in PICTURE_SUFFIXES and not directory.is_dir():
        what = f"--output takes a directory, but {directory} is a file's name."
        more = CHOICE_FOR.get(directory.suffix.lower(), "")
        raise UsageError(what, hint=f"Type `-o {shlex.quote(str(directory.parent))}{more}`.")


@contextmanager
def without_collection() -> Iterator[None]:
    """Imports make objects that live to the end: looking through them for garbage, now or later, takes half a second."""
    first = "torch" not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
            gc.enable()


def load(
    name: str,
    weights: str,
    seed: int,
    timeout: float,
    progress: Progress,
    *,
    threads: int | None = None,
    device: str = "cpu",
) -> Model:
    """The model, on its device; importing torch and timm is what takes long."""
    progress("importing torch and timm", 0, 0)
    # torch's threads wait for each other by spinning, some 10 ms long where nobody says otherwise: that takes processors
    # from the threads that read and write, and from other programs. Not at all would have each operation of a pass wake
    # them up. libgomp reads this once, when torch is imported. The numbers stay the same.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    with without_collection():
        from kernelviz.network.model import load_model, use_device

    place = use_device(device, threads)
    progress(f"building {name}", 0, 0)
    model = load_model(name, weights=weights, seed=seed, timeout=timeout, progress=partial(progress, in_bytes=True))
    return model if place == "cpu" else model.to(place)


def unused_seed(weights: str, seed: int) -> tuple[str, ...]:
    """What is to be said of a seed that nothing was made with."""
    return (f"--seed {seed} changes nothing: it is for --weights random",) if seed and weights != "random" else ()


def find_place(stem: str, identity: Mapping[str, Any], secret: tuple[str, ...], goal: Goal, report: Report) -> Path:
    """Where a picture goes; where its name is taken by that of other weights or another image, digits are added.

    ``identity`` are the keys of its recipe that tell it from others; ``secret`` is what the digits are a hash of.

    Raises:
        FileInTheWayError: something else stands there.
    """
    from kernelviz.cli.talk import say
    from kernelviz.files.names import short_hash
    from kernelviz.files.writing import check_target, is_of_another

    suffixes = [goal.suffix, ".npz"] if goal.arrays else [goal.suffix]
    if not goal.force and any(is_of_another(goal.directory / f"{stem}{end}", identity) for end in suffixes):
        other = "another image" if identity.get("image") else "other weights"
        if identity.get("view") in ("statistics", "contact", "basis"):
            other = "other images or weights"
        old, stem = stem, f"{stem}-{short_hash(*secret)}"
        report.warnings.append(f"{old}: a picture of {other} has this name, so {stem} is this one's")
        say(*goal.said(report.warnings[-1]))
    for end in suffixes:
        check_target(goal.directory / f"{stem}{end}", identity, force=goal.force)
    return goal.directory / f"{stem}{goal.suffix}"


def save_sheet(sheet: Sheet, path: Path, goal: Goal, look: Look) -> None:
    """Write a sheet as a page, or as bare tiles."""
    from kernelviz.drawing.mosaic import make_mosaic
    from kernelviz.files.writing import save_picture

    if look.style is options.Style.BARE:
        save_picture(make_mosaic(sheet), path, force=goal.force)
    else:
        from kernelviz.drawing.sheet_page import draw_sheet

        figure = draw_sheet(sheet)
        save_picture(figure, path, force=goal.force)
        figure.clear()  # its artists hold the pixels in cycles that the collector finds late
