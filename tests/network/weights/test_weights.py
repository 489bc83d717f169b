"""Weights fit a network whole or are rejected."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernelviz.errors import BadWeightsError
from kernelviz.network.weights.checkpoints import Checkpoint, fit
from kernelviz.records import Weights


def network():
    """A convolution, a normalisation and a head."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def checkpoint(tensors):
    """Tensors as if they came out of ``a.pt``."""
    return Checkpoint(dict(tensors), Weights("file", "a.pt"))


def test_fit_loads_what_matches():
    """All numbers arrive, half-precision ones too, and counters of batches may be missing."""
    source, target = network(), network()
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in source.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    fit(target, checkpoint(tensors), "net")
    for name, value in tensors.items():
        assert torch.equal(target.state_dict()[name], value.float())


def test_what_is_rounded_is_reported():
    """Doubles that float32 cannot hold are told, with how many; halves and doubles that it can are not."""
    source, target = network().double(), network()
    exact = {name: value.float().double() for name, value in source.state_dict().items() if value.is_floating_point()}
    assert fit(target, checkpoint(exact), "net") == ()
    changed = exact | {"0.weight": exact["0.weight"] + 1e-12, "2.bias": torch.full((2,), 1e300, dtype=torch.float64)}
    expected = fit(target, checkpoint(changed), "net")
    assert expected == ("2 of 8 tensors were rounded from float64 to the network's float32",)
    odd = torch.tensor([float("nan"), float("inf")]).double()
    assert fit(target, checkpoint(exact | {"2.bias": odd}), "net") == ()


def test_counters_of_batches_may_be_too_many():
    """A counter that the network lacks does not make a file another network's."""
    tensors = {"weight": torch.ones(1, 1, 1, 1), "bias": torch.zeros(1), "num_batches_tracked": torch.tensor(3)}
    conv = nn.Conv2d(1, 1, 1)
    fit(conv, checkpoint(tensors), "net")
    assert torch.equal(conv.weight, tensors["weight"])


def test_fit_reports_what_differs_and_changes_nothing():
    """Missing, unexpected and differently shaped names are told, and nothing was loaded."""
    target = network()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    tensors = {name: value + 1 for name, value in before.items()}
    del tensors["1.bias"]
    tensors["2.weight"] = torch.zeros(7, 4, 1, 1)
    tensors["0.bias"] = torch.zeros(4, dtype=torch.int8)
    tensors["head\n.weight"] = torch.zeros(1)
    with pytest.raises(BadWeightsError) as caught:
        fit(target, checkpoint(tensors), "net")
    assert caught.value.what == "5 of 8 tensors match: a.pt does not hold the weights of net."
    assert caught.value.why.splitlines() == [
        "missing: 1.bias",
        "not of this network: head\\n.weight",
        "different: 0.bias is torch.int8, not torch.float32, 2.weight is (7, 4, 1, 1), not (2, 4, 1, 1)",
    ]
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_one_tensor_too_many_or_too_few_is_enough():
    """A single missing or unexpected name makes the weights another network's."""
    tensors = network().state_dict()
    with pytest.raises(BadWeightsError, match="8 of 9 tensors match") as caught:
        fit(network(), checkpoint({**tensors, "extra": torch.ones(1)}), "net")
    assert caught.value.why == "not of this network: extra"
    del tensors["2.bias"]
    with pytest.raises(BadWeightsError, match="7 of 8 tensors match") as caught:
        fit(network(), checkpoint(tensors), "net")
    assert caught.value.why == "missing: 2.bias"


def test_the_message_of_a_bad_fit_stays_short():
    """However many names differ, at most ten lines say so."""
    tensors = {f"other.{index}": torch.zeros(1) for index in range(500)}
    with pytest.raises(BadWeightsError, match="0 of 500 tensors match") as caught:
        fit(network(), checkpoint(tensors), "net")
    assert "and 497 more" in caught.value.why
    assert len(str(caught.value).splitlines()) <= 10


FLOAT8 = [
    each for each in vars(torch).values() if isinstance(each, torch.dtype) and str(each).startswith("torch.float8")
]


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_float8_weights_are_loaded_with_their_values(dtype):
    """Each type of eight bits is loaded without a note, since float32 represents all its values."""
    source, target = network(), network()
    tensors = {name: value.to(dtype) for name, value in source.state_dict().items() if value.is_floating_point()}
    assert fit(target, checkpoint(tensors), "net") == ()
    for name, value in tensors.items():
        assert torch.equal(target.state_dict()[name].nan_to_num(), value.float().nan_to_num())


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint16, torch.bool, torch.complex64])
def test_a_type_that_cannot_be_loaded_is_reported_with_its_tensor(dtype):
    """If everything else fits, the error names the first tensor of a wrong type, the type, and counts the others."""
    tensors = {name: value.to(dtype) for name, value in network().state_dict().items() if name.startswith("2.")}
    with pytest.raises(BadWeightsError) as caught:
        fit(network(), checkpoint(network().state_dict() | tensors), "net")
    assert caught.value.what == (
        f"The weights file a.pt cannot be used: 2.weight is {dtype}, not torch.float32, and 1 other."
    )


@pytest.mark.parametrize("counter", [torch.zeros(3, dtype=torch.int64), torch.tensor(1.5), torch.tensor(2j)])
def test_a_counter_of_batches_that_does_not_fit_is_left_out(counter):
    """The counter has no effect on what is drawn, so a wrong one is no reason to reject the weights."""
    target = network()
    fit(target, checkpoint(network().state_dict() | {"1.num_batches_tracked": counter}), "net")
    assert target[1].num_batches_tracked == 0
