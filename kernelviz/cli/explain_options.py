"""The options of ``kernelviz explain``, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kernelviz.cli.options import OUTPUT, PICTURES

NUMBERS = "Numbers"
SIDES = "SIDE|HxW"


class Drawn(StrEnum):
    """The formats of pictures and of animations."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    GIF = "gif"
    WEBP = "webp"


class PoolKind(StrEnum):
    """What a pool keeps of a window."""

    MAX = "max"
    AVERAGE = "average"


def _sides(name: str, text: str) -> object:
    return typer.Option(name, metavar=SIDES, help=text, show_default=False)


Input = Annotated[
    str,
    typer.Option(
        "--input",
        "-i",
        metavar="SIZE|NUMBERS|CSV",
        help="A size (7 or 5x7), the numbers themselves ('1 2 3; 4 5 6', channels apart by |), or a CSV file.",
    ),
]
Kernel = Annotated[str | None, _sides("--kernel", "Rows and columns of the kernel; 3 unless its values say.")]
Window = Annotated[str | None, _sides("--kernel", "Rows and columns of a window; 2 unless the pool is adaptive.")]
Stride = Annotated[str, _sides("--stride", "By how much the window moves; 1 unless said.")]
PoolStride = Annotated[str | None, _sides("--stride", "By how much the window moves; the kernel's sides unless said.")]
Stamps = Annotated[str, _sides("--stride", "How far the stamps are apart; 1 unless said.")]
Padding = Annotated[
    str,
    typer.Option(
        "--padding",
        metavar="SIDE|HxW|T,B,L,R|same|valid",
        help="Zeros around the input: one number, two, or top,bottom,left,right; none unless said.",
        show_default=False,
    ),
]
PoolPadding = Annotated[str, _sides("--padding", "Around the input, at most half of the kernel; none unless said.")]
CutOff = Annotated[str, _sides("--padding", "Cut off the output at each end; none unless said.")]
OutputPadding = Annotated[str, _sides("--output-padding", "Added to the output behind; none unless said.")]
Dilation = Annotated[str, _sides("--dilation", "How far the taps of the kernel are apart; 1 unless said.")]
Groups = Annotated[int, typer.Option("--groups", min=1, help="Into how many groups the channels fall.")]
InChannels = Annotated[
    int | None,
    typer.Option(
        "--in-channels", min=1, metavar="N", help="Channels of the input; 1 unless its numbers say.", show_default=False
    ),
]
OutChannels = Annotated[
    int | None,
    typer.Option(
        "--out-channels",
        min=1,
        metavar="N",
        help="Channels of the output; as few as groups and kernel values allow unless said.",
        show_default=False,
    ),
]
Kind = Annotated[PoolKind, typer.Option("--kind", help="What a window passes on.")]
CeilMode = Annotated[bool, typer.Option("--ceil-mode", help="Count a last window that reaches out of the input, too.")]
CountPad = Annotated[
    bool,
    typer.Option("--count-include-pad/--no-count-include-pad", help="Whether padding counts in an average."),
]
Adaptive = Annotated[
    str | None, _sides("--adaptive", "An adaptive pool: the size of its output, instead of kernel, stride and padding.")
]
KernelValues = Annotated[
    str | None,
    typer.Option(
        "--kernel-values",
        metavar="NUMBERS|CSV|NAME",
        help="Written like the input, a plane for each input channel of each output channel, or one for all; "
        "or a name: sobel-x, sobel-y, laplacian.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Bias = Annotated[
    str | None,
    typer.Option(
        "--bias", metavar="NUMBERS", help="One number, or one an output channel.", show_default=False,
        rich_help_panel=NUMBERS,
    ),
]  # fmt: skip
NumberSeed = Annotated[
    int, typer.Option("--seed", min=0, help="Of the whole numbers that are not given.", rich_help_panel=NUMBERS)
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN",
        help="Only this output cell; the picture shows the first one unless said.",
        show_default=False,
        rich_help_panel=NUMBERS,
    ),
]
Channel = Annotated[
    int, typer.Option("--channel", min=0, metavar="N", help="Which output channel is shown.", rich_help_panel=NUMBERS)
]
Steps = Annotated[bool, typer.Option("--steps", help="Draw a sheet of all steps.", rich_help_panel=PICTURES)]
Animate = Annotated[bool, typer.Option("--animate", help="Draw the sliding window.", rich_help_panel=PICTURES)]
Fps = Annotated[
    float | None,
    typer.Option(
        "--fps",
        min=0.1,
        max=50,
        metavar="N",
        help="Steps a second; one in 0.9 seconds unless said.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Format = Annotated[
    Drawn | None,
    typer.Option(
        "--format",
        help="png unless said; of an animation gif, or webp.",
        show_default=False,
        rich_help_panel=PICTURES,
    ),
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Draw, into this directory; without it the explanation is printed.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
