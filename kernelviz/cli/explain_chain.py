"""``kernelviz explain chain``: the sizes of stacked layers, along one dimension."""

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

Layers = Annotated[
    list[str],
    typer.Argument(
        metavar="LAYER...",
        help="Layers from the input on: conv3, with stride, padding and dilation conv3s2p1d2; pool2, pool3s2; "
        "a transposed convolution up4s2p1.",
    ),
]
Size = Annotated[int, typer.Option("--input", "-i", min=1, metavar="N", help="The number of values of the input.")]
Padding = Annotated[
    str | None,
    typer.Option(
        "--padding",
        metavar="same|valid",
        help="With same, convolutions without a padding of their own keep the size. Default: valid, no padding.",
        show_default=False,
    ),
]


def chain(
    layers: Layers,
    *,
    input_: Size = 16,
    padding: Padding = None,
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
    """Compute the sizes of stacked layers, and what one unit depends on; with -o, draw them.

    For example: kernelviz explain chain --input 16 conv6 conv6 conv6
    """

    def work(report: Report) -> None:
        from kernelviz.cli.explain_inputs import StepChoices
        from kernelviz.explain.chain import (
            chain_entry,
            chain_lines,
            chain_notes,
            chain_recipe,
            chain_summary,
            plot_chain,
            work_out_chain,
        )

        choices = StepChoices(
            file_format=file_format, directory=output, force=force, look=look, no_caption=no_caption, csv=csv
        )
        choices.check()
        named = parse_padding(padding)
        chains = work_out_chain(input_, layers, padding=named)
        report.note(*(note for each in chains for note in chain_notes(each) if note.endswith("fit")))
        names = [each.layer.text for each in chains[-1].layers]
        view = View(
            name=("chain", str(input_), *names, *(["same"] if chains[-1].same else [])),
            lines=chain_lines(chains),
            entry=chain_entry(chains),
            recipe=chain_recipe(chains),
            plot=partial(plot_chain, input_, layers, padding=named),
            shape=chains[-1].sizes,
            summary=chain_summary(chains),
        )
        show(view, choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def parse_padding(text: str | None) -> str | None:
    """``same`` or ``valid`` in any case; None if nothing was typed.

    Raises:
        UsageError: it is neither.
    """
    named = None if text is None else text.strip().lower()
    if named not in (None, "same", "valid"):
        raise UsageError(
            f"--padding must be same or valid, but got '{shown(text or '')}'.",
            "Numbers are written at each layer.",
            "For example conv3p1",
        )
    return named
