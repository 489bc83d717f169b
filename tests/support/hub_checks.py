"""What tests of the hub ask of a model and of an error."""

from __future__ import annotations

import time

import pytest
import torch

from kernelviz.errors import NoWeightsError
from kernelviz.network.model import load_model


def same(model, network):
    """Whether every tensor is the published one."""
    state, wanted = model.module.state_dict(), network.state_dict()
    return list(state) == list(wanted) and all(torch.equal(state[name], wanted[name]) for name in state)


def failure(**choices):
    """The error of loading, and how many seconds it took."""
    start = time.monotonic()
    with pytest.raises(NoWeightsError) as caught:
        load_model("test_resnet", **choices)
    return caught.value, time.monotonic() - start
