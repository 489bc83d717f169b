"""Read the CSV files of ``explain --csv`` with Python's own reader, and look up the values of a JSON document."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path


def read_rows(path):
    """The rows of a file, as texts."""
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def is_flat(value):
    """Whether it is a list of single values."""
    return isinstance(value, list) and not any(isinstance(each, (list, dict)) for each in value)


def same(text, value):
    """Whether a cell holds exactly this value."""
    if value is None:
        return text == ""
    if isinstance(value, bool):
        return text == str(value).upper()
    if isinstance(value, (int, float)):
        return float(text) == value and not text.startswith("'") and math.isfinite(value)
    escaped = f"'{value}" if value.startswith(tuple("=+-@\t\r\n")) else value
    return text == escaped


def check_row(row, values):
    """Each cell holds its value."""
    assert len(row) == len(values), (row, values)
    assert all(same(text, value) for text, value in zip(row, values, strict=True)), (row, values)


def check_tables(rows, document, name=""):
    """Every value of a JSON document is in the rows, under its name."""
    starts = {row[0]: at for at, row in reversed(list(enumerate(rows))) if row}
    if isinstance(document, dict):
        for key, value in document.items():
            check_tables(rows, value, f"{name}.{key}" if name else key)
    elif not isinstance(document, list) or is_flat(document):
        check_row(rows[starts[name]][1:], document if isinstance(document, list) else [document])
    elif all(is_flat(each) for each in document):
        first = starts[name] + 1
        for row, values in zip(rows[first : first + len(document)], document, strict=True):
            check_row(row, values)
    elif all(isinstance(each, dict) for each in document):
        check_records(rows, document, name, starts[name] + 1)
    else:
        for at, each in enumerate(document):
            check_tables(rows, each, f"{name}[{at}]")


def check_records(rows, records, name, first):
    """A table with a header, and below it what has no column."""
    heads = rows[first]
    for at, record in enumerate(records):
        row = dict(zip(heads, rows[first + 1 + at], strict=True))
        for key, value in record.items():
            if key in row:
                assert same(row[key], value), (key, row[key], value)
            elif is_flat(value) and f"{key}[0]" in row:
                check_row([row[f"{key}[{which}]"] for which in range(len(value))], value)
            else:
                check_tables(rows, value, f"{name}[{at}].{key}")


def check_csv(path, document):
    """Every field of a command's own in the document is in the file, and the last row is the recipe."""
    rows = read_rows(path)
    assert rows[0][:2] == ["kernelviz", "explain"]
    assert (rows[-1][0], json.loads(rows[-1][1])["view"]) == ("recipe", "csv")
    common = {"kernelviz", "schema", "command", "environment", "outputs", "errors"}
    check_tables(rows, {key: value for key, value in document.items() if key not in common})
