"""The table of all architectures, ``examples/zoo.csv``, is what tracing them gives today."""

from __future__ import annotations

import csv
import importlib
import os
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
TEN = [
    "efficientvit_b0",
    "mixer_s32_224",
    "naflexvit_base_patch16_gap",
    "nextvit_small",
    "regnetx_002",
    "test_convnext",
    "test_efficientnet",
    "test_maxvit",
    "test_vit_relpos",
    "tf_efficientnet_cc_b0_4e",
]
"""Of each kind: grouped, depthwise and mixed convolutions, one or none, and layers whose field is not known."""
SAMPLE = {"regnetx_002", "test_maxvit"}


@pytest.fixture
def zoo(monkeypatch):
    """The example as a module that its worker processes can import too."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("zoo")


def kept_rows():
    """The committed rows by architecture, without ``seconds``."""
    with (EXAMPLES / "zoo.csv").open(encoding="utf-8", newline="") as file:
        return {row["architecture"]: without_seconds(row) for row in csv.DictReader(file)}


def without_seconds(row):
    """All columns that are the same on each machine, as text."""
    return {key: str(value) for key, value in row.items() if key != "seconds" and value != ""}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SAMPLE else pytest.mark.slow) for n in TEN])
def test_ten_rows_of_the_table(zoo, name):
    """A row of the committed table is what tracing its architecture gives."""
    row = zoo.row_of(name)
    assert float(row["seconds"]) >= 0
    assert without_seconds(row) == kept_rows()[name]


@pytest.mark.slow
def test_all_rows_of_the_table(zoo):
    """Every committed row is what tracing its architecture gives."""
    kept = kept_rows()
    found = {row["architecture"]: without_seconds(row) for row in zoo.find_rows(kept, os.cpu_count() or 1)}
    assert list(found) == list(kept)
    assert {name: row for name, row in found.items() if row != kept[name]} == {}


def test_an_architecture_that_fails_has_a_row_with_the_reason(zoo, monkeypatch):
    """Neither an unknown name nor a fault of a library stops the run."""
    assert zoo.row_of("nosuch")["reason"] == "not traced: There is no model called nosuch."
    monkeypatch.setattr(zoo.kernelviz, "load_model", lambda *_, **__: 1 / 0)
    row = zoo.row_of("test_resnet")
    assert row.pop("seconds")
    assert row == {"architecture": "test_resnet", "reason": "not traced: ZeroDivisionError: division by zero"}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_row_only(zoo, tmp_path, monkeypatch):
    """The rows come in the given order, whatever becomes of a process."""
    (tmp_path / "deadly.py").write_text(
        "import os, signal\nimport zoo\n_row_of = zoo.row_of\n"
        "def row_of(name):\n"
        "    return os.kill(os.getpid(), signal.SIGKILL) if name == 'test_vit' else _row_of(name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(zoo, "row_of", importlib.import_module("deadly").row_of)
    rows = list(zoo.find_rows(["test_resnet", "test_vit", "test_efficientnet"], 1))
    assert [row["architecture"] for row in rows] == ["test_resnet", "test_vit", "test_efficientnet"]
    assert [row.get("reason") for row in rows] == ["", "not traced: its process was killed", ""]
