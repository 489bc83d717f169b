"""The hub address that the user has set: whether it is valid, and how it is shown without secrets."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

VARIABLE = "HF_ENDPOINT"
STAND_IN = "http://hf-endpoint-is-wrong.invalid"
"""Replaces a wrong address, with which the hub's client could not be imported (RFC 2606)."""


def endpoint_fault(address: str) -> str:
    """What is wrong with an address, as the end of a sentence; empty if it is valid."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:  # unbalanced brackets, or a port that is not a number or is too large
        return "its host or port cannot be"
    if parts.scheme not in {"http", "https"}:
        return "it does not begin with http:// or https://"
    if port == 0:
        return "its host or port cannot be"
    return "" if re.fullmatch(r"[^\s\\]+", parts.hostname or "") else "it names no host"


def shown_endpoint(address: str) -> str:
    """An address without user name, password and query, which may be secret."""
    scheme, mark, rest = address.rpartition("://")
    location = re.split(r"[?#]", rest, maxsplit=1)[0].rpartition("@")[2].rstrip("/")
    return ascii(f"{scheme}{mark}{location}")[1:-1][:200]


def set_endpoint(believed: str) -> str:
    """The address that the user has set; ``believed`` is the one that the hub's client uses."""
    return os.environ.get(VARIABLE, believed) if believed == STAND_IN else believed
