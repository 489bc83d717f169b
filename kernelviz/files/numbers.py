"""Numbers that a user types or keeps in a CSV file become arrays of channels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from kernelviz.errors import KernelvizError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.records import Array

_TYPED = re.compile(r"[\d\s.,;|+\-−eE]*\d[\d\s.,;|+\-−eE]*")
_LARGEST = 1 << 24  # bytes of a file: some million numbers


def is_typed(text: str) -> bool:
    """Whether a text is numbers, and no name of anything."""
    return _TYPED.fullmatch(text) is not None


def typed_numbers(text: str, name: str) -> Array:
    """(C, H, W) of ``1 2; 3 4 | 5 6; 7 8``: rows apart by ``;``, channels by ``|``, numbers by spaces or commas.

    Raises:
        UsageError: something is no finite number, rows or channels differ in size, or there is nothing.
    """
    return _parsed(text.replace("\n", ";"), name, name)


def csv_numbers(path: Path, name: str) -> Array:
    """(C, H, W) of a CSV file: a row a line, numbers apart by commas, semicolons, tabs or spaces, channels by ``|``.

    Raises:
        KernelvizError: the file cannot be read, or is too large.
        UsageError: what stands in it is no such table.
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
    lines = [line.replace(";", " ").strip(" ,\t") for line in text.splitlines()]
    return _parsed(";".join(line for line in lines if line), name, str(path))


def _parsed(text: str, name: str, place: str) -> Array:
    planes = []
    for plane in text.split("|"):
        rows = [row.replace(",", " ").replace("−", "-").split() for row in plane.split(";") if row.strip()]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            found = f"rows of {lengths[0]} and of {lengths[-1]} numbers" if lengths else "a channel without numbers"
            hint = "Rows are apart by ; and channels by |, for example '1 2; 3 4 | 5 6; 7 8'."
            raise UsageError(f"The {name} must be rows of equal length, but {place} has {found}.", hint=hint)
        planes.append(_table(rows, name))
    if len({plane.shape for plane in planes}) != 1:
        sizes = ", ".join(f"{plane.shape[0]} × {plane.shape[1]}" for plane in planes)
        raise UsageError(f"The channels of the {name} must have one size, but they have {sizes}.")
    return np.stack(planes)


def _table(rows: list[list[str]], name: str) -> Array:
    for cell in (cell for row in rows for cell in row):
        try:
            finite = np.isfinite(float(cell))
        except ValueError:
            finite = False
        if not finite:
            raise UsageError(f"The {name} must hold finite numbers, but got {cell!r}.")
    return np.array(rows, dtype=np.float64)
