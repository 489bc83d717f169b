"""Frequency responses are NumPy's and SciPy's, and keep the identities of the Fourier transform."""

from __future__ import annotations

import numpy as np
import pytest

from kernelviz.errors import UsageError
from kernelviz.records import KernelBank
from kernelviz.views.kernel_views import frequency_response, kernel_tiles, resolve_view, response_size

SHAPES = [(4, 3, 3, 3), (2, 1, 5, 5), (3, 40, 3, 3), (2, 600, 1, 1), (2, 3, 16, 16), (1, 2, 34, 7)]
THIN = [(2, 4, 1, 5), (2, 5, 5, 1)]


def random(shape):
    """A weight in float32, seeded."""
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES + THIN)
def test_it_is_the_padded_transform(shape):
    """For every kernel the root of the sum over its planes of the squared transform, frequency 0 in the middle."""
    weight = random(shape)
    response = frequency_response(weight)
    size = response_size(shape[2:])
    assert size % 2 == 1
    assert size >= max(33, *shape[2:])
    assert response.dtype == np.float64
    down = 1 if shape[2] == 1 < shape[3] else size
    padded = np.zeros((*shape[:2], down, size))
    padded[:, :, : shape[2], : shape[3]] = weight
    expected = np.sqrt((np.abs(np.fft.fft2(padded)) ** 2).sum(axis=1))
    np.testing.assert_allclose(response, np.fft.fftshift(expected, axes=(1, 2)), rtol=1e-9, atol=1e-9 * expected.max())


@pytest.mark.parametrize("shape", SHAPES)
def test_indices_are_cycles_per_pixel(shape):
    """At index (i, j) is the response to a wave of ((i, j) − S // 2) / S cycles per pixel."""
    weight = random(shape).astype(np.float64)
    response = frequency_response(weight)
    size = response.shape[-1]
    rows, columns = np.arange(shape[2])[:, None], np.arange(shape[3])[None]
    for i, j in ((0, 0), (size // 2, size // 2), (3, size - 1), (size // 2 + 8, 5)):
        wave = np.exp(2j * np.pi * ((i - size // 2) * rows + (j - size // 2) * columns) / size)
        expected = np.linalg.norm((weight * wave).sum(axis=(2, 3)), axis=1)
        np.testing.assert_allclose(response[:, i, j], expected, rtol=1e-9, atol=1e-9)


def test_energy_is_kept():
    """Parseval: the mean of the squared response is the sum of the squared weights."""
    weight = random((4, 12, 3, 3)).astype(np.float64)
    np.testing.assert_allclose((frequency_response(weight) ** 2).mean(axis=(1, 2)), (weight**2).sum(axis=(1, 2, 3)))


def test_known_filters():
    """A box keeps what is slow; a Laplacian stops it; horizontal edges answer to waves that go downwards."""
    box, laplacian = np.ones((3, 3)) / 9, np.full((3, 3), -1.0) + 9 * np.eye(3)[[1]].T @ np.eye(3)[[1]]
    sobel = np.outer([-1, 0, 1], [1, 2, 1])
    smooth, edges, turned = frequency_response(np.stack([box, laplacian, sobel])[:, None])
    middle = smooth.shape[0] // 2
    assert smooth[middle, middle] == pytest.approx(1) == smooth.max()
    assert edges[middle, middle] == pytest.approx(0, abs=1e-12)
    assert edges[0, middle] > 11
    assert turned[middle].max() == pytest.approx(0, abs=1e-12)
    assert turned[middle + 8, middle] > 7


@pytest.mark.parametrize(("value", "finite"), [(np.nan, False), (np.inf, False), (0.0, True)])
def test_broken_values_stay_in_their_kernel(value, finite):
    """A kernel with a value that is not finite has no finite response; the others are untouched; nothing warns."""
    weight = random((3, 20, 3, 3))
    before = frequency_response(weight)
    weight[1] = value
    response = frequency_response(weight)
    np.testing.assert_array_equal(response[[0, 2]], before[[0, 2]])
    assert np.isfinite(response[1]).all() == finite
    assert not np.isfinite(response[1]).any() or finite


def test_the_view_explains_what_it_shows():
    """Padding, axes, unit and the rule over channels are in the caption; the map starts at 0."""
    tiles = kernel_tiles(KernelBank(random((4, 6, 3, 5)), groups=2), view="spectrum", channels="2,0")
    np.testing.assert_array_equal(tiles.values, frequency_response(random((4, 6, 3, 5)))[[2, 0]])
    assert not tiles.signed
    assert tiles.quantity == "frequency response"
    for words in (
        "zero-padded to 33 × 33",
        "−0.5 to 0.5 cycles per pixel",
        "6 input channels of its group",
    ):
        assert words in tiles.explanation


def test_lines_and_volumes():
    """A one-dimensional kernel has a strip; three dimensions are rejected."""
    weight = random((3, 2, 7))
    tiles = kernel_tiles(KernelBank(weight), view="spectrum")
    expected = np.sqrt((np.abs(np.fft.fft(weight.astype(np.float64), 33, axis=2)) ** 2).sum(axis=1))
    np.testing.assert_allclose(tiles.values, np.fft.fftshift(expected, axes=1)[:, None], rtol=1e-9)
    with pytest.raises(UsageError, match="spectrum draws one- and two-dimensional"):
        resolve_view((3, 2, 3, 3, 3), view="spectrum")
