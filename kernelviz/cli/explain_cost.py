"""``kernelviz explain cost``: settings of convolutions compared by weights and multiply-adds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import options, session
from kernelviz.cli.explain import SIDES, Directory
from kernelviz.cli.explain_chain import Padding, parse_padding
from kernelviz.cli.explain_csv import Csv
from kernelviz.cli.explain_view import Format, View, show

if TYPE_CHECKING:
    from kernelviz.cli.session import Report

Settings = Annotated[
    list[str],
    typer.Argument(
        metavar="SETTING...",
        help="Layers joined by +: conv7, conv3+conv3+conv3 or 3xconv3, depthwise dw7+conv1, conv1x7+conv7x1, pool2; "
        "with stride, padding, dilation, groups and output channels conv3s2p1d1g4c128.",
    ),
]
Size = Annotated[str, typer.Option("--input", "-i", metavar=SIDES, help="Size of the input: 56 or 48x64.")]
InChannels = Annotated[int, typer.Option("--in-channels", min=1, metavar="N", help="Channels of the input.")]
OutChannels = Annotated[
    int | None,
    typer.Option(
        "--out-channels", "--filters", min=1, metavar="N",
        help="Output channels of each convolution without channels of its own. Default: those of the input.",
        show_default=False,
    ),
]  # fmt: skip
Bias = Annotated[bool, typer.Option("--bias", help="Count a bias for each output channel of a convolution.")]


def cost(
    settings: Settings,
    *,
    input_: Size = "56",
    in_channels: InChannels = 64,
    out_channels: OutChannels = None,
    padding: Padding = None,
    bias: Bias = False,
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
    """Compare settings of convolutions by what they cost and what one output value reads; with -o, draw them.

    For example: kernelviz explain cost conv7 3xconv3 dw7+conv1 conv7s2 --padding same
    """

    def work(report: Report) -> None:
        from kernelviz.arithmetic.costs import compare_costs
        from kernelviz.cli.explain_inputs import StepChoices, sides
        from kernelviz.explain.costs import cost_entry, cost_lines, cost_recipe, plot_costs

        choices = StepChoices(
            file_format=file_format, directory=output, force=force, look=look, no_caption=no_caption, csv=csv
        )
        choices.check()
        named = parse_padding(padding)
        size = sides("input size", input_)
        costs = compare_costs(
            size, settings, in_channels=in_channels, out_channels=out_channels, padding=named, bias=bias
        )
        first = costs[0].layers[0].operation
        common = "x".join(map(str, (first.in_channels, *first.input_size)))
        rest = [*([f"to{out_channels}"] if out_channels else []), *(["same"] if named == "same" else [])]
        view = View(
            name=("cost", common, *rest, *(["bias"] if bias else []), *(each.text for each in costs)),
            lines=cost_lines(costs),
            entry=cost_entry(costs),
            recipe=cost_recipe(costs),
            plot=partial(
                plot_costs, size, settings, in_channels=in_channels, out_channels=out_channels, padding=named, bias=bias
            ),
        )
        show(view, choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)
