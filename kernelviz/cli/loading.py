"""The model and the images of a command: how they are chosen, found, loaded and reported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kernelviz.cli import options
from kernelviz.cli.session import without_collection
from kernelviz.errors import UnknownModelError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from kernelviz.cli.model_choices import ModelChoices
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.network.model import Model
    from kernelviz.records import Source


@dataclass(frozen=True)
class ImageChoices:
    """How images are read and preprocessed, as typed."""

    range: str | None = None
    bands: str | None = None
    mean: str | None = None
    std: str | None = None
    interpolation: str | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of ``read_image``.

        Raises:
            UsageError: ``--range`` or ``--bands`` is malformed.
        """
        return {"range": options.parse_range(self.range), "bands": options.parse_bands(self.bands)}

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The arguments of ``Model.with_preprocessing``.

        Raises:
            UsageError: ``--mean`` or ``--std`` is malformed.
        """
        return {
            "mean": options.parse_normalising(self.mean, "--mean"),
            "std": options.parse_normalising(self.std, "--std"),
            "interpolation": self.interpolation,
        }

    def as_recipe(self) -> dict[str, Any]:
        """The choices that differ from the defaults."""
        return {key: value for key, value in (self.reading | self.preprocessing).items() if value is not None}

    def asked(self, sides: Sequence[int] | None, *, crop: bool | None) -> dict[str, Any]:
        """The part of a recipe about these choices, the input size and the crop; empty if all are the defaults."""
        chosen = {"size": list(sides) if sides else None, "crop": crop}
        found = {key: value for key, value in chosen.items() if value is not None} | self.as_recipe()
        return {"asked": found} if found else {}

    def prepare(self, model: Model, report: Report) -> Model:
        """The model with the chosen preprocessing, which is reported."""
        from kernelviz.wording import preprocessing_text

        model = model.with_preprocessing(**self.preprocessing)
        report.inform(f"input: {preprocessing_text(model.source.preprocessing)}")
        report.more["preprocessing"] = model.source.preprocessing_entry()
        return model


def named_images(images: Sequence[str], output: Path, report: Report, *, recursive: bool) -> tuple[str, ...]:
    """The images that the arguments of a command name; what is left out is a warning, an unreadable folder a failure."""
    from kernelviz.files.finding import find_images

    found = find_images(images, recursive=recursive, output=output)
    report.warn(*found.notes)
    for folder, error in found.unreadable.items():
        report.add_failure(folder, error)
    return found.images


def find_device(name: str, threads: int | None, progress: Progress) -> str:
    """Import torch and timm, and return the device that ``auto`` or a name means; sets the number of torch threads.

    Raises:
        UsageError: there is no such device, or the number of threads is out of bounds.
    """
    progress("importing torch and timm", 0, 0)
    # torch's threads wait for each other by spinning, some 10 ms unless the environment says otherwise: that takes
    # processors from the threads that read and write, and from other programs. Without spinning, each operation of a
    # forward pass has to wake them. libgomp reads this once, when torch is imported. The numbers stay the same.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    with without_collection():
        from kernelviz.network.model import use_device

    return use_device(name, threads)


def load(choices: ModelChoices, report: Report, progress: Progress) -> Model:
    """Load the model onto its device, and report which weights it has; without weights only the architecture."""
    arguments = options.parse_model_args(choices.arguments)
    device = find_device(choices.device, choices.threads, progress)
    from kernelviz.network.freed_memory import keep_freed_memory
    from kernelviz.network.model import load_model
    from kernelviz.network.weights.names import is_sized_by_timm

    keep_freed_memory()
    progress(f"building {choices.name}", 0, 0)
    size = options.parse_input_size(choices.input_size, traced=True)
    try:
        model = load_model(
            choices.name, weights=choices.weights, seed=choices.seed, timeout=choices.timeout,
            progress=partial(progress, in_bytes=True), weights_key=choices.weights_key, partial=choices.partial,
            model_args=arguments, input_size=None if is_sized_by_timm(choices.name) else size,
        )  # fmt: skip
    except UnknownModelError as error:
        from kernelviz.cli.advice import unknown_image

        raise unknown_image(report.command, choices.name) or error from None
    channels, (wanted, *_) = model.input_size[0], options.parse_size(choices.input_size, model, traced=True) or (0,)
    if wanted not in (0, channels):
        raise UsageError(f"{model.source.model} takes {channels} channels, but --input-size has {wanted}.")
    model = model if device == "cpu" else model.to(device)
    announce(model.source, choices, report)
    return model


def announce(source: Source, choices: ModelChoices, report: Report) -> None:
    """Report which model it is, and which weights it has."""
    report.source = source
    if choices.runs and "input_size" in source.preprocessing.get("guessed", ()):
        sides = source.preprocessing["input_size"]
        report.warn(f"input size {' × '.join(map(str, sides))} is a guess (see --input-size)")
    if choices.weights is None:
        return
    report.inform(source.provenance)
    report.warn(*source.notes)
    if choices.seed and choices.weights != "random":
        report.warn(f"--seed {choices.seed} has no effect: it is for --weights random")
