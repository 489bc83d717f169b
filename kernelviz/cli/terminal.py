"""What a command prints: results to stdout, everything for people to stderr."""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Protocol, TextIO

from kernelviz.errors import WriteError
from kernelviz.wording import folded, visible

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.errors import KernelvizError


_BAR = 16  # characters: leaves room for a name of 36, the numbers and the time left on a line of 80
_USUAL, _NARROWEST = 80, 40  # characters: widths of tables
_MINUTES = 99  # seconds from which on the time left is given in minutes


class Progress(Protocol):
    """Called with the progress of long work: its label, how much is done, and of how much (0 if unknown)."""

    def __call__(self, label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
        """With ``in_bytes`` the numbers are bytes, else pieces of work."""


_results: TextIO | None = None
_beside = False


def results() -> TextIO | None:
    """Where results are printed.

    While stdout is kept from others on a terminal, they go through stderr, which a progress bar prints above itself.
    """
    if _beside and _results is not None and _results.isatty() and sys.stderr is not None and sys.stderr.isatty():
        return sys.stderr
    return _results or sys.stdout


@contextmanager
def results_apart() -> Iterator[None]:
    """Keep stdout for results, unless it is a terminal: what the code of a network prints goes to stderr."""
    global _results  # noqa: PLW0603  (as sys.stdout itself)
    if sys.stdout is None or sys.stderr is None or sys.stdout.isatty() or _results:
        yield
        return
    _results = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


class _Nowhere(io.TextIOBase):
    """Takes what is printed, and drops it."""

    def write(self, text: str, /) -> int:
        """Drop a text."""
        return len(text)


@contextmanager
def foreign_output(*, shown: bool) -> Iterator[None]:
    """Keep stdout for results alone: what other programs print there is dropped or, if ``shown``, goes to stderr."""
    global _results, _beside  # noqa: PLW0603
    before, _results = _results, results()
    _beside = True
    try:
        with redirect_stdout(sys.stderr if shown and sys.stderr is not None else _Nowhere()):
            yield
    finally:
        _results, _beside = before, False


def print_result(line: str | Path) -> None:
    """Print one result on stdout: raw in a pipe, escaped on a terminal.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
        WriteError: stdout cannot be written for another reason.
    """
    out = results()
    if out is None:
        return
    try:
        _print(line, out)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = "The results could not be printed."
        raise WriteError(
            what, f"{error.strerror or error}.", "Redirect stdout elsewhere; files that were written are kept."
        ) from None


def print_text(*lines: str) -> None:
    """Print lines for people on stdout; what is not printable is escaped, in a pipe too."""
    out = results()
    encoding = getattr(out, "encoding", None) if out and out.isatty() else None
    encoding = encoding or sys.getfilesystemencoding()
    print_result("\n".join(encodable(visible(line), encoding) for line in lines))


def width(out: TextIO | None = None) -> int | None:
    """The width of tables and of text: ``COLUMNS``, else that of the terminal; None in a pipe or a file, where it is free.

    Args:
        out: where they are printed; by default where results are.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and len(columns) < 6 and int(columns):
        return max(_NARROWEST, int(columns))
    out = out or results()
    if out is None or not out.isatty():
        return None
    try:
        found = os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):  # a stream of Python alone
        found = 0
    return max(_NARROWEST, found or _USUAL)


def message_width() -> int | None:
    """The width of what is printed for people on stderr, as that of ``width``."""
    return width(sys.stderr)


def fold(lines: Iterable[str]) -> list[str]:
    """Lines of text for stdout, the long ones broken at its width."""
    return _folded(lines, width())


def fold_message(lines: Iterable[str]) -> list[str]:
    """Lines of text for people on stderr, the long ones broken at its width."""
    return _folded(lines, message_width())


def _folded(lines: Iterable[str], most: int | None) -> list[str]:
    return list(lines) if most is None else [part for line in lines for part in folded(line, most)]


_PLAIN = str.maketrans({
    "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "−": "-", "–": "-", "×": "x", "·": "*", "∗": "*", "Σ": "sum",
    "∞": "inf", "…": "...", "′": "'", "’": "'", "“": '"', "”": '"', "→": "->", "≤": "<=", "≥": ">=", "₀": "0", "₁": "1",
    "⁻": "-", "⁰": "0", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9",
})  # fmt: skip
_POWER = re.compile(r"10(?=[⁻⁰¹²³⁴-⁹])")


def encodable(text: str, encoding: str) -> str:
    """A line as this encoding can write it: signs as ASCII if one of them has no code, other characters escaped."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = _POWER.sub("10^", text).translate(_PLAIN)
        return plain.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _print(line: str | Path, out: TextIO) -> None:
    text = str(line)
    if out.isatty():
        text = "\n".join(map(visible, text.split("\n"))) if isinstance(line, str) else visible(text)
        print(text, file=out, flush=True)
        return
    data = os.fsencode(text + "\n")
    buffer = getattr(out, "buffer", None)
    if buffer is None:
        out.write(data.decode(errors="replace"))
    else:
        buffer.write(data)
    out.flush()


def print_message(*lines: str) -> None:
    """Print lines for people on stderr; what is not printable is escaped."""
    if sys.stderr is None:
        return
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"  # there is none while a progress bar wraps stderr
    for line in lines:
        print(encodable(visible(line), encoding), file=sys.stderr, flush=True)


def with_notes(headline: str, notes: Iterable[str], *, known: Iterable[str] = ()) -> tuple[str, ...]:
    """A line with its notes below it, without those that it contains or that are ``known`` already."""
    printed = {note.casefold() for note in known}
    return (headline, *(f"  {note}" for note in notes if note not in headline and note.casefold() not in printed))


def print_error(error: KernelvizError) -> None:
    """Print what happened, why, and what to do, one per line."""
    print_message(
        f"Error: {error.what}", *(line for part in (error.why, error.hint) if part for line in part.splitlines())
    )


def _nothing(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
    del label, done, total, in_bytes


def _downloads_alone() -> Progress:
    """Print each download once, with its size."""
    printed: set[str] = set()

    def show(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
        del done
        if in_bytes and total and label not in printed:
            printed.add(label)
            print_message(f"{label} ({amount(total, 0)})")

    return show


def amount(done: int, total: int, left: float | None = None) -> str:
    """Megabytes done, of how many, and the time left."""
    if not total:
        return f"{done / 1e6:,.1f} MB"
    text = f"{done / 1e6:,.1f}/{total / 1e6:,.1f} MB"
    return text + left_text(left)


def counted(done: int, total: int, left: float | None = None) -> str:
    """Pieces done, of how many, and the time left."""
    return f"{done:,}/{total:,}" + (left_text(left) if done < total else "")


def left_text(left: float | None) -> str:
    """``, 12 s left``; empty if unknown."""
    if left is None:
        return ""
    return f", {math.ceil(left)} s left" if left <= _MINUTES else f", {math.ceil(left / 60):,} min left"


@contextmanager
def progress(*, shown: bool) -> Iterator[Progress]:
    """A progress bar on a terminal, which disappears at the end; elsewhere nothing.

    With NO_COLOR no escape byte is written, so there is no bar: a download is printed as one line.
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
        """What is being done; shortened if the line is full."""

        def render(self, task: Task) -> Text:
            return Text(task.description, no_wrap=True, overflow="ellipsis")

    class Numbers(ProgressColumn):
        """How much of it is done, if known."""

        def render(self, task: Task) -> Text:
            done, total = int(task.completed), int(task.total or 0)
            if task.fields["in_bytes"]:
                return Text(amount(done, total, task.time_remaining) if done or total else "")
            return Text(counted(done, total, task.time_remaining) if total else "")

    narrow, whole = Column(no_wrap=False), Column(no_wrap=True)
    columns = (SpinnerColumn(), Label(narrow), BarColumn(_BAR), Numbers(whole))
    # Without soft wrapping, messages printed beside the bar would be broken into lines, even within names.
    with Bar(*columns, console=Terminal(stderr=True, soft_wrap=True), transient=True) as bar:

        def show(label: str, done: int, total: int, *, in_bytes: bool = False) -> None:
            text = visible(label)
            if not bar.tasks or bar.tasks[0].description != text:  # other work restarts the clock
                for task in bar.task_ids:
                    bar.remove_task(task)
                bar.add_task(text, total=None, in_bytes=in_bytes)
            bar.update(bar.task_ids[0], completed=done, total=total or None)

        yield show
