"""Numbers that a user types or keeps in a CSV file become arrays of channels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import KernelvizError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.records import Array


_TYPED = re.compile(r"(?=.*(?:\d|nan|inf))(?:[\d\s.,;|+\-−e]|nan|inf(?:inity)?)*", re.IGNORECASE | re.DOTALL)
_LARGEST = 1 << 24  # bytes of a file: some million numbers
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_EXAMPLE = "Rows are apart by ; and channels by |, for example '1 2; 3 4 | 5 6; 7 8'."


def is_typed(text: str) -> bool:
    """Whether a text is numbers, and no name of anything."""
    return _TYPED.fullmatch(text) is not None


def typed_numbers(text: str, name: str) -> Array:
    """(C, H, W) of ``1 2; 3 4 | 5 6; 7 8``: rows apart by ``;``, channels by ``|``, numbers by spaces, commas or tabs.

    Raises:
        UsageError: a place between two commas or semicolons is empty, something is no finite number, rows or channels
            differ in size, or there is nothing.
    """
    planes, row = [], 0
    for plane in re.sub(r"\s*;?\s*\n\s*", ";", text).split("|"):
        lines = plane.strip().removeprefix(";").removesuffix(";").split(";") if plane.strip(" ;\t") else []
        planes.append([_cells(line, name, f"row {row + at}") for at, line in enumerate(lines, 1)])
        row += len(lines)
    return _stacked(planes, name, name)


def csv_numbers(path: Path, name: str) -> Array:
    """(C, H, W) of a CSV file: a row a line, numbers apart by commas, semicolons, tabs or spaces, channels by ``|``.

    Raises:
        KernelvizError: the file cannot be read, or is too large.
        UsageError: what stands in it is no such table, or a cell of it is empty.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise KernelvizError(f"{path} cannot be read.", f"{error.strerror or error}.") from error
    if len(data) > _LARGEST:
        raise KernelvizError(f"{path} is too large.", f"At most {_LARGEST >> 20} MB of numbers are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KernelvizError(f"{path} is no CSV file.", "It is not text.") from error
    planes: list[list[list[str]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        for at, part in enumerate(line.split("|")):
            if at:
                planes.append([])
            if part.strip(" "):
                planes[-1].append(_cells(part, name, f"line {number} of {path}"))
    return _stacked(planes, name, str(path))


def _cells(line: str, name: str, place: str) -> list[str]:
    """The numbers of a row as they are written: blanks merge, any other separator does not.

    Raises:
        UsageError: two kinds of separators stand in it, a place is empty, or a cell is no finite number.
    """
    found = [separator for separator in _SEPARATORS if separator in line]
    if len(found) > 1:
        what = f"The {name} has {' and '.join(_SEPARATORS[each] for each in found)} in {place}."
        raise UsageError(what, "Which of them parts the numbers is not clear.", "Write decimals with a point, as 1.5.")
    cells = [cell.strip() for cell in line.split(found[0])] if found else line.split()
    for column, cell in enumerate(cells or [""], 1):
        if not cell:
            what = f"The {name} has no number at column {column} in {place}."
            raise UsageError(
                what, "An empty place would move what follows it.", "Write a number there, or take the separator away."
            )
        _check_number(cell, name, f"column {column} in {place}")
    return cells


def _check_number(cell: str, name: str, place: str) -> None:
    try:
        finite = np.isfinite(float(cell.replace("−", "-")))
    except ValueError:
        finite = False
    if not finite:
        what = f"The {name} must hold finite numbers, but got {cell!r}."
        raise UsageError(what, f"It stands at {place}.", "Numbers are written as 2, -0.5 or 1e-3.")


def _stacked(planes: list[list[list[str]]], name: str, place: str) -> Array:
    arrays = []
    for rows in planes:
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            found = f"rows of {lengths[0]} and of {lengths[-1]} numbers" if lengths else "a channel without numbers"
            raise UsageError(f"The {name} must be rows of equal length, but {place} has {found}.", hint=_EXAMPLE)
        arrays.append(np.array([[float(cell.replace("−", "-")) for cell in row] for row in rows], np.float64))
    if len({array.shape for array in arrays}) != 1:
        sizes = ", ".join(f"{array.shape[0]} × {array.shape[1]}" for array in arrays)
        raise UsageError(f"The channels of the {name} must have one size, but they have {sizes}.", hint=_EXAMPLE)
    return np.stack(arrays)
