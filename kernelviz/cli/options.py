"""The options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.version import __version__

if TYPE_CHECKING:
    from kernelviz.network.model import Model


PICTURES = "Pictures"
WEIGHTS = "Weights"
OUTPUT = "Output"


class Style(StrEnum):
    """What is written: a page with title, numbers and caption, or the tiles alone."""

    FIGURE = "figure"
    BARE = "bare"


class FileFormat(StrEnum):
    """The formats of pictures."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


class DeviceName(StrEnum):
    """Where a pass runs; auto takes a GPU where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Kind(StrEnum):
    """Which layers are listed."""

    CONV = "conv"
    NORM = "norm"
    ACT = "act"
    POOL = "pool"
    LINEAR = "linear"
    ALL = "all"


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
    """By what kernels and maps are ordered."""

    INDEX = "index"
    NORM = "norm"
    MEAN = "mean"
    MAX = "max"
    STD = "std"


def _print_version(value: bool) -> None:  # noqa: FBT001  (how Typer calls it)
    if value:
        from kernelviz.cli import terminal

        terminal.result(f"kernelviz {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]


def _complete_model(incomplete: str) -> list[str]:
    from kernelviz.cli.completion import complete_model

    return complete_model(incomplete)


ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A timm architecture, such as resnet18d or resnet18d.ra2_in1k; hf-hub:org/name[@revision]; local-dir:PATH.",
        autocompletion=_complete_model,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer by its exact name, a glob over dotted names ('layer*.conv1'), or stage:0. Repeatable. "
        "Without it: the first convolution of the pass; '*' is all of them.",
        show_default=False,
    ),
]
WeightsChoice = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="auto|bundled|hub|random|FILE",
        help="Where the weights come from. auto: the hub's cache on this machine, without a request; else bundled, else "
        "the hub. hub: asks it again; only a whole file from a link, with its hash in its name, is taken unasked. "
        "A FILE is safetensors or a torch checkpoint.",
        rich_help_panel=WEIGHTS,
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of random weights.", rich_help_panel=WEIGHTS)]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="How long nothing may come from the hub; a download that goes on takes its time.",
        rich_help_panel=WEIGHTS,
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="A directory; it is made.", rich_help_panel=OUTPUT)
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files that are no earlier run of the same.", rich_help_panel=OUTPUT)
]
Arrays = Annotated[
    bool,
    typer.Option(
        "--arrays",
        help="Also write the numbers drawn, as .npz; sums and norms over channels are float64.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print paths only, and no remarks.", rich_help_panel=OUTPUT)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what each caption says.", rich_help_panel=OUTPUT)]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=OUTPUT)]
StyleChoice = Annotated[Style, typer.Option("--style", help="A page, or the bare tiles.", rich_help_panel=PICTURES)]
Format = Annotated[
    FileFormat, typer.Option("--format", help="Of figures; bare tiles are PNG.", rich_help_panel=PICTURES)
]
Stored = Annotated[
    bool,
    typer.Option(
        "--stored",
        help="The weights as stored, where a layer convolves with others (standardised, parametrised).",
        rich_help_panel=WEIGHTS,
    ),
]
View = Annotated[
    ViewName,
    typer.Option("--view", help="How kernels become tiles; auto goes by their shape.", rich_help_panel=PICTURES),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels", metavar="0-15,40", help="Only these kernels.", show_default=False, rich_help_panel=PICTURES
    ),
]
Top = Annotated[
    int | None,
    typer.Option("--top", min=1, metavar="N", help="Only the first N.", show_default=False, rich_help_panel=PICTURES),
]
Sort = Annotated[
    SortName | None,
    typer.Option(
        "--sort",
        help="In which order, the largest first; with --top it is norm unless said.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="tile|layer|LO,HI",
        help="What full colour means: each tile's own largest value, the layer's, or this range. "
        "For rgb it is tile unless said, else layer.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Cmap = Annotated[
    str | None,
    typer.Option(
        "--cmap", metavar="NAME", help="A colour map of matplotlib.", show_default=False, rich_help_panel=PICTURES
    ),
]
Columns = Annotated[
    int | None,
    typer.Option("--columns", min=1, metavar="N", help="Tiles in a row.", show_default=False, rich_help_panel=PICTURES),
]
Zoom = Annotated[
    int | None,
    typer.Option(
        "--zoom", min=1, max=10_000, metavar="N", help="Pixels a weight.", show_default=False, rich_help_panel=PICTURES
    ),
]
KindChoice = Annotated[
    Kind | None,
    typer.Option(
        "--kind", help="Only layers that compute this; all includes those that hand on their input.", show_default=False
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="SIDE|H,W",
        help="Of the image, in pixels; the model's own unless said.",
        show_default=False,
    ),
]
Crop = Annotated[
    bool | None,
    typer.Option("--crop/--no-crop", help="Cut out the middle, or show it all; the model's own rule unless said."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="Of torch, in the pass.", show_default=False)
]
Device = Annotated[DeviceName, typer.Option("--device", help="Where the pass runs.")]


def parse_place(text: str | None, name: str) -> tuple[int, int] | None:
    """Row and column from ``10,5``; ``name`` says of what.

    Raises:
        UsageError: they are no two whole numbers.
    """
    from kernelviz.errors import UsageError

    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None:
        raise UsageError(f"A {name} is ROW,COLUMN from 0 on, but got {text!r}.", hint="For example --at 0,2")
    return int(match[1]), int(match[2])


def parse_size(text: str | None, network: Model) -> tuple[int, int, int] | None:
    """(C, H, W) from ``224`` or ``224,320``.

    Raises:
        UsageError: it is neither.
    """
    from kernelviz.errors import UsageError

    if text is None:
        return None
    try:
        sides = [int(side) for side in text.replace("x", ",").split(",")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or not all(0 < side <= 2**16 for side in sides):
        raise UsageError(
            f"An input size is SIDE or H,W in pixels, but got {text!r}.", hint="For example --input-size 224,320"
        )
    return network.input_size[0], sides[0], sides[-1]


class Drawn(StrEnum):
    """The formats of pictures and of animations."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    GIF = "gif"
    WEBP = "webp"
