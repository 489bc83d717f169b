"""A report as one index and deflated blocks of bytes, one per layer and photograph.

The index is JSON::

    {"kernelviz": version, "schema": 1, "command": "report", "label", "model": {…} | null, "random": bool, "recipe": {…},
     "notes": [text], "failed": [{"name", "reason"}],
     "input": {"size": [C, H, W], "mean": [C], "std": [C]},                       mean and std [] if not known
     "patches": {"set": images that were searched,
                 "images": [{"name", "sha256" | null, "size": [H, W], "picture": [h, w] | null, "scale",
                             "shown": image | null, "jpeg": bool, "block": "s0" | "p0"}]} | null,
     "images": [{"name", "sha256" | null, "size": [H, W], "seen": {"offset": [2], "scale": [2]} | null, "exact": bool,
                 "notes": [text], "top": [{"index", "label" | null, "probability"}], "block": "p0"}],
     "layers": [{"name", "kind", "conv": "dense" | "depthwise" | "pointwise" | "grouped" | "transposed" | null,
                 "kernel", "stride", "padding", "dilation", "groups", "bias"      as in `kernelviz layers --json`, or null
                 "in" | null, "out", "map": [H, W], "slices", "params", "macs", "runs", "notes": [text],
                 "field": {"size": [h, w], "rows": AXIS, "columns": AXIS, "global": bool} | null, "lost": reason | "",
                 "shown": [channel],
                 "kernels": {"view": "rgb" | "sum" | "inputs", "tile": [h, w], "limits": [n], "zero": [channel],
                             "faint": [channel], "nonfinite": {"channel": count}, "notes": [text]} | null,
                 "maps": [{"signed", "limits": [n], "extent": [low, high], "dead": [channel],
                           "nonfinite": {"channel": count}}],                      one per image
                 "live": {"stride": [2], "dilation": [2], "kernel": [kh, kw], "around": [top, bottom, left, right],
                          "bias": bool} | null,
                 "units": bool, "unknown": reason | "", "reads": bool,            whether it reads the network's input
                 "makers": [[first input channel, count, layer of this list, its first channel, added: 0 | 1]],
                 "patches": {"channels": [channel], "most": k, "choice": text, "dead": [channel], "reduced": q | 0,
                             "clipped": bool, "framed": bool, "notes": [text]} | null, "without": reason | "",
                 "block": "l0", "parts": [[name, bytes]]}]}

``AXIS`` is {"first": [row], "last": [row]}, inclusive, a unit that reads nothing with first > last; or, if they are evenly
spaced, {"start", "jump", "size"}: unit i reads rows start + i · jump to start + i · jump + size − 1, as far as the image
goes. ``field.size`` may hold null: that size is not known. ``field`` is null, and ``lost`` the reason, if it is not
known, is over three axes, or wraps around the image. In all texts but those of ``model`` and ``recipe``, control and format
characters are written as escapes.

A block is base64(zlib(parts, one after the other)), and a layer's parts are::

    kernels  uint8 (n, h, w) levels, or (n, h, w, 3) red, green, blue in the view rgb; 254 is no cell, 255 not finite
    maps     uint8 (n, H, W) levels, one part per image; 0 … 200, 100 is zero where signed, 255 not finite
    units    JSON, of all images, in the order of images and channels:
             [{"at": [image, channel, row, column], "value", "bias" | null, "of", "rest", "taps": [k²] | null,
               "terms": [{"n": input channel, "window": [k²], "kernel": [k²], "sum"}]}]
             value = the sums of the terms + rest (what the other input channels add) + bias; "taps" marks padding (1) and
             the zeros between the rows of a transposed convolution's input (2); null stands for no such tap.
             NaN is null, ±∞ are ±1e999, which is beyond every float.
    weights  float32, little-endian, (n, C, kh, kw), if ``live``
    bias     float32, little-endian, (n,), if ``live.bias``
    patch-values, patch-places, patch-boxes   if ``patches``, little-endian, m counts its channels: float32 (m, k), NaN
             where a row ends; int32 (m, k, 3) image of ``patches.images``, row, column; int32 (m, k, 4) first and last row,
             first and last column that the unit reads as if the image had no border; -1 where a row ends
    patch-texts  JSON {"ties": {"channel": text}, "ends": {"channel": text}}
    patch-crops  if ``patches.reduced`` is q > 0: the pixels of each patch inside the image, means of q × q of its box,
             uint8 (h, w, 3) one after the other, channel by channel; each pixel minus that on its left

The block of a photograph is uint8 (H, W, 3); that of an image with patches, ``s0``, uint8 (h, w, 3), means of ``scale`` ×
``scale`` pixels, each minus that on its left; if ``jpeg``, it is base64 of a JPEG. ``patches`` is null without a set of
images. n counts ``shown``. Where ``live`` is, every value for an image with
``exact`` is bias + Σ weight · (pixel / 255 − mean) / std, with zeros in ``around``; such a layer has units only if not all
images are ``exact``.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from zlib_ng import zlib_ng

from kernelviz.records import is_untrained
from kernelviz.version import SCHEMA, __version__
from kernelviz.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kernelviz.records import Array, AxisField, Field
    from kernelviz.report.contents import (
        LayerPatches,
        LiveSums,
        PatchImage,
        Report,
        ReportImage,
        ReportLayer,
        ReportMaps,
    )  # fmt: skip
    from kernelviz.traces import UnitTerms


_EFFORT = 6  # of deflate: 9 takes twice the time for one percent


def packed(report: Report) -> tuple[dict[str, Any], dict[str, str]]:
    """The index and the blocks, of which each part is made once."""
    source = report.source
    numbers = {layer.name: number for number, layer in enumerate(report.layers)}
    entries, blocks = [], {}
    for number, layer in enumerate(report.layers):
        parts = _parts(layer)
        entry = _layer_entry(layer, report.input_size, numbers)
        entries.append(entry | {"block": f"l{number}", "parts": [(name, len(data)) for name, data in parts]})
        blocks[f"l{number}"] = _packed([data for _, data in parts])
    numbered = [
        (f"p{each.shown}" if each.pixels is None else f"s{at}", each) for at, each in enumerate(report.patch_images)
    ]
    pictures = {name: _picture(each.pixels, each.jpeg) for name, each in numbered if each.pixels is not None}
    images = {f"p{at}": _packed([image.pixels.tobytes()]) for at, image in enumerate(report.images)}
    index = {
        "kernelviz": __version__,
        "schema": SCHEMA,
        "command": "report",
        "label": report.label,
        "model": source.as_recipe() if source else None,
        "random": is_untrained(report.recipe),
        "recipe": report.recipe,
        "notes": report.notes,
        "failed": [{"name": name, "reason": reason} for name, reason in report.failed],
        "patches": None
        if not report.patch_set
        else {
            "set": report.patch_set,
            "images": [_patch_image_entry(each, name) for name, each in numbered],
        },
        "input": {"size": report.input_size, "mean": report.mean, "std": report.std},
        "images": [_image_entry(image, f"p{at}") for at, image in enumerate(report.images)],
        "layers": entries,
    }
    index = {key: value if key in ("model", "recipe") else _visible_texts(value) for key, value in index.items()}
    return index, {"l0": blocks["l0"], **images, **blocks, **pictures}


def _visible_texts(value: Any) -> Any:
    """The value with all of its texts, such as names, on one line: control and format characters become escapes."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible_texts(each) for key, each in value.items()}
    return [_visible_texts(each) for each in value] if isinstance(value, list | tuple) else value


def json_text(value: object) -> str:
    """Compact ASCII JSON with sorted keys, which may be inside an HTML element: ``<`` is escaped, nan and inf are null."""
    return json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def row_differences(pixels: Array) -> bytes:
    """The bytes of pixels (h, w, 3), each minus that on its left: a photograph becomes smaller when deflated."""
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    return differences.tobytes()


def _picture(pixels: Array, jpeg: bytes | None) -> str:
    return _packed([row_differences(pixels)]) if jpeg is None else base64.b64encode(jpeg).decode("ascii")


def _packed(parts: Iterable[bytes]) -> str:
    return base64.b64encode(zlib_ng.compress(b"".join(parts), _EFFORT)).decode("ascii")


def _parts(layer: ReportLayer) -> list[tuple[str, bytes]]:
    """The parts of a layer's block in their order."""
    parts = [] if layer.kernels is None else [("kernels", layer.kernels.levels.tobytes())]
    parts += [("maps", maps.levels.tobytes()) for maps in layer.maps]
    if layer.units:
        parts.append(("units", units_text(layer.units).encode("ascii")))
    if layer.live is not None:
        parts.append(("weights", layer.live.weights.astype("<f4").tobytes()))
        if layer.live.bias is not None:
            parts.append(("bias", layer.live.bias.astype("<f4").tobytes()))
    if layer.patches is not None:
        parts += _patch_parts(layer.patches)
    return parts


def _patch_parts(patches: LayerPatches) -> list[tuple[str, bytes]]:
    texts = {
        name: {str(channel): text for channel, text in found.items()}
        for name, found in (("ties", patches.ties), ("ends", patches.ends))
    }
    parts = [
        ("patch-values", patches.values.astype("<f4").tobytes()),
        ("patch-places", patches.places.astype("<i4").tobytes()),
        ("patch-boxes", patches.boxes.astype("<i4").tobytes()),
        ("patch-texts", json_text(texts).encode("ascii")),
    ]
    if patches.crops is not None:
        parts.append(("patch-crops", b"".join(map(row_differences, patches.crops))))
    return parts


def _patch_image_entry(image: PatchImage, block: str) -> dict[str, Any]:
    return {
        "name": image.name, "sha256": image.sha256, "size": image.size, "scale": image.scale, "shown": image.shown,
        "picture": None if image.pixels is None else image.pixels.shape[:2], "jpeg": image.jpeg is not None,
        "block": block,
    }  # fmt: skip


def _patches_entry(patches: LayerPatches) -> dict[str, Any]:
    return {
        "channels": patches.channels, "most": patches.values.shape[1], "choice": patches.choice, "dead": patches.dead,
        "reduced": 0 if patches.crops is None else patches.reduced, "clipped": patches.clipped,
        "framed": patches.framed, "notes": patches.notes,
    }  # fmt: skip


def _image_entry(image: ReportImage, block: str) -> dict[str, Any]:
    seen = None if image.offset is None or image.scale is None else {"offset": image.offset, "scale": image.scale}
    top = [
        {"index": score.index, "label": score.label, "probability": _shortest(score.probability)[0]}
        for score in image.top
    ]
    return {
        "name": image.name, "sha256": image.sha256, "size": image.pixels.shape[:2], "seen": seen, "exact": image.exact,
        "notes": image.notes, "top": top, "block": block,
    }  # fmt: skip


def _layer_entry(layer: ReportLayer, input_size: Sequence[int], numbers: Mapping[str, int]) -> dict[str, Any]:
    traced, kernels = layer.traced, layer.kernels
    unknown = _why_no_field(traced.field)
    return {
        "name": layer.name, "kind": traced.kind, "conv": layer.conv, "kernel": traced.kernel, "stride": traced.stride,
        "padding": traced.padding, "dilation": traced.dilation, "groups": traced.groups, "bias": traced.bias,
        "in": layer.inputs, "out": layer.outputs, "map": layer.size, "slices": layer.slices, "params": traced.params,
        "macs": traced.macs, "runs": traced.runs, "notes": layer.notes,
        "field": None if unknown else _field_entry(traced.field, input_size[1:]), "lost": unknown or traced.lost,
        "shown": layer.shown,
        "kernels": None if kernels is None else {
            "view": kernels.view, "tile": kernels.levels.shape[1:3], "limits": _shortest(kernels.limits),
            "zero": kernels.zero, "faint": kernels.faint, "nonfinite": _counts(kernels.nonfinite),
            "notes": kernels.notes,
        },
        "maps": [_maps_entry(maps) for maps in layer.maps],
        "live": None if layer.live is None else _live_entry(layer.live),
        "units": bool(layer.units), "unknown": layer.unknown, "reads": layer.reads_input,
        "makers": [
            [maker.first, maker.count, numbers[maker.layer], maker.channel, int(maker.added)]
            for maker in layer.makers if maker.layer in numbers
        ],
        "patches": None if layer.patches is None else _patches_entry(layer.patches), "without": layer.without_patches,
    }  # fmt: skip


def _maps_entry(maps: ReportMaps) -> dict[str, Any]:
    return {
        "signed": maps.signed, "limits": _shortest(maps.limits), "extent": _shortest(maps.extent),
        "dead": maps.dead, "nonfinite": _counts(maps.nonfinite),
    }  # fmt: skip


def _live_entry(live: LiveSums) -> dict[str, Any]:
    return {
        "stride": live.stride, "dilation": live.dilation, "kernel": live.weights.shape[2:], "around": live.around,
        "bias": live.bias is not None,
    }  # fmt: skip


def _counts(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(channel): count for channel, count in counts.items()}


def _why_no_field(field: Field | None) -> str:
    """Why the page cannot show a receptive field that is known, or ""."""
    if field is None:
        return ""
    if len(field.axes) > 2:
        return "it is a box over three axes, which is not drawn"
    # Rows first to last bound what a unit reads. They are wider than the field if they wrap around the image.
    if any(axis.size is not None and (axis.last - axis.first).max(initial=0) >= axis.size for axis in field.axes):
        return "some units read from both sides of the image, as in shifted windows"
    return ""


def _field_entry(field: Field | None, sides: Sequence[int]) -> dict[str, Any] | None:
    """The receptive fields along rows and columns; an input of one axis counts as one row."""
    if field is None:
        return None
    axes = [_axis_entry(axis, side) for axis, side in zip(field.axes, sides, strict=False)]
    sizes = [axis.size for axis in field.axes]
    if len(axes) == 1:
        axes, sizes = [{"start": 0, "jump": 1, "size": 1}, *axes], [1, *sizes]
    return {"size": sizes, "rows": axes[0], "columns": axes[1], "global": field.mixes_image}


def _axis_entry(axis: AxisField, side: int) -> dict[str, Any]:
    if axis.offset is not None and axis.jump is not None and axis.size is not None:
        first = axis.offset + axis.jump * np.arange(len(axis.first))
        spaced = np.maximum(first, 0), np.minimum(first + axis.size - 1, side - 1)
        if np.array_equal(spaced[0], axis.first) and np.array_equal(spaced[1], axis.last):
            return {"start": axis.offset, "jump": axis.jump, "size": axis.size}
    return {"first": axis.first.tolist(), "last": axis.last.tolist()}


def units_text(units: Sequence[UnitTerms]) -> str:
    """The units of a layer for all images as JSON: values and sums with all digits of float32, factors with five."""
    return f"[{','.join(text for image, each in enumerate(units) for text in _unit_texts(each, image))}]"


def _unit_texts(units: UnitTerms, image: int) -> list[str]:
    count, terms = units.numbers.shape
    factors = [_five_digits(each.reshape(count, terms, -1)) for each in (units.windows, units.kernels)]
    sums = [_all_digits(each) for each in (units.sums.reshape(-1), units.rest, units.values)]
    biases = ["null"] * count if units.bias is None else _all_digits(units.bias)
    taps = units.taps.reshape(count, -1)
    places, numbers = units.at.tolist(), units.numbers.tolist()
    marked = list(map(bool, taps.sum(axis=1)))
    texts = []
    for at, (place, channels) in enumerate(zip(places, numbers, strict=True)):
        written = ",".join(
            f'{{"n":{number},"window":[{factors[0][at * terms + term]}],"kernel":[{factors[1][at * terms + term]}],'
            f'"sum":{sums[0][at * terms + term]}}}'
            for term, number in enumerate(channels)
        )
        tap = f"[{','.join(map(str, taps[at].tolist()))}]" if marked[at] else "null"
        texts.append(
            f'{{"at":[{image},{place[0]},{place[1]},{place[2]}],"value":{sums[2][at]},"bias":{biases[at]},'
            f'"of":{units.of},"rest":{sums[1][at]},"taps":{tap},"terms":[{written}]}}'
        )
    return texts


def _five_digits(values: Array) -> list[str]:
    """The numbers (n, t, k) of each of n · t windows, with five significant digits and commas."""
    rows = values.reshape(-1, values.shape[-1])
    row_format = ",".join(["%.5g"] * rows.shape[1])
    texts = [row_format % tuple(row) for row in rows.tolist()]
    return texts if np.isfinite(rows).all() else [_nulled(text) for text in texts]


def _nulled(text: str) -> str:
    return ",".join(_NOT_FINITE.get(number, number) for number in text.split(","))


_NOT_FINITE = {"nan": "null", "inf": "1e999", "-inf": "-1e999"}


def _all_digits(values: Array) -> list[str]:
    with np.errstate(over="ignore"):
        texts = [str(value) for value in np.asarray(values, np.float64).astype(np.float32).reshape(-1)]
    return [_NOT_FINITE.get(text) or repr(float(text)) for text in texts]


def _shortest(values: Any) -> list[float | None]:
    """Numbers as floats whose shortest text is that of their float32; None for what is not finite or is beyond it."""
    with np.errstate(over="ignore"):
        narrow = np.asarray(values, np.float64).astype(np.float32)
    return [float(text) if math.isfinite(float(text)) else None for text in map(str, narrow.reshape(-1))]


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
