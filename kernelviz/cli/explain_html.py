"""``kernelviz explain conv --html``: a page to play with the convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import session
from kernelviz.cli.options import PICTURES
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_conv_views import ConvViews
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices
    from kernelviz.cli.session import Report

Html = Annotated[
    bool,
    typer.Option(
        "--html",
        help="Write a page in which to type numbers, move the window, change stride, padding and dilation, and guess.",
        rich_help_panel=PICTURES,
    ),
]


def explain_html(
    inputs: ExplainInputs,
    choices: StepChoices,
    build: Callable[[], Operation],
    views: ConvViews,
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Work out the convolution that ``build`` returns, and write the page to play with it."""

    def work(report: Report) -> None:
        from kernelviz.explain.plots import numbers_hash
        from kernelviz.explain.texts import chosen_steps, explanation_entry, made_up_text
        from kernelviz.explain.walkthrough import check_cost
        from kernelviz.exploring import make_playground, save_playground
        from kernelviz.files.names import file_stems

        _check(choices, views)
        operation = build()
        check_cost(operation, as_json=as_json)
        worked = inputs.work_out(operation, report)
        steps = chosen_steps(worked, choices.channel, choices.cell)
        choices.warn_of_limit(len(steps), operation, report)
        at = choices.cell or (0, 0)
        page = make_playground(worked, at=at)
        sizes = ("x".join(map(str, sides)) for sides in (operation.input_size, operation.kernel))
        stem = file_stems([("conv", *sizes, numbers_hash(worked)[:8], "playground", f"{at[0]}-{at[1]}")])[0]
        if choices.directory is None:
            raise TypeError(choices)
        path = save_playground(page, choices.directory / f"{stem}.html", force=choices.force)
        report.add_output(session.recipe_row(path, page.recipe, shape=worked.output.shape))
        if as_json:
            report.more |= explanation_entry(operation, worked, steps) | {"known_filters": inputs.known}
        else:
            report.inform(*([f"numbers: {made_up_text(worked)}"] if worked.made_up else []), *report.warnings)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def _check(choices: StepChoices, views: ConvViews) -> None:
    """Reject options of pictures, and a missing directory.

    Raises:
        UsageError: there are such options.
    """
    given = {
        "--steps": choices.steps, "--animate": choices.animate, "--frames": choices.frames, "--arrays": choices.arrays,
        "--csv": choices.csv is not None, "--format": choices.file_format is not None, "--look": choices.look != "page",
        "--no-caption": choices.no_caption, "--maps": views.maps, "--uses": views.uses, "--matrix": views.matrix,
        "--relu": views.relu, "--pool": views.pool is not None,
    }  # fmt: skip
    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(f"--html and {wrong[0]} exclude each other.", hint="Omit one of them.")
    if choices.directory is None:
        raise UsageError("--html needs an output directory.", hint="Add -o kernelviz-out")
    choices.check()
