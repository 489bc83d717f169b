"""``kernelviz explain`` prints and draws what was worked out, and refuses the rest in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kernelviz import read_recipe

COUNTING = "; ".join(" ".join(str(5 * row + column + 1) for column in range(5)) for row in range(5))
NINE = ["--input", COUNTING, "--kernel-values", "1 2 3; 4 5 6; 7 8 9"]
UNLOADED = """
import sys
from kernelviz.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "timm", "matplotlib", "PIL"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


def test_the_text_is_that_of_the_articles(run, monkeypatch):
    """Formula, steps, output and costs stand on stdout."""
    monkeypatch.setenv("COLUMNS", "200")
    result = run("explain", "conv", *NINE)
    assert (result.code, result.err) == (0, "")
    assert "⌊(5 + 2·0 − 3) / 1⌋ + 1 = 3" in result.out
    assert "row 0, column 0: 1×1 + 2×2 + 3×3 + 6×4 + 7×5 + 8×6 + 11×7 + 12×8 + 13×9 = 411" in result.out
    most = "the response is largest, 951, at row 2, column 2"
    assert result.out.endswith(f"output\n  411 456 501\n  636 681 726\n  861 906 951\n  {most}\n")
    assert "= 9 weights, no bias; a fully connected (dense) layer for these sizes takes 225" in result.out
    assert result.out.count("cross-correlation") == 1


def test_json_says_the_same_numbers(run):
    """One document with the promised fields; each step adds up, and its text ends with its sum."""
    told = run("explain", "conv", *NINE, "--json").document
    assert told["command"] == "explain"
    assert told["output_size"] == [3, 3]
    assert (told["parameters"], told["macs"], told["unread"]) == (9, 81, [0, 0])
    assert told["output"] == [[[411, 456, 501], [636, 681, 726], [861, 906, 951]]]
    assert [step["at"] for step in told["steps"]] == [[row, column] for row in range(3) for column in range(3)]
    for step in told["steps"]:
        row, column = step["at"]
        assert np.sum(step["products"]) == step["sum"] == told["output"][0][row][column]
        assert step["text"].endswith(f"= {step['sum']:.0f}")


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["conv", "--input", "6x7", "--stride", "2", "--padding", "1"], lambda: torch.nn.Conv2d(1, 1, 3, 2, 1)),
        (["conv", "--padding", "same", "--dilation", "2"], lambda: torch.nn.Conv2d(1, 1, 3, padding="same", dilation=2)),
        (["conv", "--in-channels", "4", "--out-channels", "6", "--groups", "2", "--bias", "1 2 3 4 5 6"],
         lambda: torch.nn.Conv2d(4, 6, 3, groups=2)),
        (["transpose", "--input", "3x2", "--stride", "3x2", "--output-padding", "1x0"],
         lambda: torch.nn.ConvTranspose2d(1, 1, 3, (3, 2), output_padding=(1, 0))),
        (["pool", "--input", "5", "--ceil-mode"], lambda: torch.nn.MaxPool2d(2, ceil_mode=True)),
        (["pool", "--input", "5", "--kind", "average", "--kernel", "3", "--padding", "1", "--no-count-include-pad"],
         lambda: torch.nn.AvgPool2d(3, padding=1, count_include_pad=False)),
        (["pool", "--input", "7", "--adaptive", "3x2", "--in-channels", "2"], lambda: torch.nn.AdaptiveMaxPool2d((3, 2))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_every_option_means_what_torch_means(run, arguments, module):
    """The numbers printed are those of torch's module on the same input, kernel and bias."""
    told = run("explain", *arguments, "--json").document
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        layer = module().double()
        for parameter, name in zip(layer.parameters(), ("kernel_values", "bias"), strict=False):
            parameter.copy_(torch.tensor(told[name]) if told[name] is not None else torch.zeros_like(parameter))
        theirs = layer(torch.tensor(told["input"], dtype=torch.float64)[None])[0]
    np.testing.assert_allclose(told["output"], theirs.numpy(), rtol=1e-12)
    assert told["output_size"] == list(theirs.shape[1:])


def test_a_transposed_convolution_is_told_both_ways(run):
    """Stamps, the stretched input, the turned kernel, torch's implicit padding, and what output padding is for."""
    text = run("explain", "transpose", "--input", "1 2; 3 4", "--kernel-values", "2 -1; 1 3").out
    assert "row 1, column 1: 1×3 + 2×1 + 3×(−1) + 4×2 = 10" in text
    assert "1 × kernel, from row 0, column 0 of the output on" in text
    assert "with the kernel flipped (rotated by 180°)\n   3  1\n  −1  2" in text
    assert "implicit padding d·(k − 1) − p = 1" in text
    more = run("explain", "transpose", "--stride", "2", "--output-padding", "1").out
    assert "this selects one of them" in more


def test_left_over_rows_are_explained(run, monkeypatch):
    """What no window reaches, and why."""
    monkeypatch.setenv("COLUMNS", "200")
    text = run("explain", "conv", "--input", "6", "--stride", "2", "--padding", "1").out
    assert "1 row and 1 column at the end, in no window: 6 + 2·1 − 3 = 5 is no multiple of the stride 2" in text


def test_numbers_come_from_files_names_and_seeds(run, tmp_path):
    """A CSV file, a filter's name, one plane for all channels, and whole numbers from a seed."""
    (tmp_path / "input.csv").write_text("1,2,3\n4;5;6\n7 8 9\n|\n0,0,0\n0,0,0\n0,0,1\n")
    told = run("explain", "conv", "--input", "input.csv", "--kernel-values", "laplacian", "--json").document
    assert told["in_channels"] == 2
    assert told["output"] == [[[-1.0 - 2 - 3 - 4 - 6 - 7 - 8 - 9 + 40 - 1]]]
    first, again, other = (run("explain", "conv", "--seed", seed, "--json").document["input"] for seed in (1, 1, 2))
    assert first == again != other


def test_one_cell_of_one_channel(run):
    """``--at`` and ``--channel`` choose a step."""
    told = run("explain", "conv", "--out-channels", "3", "--channel", "2", "--at", "1,2", "--json").document
    (step,) = told["steps"]
    assert (step["at"], step["channel"]) == ([1, 2], 2)
    assert step["sum"] == told["output"][2][1][2]


def test_a_layer_of_a_real_network_is_told_without_numbers(run):
    """Sizes and costs at once; the numbers would be too many."""
    result = run("explain", "conv", "--input", "224", "--in-channels", "64", "--out-channels", "64", "--padding", "1")
    assert result.code == 0
    assert "1,849,688,064 multiply–adds" in result.out
    assert "steps" not in result.out
    assert "are omitted" in result.err


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["conv"], ["conv-5x5-3x3-*-step-0-0.png"]),
        (["conv", "--at", "1,2", "--format", "svg"], ["conv-5x5-3x3-*-step-1-2.svg"]),
        (["conv", "--steps", "--arrays"], ["conv-5x5-3x3-*-numbers.npz", "conv-5x5-3x3-*-steps.png"]),
        (["transpose"], ["transpose-2x2-3x3-*-stamps-0-0.png", "transpose-2x2-3x3-*-step-0-0.png"]),
        (["pool", "--animate"], ["pool-4x4-2x2-*-animation.gif"]),
        (["transpose", "--kernel", "2", "--animate"],
         ["transpose-2x2-2x2-*-animation.gif", "transpose-2x2-2x2-*-stamps-animation.gif"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_pictures_are_drawn_where_they_are_asked_for(run, tmp_path, arguments, names):
    """Paths on stdout, the explanation for people on stderr; the same again replaces, and gives the same bytes."""
    result = run("explain", *arguments, "-o", "out")
    assert result.code == 0, result.err
    there = sorted((tmp_path / "out").iterdir())
    assert sorted(tmp_path / path for path in result.paths) == there
    assert all(path.match(name) for path, name in zip(there, names, strict=True))
    assert "size" in result.err
    for path in there:
        assert read_recipe(path)["command"] == "explain"
    before = [path.read_bytes() for path in there]
    assert run("explain", *arguments, "-o", "out", "-q").code == 0
    assert [path.read_bytes() for path in there] == before


def test_what_is_not_shown_is_said(run):
    """Of a sheet of steps, of the steps of a document, and of numbers that are not finite."""
    told = run("explain", "conv", "--input", "11", "--steps", "--arrays", "-o", "out", "--json").document
    sheet, numbers = told["outputs"]
    assert (sheet["shown"], sheet["total"], numbers["shown"], numbers["total"]) == (17, 81, 81, 81)
    assert sheet["limits"] == [-np.max(np.abs(told["output"])), np.max(np.abs(told["output"]))]
    told = run("explain", "transpose", "--input", "4", "-o", "out", "--json").document
    assert [(entry["shown"], entry["total"]) for entry in told["outputs"]] == [(1, 16), (1, 36)]
    told = run("explain", "conv", "--input", "50", "--json").document
    assert len(told["steps"]) == 2222
    assert told["warnings"] == ["steps is limited to 2,222 of 2,304"]
    large = ["explain", "conv", "--input", "1e308 1e308;1e308 1e308", "--kernel-values", "9 -9;9 1", "-o", "out"]
    result = run(*large, "--json")
    assert result.err == ""
    assert result.document["warnings"] == ["1 of 1 values of the output are not finite"]
    (entry,) = result.document["outputs"]
    assert (entry["nonfinite"], entry["notes"]) == (1, result.document["warnings"])
    assert "1 of 1 values of the output are not finite" in run(*large, "--force").err


def test_numbers_that_were_made_up_are_named(run, monkeypatch):
    """Text, picture and JSON state which of input and kernel come from the seed, and how to give others."""
    monkeypatch.setenv("COLUMNS", "200")
    given = {"input": ["--input", "1 2; 3 4"], "kernel": ["--kernel-values", "1 0; 0 1"]}
    for names in ([], ["input"], ["kernel"], ["input", "kernel"]):
        arguments = [
            "explain",
            "conv",
            "--kernel",
            "2",
            "--seed",
            "7",
            *(each for name in names for each in given[name]),
        ]
        made_up = [name for name in given if name not in names]
        text = run(*arguments).out
        options = " and ".join(given[name][0] for name in made_up)
        note = f"example numbers for {' and '.join(made_up)} (--seed 7); give your own with {options}"
        assert (note in text) == bool(made_up)
        assert ("example numbers" in text) == bool(made_up)
        told = run(*arguments, "--json").document
        assert (told["made_up"], told["seed"]) == (made_up, 7 if made_up else None)
        assert ("example numbers" in run(*arguments, "-o", "out", "--force").err) == bool(made_up)
    assert "example numbers for input (--seed 0); give your own with --input;" in run("explain", "pool").out
    told = run("explain", "pool", "--input", "1 2; 3 4", "--json").document
    assert (told["made_up"], told["seed"]) == ([], None)


def test_a_file_keeps_its_texts(run, tmp_path):
    """Numbers of a CSV file, of kernel and bias stand as they were written; JSON has numbers."""
    (tmp_path / "input.csv").write_text("12.50,-0\n1e-3,7\n")
    arguments = ["explain", "conv", "--input", "input.csv", "--kernel-values", "0.50", "--bias=-1.0"]
    text = run(*arguments).out
    assert "row 0, column 0: 12.50×0.50 + (−1.0) = 5.25" in text
    assert "row 0, column 1: 0×0.50 + (−1.0) = −1" in text
    assert "row 1, column 0: 0.001×0.50 + (−1.0) = −0.9995" in text
    told = run(*arguments, "--json").document
    assert (told["input"], told["kernel_values"], told["bias"]) == ([[[12.5, 0], [0.001, 7]]], [[[[0.5]]]], [-1])


def test_other_numbers_are_another_picture(run, tmp_path):
    """Nothing is replaced by a picture of other numbers."""
    for seed in (1, 2):
        assert run("explain", "conv", "--seed", seed, "-o", "out").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_an_animation_has_a_frame_for_each_cell(run):
    """Pillow opens it with as many frames, at the speed that was asked for."""
    for kind in ("gif", "webp"):
        (path,) = run(
            "explain", "conv", "--input", "4", "--animate", "--fps", "4", "--format", kind, "-o", "out", "-q"
        ).paths
        with Image.open(path) as image:
            assert image.n_frames == 4
            assert read_recipe(path)["view"] == "animation of channel 0"


def test_frames_are_numbered_pictures(run):
    """``--frames`` writes one PNG per frame, numbered from 000, and with ``--animate`` the animation too."""
    asked = ("explain", "conv", "--input", "4", "--frames", "-o", "out", "-q")
    frames = run(*asked).paths
    assert [path.name[-14:] for path in frames] == [f"-frame-{number:03}.png" for number in range(4)]
    assert [read_recipe(path)["view"] for path in frames] == [f"animation of channel 0, frame {at}" for at in range(4)]
    both = run(*asked, "--animate", "--format", "webp").paths  # the frames of the first run are replaced
    assert both[:4] == frames
    assert both[4].name == frames[0].name.replace("-frame-000.png", ".webp")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["conv", "--kernel", "7"], "7 × 7 kernel is larger than the input"),
        (["conv", "--stride", "2", "--padding", "same"], "cannot be same with stride 2"),
        (["conv", "--stride", "x"], "stride must be whole numbers"),
        (["conv", "--input", "nosuch"], "The input 'nosuch' is not a size, numbers, a CSV file or an image."),
        (["conv", "--input", "1 2; 3"], "rows of equal length"),
        (["conv", "--input", "1 2; 3 1e999"], "finite numbers, but got '1e999'"),
        (["conv", "--kernel-values", "sobel"], "The kernel values 'sobel' are not numbers, a CSV file or a filter."),
        (["conv", "--kernel-values", "1 2|3 4", "--in-channels", "3", "--out-channels", "1"], "needs 3 planes"),
        (["conv", "--kernel", "2", "--kernel-values", "1 2 3"], "The kernel values are 1 × 3"),
        (["conv", "--bias", "1 2"], "one for each of 1 output channels"),
        (["conv", "--at", "9,9"], "no output cell at row 9"),
        (["conv", "--at", "9"], "A cell must be ROW,COLUMN"),
        (["conv", "--channel", "1"], "no output channel 1"),
        (["conv", "--animate"], "--animate needs an output directory"),
        (["conv", "--animate", "--steps", "-o", "out"], "--animate and --steps exclude each other"),
        (["conv", "--fps", "3", "-o", "out"], "--fps is for animations"),
        (["conv", "--frames"], "--frames needs an output directory"),
        (["conv", "--frames", "--steps", "-o", "out"], "--frames and --steps exclude each other"),
        (["conv", "--frames", "--at", "0,0", "-o", "out"], "--at selects one step, but --frames"),
        (["conv", "--frames", "--fps", "3", "-o", "out"], "--fps is for animations"),
        (["conv", "--frames", "--format", "gif", "-o", "out"], "Frames are written as PNG"),
        (["conv", "--frames", "--input", "30", "-o", "out"], "The animation would have 784 frames"),
        (["conv", "--animate", "--format", "png", "-o", "out"], "An animation must be gif or webp"),
        (["conv", "--format", "gif", "-o", "out"], "A picture must be png, svg or pdf"),
        (["conv", "--input", "30", "--animate", "-o", "out"], "The animation would have 784 frames"),
        (["conv", "-o", "x.png"], "--output takes a directory"),
        (["transpose", "--output-padding", "1"], "smaller than the stride or the dilation"),
        (["pool", "--kind", "average", "--dilation", "2"], "no dilation"),
        (["pool", "--padding", "2"], "at most half of the kernel"),
        (["pool", "--no-count-include-pad"], "is for averages"),
        (["conv", "--input", "nan 1; 2 3"], "must hold finite numbers, but got 'nan'"),
        (["conv", "--bias", "nan"], "must hold finite numbers, but got 'nan'"),
        (["conv", "--bias", "-inf"], "must hold finite numbers, but got '-inf'"),
        (["conv", "--input", "-5"], "The input '-5' is not a size"),
        (["conv", "--input", "2.5"], "The input '2.5' is not a size"),
        (["conv", "--input", "1,,3"], "no number at column 2 in row 1"),
        (["conv", "--padding", "sam"], "whole numbers, same or valid, but got 'sam'"),
        (["conv", "--padding", "1,2,3"], "one, two or four numbers"),
        (["conv", "--padding", "-1"], "must not be negative, but got −1"),
        (["conv", "--groups", "2"], "divisible by the groups"),
        (["conv", "--input", "0"], "input size must be at least 1"),
        (["conv", "--kernel", "0"], "kernel must be at least 1"),
        (["conv", "--steps", "--at", "1,1", "-o", "out"], "--at selects one step, but --steps"),
        (["conv", "--animate", "--at", "2,2", "-o", "out"], "--at selects one step, but --animate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_wrong_is_said(run, tmp_path, arguments, said):
    """Exit code 2, three lines at most, one document with ``--json``, and nothing drawn."""
    result = run("explain", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.complaint[0]
    assert 2 <= len(result.complaint) <= 3
    told = run("explain", *arguments, "--json")
    assert (told.code, told.document["errors"][0]["code"]) == (2, "usage")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["conv", "transpose", "pool", "layer"])
def test_a_wrong_option_points_at_the_help_of_its_own_command(run, name):
    """Not at that of all of ``explain``."""
    result = run("explain", name, "--nosuch", *(["m", "l"] if name == "layer" else []))
    assert result.code == 2
    assert result.complaint[-1] == f"Type `kernelviz explain {name} --help`."


def test_one_value_is_an_input_where_it_is_said_so(run):
    """A single number alone is a size; behind a semicolon it is the number."""
    assert run("explain", "conv", "--input", "-5;", "--kernel-values", "2", "--json").document["output"] == [[[-10.0]]]


@pytest.mark.parametrize("name", ["conv", "transpose", "pool"])
def test_each_help_has_an_example_that_works(run, monkeypatch, name):
    """An example in one line, which runs as it stands."""
    monkeypatch.setenv("COLUMNS", "100")
    text = run("explain", name, "--help").out
    (example,) = [line.strip() for line in text.splitlines() if "For example: kernelviz explain" in line]
    assert run(*example.removeprefix("For example: kernelviz ").split()).code == 0


def test_the_text_loads_nothing_heavy(fresh):
    """Neither torch nor matplotlib is imported for the text."""
    result = fresh("-W", "error", "-c", UNLOADED, "explain", "transpose", "--json")
    assert result.code == 0, result.err


def test_a_picture_loads_no_torch(fresh):
    """Drawing needs matplotlib alone."""
    code = UNLOADED.replace('"timm", "matplotlib", "PIL"', '"timm"')
    assert fresh("-W", "error", "-c", code, "explain", "conv", "--input", "3", "-o", "out", "--animate").code == 0
