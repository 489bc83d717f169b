"""``kernelviz compare``: two weights of one architecture, which layers moved and which kernels."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import BadWeightsError, NoWeightsError, UnknownModelError, UsageError
from kernelviz.records import WEIGHTS_WORDS
from kernelviz.wording import counted, number_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kernelviz.cli.session import Report
    from kernelviz.drawing.comparison_page import Pairs
    from kernelviz.drawing.figures import PageFigure
    from kernelviz.network.model import Model
    from kernelviz.records import Array, ConvLayer, Weights
    from kernelviz.views.comparisons import ComparedLayer, Comparison


_ENDINGS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar")

First = Annotated[
    str,
    typer.Argument(
        metavar="A",
        help="The first weights: auto, bundled, hub or random, as for --weights; a FILE; or a tag of MODEL. random@1 has "
        "the seed 1, and last.ckpt@ema.state_dict is what --weights-key ema.state_dict loads of last.ckpt.",
    ),
]
Second = Annotated[str, typer.Argument(metavar="B", help="The second weights, likewise.")]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="Draw the kernels of these layers, as in `kernelviz kernels`. Repeatable. Default: a chart of all "
        "convolutions, and the kernels of the first one.",
        show_default=False,
        autocompletion=options.complete_layer,
    ),
]
Match = Annotated[
    bool,
    typer.Option(
        "--match",
        help="Draw each kernel of A above the one of B that matches it best, with the chance level of matching. For "
        "the layer that reads the image.",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        min=1,
        metavar="N",
        help="Draw only the first N kernels. The order: died and born ones, then by change, largest first.",
        show_default=False,
        rich_help_panel=options.PICTURES,
    ),
]


def compare(
    model: options.ModelName,
    a: First,
    b: Second,
    *,
    layer: Layers = None,
    match: Match = False,
    weights_key: options.WeightsKey = None,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    view: options.View = options.ViewName.AUTO,
    channels: options.Channels = None,
    top: Top = None,
    look: options.LookChoice = options.LookName.PAGE,
    no_caption: options.NoCaption = False,
    file_format: options.Format = options.FileFormat.PNG,
    output: options.Output = Path("kernelviz-out"),
    arrays: options.Arrays = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> int:
    """Compare two sets of weights of one model: what changed, by layer and by kernel, and what is bitwise the same.

    For example: kernelviz compare tf_efficientnet_lite0 bundled fine-tuned.pt

    Two trainings of your own network: kernelviz compare my_net.py:Net seed-0.pt seed-1.pt --match

    Averaged weights of a checkpoint: kernelviz compare my_net.py:Net last.ckpt@state_dict last.ckpt@state_dict_ema
    """

    def work(report: Report) -> None:
        outputs.check_directory(output)
        destination = OutputChoices(
            output, f".{file_format}", arrays, force, outputs.chosen_look(look, no_caption, report)
        )

        def choices(word: str) -> ModelChoices:
            return chosen_weights(
                word, model, report, seed=seed, timeout=timeout, weights_key=weights_key, arguments=model_arg
            )

        with terminal.progress(shown=not quiet) as progress:
            first, second, reasons = load_both((a, b), model, choices, report, progress, key=weights_key)
            run = CompareRun(first, second, reasons, str(view), channels, top, destination, report, progress)
            run.compare(layer, match=match)

    return run_command("compare", work, as_json=as_json, quiet=quiet, debug=debug)


def chosen_weights(
    word: str,
    model: str,
    report: Report,
    *,
    seed: int,
    timeout: float,
    weights_key: str | None,
    arguments: Sequence[str] | None,
) -> ModelChoices:
    """The model with the weights that a word names: one of ``WEIGHTS_WORDS``, an existing file, or a tag of the model.

    Raises:
        UsageError: the seed of ``random@SEED`` is not a whole number.
    """
    is_there = os.path.exists(word)  # noqa: PTH110  (takes every text)
    given, part = split_word(word)
    if part is not None:
        if given != "random":
            return ModelChoices(model, given, timeout=timeout, weights_key=part, arguments=arguments)
        if not re.fullmatch(r"\d{1,18}", part, re.ASCII):
            what = f"The seed of {shown(word)} must be a whole number from 0."
            raise UsageError(what, hint="For example random@1.")
        return ModelChoices(model, given, int(part), timeout, arguments=arguments)
    if word in WEIGHTS_WORDS:
        if is_there:
            report.warn(f"{word} means the {word} weights; the file of this name is ./{word}")
        return ModelChoices(model, word, seed if word in ("auto", "random") else 0, timeout, arguments=arguments)
    if is_there or _looks_like_file(word) or not _has_tags(model):
        return ModelChoices(model, word, timeout=timeout, weights_key=weights_key, arguments=arguments)
    return ModelChoices(f"{model.partition('.')[0]}.{word}", "auto", timeout=timeout, arguments=arguments)


def split_word(word: str) -> tuple[str, str | None]:
    """The weights of ``random@1`` or ``last.ckpt@ema``, and what is after the ``@``; None if that is no part of both.

    A file whose name has an ``@`` comes before, and a key may have one.
    """
    if os.path.exists(word):  # noqa: PTH110
        return word, None
    for mark in reversed(list(re.finditer("@", word))):
        given, part = word[: mark.start()], word[mark.end() :]
        missing = given.lower().endswith(_ENDINGS) and "/" not in part
        if given == "random" or missing or os.path.isfile(given):  # noqa: PTH113
            return given, part
    return word, None


def _looks_like_file(word: str) -> bool:
    return os.sep in word or "/" in word or word.lower().endswith(_ENDINGS) or not word


def _has_tags(model: str) -> bool:
    return ":" not in model or model.startswith("torchvision:")


def load_both(
    words: tuple[str, str],
    model: str,
    choices: Callable[[str], ModelChoices],
    report: Report,
    progress: terminal.Progress,
    *,
    key: str | None,
) -> tuple[Model, Model, dict[str, str]]:
    """The model with both weights, and why layers of a file do not fit it; A is the one that the report names.

    Raises:
        UsageError: a word is neither a file nor a tag of the model, or there is a key but no file.
        BadWeightsError: a file cannot be read, or has fewer than half of the weights.
    """
    loaded: list[Model] = []
    reasons: dict[str, str] = {}
    by_word = {word: choices(word) for word in dict.fromkeys(words)}
    chosen = [by_word[word] for word in words]
    taking = [
        word for word, choice in by_word.items() if choice.weights_key is not None and split_word(word)[1] is None
    ]
    if key is not None and not taking:
        what = "--weights-key is for a weights file."
        raise UsageError(what, hint="Give a file, without @, as A or B, or omit --weights-key.")
    for word, choice in zip(words, chosen, strict=True):
        if loaded and choice == chosen[0]:
            loaded.append(loaded[0])
            continue
        try:
            loaded.append(loading.load(choice, report, progress))
        except UnknownModelError as error:
            if choice.name == model or "has no tag" not in error.what:
                raise
            what = f"{shown(word)} is neither a weights file nor a tag of {choice.name.rpartition('.')[0]}."
            hint = "Give a file, a tag, or one of the words auto, bundled, hub and random."
            raise UsageError(what, error.why, hint) from None
        except (BadWeightsError, NoWeightsError) as error:
            error.hint = _as_arguments(error.hint)
            if choice.weights in WEIGHTS_WORDS or isinstance(error, NoWeightsError):
                raise
            found, more = _similar(choice, loaded, error)
            loading.announce(found.source, choice, report)
            loaded.append(found)
            reasons |= more
        if choice.weights == word and word not in WEIGHTS_WORDS:
            _note_tag(word, model, report)
    report.source = loaded[0].source
    return loaded[0], loaded[1], reasons


def _similar(choice: ModelChoices, loaded: Sequence[Model], error: BadWeightsError) -> tuple[Model, dict[str, str]]:
    """The model with what fits of a file whose layers have other shapes.

    Raises:
        BadWeightsError: the given one, if it has another reason or too little fits.
    """
    from kernelviz.network.comparing import load_similar
    from kernelviz.network.model import load_model

    if "tensors match" in error.what:
        arguments = options.parse_model_args(choice.arguments)
        base = loaded[0] if loaded else load_model(choice.name, weights="random", model_args=arguments)
        with contextlib.suppress(BadWeightsError):
            return load_similar(base, choice.weights or "", key=choice.weights_key, timeout=choice.timeout)
    raise error


def _as_arguments(hint: str) -> str:
    """What to do, with the words for weights that this command takes as arguments, and without options that it lacks."""
    for option, word in (
        ("another --weights FILE", "another file"),
        ("`--weights FILE`", "a file"),
        ("--weights random", "random"),
        ("`--weights bundled`", "`bundled`"),
    ):
        hint = hint.replace(option, word)
    return re.sub(r".* fit: `--partial` \(partial=True\) uses them\. Or name", "Name", hint)


def _note_tag(word: str, model: str, report: Report) -> None:
    """Warn that a file has the name of a tag."""
    from kernelviz.network.model import read_registry

    architecture = model.partition(".")[0]
    if any(entry.tag == word for entry in read_registry().architectures.get(architecture, ())):
        report.warn(f"{word} means the file of this name, not the tag of {architecture}")


@dataclass
class CompareRun:
    """Two weights, why some layers do not fit the network, and how the others are drawn."""

    first: Model
    second: Model
    reasons: dict[str, str]
    view: str
    channels: str | None
    top: int | None
    output: OutputChoices
    report: Report
    progress: terminal.Progress
    paths: dict[str | None, Path] = field(default_factory=dict)
    """Of the pictures: the chart's is that of None, the others are those of layers."""

    def compare(self, patterns: Sequence[str] | None, *, match: bool) -> None:
        """Compare, report the numbers, and draw the chart, without patterns, and the kernels.

        All paths are checked first.
        """
        from kernelviz.network.comparing import compare_weights
        from kernelviz.network.named import select_layers

        chosen = select_layers(self.first, patterns)
        if not patterns:
            self._find_paths({None: ("changes",)})
        self.plan(chosen, match=match)
        found = compare_weights(self.first, self.second, patterns, match=match, progress=self.progress)
        left_out = {name: self.reasons.get(name, why) for name, why in found.left_out.items()}
        found, report = replace(found, left_out=left_out), self.report
        if found.identical:
            report.inform("A and B are the same file: everything is bitwise the same")
        for name, why in found.left_out.items():
            report.warn(f"Left out: {shown(name)} {why}")
        names = [layer.name for layer in found.layers]
        if not patterns:
            names = [layer.name for layer in chosen if layer.name in names] or names[:1]
            self.plan([layer.a.layer for layer in found.layers if layer.name in names and layer.a.layer], match=False)
        if self.channels is not None:
            from kernelviz.views.kernel_views import parse_channels

            parse_channels(self.channels, max(len(layer.changes) for layer in found.layers if layer.name in names))
        report.more |= {
            "against": {"model": self.second.source.as_document()},
            "identical": found.identical,
            "layers": [
                layer.entry(range(len(layer.changes)) if layer.name in names else None) for layer in found.layers
            ],
            "others": None if patterns else [other.entry() for other in found.others],
            "left_out": [{"name": name, "reason": why} for name, why in found.left_out.items()],
        }
        if not patterns:
            self.draw_chart(found)
        for done, name in enumerate(names):
            if name not in self.paths:  # it has no such view
                continue
            self.progress(name, done, len(names))
            session.attempt(report, name, len(names), partial(self.draw_pairs, found, name))

    def plan(self, layers: Sequence[ConvLayer], *, match: bool) -> None:
        """Find the paths of the pictures of layers; those that have one already keep it.

        Raises:
            FileInTheWayError: one is taken by something else.
        """
        from kernelviz.views.kernel_views import resolve_view

        what: dict[str, tuple[str, str]] = {}

        def find_view(layer: ConvLayer) -> None:
            shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
            what[layer.name] = "matched" if match else "compared", resolve_view(shape, layer.groups, self.view, layer)

        for layer in layers:
            if layer.name not in self.paths:
                session.attempt(self.report, layer.name, len(layers), partial(find_view, layer))
        self._find_paths({name: (name, *each) for name, each in what.items()})

    def _find_paths(self, pictures: Mapping[str | None, tuple[str, ...]]) -> None:
        """The paths of pictures by layer, made from the parts of their names; each is free or has the same picture."""
        from kernelviz.drawing.comparison_page import sources_facts
        from kernelviz.files.names import file_stems

        first, second = self.first.source, self.second.source
        network = first.stem.removesuffix(first.weights_stem)
        apart = [re.sub(r"\W+", "-", text) for text in _places(first.weights, second.weights)]
        one, other = (
            "-".join(filter(None, pair))
            for pair in zip((first.stem, second.stem.removeprefix(network)), apart, strict=True)
        )
        stems = file_stems([(one, "to", other, *parts) for parts in pictures.values()])
        for (name, parts), stem in zip(pictures.items(), stems, strict=True):
            view = " ".join(parts if name is None else parts[1:])
            identity = {**sources_facts((first, second)), "layer": name, "view": view}
            self.paths[name] = outputs.picture_path(stem, identity, self.output, self.report)

    def draw_chart(self, found: Comparison) -> None:
        """Draw which layers moved."""
        from kernelviz.drawing.changes_page import changes_recipe, moved_text, odd_lines, plot_changes, same_text

        recipe, look = changes_recipe(found), self.output.look
        known = [line for line in (moved_text(found), same_text(found), *odd_lines(found)) if line]
        self.report.inform(*known)
        figure = plot_changes(found, look=look.name, caption=look.caption)
        layers = found.layers
        numbers = {
            "change": [layer.change for layer in layers],
            "angle": [layer.quantiles for layer in layers],
            "same": [layer.same for layer in layers],
        }
        counts = {"shown": len(layers), "total": recipe["total"]}
        self._write(self.paths[None], figure, recipe, numbers, known, view="changes", **counts)

    def draw_pairs(self, found: Comparison, name: str) -> None:
        """Draw the kernels of a layer in both weights."""
        from kernelviz.drawing.comparison_page import comparison_recipe, make_pairs, plot_comparison

        look, layer = self.output.look, found.layer(name)
        choices: dict[str, Any] = {"channels": self.channels, "top": self.top, "view": self.view}
        pairs = make_pairs(found, name, **choices, look=look)
        recipe = comparison_recipe(pairs)
        known = lines(layer)
        self.report.inform(*known)
        self.report.warn(*layer.notes)
        figure = plot_comparison(found, name, **choices, look=look.name, caption=look.caption)
        self._write(
            self.paths[name], figure, recipe, pairs_arrays(pairs.part(recipe["shown"])), known, layer=name,
            view=recipe["view"], shape=layer.a.weight.shape, shown=recipe["shown"], total=recipe["total"],
            limits=(-pairs.limit if pairs.signed else 0.0, pairs.limit),
            nonfinite=int(layer.broken.sum()), notes=layer.notes,
        )  # fmt: skip

    def _write(
        self,
        path: Path,
        figure: PageFigure,
        recipe: dict[str, Any],
        numbers: dict[str, Any],
        known: Sequence[str] = (),
        **row: Any,
    ) -> None:
        """Write a picture and, if requested, its numbers, and report both."""
        import numpy as np

        from kernelviz.files.writing import save_arrays

        written = [outputs.save_page(figure, path, self.report, force=self.output.force, known=known)]
        if self.output.arrays:
            arrays = {key: np.asarray(value) for key, value in numbers.items()}
            target = path.with_suffix(".npz")
            written.append(save_arrays(arrays, target, recipe=recipe, force=self.output.force))
        for each in written:
            self.report.add_output(session.output_row(each, **row))


def _places(first: Weights | None, second: Weights | None) -> tuple[str, str]:
    """Where two weights of one file are in it; empty if they are the same, or of several files."""
    if first is None or second is None or first == second or first.sha256 is None or first.sha256 != second.sha256:
        return "", ""
    return _place(first), _place(second)


def _place(weights: Weights) -> str:
    return ".".join(filter(None, (weights.key, (weights.prefix or "").strip(".")))) or "top level"


def pairs_arrays(pairs: Pairs) -> dict[str, Array]:
    """The numbers of all kernels of a layer, and the tiles of those shown before they are coloured."""
    import numpy as np

    layer = pairs.layer
    pairing = layer.pairing
    numbers = {
        "change": layer.changes, "ratio": layer.ratios, "cosine": layer.cosines, "angle": layer.angles,
        "same": layer.equal, "shown": np.asarray(pairs.numbers),
        **{name: row.pictures for name, row in zip(("a", "b", "difference"), pairs.rows, strict=False)},
    }  # fmt: skip
    if pairing is not None:
        numbers |= {"pairs": np.stack([pairing.a, pairing.b], axis=1), "pair_cosine": pairing.cosines}
    return numbers


def lines(layer: ComparedLayer) -> list[str]:
    """The numbers of a layer, and its irregularities."""
    from kernelviz.drawing.changes_page import change_text
    from kernelviz.drawing.comparison_page import chance_lines, odd_lines

    name, count = shown(layer.name), counted(len(layer.changes), "kernel")
    if layer.same:
        return [f"{name}: {count}, bitwise the same", *chance_lines(layer)]
    text = f"{name}: change {change_text(layer.change)}"
    if layer.live.any():
        low, median, high = (number_text(each) for each in layer.quantiles)
        text += f", median angle {median}° (5 to 95 %: {low}° to {high}°) of {int(layer.live.sum()):,} of {count}"
    return [text, *odd_lines(layer), *chance_lines(layer)]
