"""The page of an image that moves: legible, and with the numbers that were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_texts

from kernelviz.cli.shift import name_parts
from kernelviz.drawing.shift_page import plot_shift
from kernelviz.records import ClassScore
from kernelviz.views.shifts import ColumnCounts, ShiftedImage, ShiftedLayer

BY = (0, 1, 2, 4, 8, 16)


def layer_of(name, cells, jump, *, end=0.3, rings=0.99, **more):
    """A layer with cosines from 1 to these at the largest shift."""
    measured = range(max(BY) + 1)
    stays = {shift: 1 - (1 - end) * shift / max(BY) for shift in measured}
    moves = {shift: 1 - (1 - rings) * shift / max(BY) for shift in measured if jump and shift % jump == 0}
    maps = np.random.default_rng(0).standard_normal((len(BY), *cells)).astype(np.float32)
    facts = {
        "name": name, "shape": (1024, *cells), "channel": 1000, "maps": maps, "jump": jump, "lost": "",
        "mixes_image": False,
        "invariance": stays, "equivariance": moves, "centred_invariance": stays, "centred_equivariance": moves,
        "columns": {shift: ColumnCounts(5, 5, 9) for shift in moves}, "peak": (0, 0),
    }  # fmt: skip
    return ShiftedLayer(**(facts | more))


def moved(layers, labels=("mortarboard",) * 6, *, sides=(96, 96), repeated=0, **more):
    """An image that moves, made of noise."""
    pictures = np.random.default_rng(1).integers(0, 255, (len(BY), *sides, 3)).astype(np.uint8)
    classes = tuple(ClassScore(0, label, 0.2) for label in labels)
    return ShiftedImage(BY, tuple(range(17)), "right", 16, repeated, pictures, tuple(layers), classes, **more)


CASES = {
    "usual": moved([layer_of("conv_stem", (48, 48), 2), layer_of("blocks.6", (3, 3), 32, end=0.91)]),
    "close": moved([layer_of("a", (96, 96), 1, end=0.98, rings=0.9999), layer_of("b", (9, 9), 4, end=-0.8, rings=-0.4)]),
    "long": moved(
        [layer_of("encoder.layer_10.attention." * 6, (5, 7), None, lost="attention reads all of the image " * 2)],
        ("a dog with an unreasonably long name, a second name, and a third",) * 5 + ("cat",), sides=(60, 200),
    ),
    "tall": moved([layer_of("x" * 200, (20, 4), 8)], (), sides=(200, 40), repeated=16),
    "broken": moved([layer_of("nan", (4, 4), 4, maps=np.full((6, 4, 4), np.nan), nonfinite=96, peak=None, signed=False)]),
}  # fmt: skip


SLOW = ("usual", "tall")


@pytest.mark.parametrize("case", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in CASES])
def test_its_texts_are_legible_and_apart(case):
    """Names, classes, cosines and reasons neither meet nor leave the page, however long they are."""
    check_texts(plot_shift(CASES[case]))


def test_it_has_the_last_cosines_and_states_what_they_mean():
    """The cosine of the largest shift is on the page, never rounded up to 1; an invented border is called that."""
    layer = layer_of("conv", (48, 48), 2, end=0.587, rings=0.99999)
    for repeated, words in ((0, "no border is made up"), (4, "Border made up")):
        texts = [text.get_text() for text in plot_shift(replace(moved([layer]), repeated=repeated)).findobj(Text)]
        assert {"0.59", "0.9999"} <= set(texts)
        assert any(words in text for text in texts)


@pytest.mark.parametrize(("count", "drawn"), [(2, []), (4, ["2 of 4 layers"])])
def test_a_slide_has_several_layers_each_with_its_colour_bar(count, drawn):
    """Two layers fit with classes and numbers; of more the first and the last are drawn, which is stated."""
    layers = [layer_of(f"stage{number}", (48, 48), 2) for number in range(count)]
    figure = plot_shift(moved(layers), look="slide")
    assert figure.recipe.get("drawn", []) == drawn
    assert [layer["name"] for layer in figure.recipe["layers"]] == ["stage0", f"stage{count - 1}"]
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) * 100 / 72 > 17.9
    ends = [text.get_text() for text in figure.findobj(Text) if text.get_text().startswith("+")]
    assert len(ends) == 2
    assert "mortarboard" in " ".join(text.get_text() for text in figure.findobj(Text))


def test_a_file_name_has_what_differs_from_the_defaults():
    """Layers, channels, shifts, direction, edge and input are in the name if they were chosen, and only then."""
    shifted = moved([layer_of("conv_stem", (48, 48), 2), layer_of("blocks.1", (24, 24), 4)])
    assert name_parts(shifted, ()) == []
    other = replace(shifted, by=(0, 20), along="down", repeated=4, input_size=(3, 96, 96))
    chosen = ["layers", "channels", "edge", "input_size", "no-crop"]
    channels = "-".join(str(layer.channel) for layer in shifted.layers)
    assert name_parts(other, chosen) == [
        "conv_stem-blocks.1", f"channel{channels}", "by0-20", "down", "edge", "96x96", "no-crop",
    ]  # fmt: skip


def test_a_slide_of_two_shifts_has_its_words_beside_the_tiles():
    """The space beside few tiles is used, and the name of a layer is in one piece."""
    layers = [layer_of(name, (48, 48), 2) for name in ("features.stage_one.conv_stem", "late")]
    few = [replace(each, maps=each.maps[:2]) for each in layers]
    shifted = moved(few, ("mortarboard",) * 2)
    figure = plot_shift(replace(shifted, by=(0, 16), pictures=shifted.pictures[:2]), look="slide")
    check_texts(figure)
    assert "features.stage_one.conv_stem" in [text.get_text() for text in figure.findobj(Text)]
