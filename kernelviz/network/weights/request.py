"""Requests to a model hub with a timeout, and the types of errors that can occur."""

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
    """There was no progress for the allowed time."""


class GivenUpError(Exception):
    """Raised inside work that is no longer waited for."""


class StallTimeout:
    """A timeout that restarts with each progress, shared by several pieces of work; it pauses between them.

    Name resolution has no timeout, so the work runs in a thread, which is abandoned if it hangs.
    """

    def __init__(self, seconds: float) -> None:
        if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
            what = f"The timeout must be a positive number of seconds up to {_LONGEST:,}, but got {seconds!r}."
            raise UsageError(what)
        self.seconds = seconds
        self._left = seconds
        self._end = math.inf

    def renew(self) -> None:
        """Restart the timeout."""
        self._left = self.seconds
        self._end = time.monotonic() + self._left

    def wait_for(self, work: Callable[[Beat], Result], on_beat: Beat | None = None) -> Result:
        """The result of ``work``, which calls its argument with (done, total) on each progress.

        ``on_beat`` is called with the same numbers in the caller's thread.

        Raises:
            StalledError: there was no progress in time. Errors of ``work`` are raised unchanged.
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
            except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
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
    """The address of the hub is not valid."""


class BadTokenError(Exception):
    """The token of the user is not valid in a header; messages never contain it."""


class UnreadableTokenError(Exception):
    """The file with the token of the user cannot be read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reason = error.strerror or type(error).__name__


class EndlessError(Exception):
    """There are too many redirects."""


class NoCheckpointError(Exception):
    """The downloaded file contains no weights."""


class UnknownSizeError(Exception):
    """The server reports neither size nor hash, so that a truncated file could not be detected."""


class NoHubError(Exception):
    """The server is not a model hub."""


class CutShortError(Exception):
    """The download ended too early."""

    def __init__(self, got: int, wanted: int) -> None:
        super().__init__(got, wanted)
        self.got, self.wanted = got, wanted


class WrongHashError(Exception):
    """The downloaded file does not match its hash."""


@dataclass(frozen=True)
class Request:
    """A request for a file, with the facts for error messages.

    ``architecture`` is the one in the name of the location, for networks that cannot be built without ``config.json``.
    ``hosts`` are the servers to which the request for the file itself was sent, in the order of redirects.
    """

    location: WeightsLocation
    filename: str
    seconds: float
    architecture: str = ""
    hosts: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """The server without user name, password and other secrets."""
        if self.location.url:
            parts = urlsplit(self.location.url)
            return shown_endpoint(f"{parts.scheme}://{parts.netloc}")
        return shown_endpoint(set_endpoint(constants.ENDPOINT))

    @property
    def host(self) -> str:
        """The server that answered, and the one that redirected to it; the rest of its address may be secret."""
        last = self.hosts[-1] if self.hosts else self._first_host
        return last if last == self._first_host else f"{last}, to which {self._first_host} sends,"

    @property
    def is_elsewhere(self) -> bool:
        """Whether the request was redirected to another server."""
        return bool(self.hosts) and self.hosts[-1] != self._first_host

    @property
    def _first_host(self) -> str:
        try:
            return urlsplit(self.endpoint).hostname or self.endpoint
        except ValueError:
            return self.endpoint

    @property
    def cache(self) -> Path:
        """The directory of the cache for this file."""
        return link_directory() if self.location.url else cache_directory()
