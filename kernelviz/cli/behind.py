"""Writing behind the passes: bare pictures are made and written by threads, and told in their order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kernelviz.turns import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = 12
"""Pieces of work that may wait."""
ROOM = 16 * 2**20
"""Bytes of maps that may wait."""
LARGE = 4 * 2**20
"""A piece that holds more bytes is done at once, where it is made: what threads allocate in such sizes they keep."""


@dataclass
class _Piece:
    work: Callable[[], object]
    then: Callable[[Future[Any]], object]
    size: int
    future: Future[Any] | None = None


class Behind:
    """Does work in threads, and what follows on it in the caller's thread, in the order in which it was handed over.

    Where ``takes_turns``, the threads begin when nothing more may wait, and the caller waits for all of them.
    matplotlib is not safe in threads: only what needs none of it may be handed over.
    """

    def __init__(self) -> None:
        self.takes_turns = False
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kernelviz-write")
        self._waiting: deque[_Piece] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Finish what was begun; after an error nothing more is begun."""
        try:
            if kind is None:
                self.settle()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def hand(self, work: Callable[[], object], then: Callable[[Future[Any]], object], *, size: int = 0) -> None:
        """Begin a piece of work that holds ``size`` bytes; ``then`` gets its future when it is done."""
        self.settle(WAITING - 1, ROOM - size)
        piece = _Piece(work, then, size)
        self._waiting.append(piece)
        if size > LARGE:
            piece.future = _done(work)
        elif not self.takes_turns:
            piece.future = self._pool.submit(work)
        self.settle(WAITING, ROOM)

    def settle(self, left: int = 0, room: int = 0) -> None:
        """Wait until at most so many pieces, of so many bytes in all, are waiting."""
        if self._fits(left, room):
            return
        for piece in self._waiting:
            piece.future = piece.future or self._pool.submit(piece.work)
        while self._waiting and (self.takes_turns or not self._fits(left, room)):
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
    except Exception as error:  # noqa: BLE001 (as a thread does: it is raised to whom asks for the result)
        future.set_exception(error)
    return future
