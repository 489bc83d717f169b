"""The views of ``explain conv`` beside its steps: ``--maps``, ``--uses`` and ``--matrix``."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from kernelviz.cli import session
from kernelviz.cli.explain_view import View, show
from kernelviz.errors import UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.cli.explain_inputs import ExplainInputs, StepChoices
    from kernelviz.cli.session import Report
    from kernelviz.explain.walkthrough import Walkthrough

VIEWS = "Other views"

Maps = Annotated[bool, typer.Option("--maps", help="Show the maps of all kernels, up to four.", rich_help_panel=VIEWS)]
NoMaps = Annotated[bool, typer.Option("--maps", hidden=True, help="Refused with a reason.")]
Relu = Annotated[bool, typer.Option("--relu", help="Show the maps after a ReLU, too.", rich_help_panel=VIEWS)]
PoolAfter = Annotated[
    str | None,
    typer.Option(
        "--pool",
        metavar="N|avgN",
        help="Show the maps after a max pooling of N × N, or an average pooling, too.",
        show_default=False,
        rich_help_panel=VIEWS,
    ),
]
Uses = Annotated[
    bool,
    typer.Option("--uses", help="Show how many windows read each cell of the input.", rich_help_panel=VIEWS),
]
Matrix = Annotated[bool, typer.Option("--matrix", help="Show the convolution as a matrix.", rich_help_panel=VIEWS)]
_POOL = re.compile(r"(avg|max)?([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class ConvViews:
    """Which of these views was requested, and what follows the maps."""

    maps: bool
    relu: bool
    pool: str | None
    uses: bool
    matrix: bool

    @property
    def requested(self) -> bool:
        """Whether any option of these views was given."""
        return bool(self.names or self.relu or self.pool is not None)

    @property
    def names(self) -> list[str]:
        """The options that select a view."""
        return [f"--{name}" for name in ("maps", "uses", "matrix") if getattr(self, name)]

    def check(self, choices: StepChoices) -> None:
        """Reject options that need or exclude each other.

        Raises:
            UsageError: there are such options.
        """
        if not self.names:
            raise UsageError(f"{'--relu' if self.relu else '--pool'} needs --maps.", hint="Add --maps, or omit it.")
        name = self.names[0]
        if len(self.names) > 1:
            raise UsageError(f"{name} and {self.names[1]} exclude each other.", hint="Omit one of them.")
        if name != "--maps" and (self.relu or self.pool is not None):
            raise UsageError(f"{'--relu' if self.relu else '--pool'} is for --maps.", hint="Omit it, or give --maps.")
        given = {
            "--steps": choices.steps,
            "--at": choices.at is not None and name != "--matrix",
            "--animate": choices.animate and name != "--maps",
            "--frames": choices.frames and name != "--maps",
            "--arrays": choices.arrays and name == "--uses",
        }
        if wrong := [option for option, value in given.items() if value]:
            raise UsageError(f"{name} and {wrong[0]} exclude each other.", hint="Omit one of them.")


def pool_of(text: str | None) -> int | str | None:
    """The pool after the maps, as ``plot_maps`` takes it: ``2``, or ``avg2``.

    Raises:
        UsageError: the text is something else.
    """
    if text is None:
        return None
    match = _POOL.fullmatch(text.strip().lower())
    if match is None:
        what = f"--pool must be a number, or avg and a number, but got '{shown(text)}'."
        raise UsageError(what, hint="For example --pool 2 or --pool avg2")
    return f"avg{match[2]}" if match[1] == "avg" else int(match[2])


def explain_views(
    command: str,
    inputs: ExplainInputs,
    choices: StepChoices,
    build: Callable[[], Operation],
    views: ConvViews,
    *,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Work out the operation that ``build`` returns, and print or draw the requested view of it."""

    def work(report: Report) -> None:
        from kernelviz.explain.walkthrough import check_cost

        views.check(choices)
        choices.check()
        operation = build()
        if views.uses:
            made = _uses(command, operation)
        else:
            check_cost(operation, as_json=as_json)
            worked = inputs.work_out(operation, report)
            made = _maps(command, worked, choices, views) if views.maps else _matrix(command, worked, choices)
        show(replace(made, entry={**made.entry, "known_filters": inputs.known}), choices, report)

    return session.run_command("explain", work, as_json=as_json, quiet=quiet, debug=debug)


def _uses(command: str, operation: Operation) -> View:
    from kernelviz.arithmetic.operations import Convolution
    from kernelviz.explain.texts import explanation_entry
    from kernelviz.explain.uses import plot_uses, uses_entry, uses_lines, uses_recipe, work_out_uses

    if not isinstance(operation, Convolution):
        raise TypeError(operation)
    readings = work_out_uses(operation)
    stride, dilation = (
        "x".join(map(str, each[:1] if len(set(each)) == 1 else each)) for each in (operation.stride, operation.dilation)
    )
    padding = "_".join(map(str, operation.padding))
    return View(
        name=(command, _size(operation), f"s{stride}p{padding}d{dilation}", "uses"),
        lines=uses_lines(readings),
        entry=explanation_entry(operation, None, []) | uses_entry(readings),
        recipe=uses_recipe(readings),
        plot=partial(plot_uses, operation),
        shape=operation.input_size,
    )


def _size(operation: Operation) -> str:
    return "-".join("x".join(map(str, each)) for each in (operation.input_size, operation.kernel))


def _maps(command: str, worked: Walkthrough, choices: StepChoices, views: ConvViews) -> View:
    from kernelviz.explain.map_pages import animate_maps, maps_recipe, plot_maps
    from kernelviz.explain.maps import as_maps_of, maps_entry, maps_lines
    from kernelviz.explain.plots import numbers_hash
    from kernelviz.explain.texts import explanation_entry, made_up_text

    names = _names(worked)
    pool = pool_of(views.pool)
    maps = as_maps_of(worked, relu=views.relu, pool=pool, names=names)
    moving = choices.animate or choices.frames
    draw = partial(animate_maps, fps=choices.fps) if moving else plot_maps
    view = "maps-animation" if moving else "maps"
    stages = [*(["relu"] if views.relu else []), *([] if pool is None else [f"pool{pool}"])]
    plot = partial(draw, worked, relu=views.relu, pool=pool, names=names)
    return View(
        name=(command, _size(worked.operation), numbers_hash(worked)[:8], view, *stages),
        lines=maps_lines(maps),
        entry=explanation_entry(worked.operation, worked, []) | maps_entry(maps),
        recipe=maps_recipe(maps, view),
        plot=plot,
        note=made_up_text(worked),
        shape=worked.output.shape,
        arrays={"input": worked.input, "kernel": worked.kernel, "output": worked.output},
    )


def _names(worked: Walkthrough) -> list[str]:
    """The name of each kernel that is a classical filter up to a factor, with a minus if that is negative, or empty."""
    import numpy as np

    from kernelviz.filters.bank import LARGEST, classical_filters

    kernels = worked.kernel
    if kernels is None or kernels.shape[2] != kernels.shape[3] or not 2 <= kernels.shape[2] <= LARGEST:
        return [""] * len(worked.output)
    filters = [
        (sign + each.name, factor * each.values / np.linalg.norm(each.values))
        for sign, factor in (("", 1), ("−", -1))
        for each in classical_filters(kernels.shape[2])
    ]
    found = []
    for planes in kernels:
        norm = np.linalg.norm(planes[0])
        alike = len(planes) == 1 or bool((planes == planes[0]).all())
        close = [
            name for name, values in filters if norm and alike and np.allclose(planes[0] / norm, values, atol=1e-9)
        ]
        found.append(close[0] if close else "")
    return [name if found.count(name) == 1 else "" for name in found]


def _matrix(command: str, worked: Walkthrough, choices: StepChoices) -> View:
    from kernelviz.explain.matrix import as_matrix, matrix_entry, matrix_lines, matrix_recipe, plot_matrix
    from kernelviz.explain.plots import numbers_hash
    from kernelviz.explain.texts import explanation_entry, made_up_text

    at, channel = choices.cell or (0, 0), choices.channel
    found = as_matrix(worked, at=at, channel=channel)
    own = (f"channel{channel}",) if len(worked.output) > 1 else ()
    return View(
        name=(command, _size(worked.operation), numbers_hash(worked)[:8], "matrix", *own, f"{at[0]}-{at[1]}"),
        lines=matrix_lines(found),
        entry=explanation_entry(worked.operation, worked, []) | matrix_entry(found),
        recipe=matrix_recipe(found),
        plot=partial(plot_matrix, worked, at=at, channel=channel),
        note=made_up_text(worked),
        shape=found.index.shape,
        arrays={"input": worked.input, "kernel": worked.kernel, "output": worked.output, "matrix": worked.matrix},
    )
