"""What is asked of a model hub, and what can go wrong with it, told apart by type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from huggingface_hub import constants

from kernelviz.network.cache import cache_directory, link_directory
from kernelviz.network.endpoint import set_endpoint, shown_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.network.places import Place


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

    place: Place
    filename: str
    seconds: float
    architecture: str = ""
    hosts: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """The server without user name, password or anything else that is nobody's business."""
        if self.place.url:
            parts = urlsplit(self.place.url)
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
        return link_directory() if self.place.url else cache_directory()
