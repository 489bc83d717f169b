"""A request to a model hub under a deadline, and what can go wrong with it, told apart by type."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from huggingface_hub import constants

from kernelviz.errors import UsageError
from kernelviz.network.weights.endpoint import set_endpoint, shown_endpoint
from kernelviz.network.weights.hub_cache import cache_directory, link_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kernelviz.network.weights.names import WeightsLocation


Beat: TypeAlias = "Callable[[int, int], None]"
Result = TypeVar("Result")

_LONGEST = 2_000_000  # seconds; a socket counts its own in 31 bits of milliseconds
_LOOK = 0.2  # seconds; some systems do not wake a waiting thread for Ctrl-C


class StalledError(Exception):
    """Nothing has happened for as long as was allowed."""


class GivenUpError(Exception):
    """Nobody waits for this work any more; raised inside it."""


class StallTimeout:
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
            StalledError: the time is over. Whatever ``work`` raises comes out as it is.
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
                    raise StalledError from None


class WrongEndpointError(Exception):
    """The address of the hub is none."""


class BadTokenError(Exception):
    """No header can hold the token of the user, which nobody is told."""


class UnreadableTokenError(Exception):
    """The file with the token of the user cannot be read, and why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reason = error.strerror or type(error).__name__


class EndlessError(Exception):
    """One address sends to the next, again and again."""


class NoCheckpointError(Exception):
    """What came whole holds no weights."""


class UnknownSizeError(Exception):
    """Neither size nor hash was told, so nothing says whether all has come."""


class NoHubError(Exception):
    """What answers is no model hub."""


class CutShortError(Exception):
    """The download ended too early."""

    def __init__(self, got: int, wanted: int) -> None:
        super().__init__(got, wanted)
        self.got, self.wanted = got, wanted


class WrongHashError(Exception):
    """What came is not what was promised."""


@dataclass(frozen=True)
class Request:
    """What was asked for: enough to say what did not come.

    ``architecture`` is the one that the name of the place tells, for what cannot be built without its ``config.json``.
    ``hosts`` are those that were asked for the file itself, one after the other where each sends to the next.
    """

    location: WeightsLocation
    filename: str
    seconds: float
    architecture: str = ""
    hosts: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """The server without user name, password or anything else that is nobody's business."""
        if self.location.url:
            parts = urlsplit(self.location.url)
            return shown_endpoint(f"{parts.scheme}://{parts.netloc}")
        return shown_endpoint(set_endpoint(constants.ENDPOINT))

    @property
    def host(self) -> str:
        """The name of the server really asked, and who sent there; the rest of its address may be a secret."""
        last = self.hosts[-1] if self.hosts else self._first_host
        return last if last == self._first_host else f"{last}, to which {self._first_host} sends,"

    @property
    def is_elsewhere(self) -> bool:
        """Whether another server was asked than the user knows."""
        return bool(self.hosts) and self.hosts[-1] != self._first_host

    @property
    def _first_host(self) -> str:
        try:
            return urlsplit(self.endpoint).hostname or self.endpoint
        except ValueError:
            return self.endpoint

    @property
    def cache(self) -> Path:
        """The directory in which the file would lie."""
        return link_directory() if self.location.url else cache_directory()
