"""``explain`` and ``filter`` read numbers on the command line, and CSV files, by the same rules."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kernelviz.arithmetic.operations import Convolution
from kernelviz.explain.texts import origin_text
from kernelviz.explain.walkthrough import work_out
from kernelviz.files.numbers import typed_numbers


@pytest.fixture
def kernel_of(run, tmp_path):
    """The kernel that each command reads from a text, or its error message: (of ``explain``, of ``filter``)."""
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "photo.png")

    def read(text):
        explained = run("explain", "conv", "--input", "6", "--kernel-values", text, "--json")
        filtered = run("filter", "photo.png", "--kernel-values", text, "--json", "--force")
        if explained.code or filtered.code:
            assert explained.code == filtered.code == 2
            return [each.document["errors"][0] for each in (explained, filtered)]
        return np.array(explained.document["kernel_values"])[0, 0], np.array(filtered.document["filters"][0]["kernel"])

    return read


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1 2; 3 4", [[1, 2], [3, 4]]),
        ("1,2;3,4;", [[1, 2], [3, 4]]),
        ("1, 2 ;3,  4", [[1, 2], [3, 4]]),
        ("[1 2; 3 4]", [[1, 2], [3, 4]]),
        ("[1, 2; 3, 4];", [[1, 2], [3, 4]]),
        ("1 2;; ", [[1, 2]]),
        ("; 1 2", [[1, 2]]),
        ("1\t2;3\t4", [[1, 2], [3, 4]]),
        ("1 2\n3 4\n", [[1, 2], [3, 4]]),
        ("\n  1 2;\r\n  3 4\n", [[1, 2], [3, 4]]),
        ("5", [[5]]),
        ("-5;", [[-5]]),
        ("−1e-1 +2.5 .5", [[-0.1, 2.5, 0.5]]),
        ("kernel.csv", [[1, 2], [3, 4]]),
        ("kernel.CSV", [[1, 2], [3, 4]]),
        ("kernel", [[1, 2], [3, 4]]),
    ],
)  # fmt: skip
def test_both_commands_read_the_same_numbers(kernel_of, tmp_path, text, values):
    """A text of numbers, or a file of them, is the same kernel in both commands."""
    for name in ("kernel.csv", "kernel.CSV", "kernel"):
        (tmp_path / name).write_text("1;2\n3, 4\n")
    for kernel in kernel_of(text):
        np.testing.assert_array_equal(kernel, values)


@pytest.mark.parametrize("text", ["1_000; 2", "１ 2", "1 ２.5", "٣ 1"])
def test_numbers_that_only_python_reads_are_refused(kernel_of, text):
    """Underscores and digits of other scripts are rejected by both commands, with one message."""
    first, second = kernel_of(text)
    assert first == second
    assert "must hold finite numbers, but got" in first["message"]


@pytest.mark.parametrize("text", ["1.000000", "0.500000", "-2.00000", "123.5600"])
def test_trailing_zeros_are_shown_as_typed(run, text):
    """Numbers as typed have the zeros that were typed."""
    out = run("explain", "conv", "--input", f"{text};", "--kernel-values", "1;").out
    assert text.replace("-", "−") in out


@pytest.mark.parametrize(
    ("text", "origin"), [("1.000000 2", "as typed"), ("1.0000000 2", "as given"), ("1.2345678 2", "as given")]
)
def test_a_page_says_as_typed_only_of_numbers_that_are(text, origin):
    """Numbers that are too long to be drawn as typed are not called so."""
    data = typed_numbers(text, "input")
    worked = work_out(Convolution((1, 2), 1), data, typed_numbers("1", "kernel").spread((1, 1, 1, 1)))
    assert origin_text(worked) == f"numbers {origin}"


def test_three_channels_are_a_kernel_of_colours(run, tmp_path):
    """Planes separated by ``|`` read red, green and blue."""
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    document = run("filter", "red.png", "--kernel-values", "2|3|5", "--json").document
    assert document["filters"][0]["kernel"] == [[[2]], [[3]], [[5]]]
    assert document["filters"][0]["limits"] == [2, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2; 3", "rows of equal length, but got rows of 1 and 2 numbers"),
        ("1|2 3", "the same size, but got 1 × 1, 1 × 2"),
        ("1||2", "a channel without numbers"),
        ("1,,3", "no number at column 2 in row 1"),
        ("1 2, 3 4", "finite numbers, but got '1 2'"),
        ("1 2; x 4", "finite numbers, but got 'x'"),
        ("nan 1", "finite numbers, but got 'nan'"),
        ("1e999 1", "finite numbers, but got '1e999'"),
        ("holes.csv", "no number at column 1 in line 2 of holes.csv"),
        (" ".join(["1"] * 400) + " x", "'1 1 "),
        (" ".join(["1"] * 400) + ";x", "finite numbers, but got 'x'"),
        ("9" * 5000, "finite numbers, but got '999"),
        ("n" * 300, "'nnn"),
        ("n" * 300 + ".csv", "cannot be read"),
        ("n\0.csv", "cannot be read"),
        ("box@" + "9" * 5000, "'box@999"),
        ("", "''"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_both_commands_reject_the_same_texts(kernel_of, tmp_path, text, message):
    """Malformed numbers, and names that no file can have, are wrong usage, with the same message of bounded length."""
    (tmp_path / "holes.csv").write_text("1,2\n,3\n")
    for error in kernel_of(text):
        assert message in error["message"]
        assert error["code"] == "usage"
        assert len(error["message"]) < 300


def test_a_long_row_of_numbers_is_read(run, tmp_path):
    """400 numbers are a row: too wide a kernel for a small input of ``explain``, and one that ``filter`` takes."""
    row = " ".join(["1"] * 400)
    explained = run("explain", "conv", "--input", "6", "--kernel-values", row)
    assert (explained.code, explained.out) == (2, "")
    assert "1 × 400 kernel is larger than the input" in explained.err
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "photo.png")
    assert run("filter", "photo.png", "--kernel-values", row).code == 0
    assert run("explain", "conv", "--input", row, "--kernel-values", "1").code == 0
    assert run("explain", "conv", "--bias", row).code == 2


def test_a_missing_csv_file_is_no_wrong_usage(run, tmp_path):
    """The name is well formed, so the exit code is that of a missing file."""
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "photo.png")
    for command in (["explain", "conv"], ["filter", "photo.png"]):
        result = run(*command, "--kernel-values", "missing.csv")
        assert (result.code, result.out) == (1, "")
        assert "missing.csv cannot be read" in result.err
        assert "Check the path." in result.err
