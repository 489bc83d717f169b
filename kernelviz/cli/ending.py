"""How a command ends: an error becomes a message, a JSON document and an exit code, here and nowhere else."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from kernelviz.cli import talk
from kernelviz.documents import Report, document, json_text
from kernelviz.errors import CancelledError, KernelvizError, NoWeightsError, UsageError, WriteError

if TYPE_CHECKING:
    from collections.abc import Callable


DONE, FAILED, WRONG_USAGE, SOME_FAILED, NO_WEIGHTS = 0, 1, 2, 3, 4


def exit_code(error: KernelvizError) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, UsageError):
        return WRONG_USAGE
    return NO_WEIGHTS if isinstance(error, NoWeightsError) else FAILED


def failed(report: Report, error: Exception, *, as_json: bool, debug: bool) -> int:
    """Say what went wrong, keep it in the report, print the report where asked, and give the exit code.

    Raises:
        BrokenPipeError: that is what went wrong, the reader of stdout has left: there is nobody to tell.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    known = error if isinstance(error, KernelvizError) else _unexpected(error)
    if debug:
        talk.say(*"".join(traceback.format_exception(error)).splitlines())
    talk.complain(known)
    report.add_error(known)
    if as_json:
        with contextlib.suppress(WriteError):  # said already, or will be of no use to say
            talk.result(json_text(document(report)))
    return exit_code(known)


def interrupted(*, as_json: bool) -> None:
    """Say that the user has ended the run, and print what was done until then where asked; imports nothing more."""
    error = CancelledError("Interrupted; what was written before is whole.")
    talk.say(error.what)
    if as_json:
        report = Report.latest or Report(None)
        report.add_error(error)
        talk.result(json_text(document(report)))


def attempt(report: Report, culprit: str, of: int, work: Callable[[], object]) -> None:
    """Do one of several pieces of work: where it fails it is named and kept, and the others go on.

    Raises:
        KernelvizError: it was the only one.
    """
    try:
        work()
    except KernelvizError as error:
        if of == 1:
            raise
        talk.say(f"{culprit}: {error.what}")
        report.add_error(error, culprit)


def outcome(report: Report) -> int:
    """The exit code of a run that came to its end."""
    if not report.errors:
        return DONE
    return SOME_FAILED if report.outputs else FAILED


def _unexpected(error: Exception) -> KernelvizError:
    if isinstance(error, MemoryError):
        return KernelvizError("There is not enough memory for this.", hint="Ask for fewer layers, or a smaller --zoom.")
    return KernelvizError(
        f"Something unexpected went wrong: {type(error).__name__}.",
        str(error).split("\n", maxsplit=1)[0],
        "Run it again with --debug to see where, and please report it.",
    )
