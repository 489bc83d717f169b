"""The entry point: one try around everything, imports too."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from kernelviz.drawing import ignore_settings
from kernelviz.errors import UsageError, WriteError
from kernelviz.storage.uris import check_users, without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


INTERRUPTED = 130
_NARROWEST, _DIGITS = 10, 4  # columns, and how many digits their number may have
_COMPLETION = "_KERNELVIZ_COMPLETE"
RARELY = (20_000, 20, 20)
"""Thresholds of the garbage collector, whose default takes a tenth of the time."""
COMMANDS = {  # in the order of the help, each with its functions in ``cli``
    "explain": (
        "explain.conv",
        "explain.transpose",
        "explain.pool",
        "explain_layer.layer",
        "explain_image.image",
        "explain_sharing.sharing",
        "explain_chain.chain",
        "explain_cost.cost",
        "explain_call.call",
    ),
    "kernels": ("kernels.kernels",),
    "features": ("features.features",),
    "patches": ("patches.patches",),
    "report": ("report.report",),
    "shift": ("shift.shift",),
    "expand": ("expand.expand",),
    "field": ("field.field",),
    "compare": ("compare.compare",),
    "filter": ("filter.filter_image",),
    "match": ("match.match",),
    "training": ("training.training",),
    "layers": ("layers.layers",),
    "models": ("models.models",),
    "env": ("env.env",),
}

EXPLAIN = """Work out a convolution or a pooling step by step, on your own numbers or in a model.

Also a layer as Keras or PyTorch writes it: instead of a command give the line, in quotes.

For example: kernelviz explain 'Conv2D(32, 3, input_shape=(28, 28, 1))'
"""


class _EndedError(BaseException):
    """The process received a signal to terminate; code that is writing a file cleans up while the stack unwinds."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run() -> NoReturn:
    """Run the command with this process' arguments and end the process.

    What is imported before a command begins stays: the garbage collector need not search it, nor anything at the end,
    when the memory is returned anyway.
    """
    code = 1
    gc.set_threshold(*RARELY)
    gc.disable()  # until ``run_command``
    try:
        ignore_settings()
        _ignore_impossible_sizes()
        _catch_signals()
        code = main(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _print_and_exit()  # files are cleaned up already, and torch's own shutdown takes over a second
    except OSError:
        # The reader of stdout has left, or the disk is full: discard the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _EndedError as ended:
        _die(ended.number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the interpreter's own shutdown is left
    gc.freeze()
    if "triton" in sys.modules:
        _exit_before_bindings(code)
    sys.exit(code)


def _exit_before_bindings(code: int) -> NoReturn:
    """Exit after threads and what is registered with ``atexit``, without the interpreter's own shutdown.

    There nanobind, with which triton is bound, prints a list of all its types that the collector has not found; the
    collector does not search what is frozen. timm imports triton.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be closed
            stream.flush()
    os._exit(code)


def _ignore_impossible_sizes() -> None:
    """Forget sizes of the terminal that are no numbers, or with which help would be empty or fill the memory."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        size = os.environ.get(name, "")
        if not (size.isascii() and size.isdecimal() and len(size) <= _DIGITS and int(size) >= _NARROWEST):
            os.environ.pop(name, None)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    typed, arguments = arguments, [without_credentials(each) for each in arguments]
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of caches that it replaces by others
    try:
        check_users(typed)
        requested = arguments[0] if arguments else _completed_command()
        code = _app(requested)(arguments, standalone_mode=False, prog_name="kernelviz")
    except BrokenPipeError:
        raise
    except Exception as problem:  # noqa: BLE001  (every error ends in a message)
        return _fail(problem, arguments)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return int(code or 0)


def _completed_command() -> str | None:
    """The command in the line that a shell completes, if there is a further word; in bash or in the other shells."""
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = f"{line}|".split(maxsplit=2)  # the mark is a word of its own behind a space
    return words[1] if _COMPLETION in os.environ and len(words) > 2 else None


def _fail(problem: Exception, arguments: list[str]) -> int:
    """End with the message of an error outside of a command: wrong usage, or help that could not be printed."""
    import typer

    from kernelviz.cli.advice import advice_for
    from kernelviz.cli.session import Report, fail

    if isinstance(problem, typer.Abort):
        raise KeyboardInterrupt from None
    command = next((word for word in arguments if word in COMMANDS), None)
    if isinstance(problem, typer.TyperException):
        if not arguments:
            return 2  # the help was printed
        context = getattr(problem, "ctx", None)
        path = context.command_path if context else f"kernelviz {command or ''}".strip()
        message = problem.format_message().replace("\n", " ").replace("Value error, ", "")
        advice = advice_for(arguments, message) or f"Type `{path} --help`."
        problem = UsageError(message or "A command is missing.", hint=advice)
    elif _COMPLETION in os.environ:
        problem = UsageError(
            f"The environment variable {_COMPLETION} is set.", "It is for shell completion.", "Unset it."
        )
    elif isinstance(problem, OSError):
        problem = WriteError(f"The help could not be printed: {problem.strerror or problem}.")
    return fail(Report(command, "--json" in arguments), problem, debug="--debug" in arguments)


def _app(requested: str | None = None) -> Callable[..., Any]:
    """The Typer application; with ``requested`` it contains that command alone, if there is one of this name.

    Building all of them takes longer than many a command itself.
    """
    import typer
    from typer.core import TyperGroup

    from kernelviz.cli.options import Version

    class InOrder(TyperGroup):
        """Commands in the order in which they are used; Typer would list groups last."""

        def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
            """The names of the commands."""
            del ctx
            return [name for name in COMMANDS if name in self.commands]

    # With NO_COLOR, rich alone would still print bold and dim.
    plain: dict[str, Any] = {"rich_markup_mode": None} if os.environ.get("NO_COLOR") else {}
    app = typer.Typer(
        name="kernelviz",
        cls=InOrder,
        **plain,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, functions in COMMANDS.items():
        if requested not in COMMANDS or requested == name:
            if len(functions) == 1:
                app.command(name)(_function(functions[0]))
            else:
                from kernelviz.cli.explain_call import CallGroup

                group = typer.Typer(cls=CallGroup, no_args_is_help=True, help=EXPLAIN, **plain)
                for function in functions:
                    group.command()(_function(function))
                app.add_typer(group, name=name)

    def top(*, version: Version = False) -> None:
        """See what a convolutional network learned: its kernels, its feature maps, its arithmetic.

        For example: kernelviz kernels tf_efficientnet_lite0
        """
        del version

    top.__annotations__["version"] = Version
    app.callback()(top)
    return app


def _function(path: str) -> Callable[..., int]:
    """``explain.conv``: the function ``conv`` of the module ``kernelviz.cli.explain``."""
    module, _, name = path.partition(".")
    found: Callable[..., int] = getattr(import_module(f"kernelviz.cli.{module}"), name)
    return found


def _catch_signals() -> None:
    """Let Ctrl-C and termination requests unwind the stack; a signal that the parent ignores stays ignored."""
    sys.unraisablehook = _send_again
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    for name in ("SIGTERM", "SIGHUP"):  # there is no SIGHUP on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _ended)


def _send_again(lost: sys.UnraisableHookArgs) -> None:
    """Python drops exceptions raised during garbage collection: a signal that arrived just then is sent again."""
    if not issubclass(lost.exc_type, KeyboardInterrupt | _EndedError):
        sys.__unraisablehook__(lost)
        return
    number = lost.exc_value.number if isinstance(lost.exc_value, _EndedError) else signal.SIGINT
    later = threading.Timer(0.01, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()


def _interrupted(_: int, frame: FrameType | None) -> NoReturn:
    if _importing(frame):
        _print_and_exit()
    raise KeyboardInterrupt


def _print_and_exit() -> NoReturn:
    """Print a line and exit immediately; if even that would need an import, write the line directly."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report = getattr(sys.modules.get("kernelviz.cli.session"), "print_interruption", None)
    with contextlib.suppress(Exception):  # stdout and stderr may be closed
        if report:
            report(as_json="--json" in sys.argv)
        else:
            os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    if _importing(frame):
        _die(number)
    raise _EndedError(number)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: there is nothing to clean up then, and exceptions abort extension modules."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _die(number: int) -> NoReturn:
    """Die of this signal, as if it had not been caught."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(1)  # not reached if the signal terminates the process
