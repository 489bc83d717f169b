"""How a command runs and ends: its report, its JSON document and its exit code."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kernelviz.cli import terminal
from kernelviz.errors import (
    CancelledError,
    DiskFullError,
    KernelvizError,
    NoWeightsError,
    UsageError,
    WriteError,
)  # fmt: skip
from kernelviz.files.remembered import doubt_used
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.records import Source
    from kernelviz.views.gathered import NoteTally

DONE, FAILED, WRONG_USAGE, SOME_FAILED, NO_WEIGHTS = 0, 1, 2, 3, 4


@dataclass
class Report:
    """What a run has done so far: enough for its messages, its JSON document and its exit code.

    ``kept`` counts the inputs whose files of an earlier run were kept. ``outputs`` holds the rows of all files that were
    written if a document will be printed, else of the first. ``more`` holds the fields of the document that only this
    command has, ``environment`` what is known of the machine without a model, ``left_out`` the lines about pictures that
    were printed because their look leaves them out, ``drawn`` the pictures that show less than an ordinary page, by path,
    ``tallied`` the notes on images that are printed together, and how many images these are.
    ``latest`` is the report created last, for a run that a signal ends.
    """

    latest: ClassVar[Report | None] = None

    command: str | None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    source: Source | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    kept: int = 0
    warnings: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    drawn: dict[str, PageFigure | Animation] = field(default_factory=dict)
    tallied: tuple[NoteTally, int] | None = None

    def __post_init__(self) -> None:
        Report.latest = self

    def inform(self, *lines: str) -> None:
        """Print lines for people, unless ``quiet``."""
        if not self.quiet:
            terminal.print_message(*lines)

    def inform_briefly(self, headline: str, lines: Sequence[str]) -> None:
        """Print a line about some lines and, with ``verbose``, each of them."""
        self.inform(headline if self.verbose else f"{headline} (-v lists them)")
        self.inform(*(f"  {line}" for line in lines if self.verbose))

    def warn(self, *lines: str) -> None:
        """Keep lines as warnings, and print them unless ``quiet``."""
        self.warnings += lines
        self.inform(*lines)

    def add_error(self, error: KernelvizError, culprit: str | None = None) -> None:
        """Keep an error, with the input that it is about."""
        message = " ".join(part for part in (error.what, error.why) if part)
        self.errors.append({"code": error.code, "message": message, "hint": error.hint or None, "input": culprit})

    def note(self, *lines: str) -> None:
        """Keep lines as warnings that are printed in another form, or not at all."""
        self.warnings += lines

    def tally(self, name: str, notes: Sequence[str]) -> None:
        """Keep the notes on one of many images as warnings, to be printed together by ``inform_tallied``."""
        from kernelviz.views.gathered import NoteTally

        self.note(*(f"{name}: {note}" for note in notes))
        tally, count = self.tallied or (NoteTally(), 0)
        tally.add(count, notes)
        self.tallied = tally, count + 1

    def inform_tallied(self) -> None:
        """Print the notes on all images, those that differ in their numbers alone in one line."""
        if self.tallied:
            tally, count = self.tallied
            self.inform(*tally.lines(count))

    def inform_once(self, head: str, lines: Sequence[str]) -> None:
        """Print those of some lines that were not printed before, each once in a run, below a ``head``."""
        new = [line for line in lines if line not in self.left_out]
        self.left_out.update(new)
        self.inform(*([head, *(f"  {line}" for line in new)] if new else []))

    def add_failure(self, culprit: str, error: KernelvizError) -> None:
        """Name what failed, unless the message does, and keep it."""
        terminal.print_message(naming(culprit, error.what))
        self.add_error(error, culprit)

    def add_image(self, path: str, **more: Any) -> None:
        """Keep the row of an image that was done."""
        self.more["images"].add(path, **more)

    def add_kept(self) -> None:
        """Count an input whose files of an earlier run were kept."""
        self.kept += 1

    def add_output(self, row: dict[str, Any]) -> None:
        """Keep the row of a file that was written, and print its path unless a document will be printed."""
        self.add_row(as_drawn(row, self.drawn.pop(row["path"], None)))

    def add_row(self, row: dict[str, Any]) -> None:
        """Keep the row of a file as the document states it, and print its path unless a document will be printed."""
        if self.as_json or not self.outputs:  # a million rows take more memory than a network
            self.outputs.append(row)
        if not self.as_json:
            terminal.print_result(row["path"])


class ImageRows(Sequence[dict[str, Any]]):
    """The rows ``images`` of a document: the path of each image, and what only some of them have.

    ``top`` is that of images without class scores: None for a command that computes none.
    """

    def __init__(self, top: Sequence[Any] | None = ()) -> None:
        self._top = top
        self._paths: list[str] = []
        self._more: dict[int, dict[str, Any]] = {}

    def add(self, path: str, **more: Any) -> None:
        """Add an image with ``more`` fields of its row."""
        if more:
            self._more[len(self._paths)] = more
        self._paths.append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        return {"path": self._paths[at], "top": None if self._top is None else [*self._top], **self._more.get(at, {})}


def as_drawn(row: dict[str, Any], picture: PageFigure | Animation | None) -> dict[str, Any]:
    """The row of a file, with what is shown in it if its look draws less than the ordinary page."""
    if picture is None:
        return row
    drawn = (picture.recipe or {}).get("drawn", [])
    notes = dict.fromkeys([*drawn, *(note for note in row["notes"] if note not in picture.replaced)])
    return {**row, **{key: value for key, value in picture.facts.items() if key in ROW}, "notes": list(notes)}


def run_command(
    name: str,
    work: Callable[[Report], object],
    *,
    as_json: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    debug: bool = False,
) -> int:
    """Run the work of a command, and end it: an error becomes a message, ``--json`` a document, all of it an exit code.

    Args:
        name: of the command, as the document states it.
        work: is called with the report of the run, prints the results unless ``as_json``, and raises what fails.
        as_json: print one JSON document on stdout.
        quiet: print no lines for people but errors.
        verbose: print more lines for people.
        debug: print the traceback of an error.
    """
    if not gc.isenabled():  # the command alone: what it has imported by now stays
        gc.freeze()
        gc.enable()
    report = Report(name, as_json, quiet, verbose)
    began = time.monotonic_ns()
    try:
        with terminal.results_apart():
            try:
                work(report)
            except (KernelvizError, BrokenPipeError, MemoryError):
                raise
            except Exception:
                if not doubt_used(began):
                    raise
                report = Report(name, as_json, quiet, verbose)  # what was remembered may be unfit: without it
                work(report)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return fail(report, error, debug=debug)
    if as_json:
        terminal.print_result(json_text(document(report)))
    if not report.errors:
        return DONE
    return SOME_FAILED if report.outputs or report.kept else FAILED


def fail(report: Report, error: Exception, *, debug: bool) -> int:
    """Print what went wrong and, with ``--json``, the document, and return the exit code.

    Raises:
        BrokenPipeError: the error is one, the reader of stdout has left: there is nobody to print for.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    known = error if isinstance(error, KernelvizError) else _unexpected(error)
    if debug:
        terminal.print_message(*"".join(traceback.format_exception(error)).splitlines())
    terminal.print_error(known)
    report.add_error(known)
    if report.as_json:
        with contextlib.suppress(WriteError):  # it is the error, or cannot be reported
            terminal.print_result(json_text(document(report)))
    return exit_code(known)


def exit_code(error: KernelvizError) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, UsageError):
        return WRONG_USAGE
    return NO_WEIGHTS if isinstance(error, NoWeightsError) else FAILED


def _unexpected(error: Exception) -> KernelvizError:
    if isinstance(error, MemoryError):
        return KernelvizError("There is not enough memory for this.", hint="Choose fewer layers, or a smaller --zoom.")
    if type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return KernelvizError("The device has not enough memory for this.", hint="Give --device cpu.")
    if package := _unimportable(error):
        begin = _VARIABLES.get(package, package.upper())
        suspects = ", ".join(sorted(name for name in os.environ if begin in name))
        hint = f"Correct or unset what it reads: {suspects}." if suspects else f"Install {package} again."
        why = next(filter(None, str(error).splitlines()), "")[:200]
        return KernelvizError(f"The package {package} cannot be imported.", f"{type(error).__name__}: {why}", hint)
    return KernelvizError(
        f"Something unexpected went wrong: {type(error).__name__}.",
        str(error).split("\n", maxsplit=1)[0],
        "Run it again with --debug to see where, and please report it.",
    )


_VARIABLES = {"matplotlib": "MPL", "huggingface_hub": "HF_"}
"""What the environment variables of some packages contain, if not the name of the package."""


def _unimportable(error: Exception) -> str:
    """The other package whose import raised an error: many read environment variables then; empty if none did."""
    if isinstance(error, ImportError) and error.name:
        return error.name.partition(".")[0]
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>")
    packages = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames]
    return packages[-1] if packages and packages[-1] not in {"kernelviz", "__main__"} else ""


def print_interruption(*, as_json: bool) -> None:
    """Print that the user interrupted the run and, with ``--json``, its document so far; imports nothing more."""
    error = CancelledError("Interrupted; files that were written are complete.")
    terminal.print_message(error.what)
    if as_json:
        report = Report.latest or Report(None)
        report.add_error(error)
        terminal.print_result(json_text(document(report)))


def attempt(report: Report, culprit: str, of: int, work: Callable[[], object]) -> None:
    """Do one of several pieces of work: one that fails is named and kept in the report, and the others go on.

    Raises:
        KernelvizError: it was the only one.
        DiskFullError: the others would fail as well.
    """
    try:
        work()
    except KernelvizError as error:
        if of == 1 or isinstance(error, DiskFullError):
            raise
        report.add_failure(culprit, error)


def document(report: Report) -> dict[str, Any]:
    """The JSON document of a run; what is not known is None."""
    source = report.source
    known = {**source.versions, "device": source.device, "threads": source.threads} if source else {}
    known |= report.environment
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


ROW = (
    "path", "layer", "image", "view", "weight", "shape", "shown", "total", "rows", "columns", "limits", "nonfinite",
    "palette", "counts", "threshold", "fit_threshold", "level", "filters", "notes",
)  # fmt: skip
"""The fields of each element of ``outputs``, in every command."""


def output_row(path: Path, **facts: Any) -> dict[str, Any]:
    """One element of ``outputs``: a file that was written, with the fields of ``ROW``; null where one does not apply.

    Args:
        path: of the file.
        **facts: the fields that apply. ``layer`` and ``image`` name what is drawn, ``view`` how, ``weight`` which of a
            layer's weights; ``shape`` is that of the array, ``shown`` and ``total`` count its channels, ``rows`` and
            ``columns`` name and count those of a table of tiles, ``limits`` the range of the colours,
            ``nonfinite`` counts values. ``palette`` is that of the colours, unless it is the standard one.
            ``counts``, ``threshold``, ``fit_threshold``, ``level`` and ``filters`` are of ``match``.

    Raises:
        TypeError: a field is not in ``ROW``.
    """
    if unknown := facts.keys() - set(ROW):
        raise TypeError(f"rows of outputs have no {', '.join(sorted(unknown))}")
    row = {**dict.fromkeys(ROW), "notes": [], **facts, "path": str(path)}
    return {key: list(value) if isinstance(value := row[key], tuple) else value for key in ROW}


def recipe_row(path: Path, recipe: Mapping[str, Any], *, shape: Sequence[int | None] | None) -> dict[str, Any]:
    """The row of a file whose recipe states what it shows, of an array of this shape."""
    facts = {key: recipe[key] for key in ("view", "shown", "total", "limits", "nonfinite", "notes")}
    return output_row(path, shape=shape, **facts)


def sheet_row(path: Path, sheet: Sheet, **facts: Any) -> dict[str, Any]:
    """The row of a file that holds a sheet (or an overlay, which has the same attributes)."""
    return output_row(
        path, view=sheet.recipe["view"], weight=sheet.recipe.get("weight"), shape=tuple(sheet.recipe["shape"]),
        shown=sheet.shown, total=sheet.tiles.total, rows=sheet.recipe["rows"], columns=sheet.recipe["columns"],
        limits=(sheet.scale.low, sheet.scale.high), nonfinite=sheet.marks.nonfinite, notes=sheet.notes,
        palette=sheet.recipe.get("palette"), **facts,
    )  # fmt: skip


@contextmanager
def without_collection(library: str = "torch") -> Iterator[None]:
    """Suspend garbage collection while a large library is imported: its objects live to the end.

    Searching those of torch takes half a second.
    """
    first = library not in sys.modules and gc.isenabled()
    if first:
        gc.disable()
    try:
        yield
    finally:
        if first:
            gc.freeze()
            gc.enable()
