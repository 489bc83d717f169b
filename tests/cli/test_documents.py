"""The JSON that other programs read keeps its names and is always valid."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from kernelviz import __version__
from kernelviz.cli.session import ROW, Report, document, json_text, sheet_row
from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import KernelvizError, NoWeightsError
from kernelviz.records import Source, Weights


@pytest.fixture
def source():
    """What is known of a model, all of it."""
    return Source(
        model="net",
        label="net, weights of a.pth",
        stem="net.a",
        params=12,
        weights=Weights("file", "a.pth", "0" * 64),
        tag="v1",
        licence="apache-2.0",
        versions={"torch": "2", "timm": "1"},
        notes=("odd",),
    )


def test_a_document_has_every_field_from_the_beginning():
    """What is not known yet is null or empty, and never left out."""
    assert document(Report("kernels")) == {
        "kernelviz": __version__,
        "schema": 1,
        "command": "kernels",
        "environment": {"torch": None, "timm": None, "device": None, "threads": None},
        "model": None,
        "outputs": [],
        "warnings": [],
        "errors": [],
    }


def test_a_document_tells_model_and_environment(source):
    """Name, tag, licence, size and weights of the model, and what computed."""
    made = document(Report("kernels", source=source))
    assert made["model"] == {
        "name": "net",
        "tag": "v1",
        "licence": "apache-2.0",
        "params": 12,
        "weights": {
            "source": "file",
            "name": "a.pth",
            "sha256": "0" * 64,
            "key": None,
            "prefix": None,
            "missing": None,
        },
        "arguments": None,
        "code": None,
    }
    assert made["environment"] == {"torch": "2", "timm": "1", "device": "cpu", "threads": None}


def test_what_a_command_knows_better_stands_in_its_document(source):
    """Facts of the machine complete those of the model, and a command adds fields of its own."""
    environment = {"threads": 3, "device": "cuda", "devices": ["cpu"]}
    made = document(Report("env", source=source, environment=environment, more={"python": "3.11"}))
    assert made["environment"] == {"torch": "2", "timm": "1", "device": "cuda", "threads": 3}
    assert made["python"] == "3.11"


@pytest.mark.parametrize(
    ("error", "culprit", "expected"),
    [
        (
            NoWeightsError("What.", "Why.", "Hint."),
            "conv1",
            {"code": "no-weights", "message": "What. Why.", "hint": "Hint.", "input": "conv1"},
        ),
        (KernelvizError("What."), None, {"code": "failed", "message": "What.", "hint": None, "input": None}),
    ],
)
def test_an_error_is_kept_with_its_input(error, culprit, expected):
    """Code, message, hint and the input that it is about; an absent part is null."""
    report = Report("kernels")
    report.add_error(error, culprit)
    assert document(report)["errors"] == [expected]


def test_an_output_tells_what_stands_in_the_file():
    """Path, layer, shape, how many of how many, the limits of the colours, what is odd."""
    weight = np.ones((6, 3, 3, 3), np.float32)
    weight[1, 0, 0, 0] = np.nan
    weight[2] = -2
    entry = sheet_row(Path("a") / "b.png", make_sheet(weight, view="channels", channels="0-3"), layer="conv1")
    assert entry == dict.fromkeys(ROW) | {
        "path": str(Path("a") / "b.png"),
        "layer": "conv1",
        "image": None,
        "view": "channels",
        "weight": None,
        "shape": [6, 3, 3, 3],
        "shown": 4,
        "total": 6,
        "rows": {"name": "input channel", "shown": 3, "total": 3},
        "columns": {"name": "kernel", "shown": 4, "total": 6},
        "limits": [-2.0, 2.0],
        "nonfinite": 1,
        "notes": entry["notes"],
    }
    assert any("4 of 6 kernels" in note for note in entry["notes"])
    assert any("not finite" in note for note in entry["notes"])
    assert json.loads(json_text(entry)) == entry


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null(number):
    """JSON has no NaN and no Infinity, wherever they stand."""
    assert json.loads(json_text({"a": [number, {"b": (number, 1.5)}]})) == {"a": [None, {"b": [None, 1.5]}]}


def test_any_text_is_ascii_and_comes_back():
    """Characters beyond ASCII, control characters and the halves that stand for odd bytes are escapes."""
    value = {"模型": "🦆\x1b\n\udce9"}
    text = json_text(value)
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == value


def test_keys_are_text():
    """A mapping with other keys is written as JSON can hold it."""
    assert json.loads(json_text({1: "a"})) == {"1": "a"}


COMMANDS = {
    "layers": "layers test_resnet --plot",
    "kernels": "kernels test_resnet --weights random --arrays",
    "features": "features test_resnet photo.png --weights random --arrays -l layer1",
    "overview": "features test_resnet photo.png --weights random",
    "overlay": "features test_resnet photo.png --weights random -l layer1 --overlay",
    "single": "features test_resnet photo.png --weights random -l layer1 --single",
    "statistics": "features test_resnet photo.png --weights random -l layer1 --statistics --arrays --contact",
    "pca": "features test_resnet photo.png --weights random -l layer1 --reduce pca",
    "explain conv": "explain conv --input 4 -o out --arrays",
    "explain transpose": "explain transpose --input 2 -o out",
    "explain pool": "explain pool --input 4 -o out --animate",
    "explain layer": "explain layer test_resnet conv1.0 --weights random --image photo.png --at 1,1 -o out --arrays",
    "shift": "shift test_resnet photo.png --weights random --arrays --by 0,2 --edge -l conv1.0",
    "expand": "expand test_resnet photo.png --weights random --arrays --slopes one --input-size 64 -l conv1.0",
    "field": "field test_resnet photo.png --weights random --arrays -l conv1.0 -l layer1",
    "compare": "compare test_resnet random random --arrays",
    "report": "report test_resnet photo.png --weights random --input-size 64 -l layer1",
    "like": "match test_resnet --weights random --like edge --top 2 --arrays",
    "match": "match test_resnet --weights random --arrays",
    "training": "training test_resnet 1.pt 2.pt --animate --arrays",
    "filter": "filter photo.png --kernel sobel-x --arrays",
    "filter --list": "filter --list",
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_row_of_outputs_has_the_same_keys(run, words):
    """Whatever command wrote a file, its row in ``outputs`` has the fields of ``ROW`` in their order."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("photo.png")
    if words.startswith("training"):
        for name in ("1.pt", "2.pt"):
            torch.save(timm.create_model("test_resnet").state_dict(), name)
    result = run(*words.split(), "--json")
    rows = result.document["outputs"]
    assert (result.code, bool(rows)) == (0, True)
    assert {tuple(row) for row in rows} == {ROW}
    assert all(Path(row["path"]).is_file() for row in rows)
