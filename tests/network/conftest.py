"""A hub of one's own, and small networks that it serves."""

from __future__ import annotations

import pytest
from loopback_hub import pointed_at, serving

REPO = "timm/test_resnet.r160_in1k"


@pytest.fixture(scope="session")
def published():
    """The network that stands for test_resnet's published one, its weights made with a seed, and its file."""
    import timm
    import torch
    from safetensors.torch import save

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = timm.create_model("test_resnet")
    return network, save(network.state_dict())


@pytest.fixture
def hub(tmp_path, published):
    """A hub that serves test_resnet, with an empty cache in ``tmp_path / "cache"``; this process asks it."""
    with serving() as hub, pointed_at(hub.endpoint, tmp_path / "cache"):
        hub.add(REPO, "model.safetensors", published[1])
        yield hub
