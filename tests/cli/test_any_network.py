"""Commands on networks of torchvision and of the user's own code."""

from __future__ import annotations

import sys

import pytest
from own_networks import SOURCE

from kernelviz.cli.completion import complete_model


@pytest.fixture(autouse=True)
def _mine(tmp_path, monkeypatch):
    """A file with networks in the current directory."""
    (tmp_path / "my_net.py").write_text(SOURCE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_net", None)


COMMANDS = [
    "kernels MODEL",
    "features MODEL sample:grace_hopper -l CONV --no-classes",
    "layers MODEL --json",
    "layers MODEL",
    "match MODEL",
    "explain layer MODEL CONV",
    "explain layer MODEL CONV --image sample:grace_hopper --at 1,2",
    "patches MODEL sample:grace_hopper -l CONV",
    "shift MODEL sample:grace_hopper -l CONV --by 0,2 --input-size 3,32,32",
    "field MODEL sample:grace_hopper -l CONV --input-size 3,32,32",
    "filter sample:grace_hopper --from MODEL:CONV:1",
    "report MODEL sample:grace_hopper --input-size 3,64,64",
]


@pytest.mark.parametrize(("model", "conv"), [("my_net.py:Net", "conv1"), ("torchvision:squeezenet1_1", "features.0")])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_them(run, command, model, conv):
    """A network of one's own works wherever a timm name does; what its code prints never reaches stdout."""
    words = command.replace("MODEL", model).replace("CONV", conv).split()
    words += [] if words[0] in ("layers", "explain") else ["--weights", "random"]
    words += ["--weights", "random"] if "--image" in words else []
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert "running" not in ended.out
    assert "imported" not in ended.out
    if "--json" in words:
        assert ended.document["model"]["name"] == model
    elif words[0] in ("kernels", "features", "patches", "match", "filter", "shift", "field", "report"):
        assert ended.paths
        assert all(path.is_file() for path in ended.paths)


def test_what_was_assumed_is_stated(run):
    """A size that nobody gave is called a guess on stderr and in the document, and one that was given is not."""
    words = ["features", "my_net.py:Net", "sample:grace_hopper", "-l", "conv1", "--weights", "random", "--json"]
    guess = "input size 3 × 224 × 224 is a guess (see --input-size)"
    assert guess in run(*words).document["warnings"]
    given = run(*words, "--input-size", "1,32,48", "--model-arg", "channels=1", "--model-arg", "width=5", "--force")
    assert not any("input size" in warning for warning in given.document["warnings"])
    assert given.document["outputs"][0]["shape"] == [5, 32, 48]
    assert given.document["model"]["arguments"] == {"channels": "1", "width": "5"}
    assert "input size" not in run("kernels", "my_net.py:Net").err


def test_arguments_are_literals_or_text(run):
    """``activation=tanh`` is text, ``width=3`` a number; what is neither KEY=VALUE nor given once is rejected."""
    ended = run("kernels", "my_net.py:Net", "--model-arg", "activation=tanh", "--model-arg", "width=3")
    assert (ended.code, ended.out) == (
        0,
        "kernelviz-out/my_net.Net-activation-tanh-width-3.built-conv1-kernels-rgb.png\n",
    )
    assert run("kernels", "my_net.py:Net", "--model-arg", "3").code == 2
    assert run("kernels", "my_net.py:Net", "--model-arg", "width=3", "--model-arg", "width=4").code == 2


def test_errors_of_the_code_are_one_message(run):
    """What the code raises is exit code 1 with its file and line, without a traceback; --debug prints that."""
    ended = run("kernels", "my_net.py:Broken")
    assert (ended.code, ended.complaint) == (
        1,
        [
            "Error: my_net.py:Broken could not be built: ValueError: in_channels must be divisible by groups",
            "Raised in my_net.py, line 35, in __init__.",
            "Run it again with --debug to see the traceback.",
        ],
    )
    assert "Traceback" in run("kernels", "my_net.py:Broken", "--debug").err
    assert run("kernels", "foo:bar").code == 2


def test_two_files_of_one_name(run, tmp_path):
    """Networks of two files of the same name get two pictures."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "my_net.py").write_text(SOURCE + "\n# other\n")
    words = ("--weights", "random", "--style", "bare")
    paths = [run("kernels", name, *words).paths[0] for name in ("my_net.py:Net", "other/my_net.py:Net")]
    assert len(set(paths)) == 2
    assert run("kernels", "my_net.py:Net", *words).paths == paths[:1]


def test_models_of_torchvision_are_listed_and_completed(run):
    """``models 'torchvision:*'`` lists them with their tags, and completion knows the prefix, names and tags."""
    ended = run("models", "torchvision:resnet5*")
    assert ended.out.splitlines()[0].split() == ["torchvision:resnet50", "IMAGENET1K_V2", "-", "-", "-"]
    assert complete_model("torchv") == ["torchvision:"]
    assert complete_model("torchvision:resnet1") == [f"torchvision:resnet{depth}" for depth in (101, 152, 18)]
    assert complete_model("torchvision:resnet18.") == ["torchvision:resnet18.IMAGENET1K_V1"]


BROKEN = """
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2048, 10))


class Crops(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).view(-1, 7)
"""


REFUSED = """
import torch
from torch import nn


class Joined(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(7, 4, 3)

    def forward(self, x):
        return self.conv(torch.cat([x, x.new_zeros(x.shape[0], 4, *x.shape[2:])], 1))


class Checked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        assert (
            x.ndim == 4
            and x.shape[1] == 9
        )
        return self.conv(x)


class CheckedByTorch(Checked):
    def forward(self, x):
        torch._assert(
            x.ndim == 4
            and x.shape[1] == 9,
            "",
        )
        return self.conv(x)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)
"""


def test_a_wrong_guess_of_the_channels_is_named(run, tmp_path):
    """If the first convolution does not show the channels, the message has the form, and the size that would fit."""
    (tmp_path / "refused.py").write_text(REFUSED)
    for words in (["layers"], ["features", "sample:grace_hopper", "--weights", "random"]):
        ended = run(words[0], "refused.py:Joined", *words[1:])
        assert ended.code == 1
        assert ended.complaint[-1].endswith("with its channels: --input-size C,H,W, for example 3,224,224.")
    assert run("layers", "refused.py:Joined", "--input-size", "3,224,224").code == 0


def test_preprocessing_that_no_network_states_is_a_guess(run, tmp_path):
    """``layers`` calls it one, and three channels have the numbers of ImageNet, not their mean."""
    (tmp_path / "refused.py").write_text(REFUSED)
    guess = "preprocessing, a guess: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), bicubic, crop 1.0"
    for words in (["refused.py:Plain"], ["refused.py:Joined", "--input-size", "3,32,32"]):
        assert guess in run("layers", *words).err.splitlines()
    assert "\npreprocessing: mean (0.5, 0.5, 0.5)" in run("layers", "test_resnet").err


@pytest.mark.parametrize("name", ["Checked", "CheckedByTorch"])
def test_a_bare_assertion_is_printed(run, tmp_path, name):
    """Its condition is the only text that it has, on however many lines; of channels the form of the size is named."""
    (tmp_path / "refused.py").write_text(REFUSED)
    ended = run("layers", f"refused.py:{name}")
    assert ended.complaint[1].startswith("AssertionError: assert x.ndim == 4 and x.shape[1] == 9. Raised in refused.py")
    assert ended.complaint[2].endswith("with its channels: --input-size C,H,W.")


def test_mistyped_files_and_modules_have_neighbours(run, tmp_path):
    """The nearest file of the directory is named, and of a dotted name the part that exists."""
    (tmp_path / "neighbour_pkg").mkdir()
    for name in ("__init__.py", "nets.py"):
        (tmp_path / "neighbour_pkg" / name).write_text(REFUSED)
    for name, text in {
        "my_nte.py:Net": "Nearest: my_net.py.",
        "my_nte:Net": "Nearest: my_net.",
        "my_net.nope.deep:Net": "my_net exists, a module, not a package.",
        "neighbour_pkg.nest:Plain": "neighbour_pkg exists, a package. Nearest: neighbour_pkg.nets.",
        "no_such_directory/my_net.py:Net": "There is no file no_such_directory/my_net.py.",
    }.items():
        ended = run("layers", name)
        assert ended.code == 2
        assert text in " ".join(ended.complaint), name


def test_layers_prints_the_rows_before_a_break(run, tmp_path, monkeypatch):
    """Rows 0 to 3 are on stdout, the layer that broke is named, and the exit code is 1; in JSON too."""
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("COLUMNS", "200")
    words = ("layers", "broken.py:build", "--input-size", "32")
    ended = run(*words)
    assert ended.code == 1
    assert [line.split()[0] for line in ended.out.splitlines()] == ["layer", "0", "1", "2", "3", "total"]
    assert ended.complaint[0].endswith(": 4 (Linear 2048 → 10) got 1,800 values.")
    document = run(*words, "--json").document
    assert [layer["name"] for layer in document["layers"]] == ["0", "1", "2", "3"]
    assert "4 (Linear 2048 → 10) got 1,800 values" in document["errors"][0]["message"]


def test_a_forward_of_own_code_that_breaks_has_its_line(run, tmp_path):
    """The file and the line of the user's own forward are named."""
    (tmp_path / "broken.py").write_text(BROKEN)
    for words in (["layers"], ["features", "sample:grace_hopper", "--weights", "random"]):
        ended = run(words[0], "broken.py:Crops", *words[1:], "--input-size", "32")
        assert (ended.code, "Raised in broken.py, line 15, in forward" in ended.err) == (1, True)


def test_features_draws_the_layers_before_a_break(run, tmp_path):
    """Layers that ran are drawn, the one that broke and those that did not run are named, exit code 1; nothing is lost."""
    (tmp_path / "broken.py").write_text(BROKEN)
    words = ("features", "broken.py:build", "sample:grace_hopper", "--weights", "random", "--input-size", "32")
    ended = run(*words, "-l", "0", "-l", "2", "-l", "4", "--style", "bare")
    assert (ended.code, [path.is_file() for path in ended.paths]) == (1, [True, True])
    assert ended.complaint[0].endswith(": 4 (Linear 2048 → 10) got 1,800 values.")
    assert "Not captured: 4." in ended.err
    document = run(*words, "-l", "0", "-l", "4", "--style", "bare", "--force", "--json").document
    assert [row["layer"] for row in document["outputs"]] == ["0"]
    assert document["images"] == [{"path": "sample:grace_hopper", "top": []}]
    (error,) = document["errors"]
    assert "4 (Linear 2048 → 10) got 1,800 values" in error["message"]
    assert "Not captured: 4." in error["message"]
    chosen = (*words, "-l", "0", "--style", "bare", "--force")
    assert run(*chosen, "--no-classes").code == 0  # all that was chosen is drawn
    assert run(*chosen).code == 1  # the classes are not known
    nothing = run(*words, "-l", "4")
    assert (nothing.code, nothing.out) == (1, "")
    assert "Not captured" not in nothing.err


def test_features_draws_the_layers_before_a_fault_of_a_real_pass(run, tmp_path):
    """A fault that depends on values is met when the image runs: pictures of the layers before it are written."""
    (tmp_path / "broken.py").write_text(VALUES)
    words = ("features", "broken.py:Values", "sample:grace_hopper", "--weights", "random", "--input-size", "32")
    ended = run(*words, "-l", "first", "-l", "second", "--json")
    assert ended.code == 1
    assert [row["layer"] for row in ended.document["outputs"]] == ["first"]
    message = ended.document["errors"][0]["message"]
    assert "ValueError: no mask was set. Raised in broken.py, line 13, in forward. Not captured: second." in message
    assert ended.document["errors"][0]["hint"] is None


VALUES = """
from torch import nn


class Values(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        y = self.first(x)
        if not x.is_meta and x.std() > 0:
            raise ValueError("no mask was set")
        return self.second(y)
"""


SIGNAL = """
from torch import nn

net = nn.Sequential(nn.Conv1d(1, 4, 9, stride=4), nn.ReLU())
volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU())
"""


def test_networks_of_signals_and_volumes(run, tmp_path):
    """Their sizes have other axes, guessed or given; a photograph is refused with the axes that they read."""
    (tmp_path / "signal_net.py").write_text(SIGNAL)
    ended = run("layers", "signal_net.py:net")
    assert "input size 1 × 16000 is a guess" in ended.err
    assert "4 × 3998" in ended.out
    assert "4 × 98" in run("layers", "signal_net.py:net", "--input-size", "1,400").out
    assert "4 × 6 × 14 × 16" in run("layers", "signal_net.py:volume", "--input-size", "8,16,18").out
    ended = run("layers", "signal_net.py:net", "--input-size", "3,1,400")
    assert (ended.code, "must be (C, L) or (L), but got (3, 1, 400)" in ended.err) == (2, True)
    ended = run("features", "signal_net.py:volume", "sample:grace_hopper")
    assert (ended.code, "reads volumes (C, D, H, W), not images" in ended.err) == (2, True)
    assert run("layers", "signal_net.py:net", "--plot").code == 2


@pytest.mark.slow
def test_the_layers_of_a_detector(run):
    """They are those of a real forward pass with random weights, which is stated."""
    ended = run("layers", "torchvision:ssdlite320_mobilenet_v3_large", "--input-size", "160,200")
    assert ended.code == 0
    assert "the forward pass depends on values: the network ran on a black image" in ended.err
    assert "head.classification_head.module_list.5.1" in ended.out


ROWS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.rows = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image):
        kept = image.abs().flatten(1).amax(1) == 0
        self.rows(image[kept])
        return self.first(image)
"""


def test_layers_without_values_are_left_out_of_a_pattern(run, tmp_path):
    """One note states their number."""
    (tmp_path / "my_net.py").write_text(ROWS)
    words = ["features", "my_net.py:Net", "sample:grace_hopper", "--weights", "random", "--input-size", "32", "-l", "*"]
    ended = run(*words, "--no-classes")
    assert ended.code == 0, ended.err
    assert [path.name for path in ended.paths if "rows" in path.name] == []
    assert "1 layer has no map for this image (-v lists them)" in ended.err
