"""Measured values enter a network as an 8-bit image does, and chosen preprocessing is what is used and stated."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform

from kernelviz.errors import InputSizeError, UsageError
from kernelviz.files.images import read_image
from kernelviz.filters.filtering import apply_kernel, correlate
from kernelviz.network.kernels import read_kernels
from kernelviz.network.model import Model, load_model
from kernelviz.network.preprocessing import prepare
from kernelviz.records import Source

RNG = np.random.default_rng(23)


def a_model(mean, std, *, size=(64, 64), interpolation="bicubic", mode="center", fraction=0.9):
    """A network that passes its input on, with this preprocessing."""
    facts = {"mean": mean, "std": std, "interpolation": interpolation, "crop_pct": fraction, "crop_mode": mode}
    channels = len(mean)
    source = Source("any", "any", "any", 0, preprocessing={**facts, "input_size": (channels, *size)})
    return Model(torch.nn.Identity(), source, (channels, *size))


PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@pytest.mark.sampled
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos", "nearest", "box", "hamming"])
@pytest.mark.parametrize(("mode", "fraction"), [("center", 0.9), ("squash", 1.0), ("border", 1.0)])
@pytest.mark.parametrize("shape", [(40, 61), (7, 7), (223, 500)])
def test_an_8_bit_image_times_257_enters_as_it_does(shape, mode, fraction, interpolation):
    """Stored with 16 bits, an 8-bit image enters the network as timm's transform makes it enter: within 1/255."""
    from PIL import Image as Pillow

    model = a_model(*PLAIN, interpolation=interpolation, mode=mode, fraction=fraction)
    levels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = create_transform(**model.source.preprocessing, is_training=False)(Pillow.fromarray(levels))[None]
    ours, seen = prepare(model, read_image(levels.astype(np.uint16) * 257))
    assert (ours - theirs).abs().max() <= 1 / 255
    assert np.abs(seen.pixels / 255 - np.moveaxis(theirs[0].numpy(), 0, -1)).max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("shape", [(40, 61), (300, 200), (1900, 3)])
def test_measured_values_are_clipped_where_8_bits_are(shape, interpolation):
    """Values in floating point differ from the 8-bit path by its rounding alone, also where a filter overshoots."""
    model = a_model(*PLAIN, interpolation=interpolation)
    levels = (RNG.integers(0, 2, (*shape, 3)) * 255).astype(np.uint8)
    eight, _ = prepare(model, read_image(levels))
    ours, _ = prepare(model, read_image(levels / np.float32(255)))
    assert (ours - eight).abs().max() <= 1.2 / 255
    assert ours.min() >= 0
    assert ours.max() <= 1


def test_nothing_is_rounded_before_the_network():
    """A network sees differences that 8 bits do not hold."""
    values = (30000 + np.arange(64 * 64).reshape(64, 64) % 100).astype(np.uint16)
    tensor, _ = prepare(a_model(*PLAIN, fraction=1.0), read_image(values))
    assert torch.allclose(tensor[0, 0], torch.from_numpy(values / 65535).float(), atol=1e-6)
    assert len(tensor.unique()) == 100
    assert torch.equal(tensor[0, 0], tensor[0, 2])


def test_a_network_takes_as_many_bands_as_it_has_inputs():
    """An image with as many bands is taken whole, of one with more the first are taken, with a note; fewer are refused."""
    values = RNG.integers(0, 65536, (64, 64, 5), dtype=np.uint16)
    five = a_model((0.0,) * 5, (1.0,) * 5, fraction=1.0)
    tensor, seen = prepare(five, read_image(values))
    assert torch.allclose(tensor[0], torch.from_numpy(np.moveaxis(values, -1, 0) / 65535).float(), atol=1e-6)
    assert not any("bands" in note for note in seen.notes)
    three, seen = prepare(a_model(*PLAIN, fraction=1.0), read_image(values))
    assert torch.equal(three[0], tensor[0, :3])
    assert "bands 1, 2, 3 of 5 bands: 2 bands are left out" in seen.notes
    assert seen.as_recipe()["bands"] == [1, 2, 3]
    chosen, seen = prepare(a_model(*PLAIN, fraction=1.0), read_image(values, bands=(4, 3, 2)))
    assert torch.equal(chosen[0], tensor[0, [3, 2, 1]])
    assert seen.as_recipe()["bands"] == [4, 3, 2]
    one, seen = prepare(a_model((0.0,), (1.0,), fraction=1.0), read_image(values))
    assert torch.equal(one[0], tensor[0, :1])
    assert "band 1 of 5 bands: 4 bands are left out" in seen.notes
    grey, seen = prepare(a_model((0.0,), (1.0,), fraction=1.0), read_image(values[..., :3]))
    luma = values[..., :3] @ [0.299, 0.587, 0.114] / 65535
    assert torch.allclose(grey[0, 0], torch.from_numpy(luma).float(), atol=1e-5)
    assert any("luma" in note for note in seen.notes)
    for few in (values[..., :2], values[..., :4]):
        with pytest.raises(InputSizeError, match="5 channels"):
            prepare(five, read_image(few))
    two, seen = prepare(a_model((0.0, 0.0), (1.0, 1.0)), read_image(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    assert two.shape == (1, 2, 64, 64)
    assert "bands 1, 2 of 3 bands: 1 band is left out" in seen.notes


def test_the_range_is_in_the_recipe_of_measured_values_alone():
    """A recipe names the numbers that became 0 and 1; that of an 8-bit image is what it was."""
    model = a_model(*PLAIN)
    _, seen = prepare(model, read_image(np.zeros((64, 64), np.int16), range=(-1000, 400)))
    assert seen.as_recipe()["range"] == [-1000, 400]
    _, seen = prepare(model, read_image(np.zeros((64, 64, 3), np.uint8)))
    assert set(seen.as_recipe()) == {"offset", "scale"}


@pytest.fixture(scope="module")
def grey_file(tmp_path_factory):
    """A file with the weights of a network of one input channel."""
    path = tmp_path_factory.mktemp("grey") / "grey.safetensors"
    save_file(timm.create_model("test_resnet", in_chans=1).state_dict(), path)
    return path


def test_grey_enters_by_the_numbers_it_was_trained_with(grey_file):
    """Grey 128 enters a network of 0.5 / 0.5 as 0.0039; the mean of timm's numbers, 0.234, is called a guess."""
    model = load_model("test_resnet", weights=grey_file)
    image = read_image(np.full((160, 160), 128, np.uint8))
    tensor, seen = prepare(model, image)
    own = model.source.preprocessing
    assert tensor.mean().item() == pytest.approx((128 / 255 - own["mean"][0]) / own["std"][0], abs=1e-5)
    guess = [note for note in seen.notes if "guess" in note]
    assert guess
    assert f"mean {own['mean'][0]:.4g}" in guess[0]
    chosen = model.with_preprocessing(mean=0.5, std=0.5)
    tensor, seen = prepare(chosen, image)
    assert tensor.mean().item() == pytest.approx(0.0039, abs=5e-5)
    assert not any("guess" in note for note in seen.notes)
    assert model.source.preprocessing == own
    half = prepare(model.with_preprocessing(mean=0.5), image)[1].notes
    assert any("std" in note and "is a guess" in note for note in half)


def test_the_mean_of_imagenets_numbers_enters_as_0_234(tmp_path):
    """With ImageNet's numbers, a network of one channel from a file would read grey 128 as 0.234."""
    save_file(timm.create_model("resnet18", in_chans=1).state_dict(), tmp_path / "grey.safetensors")
    model = load_model("resnet18", weights=tmp_path / "grey.safetensors")
    grey = read_image(np.full((224, 224), 128, np.uint8))
    assert prepare(model, grey)[0].mean().item() == pytest.approx(0.234, abs=2e-3)
    halves = model.with_preprocessing(mean=0.5, std=0.5)
    assert prepare(halves, grey)[0].mean().item() == pytest.approx(0.0039, abs=5e-5)


def test_what_was_chosen_is_used_and_stated():
    """Chosen numbers and interpolation are those of timm's transform with them; note and recipe name them."""
    from PIL import Image as Pillow

    model = load_model("test_resnet", weights=None)
    levels = RNG.integers(0, 256, (90, 70, 3), dtype=np.uint8)
    chosen = model.with_preprocessing(mean=(0.1, 0.2, 0.3), std=2, interpolation="lanczos")
    facts = dict(chosen.source.preprocessing)
    assert facts.pop("chosen") == ("mean", "std", "interpolation")
    theirs = create_transform(**facts, is_training=False)(Pillow.fromarray(levels))[None]
    ours, seen = prepare(chosen, read_image(levels))
    assert torch.equal(ours, theirs)
    assert seen.notes[-1] == (
        "preprocessed by the chosen mean, std and interpolation: (x − (0.1, 0.2, 0.3)) / 2, lanczos"
    )
    assert chosen.source.preprocessing_entry() == {
        "mean": [0.1, 0.2, 0.3], "std": [2.0] * 3, "interpolation": "lanczos",
        "chosen": ["mean", "std", "interpolation"], "guessed": [],
    }  # fmt: skip
    same = model.with_preprocessing(
        **{key: model.source.preprocessing[key] for key in ("mean", "std", "interpolation")}
    )
    assert same.source.preprocessing == model.source.preprocessing


def test_names_of_numbers():
    """``imagenet`` and ``none`` are ImageNet's numbers, and 0 and 1."""
    model = load_model("test_resnet", weights=None)
    facts = model.with_preprocessing(mean="imagenet", std="imagenet").source.preprocessing
    assert (facts["mean"], facts["std"]) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    facts = model.with_preprocessing(mean="none", std="none").source.preprocessing
    assert (facts["mean"], facts["std"]) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    "choice",
    [
        *({"mean": wrong} for wrong in ((0.1, 0.2), "grey", np.nan, (), [[1, 2, 3]])),
        *({"std": wrong} for wrong in (0, (1, -1, 1), "x")),
        {"interpolation": "cubic"},
    ],
)
def test_wrong_choices_are_refused(choice):
    """Numbers for other channels, deviations of 0 and unknown names are wrong usage."""
    with pytest.raises(UsageError, match=next(iter(choice))):
        load_model("test_resnet", weights=None).with_preprocessing(**choice)


def test_a_learned_kernel_reads_what_was_chosen():
    """A learned kernel is applied to the image less the chosen mean, and the response states it."""
    model = load_model("test_resnet", weights="random").with_preprocessing(mean="none", std="none")
    image = read_image(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    bank = read_kernels(model, "conv1.0")
    learned = apply_kernel(image, bank, 0)[0]
    expected = correlate(image.pixels / 255, bank.weight[0].astype(np.float64))
    assert np.allclose(learned.values, expected)
    assert any("chosen mean and std" in note for note in learned.notes)
