"""``kernelviz explain sharing``: dense, locally connected and shared weights."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options, session
from kernelviz.cli.explain import Directory
from kernelviz.cli.explain_csv import Csv
from kernelviz.cli.explain_view import Format, View, show
from kernelviz.errors import UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from kernelviz.cli.session import Report

IMAGE = "Image"

Units = Annotated[int, typer.Option("--units", metavar="N", help="The number of inputs, and of outputs, 3 to 9.")]
Kernel = Annotated[int, typer.Option("--kernel", metavar="N", help="The inputs that one output reads; odd.")]
ImageSize = Annotated[
    str,
    typer.Option(
        "--image", metavar="HxWxC", rich_help_panel=IMAGE,
        help="Height, width and channels of an image for which the weights are counted.",
    ),
]  # fmt: skip
Maps = Annotated[
    int, typer.Option("--maps", min=1, metavar="N", help="Kernels of a convolution of it.", rich_help_panel=IMAGE)
]
ImageKernel = Annotated[
    int, typer.Option("--image-kernel", min=1, metavar="N", help="The side of these kernels.", rich_help_panel=IMAGE)
]
Hidden = Annotated[
    int, typer.Option("--hidden", min=1, metavar="N", help="Units of a dense layer on it.", rich_help_panel=IMAGE)
]


def sharing(
    *,
    units: Units = 5,
    kernel: Kernel = 3,
    image: ImageSize = "10x10x3",
    maps: Maps = 100,
    image_kernel: ImageKernel = 5,
    hidden: Hidden = 300,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: Format = None,
    output: Directory = None,
    csv: Csv = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Compare the weights of a dense, a locally connected and a convolutional layer; with -o, draw them.

    For example: kernelviz explain sharing --units 7 --kernel 5
    """

    def work(report: Report) -> None:
        from kernelviz.arithmetic.sharing import ImageWeights, Sharing
        from kernelviz.cli.explain_inputs import StepChoices
        from kernelviz.explain.sharing import plot_sharing, sharing_entry, sharing_lines, sharing_recipe

        choices = StepChoices(
            file_format=file_format, directory=output, force=force, look=look, no_caption=no_caption, csv=csv
        )
        choices.check()
        layers, counts = Sharing(units, kernel), ImageWeights(_size(image), maps, image_kernel, hidden)
        sizes = "x".join(map(str, counts.image)), str(maps), str(image_kernel), str(hidden)
        view = View(
            name=("sharing", str(units), str(kernel), *sizes),
            lines=sharing_lines(layers, counts),
            entry=sharing_entry(layers, counts),
            recipe=sharing_recipe(layers, counts),
            plot=partial(
                plot_sharing, units, kernel, image=counts.image, maps=maps, image_kernel=image_kernel, hidden=hidden
            ),
            shape=(units, units),
        )
        show(view, choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def _size(text: str) -> tuple[int, int, int]:
    """Height, width and channels of ``10x10x3``; of ``10x10``, one channel.

    Raises:
        UsageError: it is something else.
    """
    from kernelviz.cli.explain_inputs import sides

    found = sides("image", text)
    if len(found) not in (2, 3):
        what = f"The image must be height, width and channels, but got '{shown(text)}'."
        raise UsageError(what, hint="For example --image 10x10x3")
    return found[0], found[1], found[2] if len(found) == 3 else 1
