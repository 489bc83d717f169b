"""The lessons: notebooks in two languages, built from one source each."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
LESSONS = ROOT / "examples" / "lessons"


def loaded(path):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("lessons_make", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


make = loaded(LESSONS / "make.py")
SUMMARY = {"en": "## In three lines", "ja": "## 3 行まとめ"}
EXERCISE = {"en": "## Exercise", "ja": "## 練習問題"}
PAIRS = [
    pytest.param(path, language, id=f"{path.stem}-{language}") for path in make.SOURCES for language in ("en", "ja")
]


def cells_of(path, language):
    """The cells of a committed notebook."""
    return json.loads(make.notebook_path(path.stem, language).read_text(encoding="utf-8"))["cells"]


def joined(text):
    """A text of a notebook, which may be stored as lines."""
    return "".join(text)


def outputs_of(path, language):
    """The outputs of each code cell, with joined texts."""
    found = []
    for cell in cells_of(path, language):
        if cell["cell_type"] != "code":
            continue
        found.append([])
        for output in cell["outputs"]:
            data = {kind: joined(text) for kind, text in output.get("data", {}).items()}
            text = {"text": joined(output["text"])} if "text" in output else {"data": data}
            found[-1].append({**output, **text})
    return found


def pixels(data):
    """A PNG or the last frame of a GIF, as RGB."""
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        picture.seek(getattr(picture, "n_frames", 1) - 1)
        return np.asarray(picture.convert("RGB"), dtype=float)


@pytest.mark.parametrize(("path", "language"), PAIRS)
def test_a_notebook_holds_exactly_its_source(path, language):
    """Texts and code are those of the source, and both languages have the same outputs."""
    lesson = make.read_lesson(path)
    committed = make.notebook_path(path.stem, language).read_text(encoding="utf-8")
    assert make.build(lesson, language, outputs_of(path, "en")) == committed


@pytest.mark.parametrize(("path", "language"), PAIRS)
def test_there_is_a_question_before_each_answer(path, language):
    """Each code cell but the first follows a question; a summary in three lines and an exercise end the lesson."""
    lesson = make.read_lesson(path)
    cells = list(make.texts(lesson, language))
    code = [number for number, (kind, _) in enumerate(cells) if kind == "code"]
    assert code[0] == 1
    for number in code[1:]:
        kind, text = cells[number - 1]
        assert kind == "markdown"
        assert text.rpartition("\n\n")[2].startswith(make.QUESTION[language]), text[-200:]
        assert text.count(make.QUESTION[language]) == 1
    last, answer = cells[-3][1], cells[-2][1]
    summary = last.partition(SUMMARY[language])[2].partition(EXERCISE[language])[0]
    assert re.findall(r"^\d", summary, re.MULTILINE) == ["1", "2", "3"]
    assert EXERCISE[language] in last
    assert answer.startswith("<details>")
    assert answer.endswith("</details>")


@pytest.mark.parametrize("path", make.SOURCES, ids=lambda path: path.stem)
def test_both_languages_have_the_same_parts(path):
    """Each text has as many headings, list items and paragraphs in Japanese as in English."""
    lesson = make.read_lesson(path)
    for cell in [*lesson.cells, lesson.answer]:
        if isinstance(cell, str):
            continue
        for pattern in (r"^#+ ", r"^(?:\d\.|\*) ", r"\n\n+"):
            english, japanese = (len(re.findall(pattern, cell[language], re.MULTILINE)) for language in ("en", "ja"))
            assert english == japanese, cell["en"]


@pytest.mark.parametrize(("path", "language"), PAIRS)
def test_links_between_lessons_lead_to_notebooks(path, language):
    """Every relative link of a lesson leads to a file."""
    notebook = make.notebook_path(path.stem, language)
    links = re.findall(
        r"\]\((?!https?:)([^)]+)\)", "\n".join(joined(cell["source"]) for cell in cells_of(path, language))
    )
    assert links
    assert [link for link in links if not (notebook.parent / link).exists()] == []


def test_outputs_are_small_and_clean():
    """Pictures up to 60 kB, notebooks below 400 kB, together below 4 MB, without errors, addresses, paths and counts."""
    total = 0
    for path in make.SOURCES:
        for language in make.LANGUAGES:
            notebook = make.notebook_path(path.stem, language)
            size, text = notebook.stat().st_size, notebook.read_text(encoding="utf-8")
            assert size < 400_000
            total += size
            assert not re.search(
                r"\"execution_count\": \d|\"output_type\": \"error\"|/home/|/tmp/|/Users/| at 0x", text
            )
        for output in [output for cell in outputs_of(path, "en") for output in cell]:
            assert len(base64.b64decode(output.get("data", {}).get("image/png", ""))) <= 60_000
    assert total < 4_000_000


def test_the_readme_leads_through_the_lessons():
    """Every notebook is linked in the README, in order, in both languages."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for language in make.LANGUAGES:
        links = re.findall(rf"\(examples/lessons/{language}/([\w-]+)\.ipynb\)", readme)
        assert links == [path.stem for path in make.SOURCES]


SAMPLE = "06-relu-and-pooling"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem == SAMPLE else pytest.mark.slow) for path in make.SOURCES],
)
def test_a_lesson_runs_and_shows_what_is_committed(path):
    """A fresh kernel runs every cell and the answer of the exercise, with the texts and pictures of the notebook."""
    for ours, kept in zip(make.run(make.read_lesson(path)), outputs_of(path, "en"), strict=True):
        assert [each["output_type"] for each in ours] == [each["output_type"] for each in kept]
        for one, other in zip(ours, kept, strict=True):
            assert one.get("text") == other.get("text")
            for kind, text in one.get("data", {}).items():
                was = other["data"][kind]
                if kind == "text/html":
                    text, was = (re.sub(r"^.*base64,([^\"]+).*$", r"\1", each) for each in (text, was))  # noqa: PLW2901
                if kind == "text/plain":
                    assert text == was
                    continue
                drawn, committed = pixels(text), pixels(was)
                assert drawn.shape == committed.shape
                assert np.abs(drawn - committed).mean() < 2
