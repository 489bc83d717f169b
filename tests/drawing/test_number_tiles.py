"""Kernels with their numbers: every digit is legible and is that of the weight."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text
from page_checks import check_texts

from kernelviz.drawing.number_tiles import exponent_of, kernel_numbers, number_lines, plot_kernel_numbers, short_text
from kernelviz.errors import UsageError
from kernelviz.filters.filter_pages import filter_page
from kernelviz.filters.filtering import apply_filter
from kernelviz.notebook import exact_text
from kernelviz.records import KernelBank
from kernelviz.views.shifts import cosine_text

SHAPES = [(8, 3, 3, 3), (4, 1, 5, 5), (3, 16, 7, 7), (4, 2, 3, 5), (2, 3, 11, 11), (1, 1, 19, 19), (300, 1, 3, 3)]


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((3, 16, 5, 5), 1e-4),
        *(pytest.param(shape, scale, marks=pytest.mark.slow) for shape in SHAPES for scale in (1, 1e-4, 500)),
    ],
)
def test_the_numbers_are_legible_and_apart(shape, scale):
    """No number is below nine pixels at a width of 640 or meets another, whatever the size of kernels and weights."""
    figure = plot_kernel_numbers(scale * np.random.default_rng(0).standard_normal(shape))
    check_texts(figure)
    assert figure.bbox.width * figure.bbox.height <= 4.4e6


def test_the_digits_are_those_of_the_weight():
    """Each plane of three channels is written, and the caption states how many kernels are left out."""
    weight = np.arange(54).reshape(2, 3, 3, 3) / 100.0
    texts = [text.get_text() for text in plot_kernel_numbers(weight, channels="1").findobj(Text)]
    assert {short_text(float(value)) for value in weight[1].ravel()} <= set(texts)
    assert "1 of 2 kernels are drawn" in texts


def test_sums_are_written_for_many_inputs():
    """Of more than three input channels the sum is written, and in the terminal with four digits."""
    from kernelviz.records import KernelBank

    weight = np.random.default_rng(0).standard_normal((2, 8, 3, 3))
    sheet, planes = kernel_numbers(KernelBank(weight))
    assert np.allclose(planes[:, 0], weight.sum(axis=1))
    lines = number_lines(sheet.tiles.numbers, planes)
    assert lines[0] == "kernel 0"
    assert lines[1].split() == [f"{value:.4g}".replace("-", "−") for value in planes[0, 0, 0]]


def test_short_texts():
    """Two decimals below 1, two digits above; what is nearly 0 is 0.00, without a sign."""
    texts = [short_text(value) for value in (0.0, -0.784, 0.001, -0.001, 0.999, 1.26, -12.4, np.nan)]
    assert texts == ["0", "−.78", "0.00", "0.00", "1.0", "1.3", "−12", "NaN"]
    assert (exponent_of(np.array([0.004])), exponent_of(np.array([3.0])), exponent_of(np.array([5000.0]))) == (-3, 0, 3)


def test_zero_has_no_sign_wherever_numbers_are_written():
    """−0 and what rounds to it are written without a minus, in cells, tables, cosines and lines."""
    assert (cosine_text(-0.001, 2), cosine_text(-0.01, 2), exact_text(-0.0)) == ("0.00", "−0.01", "0")
    assert number_lines([0], -np.zeros((1, 1, 1, 2)))[1].split() == ["0", "0"]
    kernel = np.array([[-0.0, -0.001, 1], [1, -1, 0], [0, 0, 0]])
    typed = filter_page([apply_filter(np.zeros((90, 90, 3), np.uint8), kernel)], "t")
    written = {item.text for item in typed.items if hasattr(item, "text")}
    assert {"0.00", "−1"} <= written
    assert not {text for text in written if text.startswith("−") and not text.strip("−.0")}


def test_the_caption_states_what_a_tile_is_in_a_sentence():
    """Kernels of one plane, of three, and sums are each introduced by a sentence with its verb."""
    starts = {1: "Each tile is a kernel;", 3: "The three tiles of a kernel are", 8: "Each tile is a kernel, summed"}
    for depth, words in starts.items():
        page = plot_kernel_numbers(np.ones((2, depth, 3, 3)))
        assert any(text.get_text().startswith(words) for text in page.findobj(Text)), depth
    grouped = plot_kernel_numbers(
        KernelBank(np.ones((2, 3, 3, 3)), groups=2)
    )  # three channels of a group are no colours
    start = "The 3 tiles of a kernel are its planes, one for each input channel of its group"
    assert any(text.get_text().startswith(start) for text in grouped.findobj(Text))


@pytest.mark.parametrize("shape", [(4, 8, 1, 1), (4, 2, 5), (2, 1, 21, 21), (5, 3, 14, 15)])
def test_kernels_without_room_for_numbers_are_refused(shape):
    """Single numbers, one axis, and kernels too large for digits are refused with what has all numbers."""
    with pytest.raises(UsageError, match=r"[Nn]umbers") as error:
        plot_kernel_numbers(np.ones(shape), layout="torch")
    assert "--arrays" in str(error.value.hint)
