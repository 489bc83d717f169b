"""Networks that the user's own Python code builds."""

from __future__ import annotations

import sys

import pytest
import timm
import torch
from own_networks import SOURCE
from torch import nn

import kernelviz
from kernelviz.errors import BadWeightsError, CodeError, KernelvizError, NoWeightsError, UnknownModelError, UsageError
from kernelviz.network.model import load_model


@pytest.fixture(autouse=True)
def _mine(tmp_path, monkeypatch):
    """A file, a package, and a current directory; what is imported from them is forgotten afterwards."""
    (tmp_path / "my_net.py").write_text(SOURCE)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("from torch import nn\n\nconv = nn.Conv2d(3, 7, 3)\n")
    (package / "nets.py").write_text(
        "from .parts import conv\nfrom torch import nn\n\ndef build():\n    return nn.Sequential(conv)\n"
    )
    (package / "hungry.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0].startswith(("my_net", "package", "helper", "timm_", "late")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("my_net.py:Net", 8),
        ("./my_net.py:Net", 8),
        ("my_net:Net", 8),
        ("my_net.py:build", 6),
        ("my_net.py:net", 5),
        ("my_net.py:Blocks.small", 4),
        ("package.nets:build", 7),
        ("torch.nn:Identity", None),
    ],
)
def test_a_class_a_function_and_a_network(name, kernels):
    """A class is instantiated, a function called, a network taken as it is, from files, modules and packages."""
    model = load_model(name)
    assert model.source.model == name.removeprefix("./")
    assert not model.module.training
    if kernels:
        assert kernelviz.list_layers(model)[0].out_channels == kernels


def test_random_weights_follow_the_seed():
    """The same seed makes the same weights, another seed others, and the caller's random state does not move."""
    state = torch.get_rng_state()
    weights = [load_model("my_net.py:Net", weights="random", seed=seed).module.conv1.weight for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        from my_net import Net

        torch.manual_seed(0)
        assert load_model("my_net:Net", weights="random").module.conv1.weight.equal(Net().conv1.weight)


def test_arguments_and_names():
    """Arguments reach the class, and are part of the label, of the names of files and of the recipe."""
    source = load_model("my_net.py:Net", weights="random", model_args={"width": 3, "channels": 1}).source
    assert source.label == "my_net.py:Net(width=3, channels=1), random weights (seed 0)"
    assert source.stem == "my_net.Net-width-3-channels-1.random"
    assert source.as_recipe()["arguments"] == {"width": "3", "channels": "1"}
    assert len(source.code) == 64
    assert source.preprocessing["input_size"] == (1, 224, 224)


def test_weights_of_a_file(tmp_path):
    """A file is loaded by the same rules as into a timm network: all of it fits, or it is rejected."""
    made = load_model("my_net.py:Net", weights="random", seed=4)
    torch.save(made.module.state_dict(), tmp_path / "net.pt")
    model = load_model("my_net.py:Net", weights=tmp_path / "net.pt")
    assert model.module.conv1.weight.equal(made.module.conv1.weight)
    assert (model.source.weights.source, model.source.stem) == ("file", "my_net.Net.net")
    with pytest.raises(BadWeightsError, match="tensors match"):
        load_model("my_net.py:Net", weights=tmp_path / "net.pt", model_args={"width": 3})
    with pytest.raises(NoWeightsError):
        load_model("my_net.py:Net", weights="hub")


def test_weights_that_the_code_makes():
    """Without a choice the weights are those that the code makes; whether they are trained is not known, and stated."""
    source = load_model("my_net.py:net").source
    assert source.label == "my_net.py:net, weights as built (seed 0, random unless its code loads some)"
    assert source.weights.source == "code"
    assert "random, unless it loads some" in source.notes[0]


@pytest.mark.parametrize(
    ("given", "size", "guessed"),
    [
        (None, (3, 224, 224), ("input_size", "mean", "std")),
        ((32, 48), (3, 32, 48), ("mean", "std")),
        ((1, 32, 48), (1, 32, 48), ("mean", "std")),
    ],
)
def test_the_input_size(given, size, guessed):
    """It is 224 × 224 and as many channels as the first convolution reads, a guess, unless it is given."""
    model = load_model("my_net.py:Net", weights=None, input_size=given)
    assert (model.input_size, model.source.preprocessing["guessed"]) == (size, guessed)
    assert len(model.source.preprocessing["mean"]) == size[0]


def test_a_network_of_timm_knows_its_input(tmp_path):
    """What timm built within own code keeps timm's preprocessing, and nothing is a guess."""
    (tmp_path / "timm_based.py").write_text(
        "import timm\n\ndef build():\n    return timm.create_model('test_resnet')\n"
    )
    model = load_model("timm_based.py:build", weights="random")
    assert "guessed" not in model.source.preprocessing
    assert model.input_size == load_model("test_resnet", weights=None).input_size


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("my_net.py:Broken", {}, CodeError, "be divisible by groups\nRaised in my_net.py, line 35, in __init__"),
        ("my_net.py:number", {}, CodeError, "returned an object of type int"),
        ("my_net.py:leave", {}, CodeError, "SystemExit: no data"),
        ("my_net.py:Needy", {}, UsageError, "needs the argument width.\nAdd --model-arg width=VALUE"),
        ("my_net.py:Net", {"wdith": 3}, UsageError, "It takes width, channels, activation.\nTry --model-arg width=3"),
        ("my_net.py:net", {"width": 3}, UsageError, "is a network already"),
        ("my_net.py:Nett", {}, UnknownModelError, "There is no Nett in my_net.py.\nNearest: Net"),
        ("my_net.py:ARGUMENTS", {}, UnknownModelError, "is an object of type list"),
        ("my_net.py", {}, UnknownModelError, "is a file, not a network"),
        ("other.py:Net", {}, UnknownModelError, "There is no file other.py"),
        ("package/nets.py:build", {}, CodeError, "Name it as a module of its package: package.nets:build"),
        ("package.hungry:Net", {}, CodeError, "No module named 'no_such_thing'\nRaised in package/hungry.py, line 1"),
        ("foo:bar", {}, UnknownModelError, "Names are of timm, or hf-hub:org/name, local-dir:PATH, torchvision:NAME"),
        ("package.no:bar", {}, UnknownModelError, "There is no module package.no"),
        ("local_dir:bar", {}, UnknownModelError, "Try local-dir:bar. Names are of timm, or hf-hub:org/name"),
        ("hf-hbu:org/name", {}, UnknownModelError, "local-dir:PATH"),
    ],
)  # fmt: skip
def test_what_goes_wrong(name, arguments, kind, message):
    """Each error is one message: what the code raised, with its file and line, or what a wrong name could mean."""
    with pytest.raises(KernelvizError) as caught:
        load_model(name, model_args=arguments)
    assert type(caught.value) is kind
    assert message in str(caught.value)


def test_a_syntax_error_has_its_line(tmp_path):
    """The line of code that cannot be parsed is named."""
    (tmp_path / "late.py").write_text("import torch\n\nclass Net(:\n    pass\n")
    with pytest.raises(CodeError, match="SyntaxError") as caught:
        load_model("late.py:Net")
    assert caught.value.why == "Raised in late.py, line 3."


def test_code_runs_as_a_program_would(tmp_path):
    """Modules beside the file are found, ``sys.argv`` has no options of ours, and edits count at once."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper_parts.py").write_text("width = 9\n")
    file = tmp_path / "sub" / "late_net.py"
    text = "import sys\nfrom helper_parts import width\nfrom torch import nn\nassert len(sys.argv) == 1\n"
    text += "net = nn.Conv2d(3, width, 3)\n"
    file.write_text(text)
    assert load_model("sub/late_net.py:net").module.out_channels == 9
    file.write_text(text.replace("3, width", "3, 5"))
    assert load_model("sub/late_net.py:net").module.out_channels == 5
    assert not list((tmp_path / "sub").glob("__pycache__/late_net*"))


def test_a_file_never_replaces_a_module_of_its_name(tmp_path):
    """A file called like an imported module is run beside it."""
    (tmp_path / "timm.py").write_text("from torch import nn\nnet = nn.Conv2d(3, 4, 3)\n")
    import timm

    assert load_model("timm.py:net").module.out_channels == 4
    assert sys.modules["timm"] is timm
    sys.path.remove(str(tmp_path))


def test_arguments_never_choose_weights():
    """An argument that would load a file or download weights is rejected: weights are read by this package alone."""
    for name, key in [("resnet18d", "checkpoint_path"), ("torchvision:resnet18", "weights")]:
        with pytest.raises(UsageError, match="would choose the weights"):
            load_model(name, weights="random", model_args={key: "x.pth"})


def test_arguments_of_timm():
    """They reach timm too, and the channels of the input follow."""
    model = load_model("test_resnet", weights="random", model_args={"in_chans": 1})
    assert (model.input_size[0], model.source.stem) == (1, "test_resnet-in_chans-1.random")


def test_arguments_may_state_what_a_file_shows(tmp_path):
    """A number of channels that is both an argument and in the file is that of the input."""
    torch.save(timm.create_model("test_resnet", in_chans=1).state_dict(), tmp_path / "grey.pt")
    model = load_model("test_resnet", weights=tmp_path / "grey.pt", model_args={"in_chans": 1})
    assert (model.input_size[0], len(model.source.preprocessing["mean"])) == (1, 1)


def test_code_runs_once_for_a_file(tmp_path):
    """Weights anywhere in a file fit a network of the user's code, which is run once for them; what fits can be used."""
    (tmp_path / "my_net_counted.py").write_text(
        "from torch import nn\nmade = []\ndef build():\n"
        "    made.append(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)))\n    return made[-1]\n"
    )
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)).state_dict()
    torch.save({"epoch": 1, "net": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "all.pt")
    model = load_model("my_net_counted:build", weights=tmp_path / "all.pt", weights_key="net")
    assert (model.source.weights.key, model.source.weights.prefix) == ("net", "module.")
    assert torch.equal(model.module[1].weight, state["1.weight"])
    assert sys.modules["my_net_counted"].made == [model.module]
    torch.save({name: value for name, value in state.items() if name[0] == "0"}, tmp_path / "part.pt")
    model = load_model("my_net_counted:build", weights=tmp_path / "part.pt", partial=True)
    assert model.source.weights.missing == ("1.weight", "1.bias")
    with pytest.raises(KernelvizError, match="timm could not build test_resnet, nonsense=1"):
        load_model("test_resnet", weights="random", model_args={"nonsense": 1})
    with pytest.raises(UsageError, match="input size of their own"):
        load_model("test_resnet", weights="random", input_size=(32, 32))
