"""What commands share: how one is run and ends, its report and JSON document, loading a model, paths of pictures."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from kernelviz.cli import options, terminal
from kernelviz.drawing.looks import LOOKS, Look, find_look
from kernelviz.errors import (
    CancelledError,
    DiskFullError,
    KernelvizError,
    NoWeightsError,
    UnknownModelError,
    UsageError,
    WriteError,
)  # fmt: skip
from kernelviz.files.remembered import doubt_used
from kernelviz.storage.uris import WEB, has_query, is_uri, scheme_of
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import PART, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.network.model import Model
    from kernelviz.records import Source

DONE, FAILED, WRONG_USAGE, SOME_FAILED, NO_WEIGHTS = 0, 1, 2, 3, 4


@dataclass
class Report:
    """What a run has done so far: enough for its messages, its JSON document and its exit code.

    ``kept`` counts the inputs whose files of an earlier run were kept. ``outputs`` holds the rows of all files that were
    written if a document will be printed, else of the first. ``more`` holds the fields of the document that only this
    command has, ``environment`` what is known of the machine without a model, ``left_out`` the lines about pictures that
    were printed because their look leaves them out, ``drawn`` the pictures that show less than an ordinary page, by path.
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

    def __post_init__(self) -> None:
        Report.latest = self

    def inform(self, *lines: str) -> None:
        """Print lines for people, unless ``quiet``."""
        if not self.quiet:
            terminal.print_message(*lines)

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

    def inform_once(self, head: str, lines: Sequence[str]) -> None:
        """Print those of some lines that were not printed before, each once in a run, below a ``head``."""
        new = [line for line in lines if line not in self.left_out]
        self.left_out.update(new)
        self.inform(*([head, *(f"  {line}" for line in new)] if new else []))

    def add_failure(self, culprit: str, error: KernelvizError, *, named: bool = False) -> None:
        """Name what failed, unless the message has ``named`` it, and keep it."""
        terminal.print_message(error.what if named else f"{culprit}: {error.what}")
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
        report.add_failure(culprit, error, named=f" layer {shown(culprit)} " in f" {error.what} ")


def named_images(images: Sequence[str], output: Path, report: Report, *, recursive: bool) -> tuple[str, ...]:
    """The images that the arguments of a command name; what is left out is a warning, an unreadable folder a failure."""
    from kernelviz.files.finding import find_images

    found = find_images(images, recursive=recursive, output=output)
    report.warn(*found.notes)
    for folder, error in found.unreadable.items():
        report.add_failure(folder, error)
    return found.images


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


def sheet_row(path: Path, sheet: Sheet, **facts: Any) -> dict[str, Any]:
    """The row of a file that holds a sheet (or an overlay, which has the same attributes)."""
    return output_row(
        path, view=sheet.recipe["view"], weight=sheet.recipe.get("weight"), shape=tuple(sheet.recipe["shape"]),
        shown=sheet.shown, total=sheet.tiles.total, rows=sheet.recipe["rows"], columns=sheet.recipe["columns"],
        limits=(sheet.scale.low, sheet.scale.high), nonfinite=sheet.marks.nonfinite, notes=sheet.notes,
        palette=sheet.recipe.get("palette"), **facts,
    )  # fmt: skip


@dataclass(frozen=True)
class PictureChoices:
    """How pictures look, as ``make_sheet`` takes it."""

    channels: str | None
    top: int | None
    sort: str | None
    scale: ScaleChoice | None
    cmap: str | None
    columns: int | None
    zoom: int | None
    style: options.Style
    palette: options.PaletteName = options.PaletteName.STANDARD

    def of_sheet(self, look: Look) -> dict[str, Any]:
        """The choices as arguments of ``make_sheet``, for pictures in a look."""
        return {**asdict(self), "palette": look.palette(self.palette.value)}

    @property
    def bare(self) -> bool:
        """Whether the tiles alone are drawn, without a page around them."""
        return self.style is options.Style.BARE


@dataclass(frozen=True)
class OutputChoices:
    """What is written and where: the directory, the suffix and the look of pictures, whether arrays are written.

    With ``force`` any files are replaced.
    """

    directory: Path
    suffix: str
    arrays: bool
    force: bool
    look: Look = LOOKS["page"]


@dataclass(frozen=True)
class ImageChoices:
    """How images are read and preprocessed, as typed."""

    range: str | None = None
    bands: str | None = None
    mean: str | None = None
    std: str | None = None
    interpolation: str | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of ``read_image``.

        Raises:
            UsageError: ``--range`` or ``--bands`` is malformed.
        """
        return {"range": options.parse_range(self.range), "bands": options.parse_bands(self.bands)}

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The arguments of ``Model.with_preprocessing``.

        Raises:
            UsageError: ``--mean`` or ``--std`` is malformed.
        """
        return {
            "mean": options.parse_normalising(self.mean, "--mean"),
            "std": options.parse_normalising(self.std, "--std"),
            "interpolation": self.interpolation,
        }

    def as_recipe(self) -> dict[str, Any]:
        """The choices that differ from the defaults."""
        return {key: value for key, value in (self.reading | self.preprocessing).items() if value is not None}

    def asked(self, sides: Sequence[int] | None, *, crop: bool | None) -> dict[str, Any]:
        """The part of a recipe about these choices, the input size and the crop; empty if all are the defaults."""
        chosen = {"size": list(sides) if sides else None, "crop": crop}
        found = {key: value for key, value in chosen.items() if value is not None} | self.as_recipe()
        return {"asked": found} if found else {}

    def prepare(self, model: Model, report: Report) -> Model:
        """The model with the chosen preprocessing, which is reported."""
        from kernelviz.wording import preprocessing_text

        model = model.with_preprocessing(**self.preprocessing)
        report.inform(f"input: {preprocessing_text(model.source.preprocessing)}")
        report.more["preprocessing"] = model.source.preprocessing_entry()
        return model


def chosen_look(look: options.LookName, no_caption: bool, report: Report) -> Look:  # noqa: FBT001
    """The look of the pictures; the document states it unless it is that of an ordinary page."""
    found = find_look(str(look), caption=not no_caption)
    report.more |= found.as_recipe()
    return found


PICTURE_SUFFIXES = {".html", ".png", ".svg", ".pdf", ".gif", ".jpg", ".jpeg", ".webp", ".npz"}
CHOICE_FOR = {".svg": " --format svg", ".pdf": " --format pdf", ".npz": " --arrays"}


def parse_scale(text: str | None) -> ScaleChoice | None:
    """``tile``, ``layer`` or the two numbers of ``LO,HI``.

    Raises:
        UsageError: it is none of them, or the two numbers are no range.
    """
    if text is None or text in ("tile", "layer"):
        return cast("ScaleChoice | None", text)
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not -math.inf < low < high < math.inf:
        what = f"--scale must be tile, layer or LO,HI with LO below HI, but got {text!r}."
        raise UsageError(what, hint="For example --scale=-1,1")
    return low, high


def check_choices(output: OutputChoices, picture: PictureChoices) -> None:
    """Reject what is wrong in the options alone, before anything is loaded.

    Raises:
        UsageError: a file as output directory, bare tiles in a format other than PNG or in the look of a page, or an
            unknown colour map.
    """
    check_directory(output.directory)
    if picture.bare and (output.look.size or not output.look.caption):
        option = "--no-caption" if output.look.size is None else f"--look {output.look.name}"
        raise UsageError(f"Bare tiles have no page, so {option} has no effect.", hint="Omit it, or --style bare.")
    if picture.bare and output.suffix != ".png":
        raise UsageError(
            f"Bare tiles are written as PNG, not as {output.suffix[1:].upper()}.", hint="Omit --format or --style."
        )
    if picture.cmap is not None:
        from kernelviz.drawing.colour import ramp

        ramp(picture.cmap, signed=True)


def is_dash(path: Path) -> bool:
    """Whether a path is ``-``, which means standard output to other programs, and no directory of this name exists."""
    return str(path) == "-" and not path.is_dir()


def check_directory(directory: Path, *, writable: bool = False) -> None:
    """Reject the name of a file where a directory is expected; delete what a killed run left in the directory.

    ``writable`` also checks the permission, before work that takes long and surely ends in a file.

    Raises:
        UsageError: it ends like a picture, or is ``-``.
        WriteError: a file is in its place, or the permission is missing.
    """
    if is_dash(directory):
        what = "--output takes a directory, but - means standard output."
        raise UsageError(
            what, hint="Type `-o kernelviz-out`; stdout has the paths of the files, or a document with --json."
        )
    if directory.suffix.lower() in PICTURE_SUFFIXES and not os.path.isdir(directory):  # noqa: PTH112  (takes every path)
        what = f"--output takes a directory, but {directory} is the name of a file."
        more = CHOICE_FOR.get(directory.suffix.lower(), "")
        raise UsageError(what, hint=f"Type `-o {shlex.quote(str(directory.parent))}{more}`.")
    if is_uri(directory):
        _check_uri(directory)
    else:
        from kernelviz.files.writing import check_holds_files, sweep

        check_holds_files(directory, writable=writable)
        sweep(directory)


def _check_uri(directory: Path) -> None:
    """Reject a URI in which nothing can be written.

    Raises:
        UsageError: it is of the web, or its file system is unknown or not installed.
    """
    from kernelviz.storage.objects import check_back_end

    if scheme_of(directory) in WEB or has_query(directory):
        what = f"--output takes a directory, but nothing can be put into {directory}."
        raise UsageError(what, hint="For example s3://bucket/maps, without a query.")
    check_back_end(directory)


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


def find_device(name: str, threads: int | None, progress: Progress) -> str:
    """Import torch and timm, and return the device that ``auto`` or a name means; sets the number of torch threads.

    Raises:
        UsageError: there is no such device, or the number of threads is out of bounds.
    """
    progress("importing torch and timm", 0, 0)
    # torch's threads wait for each other by spinning, some 10 ms unless the environment says otherwise: that takes
    # processors from the threads that read and write, and from other programs. Without spinning, each operation of a
    # forward pass has to wake them. libgomp reads this once, when torch is imported. The numbers stay the same.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    with without_collection():
        from kernelviz.network.model import use_device

    return use_device(name, threads)


def load(choices: ModelChoices, report: Report, progress: Progress) -> Model:
    """Load the model onto its device, and report which weights it has; without weights only the architecture."""
    arguments = options.parse_model_args(choices.arguments)
    device = find_device(choices.device, choices.threads, progress)
    from kernelviz.network.freed_memory import keep_freed_memory
    from kernelviz.network.model import load_model
    from kernelviz.network.weights.names import is_sized_by_timm

    keep_freed_memory()
    progress(f"building {choices.name}", 0, 0)
    size = options.parse_input_size(choices.input_size, traced=True)
    try:
        model = load_model(
            choices.name, weights=choices.weights, seed=choices.seed, timeout=choices.timeout,
            progress=partial(progress, in_bytes=True), weights_key=choices.weights_key, partial=choices.partial,
            model_args=arguments, input_size=None if is_sized_by_timm(choices.name) else size,
        )  # fmt: skip
    except UnknownModelError as error:
        from kernelviz.cli.advice import unknown_image

        raise unknown_image(report.command, choices.name) or error from None
    channels, (wanted, *_) = model.input_size[0], options.parse_size(choices.input_size, model, traced=True) or (0,)
    if wanted not in (0, channels):
        raise UsageError(f"{model.source.model} takes {channels} channels, but --input-size has {wanted}.")
    model = model if device == "cpu" else model.to(device)
    announce(model.source, choices, report)
    return model


def announce(source: Source, choices: ModelChoices, report: Report) -> None:
    """Report which model it is, and which weights it has."""
    report.source = source
    if choices.runs and "input_size" in source.preprocessing.get("guessed", ()):
        sides = source.preprocessing["input_size"]
        report.warn(f"input size {' × '.join(map(str, sides))} is a guess (see --input-size)")
    if choices.weights is None:
        return
    report.inform(source.provenance)
    report.warn(*source.notes)
    if choices.seed and choices.weights != "random":
        report.warn(f"--seed {choices.seed} has no effect: it is for --weights random")


def picture_path(
    stem: str,
    identity: Mapping[str, Any],
    output: OutputChoices,
    report: Report,
) -> Path:
    """The path of a picture; where its name is taken by that of other weights or another image, digits are added.

    Args:
        stem: of the file.
        identity: the keys of its recipe that distinguish it from others.
        output: the directory and the suffixes.
        report: is warned of added digits, a hash of the model and the image in ``identity``: their names and contents.

    Raises:
        FileInTheWayError: something else has this path.
    """
    from kernelviz.files.names import short_hash
    from kernelviz.files.recipes import recipe_text
    from kernelviz.files.writing import check_target, is_of_another

    suffixes = [output.suffix, ".npz"] if output.arrays else [output.suffix]
    if not output.force and any(is_of_another(output.directory / f"{stem}{end}", identity) for end in suffixes):
        other = "another image" if identity.get("image") else "other weights"
        if identity.get("view") in ("statistics", "contact", "basis", "patches", "field", "expanded"):
            other = "other images or weights"
        taken, stem = stem, f"{stem}-{short_hash(recipe_text({key: identity.get(key) for key in ('model', 'image')}))}"
        report.warn(f"{taken} is taken by a picture of {other}: this one is named {stem}")
    for end in suffixes:
        check_target(output.directory / f"{stem}{end}", identity, force=output.force)
    return output.directory / f"{stem}{output.suffix}"


def save_sheet(
    sheet: Sheet, path: Path, output: OutputChoices, report: Report, *, bare: bool, known: Sequence[str] = ()
) -> None:
    """Write a sheet as a page, or as bare tiles; ``known`` are notes that are printed elsewhere, as those of the sheet."""
    if bare:
        from kernelviz.drawing.mosaic import make_mosaic
        from kernelviz.files.writing import save_picture

        save_picture(make_mosaic(sheet, look=output.look.name), path, force=output.force)
    else:
        from kernelviz.drawing.captions import count_text

        with without_collection("matplotlib"):
            from kernelviz.drawing.sheet_page import draw_sheet

        figure = draw_sheet(sheet, output.look)
        untrue = (
            [count_text(sheet.tiles)] if (figure.recipe or {}).get("drawn") else []
        )  # of the page, not of this look
        save_page(figure, path, report, force=output.force, known=(*sheet_notes(sheet, report), *untrue, *known))
        figure.clear()  # its artists hold the pixels in cycles that the collector finds late


def sheet_notes(sheet: Sheet, report: Report) -> Sequence[str]:
    """The lines that are printed below the line about a sheet: its notes or, with ``verbose``, its caption."""
    return sheet.caption if report.verbose else sheet.notes


def count_of(sheet: Sheet, path: Path, report: Report) -> str:
    """How many tiles of a sheet are in its picture; empty if its look draws fewer, which are printed already."""
    from kernelviz.drawing.captions import count_text

    picture = report.drawn.get(str(path))
    return "" if picture is not None and (picture.recipe or {}).get("drawn") else count_text(sheet.tiles)


def save_page(
    picture: PageFigure | Animation,
    path: Path,
    report: Report,
    *,
    force: bool,
    progress: Progress | None = None,
    known: Sequence[str] = (),
) -> Path:
    """Write a page or an animation, and print what its look left out, each line once in a run."""
    from kernelviz.files.writing import save_picture

    save_picture(picture, path, force=force, progress=progress)
    inform_left_out(picture, report, known)
    if picture.facts:
        report.drawn[str(path)] = picture
    return path


def inform_left_out(picture: PageFigure | Animation, report: Report, known: Sequence[str] = ()) -> None:
    """Print what a look drew of a picture if that is less than the page, and the lines that it left out, each once.

    Lines, and parts of lines, that are ``known`` are left out.
    """
    printed = {line.casefold() for line in known}
    drawn = PART.join(line for line in (picture.recipe or {}).get("drawn", ()) if line.casefold() not in printed)
    report.inform(*([f"in the picture: {drawn}"] if drawn and not report.as_json else []))
    lines = [
        PART.join(part for part in line.split(PART) if part.casefold() not in printed)
        for line in (picture.recipe or {}).get("left_out", ())
        if line.casefold() not in printed
    ]
    report.inform_once("left out of the picture:", [line for line in lines if line])
