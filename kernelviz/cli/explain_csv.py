"""``--csv`` of the commands of ``explain``: every number in a file for spreadsheets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from kernelviz.cli import outputs, session
from kernelviz.cli.options import OUTPUT, target_path
from kernelviz.errors import UsageError
from kernelviz.version import SCHEMA, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernelviz.cli.session import Report

Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        parser=target_path,
        metavar="FILE|DIR",
        help="Write every number of the explanation to this CSV file, or to one in this directory.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
SUFFIX = ".csv"


class PrepareTable(Protocol):
    """``prepare_csv`` with its target, report and force."""

    def __call__(self, name: tuple[str, ...], fields: Mapping[str, Any]) -> Callable[[], None]:
        """Choose the path, and return a function that writes the file."""


def check_csv(target: Path | None) -> None:
    """Reject the name of another kind of file, and ``-``.

    Raises:
        UsageError: it ends like one, or is ``-``.
    """
    if target is not None and outputs.is_dash(target):
        raise UsageError(
            "--csv writes a file, but - means standard output.",
            hint="Type `--csv numbers.csv`; --json prints all numbers.",
        )
    if target is None or os.path.isdir(target) or target.suffix.lower() == SUFFIX:  # noqa: PTH112  (takes every path)
        return
    if target.suffix.lower() in outputs.PICTURE_SUFFIXES | {".txt", ".tsv", ".xlsx", ".xls", ".ods", ".json", ".html"}:
        raise UsageError(
            f"--csv writes CSV, but {target} ends in {target.suffix}.",
            hint=f"Type `--csv {target.with_suffix(SUFFIX)}`.",
        )


def prepare_csv(
    target: Path | None, name: tuple[str, ...], fields: Mapping[str, Any], report: Report, *, force: bool
) -> Callable[[], None]:
    """Choose the path of the CSV file, and return a function that writes it and adds it to the report.

    Args:
        target: the file, or the directory for a file of this name; None writes nothing.
        name: the parts of the name.
        fields: of the JSON document.
        report: of the run.
        force: replace any file.

    Raises:
        FileInTheWayError: the path is occupied by something else.
    """
    if target is None:
        return lambda: None
    from hashlib import sha256

    from kernelviz.files.names import file_stems
    from kernelviz.files.tables import save_table
    from kernelviz.files.writing import check_target

    is_file = target.suffix.lower() == SUFFIX and not os.path.isdir(target)  # noqa: PTH112
    path = target if is_file else target / f"{file_stems([name])[0]}{SUFFIX}"
    source = report.source
    known = {"model": source.as_document() if source else None, **fields, "warnings": [*report.warnings]}
    recipe = {
        "kernelviz": __version__, "schema": SCHEMA, "command": "explain",
        "model": source.as_recipe() if source else None, "view": "csv",
        "image": sha256(session.json_text(known).encode()).hexdigest()[:16],
    }  # fmt: skip
    check_target(path, recipe, force=force)

    def write() -> None:
        save_table(known, path, recipe=recipe, force=force)
        report.add_output(session.output_row(path, view="csv"))

    return write
