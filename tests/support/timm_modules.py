"""A network of each of timm's modules, as small as its name promises."""

from __future__ import annotations

import timm

SMALL = ("test_", "tiny", "nano", "pico", "_s", "small")


def one_of_each():
    """(module, name of a small network of it) for every module of timm that has networks."""
    pairs = []
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        small = [name for name in names if any(word in name for word in SMALL)]
        if names:
            pairs.append((module, (small or names)[0]))
    return pairs
