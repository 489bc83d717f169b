"""The page of a report in a browser: what is shown, what the hands do, and that nothing else happens."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import numpy as np
import pytest
import reports
from pages import OUTSIDE, opened, ready, violations

from kernelviz.drawing.colour import WHITE_RED, Ramp, palette_in
from kernelviz.drawing.looks import LOOKS
from kernelviz.report.page import report_page
from kernelviz.wording import visible

WIDTHS = (1440, 1240, 1239, 1024, 900, 768, 600, 375, 320)
KINDS = (
    "stem",
    "blocks.0.dw/0/0,0",
    "blocks.0.pw/0",
    "blocks.0.act",
    "blocks.1.conv",
    "blocks.1.grouped",
    "up",
    "attention",
)


@pytest.fixture(scope="module")
def report():
    """A report of two images and eight kinds of layers."""
    return reports.make_report(2, notes=("the maps of one layer are left out",))


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    """The file of the page."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report_page(report), encoding="utf-8")
    return file


def number(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-").replace("≈", "").replace(",", ""))


def middle(page, selector, row, column, units=16):
    """The point of a cell on the screen."""
    box = page.locator(selector).bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / units, box["y"] + (row + 0.5) * box["height"] / units


def test_a_link_leads_to_a_unit_and_its_sum_is_the_value_of_the_network(browser, path, report):
    """Layer, channel, unit and image of an address are shown, and the sum of the page is the value of the map."""
    layer, image = report.layers[0], report.images[1]
    live = layer.live
    exact = reports.convolved(reports.input_of(image), live.weights, live.bias, live.stride, live.around)
    with opened(browser, path, "#stem/4/7,9/1") as page:
        assert page.locator("#layer-name").inner_text() == "stem"
        assert page.locator("#map-name").inner_text() == "4"
        assert number(page.locator("#sum .value").inner_text()) == pytest.approx(exact[4, 7, 9], abs=6e-4)
        assert page.locator("#field-text").inner_text() == "The unit reads rows 13–15, columns 17–19."
        assert page.locator("#sum .part").all_inner_texts()[0].startswith("red")
        for row, column in np.random.default_rng(0).integers(0, 16, (12, 2)):
            page.locator("#row").fill(str(row))
            page.locator("#column").fill(str(column))
            page.locator("#column").press("Enter")
            assert number(page.locator("#is").inner_text()) == pytest.approx(exact[4, row, column], abs=6e-4)
        assert page.evaluate("location.hash") == f"#stem/4/{row},{column}/1"


def test_a_pixel_of_a_map_has_the_colour_of_the_palette_of_python(browser, path, report):
    """In a light and a dark page, signed and not, each pixel of the large map is the palette's colour of its level."""
    read = """() => { const { width, height } = document.getElementById("map"), rows = [];
        const { data } = document.getElementById("map").getContext("2d").getImageData(0, 0, width, height);
        for (let at = 0; at < data.length; at += 4096) rows.push(String.fromCharCode(...data.subarray(at, at + 4096)));
        return [width, height, btoa(rows.join(""))]; }"""
    with opened(browser, path, "#stem/4/7,9") as page:
        for look in ("page", "dark"):
            for at, address, channel in ((0, "stem/4", 4), (3, "blocks.0.act/2", 2)):
                page.evaluate(f"location.hash = '{address}'")
                ready(page, report.layers[at].name)
                maps = report.layers[at].maps[0]
                table = palette_in(
                    LOOKS[look], Ramp(None, signed=True) if maps.signed else Ramp(WHITE_RED, signed=False)
                )
                width, height, data = page.evaluate(read)
                pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
                rows = (np.arange(height) * 16) // height
                columns = (np.arange(width) * 16) // width
                expected = table[maps.levels[report.layers[at].shown.index(channel)][np.ix_(rows, columns)]]
                assert np.array_equal(pixels[..., :3], expected)
                assert (pixels[..., 3] == 255).all()
            page.locator("#theme").click()


def test_hovering_previews_and_leaving_brings_back(browser, path):
    """A tile under the pointer is shown everywhere; afterwards the chosen one is shown again."""
    with opened(browser, path, "#stem/4/7,9") as page:
        before = page.locator("#sum .value").inner_text()
        box = page.locator("#maps").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
        page.locator("#maps-hover").wait_for(state="visible")
        assert page.locator("#kernels-hover").is_visible()
        assert page.locator("#map-name").inner_text() != "4"
        assert page.locator("#sum .value").inner_text() != before
        assert page.evaluate("location.hash") == "#stem/4/7,9"
        page.mouse.move(5, 5)
        page.locator("#maps-hover").wait_for(state="hidden")
        assert page.locator("#map-name").inner_text() == "4"
        assert page.locator("#sum .value").inner_text() == before
        page.mouse.move(*middle(page, "#map", 3, 5))
        page.locator("#field-text", has_text="rows 5–7, columns 9–11").wait_for()
        page.mouse.click(*middle(page, "#map", 3, 5))
        assert page.evaluate("location.hash") == "#stem/4/3,5"


def test_a_click_chooses_a_kernel_and_says_it_once(browser, path):
    """The address follows a click, and the live region has one sentence."""
    with opened(browser, path, "#blocks.0.dw/4") as page:
        box = page.locator("#kernels").bounding_box()
        page.mouse.click(box["x"] + 70, box["y"] + box["height"] / 2)
        assert page.evaluate("location.hash").startswith("#blocks.0.dw/0/")
        assert page.locator("#said").inner_text().startswith("channel 0 of blocks.0.dw, largest absolute value ")


def test_keys_lead_through_layers_channels_and_units(browser, path):
    """Brackets change the layer, arrows channel and unit, s the scale, / the search, ? the list of keys."""
    with opened(browser, path, "#stem/1/7,9") as page:
        page.keyboard.press("]")
        ready(page, "blocks.0.dw")
        page.keyboard.press("[")
        ready(page, "stem")
        page.locator("#maps").focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert page.locator("#maps").get_attribute("aria-valuenow") == "1"
        page.keyboard.press("End")
        assert page.locator("#map-name").inner_text() == "5"
        page.locator("#map").focus()
        page.locator("#row").fill("1e1")
        page.locator("#row").press("Enter")
        assert page.locator("#row").input_value() == "10"
        page.locator("#row").fill("2")
        page.locator("#row").press("Enter")
        page.locator("#map").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Shift+ArrowLeft")
        row, column = page.locator("#row").input_value(), page.locator("#column").input_value()
        assert page.evaluate("location.hash") == f"#stem/5/{row},{column}"
        assert row == "3"
        page.keyboard.press("s")
        assert "the whole layer" in page.locator("#bar-text").inner_text()
        page.keyboard.press("/")
        page.keyboard.type("s grouped")
        assert page.locator("#found").inner_text() == "1 of 8 layers"
        assert page.locator("#strip a.dim").count() == 7
        page.keyboard.press("Enter")
        ready(page, "blocks.1.grouped")
        page.locator("#find").press("Escape")
        assert page.locator("#strip a.dim").count() == 0
        page.locator("#strip a[aria-current]").focus()
        page.keyboard.press("ArrowRight")
        ready(page, "up")
        assert page.evaluate("document.activeElement.dataset.layer") == "6"
        page.keyboard.press("?")
        assert page.locator("#keys").is_visible()
        page.keyboard.press("]")
        page.locator("#keys-close").click()
        assert page.locator("#layer-name").inner_text() == "up"


def test_every_keyboard_leads_through_the_layers(browser, path):
    """Brackets count where a layout types them with AltGr, or on a Mac with Option, and p and n where there are none."""
    with opened(browser, path, "#up") as page:
        page.evaluate(
            """() => { for (const key of "[[[[]") document.dispatchEvent(new KeyboardEvent("keydown",
            {key, ctrlKey: true, altKey: true, modifierAltGraph: true})); }"""
        )
        ready(page, "blocks.0.act")  # each of five keys at once counts, also with AltGr, which is Ctrl+Alt on Windows
        page.keyboard.press("n")
        ready(page, "blocks.1.conv")
        page.keyboard.press("p")
        ready(page, "blocks.0.act")
        page.keyboard.press("?")
        assert "also p and n" in page.locator("#keys").inner_text()
        page.locator("#keys-close").click()
        page.evaluate("Object.defineProperty(navigator, 'platform', {get: () => 'MacIntel'})")
        option = "key => document.dispatchEvent(new KeyboardEvent('keydown', {key, code: 'Digit5', altKey: true}))"
        page.evaluate(option, "[")
        ready(page, "blocks.0.pw")
        page.evaluate(option, "“")
        assert page.locator("#layer-name").inner_text() == "blocks.0.pw"


def test_tab_stops_are_few_for_any_number_of_layers(browser, path):
    """Twelve stops at most lead through the page."""
    with opened(browser, path, "#stem") as page:
        stops = page.evaluate(
            """() => [...document.querySelectorAll("a[href], button, input, summary, [tabindex]")].filter(each =>
            each.tabIndex >= 0 && !each.disabled && each.checkVisibility() && !each.closest("#thumbnails")
            && !each.closest("details:not([open]) > :not(summary)") && !(each.type === "radio" && !each.checked)
            ).map(each => each.id || each.tagName)"""
        )
        assert len(stops) <= 12, stops


def test_a_traced_unit_has_its_sum_and_another_one_says_what_is_shown(browser, path, report):
    """Where sums are not live, a value beside the traced ones is marked as approximate, over the traced sum."""
    units = report.layers[1].units[0]
    _, row, column = units.at[0]
    with opened(browser, path, f"#blocks.0.dw/0/{row},{column}") as page:
        assert number(page.locator("#is").inner_text()) == pytest.approx(units.values[0], abs=6e-4)
        assert page.locator("#map-marks .ring-line").count() == 2
        page.mouse.move(*middle(page, "#map", (row + 5) % 16, column))
        page.locator("#sum.faint").wait_for()
        assert page.locator("#is").inner_text().startswith("≈ ")
        assert page.locator("#sum-note").inner_text().startswith("About ")
        page.mouse.click(*(each + 6 for each in middle(page, "#map", row, column)))
        assert page.evaluate("location.hash") == f"#blocks.0.dw/0/{row},{column}"


def test_an_input_map_of_a_sum_leads_to_the_layer_that_made_it(browser, path):
    """The number of an input channel is a link to that channel of its layer."""
    with opened(browser, path, "#blocks.0.pw/0") as page:
        link = page.locator("#sum .bars a").first
        channel = link.inner_text()
        link.click()
        ready(page, "blocks.0.dw")
        assert page.evaluate("location.hash").startswith(f"#blocks.0.dw/{channel}/")


def test_thumbnails_choose_the_image(browser, path):
    """Another image has its own photograph, classes and values; an address without an image is that of the first."""
    with opened(browser, path, "#stem/4/7,9") as page:
        before = page.locator("#is").inner_text()
        assert page.locator("#thumbnails a").nth(1).get_attribute("href") == "#///1"  # an image, and no layer
        page.locator("#thumbnails a").nth(1).click()
        page.locator("#thumbnails a").nth(1).and_(page.locator("[aria-current]")).wait_for()
        assert page.evaluate("location.hash") == "#stem/4/7,9/1"
        assert page.locator("#is").inner_text() != before
        assert page.locator(".classes:visible").count() == 1
        page.evaluate("location.hash = '#stem/4/7,9'")
        page.locator("#thumbnails a").nth(0).and_(page.locator("[aria-current]")).wait_for()
        assert page.locator("#is").inner_text() == before


def test_what_is_missing_is_said(browser, path):
    """Unknown layers lead to the first, channels that are not kept to another, and unknown fields have their reason."""
    with opened(browser, path, "#nothing/1//9") as page:
        assert page.locator("#layer-name").inner_text() == "stem"
        lacking = (
            "There is no layer nothing in this page; the first one is shown. There is no image 9 in this page; the"
        )
        assert page.locator("#not-kept").inner_text() == f"{lacking} first one is shown."
        page.evaluate("location.hash = 'stem/99'")
        page.locator("#not-kept", has_text="This layer has 6 maps, and none is 99; map ").wait_for()
        page.evaluate("location.hash = 'blocks.0.pw/3'")
        ready(page, "blocks.0.pw")
        assert (
            page.locator("#not-kept")
            .inner_text()
            .startswith("Map 3 is not in this page, which has the maps 0–2, 4, 6, 8, 10–11; ")
        )
        page.evaluate("location.hash = 'attention'")
        ready(page, "attention")
        assert page.locator("#field-text").inner_text().endswith("an attention mixes all places.")
        assert page.locator("#photo-marks > *").count() == 0
        assert page.locator("#kernels-part").is_hidden()
        page.evaluate("location.hash = 'blocks.1.grouped/2/3,4'")
        ready(page, "blocks.1.grouped")
        assert page.locator("#is").inner_text() == "not finite"
        assert page.locator("#maps-note").inner_text() == "With values that are not finite, chequered: 2."


def test_large_kernels_have_digits_on_demand(browser, path):
    """Cells of a 7 × 7 kernel have no digits until they are wanted, but a mark if not finite; the pointer reads one."""
    with opened(browser, path, "#blocks.1.conv/0") as page:
        cell = page.locator("#sum .window .cells span").first
        assert cell.inner_text() == ""
        cell.hover()
        assert re.fullmatch(r"\S+ × \S+ = \S+", page.locator(".readout").inner_text())
        broken = page.locator("#sum .not-finite")
        assert broken.count() == 2  # an infinite weight and its product
        assert "conic-gradient" in broken.first.evaluate("each => getComputedStyle(each).backgroundImage")
        page.locator("#digits").click()
        assert broken.first.inner_text() == "∞"
        assert re.fullmatch(r"−?\d+\.\d+", page.locator("#sum .window .cells span").first.inner_text())
        for width in (1440, 375, 320):
            page.set_viewport_size({"width": width, "height": 1300})
            assert page.evaluate(OUTSIDE) == []


def test_kernels_of_one_row_have_three_input_maps(browser, tmp_path):
    """The wide but flat digits of a signal's kernels leave space for three of many input maps."""
    report = reports.make_report()
    (units,) = report.layers[4].units
    cut = {name: getattr(units, name)[..., :1, :5] for name in ("windows", "kernels", "taps")}
    traced = replace(report.layers[4].traced, kernel=(5,))
    layer = replace(report.layers[4], units=(replace(units, **cut),), traced=traced)
    file = tmp_path / "flat.html"
    file.write_text(report_page(replace(report, layers=(layer,))), encoding="utf-8")
    with opened(browser, file) as page:
        assert page.locator("#sum .term").count() == 3
        assert page.locator("#sum .others").inner_text().startswith("9 other input maps")
        assert page.evaluate(OUTSIDE) == []


def test_without_script_the_page_has_its_core(browser, path):
    """Heading, classes, photograph, skyline, table and notes are there when scripts are off, and nothing dead."""
    with browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 900}) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        for selector in ("h1", ".classes li", "#photograph img", "#strip a", "#table tbody tr", ".notes li"):
            assert page.locator(selector).first.is_visible(), selector
        assert page.locator("#maps, #map, #theme, #find").locator("visible=true").count() == 0


def test_a_sandboxed_frame_is_alive(browser, report, tmp_path):
    """In ``srcdoc`` without an origin the page works, links stay inside, and the address is left alone."""
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><title>n</title>{replace(report, renderer=report_page)._repr_html_()}", "utf-8")
    context = browser.new_context(viewport={"width": 1100, "height": 950})
    page = context.new_page()
    heard = []
    page.on("console", lambda message: heard.append(message.text))
    page.goto(file.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator('html[data-ready="stem"]').wait_for(state="attached")
    frame.locator("#strip a").nth(2).click()
    frame.locator('html[data-ready="blocks.0.pw"]').wait_for(state="attached")
    context.close()
    assert heard == []


@pytest.mark.parametrize(
    ("state", "addresses"),
    [
        ("light", ("blocks.0.dw/0/0,0", "blocks.0.pw/0")),
        ("dark", ("stem", "blocks.0.pw/0")),
        ("phone", ("blocks.0.dw/0/0,0",)),
        ("print", ("stem",)),
    ],
)
def test_axe_finds_nothing(browser, path, state, addresses):
    """No violation of WCAG 2.2 AA or of best practice, also over a faint sum, and with the table open."""
    context = {"color_scheme": "dark" if state == "dark" else "light"}
    if state == "phone":
        context |= {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, path, **context) as page:
        if state == "print":
            page.emulate_media(media="print")
        else:
            page.locator("summary").click()
        for address in addresses:
            page.evaluate(f"location.hash = '{address}'")
            ready(page, address.split("/")[0])
            assert violations(page) == []


@pytest.mark.parametrize(
    ("kinds", "widths"),
    [(KINDS[:5], WIDTHS[::2]), pytest.param(KINDS, WIDTHS, marks=pytest.mark.slow)],
    ids=["some", "all"],
)
def test_nothing_leaves_its_column(browser, path, kinds, widths):
    """At widths from 1,440 to 320 pixels nothing scrolls sideways and no part leaves its column, for each kind of layer."""
    found = {}
    with opened(browser, path) as page:
        for kind in kinds:
            page.evaluate(f"location.hash = '{kind}'")
            ready(page, kind.split("/")[0])
            for width in widths:
                page.set_viewport_size({"width": width, "height": 900})
                page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
                if seen := page.evaluate(OUTSIDE):
                    found[kind, width] = seen
    assert found == {}


@pytest.mark.parametrize("width", [710, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_printed_page_cuts_no_number(browser, path, width):
    """On portrait and landscape paper no part leaves its column, no digit of a cell is cut, and nothing overlaps."""
    found = {}
    overlap = """() => { const [one, other] = [".sum-part", ".map-part"].map(each =>
        document.querySelector(each).getBoundingClientRect());
        return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom; }"""
    with opened(browser, path, viewport={"width": width, "height": 1000}) as page:
        page.emulate_media(media="print")
        for kind in KINDS:
            page.evaluate(f"location.hash = '{kind}'")
            ready(page, kind.split("/")[0])
            if seen := [*page.evaluate(OUTSIDE), *(["overlap"] if page.evaluate(overlap) else [])]:
                found[kind] = seen
    assert found == {}


def test_print_is_light_and_everything_returns(browser, path):
    """Printing a dark page has the palette of light and an open table; afterwards it is dark and closed."""
    read = """() => [...document.getElementById("map").getContext("2d").getImageData(2, 2, 1, 1).data]"""
    with opened(browser, path, "#stem/4/7,9", color_scheme="dark") as page:
        dark = page.evaluate(read)
        page.emulate_media(media="print", color_scheme="dark")
        page.locator("#table[open]").wait_for()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate(read) != dark
        page.emulate_media(media="screen", color_scheme="dark")
        page.locator("#table:not([open])").wait_for()
        assert page.evaluate(read) == dark


def test_hostile_names_are_text(browser, tmp_path):
    """Names of images, models and layers with markup and quotes are shown as they are, line separators as escapes."""
    file = tmp_path / "report.html"
    file.write_text(report_page(reports.make_report(1, names=reports.HOSTILE)), encoding="utf-8")
    with opened(browser, file) as page:
        assert page.locator("#layer-name").inner_text() == reports.HOSTILE[0]
        assert page.locator("img[src='x']").count() == 0
        for name in reports.HOSTILE[1:]:
            page.locator("#next").click()
            ready_name = page.evaluate(
                "() => new Promise(done => setTimeout(() => done(document.documentElement.dataset.ready), 60))"
            )
            assert ready_name == visible(name)
            assert page.locator("#layer-name").evaluate("each => each.textContent") == visible(name)
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
