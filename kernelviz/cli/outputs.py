"""The files that a command writes: their look, their directory and paths, and how they are saved and reported."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from kernelviz.cli import options
from kernelviz.cli.session import without_collection
from kernelviz.drawing.looks import LOOKS, Look, find_look
from kernelviz.errors import UsageError
from kernelviz.storage.uris import WEB, has_query, is_uri, scheme_of
from kernelviz.wording import PART

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.drawing.animations import Animation
    from kernelviz.drawing.colour import ScaleChoice
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.drawing.sheets import Sheet


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
