"""The blocks of a report read back, as its page reads them."""

from __future__ import annotations

import base64
import json

import numpy as np
from zlib_ng import zlib_ng


def unpacked(entry, text, images=1):
    """The parts of a layer's block by their names, given its entry in the index; the maps are one array per image."""
    data = zlib_ng.decompress(base64.b64decode(text))
    count, at = len(entry["shown"]), 0
    found = {"maps": []}
    for name, size in entry["parts"]:
        part, at = data[at : at + size], at + size
        if name == "units":
            found[name] = json.loads(part)
        elif name == "maps":
            found[name].append(np.frombuffer(part, np.uint8).reshape(count, *entry["map"]))
        elif name.startswith("patch-"):
            found[name] = part if name == "patch-crops" else _patch_part(name, part, entry["patches"])
        elif name == "kernels":
            colours = (3,) if entry["kernels"]["view"] == "rgb" else ()
            found[name] = np.frombuffer(part, np.uint8).reshape(count, *entry["kernels"]["tile"], *colours)
        else:
            numbers = np.frombuffer(part, "<f4")
            found[name] = numbers.reshape(count, -1, *entry["live"]["kernel"]) if name == "weights" else numbers
    if at != len(data) or len(found["maps"]) != images:
        raise ValueError("the parts of a block do not fit its entry")
    return found


def unpacked_pixels(entry, text):
    """The pixels uint8 (H, W, 3) of a photograph's block, given its entry in the index."""
    data = zlib_ng.decompress(base64.b64decode(text))
    return np.frombuffer(data, np.uint8).reshape(*entry["size"], 3)


def _patch_part(name, part, entry):
    if name == "patch-texts":
        return json.loads(part)
    kind, more = {"patch-values": ("<f4", ()), "patch-places": ("<i4", (3,)), "patch-boxes": ("<i4", (4,))}[name]
    return np.frombuffer(part, kind).reshape(len(entry["channels"]), entry["most"], *more)
