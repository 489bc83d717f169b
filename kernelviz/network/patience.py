"""How long nothing may happen: work that can hang is done beside, and given up when it stands still."""

from __future__ import annotations

import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


Beat: TypeAlias = "Callable[[int, int], None]"
Result = TypeVar("Result")

_LONGEST = 2_000_000  # seconds; a socket counts its own in 31 bits of milliseconds
_LOOK = 0.2  # seconds; some systems do not wake a waiting thread for Ctrl-C


class StandstillError(Exception):
    """Nothing has happened for as long as was allowed."""


class GivenUpError(Exception):
    """Nobody waits for this work any more; raised inside it."""


class Patience:
    """One deadline over several pieces of work, put off only by something that arrives; between them its clock rests.

    Name resolution obeys no timeout, so the work is done in a thread, and one that hangs is left to itself.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
            what = f"The timeout must be a positive number of seconds up to {_LONGEST:,}, but got {seconds!r}."
            raise UsageError(what)
        self.seconds = seconds
        self._left = seconds
        self._end = math.inf

    def renew(self) -> None:
        """Begin to wait anew."""
        self._left = self.seconds
        self._end = time.monotonic() + self._left

    def wait_for(self, work: Callable[[Beat], Result], on_beat: Beat | None = None) -> Result:
        """The result of ``work``, which calls its argument with (done, total) whenever something has arrived.

        ``on_beat`` gets the same numbers in the caller's own thread.

        Raises:
            StandstillError: the time is over. Whatever ``work`` raises comes out as it is.
        """
        self._end = time.monotonic() + self._left
        events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        given_up = threading.Event()

        def beat(done: int, total: int) -> None:
            if given_up.is_set():
                raise GivenUpError
            events.put(("beat", (done, total)))

        def run() -> None:
            try:
                events.put(("result", work(beat)))
            except BaseException as error:  # noqa: BLE001 - it is raised again where somebody waits
                events.put(("error", error))

        threading.Thread(target=run, name="kernelviz-hub", daemon=True).start()
        try:
            while True:
                kind, value = self._next(events)
                if kind == "result":
                    return value  # type: ignore[no-any-return]
                if kind == "error":
                    raise value
                self.renew()
                if on_beat:
                    on_beat(*value)
        finally:
            given_up.set()
            self._left = max(0.0, self._end - time.monotonic())

    def _next(self, events: SimpleQueue[tuple[str, Any]]) -> tuple[str, Any]:
        while True:
            left = self._end - time.monotonic()
            try:
                return events.get(timeout=max(0.0, min(left, _LOOK)))
            except Empty:
                if left <= 0:
                    raise StandstillError from None
