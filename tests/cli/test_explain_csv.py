"""``explain --csv``: every number of the JSON document in a file that a spreadsheet reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from csv_tables import check_csv, check_tables, read_rows
from PIL import Image

from kernelviz import read_recipe
from kernelviz.files.tables import save_table

COMMANDS = {
    "conv": ["conv", "--input", "1.5 2 -3; 4 1e-5 6; 7 8 9", "--kernel", "2", "--bias", "0.1"],
    "large": ["conv", "--input", "4000", "--stride", "2"],
    "channels": ["conv", "--input", "4", "--in-channels", "2", "--out-channels", "2", "--at", "1,1"],
    "transpose": ["transpose", "--in-channels", "2", "--stride", "2"],
    "pool": ["pool", "--input", "5", "--kind", "average", "--padding", "1"],
    "both pools": ["pool", "--input", "5", "--kind", "both", "--padding", "1"],
    "uses": ["conv", "--input", "4", "--padding", "1", "--uses"],
    "maps": ["conv", "--input", "5", "--out-channels", "2", "--maps", "--relu", "--pool", "2"],
    "matrix": ["conv", "--input", "3", "--kernel", "2", "--matrix"],
    "chain": ["chain", "--input", "16", "conv6", "pool2", "--padding", "same"],
    "cost": ["cost", "conv7", "3xconv3", "dw7+conv1", "pool2", "--padding", "same"],
    "sharing": ["sharing", "--units", "4"],
    "image": ["image", "digit.png"],
    "call": ["Conv2D(32, (3, 3), activation='relu', input_shape=(150, 150, 3))"],
    "layer": ["layer", "resnet18d", "maxpool", "--weights", "random"],
}


@pytest.fixture(autouse=True)
def _digit():
    """A small coloured image."""
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
    Image.fromarray(pixels).save("digit.png")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "layer" else name for name in COMMANDS]
)
def test_the_file_holds_exactly_the_numbers_of_the_document(run, name):
    """Python's reader finds each value of ``--json`` under its name; the path alone is on stdout."""
    found = run("explain", *COMMANDS[name], "--csv", "out/numbers.csv", "--json")
    assert found.code == 0
    assert [each["path"] for each in found.document["outputs"]] == ["out/numbers.csv"]
    check_csv("out/numbers.csv", found.document)
    again = run("explain", *COMMANDS[name], "--csv", "out/numbers.csv", "-q")
    assert (again.code, again.out) == (0, "out/numbers.csv\n")


def test_typed_numbers_keep_their_text_and_zero_has_no_sign(run):
    """3.10 and 0.50 are written as typed, whole results without a point, −0 and products with it without a sign."""
    words = ("--input", "3.10 5 -0; -2 0 1", "--kernel-values", "-0 0.50; -1 2", "--bias", "1.0", "--at", "0,0")
    assert run("explain", "conv", *words, "--csv", "t.csv", "-q").code == 0
    lines = Path("t.csv").read_text(encoding="utf-8-sig").splitlines()
    at = [lines.index(next(line for line in lines if line.startswith(f'"{name}')))
          for name in ("input[0]", "kernel_values[0]", "output[0]", "steps[0].window", "steps[0].products")]  # fmt: skip
    assert [lines[first + 1 : first + 3] for first in at[:2]] == [["3.10,5,0", "-2,0,1"], ["0,0.50", "-1,2"]]
    assert [lines[first + 1 : first + 3] for first in at[3:]] == [["3.10,5", "-2,0"], ["0,2.5", "2,0"]]
    assert lines[at[2] + 1] == "5.5,3"
    assert '"bias",1.0' in lines
    document = run("explain", "conv", *words, "--json")
    assert "-0.0" not in document.out
    assert document.document["input"] == [[[3.1, 5, 0], [-2, 0, 1]]]
    assert [each["axis"] for each in document.document["formulas"]] == ["rows", "columns"]


@pytest.mark.parametrize(("option", "hint"), [("--csv", "--csv numbers.csv"), ("-o", "-o kernelviz-out")])
def test_a_dash_makes_no_directory(run, option, hint):
    """Where a file or a directory is written, - is refused with what to type, and nothing is made."""
    before = sorted(Path().iterdir())
    refused = run("explain", "conv", "--input", "4", option, "-")
    assert (refused.code, hint in refused.complaint[-1]) == (2, True)
    assert sorted(Path().iterdir()) == before


def test_a_directory_gets_files_with_names_of_their_own(run):
    """Two inputs make two files, the same input one; beside a picture, too."""
    first, second, third = (
        run("explain", "conv", "--input", side, "--csv", "out", "-q").paths for side in ("4", "5", "4")
    )
    assert (first == third, first == second, first[0].suffix) == (True, False, ".csv")
    both = run("explain", "pool", "--csv", "out", "-o", "out", "-q").paths
    assert [path.suffix for path in both] == [".png", ".csv"]
    assert read_recipe(both[1])["view"] == "csv"


def test_nothing_else_is_replaced_without_force(run, tmp_path):
    """A file of other numbers, and any other file, stay as they are, and nothing is drawn beside them."""
    (tmp_path / "mine.csv").write_text("1,2\n")
    assert run("explain", "conv", "--input", "3", "--csv", "ours.csv", "-q").code == 0
    for path in ("mine.csv", "ours.csv"):
        before = (tmp_path / path).read_bytes()
        refused = run("explain", "conv", "--input", "4", "--csv", path, "-o", "out")
        assert (refused.code, refused.complaint[0]) == (1, f"Error: {path} is in the way.")
        assert ((tmp_path / path).read_bytes(), (tmp_path / "out").exists()) == (before, False)
        assert run("explain", "conv", "--input", "4", "--csv", path, "--force", "-q").code == 0
    assert run("explain", "conv", "--csv", "x.xlsx").complaint[-1] == "Type `--csv x.csv`."


def test_a_text_is_no_formula_and_a_number_is_no_text(tmp_path):
    """What a spreadsheet would compute starts with an apostrophe; negative numbers do not; unknown values are empty."""
    fields = {
        "=1+1": "=cmd()",
        "texts": ["-1", "+a", "@b", '"c", d', "−2"],
        "numbers": [[-1.5, float("nan")], [1e300, -3]],
    }
    path = save_table(fields, tmp_path / "t.csv", recipe={"command": "explain"})
    rows = read_rows(path)
    assert ["'=1+1", "'=cmd()"] in rows
    assert ["texts", "'-1", "'+a", "'@b", '"c", d', "−2"] in rows
    check_tables(rows, {"numbers": [[-1.5, None], [1e300, -3]]})
    assert b"-1.5," in path.read_bytes()
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
