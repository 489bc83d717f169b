"""The options that several commands share."""

from __future__ import annotations

import ast
import math
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.errors import UsageError
from kernelviz.storage.uris import as_path
from kernelviz.threads import MOST_THREADS
from kernelviz.version import __version__
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.network.model import Model


IMAGES = "Images"
MANY = "Many images"
PICTURES = "Pictures"
WEIGHTS = "Weights"
OUTPUT = "Output"


class Style(StrEnum):
    """What is written: a page with title, numbers and caption, or the tiles alone."""

    FIGURE = "figure"
    BARE = "bare"


class LookName(StrEnum):
    """How pages look."""

    PAGE = "page"
    SLIDE = "slide"
    DARK = "dark"
    PRINT = "print"


class FileFormat(StrEnum):
    """The formats of pictures."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


class AnyFormat(StrEnum):
    """The formats of pictures and animations."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    GIF = "gif"
    WEBP = "webp"


class DeviceName(StrEnum):
    """Where the forward pass runs; auto selects a GPU if there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Kind(StrEnum):
    """Kinds of layers."""

    CONV = "conv"
    NORM = "norm"
    ACT = "act"
    POOL = "pool"
    LINEAR = "linear"
    ALL = "all"


class InterpolationName(StrEnum):
    """How images are resized."""

    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    LANCZOS = "lanczos"
    NEAREST = "nearest"
    BOX = "box"
    HAMMING = "hamming"


class ViewName(StrEnum):
    """How kernels become tiles."""

    AUTO = "auto"
    RGB = "rgb"
    SUM = "sum"
    NORM = "norm"
    CHANNELS = "channels"
    MATRIX = "matrix"
    SPECTRUM = "spectrum"


class SortName(StrEnum):
    """By what kernels and maps are sorted."""

    INDEX = "index"
    NORM = "norm"
    MEAN = "mean"
    MAX = "max"
    STD = "std"


class PaletteName(StrEnum):
    """Which colours are used where the standard ones are not for every kind of colour vision."""

    STANDARD = "standard"
    SAFE = "safe"
    PLANES = "planes"


def _print_version(value: bool) -> None:  # noqa: FBT001  (how Typer calls it)
    if value:
        from kernelviz.cli import terminal

        terminal.print_result(f"kernelviz {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]


def _complete_model(incomplete: str) -> list[str]:
    from kernelviz.cli.completion import complete_model

    return complete_model(incomplete)


def complete_layer(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of layers of the model that is typed already; for ``autocompletion``."""
    from kernelviz.cli import completion

    model = ctx.params.get("model") or next(iter(ctx.args), None)  # after `--layer` it is not parsed yet
    return completion.complete_layer(model, ctx.params.get("model_arg"), incomplete)


ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A timm model (resnet18d, resnet18d.ra2_in1k), torchvision:resnet18, hf-hub:org/name@revision, "
        "local-dir:PATH, or your own code, which is run: my_net.py:Net, package.module:function.",
        autocompletion=_complete_model,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer: its exact name (name#2 means the same), a glob over dotted names ('layer*.conv1'; '*' matches all), "
        "or stage:0. "
        "A container selects the convolutions inside it. Repeatable. "
        "Default: the first convolution.",
        show_default=False,
        autocompletion=complete_layer,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Read folders, including their subfolders.")]
WeightsChoice = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="auto|bundled|hub|random|FILE",
        help="Where the weights come from. auto: the local hub cache, else the bundled file, else the hub. "
        "hub: the hub, even if the file is cached. FILE: safetensors or a torch checkpoint, also by a URI, in which the "
        "weights are found by their names.",
        rich_help_panel=WEIGHTS,
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        "--weights-key",
        metavar="PATH",
        help="Which weights to load if a FILE holds several: its keys and the prefix of the names, joined by dots, for "
        "example --weights-key model.state_dict ('' for the top level). Default: what fits the model, averaged weights "
        "first, teachers and momentum encoders last; the choice is reported.",
        show_default=False,
        rich_help_panel=WEIGHTS,
    ),
]
Partial = Annotated[
    bool,
    typer.Option(
        "--partial",
        help="Load the weights of a FILE that fit, for example if the head of the network was replaced. Layers without "
        "weights are not drawn.",
        rich_help_panel=WEIGHTS,
    ),
]
ModelArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--model-arg",
        metavar="KEY=VALUE",
        help="An argument of the function or class that builds the model: a Python literal, else text. For example "
        "--model-arg width=8. "
        "Repeatable.",
        show_default=False,
        rich_help_panel=WEIGHTS,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of random weights.", rich_help_panel=WEIGHTS)]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Abort a download after this many seconds without data.",
        rich_help_panel=WEIGHTS,
    ),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Ignore what earlier runs cached about this model; `kernelviz env` shows where.",
        rich_help_panel=WEIGHTS,
    ),
]


def target_path(text: str | os.PathLike[str]) -> Path:
    """The path of files to write, or a ``Uri``.

    Raises:
        UsageError: it is empty, which would be the current directory, or contains a NUL character, as no path does.
    """
    if not os.fspath(text):
        raise UsageError("The path of the output is empty.", hint="Give a directory; `.` is the current one.")
    path = as_path(text)
    if "\0" in str(path):  # also %00 of a file URI
        raise UsageError(
            f"The path of the output contains a NUL character: {shown(path)}", hint="Give another directory."
        )
    return path


Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        parser=target_path,
        metavar="DIR|URI",
        help="Output directory; created if missing. URI: a folder elsewhere, such as s3://bucket/maps.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Overwrite files, even those that are not an earlier run of the same command.",
        rich_help_panel=OUTPUT,
    ),
]
Arrays = Annotated[
    bool,
    typer.Option(
        "--arrays",
        help="Also write the drawn numbers as .npz.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no messages.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print more, for example the captions, and the notes on each of several images.",
        rich_help_panel=OUTPUT,
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.", rich_help_panel=OUTPUT)]
StyleChoice = Annotated[
    Style,
    typer.Option(
        "--style", help="figure: a page with caption and colour bar; bare: the tiles alone.", rich_help_panel=PICTURES
    ),
]
LookChoice = Annotated[
    LookName,
    typer.Option(
        "--look",
        help="page: with caption; slide: 1280 × 720, large type, no caption; dark: dark background; print: for "
        "black-and-white printers.",
        rich_help_panel=PICTURES,
    ),
]
NoCaption = Annotated[
    bool,
    typer.Option(
        "--no-caption",
        help="Omit the caption of a page and the line below its title, and print them instead.",
        rich_help_panel=PICTURES,
    ),
]
Format = Annotated[
    FileFormat,
    typer.Option("--format", help="File format of the pictures; bare tiles are always PNG.", rich_help_panel=PICTURES),
]
Stored = Annotated[
    bool,
    typer.Option(
        "--stored",
        help="Draw the stored weights, even if the layer transforms them before the convolution.",
        rich_help_panel=WEIGHTS,
    ),
]
View = Annotated[
    ViewName,
    typer.Option("--view", help="How kernels become tiles; auto depends on their shape.", rich_help_panel=PICTURES),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-15,40", help="Draw only these kernels.", show_default=False, rich_help_panel=PICTURES
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        metavar="N",
        help="Draw only the first N, in the order of --sort.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Sort = Annotated[
    SortName | None,
    typer.Option(
        "--sort",
        help="Sort by this value, largest first; index keeps the order of the layer. Default: index; with --top: norm.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="tile|layer|LO,HI",
        help="Range of the colours: one per tile, one for the whole layer, or the given one. "
        "Default: tile for rgb, else layer.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Cmap = Annotated[
    str | None,
    typer.Option(
        "--cmap",
        metavar="NAME",
        help="A matplotlib colour map; rgb and pca take none.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Palette = Annotated[
    PaletteName,
    typer.Option(
        "--palette",
        help="safe: colours for every kind of colour vision. Kernels in the view rgb are also drawn as light–dark, "
        "yellow–blue and red–green planes; pca as light–dark, orange–blue and a third picture; overlays in orange and "
        "blue. All other pictures are colour-safe already. planes: each plane and component by itself, as --look print "
        "draws them. For example --view rgb --palette safe",
        rich_help_panel=PICTURES,
    ),
]
Columns = Annotated[
    int | None,
    typer.Option("--columns", min=1, metavar="N", help="Tiles per row.", show_default=False, rich_help_panel=PICTURES),
]
Zoom = Annotated[
    int | None,
    typer.Option(
        "--zoom",
        min=1,
        max=10_000,
        metavar="N",
        help="Pixels per weight.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
KindChoice = Annotated[
    Kind | None,
    typer.Option(
        "--kind",
        help="Only layers of this kind; all includes layers that change nothing, such as Identity.",
        show_default=False,
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="SIDE|H,W|C,H,W",
        help="Input size in pixels; C,L for networks of signals and C,D,H,W for networks of volumes. Default: the model's "
        "own; for your own code 224 × 224, with the channels of its first convolution.",
        show_default=False,
    ),
]
Crop = Annotated[
    bool | None,
    typer.Option(
        "--crop/--no-crop",
        help="Crop the centre of the image, or resize all of it. Default: as the model was evaluated.",
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LO,HI",
        help="Values of the image that map to 0 and 1, for example --range=-1000,400. Default: the full scale of 8 or 16 "
        "bits. For floating-point values: 0,1 if they are within it; 0,255 if they are within it and exceed half of it, "
        "within a tenth; else the smallest and the largest value without padding and outliers. HI,LO inverts.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        "--bands",
        metavar="4,3,2",
        help="Read these bands of the image, in this order, counted from 1. Default: the first, as many as are needed.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="X|X,Y,Z|imagenet|none",
        help="Mean that is subtracted from the image (values from 0 to 1): one number, or one per channel; none: 0. "
        "Default: the model's own.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        "--std",
        metavar="X|X,Y,Z|imagenet|none",
        help="Standard deviation that the image is divided by after --mean; none: 1. For example --mean 0.5 --std 0.5. "
        "Default: the model's own.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Interpolation = Annotated[
    InterpolationName | None,
    typer.Option(
        "--interpolation",
        help="How the image is resized. Default: the model's own.",
        show_default=False,
        rich_help_panel=IMAGES,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=MOST_THREADS,
        metavar="N",
        help="CPU threads that torch uses in the forward pass.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=10_000,
        metavar="N",
        help="Process the images in N worker processes, with one thread each (--threads) or, with --device cuda, one "
        "GPU each. Needs Ray, the extra `ray`.",
        show_default=False,
        rich_help_panel=MANY,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Process the images on a Ray cluster: auto, or HOST:PORT of its head. --workers limits the number of workers.",
        show_default=False,
        rich_help_panel=MANY,
    ),
]
Device = Annotated[
    DeviceName, typer.Option("--device", help="Device of the forward pass; auto: a GPU if there is one.")
]


def parse_range(text: str | None) -> tuple[float, float] | None:
    """The two numbers of ``LO,HI``.

    Raises:
        UsageError: they are not two different numbers.
    """
    if text is None:
        return None
    numbers = _numbers(text)
    if len(numbers) != 2 or numbers[0] == numbers[1]:
        what = f"--range must be LO,HI, two different numbers, but got {text!r}."
        raise UsageError(what, hint="For example --range=-1000,400")
    return numbers[0], numbers[1]


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """The numbers of bands in ``4,3,2``.

    Raises:
        UsageError: they are not whole numbers from 1.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and word.isascii() and len(word) < 6 and int(word) for word in words):
        what = f"--bands must be whole numbers, counted from 1, but got {text!r}."
        raise UsageError(what, hint="For example --bands 4,3,2")
    return tuple(map(int, words))


def parse_normalising(text: str | None, option: str) -> str | tuple[float, ...] | None:
    """``imagenet``, ``none``, or the numbers of ``0.5`` or ``0.5,0.4,0.3``.

    Raises:
        UsageError: the text is none of them.
    """
    if text is None or text in ("imagenet", "none"):
        return text
    numbers = _numbers(text)
    if not numbers or (option == "--std" and min(numbers) <= 0):
        kind = "positive numbers" if option == "--std" else "numbers"
        what = f"{option} must be {kind} (one, or one per channel), imagenet or none, but got {text!r}."
        raise UsageError(what, hint=f"For example {option} 0.5")
    return numbers


def _numbers(text: str) -> tuple[float, ...]:
    """Finite numbers separated by commas; () if it is anything else."""
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) and "_" not in text else ()


def parse_position(text: str | None, name: str) -> tuple[int, int] | None:
    """Row and column from ``10,5``; ``name`` is what has this position.

    Raises:
        UsageError: the text is not two whole numbers.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None:
        raise UsageError(f"A {name} must be ROW,COLUMN, counted from 0, but got {text!r}.", hint="For example --at 0,2")
    return int(match[1]), int(match[2])


def parse_model_args(texts: Sequence[str] | None) -> dict[str, Any]:
    """The values of ``width=8``: Python literals, else text.

    Raises:
        UsageError: one is not of this form, or a name is given twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            what = f"--model-arg must be KEY=VALUE, but got {shown(repr(text))}."
            raise UsageError(what, hint="For example --model-arg width=8")
        if name in arguments:
            raise UsageError(f"--model-arg {shown(name)} is given twice.", hint="Omit one of them.")
        try:
            arguments[name] = ast.literal_eval(value.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            arguments[name] = value
    return arguments


def parse_input_size(text: str | None, *, traced: bool = False) -> tuple[int, ...] | None:
    """The numbers of ``224``, ``224,320`` or ``3,224,320``, up to four; larger if an image of this size is only ``traced``.

    Raises:
        UsageError: the text is malformed, or a number is too large.
    """
    if text is None:
        return None
    try:
        sides = tuple(int(side) for side in text.replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2, 3, 4) or min(sides) < 1:
        what = f"--input-size must be SIDE, H,W or C,H,W in pixels, but got {shown(repr(text))}."
        raise UsageError(what, hint="For example --input-size 224,320")
    from kernelviz.network.weights.names import LARGEST_SIDE, LARGEST_TRACED

    most = LARGEST_TRACED if traced else LARGEST_SIDE
    if max(sides) > most:
        raise UsageError(f"--input-size must be at most {most}, but got {shown(repr(text))}.")
    return sides


def parse_sides(text: str | None, *, traced: bool = False) -> tuple[int, int] | None:
    """(H, W) of ``parse_input_size`` for a network of images.

    Raises:
        UsageError: the text is malformed, or a side is too large.
    """
    size = parse_input_size(text, traced=traced)
    return None if size is None else ((size * 2)[-2], size[-1])


def parse_size(text: str | None, network: Model, *, traced: bool = False) -> tuple[int, ...] | None:
    """The size of an input of the network with its number of channels.

    Raises:
        UsageError: the text is malformed, a side is too large, or the network reads another number of axes.
    """
    size = parse_input_size(text, traced=traced)
    if size is None:
        return None
    from kernelviz.network.model import full_size

    return full_size(network, size)
