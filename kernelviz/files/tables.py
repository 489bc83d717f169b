"""The fields of a JSON document as tables of a CSV file, as spreadsheets read it.

The file is UTF-8 with a byte order mark, by which spreadsheets recognise it, with commas and decimal points in every
locale. A field with one value, or a list, is a row: its name and its values. A matrix is a table below a row with its name
and its shape; the planes of a larger array are tables ``name[0]``, ``name[0][1]``. A list of records is a table with a
header, and the lists and matrices in a record follow as ``name[0].key``. Texts are quoted; one that a spreadsheet would
take for a formula starts with an apostrophe. The last row is the recipe.
"""

from __future__ import annotations

import csv
import io
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kernelviz.files.recipes import CSV_START, recipe_text
from kernelviz.records import TypedNumber
from kernelviz.version import __version__
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kernelviz.records import Recipe


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how what spreadsheets compute starts
_MOST_WHOLE = 1e15  # from here on whole numbers are written with an exponent
_LONGEST_ROW = 64  # values of a list in the row of a record; longer lists have a row of their own


def table_bytes(fields: Mapping[str, Any], recipe: Recipe) -> bytes:
    """The content of the CSV file of these fields."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([*CSV_START, __version__])
    rows = [*_rows("", fields), []]
    spaced = [row for row, following in pairwise(rows) if row or following]  # one empty row between tables
    writer.writerows([_cell(value) for value in row] for row in spaced)
    writer.writerow([])
    writer.writerow(["recipe", recipe_text(recipe)])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "backslashreplace")


def save_table(fields: Mapping[str, Any], path: Path, *, recipe: Recipe, force: bool = False) -> Path:
    """Write the fields as a CSV file; return the path.

    Raises:
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.
    """
    from kernelviz.files.writing import save_bytes

    return save_bytes(table_bytes(fields, recipe), path, recipe=recipe, force=force)


def _cell(value: Any) -> Any:
    """A value as ``csv`` writes it: numbers without quotes, what is not known or not finite as an empty cell.

    Typed numbers are written as typed, other whole numbers without a point, and zero without a sign.
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < _MOST_WHOLE and not isinstance(value, TypedNumber)
        return int(value) if whole else value if math.isfinite(value) else ""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _rows(name: str, value: Any) -> Iterator[Sequence[Any]]:
    """The rows of a field."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _rows(f"{name}.{key}" if name else str(key), each)
    elif not isinstance(value, list | tuple):
        yield [name, value]
    elif value and all(isinstance(each, dict) for each in value):
        yield from _records(name, value)
    elif not any(isinstance(each, list | tuple | dict) for each in value):
        yield [name, *value]
    elif all(_is_row(each) for each in value):
        yield []
        yield [name, _shape(value)]
        yield from value
        yield []
    else:
        for at, each in enumerate(value):
            yield from _rows(f"{name}[{at}]", each)


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) and not any(isinstance(each, list | tuple | dict) for each in value)


def _shape(rows: Sequence[Sequence[Any]]) -> str:
    lengths = {len(row) for row in rows}
    return f"{len(rows)} × {lengths.pop()}" if len(lengths) == 1 else counted(len(rows), "row")


def _records(name: str, records: Sequence[dict[str, Any]]) -> Iterator[Sequence[Any]]:
    """A table with a row for each record, and below it what does not fit into a row."""
    heads: dict[str, int | None] = {}  # the number of values of a column that is a list
    for key in dict.fromkeys(key for record in records for key in record):
        values = [record.get(key) for record in records]
        lengths = {_length(value) for value in values}
        length = lengths.pop() if len(lengths) == 1 else -1
        if length is None or 0 < length <= _LONGEST_ROW:
            heads[key] = length
    yield []
    yield [name, counted(len(records), "row")]
    yield [head for key, count in heads.items() for head in _heads(key, count)]
    for record in records:
        yield [each for key, count in heads.items() for each in ([record.get(key)] if count is None else record[key])]
    yield []
    for at, record in enumerate(records):
        rest = {key: value for key, value in record.items() if key not in heads}
        yield from _rows(f"{name}[{at}]", rest)


def _length(value: Any) -> int | None:
    """The number of values of a list; None for a value alone, and −1 for what has no place in a row."""
    if not isinstance(value, list | tuple | dict):
        return None
    return len(value) if _is_row(value) else -1


def _heads(key: str, count: int | None) -> list[str]:
    return [key] if count is None else [f"{key}[{at}]" for at in range(count)]
