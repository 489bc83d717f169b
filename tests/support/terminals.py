"""A terminal for a command, and what stays on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
import threading


@contextlib.contextmanager
def terminal(monkeypatch, *streams, width=20):
    """A terminal for the named streams; what was written to it is in the list that comes back."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    written = []

    def read():
        with contextlib.suppress(OSError):
            while data := os.read(leader, 65536):
                written.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with (
        contextlib.ExitStack() as ends,
        open(follower, "w", encoding="utf-8", errors="surrogateescape") as stream,  # noqa: PTH123
        monkeypatch.context() as patch,
    ):
        ends.callback(os.close, leader)
        ends.callback(reader.join, 10)
        for name in streams:
            patch.setattr(f"sys.{name}", stream)
        yield written
        stream.flush()


def lines_of(written):
    """The lines that stay on a terminal: the bar clears its own line before something else is written there."""
    text = b"".join(written).decode(errors="replace").replace("\r\n", "\n")
    lines = [line.rpartition("\x1b[2K")[2] for line in text.split("\n")]
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in lines]
