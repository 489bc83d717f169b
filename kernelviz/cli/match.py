"""``kernelviz match``: which classical filters a model's kernels resemble, and how sure that is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options

if TYPE_CHECKING:
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.filters.matching import Matches
    from kernelviz.network.model import Model
    from kernelviz.records import ConvLayer


Planes = Annotated[
    bool,
    typer.Option(
        "--planes",
        help="Also tell of each input plane and of their sum, not of the main one alone; --json does so anyway "
        "where a kernel reads at most three.",
    ),
]
Level = Annotated[
    float,
    typer.Option(
        "--level", metavar="SHARE", help="Names are given such that at most this share of random kernels would get one."
    ),
]
Gabor = Annotated[bool, typer.Option("--gabor/--no-gabor", help="Fit a Gabor function to each kernel from 5 × 5 on.")]


def match(
    model: options.ModelName,
    *,
    layer: options.Layers = None,
    weights: options.WeightsChoice = "auto",
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    planes: Planes = False,
    level: Level = 0.02,
    gabor: Gabor = True,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Say which classical filters the kernels of a model resemble: a table and a picture a layer.

    For example: kernelviz match tf_efficientnet_lite0 -l blocks.2.0.conv_dw
    """
    from kernelviz.cli import session, terminal
    from kernelviz.cli.session import Goal, Report, check_directory, document, json_text, load
    from kernelviz.filters.matching import check_level

    report = Report("match")
    rows: list[dict[str, Any]] = []
    try:
        goal = Goal(output, f".{file_format}", arrays, force, quiet, verbose, as_json)
        check_directory(goal.directory)
        check_level(level)
        with terminal.progress(shown=not quiet) as progress:
            network = load(model, weights, seed, timeout, progress)
            report.source = network.source
            report.warnings += network.source.notes
            terminal.say(*goal.said(network.source.provenance, *network.source.notes))
            chosen = fitting(network, layer, report, goal)
            choices = {"planes": planes, "level": level, "gabor": gabor}
            for one in chosen:
                work = partial(compare, network, one, goal, report, rows, choices=choices, progress=progress)
                session.attempt(report, one.name, len(chosen), work)
    except Exception as error:  # noqa: BLE001  (every command ends in a message)
        return session.failed(report, error, as_json=as_json, debug=debug)
    if as_json:
        terminal.result(json_text(document(report, kernels=rows)))
    return session.outcome(report)


def fitting(network: Model, patterns: list[str] | None, report: Report, goal: Any) -> list[ConvLayer]:
    """The chosen layers whose kernels have classical filters; those left out are told.

    Raises:
        UsageError: none of them has.
    """
    from kernelviz.cli import terminal
    from kernelviz.errors import UsageError
    from kernelviz.filters.bank import LARGEST
    from kernelviz.network.convolutions import select_layers

    layers = select_layers(network, patterns)
    chosen = [
        one for one in layers if len(one.kernel_size) == 2 and len(set(one.kernel_size)) == 1
        and 2 <= one.kernel_size[0] <= LARGEST
    ]  # fmt: skip
    for one in layers:
        if one not in chosen:
            report.warnings.append(f"{one.name} has kernels of {' × '.join(map(str, one.kernel_size))}")
            terminal.say(*goal.said(f"Left out: {report.warnings[-1]}"))
    if not chosen:
        raise UsageError(
            "None of these layers has kernels that could be compared with filters.",
            f"There are filters for squares of 2 × 2 to {LARGEST} × {LARGEST}.",
            "`kernelviz layers MODEL --kind conv` lists the kernels of each layer.",
        )
    return chosen


def compare(
    network: Model,
    layer: ConvLayer,
    goal: Any,
    report: Report,
    rows: list[dict[str, Any]],
    *,
    choices: dict[str, Any],
    progress: Progress,
) -> None:
    """Compare the kernels of one layer, draw them, and say what was found."""
    from kernelviz.cli import terminal
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.filters.formulas import SMALLEST
    from kernelviz.filters.match_pages import caption_lines, naming_text, plot_matches
    from kernelviz.filters.matching import LEVEL, match_entry, match_kernels, match_table
    from kernelviz.network.kernels import read_kernels

    progress(layer.name, 0, 0)
    bank = read_kernels(network, layer)
    if goal.as_json and bank.weight.shape[1] <= 3:
        choices = {**choices, "planes": True}
    found = match_kernels(bank, progress=progress, **choices)
    figure = plot_matches(found)
    unusual = [f"level{found.level:g}"] if found.level != LEVEL else []
    unusual += ["no-gabor"] if not choices["gabor"] and bank.weight.shape[2] >= SMALLEST else []
    (stem,) = file_stems([(network.source.stem, layer.name, "match", *unusual)])
    paths = [save_picture(figure, goal.directory / f"{stem}{goal.suffix}", force=goal.force)]
    if goal.arrays:
        paths.append(
            save_arrays(numbers(found), goal.directory / f"{stem}.npz", recipe=figure.recipe, force=goal.force)
        )
    counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    terminal.say(*goal.said(f"{layer.name}: {counts}; {naming_text(found)}"))
    if goal.verbose:
        terminal.say(*goal.said(*(f"  {line}" for line in caption_lines(found, len(found.main_rows)))))
    terminal.say(*goal.said(*match_table(found.rows).splitlines()) if not goal.as_json else ())
    rows += [match_entry(row, layer.name) for row in found.rows]
    for path in paths:
        report.outputs.append(output(path, found, layer.name))
        if not goal.as_json:
            terminal.result(path)


def output(path: Path, found: Matches, layer: str) -> dict[str, Any]:
    """One file and what stands in it."""
    return {
        "path": str(path),
        "layer": layer,
        "image": None,
        "view": found.main,
        "shape": list(found.bank.weight.shape),
        "shown": len(found.main_rows),
        "total": len(found.main_rows),
        "limits": None,
        "nonfinite": found.counts.get("not finite", 0),
        "counts": found.counts,
        "threshold": found.threshold,
        "fit_threshold": found.fit_threshold,
        "level": found.level,
        "filters": found.filters,
        "notes": list(found.bank.notes),
    }


def numbers(found: Matches) -> dict[str, Any]:
    """What was compared with what: patterns (n, h, w) of the main planes, filters as drawn, scores."""
    import numpy as np

    rows = found.main_rows
    empty = np.full(found.bank.weight.shape[2:], np.nan)
    nearest = [empty if row.closest is None or row.factor is None else row.closest.values * row.factor for row in rows]
    scores = [np.nan if row.score is None else row.score for row in rows]
    return {
        "patterns": np.stack([row.pattern for row in rows]),
        "filters": np.stack(nearest),
        "scores": np.array(scores),
        "kinds": np.array([row.kind for row in rows], dtype=np.str_),
    }
