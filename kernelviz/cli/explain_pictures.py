"""The pictures of ``kernelviz explain``: where they go, and that they are written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kernelviz.cli.explain_wish import Goal
    from kernelviz.documents import Report
    from kernelviz.explain.walkthrough import Walkthrough


WHOLE = ("steps", "animation", "stamps-animation", "numbers")  # views of no one cell


def draw(command: str, worked: Walkthrough, goal: Goal, report: Report) -> None:
    """Draw what was asked for into files of the directory; nothing is drawn where something is in the way.

    Raises:
        KernelvizError: something is in the way, too much was asked for, or a file could not be written.
    """
    from kernelviz.cli import talk
    from kernelviz.explain.plots import explaining_recipe
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import check_target, save_arrays, save_picture

    if goal.directory is None:
        return
    pictures = _pictures(worked, goal, report)
    stems = file_stems([_name(command, worked, goal, view) for view in pictures])
    places = [goal.directory / f"{stem}.{goal.suffix}" for stem in stems]
    cell = goal.cell or (0, 0)
    recipes = [
        explaining_recipe(worked, view=view, at=None if view in WHOLE else cell, channel=goal.channel)
        for view in pictures
    ]
    for place, recipe in zip(places, recipes, strict=True):
        check_target(place, recipe, force=goal.force)
    arrays = goal.directory / f"{file_stems([_name(command, worked, goal, 'numbers')])[0]}.npz"
    if goal.arrays:
        check_target(arrays, {**recipes[0], "view": "numbers"}, force=goal.force)
    with talk.progress(shown=goal.animate and not goal.quiet) as progress:
        for place, make, recipe in zip(places, pictures.values(), recipes, strict=True):
            path = save_picture(make(), place, force=goal.force, progress=progress)
            report.outputs.append(_entry(path, worked, recipe))
    if goal.arrays:
        named = {"input": worked.input, "kernel": worked.kernel, "bias": worked.bias, "output": worked.output}
        there = {name: values for name, values in named.items() if values is not None}
        recipe = {**recipes[0], "view": "numbers", "shown": worked.output.size, "total": worked.output.size}
        report.outputs.append(_entry(save_arrays(there, arrays, recipe=recipe, force=goal.force), worked, recipe))


def _pictures(worked: Walkthrough, goal: Goal, report: Report) -> dict[str, Callable[[], Any]]:
    """What is drawn, by the name of its view: a transposed convolution both ways."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.explain.plots import WorkView, plot_convolution

    if goal.animate:
        return _animations(worked, goal, report)
    views: list[WorkView] = ["steps"] if goal.steps else ["step"]
    if isinstance(worked.operation, TransposedConvolution) and not goal.steps:
        views = ["stamps", "step"]
    at = goal.cell or (0, 0)
    return {view: partial(plot_convolution, worked, at=at, channel=goal.channel, view=view) for view in views}


def _animations(worked: Walkthrough, goal: Goal, report: Report) -> dict[str, Callable[[], Any]]:
    """The window, and the stamps of a transposed convolution where they can be shown; why not, else."""
    from kernelviz.arithmetic.operations import TransposedConvolution
    from kernelviz.errors import UsageError
    from kernelviz.explain.animation import animate_convolution

    animate = partial(animate_convolution, worked, channel=goal.channel, fps=goal.fps)
    found = {"animation": animate()}  # refuses before anything is drawn
    if isinstance(worked.operation, TransposedConvolution):
        try:
            found["stamps-animation"] = animate(view="stamps")
        except UsageError as error:
            report.warnings.append(f"the window alone is animated: {error.what}")
    return {view: partial(lambda animation: animation, animation) for view, animation in found.items()}


def _name(command: str, worked: Walkthrough, goal: Goal, view: str) -> tuple[str, ...]:
    """The parts of a file's name: the operation, its sizes, the step, and a hash of settings and numbers."""
    from kernelviz.explain.plots import numbers_hash

    operation = worked.operation
    size = "x".join(map(str, operation.input_size))
    kernel = "x".join(map(str, operation.kernel))
    row, column = goal.cell or (0, 0)
    place = () if view in WHOLE else (f"{row}-{column}",)
    channel = (f"channel{goal.channel}",) if operation.out_channels > 1 else ()
    return (command, size, kernel, numbers_hash(worked)[:8], view, *channel, *place)


def _entry(path: object, worked: Walkthrough, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """One file of the JSON document."""
    facts = {key: recipe[key] for key in ("view", "shown", "total", "limits", "nonfinite", "notes")}
    return {"path": str(path), "layer": None, "image": None, "shape": list(worked.output.shape), **facts}
