"""Histories of kernels are read from files of every kind, one tensor of each, in bounded memory."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import kernelviz
from kernelviz.errors import BadWeightsError, KernelvizError, UnknownLayerError, UsageError
from kernelviz.network import history as module
from kernelviz.network.history import numbers_in, read_history
from kernelviz.network.kernels import architecture_of
from kernelviz.network.weights.stored import open_weights


@pytest.fixture
def net():
    """A network of one's own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential()
        made.add_module("conv1", nn.Conv2d(3, 6, 7))
        made.add_module("conv2", nn.ConvTranspose2d(6, 4, 3))
        made.add_module("conv3", nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 5, 3)))
        return made


def states(net, count=4):
    """The states of a network while its weights walk at random."""
    generator, found = torch.Generator().manual_seed(1), []
    net = copy.deepcopy(net)
    for _ in range(count):
        with torch.no_grad():
            for each in net.parameters():
                each.add_(torch.randn(each.shape, generator=generator), alpha=0.1)
        found.append({name: value.clone() for name, value in net.state_dict().items()})
    return found


def test_every_layout_of_a_checkpoint_gives_the_same_history(net, tmp_path):
    """Bare, wrapped, with prefixes, as safetensors, from states and from arrays: the numbers are those of torch.load."""
    kept = states(net)
    layouts = {
        "bare.pt": kept[0],
        "wrapped.pt": {"model": kept[1], "optimizer": {"state": {0: {"exp_avg": kept[1]["conv1.weight"]}}}},
        "parallel.pt": {"net": {f"module.{name}": value for name, value in kept[2].items()}},
    }
    for name, content in layouts.items():
        torch.save(content, tmp_path / name)
    save_file(kept[3], tmp_path / "last.safetensors")
    paths = [*(tmp_path / name for name in layouts), tmp_path / "last.safetensors"]
    found = read_history(net, paths, "conv1")
    weights = np.stack([state["conv1.weight"].numpy() for state in kept])
    assert np.array_equal(found.weights, weights)
    assert np.array_equal(read_history(net, kept, "conv1").weights, weights)
    assert np.array_equal(read_history(None, list(map(torch.from_numpy, weights))).cosines, found.cosines)
    assert np.array_equal(read_history(None, torch.from_numpy(weights)).norms, found.norms)
    flat = weights.reshape(4, 6, -1).astype(np.float64)
    np.testing.assert_allclose(found.norms, np.linalg.norm(flat, axis=2), rtol=1e-14)
    assert [weights.key for weights in found.sources] == [None, "model", "net", None]
    assert found.labels == ("bare.pt", "wrapped.pt", "parallel.pt", "last.safetensors")
    assert found.layer.name == "conv1"


def test_transposed_and_reparametrised_kernels_are_those_of_read_kernels(net):
    """The axes of a transposed convolution are turned, and a weight that the layer computes is the effective one."""
    kept = states(net)
    for name in ("conv2", "conv3"):
        found = read_history(net, kept, name)
        for at, state in enumerate(kept):
            other = copy.deepcopy(net)
            other.load_state_dict(state)
            np.testing.assert_array_equal(found.weights[at], kernelviz.read_kernels(other, name).weight)
    assert any("effective weight" in note for note in found.notes)


def test_one_tensor_is_read_and_no_network_built(tmp_path, monkeypatch):
    """Of a plain convolution: neither a network nor any other tensor is touched."""
    model = kernelviz.load_model("test_resnet", weights="random")
    for step in (1, 2):
        torch.save(model.module.state_dict(), tmp_path / f"s{step}.pt")
    architecture = architecture_of(kernelviz.load_model("test_resnet", weights=None))
    (layer,) = architecture.select(["conv1.0"])
    read = []
    original = module.StoredWeights.read
    monkeypatch.setattr(module.StoredWeights, "read", lambda self, name: read.append(name) or original(self, name))

    def load(_):
        pytest.fail("a network is built")

    paths = [tmp_path / "s1.pt", tmp_path / "s2.pt"]
    found = module.read_histories(architecture, paths, [layer], load=load, on_error=lambda *_: pytest.fail("an error"))
    assert read == ["conv1.0.weight"] * 2
    assert np.array_equal(found["conv1.0"].weights[1], model.module.conv1[0].weight.detach().numpy())


def test_other_tensors_stay_in_the_file(tmp_path):
    """Of a large checkpoint only the pages of one tensor are read into memory."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(1000, 5000))
    torch.save(net.state_dict(), tmp_path / "large.pt")
    architecture = architecture_of(net)
    tracemalloc.start()
    found = open_weights(tmp_path / "large.pt", architecture.tensors, "net").read("0.weight")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, net[0].weight.detach().numpy())
    assert peak < 2_000_000


def test_the_sources_of_steps_in_their_order(net, tmp_path):
    """Given ones, then the most precise key that all files have, then the numbers in the names, then 1, 2, …."""
    kept = states(net, 3)

    def saved(*contents, names=("step-9.pt", "step-10.pt", "step-200.pt")):
        for name, content in zip(names, contents, strict=True):
            torch.save(content, tmp_path / name)
        return [tmp_path / name for name in names]

    def history(paths, **choices):
        found = read_history(net, paths, "conv1", **choices)
        return found.steps, found.step_source

    wrapped = [{"epoch": at, "model": {"state": state}} for at, state in enumerate(kept)]
    both = [each | {"global_step": torch.tensor(100 * each["epoch"])} for each in wrapped]
    assert history(saved(*both), steps=[1, 2, 2.5]) == ((1, 2, 2.5), "as given")
    assert history(saved(*both)) == ((0, 100, 200), "global_step in the files")
    assert history(saved(both[0], wrapped[1], both[2])) == ((0, 1, 2), "epoch in the files")
    assert history(saved(kept[0], *wrapped[1:])) == ((9, 10, 200), "the file names")
    assert history(saved(*(state | {"step": 10**400} for state in wrapped))) == ((0, 1, 2), "epoch in the files")
    assert history(saved(*({"model": state, "epoch": 5} for state in kept))) == ((9, 10, 200), "the file names")
    names = ("a9.pt", "b10.pt", "c200.pt")
    assert history(saved(*kept, names=names)) == ((1, 2, 3), "numbered as given")
    for at, state in enumerate(kept):
        save_file(state, tmp_path / f"{at}.safetensors", metadata={"step": str(7 * at)})
    assert history([tmp_path / f"{at}.safetensors" for at in range(3)])[0] == (0, 7, 14)
    for at in (5, 50, 500):
        (tmp_path / f"checkpoint-{at}").mkdir()
        torch.save(kept[0], tmp_path / f"checkpoint-{at}" / "model.bin")
    found = read_history(net, [tmp_path / f"checkpoint-{at}" / "model.bin" for at in (5, 50, 500)], "conv1")
    assert (found.steps, found.labels[0]) == ((5, 50, 500), "checkpoint-5/model.bin")
    assert any("all 3 checkpoints hold the same kernels" in note for note in found.notes)


def test_steps_as_keys_and_steps_that_do_not_grow(net):
    """A mapping has its steps as keys; an axis of steps that do not grow counts the checkpoints, which is said."""
    kept = states(net, 3)
    assert read_history(net, dict(zip((0, 10, 20), kept, strict=True)), "conv1").steps == (0, 10, 20)
    found = read_history(net, kept, "conv1", steps=[5, 4, 6])
    assert found.axis == (1, 2, 3)
    assert any("the steps do not grow" in note for note in found.notes)
    assert numbers_in(["epoch=3-step=10", "epoch=3-step=20"]) == [10, 20]
    assert numbers_in(["a1", "b2"]) is None


def test_modules_are_checkpoints_too(net):
    """Copies of a network that were kept; what is no checkpoint is rejected by its type."""
    copies = [copy.deepcopy(net) for _ in range(2)]
    with torch.no_grad():
        copies[1].conv1.weight.mul_(2)
    found = read_history(net, {0: copies[0], 5: copies[1]}, "conv1")
    assert np.array_equal(found.weights[1], 2 * net.conv1.weight.detach().numpy())
    for wrong in ("runs", Path("runs")):
        with pytest.raises(UsageError, match="must be a list of files, but got runs"):
            read_history(net, wrong)
    with pytest.raises(UsageError, match="The layer must be the name of a convolution"):
        read_history(net, copies, ["conv1"])
    assert "were copies kept?" in read_history(net, [net.state_dict()] * 3, "conv1").notes[0]
    with pytest.raises(UsageError, match="or a module, but got int"):
        read_history(net, [1, 2])


def test_averaged_and_plain_weights_in_one_list_are_said(net, tmp_path):
    """They do not compare."""
    kept = states(net, 3)
    torch.save({"model": kept[0], "model_ema": kept[1]}, tmp_path / "1.pt")
    torch.save(kept[2], tmp_path / "2.pt")
    found = read_history(net, [tmp_path / "1.pt", tmp_path / "2.pt"], "conv1")
    assert np.array_equal(found.weights[0], kept[1]["conv1.weight"].numpy())
    assert any("averaged weights in 1 of 2 checkpoints (under `model_ema`)" in note for note in found.notes)
    plain = read_history(net, [tmp_path / "1.pt", tmp_path / "1.pt"], "conv1", weights_key="model")
    assert np.array_equal(plain.weights[0], kept[0]["conv1.weight"].numpy())


def test_a_checkpoint_that_cannot_be_used_is_named_and_left_out(net, tmp_path):
    """Text, another shape, another network: each with its reason; fewer than two left are no history."""
    kept = states(net, 3)
    for at in (0, 4):
        torch.save(kept[at // 2], tmp_path / f"{at}.pt")
    (tmp_path / "1.pt").write_text("no weights")
    torch.save(kept[0] | {"conv1.weight": torch.zeros(6, 3, 5, 5)}, tmp_path / "2.pt")
    torch.save({name: value for name, value in kept[0].items() if name != "conv1.weight"}, tmp_path / "3.pt")
    paths = [tmp_path / f"{at}.pt" for at in range(5)]
    errors = {}
    found = read_history(net, paths, "conv1", on_error=errors.__setitem__)
    assert (found.steps, sorted(errors)) == ((0, 4), [1, 2, 3])
    assert "(6, 3, 5, 5), not (6, 3, 7, 7)" in errors[2].what
    assert "has no kernels of the layer conv1" in errors[3].what
    with pytest.raises(BadWeightsError):
        read_history(net, paths, "conv1")
    with pytest.raises(KernelvizError, match="Fewer than two"):
        read_history(net, paths[:3], "conv1", on_error=errors.__setitem__)


def test_the_shape_of_a_fine_tuned_network_is_that_of_its_files(tmp_path):
    """Other numbers of classes and input channels than by default, as with ``--weights``."""
    model = kernelviz.load_model("test_resnet", weights="random", model_args={"in_chans": 1, "num_classes": 7})
    for step in (1, 2):
        torch.save(model.module.state_dict(), tmp_path / f"{step}.pt")
    found = read_history("test_resnet", [tmp_path / "1.pt", tmp_path / "2.pt"], "conv1.0")
    assert (found.weights.shape[2], found.layer.in_channels) == (1, 1)


def test_what_is_no_history_is_rejected(net):
    """One checkpoint, steps of another number, an unknown layer, ragged arrays, no model."""
    kept = states(net, 2)
    for given, choices in (
        ((net, kept[:1], "conv1"), {}),
        ((net, kept, "conv1"), {"steps": [1]}),
        ((None, kept, "conv1"), {}),
        ((None, [np.zeros((2, 1, 3, 3)), np.zeros((3, 1, 3, 3))]), {}),
        ((None, np.zeros((4, 4))), {}),
        ((net, kept, "conv1"), {"channels": "9"}),
    ):
        with pytest.raises(UsageError):
            read_history(*given, **choices)
    with pytest.raises(UnknownLayerError):
        read_history(net, kept, "conv9")


def test_the_callers_network_stays_as_it_is(net):
    """Weights, modes and the random state."""
    before, kept = copy.deepcopy(net.state_dict()), states(net, 2)
    net.train()
    random = torch.get_rng_state()
    read_history(net, kept, "conv3")
    assert net.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def _peak(count, out_channels, path):
    """The most memory that a history of so many checkpoints takes beyond that before it."""
    net = nn.Sequential(nn.Conv2d(64, out_channels, 3))
    torch.save(net.state_dict(), path)
    architecture = architecture_of(net)
    tracemalloc.start()
    found = module.read_histories(
        architecture, [path] * count, architecture.select(None), load=pytest.fail, top=8, on_error=pytest.fail
    )["0"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    bank = out_channels * 64 * 9 * 8
    return peak, bank, found.weights.nbytes + 4 * found.norms.nbytes


def test_memory_does_not_grow_with_the_number_of_checkpoints(tmp_path):
    """Three banks in float64, what is kept twice, and the state of a few files."""
    peak, bank, kept = _peak(12, 1024, tmp_path / "w.pt")
    assert peak < 3 * bank + 2 * kept + 3_000_000


@pytest.mark.slow
def test_400_checkpoints_take_three_banks_of_memory(tmp_path):
    """And the chosen kernels of each."""
    peak, bank, kept = _peak(400, 1024, tmp_path / "w.pt")
    assert peak < 3 * bank + 2 * kept + 6_000_000
