"""The pictures of ``kernelviz features``: images are read, maps captured, drawn and written, image by image."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from kernelviz.cli import outputs, session, terminal
from kernelviz.cli.session import output_row, sheet_row
from kernelviz.distributed.engines import chunk_length
from kernelviz.errors import BrokenPassError, KernelvizError, RecipeError
from kernelviz.streaming import Passes, ReadImage
from kernelviz.wording import inflected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from kernelviz.cli.loading import ImageChoices
    from kernelviz.cli.outputs import OutputChoices, PictureChoices
    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.distributed import Engine
    from kernelviz.drawing.mosaic import Singles
    from kernelviz.drawing.overlay import Overlay
    from kernelviz.drawing.sheets import Sheet
    from kernelviz.files.images import EncodedImage
    from kernelviz.files.names import ImageStems
    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.records import ClassScore, FeatureMaps, Image, Recipe
    from kernelviz.threads import BackgroundWriter
    from kernelviz.views.components import Basis
    from kernelviz.views.map_views import Highlights, MapView

    Targets = Mapping[str, Sequence[tuple[int | None, Path]]]
    """The paths of the pictures of each layer, with their channel if they are overlays of one."""


OVERVIEW = ""  # stands for the overview among the layers: the network itself has no map, so no layer has this name


@dataclass(frozen=True)
class FeatureChoices:
    """What is captured and drawn of each image, as chosen on the command line.

    With ``lists_images`` each image is printed with its notes and class scores.
    """

    patterns: Sequence[str] | None
    kind: str
    tap: Literal["output", "input"]
    reduce: str | None
    overlay: bool
    overview: bool | None
    classes: bool
    size: tuple[int, int] | None
    crop: bool | None
    batch_size: int
    skip_existing: bool
    single: bool
    statistics: bool
    contact: bool
    bases: tuple[Path, ...]
    picture: PictureChoices
    image: ImageChoices
    lists_images: bool = True

    @property
    def summarised(self) -> bool:
        """Whether all images together are drawn, instead of each by itself."""
        return self.statistics or self.contact

    @property
    def with_overview(self) -> bool:
        """Whether an overview is drawn: as chosen, by default if no other picture was chosen."""
        if self.overview is not None:
            return self.overview
        others = (self.patterns, self.reduce, self.overlay, self.tap == "input", self.single, self.summarised)
        return not self.picture.bare and not any(others)

    @property
    def with_classes(self) -> bool:
        """Whether the network runs to its end, for the class scores."""
        return self.classes and not self.summarised


@dataclass(frozen=True)
class FeaturePlan:
    """What is captured: the taps of a network, the layers that are drawn, those that are in the overview.

    ``bases`` holds the principal components of layers that are drawn as colour. ``broken`` is the error of a forward pass
    that breaks after the layers that are drawn, to be raised in the end.
    """

    network: Model
    capture: CapturePlan
    drawn: tuple[str, ...]
    viewed: frozenset[str]
    bases: Mapping[str, Basis] = field(default_factory=dict)
    broken: BrokenPassError | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """The number of channels of each layer."""
        return {tap.name: tap.layout.size[0] for tap in self.capture.taps.taps}


@dataclass(frozen=True)
class FeatureRun:
    """A run of the command: what is captured, how it is drawn, and where it goes.

    ``stems`` names the images in file names, ``count`` is their number, ``unusual`` holds the options that differ from
    their defaults: they are stored in recipes. ``engine`` runs the images in several processes.
    """

    plan: FeaturePlan
    choices: FeatureChoices
    output: OutputChoices
    report: Report
    writer: BackgroundWriter
    stems: ImageStems
    count: int
    unusual: Mapping[str, Any]
    engine: Engine | None = None

    @property
    def in_threads(self) -> bool:
        """Whether pictures are drawn without matplotlib, which is not safe in threads."""
        return self.choices.single or (self.choices.picture.bare and not self.choices.overlay)

    def recipe(self, recipe: Recipe | None, layer: str | None) -> Recipe:
        """A recipe with the options that differ from their defaults."""
        unusual = self.options_of(layer)
        return {**(recipe or {}), **({"asked": unusual} if unusual else {})}

    def options_of(self, layer: str | None) -> dict[str, Any]:
        """The options that differ from their defaults, for one layer; for the overview ``layer`` is None."""
        basis = self.plan.bases.get(layer or "")
        return dict(self.unusual) if basis is None else {**self.unusual, "basis": basis.digest}


def prepare(
    network: Model,
    choices: FeatureChoices,
    output: OutputChoices,
    report: Report,
    *,
    paths: Sequence[str],
    writer: BackgroundWriter,
) -> FeatureRun:
    """Find what is to be captured, before any image is read; of a forward pass that breaks, the layers before that.

    Raises:
        KernelvizError: no such layer, one without a map, an input size that the network rejects, or channels that no
            layer has.
    """
    from kernelviz.files.names import ImageStems
    from kernelviz.network.capture import blank, make_taps, tap_also
    from kernelviz.network.model import uses_all_processors
    from kernelviz.network.preprocessing import input_size_of
    from kernelviz.views.kernel_views import parse_channels

    writer.exclusive = uses_all_processors(network.module)
    size = (network.input_size[0], *input_size_of(network, choices.size))
    capture = make_taps(network, size, choices.patterns, kind=choices.kind, tap=choices.tap, batch=blank(size))
    broken = None if capture.complete and not choices.with_classes else capture.broken
    if broken is not None:
        report.warn("the forward pass fails: only layers that ran before are drawn")
        choices = replace(choices, classes=False)
    capture = replace(capture, broken=None)
    drawn = tuple(tap.name for tap in capture.taps.taps)
    if choices.picture.channels is not None:
        parse_channels(choices.picture.channels, max(tap.layout.size[0] for tap in capture.taps.taps))
    report_without_map(capture.taps.without, report)
    capture, viewed = tap_also(capture) if choices.with_overview else (capture, frozenset())
    plan = FeaturePlan(network, capture, drawn, viewed, broken=broken)
    unusual = unusual_options(choices) | output.look.as_recipe()
    return FeatureRun(plan, choices, output, report, writer, ImageStems(paths), len(paths), unusual)


def report_without_map(reasons: Mapping[str, str], report: Report) -> None:
    """Report how many layers have no map and, with ``verbose``, why."""
    lines = [f"{name}: {why}" for name, why in reasons.items()]
    report.note(*lines)
    if lines:
        verb = inflected(len(lines), "layer has", "layers have")
        report.inform_briefly(f"{len(lines)} {verb} no map", lines)


def report_left_out(run: FeatureRun, path: str) -> None:
    """Report how many layers have no map for the last image and, with ``verbose``, why."""
    report, lines = run.report, [f"{name}: {why}" for name, why in run.plan.capture.left_out.items()]
    report.note(*(f"{path}: {line}" for line in lines))
    if lines:
        verb = inflected(len(lines), "layer has", "layers have")
        report.inform_briefly(f"{path}: {len(lines)} {verb} no map for this image", lines)


def unusual_options(choices: FeatureChoices) -> dict[str, Any]:
    """The options that differ from their defaults, as JSON: they distinguish pictures of the same name."""
    picture = choices.picture
    found = {key: value for key, value in asdict(picture).items() if value is not None}
    found["style"] = "bare" if picture.bare else None
    found["palette"] = None if picture.palette == "standard" else str(picture.palette)
    found["scale"] = list(picture.scale) if isinstance(picture.scale, tuple) else picture.scale
    found["crop"] = choices.crop
    found["size"] = list(choices.size) if choices.size else None
    found["batch_size"] = choices.batch_size if choices.batch_size > 1 else None
    found["classes"] = None if choices.with_classes else False
    return {key: value for key, value in found.items() if value is not None} | choices.image.as_recipe()


def targets_of(run: FeatureRun, image: Image | EncodedImage, stem: str) -> Targets:
    """The paths of all pictures of an image; none is taken by something else.

    Raises:
        FileInTheWayError: one is.
    """
    from kernelviz.files.names import file_stems
    from kernelviz.files.single_maps import INDEX

    source, what = run.plan.network.source, "features" if run.choices.tap == "output" else "inputs"
    wanted: list[tuple[str, int | None, str, tuple[str, ...]]] = []
    for name in run.plan.drawn:
        for channel, view in views(run):
            ending = () if view == "maps" else (view,)
            wanted.append((name, channel, view, (stem, source.stem, name, what, *ending)))
    if run.choices.with_overview:
        wanted.append((OVERVIEW, None, "overview", (stem, source.stem, "overview")))
    targets: dict[str, list[tuple[int | None, Path]]] = {}
    output = replace(run.output, suffix=f"/{INDEX}") if run.choices.single else run.output
    for (name, channel, view, _), one in zip(wanted, file_stems([each[3] for each in wanted]), strict=True):
        identity = {
            "command": "features", "model": source.as_recipe(), "layer": name or None, "view": view,
            "image": image.as_recipe(),
        }  # fmt: skip
        path = outputs.picture_path(one, identity, output, run.report)
        targets.setdefault(name, []).append((channel, path))
    return targets


def views(run: FeatureRun) -> list[tuple[int | None, str]]:
    """The pictures of one layer, each by its view and, in an overlay, its channel."""
    from kernelviz.views.kernel_views import parse_channels

    choices = run.choices
    if choices.single:
        return [(None, "single")]
    if not choices.overlay:
        return [(None, choices.reduce or "maps")]
    if choices.picture.channels is None:
        return [(None, f"overlay-{choices.reduce or 'norm'}")]
    most = max(run.plan.sizes.values())
    return [(channel, f"overlay-{channel}") for channel in parse_channels(choices.picture.channels, most)]


def is_done(run: FeatureRun, targets: Targets) -> bool:
    """Whether all files of an image exist undamaged, made with the same options according to their recipes.

    That they are of this model, layer and image was checked when their paths were found. Of single maps, all files that
    the index lists must exist in their sizes.
    """
    from kernelviz.files.single_maps import is_complete

    wanted = [(layer, path) for layer, each in targets.items() for _, path in each]
    if run.output.arrays:
        wanted += [(layer, path.with_suffix(".npz")) for layer, path in wanted if layer]
    same = all(has_options(path, run.options_of(layer)) for layer, path in wanted)
    return same and (not run.choices.single or all(is_complete(path) for _, path in wanted))


def has_options(path: Path, expected: dict[str, Any]) -> bool:
    """Whether a file exists undamaged, made with these options according to its recipe."""
    from kernelviz.files.recipes import is_whole, read_recipe

    if not is_whole(path):
        return False
    try:
        recipe = read_recipe(path)
    except RecipeError:
        return False
    return bool(recipe.get("asked", {}) == expected)


def draw_layer(run: FeatureRun, maps: FeatureMaps, targets: Sequence[tuple[int | None, Path]], culprit: str) -> None:
    """Draw the maps of one layer, write the files and report them, once the forward pass leaves time for it.

    ``culprit`` is named if that fails.
    """
    for channel, path in targets:
        if run.choices.overlay:
            write: Callable[[], Any] = partial(write_overlay, run, maps, channel, path)
            finish: Callable[[Any], None] = partial(report_overlay, run, maps, path)
        elif run.choices.single:
            write, finish = partial(write_singles, run, maps, path), partial(report_singles, run, maps, path)
        else:
            write, finish = partial(write_sheet, run, maps, path), partial(report_sheet, run, maps, path)

        def then(done: Future[Any], finish: Callable[[Any], None] = finish) -> None:
            session.attempt(run.report, culprit, len(run.plan.drawn) * run.count, lambda: finish(done.result()))

        run.writer.submit(write, then, size=maps.values.nbytes, in_thread=run.in_threads)


def write_overlay(run: FeatureRun, maps: FeatureMaps, channel: int | None, path: Path) -> Overlay:
    """Write one map over the image."""
    from kernelviz.drawing.overlay import draw_overlay, make_overlay

    reduce = cast("MapView", run.choices.reduce or "norm")
    picture = run.choices.picture
    overlay = make_overlay(maps, channel, reduce=reduce, scale=picture.scale, palette=picture.palette.value)
    figure = draw_overlay(overlay, run.output.look)
    figure.recipe = run.recipe(figure.recipe, maps.layer)
    outputs.save_page(figure, path, run.report, force=run.output.force, known=(*overlay.notes, *image_notes(maps)))
    return overlay


def report_overlay(run: FeatureRun, maps: FeatureMaps, path: Path, overlay: Overlay) -> None:
    """Report that an overlay was written."""
    from kernelviz.drawing.overlay import overlay_text

    report_layer(run, maps, f"{overlay_text(overlay)} over the image", overlay.notes)
    run.report.add_output(sheet_row(path, cast("Sheet", overlay), layer=maps.layer, image=_image_of(maps)))


def write_sheet(run: FeatureRun, maps: FeatureMaps, path: Path) -> Sheet:
    """Write the picture of one layer and, with ``--arrays``, its numbers."""
    from kernelviz.drawing.sheets import make_sheet
    from kernelviz.files.writing import save_arrays

    layer, picture, force = maps.layer or "", run.choices.picture, run.output.force
    chosen = picture.of_sheet(run.output.look)
    sheet = make_sheet(maps, view=run.choices.reduce or "maps", basis=run.plan.bases.get(layer), **chosen)
    sheet = replace(sheet, recipe=run.recipe(sheet.recipe, layer))
    outputs.save_sheet(sheet, path, run.output, run.report, bare=picture.bare, known=image_notes(maps))
    if run.output.arrays:
        save_arrays({layer: sheet.tiles.values}, path.with_suffix(".npz"), recipe=sheet.recipe, force=force)
    return sheet


def report_sheet(run: FeatureRun, maps: FeatureMaps, path: Path, sheet: Sheet) -> None:
    """Report that the picture of one layer was written."""
    reduced, many = run.choices.reduce, len(maps.values)
    one = f"one picture, the components of {many:,} maps" if reduced == "pca" else f"one map, the {reduced} of {many:,}"
    what = one if reduced else outputs.count_of(sheet, path, run.report)
    report_layer(run, maps, what, outputs.sheet_notes(sheet, run.report))
    for each in (path, path.with_suffix(".npz")) if run.output.arrays else (path,):
        run.report.add_output(sheet_row(each, sheet, layer=maps.layer, image=_image_of(maps)))


def write_singles(run: FeatureRun, maps: FeatureMaps, index: Path) -> Singles:
    """Write one file for each channel of one layer."""
    from kernelviz.drawing.mosaic import make_singles
    from kernelviz.files.single_maps import save_singles

    picture = run.choices.picture
    singles = make_singles(
        maps, channels=picture.channels, top=picture.top, sort=picture.sort, scale=picture.scale, cmap=picture.cmap,
        zoom=picture.zoom or 1, look=run.output.look.name,
    )  # fmt: skip
    singles = replace(singles, recipe=run.recipe(singles.recipe, maps.layer))
    save_singles(singles, index.parent, force=run.output.force)
    return singles


def report_singles(run: FeatureRun, maps: FeatureMaps, index: Path, singles: Singles) -> None:
    """Report that the files of one layer were written."""
    report_layer(run, maps, f"{len(singles.numbers):,} of {len(maps.values):,} maps, one file each", ())
    run.report.add_output(output_row(
        index, layer=maps.layer, image=_image_of(maps), view="single", shape=tuple(maps.shape or maps.values.shape),
        shown=len(singles.numbers), total=len(maps.values), limits=(singles.scale.low, singles.scale.high),
        nonfinite=singles.nonfinite,
    ))  # fmt: skip


def _image_of(maps: FeatureMaps) -> str | None:
    return (maps.image.path or maps.image.name) if maps.image else None


def report_layer(run: FeatureRun, maps: FeatureMaps, what: str, lines: Sequence[str]) -> None:
    """Print one line about one picture and its notes, without those that were printed about the image."""
    shape = " × ".join(map(str, maps.values.shape))
    headline = "; ".join(filter(None, (f"{maps.layer}: {maps.kind}, {shape}", what)))
    run.report.inform(*terminal.with_notes(headline, lines, known=image_notes(maps)))


def image_notes(maps: FeatureMaps) -> tuple[str, ...]:
    """The notes of an image and of how the network sees it, which are printed once for all of its layers."""
    return (*(maps.image.notes if maps.image else ()), *(maps.seen.notes if maps.seen else ()))


def draw_overview(
    run: FeatureRun, image: Image, columns: Sequence[Highlights], classes: Sequence[ClassScore], path: Path
) -> None:
    """Draw the overview of one image, write the file and report it."""
    from kernelviz.drawing.overview import plot_overview
    from kernelviz.views.map_views import overview_notes

    look = run.output.look
    figure = plot_overview(
        columns, classes, cmap=run.choices.picture.cmap, look=look.name, caption=look.caption,
        complete=run.plan.capture.complete,
    )  # fmt: skip
    recipe = run.recipe(figure.recipe, None)
    figure.recipe = recipe
    outputs.save_page(figure, path, run.report, force=run.output.force)
    run.report.add_output(output_row(
        path, image=image.path or image.name, view="overview", shown=len(recipe["layers"]), total=len(columns),
        nonfinite=sum(each.nonfinite for each in columns), notes=overview_notes(columns),
    ))  # fmt: skip


@dataclass(frozen=True)
class ImageJob:
    """One image of the run, perhaps with its bytes and the paths of its pictures; ``done`` if these exist.

    ``number`` is its place among all images, by default that among the jobs; ``error`` is raised when it is read.
    """

    path: str
    file: EncodedImage | None = None
    targets: Targets | None = None
    done: bool = False
    number: int | None = None
    error: KernelvizError | None = None


@dataclass(frozen=True)
class PreparedImage(ReadImage[ImageJob]):
    """An image that was read, with the paths of its pictures and the highlights of its layers so far."""

    targets: Targets
    columns: list[Highlights] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The image as the user named it."""
        return self.item.path


def draw_all(run: FeatureRun, jobs: Iterable[ImageJob], progress: Progress) -> None:
    """Run every image through the network, and draw the maps of its layers; those of the last wait in ``run.writer``."""
    begun: dict[str, PreparedImage] = {}

    def on_map(each: PreparedImage, maps: FeatureMaps) -> None:
        name = maps.layer or ""
        begun[each.path] = each
        if run.count == 1:
            names = [tap.name for tap in run.plan.capture.taps.taps]
            progress(name, names.index(name), len(names))
        if name in run.plan.viewed:
            from kernelviz.views.map_views import highlights_of

            each.columns.append(highlights_of(maps))
        if name in run.plan.drawn:
            draw_layer(run, maps, each.targets[name], name if run.count == 1 else each.path)

    def after(each: PreparedImage, classes: Sequence[ClassScore]) -> None:
        report_left_out(run, each.path)
        begun.pop(each.path, None)

        def finished(done: Future[Any]) -> None:
            session.attempt(run.report, each.path, run.count, done.result)

        run.writer.submit(partial(finish_image, run, each, classes), finished, in_thread=False)
        if each.number + 1 < run.count and not run.in_threads:
            run.writer.flush()  # an interruption loses no earlier image

    def broke(job: ImageJob) -> None:
        if (each := begun.get(job.path)) is not None:
            after(each, ())

    jobs = map(partial(look_up, run), jobs) if run.choices.skip_existing else jobs
    run_images(run, jobs, partial(prepare_image, run), on_map, after, progress=progress, broke=broke)


@contextlib.contextmanager
def drawn_before_break(writer: BackgroundWriter) -> Iterator[None]:
    """If the forward pass of the only image breaks, draw the layers that ran before, and raise the error afterwards."""
    try:
        yield
    except BrokenPassError:
        writer.flush()
        raise


def finish_image(run: FeatureRun, each: PreparedImage, classes: Sequence[ClassScore]) -> None:
    """Report an image whose layers were drawn, and draw its overview."""
    report_image(run, each, classes)
    if run.choices.with_overview and each.columns and (image := each.given.image):
        draw_overview(run, image, each.columns, classes, each.targets[OVERVIEW][0][1])


def look_up(run: FeatureRun, job: ImageJob) -> ImageJob:
    """An image with its bytes only: they identify its pictures, so it need not be decoded if these exist.

    Errors are left to be raised when the image is read.
    """
    from kernelviz.files.images import load_image

    if job.error is not None:
        return job
    with contextlib.suppress(KernelvizError):
        file = job.file or load_image(job.path)
        targets = targets_of(run, file, run.stems[job.path])
        done = is_done(run, targets)
        return replace(job, file=None if done else file, targets=targets, done=done)
    return job


def run_images(
    run: FeatureRun,
    jobs: Iterable[ImageJob],
    ready: Callable[[int, ImageJob, Input | None], PreparedImage | None],
    on_map: Callable[[PreparedImage, FeatureMaps], object],
    after: Callable[[PreparedImage, Sequence[ClassScore]], object],
    *,
    progress: Progress,
    broke: Callable[[ImageJob], object] = lambda _: None,
) -> None:
    """Run images through the network; ``ready`` returns None for one that is left out.

    Each that fails is named; before that, ``broke`` is called with one whose forward pass broke.
    """

    def failed(_number: int, job: ImageJob, error: KernelvizError) -> None:
        if isinstance(error, BrokenPassError):
            broke(job)
        session.attempt(run.report, job.path, run.count, partial(_raise, error))

    Passes(
        read=partial(read, run), ready=ready, plan=lambda _: run.plan.capture, on_map=on_map, after=after,
        failed=failed, batch_size=run.choices.batch_size, to_the_end=run.choices.with_classes,
        exclusive=run.writer.exclusive, progress=progress if run.count > 1 else lambda *_: None,
        number_of=lambda at, job: at if job.number is None else job.number, span=_span(run.choices.batch_size),
    ).run(jobs, run.count)  # fmt: skip


def _span(batch_size: int) -> int | None:
    """After how many images a batch ends: where the chunks of workers do, so that these run the same batches."""
    return chunk_length(batch_size) if batch_size > 1 else None


def _raise(error: KernelvizError) -> None:
    raise error


def read(run: FeatureRun, job: ImageJob) -> Input | None:
    """Read one image as the network's input; None if its pictures exist."""
    from kernelviz.files.images import load_image
    from kernelviz.network.inputs import as_input

    if job.error is not None:
        raise job.error
    if job.done:
        return None
    image = (job.file or load_image(job.path)).decode(**run.choices.image.reading)
    return as_input(run.plan.network, image, input_size=run.choices.size, crop=run.choices.crop)


def prepare_image(run: FeatureRun, number: int, job: ImageJob, given: Input | None) -> PreparedImage | None:
    """Find the paths of an image's pictures; None if all of them exist and are to be kept."""
    if given is None:
        run.writer.submit(partial(report_skipped, run, job), lambda done: done.result(), in_thread=False)
        return None
    if given.image is None:
        raise TypeError(job)
    targets = targets_of(run, given.image, run.stems[job.path]) if job.targets is None else job.targets
    return PreparedImage(number, job, given, targets)


def report_skipped(run: FeatureRun, job: ImageJob) -> None:
    """Report that the pictures of an image exist."""
    run.report.add_kept()
    run.report.add_image(job.path, skipped=True)
    run.report.inform(f"{job.path}: skipped, its files exist")


def report_image(run: FeatureRun, each: PreparedImage, classes: Sequence[ClassScore]) -> None:
    """Report how an image was prepared and its class scores; of several images the former is printed at the end."""
    image, seen = each.given.image, each.given.seen
    notes = (*(image.notes if image else ()), *(seen.notes if seen else ()))
    name = image.name if image else each.path
    together = run.count > 1 and not run.report.verbose
    if together:
        run.report.tally(name, notes)
    else:
        run.report.note(*(f"{name}: {note}" for note in notes))
    top = [asdict(score) for score in classes] if run.report.as_json else []
    run.report.add_image(each.path, **({"top": top} if top else {}))
    shares = ", ".join(f"{score.label or f'class {score.index}'} {score.probability:.1%}" for score in classes)
    if run.choices.lists_images:
        below = () if together else notes
        run.report.inform(f"{name}: {shares}" if shares else name, *(f"  {note}" for note in below))
