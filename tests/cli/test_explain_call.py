"""``kernelviz explain 'Conv2D(…)'`` prints and draws a line of Keras or torch; its options have the names that both use."""

from __future__ import annotations

import json

import pytest

from kernelviz import read_call, read_recipe
from kernelviz.errors import NoWeightsError
from kernelviz.explain.call_texts import call_lines
from kernelviz.wording import folded

FIRST = 'Conv2D(32, (3, 3), activation="relu", input_shape=(150, 150, 3))'
UNLOADED = """
import sys
from kernelviz.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "timm", "matplotlib", "PIL", "numpy"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def test_the_line_of_the_articles(run):
    """Arguments, sizes with their letters explained, parameters, and torch's line, on stdout."""
    result = run("explain", FIRST)
    assert (result.code, result.err) == (0, "")
    for words in (
        "filters: 32 kernels; each makes one map of the output",
        "max(0, x): negative values become 0",
        "⌊(150 + 2·0 − 3) / 1⌋ + 1 = 148",
        "i size of the input, p padding at each end, k size of the kernel, s stride, ⌊ ⌋ rounded down",
        "148 × 148 × 32",
        "27 × 32 + 32 = 896",
        "torch nn.Conv2d(3, 32, 3), nn.ReLU()",
    ):
        assert words in " ".join(result.out.split())
    assert run("explain", "call", FIRST).out == result.out


@pytest.mark.parametrize("line", [FIRST, "nn.Linear(128, 10)", "MaxPooling2D()"])
def test_every_line_of_the_text_is_a_line_of_stdout(run, monkeypatch, line):
    """The printed lines are those of ``call_lines``; in a width of 80 the long ones are broken, without escaped breaks."""
    lines = call_lines(read_call(line))
    assert run("explain", line).out.split("\n") == [*lines, ""]
    monkeypatch.setenv("COLUMNS", "80")
    assert run("explain", line).out.split("\n") == [*(part for each in lines for part in folded(each, 80)), ""]
    assert len(lines) > 5


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([FIRST], "torch", "nn.Conv2d(3, 32, 3), nn.ReLU()"),
        (["Conv2d(3, 32, 3, stride=2, padding=1)", "--input", "150"], "keras",
         "keras.Input((150, 150, 3)), layers.ZeroPadding2D(1), layers.Conv2D(32, 3, strides=2)"),
        (["--input", "150x150x3", 'Conv2D(8, 3, strides=2, padding="same")'], "torch",
         "nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, stride=2)"),
        (["--input=(7, 7, 8)", "Conv2DTranspose(4, 4, strides=2, padding='same')"], "torch",
         "nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)"),
        ([FIRST], "keras", FIRST),
    ],
)  # fmt: skip
def test_the_other_line_is_alone_on_stdout(run, words, code, line):
    """``--code`` prints one line that can be copied; options may be before the line."""
    result = run("explain", *words, "--code", code)
    assert (result.code, result.out, result.err) == (0, f"{line}\n", "")


def test_the_document(run):
    """The fields of ``explain``, and those of the call, in one JSON document."""
    told = run("explain", FIRST, "--json").document
    assert (told["command"], told["parameters"], told["output_size"]) == ("explain", 896, [148, 148])
    assert told["formula"] == "⌊(150 + 2·0 − 3) / 1⌋ + 1 = 148"
    assert told["call"]["torch"] == "nn.Conv2d(3, 32, 3), nn.ReLU()"
    assert [(each["name"], each["column"]) for each in told["call"]["arguments"]] == [
        ("filters", 8), ("kernel_size", 12), ("activation", 20), ("input_shape", 39),
    ]  # fmt: skip
    conv = run("explain", "conv", "--json").document
    assert conv.keys() <= told.keys()
    unknown = run("explain", "nn.MaxPool2d(2)", "--json").document
    assert (unknown["output_size"], unknown["in_channels"], unknown["formula"]) == ([None, None], None, None)


def test_the_picture(run, tmp_path):
    """The kernels and the map of a trained layer of the same shape; the same again gives the same bytes."""
    result = run("explain", FIRST, "-o", "out")
    assert result.code == 0, result.err
    (path,) = result.paths
    assert path.match("out/call-Conv2D-150x150x3-3x3-*.png")
    assert "896" in result.err
    recipe = read_recipe(path)
    assert (recipe["command"], recipe["view"], recipe["layer"]) == ("explain", "call", FIRST)
    assert recipe["kernels"]["name"] == "tf_efficientnet_lite0"
    assert "enlarged: kernel 15; its map is shown" in recipe["notes"]
    before = path.read_bytes()
    assert run("explain", FIRST, "-o", "out", "-q").code == 0
    assert path.read_bytes() == before
    told = run("explain", "nn.Conv2d(1, 8, 3)", "-o", "out", "--format", "svg", "--json").document
    assert told["outputs"][0]["path"].endswith(".svg")
    assert (told["outputs"][0]["shown"], told["outputs"][0]["shape"]) == (8, [8, None, None])
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_without_the_weights_kernels_are_grey(run, monkeypatch):
    """If the offline weights are not installed, the picture is drawn without kernels and map, and it is said."""

    def missing(*_, **__):
        raise NoWeightsError("There are none.")

    monkeypatch.setattr("kernelviz.network.model.load_model", missing)
    result = run("explain", FIRST, "-o", "out")
    assert result.code == 0
    assert "the kernels are grey: pip install" in result.err
    assert (
        "grey kernels: an untrained layer has no kernels to show, and no map" in read_recipe(result.paths[0])["notes"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Conv2D(n, 3)"], "Error: Column 8: n is a name; write its number."),
        (["Conv2DD(3, 3)"], "Error: Column 1: there is no layer Conv2DD; nearest: Conv2D"),
        (["Conv2D(32, 3, stride=2)"], "Error: Column 15: Conv2D has no argument stride; nearest: strides"),
        (['Conv2d(3, 32, 3, padding="same", stride=2)', "--input", "150"], "nn.ZeroPad2d((0, 1, 0, 1)) in front"),
        (["MaxPooling2D(2)", "-o", "out"], "Error: MaxPooling2D is explained in text only."),
        (["Conv2D(3, 3)", "--force"], "Error: --force needs an output directory."),
        (["Conv2D(3, 3)", "--format", "svg"], "Error: --format needs an output directory."),
        (["Conv2D(3, 3)", "--code", "torch", "-o", "out"], "Error: --code prints a line, -o draws a picture."),
        (["Conv2D(3, 3)", "--input", "x"], "Error: --input must be the size of the input, but got 'x'."),
        (["Conv2D(3, 3)", "--input", "1" * 5000], "Error: --input must be the size"),
        ([FIRST, "--input", "150"], "states its input already"),
        (["nn.Conv2d(1, 1, 1), nn.Softplus()", "--code", "keras", "--input", "x3"], "--input must be"),
        (["Conv2D(1, 1, activation='exponential')", "--code", "torch"], "no exact counterpart in torch: torch has no"),
        (["nn.MaxPool2d(3, 2, 1)", "--code", "keras"], "is equal if no input is negative"),
        (["nosuch"], "No such command 'nosuch'."),
        (["convv"], "Did you mean 'conv'?"),
        (["Conv2D(" + "1, " * 700 + ")"], "at most 2,000 characters"),
    ],
)  # fmt: skip
def test_wrong_usage(run, tmp_path, words, message):
    """Exit code 2, what is wrong and where, and nothing made; with ``--json`` one document."""
    result = run("explain", *words)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""
    assert not list(tmp_path.iterdir())
    if message.startswith("Error"):
        assert json.loads(run("explain", *words, "--json").out)["errors"][0]["code"] == "usage"


@pytest.mark.parametrize("words", [(), ("--json",), ("--code", "torch")])
def test_reading_a_line_loads_nothing_heavy(fresh, words):
    """Neither torch nor NumPy is imported for a text."""
    result = fresh("-W", "error", "-c", UNLOADED, "explain", FIRST, *words)
    assert result.code == 0, result.err


def test_the_help_names_it(run):
    """The group and the command say how a line is given."""
    assert "kernelviz explain 'Conv2D(32, 3, input_shape=(28, 28, 1))'" in run("explain", "--help").out
    assert "--code" in run("explain", "call", "--help").out


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("conv --filters 4 --strides 2 --kernel-size 2", "conv --out-channels 4 --stride 2 --kernel 2"),
        ("conv --strides (2,1) --kernel-size [2,3]", "conv --stride 2x1 --kernel 2x3"),
        ("conv --padding SAME", "conv --padding same"),
        ("conv --padding Valid", "conv --padding valid"),
        ("conv --padding (0,1,0,1)", "conv --padding 0,1,0,1"),
        ("conv --input (6,7)", "conv --input 6x7"),
        ("transpose --filters 2 --strides (2,2) --kernel-size 2", "transpose --out-channels 2 --stride 2 --kernel 2"),
        ("pool --pool-size 2,2 --strides 1", "pool --kernel 2 --stride 1"),
        ("pool --kernel-size (3,3)", "pool --kernel 3"),
    ],
)
def test_the_words_of_keras_mean_the_same(run, words, same):
    """Each option name of Keras and torch, and sizes as Python writes them, equal those of ``explain``."""
    first, second = (run("explain", *each.split(), "--json").document for each in (words, same))
    assert first == second


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("pool --input 4 --kernel 2 --padding VALID", "pool --input 4 --kernel 2"),
        ("pool --input 4 --kernel 2 --padding SAME", "pool --input 4 --kernel 2"),
        ("pool --input 5 --kernel 3 --stride 1 --padding same", "pool --input 5 --kernel 3 --stride 1 --padding 1"),
        (
            "pool --input 5 --kernel 3 --stride 1 --padding same --kind average",
            "pool --input 5 --kernel 3 --stride 1 --padding 1 --kind average --no-count-include-pad",
        ),
        ("pool --input 4 --adaptive 2 --padding valid", "pool --input 4 --adaptive 2"),
        ("transpose --kernel 3 --padding VALID", "transpose --kernel 3"),
        ("transpose --kernel 2 --stride 3 --padding valid", "transpose --kernel 2 --stride 3 --output-padding 1"),
        ("transpose --kernel 4 --stride 2 --padding SAME", "transpose --kernel 4 --stride 2 --padding 1"),
        ("transpose --kernel 3 --padding same", "transpose --kernel 3 --padding 1"),
    ],
)
def test_same_and_valid_are_those_of_keras(run, words, same):
    """The names of Keras' paddings equal the numbers that they stand for."""
    first, second = (run("explain", *each.split(), "--json").document for each in (words, same))
    assert first == second


@pytest.mark.parametrize(
    ("words", "ends", "instead"),
    [
        ("pool --input 5 --kernel 2", "Keras then pads 0 rows above and 1 below, 0 columns left and 1 right.",
         "--padding 0 --ceil-mode has the same windows"),
        ("pool --input 6 --kernel 2 --stride 1", "Keras then pads 0 rows above and 1 below", "Give numbers"),
        ("transpose --kernel 3 --stride 2",
         "Keras then cuts 0 rows above and 1 below, 0 columns left and 1 right off the output.", "even where the stride"),
    ],
)  # fmt: skip
def test_an_uneven_same_is_refused_with_what_keras_does(run, words, ends, instead):
    """Padding that differs between the ends is not rounded; the message states that of Keras."""
    result = run("explain", *words.split(), "--padding", "SAME")
    assert result.code == 2
    assert ends in result.err
    assert instead in result.err


@pytest.mark.parametrize("command", ["conv", "pool", "transpose"])
@pytest.mark.parametrize("text", ["some", "1_0", "１", "1.5", ""])
def test_other_paddings_are_refused(run, command, text):
    """The message lists numbers, same and valid, and what one and two numbers mean."""
    result = run("explain", command, f"--padding={text}")
    assert result.code == 2
    assert f"The padding must be whole numbers, same or valid, but got '{text}'." in result.err
    assert "One number is for both rows and columns" in result.err


def test_same_with_a_stride_names_what_keras_does(run):
    """``--padding same`` with a stride stays refused as in torch, with the padding that Keras uses, which works."""
    result = run("explain", "conv", "--input", "6", "--padding", "SAME", "--strides", "2")
    assert result.code == 2
    assert "Keras then pads 0,1,0,1 (top, bottom, left, right)" in result.complaint[-1]
    assert run("explain", "conv", "--input", "6", "--padding", "0,1,0,1", "--strides", "2").code == 0


@pytest.mark.parametrize("text", ["(2,2", "2,2)", "[2, 2)", "()", "(,)", "2,,2"])
def test_broken_brackets_are_refused(run, text):
    """Brackets around sizes are complete, with numbers inside."""
    assert run("explain", "conv", "--stride", text).code == 2
