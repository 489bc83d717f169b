"""The classical filters are those of scipy, scikit-image and the books, and cover each turn of theirs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage
from skimage import filters as peers

from kernelviz.errors import UsageError
from kernelviz.filters.bank import (
    ALIKE,
    LARGEST,
    _bank,
    _families,
    classical_filters,
    find_filter,
    find_filters,
    unit_rows,
)
from kernelviz.filters.formulas import sigma_of

SIZES = (2, 3, 4, 5, 7, 11)


def impulse(size):
    """One pixel in the middle of a square large enough for every filter here."""
    image = np.zeros((size, size))
    image[size // 2, size // 2] = 1
    return image


def values(name, size=3):
    """The numbers of a filter."""
    return find_filter(name, size).values


@pytest.mark.parametrize(
    ("name", "peer", "scale"),
    [
        ("sobel-x", peers.sobel_v, 4), ("sobel-y", peers.sobel_h, 4), ("prewitt-x", peers.prewitt_v, 3),
        ("prewitt-y", peers.prewitt_h, 3), ("scharr-x", peers.scharr_v, 16), ("scharr-y", peers.scharr_h, 16),
        ("laplacian-4", lambda image: peers.laplace(image, ksize=3), 1),
    ],
)  # fmt: skip
def test_filters_are_those_of_scikit_image(name, peer, scale):
    """Its response, times the sum that it divides by, is ours on any image but for the border and scikit-image's sign."""
    image = np.random.default_rng(0).random((20, 30))
    ours, theirs = ndimage.correlate(image, values(name)), scale * peer(image)
    assert ours[2:-2, 2:-2] == pytest.approx(theirs[2:-2, 2:-2] * np.sign((ours * theirs).sum()), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("sobel-x", lambda image: ndimage.sobel(image, axis=1)),
        ("sobel-y", lambda image: ndimage.sobel(image, axis=0)),
        ("prewitt-x", lambda image: ndimage.prewitt(image, axis=1)),
        ("laplacian-4", lambda image: -ndimage.laplace(image)),
        ("box", lambda image: ndimage.uniform_filter(image, 3)),
    ],
)
def test_filters_are_those_of_scipy(name, theirs):
    """With its sign and its scale."""
    image = np.random.default_rng(1).random((12, 9))
    assert ndimage.correlate(image, values(name)) == pytest.approx(theirs(image), abs=1e-12)


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_gaussians_are_those_of_scipy_and_scikit_image(size):
    """An impulse blurred with the same width and radius."""
    sigma, radius = sigma_of(size), size // 2
    blurred = ndimage.gaussian_filter(impulse(size), sigma, radius=radius, mode="constant")
    assert values("gaussian", size) == pytest.approx(blurred, abs=1e-12)
    peer = peers.gaussian(impulse(size), sigma, truncate=radius / sigma, mode="constant")
    assert values("gaussian", size) == pytest.approx(peer, abs=1e-12)


@pytest.mark.parametrize("size", [3, 5, 7, 15])
def test_gabors_are_those_of_scikit_image(size):
    """Up to its factor 1 / 2πσ²; scikit-image turns from the normal of the stripes, we from the stripes."""
    for one in classical_filters(size):
        if not one.name.startswith("gabor"):
            continue
        _, angle, _, phase = one.name.split("-")
        wavelength = min(2 ** (np.arange(3, 13) / 2), key=lambda each: abs(each - float(one.name.split("-")[2])))
        theirs = peers.gabor_kernel(
            1 / wavelength, theta=np.deg2rad(90 - float(angle)), bandwidth=1, n_stds=8, offset=np.deg2rad(float(phase))
        ).real
        middle = [side // 2 for side in theirs.shape]
        part = theirs[tuple(slice(at - size // 2, at + size // 2 + 1) for at in middle)]
        sigma = np.sqrt(np.log(2) / 2) / np.pi * 3 * wavelength
        assert one.values == pytest.approx(part * 2 * np.pi * sigma**2, abs=1e-9), one.name


@pytest.mark.parametrize("size", [7, 9, 11])
def test_spots_look_like_those_of_scipy(size):
    """The Laplacian of a Gaussian is scipy's but for what its discrete derivative and the cut border change."""
    wide = np.zeros((41, 41))
    wide[20, 20] = 1
    theirs = -ndimage.gaussian_laplace(wide, sigma_of(size - 2))[20 - size // 2 :, 20 - size // 2 :][:size, :size]
    cosine = unit_rows(values("log", size)[None]) @ unit_rows(theirs[None]).T
    assert cosine[0, 0] > 0.99


def test_published_masks_are_as_published():
    """The worked examples of the articles and of the book, to the number."""
    assert values("laplacian").tolist() == [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
    assert values("sobel-y").tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    assert values("sobel-x").tolist() == [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    assert values("sobel-45").tolist() == [[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]
    assert values("line-0").tolist() == [[-1, -1, -1], [2, 2, 2], [-1, -1, -1]]
    assert values("line-45").tolist() == [[-1, -1, 2], [-1, 2, -1], [2, -1, -1]]
    assert values("sharpen").tolist() == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert values("roberts-45", 2).tolist() == [[1, 0], [0, -1]]
    assert values("difference-x").tolist() == [[0, 0, 0], [0, -1, 1], [0, 0, 0]]


def test_larger_edges_are_those_of_opencv():
    """OpenCV's 5 × 5 Sobel, from the factors 1, 4, 6, 4, 1 and −1, −2, 0, 2, 1 in the documentation of getDerivKernels."""
    assert values("sobel-x@5").tolist() == np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1]).tolist()


@pytest.mark.parametrize("size", SIZES)
def test_the_bank_is_closed_under_quarter_turns(size):
    """Each filter turned by 90° is another one of the same stem, or its negative; the orientation turns with it."""
    bank = classical_filters(size, everywhere=True)
    rows = unit_rows(np.stack([one.values for one in bank]))
    for one in bank:
        cosines = rows @ unit_rows(np.rot90(one.values)[None])[0]
        turned = [bank[i] for i in np.flatnonzero(np.abs(cosines) > 1 - 1e-9)]
        assert one.family in {each.family for each in turned}, one.name
        if one.orientation is not None:
            around = 360 if one.stem.startswith(("line-end", "corner")) else 180
            assert (one.orientation + 90) % around in {each.orientation for each in turned}, one.name


@pytest.mark.parametrize("size", SIZES)
def test_sums_are_those_of_their_purpose(size):
    """Filters that blur or keep pixels preserve a flat image; filters that detect changes return 0 for it."""
    for one in classical_filters(size, everywhere=True):
        if one.stem.startswith("gabor"):
            continue
        keeps = one.stem.startswith(("box", "gaussian", "sharpen", "identity"))
        assert one.values.sum() == pytest.approx(1 if keeps else 0, abs=1e-12 * np.abs(one.values).sum()), one.name


@pytest.mark.parametrize("size", SIZES)
def test_families_hold_what_cannot_be_distinguished(size):
    """Any two filters that are alike are of one family and kind; names are unique, numbers read-only."""
    bank = classical_filters(size, everywhere=True)
    rows = unit_rows(np.stack([one.values for one in bank]))
    for i, j in np.argwhere(np.abs(rows @ rows.T) > ALIKE):
        assert (bank[i].family, bank[i].kind) == (bank[j].family, bank[j].kind)
    assert len({one.name for one in bank}) == len(bank)
    assert all(one.about and one.source and not one.values.flags.writeable for one in bank)
    assert all(one.values.shape == (size, size) and np.any(one.values) for one in bank)


def test_sharpen_and_laplacian_are_one_family_and_so_are_sobel_and_scharr():
    """At 3 × 3 they are indistinguishable."""
    assert find_filter("sharpen").family == find_filter("laplacian").family
    assert find_filter("sobel-x").family == find_filter("scharr-y").family
    assert find_filter("sobel-x").family != find_filter("line-90").family


def test_the_short_list_is_part_of_the_long_one():
    """Nothing is in the list of names that kernels are not compared with."""
    short, long = classical_filters(5), classical_filters(5, everywhere=True)
    assert {one.name for one in short} < {one.name for one in long}
    assert not [one.name for one in short if "-r" in one.name.removeprefix("line-")]


def test_naming_a_filter_of_the_largest_size_is_cheap():
    """The list, and a filter by its name, need no copies at every position: within 40 MB."""
    _bank.cache_clear()
    _families.cache_clear()
    tracemalloc.start()
    bank = classical_filters(LARGEST)
    assert find_filter(f"box@{LARGEST}").name in {one.name for one in bank}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
    assert find_filter("difference-x-r0c1", LARGEST).values[0, 2] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sobell", "sobel-x"),
        ("nosuch@5", "--size 5"),
        ("sobel-x@five", "NAME@SIZE"),
        ("box@²", "NAME@SIZE"),
        ("box@99", "32"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(name, message):
    """Unknown names are rejected with a hint."""
    with pytest.raises(UsageError) as caught:
        find_filter(name)
    assert message in str(caught.value)


@pytest.mark.parametrize("size", [[3], "3", 2.5, 1, 0, -3, LARGEST + 1])
def test_a_size_that_is_none_is_refused(size):
    """Any invalid size is rejected."""
    with pytest.raises(UsageError):
        classical_filters(size)


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("edges", "edge"), ("blurr", "blur"), ("Sobel", "sobel"), ("sobel_x", "sobel-x"), ("line-ends", "line-end")],
)
def test_the_nearest_words_have_kinds_and_families(word, nearest):
    """Every word that names filters is offered: a kind, a filter in all orientations, and a name."""
    with pytest.raises(UsageError) as error:
        find_filters(word)
    assert error.value.why.removeprefix("Nearest: ").removesuffix(".").split(", ")[0] == nearest
