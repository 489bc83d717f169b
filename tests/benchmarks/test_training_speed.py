"""A history reads one tensor of each checkpoint, which takes a fraction of loading the network with it."""

from __future__ import annotations

import pytest
import torch
from bench import ratio

import kernelviz
from kernelviz.network.kernels import architecture_of
from kernelviz.network.weights.stored import open_weights

pytestmark = pytest.mark.benchmark


def test_one_tensor_is_several_times_faster_than_the_network(tmp_path):
    """Of a file of 19 MB: some 0.05 s, with the hash of the whole file."""
    model = kernelviz.load_model("tf_efficientnet_lite0", weights="random")
    path = tmp_path / "lite0.pt"
    torch.save(model.module.state_dict(), path)
    architecture = architecture_of(model)

    def one_tensor():
        return open_weights(path, architecture.tensors, "lite0").read("conv_stem.weight")

    def network():
        loaded = kernelviz.load_model("tf_efficientnet_lite0", weights=path)
        return kernelviz.read_kernels(loaded, "conv_stem").weight

    assert (one_tensor() == network()).all()
    times = ratio(one_tensor, network, pairs=5)
    print(f"\none tensor of a checkpoint: {times:.1f} times faster than the network with its weights")
    assert times >= 3
