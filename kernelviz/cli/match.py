"""``kernelviz match``: which classical filters a model's kernels resemble, and how certain that is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, session, terminal
from kernelviz.cli.session import ModelChoices, OutputChoices, run_command
from kernelviz.errors import UsageError

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
        help="Compare every input plane and their sum, not only the main plane (the strongest colour direction, the only "
        "plane, or the sum). Always on with --json and at most three input planes.",
    ),
]
Level = Annotated[
    float,
    typer.Option("--level", metavar="SHARE", help="Share of random kernels that are named by chance."),
]
Gabor = Annotated[
    bool, typer.Option("--gabor/--no-gabor", help="Fit a Gabor function to each kernel of 5 × 5 or more.")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Draw and list only kernels of this kind: pixel, blur, spot, edge, difference, line, 'line end', corner, "
        "gabor, weak or none, for example --kind spot. Repeatable. --json always has all.",
    ),
]


def match(
    model: options.ModelName,
    *,
    layer: options.Layers = None,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    planes: Planes = False,
    level: Level = 0.02,
    gabor: Gabor = True,
    kind: Kinds = None,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Compare the kernels of a model with classical filters: one table and one picture per layer.

    For example: kernelviz match tf_efficientnet_lite0 -l blocks.2.0.conv_dw
    """

    def work(report: Report) -> None:
        from kernelviz.filters.match_pages import check_kinds
        from kernelviz.filters.matching import check_level

        destination = OutputChoices(output, f".{file_format}", arrays, force)
        session.check_directory(output)
        check_level(level)
        kinds = check_kinds(kind or [])
        report.more["kernels"] = []
        with terminal.progress(shown=not quiet) as progress:
            wanted = ModelChoices(
                model, weights, seed, timeout, weights_key=weights_key, partial=fitting, arguments=model_arg
            )
            network = session.load(wanted, report, progress)
            chosen = comparable_layers(network, layer, report)
            choices = {"planes": planes, "level": level, "gabor": gabor, "kinds": kinds}
            for one in chosen:
                compare_one = partial(compare, network, one, destination, report, choices=choices, progress=progress)
                session.attempt(report, one.name, len(chosen), compare_one)

    return run_command("match", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


def comparable_layers(network: Model, patterns: list[str] | None, report: Report) -> list[ConvLayer]:
    """The selected layers whose kernels can be compared with classical filters; the others are reported.

    Raises:
        UsageError: there are none.
    """
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
            report.inform(f"Left out: {report.warnings[-1]}")
    if not chosen:
        raise UsageError(
            "None of these layers has kernels that can be compared with filters.",
            f"There are filters for squares of 2 × 2 to {LARGEST} × {LARGEST}.",
            "`kernelviz layers MODEL --kind conv` lists the kernels of each layer.",
        )
    return chosen


def compare(
    network: Model,
    layer: ConvLayer,
    output: OutputChoices,
    report: Report,
    *,
    choices: dict[str, Any],
    progress: Progress,
) -> None:
    """Compare the kernels of one layer, draw them, and report the result."""
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays, save_picture
    from kernelviz.filters.formulas import SMALLEST
    from kernelviz.filters.match_pages import caption_lines, naming_text, plot_matches
    from kernelviz.filters.matching import LEVEL, match_entry, match_kernels, match_table
    from kernelviz.network.kernels import read_kernels

    progress(layer.name, 0, 0)
    bank = read_kernels(network, layer)
    if report.as_json and bank.weight.shape[1] <= 3:
        choices = {**choices, "planes": True}
    kinds = choices["kinds"]
    found = match_kernels(bank, progress=progress, **{name: each for name, each in choices.items() if name != "kinds"})
    figure = plot_matches(found, kind=kinds)
    unusual = [f"level{found.level:g}"] if found.level != LEVEL else []
    unusual += ["no-gabor"] if not choices["gabor"] and bank.weight.shape[2] >= SMALLEST else []
    unusual += [kind.replace(" ", "-") for kind in kinds]
    (stem,) = file_stems([(network.source.stem, layer.name, "match", *unusual)])
    paths = [save_picture(figure, output.directory / f"{stem}{output.suffix}", force=output.force)]
    if output.arrays:
        arrays = output.directory / f"{stem}.npz"
        paths.append(save_arrays(numbers(found), arrays, recipe=figure.recipe, force=output.force))
    counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    report.inform(f"{layer.name}: {counts}; {naming_text(found)}")
    drawn = sum(not kinds or row.kind in kinds for row in found.main_rows)
    if report.verbose:
        report.inform(*(f"  {line}" for line in caption_lines(found, drawn, kinds)))
    if not report.as_json:
        rows = [row for row in found.rows if not kinds or row.kind in kinds]
        report.inform(*match_table(rows).splitlines())
    report.more["kernels"] += [match_entry(row, layer.name) for row in found.rows]
    for path in paths:
        report.add_output(session.output_row(
            path, layer=layer.name, view=found.main, shape=found.bank.weight.shape, shown=drawn,
            total=len(found.main_rows), nonfinite=found.counts.get("not finite", 0), counts=found.counts,
            threshold=found.threshold, fit_threshold=found.fit_threshold, level=found.level, filters=found.filters,
            notes=found.bank.notes,
        ))  # fmt: skip


def numbers(found: Matches) -> dict[str, Any]:
    """What was compared: patterns (n, h, w) of the main planes, their filters as drawn, scores and kinds (n,)."""
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
