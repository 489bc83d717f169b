"""The signatures of the public names, which other people's code relies on."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import kernelviz

KEPT = Path(__file__).with_name("signatures.txt")


def text_of(name, function):
    """A signature in a line, with its types as they are written."""
    return f"{name}{inspect.signature(function)}"


def signatures():
    """Every public name with what it takes: functions, and of classes the constructor, fields, methods and properties."""
    for name in sorted(set(kernelviz.__all__) - {"__version__"}):
        value = getattr(kernelviz, name)
        if not inspect.isclass(value):
            yield text_of(name, value)
            continue
        yield text_of(name, value)
        fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        for part in sorted({key for key in vars(value) if not key.startswith("_")} - fields):
            member = inspect.getattr_static(value, part)
            if isinstance(member, (classmethod, staticmethod)):
                member = member.__func__
            yield text_of(f"{name}.{part}", member) if inspect.isfunction(member) else f"{name}.{part}"


def test_no_signature_of_a_public_name_changes_unnoticed():
    """Names, parameters, defaults and types are those of ``signatures.txt``; a change there is a change for users."""
    assert "\n".join(signatures()) + "\n" == KEPT.read_text(encoding="utf-8")
