"""Pictures of random weights are marked as such, and only those."""

import numpy as np
import pytest
import timm
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from page_checks import check_page

import kernelviz as kv
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import BADGE, BADGE_INK, UNTRAINED, Panel, badged, text_block
from kernelviz.network.model import parameter_sums
from kernelviz.records import is_untrained

PAGE = LOOKS["page"]
IMAGE = kv.read_image("sample:grace_hopper")


@pytest.fixture(scope="module")
def model():
    """A small network with random weights."""
    return kv.load_model("test_resnet", weights="random")


def pictures(model):
    """Every kind of picture that is drawn from the weights of a network."""
    bank = kv.read_kernels(model, "conv1.0")
    maps = kv.capture_features(model, IMAGE, ["conv1.0", "layer1"])
    tally = kv.ChannelTally()
    tally.add(maps[1])
    unit = kv.trace_unit(model, IMAGE, "conv1.0", (0, 5, 5))
    inner = kv.trace_unit(model, IMAGE, "layer2.0.conv2", (0, 5, 5))
    yield "kernels", kv.plot_kernels(bank)
    for view in ("sum", "norm", "channels", "matrix", "spectrum"):
        yield view, kv.plot_kernels(bank, view=view)
    yield "maps", kv.plot_features(maps[0])
    yield "one map", kv.plot_features(maps[0], channels=[0])
    for reduce in ("mean", "pca"):
        yield reduce, kv.plot_features(maps[1], reduce=reduce)
    yield "overlay", kv.plot_overlay(maps[1])
    yield "overview", kv.plot_overview(maps)
    yield "contact", kv.plot_contact([maps[0], maps[0]])
    yield "statistics", kv.plot_statistics(tally.result(), model.source)
    yield "match", kv.plot_matches(bank)
    yield "filter", kv.plot_filter(list(kv.apply_kernel(IMAGE, bank, 0)))
    yield "unit", kv.plot_unit(unit)
    yield "map of a kernel", kv.plot_kernel_and_map(unit)
    yield "inner unit", kv.plot_unit(inner)
    yield "inner map", kv.plot_kernel_and_map(inner)


def badges(figure):
    """The words of the badge in a figure."""
    return [text for text in figure.findobj(Text) if text.get_text() == UNTRAINED]


@pytest.mark.slow
def test_every_picture_of_random_weights_has_one_badge_that_is_read_at_640_pixels(model):
    """The badge is there once, filled, its letters 11 pixels or more at 640 px, apart from every other text."""
    for name, figure in pictures(model):
        (badge,) = badges(figure)
        assert badge.get_color() == PAGE.roles[BADGE_INK], name
        assert [patch for patch in figure.findobj(PathPatch) if to_hex(patch.get_facecolor()) == PAGE.roles[BADGE]], (
            name
        )
        assert badge.get_fontsize() * figure.dpi / 72 * 640 / figure.bbox.width >= 11, name
        if 1200 <= figure.bbox.width <= 1485:
            check_page(figure)
        words = [text for text in figure.findobj(Text) if text.get_text().strip()]
        box = badge.get_window_extent().padded(0.3 * badge.get_fontsize())
        assert not [
            text.get_text() for text in words if text is not badge and box.overlaps(text.get_window_extent())
        ], name
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, name  # noqa: PT018


def test_a_picture_in_your_own_axes_has_the_badge_too(model):
    """Where there is no title, the badge stands beside the colour bar."""
    from matplotlib.figure import Figure

    for size in ((5, 4), (2, 6)):
        ax = kv.plot_kernels(kv.read_kernels(model, "conv1.0"), ax=Figure(size).add_subplot())
        assert len(badges(ax)) == 1


def test_the_badge_goes_below_a_title_that_leaves_no_room():
    """Nothing overlaps where a title is as wide as its page: what follows moves down."""
    title, y = text_block(["a title that fills the width"], 20, 20, 40, bold=True)
    rest, below = text_block(["the rest"], 20, y, 20)
    page = badged(Panel((*title, *rest), 720, below))
    assert page.height > below
    label = next(item for item in page.items if getattr(item, "text", "") == UNTRAINED)
    moved = next(item for item in page.items if getattr(item, "text", "") == "the rest")
    assert title[0].y < label.y < moved.y - moved.size


def test_what_is_not_known_to_be_random_is_not_called_untrained(model):
    """Plain arrays, modules of unknown weights, pretrained ones and sizes carry no badge."""
    bundled = kv.load_model("tf_efficientnet_lite0", weights="bundled")
    module = timm.create_model("test_resnet")
    figures = [
        kv.plot_kernels(np.ones((4, 3, 3, 3))),
        kv.plot_kernels(kv.read_kernels(module, "conv1.0")),
        kv.plot_kernels(kv.read_kernels(bundled, "conv_stem")),
        kv.plot_growth(kv.trace(model)),
    ]
    assert not [figure for figure in figures if badges(figure)]
    assert not is_untrained(None)


def test_weights_that_were_trained_since_are_not_called_untrained():
    """A random network that was trained in the same session loses the badge, and its label says why."""
    model = kv.load_model("test_resnet", weights="random")
    before = kv.read_kernels(model, "conv1.0").source
    assert parameter_sums(model.module) == model.sums
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(0.01)
    figure = kv.plot_kernels(kv.read_kernels(model, "conv1.0"))
    assert before.label.endswith("random weights (seed 0)")
    assert not badges(figure)
    assert "weights changed since loading, random before (seed 0)" in " ".join(
        text.get_text() for text in figure.findobj(Text)
    )


@pytest.mark.parametrize("look", ["page", "slide", "dark"])
def test_the_text_alternative_has_the_badge(look, tiny):
    """The text alternative of a picture of random weights states that they were never trained, in every look."""
    assert UNTRAINED in kv.plot_kernels(kv.read_kernels(tiny, "conv1.0"), look=look).alternative
