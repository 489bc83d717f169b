"""Writing behind the pass: bare pictures are made and written by threads, and told in their order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = tuple[Future[Any], Callable[[Future[Any]], object]]

THREADS = 2
WAITING = 4
"""Pieces of work that may wait; more would hold more maps in memory."""


class Behind:
    """Does work in threads, and what follows on it in the caller's thread, in the order in which it was handed over.

    matplotlib is not safe in threads: only what needs none of it may be handed over.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kernelviz-write")
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

    def hand(self, work: Callable[[], object], then: Callable[[Future[Any]], object]) -> None:
        """Begin a piece of work; ``then`` gets its future when it is done."""
        self._waiting.append((self._pool.submit(work), then))
        self.settle(WAITING)

    def settle(self, left: int = 0) -> None:
        """Wait until at most so many pieces are waiting."""
        while len(self._waiting) > left:
            future, then = self._waiting.popleft()
            future.exception()  # waits
            then(future)
