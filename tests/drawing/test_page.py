from functools import partial
from itertools import pairwise

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.fonts import font_file
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import Panel, Raster, Rule, Text, moved, text_block, text_width, whole_body, wrap
from kernelviz.errors import UsageError

NAMES = ["conv1", "layer1.0.conv1 " * 9, "x" * 200, "a.b.c" * 40, "two  spaces", "one two three. four"]


@pytest.mark.parametrize("width", [40, 150, 1000])
@pytest.mark.parametrize("text", NAMES)
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    """Every line fits its width, and together they contain every character except the spaces at the breaks."""
    lines = wrap(text, 12, width)
    assert max(text_width(line, 12) for line in lines) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_after_spaces_then_dots():
    """A line breaks between words, else after a dot of a name."""
    assert wrap("kernels of layer", 10, text_width("kernels of", 10)) == ["kernels of", "layer"]
    assert wrap("blocks.10.conv", 10, text_width("blocks.10.", 10)) == ["blocks.10.", "conv"]


def test_nothing_wraps_to_nothing():
    """Empty text is no line."""
    assert wrap("", 10, 100) == []
    assert wrap("   ", 10, 100) == []


@pytest.mark.parametrize("bold", [False, True])
def test_a_text_is_as_wide_as_its_glyphs(bold):
    """The width by advances is that of the outlines that matplotlib draws, within a pixel and its kerning."""
    text = "Kernels of layer4.1.conv2, −1.83 × 512"
    path = TextPath((0, 0), text, size=40, prop=FontProperties(fname=str(font_file(bold=bold))), usetex=False)
    assert text_width(text, 40, bold=bold) == pytest.approx(path.get_extents().x1, rel=0.02)


def test_a_panel_moves_with_all_its_items():
    """Items keep their relative positions when a panel is moved."""
    panel = Panel((Text(1, 2, "a", 10), Raster(None, 3, 4, 5, 6), Rule(1, 2, 3, 4)), 9, 9)
    text, raster, rule = moved(panel, 10, 100)
    assert (text.x, text.y, raster.left, raster.top) == (11, 102, 13, 104)
    assert (raster.width, raster.height) == (5, 6)
    assert (rule.x0, rule.y0, rule.x1, rule.y1) == (11, 102, 13, 104)


def test_a_block_of_text_goes_down_in_even_steps():
    """The lines of a block are evenly spaced over its height."""
    items, below = text_block(["a", "b", "c"], 5, 10, 20)
    steps = [later.y - earlier.y for earlier, later in pairwise(items)]
    assert steps == pytest.approx([(below - 10) / 3] * 2)
    assert below > items[-1].y


def test_what_does_not_fit_a_slide_states_the_size_of_its_text_with_its_unit():
    """The message has pixels for both: of the picture, and of the smallest text."""
    ends = (Text(0, 20, "above", 20), Text(0, 9000, "below", 20))
    page = Panel(ends, 100, 9000, partial(whole_body, "tall", ends, (0, 0, 100, 9000)))
    with pytest.raises(UsageError, match=r"does not fit 1,280 × 720 pixels with text of 18 pixels\."):
        draw_page(page, {}, LOOKS["slide"])
