"""The page to play with a convolution: its numbers are those of torch, and a wrong guess gets its reason."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from pages import opened, violations

import kernelviz as kv
from kernelviz import read_recipe
from kernelviz.cli.main import main
from kernelviz.errors import FileInTheWayError, UsageError
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.report.playground import convolved, playground_page

INPUT = np.array([[1, 2, 0, 1, 3, 0], [0, 1, 2, 2, 1, 1], [3, 0, 1, 0, 2, 2], [1, 2, 2, 1, 0, 1], [0, 1, 3, 2, 1, 0],
                  [2, 0, 1, 1, 2, 3]])  # fmt: skip
KERNEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def of_torch(values, kernel, stride, padding, dilation):
    """The convolution by torch, in float64."""
    import torch
    from torch.nn.functional import conv2d

    planes = (torch.as_tensor(np.array(each, float))[None, None] for each in (values, kernel))
    return conv2d(*planes, stride=stride, padding=padding, dilation=dilation)[0, 0].numpy()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of the picture in the guide: stride 2, padding 1."""
    file = tmp_path_factory.mktemp("play") / "play.html"
    file.write_text(playground_page(INPUT, KERNEL, stride=2, padding=1, at=(1, 2)), encoding="utf-8")
    return file


READ = """() => {
  const number = text => Number(text.replace("−", "-"));
  const board = (name, selector, value) => [...document.querySelectorAll(`#${name}-board ${selector}`)].map(value);
  const fields = name => board(name, "input", each => number(each.value));
  return {input: fields("input"), kernel: fields("kernel"),
          output: board("output", ".cell", each => number(each.textContent)),
          shapes: ["input", "kernel", "output"].map(name => document.getElementById(`${name}-size`).textContent),
          settings: document.getElementById("settings").textContent};
}"""


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_random_settings_equal_torch(browser, path, count):
    """For random sizes, strides, paddings and dilations the output that the page shows is that of torch."""
    random = np.random.default_rng(3)
    with opened(browser, path) as page:
        for _ in range(count):
            kernel, (stride, padding, dilation) = random.integers(1, 5, 2), random.integers((1, 0, 1), (5, 4, 4))
            least = np.maximum((kernel - 1) * dilation + 1 - 2 * padding, 1)
            rows, columns = random.integers(least, np.maximum(least + 1, 13))
            sizes = f"i={rows}x{columns}&k={kernel[0]}x{kernel[1]}"
            page.evaluate(f"location.hash = 's={stride}&p={padding}&d={dilation}&{sizes}&at=99,99'")
            page.wait_for_timeout(5)
            found = page.evaluate(READ)
            assert found["settings"] == f"stride {stride}, padding {padding}, dilation {dilation}"
            sizes = [tuple(map(int, re.findall(r"\d+", text)[:2])) for text in found["shapes"]]
            values, weights, output = (
                np.array(found[name]).reshape(size)
                for name, size in zip(("input", "kernel", "output"), sizes, strict=True)
            )
            assert np.allclose(output, of_torch(values, weights, stride, padding, dilation), rtol=1e-5)


def test_the_first_view_is_that_of_python(browser, path):
    """Input, kernel and settings are those that were given; the output is filled up to the framed cell."""
    with opened(browser, path) as page:
        found = page.evaluate(READ)
        assert found["input"] == INPUT.reshape(-1).tolist()
        assert page.locator("#output-board .cell").all_inner_texts() == ["−5", "1", "3", "−3", "0", "−3", "", "", ""]
        assert page.locator("#terms").inner_text().splitlines()[1] == "0×2 + 2×0 + 2×(−2) +"
        assert page.locator("#result").inner_text() == "−3"
        assert page.locator("#hatched").inner_text() == "Hatched: 1 row and 1 column, in no window"


def test_hands_change_numbers_window_and_settings(browser, path):
    """Typing, arrow keys, dragging and sliders change the page; a text that is no number changes nothing."""
    with opened(browser, path) as page:
        cell = page.get_by_label("input, row 1, column 3", exact=True)
        cell.fill("2.5")
        assert page.locator("#result").inner_text() == "−2.5"
        cell.fill("two")
        assert page.locator("#result").inner_text() == "−2.5"
        assert cell.get_attribute("aria-invalid") == "true"
        page.locator("#grip").focus()
        assert cell.input_value() == "2.5"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
        assert page.locator("#cell-head").inner_text() == "the framed cell, row 0, column 1"
        box, board = page.locator("#grip").bounding_box(), page.locator("#input-board").bounding_box()
        page.mouse.move(box["x"] + 12, box["y"] + 12)
        page.mouse.down()
        page.mouse.move(board["x"] + board["width"] * 7 / 8, board["y"] + board["height"] * 7 / 8, steps=4)
        page.mouse.up()
        assert page.locator("#cell-head").inner_text() == "the framed cell, row 2, column 2"
        page.locator("#stride").fill("3")
        assert page.locator("#output-size").inner_text() == "2 × 2"
        assert page.evaluate("location.hash") == "#s=3&p=1&d=1&i=6x6&k=3x3&at=1,1"
        before = page.evaluate(READ)["kernel"]
        page.locator("#kernel").evaluate("each => each.closest('details') && (each.closest('details').open = true)")
        for size in ("1", "3"):  # a smaller size hides numbers, and a larger one brings them back
            page.locator("#kernel").fill(size)
        assert page.evaluate(READ)["kernel"] == before
        page.locator("#padding").fill("0")
        page.locator("#input").fill("1")
        assert page.locator("#input").input_value() == "3"
        assert page.locator("#stopped").inner_text().startswith("The kernel does not fit")


def test_a_guess_is_asked_first_and_a_wrong_one_gets_its_reason(browser, path):
    """The framed value is hidden until it is guessed; a turned kernel and forgotten signs are recognised."""
    with opened(browser, path) as page:
        page.locator("#guess").check()
        assert page.locator("#output-board .framed").inner_text() == "?"
        for answer, words in (
            ("3", "rotated by 180°"),
            ("9", "signs"),
            ("0", "before or after"),
            ("50", "cell by cell"),
        ):
            page.locator("#answer").fill(answer)
            page.locator("#answer").press("Enter")
            assert words in page.locator("#verdict").inner_text()
        page.locator("#answer").fill("-3")
        page.locator("#answer").press("Enter")
        assert page.locator("#verdict").inner_text() == "−3 is right."
        assert page.locator("#output-board .framed").inner_text() == "−3"
        page.keyboard.press("ArrowDown")
        assert page.locator("#output-board .framed").inner_text() == "?"


@pytest.mark.parametrize("state", ["light", "dark", "phone"])
def test_the_playground_is_accessible_and_fits(browser, path, state):
    """Axe finds nothing, and at no width the page scrolls sideways."""
    context = {"color_scheme": "dark" if state == "dark" else "light"}
    if state == "phone":
        context |= {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, path, **context) as page:
        page.locator("#guess").check()
        assert violations(page) == []
        for width in (1440, 1024, 768, 375, 320):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width


def test_without_script_the_numbers_are_there(browser, path):
    """Tables, sum and formula are in the page itself."""
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.locator("table.static:visible").count() == 3
        assert page.locator("#result").inner_text() == "−3"
        assert "⌊ (6 + 2·1 − 1·(3 − 1) − 1) / 2 ⌋ + 1 = 3" in page.locator("#formula").inner_text()


def test_a_large_right_guess_is_taken(browser, tmp_path):
    """A value beyond a million is shown with all of its digits, in the page itself too, and can be guessed."""
    file = tmp_path / "large.html"
    file.write_text(playground_page(np.array([[12345]]), np.array([[1234]])), encoding="utf-8")
    assert "15233730" in re.sub(r"<script.*?</script>", "", file.read_text("utf-8"), flags=re.DOTALL)
    with opened(browser, file) as page:
        page.locator("#guess").check()
        page.locator("#answer").fill("15233730")
        page.locator("#answer").press("Enter")
        assert page.locator("#verdict").inner_text() == "15233730 is right."
        assert page.locator("#output-board .cell").evaluate("each => each.scrollWidth <= each.clientWidth + 1")
        page.get_by_label("kernel, row 0, column 0", exact=True).fill("123456")
        page.locator("#guess").uncheck()
        assert page.locator("#output-board .cell").inner_text() == "1.52×10⁹"  # as much as fits
        assert page.locator("#result").inner_text() == "1524064320"


def test_python_convolves_as_torch():
    """The numbers without script are those of torch, and the page is small."""
    random = np.random.default_rng(0)
    for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (3, 2, 2)):
        values, kernel = random.integers(-9, 9, (7, 8)) / 4, random.integers(-3, 4, (2, 3))
        found = convolved(values, kernel, stride=stride, padding=padding, dilation=dilation)
        assert np.allclose(found, of_torch(values, kernel, stride, padding, dilation))
    assert len(playground_page(np.full((12, 12), 0.123456), np.full((7, 7), -1.5))) < 200_000


@pytest.mark.parametrize(
    ("values", "kernel", "settings", "message"),
    [
        (np.zeros((13, 3)), np.zeros((3, 3)), {}, "at most 12 × 12"),
        (np.zeros((9, 9)), np.zeros((8, 8)), {}, "at most 7 × 7"),
        (np.full((3, 3), 1 / 3), np.zeros((3, 3)), {}, "6 significant digits"),
        (np.full((3, 3), np.nan), np.zeros((3, 3)), {}, "below 1,000,000"),
        (np.zeros((3, 3)), np.zeros((3, 3)), {"stride": 9}, "stride of a page must be at most 6"),
        (np.zeros((3, 3)), np.zeros((3, 3)), {"dilation": 2}, "does not fit"),
        (np.zeros((3, 3)), np.zeros((3, 3)), {"at": (1, 0)}, "not in the output"),
    ],
)
def test_what_a_page_cannot_show_is_refused(values, kernel, settings, message):
    """Larger inputs, more digits and settings without an output are errors."""
    with pytest.raises(UsageError, match=re.escape(message)):
        playground_page(values, kernel, **settings)


def test_a_walkthrough_makes_a_page_that_shows_and_saves_itself(tmp_path):
    """A notebook shows it in a sandboxed frame; the file is replaced by the page of the same numbers alone."""
    convolution = kv.Convolution(6, 3, stride=2, padding=1)
    page = kv.make_playground(kv.work_out(convolution, INPUT, KERNEL), at=(1, 2))
    assert isinstance(page, kv.Playground)
    assert "⌊ (6 + 2·1 − 1·(3 − 1) − 1) / 2 ⌋ + 1 = 3" in page.html
    assert page._repr_html_().startswith('<iframe srcdoc="')
    assert "<script" not in page._repr_html_()
    path = kv.save_playground(page, tmp_path / "new" / "play.html")
    assert path.read_text("utf-8") == page.html
    assert read_recipe(path)["view"] == "playground 1,2 of channel 0"
    kv.save_playground(page, path)
    other = kv.make_playground(kv.work_out(convolution, INPUT, -KERNEL), at=(1, 2))
    with pytest.raises(FileInTheWayError):
        kv.save_playground(other, path)
    kv.save_playground(other, path, force=True)
    with pytest.raises(UsageError, match="must be \\.html"):
        kv.save_playground(page, tmp_path / "play.png")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["play.html"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (kv.Convolution(4, 3, in_channels=2), "one channel and no bias"),
        (kv.Convolution(4, 3, bias=True), "one channel and no bias"),
        (kv.Convolution(4, 3, stride=(1, 2)), "one stride for rows and columns, but got 1 × 2"),
        (kv.TransposedConvolution(4, 3), "Only a convolution"),
        (kv.Pooling(4, 2), "Only a convolution"),
        (kv.Convolution(13, 3), "at most 12 × 12"),
    ],
)
def test_what_has_no_page_to_play_with_is_refused(operation, message):
    """Channels, a bias, unequal settings, large inputs and other operations are errors."""
    with pytest.raises(UsageError, match=re.escape(message)):
        kv.make_playground(kv.work_out(operation, *example_numbers(operation, 0)))


def test_the_command_writes_the_page(tmp_path, capsys):
    """``explain conv --html`` writes one page with its recipe, and the same bytes again."""
    words = [
        "explain",
        "conv",
        "--input",
        "6",
        "--stride",
        "2",
        "--padding",
        "1",
        "--html",
        "-o",
        str(tmp_path),
        "--json",
    ]
    assert main(words) == 0
    (path,) = tmp_path.iterdir()
    document = json.loads(capsys.readouterr().out)
    assert document["outputs"][0]["path"] == str(path)
    before = path.read_bytes()
    assert read_recipe(path)["view"] == "playground 0,0 of channel 0"
    assert main(words) == 0
    assert path.read_bytes() == before
    assert str(tmp_path).encode() not in before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--html"], "needs an output directory"),
        (["--html", "-o", "out", "--steps"], "exclude each other"),
        (["--html", "-o", "out", "--maps"], "exclude each other"),
        (["--html", "-o", "out", "--stride", "1x2"], "one stride for rows and columns"),
        (["--html", "-o", "out", "--in-channels", "2"], "one channel and no bias"),
    ],
)
def test_the_command_refuses_what_a_page_has_not(words, message, capsys, tmp_path, monkeypatch):
    """Options of pictures, several channels and unequal strides are errors of usage, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "conv", "--input", "6", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
