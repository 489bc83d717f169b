"""Every command explains itself."""

from __future__ import annotations

import pytest
import typer.main

from kernelviz import __version__
from kernelviz.cli.main import COMMANDS, _app

UNLOADED = """
import sys
from kernelviz.cli.main import main
code = 0
try:
    code = main(sys.argv[1:])
finally:
    heavy = {"torch", "timm", "matplotlib", "numpy", "PIL", "zlib_ng"} & set(sys.modules)
    assert not heavy, heavy
sys.exit(code)
"""


def commands():
    """Each command by name, as Typer builds it."""
    return typer.main.get_command(_app()).commands


def test_the_list_of_commands_is_that_of_the_application():
    """The names that errors are looked up by are those of the commands there are."""
    assert set(COMMANDS) == set(commands())


def test_commands_are_in_the_order_of_their_use(run):
    """The help begins with explain, which needs no model, and ends with env."""
    text = run("--help").out
    places = [text.index(f" {name} ", text.index("Commands")) for name in COMMANDS]
    assert places == sorted(places)
    assert (next(iter(COMMANDS)), list(COMMANDS)[-1]) == ("explain", "env")


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "top")
def test_each_help_has_an_example_in_one_line(run, monkeypatch, words):
    """An example can be copied out of every help, at the usual width of a terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    result = run(*words, "--help")
    assert (result.code, result.err) == (0, "")
    examples = [line.strip() for line in result.out.splitlines() if "For example: " in line]
    assert len(examples) == 1
    assert examples[0].startswith(f"For example: kernelviz {words[0] if words else ''}".rstrip())
    assert examples[0].count("'") % 2 == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_documented_and_shown(run, monkeypatch, name):
    """No option is without a sentence, and none is missing in the help."""
    monkeypatch.setenv("COLUMNS", "200")
    text = run(name, "--help").out
    for parameter in commands()[name].params:
        assert parameter.help, parameter.name
        assert all(option in text for option in parameter.opts if option.startswith("-"))
        assert parameter.help[:20] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_word_for_help_works(run, name):
    """``-h`` is ``--help``."""
    assert run(name, "-h").out == run(name, "--help").out


def test_the_example_of_kernels_works(run):
    """What the help tells to type draws pictures."""
    result = run("kernels", "tf_efficientnet_lite0", "-l", "blocks.2.*conv_dw")
    assert result.code == 0
    assert [path.name for path in result.paths] == [
        f"tf_efficientnet_lite0.bundled-blocks.2.{block}.conv_dw-kernels-sum.png" for block in range(2)
    ]


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["kernels", "--help"], 0),
        (["env", "--help"], 0),
        (["kernels"], 2),
        (["kernels", "test_resnet", "--nosuch"], 2),
        (["kernels", "test_resnet", "--view", "nosuch"], 2),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_help_and_wrong_usage_load_nothing_heavy(fresh, arguments, code):
    """Help, the version and what is wrong in the options come at once: neither torch nor NumPy is imported."""
    result = fresh("-W", "error", "-c", UNLOADED, *arguments)
    assert result.code == code, result.err
    assert "AssertionError" not in result.err
    if arguments == ["--version"]:
        assert result.out == f"kernelviz {__version__}\n"


@pytest.mark.parametrize("words", [("--help",), ("explain", "conv", "--help")], ids=" ".join)
def test_help_without_colour_has_no_escapes(run, monkeypatch, words):
    """With NO_COLOR the help is plain text, without rich, which would print bold and dim."""
    monkeypatch.setenv("NO_COLOR", "1")
    result = run(*words)
    assert result.code == 0
    assert "╭" not in result.out


@pytest.mark.sampled
@pytest.mark.parametrize("size", ["0", "1", "99999999999999999999", "²", "x"])
def test_an_impossible_size_of_the_terminal_has_no_effect(fresh, size):
    """Help is whole if a variable names a terminal that is too narrow to print on, or too wide for the memory."""
    result = fresh("-m", "kernelviz", "--help", environment={"COLUMNS": size, "TERMINAL_WIDTH": size})
    assert (result.code, result.err) == (0, "")
    assert "kernels" in result.out
    assert len(result.out) < 10_000
