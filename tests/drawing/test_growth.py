"""The picture of how a network grows shows the facts of the trace, and no texts overlap."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import kernelviz
from kernelviz.drawing.growth import growth_page, plot_growth
from kernelviz.drawing.page import Text as Words
from kernelviz.errors import UsageError
from kernelviz.traces import AxisField, Field, Trace, TracedLayer


def trace(count, *, stages=3, rows=64):
    """Convolutions whose fields grow and whose maps shrink."""
    layers = []
    for at in range(count):
        size = max(1, rows >> (3 * at // count))
        axis = AxisField(np.arange(size), np.arange(size) + at, 3 + 2 * at, 1, 0)
        layers.append(
            TracedLayer(
                f"stages.{at * stages // count}.block.{at}.conv", "Conv2d", "conv", 1, 1, 1,
                output_shape=(8 + at, size, size), kernel=(1, 1) if at % 2 else (3, 3), groups=1, field=Field((axis, axis)),
            )
        )  # fmt: skip
    return Trace((3, rows, rows), tuple(layers), count, count, stages=tuple(f"stages.{at}" for at in range(stages)))


@pytest.mark.sampled
@pytest.mark.parametrize("count", [1, 2, 7, 49, 400])
@pytest.mark.parametrize("stages", [1, 4, 30])
@pytest.mark.parametrize("rows", [*(pytest.param(rows, marks=pytest.mark.slow) for rows in (1, 64)), 1000])
def test_no_text_meets_another(count, stages, rows):
    """None overlaps another, leaves the page, or is too small on a narrow screen."""
    figure = plot_growth(trace(count, stages=stages, rows=rows))
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    for at, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert box.height * 640 / figure.bbox.width >= 9
        met = [texts[other].get_text() for other in range(at) if box.overlaps(boxes[other])]
        assert not met, texts[at].get_text()


def test_the_last_field_is_labelled():
    """The last receptive field is beside its line, and the caption names the layer that first sees the whole image."""
    words = [item.text for item in growth_page(trace(40)).items if isinstance(item, Words)]
    assert {"81 px", "stages.1", "●", "the image, 64 px", "standard 3 × 3", "pointwise 1 × 1"} <= set(words)
    assert "● the first receptive field as large as the image, 64 px: stages.2.block.31.conv, 65 px" in words
    small = [item.text for item in growth_page(trace(20)).items if isinstance(item, Words)]
    assert "no receptive field is as large as the image, 64 px" in small
    assert "●" not in small


def test_stages_that_do_not_fit_are_listed():
    """Bands that are too narrow for their names are listed below, in order."""
    words = [item.text for item in growth_page(trace(120, stages=60)).items if isinstance(item, Words)]
    below = " ".join(words)
    told = [f"stages.{at}" for at in range(60) if str(at) not in words[: words.index("receptive field")]]
    assert told
    assert f"too narrow for their names: {told[0]}, {told[1]}" in below
    assert f"and {len(told) - 12} more" in below


def test_stages_have_short_names_where_the_full_ones_do_not_fit():
    """All stages are named in the same way, and the caption says what the short names mean."""
    traced = kernelviz.trace(kernelviz.load_model("tf_efficientnet_lite0", weights=None))
    words = [item.text for item in growth_page(traced).items if isinstance(item, Words)]
    assert [word for word in words if word in set("0123456")][:7] == list("0123456")
    assert "stages 0 to 6: blocks.0 to blocks.6" in words
    assert "blocks.3" not in words


def test_values_of_few_layers_are_written():
    """Where a chart has a few steps and bars, no number has to be read off an axis."""
    traced = trace(2)
    words = [item.text for item in growth_page(traced).items if isinstance(item, Words)]
    assert {"3", "5 px", "64", "32", "8", "9"} <= set(words)
    assert "8" not in {item.text for item in growth_page(trace(49)).items if isinstance(item, Words)}


def test_nothing_to_draw_is_an_error():
    """A network without a known receptive field is rejected."""
    with pytest.raises(UsageError, match="known receptive field"):
        growth_page(Trace((3, 8, 8), (), 0, 0))


def test_dense_is_said_of_fully_connected_layers_only():
    """No convolution is called dense: they are standard, grouped, pointwise or depthwise."""
    for name, family in (
        ("resnet18", "standard"),
        ("resnext50_32x4d", "grouped"),
        ("tf_efficientnet_lite0", "depthwise"),
    ):
        page = growth_page(kernelviz.trace(kernelviz.load_model(name, weights=None)))
        words = [item.text for item in page.items if isinstance(item, Words)]
        assert [word for word in words if word.startswith(f"{family} ")], name
        assert not [word for word in words if "dense" in word.lower()], name
