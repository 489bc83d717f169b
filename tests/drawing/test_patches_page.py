"""The page of patches: legible, hatched outside the image, and it states what is drawn of how much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_texts
from patch_maps import make_field, make_maps, many_maps, patches_of

import kernelviz as kv
from kernelviz.drawing.page import Strokes, paragraphs
from kernelviz.drawing.patches_page import patches_page, single_patch
from kernelviz.records import AxisField, Field
from kernelviz.views.patches import Crop, crop_of, irregularities


def words(figure):
    """The texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text)]


def everywhere(units=4, pixels=32):
    """Units that all read the whole image, as tokens behind attention."""
    axis = AxisField(np.zeros(units, int), np.full(units, pixels - 1), pixels, None, None)
    return many_maps(3, units=units, field=Field((axis, axis), mixes_image=True), pixels=pixels, channels=3)


def odd():
    """A dead channel, a tie, a row that ends, a value that is not finite."""
    for number, maps in enumerate(many_maps(5, channels=4)):
        values = np.maximum(maps.values, 0)
        values[1] = 0.5
        values[2] = 0
        values[2, 1, 1] = 3 if number < 2 else 0
        values[3, 0, 0] = np.nan
        yield replace(maps, values=values)


def large(size, units=4, pixels=224):
    """Fields of this size in an image."""
    field = make_field(units, pixels, size=size, jump=pixels // units, offset=-size // 2)
    return many_maps(3, units=units, field=field, pixels=pixels, channels=3)


CASES = {
    "usual": lambda: patches_of(many_maps(9)),
    "one image": lambda: patches_of(many_maps(1)),
    "many patches": lambda: patches_of(many_maps(9), patches=20, per_image=4),
    "lowest": lambda: patches_of(many_maps(9), lowest=True, patches=3),
    "odd": lambda: patches_of(odd()),
    "two lines": lambda: patches_of(large(160), range(3), pixels=224),
    "reduced": lambda: patches_of(large(201), range(3), pixels=224),
    "the whole image": lambda: patches_of(everywhere(), range(3)),
    "larger than the image": lambda: patches_of(large(500), range(3), pixels=224),
}


@pytest.mark.sampled
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernels", [None, 1, 3])
def test_its_texts_are_legible_and_apart(case, kernels, new_bank):
    """Values, numbers and captions neither meet nor leave the page."""
    patches = CASES[case]()
    bank = new_bank((len(patches.mean), kernels, 3, 3)) if kernels else None
    check_texts(kv.plot_patches(patches, range(min(4, len(patches.mean))), kernels=bank))


def test_three_inputs_of_a_group_are_no_colours(new_bank):
    """Only a kernel that reads three channels in all is drawn as colour."""
    patches, bank = CASES["usual"](), new_bank((5, 3, 3, 3))
    drawn, grouped = (kv.plot_patches(patches, "0-3", kernels=each) for each in (bank, replace(bank, groups=5)))
    plain = kv.plot_patches(patches, "0-3")
    assert any("weight of each kernel" in text for text in words(drawn))
    assert words(grouped) == words(plain)


def test_ties_dead_channels_and_ends_are_stated():
    """How many units have the best value, what is dead, where a row ends, and what is not finite."""
    figure = kv.plot_patches(CASES["odd"](), "0-3")
    texts = words(figure)
    assert "+3.00 in 2 units, in 2 images: all are drawn" in texts
    assert "dead: 0.500 everywhere" in texts
    assert "2 of 5" in texts
    assert "1 channel is dead (the same value in all images): 1" in texts
    assert any(text.startswith("A row ends where no further image") for text in texts)
    assert "5 values are not finite, in 1 channel, and left out" in texts
    assert figure.recipe["nonfinite"] == 5
    assert figure.recipe["channels"] == [0, 1, 2, 3]


def test_a_row_that_ends_for_lack_of_distance_states_it():
    """Of several patches per image a row may end since no further unit is half a receptive field away."""
    values = np.random.default_rng(0).standard_normal((1, 8, 8)).astype(np.float32)
    tally = kv.PatchTally(patches=8, per_image=8)
    tally.add(make_maps(values, 0, field=make_field(8, 32, size=31, jump=4)))
    patches = tally.result()
    assert 0 < patches.highest.counts[0] < 8
    lines = irregularities(patches, [0])
    assert (
        "A row ends where no further unit half a receptive field away has more than the channel's smallest value"
        in lines
    )


def test_what_is_outside_is_hatched_and_counted():
    """A patch at the upper left corner: its pixels are at the lower right of the tile, the rest is hatched."""
    values = np.zeros((1, 8, 8), np.float32)
    values[0, 0, 0] = 1
    patches = patches_of([make_maps(values, 0)], [0])
    page = patches_page(patches, [0]).panel
    (raster,) = [item for item in page.items if getattr(getattr(item, "content", None), "shape", ())[:2] == (4, 4)]
    zoom = raster.width / 4
    assert raster.height == 4 * zoom == round(zoom) * 4
    assert any("hatched: outside the image, in 1 of 1 patch" in text for text in paragraphs(page))
    np.testing.assert_array_equal(raster.content, patches.crops[0, 0, 0].pixels)


def test_the_text_alternative_is_title_and_caption():
    """The paragraphs of a page contain the layer, the number of images, and how many channels are drawn."""
    found = paragraphs(patches_page(CASES["usual"](), [0, 1]).panel)
    assert found[0] == "What excites the channels of layer1"
    assert any("receptive field 7 × 7 px" in text and "9 images" in text for text in found)
    assert any(text.startswith("2 of 5 channels") for text in found)


def test_channels_that_do_not_fit_are_left_out_and_counted():
    """A page of at most four megapixels has the first channels, and its recipe lists them."""
    patches = patches_of(many_maps(9, channels=40), range(40))
    figure = kv.plot_patches(patches, range(40))
    assert figure.bbox.width * figure.bbox.height <= 4.3e6
    drawn = figure.recipe["channels"]
    assert 0 < len(drawn) < 40
    assert any(text.startswith(f"{len(drawn)} of 40 channels") for text in words(figure))


@pytest.mark.parametrize("look", ["slide", "dark", "print"])
def test_every_look_draws_it(look, new_bank):
    """A slide has fewer channels, which is stated."""
    patches = CASES["usual"]()
    figure = kv.plot_patches(patches, range(4), kernels=new_bank((5, 1, 3, 3)), look=look)
    assert figure.recipe["look"] == look
    assert ("drawn" in figure.recipe) <= (look == "slide")


def test_a_single_patch_has_the_pixels_of_the_image():
    """At the size of the receptive field; outside of the image light and dark diagonals."""
    pixels = np.random.default_rng(0).integers(0, 100, (8, 8, 3), dtype=np.uint8)
    crop = crop_of(pixels, (-2, 3, 4, 9))
    assert isinstance(crop, Crop)
    drawn = single_patch(crop, {}).rgb
    assert drawn.shape == (6, 6, 3)
    np.testing.assert_array_equal(drawn[2:, :4], pixels[:4, 4:])
    assert set(np.unique(drawn[:2])) == {107, 240}


def test_a_unit_that_reads_the_whole_image_is_framed_in_it():
    """Each patch is the whole image then, so a frame marks the share of the unit, and the caption states it."""
    patches = patches_of(everywhere(), range(3))
    page = patches_page(patches, [0])
    frames = [item for item in page.panel.items if isinstance(item, Strokes) and len(item.lines) == 4]
    assert len(frames) == 2 * patches.possible
    stated = "a frame marks its cell in a grid of 4 × 4 units over the image"
    assert any(stated in text for text in words(kv.plot_patches(patches, [0])))
    assert not [item for item in patches_page(patches_of(many_maps(3)), [0]).panel.items if isinstance(item, Strokes)
                and len(item.lines) == 4 and item.colour == "halo"]  # fmt: skip
