"""The second run of ``layers``, ``kernels`` and ``match`` needs no torch, and gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from kernelviz.cli import loading, remembered
from kernelviz.files import remembered as store
from kernelviz.network.weights.hub_cache import put_in_repository
from kernelviz.network.weights.names import WeightsLocation

PLAIN = ["test_resnet", "test_convnext"]
"""Networks whose convolutions use their stored weights."""
MORE = [
    "test_efficientnet",
    "test_mambaout",
    "vgg11",
    "resnet10t",
    "densenet121",
    "ghostnet_050",
    "mobilenetv3_small_050",
    "poolformerv2_s12",
    "hrnet_w18_small",
    "res2next50",
]
EVERY = [
    "naflexvit_base_patch16_gap",
    "resnet14t",
    "resnet18d",
    "resnet50",
    "resnetv2_18",
    "test_convnext",
    "test_efficientnet",
    "test_nfnet",
    "test_resnet",
    "test_vit",
    "tf_efficientnet_cc_b0_4e",
    "tf_efficientnet_lite0",
    "vgg11",
]
"""The architectures that any test gives by name to ``kernels``, ``match``, ``layers`` or ``explain layer``."""
REWORKED = [
    "test_nfnet",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnetv2_18d", "tf_efficientnet_cc_b0_4e")),
]
"""Networks that standardise their weights, or mix them."""
OLD = 10  # seconds: a file of this age has settled


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A cache directory of its own; returns the directory of the entries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernelviz" / "networks"


@pytest.fixture
def no_network(monkeypatch):
    """From when it is called, no network can be loaded."""

    def forbid():
        monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("the network was loaded"))

    return forbid


def aged(path, seconds=OLD):
    """A file that was last changed some time ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def weights_of(name, path, *, dtype=None, **choices):
    """A safetensors file with random weights of an architecture."""
    torch.manual_seed(0)
    state = timm.create_model(name, **choices).state_dict()
    state = {key: value.to(dtype) if dtype and value.is_floating_point() else value for key, value in state.items()}
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return aged(path)


def everything(run, *words, output="out"):
    """The code, the texts without times and paths, and the bytes of all files of a run."""
    result = run(*words, "-o", output, "--force")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(output).glob("*")}
    for path in Path(output).glob("*"):
        path.unlink()
    return result.code, result.out, result.err, files


def both_ways(run, *words):
    """A run without the cache, the first and the second one with it."""
    return everything(run, *words, "--no-cache"), everything(run, *words), everything(run, *words)


@pytest.mark.parametrize("name", [*PLAIN, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_the_same_bytes_from_the_file_alone(run, kept, no_network, tmp_path, name):
    """Pictures, arrays, documents and messages are those of the loaded network, for each layer."""
    file = weights_of(name, tmp_path / "w.safetensors")
    words = ("kernels", name, "--weights", file, "-l", "*", "--style", "bare", "--arrays")
    loaded, first = everything(run, *words, "--no-cache"), everything(run, *words)
    document = everything(run, *words, "--json", "--no-cache")
    page = everything(run, "kernels", name, "--weights", file, "--no-cache")
    assert len(list(kept.glob("*.json"))) == 1
    no_network()
    assert everything(run, *words) == first == loaded
    assert everything(run, *words, "--json") == document
    assert everything(run, "kernels", name, "--weights", file) == page
    assert loaded[0] == 0
    assert len(loaded[3]) >= 4


@pytest.mark.parametrize("name", REWORKED)
def test_weights_that_are_reworked_come_from_the_network(run, tmp_path, name):
    """What a layer makes of its stored weight is known to the network alone; the result is the same each time."""
    file = weights_of(name, tmp_path / "w.safetensors")
    first, second, third = both_ways(run, "kernels", name, "--weights", file, "-l", "*", "--style", "bare")
    assert first == second == third
    assert first[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_model_of_the_suite_both_ways(run, tmp_path, name):
    """Picture, recipe, arrays, document and messages of each command are the same without the cache and with it."""
    file = weights_of(name, tmp_path / "w.safetensors")
    rows = run("layers", name, "--kind", "all", "--json", "-q", "--no-cache").document["layers"]
    layer = next((row["name"] for row in rows if row["kernel"]), rows[-1]["name"])
    for words in (
        ("kernels", name, "--weights", file), ("kernels", name, "--weights", file, "--json", "--format", "svg"),
        ("kernels", name, "--weights", file, "-l", "*", "--style", "bare", "--arrays", "--json"),
        ("match", name, "--weights", file, "-l", layer, "--json"),
    ):  # fmt: skip
        loaded, first, second = both_ways(run, *words)
        assert loaded == first == second, words
    for words in (
        ("layers", name), ("layers", name, "--kind", "all", "--json"), ("layers", name, "--layout", "--kind", "conv"),
        ("explain", "layer", name, layer), ("explain", "layer", name, layer, "--json"),
    ):  # fmt: skip
        assert run(*words, "--no-cache") == run(*words) == run(*words), words


@pytest.mark.slow
def test_every_model_of_the_suite_is_in_the_list():
    """No test draws an architecture that was not compared."""
    pattern = re.compile(r'"(?:kernels|match|layers|layer)",\s*"([\w.]+)"')
    named = {
        name for path in Path(__file__).parents[1].rglob("test_*.py") for name in pattern.findall(path.read_text())
    }
    assert named & set(timm.list_models()) <= set(EVERY)


def test_match_and_stages_and_containers(run, tmp_path):
    """``match``, and every kind of pattern, choose the same layers from the file."""
    file = weights_of("test_resnet", tmp_path / "w.safetensors")
    for words in (
        ("match", "test_resnet", "-l", "layer1.0.conv1"), ("match", "test_resnet", "-l", "layer1.0.conv1", "--json"),
        ("kernels", "test_resnet", "-l", "stage:1", "--style", "bare"),
        ("kernels", "test_resnet", "-l", "layer1", "--style", "bare"),
        ("kernels", "test_resnet", "-l", "layer*.conv2", "--style", "bare", "--stored", "--arrays"),
    ):  # fmt: skip
        loaded, first = (
            everything(run, *words, "--weights", file, "--no-cache"),
            everything(run, *words, "--weights", file),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loading, "load", lambda *_: pytest.fail("the network was loaded"))
            assert everything(run, *words, "--weights", file) == first == loaded
        assert loaded[0] == 0
    unknown = ("kernels", "test_resnet", "-l", "nosuch", "--weights", file)
    first, second, third = both_ways(run, *unknown)
    assert first == second == third
    assert first[0] == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_of_numbers(run, tmp_path, dtype):
    """Numbers that NumPy cannot hold come from the network, the others from the file, all as they are."""
    file = weights_of("test_resnet", tmp_path / "w.safetensors", dtype=dtype)
    first, second, third = both_ways(run, "kernels", "test_resnet", "--weights", file, "--arrays", "--style", "bare")
    assert first == second == third
    assert first[0] == 0


def test_numbers_that_are_not_finite(run, no_network, tmp_path):
    """NaN weights are drawn and counted as always."""
    file = weights_of("test_resnet", tmp_path / "w.safetensors")
    state = load_file(file)
    state["conv1.0.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, file)
    aged(file)
    words = ("kernels", "test_resnet", "--weights", file, "--json", "--arrays")
    loaded, _ = everything(run, *words, "--no-cache"), everything(run, *words)
    no_network()
    again = everything(run, *words)
    assert again == loaded
    assert json.loads(again[1])["outputs"][0]["nonfinite"] > 0


def test_bundled_weights_are_read_from_a_copy(run, kept, no_network):
    """The file of the package is a checkpoint of torch; the copy of its kernels is used while that file is the same."""
    words = ("kernels", "tf_efficientnet_lite0", "-l", "blocks.0", "--style", "bare", "--arrays", "--json")
    loaded, first = everything(run, *words, "--no-cache"), everything(run, *words)
    (copy,) = kept.glob("*.safetensors")
    no_network()
    assert everything(run, *words) == first == loaded
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    with pytest.raises(pytest.fail.Exception):
        run(*words, "--force")
    copy.write_bytes(whole)


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_copy_of_the_bundled_weights_is_made_anew(run, kept, how):
    """After the run that finds it damaged, the next one needs no network again."""
    words = ("kernels", "tf_efficientnet_lite0", "--style", "bare", "--json")
    first = everything(run, *words)
    (copy,) = kept.glob("*.safetensors")
    whole = copy.read_bytes()
    if how == "gone":
        copy.unlink()
    else:
        copy.write_bytes(whole[:-1] if how == "cut" else whole[:-4000] + bytes(byte ^ 1 for byte in whole[-4000:]))
    assert everything(run, *words) == first
    assert copy.read_bytes() == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load", lambda *_: pytest.fail("the network was loaded"))
        assert everything(run, *words) == first


def test_weights_in_the_cache_of_the_hub(run, tmp_path, monkeypatch):
    """They are read without the hub's client, until its note of the newest version or the file changes."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    location = WeightsLocation("timm/test_resnet.r160_in1k", "", ("model.safetensors",))

    def put(seed, commit):
        torch.manual_seed(seed)
        state = timm.create_model("test_resnet").state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "written")
        digest = hashlib.sha256((tmp_path / "written").read_bytes()).hexdigest()
        return aged(put_in_repository(tmp_path / "written", location, "model.safetensors", etag=digest, commit=commit))

    put(0, "a" * 40)
    words = ("kernels", "test_resnet", "--json", "--style", "bare")
    loaded, first = everything(run, *words, "--no-cache"), everything(run, *words)
    assert json.loads(loaded[1])["model"]["weights"]["source"] == "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load", lambda *_: pytest.fail("the network was loaded"))
        assert everything(run, *words) == first == loaded
    put(1, "b" * 40)
    newer = everything(run, *words)
    assert newer == everything(run, *words, "--no-cache")
    assert newer[3] != loaded[3]


def test_a_changed_file_is_read_anew(run, tmp_path):
    """Other weights under the same name give another picture, even if size and time are as before."""
    file = weights_of("test_resnet", tmp_path / "w.safetensors")
    words = ("kernels", "test_resnet", "--weights", file, "--style", "bare")
    first = everything(run, *words)
    assert everything(run, *words) == first
    data = bytearray(file.read_bytes())
    data[-4:] = b"\x00\x00\x80\x3f"
    status = file.stat()
    other = tmp_path / "other"
    other.write_bytes(data)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)  # another inode
    changed = json.loads(run(*words, "--json", "--force").out)["model"]["weights"]["sha256"]
    assert changed == hashlib.sha256(data).hexdigest()
    file.write_bytes(data[:-9])
    assert run(*words, "--force").code == 1


def test_weights_that_went_bad_after_they_were_remembered(run, tmp_path):
    """Each fault of a file ends as without the cache, and the good file is drawn as before."""
    file, good = tmp_path / "w.safetensors", weights_of("test_resnet", tmp_path / "good.safetensors").read_bytes()
    state = load_file(tmp_path / "good.safetensors")
    other = weights_of("test_efficientnet", tmp_path / "other.safetensors").read_bytes()
    words = ("kernels", "test_resnet", "--weights", file, "--style", "bare", "--json")
    file.write_bytes(good)
    expected = everything(run, *words)

    def fewer(**changed):
        kept = {name: value for name, value in state.items() if name != "conv1.0.weight"} | changed
        save_file(kept, tmp_path / "changed")
        return (tmp_path / "changed").read_bytes()

    zeros, ones = (value(state["conv1.0.weight"]) for value in (torch.zeros_like, torch.ones_like))
    codes = {
        b"": 1, b"no weights at all": 1, good[:-7]: 1, good[:40]: 1, other: 1, fewer(): 1, pickle.dumps(print): 1,
        fewer(**{"conv1.0.weight": zeros}): 0, fewer(**{"conv1.0.weight": ones}): 0,
    }  # fmt: skip
    for content, code in codes.items():
        file.write_bytes(content)
        aged(file)
        without = everything(run, *words, "--no-cache")
        assert everything(run, *words) == without
        assert without[0] == code, content[:40]
        file.write_bytes(good)
        assert everything(run, *words) == expected
    file.unlink()
    assert everything(run, *words) == everything(run, *words, "--no-cache")
    file.mkdir()
    assert everything(run, *words) == everything(run, *words, "--no-cache")
    assert run(*words).code == 1


def test_weights_that_vanish_from_the_cache_of_the_hub(run, tmp_path, monkeypatch):
    """Without them the network is down: exit code 4 as without the cache; a damaged file is not drawn either."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    location = WeightsLocation("timm/test_resnet.r160_in1k", "", ("model.safetensors",))
    data = weights_of("test_resnet", tmp_path / "w.safetensors").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "written").write_bytes(data)
    path = aged(put_in_repository(tmp_path / "written", location, "model.safetensors", etag=digest, commit="a" * 40))
    words = ("kernels", "test_resnet", "--style", "bare", "--json")
    assert run(*words, "--force").document["model"]["weights"]["source"] == "cache"
    blob = path.resolve()
    blob.write_bytes(data[:-5])
    damaged, without = (everything(run, *words, *more) for more in ([], ["--no-cache"]))
    assert damaged == without
    assert damaged[0] in {1, 4}
    for gone in (blob, path):
        gone.unlink(missing_ok=True)
    vanished, without = (everything(run, *words, *more) for more in ([], ["--no-cache"]))
    assert vanished == without
    assert vanished[0] == 4


def test_a_picture_of_other_weights_in_the_way(run, no_network, tmp_path):
    """Without --force a file that is no earlier run of this picture stays, on this way too."""
    file = weights_of("test_resnet", tmp_path / "w.safetensors")
    words = ("kernels", "test_resnet", "--weights", file, "--style", "bare", "-o", "out")
    (picture,) = run(*words).paths
    no_network()
    assert run(*words).code == 0
    picture.write_bytes(b"something else")
    assert run(*words).code == 1
    assert picture.read_bytes() == b"something else"


def test_a_file_that_was_just_written_is_hashed_again(tmp_path):
    """Within two seconds a file may change twice at the same time stamp, so its state says nothing."""
    file = tmp_path / "x"
    file.write_bytes(b"one")
    store.remember({"a": 1}, "known", {file: None})
    state = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert store.recall({"a": 1}) is None
    aged(file)
    store.remember({"a": 1}, "known", {file: None})
    assert store.recall({"a": 1}) == "known"
    aged(file, 3 * OLD)  # touched: the content decides, and is noted
    assert store.recall({"a": 1}) == "known"


def test_layers_and_their_operations(run, kept, no_network):
    """The table, the document and the arithmetic of a layer are the same, and so are selections of them."""
    many = [
        ("layers", "test_resnet"), ("layers", "test_resnet", "--json", "-q"), ("layers", "test_vit", "--layout"),
        ("layers", "test_resnet", "--kind", "conv", "-l", "layer1"), ("layers", "test_resnet", "--input-size", "96"),
        ("layers", "test_resnet", "-l", "nosuch"),
        ("layers", "test_efficientnet", "--model-arg", "num_classes=7"),
        ("explain", "layer", "test_resnet", "layer1.0.conv1"), ("explain", "layer", "test_resnet", "conv1.0", "--json"),
        ("explain", "layer", "vgg11", "features.2"),
    ]  # fmt: skip
    loaded = [run(*words, "--no-cache") for words in many]
    assert not kept.exists()
    first = [run(*words) for words in many]
    no_network()
    assert [run(*words) for words in many] == first == loaded


@pytest.mark.parametrize("first", [pytest.param("layers", marks=pytest.mark.slow), "explain layer"])
def test_one_trace_is_enough_for_all_layers(run, no_network, first):
    """After the first question about a network, those about its other layers, and its table, need no network."""
    asked = [
        ("explain", "layer", "test_efficientnet", "blocks.3.0.conv_dw"),
        ("explain", "layer", "test_efficientnet", "global_pool", "--json"),
        ("layers", "test_efficientnet", "--json"),
    ]
    expected = [run(*words, "--no-cache") for words in asked]
    run(*first.split(), "test_efficientnet", *(["conv_head"] if "explain" in first else []))
    no_network()
    assert [run(*words) for words in asked] == expected
    assert {result.code for result in expected} == {0}


def test_completion_offers_the_layers_of_a_network_that_is_remembered(run):
    """Names that start as typed; of other networks none. Neither torch, NumPy nor another command is imported."""
    from kernelviz.cli.completion import complete_layer

    assert complete_layer("test_resnet", None, "layer1.0") == []
    run("layers", "test_resnet")
    assert complete_layer("test_resnet", None, "layer1.0.c") == ["layer1.0.conv1", "layer1.0.conv2"]
    assert complete_layer("test_resnet", None, "layer1")[:2] == ["layer1", "layer1.0"]
    code = (
        "import atexit, sys; from kernelviz.cli.main import run; sys.argv[0] = 'kernelviz'; "
        "heavy = {'torch', 'timm', 'numpy', 'kernelviz.cli.kernels'}; "
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr)); run()"
    )
    words = {"COMP_WORDS": "kernelviz features test_resnet photo.jpg -l layer1.0.c", "COMP_CWORD": "5"}
    environment = {**os.environ, **words, "_KERNELVIZ_COMPLETE": "complete_bash"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["layer1.0.conv1", "layer1.0.conv2"]
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    ["layers test_resnet", "explain layer test_resnet conv1.0", "kernels test_resnet --weights w.safetensors",
     "match test_resnet --weights w.safetensors -l layer1.0.conv1"],
)  # fmt: skip
def test_the_second_run_imports_no_torch(run, tmp_path, words):
    """A fresh process loads neither torch nor timm, no part of matplotlib that opens windows, and for text no NumPy."""
    weights_of("test_resnet", tmp_path / "w.safetensors")
    assert run(*words.split()).code == 0
    code = (
        "import sys; from kernelviz.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'timm', 'torchvision', 'huggingface_hub.file_download', 'matplotlib.pyplot'}; "
        "heavy |= {'numpy', 'matplotlib', 'PIL', 'rich'} if sys.argv[1] in {'layers', 'explain'} else set(); "
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split(), "-q"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize("how", ["changed", *(pytest.param(how, marks=pytest.mark.slow) for how in ("cut", "other"))])
def test_a_damaged_entry_is_made_anew(run, kept, how):
    """An entry that was cut, changed, or is of another version counts as not there, and is replaced."""
    rng = random.Random(0)
    words = ("layers", "test_resnet", "--json", "-q")
    expected = run(*words)
    (entry,) = kept.glob("*.json")
    whole = entry.read_bytes()
    for _ in range(8):
        data = bytearray(whole)
        if how == "cut":
            del data[rng.randrange(len(data)) :]
        elif how == "changed":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            text = json.dumps({**json.loads(whole.split(b"\n", 1)[1]), rng.choice(["format", "key", "content"]): 3})
            data = hashlib.sha256(text.encode()).hexdigest().encode() + b"\n" + text.encode()
        entry.write_bytes(data)
        assert run(*words) == expected
        assert entry.read_bytes() == whole


def _put(content, key, value):
    """Set ``value`` at a dotted path of a document; a number is a position in a list."""
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    for part in parents:
        content = content[part]
    content[last] = value


def _edit(entry, key, value):
    """Change one value of an entry, which stays valid by its checksum."""
    found = json.loads(entry.read_bytes().split(b"\n", 1)[1])
    _put(found["content"], key, value)
    text = json.dumps(found).encode()
    entry.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


@pytest.mark.parametrize(
    ("words", "edits"),
    [
        ("layers test_resnet", {
            "layers.0.name": None, "layers.0.macs": "x", "layers.0.kernel": 5, "layers.0.field": [], "params": None,
            "source.preprocessing": {}, "source.preprocessing.mean": 3, "source.weights": 1, "layers": [],
            "input_size": [3, "x", 1], "source": None, "first_names": [],
        }),
        ("explain layer test_resnet conv1.0", {
            "operations": {"conv1.0": ["Convolution", {}, []]}, "layers.0.name": 3, "windows": 7, "own": [1, 2],
            "source": None,
        }),
        ("kernels test_resnet --weights w.safetensors --style bare", {
            "layers.0.groups": 0, "layers.0.weight_shape": [1], "layers.0.kernel_size": [5, 5],
            "file": "/nowhere/at/all", "tensors": {"conv1.0": "fc.weight"}, "first": 3, "names.modules": None,
            "names.first_names": {"a": 1},
        }),
    ],
)  # fmt: skip
def test_an_entry_of_unfit_content_is_made_anew(run, kept, tmp_path, words, edits):
    """An entry with a valid checksum whose values no record can hold, or whose use fails, counts as not remembered."""
    weights_of("test_resnet", tmp_path / "w.safetensors")
    words = [*words.split(), *(["--force"] if words.startswith("kernels") else [])]
    expected = run(*words)
    assert expected.code == 0
    (entry,) = kept.glob("*.json")
    whole = entry.read_bytes()
    for key, value in edits.items():
        _edit(entry, key, value)
        found = run(*words)
        assert (found.code, found.out) == (0, expected.out), key
        assert found.err.endswith(expected.err), key
        assert entry.read_bytes() == whole, key


def test_two_versions_in_turn(run, kept, monkeypatch):
    """Each version of a library has its own entries."""
    found = []
    for version in ("1.0", "2.0", "1.0"):
        monkeypatch.setattr(remembered, "_version_text", lambda _, version=version: version)
        found.append(run("layers", "test_resnet"))
    assert found[0] == found[1] == found[2]
    assert len(list(kept.glob("*.json"))) == 2


def test_a_cache_that_cannot_be_written(run, tmp_path, monkeypatch):
    """The results are the same, without a message."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    file = weights_of("test_resnet", tmp_path / "w.safetensors")
    for words in (("layers", "test_resnet"), ("kernels", "test_resnet", "--weights", file)):
        first, second, third = (run(*words, *more) for more in (["--no-cache"], [], []))
        assert first == second == third
        assert first.code == 0


def test_the_oldest_entries_go(monkeypatch):
    """All entries together stay below the bound."""
    monkeypatch.setattr(store, "MOST_BYTES", 5_000)
    for number in range(10):
        store.remember({"number": number}, "x" * 1_000)
        time.sleep(0.01)
    assert store.entries_size() <= 5_000
    assert [number for number in range(10) if store.recall({"number": number})] == [6, 7, 8, 9]


def test_only_entries_are_removed(kept, monkeypatch):
    """Another file in the directory stays, however large and old."""
    kept.mkdir(parents=True)
    (kept / "notes.txt").write_text("x" * 10_000)
    aged(kept / "notes.txt")
    monkeypatch.setattr(store, "MOST_BYTES", 5_000)
    store.remember({"number": 1}, "x" * 1_000)
    assert (kept / "notes.txt").exists()
    assert store.recall({"number": 1})


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no users here")
def test_entries_are_of_the_user_alone(kept, monkeypatch):
    """The directory is readable by nobody else, and an entry that another user wrote is not read."""
    store.remember({"number": 1}, "content")
    assert kept.stat().st_mode & 0o077 == 0
    assert store.recall({"number": 1}) == "content"
    owner, stat = os.geteuid(), Path.stat

    def of_another(path, **choices):
        fields = list(stat(path, **choices))
        fields[4] = owner + 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", of_another)
    assert store.recall({"number": 1}) is None


def test_entries_contain_no_secret(run, kept, monkeypatch):
    """The settings of the hub, whose address may contain a password, are in no entry; other settings are another entry."""
    for number, address in enumerate(("https://me:pa55word@mirror.example", "https://mirror.example"), start=1):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_SECRET", "pa55word")
        assert run("kernels", "tf_efficientnet_lite0").code == 0
        entries = [path.read_bytes() for path in kept.glob("*.json")]
        assert sum(b'"kind":"kernels"' in entry for entry in entries) == number
        assert not any(b"pa55word" in entry for entry in entries)


def test_what_is_not_remembered(run, kept, tmp_path):
    """The user's own code, random weights, and configurations that may change."""
    (tmp_path / "net.py").write_text("import torch\nNet = lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))\n")
    assert run("layers", "net.py:Net").code == 0
    assert run("kernels", "net.py:Net").code == 0
    assert run("kernels", "test_resnet", "--weights", "random").code == 0
    assert not kept.exists() or not list(kept.iterdir())


def test_env_reports_the_cache(run, kept):
    """Its path, and its size."""
    run("layers", "test_resnet")
    found = run("env", "--json").document["cache"]
    size = sum(path.stat().st_size for path in kept.iterdir())
    assert found == {"path": str(kept), "bytes": size, "writable": True}


def test_env_reports_a_cache_that_cannot_be_written(run, tmp_path, monkeypatch):
    """Then nothing is ever remembered, which the line about it states."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", "/proc/nope"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        (line,) = (line for line in run("env").out.splitlines() if line.startswith("remembered"))
        assert line.split(maxsplit=1)[1] == f"nothing new ({place}/kernelviz/networks cannot be written; 0.0 MB)"
        assert not run("env", "--json").document["cache"]["writable"]
