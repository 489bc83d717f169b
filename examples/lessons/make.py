"""Builds the lessons: every file in ``sources`` becomes an executed notebook in English and one in Japanese.

Run ``python examples/lessons/make.py [LESSON]...``, for example with ``02``; without arguments it builds all of them.
It needs the packages of the extra ``dev``.

A source is Markdown. ``<!-- en -->`` begins a text in English and ``<!-- ja -->`` the same text in Japanese; each block
```` ```python ```` is a code cell of both notebooks. What follows ``<!-- answer -->`` is the folded answer of the exercise;
its code is run too. Code is run once per lesson, so both notebooks have the same outputs.
"""

import base64
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image, ImageSequence

HERE = Path(__file__).parent
LANGUAGES = ("en", "ja")
SOURCES = sorted((HERE / "sources").glob("*.md"))
QUESTION = {"en": "**Question.** ", "ja": "**問い** "}
ANSWER = {"en": "Show the answer", "ja": "答えを見る"}
NEXT = {"en": "Next lesson", "ja": "次のレッスン"}
OTHER = {"en": ("ja", "日本語版"), "ja": ("en", "English")}
MOST_PICTURE = 57_000  # bytes of a picture in a notebook
REDUCTIONS = ((860, 128), (860, 64), (860, 48), (760, 64), (680, 64), (620, 64), (540, 64), (540, 32), (480, 32))
"""Widths and numbers of colours of a picture; the first that is small enough is taken."""

_MARKS = re.compile(r"^(<!-- (?:en|ja|answer) -->|```python)$", re.MULTILINE)


@dataclass
class Lesson:
    """A source: its cells in order, each a text in both languages or code, and the code of the folded answer."""

    stem: str
    cells: list[dict[str, str] | str] = field(default_factory=list)
    answer: dict[str, str] = field(default_factory=dict)
    answer_code: str = ""

    @property
    def code(self) -> list[str]:
        """The code cells."""
        return [cell for cell in self.cells if isinstance(cell, str)]


def read_lesson(path: Path) -> Lesson:
    """Parse a source."""
    lesson, answering = Lesson(path.stem), False
    _, *parts = _MARKS.split(path.read_text(encoding="utf-8"))
    for mark, body in zip(parts[::2], parts[1::2], strict=True):
        if mark == "<!-- answer -->":
            answering = True
        elif mark == "```python":
            code, _, rest = body.partition("\n```\n")
            if rest.strip():
                raise ValueError(f"{path.name}: text without a language: {rest.strip()[:60]}")
            if answering:
                lesson.answer_code = code.strip("\n")
            else:
                lesson.cells.append(code.strip("\n"))
        else:
            language, text = mark.split()[1], body.strip()
            if answering:
                lesson.answer[language] = text
            elif language == "en":
                lesson.cells.append({"en": text})
            else:
                last = lesson.cells[-1]
                if isinstance(last, str) or "ja" in last:
                    raise ValueError(f"{path.name}: Japanese without English: {text[:60]}")
                last["ja"] = text
    return lesson


def notebook_path(stem: str, language: str) -> Path:
    """Where a notebook is committed."""
    return HERE / language / f"{stem}.ipynb"


def run(lesson: Lesson) -> list[list[dict[str, Any]]]:
    """The outputs of the code cells, run in one fresh kernel of this Python on one thread; the answer is run last."""
    sources = [*lesson.code, lesson.answer_code]
    cells = [nbformat.v4.new_code_cell(code) for code in sources]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as home:
        spec = Path(home) / "kernels" / "lessons"
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        kernel = {"argv": argv, "display_name": "lessons", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
        kept = dict(os.environ)
        os.environ |= {
            "JUPYTER_PATH": home,
            "JUPYTER_RUNTIME_DIR": f"{home}/runtime",
            "IPYTHONDIR": f"{home}/ipython",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OMP_NUM_THREADS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, where ipywidgets is not installed
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *filter(None, [kept.get("PYTHONPATH")])]),
        }
        try:
            NotebookClient(notebook, kernel_name="lessons", timeout=300).execute()
        finally:
            os.environ.clear()
            os.environ |= kept
    outputs = [[cleaned(output) for output in cell.outputs] for cell in notebook.cells]
    return outputs[:-1]


def cleaned(output: dict[str, Any]) -> dict[str, Any]:
    """An output without counts, and with small pictures.

    Raises:
        ValueError: The cell wrote to stderr.
    """
    if output["output_type"] == "stream":
        if output["name"] != "stdout":
            raise ValueError(f"A cell warns: {output['text']}")
        return output
    data = output["data"]
    if "image/png" in data:
        data = {"image/png": base64.b64encode(small_png(base64.b64decode(data["image/png"]))).decode()}
    elif "text/html" in data:
        data = {**data, "text/html": re.sub(r"(?<=data:image/gif;base64,)[^\"]+", _small_base64, data["text/html"])}
    cleaned = {**output, "data": data, "metadata": {}}
    return cleaned | {"execution_count": None} if "execution_count" in output else cleaned


def small_png(data: bytes) -> bytes:
    """A PNG of few colours, at most 860 pixels wide and of at most 57 kB."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    for width, colours in REDUCTIONS:
        size = (width, round(picture.height * width / picture.width))
        scaled = picture.resize(size, Image.Resampling.LANCZOS) if width < picture.width else picture
        buffer = io.BytesIO()
        scaled.quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_PICTURE:
            return buffer.getvalue()
    raise ValueError("A picture is larger than 57 kB; show a part of it.")


def _small_base64(match: re.Match[str]) -> str:
    return base64.b64encode(small_gif(base64.b64decode(match.group()))).decode()


def small_gif(data: bytes) -> bytes:
    """The same animation, 640 pixels wide and of few colours."""
    with Image.open(io.BytesIO(data)) as opened:
        durations: list[int] = []
        frames: list[Image.Image] = []
        for frame in ImageSequence.Iterator(opened):
            durations.append(frame.info["duration"])
            size = (640, round(frame.height * 640 / frame.width))
            frames.append(frame.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    palette = frames[-1].quantize(32, kmeans=2)
    palette.putpalette([255 if level > 249 else level for level in palette.getpalette() or ()])
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    return buffer.getvalue()


def texts(lesson: Lesson, language: str) -> Iterator[tuple[str, str]]:
    """The kind and the source of each cell of a notebook, in order; the exercise is the last but one."""
    for cell in lesson.cells:
        if isinstance(cell, str):
            yield "code", cell
        else:
            yield "markdown", cell[language]
    code = f"\n\n```python\n{lesson.answer_code}\n```" if lesson.answer_code else ""
    folded = f"<details>\n<summary>{ANSWER[language]}</summary>\n\n{lesson.answer[language]}{code}\n\n</details>"
    yield "markdown", folded
    other, name = OTHER[language]
    links = [f"[{name}](../{other}/{lesson.stem}.ipynb)"]
    later = [path.stem for path in SOURCES if path.stem > lesson.stem]
    if later:
        links.insert(0, f"[{NEXT[language]}]({later[0]}.ipynb)")
    yield "markdown", " · ".join(links)


def build(lesson: Lesson, language: str, outputs: list[list[dict[str, Any]]]) -> str:
    """A notebook as text; the same lesson and outputs give the same text."""
    cells: list[dict[str, Any]] = []
    left = iter(outputs)
    for number, (kind, source) in enumerate(texts(lesson, language)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": source}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": next(left)}
        cells.append(cell)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook)) + "\n"  # type: ignore[no-untyped-call]


def main(prefixes: list[str]) -> None:
    """Build the lessons whose names begin with one of these, all if there are none."""
    for path in SOURCES:
        if prefixes and not path.stem.startswith(tuple(prefixes)):
            continue
        lesson = read_lesson(path)
        outputs = run(lesson)
        for language in LANGUAGES:
            target = notebook_path(path.stem, language)
            target.parent.mkdir(exist_ok=True)
            target.write_text(build(lesson, language, outputs), encoding="utf-8", newline="\n")
            print(f"{target.relative_to(HERE)}: {target.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
