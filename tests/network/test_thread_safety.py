"""One network in several threads: each call gets its own results, and leaves the network as it was."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch

import kernelviz
from kernelviz.errors import KernelvizError
from kernelviz.network.snapshot import preserved_random_state

THREADS = 8


@pytest.fixture
def network():
    """A small network that reworks its weights, in training mode, with a hook of its owner."""
    torch.manual_seed(0)
    network = timm.create_model("test_nfnet")
    network.train()
    network.stem.conv1.register_forward_hook(lambda *_: None)
    return network


def state(network):
    """Hooks, modes and buffers."""
    hooks = [sorted(map(id, part._forward_hooks.values())) for part in network.modules()]
    pre_hooks = [sorted(map(id, part._forward_pre_hooks.values())) for part in network.modules()]
    buffers = [buffer.clone().tolist() for buffer in network.buffers()]
    return hooks, pre_hooks, [part.training for part in network.modules()], buffers


def image_of(number):
    """A tensor of one value, which tells images apart."""
    return torch.full((3, 64, 64), number / THREADS)


def in_threads(work):
    """The results of ``work(number)``, all begun at the same time."""
    barrier = threading.Barrier(THREADS)

    def begin(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def captured(network, number):
    """The maps of one image, as plain arrays by layer."""
    return {maps.layer: maps.values for maps in kernelviz.capture_features(network, image_of(number), "stages.*.conv2")}


def many(network, number):
    """The mean of each map of three images."""
    means = []
    images = [image_of(number), image_of(number + 1), image_of(number)]
    failed = kernelviz.capture_many(network, images, "stem.conv1", on_map=lambda maps: means.append(maps.values.mean()))
    assert not failed
    return np.array(means)


CALLS = {
    "capture_features": captured,
    "trace": lambda network, _: [
        (layer.name, layer.output_shape) for layer in kernelviz.trace(network, (3, 64, 64)).layers
    ],
    "read_kernels": lambda network, _: kernelviz.read_kernels(network, "stem.conv1").weight,
    "trace_unit": lambda network, number: (
        kernelviz.trace_unit(network, image_of(number), "stem.conv1", (1, 2, 3)).value
    ),
    "capture_many": many,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "trace" else pytest.mark.slow) for name in CALLS]
)
def test_eight_threads_get_what_one_thread_gets(network, name):
    """Results are bit for bit those of calls one after the other, and the network is as it was."""
    before = state(network)
    expected = [CALLS[name](network, number) for number in range(THREADS)]
    for _ in range(2):
        np.testing.assert_equal(in_threads(lambda number: CALLS[name](network, number)), expected)
    assert state(network) == before


def test_classes_are_those_of_the_own_image(bundled):
    """The class scores in eight threads are those of each thread's image."""
    expected = [kernelviz.classify(bundled, image_of(number)) for number in range(THREADS)]
    assert in_threads(lambda number: kernelviz.classify(bundled, image_of(number))) == expected


def test_different_calls_at_once_do_not_disturb_each_other(network):
    """Hooks of one call are never removed, kept or restored by another."""
    names = list(CALLS)
    before = state(network)
    expected = [CALLS[names[number % len(names)]](network, number) for number in range(THREADS)]
    found = in_threads(lambda number: CALLS[names[number % len(names)]](network, number))
    np.testing.assert_equal(found, expected)
    assert state(network) == before


def test_errors_of_some_threads_leave_the_others_right(network):
    """A call that fails inside its forward pass releases the network and takes its hooks away."""
    before = state(network)
    expected = [captured(network, number) for number in range(THREADS)]

    def work(number):
        if number % 2:
            return captured(network, number)

        def broken(_maps):
            raise ZeroDivisionError(number)

        with pytest.raises(ZeroDivisionError):
            kernelviz.capture_features(network, image_of(number), "stages.*.conv2", on_map=broken)
        with pytest.raises(KernelvizError):
            kernelviz.trace(network, (5, 64, 64))
        return expected[number]

    np.testing.assert_equal(in_threads(work), expected)
    assert state(network) == before


INSIDE = {
    "capture_features": lambda network: kernelviz.capture_features(network, image_of(1), "stem.conv1"),
    "trace": lambda network: kernelviz.trace(network, (3, 64, 64)),
    "read_kernels": lambda network: kernelviz.read_kernels(network, "stem.conv1"),
    "trace_unit": lambda network: kernelviz.trace_unit(network, image_of(1), "stem.conv1", (0, 0, 0)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_call_inside_a_forward_pass_is_refused(network, name):
    """A call that would wait for itself is an error that says so; the network is free again afterwards."""
    before = state(network)
    with pytest.raises(KernelvizError, match="in use by this thread"):
        kernelviz.capture_features(network, image_of(0), "stem.conv1", on_map=lambda _: INSIDE[name](network))
    assert state(network) == before
    assert captured(network, 1)


def test_a_part_of_a_network_in_use_waits_too(network):
    """A module is in use while a network that contains it is: the weights of a layer are read after the forward pass."""
    inside, released, order = threading.Event(), threading.Event(), []

    def slow(_maps):
        inside.set()
        released.wait(10)
        order.append("captured")

    def read():
        inside.wait(10)
        kernelviz.read_kernels(network.stem, "conv1")
        order.append("read")

    reader = threading.Thread(target=read)
    reader.start()
    threading.Timer(0.2, released.set).start()
    kernelviz.capture_features(network, image_of(0), "stem.conv1", on_map=slow)
    reader.join(10)
    assert order == ["captured", "read"]


def test_warning_filters_are_restored_by_any_thread():
    """Filters belong to the process: calls at the same time on different networks leave them as they were."""
    networks = [timm.create_model("test_resnet") for _ in range(THREADS)]
    before = list(warnings.filters)
    in_threads(lambda number: kernelviz.trace(networks[number], (3, 64, 64)))
    assert warnings.filters == before


def test_networks_are_built_from_their_seed_while_others_run(network):
    """Random weights are those of their seed, and the random state is kept, whatever other threads do meanwhile."""

    def weights():
        return kernelviz.load_model("test_resnet", weights="random", seed=3).module.conv1[0].weight.detach().clone()

    def work(number):
        for _ in range(4):
            if number % 2:
                captured(network, number)
            elif not torch.equal(weights(), expected):
                return False
        return True

    expected = weights()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert all(in_threads(work))
    assert torch.equal(torch.get_rng_state(), state)


class Noise(torch.nn.Module):
    """Adds random numbers, as a layer of a sampling network does."""

    def forward(self, image):
        """Differ from call to call."""
        return image + torch.rand(1)


def test_random_numbers_of_a_network_start_from_the_callers_state():
    """A call starts from the caller's random state and restores it, and so does one inside of another."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), Noise()).eval()

    def sums():
        return kernelviz.capture_features(network, torch.zeros(3, 8, 8), "1")[0].values.sum()

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = sums()
    assert torch.equal(torch.get_rng_state(), state)
    with preserved_random_state():
        torch.rand(3)
        inner = torch.get_rng_state()
        assert sums() != first
        assert torch.equal(torch.get_rng_state(), inner)
    assert torch.equal(torch.get_rng_state(), state)
    assert sums() == first
