"""Signals while compiled code of Ray runs, which knows no exception but ``KeyboardInterrupt``."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep signals until the end; only the main thread gets them.

    So Ray is either not started or ended whole, and its compiled functions, which know no exception but
    ``KeyboardInterrupt``, return before a handler raises one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept: list[int] = []

    def keep(number: int, _: FrameType | None) -> None:
        kept.append(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, keep)
    try:
        yield
    finally:
        for number, handler in before.items():
            set_handler(number, handler)
        for kept_one in kept[:1]:
            signal.raise_signal(kept_one)


@contextmanager
def own_handler_of_sigterm() -> Iterator[None]:
    """Install the handler of SIGTERM again whenever Ray installs one, which would end this process but not all of Ray."""
    install, own = signal.signal, signal.getsignal(signal.SIGTERM)

    def install_own(number: int, handler: Any) -> Any:
        return install(number, own if number == signal.SIGTERM and own is not None else handler)

    signal.signal = install_own  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = install


def set_handler(number: int, handler: Any) -> None:
    """Install a handler if this thread may, and if it is known: one that was not installed from Python is not."""
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(number, handler)
