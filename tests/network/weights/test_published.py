"""Published weights are loaded as timm loads them, by each architecture's own rule, and counted."""

from __future__ import annotations

import re
import threading

import pytest
import timm
import torch
from timm.models import _builder, get_pretrained_cfg
from torch import nn

from kernelviz.errors import BadWeightsError
from kernelviz.network.model import load_model, read_registry
from kernelviz.network.weights.checkpoints import Checkpoint, Loading, fit_pretrained, instead_of_loading
from kernelviz.records import Weights

TINY = [name for name in timm.list_models("test_*") if get_pretrained_cfg(name).hf_hub_id]
OTHERS = [
    "resnet18d",
    "mobilenetv3_small_050",
    "deit_tiny_patch16_224",
    "convnext_atto",
    "levit_128s",
    "dla46_c",
    "regnetx_002",
]


def served(hub, name):
    """The state of a seeded network, served as the published weights of ``name``."""
    from safetensors.torch import save

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = timm.create_model(name)
    location = read_registry().architectures[name][0].location
    state = {key: value.clone().contiguous() for key, value in network.state_dict().items()}
    hub.add(location.repo, "model.safetensors", save(state))
    return state


@pytest.mark.parametrize("name", [*TINY, *OTHERS])
def test_networks_of_many_kinds_come_back(hub, name):
    """What timm would save for an architecture is what is loaded, tensor by tensor."""
    state = served(hub, name)
    model = load_model(name)
    loaded = model.module.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert model.source.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("module", timm.list_modules())
def test_every_module_of_timm_comes_back(hub, module):
    """The smallest published architecture of each module, as above."""
    names = [name for name in timm.list_models(module=module) if get_pretrained_cfg(name).hf_hub_id]
    if not names:
        pytest.skip("nothing published on the hub")
    sizes = {name: load_model(name, weights=None).source.params for name in names}
    name = min(sizes, key=sizes.get)
    if sizes[name] > 150e6:
        pytest.skip("too large to be served here")
    state = served(hub, name)
    loaded = load_model(name).module.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_a_rule_that_renames_is_used(hub):
    """Weights under the names of their first makers come into timm's network."""
    from safetensors.torch import save

    state = served(hub, "convnext_atto")
    location = read_registry().architectures["convnext_atto"][0].location
    old = {_first_name(key): value for key, value in state.items()}
    assert not set(old) & {"stem.0.weight", "head.fc.weight", "stages.0.blocks.0.conv_dw.weight"}
    hub.add(location.repo, "model.safetensors", save(old))
    loaded = load_model("convnext_atto").module.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def _first_name(key):
    """What ConvNeXt's makers call a tensor of timm's."""
    key = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", key)
    for new, old in [("stem.", "downsample_layers.0."), (".blocks", ""), ("conv_dw", "dwconv"), ("mlp.fc", "pwconv")]:
        key = key.replace(new, old)
    return key.replace("head.fc.", "head.").replace("head.norm.", "norm.")


def test_other_threads_load_as_ever():
    """While a network is built here, timm works as ever elsewhere, and afterwards here too."""
    load, called = _builder.load_pretrained, []
    network = nn.Conv2d(1, 1, 1)
    weights = {"weight": torch.full((1, 1, 1, 1), 7.0), "bias": torch.zeros(1)}
    cfg = {"state_dict": weights, "num_classes": 1000, "first_conv": None, "classifier": None}
    with instead_of_loading():
        assert _builder.load_pretrained is not load
        thread = threading.Thread(target=lambda: called.append(_builder.load_pretrained(network, cfg)))
        thread.start()
        thread.join()
    assert called == [None]
    assert network.weight.item() == 7.0
    assert _builder.load_pretrained is load


def published(**tensors):
    """Tensors as if the hub had them."""
    return Checkpoint(tensors, Weights("hub", "a/b"))


def test_what_timm_lets_pass_is_reported():
    """Where timm is not strict a missing vector is named in a note; a missing kernel is rejected."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, track_running_stats=False))
    kernel = torch.ones(2, 1, 1, 1)
    given = published(**{"0.weight": kernel, "1.weight": torch.ones(2), "old.head": torch.ones(3)})
    assert fit_pretrained(network, given, "net", Loading(strict=False)) == (
        "not in the weights, as initialised: 1.bias",
    )
    assert torch.equal(network[0].weight, kernel)
    with pytest.raises(BadWeightsError, match=r"2 of 3 tensors match.*a/b"):
        fit_pretrained(network, published(**{"1.weight": torch.ones(2)}), "net", Loading(strict=False))
    with pytest.raises(BadWeightsError, match="2 of 3 tensors match"):
        fit_pretrained(network, given, "net", Loading(strict=True))


def test_weights_that_the_rule_does_not_know():
    """Whatever an architecture's rule raises is one sentence; a rule of one argument is one too."""

    def fails(tensors, _network):
        return tensors["blocks.0"]

    with pytest.raises(BadWeightsError, match="a/b does not hold the weights of net"):
        fit_pretrained(nn.Conv2d(1, 1, 1), published(weight=torch.ones(1)), "net", Loading(rename=fails))
    conv = nn.Conv2d(1, 1, 1, bias=False)
    given = published(old=torch.full((1, 1, 1, 1), 5.0))
    fit_pretrained(conv, given, "net", Loading(rename=lambda tensors: {"weight": tensors["old"]}))
    assert conv.weight.item() == 5.0
