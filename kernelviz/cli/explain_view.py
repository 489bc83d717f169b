"""The checks of the options of ``explain``, and how its views of one page each are printed and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.explain_csv import check_csv, prepare_csv
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_inputs import StepChoices
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress

Format = Annotated[
    options.FileFormat | None,
    typer.Option(
        "--format", help="File format of the picture. Default: png.", show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip


def check(choices: StepChoices) -> None:
    """Reject what is wrong in the options alone.

    Raises:
        UsageError: options that need a directory, or that exclude each other.
    """
    drawing = {
        "--animate": choices.animate, "--frames": choices.frames, "--steps": choices.steps, "--arrays": choices.arrays,
        "--force": choices.force and choices.csv is None,
        "--format": choices.file_format is not None, "--look": choices.look != "page", "--no-caption": choices.no_caption,
    }  # fmt: skip
    given = [name for name, value in drawing.items() if value]
    if choices.directory is None and given:
        raise UsageError(f"{given[0]} needs an output directory.", hint="Add -o kernelviz-out")
    every = [name for name in ("--animate", "--frames", "--steps") if drawing[name]]  # draw all steps
    if choices.steps and len(every) > 1:
        raise UsageError(f"{every[0]} and --steps exclude each other.", hint="Omit one of them.")
    if choices.at is not None and every:
        raise UsageError(f"--at selects one step, but {every[0]} draws all of them.", hint="Omit one of them.")
    if choices.fps is not None and not choices.animate:
        raise UsageError("--fps is for animations.", hint="Add --animate, or omit it.")
    _ = choices.cell, choices.suffix
    if choices.csv is not None:
        check_csv(choices.csv)
    if choices.directory is not None:
        outputs.check_directory(choices.directory)


def warn_of_limit(count: int, operation: Operation, choices: StepChoices, report: Report) -> None:
    """Warn if fewer steps than all are in the document or in the CSV file."""
    total = operation.output_size[0] * operation.output_size[1]
    if (report.as_json or choices.csv is not None) and choices.cell is None and count < total:
        report.note(f"steps is limited to {count:,} of {total:,}")


@dataclass(frozen=True)
class View:
    """One view: the parts of its file's name, its lines of text, its fields of the document, and its picture.

    ``plot`` is called with ``look`` and ``caption`` and returns what ``save_picture`` takes; ``arrays`` are those of
    ``--arrays``. ``drawn_name`` returns the name of the picture by the facts of the figure, for views of which a slide may
    draw another part. ``note`` is where the numbers come from, for people who see the picture alone. ``summary`` is the
    message beside a picture, if the first line of the text describes only a part of it.
    """

    name: tuple[str, ...]
    lines: Sequence[str]
    entry: Mapping[str, Any]
    recipe: Mapping[str, Any]
    plot: Callable[..., Any]
    shape: tuple[int, ...] | None = None
    arrays: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    summary: str = ""
    drawn_name: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None


def show(view: View, choices: StepChoices, report: Report) -> None:
    """Print the text, or write files and print its summary or first line as a message; or fill the document.

    Raises:
        KernelvizError: a path is taken, or a file could not be written.
    """
    write_csv = prepare_csv(choices.csv, view.name, view.entry, report, force=choices.force)
    if choices.directory is not None:
        _draw(view, choices, report)
    write_csv()
    if not choices.prints and not report.as_json:
        first = [view.summary] if view.summary else view.lines[:1]
        report.inform(*first, *([f"numbers: {view.note}"] if view.note else []), *report.warnings)
    elif not report.as_json:
        terminal.print_text(*view.lines)
        report.inform(*report.warnings)
    if report.as_json:
        report.more |= view.entry


def _draw(view: View, choices: StepChoices, report: Report) -> None:
    from kernelviz.files.encoding import frame_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import check_target, save_arrays

    directory = choices.directory
    if directory is None:
        raise TypeError(choices)
    look = outputs.chosen_look(choices.look, choices.no_caption, report)
    plot = partial(view.plot, look=look.name, caption=look.caption)
    name, shown = view.name, view.recipe
    if view.drawn_name is not None:
        figure = plot()
        plot, name, shown = partial(lambda drawn: drawn, figure), view.drawn_name(figure.facts), figure.recipe
    path = directory / f"{file_stems([name])[0]}.{choices.suffix}"
    numbers, recipe = path.with_suffix(".npz"), {**view.recipe, "view": f"{view.recipe['view']}, numbers"}
    if choices.draws_whole:
        check_target(path, shown, force=choices.force)
    if choices.arrays:
        check_target(numbers, recipe, force=choices.force)
    with terminal.progress(shown=(choices.animate or choices.frames) and not report.quiet) as progress:
        for each, frame in save_drawn(plot(), path, choices, report, progress):
            drawn = view.recipe if frame is None else frame_recipe(view.recipe, frame)
            report.add_output(session.recipe_row(each, drawn, shape=view.shape))
    if choices.arrays:
        save_arrays(view.arrays, numbers, recipe=recipe, force=choices.force)
        report.add_output(session.recipe_row(numbers, recipe, shape=view.shape))


def save_drawn(
    picture: Any, path: Path, choices: StepChoices, report: Report, progress: Progress
) -> list[tuple[Path, int | None]]:
    """Write the frames of an animation, the picture, or both; the paths with the numbers of frames."""
    from kernelviz.files.writing import save_frames

    written: list[tuple[Path, int | None]] = []
    if choices.frames:
        frames = save_frames(picture, path.with_suffix(".png"), force=choices.force, progress=progress)
        written += [(each, number) for number, each in enumerate(frames)]
    if choices.draws_whole:
        written.append((outputs.save_page(picture, path, report, force=choices.force, progress=progress), None))
    else:
        outputs.inform_left_out(picture, report)
    return written
