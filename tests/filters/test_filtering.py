"""Responses equal those of scipy and scikit-image, for all images, kernels and borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import filters as peers

from kernelviz.errors import UsageError
from kernelviz.filters.bank import classical_filters
from kernelviz.filters.filtering import agreement_of, apply_filter, apply_kernel, as_light, as_pixels
from kernelviz.filters.formulas import gabor
from kernelviz.filters.matching import match_kernels
from kernelviz.records import KernelBank

SCIPY = {"repeat": "nearest", "mirror": "reflect", "zero": "constant"}


@pytest.fixture
def image():
    """Random pixels from 0 to 1."""
    return np.random.default_rng(0).random((17, 23))


@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_responses_are_those_of_scipy(image, border, size):
    """Every filter of the bank, even sizes too."""
    for one in classical_filters(size):
        theirs = ndimage.correlate(image, one.values, mode=SCIPY[border])
        assert apply_filter(image, one, border=border).values == pytest.approx(theirs, abs=1e-9), one.name


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 3), (3, 2)])
@pytest.mark.parametrize("border", SCIPY)
def test_any_kernel_fits_any_image(shape, border):
    """Oblong kernels, and images smaller than the kernel."""
    random = np.random.default_rng(1)
    kernel = random.standard_normal(shape)
    for size in ((1, 1), (2, 9), (40, 3)):
        picture = random.random(size)
        theirs = ndimage.correlate(picture, kernel, mode=SCIPY[border])
        assert apply_filter(picture, kernel, border=border).values == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "peer", "scale"),
    [
        ("sobel-x", peers.sobel_v, -4), ("sobel-y", peers.sobel_h, -4),
        ("laplacian-4", lambda image: peers.laplace(image, ksize=3), 1),
        ("gaussian", lambda image: peers.gaussian(image, 0.8, truncate=1 / 0.8, mode="reflect"), 1),
    ],
)  # fmt: skip
def test_responses_are_those_of_scikit_image(image, name, peer, scale):
    """Up to its scale: sobel divides by 4 and has the other sign; with its border rule, reflect."""
    ours = apply_filter(image, name, border="mirror").values
    theirs = scale * peer(image)
    if scale == -4 and np.sign((ours * theirs).sum()) < 0:
        theirs = -theirs
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_gabor_response_is_that_of_scikit_image(image):
    """Its real part, with the same window, times 2πσ²."""
    sigma = 3 / np.pi * np.sqrt(np.log(2) / 2) * 4
    kernel = peers.gabor_kernel(1 / 4, theta=np.pi / 2, bandwidth=1).real
    middle = len(kernel) // 2
    part = kernel[middle - 2 : middle + 3, middle - 2 : middle + 3] * 2 * np.pi * sigma**2
    theirs = ndimage.correlate(image, part, mode="nearest")
    found = next(one for one in classical_filters(5) if one.name == "gabor-0-4-0")
    assert apply_filter(image, found).values == pytest.approx(theirs, abs=1e-5)


def test_a_kernel_of_three_planes_is_torchs(image):
    """Red, green and blue are added up, as a convolution does."""
    random = np.random.default_rng(2)
    picture, kernel = random.random((9, 8, 3)), random.standard_normal((3, 3, 3))
    padded = torch.nn.functional.pad(torch.tensor(picture).permute(2, 0, 1)[None], (1, 1, 1, 1), mode="replicate")
    theirs = torch.nn.functional.conv2d(padded, torch.tensor(kernel)[None])[0, 0]
    assert apply_filter(picture, kernel).values == pytest.approx(theirs.numpy(), abs=1e-12)
    grey = apply_filter(image, kernel).values
    assert grey == pytest.approx(apply_filter(image, kernel.sum(axis=0)).values)


def test_images_of_any_kind_are_taken():
    """Records with pixels, tensors, 8 and 16 bits, one channel; 0 is black, 1 is white."""

    @dataclass
    class Record:
        pixels: np.ndarray

    whole = np.array([[0, 255], [51, 102]], np.uint8)
    wanted = np.array([[0, 1], [0.2, 0.4]])
    for image in (whole, Record(whole), torch.tensor(whole), whole[:, :, None], whole.astype(np.uint16) * 257, wanted):
        assert as_pixels(image) == pytest.approx(wanted)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_channels_come_first_or_last(kind):
    """Layouts of torch, with a batch of one, and of images are accepted; ambiguous ones are rejected, not guessed."""
    wanted = np.random.default_rng(0).random((20, 30, 3))
    first = wanted.transpose(2, 0, 1)
    for image in (first, first[None], wanted, wanted[None]):
        assert as_pixels(kind(image)) == pytest.approx(wanted)
    for image in (first[:1], first[None, :1], wanted[:, :, :1]):
        assert as_pixels(kind(image)) == pytest.approx(wanted[:, :, 0])
    assert as_pixels(np.ones((3, 5, 3))).shape == (3, 5, 3)
    assert as_pixels(torch.ones((1, 3, 5, 3))).shape == (5, 3, 3)
    for shape in ((3, 5, 3), (1, 5, 3), (3, 5, 1)):
        with pytest.raises(UsageError, match="first or last"):
            as_pixels(torch.ones(shape))


def test_kernels_of_a_layer_are_taken_as_they_lie(image):
    """(1, h, w) of a depthwise layer, (1, 1, h, w) and (1, 3, h, w) too."""
    weight = torch.nn.Conv2d(4, 4, 3, groups=4, bias=False).weight.detach()
    wanted = apply_filter(image, weight[0, 0].numpy()).values
    for kernel in (weight[0], weight[:1]):
        assert apply_filter(image, kernel).values == pytest.approx(wanted)
    colour = np.random.default_rng(0).random((1, 3, 3, 3))
    assert apply_filter(image, colour).kernel.shape == (3, 3, 3)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.int8, np.uint32, list, torch.int64])
def test_whole_numbers_of_other_kinds_are_refused(kind):
    """Their white is unknown."""
    values = [[0, 100], [120, 1]]
    image = torch.tensor(values) if kind is torch.int64 else values if kind is list else np.array(values, kind)
    with pytest.raises(UsageError, match="uint8 or uint16") as caught:
        apply_filter(image, "sobel-x")
    assert "astype" in str(caught.value.hint)


def test_light_and_dark_is_pillows():
    """Within the rounding of its 8 bits."""
    from PIL import Image

    pixels = np.random.default_rng(3).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).convert("L"))
    assert as_light(as_pixels(pixels)) * 255 == pytest.approx(theirs.astype(float), abs=0.51)


@pytest.mark.parametrize(
    ("image", "kernel", "border"),
    [
        (np.ones(3), "box", "repeat"), (np.ones((2, 2, 4)), "box", "repeat"), (np.ones((0, 2)), "box", "repeat"),
        (np.full((2, 2), np.nan), "box", "repeat"), (np.ones((2, 2)), "nosuch", "repeat"),
        (np.ones((2, 2)), np.ones((2, 3, 3)), "repeat"), (np.ones((2, 2)), np.ones(3), "repeat"),
        (np.ones((2, 2)), [[np.inf]], "repeat"), (np.ones((2, 2)), [[1e308, 1e308]], "zero"),
        (np.ones((2, 2, 3)), np.full((3, 1, 1), 1e308), "repeat"), (np.ones((2, 2)), "box", "wrap"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(image, kernel, border):
    """With a message for each."""
    with pytest.raises(UsageError):
        apply_filter(image, kernel, border=border)


def test_agreement_is_pearsons(image):
    """The agreement equals NumPy's corrcoef; with a constant there is none."""
    other = image**2 - 1
    assert agreement_of(image, other) == pytest.approx(np.corrcoef(image.ravel(), other.ravel())[0, 1])
    assert agreement_of(image, np.ones_like(image)) is None


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e150, 1e299])
def test_responses_of_any_size_agree(image, scale):
    """No overflow and no loss of precision, for any scale of the kernel."""
    response = apply_filter(image, [[0, scale]])
    assert agreement_of(response.values, image) == pytest.approx(1)


@pytest.mark.parametrize("kernel", [2.5, "3", None, [1], 24, -1])
def test_a_kernel_by_a_number_that_is_none_is_refused(kernel):
    """The message has the valid numbers."""
    with pytest.raises(UsageError, match="kernels 0 to 3"):
        apply_kernel(np.ones((4, 4)), KernelBank(np.ones((4, 1, 3, 3))), kernel)


def test_what_keeps_light_is_known(image):
    """The responses of blurs and sharpen are images again, those of edges are not."""
    assert apply_filter(image, "box").keeps_light
    assert apply_filter(image, "sharpen").keeps_light
    assert not apply_filter(image, "sobel-x").keeps_light


def test_a_learned_kernel_is_described_as_match_describes_it():
    """Kind, score and filter beside a response are those among all kernels of the layer, fits and zeros included."""
    kernels = np.random.default_rng(0).standard_normal((24, 1, 5, 5)).astype(np.float32)
    kernels[:16, 0] *= gabor(5, angle=70, wavelength=3.6, phase=20)
    kernels[5] *= 1e-4
    bank = KernelBank(kernels)
    rows = match_kernels(bank).main_rows
    assert any(row.closest is not None and row.closest.name == "gabor-fit" for row in rows)
    for row in rows:
        learned, *beside = apply_kernel(np.random.default_rng(1).random((8, 9)), bank, row.kernel)
        if row.score is None:
            assert (learned.about, beside) == ("a kernel of the network, almost zero", [])
        else:
            assert learned.about.startswith("a kernel of the network, ")
            assert f"{row.score:.2f}" in learned.about
            assert row.kind in learned.about.replace("similar to no filter", "none")
            assert beside[0].name == row.closest.name
            assert beside[0].kernel == pytest.approx(row.factor * row.closest.values, abs=1e-5)
