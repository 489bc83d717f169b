"""What a command prints: results to stdout, everything for people to stderr."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from kernelviz.errors import WriteError
from kernelviz.wording import visible

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.errors import KernelvizError


_BAR = 16  # signs: a name of 36, the numbers and the time left stand beside it on a line of 80
_MINUTES = 99  # seconds from which on minutes are told


class Progress(Protocol):
    """What is told of work that takes long: what it is, and how much of it is done; 0 of 0 where that is not known."""

    def __call__(self, label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
        """``in_bytes`` says that the numbers are bytes."""


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


def with_notes(headline: str, notes: Iterable[str], *, known: Iterable[str] = ()) -> tuple[str, ...]:
    """A line and its notes under it, without those that it says itself or that are ``known`` already."""
    said = {note.casefold() for note in known}
    return (headline, *(f"  {note}" for note in notes if note not in headline and note.casefold() not in said))


def complain(error: KernelvizError) -> None:
    """Print what happened, why, and what to do, a line each."""
    say(f"Error: {error.what}", *(line for part in (error.why, error.hint) if part for line in part.splitlines()))


def _nothing(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
    del label, done, total, in_bytes


def _downloads_alone() -> Progress:
    """Says each download once, with its size."""
    told: set[str] = set()

    def show(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
        del done
        if in_bytes and total and label not in told:
            told.add(label)
            say(f"{label} ({amount(total, 0)})")

    return show


def amount(done: int, total: int, left: float | None = None) -> str:
    """How many bytes of how many have come, and in how many seconds the rest will have."""
    if not total:
        return f"{done / 1e6:,.1f} MB"
    text = f"{done / 1e6:,.1f}/{total / 1e6:,.1f} MB"
    return text + left_text(left)


def counted(done: int, total: int, left: float | None = None) -> str:
    """How many pieces of how many are done, and in how many seconds the rest will be."""
    return f"{done:,}/{total:,}" + (left_text(left) if done < total else "")


def left_text(left: float | None) -> str:
    """``, 12 s left``; empty where that is not known."""
    if left is None:
        return ""
    return f", {math.ceil(left)} s left" if left <= _MINUTES else f", {math.ceil(left / 60):,} min left"


@contextmanager
def progress(*, shown: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, elsewhere nothing. It goes away when it is done.

    With NO_COLOR no escape byte is written, so there is no bar: a download is told in one line.
    """
    if not (shown and sys.stderr is not None and sys.stderr.isatty()):
        yield _nothing
        return
    if os.environ.get("NO_COLOR"):
        yield _downloads_alone()
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task
    from rich.progress import Progress as Bar
    from rich.table import Column
    from rich.text import Text

    class Terminal(Console):
        """A terminal whose cursor is never hidden, so that a killed command leaves nothing to restore."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: FBT001, FBT002  (rich's own)
            del show
            return False

    class Label(ProgressColumn):
        """What is being done: what gives way where the line is full."""

        def render(self, task: Task) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    class Numbers(ProgressColumn):
        """How much of it is done, as far as that is known."""

        def render(self, task: Task) -> Text:
            done, total = int(task.completed), int(task.total or 0)
            if task.fields["in_bytes"]:
                return Text(amount(done, total, task.time_remaining) if done or total else "")
            return Text(counted(done, total, task.time_remaining) if total else "")

    narrow, whole = Column(no_wrap=False), Column(no_wrap=True)
    columns = (SpinnerColumn(), Label(narrow), BarColumn(_BAR), Numbers(whole))
    # Without soft wrapping, what is said beside the bar would be broken into lines, names too.
    with Bar(*columns, console=Terminal(stderr=True, soft_wrap=True), transient=True) as bar:

        def show(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
            text = visible(label)
            if not bar.tasks or bar.tasks[0].description != text:  # another piece of work has a clock of its own
                for task in bar.task_ids:
                    bar.remove_task(task)
                bar.add_task(text, total=None, in_bytes=in_bytes)
            bar.update(bar.task_ids[0], completed=done, total=total or None)

        yield show
