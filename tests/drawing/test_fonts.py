"""Letters that DejaVu Sans lacks are drawn with a font that has them, else escaped."""

import numpy as np
import pytest

from kernelviz.drawing import fonts
from kernelviz.drawing.figures import draw_page, figure_pixels
from kernelviz.drawing.fonts import drawable, drawn_width, font_file, runs, set_width, text_width
from kernelviz.drawing.page import Panel, Text

ARC = "⌒"  # in STIXGeneral, which matplotlib ships, and not in DejaVu Sans


@pytest.fixture
def shipped_alone(monkeypatch):
    """A machine without any fonts but those of matplotlib."""
    runs.cache_clear()
    monkeypatch.setattr(fonts, "_searched", {})
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", list)
    fonts._candidates.cache_clear()
    yield
    runs.cache_clear()
    fonts._candidates.cache_clear()


def ink(*texts, width=400):
    """(60, width) bool: what texts cover of a page."""
    return (figure_pixels(draw_page(Panel(texts, width, 60))) < 128).any(axis=2)


@pytest.mark.usefixtures("shipped_alone")
def test_what_no_font_has_is_written_as_an_escape():
    """Characters without a glyph, and those without a shape, are spelled; every other one has a font."""
    text = drawable(f"conv 模 🦜 \n ü → {ARC}")
    assert text == f"conv \\u6a21 \\U0001f99c \\n ü → {ARC}"
    assert drawable(ARC, bold=True) == ARC


@pytest.mark.usefixtures("shipped_alone")
def test_mixed_text_is_drawn_run_by_run():
    """Each run has the font that has its letters, and the width of a line is the sum of theirs."""
    text = f"a{ARC}.png"
    first, second, third = runs(text)
    assert [run.text for run in (first, second, third)] == ["a", ARC, ".png"]
    assert first.file == third.file == font_file(bold=False)
    assert second.file.endswith("STIXGeneral.ttf")
    assert text_width(text, 20) == pytest.approx(text_width("a.png", 20) + set_width(ARC, 20, second.file), abs=0.1)


@pytest.mark.usefixtures("shipped_alone")
@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_runs_stand_one_behind_the_other(align):
    """The letters of DejaVu Sans are where they are without the other run, moved by its width; no two overlap."""
    gap = 1 / 8  # after each run
    x, before, after = 200, drawn_width("ab", 20) + gap, drawn_width(f"ab{ARC}", 20) + 2 * gap
    whole = ink(Text(x, 40, f"ab{ARC}cd", 20, align=align))
    x -= {"left": 0, "center": 0.5, "right": 1}[align] * (drawn_width(f"ab{ARC}cd", 20) + 3 * gap)
    parts = [ink(Text(x, 40, "ab", 20)), ink(Text(x + after, 40, "cd", 20))]
    arc = whole & ~parts[0] & ~parts[1]
    assert all((part & ~whole).sum() == 0 for part in parts)
    columns = np.flatnonzero(arc.any(axis=0))
    assert x + before - 1 <= columns.min()
    assert columns.max() <= x + after + 1


def test_a_page_that_needs_no_other_font_searches_none(monkeypatch):
    """The fonts of the system are looked at only for a letter that DejaVu Sans lacks."""
    monkeypatch.setattr(fonts, "_candidates", None)
    assert drawable("кошка ü → −1.83 × 512") == "кошка ü → −1.83 × 512"
    assert text_width("кошка", 20) > 50


def test_letters_from_right_to_left_are_a_run_of_their_own():
    """What is before and after stays from left to right; touching digits belong to the word, the rest does not."""
    assert [run.text for run in runs("image כלב-2 חתול.png, 3")] == ["image ", "כלב-2 חתול", ".png, 3"]
    assert [(run.text, run.shaped) for run in runs("כלב12 3")] == [("כלב12", True), (" 3", False)]


def test_shaped_scripts_are_escaped_where_they_would_be_drawn_wrong(monkeypatch):
    """Without shaping, Hebrew would be in the wrong order: it is written as escapes."""
    monkeypatch.setattr(fonts, "shapes_text", lambda: False)
    assert drawable("כ ü.png") == "\\u05db ü.png"


@pytest.mark.skipif(not fonts.shapes_text(), reason="this matplotlib does not shape text")
def test_the_first_hebrew_letter_is_at_the_right():
    """A word of Hebrew in a line is drawn from right to left."""
    wide, narrow = "ש", "י"
    columns = ink(Text(10, 40, f"a{wide}{narrow}.", 20)).sum(axis=0)
    reverse = ink(Text(10, 40, f"a{narrow}{wide}.", 20)).sum(axis=0)
    start = round(10 + drawn_width("a", 20))
    end = round(start + drawn_width(narrow, 20))
    assert columns[start:end].sum() < reverse[start:end].sum()


@pytest.mark.parametrize("name", ["犬.png", "हिन्दी.png", "고양이.png"])
def test_names_in_any_script_are_drawn_if_the_system_has_a_font(name):
    """A name is drawn by the fonts of this machine, as it is, and twice with the same pixels."""
    if drawable(name) != name:
        pytest.skip(f"no font of this machine has the letters of {name}")
    widths = [set_width(run.text, 20, run.file) for run in runs(name)]
    assert text_width(name, 20) == pytest.approx(sum(widths), rel=0.02)
    first = ink(Text(10, 40, name, 20))
    assert first[:, 10 : round(10 + widths[0])].any()
    np.testing.assert_array_equal(first, ink(Text(10, 40, name, 20)))
