"""Pictures of filtered images and of the bank: pixel for pixel, true colours, texts that do not overlap."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from page_checks import check_composition

from kernelviz.drawing.colour import ramp
from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.page import Raster
from kernelviz.drawing.page import Text as PageText
from kernelviz.errors import UsageError
from kernelviz.filters.bank import classical_filters, find_filters
from kernelviz.filters.filter_pages import EDGE, MOST_PIXELS, filter_page, limits_of, plot_filters
from kernelviz.filters.filtering import agreement_of, apply_filter, apply_kernel
from kernelviz.filters.gradient import apply_gradient, plot_gradient
from kernelviz.filters.matching import colour_directions
from kernelviz.filters.plots import plot_filter


def check(figure, *, filled=True):
    """No text overlaps another, leaves the page, or is too small on a narrow screen; only digits are on colour."""
    FigureCanvasAgg(figure).draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    tiles = [artist.get_window_extent() for artist in figure.findobj(RasterArtist)]
    check_composition(
        figure, [text.get_text() for text in texts], np.array([box.extents for box in boxes]), filled=filled
    )
    for at, box in enumerate(boxes):
        word = texts[at].get_text()
        assert box.x0 >= 0, word
        assert box.y0 >= 0, word
        assert box.x1 <= figure.bbox.width, word
        assert box.y1 <= figure.bbox.height, word
        assert box.height * 640 / figure.bbox.width >= 9, word
        assert not [texts[other].get_text() for other in range(at) if box.overlaps(boxes[other])], word
        digits = word.strip("−.0123456789") == ""
        assert digits or not any(box.overlaps(tile) for tile in tiles), word


def words(figure):
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(Text)]


def picture(height, width, seed=0):
    """A random image."""
    return np.random.default_rng(seed).random((height, width))


@pytest.mark.parametrize("size", [(1, 1), (9, 9), (60, 300), (400, 90), (700, 700)])
@pytest.mark.parametrize(
    "names", [["sobel-x"], ["box", "gabor-0-2.83-45"], ["sharpen", "laplacian", "line-45@5", "dog@7"]]
)
def test_no_text_meets_another(size, names):
    """For images of any shape and one to four filters."""
    check(plot_filter(picture(*size), *names), filled=size[1] > 200 or size[0] < 100)


@pytest.mark.parametrize(
    "kernel",
    [
        np.full((3, 3), 1e-9),
        np.full((2, 2), 1e299),
        [[1e-310]],
        np.full((2, 7), -123456.0),
        np.eye(31),
        np.zeros((3, 3)),
        [[1]],
        np.ones((3, 5, 5)),
    ],
)
def test_any_kernel_can_be_drawn(kernel):
    """Tiny and huge numbers, oblong, large, empty, and in colour."""
    check(plot_filter(picture(40, 50), kernel))


@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (1, 30), (200, 200), (2, 64)])
@pytest.mark.parametrize("size", [(8, 8), (64, 64), (16, 300)])
def test_a_kernel_larger_than_the_image_can_be_drawn(shape, size):
    """Its texts are below it where there is no room beside it, and the page is as wide as it."""
    check(plot_filter(picture(*size), np.random.default_rng(0).standard_normal(shape)), filled=False)


def test_a_page_of_a_huge_image_is_bounded():
    """Its middle is drawn, and the caption states the whole size."""
    figure = plot_filter(picture(1000, 2500), "sobel-x", "laplacian")
    assert figure.bbox.width * figure.bbox.height <= MOST_PIXELS * 1.01
    assert any("of 2,500 × 1,000" in word for word in words(figure))
    check(figure)


def test_responses_are_drawn_pixel_for_pixel():
    """Each pixel has the colour of its value: on 201 levels, symmetric about 0, full from the 99 % quantile on."""
    response = apply_filter(picture(300, 320), "sobel-x")
    page = filter_page([response])
    low, high, signed = limits_of(response)
    assert (signed, low) == (True, -high)
    assert high == pytest.approx(np.quantile(np.abs(response.values), 0.99))
    drawn = [item for item in page.items if isinstance(item, Raster) and item.pixels.shape[:2] == (304, 324)]
    _, ours = (raster.pixels[EDGE:-EDGE, EDGE:-EDGE] for raster in drawn)
    level = np.rint(np.clip(response.values / high, -1, 1) * 100 + 100).astype(int)
    assert np.array_equal(ours, ramp(None, signed=True)[level])


def test_what_keeps_light_is_drawn_as_light():
    """A blurred image is grey from 0 to 1, and so is a sharpened one."""
    for name in ("box", "sharpen"):
        assert limits_of(apply_filter(picture(9, 9), name)) == (0.0, 1.0, False)
    assert any("drawn as images" in word for word in words(plot_filter(picture(9, 9), "box")))


def test_a_learned_kernel_stands_beside_its_filter(new_bank):
    """The network's mean and deviation come first, as torch does it; the agreement is that of both responses."""
    import torch

    bank = new_bank((4, 3, 3, 3))
    image = np.random.default_rng(1).random((20, 22, 3))
    learned, beside = apply_kernel(image, bank, 2)
    padded = torch.nn.functional.pad(torch.tensor(image).permute(2, 0, 1)[None], (1, 1, 1, 1), mode="replicate")
    theirs = torch.nn.functional.conv2d(padded, torch.tensor(bank.weight[2:3], dtype=torch.float64))[0, 0]
    assert learned.values == pytest.approx(theirs.numpy(), abs=1e-9)
    assert beside.agreement == agreement_of(learned.values, beside.values)
    left = ((bank.weight[2] - beside.kernel) ** 2).sum()
    assert left < ((bank.weight[2] - 1.1 * beside.kernel) ** 2).sum()  # nearest in scale too
    figure = plot_filter((learned, beside))
    assert any("correlation" in word for word in words(figure))
    assert f"22 × 20 pixels, {bank.source.label}" in words(figure)
    assert figure.recipe["model"] == bank.source.as_recipe()
    check(figure)


def test_a_note_names_the_filters_it_concerns(new_bank):
    """If one filter reads brightness and another colours as its network does, each is named; the image is in colour."""
    image = np.random.default_rng(1).random((20, 22, 3))
    responses = [apply_filter(image, "sobel-x"), *apply_kernel(image, new_bank((4, 3, 3, 3)), 2)]
    told = words(plot_filter(responses))
    page = " ".join(told)
    assert "sobel-x: applied to the luma of the image" in page
    assert f"conv1:2, {responses[2].name}: normalised as for the network" in page
    drawn = [item.pixels for item in filter_page(responses).items if isinstance(item, Raster)]
    zoom = 440 // 22
    wanted = np.rint(255 * image).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
    inner = [each[EDGE:-EDGE, EDGE:-EDGE] for each in drawn if each.shape[0] == 20 * zoom + 2 * EDGE]
    assert any(np.array_equal(each, wanted) for each in inner)


def test_values_beyond_black_and_white_are_counted():
    """If an image exceeds 0 to 1, its picture is clipped and the count is stated."""
    image = picture(9, 10) * 255
    figure = plot_filter(image, "sobel-x")
    page = " ".join(words(figure))
    assert f"{(image > 1).sum()} of 90 values outside" in page
    assert "outside" not in " ".join(words(plot_filter(image / 255, "sobel-x")))
    check(figure)


@pytest.mark.parametrize(("count", "rows"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2])])
def test_responses_fill_their_rows(count, rows):
    """Up to three responses are beside the image, and four are in two full rows."""
    names = ["sobel-x", "sobel-y", "laplacian", "box", "gaussian"][:count]
    page = filter_page([apply_filter(picture(300, 300), name) for name in names])
    tops = sorted(item.top for item in page.items if isinstance(item, Raster) and item.pixels.shape[0] > 300)[1:]
    assert [tops.count(top) for top in dict.fromkeys(tops)] == rows


def test_the_position_of_a_filter_is_below_its_name(new_bank):
    """A long name is not broken: its row and its column are a line of their own."""
    weight = np.zeros((2, 3, 3, 3), np.float32)
    weight[0, :, 0, 1:] = -1, 1
    weight[1] = 1
    figure = plot_filter(apply_kernel(picture(30, 30), new_bank(weight=weight), 0))
    assert {"difference-x", "row 0, column 1"} <= set(words(figure))
    check(figure)


def test_responses_of_different_images_are_no_picture():
    """Of one size or not, nor those of different borders."""
    one = apply_filter(picture(9, 9), "sobel-x")
    for other in (
        apply_filter(picture(9, 9, seed=1), "sobel-x"),
        apply_filter(picture(9, 10), "sobel-x"),
        apply_filter(picture(9, 9), "sobel-x", border="zero"),
    ):
        with pytest.raises(UsageError, match="different"):
            plot_filter([one, other])
    check(plot_filter([one, apply_filter(picture(9, 9), "sobel-y")]))


@pytest.mark.parametrize("inputs", [1, 5])
def test_a_kernel_that_reads_no_colour_reads_light(new_bank, inputs):
    """The caption states it, since the network never does so."""
    responses = apply_kernel(picture(16, 16), new_bank((4, inputs, 3, 3)), 1)
    figure = plot_filter(responses)
    assert any("is applied to the luma of the image" in word for word in words(figure))
    check(figure)


@pytest.mark.parametrize("number", [-1, 4])
def test_a_kernel_that_is_not_there_is_refused(new_bank, number):
    """With the numbers there are."""
    with pytest.raises(UsageError, match="kernels 0 to 3"):
        apply_kernel(picture(9, 9), new_bank((4, 3, 3, 3)), number)


def test_nothing_to_draw_is_an_error():
    """An image without a filter."""
    with pytest.raises(UsageError, match="no filter"):
        plot_filter(picture(9, 9))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 11, 16, 30])
def test_the_texts_of_the_bank_do_not_overlap(size):
    """One row per stem, and the colours; otherwise the number drawn is stated. No texts overlap."""
    figure = plot_filters(size)
    told = words(figure)
    bank = [one for one in classical_filters(size) if "@" not in one.name]
    firsts = {next(one.name for one in bank if one.stem == stem) for stem in {one.stem for one in bank}}
    assert firsts <= set(told) or any("filters are drawn" in word for word in told)
    assert size > 7 or firsts <= set(told)
    assert {one.name for one in colour_directions()} <= set(told)
    assert figure.bbox.width * figure.bbox.height <= 1.1 * MOST_PIXELS
    check(figure)


@pytest.mark.parametrize("size", [3, 5])
def test_what_the_bank_calls_a_filter_can_be_typed(size):
    """Every first and last name of a row is one, and the short ones are with the stem before them."""
    told = words(plot_filters(size))
    names = {one.name for one in classical_filters(size)}
    assert not {"sobel", "line", "line-end", "gabor-2.83-0"} & set(told)
    assert {word.removeprefix("… ") for word in told if word.startswith("… ")} <= names
    at = told.index("sobel-x")
    assert {f"sobel{end}" for end in told[at + 1].split(", ")} < names
    assert sum(word == "stripes of one orientation, width and phase" for word in told) == 1


def test_a_name_may_mean_several_filters():
    """Families, orientations and lists as in the command; a gradient alone is drawn with strength and direction."""
    image = picture(9, 9)
    assert plot_filter(image, "edge").recipe["view"] == [one.name for one in find_filters("edge")]
    both = plot_filter(image, "blur,laplacian", "line@5").recipe["kernels"]
    assert both == [one.values.tolist() for word in ("blur", "laplacian", "line@5") for one in find_filters(word)]
    for given in (["sobel@5"], [["sobel@5"]]):
        assert plot_filter(image, *given).recipe == plot_gradient(apply_gradient(image, "sobel", 5)).recipe
    assert plot_filter(image, "sobel", "box").recipe["view"][-1] == "box"
    with pytest.raises(UsageError, match="no filter 'edgy'"):
        plot_filter(image, "edgy")


def test_kernels_of_one_page_all_have_their_numbers():
    """In narrow columns kernels with long numbers are not the only ones without them."""
    image = np.random.default_rng(0).random((120, 100))
    page = filter_page([apply_filter(image, name) for name in ("sobel-x", "scharr-x", "prewitt-x")])
    assert [item.text for item in page.items if isinstance(item, PageText)].count("−10") == 1
