"""Typed numbers and CSV files become channels of rows, or are rejected with a message."""

from __future__ import annotations

import os

import numpy as np
import pytest
from restraints import bounds

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.files.numbers import csv_numbers, is_typed, typed_numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [("1 2; 3 4", [[[1, 2], [3, 4]]]), ("1,2;3,4|5 6;7 8", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]),
     ("-1e-1 +2.5", [[[-0.1, 2.5]]]),
     ("−1 2;", [[[-1, 2]]]), ("1\n2", [[[1], [2]]])],
)  # fmt: skip
def test_numbers_as_people_type_them(text, values):
    """Rows apart by ``;``, channels by ``|``, numbers by spaces or commas; a true minus too."""
    assert is_typed(text)
    np.testing.assert_array_equal(typed_numbers(text, "input"), values)


@pytest.mark.parametrize("text", ["1 2; 3", "1 2|3", "1||2", "1e999", "1-2", ";", "1 2, 3 4"])
def test_what_is_no_table_is_refused(text):
    """Ragged rows, channels of two sizes, empty channels, and numbers that are not finite are rejected."""
    with pytest.raises(UsageError, match="input"):
        typed_numbers(text, "input")


@pytest.mark.parametrize("text", ["sobel-x", "a.csv", "", "e", "laplacian 3"])
def test_names_are_no_numbers(text):
    """What has no digit or another letter is a name."""
    assert not is_typed(text)


@pytest.mark.parametrize(
    ("text", "position"),
    [("1,,3", "column 2 in row 1"), ("1 2 3; 4,5,", "column 3 in row 2"), (", 1", "column 1 in row 1"),
     ("1;;3", "column 1 in row 2"), ("1 | 2 ;; 3", "column 1 in row 3"), ("1\t\t3", "column 2 in row 1")],
)  # fmt: skip
def test_an_empty_cell_among_typed_numbers_is_refused(text, position):
    """Empty cells are not skipped, because that would move the numbers after them."""
    with pytest.raises(UsageError, match=f"no number at {position}"):
        typed_numbers(text, "input")


@pytest.mark.parametrize(
    ("text", "position"),
    [("1,2,,4\n5,6,7\n", "column 3 in line 1"), ("1,2\n3,\n", "column 2 in line 2"),
     ("1;2\n\n;4\n", "column 1 in line 3"), ("1\t2\n\t\n", "column 1 in line 2"), ("1,2|3,,4", "column 2 in line 1")],
)  # fmt: skip
def test_an_empty_cell_of_a_file_is_refused(tmp_path, text, position):
    """The message has the line and the column."""
    path = tmp_path / "holes.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"no number at {position}"):
        csv_numbers(path, "input")


def test_decimal_commas_are_not_taken_for_two_numbers(tmp_path):
    """A line with commas and semicolons may mean either."""
    path = tmp_path / "decimal.csv"
    path.write_text("1,5;2,5\n")
    with pytest.raises(UsageError, match="commas and semicolons in line 1"):
        csv_numbers(path, "input")


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "1;2\r\n3;4", "\ufeff1\t2\n\n3\t4\n", "1   2\n 3, 4\n"])
def test_csv_files_of_several_programs(tmp_path, text):
    """Commas, semicolons, tabs and spaces; a byte-order mark and empty lines."""
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    np.testing.assert_array_equal(csv_numbers(path, "input"), [[[1, 2], [3, 4]]])


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a,b\n1,2\n", b"", b"1,nan\n"])
def test_what_is_no_csv_file_is_refused(tmp_path, data):
    """Binary data, headings, empty files, and values that are not finite are rejected."""
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(KernelvizError):
        csv_numbers(path, "input")
    with pytest.raises(KernelvizError, match="cannot be read"):
        csv_numbers(tmp_path / "missing.csv", "input")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
def test_a_pipe_is_not_waited_for(tmp_path):
    """A pipe named like a CSV file is rejected at once, even if nobody writes into it."""
    os.mkfifo(tmp_path / "pipe.csv")
    with bounds(5), pytest.raises(KernelvizError, match="cannot be read") as caught:
        csv_numbers(tmp_path / "pipe.csv", "kernel")
    assert caught.value.why == "It is not a regular file."
