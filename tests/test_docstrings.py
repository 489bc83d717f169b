"""The examples in the docstrings of the public names, and the reference that is made of them."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import kernelviz

ROOT = Path(__file__).parents[1]
NAMES = sorted(set(kernelviz.__all__) - {"__version__"})
PAGES = {page: (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "examples/README.md")}
VERBS = "|".join(sorted({name.partition("_")[0] for name in NAMES if "_" in name}))  # animate, apply, capture, …

HOW = """kernelviz.{name} has no example in its docstring. Add one as its last section:

    Example:
        >>> figure = kernelviz.{name}(...)

``kernelviz``, ``np`` and ``torch`` need no import there, and files go to an empty directory. Show what a user would type
and a number or a shape that is true on every machine, in a few lines and well below a second."""


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example_that_is_true(name, tmp_path, monkeypatch):
    """A function or class has lines of ``>>>`` in its docstring, methods may have; what they show is what happens."""
    import torch

    monkeypatch.chdir(tmp_path)
    given = {"kernelviz": kernelviz, "np": np, "torch": torch}
    found = doctest.DocTestFinder(exclude_empty=True).find(getattr(kernelviz, name), name, module=False, globs=given)
    tests = [test for test in found if test.examples]
    assert name in [test.name for test in tests], HOW.format(name=name)
    report = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for test in tests:
            doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", [name for name in NAMES if name.islower()])
def test_every_parameter_is_described(name):
    """The docstring of a function names each of its parameters; the first one may be clear from the summary."""
    function = getattr(kernelviz, name)
    text = inspect.getdoc(function).partition("Example:")[0]
    for parameter in list(inspect.signature(function).parameters)[1:]:
        assert re.search(rf"\b{parameter}\b", text), parameter


def test_the_pages_name_what_exists():
    """Each ``kernelviz.name`` and each verb of the library in the README and the recipes is public, or a module."""
    for page, text in PAGES.items():
        named = set(re.findall(r"\bkernelviz\.(\w+)", text)) - {"html", "pages"}
        for name in named - set(kernelviz.__all__):
            assert importlib.util.find_spec(f"kernelviz.{name}"), f"{page} names kernelviz.{name}"
        verbs = set(re.findall(rf"\b(?:{VERBS})_\w+\b(?=`|\()", text)) - {"make_worker"}  # a parameter of engines
        assert verbs <= set(kernelviz.__all__), f"{page} names {verbs - set(kernelviz.__all__)}"


def test_the_pages_name_every_function():
    """Each public function is named in the README or the recipes, which also say how the reference of all names is made."""
    text = "\n".join(PAGES.values())
    functions = [name for name in NAMES if inspect.isfunction(getattr(kernelviz, name))]
    assert functions
    assert not [name for name in functions if not re.search(rf"\b{name}\b", text)]
    assert all("python -m pdoc kernelviz -o api -d google" in page for page in PAGES.values())


def test_the_reference_lists_every_public_name():
    """The page of ``python -m pdoc kernelviz`` has the public names and nothing else."""
    pdoc = pytest.importorskip("pdoc.doc")
    assert set(pdoc.Module(kernelviz).members) == set(kernelviz.__all__)


@pytest.mark.slow
def test_the_reference_is_complete(tmp_path):
    """Made without a warning, it has each name, its signature and its example, and needs no other file."""
    pdoc = pytest.importorskip("pdoc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.render.configure(docformat="google")
        pdoc.pdoc("kernelviz", output_directory=tmp_path)
    page = (tmp_path / "kernelviz.html").read_text(encoding="utf-8")
    assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', page)
    # A line of letters with a colon before indented ones is taken for the head of a section
    sections = set(re.findall(r"<h6[^>]*>(.*?):?</h6>", page))
    assert sections == {"Arguments", "Attributes", "Example", "Raises", "Returns"}
    for name in NAMES:
        section = page.partition(f'<section id="{name}">')[2].partition("</section>")[0]
        signature = re.sub(r"<[^>]+>", "", section.partition('<span class="signature')[2].partition("<label")[0])
        text = inspect.getdoc(getattr(kernelviz, name))
        for parameter in list(inspect.signature(getattr(kernelviz, name)).parameters)[:3]:
            assert parameter in signature or inspect.isclass(getattr(kernelviz, name)), name
        assert "&gt;&gt;&gt; " in section, name
        for shape in re.findall(r"\([A-Z](?:, [A-Z0-9])+\)", text.partition("Example:")[0]):
            assert shape in section, f"{name}: {shape}"
