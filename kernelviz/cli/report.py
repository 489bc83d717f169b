"""``kernelviz report``: a network to explore, in one HTML file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelviz.cli import loading, options, outputs, session, terminal
from kernelviz.cli.advice import check_order
from kernelviz.cli.features import SkipExisting
from kernelviz.cli.loading import ImageChoices
from kernelviz.cli.model_choices import ModelChoices
from kernelviz.cli.outputs import OutputChoices
from kernelviz.cli.session import run_command
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.files.images import EncodedImage
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.records import Recipe
    from kernelviz.report.contents import Report as Page


MAX_SIZE = 8.0

Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE",
        help="Files, folders with -r, globs, URIs, - for standard input, or sample:grace_hopper; several share one page.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="PATTERN",
        help="A layer, as in `kernelviz features`. Repeatable. Default: all convolutions.",
        autocompletion=options.complete_layer,
        show_default=False,
    ),
]
PatchesFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--patches-from",
        metavar="IMAGE",
        help="Also show, for each channel, the patches of these images that excite it most: a file, a folder with -r, or a "
        "quoted glob. Repeatable.",
        show_default=False,
    ),
]
MaxSize = Annotated[
    float,
    typer.Option(
        "--max-size",
        metavar="MB",
        help="The largest size of the file, in 10⁶ bytes, at least 1. Maps that do not fit are left out, the least "
        "varied first, and patches; the page states how many.",
        rich_help_panel=options.OUTPUT,
    ),
]


def report(
    model: options.ModelName,
    images: Images,
    *,
    layer: Layers = None,
    recursive: options.Recursive = False,
    patches_from: PatchesFrom = None,
    weights: options.WeightsChoice = "auto",
    weights_key: options.WeightsKey = None,
    fitting: options.Partial = False,
    model_arg: options.ModelArgs = None,
    seed: options.Seed = 0,
    timeout: options.Timeout = 10.0,
    input_size: options.InputSize = None,
    crop: options.Crop = None,
    value_range: options.Range = None,
    bands: options.Bands = None,
    mean: options.Mean = None,
    std: options.Std = None,
    interpolation: options.Interpolation = None,
    device: options.Device = options.DeviceName.AUTO,
    threads: options.Threads = None,
    max_size: MaxSize = MAX_SIZE,
    skip_existing: SkipExisting = False,
    output: options.Output = Path("kernelviz-out"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> int:
    """Write one HTML file in which to explore a model: its layers, their kernels and maps, and how each value is computed.

    The file needs no server and no network. It contains the images.

    For example: kernelviz report tf_efficientnet_lite0 photo.jpg

    With patches of a folder: kernelviz report tf_efficientnet_lite0 photo.jpg --patches-from photos -r
    """

    def work(report: Report) -> None:
        report.more["images"] = []
        check_order("report", model, images)
        if not 1 <= max_size < math.inf:
            raise UsageError(f"--max-size must be at least 1, but got {max_size:g}.")
        if skip_existing and force:
            raise UsageError("--force overwrites what --skip-existing keeps.", hint="Omit one of them.")
        outputs.check_directory(output)
        reading = ImageChoices(value_range, bands, mean, std, interpolation)
        sides = options.parse_sides(input_size)
        asked = {
            "layers": layer or None, "max_size": max_size if max_size != MAX_SIZE else None,
            "size": list(sides) if sides else None, "crop": crop, **reading.as_recipe(),
        }  # fmt: skip
        named = loading.named_images(images, output, report, recursive=recursive)
        searched = loading.named_images(patches_from, output, report, recursive=recursive) if patches_from else None
        _check_directories(searched or ())
        with terminal.progress(shown=not quiet) as progress:
            chosen = ModelChoices(
                model, weights, seed, timeout, str(device), threads, weights_key=weights_key, partial=fitting,
                arguments=model_arg, runs=True, input_size=input_size,
            )  # fmt: skip
            network = reading.prepare(loading.load(chosen, report, progress), report)
            run = _Run(
                network, list(named), reading, OutputChoices(output, ".html", arrays=False, force=force), report,
                {key: value for key, value in asked.items() if value is not None},
                None if searched is None else list(searched),
            )  # fmt: skip
            run.write(layer, sides, crop=crop, max_size=max_size, skip_existing=skip_existing, progress=progress)

    return run_command("report", work, as_json=as_json, quiet=quiet, verbose=verbose, debug=debug)


@dataclass(frozen=True)
class _Run:
    """A run of the command: the network, the paths of the images, and where the page goes.

    ``asked`` are the options that differ from their defaults, ``searched`` the paths of the images for patches, if there
    are any; ``files`` are the images before they are decoded.
    """

    network: Model
    paths: list[str]
    reading: ImageChoices
    output: OutputChoices
    report: Report
    asked: Recipe
    searched: list[str] | None = None

    @cached_property
    def files(self) -> dict[str, EncodedImage | KernelvizError]:
        """The bytes of each image, or why they cannot be read."""
        once = ["-"] if "-" in (self.searched or ()) and "-" not in self.paths else []  # stdin is read once
        return {path: _loaded(path) for path in [*self.paths, *once]}

    def write(
        self,
        layers: list[str] | None,
        sides: tuple[int, int] | None,
        *,
        crop: bool | None,
        max_size: float,
        skip_existing: bool,
        progress: Progress,
    ) -> None:
        """Make the page, and write it unless it exists and is to be kept.

        Raises:
            KernelvizError: no image can be read, or the page cannot be made or written.
        """
        from kernelviz.cli.feature_pictures import has_options
        from kernelviz.exploring import explore, save_report
        from kernelviz.network.inputs import as_input

        found = [self.files[path] for path in self.paths]
        files = [file for file in found if not isinstance(file, KernelvizError)]
        images = [file.as_recipe() for file in files]
        path = self._path(images) if images else None
        whole = path is not None and len(files) == len(self.paths)
        if skip_existing and path and whole and has_options(path, dict(self.asked)) and self._has_patches(path):
            self.report.kept += 1
            self.report.inform(f"{path}: skipped, it exists")
            return

        def read(path: str) -> Input:
            file = self.files[path] if path in self.files else _loaded(path)
            if isinstance(file, KernelvizError):
                raise file
            return as_input(self.network, file.decode(**self.reading.reading), input_size=sides, crop=crop)

        paths = dict(enumerate(self.paths))

        def failed(number: int, error: KernelvizError) -> None:
            del paths[number]
            self.report.add_failure(self.paths[number], error)

        def failed_too(number: int, error: KernelvizError) -> None:
            path = (self.searched or [])[number]
            if path not in self.paths or path in paths.values():  # else it was named
                self.report.add_failure(path, error)

        page = explore(
            self.network, self.paths, read, layers, max_size=max_size, on_error=failed, progress=progress,
            asked=self.asked, expected=len(files), patches_from=self.searched, on_patch_error=failed_too,
        )  # fmt: skip
        shown = [{"name": image.name, "sha256": image.sha256} for image in page.images]
        if path is None or shown != images:
            path = self._path(shown)
        save_report(page, path, force=self.output.force)
        self._report_page(page, list(paths.values()), path)

    def _has_patches(self, path: Path) -> bool:
        """Whether a page has the patches of the requested images, or none if none were requested."""
        from kernelviz.files.recipes import read_recipe
        from kernelviz.views.gathered import identity_of

        digests: dict[str, None] = {}
        for each in self.searched or ():
            file = self.files[each] if each in self.files else _loaded(each)
            if isinstance(file, KernelvizError):
                return False
            digests[file.as_recipe()["sha256"]] = None
        return bool((read_recipe(path).get("patches") or {}).get("image") == identity_of(digests))

    def _path(self, images: list[dict[str, Any]]) -> Path:
        """The path of the page of these images."""
        from kernelviz.files.names import ImageStems, file_stems

        source = self.network.source
        stem = () if len(self.paths) > 1 else (ImageStems(self.paths)[self.paths[0]],)
        identity = {
            "command": "report", "model": source.as_recipe(), "layer": None,
            "image": images[0] if len(images) == 1 else images,
        }  # fmt: skip
        return outputs.picture_path(file_stems([(*stem, source.stem, "report")])[0], identity, self.output, self.report)

    def _report_page(self, page: Page, paths: list[str], path: Path) -> None:
        """Report what the page contains, of the images at ``paths``, and what it leaves out."""
        report, count = self.report, len(page.images)
        for given, image in zip(paths, page.images, strict=True):
            top = [{"index": each.index, "label": each.label, "probability": each.probability} for each in image.top]
            report.more["images"].append({"path": given, "top": top})
            shares = ", ".join(f"{each.label or f'class {each.index}'} {each.probability:.1%}" for each in image.top)
            report.inform(f"{image.name}: {shares}" if shares else image.name)
            if count > 1 and not report.verbose:
                report.tally(image.name, image.notes)
            else:
                report.inform(*(f"  {note}" for note in image.notes))
                report.note(*(f"{image.name}: {note}" for note in image.notes))
        report.inform_tallied()
        report.more["bytes"] = len(page.html.encode("utf-8"))
        report.more["kept"] = [
            {"layer": layer.name, "shown": len(layer.shown), "total": layer.outputs} for layer in page.layers
        ]
        notes = tuple(note for note in page.notes if note not in report.warnings)
        of_images = {note for image in page.images for note in image.notes}  # reported above
        report.note(*(note for note in notes if note in of_images))
        report.warn(*(note for note in notes if note not in of_images))
        report.more["patches"] = _patches_of(page) if self.searched is not None else None
        report.inform(f"{counted(len(page.layers), 'layer')}; the file contains the image{'s' if count > 1 else ''}")
        if self.searched is not None:
            report.inform(*_patches_line(page))
        shown, total = sum(len(layer.shown) for layer in page.layers), sum(layer.outputs for layer in page.layers)
        broken = sum(sum(maps.nonfinite.values()) for layer in page.layers for maps in layer.maps)
        report.add_output(session.output_row(
            path, image=paths[0] if count == 1 else None, view="report", shown=shown, total=total,
            nonfinite=broken, notes=notes,
        ))  # fmt: skip


def _patches_of(page: Page) -> dict[str, Any]:
    """What the page has of the patches, and why layers have none."""
    return {
        "images": page.patch_set,
        "shown": [
            {"name": image.name, "sha256": image.sha256, "scale": image.scale, "of_report": image.shown is not None}
            for image in page.patch_images
        ],
        "layers": [
            {
                "layer": layer.name,
                "channels": 0 if layer.patches is None else len(layer.patches.channels),
                "total": layer.outputs,
                "patches": 0 if layer.patches is None else layer.patches.values.shape[1],
                "reason": layer.without_patches or None,
            }
            for layer in page.layers
        ],
    }  # fmt: skip


def _patches_line(page: Page) -> list[str]:
    """How many patches the page has, of how many images; nothing if a warning states that none fits."""
    those = [layer.patches for layer in page.layers if layer.patches is not None]
    if not those:
        why = next((layer.without_patches for layer in page.layers if layer.without_patches), "")
        return [f"no patches: {why}"] if not any(why and note.endswith(why) for note in page.notes) else []
    channels = sum(len(each.channels) for each in those)
    many = counted(sum(int((each.places[..., 0] >= 0).sum()) for each in those), "patch", "patches")
    what = f"{many} of {counted(channels, 'channel')} in {counted(len(those), 'layer')}"
    return [f"{what}; the file contains {counted(len(page.patch_images), 'image')} of {page.patch_set:,} for them"]


def _check_directories(paths: Sequence[str]) -> None:
    """Reject directories of images for patches without ``-r`` before anything is computed.

    Raises:
        KernelvizError: there is one.
    """
    for path in paths:
        if os.path.isdir(path) and isinstance(found := _loaded(path), KernelvizError):  # noqa: PTH112  (takes every text)
            raise found


def _loaded(path: str) -> EncodedImage | KernelvizError:
    """The bytes of an image, or why they cannot be read."""
    from kernelviz.files.images import load_image

    try:
        return load_image(path)
    except KernelvizError as error:
        return error
