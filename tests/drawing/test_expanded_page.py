"""The page of linear weights: each tile with its truth, veiled where that is less than half, and refused if all are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_texts

from kernelviz import LinearWeights, plot_expanded
from kernelviz.drawing.colour import Veiled
from kernelviz.drawing.expanded_page import expanded_page
from kernelviz.drawing.looks import LOOKS
from kernelviz.drawing.page import Raster
from kernelviz.errors import KernelvizError, UsageError


def weights_of(channels=12, inputs=3, side=11, explained=None, **more):
    """Random weights, explained from 0 to 1."""
    weights = np.random.default_rng(0).standard_normal((channels, inputs, side, side))
    if channels > 3:
        weights[3] = 0
    shares = np.linspace(0, 1, channels) if explained is None else np.full(channels, explained)
    facts = {
        "weights": weights, "explained": shares, "constant": np.zeros(channels), "layer": "blocks.1.0.conv_dw",
        "slopes": "mean", "unit": (9, 9), "box": (30, 40, 30, 40), "units": 1000,
        "measured": ("a", "c"), "judged": ("b",), "input_size": (3, 224, 224), "activations": 3,
    }  # fmt: skip
    return LinearWeights(**(facts | more))


CASES = {
    "usual": weights_of(),
    "many": weights_of(400, side=3),
    "large": weights_of(5, side=139),
    "grey": weights_of(7, inputs=1, side=7),
    "bands": weights_of(7, inputs=6, side=7),
    "long": weights_of(2, layer="encoder.layer_10.attention." * 6, pools=("maxpool" * 9,), notes=("a note " * 30,)),
    "exact": weights_of(4, explained=1.0, activations=0),
}


def texts_of(figure):
    """All texts of a figure, joined."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=pytest.mark.slow) if one != "usual" else one for one in CASES]
)
@pytest.mark.parametrize("look", ["page", pytest.param("slide", marks=pytest.mark.slow)])
def test_its_texts_are_legible_and_apart(case, look):
    """Numbers, percentages and lines neither meet nor leave the page, however many and long."""
    check_texts(plot_expanded(CASES[case], look=look))


def test_every_tile_has_its_percentage_and_is_veiled_below_one_half():
    """49.9 % is veiled and never written as 50 %; a channel as good as zero has no percentage."""
    expanded = weights_of(8, explained=0.499)
    expanded.explained[[1, 7]] = 0.5, 0.92
    page = expanded_page(expanded, range(8), LOOKS["page"])
    assert sum(isinstance(item, Raster) and isinstance(item.content, Veiled) for item in page.items) == 5
    shown = [item.text for item in page.items if getattr(item, "text", "").endswith(("%", "–"))]
    assert shown == ["49 %", "50 %", "49 %", "–", "49 %", "49 %", "49 %", "92 %"]


def test_its_caption_forbids_the_commonest_misreading():
    """The first line states what is left out; without activations that nothing is."""
    text = plot_expanded(weights_of()).alternative
    assert text[0] == "blocks.1.0.conv_dw as linear weights on pixels"
    assert text[2].startswith("Not what the unit computes: each activation before it is replaced by its mean slope")
    assert "12 of 12 channels; at least half of the variance is explained in 6 of 12" in text
    assert "Exactly what the unit computes" in plot_expanded(CASES["exact"]).alternative[2]
    assert "replaced by the identity" in plot_expanded(replace(weights_of(), slopes="one")).alternative[2]


def test_a_slide_keeps_the_truth():
    """It shows fewer tiles and counts them, and still states what is left out."""
    figure = plot_expanded(CASES["many"], look="slide")
    text = texts_of(figure)
    assert "Not what the unit computes" in text
    assert f"{figure.recipe['shown']} of 400 channels" in text
    assert figure.recipe["shown"] < 100


def test_a_layer_of_which_nothing_is_explained_is_refused():
    """With the numbers and the last layer that works, unless all are requested; then each tile is veiled."""
    nothing = weights_of(explained=0.32, works="blocks.1.1.conv_dw")
    with pytest.raises(KernelvizError) as refused:
        plot_expanded(nothing)
    message = str(refused.value)
    assert "They explain 32 % of channel 0, the most, and 32 % in the median of 11 channels" in message
    assert "The last convolution before it that works is blocks.1.1.conv_dw." in message
    page = expanded_page(nothing, range(12), LOOKS["page"])
    assert sum(isinstance(item, Raster) and isinstance(item.content, Veiled) for item in page.items) == 11
    assert "at least half of the variance is explained in 0 of 12" in " ".join(
        plot_expanded(nothing, show_all=True).alternative
    )


def test_channels_are_chosen():
    """By text or numbers; others are refused."""
    assert plot_expanded(weights_of(), channels="4-6,11").recipe["channels"] == "4-6,11"
    with pytest.raises(UsageError, match="channels 0 to 11"):
        plot_expanded(weights_of(), channels="12")
