"""``kernelviz compare`` draws two weights of one architecture; every kind of weights, every fault."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import kernelviz as kv

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6, inputs=3, kernel=3):
        super().__init__()
        self.stem = nn.Conv2d(inputs, width, kernel, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, groups=width), nn.Conv2d(width, 4, 1))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(self.norm(self.stem(x))).mean((2, 3)))
"""


def state(seed=0, **choices):
    """The seeded state of such a network."""
    namespace = {"__name__": "net"}
    exec(CODE, namespace)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return namespace["Net"](**choices).state_dict()


@pytest.fixture
def files(tmp_path):
    """A network of one's own, weights of it, the same with a frozen stem, a permuted stem, and others that do not fit."""
    (tmp_path / "net.py").write_text(CODE)
    first, other = state(), state(1)
    torch.save(first, tmp_path / "a.pt")
    torch.save({**other, "stem.weight": first["stem.weight"]}, tmp_path / "frozen.pt")
    order = [3, 0, 5, 1, 4, 2]
    torch.save({**other, "stem.weight": 2 * first["stem.weight"][order]}, tmp_path / "permuted.pt")
    torch.save(other, tmp_path / "b.pt")
    torch.save(state(kernel=5), tmp_path / "kernel5.pt")
    torch.save({"x": torch.ones(3)}, tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("no weights")
    return "compare", "net.py:Net"


def test_it_draws_the_chart_and_the_first_layer(run, files):
    """Two pictures with arrays; the document holds all layers, kernels of the one that is drawn, and other tensors."""
    result = run(*files, "a.pt", "frozen.pt", "--json", "--arrays")
    document = result.document
    assert result.code == 0
    assert [row["path"].rpartition("/")[2] for row in document["outputs"]] == [
        "net.Net.a-to-frozen-changes.png", "net.Net.a-to-frozen-changes.npz",
        "net.Net.a-to-frozen-stem-compared-rgb.png", "net.Net.a-to-frozen-stem-compared-rgb.npz",
    ]  # fmt: skip
    stem, *body = document["layers"]
    assert (stem["name"], stem["same"], stem["change"], stem["angle"]) == ("stem", True, 0, [0, 0, 0])
    assert stem["kernels"][2] == {"kernel": 2, "change": 0, "ratio": 1, "cosine": 1, "angle": 0}
    assert [(layer["name"], layer["same"], layer["kernels"]) for layer in body] == [
        ("body.0", False, None), ("body.1", False, None),
    ]  # fmt: skip
    first, other = (state(seed)["body.0.weight"].double() for seed in (0, 1))
    assert body[0]["change"] == pytest.approx(float((other - first).norm() / first.norm()), rel=1e-12)
    assert {tensor["name"]: tensor["same"] for tensor in document["others"]}["stem.bias"] is False
    assert document["against"]["model"]["weights"]["name"] == "frozen.pt"
    with np.load(document["outputs"][3]["path"]) as arrays:
        assert arrays["a"].shape == arrays["difference"].shape == (6, 1, 3, 3, 3)
        assert arrays["shown"].tolist() == list(range(6))
        assert not arrays["difference"].any()
    with np.load(document["outputs"][1]["path"]) as arrays:
        assert arrays["same"].tolist() == [True, False, False]
        assert arrays["change"].tolist() == [layer["change"] for layer in document["layers"]]
    recipe = kv.read_recipe(document["outputs"][2]["path"])
    assert [model["weights"]["name"] for model in recipe["model"]] == ["a.pt", "frozen.pt"]
    assert all(len(model["weights"]["sha256"]) == 64 for model in recipe["model"])


def test_chosen_layers_kernels_and_views(run, files):
    """One picture per layer, no chart; a layer that has no such view fails alone."""
    result = run(*files, "a.pt", "b.pt", "-l", "stem", "-l", "body.0", "--view", "sum", "--channels", "4,0-1", "--json")
    document = result.document
    assert result.code == 0
    assert [(row["layer"], row["view"], row["shown"]) for row in document["outputs"]] == [
        ("stem", "compared sum", 3), ("body.0", "compared sum", 3),
    ]  # fmt: skip
    assert document["others"] is None
    assert len(document["layers"][1]["kernels"]) == 6
    result = run(*files, "a.pt", "b.pt", "-l", "*", "--view", "rgb", "--json")
    assert (result.code, [error["input"] for error in result.document["errors"]]) == (3, ["body.0", "body.1"])
    for look in ("slide", "dark", "print"):
        result = run(*files, "a.pt", "b.pt", "-l", "stem", "--look", look, "--top", "2", "--json", "-o", look)
        assert (result.code, result.document["outputs"][0]["shown"]) == (0, 2)


@pytest.mark.parametrize("match", [(), ("--match",)])
@pytest.mark.parametrize("taken", ["changes.png", "changes.npz", "stem-{}-rgb.png", "stem-{}-rgb.npz"])
def test_nothing_is_written_if_a_path_is_taken(run, files, tmp_path, taken, match):
    """All paths are checked before the weights are compared, so that the chart is not written alone."""
    name = f"net.Net.a-to-b-{taken.format('matched' if match else 'compared')}"
    (tmp_path / "out" / name).mkdir(parents=True)
    result = run(*files, "a.pt", "b.pt", "--arrays", "-o", "out", *match)
    assert result.code == 1
    assert "is in the way" in result.complaint[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_permuted_layer_is_found_back(run, files):
    """Numbers of both, the cosines, and the chance level on stderr and in the document."""
    result = run(*files, "a.pt", "permuted.pt", "--match", "--json")
    found = result.document["layers"][0]["match"]
    assert result.code == 0
    assert {(pair["a"], pair["b"]) for pair in found["pairs"]} == set(enumerate([1, 3, 5, 0, 4, 2]))
    assert all(pair["cosine"] == pytest.approx(1) and pair["ratio"] == pytest.approx(2) for pair in found["pairs"])
    assert (found["better_than_chance"], found["banks"]) == (True, 200)
    assert "Mean cosine 1.00; by chance" in result.err
    assert result.document["outputs"][1]["path"].endswith("-stem-matched-rgb.png")
    result = run(*files, "a.pt", "b.pt", "--match", "-l", "body.0")
    assert result.code == 2
    assert result.complaint == [
        "Error: Kernels of body.0 cannot be matched: the layer does not read the image.",
        "The order of its input channels is that of another layer's kernels, which differs between A and B.",
        "Match stem, the first convolution: --layer stem.",
    ]


def test_the_same_file_twice_is_bitwise_the_same(run, files):
    """Said first, exit code 0; so are random weights of one seed."""
    result = run(*files, "a.pt", "a.pt", "--json")
    assert (result.code, result.document["identical"]) == (0, True)
    assert result.err.splitlines()[1] == "A and B are the same file: everything is bitwise the same"
    assert all(layer["same"] for layer in result.document["layers"])
    result = run(*files, "random", "random", "-l", "stem")
    assert (result.code, "bitwise the same" in result.err) == (0, True)


def test_every_word_for_weights(run, files):
    """auto, random and files of one's own code; a file whose name is a word is mentioned."""
    torch.save(state(3), "random")
    result = run(*files, "random", "./random", "-l", "stem", "--json")
    assert result.code == 0
    assert result.document["warnings"] == ["random means the random weights; the file of this name is ./random"]
    result = run(*files, "auto", "a.pt", "-l", "stem", "--seed", "3", "--json")
    assert (result.code, [line for line in result.document["warnings"] if "--seed" in line]) == (
        0, ["--seed 3 has no effect: it is for --weights random"],
    )  # fmt: skip
    result = run(*files, "random", "a.pt", "-l", "stem", "--seed", "3", "--json", "-o", "seeded")
    assert (result.code, [line for line in result.document["warnings"] if "--seed" in line]) == (0, [])
    result = run("compare", "test_resnet", "random", "nosuch")
    assert (result.code, result.complaint) == (2, [
        "Error: nosuch is neither a weights file nor a tag of test_resnet.", "Its tags: r160_in1k.",
        "Give a file, a tag, or one of the words auto, bundled, hub and random.",
    ])  # fmt: skip


def test_an_at_chooses_the_seed_or_the_weights_in_a_file(run, files):
    """Two seeds and two weights of one file are compared in one command, and told apart in pictures and their names."""
    result = run(*files, "random@1", "random@2", "-l", "stem", "--json")
    document = result.document
    names = [document["model"]["weights"]["name"], document["against"]["model"]["weights"]["name"]]
    assert (result.code, names, document["layers"][0]["same"]) == (0, ["seed 1", "seed 2"], False)
    assert "random1-to-random2-stem" in document["outputs"][0]["path"]
    torch.save({"model": state(), "ema": {"shadow": state(1)}}, "last.pt")
    result = run(*files, "last.pt@model", "last.pt@ema.shadow", "-l", "stem", "--json")
    document = result.document
    keys = [document["model"]["weights"]["key"], document["against"]["model"]["weights"]["key"]]
    assert (result.code, keys, document["identical"]) == (0, ["model", "ema.shadow"], False)
    assert "last-model-to-last-ema-shadow-stem" in document["outputs"][0]["path"]
    same = run(*files, "a.pt", "last.pt@model", "--json").document
    assert all(layer["same"] for layer in same["layers"])
    mixed = run(*files, "last.pt@model", "last.pt", "--weights-key", "ema.shadow", "-l", "stem", "--json").document
    assert mixed["layers"] == document["layers"]
    torch.save(state(3), "b.pt@model")
    assert run(*files, "b.pt@model", "random@3", "-l", "stem", "--json").document["layers"][0]["same"]


def test_a_tag_is_weights_of_the_model(run, monkeypatch):
    """It is loaded as MODEL.TAG; a file of that name comes first, and that is stated."""
    from kernelviz.network import model as models

    requested, load = [], models.load_model

    def record(name, **choices):
        requested.append((name, choices["weights"]))
        return load("test_resnet", weights="random")

    monkeypatch.setattr(models, "load_model", record)
    assert run("compare", "test_resnet", "random", "r160_in1k", "-l", "conv1.0").code == 0
    assert requested == [("test_resnet", "random"), ("test_resnet.r160_in1k", "auto")]
    torch.save({}, "r160_in1k")
    result = run("compare", "test_resnet", "random", "r160_in1k", "-l", "conv1.0", "--json", "--force")
    assert requested[-1] == ("test_resnet", "r160_in1k")
    assert result.document["warnings"] == ["r160_in1k means the file of this name, not the tag of test_resnet"]


def test_a_network_with_arguments_is_named_once(run, files, tmp_path):
    """In names of files and in pictures, also if the names of the weights contain dots."""
    for seed in (0, 1):
        torch.save(state(seed, width=4), tmp_path / f"v1.{seed}.pt")
    result = run(*files, "v1.0.pt", "v1.1.pt", "--model-arg", "width=4", "-l", "stem", "--json", "--look", "slide")
    (row,) = result.document["outputs"]
    assert row["path"].endswith("/net.Net-width-4.v1.0-to-v1.1-stem-compared-rgb.png")
    identity = kv.read_recipe(row["path"])["left_out"][0]
    assert identity.startswith("A  net.py:Net(width=4), weights of v1.0.pt  ·  B  weights of v1.1.pt")


def test_layers_of_other_shapes_are_left_out(run, files):
    """Named with both shapes, in the document, too; the others are drawn, whichever weights do not fit the network."""
    result = run(*files, "a.pt", "kernel5.pt", "--json")
    document = result.document
    reason = "is (6, 3, 3, 3), but (6, 3, 5, 5) in kernel5.pt"
    assert (result.code, document["left_out"]) == (0, [{"name": "stem", "reason": reason}])
    assert f"Left out: stem {reason}" in document["warnings"]
    assert [layer["name"] for layer in document["layers"]] == ["body.0", "body.1"]
    assert document["outputs"][1]["layer"] == "body.0"
    assert document["outputs"][1]["path"].endswith("/net.Net.a-to-kernel5-body.0-compared-sum.png")
    assert run(*files, "kernel5.pt", "a.pt").code == 0
    result = run(*files, "a.pt", "kernel5.pt", "-l", "stem")
    assert (result.code, "tensors have the same shape" in result.complaint[0]) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("a.pt", "missing.pt"), 1, "There is no weights file missing.pt"),
        (("text.pt", "a.pt"), 1, "holds no weights: it is text"),
        (("a.pt", "nothing.pt"), 1, "nothing.pt does not hold the weights of net.py:Net"),
        (("a.pt", "."), 1, "is a directory"),
        (("a.pt", ""), 1, "empty"),
        (("a.pt",), 2, "Missing argument 'B'"),
        (("a.pt", "b.pt", "-l", "nothing"), 2, "nothing"),
        (("a.pt", "b.pt", "--channels", "6"), 2, "channels 0 to 5"),
        (("a.pt", "b.pt", "--view", "spectral"), 2, "spectral"),
        (("a.pt", "b.pt", "-o", "x.png"), 2, "--output takes a directory"),
        (("auto", "random", "--weights-key", "x"), 2, "--weights-key is for a weights file"),
        (("a.pt@stem", "a.pt@nothing", "--weights-key", "x"), 2, "--weights-key is for a weights file"),
        (("random@one", "a.pt"), 2, "The seed of random@one must be a whole number"),
        (("a.pt", "missing.pt@ema"), 1, "There is no weights file missing.pt"),
        (("a.pt", "a.pt@nothing"), 1, "nothing"),
        (("a.pt", "a.pt@no@thing"), 1, "holds no tensors under no@thing"),
        (("a.pt", "hub"), 4, "has no published weights"),
    ],
)
def test_faults_end_in_one_message(run, files, words, code, message):
    """With their exit codes, and nothing written."""
    result = run(*files, *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.complaint[0]
    assert "--weights FILE" not in result.err


def test_hints_name_only_what_the_command_takes(run, files, tmp_path):
    """Weights are arguments here, and nothing is loaded in part on request."""
    torch.save({name: value for name, value in state().items() if "stem" in name}, tmp_path / "part.pt")
    for words in (("a.pt", "part.pt"), ("a.pt", "hub"), ("a.pt", "missing.pt")):
        result = run(*files, *words)
        assert result.code in (1, 4)
        assert not {"--partial", "--weights"} & set(" ".join(result.complaint).replace("`", " ").split())


def test_weights_that_are_not_finite_are_drawn(run, files):
    """Counted, chequered, without numbers; no warning of NumPy."""
    odd = state()
    odd["stem.weight"][1, 0, 0, 0], odd["stem.weight"][2] = float("nan"), 0
    torch.save(odd, "odd.pt")
    result = run(*files, "a.pt", "odd.pt", "--json")
    layer = result.document["layers"][0]
    assert (result.code, layer["nonfinite"], layer["died"]) == (0, [1], [2])
    assert layer["kernels"][1] == {"kernel": 1, "change": None, "ratio": None, "cosine": None, "angle": None}
    assert result.document["outputs"][1]["nonfinite"] == 1
    assert "1 kernel has values that are not finite" in result.err


def test_the_same_command_gives_the_same_bytes(run, files):
    """Pictures of another run are replaced by equal ones; those of other weights get another name."""
    first = {path.name: path.read_bytes() for path in run(*files, "a.pt", "b.pt", "--match").paths}
    assert {path.name: path.read_bytes() for path in run(*files, "a.pt", "b.pt", "--match").paths} == first
    torch.save(state(7), "b.pt")
    other = {path.name for path in run(*files, "a.pt", "b.pt", "--match").paths}
    assert len(other) == 2
    assert not other & set(first)
    with Image.open(f"kernelviz-out/{min(other)}") as image:
        assert image.width == 1600
