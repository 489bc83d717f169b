"""Files hold their title and caption as text, for screen readers and searches."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from kernelviz import make_mosaic, make_sheet, plot_kernels, read_recipe
from kernelviz.drawing.figures import draw_page
from kernelviz.drawing.page import Panel, Text, caption_block, heading, text_width
from kernelviz.files.encoding import encode_picture
from kernelviz.records import as_bank

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</title><script>alert("1")</script> & \x1b[31m\n犬'
SHOWN = '</title><script>alert("1")</script> & \\x1b[31m\\n犬'
TITLE, VIEW = "Kernels, summed over channels", "View sum: one tile per kernel, its weights summed over the 3 input"


@pytest.fixture(scope="module")
def weight():
    """The weight of a convolution of two kernels."""
    return np.linspace(-1, 1, 54).reshape(2, 3, 3, 3)


@pytest.fixture(scope="module")
def figure(weight):
    """A page with a title, an identity and a caption."""
    return plot_kernels(weight, view="sum")


def hostile_figure():
    """A page about something with a hostile name."""
    first, y = heading(HOSTILE, HOSTILE, (10, 10), 800, 0.5)
    second, _ = caption_block([HOSTILE, "turned"], (10, y), 800, 0.5)
    upright = Text(5, 100, "upright", 12, align="center", middle=True, upright=True)
    return draw_page(Panel((*first, *second, upright), 900, 300), {"command": "kernels"})


def test_a_png_holds_title_and_caption(figure, weight):
    """A PNG has the title as Title and the caption as Description, with or without a page around the tiles."""
    mosaic = make_mosaic(make_sheet(as_bank(weight), view="sum", style="bare"))
    for picture in (figure, mosaic):
        with Image.open(io.BytesIO(encode_picture(picture, "png"))) as image:
            assert image.text["Title"] == TITLE
            assert "weight (2, 3, 3, 3)" in image.text["Description"].split("\n")[0]
            assert VIEW in image.text["Description"]


def test_a_pdf_holds_title_and_caption(figure):
    """A PDF has the title as Title and the caption as Subject."""
    found = PdfReader(io.BytesIO(encode_picture(figure, "pdf"))).metadata
    assert found["/Title"] == TITLE
    assert VIEW in found["/Subject"]


def test_an_svg_is_an_image_with_a_name_and_a_description(figure, tmp_path):
    """The root of an SVG has the role of an image, named by its title and described by its caption."""
    data = encode_picture(figure, "svg")
    root = ET.fromstring(data)
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert (root.get("aria-labelledby"), root.get("aria-describedby")) == (title.get("id"), description.get("id"))
    assert title.text == TITLE
    assert VIEW in description.text
    (tmp_path / "x.svg").write_bytes(data)
    assert read_recipe(tmp_path / "x.svg") == {**figure.recipe, "limits": list(figure.recipe["limits"])}


def test_the_text_of_an_svg_is_text_where_it_is_drawn(figure):
    """Each text of a page is one text element, unchanged, at its baseline and as wide as it is drawn."""
    artists = [each for each in figure.axes[0].get_children() if hasattr(each, "get_fontproperties")]
    drawn = {(each.get_text(), *each.get_position()) for each in artists if each.get_text()}
    elements = ET.fromstring(encode_picture(figure, "svg")).findall(f".//{SVG}text")
    assert sorted(each.text for each in elements) == sorted(text for text, _, _ in drawn)
    title = next(each for each in elements if each.text == TITLE)
    x, y = next((x, y) for text, x, y in drawn if text == TITLE)
    assert float(title.get("x")) == pytest.approx(0.72 * x, abs=0.7)
    assert float(title.get("y")) == pytest.approx(0.72 * y, abs=0.7)
    assert title.get("font-family") == "DejaVu Sans, sans-serif"
    assert title.get("font-weight") == "bold"
    size = float(title.get("font-size"))
    assert float(title.get("textLength")) == pytest.approx(text_width(TITLE, size, bold=True), rel=0.03)


def test_names_are_escaped_in_an_svg():
    """A name with markup, control characters or letters without a glyph ends in no element and loses nothing."""
    root = ET.fromstring(encode_picture(hostile_figure(), "svg"))
    assert root.find(f"{SVG}title").text == SHOWN
    assert root.find(f"{SVG}desc").text == f"{SHOWN}\n{SHOWN}\nturned"
    assert root.find(f".//{SVG}script") is None
    (upright,) = (each for each in root.findall(f".//{SVG}text") if each.text == "upright")
    assert upright.get("transform").startswith("rotate(-90 ")
