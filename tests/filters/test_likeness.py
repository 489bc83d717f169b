"""The kernels of many layers that are most like a filter."""

from __future__ import annotations

import numpy as np
import pytest
from page_checks import check_texts

from kernelviz.errors import UsageError
from kernelviz.filters.bank import find_filter
from kernelviz.filters.likeness import likeness_entry, most_alike, plot_likenesses
from kernelviz.records import KernelBank


@pytest.fixture
def banks():
    """Two layers of noise, with a Laplacian times −2 planted in the second, and one without square kernels."""
    random = np.random.default_rng(0)
    first, second = random.standard_normal((40, 1, 3, 3)), random.standard_normal((30, 4, 5, 5))
    second[7] = 0
    second[7, 2] = -2 * np.pad(find_filter("laplacian").values, 1)
    second[8] = 0
    second[9, 0, 0, 0] = np.nan
    return [KernelBank(values.astype(np.float32)) for values in (first, second, random.standard_normal((4, 2, 1, 7)))]


def test_a_planted_filter_is_the_most_alike(banks):
    """It is found with its layer, number and factor among all kernels, and what is zero or broken is not listed."""
    found = most_alike(banks, "laplacian", 5)
    best = found.rows[0]
    assert (best.layer, best.kernel, best.filter.name, found.total) == ("layer 1", 7, "laplacian@3", 70)
    assert best.score == pytest.approx(1)
    assert np.allclose(best.factor * best.filter.values, best.pattern, atol=1e-6)
    scores = [row.score for row in found.rows]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 5
    everything = most_alike(banks, "spot", 100).rows
    assert {("layer 1", 8), ("layer 1", 9)}.isdisjoint((row.layer, row.kernel) for row in everything)
    assert likeness_entry(best)["values"] == best.pattern.tolist()


def test_a_family_is_searched_over_its_members(banks):
    """A kind compares with each of its filters, and the nearest one is named."""
    kinds = {row.filter.kind for row in most_alike(banks, "edge", 20).rows}
    stems = {row.filter.stem.partition("@")[0] for row in most_alike(banks, "sobel", 20).rows}
    assert (kinds, stems) == ({"edge"}, {"sobel"})


def test_the_page_is_legible(banks):
    """Numbers, names and scores do not overlap, for small and large kernels and for long names."""
    check_texts(plot_likenesses(most_alike(banks, "spot", 6)))
    check_texts(plot_likenesses(most_alike([KernelBank(bank.weight * 1e-4) for bank in banks[:1]], "edge", 7)))


@pytest.mark.slow
def test_the_page_of_large_kernels_is_legible():
    """Kernels without room for their numbers are drawn as colours."""
    for size in (7, 11, 16):
        kernels = KernelBank(np.random.default_rng(0).random((3, 1, size, size)))
        check_texts(plot_likenesses(most_alike([kernels], "gabor", 2)))


def test_what_does_not_exist_is_refused(banks):
    """An unknown filter, or one that no layer has the size for."""
    with pytest.raises(UsageError, match="Nearest: laplacian"):
        most_alike(banks, "laplacain")
    with pytest.raises(UsageError, match="None of these layers"):
        most_alike(banks[2:], "edge")
