"""The patches in a report: those of the tally, exact, bounded, and each leads to its place."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import patch_reports
import pytest
import reports
from pages import opened, ready, violations
from PIL import Image
from report_blocks import unpacked

from kernelviz import load_model, make_report, save_report
from kernelviz.report.packing import json_text, packed
from kernelviz.report.page import report_page
from kernelviz.views.patches import crop_of
from kernelviz.wording import number_text

WIDTHS = (1440, 1240, 1239, 768, 600, 375, 320)
READ = """canvas => { const { width, height } = canvas, rows = [];
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return [width, height, btoa(String.fromCharCode(...data))]; }"""


@pytest.fixture(scope="module")
def report():
    """A report of one image with patches of six, one of them its own."""
    return patch_reports.make_report()


@pytest.fixture(scope="module")
def path(report, tmp_path_factory):
    """The file of the page."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report.html, encoding="utf-8")
    return file


def shown(page, key):
    """Wait until the patches of a channel are shown, as ``layer/channel``."""
    page.locator(f'#patches[data-shown="{key}"]').wait_for()


def pixels(canvas):
    """The pixels of a canvas in the page."""
    width, height, data = canvas.evaluate(READ)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def expected(found, channel, rank):
    """The pixels of a patch, out of its image."""
    box = tuple(found.highest.boxes[channel, rank].tolist())
    return crop_of(patch_reports.pixels_of(int(found.places[channel, rank, 0])), box)


def test_a_page_holds_the_patches_of_the_tally(report):
    """Values, units, boxes and images of each shown channel are those of the tally, in its order."""
    index, blocks = packed(report)
    names = [image["name"] for image in index["patches"]["images"]]
    assert (index["patches"]["set"], [image["shown"] for image in index["patches"]["images"]]) == (6, [0] + 5 * [None])
    for entry in index["layers"]:
        tally = patch_reports.tallies().get(entry["name"])
        assert (entry["patches"] is None) == (tally is None)
        if tally is None:
            continue
        parts, found = unpacked(entry, blocks[entry["block"]]), tally.result()
        channels = entry["patches"]["channels"]
        assert channels == entry["shown"]
        assert np.array_equal(parts["patch-values"], found.values[list(channels), :6], equal_nan=True)
        assert np.array_equal(parts["patch-boxes"], found.highest.boxes[list(channels), :6])
        assert np.array_equal(parts["patch-places"], found.places[list(channels), :6])
        assert [names[at] for at in parts["patch-places"][0, :, 0]] == [
            found.images[at] for at in found.places[0, :6, 0]
        ]
    assert index["layers"][-1]["without"].startswith("The receptive field of attention is not known.")


def test_the_same_patches_give_the_same_bytes(report):
    """Two pages of the same patches are equal, and their images are in the recipe by their SHA-256."""
    assert patch_reports.make_report().html == report.html
    assert report.recipe["patches"]["images"][3] == {"name": "set 3.png", "sha256": f"{3:064}"}


@pytest.mark.parametrize(
    "most", [*(pytest.param(size, marks=pytest.mark.slow) for size in (150_000, 180_000, 205_000)), 165_000]
)
def test_a_page_of_any_size_is_kept_and_states_what_it_leaves_out(most):
    """With less room, pictures are reduced and channels left out; the page stays below the bound and states both."""
    bare = len(report_page(reports.make_report(1)).encode())
    most += bare - 130_000
    found = patch_reports.make_report(most=most)
    assert len(found.html.encode()) <= most
    every = sum(len(layer.shown) for layer in found.layers if layer.name in patch_reports.tallies())
    kept = sum(len(layer.patches.channels) for layer in found.layers if layer.patches)
    stated = " ".join(found.notes)
    assert (kept < every) == ("channels are shown" in stated or "No patches are shown" in stated)
    reduced = [image.scale for image in found.patch_images if image.pixels is not None and image.scale > 1]
    assert bool(reduced) == ("reduced: a pixel is the mean of" in stated)


def test_pictures_without_room_are_compressed_and_shown(browser, tmp_path, monkeypatch):
    """If even reduced pictures have no room they are JPEGs, which the page states; patches are near the means of pixels."""
    monkeypatch.setattr("kernelviz.report.patches._SMALLEST", 16)
    monkeypatch.setattr("kernelviz.report.patches._JPEG_HEAD", 0)
    bare = len(report_page(reports.make_report(1)).encode())
    sizes = range(bare + 20_000, bare + 100_000, 2_000)
    every = (patch_reports.make_report(most=most) for most in sizes)
    found = next(each for each in every if any(image.jpeg for image in each.patch_images))
    assert any("and compressed (JPEG)" in note for note in found.notes)
    name, layer = next(
        (layer.name, layer.patches) for layer in found.layers if layer.patches and layer.patches.crops is None
    )
    assert any("from compressed images" in note for note in layer.notes)
    file = tmp_path / "report.html"
    file.write_text(found.html, encoding="utf-8")
    channel = layer.channels[0]
    with opened(browser, file, f"#{name}/{channel}") as page:
        shown(page, f"{name}/{channel}")
        rank = next(at for at, each in enumerate(layer.places[0]) if found.patch_images[each[0]].jpeg)
        page.locator(f'[data-rank="{rank}"]').click()
        image = found.patch_images[layer.places[0, rank, 0]]
        page.locator("#place-text b", has_text=image.name).wait_for()
        drawn = pixels(page.locator("#place-picture"))
        assert drawn.shape == image.pixels.shape
        assert np.abs(drawn.astype(int) - image.pixels).mean() < 20


def test_each_patch_has_its_value_and_exactly_what_its_unit_reads(browser, path):
    """In their order, with the value as `patches` writes it; what is outside the image is no part of the picture."""
    every = patch_reports.tallies()
    with opened(browser, path) as page:
        for layer, channel in (("stem", 0), ("blocks.0.dw", 2), ("blocks.0.pw", 4), ("blocks.1.conv", 3)):
            found = every[layer].result()
            page.evaluate(f"location.hash = '{layer}/{channel}'")
            shown(page, f"{layer}/{channel}")
            count = int(found.highest.counts[channel])
            values = [number_text(float(value), plus=True) for value in found.values[channel, :count]]
            assert page.locator("#patch-list .patch-value").all_inner_texts() == values
            tiles = page.locator("#patch-list .patch")
            for rank in range(count):
                crop = expected(found, channel, rank)
                assert np.array_equal(pixels(tiles.nth(rank).locator("canvas")), crop.pixels)
                if not found.exceeds_image:
                    tile, canvas = (tiles.nth(rank).locator(each).bounding_box() for each in ("xpath=.", "canvas"))
                    rows = crop.box[1] - crop.box[0] + 1
                    assert canvas["height"] == pytest.approx(tile["height"] * crop.pixels.shape[0] / rows, abs=0.6)
            assert (
                page.locator("#patches-choice")
                .inner_text()
                .startswith("The 6 largest values, at most one per image, of")
            )


def test_dead_channels_ties_ends_and_reasons_are_stated(browser, path):
    """In the words of `patches`; a layer whose receptive field is unknown has the reason in place of patches."""
    with opened(browser, path, "#stem/1") as page:
        shown(page, "stem/1")
        assert page.locator("#patch-list .end").inner_text().strip() == "dead: 0.500 everywhere"
        page.evaluate("location.hash = 'stem/2'")
        shown(page, "stem/2")
        assert page.locator("#patch-list .end").inner_text().strip() == "3 of 6"
        assert page.locator("#patches-ties").inner_text() == "+3.00 in 2 units, in 2 images: all are drawn"
        assert "1 channel is dead (the same value in all images): 1." in page.locator("#patches-notes").inner_text()
        page.evaluate("location.hash = 'attention'")
        ready(page, "attention")
        page.locator("#patches-notes", has_text="No patches: The receptive field of attention is not known.").wait_for()
        assert not page.locator("#patch-list").is_visible()


def test_a_patch_leads_to_its_unit_or_its_picture(browser, path):
    """A patch of the report's image leads to its unit in the map, another one to its picture with the box marked."""
    found = patch_reports.tallies()["stem"].result()
    own = found.places[0, :6, 0].tolist().index(0)
    row, column = found.places[0, own, 1:].tolist()
    with opened(browser, path, "#stem/0/3,3") as page:
        shown(page, "stem/0")
        links = page.locator("#patch-list .patch-link")
        links.nth(own).click()
        page.locator(f'#patch-list [data-rank="{own}"][aria-current]').wait_for()
        assert page.evaluate("location.hash") == f"#stem/0/{row},{column}"
        assert page.locator("#row").input_value() == str(row)
        other = 0 if own else 1
        links.nth(other).click()
        number, *unit = found.places[0, other].tolist()
        page.locator("#place-text b", has_text=f"set {number}.png").wait_for()
        text = page.locator("#place-text").inner_text()
        assert f"at row {unit[0]}, column {unit[1]} of the map: row" in text
        assert np.array_equal(pixels(page.locator("#place-picture")), patch_reports.pixels_of(number))
        assert page.locator("#place-marks .place-line").count() == 1
        assert f"set {number}.png" in page.locator("#said").inner_text()
        assert page.evaluate("location.hash") == f"#stem/0/{row},{column}"


def test_keys_lead_through_patches(browser, path):
    """They are one tab stop; arrows, Home and End move, and the place of each is shown."""
    found = patch_reports.tallies()["blocks.0.pw"].result()
    with opened(browser, path, "#blocks.0.pw/0") as page:
        shown(page, "blocks.0.pw/0")
        assert page.locator('#patch-list .patch-link[tabindex="0"]').count() == 1
        page.locator("#patch-list .patch-link").first.focus()
        for key, rank in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 5), ("Home", 0)):
            page.keyboard.press(key)
            assert page.evaluate("document.activeElement.dataset.rank") == str(rank)
            page.locator("#place-text b", has_text=f"set {found.places[0, rank, 0]}.png").wait_for()


@pytest.mark.slow
def test_hovering_a_map_previews_its_patches(browser, path):
    """The patches are those of the channel under the pointer, and nothing moves."""
    with opened(browser, path, "#stem/0") as page:
        shown(page, "stem/0")
        page.locator("#maps").scroll_into_view_if_needed()
        box = page.locator("#maps").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] / 2)
        page.locator("#patches-head", has_text="What excites channel 2").wait_for()
        assert page.locator("#maps").bounding_box() == box
        page.mouse.move(5, 5)
        shown(page, "stem/0")


@pytest.mark.slow
def test_without_script_a_sentence_states_it(browser, path):
    """The static page states that there are patches; the live one does not repeat it."""
    with opened(browser, path) as page:
        assert not page.locator(".patches .static").is_visible()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert "the patches of 6 images" in page.locator(".patches .static").inner_text()
    context.close()


@pytest.mark.parametrize(
    "state", ["phone", *(pytest.param(each, marks=pytest.mark.slow) for each in ("light", "dark", "print"))]
)
def test_axe_finds_nothing_in_patches(browser, path, state):
    """No violation of WCAG 2.2 AA or of best practice."""
    context = {"color_scheme": "dark" if state == "dark" else "light"}
    if state == "phone":
        context |= {"viewport": {"width": 375, "height": 800}, "has_touch": True, "is_mobile": True}
    with opened(browser, path, "#blocks.0.dw/2", **context) as page:
        shown(page, "blocks.0.dw/2")
        if state == "print":
            page.emulate_media(media="print")
        assert violations(page) == []


@pytest.mark.parametrize("widths", [WIDTHS[2::2], pytest.param(WIDTHS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_patches_stay_in_their_column(browser, path, widths):
    """At widths from 1,440 to 320 pixels nothing scrolls sideways, and tiles neither overlap nor leave the page."""
    with opened(browser, path, "#blocks.0.pw/0") as page:
        shown(page, "blocks.0.pw/0")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
            boxes = page.evaluate(
                """() => [...document.querySelectorAll("#patch-list li, #patch-place")].map(each => {
                const { left, right, top, bottom } = each.getBoundingClientRect(); return [left, right, top, bottom]; })"""
            )
            assert all(left >= 0 and right <= width for left, right, _, _ in boxes), width
            for at, one in enumerate(boxes):
                for other in boxes[:at]:
                    apart = one[0] >= other[1] or other[0] >= one[1] or one[2] >= other[3] or other[2] >= one[3]
                    assert apart, (width, one, other)


def test_hostile_names_of_images_are_text(browser, tmp_path):
    """Markup in the name of an image of the set is shown as it is, in the page and in what is read out."""
    file = tmp_path / "report.html"
    name = "<img src=x onerror=alert(1)>"
    file.write_text(patch_reports.make_report(names=dict.fromkeys(range(6), name)).html, encoding="utf-8")
    with opened(browser, file, "#stem/0") as page:
        shown(page, "stem/0")
        page.locator("button.patch-link").first.click()
        assert page.locator("#place-text b").inner_text() == name
        assert name in page.locator("#said").inner_text()
        assert page.locator("img[src='x']").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "efficientnet_b0", "vgg11"])
def test_architectures_have_patches(browser, tmp_path, name):
    """With random weights, first, middle and last layer have patches or a reason, and the page stays below 8 MB."""
    photographs = ["sample:grace_hopper"]
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        photographs.append(tmp_path / f"{number}.png")
    report = make_report(load_model(name, weights="random"), photographs[0], patches_from=photographs)
    path = save_report(report, tmp_path / "report.html")
    assert path.stat().st_size <= 8_000_000
    layers = [report.layers[at] for at in (0, len(report.layers) // 2, -1)]
    with opened(browser, path) as page:
        for layer in layers:
            page.evaluate("name => { location.hash = encodeURIComponent(name); }", layer.name)
            ready(page, layer.name)
            page.locator(f'#patches[data-shown^="{layer.name}/"]').wait_for()
            count = page.locator("#patch-list .patch-link").count()
            assert count > 0 or layer.without_patches
            for width in (1440, 375):
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(50)
                assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_page_without_patches_has_no_place_for_them(report):
    """Nothing of them is in a page that was made without a set of images."""
    text = report_page(reports.make_report(1))
    assert 'id="patches"' not in text
    assert '"patches":null' in json_text(packed(replace(report, patch_set=0))[0])
