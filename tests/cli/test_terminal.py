"""What is said where: results on stdout, words on stderr, nothing that a terminal would obey."""

from __future__ import annotations

import io
import os
import re
import time

import pytest
from terminals import lines_of, terminal

from kernelviz.cli import terminal as talk
from kernelviz.errors import KernelvizError, WriteError

HOSTILE = {
    "spaces": "a  b ",
    "brackets": "[1]",
    "markup": "[bold]x[",
    "mathematics": "$\\foo$",
    "newline": "a\nError: b",
    "escape": "a\x1b[31mred",
    "emoji": "🦆🏽",
    "cjk": "模型",
    "direction": "a\u202eb",
    "bytes": os.fsdecode(b"caf\xe9"),
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_directory_of_any_name_works(tmp_path, capfdbinary, name):
    """Pictures land in it, the path on stdout is its very bytes, and what stderr says of it stays in its line."""
    from kernelviz.cli.main import main

    arguments = ["kernels", "test_resnet", "--weights", "random", "--style", "bare", "-o", name]
    assert main(arguments) == 0
    out, _ = capfdbinary.readouterr()
    path = tmp_path / name / "test_resnet.random-conv1.0-kernels-rgb.png"
    assert path.is_file()
    assert out == os.fsencode(f"{name}/{path.name}\n")
    path.write_bytes(b"not ours")
    assert main(arguments) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    lines = err.decode().splitlines()
    assert lines[-3].startswith("Error: ")
    assert lines[-3].endswith(" is in the way.")
    assert lines[-3].count("\\") >= (name != "".join(filter(str.isprintable, name))) + name.count("\\")
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_path_of_any_name_comes_back_from_json(draw, tmp_path, name):
    """The path in the document is the path of the file."""
    result = draw("--json", "-o", name)
    assert (tmp_path / result.document["outputs"][0]["path"]).is_file()
    assert result.out.isascii()


@pytest.mark.parametrize(
    ("arguments", "count"), [(["-l", "conv1"], 3), (["-l", "conv1.0", "--arrays"], 2)], ids=["three layers", "arrays"]
)
def test_quiet_prints_paths_only(draw, arguments, count):
    """-q leaves stderr empty; a path is a line."""
    result = draw("-q", *arguments)
    assert (result.code, result.err) == (0, "")
    assert len(result.paths) == count
    assert all(path.is_file() for path in result.paths)


def test_quiet_does_not_silence_errors(draw):
    """With -q, what went wrong is still said, for each of several layers too."""
    assert draw("-q", "-l", "nosuch").complaint[0] == "Error: No layer is called nosuch."
    several = draw("-q", "-l", "conv1", "--view", "rgb")
    assert several.code == 3
    assert [line.partition(":")[0] for line in several.err.splitlines()] == ["conv1.3", "conv1.6"]


def test_verbose_says_what_the_caption_says(draw):
    """-v adds the lines below the picture: view and scale."""
    plain, more = draw(), draw("-v")
    assert set(plain.err.splitlines()) < set(more.err.splitlines())
    scale = "  Mid-grey is 0, full colour is the largest absolute weight of each tile, so colours are not comparable"
    assert scale in more.err
    assert more.out == plain.out


def test_people_are_told_weights_layer_and_counts(draw):
    """Which weights, which layer and how many of how many kernels stand on stderr, apart from the results."""
    result = draw("--channels", "0-3")
    assert result.err.splitlines() == [
        "test_resnet, random weights (seed 0)",
        "conv1.0: Conv2d 3 → 16, 3 × 3, stride 2; rgb, 4 of 16 kernels",
    ]


def test_notes_repeat_nothing():
    """Under a line stand only the notes that it does not say itself and that are not known already, in any case."""
    lines = talk.with_notes("conv1: 4 of 16 maps", ["4 of 16 maps", "Cropped", "2 are dead"], known=["cropped"])
    assert lines == ("conv1: 4 of 16 maps", "  2 are dead")


def test_no_escape_byte_reaches_a_pipe(draw, monkeypatch):
    """Where stderr is no terminal there is no bar and no colour, whatever the environment says."""
    for name, value in {"COLUMNS": "20", "FORCE_COLOR": "1", "TERM": "xterm-256color", "CLICOLOR_FORCE": "1"}.items():
        monkeypatch.setenv(name, value)
    result = draw()
    assert result.code == 0
    assert "\x1b" not in result.out + result.err
    assert "conv1.0: Conv2d 3 → 16, 3 × 3, stride 2; rgb, 16 of 16 kernels" in result.err.splitlines()


@pytest.mark.parametrize(
    ("command", "what", "said"),
    [
        (["kernels", "test_resnet"], "test_resnet.random-layer4.0.downsample.1-kernels-matrix",
         "layer4.0.downsample.1: Conv2d 192 → 96, 1 × 1; matrix, 96 of 96 kernels, 192 of 192 input channels"),
        (["features", "test_resnet", "sample:grace_hopper", "--no-classes", "--no-crop"],
         "grace_hopper-test_resnet.random-layer4.0.downsample.1-features",
         "layer4.0.downsample.1: Conv2d, 96 × 5 × 5; 96 of 96 maps"),
    ],
    ids=["kernels", "features"],
)  # fmt: skip
def test_a_narrow_terminal_cuts_no_name(monkeypatch, command, what, said):
    """On a terminal of 20 columns the bar gives way to whole lines, on stderr and on stdout."""
    from kernelviz.cli.main import main

    with terminal(monkeypatch, "stdout", "stderr") as written:
        assert main([*command, "--weights", "random", "--style", "bare", "-l", "layer4*"]) == 0
    text = b"".join(written)
    assert b"\x1b[2K" in text  # the bar was there
    assert b"\x1b[?25l" not in text  # a killed command leaves the cursor visible
    lines = lines_of(written)
    assert said in lines
    assert f"kernelviz-out/{what}.png" in lines


COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["kernels", "test_resnet"], "conv1.0: Conv2d 3 → 16, 3 × 3, stride 2; rgb, 16 of 16 kernels"),
        (["features", "test_resnet", "sample:grace_hopper", "-l", "conv1.0"],
         "conv1.0: Conv2d, 16 × 80 × 80; 16 of 16 maps"),
    ],
    ids=["kernels", "features"],
)  # fmt: skip
def test_no_color_writes_no_escape_bytes(monkeypatch, command, said):
    """With NO_COLOR a terminal gets whole lines and nothing else; elsewhere there is a bar in colour."""
    from kernelviz.cli.main import main

    arguments = [*command, "--weights", "random", "--style", "bare", "--force"]
    with terminal(monkeypatch, "stdout", "stderr", width=80) as written:
        assert main(arguments) == 0
    assert COLOUR.search(b"".join(written))
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(monkeypatch, "stdout", "stderr", width=80) as written:
        assert main(arguments) == 0
    assert b"\x1b" not in b"".join(written)
    assert said in lines_of(written)


def test_no_color_tells_a_download_in_one_line(monkeypatch):
    """What takes long is not silent without a bar: its name and size are said once."""
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal(monkeypatch, "stderr", width=80) as written, talk.progress(shown=True) as progress:
        progress("building resnet18d", 0, 0)
        for done in range(0, 46_900_000, 5_900_000):
            progress("downloading timm/resnet18d.ra2_in1k", done, 46_900_000, in_bytes=True)
    assert lines_of(written) == ["downloading timm/resnet18d.ra2_in1k (46.9 MB)", ""]


def frames_of(written):
    """Every state of the line with the bar."""
    text = b"".join(written).decode()
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", "", frame).strip() for frame in text.split("\x1b[2K")]


def test_a_download_shows_size_and_time_left(monkeypatch):
    """On 80 columns name and numbers are whole; while nothing is known no number stands there."""
    asked, name = "asking https://huggingface.co for timm/resnet18d.ra2_in1k", "downloading timm/resnet18d.ra2_in1k"
    with terminal(monkeypatch, "stderr", width=80) as written, talk.progress(shown=True) as progress:
        progress(asked, 0, 0, in_bytes=True)
        time.sleep(0.2)
        for done in range(0, 46_900_000, 5_900_000):
            progress(name, done, 46_900_000, in_bytes=True)
            time.sleep(0.1)
        progress("layer1.0.conv1", 3, 12)
        time.sleep(0.2)
    frames = frames_of(written)
    assert max(map(len, frames)) <= 80
    bar = r"\S? ?"
    assert [frame for frame in frames if re.fullmatch(rf"{bar}{re.escape(asked)} ━+", frame)]
    numbers = r"[\d.]+/46\.9 MB, \d+ s left"
    assert [frame for frame in frames if re.fullmatch(rf"{bar}{re.escape(name)} [━╸╺]+ {numbers}", frame)]
    assert [frame for frame in frames if re.fullmatch(rf"{bar}layer1\.0\.conv1 [━╸╺]+ 3/12", frame)]
    assert not [frame for frame in frames if "?" in frame]


def test_what_gives_way_is_the_name(monkeypatch):
    """Where a line is too short the numbers stay whole."""
    with terminal(monkeypatch, "stderr", width=60) as written, talk.progress(shown=True) as progress:
        progress("downloading " + "a" * 60, 5_900_000, 46_900_000, in_bytes=True)
        time.sleep(0.2)
    frames = frames_of(written)
    assert max(map(len, frames)) <= 60
    assert [frame for frame in frames if re.search(r"downloading a+… ━?[━╸╺]+ 5\.9/46\.9 MB$", frame)]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((5_860_732, 46_885_848, None), "5.9/46.9 MB"),
        ((5_860_732, 46_885_848, 20.2), "5.9/46.9 MB, 21 s left"),
        ((5_860_732, 2_400_000_000, 601), "5.9/2,400.0 MB, 11 min left"),
        ((5_860_732, 0, None), "5.9 MB"),
        ((46_885_848, 46_885_848, 0), "46.9/46.9 MB, 0 s left"),
    ],
)
def test_amounts(numbers, text):
    """Megabytes of a million bytes, and whole seconds or minutes."""
    assert talk.amount(*numbers) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((3, 1000, None), "3/1,000"), ((3, 1000, 59.2), "3/1,000, 60 s left"), ((1000, 1000, 0.0), "1,000/1,000")],
)
def test_counts(numbers, text):
    """Pieces done of all, with the time that is left as far as it is known."""
    assert talk.counted(*numbers) == text


def test_a_terminal_gets_paths_escaped(monkeypatch):
    """A path that would move the cursor is printed as escapes on a terminal; a document keeps its lines."""
    with terminal(monkeypatch, "stdout") as written:
        talk.print_result("a\x1b[2Jb")
        talk.print_result('{\n  "a": 1\n}')
    assert b"".join(written) == b'a\\x1b[2Jb\r\n{\r\n  "a": 1\r\n}\r\n'


def test_words_for_people_fit_any_encoding(monkeypatch):
    """Signs that a stream cannot encode are written in ASCII, other characters and control characters as escapes."""
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(buffer, encoding="ascii"))
    talk.print_message("3 → 16\x07模")
    assert buffer.getvalue() == b"3 -> 16\\x07\\u6a21\n"


def test_a_formula_is_written_where_its_brackets_cannot_be(monkeypatch):
    """On a terminal with an encoding of few characters the text of an explanation has floor( ) instead of brackets."""
    formula = "⌊(4 + 2·0 − 2) / 1⌋ + 1 = 3, 2.50×10⁻⁵"
    assert talk.encodable(formula, "utf-8") == formula
    assert talk.encodable(formula, "latin-1") == "floor((4 + 2*0 - 2) / 1) + 1 = 3, 2.50x10^-5"
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr("sys.stdout", stream)
    talk.print_text(formula)
    assert buffer.getvalue() == b"floor((4 + 2*0 - 2) / 1) + 1 = 3, 2.50x10^-5\n"


def test_streams_that_are_not_there_are_passed_over(monkeypatch):
    """A window program has neither stdout nor stderr; talking does nothing then."""
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    talk.print_result("a")
    talk.print_error(KernelvizError("a"))
    with talk.progress(shown=True) as progress:
        assert progress("a", 0, 0) is None


def test_results_reach_a_stream_without_bytes(monkeypatch):
    """A replaced stdout that takes only text gets text."""
    text = io.StringIO()
    monkeypatch.setattr("sys.stdout", text)
    talk.print_result("模型")
    assert text.getvalue() == "模型\n"


def test_an_error_is_three_lines(capsys):
    """What, why, what to do; a part that is empty takes no line."""
    talk.print_error(KernelvizError("What.", "Why.", "Hint."))
    talk.print_error(KernelvizError("What.", hint="Hint."))
    assert capsys.readouterr().err == "Error: What.\nWhy.\nHint.\nError: What.\nHint.\n"


def test_a_full_disk_behind_stdout_is_told(monkeypatch):
    """What the operating system says becomes an error of ours; a reader who left does not."""

    class Full(io.StringIO):
        def flush(self):
            raise self.error

    stream = Full()
    monkeypatch.setattr("sys.stdout", stream)
    stream.error = OSError(28, "No space left on device")
    with pytest.raises(WriteError) as caught:
        talk.print_result("a")
    assert caught.value.why == "No space left on device."
    stream.error = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(BrokenPipeError):
        talk.print_result("a")


def test_the_command_counts_what_it_downloads_in_megabytes(monkeypatch, tmp_path, tiny):
    """From the hub to the terminal the numbers stay bytes."""
    from loopback_hub import pointed_at, serving
    from safetensors.torch import save

    from kernelviz.cli.main import main

    content = save(tiny.module.state_dict())
    with serving() as hub, pointed_at(hub.endpoint, tmp_path / "cache"):
        hub.add("timm/test_resnet.r160_in1k", "model.safetensors", content)
        hub.mode = "slow"
        with terminal(monkeypatch, "stdout", "stderr", width=80) as written:
            assert main(["kernels", "test_resnet", "--style", "bare"]) == 0
    numbers = rf"downloading timm/test_resnet\.r160_in1k [━╸╺]+ [\d.]+/{len(content) / 1e6:.1f} MB, \d+ s left$"
    assert [frame for frame in frames_of(written) if re.search(numbers, frame)]


def test_the_width_is_that_of_the_terminal_that_is_printed_to(monkeypatch):
    """A terminal has its own width, a pipe has none whatever the other stream is, and ``COLUMNS`` overrules both."""
    with terminal(monkeypatch, "stderr", width=72):
        assert (talk.width(), talk.message_width()) == (72, 72)
        monkeypatch.delenv("COLUMNS")
        assert (talk.width(), talk.message_width()) == (None, 72)
    with terminal(monkeypatch, "stdout", width=72):
        monkeypatch.setenv("COLUMNS", "200")
        assert (talk.width(), talk.message_width()) == (200, 200)
