"""Statistics over many images equal those of NumPy over all of them at once."""

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.views.statistics import ChannelTally


def tally_of(parts):
    """The statistics of these maps, image by image."""
    tally = ChannelTally("layer1")
    for number, part in enumerate(parts):
        tally.add(part, f"{number}.png")
    return tally.result()


def made(seed=0, images=7, channels=5, offset=0.0):
    """Maps of a few images of several sizes."""
    numbers = np.random.default_rng(seed)
    return [
        numbers.normal(offset, 3, (channels, int(numbers.integers(2, 9)), 6)).astype(np.float32) for _ in range(images)
    ]


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_they_equal_numpy_s_over_all_positions(offset):
    """Mean and deviation equal those of all stacked positions, also far from zero."""
    parts = [np.maximum(part, 0) if offset == 0 else part for part in made(offset=offset)]
    stacked = np.concatenate([part.reshape(5, -1) for part in parts], axis=1).astype(np.float64)
    found = tally_of(parts)
    np.testing.assert_allclose(found.mean, stacked.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.deviation, stacked.std(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(found.zeros, (stacked == 0).mean(axis=1))
    np.testing.assert_array_equal(found.largest, stacked.max(axis=1))
    np.testing.assert_array_equal(found.smallest, stacked.min(axis=1))
    assert found.values == stacked.shape[1]


def test_the_image_of_the_maximum_is_the_first_that_has_it():
    """Each channel names the image with its largest value, the first one of several."""
    parts = [np.full((2, 2, 2), value, np.float32) for value in (1, 4, 4, 2)]
    parts[3][1, 0, 0] = 9
    found = tally_of(parts)
    assert [found.images[number] for number in found.image] == ["1.png", "3.png"]


def test_the_order_of_images_does_not_matter():
    """The same images in another order have the same statistics within rounding."""
    parts = made(3)
    one, other = tally_of(parts), tally_of(parts[::-1])
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    np.testing.assert_allclose(one.deviation, other.deviation, rtol=1e-12)


def test_dead_channels_had_one_value_in_every_image():
    """A channel that is constant in each image but not over them lives."""
    parts = [np.stack([np.zeros((2, 2)), np.full((2, 2), number)]).astype(np.float32) for number in range(3)]
    assert tally_of(parts).dead.tolist() == [True, False]


def test_what_is_not_finite_is_left_out_and_counted():
    """NaN and infinity spoil no number; a channel with nothing else is NaN and has no image."""
    part = np.array([[[1.0, np.nan]], [[np.inf, np.nan]], [[2.0, 4.0]]], np.float32)
    found = tally_of([part, part])
    assert found.nonfinite.tolist() == [2, 4, 0]
    assert found.mean[0] == 1.0
    assert np.isnan(found.mean[1])
    assert found.image.tolist() == [0, -1, 0]
    assert found.dead.tolist() == [False, False, False]


@pytest.mark.parametrize("power", [-1060, -1000, -540, 0, 520, 1000])
def test_huge_and_tiny_numbers_have_a_mean_and_a_deviation(power):
    """Numbers whose squares float64 does not hold: as NumPy's, of the numbers in a unit in which it does."""
    parts = [np.random.default_rng(seed).normal(size=(3, 4, 5)) for seed in range(4)]
    parts[2][1] *= 2.0**-40
    found = tally_of([np.ldexp(part, power) for part in parts])
    stacked = np.concatenate([np.ldexp(np.ldexp(part, power), -power).reshape(3, -1) for part in parts], axis=1)
    rounding = 1e-3 if power < -1022 else 1e-12  # numbers as small as that have few digits left
    np.testing.assert_allclose(np.ldexp(found.mean, -power), stacked.mean(axis=1), rtol=rounding)
    np.testing.assert_allclose(np.ldexp(found.deviation, -power), stacked.std(axis=1), rtol=rounding)


def test_the_largest_numbers_that_there_are_are_counted_too():
    """±1e308: the mean is 0, the deviation 1e308, and nothing is called not finite; one image or two."""
    one = np.array([[[1e308, -1e308]], [[1.7e308, 1.7e308]]])
    for parts in ([one], [one[:, :, :1], one[:, :, 1:]]):
        found = tally_of(parts)
        np.testing.assert_allclose(found.mean, [0, 1.7e308], atol=1e293)
        np.testing.assert_allclose(found.deviation, [1e308, 0], atol=1e293)
        assert found.nonfinite.tolist() == [0, 0]
        assert (found.largest.tolist(), found.smallest.tolist()) == ([1e308, 1.7e308], [-1e308, 1.7e308])


def test_one_value_of_a_channel_proves_nothing():
    """After one image with maps of 1 × 1 no channel is called dead; after two with the same value it is."""
    part = np.array([[[0.0]], [[3.0]]])
    assert tally_of([part]).dead.tolist() == [False, False]
    assert tally_of([part, part + np.array([[[0.0]], [[1.0]]])]).dead.tolist() == [True, False]


def test_another_number_of_channels_is_refused():
    """Maps of another layer are not mixed in; nothing at all is no statistics."""
    tally = ChannelTally()
    with pytest.raises(UsageError, match="No maps"):
        tally.result()
    tally.add(np.zeros((2, 3, 3)))
    with pytest.raises(UsageError, match="had 2 channels"):
        tally.add(np.zeros((3, 3, 3)))
