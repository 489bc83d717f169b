"""Whatever can be typed is bounded before it allocates, and refused as wrong usage."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kernelviz.traces import HEADS

SIZES = {
    "stride": ("conv", "--input", "9000", "--stride", "9000", "--kernel", "1"),
    "stretched": ("transpose", "--input", "2", "--stride", "9000"),
    "padding": ("conv", "--input", "2", "--padding", "9000", "--stride", "9000"),
    "channels": ("pool", "--input", "1", "--kernel", "1", "--in-channels", "16000000"),
    "rows": ("conv", "--input", "16000000x1", "--kernel", "1"),
}


@pytest.mark.parametrize("arguments", SIZES.values(), ids=SIZES)
def test_sizes_are_bounded_by_the_memory_they_take(run, arguments):
    """An operation that would take more memory than the bound is refused with the bound, before it allocates."""
    refused = run("explain", *arguments, "--at", "0,0")
    assert refused.code == 2
    assert "At most 400 MB" in refused.err


def test_the_padding_same_is_bounded(run):
    """The padding that ``same`` computes is bounded like one that is typed."""
    refused = run("explain", "conv", "--padding", "same", "--kernel", "16777216", "--dilation", "16777216")
    assert refused.code == 2
    assert "must be at most 16,777,216" in refused.err


@pytest.mark.parametrize("threads", ["257", "999999999", "99999999999999999999"])
def test_threads_are_bounded(run, threads):
    """More threads than can be started are wrong usage, reported with the bound."""
    refused = run("features", "test_resnet", "sample:astronaut", "--threads", threads)
    assert refused.code == 2
    assert "256" in refused.err


INPUTS = {
    "layers": (["layers", "test_resnet"], 65536),
    "explain layer": (["explain", "layer", "test_resnet", "conv1.0"], 65536),
    "explain layer with an image": (
        [
            "explain",
            "layer",
            "test_resnet",
            "conv1.0",
            "--weights",
            "random",
            "--image",
            "sample:grace_hopper",
            "--at",
            "0,0",
        ],
        8192,
    ),
    "features": (["features", "test_resnet", "sample:grace_hopper", "--weights", "random"], 8192),
}


@pytest.mark.parametrize("size", ["1000000", "32,1000000", "9" * 30])
@pytest.mark.parametrize("name", INPUTS)
def test_the_largest_input_size_is_reported(run, name, size):
    """A size beyond the limit is wrong usage, reported with the limit, in every command that takes one."""
    words, most = INPUTS[name]
    refused = run(*words, "--input-size", size)
    assert refused.code == 2
    assert refused.complaint == [f"Error: --input-size must be at most {most}, but got '{size}'."]


@pytest.mark.parametrize("size", ["65537", "9223372036854775807", "99999999999999999999"])
def test_batches_are_bounded(run, size):
    """More images per forward pass than anything could hold are wrong usage, reported with the bound."""
    refused = run("features", "test_resnet", "sample:grace_hopper", "--batch-size", size)
    assert refused.code == 2
    assert "65536" in refused.err


def test_overflow_prints_no_warning(run):
    """Numbers whose products are infinite are drawn as such, without a word of Python's own."""
    done = run("explain", "conv", "--input", "1e308 1e308;1e308 1e308", "--kernel-values", "2 2", "--at", "0,0")
    assert done.code == 0
    assert "Warning" not in done.err


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_directory_that_cannot_be_examined_cannot_be_written(draw, suffix):
    """A name that is too long for the file system is a failure to write, not an unexpected error."""
    refused = draw("-o", "x" * 300 + suffix)
    assert refused.code in (1, 2)
    assert "unexpected" not in refused.err
    assert "xxx" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["explain", "conv", "--csv", f"{'x' * 300}.csv"], 1, "could not be written"),
        (["kernels", f"{'x' * 300}.py:Net"], 2, "There is no file"),
        (["explain", "conv", "--kernel", ""], 2, "but got ''"),
        (["kernels", "test_resnet", "--weights", "random", "--channels", "٣"], 2, "Channels must be numbers"),
    ],
    ids=["csv", "code", "empty kernel", "other digits"],
)
def test_what_cannot_be_meant_is_one_error(run, words, code, what):
    """A name that the file system cannot hold, an empty size and digits of another script are never taken for defaults."""
    result = run(*words)
    assert (result.code, result.out) == (code, "")
    assert what in result.complaint[0]


def test_models_are_listed_without_a_home(run, monkeypatch):
    """Without a home directory there is no cache, and the list is built each time."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 12345)
    listed = run("models", "test_resnet*")
    assert listed.code == 0
    assert "test_resnet" in listed.out


def test_text_for_people_is_escaped_in_a_pipe(capsys):
    """Control characters of a name never reach the reader of a text raw."""
    from kernelviz.cli.terminal import print_text

    print_text("esc\x1b[31m.png", "new\nline")
    assert capsys.readouterr().out == "esc\\x1b[31m.png\nnew\\nline\n"


@pytest.mark.parametrize("words", [["env"], ["models", "test_resnet*"], ["layers", "test_resnet"]], ids=" ".join)
def test_a_table_for_people_is_escaped_in_a_pipe(run, monkeypatch, words):
    """Whatever a table contains, such as the path of a cache, no control character reaches a pipe raw."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "cache/\x1b[31m\n")
    monkeypatch.setattr("kernelviz.cli.models._mark", lambda _, key: f"{key}\x1b[31m")
    monkeypatch.setattr(
        "kernelviz.traces.layer_cells", lambda layer, **_: (f"{layer.name}\x1b[31m", *"1" * (len(HEADS) - 1))
    )
    result = run(*words)
    assert result.code == 0
    assert "\\x1b[31m" in result.out
    assert "\x1b" not in result.out


@pytest.mark.parametrize("words", [["kernels", "test_resnet"], ["features", "test_resnet", "sample:grace_hopper"]])
def test_a_name_that_is_too_long_for_an_output_is_refused_by_every_command(run, words):
    """A directory whose name the file system cannot hold is one line and exit code 1, wherever it is given."""
    result = run(*words, "--weights", "random", "-o", "x" * 300)
    assert result.code == 1
    assert "unexpected" not in result.err
    assert "xxx" in result.err


@pytest.mark.parametrize(
    "words", ["--steps", *(pytest.param(each, marks=pytest.mark.slow) for each in ("", "--at 5,5"))]
)
def test_pages_of_large_inputs_keep_the_bound(words):
    """Drawing an input near the bound takes less than 500 MB more than drawing a small one, and little time."""
    commands = [f"explain conv --input {side} --kernel 1 -o out {words} -q" for side in (6, 2150)]
    first, second = peaks_of(commands)
    assert second - first < 500e6


def peaks_of(commands):
    """The largest resident memory until the end of each command, all in one process of their own, in bytes."""
    code = (
        "import resource, sys, tempfile, os; os.chdir(tempfile.mkdtemp()); from kernelviz.cli.main import main\n"
        "for line in sys.argv[1:]:\n"
        "    print(main(line.split()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    run = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True)
    ends = [line.split() for line in run.stdout.splitlines() if line.split()[1:]]
    assert [code for code, _ in ends] == ["0"] * len(commands), run.stderr
    return [int(peak) for _, peak in ends]
