"""Many images through a network, held against one after the other."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

from kernelviz import capture_features, capture_many, load_model, read_image
from kernelviz.errors import KernelvizError, UnknownLayerError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven pictures of noise, the fourth of which is none."""
    directory = tmp_path_factory.mktemp("images")
    numbers = np.random.default_rng(0)
    for number in range(7):
        pixels = numbers.integers(0, 255, (90 + number, 100, 3), dtype=np.uint8)
        Pillow.fromarray(pixels).save(directory / f"{number}.png")
    (directory / "3.png").write_bytes(b"no picture")
    return directory


def gather(network, images, layers, **choices):
    """The maps by layer, a list in the order of the images, and the failures."""
    found = {}
    failed = capture_many(
        network, images, layers, on_map=lambda maps: found.setdefault(maps.layer, []).append(maps), **choices
    )
    return found, failed


def test_one_by_one_is_bit_for_bit_what_one_pass_gives(tiny, folder):
    """Each map equals that of ``capture_features``; the bad image is named, with its place, and the others go on."""
    paths = sorted(folder.iterdir())
    told = []
    found, failed = gather(tiny, paths, ["conv1.0", "layer2"], on_error=told.append)
    assert [(each.number, each.name) for each in failed] == [(3, str(paths[3]))]
    assert tuple(told) == failed
    good = [path for path in paths if path.name != "3.png"]
    for number, path in enumerate(good):
        for one in capture_features(tiny, read_image(path), ["conv1.0", "layer2"]):
            both = found[one.layer][number]
            assert both.image.name == path.name
            assert both.values.tobytes() == one.values.tobytes()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_vit3"])
def test_batches_give_the_same_within_rounding(name):
    """Convolutions and tokens: three images at once give the maps of each alone, in their order."""
    check_batches(name, "*")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["test_mambaout", "test_convnext", "swin_tiny_patch4_window7_224", "mobilevit_xxs", "maxvit_pico_rw_256"]
)
def test_windows_in_a_batch_belong_to_their_image(name):
    """Windows and patches that a network puts in the batch axis come back to the image that they are of."""
    check_batches(name, "*")


def check_batches(name, layers):
    """Three images at once give what each alone gives."""
    network = load_model(name, weights="random")
    numbers = torch.Generator().manual_seed(0)
    images = [torch.rand(network.input_size, generator=numbers) for _ in range(3)]
    alone, _ = gather(network, images, layers)
    together, failed = gather(network, images, layers, batch_size=3)
    assert not failed
    assert list(together) == list(alone)
    for layer, maps in alone.items():
        for one, other in zip(maps, together[layer], strict=True):
            limit = max(1.0, float(np.abs(one.values).max()))
            np.testing.assert_allclose(other.values, one.values, atol=1e-3 * limit, err_msg=layer)


class SequenceFirst(nn.Module):
    """Tokens in front of the batch, as torch's own attention takes them; and a layer that mixes images up."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 4, 4)
        self.turned = nn.Identity()
        self.mixed = nn.Identity()

    def forward(self, x):
        """A number, by way of both."""
        x = self.conv(x)
        tokens = self.turned(x.flatten(2).permute(2, 0, 1))
        return tokens.sum() + self.mixed(x.reshape(-1, 2, *x.shape[2:])[:2]).sum()


def test_another_dimension_of_images_is_found_and_a_lost_one_passes_alone():
    """Images along the second dimension are told apart; where there is no part for each image, they pass one by one."""
    numbers = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 16, 16, generator=numbers) for _ in range(4)]
    network = SequenceFirst()
    for layer in ("turned", "mixed"):
        alone, _ = gather(network, images, layer)
        together, failed = gather(network, images, layer, batch_size=4)
        assert not failed
        for one, other in zip(alone[layer], together[layer], strict=True):
            np.testing.assert_allclose(other.values, one.values, atol=1e-6)


def test_images_of_other_sizes_pass_by_themselves():
    """A batch holds images of one size; those of another get a watched pass and a batch of their own."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3))
    images = [torch.ones(3, size, size) for size in (8, 8, 6, 8)]
    found, failed = gather(network, images, "0", batch_size=4)
    assert not failed
    assert [maps.values.shape for maps in found["0"]] == [(2, 6, 6), (2, 6, 6), (2, 4, 4), (2, 6, 6)]


def test_progress_counts_images_done(tiny, folder):
    """Progress rises to the number of images, which a generator does not know."""
    told = []
    paths = sorted(folder.iterdir())[:3]
    capture_many(
        tiny, paths, "conv1.0", on_map=lambda _: None, progress=lambda label, *numbers: told.append((label, *numbers))
    )
    assert told == [("images", done, 3) for done in (0, 1, 2, 3)]
    capture_many(tiny, iter(paths), "conv1.0", on_map=lambda _: None, progress=lambda *numbers: told.append(numbers))
    assert told[-1] == ("images", 3, 0)


def test_what_the_caller_s_function_raises_goes_on(tiny, folder):
    """An error of ``on_map`` is no bad image: it comes out as it is."""

    def stop(_maps):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        capture_many(tiny, sorted(folder.iterdir()), "conv1.0", on_map=stop)


def test_a_batch_has_at_least_one_image(tiny):
    """A batch size of 0 is refused."""
    with pytest.raises(UsageError, match="batch size"):
        capture_many(tiny, [], "conv1.0", on_map=print, batch_size=0)


def test_images_that_do_not_fit_are_failures_and_the_others_pass():
    """Other channels, no batch axis, too small for the kernel: each is named with its place, whatever comes first."""
    network = nn.Sequential(nn.Conv2d(3, 2, 5))
    shapes = [(3, 4, 4), (3, 16, 16), (1, 16, 16), (3, 4, 4), (16, 16), (3, 16, 16)]
    for batch in (1, 3):
        found, failed = gather(network, [torch.ones(shape) for shape in shapes], "0", batch_size=batch)
        assert [each.number for each in failed] == [0, 2, 3, 4]
        assert [maps.values.shape for maps in found["0"]] == [(2, 12, 12)] * 2
    assert all(each.error.what for each in failed)


@pytest.mark.parametrize("images", ["photo.jpg", b"photo", Path("photo.jpg"), torch.ones(3, 8, 8)], ids=type)
def test_one_image_is_not_taken_for_several(tiny, images):
    """A path would be read letter by letter, a tensor row by row: that is wrong usage, with what to do instead."""
    with pytest.raises(UsageError, match="images must be several") as caught:
        capture_many(tiny, images, "conv1.0", on_map=print)
    assert "list" in caught.value.hint


def test_a_network_whose_preprocessing_is_unknown_takes_no_files(folder):
    """The reason is raised once, instead of being that of each image."""
    network = nn.Sequential(nn.Conv2d(3, 2, 5))
    with pytest.raises(UsageError, match="The preprocessing of this network is not known"):
        capture_many(network, sorted(folder.iterdir()), on_map=lambda _: None)


def test_a_wrong_layer_is_told_though_no_image_passes(tiny, tmp_path):
    """Of no image at all, and of images that cannot be read; a batch of tensors is several images."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for images in ([], [tmp_path / "bad.png"]):
        with pytest.raises(UnknownLayerError, match="No layer is called nosuch"):
            capture_many(tiny, images, "nosuch", on_map=print)
    assert capture_many(tiny, [], "conv1.0", on_map=print) == ()
    assert [each.number for each in capture_many(tiny, [tmp_path / "bad.png"], "conv1.0", on_map=print)] == [0]
    found, failed = gather(nn.Sequential(nn.Conv2d(3, 2, 3)), torch.ones(4, 3, 8, 8), "0")
    assert (len(found["0"]), failed) == (4, ())


@pytest.mark.parametrize("batch", [1, 4])
def test_an_image_that_is_refused_fails_alone(batch):
    """Where ``on_map`` refuses a map, that image gets no more of them; each of the others gets all of its own once."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    images = [torch.full((3, 6, 6), float(number)) for number in range(4)]
    seen = []

    def look(maps):
        number = len([layer for layer in seen if layer == maps.layer])
        seen.append(maps.layer)
        if maps.layer == "0" and number == 1:
            raise KernelvizError("not this one")

    failed = capture_many(network, images, ["0", "1"], on_map=look, batch_size=batch)
    assert [(each.number, each.error.what) for each in failed] == [(1, "not this one")]
    assert (seen.count("0"), seen.count("1")) == (4, 3)

    def refuse(_maps):
        raise KernelvizError("none of them")

    assert [each.number for each in capture_many(network, images, "0", on_map=refuse, batch_size=batch)] == [0, 1, 2, 3]


def test_memory_does_not_grow_with_the_number_of_images(tiny):
    """After forty images as much is held as after ten, within a megabyte; one image's maps take more than that."""
    tracemalloc.start()
    held = []
    seen = []

    def look(maps):
        seen.append(maps.values.nbytes)
        held.append(tracemalloc.get_traced_memory()[0])

    pixels = np.zeros((200, 200, 3), np.uint8)
    capture_many(tiny, (read_image(pixels) for _ in range(40)), "conv1.0", on_map=look)
    tracemalloc.stop()
    assert len(held) == 40
    assert held[-1] - held[9] < 1 << 20
    assert sum(seen) > 10 << 20
