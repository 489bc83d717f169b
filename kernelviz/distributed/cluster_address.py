"""Where a Ray cluster is, and whether it answers, before Ray itself waits for minutes."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from kernelviz.errors import UsageError

REACHED = 5.0  # seconds in which a cluster answers
CONNECTED = 2.0  # seconds in which a process of Ray accepts a connection


def find_cluster(address: str) -> str:
    """HOST:PORT of a cluster that answers; ``auto`` is ``RAY_ADDRESS``, or what ``ray start`` noted on this machine.

    Ray itself would wait for minutes where none answers, and for ``auto`` try any Ray process of this machine as well, such
    as the private one of another program.

    Raises:
        UsageError: there is none.
    """
    found = _noted_cluster() if address == "auto" else address
    host, _, port = found.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        why = "Ray's clients with ray:// are not supported." if found.startswith("ray://") else ""
        hint = "For example --ray 10.0.0.1:6379, as `ray start --head` prints it."
        raise UsageError(f"--ray takes auto or HOST:PORT, but got {found}.", why, hint)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACHED) as connection:
            is_server = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        why = f"{error}.".replace("timed out.", f"It does not answer within {REACHED:.0f} s.")
    else:
        if is_server:
            return found
        why = "What answers there is another program."
    hint = "Type `ray start --head` there, which prints the HOST:PORT to give, or give --workers alone."
    raise UsageError(f"There is no Ray cluster at {found}.", why, hint)


def _noted_cluster() -> str:
    base = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  (Ray's rule)
    with contextlib.suppress(OSError), (Path(base) / "ray" / "ray_current_cluster").open(encoding="utf-8") as file:
        if not os.environ.get("RAY_ADDRESS"):
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid not in (os.geteuid(), 0):
                why = f"Another user has written {file.name}, and a cluster could run code here."
                raise UsageError(
                    "There is no Ray cluster of yours at auto.", why, "If you trust it, give its HOST:PORT."
                )
            return file.read().strip()
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    hint = "Type `ray start --head`, or give its HOST:PORT."
    raise UsageError("There is no Ray cluster at auto.", "RAY_ADDRESS is not set, and none was started here.", hint)


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # with empty settings (RFC 9113)


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether a server answers the beginning of HTTP/2, which gRPC uses, with its settings.

    Raises:
        OSError: it does not answer in time.
    """
    connection.sendall(_PREFACE)
    answer = b""
    while len(answer) < 4 and (part := connection.recv(9)):
        answer += part
    return answer[3:4] == b"\x04"


def connects(family: int, address: str) -> bool:
    """Whether something listens at the path of a socket, or at HOST:PORT."""
    try:
        if family == socket.AF_INET:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECTED).close()
        else:
            with socket.socket(family) as connection:
                connection.settimeout(CONNECTED)
                connection.connect(address)
    except OSError:
        return False
    return True
