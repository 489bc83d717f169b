"""The page of a report as text: what it contains, what it must not contain, and how its script is joined."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import reports

from kernelviz.report import page as page_module
from kernelviz.report.packing import blocks_of, index_of, json_text
from kernelviz.report.page import joined_script, layer_sentence, report_page
from kernelviz.report.skyline import Bar, branches, skyline, stages_of


class _Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of script and style."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self.texts.append("")
        self.open = True

    def handle_data(self, data):
        if self.open:
            self.texts[-1] += data

    def handle_endtag(self, _):
        self.open = False

    def all(self, tag):
        """The attributes and texts of all elements of a kind."""
        return [(each[1], text) for each, text in zip(self.found, self.texts, strict=True) if each[0] == tag]


@pytest.fixture(scope="module")
def text():
    """A page of two images."""
    return report_page(reports.make_report(2, notes=("some maps are left out",)))


def test_the_policy_allows_the_script_and_the_style_of_the_page_only(text):
    """The hashes in the policy are those of the text between the tags, and nothing else may run or load."""
    elements = _Elements(text)
    policy = next(each["content"] for each, _ in elements.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'; ")
    style = elements.all("style")[0][1]
    script = next(content for each, content in elements.all("script") if each["type"] == "module")
    for directive, content in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not re.search(r"\sstyle=|\son\w+=", re.sub(r"(?s)<script.*?</script>", "", text))


def test_the_data_in_the_page_are_those_of_the_report(text):
    """Index and blocks are in inert elements, the first layer's block first."""
    report = reports.make_report(2, notes=("some maps are left out",))
    inert = {each["id"]: content for each, content in _Elements(text).all("script") if "id" in each}
    assert json.loads(inert["kernelviz"]) == json.loads(json_text(index_of(report)))
    blocks = {name: content for name, content in inert.items() if name not in ("kernelviz", "page")}
    assert list(blocks.items()) == list(blocks_of(report).items())


def test_same_report_same_bytes(text):
    """Two pages of one report are equal, and hold no address, no path and no date."""
    assert report_page(reports.make_report(2, notes=("some maps are left out",))) == text
    readable = re.sub(r'base64,[^"]*|(?s:<script type="application/octet-stream".*?</script>)', "", text)
    for never in ("http:", "https:", "//www", "file:", "/home/", "/tmp/"):
        assert never not in readable


def test_hostile_names_stay_text():
    """Markup in the names of image, model, layers and classes is escaped everywhere."""
    text = report_page(reports.make_report(1, names=reports.HOSTILE))
    elements = _Elements(text)
    assert not [each for each, _ in elements.all("img") if each.get("src") == "x"]
    assert len([each for each, _ in elements.all("script") if "id" not in each]) == 1
    assert reports.HOSTILE[0] in elements.all("h2")[1][1]
    assert "\u2028" not in next(content for each, content in elements.all("script") if each.get("id") == "kernelviz")


def test_names_that_cannot_be_seen_are_escaped():
    """Overrides of the direction, terminal escapes and halves of characters in names are text in page and index."""
    hostile = ("\u202egnp.exe", "a\x1b]8;;x\x07", "\udcff\ud800.b", "c\u2028\nd")
    text = report_page(reports.make_report(1, names=hostile, notes=("of \udcff",)))
    text.encode("utf-8")
    assert not set("\u202e\x1b\x07\u2028") & set(text)
    elements = _Elements(text)
    inert = {each["id"]: content for each, content in elements.all("script") if "id" in each}
    names = [layer["name"] for layer in json.loads(inert["kernelviz"])["layers"]]
    assert names[:4] == [r"\u202egnp.exe", r"a\x1b]8;;x\x07", r"\udcff\ud800.b", r"c\u2028\nd"]
    assert {"href": "#%5Cudcff%5Cud800.b"} in [each for each, _ in elements.all("a")]


def test_random_weights_have_no_classes():
    """A network before training is called so, and there is no heading without classes."""
    text = report_page(reports.make_report(trained=False))
    assert "nothing has been learned yet" in text
    assert '<section class="classes"' not in text


def test_a_script_is_joined_from_its_modules_once():
    """Every module is in the script once, before those that import it, without import and export."""
    script = joined_script("main.js")
    assert script.count("function valueOfLevel(") == 1
    assert script.index("function valueOfLevel(") < script.index("class ReportPage")
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"a.js": "export default 1;\n"}, "export"),
        ({"a.js": 'import x from "./b.js";\n'}, "import"),
        ({"a.js": 'import { x as y } from "./b.js";\n'}, "import"),
        ({"a.js": 'import { x } from "b";\n'}, "import"),
        ({"a.js": 'const text = "</SCRIPT>";\n'}, "</SCRIPT"),
        ({"a.js": "const { x } = y;\n"}, "const {"),
        (
            {"a.js": 'import { x } from "./b.js";\nconst f = 1;\n', "b.js": "export const x = 1;\nfunction f() {}\n"},
            "both",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(monkeypatch, modules, message):
    """Other forms of import and export, equal names and the end of a script element are errors."""
    monkeypatch.setattr(page_module, "part_text", modules.__getitem__)
    with pytest.raises(ValueError, match=re.escape(message)):
        joined_script.__wrapped__("a.js")


def test_sentences_of_layers():
    """A layer is described by its kind, its channels, its maps and what a unit sees."""
    layers = {each["name"]: layer_sentence(each) for each in index_of(reports.make_report())["layers"]}
    assert layers["stem"] == "3 × 3 convolution, stride 2. 3 → 6 channels of 16 × 16. Receptive field 3 × 3 pixels."
    assert layers["blocks.0.dw"].startswith("3 × 3 depthwise convolution. 6 → 6 channels")
    assert layers["blocks.0.pw"].startswith("1 × 1 convolution, pointwise. 6 → 12 channels")
    assert layers["blocks.1.grouped"].startswith("3 × 3 convolution in 2 groups. ")
    assert layers["up"].startswith("2 × 2 transposed convolution, stride 2. ")
    assert (
        layers["attention"] == "Attention. 4 channels of 4 × 4. Receptive field unknown: an attention mixes all places."
    )


def test_the_skyline_has_a_bar_for_each_layer():
    """Bars are links with full names, hollow where they only mix maps; the line has a gap where a field is not known."""
    bars = [
        Bar(f"l{at}", f"l{at}: text", f"#l{at}", 8, 2**at, seen, at == 1)
        for at, seen in enumerate((0.1, 0.5, None, 0.4, 0.2))
    ]
    markup = skyline(bars, ["", "a", "a", "a", "a"], 8)
    assert markup.count("<a ") == 5
    assert markup.count('class="mix"') == 1
    assert markup.count('class="seen"') == 2
    assert markup.count('class="beside"') == 1
    assert ">a</text>" in markup
    gated = [Bar(f"l{at}", "", f"#l{at}", side, 8, seen, mixes=False)
             for at, (side, seen) in enumerate(((8, 0.2), (1, 1.0), (1, 1.0), (8, 0.3), (1, 1.0)))]  # fmt: skip
    assert branches(gated) == [(1, 1.0), (2, 1.0)]
    lines = re.findall(r'class="seen" x1="([\d.]+)%" y1="[\d.]+" x2="([\d.]+)%"', skyline(gated, [""] * 5, 8))
    assert lines == [("10.000", "70.000"), ("70.000", "90.000")]  # past the gates, to the layer of one value at the end
    assert stages_of(["conv", "blocks.0.0.a", "blocks.1.0.b"]) == ["", "blocks.0", "blocks.1"]
    assert stages_of(["conv1", "layer1.0.conv1", "layer2.0.conv1"]) == ["", "layer1", "layer2"]
    dense = [f"features.denseblock{block}.denselayer{layer}.conv1" for block in (1, 2, 3) for layer in (1, 2)]
    assert stages_of(["features.conv0", *dense])[0::2] == ["", *(f"features.denseblock{block}" for block in (1, 2, 3))]


def test_the_lead_counts_no_weights_that_are_elsewhere():
    """Where the layers shown hold less than half of the weights, the page does not claim that it shows what they do."""
    report = reports.make_report()
    report = replace(report, layers=report.layers[:3])
    assert "3 convolutions of a network with 1,234 weights, applied to one photograph." in (report_page(report))
    smaller = replace(report, source=replace(report.source, params=400))
    assert "3 convolutions with 400 weights classify one photograph." in report_page(smaller)


def test_a_page_of_one_layer_has_no_strip_of_layers():
    """Of one layer there is nothing to choose or to compare: the strip, the search and the arrows are hidden."""
    report = reports.make_report()
    page = _Elements(report_page(replace(report, layers=report.layers[:1])))
    (strip,) = (each for each, _ in page.all("section") if each.get("class") == "strip-part")
    (steps,) = (each for each, _ in page.all("div") if each.get("class", "").startswith("steps"))
    assert "hidden" in strip
    assert steps["class"] == "steps"  # what is scripted is shown by the script


def test_long_names_break_after_their_parts():
    """Names break after dots, slashes and underscores, and stay text; an example of a search contains letters."""
    report = reports.make_report()
    names = ("stages.0_a/<b>", "fuse.3.1.0.0")
    layers = [replace(layer, name=name, traced=replace(layer.traced, name=name))
              for layer, name in zip(report.layers, names, strict=False)]  # fmt: skip
    text = report_page(replace(report, layers=tuple(layers)))
    assert '<h2 id="layer-name">stages.<wbr>0_<wbr>a/<wbr>&lt;b&gt;</h2>' in text
    assert 'placeholder="fuse"' in text


def test_the_height_of_a_bar_is_the_logarithm_of_its_resolution():
    """Maps of half the side of the input have high bars, however small other maps are; those of 1 × 1 have the lowest."""
    bars = [Bar(f"l{at}", "", f"#l{at}", side, 8, None, mixes=False) for at, side in enumerate((112, 110, 220, 1))]
    markup = skyline(bars, [""] * 4, 224)
    heights = [float(each) for each in re.findall(r'class="space"[^>]*height="([\d.]+)"', markup)]
    assert heights == pytest.approx([53.1, 52.9, 59.8, 6.0], abs=0.1)
    assert 'class="all"' not in markup  # no line of what a unit sees


def test_the_page_is_about_what_it_shows():
    """A page of a tensor has no photograph; one layer takes the singular, and a choice of kernels needs kernels."""
    report = reports.make_report()
    tensor = replace(report.images[0], offset=None, scale=None, exact=False, top=())
    pool = replace(report.layers[3], traced=replace(report.layers[3].traced, field=None))
    text = report_page(replace(report, images=(tensor,), layers=(pool,), source=None))
    core = re.sub(r"(?s)<(script|style).*?</\1>", "", text)
    assert "photograph" not in core.replace('id="photograph"', "")
    assert (
        "1 layer turns one input into feature maps. Choose a map, then point at it to see the receptive field" in core
    )
    assert "Line:" not in core
    assert "Receptive field 3 × 3 values." in layer_sentence(index_of(report)["layers"][0], "input")


def test_colours_of_the_page_have_contrast():
    """Text has a contrast of at least 4.5 with the page, bars and lines that carry meaning at least 3, light and dark."""
    style = page_module.part_text("page.css")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for name in ("ink", "text", "quiet"):
            assert _contrast(colours[name], colours["paper"]) >= 4.5, name
        for name in ("bar", "seen", "focus", "positive", "negative"):
            assert _contrast(colours[name], colours["paper"]) >= 3, name
        assert _contrast(colours["chosen"], colours["chosen-ink"]) >= 4.5


def _contrast(one, other):
    lights = sorted((_luminance(one), _luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
