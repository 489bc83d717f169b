"""Every picture is drawn in every look: slides of one size with large type, pages without captions."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.text import Text
from patch_maps import many_maps, patches_of
from traced_units import make_unit, pooled_unit

import kernelviz as kv
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.page import UNTRAINED
from kernelviz.errors import UsageError
from kernelviz.records import AxisField, ClassScore, Field, Source
from kernelviz.traces import Trace, TracedLayer

RANDOM = Source("resnet18", "resnet18, random weights (seed 0)", "resnet18.random", 1)
NUMBERS = np.random.default_rng(0)
PHOTO = NUMBERS.random((300, 200))
COLOURS = NUMBERS.integers(0, 256, (8, 8, 3), dtype=np.uint8)
SMALLEST = 18.0


def work_out(operation):
    """An operation on seeded numbers."""
    numbers = np.random.default_rng(0)
    values = numbers.integers(-5, 10, (operation.in_channels, *operation.input_size))
    kernel = None if isinstance(operation, kv.Pooling) else numbers.integers(-2, 3, operation.kernel_shape)
    return kv.work_out(operation, values, kernel)


def statistics(channels):
    """Statistics of three images."""
    tally = kv.ChannelTally("layer1")
    for _ in range(3):
        tally.add(NUMBERS.normal(size=(channels, 4, 4)))
    return tally.result()


def trace(count):
    """A network of so many convolutions."""
    layers = [
        TracedLayer(
            f"stages.{at // 10}.conv{at}", "Conv2d", "conv", 1, 1, 1, output_shape=(8 + at, 16, 16), kernel=(3, 3),
            groups=1, field=Field((AxisField(np.arange(16), np.arange(16), 3 + 2 * at, 1, 0),) * 2),
        )
        for at in range(count)
    ]  # fmt: skip
    return Trace(
        (3, 64, 64), tuple(layers), count, count, stages=tuple(f"stages.{at}" for at in range(count // 10 + 1))
    )


def contact_rows(new_maps, count):
    """The maps of several images."""
    return [new_maps((8, 14, 14), image=f"photo-{number}.jpg") for number in range(count)]


def overviews(new_maps, count):
    """The maps of several layers."""
    return [new_maps((64, 14, 14), name=f"blocks.{number}") for number in range(count)]


def likenesses(shape, top):
    """The kernels of a layer of noise that are most like Gabor functions, or like edges."""
    weight = np.random.default_rng(0).normal(size=shape)
    return kv.most_alike([kv.KernelBank(weight)], "edge" if shape[-1] == 3 else "gabor", top)


def history(shape):
    """The kernels of a network with random weights that walk at random."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=shape), axis=0)
    return replace(kv.read_history(None, walk), source=RANDOM)


SCORES = [ClassScore(number, "a class with a name", 0.2) for number in range(5)]
PICTURES = {  # by kind: what draws it, and whether something has no space on a slide
    "32 kernels": (lambda make: kv.plot_kernels(make.bank((32, 3, 3, 3)), view="sum", **make.look), False),
    "rgb": (lambda make: kv.plot_kernels(make.bank((64, 3, 7, 7)), **make.look), False),
    "512 kernels": (lambda make: kv.plot_kernels(make.bank((512, 8, 3, 3)), **make.look), False),
    "2,048 kernels": (lambda make: kv.plot_kernels(make.bank((2048, 2, 3, 3)), view="sum", **make.look), True),
    "matrix": (lambda make: kv.plot_kernels(make.bank((64, 64, 3, 3)), view="matrix", **make.look), True),
    "channels": (lambda make: kv.plot_kernels(make.bank((32, 3, 3, 3)), view="channels", **make.look), False),
    "1 × 1": (lambda make: kv.plot_kernels(make.bank((96, 24, 1, 1)), **make.look), False),
    "1 × 1, large": (lambda make: kv.plot_kernels(make.bank((900, 700, 1, 1)), **make.look), True),
    "maps": (lambda make: kv.plot_features(make.maps((24, 28, 28)), **make.look), False),
    "chosen maps": (lambda make: kv.plot_features(make.maps((24, 28, 28)), top=9, **make.look), True),
    "large maps": (lambda make: kv.plot_features(make.maps((64, 112, 112)), **make.look), True),
    "one map": (lambda make: kv.plot_features(make.maps((24, 28, 28)), reduce="norm", **make.look), False),
    "pca": (lambda make: kv.plot_features(make.maps((24, 28, 28)), reduce="pca", **make.look), False),
    "strips": (lambda make: kv.plot_features(NUMBERS.normal(size=(400, 900)), axes=1, **make.look), True),
    "long strips": (lambda make: kv.plot_features(NUMBERS.normal(size=(8, 5000)), axes=1, **make.look), False),
    "pca of a signal, safe": (
        lambda make: kv.plot_features(
            NUMBERS.normal(size=(8, 5000)), axes=1, reduce="pca", palette="safe", **make.look
        ),
        False,
    ),
    "overlay": (lambda make: kv.plot_overlay(make.maps((8, 7, 7), seen=(224, 224)), **make.look), False),
    "overview": (lambda make: kv.plot_overview(overviews(make.maps, 6), SCORES, **make.look), True),
    "overview of two": (lambda make: kv.plot_overview(overviews(make.maps, 2), SCORES, **make.look), False),
    "contact": (lambda make: kv.plot_contact(contact_rows(make.maps, 12), **make.look), True),
    "patches": (lambda make: kv.plot_patches(patches_of(many_maps(9)), range(4), **make.look), True),
    "patches of one image": (lambda make: kv.plot_patches(patches_of(many_maps(1)), range(4), **make.look), True),
    "history": (lambda make: kv.plot_history(history((24, 16, 3, 7, 7)), **make.look), True),
    "history of sums": (lambda make: kv.plot_history(history((3, 40, 8, 3, 3)), axis="log", **make.look), True),
    "statistics": (lambda make: kv.plot_statistics(statistics(40), RANDOM, **make.look), False),
    "growth": (lambda make: kv.plot_growth(trace(49), **make.look), False),
    "match": (lambda make: kv.plot_matches(make.bank((64, 3, 3, 3)), gabor=False, **make.look), True),
    "filter": (lambda make: kv.plot_filter(PHOTO, "sobel-x", "laplacian", "box", **make.look), True),
    "gradient": (lambda make: kv.plot_gradient(kv.apply_gradient(PHOTO), **make.look), True),
    "likeness": (lambda make: kv.plot_likenesses(likenesses((60, 1, 3, 3), 12), **make.look), True),
    "likeness of large kernels": (lambda make: kv.plot_likenesses(likenesses((9, 1, 11, 11), 3), **make.look), True),
    "bank": (lambda make: kv.plot_filters(3, **make.look), True),
    "step": (lambda make: kv.plot_convolution(work_out(kv.Convolution(6, 3)), **make.look), False),
    "large step": (lambda make: kv.plot_convolution(work_out(kv.Convolution(40, 3)), **make.look), False),
    "channels of a step": (
        lambda make: kv.plot_convolution(work_out(kv.Convolution(5, 3, in_channels=16)), **make.look),
        True,
    ),
    "pool": (lambda make: kv.plot_convolution(work_out(kv.Pooling(5, 2)), **make.look), False),
    "stamps": (
        lambda make: kv.plot_convolution(
            work_out(kv.TransposedConvolution(3, 2)), at=(1, 1), view="stamps", **make.look
        ),
        True,
    ),
    "stamps of channels": (
        lambda make: kv.plot_convolution(
            work_out(kv.TransposedConvolution(2, 2, stride=2, in_channels=3)), view="stamps", **make.look
        ),
        False,
    ),
    "grey image": (lambda make: kv.plot_pixels(kv.read_image(PHOTO), **make.look), True),
    "small image": (lambda make: kv.plot_pixels(kv.read_image(PHOTO[:8, :8]), **make.look), False),
    "colour image": (lambda make: kv.plot_pixels(kv.read_image(COLOURS), **make.look), True),
    "image as input": (
        lambda make: kv.plot_convolution(replace(work_out(kv.Convolution(6, 3)), greys=(-5.0, 9.0)), **make.look),
        False,
    ),
    "pooled unit": (lambda make: kv.plot_unit(pooled_unit(), **make.look), False),
    "pooled map": (lambda make: kv.plot_kernel_and_map(pooled_unit(maximum=False), **make.look), False),
    "steps": (lambda make: kv.plot_convolution(work_out(kv.Convolution(5, 3)), view="steps", **make.look), True),
    "unit": (lambda make: kv.plot_unit(make_unit(1), **make.look), False),
    "colour unit": (lambda make: kv.plot_unit(make_unit(3, image=True), **make.look), False),
    "deep unit": (lambda make: kv.plot_unit(make_unit(40), **make.look), True),
    "kernel and map": (lambda make: kv.plot_kernel_and_map(make_unit(40), **make.look), True),
    "call": (lambda make: kv.plot_call("Conv2D(32, 3, input_shape=(150, 150, 3))", **make.look), False),
    "rgb, safe": (lambda make: kv.plot_kernels(make.bank((32, 3, 7, 7)), palette="safe", **make.look), False),
    "planes, safe": (lambda make: kv.plot_kernels(make.bank((100, 3, 3, 3)), palette="safe", **make.look), True),
    "large planes, safe": (lambda make: kv.plot_kernels(make.bank((64, 3, 33, 33)), palette="safe", **make.look), True),
    "pca, safe": (
        lambda make: kv.plot_features(make.maps((24, 28, 28)), reduce="pca", palette="safe", **make.look),
        False,
    ),
    "match, safe": (
        lambda make: kv.plot_matches(make.bank((64, 3, 3, 3)), gabor=False, palette="safe", **make.look),
        True,
    ),
    "several maps": (
        lambda make: kv.plot_maps(work_out(kv.Convolution(6, 3, out_channels=2)), relu=True, pool=2, **make.look),
        True,
    ),
    "four maps": (lambda make: kv.plot_maps(work_out(kv.Convolution(12, 3, out_channels=4)), **make.look), True),
    "sharing": (lambda make: kv.plot_sharing(**make.look), True),
    "sharing of nine": (lambda make: kv.plot_sharing(9, 5, **make.look), True),
    "uses": (lambda make: kv.plot_uses(kv.Convolution(5, 3, padding=1), **make.look), False),
    "uses of a large input": (lambda make: kv.plot_uses(kv.Convolution(40, 5, padding=2), **make.look), False),
    "chain": (lambda make: kv.plot_chain(16, ["conv6"] * 3, padding="same", **make.look), False),
    "long chain": (lambda make: kv.plot_chain(224, ["conv3"] * 12, **make.look), False),
    "both pools": (lambda make: kv.plot_pools(work_out(kv.Pooling(4, 2)), **make.look), False),
    "both pools of a large input": (lambda make: kv.plot_pools(work_out(kv.Pooling(32, 4)), **make.look), False),
    "costs": (lambda make: kv.plot_costs(56, ["conv7", "3xconv3", "dw7+conv1"], in_channels=64, **make.look), False),
    "many costs": (
        lambda make: kv.plot_costs(
            (224, 160), [f"conv{k}+dw3+conv1c128" for k in range(1, 9)], in_channels=4, **make.look
        ),
        True,
    ),
    "matrix of a convolution": (lambda make: kv.plot_matrix(work_out(kv.Convolution(4, 3)), **make.look), False),
    "large matrix of a convolution": (
        lambda make: kv.plot_matrix(work_out(kv.Convolution(10, 3)), **make.look),
        False,
    ),
}
SAMPLE = {  # of which the others are variants
    "32 kernels", "512 kernels", "matrix", "maps", "overlay", "overview", "contact", "statistics", "growth", "match",
    "filter", "gradient", "likeness", "bank", "step", "channels of a step", "steps", "colour unit", "kernel and map",
    "call", "stamps of channels", "grey image", "colour image", "pooled unit",
    "rgb, safe", "patches", "history",
    "planes, safe", "several maps", "sharing", "uses", "chain", "matrix of a convolution",
    "both pools", "costs",
}  # fmt: skip
KINDS = [kind if kind in SAMPLE else pytest.param(kind, marks=pytest.mark.slow) for kind in PICTURES]
FEW = {"32 kernels", "one map", "overlay", "contact", "statistics", "filter", "pool", "kernel and map", "chain"}
WITHOUT_CAPTION = {"sharing", "sharing of nine"}  # all texts are parts of the picture


class Maker:
    """What makes the subjects of pictures, and the arguments of their look."""

    def __init__(self, new_bank, new_maps, **look):
        self.look = look
        self._bank, self._maps = new_bank, new_maps

    def bank(self, shape):
        """Kernels of a network with random weights."""
        return self._bank(shape, label=RANDOM.label)

    def maps(self, shape, **choices):
        """Feature maps of such a network."""
        return self._maps(shape, label=RANDOM.label, **choices)


def words(figure):
    """All texts of a figure."""
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def overlaps(these, those):
    """Which of these boxes (n, 4) meet which of those (m, 4) by more than two pixels, as (n, m)."""
    low = np.maximum(these[:, None, :2], those[None, :, :2])
    return (low + 2 < np.minimum(these[:, None, 2:], those[None, :, 2:])).all(axis=-1)


@pytest.mark.sampled
@pytest.mark.parametrize("kind", KINDS)
def test_a_slide_has_one_size_and_large_type_and_states_what_is_missing(new_bank, new_maps, kind):
    """1,280 × 720 pixels, no letters below 18, no text over another, and ``n of m`` where not all is drawn."""
    draw, cut = PICTURES[kind]
    figure = draw(Maker(new_bank, new_maps, look="slide"))
    FigureCanvasAgg(figure).draw()
    assert (round(figure.bbox.width), round(figure.bbox.height)) == (1280, 720)
    texts = words(figure)
    small = [text.get_text() for text in texts if text.get_fontsize() * 100 / 72 < SMALLEST - 0.02]
    assert not small
    renderer = figure.canvas.get_renderer()
    boxes = np.array([text.get_window_extent(renderer).extents for text in texts])
    outside = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > (1280, 720)).any(axis=1)
    assert not [text.get_text() for text, out in zip(texts, outside, strict=True) if out]
    inked = boxes + np.array([0, 0.18, 0, -0.1])[None] * (boxes[:, 3] - boxes[:, 1])[:, None]  # without descenders
    met = np.argwhere(np.triu(overlaps(inked, inked), 1))
    assert not [(texts[one].get_text(), texts[other].get_text()) for one, other in met]
    rasters = np.array([raster.get_window_extent().extents for raster in figure.findobj(RasterArtist)]).reshape(-1, 4)
    assert (rasters >= -1).all()
    assert (rasters <= (1281, 721, 1281, 721)).all()
    line = " ".join(text.get_text() for text in texts if text.get_window_extent(renderer).y0 < 60)
    assert bool(re.search(r"[0-9] of [0-9,]+ (?!values)|[0-9] maps of each layer|without ", line)) == cut, line
    assert figure.recipe["look"] == "slide"


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in FEW else pytest.param(kind, marks=pytest.mark.slow)
        for kind in PICTURES
        if kind not in WITHOUT_CAPTION
    ],
)
def test_without_caption_only_title_picture_and_bar_are_left(new_bank, new_maps, kind):
    """The lines that are left out are those of the recipe, and no longer on the page; every picture has some."""
    page = PICTURES[kind][0](Maker(new_bank, new_maps, caption=False))
    left_out = page.recipe["left_out"]
    drawn = {text.get_text() for text in words(page)}
    assert left_out
    assert not drawn & set(left_out)
    assert page.recipe["caption"] is False
    whole = PICTURES[kind][0](Maker(new_bank, new_maps))
    assert not {"look", "caption", "left_out"} & set(whole.recipe)
    assert page.bbox.height * page.bbox.width < whole.bbox.height * whole.bbox.width


@pytest.mark.parametrize("look", [{"look": "slide"}, {"caption": False}], ids=str)
def test_the_badge_of_random_weights_stays(look, tiny):
    """A picture of weights that were never trained says so, also without a caption."""
    figure = kv.plot_kernels(kv.read_kernels(tiny, "conv1.0"), **look)
    assert [text.get_text() for text in words(figure)].count(UNTRAINED) == 1
    long = kv.plot_kernels(kv.KernelBank(NUMBERS.random((8, 3, 3, 3)), source=tiny.source), **look)
    assert [text.get_text() for text in words(long)].count(UNTRAINED) == 1


def test_maps_of_an_animation_are_slides():
    """All frames have the size of a slide, and what is left out of a page is in the recipe."""
    worked = work_out(kv.Convolution(4, 3, out_channels=2))
    animation = kv.animate_maps(worked, relu=True, look="slide")
    assert {(page.width, page.height) for page in animation.pages} == {(1280, 720)}
    assert animation.recipe["look"] == "slide"
    assert kv.animate_maps(worked, caption=False).recipe["left_out"]


def test_clipped_and_broken_values_are_stated_on_a_slide(new_bank):
    """What changes the meaning of the colours stays beside the picture."""
    weight = NUMBERS.normal(size=(16, 1, 3, 3))
    weight[3, 0, 1, 1] = np.nan
    figure = kv.plot_kernels(new_bank(weight=weight), scale=(-0.5, 0.5), look="slide")
    line = " ".join(text.get_text() for text in words(figure))
    assert "outside the colour scale" in line
    assert "not finite" in line


@pytest.mark.parametrize(("view", "channels"), [("window", 1), ("stamps", 1), ("stamps", 2)])
def test_all_frames_of_an_animation_are_slides(view, channels):
    """Nothing jumps: all frames have the size of a slide, and their common texts one place."""
    worked = work_out(kv.TransposedConvolution(2, 2, in_channels=channels))
    animation = kv.animate_convolution(worked, view=view, look="slide")
    assert {(page.width, page.height) for page in animation.pages} == {(1280, 720)}
    assert animation.scale == 1
    places = [
        {(item.x, item.y) for item in page.items if getattr(item, "text", "") == "output"} for page in animation.pages
    ]
    assert len(set(map(frozenset, places))) == 1
    assert animation.recipe["look"] == "slide"


def test_an_unknown_look_and_an_axes_in_a_look_are_rejected(new_bank):
    """The nearest look is offered; an Axes is no page."""
    from matplotlib.figure import Figure

    with pytest.raises(UsageError, match="but got 'slid'") as error:
        kv.plot_kernels(new_bank((4, 1, 3, 3)), look="slid")
    assert error.value.hint == "Did you mean slide?"
    with pytest.raises(UsageError, match="an Axes is none"):
        kv.plot_kernels(new_bank((4, 1, 3, 3)), ax=Figure().add_subplot(), look="slide")


def test_the_recipe_of_a_slide_counts_what_it_draws(new_bank):
    """``shown``, ``channels`` and tiles are those of the slide, as in its line; ``total`` stays."""
    figure = kv.plot_kernels(new_bank((2048, 2, 3, 3)), view="sum", look="slide")
    recipe = figure.recipe
    assert recipe["drawn"] == [f"{recipe['shown']:,} of 2,048 kernels"]
    assert recipe["shown"] < recipe["total"] == 2048
    assert recipe["channels"] == f"0-{recipe['shown'] - 1}"


@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        (kv.Convolution(25, 3, stride=2), 8),
        (kv.Convolution(12, 3, stride=2), 25),
        (kv.TransposedConvolution(6, 3, stride=2), 2),
    ],
    ids=["large", "ruled", "transposed"],
)
def test_large_inputs_have_slides_of_some_steps_with_a_colour_bar(operation, shown):
    """What fits is drawn and counted; cells without numbers have a bar, whose ends are opposite numbers."""
    figure = kv.plot_convolution(work_out(operation), view="steps", look="slide")
    assert figure.recipe["shown"] == shown
    drawn = [text.get_text() for text in words(figure)]
    total = figure.recipe["total"]
    assert any(f"{shown} of {total:,} steps" in text for text in drawn) == (shown < total)
    ends = [text for text in drawn if text.startswith("−") and text[1:] in drawn]
    assert ends


def test_a_slide_of_many_steps_has_the_kernel_and_reaches_all_corners_of_the_input():
    """The steps are those of the first and of the last row, from the first to the last column, or the first to the last."""
    figure = kv.plot_convolution(work_out(kv.Convolution(60, 3)), view="steps", look="slide")
    drawn = [text.get_text() for text in words(figure)]
    assert {f"row {row}, column {column}" for row in (0, 57) for column in (0, 57)} <= set(drawn)
    assert "kernel" in drawn
    assert "6 of 3,364 steps, spread over the first and the last row" in drawn
    column = kv.plot_convolution(work_out(kv.Convolution((200, 3), 3)), view="steps", look="slide")
    assert {"row 0", "row 197"} <= {text.get_text() for text in words(column)}


def test_the_title_of_maps_counts_the_kernels_that_are_drawn():
    """A slide of two of four kernels is not called one of four, and has a colour bar if maps have no numbers."""
    figure = kv.plot_maps(work_out(kv.Convolution(12, 3, out_channels=4)), look="slide")
    drawn = [text.get_text() for text in words(figure)]
    assert "Two of four kernels and their maps" in drawn
    assert any(text.startswith("2 of 4 kernels") for text in drawn)
    assert figure.recipe["shown"] == 2
    assert any(text.startswith("−") and text[1:] in drawn and text not in ("−1", "−2") for text in drawn)


def test_a_page_of_maps_states_how_many_kernels_it_leaves_out():
    """Of five kernels four are drawn: the title counts both, and the list of biases is not complete."""
    operation = kv.Convolution(4, 1, out_channels=5, bias=True)
    worked = kv.work_out(operation, np.arange(16).reshape(1, 4, 4), np.ones((5, 1, 1, 1)), [1, 2, 3, 4, 5])
    drawn = " ".join(text.get_text() for text in words(kv.plot_maps(worked)))
    assert "Four of five kernels and their maps" in drawn
    assert "5 biases (1, 2, 3, 4, …)" in drawn
    one = kv.work_out(kv.Convolution(4, 1), np.ones((1, 4, 4)), np.ones((1, 1, 1, 1)))
    assert "1 kernel × 1 weight = 1 weight, no bias" in " ".join(text.get_text() for text in words(kv.plot_maps(one)))


@pytest.mark.parametrize("at", [(2, 4), (3, 4), (1, 4)])
def test_letters_of_windows_are_not_on_the_arrows_to_the_kernels(at):
    """Windows at the right edge have their letters beside the arrows, which begin there."""
    values = np.zeros((1, 6, 6))
    values[0, at[0] : at[0] + 2, at[1] : at[1] + 2] = 1
    worked = kv.work_out(kv.Convolution(6, 2, out_channels=4), values, np.ones((4, 1, 2, 2)))
    figure = kv.plot_maps(worked)
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    letters = [text.get_window_extent(renderer) for text in words(figure) if text.get_text() in "abcd"]
    lines = [line.get_window_extent(renderer) for line in figure.findobj(Line2D)]
    start = min((line for line in lines if line.height < 5 and 12 < line.width < 60), key=lambda line: line.x0)
    for box in sorted(letters, key=lambda box: box.x0)[:4]:
        assert box.x1 + 10 < start.x0 or abs(box.y0 + box.height / 2 - start.y0) > 16


def test_the_head_of_a_pool_begins_with_its_column_and_the_key_has_no_bold_numbers_if_there_are_none():
    """Maps of 18 × 18 have no numbers, and the pool of nine small cells is below its own head."""
    figure = kv.plot_maps(work_out(kv.Convolution(20, 3, out_channels=2)), relu=True, pool=2)
    FigureCanvasAgg(figure).draw()
    head, below = (
        next(text for text in words(figure) if text.get_text() == word) for word in ("max-pool", "18 / 2 = 9")
    )
    start = head.get_window_extent().x0
    assert abs(start - below.get_window_extent().x0) < 3
    pooled = max(raster.get_window_extent().x0 for raster in figure.findobj(RasterArtist))
    assert abs(start - pooled) < 4
    assert "the pool keeps the largest number of each 2 × 2 block" in [text.get_text() for text in words(figure)]


def test_slides_of_sharing_and_of_a_call_state_what_they_leave_out():
    """The weights for an image, the parameters and the line of the other framework are in the last line."""
    assert "without the weights for an image of 10 × 10 × 3" in kv.plot_sharing(look="slide").recipe["drawn"][0]
    figure = kv.plot_call("Conv2D(32, (3, 3), activation='relu', input_shape=(150, 150, 3))", look="slide")
    assert {"896 parameters", "torch: nn.Conv2d(3, 32, 3), nn.ReLU()"} <= set(figure.recipe["drawn"])
    assert "a convolution in Keras" in [text.get_text() for text in words(figure)]
    many = "nn.Conv2d(3, 8, kernel_size=5, stride=2, padding=2, bias=False, groups=1)"
    assert kv.plot_call(many, look="slide").recipe["look"] == "slide"


@pytest.mark.parametrize("units", [7, 9])
def test_a_slide_of_sharing_has_its_matrices_for_every_number_of_units(units):
    """The lines of many units are shorter, so that the digits of the matrices are legible."""
    figure = kv.plot_sharing(units, 3, look="slide")
    drawn = [text.get_text() for text in words(figure)]
    assert {str(units * units), "matrix"} <= set(drawn)
    assert "without the weights for an image" in figure.recipe["drawn"][0]


def test_a_slide_of_stamps_has_the_numbers_of_all_channels():
    """Three input channels of 3 × 3 are beside each other, so that each sum of the output can be checked."""
    worked = work_out(kv.TransposedConvolution(3, 3, in_channels=3, out_channels=2))
    figure = kv.plot_convolution(worked, view="stamps", look="slide")
    drawn = [text.get_text() for text in words(figure)]
    assert {"input 0", "input 1", "input 2", "=", "output 0"} <= set(drawn)
    assert drawn.count("+") == 2
    assert f"{int(worked.output[0, 4, 4])}" in drawn
    assert figure.recipe["drawn"] == ["output channel 0 of 2"]


def test_the_underlines_of_a_call_end_with_its_words():
    """On a slide, whose letters are smaller than those of the page, each underline is as wide as its argument."""
    figure = kv.plot_call("Conv2D(32, (3, 3), activation='relu', input_shape=(150, 150, 3))", look="slide")
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    box = next(text for text in words(figure) if text.get_text().startswith("activation")).get_window_extent(renderer)
    lines = [line.get_window_extent(renderer) for line in figure.findobj(Line2D)]
    (line,) = [line for line in lines if abs(line.x0 - box.x0) < 4 and abs(line.y0 - box.y0) < 12 and line.width > 50]
    assert abs(line.x1 - box.x1) < 4


def test_the_identity_of_a_unit_is_left_to_the_recipe():
    """Beside the title is the unit; the model is in the last line and the whole identity in the recipe."""
    figure = kv.plot_unit(make_unit(3, image=True), look="slide")
    page = kv.plot_unit(make_unit(3, image=True))
    identity = next(text.get_text() for text in words(page) if " · " in text.get_text())
    assert identity in figure.recipe["left_out"]
    assert identity not in [text.get_text() for text in words(figure)]


def test_slides_of_filters_and_matches_state_clipped_values_and_missing_kinds(new_bank):
    """Values outside the colours are in the one line; kernels that are not drawn are counted by kind, of all."""
    line = " ".join(kv.plot_filter(PHOTO, "sobel-x", look="slide").recipe["drawn"])
    assert re.search(r"[\d,]+ of 60,000 values are outside the colour scale and clipped", line)
    weight = NUMBERS.normal(size=(64, 3, 3, 3))
    weight[5] = 0
    figure = kv.plot_matches(new_bank(weight=weight), gabor=False, look="slide")
    (line,) = figure.recipe["drawn"]
    found = re.match(r"(\d+) of 64 kernels, without (.*)", line)
    missing = sum(int(each.split()[0]) for each in found[2].split(", "))
    assert int(found[1]) + missing == 64
    assert "1 as good as zero" in found[2]
    assert figure.recipe["shown"] == int(found[1])
