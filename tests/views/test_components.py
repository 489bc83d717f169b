"""Principal components over many images equal those of scikit-learn over all positions at once."""

import dataclasses

import numpy as np
import pytest
from sklearn.decomposition import PCA

from kernelviz.drawing.colour import rgb_pixels
from kernelviz.drawing.sheets import make_sheet
from kernelviz.errors import UsageError
from kernelviz.records import FeatureMaps, Source, Weights
from kernelviz.views.components import FULL, CovarianceTally, fit_note


def fitted(parts):
    """The basis of these maps, image by image."""
    tally = CovarianceTally()
    for part in parts:
        tally.add(part)
    return tally.basis()


def made(seed=0, channels=12, offset=0.0):
    """Maps of a few images of several sizes."""
    numbers = np.random.default_rng(seed)
    mixing = numbers.normal(size=(channels, channels)) * np.geomspace(5, 0.1, channels)
    parts = [numbers.normal(size=(channels, 5, int(numbers.integers(4, 9)))) for _ in range(6)]
    return [(np.tensordot(mixing, part, 1) + offset).astype(np.float32) for part in parts]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_scores_equal_scikit_learn_s_up_to_sign(offset):
    """The scores of all positions equal those of one PCA over all of them, up to sign, within 1e-4."""
    parts = made(offset=offset)
    basis = fitted(parts)
    stacked = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).T.astype(np.float64)
    oracle = PCA(3).fit(stacked)
    expected = oracle.transform(stacked)
    found = np.concatenate([basis.scores(part).reshape(3, -1) for part in parts], axis=1).T
    signs = np.sign((expected * found).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(basis.share, oracle.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(basis.deviations**2, oracle.explained_variance_, rtol=1e-6)


def test_signs_are_fixed():
    """The largest weight of each component is positive, independently of the solver."""
    components = fitted(made(2)).components
    assert (np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_one_colour_means_one_thing_on_every_image():
    """Positions with equal features have equal colours in all images."""
    parts = made(4)
    basis = fitted(parts)
    parts[1][:, 0, 0] = parts[0][:, 2, 3]
    np.testing.assert_array_equal(basis.colours(parts[1])[0, 0], basis.colours(parts[0])[2, 3])


def test_colours_are_scores_in_deviations():
    """Full colour is two and a half deviations from the mean, and the mean is grey."""
    basis = fitted(made(5))
    away = basis.mean + FULL * basis.deviations[0] * basis.components[0]
    colours = basis.colours(np.stack([basis.mean, away], axis=1)[:, None, :])
    np.testing.assert_allclose(colours[0, 0], 0, atol=1e-9)
    np.testing.assert_allclose(colours[0, 1], [1, 0, 0], atol=1e-6)


def test_nothing_of_the_numbers_is_clipped_and_what_the_colours_cut_is_counted():
    """Tiles are the scores themselves; the scale ends at two and a half deviations, and values outside are counted."""
    parts = made(7)
    parts[0][:, 0, 0] *= 40
    basis = fitted(parts)
    expected = np.moveaxis(basis.scores(parts[0]) / basis.deviations[:, None, None], 0, -1)
    sheet = make_sheet(FeatureMaps(parts[0]), view="pca", basis=basis)
    np.testing.assert_array_equal(sheet.tiles.values[0], expected)
    assert np.abs(expected).max() > 5
    outside = int((np.abs(expected) > FULL).sum())
    assert (sheet.scale.low, sheet.scale.high, sheet.scale.below + sheet.scale.above) == (-FULL, FULL, outside)
    note = f"{outside} of {expected.size} values are outside the colour scale and clipped"
    assert any(note in line for line in sheet.caption)
    assert note in sheet.notes
    pixels = rgb_pixels(sheet.tiles.values, sheet.scale)[0]
    np.testing.assert_array_equal(pixels, np.rint(127.5 + 127.5 * basis.colours(parts[0])))
    layer = make_sheet(FeatureMaps(parts[0]), view="pca", basis=basis, scale="layer")
    assert layer.scale == sheet.scale


def test_a_basis_of_another_network_is_noted():
    """Other weights, another or an unknown network are noted; the same file from another source is the same."""
    file = Source("net", "net", "net", 1, Weights("file", "a.pt", "1" * 64))
    hub = Source("net", "net", "net", 1, Weights("hub", "a.safetensors", "1" * 64))
    seeds = [Source("net", "net", "net", 1, Weights("random", f"seed {seed}")) for seed in (0, 5)]
    tally = CovarianceTally()
    tally.add(FeatureMaps(made()[0], source=file))
    basis = tally.basis()
    assert fit_note(basis, file) == fit_note(basis, hub) == fit_note(basis, None) == fit_note(None, file) == ()
    assert fit_note(basis, seeds[0]) == ("the components were fitted to other weights: net, file weights (a.pt)",)
    random = dataclasses.replace(basis, model=seeds[0].as_recipe())
    assert fit_note(random, seeds[0]) == ()
    assert fit_note(random, seeds[1])
    assert "not known" in fit_note(dataclasses.replace(basis, model=None), file)[0]
    assert "another network: net" in fit_note(basis, dataclasses.replace(file, model="other"))[0]


def test_layers_with_few_channels_leave_components_empty():
    """Two channels have two components; the third is of zeros, and so is that of a flat layer."""
    numbers = np.random.default_rng(0).normal(size=(2, 6, 6))
    basis = fitted([numbers])
    assert basis.components.shape == (3, 2)
    assert not basis.components[2].any()
    assert not fitted([np.ones((4, 3, 3))]).components.any()


def test_positions_that_are_not_finite_are_left_out():
    """A NaN in one channel excludes its position from the fit, and nothing else."""
    part = made(6)[0]
    spoilt = part.copy()
    spoilt[3, 0, 0] = np.nan
    keep = np.ones(part.shape[1:], bool)
    keep[0, 0] = False
    np.testing.assert_allclose(fitted([spoilt]).mean, part[:, keep].mean(axis=1), rtol=1e-5)


def test_what_does_not_fit_is_refused():
    """Another number of channels, or no position at all, is rejected."""
    basis = fitted(made())
    with pytest.raises(UsageError, match="12 channels"):
        basis.scores(np.zeros((3, 2, 2)))
    with pytest.raises(UsageError, match="too few"):
        fitted([np.zeros((3, 1, 1))])
