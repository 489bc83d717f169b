"""What commands share: loading a model, the report that becomes JSON, and how a command ends."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from kernelviz.cli import options, terminal
from kernelviz.errors import CancelledError, KernelvizError, NoWeightsError, UsageError, WriteError
from kernelviz.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.network.model import Model
    from kernelviz.records import Source


@dataclass
class Report:
    """What a run has done so far: enough for its JSON document, its messages and its exit code.

    ``more`` is what the document of this command holds besides. ``latest`` is the report made last, for whoever has to
    tell of a run that a signal ended.
    """

    latest: ClassVar[Report | None] = None

    command: str | None
    source: Source | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Report.latest = self

    def add_error(self, error: KernelvizError, culprit: str | None = None) -> None:
        """Keep an error, with the input that it is about."""
        message = " ".join(part for part in (error.what, error.why) if part)
        self.errors.append({"code": error.code, "message": message, "hint": error.hint or None, "input": culprit})


def output_entry(path: Path, sheet: Sheet | Overlay, layer: str | None, image: str | None = None) -> dict[str, Any]:
    """One file and what stands in it."""
    return {
        "path": str(path),
        "layer": layer,
        "image": image,
        "view": sheet.recipe["view"],
        "weight": sheet.recipe.get("weight"),
        "shape": list(sheet.recipe["shape"]),
        "shown": sheet.shown,
        "total": sheet.tiles.total,
        "rows": sheet.recipe["rows"],
        "columns": sheet.recipe["columns"],
        "limits": [sheet.scale.low, sheet.scale.high],
        "nonfinite": sheet.marks.nonfinite,
        "notes": list(sheet.notes),
    }


def document(report: Report, environment: Mapping[str, Any] | None = None, **more: object) -> dict[str, Any]:
    """The one document of a command; what is not known is None."""
    from kernelviz.drawing.sheets import SCHEMA

    source = report.source
    known = {**source.versions, "device": source.device, "threads": source.threads} if source else {}
    known.update(environment or {})
    return {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": report.command,
        "environment": {key: known.get(key) for key in ("torch", "timm", "device", "threads")},
        "model": source.as_document() if source else None,
        "outputs": report.outputs,
        "warnings": report.warnings,
        "errors": report.errors,
        **report.more,
        **more,
    }


def json_text(value: object) -> str:
    """Valid JSON in ASCII: a number that is not finite becomes null, a lone surrogate an escape."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=True, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


DONE, FAILED, WRONG_USAGE, SOME_FAILED, NO_WEIGHTS = 0, 1, 2, 3, 4


def exit_code(error: KernelvizError) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, UsageError):
        return WRONG_USAGE
    return NO_WEIGHTS if isinstance(error, NoWeightsError) else FAILED


def failed(report: Report, error: Exception, *, as_json: bool, debug: bool) -> int:
    """Say what went wrong, keep it in the report, print the report where asked, and give the exit code.

    Raises:
        BrokenPipeError: that is what went wrong, the reader of stdout has left: there is nobody to tell.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    known = error if isinstance(error, KernelvizError) else _unexpected(error)
    if debug:
        terminal.say(*"".join(traceback.format_exception(error)).splitlines())
    terminal.complain(known)
    report.add_error(known)
    if as_json:
        with contextlib.suppress(WriteError):  # said already, or will be of no use to say
            terminal.result(json_text(document(report)))
    return exit_code(known)


def interrupted(*, as_json: bool) -> None:
    """Say that the user has ended the run, and print what was done until then where asked; imports nothing more."""
    error = CancelledError("Interrupted; what was written before is whole.")
    terminal.say(error.what)
    if as_json:
        report = Report.latest or Report(None)
        report.add_error(error)
        terminal.result(json_text(document(report)))


def attempt(report: Report, culprit: str, of: int, work: Callable[[], object]) -> None:
    """Do one of several pieces of work: where it fails it is named and kept, and the others go on.

    Raises:
        KernelvizError: it was the only one.
    """
    try:
        work()
    except KernelvizError as error:
        if of == 1:
            raise
        terminal.say(f"{culprit}: {error.what}")
        report.add_error(error, culprit)


def outcome(report: Report) -> int:
    """The exit code of a run that came to its end."""
    if not report.errors:
        return DONE
    return SOME_FAILED if report.outputs else FAILED


def _unexpected(error: Exception) -> KernelvizError:
    if isinstance(error, MemoryError):
        return KernelvizError("There is not enough memory for this.", hint="Ask for fewer layers, or a smaller --zoom.")
    return KernelvizError(
        f"Something unexpected went wrong: {type(error).__name__}.",
        str(error).split("\n", maxsplit=1)[0],
        "Run it again with --debug to see where, and please report it.",
    )


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
    from kernelviz.cli.terminal import say
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
