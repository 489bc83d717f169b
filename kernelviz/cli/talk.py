"""What a command says: results to stdout, everything for people to stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from kernelviz.drawing.wording import visible
from kernelviz.errors import WriteError

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.errors import KernelvizError

Progress: TypeAlias = Callable[[str, int, int], None]


def result(line: str | Path) -> None:
    """Print one result on stdout: raw in a pipe, escaped on a terminal.

    Raises:
        BrokenPipeError: the reader has left.
        WriteError: stdout takes no more for another reason.
    """
    if sys.stdout is None:
        return
    try:
        _print(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = "The results could not be printed."
        raise WriteError(what, f"{error.strerror or error}.", "Give stdout another place; files are kept.") from None


def _print(line: str | Path) -> None:
    text = str(line)
    if sys.stdout.isatty():
        text = "\n".join(map(visible, text.split("\n"))) if isinstance(line, str) else visible(text)
        print(text, flush=True)
        return
    data = os.fsencode(text + "\n")
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:
        sys.stdout.write(data.decode(errors="replace"))
    else:
        buffer.write(data)
    sys.stdout.flush()


def say(*lines: str) -> None:
    """Print lines for people on stderr; what is not printable is escaped."""
    if sys.stderr is None:
        return
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"  # none while a progress bar stands before stderr
    for line in lines:
        print(visible(line).encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)


def complain(error: KernelvizError) -> None:
    """Print what happened, why, and what to do, a line each."""
    say(f"Error: {error.what}", *(line for part in (error.why, error.hint) if part for line in part.splitlines()))


def _nothing(label: str, done: int, total: int) -> None:
    del label, done, total


@contextmanager
def progress(*, shown: bool) -> Iterator[Progress]:
    """A progress bar on a terminal that may be decorated; elsewhere nothing. It goes away when it is done."""
    if not (shown and sys.stderr is not None and sys.stderr.isatty()) or os.environ.get("NO_COLOR"):
        yield _nothing
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    class Terminal(Console):
        """A terminal whose cursor is never hidden, so that a killed command leaves nothing to restore."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: FBT001, FBT002  (rich's own)
            del show
            return False

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Without soft wrapping, what is said beside the bar would be broken into lines, names too.
    with Bar(*columns, console=Terminal(stderr=True, soft_wrap=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda label, done, total: bar.update(
            task, description=escape(visible(label)), completed=done, total=total or None
        )
