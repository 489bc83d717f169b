"""``kernelviz layers`` lists what a network is made of, for people and for programs."""

from __future__ import annotations

import json

import pytest

from kernelviz.cli.main import main


def run(capfd, *arguments):
    """Exit code, stdout, stderr."""
    code = main(["layers", *arguments])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_table_adds_up(capfd, monkeypatch):
    """Names in the first column, sums in the last line, facts of the network on stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = run(capfd, "test_resnet")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["layer", "kind"]
    assert lines[1].startswith("conv1.0")
    assert "469,688" in lines[-1]
    assert "469,688 parameters" in err
    assert "\x1b" not in out


def test_json_has_the_promised_names(capfd):
    """One document with the fields that other programs rely on."""
    code, out, _ = run(capfd, "test_resnet", "--json", "--layer", "conv1.0")
    told = json.loads(out)
    assert code == 0
    (layer,) = told["layers"]
    wanted = {"name", "kind", "kernel", "stride", "padding", "dilation", "groups", "bias", "output_shape", "params", "macs",
              "runs", "receptive_field"}  # fmt: skip
    assert wanted <= set(layer)
    assert layer["receptive_field"] == {"size": [3, 3], "jump": [2, 2], "offset": [-1, -1], "global": False}
    assert told["totals"] == {"params": layer["params"], "macs": layer["macs"]}
    assert told["command"] == "layers"


@pytest.mark.parametrize(
    ("kind", "class_name"), [("conv", "Conv2d"), ("norm", "BatchNorm2d"), ("act", "ReLU"), ("linear", "Linear")]
)
def test_kinds_choose(capfd, kind, class_name):
    """Only layers of that kind are listed."""
    _, out, _ = run(capfd, "test_resnet", "--json", "--kind", kind)
    assert {layer["kind"] for layer in json.loads(out)["layers"]} == {class_name}


def test_the_input_size_is_the_users(capfd):
    """Two numbers are height and width."""
    _, out, _ = run(capfd, "test_resnet", "--json", "--input-size", "64,96", "-l", "conv1.0")
    assert json.loads(out)["input_size"] == [3, 64, 96]
    assert json.loads(out)["layers"][0]["output_shape"][1:] == [32, 48]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [(["nosuch"], 2, "There is no model"), (["test_resnet", "-l", "layer9"], 2, "Nearest"),
     (["test_resnet", "--input-size", "big"], 2, "--input-size 224,320"),
     (["vit_tiny_patch16_224", "--input-size", "100"], 1, "does not take")],
)  # fmt: skip
def test_what_is_wrong_is_said(capfd, arguments, code, told):
    """One message and the documented exit code."""
    found, out, err = run(capfd, *arguments)
    assert found == code
    assert told in err
    assert not out


def test_a_network_without_convolutions_has_a_table(capfd):
    """It is listed like any other."""
    code, out, _ = run(capfd, "test_vit", "--json", "--kind", "linear")
    assert code == 0
    assert json.loads(out)["layers"]


@pytest.mark.parametrize("option", ["--layout", "-v"])
def test_the_layout_is_a_column(capfd, monkeypatch, option):
    """Which dimension is which, for maps and tokens; not unless asked for."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = run(capfd, "test_vit", option)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].endswith("layout")
    assert next(line for line in lines if line.startswith("patch_embed.proj")).endswith("N C H W")
    assert next(line for line in lines if line.startswith("blocks.0.norm1")).endswith("N HW C")
    assert "HW both" in err
    assert "layout" not in run(capfd, "test_vit")[1]


def test_a_layout_that_was_lost_is_said(capfd, monkeypatch):
    """What sorting does to rows is not known, and stated; a convolution that reads positions makes a map all the same."""
    from torch import nn

    from kernelviz.network.tracing.trace import trace
    from kernelviz.traces import layout_text

    class Sorted(nn.Identity):
        def forward(self, x):
            return x.sort(2).values

    assert layout_text(trace(nn.Sequential(Sorted()), (3, 8, 8)).layer("0")) == "N ? ? ? (lost)"
    monkeypatch.setenv("COLUMNS", "200")
    _, out, err = run(capfd, "xcit_nano_12_p16_224", "--layout")
    (row,) = (line for line in out.splitlines() if "pos_embed.token_projection" in line)
    assert row.endswith("N C H W")
    assert "pos_embed.token_projection on: it reads no image" in err


def test_no_colour_means_no_escapes(monkeypatch):
    """On a terminal NO_COLOR leaves nothing but text, bold included."""
    import io
    import sys
    from types import SimpleNamespace

    from torch import nn

    from kernelviz.cli.layers import show
    from kernelviz.network.tracing.trace import trace

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    told = trace(nn.Conv2d(3, 4, 3), (3, 8, 8))
    shown = SimpleNamespace()
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "200")
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        show(told, told.layers, layout=False, quiet=True)
        setattr(shown, f"with{value}", terminal.getvalue())
    assert "\x1b[" in getattr(shown, "with")
    assert "\x1b[" not in shown.with1


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_whole_names(monkeypatch, capsys, term):
    """Where rich takes the terminal to have 80 columns, the table is printed as into a pipe, with nothing cut."""
    import sys

    from torch import nn

    from kernelviz.cli.layers import plain_table, show
    from kernelviz.network.tracing.trace import trace

    found = trace(nn.Sequential(nn.ModuleDict({"n" * 90: nn.Conv2d(3, 4, 3)})["n" * 90]), (3, 8, 8))
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(found, found.layers, layout=False, quiet=True)
    assert capsys.readouterr().out == plain_table(found, found.layers, width=80) + "\n"


TABLES = pytest.mark.parametrize(
    "words",
    [
        ("layers", "test_resnet"), ("layers", "test_vit", "--layout"), ("models", "resnet*"), ("filter", "--list", "-v"),
        ("match", "test_resnet", "--weights", "random"), ("explain", "conv", "--in-channels", "2", "--padding", "2"),
        ("explain", "transpose"), ("explain", "layer", "test_resnet", "conv1.0"),
        ("explain", 'nn.Conv2d(3, 32, 3, padding="same")'),
    ],
    ids=" ".join,
)  # fmt: skip


def printed(words, width, capfd, monkeypatch):
    """The lines on stdout and on stderr, both of which are a pipe or of this width."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
    assert main([*words, "--force"] if words[0] in ("match", "filter") else [*words]) == 0
    out, err = capfd.readouterr()
    return [*out.splitlines(), *err.splitlines()]


@TABLES
def test_tables_fit_80_columns_and_have_rows_of_one_line_in_a_pipe(capfd, tmp_path, monkeypatch, words):
    """In a width of 80 no line is longer; in a pipe nothing is folded, so that every row is one line."""
    monkeypatch.chdir(tmp_path)
    narrow = printed(words, 80, capfd, monkeypatch)
    assert len(narrow) > 5
    assert not [line for line in narrow if len(line) > 80]
    piped = printed(words, None, capfd, monkeypatch)
    assert piped == printed(words, 9999, capfd, monkeypatch)
    assert len(piped) <= len(narrow)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("", "The layer's name is empty."), ("stage:9", "There is no stage:9."), ("x\x1b", "called x\\x1b.")],
)
def test_patterns_that_mean_nothing_are_told_as_they_are(run, pattern, said):
    """An empty name, a stage that is not there and a name with an escape byte are usage errors with a sentence each."""
    result = run("layers", "test_resnet", "--layer", pattern)
    assert result.code == 2
    assert said in result.err


def test_the_document_tells_what_stands_above_the_table(run):
    """Tag, licence and preprocessing are in the document too."""
    document = run("layers", "resnet18d", "--kind", "pool", "--json").document
    assert (document["model"]["tag"], document["model"]["licence"]) == ("ra2_in1k", "apache-2.0")
    assert document["preprocessing"]["mean"] == [0.485, 0.456, 0.406]


def test_a_plot_of_another_input_size_has_it_in_its_name(run):
    """How a network grows depends on the input: the picture of another one replaces none."""
    words = ("layers", "test_resnet", "--plot", "-q")
    names = [run(*words, *more).paths[-1].name for more in ((), ("--input-size", "64"))]
    assert names == ["test_resnet-layers-growth.png", "test_resnet-layers-growth-3x64x64.png"]
