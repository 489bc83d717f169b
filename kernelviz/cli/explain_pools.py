"""``kernelviz explain pool --kind both``: maximum and average pooling of the same windows beside each other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernelviz.cli import session
from kernelviz.cli.explain_view import View, show
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices
    from kernelviz.cli.session import Report


def explain_pools(
    inputs: ExplainInputs,
    choices: StepChoices,
    build: Callable[[], Operation],
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Work out both kinds of the pool that ``build`` returns, and print or draw them."""

    def work(report: Report) -> None:
        from kernelviz.explain.plots import numbers_hash
        from kernelviz.explain.pools import (
            animate_pools,
            plot_pools,
            pool_pair,
            pools_entry,
            pools_lines,
            pools_recipe,
        )
        from kernelviz.explain.texts import chosen_steps, made_up_text
        from kernelviz.explain.walkthrough import check_cost

        if choices.steps:
            raise UsageError(
                "--steps draws one kind of pooling.", hint="Give --kind max or --kind average, or omit it."
            )
        choices.check()
        operation = build()
        check_cost(operation, as_json=as_json)
        worked = inputs.work_out(operation, report)
        pair, channel, cell = pool_pair(worked), choices.channel, choices.cell or (0, 0)
        chosen = [chosen_steps(each, channel, choices.cell) for _, each in pair.both]
        choices.warn_of_limit(len(chosen[0]), operation, report)
        moving = choices.animate or choices.frames
        plot = partial(animate_pools, fps=choices.fps) if moving else partial(plot_pools, at=cell)
        sides = ["x".join(map(str, each)) for each in (operation.input_size, operation.kernel)]
        own = (f"channel{channel}",) if operation.out_channels > 1 else ()
        view = "pools-animation" if moving else "pools"
        position = () if moving else ("-".join(map(str, cell)),)
        made = View(
            name=("pool", *sides, numbers_hash(worked)[:8], view, *own, *position),
            lines=pools_lines(pair, channel, chosen),
            entry=pools_entry(pair, chosen) | {"known_filters": inputs.known},
            recipe=pools_recipe(pair, None if moving else cell, channel),
            plot=partial(plot, worked, channel=channel),
            note=made_up_text(worked),
            shape=worked.output.shape,
            arrays={"input": worked.input, "max": pair.maximum.output, "average": pair.average.output},
        )
        show(made, choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)
