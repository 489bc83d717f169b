"""The published weights of torchvision are downloaded from the links that it names, by the rules of timm's links."""

from __future__ import annotations

import dataclasses
import hashlib
import io

import pytest
import torch

from kernelviz.errors import NoWeightsError
from kernelviz.network import torchvision_models
from kernelviz.network.model import load_model

torchvision = pytest.importorskip("torchvision")
NAME = "torchvision:shufflenet_v2_x0_5"


@pytest.fixture
def linked(hub, tmp_path, monkeypatch):
    """A network whose weights the stand-in server has under a name with their hash, and where they are cached."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    name = f"shufflenetv2_x0.5-{hashlib.sha256(content.getvalue()).hexdigest()[:10]}.pth"
    hub.files["links", name] = content.getvalue()
    member = torchvision.models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    changed = dataclasses.replace(member.value, url=f"{hub.endpoint}/links/resolve/x/{name}")
    monkeypatch.setattr(member, "_value_", changed)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    torchvision_models.read_torchvision_registry.cache_clear()
    yield network, tmp_path / "torch" / "checkpoints" / name
    torchvision_models.read_torchvision_registry.cache_clear()


def test_a_download_and_the_cache(linked, hub):
    """The file is where torch.hub looks for it, and needs no request the second time; its state is the published one."""
    network, cached = linked
    for requests in (True, False):
        hub.requests.clear()
        model = load_model(NAME)
        assert bool(hub.requests) is requests
        state = model.module.state_dict()
        assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert cached.is_file()
    assert (model.source.weights.source, model.source.weights.name) == ("url", cached.name)
    assert model.classes[1] == "goldfish"


@pytest.mark.parametrize("mode", ["wrong", "cut", "404"])
def test_a_download_that_fails(linked, hub, mode):
    """Bytes that do not match the hash in the name, a cut and a missing file leave nothing; the link is named."""
    hub.mode = mode
    with pytest.raises(NoWeightsError) as caught:
        load_model(NAME, timeout=2)
    assert linked[1].name in str(caught.value)
    assert not linked[1].exists()


def test_without_a_network(linked, hub, monkeypatch):
    """Offline nothing is requested and the message states it; random weights need no file."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NoWeightsError, match=r"(?i)offline"):
        load_model(NAME)
    assert hub.requests == []
    assert not linked[1].exists()
    assert load_model(NAME, weights="random").source.weights.source == "random"
