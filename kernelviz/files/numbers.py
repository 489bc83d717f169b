"""Arrays of numbers that are typed on the command line or stored in a CSV file; each keeps the text it was written as."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.reading import read_regular
from kernelviz.records import Typed
from kernelviz.storage.uris import as_path, name_in, resolved
from kernelviz.wording import shown, typed_text

if TYPE_CHECKING:
    from pathlib import Path


_TYPED = re.compile(r"(?=.*(?:\d|nan|inf))(?:[\d\s.,;|+\-−e]|nan|inf(?:inity)?)*", re.IGNORECASE | re.DOTALL)
_LARGEST = 1 << 24  # bytes of a file: some million numbers
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
EXAMPLE = "Separate rows by ; and channels by |, for example '1 2; 3 4 | 5 6; 7 8'."


def read_numbers(text: str, name: str) -> Typed | None:
    """Read numbers (C, H, W) as typed on the command line, or from a CSV file; None if the text is neither.

    Typed numbers are ``1 2; 3 4 | 5 6; 7 8``: rows are separated by ``;`` or line breaks, channels by ``|``, numbers by
    spaces, commas or tabs. Square brackets around them are ignored. A text of numbers is never a file name.

    Args:
        text: the text as typed.
        name: what the numbers are, for error messages.

    Raises:
        KernelvizError: the CSV file is missing, unreadable or too large.
        UsageError: the numbers are malformed.
    """
    if is_typed(text):
        return typed_numbers(text, name)
    path = resolved(text)
    if name_in(path).lower().endswith(".csv") or os.path.isfile(path):  # noqa: PTH113  (unlike pathlib's it takes every name)
        return csv_numbers(as_path(path), name)
    return typed_numbers(text, name) if set(text) & set(";|") else None


def is_typed(text: str) -> bool:
    """Whether a text consists of numbers and their separators."""
    return _TYPED.fullmatch(_bare(text)) is not None


def typed_numbers(text: str, name: str) -> Typed:
    """(C, H, W) of typed numbers, in the form that ``read_numbers`` describes.

    Raises:
        UsageError: a cell is empty or not a finite number, rows or channels differ in size, or there are no numbers.
    """
    lines = (line.strip().removesuffix(";") for line in _bare(text).split("\n"))
    planes, row = [], 0
    for plane in ";".join(line for line in lines if line).split("|"):
        bare = plane.strip(" ;\t")
        rows = bare.split(";") if bare else []
        planes.append([_cells(cells, name, f"row {row + at}") for at, cells in enumerate(rows, 1)])
        row += len(rows)
    return _stacked(planes, name)


def _bare(text: str) -> str:
    """The text without the brackets, blanks and semicolons around it."""
    return text.strip(" ;[]\r\n")


def csv_numbers(path: Path, name: str) -> Typed:
    """(C, H, W) of a CSV file: one row per line, cells separated by commas, semicolons, tabs or spaces, channels by ``|``.

    Raises:
        KernelvizError: the file cannot be read, or is too large.
        UsageError: the content is not such a table, a cell is empty, or no file can have this name.
    """
    try:
        data = read_regular(path, _LARGEST)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise KernelvizError(f"{shown(path)} is too large.", f"The limit is {_LARGEST >> 20} MB.") from error
        impossible = not isinstance(error, OSError) or error.errno == errno.ENAMETOOLONG
        why = str(getattr(error, "strerror", None) or error)
        hint = "" if isinstance(error, PermissionError) else "Check the path."
        raise (UsageError if impossible else KernelvizError)(
            f"{shown(path)} cannot be read.", f"{why}.", hint
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KernelvizError(f"{path} is not a CSV file.", "It is not text.") from error
    planes: list[list[list[str]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        for at, part in enumerate(line.split("|")):
            if at:
                planes.append([])
            if part.strip(" "):
                planes[-1].append(_cells(part, name, f"line {number} of {path}"))
    return _stacked(planes, name, str(path))


def _cells(line: str, name: str, position: str) -> list[str]:
    """The numbers of a row as written: consecutive spaces count as one separator, any other separator counts by itself.

    Raises:
        UsageError: the row has two kinds of separators, or a cell is empty or not a finite number.
    """
    found = [separator for separator in _SEPARATORS if separator in line]
    if len(found) > 1:
        what = f"The {name} has {' and '.join(_SEPARATORS[each] for each in found)} in {position}."
        raise UsageError(
            what, "It is ambiguous which of them separate numbers.", "Write decimals with a point, as 1.5."
        )
    cells = [cell.strip() for cell in line.split(found[0])] if found else line.split()
    for column, cell in enumerate(cells or [""], 1):
        if not cell:
            what = f"The {name} has no number at column {column} in {position}."
            raise UsageError(what, "Empty cells are not skipped.", "Write a number there, or remove the separator.")
        _check_number(cell, name, f"column {column} in {position}")
    return cells


def _check_number(cell: str, name: str, position: str) -> None:
    bare = cell.replace("−", "-")
    try:
        finite = bare.isascii() and "_" not in bare and np.isfinite(float(bare))  # float takes 1_000 and １
    except ValueError:
        finite = False
    if not finite:
        what = f"The {name} must hold finite numbers, but got '{shown(cell)}'."
        raise UsageError(what, f"It is at {position}.", "Write numbers as 2, -0.5 or 1e-3.")


def _stacked(planes: list[list[list[str]]], name: str, path: str = "") -> Typed:
    """The planes as one array (C, H, W), with the text of each number.

    Raises:
        UsageError: there are no numbers, or rows or planes differ in size.
    """
    arrays = []
    for rows in planes:
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            found = f"rows of {lengths[0]} and {lengths[-1]} numbers" if lengths else "a channel without numbers"
            where = f"{path} has" if path else "got"
            raise UsageError(f"The {name} must be rows of equal length, but {where} {found}.", hint=EXAMPLE)
        arrays.append(np.array(rows, object))
    if len({array.shape for array in arrays}) != 1:
        sizes = ", ".join(f"{array.shape[0]} × {array.shape[1]}" for array in arrays)
        raise UsageError(f"All channels of the {name} must have the same size, but got {sizes}.", hint=EXAMPLE)
    written = np.stack(arrays)
    values = np.array([float(cell.replace("−", "-")) for cell in written.flat], np.float64).reshape(written.shape)
    values += 0.0  # −0 is 0
    texts = np.array([typed_text(cell) for cell in written.flat], object).reshape(written.shape)
    return Typed(values, texts)
