"""``kernelviz explain image``: an image as a grid of numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options, session
from kernelviz.cli.explain import Directory, Levels
from kernelviz.cli.explain_csv import Csv
from kernelviz.cli.explain_view import Format, View, show

if TYPE_CHECKING:
    from kernelviz.cli.session import Report

ImagePath = Annotated[
    str,
    typer.Argument(metavar="IMAGE", help="An image file, a URI, - for standard input, or sample:grace_hopper."),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="ROW,COLUMN",
        help="Upper left pixel of the part whose numbers are shown. Default: all of a small image, else the middle.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="SIDE|HxW",
        help="Rows and columns of the part, up to 32, of a coloured image up to 14. Default: 12.",
        show_default=False,
    ),
]

Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        metavar="SIDE|HxW",
        help="Resize the image first, each pixel the mean of the area that it covers; one number is the longer side. "
        "For example --resize 16",
        show_default=False,
    ),
]


def image(
    image: ImagePath,
    *,
    at: At = None,
    size: Size = None,
    levels: Levels = None,
    resize: Resize = None,
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
    """Show an image as a grid of pixels: its size, and its numbers, three for each pixel of a coloured one.

    For example: kernelviz explain image digit.png --levels 2
    """

    def work(report: Report) -> None:
        from kernelviz.cli.explain_inputs import StepChoices, parse_resize, sides
        from kernelviz.explain.image_page import (
            image_entry,
            image_hash,
            image_lines,
            image_recipe,
            part_name,
            part_of,
            plot_pixels,
        )
        from kernelviz.files.images import read_one_image
        from kernelviz.files.pixels import resized_sides
        from kernelviz.views.pixels import as_pixels

        choices = StepChoices(
            file_format=file_format, directory=output, force=force, look=look, no_caption=no_caption, csv=csv
        )
        choices.check()
        position = options.parse_position(at, "pixel")
        lengths = None if size is None else sides("size", size)
        wanted = None if lengths is None else (lengths[0], lengths[-1])
        target = parse_resize(resize)
        found = read_one_image(image)
        resized = None if target is None else resized_sides(found, target)
        part = part_of(as_pixels(found, levels=levels, size=resized), position, wanted)
        report.note(*part.pixels.notes)
        name = ("image", found.stem, image_hash(part)[:8])
        view = View(
            name=(*name, *part_name(part)),
            lines=image_lines(part),
            entry=image_entry(part),
            recipe=image_recipe(part),
            plot=partial(plot_pixels, found, levels=levels, at=position, size=wanted, resize=resized),
            shape=part.pixels.planes.shape,
            drawn_name=lambda facts: (*name, *facts.get("part", part_name(part))),
        )
        show(view, choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)
