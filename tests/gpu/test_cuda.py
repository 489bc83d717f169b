"""On a CUDA device all numbers are those of the CPU but for rounding, and the network stays as it was.

Run ``pytest -n 0 -m gpu``. TF32, which would round the inputs of convolutions to 10 bits, is off, as in the commands.
"""

from __future__ import annotations

import copy
import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import kernelviz
from kernelviz.cli.main import main
from kernelviz.network.weights.names import bundled_path
from kernelviz.threads import no_warnings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

DEVICE = "cuda"
CLOSE = 5e-4
"""The largest difference of a map to that of the CPU, as a share of the map's largest value: sums in another order, layer
after layer. With TF32 it is above 1e-3 after a few layers."""
SAMPLE = "sample:grace_hopper"


@pytest.fixture(autouse=True)
def _without_tf32(tmp_path, monkeypatch):
    """Convolutions in float32, as the commands set it; files go to a directory of their own."""
    monkeypatch.chdir(tmp_path)
    with no_warnings():
        torch.backends.cudnn.allow_tf32 = False


@pytest.fixture
def run(capsys):
    """A function that runs the command and returns its exit code, stdout and stderr."""

    def finish(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return finish


class Small(nn.Module):
    """Grouped, depthwise, transposed and padded convolutions, a pool, buffers, a plain tensor, and random numbers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=2, padding=2, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 12, 3, padding=1, groups=2, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(12, 4, 2, stride=2)
        self.register_buffer("order", torch.tensor([3, 1, 0, 2]))
        self.scale = 0.5
        self.noise = False

    def forward(self, image):  # noqa: D102
        image = torch.relu(self.norm(self.first(image)))
        image = self.pool(self.grouped(self.depthwise(image)))
        if self.noise:
            image = image + torch.rand_like(image)
        return self.up(image).index_select(1, self.order) * self.scale


class Branching(nn.Module):
    """Its forward pass depends on values, so that it is observed on its own device."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)
        self.register_buffer("rows", torch.arange(0, 16, 2))

    def forward(self, image):  # noqa: D102
        image = self.norm(self.first(image))
        if image.sum() > 1e30:
            return image
        return self.last(image.index_select(2, self.rows))


def seeded(kind):
    """Such a network with seeded weights, in eval mode."""
    torch.manual_seed(0)
    return kind().eval()


def on_both(network):
    """The network on the CPU, and a copy on the device."""
    if isinstance(network, kernelviz.Model):
        moved = copy.deepcopy(network.module)
        return network, kernelviz.Model(moved, network.source, network.input_size, network.stages, network.sums).to(
            DEVICE
        )
    return network, copy.deepcopy(network).to(DEVICE)


def devices_of(network):
    """The kinds of device of all parameters and buffers."""
    module = network.module if isinstance(network, kernelviz.Model) else network
    return {tensor.device.type for tensor in (*module.parameters(), *module.buffers())}


def assert_close(ours, theirs, what=""):
    """Equal shapes, and values that differ by at most ``CLOSE`` of the largest."""
    assert ours.shape == theirs.shape, what
    largest = float(np.abs(theirs).max()) if theirs.size else 0.0
    assert float(np.abs(ours.astype(np.float64) - theirs).max()) <= CLOSE * largest + 1e-12, what


@pytest.fixture(scope="module")
def deep():
    """EfficientNet-Lite0, with the bundled weights if they are installed."""
    return kernelviz.load_model("tf_efficientnet_lite0", weights="bundled" if bundled_path() else "random")


@pytest.fixture(scope="module")
def image():
    """A photograph."""
    return kernelviz.read_image(SAMPLE)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_all_maps_of_a_network(name, image):
    """Each map is that of the CPU within ``CLOSE``, from run to run the very same, and an array of NumPy."""
    cpu, cuda = on_both(kernelviz.load_model(name, weights="random"))
    expected = kernelviz.capture_features(cpu, image, "*")
    found, again = kernelviz.capture_features(cuda, image, "*"), kernelviz.capture_features(cuda, image, "*")
    assert [maps.layer for maps in found] == [maps.layer for maps in expected]
    for ours, theirs, twice in zip(found, expected, again, strict=True):
        assert isinstance(ours.values, np.ndarray)
        assert_close(ours.values, theirs.values, ours.layer)
        np.testing.assert_array_equal(ours.values, twice.values)
        assert ours.source.device.startswith(DEVICE)
    assert devices_of(cuda) == {DEVICE}


def test_all_maps_of_a_deep_network(deep, image):
    """The error does not grow beyond ``CLOSE`` along sixty layers."""
    cpu, cuda = on_both(deep)
    for ours, theirs in zip(
        kernelviz.capture_features(cuda, image, "*"), kernelviz.capture_features(cpu, image, "*"), strict=True
    ):
        assert_close(ours.values, theirs.values, ours.layer)


@pytest.mark.parametrize("kind", [Small, Branching])
@pytest.mark.parametrize("given", ["cpu", DEVICE])
def test_a_network_of_ones_own(kind, given):
    """The image may be on either device; the network need not be one that is observed without numbers."""
    cpu, cuda = on_both(seeded(kind))
    batch = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = kernelviz.capture_features(cpu, batch, "*")
    found = kernelviz.capture_features(cuda, batch.to(given), "*")
    assert [(maps.layer, maps.shape) for maps in found] == [(maps.layer, maps.shape) for maps in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours.values, theirs.values, ours.layer)
    assert devices_of(cuda) == {DEVICE}


def test_the_state_is_preserved():
    """Modes, buffers, hooks and the random numbers of the device are as before, so that two runs are equal."""
    network = seeded(Small).to(DEVICE).train()
    network.noise = True
    network.norm.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.cuda.manual_seed(5)
    states = torch.cuda.get_rng_state(), torch.get_rng_state()
    batch = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = (kernelviz.capture_features(network, batch, ["pool", "up"]) for _ in range(2))
    kernelviz.trace(network, (3, 16, 16))
    kernelviz.load_model("test_resnet", weights="random", seed=7)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert torch.equal(torch.cuda.get_rng_state(), states[0])
    assert torch.equal(torch.get_rng_state(), states[1])
    assert network.training
    assert network.up.training
    assert not network.norm.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])} == set()
    assert devices_of(network) == {DEVICE}


def test_kernels_are_bitwise_those_of_the_cpu(deep):
    """Weights are copied, not computed; what a layer makes of its weight is computed on the device."""
    for network in (deep, kernelviz.load_model("test_resnet", weights="random"), seeded(Small)):
        cpu, cuda = on_both(network)
        for layer in kernelviz.list_layers(cpu):
            ours, theirs = kernelviz.read_kernels(cuda, layer.name), kernelviz.read_kernels(cpu, layer.name)
            np.testing.assert_array_equal(ours.weight, theirs.weight)
            assert (ours.layer, ours.notes, ours.reading) == (theirs.layer, theirs.notes, theirs.reading)
        assert devices_of(cuda) == {DEVICE}
    cpu, cuda = on_both(kernelviz.load_model("test_nfnet", weights="random"))
    layer = kernelviz.list_layers(cpu)[0].name
    ours, theirs = kernelviz.read_kernels(cuda, layer), kernelviz.read_kernels(cpu, layer)
    assert ours.reading == theirs.reading == "effective"
    assert_close(ours.weight, theirs.weight)


def test_random_weights_stay_random_on_the_device():
    """Moving a network does not change its weights, and its pictures are marked as not trained."""
    model = kernelviz.load_model("test_resnet", weights="random")
    moved = model.to(DEVICE)
    assert moved.current_source.label == "test_resnet, random weights (seed 0)"
    assert moved.current_source.weights.source == "random"


def test_layers_and_fields_are_those_of_the_cpu(deep):
    """A trace needs no numbers of the device; that of a branching network is made there."""
    for network, size in ((deep, None), (seeded(Small), (3, 16, 16)), (seeded(Branching), (3, 16, 16))):
        cpu, cuda = on_both(network)
        ours, theirs = kernelviz.trace(cuda, size), kernelviz.trace(cpu, size)
        assert str(ours.layers) == str(theirs.layers)
        assert (ours.params, ours.macs) == (theirs.params, theirs.macs)


@pytest.mark.parametrize("layer", ["first", "depthwise", "grouped", "pool", "up"])
@pytest.mark.parametrize("given", ["cpu", DEVICE])
def test_the_sums_of_a_value(layer, given):
    """The products and the bias add up to the value that the device gave, within the rounding of float32."""
    cpu, cuda = on_both(seeded(Small))
    batch = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))
    for at in ((0, 0, 0), (3, 2, 1)):
        unit = kernelviz.trace_unit(cuda, batch.to(given), layer, at)
        expected = kernelviz.trace_unit(cpu, batch, layer, at)
        size = float(np.abs(unit.products).sum()) + abs(unit.bias or 0.0)
        assert abs(unit.total - unit.value) <= 3e-6 * size + 1e-30
        assert_close(unit.window, expected.window)
        assert_close(unit.map, expected.map)
        np.testing.assert_array_equal(unit.kernel, expected.kernel)
        assert (unit.rows, unit.columns, unit.box) == (expected.rows, expected.columns, expected.box)
        assert unit.reads_image is expected.reads_image
        assert unit.reads_image is (layer == "first")
    assert devices_of(cuda) == {DEVICE}


def test_classes(deep, image):
    """The same classes with nearly the same shares."""
    cpu, cuda = on_both(deep)
    expected, found = kernelviz.classify(cpu, image), kernelviz.classify(cuda, image)
    assert [(score.index, score.label) for score in found] == [(score.index, score.label) for score in expected]
    assert [score.probability for score in found] == pytest.approx([score.probability for score in expected], rel=1e-2)


def test_a_shifted_image(deep, image):
    """The similarities of the maps are those of the CPU."""
    cpu, cuda = on_both(deep)
    expected, found = (kernelviz.shift_image(one, image, [0, 4, 8], ["conv_stem"]) for one in (cpu, cuda))
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        assert dict(ours.invariance) == pytest.approx(dict(theirs.invariance), rel=1e-3)
        assert dict(ours.equivariance) == pytest.approx(dict(theirs.equivariance), rel=1e-3)


def arrays_in(directory):
    """The arrays of all layers that a command wrote, by file and name."""
    found = {}
    for path in sorted(directory.glob("*.npz")):
        with np.load(path) as archive:
            found |= {(path.name, name): archive[name] for name in archive.files if archive[name].dtype.kind == "f"}
    return found


@pytest.mark.parametrize("model", ["test_resnet", "tf_efficientnet_lite0"])
def test_features_with_device_cuda(run, tmp_path, model):
    """Arrays are those of the CPU within ``CLOSE``; the same command writes the same bytes."""
    weights = "bundled" if model != "test_resnet" and bundled_path() else "random"
    words = ("features", model, SAMPLE, "--weights", weights, "--arrays", "--style", "bare", "--json", "--force")
    for name in ("cpu", DEVICE, "again"):
        code, out, err = run(*words, "--device", "cpu" if name == "cpu" else DEVICE, "-o", tmp_path / name)
        assert code == 0, err
        document = json.loads(out)
        assert document["environment"]["device"].startswith("cpu" if name == "cpu" else DEVICE)
        assert document["errors"] == []
    ours, theirs, again = (arrays_in(tmp_path / name) for name in (DEVICE, "cpu", "again"))
    assert len(ours) >= 5
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert_close(array, theirs[name], name)
        np.testing.assert_array_equal(array, again[name])
    for path in (tmp_path / DEVICE).glob("*.png"):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_statistics(run):
    """Means and deviations of the channels over several images, in batches, are those of the CPU."""
    rng = np.random.default_rng(0)
    from PIL import Image

    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)).save(f"{number}.png")
    found = {}
    for device in ("cpu", DEVICE):
        code, out, err = run(
            "features", "test_resnet", ".", "-r", "--weights", "random", "--statistics", "--batch-size", "2", "--json",
            "--device", device, "--force",
        )  # fmt: skip
        assert code == 0, err
        found[device] = json.loads(out)["statistics"]
    assert [each["layer"] for each in found[DEVICE]] == [each["layer"] for each in found["cpu"]]
    for ours, theirs in zip(found[DEVICE], found["cpu"], strict=True):
        assert ours["values"] == theirs["values"]
        for name in ("mean", "deviation"):
            assert_close(np.array(ours[name]), np.array(theirs[name]), (ours["layer"], name))


def test_explain_layer_with_device_cuda(run):
    """The numbers of a value, and the picture of kernel and map."""
    words = ("explain", "layer", "test_resnet", "conv1.0", "--weights", "random", "--image", SAMPLE, "--json")
    steps = {}
    for device in ("cpu", DEVICE):
        code, out, err = run(*words, "--at", "3,4", "--device", device)
        assert code == 0, err
        (steps[device],) = json.loads(out)["steps"]
    ours, theirs = steps[DEVICE], steps["cpu"]
    assert ours["kernel"] == theirs["kernel"]
    assert ours["window"] == theirs["window"]
    assert ours["value"] == pytest.approx(ours["sum"], rel=1e-5)
    assert ours["value"] == pytest.approx(theirs["value"], rel=1e-4)
    code, out, err = run(*words, "--device", DEVICE, "-o", "out", "--force")
    assert code == 0, err
    assert len(json.loads(out)["outputs"]) == 1


def test_shift_and_overview_with_device_cuda(run):
    """The other pictures of forward passes are drawn too."""
    for words in (
        ("shift", "test_resnet", SAMPLE, "--weights", "random", "--by", "0,2,4"),
        ("features", "test_resnet", SAMPLE, "--weights", "random", "--overview"),
        ("features", "test_resnet", SAMPLE, "--weights", "random", "--reduce", "pca", "-l", "layer1"),
    ):
        code, out, err = run(*words, "--device", DEVICE, "--force")
        assert code == 0, err
        assert out.splitlines(), words


def test_devices_that_are_not_offered(run):
    """``cuda:0`` is a usage error that lists what there is; ``auto`` is the device."""
    words = ("features", "test_resnet", SAMPLE, "--weights", "random", "--json", "--force")
    code, _, err = run(*words, "--device", "cuda:0")
    assert code == 2
    assert "cuda" in err
    code, out, _ = run(*words, "--device", "auto")
    assert code == 0
    assert json.loads(out)["environment"]["device"].startswith(DEVICE)


def test_a_report(deep, image):
    """Maps are those of the CPU to one level, kernels and live weights to the bit; twice the very same page."""
    cpu, cuda = on_both(deep)
    expected = kernelviz.make_report(cpu, [image], ["conv_stem", "blocks.1.0.conv_dw", "conv_head"])
    found = kernelviz.make_report(cuda, [image], ["conv_stem", "blocks.1.0.conv_dw", "conv_head"])
    again = kernelviz.make_report(cuda, [image], ["conv_stem", "blocks.1.0.conv_dw", "conv_head"])
    assert found.html == again.html
    assert devices_of(cuda) == {DEVICE}
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        shared = np.intersect1d(ours.shown, theirs.shown)
        assert len(shared) >= 0.9 * len(theirs.shown)  # near-duplicates may be others
        at, there = np.searchsorted(ours.shown, shared), np.searchsorted(theirs.shown, shared)
        levels = ours.maps[0].levels[at].astype(int) - theirs.maps[0].levels[there]
        assert np.abs(levels).max() <= 1, ours.name
        assert np.array_equal(ours.kernels.levels[at], theirs.kernels.levels[there])
    assert np.array_equal(found.layers[0].live.weights, expected.layers[0].live.weights)


def test_effective_fields(deep, image):
    """Gradients are those of the CPU to 1e-3 of the largest, the same from run to run, and 0 outside of the field."""
    cpu, cuda = on_both(deep)
    expected = kernelviz.effective_fields(cpu, image, ["blocks.2", "blocks.3"])
    found = kernelviz.effective_fields(cuda, image, ["blocks.2", "blocks.3"])
    again = kernelviz.effective_fields(cuda, image, ["blocks.2", "blocks.3"])
    for ours, theirs, same in zip(found, expected, again, strict=True):
        assert float(np.abs(ours.values - theirs.values).max()) <= 1e-3 * float(theirs.values.max())
        assert float(np.abs(ours.values - same.values).max()) <= 1e-6 * float(theirs.values.max())
        assert np.array_equal(ours.values == 0, theirs.values == 0) or ours.outside == theirs.outside == 0
        assert [square.side for square in ours.squares] == pytest.approx(
            [square.side for square in theirs.squares], abs=1
        )


@pytest.mark.parametrize("command", ["report", "field"])
def test_commands_for_several_layers(run, command):
    """They run on the device and end in a file."""
    words = (command, "test_resnet", SAMPLE, "--weights", "random", "-l", "conv1", "-l", "layer2", "--device", DEVICE)
    code, out, err = run(*words)
    assert code == 0, err
    assert Path(out.split()[0]).is_file()


@pytest.fixture
def limited():
    """A function that leaves this process so many bytes of the device beyond those that it uses now."""

    def limit(more):
        gc.collect()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + more) / total))

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    gc.collect()
    torch.cuda.empty_cache()


@pytest.mark.parametrize(("model", "side", "more"), [("vgg11", 64, 2**24), ("test_resnet", 2048, 100_000_000)])
def test_too_little_memory(run, limited, model, side, more):
    """When the network, or its forward pass, does not fit: one clear message, exit code 1, and no file."""
    limited(more)
    code, _, err = run(
        "features",
        model,
        SAMPLE,
        "--weights",
        "random",
        "--input-size",
        side,
        "--device",
        DEVICE,
        "-o",
        "out",
        "-l",
        "*",
    )
    complaint = [line for line in err.splitlines() if "memory" in line]
    assert code == 1
    assert len(complaint) == 1, err
    assert "unexpected" not in err
    assert not list(Path().glob("out/*"))
    limited(2**40)
    words = ("features", "test_resnet", SAMPLE, "--weights", "random", "--device", DEVICE, "-o", "out")
    assert run(*words)[0] == 0  # the memory was freed
