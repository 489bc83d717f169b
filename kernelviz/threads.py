"""Threads that read and write while a network runs: how many, reading ahead, and writing in the background."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


THREADS = max(2, min(4, processors()))
"""The number of threads that read or write; more would hold more images in memory."""


WAITING = 12
"""The number of pieces of work that may wait."""
ROOM = 16 * 2**20
"""Bytes of maps that may wait."""
LARGE = 4 * 2**20
"""A piece with more bytes runs in the caller's thread: threads would keep memory allocated in such sizes."""


@dataclass
class _Piece:
    work: Callable[[], object]
    then: Callable[[Future[Any]], object]
    size: int
    future: Future[Any] | None = None


class Behind:
    """Runs work in threads, and a follow-up of each piece in the caller's thread, in the order of submission.

    If ``exclusive``, the threads do not overlap with the caller: they start when no more work may wait, and the caller
    waits for all of them. matplotlib is not thread-safe: the work must not use it.
    """

    def __init__(self) -> None:
        self.exclusive = False
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kernelviz-write")
        self._waiting: deque[_Piece] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Finish the waiting work; after an error, cancel it."""
        try:
            if kind is None:
                self.settle()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def hand(self, work: Callable[[], object], then: Callable[[Future[Any]], object], *, size: int = 0) -> None:
        """Submit a piece of work that holds ``size`` bytes; ``then`` is called with its future when it is done."""
        self.settle(WAITING - 1, ROOM - size)
        piece = _Piece(work, then, size)
        self._waiting.append(piece)
        if size > LARGE:
            piece.future = _done(work)
        elif not self.exclusive:
            piece.future = self._pool.submit(work)
        self.settle(WAITING, ROOM)

    def settle(self, left: int = 0, room: int = 0) -> None:
        """Wait until at most ``left`` pieces with ``room`` bytes in total are waiting."""
        if self._fits(left, room):
            return
        for piece in self._waiting:
            piece.future = piece.future or self._pool.submit(piece.work)
        while self._waiting and (self.exclusive or not self._fits(left, room)):
            piece = self._waiting.popleft()
            if piece.future is not None:
                piece.future.exception()  # waits
                piece.then(piece.future)

    def _fits(self, left: int, room: int) -> bool:
        return len(self._waiting) <= left and sum(piece.size for piece in self._waiting) <= room


def _done(work: Callable[[], object]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 (as in a thread: ``result`` raises it)
        future.set_exception(error)
    return future


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
