"""What the commands of ``kernelviz explain`` do alike: work it out, and print it or draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelviz.cli.explain_wish import Goal, Wish
from kernelviz.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernelviz.arithmetic.operations import Operation
    from kernelviz.documents import Report
    from kernelviz.explain.walkthrough import Walkthrough


def explain(wish: Wish, build: Callable[[], Operation], report: Report) -> None:
    """Work it out, and print the explanation, or draw it where a directory is given.

    Raises:
        KernelvizError: the settings or the numbers are refused, or a picture could not be made.
    """
    from kernelviz.cli import talk
    from kernelviz.documents import document, json_text
    from kernelviz.explain.texts import broken_notes, chosen_steps, explanation_entry, number_lines, size_lines

    goal = wish.goal
    _check(goal)
    operation = build()
    worked = _worked(wish, operation, report)
    steps = [] if worked is None else chosen_steps(worked, goal.channel, goal.cell)
    if worked is not None:
        report.warnings += broken_notes(worked)
        total = operation.output_size[0] * operation.output_size[1]
        if goal.as_json and goal.cell is None and len(steps) < total:
            report.warnings.append(f"{len(steps):,} of {total:,} steps are told")
    if goal.directory is not None and worked is not None:
        from kernelviz.cli.explain_pictures import draw

        draw(wish.command, worked, goal, report)
    if goal.as_json:
        talk.result(json_text(document(report, None, **explanation_entry(operation, worked, steps))))
        return
    if goal.directory is not None:
        if not goal.quiet:
            talk.say(*size_lines(operation), *report.warnings)
        talk.result("\n".join(entry["path"] for entry in report.outputs))
        return
    lines = size_lines(operation)
    if worked is not None:
        lines += number_lines(worked, steps, goal.channel)
    talk.result("\n".join(lines))
    if report.warnings and not goal.quiet:
        talk.say(*report.warnings)


def _worked(wish: Wish, operation: Operation, report: Report) -> Walkthrough | None:
    """The numbers worked out; None where only sizes were given and they are too large for that."""
    from kernelviz.explain.walkthrough import MOST_WORK, work_needed, work_out

    goal = wish.goal
    given = wish.data is not None or goal.directory is not None or goal.cell is not None
    if not given and work_needed(operation) > MOST_WORK:
        report.warnings.append(f"the numbers are left out: that would be {work_needed(operation):,} multiply-adds")
        return None
    return work_out(operation, *wish.numbers(operation))


def _check(goal: Goal) -> None:
    """Refuse at once what can be told from the command alone.

    Raises:
        UsageError: a picture without a place for it, or choices that exclude each other.
    """
    drawing = {
        "--animate": goal.animate, "--steps": goal.steps, "--arrays": goal.arrays, "--force": goal.force,
        "--format": goal.file_format is not None,
    }  # fmt: skip
    asked = [name for name, there in drawing.items() if there]
    if goal.directory is None and asked:
        raise UsageError(f"{asked[0]} needs a directory for what is drawn.", hint="Add -o kernelviz-out")
    if goal.animate and goal.steps:
        raise UsageError("Either --animate or --steps, not both.", hint="Leave out one of them.")
    if goal.at is not None and (goal.animate or goal.steps):
        raise UsageError(
            f"--at is of one step, but {'--animate' if goal.animate else '--steps'} draws all of them.",
            hint="Leave out one of them.",
        )
    if goal.fps is not None and not goal.animate:
        raise UsageError("--fps is of an animation.", hint="Add --animate, or leave it out.")
    _ = goal.cell, goal.suffix
    if goal.directory is not None:
        from kernelviz.cli.pictures import check_directory

        check_directory(goal.directory)
