"""The figure of a layer's channels: what is painted is what was counted."""

import numpy as np
import pytest
from matplotlib.text import Text

from kernelviz.drawing.figures import RasterArtist
from kernelviz.drawing.statistics_page import DEAD, LINE, SPAN, painted, plot_statistics, strips
from kernelviz.views.statistics import ChannelTally


def found(values, count=2):
    """The statistics of a layer with these maps (C, H, W) for every image."""
    tally = ChannelTally("layer1")
    for number in range(count):
        tally.add(values, f"{number}.png")
    return tally.result()


def words_of(figure):
    """All texts on a page."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("channels", [3000, 4096])
def test_a_dead_channel_hides_no_live_neighbour(channels):
    """Where several channels share a column of pixels, the live ones are drawn over the grey of the dead."""
    values = np.random.default_rng(0).normal(size=(channels, 3, 3))
    values[::2] = 0.5
    statistics = found(values)
    mean, spread = (painted(strip, statistics.dead).index for strip in strips(statistics)[:2])
    width = mean.shape[1]
    for channel in range(1, channels, 2):
        column = channel * width // channels
        assert (mean[:, column] == LINE).any()
        assert (spread[:, column] == LINE).any()
    assert (mean[:, 0] == DEAD).any()


def test_the_span_of_each_channel_is_painted_where_it_belongs():
    """From the smallest to the largest value, at their shares of the axis; the line of the mean is within its pale span."""
    values = np.stack([np.linspace(low, high, 6).reshape(2, 3) for low, high in ((-4, 1), (0, 2), (3, 4))])
    mean, spread, zeros = (painted(strip, found(values).dead).index for strip in strips(found(values)))
    height, width = spread.shape[:2]
    for channel, (low, high) in enumerate(((-4, 1), (0, 2), (3, 4))):
        column = channel * width // 3 + width // 6
        rows = np.flatnonzero(spread[:, column] == LINE)
        expected = [(4 - value) / 8 * (height - 1) for value in (high, low)]
        np.testing.assert_allclose(rows[[0, -1]], expected, atol=1)
        line = np.flatnonzero(mean[:, column] == LINE)
        pale = np.flatnonzero(mean[:, column] == SPAN)
        assert pale.min() < line.min() <= line.max() < pale.max()
    share = np.flatnonzero(zeros[:, width // 2] == LINE)
    assert len(share) == pytest.approx(height / 6, abs=1.5)


def test_no_zeros_are_reported():
    """There is no empty panel then: the caption says so."""
    values = np.arange(1.0, 19).reshape(2, 3, 3)
    figure = plot_statistics(found(values))
    assert "No value is exactly zero" in words_of(figure)
    assert len(figure.findobj(RasterArtist)) == 2
    values[0, 0, 0] = 0
    assert "No value is exactly zero" not in words_of(plot_statistics(found(values)))
    assert len(plot_statistics(found(values)).findobj(RasterArtist)) == 3


@pytest.mark.parametrize("largest", [1e308, 1.7e308, 1e-310, 0.0])
def test_the_largest_and_the_smallest_numbers_have_a_picture(largest):
    """No arithmetic of the page overflows; the mean of a symmetric channel is in the middle."""
    values = np.array([[[largest, -largest]], [[largest, 0.0]]])
    statistics = found(values)
    plot_statistics(statistics)
    if largest > 1:
        mean = painted(strips(statistics)[0], statistics.dead).index
        rows = np.flatnonzero(mean[:, mean.shape[1] // 4] == LINE)
        assert rows.mean() == pytest.approx((mean.shape[0] - 1) / 2, abs=1)
