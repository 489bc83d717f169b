"""Threads that read and write while a network runs, and what only one thread may do at a time."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


_share: list[int] = []  # the number of processors that are left to this process, if others use the rest


def processors() -> int:
    """The number of processors that this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, *_share) if _share else there


def share_processors(count: int) -> None:
    """Use at most so many processors from now on, since other processes use the rest, as the workers beside this one."""
    _share[:] = [max(1, count)]


THREADS = max(2, min(4, processors()))
"""The number of threads that read or write; more would hold more images in memory."""


@cache
def _blas_libraries() -> tuple[Any, ...]:
    """The linear algebra that this process has loaded; looking for it takes some milliseconds."""
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's linear algebra use one thread: with several, the last bits depend on their number.

    ``ThreadpoolController.limit`` does the same, but also asks the libraries for all that is known of them.
    """
    before = [(library, library.num_threads) for library in _blas_libraries()]
    try:
        for library, _ in before:
            library.set_num_threads(1)
        yield
    finally:
        for library, number in before:
            library.set_num_threads(number)


_filters = threading.RLock()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Silence warnings. One thread at a time: their filters belong to the process, and are restored in reverse order."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


MOST_THREADS = 256
"""The number of threads that torch may use; OpenMP ends the process when it cannot start as many as requested."""

MOST_WAITING = 12
"""Pieces of work that may wait."""
MOST_BYTES = 16 * 2**20
"""Bytes of maps that may wait."""
LARGE = 4 * 2**20
"""A piece of work that holds more bytes is done immediately: threads keep what they allocate in such sizes."""


@dataclass
class _Piece:
    work: Callable[[], object]
    then: Callable[[Future[Any]], object]
    size: int
    in_thread: bool
    future: Future[Any] | None = None


class BackgroundWriter:
    """Draws and writes outside of the forward pass that the numbers come from, and reports in the order of submission.

    Work that is safe in threads is done by threads; matplotlib is not safe there, so what needs it waits for ``flush``.
    With ``exclusive`` the threads do not run while a forward pass does, since that uses all processors: they start when
    nothing more may wait, and the caller waits for all of them.
    """

    def __init__(self, *, exclusive: bool = False) -> None:
        self.exclusive = exclusive
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kernelviz-write")
        self._waiting: deque[_Piece] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Finish what was submitted; after an error, only what has started."""
        try:
            if kind is None:
                self.flush()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def submit(
        self,
        work: Callable[[], object],
        then: Callable[[Future[Any]], object],
        *,
        size: int = 0,
        in_thread: bool = True,
    ) -> None:
        """Submit work that holds ``size`` bytes; ``then`` is called with its finished future, in the caller's thread."""
        self.flush(MOST_WAITING - 1, MOST_BYTES - size)
        piece = _Piece(work, then, size, in_thread)
        self._waiting.append(piece)
        if size > LARGE:
            piece.in_thread = False
            self.flush()
        elif in_thread and not self.exclusive:
            piece.future = self._pool.submit(work)
        self.flush(MOST_WAITING, MOST_BYTES)

    def flush(self, left: int = 0, room: int = 0) -> None:
        """Wait until at most ``left`` pieces of work, of ``room`` bytes in all, are waiting."""
        if self._fits(left, room):
            return
        for piece in self._waiting:
            if piece.in_thread:
                piece.future = piece.future or self._pool.submit(piece.work)
        while self._waiting and (self.exclusive or not self._fits(left, room)):
            piece = self._waiting.popleft()
            if piece.future is None:
                piece.future = Future()
                try:
                    piece.future.set_result(piece.work())
                except Exception as error:  # noqa: BLE001  (as in a thread: raised when the result is read)
                    piece.future.set_exception(error)
            piece.future.exception()  # waits
            piece.then(piece.future)

    def _fits(self, left: int, room: int) -> bool:
        return len(self._waiting) <= left and sum(piece.size for piece in self._waiting) <= room


Item = TypeVar("Item")
Result = TypeVar("Result")


AHEAD = 4
"""The number of images read ahead, besides those of the next batch."""


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], depth: int, *, exclusive: bool = False
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield each item with its finished future, in order; a thread works up to ``depth`` items ahead.

    If ``exclusive``, several threads work on ``depth`` items, and pause until the caller has used these.
    """
    pool = ThreadPoolExecutor(THREADS if exclusive else 1, thread_name_prefix="kernelviz-read")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    source = iter(items)
    try:
        while True:
            if not (exclusive and waiting):
                waiting += [(item, pool.submit(work, item)) for item in islice(source, depth + 1 - len(waiting))]
            if not waiting:
                return
            if exclusive:
                wait(future for _, future in waiting)
            first = waiting.popleft()
            first[1].exception()  # waits
            yield first
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def grouped(items: Iterable[Item], size: int, key: Callable[[Item], object]) -> Iterator[list[Item]]:
    """Group consecutive items with the same key, up to ``size`` per group."""
    group: list[Item] = []
    for item in items:
        if group and (len(group) == size or key(group[0]) != key(item)):
            yield group
            group = []
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
