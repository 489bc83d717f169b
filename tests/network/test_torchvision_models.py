"""Networks of torchvision, by name, with the weights that it publishes."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch

import kernelviz
from kernelviz.errors import NoWeightsError, UnknownModelError
from kernelviz.network import torchvision_models
from kernelviz.network.model import load_model
from kernelviz.network.preprocessing import prepare
from kernelviz.records import Image

torchvision = pytest.importorskip("torchvision")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Weights of SqueezeNet as if torchvision had published them, in the cache of torch.hub."""
    member = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = torchvision.models.squeezenet1_1().eval()
    path = tmp_path / "state.pth"
    torch.save(network.state_dict(), path)
    name = f"squeezenet1_1-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    changed = dataclasses.replace(member.value, url=f"http://127.0.0.1:9/{name}")
    monkeypatch.setattr(member, "_value_", changed)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    torchvision_models.read_torchvision_registry.cache_clear()
    cached = tmp_path / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    path.rename(cached)
    yield network, cached
    torchvision_models.read_torchvision_registry.cache_clear()


def photo():
    """A picture of 300 × 400 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    return Image(pixels, "photo.png", "photo", None, "0" * 64, "PNG", "RGB")


@pytest.mark.parametrize("tag", ["", ".IMAGENET1K_V1", ".DEFAULT"])
def test_published_weights(published, tag):
    """They come from torch.hub's cache, checked by the hash in their name, and are loaded as torchvision loads them."""
    network, cached = published
    model = load_model(f"torchvision:squeezenet1_1{tag}")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.module(image), network(image))
    source = model.source
    assert (source.model, source.tag) == ("torchvision:squeezenet1_1", "IMAGENET1K_V1")
    assert (source.weights.source, source.weights.name) == ("url", cached.name)
    assert (source.label, source.stem) == (
        "torchvision:squeezenet1_1.IMAGENET1K_V1",
        "torchvision-squeezenet1_1.IMAGENET1K_V1",
    )


def test_the_input_is_that_of_torchvision(published):
    """An image becomes bitwise what the weights' own transform makes of it, and the classes have its names."""
    del published
    model, image = load_model("torchvision:squeezenet1_1"), photo()
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    from PIL import Image as Pillow

    expected = weights.transforms()(Pillow.fromarray(image.pixels))
    assert torch.equal(prepare(model, image)[0][0], expected)
    first = kernelviz.classify(model, image)[0]
    assert first.label == weights.meta["categories"][first.index]


def test_a_damaged_file_and_no_network(published):
    """A file that does not match its name is rejected, and without it there is one error that names the link."""
    _, cached = published
    cached.write_bytes(cached.read_bytes()[:-10])
    with pytest.raises(NoWeightsError):
        load_model("torchvision:squeezenet1_1")
    cached.unlink()
    with pytest.raises(NoWeightsError, match=cached.name):
        load_model("torchvision:squeezenet1_1", timeout=2)


def test_a_fine_tuned_file(tmp_path):
    """A file of another number of classes is loaded into a network that is built with that number."""
    with torch.random.fork_rng(devices=[]):
        network = torchvision.models.resnet18(num_classes=7)
    torch.save(network.state_dict(), tmp_path / "tuned.pt")
    model = load_model("torchvision:resnet18", weights=tmp_path / "tuned.pt")
    assert model.module.fc.weight.equal(network.fc.weight)
    assert model.source.stem == "torchvision-resnet18.tuned"
    assert not model.classes


def test_random_weights_download_nothing():
    """Without weights no builder fetches those of a backbone, and the preprocessing is that of the default weights."""
    model = load_model("torchvision:fcn_resnet50", weights=None)
    assert model.input_size == (3, 520, 520)
    model = load_model("torchvision:ssdlite320_mobilenet_v3_large", weights="random")
    assert model.source.preprocessing["mean"] == (0.0, 0.0, 0.0)
    model = load_model("torchvision:regnet_y_400mf", weights=None)  # computes its sizes with tensors
    assert model.source.params == 4_344_144


def test_every_name_has_an_entry():
    """The registry knows all models of torchvision and their weights, the default ones first."""
    registry = torchvision_models.read_torchvision_registry()
    assert len(registry.architectures) == len(torchvision.models.list_models())
    assert registry.tags("torchvision:resnet50") == ["IMAGENET1K_V2", "IMAGENET1K_V1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", "Nearest: torchvision:resnet18"),
        ("torchvision:resnet18.V3", "Its tags: IMAGENET1K_V1"),
        ("torchvision:", "There is no model called torchvision:"),
    ],
)
def test_unknown_names(name, message):
    """The nearest names and the tags are offered."""
    with pytest.raises(UnknownModelError) as caught:
        load_model(name)
    assert message in str(caught.value)
