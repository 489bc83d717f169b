"""How the command begins and ends: exit codes, signals, closed pipes."""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys

import pytest
from PIL import Image

from kernelviz.cli import loading
from kernelviz.cli import main as entry
from kernelviz.cli.advice import IMAGE, MODEL, WITH_IMAGE
from kernelviz.cli.main import main
from kernelviz.files.recipes import read_recipe

RANDOM = ("-W", "error", "-m", "kernelviz", "kernels", "test_resnet", "--weights", "random")


EXPLAIN = ("-m", "kernelviz", "explain", "conv", "--input", "4", "--kernel", "2", "-o", "out", "-q")  # without torch


def check_files(directory, command="kernels"):
    """Every file is a whole picture of this command under its own name; how many there are."""
    files = list(directory.iterdir()) if directory.exists() else []
    for path in files:
        assert path.suffix == ".png", path
        Image.open(path).load()
        assert read_recipe(path)["command"] == command
    return len(files)


def wait_for(stream, word):
    """Read lines until one has the word."""
    for line in stream:
        if word in line:
            return
    raise AssertionError(f"{word} never came")


def test_a_missing_command_shows_the_help_and_is_wrong_usage(run):
    """The bare word is answered by the list of commands, with exit code 2."""
    result = run()
    assert result.code == 2
    assert "Commands" in result.out + result.err


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["nosuch"], "No such command 'nosuch'.", "kernelviz --help"),
        (["kernel", "x"], "Did you mean 'kernels'?", "kernelviz kernels x"),
        (["--nosuch"], "No such option: --nosuch", "kernelviz --help"),
        (["explain", "layer"], "Missing argument 'MODEL'.", "kernelviz explain layer --help"),
        (["kernels", "test_resnet", "more"], "unexpected extra argument", "kernelviz kernels --help"),
        (["kernels", "test_resnet", "--jsno"], "--json", "kernelviz kernels --help"),
        (["kernels", "test_resnet", "-o"], "'-o' requires an argument", "kernelviz kernels --help"),
        (["env", "--weights"], "No such option: --weights", "kernelviz env --help"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_where_help_is(run, arguments, said, hint):
    """Two lines and exit code 2; the option or command that was meant is named where it is near."""
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.complaint[0]
    assert result.complaint[1:] == [f"Type `{hint}`."]


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("conv", "kernelviz explain conv"),
        ("visualize", f"kernelviz kernels {MODEL}` or `kernelviz features {MODEL} {IMAGE}"),
        ("plot resnet18 my.jpg", "kernelviz kernels resnet18` or `kernelviz features resnet18 my.jpg"),
        ("photo.jpg", f"kernelviz features {MODEL} photo.jpg"),
        ("Conv2D(32,3)", "kernelviz explain 'Conv2D(32,3)'"),
        ("kernels", f"kernelviz kernels {MODEL}`; see `kernelviz kernels --help"),
        ("explain image", f"kernelviz explain image {IMAGE}`; see `kernelviz explain image --help"),
        ("features photo.jpg", f"kernelviz features {MODEL} photo.jpg`; see `kernelviz features --help"),
        ("features resnet18", f"kernelviz features resnet18 {IMAGE}`; see `kernelviz features --help"),
        ("features a.png b.png", f"kernelviz features {MODEL} a.png"),
        ("kernels photo.jpg", f"kernelviz kernels {MODEL}"),
        ("resnet18d", "kernelviz kernels resnet18d"),
        ("resnet18d photo.jpg", "kernelviz features resnet18d photo.jpg"),
        ("my_net.py:Net", "kernelviz kernels my_net.py:Net"),
        ("filter photo.jpg sobel-x laplacian", "kernelviz filter photo.jpg --kernel sobel-x,laplacian"),
        ("filter edge photo.jpg", "kernelviz filter photo.jpg --kernel edge"),
        ("filter sobel-x", f"kernelviz filter {IMAGE} --kernel sobel-x"),
        ("filter photo.jpg resnet18d:conv1.0:3", "kernelviz filter photo.jpg --from resnet18d:conv1.0:3"),
        ("kernels resnet18d photo.jpg", "kernelviz features resnet18d photo.jpg"),
        ("match resnet18d layer1.0.conv1", "kernelviz match resnet18d --layer layer1.0.conv1"),
        ("features photo.jpg resnet18d", "kernelviz features resnet18d photo.jpg"),
        ("explain conv 5 3", "kernelviz explain conv --input 5 --kernel 3"),
        ("explain layer resnet18d conv1 photo.jpg", "kernelviz explain layer resnet18d conv1 --image photo.jpg"),
    ],
)
def test_wrong_usage_is_answered_with_what_to_type(run, words, typed):
    """Where it is clear what was meant, the hint is a command that can be copied."""
    result = run(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.complaint[1:] == [f"Type `{typed}`."]


TAKING_IMAGES = [
    name
    for name, functions in entry.COMMANDS.items()
    if {"model", "image", "images"} & set(inspect.signature(entry._function(functions[0])).parameters) > {"model"}
]  # the commands whose arguments are a model and an image


def test_the_hint_for_an_image_without_a_model_is_whole(run):
    """Of every command whose arguments are a model and images, the hint has both, so that it can be typed."""
    assert {"features", "report", "shift"} <= set(TAKING_IMAGES) <= set(WITH_IMAGE)
    for name in TAKING_IMAGES:
        see = f"see `kernelviz {name} --help`."
        assert run(name, "photo.jpg").complaint[-1] == f"Type `kernelviz {name} {MODEL} photo.jpg`; {see}"
        assert run(name, "resnet18").complaint[-1] == f"Type `kernelviz {name} resnet18 {IMAGE}`; {see}"
        assert run(name).complaint[-1] == f"Type `kernelviz {name} {MODEL} {IMAGE}`; {see}"
        swapped = run(name, "photo.jpg", "resnet18").complaint
        assert swapped == ["Error: The model comes before the images.", f"Type `kernelviz {name} resnet18 photo.jpg`."]


def test_wrong_usage_with_json_is_a_document(run):
    """A program that asked for JSON gets JSON, even where its own options are wrong."""
    result = run("kernels", "--json")
    assert result.code == 2
    assert result.document["command"] == "kernels"
    assert result.document["errors"][0]["code"] == "usage"
    assert run("--json").document["command"] is None


def test_what_nobody_expected_is_a_message(run, monkeypatch):
    """An unknown fault ends in three lines and exit code 1, and only --debug shows where it came from."""

    def broken(*_):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(loading, "load", broken)
    result = run("kernels", "test_resnet")
    assert result.code == 1
    assert result.complaint == [
        "Error: Something unexpected went wrong: RuntimeError.",
        "first line",
        "Run it again with --debug to see where, and please report it.",
    ]
    told = run("kernels", "test_resnet", "--debug")
    assert (told.code, told.complaint) == (1, result.complaint)
    assert told.err.startswith("Traceback (most recent call last):")
    assert ", in broken" in told.err


def test_what_goes_wrong_before_a_command_begins_is_a_message(run, monkeypatch):
    """A fault while the command itself is put together ends as any other."""

    def broken(*_):
        raise ImportError("no typer")

    monkeypatch.setattr(entry, "_app", broken)
    result = run("kernels", "test_resnet", "--json")
    assert (result.code, result.complaint[1]) == (1, "no typer")
    assert result.document["errors"][0]["code"] == "failed"


def test_too_little_memory_is_said_plainly(run, monkeypatch):
    """Where memory ends, the message says so."""

    def large(*_):
        raise MemoryError

    monkeypatch.setattr(loading, "load", large)
    result = run("kernels", "test_resnet")
    assert result.code == 1
    assert result.complaint[0] == "Error: There is not enough memory for this."

    def too_large_for_the_device(*_):
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")

    monkeypatch.setattr(loading, "load", too_large_for_the_device)
    result = run("features", "test_resnet", "sample:grace_hopper")
    assert result.code == 1
    assert result.complaint[0] == "Error: The device has not enough memory for this."


def test_a_broken_pipe_is_nobodys_error(run, monkeypatch):
    """Where the reader of stdout has left, nothing is said at all."""

    def left(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(loading, "load", left)
    with pytest.raises((BrokenPipeError, SystemExit)):
        run("kernels", "test_resnet")


def test_ctrl_c_passes_through(monkeypatch, capsys):
    """An interrupt inside a command is neither a message nor an exit code of 1: it reaches the entry point."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["kernels", "test_resnet"])
    assert "Error" not in capsys.readouterr().err


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_ctrl_c_while_a_file_is_written_leaves_the_old_one(draw, monkeypatch, tmp_path, moment):
    """Whatever call of the writing is hit, the old picture stays and no temporary file does."""
    path = tmp_path / draw().paths[0]
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, ["write", "fsync", "replace"][moment], interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw("--scale", "layer")
    monkeypatch.undo()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_signals_unwind_the_stack_but_not_through_imports(tmp_path, monkeypatch):
    """In plain code a signal raises; while a module is being imported it must not, for extension modules abort then."""
    with pytest.raises(KeyboardInterrupt):
        entry._interrupted(signal.SIGINT, sys._getframe())
    with pytest.raises(entry._EndedError):
        entry._ended(signal.SIGTERM, sys._getframe())
    (tmp_path / "looks_at_itself.py").write_text("import sys\nframe = sys._getframe()\nfound = test(frame)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.test", entry._importing, raising=False)
    import looks_at_itself

    assert looks_at_itself.found is True
    assert entry._importing(sys._getframe()) is False


@pytest.mark.parametrize(
    ("number", "code", "module"),
    [
        (signal.SIGINT, 130, "typer"),
        (signal.SIGINT, 130, "torch._C"),
        pytest.param(signal.SIGINT, 130, "timm.models", marks=pytest.mark.slow),  # with --json below
        (signal.SIGTERM, -signal.SIGTERM, "torch._C"),
        (signal.SIGHUP, -signal.SIGHUP, "torch._C"),
    ],
)
def test_a_signal_during_imports_ends_the_command(start, tmp_path, number, code, module):
    """The imports take most of the time: a signal ends them at once, and nothing is made; Ctrl-C is said in a line."""
    process = start("-X", "importtime", "-m", "kernelviz", *RANDOM[4:])
    wait_for(process.stderr, module)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert "terminate" not in err
    assert ("Interrupted" in err) == (number == signal.SIGINT)
    assert not (tmp_path / "kernelviz-out").exists()


@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, -signal.SIGTERM)],  # the former: below
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_between_pictures_leaves_whole_files(start, tmp_path, number, code):
    """What is written before a signal is whole, and no temporary file stays."""
    process = start(*RANDOM, "--layer", "*")
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert (err.splitlines()[-1] == "Interrupted; files that were written are complete.") == (number == signal.SIGINT)
    assert 1 <= check_files(tmp_path / "kernelviz-out") < 15


@pytest.mark.parametrize("word", ["timm.models", "; sum, "])
def test_ctrl_c_with_json_is_one_document(start, tmp_path, word):
    """A program is told that it was interrupted and what was made before, also while modules are imported."""
    more = ("--json", "--layer", "*") if word == "; sum, " else ("--json",)
    with start("-X", "importtime", "-m", "kernelviz", *RANDOM[4:], *more) as process:
        wait_for(process.stderr, word)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(out)
    assert (document["command"], document["errors"][0]["code"]) == ("kernels", "interrupted")
    written = check_files(tmp_path / "kernelviz-out")
    assert len(document["outputs"]) in {written, written - 1}
    assert (written > 0) == (word == "; sum, ")
    assert "Interrupted; files that were written are complete." in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_help_without_room_is_one_line(fresh):
    """Where the help cannot be printed, that is all that is said."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = fresh("-m", "kernelviz", "kernels", "--help", stdout=full)
    assert (result.code, result.err) == (1, "Error: The help could not be printed: No space left on device.\n")


def test_stdout_into_a_closed_pipe_ends_quietly(start, tmp_path):
    """``| head -1`` takes one line and leaves: no traceback, no message, whole files."""
    with start(*RANDOM, "--layer", "*") as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert "rror" not in err
    assert "Traceback" not in err
    assert check_files(tmp_path / "kernelviz-out") >= 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_stdout_without_room_is_an_error(fresh, tmp_path):
    """Where the results cannot be printed the exit code is 1, in words; the pictures are made."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = fresh(*EXPLAIN, "--json", stdout=full)
    assert result.code == 1
    assert result.complaint[0] == "Error: The results could not be printed."
    assert "Traceback" not in result.err
    assert check_files(tmp_path / "out", "explain") == 1


BINDINGS = """
import atexit, ctypes, sys, threading, time, types
from kernelviz.cli.main import run

sys.modules["triton"] = types.ModuleType("triton")
ctypes.pythonapi.Py_AtExit(ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p))
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
sys.argv = ["kernelviz", "--version"]
run()
"""


def test_bindings_of_triton_do_not_look_for_leaks(fresh):
    """Where triton is imported, a command exits before nanobind lists its types, after threads and ``atexit``."""
    result = fresh("-c", BINDINGS)
    assert (result.code, result.err) == (0, "")
    *lines, last = result.out.splitlines()
    assert "thread" in lines
    assert last == "registered"


def test_closed_streams_are_no_reason_to_fail(fresh, tmp_path):
    """Without stdout and stderr the pictures are made all the same, and nothing is printed into them."""
    code = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    result = fresh("-c", code, *EXPLAIN)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert check_files(tmp_path / "out", "explain") == 1


DROPPED = """
import os, signal, sys, time
from kernelviz.cli import main as command

class Trap:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):
            pass

def work(arguments):
    trap = Trap()
    del trap
    time.sleep(20)
    return 0

command.main = work
command.run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_that_comes_while_garbage_is_collected_is_not_lost(fresh, number):
    """Python drops exceptions of finalizers, so the signal is sent once more; nothing of it is shown."""
    result = fresh("-c", DROPPED, int(number))
    assert result.code == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in result.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
def test_settings_of_matplotlib_have_no_effect(fresh, tmp_path):
    """An unknown backend and files of settings that never end do not keep a page from being drawn."""
    os.mkfifo(tmp_path / "matplotlibrc")
    result = fresh("-W", "error", *EXPLAIN, environment={"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "/dev/zero"})
    assert (result.code, result.err) == (0, "")
    Image.open(tmp_path / result.out.strip()).load()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        pytest.param("TORCH_LOGS", "nonsense", "The package torch cannot be imported.", marks=pytest.mark.slow),
        pytest.param("TIMM_USE_SCIPY_INTERP", "", "The package timm cannot be imported.", marks=pytest.mark.slow),
        ("PYTORCH_ALLOC_CONF", "nonsense", "The environment variable PYTORCH_ALLOC_CONF is malformed"),
        pytest.param(
            "TORCH_SYMMMEM", "", "The environment variable TORCH_SYMMMEM is malformed", marks=pytest.mark.slow
        ),
    ],
)
def test_a_variable_with_which_a_package_cannot_be_imported_is_named(fresh, name, value, what):
    """Three lines and exit code 1, also for those with which torch would abort the process."""
    result = fresh("-m", "kernelviz", "env", environment={name: value})
    assert result.code == 1
    assert result.err.startswith(f"Error: {what}")
    assert len(result.complaint) == 3
    assert name in result.err


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", marks=pytest.mark.slow),
        pytest.param("expandable_segments:True", marks=pytest.mark.slow),
        pytest.param("max_split_size_mb:64, roundup_power2_divisions:[256:1,>:2],", marks=pytest.mark.slow),
    ],
)
def test_sound_settings_of_the_allocator_are_accepted(fresh, value):
    """What torch takes is not rejected."""
    assert fresh("-m", "kernelviz", "env", environment={"PYTORCH_ALLOC_CONF": value}).code == 0


def test_a_file_of_the_current_directory_is_not_imported(fresh, tmp_path):
    """``python -m kernelviz`` in a folder with a ``typer.py`` runs nothing of it, as the command does."""
    for name in ("typer", "rich", "numpy", "fsspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it ran')")
    result = fresh("-m", "kernelviz", *EXPLAIN[2:])
    assert result.code == 0, result.err
    assert "it ran" not in result.out + result.err


def test_a_variable_of_shell_completion_outside_of_one_is_named(fresh):
    """What only the scripts of shells set is wrong usage if the rest of it is missing."""
    result = fresh("-m", "kernelviz", "env", environment={"_KERNELVIZ_COMPLETE": "complete_bash"})
    assert result.code == 2
    assert result.err.startswith("Error: The environment variable _KERNELVIZ_COMPLETE is set.")
