"""The entry point: one try around everything, imports too."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from kernelviz.errors import UsageError, WriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


INTERRUPTED = 130
RARELY = (20_000, 20, 20)
"""Imports make objects that stay: to look for garbage after every 700 of them takes a tenth of the time."""
COMMANDS = {  # in the order of the help; each with the functions of ``cli`` that it is made of
    "models": ("models.models",),
    "layers": ("layers.layers",),
    "kernels": ("kernels.kernels",),
    "features": ("features.features",),
    "explain": ("explain.conv", "explain.transpose", "explain.pool", "explain_layer.layer"),
    "match": ("match.match",),
    "filter": ("filter.filter_image",),
    "env": ("env.env",),
}

EXPLAIN = """Work a convolution or a pool out step by step, on your own numbers or in a model, and draw it.

For example: kernelviz explain conv --input 5 --kernel 3
"""


class _EndedError(BaseException):
    """A signal to end came; whoever is writing cleans up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run() -> NoReturn:
    """Run the command with this process' arguments and end the process."""
    code = 1
    gc.set_threshold(*RARELY)
    try:
        _catch_signals()
        code = main(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _tell_and_exit()  # all is written and cleaned up, and to take torch down takes longer than a second
    except OSError:
        # The reader of stdout has left, or there is no room: let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _EndedError as ended:
        _die(ended.number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is the interpreter's own tidying up
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    try:
        return _invoke(list(arguments))
    except BrokenPipeError:
        raise
    except Exception as problem:  # noqa: BLE001  (the one place where everything ends in a message)
        from kernelviz.cli.session import Report, failed

        error = _unprinted(problem) if isinstance(problem, OSError) else problem
        report = Report(_command(arguments))
        return failed(report, error, as_json="--json" in arguments, debug="--debug" in arguments)


def _unprinted(error: OSError) -> WriteError:
    """What goes wrong outside a command is that its help cannot be printed."""
    return WriteError(f"The help could not be printed: {error.strerror or error}.")


def _command(arguments: Sequence[str]) -> str | None:
    return next((word for word in arguments if word in COMMANDS), None)


def _invoke(arguments: list[str]) -> int:
    import typer

    try:
        code = _app(next(iter(arguments), None))(arguments, standalone_mode=False, prog_name="kernelviz")
    except typer.Abort:
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        if not arguments:
            return 2  # the help was printed
        context = getattr(error, "ctx", None)
        path = context.command_path if context else f"kernelviz {_command(arguments) or ''}".strip()
        hint = f"Type `{path} --help`."
        message = error.format_message().replace("\n", " ").replace("Value error, ", "")
        raise UsageError(message or "A command is missing.", hint=hint) from None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return int(code or 0)


def _app(asked: str | None = None) -> Callable[..., Any]:
    """The application; of the command that was ``asked`` for alone, where there is one of this name.

    To put all of them together takes longer than many a command itself.
    """
    import typer

    from kernelviz.cli.options import Version

    app = typer.Typer(
        name="kernelviz",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, functions in COMMANDS.items():
        if asked not in COMMANDS or asked == name:
            if len(functions) == 1:
                app.command(name)(_function(functions[0]))
            else:
                group = typer.Typer(no_args_is_help=True, help=EXPLAIN)
                for function in functions:
                    group.command()(_function(function))
                app.add_typer(group, name=name)

    def top(*, version: Version = False) -> None:
        """See what the convolutions of a network learned.

        For example: kernelviz kernels tf_efficientnet_lite0
        """
        del version

    top.__annotations__["version"] = Version
    app.callback()(top)
    return app


def _function(place: str) -> Callable[..., int]:
    """``explain.conv``: the function ``conv`` of the module ``kernelviz.cli.explain``."""
    module, _, name = place.partition(".")
    found: Callable[..., int] = getattr(import_module(f"kernelviz.cli.{module}"), name)
    return found


def _catch_signals() -> None:
    """Let Ctrl-C and requests to end unwind the stack; a signal that the caller has ignored stays ignored."""
    sys.unraisablehook = _send_again
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    for name in ("SIGTERM", "SIGHUP"):  # there is no SIGHUP on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _ended)


def _send_again(lost: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised while it collects garbage: a signal that came just then is sent once more."""
    if not issubclass(lost.exc_type, KeyboardInterrupt | _EndedError):
        sys.__unraisablehook__(lost)
        return
    number = lost.exc_value.number if isinstance(lost.exc_value, _EndedError) else signal.SIGINT
    later = threading.Timer(0.01, os.kill, (os.getpid(), number))
    later.daemon = True
    later.start()


def _interrupted(_: int, frame: FrameType | None) -> NoReturn:
    if _importing(frame):
        _tell_and_exit()
    raise KeyboardInterrupt


def _tell_and_exit() -> NoReturn:
    """End at once with a line about it; where even that would need an import, the line is all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tell = getattr(sys.modules.get("kernelviz.cli.session"), "interrupted", None)
    with contextlib.suppress(Exception):  # nobody may be there any more to be told
        if tell:
            tell(as_json="--json" in sys.argv)
        else:
            os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    if _importing(frame):
        _die(number)
    raise _EndedError(number)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: nothing is to be cleaned up then, and exceptions abort extension modules."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _die(number: int) -> NoReturn:
    """End of this signal, as if nobody had caught it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(1)  # not reached where the signal ends a process
