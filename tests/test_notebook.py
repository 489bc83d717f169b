"""How values display themselves: short lines everywhere, tables in notebooks."""

from __future__ import annotations

import dataclasses
import inspect
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import timm
import torch
from patch_maps import many_maps, patches_of

import kernelviz as kv
from kernelviz.drawing import animations
from kernelviz.drawing.overlay import make_overlay
from kernelviz.errors import UsageError
from kernelviz.explain.walkthrough import example_numbers
from kernelviz.notebook import MOST_ROWS, exact_text, html_table, record_repr

LONG = "a very long name with a line\nbreak and <b>tags</b> " * 20


@pytest.fixture(scope="module")
def values():
    """An instance of every public class, and of what hangs on them, by the class."""
    model = kv.load_model("test_resnet", weights="random")
    image = kv.read_image("sample:grace_hopper")
    bank = kv.read_kernels(model, "conv1.0")
    maps = kv.capture_features(model, image, "layer1")[0]
    matches, tally, covariance = kv.match_kernels(bank), kv.ChannelTally(), kv.CovarianceTally()
    tally.add(maps)
    covariance.add(maps)
    contact = kv.ContactSheet()
    contact.add(maps)
    trace, convolution = kv.trace(model), kv.Convolution((1000, 2000), 5, stride=3, padding="valid", in_channels=64)
    worked = kv.work_out(kv.Convolution(5, 3, bias=True), *example_numbers(kv.Convolution(5, 3, bias=True)))
    unit = kv.trace_unit(model, image, "conv1.0", (0, 5, 5))
    pooled = kv.trace_unit(kv.load_model("resnet18d", weights="random"), image, "maxpool", (0, 5, 5), input_size=64)
    patches = patches_of(many_maps(2))
    field, fields = kv.effective_field(model, image, "conv1.0", input_size=32), kv.FieldTally(model, "conv1.0")
    expanded = kv.expand_units(torch.nn.Conv2d(3, 2, 3), [torch.rand(3, 8, 8), torch.rand(3, 8, 8)], "Conv2d")
    compared = kv.compare_weights(bank, bank.weight[::-1], match=True)
    tensors = kv.compare_weights(torch.nn.Conv2d(3, 2, 3), torch.nn.Conv2d(3, 2, 3)).others
    moved = kv.shift_image(model, image, (0, 2), ["conv1.0"], edge=True)
    report = kv.make_report(model, image, "conv1.0", input_size=32)
    found = [
        *(
            pooled,
            model,
            model.source,
            report,
            report.images[0],
            report.layers[0],
            image,
            bank,
            bank.layer,
            maps,
            maps.seen,
            matches,
            matches.rows[0],
            tally,
            tally.result(),
        ),
        *(
            covariance,
            covariance.basis(),
            contact,
            contact.rows[0],
            trace,
            trace.layers[3],
            trace.layers[3].field,
            unit,
        ),
        *(
            convolution,
            kv.TransposedConvolution(5, 3, stride=2),
            kv.Pooling(6, 2),
            *kv.compare_costs(56, ["12xconv3"], in_channels=64),
            worked,
            worked.step(0, 0),
            worked.canvas,
            kv.make_playground(kv.work_out(kv.Convolution(3, 2), np.eye(3), np.eye(2))),
        ),
        *(kv.make_sheet(bank), kv.make_mosaic(kv.make_sheet(bank)), kv.make_singles(maps), kv.highlights_of(maps)),
        *(kv.apply_filter(image, "sobel-x"), kv.find_filter("gaussian@9"), *kv.colour_directions()),
        *(
            kv.apply_gradient(image, "sobel"),
            kv.known_filter([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
            kv.most_alike([bank], "edge", 2),
            *kv.most_alike([bank], "edge", 2).rows[:1],
            moved,
            moved.layers[0],
        ),
        *(patches, patches.highest, *list(patches.crops.values())[:1], kv.PatchTally()),
        *(field, field.squares[0], fields, expanded),
        *(compared, compared.layers[0], compared.layers[0].pairing, tensors[0]),
        *(kv.InThisProcess(), kv.gather_many(model, [image], "layer1", tallies={"statistics": kv.ChannelTally})),
        kv.read_history(None, np.random.default_rng(0).normal(size=(3, 4, 3, 5, 5))),
        *(
            kv.ClassScore(3, LONG[:100], 0.5),
            kv.FailedImage(0, "x.png", UsageError("what", "why", "hint")),
            UsageError("a"),
        ),
        *(
            kv.animate_convolution(worked),
            kv.read_call(f'Conv2D(32, (3, 3), activation="relu", name={LONG!r}, input_shape=(150, 150, 3))'),
            make_overlay(maps),
            *kv.make_sheet(bank, view="channels").tiles.__dict__.values(),
        ),
    ]
    return {type(value): value for value in found}


def test_every_public_value_has_a_short_repr(values):
    """No value prints its arrays or records: each ``repr`` is one line of less than 300 characters."""
    classes = [each for each in (getattr(kv, name) for name in kv.__all__) if inspect.isclass(each)]
    lacking = [each for each in classes if not any(issubclass(kind, each) for kind in values)]
    assert not lacking
    for value in values.values():
        if isinstance(value, np.ndarray | tuple):
            continue
        text = repr(value)
        assert len(text) < 300, text
        assert "array(" not in text
        assert "\n" not in text
        assert text.startswith(f"{type(value).__name__}(") or isinstance(value, str | int), text


def test_a_repr_is_useful(values):
    """Shapes, names and sources are in it."""
    assert "<float32 16 × 3 × 3 × 3>" in repr(values[kv.KernelBank])
    assert "conv1.0" in repr(values[kv.KernelBank])
    assert "random weights (seed 0)" in repr(values[kv.Model])
    assert "layer='layer1'" in repr(values[kv.FeatureMaps])
    assert re.search(r"layers=<\d+ × TracedLayer>", repr(values[kv.Trace]))
    assert repr(values[kv.ChannelTally]) == "ChannelTally('layer1', 1 image)"
    assert re.fullmatch(r"Animation\(.*, 9 frames of \d+ × \d+, 10.2 s\)", repr(values[animations.Animation]))


def test_long_names_and_many_items_are_shortened():
    """Whatever a file or a layer is called, the line stays one line, and is cut between its parts."""
    layer = dataclasses.replace(kv.list_layers(timm.create_model("test_resnet"))[0], name=LONG, kind=LONG)
    assert len(repr(layer)) < 300
    assert "\n" not in repr(layer)
    bank = kv.KernelBank(np.ones((2, 3, 5, 5)), layer, notes=(LONG,) * 100)
    assert len(record_repr(bank)) < 300
    assert "notes=<100 × str>" in repr(bank)


class Cells(HTMLParser):
    """The texts of the cells and captions of a page, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Collect a tag."""
        del attrs
        self.tags.append(tag)

    def handle_data(self, data):
        """Collect a text."""
        self.texts.append(data)


def test_tables_are_plain_and_escaped():
    """Names from files cannot become markup, and long tables state how many rows there are."""
    table = Cells(
        html_table(("name", "size", "empty"), [("<script>x</script>", "3", "")] * 1000, {"size"}, caption="a & b")
    )
    assert set(table.tags) == {"table", "caption", "tr", "th", "td"}
    assert table.texts[0] == f"a & b; the first {MOST_ROWS} of 1,000 rows"
    assert table.texts[1:5] == ["name", "size", "<script>x</script>", "3"]
    assert table.tags.count("tr") == MOST_ROWS + 1
    odd = html_table(("name",), [("\u202egnp\udcff",)], caption="\x1b]8;;")
    assert Cells(odd).texts == [r"\x1b]8;;", "name", r"\u202egnp\udcff"]


def test_a_trace_shows_the_table_of_its_layers():
    """As ``kernelviz layers`` prints it: a row for each layer that changes its input."""
    trace = kv.trace(timm.create_model("test_resnet"), (3, 64, 64))
    table = Cells(trace._repr_html_())
    assert {"layer", "output", "field", "conv1.0", "16 × 32 × 32"} <= set(table.texts)
    assert table.tags.count("tr") == 1 + sum(layer.changes for layer in trace.layers)


def test_a_walkthrough_and_a_step_show_their_numbers():
    """The tables hold the numbers that were given, to the digit, and what comes out."""
    worked = kv.work_out(kv.Convolution(3, 2), [[1234.5, 2, -3.125], [4, 5, 6], [7, 8, 9]], [[1, 0.1], [0, -1]])
    table = Cells(worked._repr_html_())
    assert {"input: 3 × 3", "kernel: 2 × 2", "output: 2 × 2", "1234.5", "−3.125", "0.1", "1229.7"} <= set(table.texts)
    step = Cells(worked.step(0, 0)._repr_html_())
    assert {"window: 2 × 2", "products: 2 × 2", "1234.5", "−5", "value: 1 × 1", "1229.7"} <= set(step.texts)
    large = Cells(kv.work_out(kv.Pooling(40, 2, stride=1), np.arange(1600.0).reshape(40, 40))._repr_html_())
    assert "input: 40 × 40, the first 12" in large.texts
    assert len(large.texts) < 400


def test_numbers_are_exact_or_marked():
    """Six digits are shown as they are, more are marked as rounded."""
    given = [1, -3.125, 0.1, 123456, 1 / 3, 1234567, 1e-9, float("inf"), -float("inf"), float("nan")]
    texts = ["1", "−3.125", "0.1", "123456", "≈ 0.333333", "≈ 1.23457e+06", "1e−09", "∞", "−∞", "NaN"]
    assert list(map(exact_text, given)) == texts


def test_an_animation_too_large_for_a_cell_says_how_to_save_it(monkeypatch):
    """A notebook does not grow by more than a bounded size with each cell."""
    operation = kv.Convolution(3, 2)
    animation = kv.animate_convolution(kv.work_out(operation, *example_numbers(operation)))
    assert len(animation._repr_html_()) < animations.MOST_SHOWN * 4 / 3 + 1000
    monkeypatch.setattr(animations, "MOST_SHOWN", 100)
    assert "<img" not in animation._repr_html_()
    assert "save_picture(animation," in animation._repr_html_()


def test_filters_may_be_given_in_a_list():
    """Names, filters and arrays in a list are as many filters; what may be one kernel of three planes is refused."""
    image = np.random.default_rng(0).random((20, 30))
    laplacian = kv.find_filter("laplacian")
    for given in (["sobel-x", "laplacian"], ("sobel-x", laplacian), ["sobel-x", np.array(laplacian.values)]):
        assert kv.plot_filter(image, given).recipe["kernels"] == kv.plot_filter(image, *given).recipe["kernels"]
    assert kv.plot_filter(image, [np.eye(3), np.ones((5, 5)) / 25]).recipe["view"] == ["kernel", "kernel"]
    assert kv.plot_filter(image, [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).recipe["view"] == ["kernel"]
    assert kv.plot_filter(image, [[[1, 0]], [[0, 1]], [[1, 1]]]).recipe["view"] == ["kernel"]
    with pytest.raises(UsageError, match="no filter 'sobel-q'") as caught:
        kv.plot_filter(image, ["laplacian", "sobel-q"])
    assert "sobel-x" in caught.value.why
    with pytest.raises(UsageError, match="three filters, or the red"):
        kv.plot_filter(image, [np.eye(3)] * 3)
    with pytest.raises(UsageError, match="no filter to draw"):
        kv.plot_filter(image, [])
