"""The views of ``explain`` that are one page each: how they are printed and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.explain_csv import prepare_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.explain_inputs import StepChoices
    from kernelviz.cli.session import Report

Format = Annotated[
    options.FileFormat | None,
    typer.Option(
        "--format", help="File format of the picture. Default: png.", show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]  # fmt: skip


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
        for each, frame in choices.save(plot(), path, report, progress):
            drawn = view.recipe if frame is None else frame_recipe(view.recipe, frame)
            report.add_output(session.recipe_row(each, drawn, shape=view.shape))
    if choices.arrays:
        save_arrays(view.arrays, numbers, recipe=recipe, force=choices.force)
        report.add_output(session.recipe_row(numbers, recipe, shape=view.shape))
