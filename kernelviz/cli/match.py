"""``kernelviz match``: which classical filters a model's kernels resemble, and how certain that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import options, outputs, session, terminal
from kernelviz.cli.kernel_sources import open_kernels
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import UsageError
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernelviz.cli.kernel_sources import KernelSource
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.filters.matching import Matches
    from kernelviz.records import ConvLayer, KernelBank, Source


MOST_LEFT_OUT = 8  # layers that are named one by one

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

Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="FILTER",
        help="Draw the kernels of all selected layers that are most similar to this: a kind (edge, spot, line, …), a "
        "filter in all orientations (sobel), or a name (laplacian). One picture, with the numbers of the kernels.",
        show_default=False,
    ),
]
Most = Annotated[
    int | None,
    typer.Option("--top", min=1, metavar="N", help="Number of kernels, with --like. Default: 12.", show_default=False),
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
    like: Like = None,
    top: Most = None,
    palette: options.Palette = options.PaletteName.STANDARD,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    kind: Kinds = None,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    no_cache: options.NoCache = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Compare the kernels of a model with classical filters: one table and one picture per layer.

    For example: kernelviz match tf_efficientnet_lite0 -l blocks.2.0.conv_dw

    Kernels by what they do: kernelviz match resnet18d -l '*' --like laplacian --top 12
    """

    def work(report: Report) -> None:
        from kernelviz.filters.match_pages import check_kinds
        from kernelviz.filters.matching import LEVEL, check_level

        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )
        outputs.check_directory(output)
        check_level(level)
        kinds = check_kinds(kind or [])
        check_like_options(like, top, unused={
            "--planes": planes, "--no-gabor": not gabor, "--palette": palette != options.PaletteName.STANDARD,
            "--level": level != LEVEL, "--kind": bool(kinds),
        })  # fmt: skip
        report.more["kernels"] = []
        with terminal.progress(shown=not quiet) as progress:
            wanted = ModelChoices(
                model, weights, seed, timeout, weights_key=weights_key, partial=fitting, arguments=model_arg,
                cache=not no_cache,
            )  # fmt: skip
            kernels = open_kernels(wanted, layer, report, progress)
            chosen = comparable_layers(kernels.layers, report)
            if like is not None:
                banks = banks_of(kernels, chosen, progress)
                draw_most_alike(banks, kernels.source, (like, top or 12), destination, report, patterns=layer or ())
                return
            choices = MatchChoices(planes, level, gabor, kinds, palette)
            for one in chosen:
                compare_one = partial(compare, kernels, one, choices, destination, report, progress=progress)
                session.attempt(report, one.name, len(chosen), compare_one)

    return run_command("match", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


@dataclass(frozen=True)
class MatchChoices:
    """How kernels are compared with filters, and which kinds of them are drawn in which colours."""

    planes: bool
    level: float
    gabor: bool
    kinds: tuple[str, ...]
    palette: options.PaletteName


def check_like_options(like: str | None, top: int | None, *, unused: dict[str, bool]) -> None:
    """Reject an unknown filter, and options that would have no effect.

    Raises:
        UsageError: there is one.
    """
    from kernelviz.filters.likeness import check_like

    if like is None:
        if top is not None:
            raise UsageError("--top is for --like.", hint="Add --like laplacian, or omit --top.")
        return
    check_like(like)
    for option, given in unused.items():
        if given:
            raise UsageError(f"--like takes no {option}.", hint=f"Omit {option} or --like.")


def banks_of(kernels: KernelSource, layers: list[ConvLayer], progress: Progress) -> Iterator[KernelBank]:
    """The kernels of each layer, one after the other."""
    for done, one in enumerate(layers):
        progress(one.name, done, len(layers))
        yield kernels.read(one)


def draw_most_alike(
    banks: Iterator[KernelBank], source: Source, wanted: tuple[str, int], output: OutputChoices, report: Report, *,
    patterns: Sequence[str] = (),
) -> None:  # fmt: skip
    """Find the kernels most like a filter over the layers of these patterns, draw them, and report them."""
    import numpy as np

    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays
    from kernelviz.filters.likeness import likeness_entry, likeness_table, most_alike, plot_likenesses

    like, top = wanted
    found = most_alike(banks, like, top)
    figure = plot_likenesses(found, look=output.look.name, caption=output.look.caption)
    unusual = [] if "*" in patterns else [*(patterns or found.layers)]  # of one network most compare all layers
    unusual += [f"top{top}"] if top != 12 else []
    figure.recipe = {**(figure.recipe or {}), **({"identity": unusual} if unusual else {})}
    (stem,) = file_stems([(source.stem, "like", like, *unusual)])
    paths = [outputs.picture_path(stem, figure.recipe, output, report)]
    outputs.save_page(figure, paths[0], report, force=output.force)
    if output.arrays:
        held = {
            f"{row.layer}_{row.kernel}": np.stack([row.pattern, row.factor * row.filter.values]) for row in found.rows
        }
        paths.append(save_arrays(held, paths[0].with_suffix(".npz"), recipe=figure.recipe, force=output.force))
    report.inform(f"{counted(found.total, 'kernel')} of {counted(len(found.layers), 'layer')} compared with {like}")
    if not report.as_json:
        report.inform(*likeness_table(found.rows).splitlines())
    report.more["like"] = like
    report.more["kernels"] = [likeness_entry(row) for row in found.rows]
    for path in paths:
        report.add_output(session.output_row(path, view=f"like-{like}", shown=len(found.rows), total=found.total))


def comparable_layers(layers: Sequence[ConvLayer], report: Report) -> list[ConvLayer]:
    """The layers whose kernels can be compared with classical filters; the others are reported.

    Raises:
        UsageError: there are none.
    """
    from kernelviz.filters.bank import LARGEST

    chosen = [
        one for one in layers if len(one.kernel_size) == 2 and len(set(one.kernel_size)) == 1
        and 2 <= one.kernel_size[0] <= LARGEST
    ]  # fmt: skip
    left = {one.name: " × ".join(map(str, one.kernel_size)) for one in layers if one not in chosen}
    report.note(*(f"{name} has kernels of {size}" for name, size in left.items()))
    if len(left) > MOST_LEFT_OUT:
        many = Counter(left.values())
        report.inform(*(f"Left out: {counted(count, 'layer')} with kernels of {size}" for size, count in many.items()))
    else:
        report.inform(*(f"Left out: {name} has kernels of {size}" for name, size in left.items()))
    if not chosen:
        raise UsageError(
            "None of these layers has kernels that can be compared with filters.",
            f"There are filters for squares of 2 × 2 to {LARGEST} × {LARGEST}.",
            "`kernelviz layers MODEL --kind conv` lists the kernels of each layer.",
        )
    return chosen


def compare(
    kernels: KernelSource,
    layer: ConvLayer,
    choices: MatchChoices,
    output: OutputChoices,
    report: Report,
    *,
    progress: Progress,
) -> None:
    """Compare the kernels of one layer, draw them, and report the result."""
    from kernelviz.drawing.figures import draw_page
    from kernelviz.drawing.sheets import palette_facts
    from kernelviz.files.names import file_stems
    from kernelviz.files.writing import save_arrays
    from kernelviz.filters.formulas import SMALLEST
    from kernelviz.filters.match_pages import caption_lines, counted_page, in_colour, matches_recipe, naming_text
    from kernelviz.filters.matching import LEVEL, match_entry, match_kernels, match_table

    progress(layer.name, 0, 0)
    bank = kernels.read(layer)
    planes = choices.planes or (report.as_json and bank.weight.shape[1] <= 3)
    found = match_kernels(bank, planes=planes, gabor=choices.gabor, level=choices.level, progress=progress)
    kinds, palette = choices.kinds, choices.palette
    of_look: Any = output.look.palette(palette.value) if in_colour(found) else palette.value
    page, drawn = counted_page(found, kinds, of_look)
    figure = draw_page(page, {**matches_recipe(found, kinds), **palette_facts(of_look)}, output.look)
    unusual = [f"level{found.level:g}"] if found.level != LEVEL else []
    unusual += ["no-gabor"] if not choices.gabor and bank.weight.shape[2] >= SMALLEST else []
    unusual += [kind.replace(" ", "-") for kind in kinds]
    (stem,) = file_stems([(kernels.source.stem, layer.name, "match", *unusual)])
    path = outputs.picture_path(stem, figure.recipe or {}, output, report)
    named = naming_text(found)
    coloured = of_look != "standard" and in_colour(found)
    caption = caption_lines(found, drawn, kinds, planes=coloured) if report.verbose else []
    paths = [outputs.save_page(figure, path, report, force=output.force, known=(named, *caption))]
    if output.arrays:
        paths.append(save_arrays(numbers(found), path.with_suffix(".npz"), recipe=figure.recipe, force=output.force))
    counts = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    report.inform(*terminal.fold_message([f"{layer.name}: {counts}; {named}"]))
    report.inform(*(f"  {line}" for line in caption if line != named))
    if not report.as_json:
        rows = [row for row in found.rows if not kinds or row.kind in kinds]
        report.inform(*match_table(rows, terminal.message_width()).splitlines())
    report.more["kernels"] += [match_entry(row, layer.name) for row in found.rows]
    for path in paths:
        report.add_output(session.output_row(
            path, layer=layer.name, view=found.main, shape=found.bank.weight.shape, shown=drawn,
            total=len(found.main_rows), nonfinite=found.counts.get("not finite", 0), counts=found.counts,
            threshold=found.threshold, fit_threshold=found.fit_threshold, level=found.level, filters=found.filters,
            palette=(figure.recipe or {}).get("palette"), notes=found.bank.notes,
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
