"""Writing behind the pass: bare pictures are made and written by threads, and told in their order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from kernelviz.yielding import give_way

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = tuple[Future[Any], Callable[[Future[Any]], object], int]

THREADS = 2
WAITING = 12
"""Pieces of work that may wait."""
ROOM = 16 * 2**20
"""Bytes of maps that may wait."""
LARGE = 4 * 2**20
"""A piece that holds more bytes is done at once, where it is made: what threads allocate in such sizes they keep."""


class Behind:
    """Does work in threads, and what follows on it in the caller's thread, in the order in which it was handed over.

    matplotlib is not safe in threads: only what needs none of it may be handed over.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kernelviz-write", initializer=give_way)
        self._waiting: deque[Told] = deque()

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
        self._waiting.append((self._pool.submit(work) if size <= LARGE else _done(work), then, size))
        self.settle(WAITING, ROOM)

    def settle(self, left: int = 0, room: int = 0) -> None:
        """Wait until at most so many pieces, of so many bytes in all, are waiting."""
        while self._waiting and (len(self._waiting) > left or sum(size for _, _, size in self._waiting) > room):
            future, then, _ = self._waiting.popleft()
            future.exception()  # waits
            then(future)


def _done(work: Callable[[], object]) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 (as a thread does: it is raised to whom asks for the result)
        future.set_exception(error)
    return future
