"""The page of effective receptive fields: legible, on one scale of pixels, and clear about what its colours mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_texts

from kernelviz.drawing import page as drawn
from kernelviz.drawing.field_page import _levels, field_page, plot_fields
from kernelviz.drawing.page import MARGIN, PAGE_WIDTH, text_width
from kernelviz.errors import UsageError
from kernelviz.records import Box, Source, Weights
from kernelviz.views.effective_fields import SHARES, EffectiveField, centroid_of, outside_of, smallest_square


def source_of(kind="bundled"):
    """A model with weights of this kind."""
    label = f"resnet18, {kind} weights" + (" (seed 0)" if kind == "random" else "")
    return Source("resnet18", label, f"resnet18.{kind}", 1, Weights(kind, kind, None))


def field_of(layer="layer1", *, sides=(96, 96), half=10, at=None, **more):
    """An effective field: a Gaussian of noise around a place, and its receptive field."""
    middle = at or (sides[0] // 2, sides[1] // 2)
    rows, columns = np.ogrid[: sides[0], : sides[1]]
    far = np.maximum(np.abs(rows - middle[0]), np.abs(columns - middle[1]))
    values = np.exp(-((3 * far / half) ** 2)) * (1 + np.random.default_rng(0).random(sides)) * (far <= half)
    box = Box(max(0, middle[0] - half), min(sides[0] - 1, middle[0] + half),
              max(0, middle[1] - half), min(sides[1] - 1, middle[1] + half))  # fmt: skip
    facts = {
        "values": values, "layer": layer, "unit": (6, 6), "box": box,
        "squares": tuple(smallest_square(values, share) for share in SHARES), "centroid": centroid_of(values),
        "outside": outside_of(values, box), "images": tuple(f"{number}.png" for number in range(17)),
        "source": source_of(), "shape": (64, 12, 12), "size": (2 * half + 1,) * 2, "middle": middle,
        "input_size": (3, *sides),
    }  # fmt: skip
    return EffectiveField(**(facts | more))


def row_of(count, **more):
    """Fields that grow."""
    return [field_of(f"layer{number}", half=3 + 9 * number, **more) for number in range(count)]


LONG = "encoder.layers.encoder_layer_10.self_attention." * 3
CASES = {
    "one": [field_of()],
    "one whole": [field_of(half=200)],
    "three": row_of(3),
    "seven": row_of(7),
    "against": [*row_of(3), *row_of(3, source=source_of("random"))],
    "two of another model": [field_of("a.b"), replace(field_of("c.d"), source=Source("vgg11", "vgg11", "vgg11", 1))],
    "wide": row_of(2, sides=(60, 200)),
    "tall": row_of(2, sides=(200, 60)),
    "large": [field_of(sides=(1500, 1500), half=20, at=(30, 40))],
    "long names": [field_of(LONG), field_of(f"{LONG}2", box=None, outside=None, size=None, middle=None, lost="why " * 30)],
    "unusual": [
        replace(field_of(half=5), mixes_image=True, outside=0.0067, zero=1, nonfinite=2, notes=("1 of 17 left out",)),
        field_of("b", channels=(1, 2), box=Box(0, -1, 0, -1)),
    ],
}  # fmt: skip
SLOW = {"seven", "tall", "one whole"}


@pytest.mark.parametrize("case", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in CASES])
def test_its_texts_are_legible_and_apart(case):
    """Names, facts, numbers, labels and captions neither meet nor leave the page, however long they are."""
    check_texts(plot_fields(CASES[case]))


@pytest.mark.parametrize("case", ["one", "three", "against", "unusual"])
def test_a_slide_has_the_numbers_and_large_letters(case):
    """A slide has tiles with their tables, says that colours are logarithmic, and has letters of 18 at least."""
    figure = plot_fields(CASES[case], look="slide")
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) * 100 / 72 > 17.9
    words = " ".join(text.get_text() for text in texts)
    assert "logarithmic" in words
    assert "side, px" in words


def test_of_many_layers_a_slide_has_some_and_states_it():
    """What does not fit a slide is counted, and the recipe names what is drawn."""
    figure = plot_fields(CASES["seven"], look="slide")
    assert figure.recipe["drawn"][0] == "3 of 7 layers"
    assert [layer["name"] for layer in figure.recipe["layers"]] == ["layer0", "layer3", "layer6"]


def test_colours_are_the_logarithm_of_the_share_of_the_largest():
    """1 is the last level, 1/100 the middle, and 1/10,000 and less the first."""
    levels = _levels(np.array([[7.0, 0.07, 7e-4, 7e-6, 0.0]]))
    assert levels.index.tolist() == [[200, 100, 0, 0, 0]]


def test_what_a_tile_is_is_in_the_page_and_in_its_text_alternative():
    """Sides are numbers of the table; frames that are missing, gates and images left out are stated."""
    gate = replace(CASES["unusual"][0], layer="gate")
    figure = plot_fields([*row_of(2), field_of("whole", half=300), gate])
    words = [text.get_text() for text in figure.findobj(Text)]
    for square in CASES["three"][0].squares:
        assert str(square.side) in words
    alternative = " ".join(figure.alternative)
    for part in (
        "layer0, receptive field 7 px, unit 6, 6 of 12 × 12: 20 % in", "numbers are linear", "17 images",
        "No frame where the unit can read the whole image: whole", "+: a gate", "left out",
    ):  # fmt: skip
        assert part in alternative, part


def test_fields_of_different_images_are_not_called_those_of_the_first():
    """The line below the title counts the images of each."""
    figure = plot_fields([field_of(), field_of(images=("a.png", "b.png"))])
    assert any("17 and 2 images, which differ" in text.get_text() for text in figure.findobj(Text))


def test_random_weights_in_one_row_are_marked_there():
    """Only the row of random weights has the badge; a page of nothing else has it beside its title."""
    for fields, count in ((CASES["against"], 1), (row_of(2, source=source_of("random")), 1), (row_of(2), 0)):
        words = [text.get_text() for text in plot_fields(fields).findobj(Text)]
        assert words.count("not trained") == count


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "no effective receptive field"),
        ([field_of(), field_of("b", sides=(90, 96))], "on one scale of pixels, but the inputs are 90 × 96 and 96 × 96"),
        ([*row_of(2), field_of(source=source_of("random"))], "as many layers as the first, but they have 2 and 1"),
        ([field_of(f"{number}") for number in range(13)], "at most 12 layers, but got 13"),
    ],
)
def test_what_does_not_fit_one_page_is_refused(fields, message):
    """Other input sizes, other numbers of layers, and more than fit are refused."""
    with pytest.raises(UsageError, match=message):
        plot_fields(fields)


def test_the_heads_of_the_last_column_end_with_the_page():
    """A line that is longer than the last column is broken, though the columns are apart."""
    one = field_of(size=(851, 851), unit=(3, 3), shape=(320, 7, 7), half=200)
    page = field_page([[one] * 3])
    ends = [item.x + text_width(item.text, item.size) for item in page.items
            if isinstance(item, drawn.Text) and item.text.startswith("receptive field 851")]  # fmt: skip
    assert len(ends) == 3
    assert max(ends) <= PAGE_WIDTH - MARGIN
