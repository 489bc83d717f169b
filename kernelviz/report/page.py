"""The page of a report: one HTML document with its data, style and script inside."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from math import prod, sqrt
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, TemplateNotFound
from markupsafe import Markup
from zlib_ng import zlib_ng

from kernelviz.drawing.colour import WHITE_RED, ColourTable, Ramp, TintRamp, palette_in
from kernelviz.drawing.looks import LOOKS
from kernelviz.report.packing import json_text, packed, row_differences
from kernelviz.report.skyline import SLOT, Bar, branches, skyline, stages_of
from kernelviz.wording import counted, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernelviz.records import Array
    from kernelviz.report.contents import Report, ReportImage

_PARTS = files("kernelviz.report") / "page"
_IMAGE_FILE = re.compile(r"^sample:|\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif)$", re.IGNORECASE)
_PALETTES: dict[str, ColourTable] = {
    "signed": Ramp(None, signed=True),
    "positive": Ramp(WHITE_RED, signed=False),
    "cells": TintRamp(pale=True),
}


def report_page(report: Report) -> str:
    """The page of a report: complete without its script, and alive with it."""
    index, blocks = packed(report)
    layers: list[dict[str, Any]] = index["layers"]
    thing = "photograph" if all(image.offset for image in report.images) else "input"
    sentences = [layer_sentence(layer, thing) for layer in layers]
    bars = [_bar(layer, text, report.input_size) for layer, text in zip(layers, sentences, strict=True)]
    model = visible(report.source.model if report.source else report.label)
    images = [_image_facts(image, entry) for image, entry in zip(report.images, index["images"], strict=True)]
    what = _IMAGE_FILE.sub("", images[0]["name"]) if len(images) == 1 else counted(len(images), "image")
    script = joined_script("main.js")
    style = (
        f"{part_text('page.css')}\n#strip {{ min-width: {SLOT * len(bars)}px; max-width: {5 * SLOT * len(bars)}px; }}\n"
    )
    return template("page.html.jinja").render(
        title=f"How {model} sees {what}", policy=content_policy(script, style), style=style,
        lead=_lead(report, layers, thing), thing=thing, images=images, random=index["random"], label=index["label"],
        model=model, notes=_notes(index), branches=branches(bars), example=_example(layers),
        searched=counted(report.patch_set, "image") if report.patch_set else "",
        skyline=skyline(bars, stages_of([layer["name"] for layer in layers]), sqrt(prod(_two(report.input_size)))),
        layers=[{**layer, "sentence": text, "address": bar.address, "sees": _sees(layer), "seen": bar.seen}
                for layer, text, bar in zip(layers, sentences, bars, strict=True)],
        texts=json_text({"palettes": palettes(), "sentences": sentences, "thing": thing}),
        index=json_text(index),
        script=script, blocks=blocks.items(),
    )  # fmt: skip


def palettes() -> dict[str, dict[str, str]]:
    """The colours of levels for a light and a dark page, as base64 of (n, 3) bytes."""
    return {
        name: {
            kind: base64.b64encode(palette_in(LOOKS[look], table).tobytes()).decode("ascii")
            for kind, table in _PALETTES.items()
        }
        for name, look in (("light", "page"), ("dark", "dark"))
    }


def content_policy(script: str, style: str) -> str:
    """The policy that allows this script, this style and pictures inside the page, and nothing else."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


_IMPORT = re.compile(r'^import \{\s*(\w+(?:,\s*\w+)*),?\s*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^(?:async function|function|const|let|var|class) (\w+)", re.MULTILINE)
_REFUSED = re.compile(
    r"^(?:import|export|(?:const|let|var) *[{\[])|\bimport\(\s*[^\"]|</script|<!--", re.MULTILINE | re.IGNORECASE
)


@cache
def joined_script(name: str) -> str:
    """A module of the page with all modules that it imports, in front of it, as one script.

    Raises:
        ValueError: an import or export is not of the form ``import { a, b } from "./x.js";`` or ``export function``, two
            modules declare one name, or the script would end its element.
    """
    found: dict[str, str] = {}
    declared: dict[str, str] = {}
    _follow(name, found, declared)
    return "\n".join(found.values())


def _follow(name: str, found: dict[str, str], declared: dict[str, str]) -> None:
    if name in found:
        return
    text = part_text(name)
    for _, other in _IMPORT.findall(text):
        _follow(other, found, declared)
    text = re.sub(r"^export (?=async function|function|const|let|class)", "", _IMPORT.sub("", text), flags=re.MULTILINE)
    if refused := _REFUSED.search(text):
        raise ValueError(f"{name} contains {refused.group()!r}, which cannot be joined")
    for each in _DECLARED.findall(text):
        if declared.setdefault(each, name) != name:
            raise ValueError(f"{name} and {declared[each]} both declare {each}")
    found[name] = text


def part_text(name: str) -> str:
    """The text of a file of the page."""
    return (_PARTS / name).read_text(encoding="utf-8")


class _Loader(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Any]:
        del environment
        try:
            return part_text(template), None, None
        except FileNotFoundError:
            raise TemplateNotFound(template) from None


def template(name: str) -> Template:
    """A template of the page; what it is given is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=_Loader(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters["breakable"] = _breakable
    found.filters["words"] = _words
    found.filters["unbroken"] = lambda text: text.replace(" × ", "\u00a0×\u00a0")
    return found


def _words(text: str) -> Markup:
    """A heading that is broken between its words, and within one only if it is too long for a line."""
    return Markup(" ").join(Markup("<span>{}</span>").format(_breakable(word)) for word in text.split(" "))


def _breakable(name: str) -> Markup:
    """A name that is broken after its dots, slashes and underscores where it is too long for a line."""
    return Markup("<wbr>").join(re.split(r"(?<=[._/])(?=.)", name))


def layer_sentence(layer: Mapping[str, Any], thing: str = "photograph") -> str:
    """What a layer is and reads: ``3 × 3 convolution. 3 → 32 channels of 112 × 112. Receptive field 3 × 3 pixels.``.

    ``thing`` is what the network is given, a photograph or another input.
    """
    rows, columns = layer["map"]
    size = (
        f"{rows} × {columns}" if layer["slices"] < 2 else f"{layer['slices']} × {rows // layer['slices']} × {columns}"
    )
    if layer["in"] is None:
        channels = f"{counted(layer['out'], 'channel')} of {size}"
    else:
        channels = f"{layer['in']:,} → {counted(layer['out'], 'channel')} of {size}"
    return f"{_kind(layer)}. {channels}. {_seen(layer, thing)}"


def _kind(layer: Mapping[str, Any]) -> str:
    if layer["conv"] is None or not layer["kernel"]:
        return str(layer["kind"])
    name = {"depthwise": "depthwise convolution", "transposed": "transposed convolution"}.get(
        layer["conv"], "convolution"
    )
    kernel = layer["kernel"]
    parts = [f"{' × '.join(map(str, kernel))} {name}" if len(kernel) > 1 else f"{name} of kernel size {kernel[0]}"]
    if layer["conv"] == "grouped" or (layer["conv"] == "transposed" and (layer["groups"] or 1) > 1):
        parts[0] += f" in {layer['groups']} groups"
    if layer["conv"] == "pointwise":
        parts.append("pointwise")
    for fact in ("stride", "dilation"):
        sizes = set(layer[fact] or (1,))
        if sizes != {1}:
            parts.append(f"{fact} {sizes.pop() if len(sizes) == 1 else ' × '.join(map(str, layer[fact]))}")
    return ", ".join(parts)


def _seen(layer: Mapping[str, Any], thing: str) -> str:
    field = layer["field"]
    if field is None:
        return f"Receptive field unknown: {layer['lost']}." if layer["lost"] else "Receptive field unknown."
    if None in field["size"]:
        return "The receptive field depends on the position of the unit."
    rows, columns = field["size"]
    more = f", and through a gate, a mean or attention the whole {thing}" if field["global"] else ""
    return f"Receptive field {rows:,} × {columns:,} {'pixels' if thing == 'photograph' else 'values'}{more}."


def _sees(layer: Mapping[str, Any]) -> str:
    field = layer["field"]
    if field is None or None in field["size"]:
        return "?"
    return f"{field['size'][0]:,} × {field['size'][1]:,}"


def _bar(layer: Mapping[str, Any], sentence: str, input_size: Sequence[int]) -> Bar:
    field, (rows, columns) = layer["field"], layer["map"]
    seen = None
    if field and None not in field["size"]:
        sides = [min(size, side) for size, side in zip(field["size"], _two(input_size), strict=True)]
        seen = sqrt(prod(sides) / prod(_two(input_size)))
    return Bar(
        layer["name"], f"{layer['name']}: {sentence}", "#" + quote(layer["name"], safe=_UNQUOTED), sqrt(rows * columns),
        layer["out"], seen, layer["conv"] == "pointwise",
    )  # fmt: skip


_UNQUOTED = "!'()*~"  # beside letters, digits, "-", "." and "_": what the page's own addresses leave as it is


def _two(input_size: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the input; an input of one axis has one row."""
    sides = tuple(input_size[1:])
    return (
        (1, sides[0]) if len(sides) == 1 else (sides[0], sides[1]) if len(sides) == 2 else (prod(sides[:-1]), sides[-1])
    )


def _example(layers: Sequence[Mapping[str, Any]]) -> str:
    """What to search for: the last part of a layer's name that contains a letter."""
    parts = (part for layer in reversed(layers) for part in reversed(layer["name"].split(".")))
    return next((part[:16] for part in parts if re.search(r"[^\W\d_]", part)), "")


def _lead(report: Report, layers: Sequence[Mapping[str, Any]], thing: str) -> str:
    convolving = all(layer["conv"] for layer in layers)
    what = counted(len(layers), "convolution" if convolving else "layer")
    plural = len(layers) > 1
    many = len(report.images) > 1
    images = counted(len(report.images), thing) if many else f"one {thing}"
    classes = any(image.top for image in report.images)
    verb = ("classify" if plural else "classifies") if classes else ("turn" if plural else "turns")
    end = f"{verb} {images}" if classes else f"{verb} {images} into feature maps"
    start = f"{what} {end}."
    if report.source and convolving:
        weights = f"{_large(report.source.params)} weights"
        most = 2 * sum(layer["params"] for layer in layers) > report.source.params
        start = (
            f"{what} with {weights} {end}." if most
            else f"{what} of a network with {weights}, applied to {images}."
        )  # fmt: skip
    choice = "a layer and a " if len(layers) > 1 else "a "
    hint = (
        f"Choose {choice}kernel, then point at its map to see how each number is computed."
        if any(layer["kernels"] for layer in layers)
        else f"Choose {choice}map, then point at it to see the receptive field of each unit."
    )
    return f"{start} {hint}"


def _large(number: int) -> str:
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,}"


def _image_facts(image: ReportImage, entry: Mapping[str, Any]) -> dict[str, Any]:
    top = [
        {"name": shown["label"] or f"class {each.index}", "share": f"{100 * each.probability:.1f}%",
         "text": f"{round(100 * each.probability)} %" if each.probability >= 0.005 else "< 1 %"}
        for each, shown in zip(image.top, entry["top"], strict=True)
    ]  # fmt: skip
    picture = base64.b64encode(_png(image.pixels)).decode("ascii")
    return {**entry, "top": top, "picture": f"data:image/png;base64,{picture}"}


def _notes(index: Mapping[str, Any]) -> list[str]:
    images = [f"{image['name']}: {note}" for image in index["images"] for note in image["notes"]]
    failed = [f"{each['name']} is left out: {each['reason']}" for each in index["failed"]]
    return [*failed, *index["notes"], *images]


def _png(pixels: Array) -> bytes:
    """Pixels (H, W, 3) as a PNG whose rows hold differences to the pixel on the left."""
    rows, columns = pixels.shape[:2]
    rests = row_differences(pixels)
    lines = b"".join(b"\x01" + rests[at : at + 3 * columns] for at in range(0, len(rests), 3 * columns))
    header = columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib_ng.compress(lines, 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib_ng.crc32(data, zlib_ng.crc32(kind)).to_bytes(4, "big")
        for kind, data in chunks
    )
