"""Make pages and write them: the report of a network, from the forward pass of each image, and the playground."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelviz.errors import DiskFullError, KernelvizError, UnknownLayerError, UsageError
from kernelviz.files.encoding import jpeg_bytes
from kernelviz.records import shape_text
from kernelviz.report.budget import MEGABYTE, LayerSizes, fitted, quotas
from kernelviz.report.contents import LiveSums, Report, ReportImage, ReportLayer
from kernelviz.report.levels import chosen_channels, report_kernels, report_maps, tile_of
from kernelviz.report.page import report_page
from kernelviz.report.patches import SHARE, PatchSource, Ranked, with_patches
from kernelviz.report.playground import Playground
from kernelviz.storage.uris import as_path, name_in
from kernelviz.streaming import FailedImage, Passes, ReadImage, is_tensor, name_of, pixels_again
from kernelviz.views.gathered import ImageList
from kernelviz.views.patches import Patches, PatchTally, check_field
from kernelviz.wording import counted, inflected, naming, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kernelviz.explain.walkthrough import Walkthrough
    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.network.taps import Tap
    from kernelviz.network.terms import LayerRun
    from kernelviz.records import Array, ClassScore, ConvLayer, FeatureMaps, Progress, Recipe, Source
    from kernelviz.report.contents import Conv, ReportMaps
    from kernelviz.traces import Maker, Trace, UnitTerms

    OnError = Callable[[int, KernelvizError], object]


PATCHES = 8
"""The patches of each channel, as far as there is room for them."""
TERMS, POINTWISE_TERMS = 3, 8
"""The input channels of a traced unit that are shown one by one, and those of a 1 × 1 convolution."""


def make_report(
    model: Model | Any,
    images: object,
    layers: str | Sequence[str] | None = None,
    *,
    max_size: float = 8.0,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
    on_error: Callable[[FailedImage], object] | None = None,
    progress: Progress | None = None,
    patches_from: object = None,
) -> Report:
    """A page on which a reader explores what a network makes of images; ``save_report`` writes it, a notebook shows it.

    Args:
        model: A ``Model``, or any module that takes one batch of images.
        images: One image, a list of several, or a tuple of paths: paths or other arguments of ``read_image``, ``Image``
            values, tensors (C, H, W), or the inputs of a network that takes several, as ``capture_features`` takes them.
        layers: As ``capture_features`` takes them; by default all convolutions.
        max_size: The largest size of the page in megabytes (10⁶ bytes), at least 1. Maps that do not fit are left out,
            which the page states: those of the smallest spread for the first image, and near-duplicates.
        input_size: Side, or (H, W), of the input; by default the model's own.
        crop: As in ``capture_features``.
        on_error: Called with each image of several that cannot be read or run; the report lists it under ``failed``, and
            the others continue.
        progress: Called with a label, the number of images done, and the number of images.
        patches_from: Images like ``images``, of any number: the page shows for each channel the eight patches of them
            with the largest values, what the units read, as far as there is room, and where they are. Also a ``PatchTally``
            or ``Patches``, or several of different layers, whose images are files.

    Raises:
        UnknownLayerError: there is no such layer.
        UsageError: a named layer has no map, ``max_size`` is too small for four maps of each layer, an image is none
            that the network takes, or patches are of no layer of the report.
        KernelvizError: no image can be read, the forward pass failed, or no layer has a map.

    Example:
        >>> model = kernelviz.load_model("test_resnet", weights="random")
        >>> report = kernelviz.make_report(model, "sample:grace_hopper", "layer1.*", input_size=64)
        >>> path = kernelviz.save_report(report, "report.html")
    """
    from kernelviz.files.images import read_image
    from kernelviz.network.inputs import as_input
    from kernelviz.records import Image

    def read(item: object) -> Input:
        ready = isinstance(item, Image | tuple | Mapping) or is_tensor(item)
        return as_input(model, item if ready else read_image(item), input_size=input_size, crop=crop)

    def fail(number: int, error: KernelvizError, every: Sequence[object] | None = None) -> None:
        if on_error:
            on_error(FailedImage(number, name_of((every or items)[number], number), error))

    items = _items(images)
    searched = None if patches_from is None else _items(patches_from)
    return explore(
        model, items, read, [layers] if isinstance(layers, str) else layers, max_size=max_size, on_error=fail,
        progress=progress, patches_from=searched, on_patch_error=partial(fail, every=searched),
    )  # fmt: skip


def _items(images: object) -> list[Any]:
    """One image as a list, several as they are."""
    paths = isinstance(images, tuple) and all(isinstance(each, str | PathLike) for each in images)
    return list(images) if isinstance(images, list) or paths else [images]  # type: ignore[call-overload]


def save_report(report: Report, path: Path | str, *, force: bool = False) -> Path:
    """Write the page of a report as one HTML file, with the recipe inside; return the path.

    Missing directories are created. The report of an earlier run is replaced, anything else only with ``force``.

    Raises:
        UsageError: the suffix is not ``.html``.
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.

    Example:
        >>> report = kernelviz.make_report(torch.nn.Conv2d(3, 8, 3), torch.rand(3, 32, 32))
        >>> kernelviz.save_report(report, "report.html").suffix
        '.html'
    """
    return _save(report, path, force=force)


def make_playground(worked: Walkthrough, *, at: tuple[int, int] = (0, 0), title: str = "Convolution") -> Playground:
    """A page to play with a convolution; ``save_playground`` writes it, a notebook shows it.

    The reader types into cells, moves the window, changes stride, padding, dilation and sizes, and guesses a value first.

    Args:
        worked: A convolution of one channel without a bias, up to 12 × 12 with a kernel of up to 7 × 7; its numbers have
            at most six significant digits.
        at: The row and the column of the framed value of the output.
        title: The heading.

    Raises:
        UsageError: ``worked`` is another operation, has more channels, a bias or other settings for rows than for columns,
            or is larger than the page shows; or there is no such cell.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(5, 3), np.arange(25).reshape(5, 5), [[1, 0, -1]] * 3)
        >>> playground = kernelviz.make_playground(worked, at=(1, 1), title="An edge detector")
        >>> path = kernelviz.save_playground(playground, "edges.html")
    """
    from kernelviz.arithmetic.operations import Convolution
    from kernelviz.explain.plots import explaining_recipe

    operation, kernel = worked.operation, worked.kernel
    if not isinstance(operation, Convolution) or kernel is None:
        raise UsageError("Only a convolution has a page to play with.")
    if kernel.shape[:2] != (1, 1) or worked.bias is not None:
        raise UsageError("A page shows one channel and no bias.", hint="Omit channels, groups and bias.")
    settings = {name: _single(name, getattr(operation, name)) for name in ("stride", "padding", "dilation")}
    return Playground(
        worked.input[0], kernel[0, 0], explaining_recipe(worked, view="playground", at=at, channel=0), **settings, at=at,
        title=title,
    )  # fmt: skip


def save_playground(playground: Playground, path: Path | str, *, force: bool = False) -> Path:
    """Write a page to play with as one HTML file, with the recipe inside; return the path.

    Missing directories are created. The page of the same convolution is replaced, anything else only with ``force``.

    Raises:
        UsageError: the suffix is not ``.html``.
        FileInTheWayError: the path is occupied by something else.
        WriteError: writing failed; nothing was changed.

    Example:
        >>> worked = kernelviz.work_out(kernelviz.Convolution(3, 2), np.eye(3), [[1, 0], [0, -1]])
        >>> kernelviz.save_playground(kernelviz.make_playground(worked), "convolution.html").name
        'convolution.html'
    """
    return _save(playground, path, force=force)


def _save(page: Report | Playground, path: Path | str, *, force: bool) -> Path:
    from kernelviz.files.writing import save_bytes

    path = as_path(path)
    if path.suffix.lower() != ".html":
        raise UsageError(f"The suffix of {path} must be .html.")
    return save_bytes(page.html.encode("utf-8"), path, recipe=page.recipe, force=force)


def _single(name: str, sides: tuple[int, ...]) -> int:
    """The one number of a setting whose sides are equal.

    Raises:
        UsageError: they are not.
    """
    if len(set(sides)) > 1:
        raise UsageError(f"A page has one {name} for rows and columns, but got {' × '.join(map(str, sides))}.")
    return sides[0]


def explore(
    network: Model | Any,
    items: Iterable[object],
    read: Callable[[Any], Input],
    layers: Sequence[str] | None = None,
    *,
    max_size: float = 8.0,
    on_error: OnError | None = None,
    on_patch_error: OnError | None = None,
    progress: Progress | None = None,
    asked: Recipe | None = None,
    expected: int | None = None,
    patches_from: Sequence[Any] | None = None,
) -> Report:
    """As ``make_report``, of images that ``read`` makes inputs of.

    ``asked`` are options for the recipe, ``expected`` is the number of images that can be read, as far as it is known.
    ``on_error`` is called with the number of an image that failed and the error, ``on_patch_error`` with the number among
    ``patches_from``.
    """
    if not 1 <= max_size < math.inf:
        raise UsageError(f"The largest size of a report must be at least 1 MB, but got {max_size:g}.")
    every = dict(enumerate(items))
    if not every:
        raise UsageError("There is no image.", hint="Give at least one.")
    most = round(max_size * MEGABYTE)
    for_maps = most if patches_from is None else round((1 - SHARE) * most)
    walk = _Walk(network, layers, for_maps, expected or len(every))
    failed = walk.run_all(every, read, on_error, progress)
    if not walk.images:
        first = next(iter(failed.values()))
        raise KernelvizError(f"None of the {len(every)} images can be shown.", first.what, first.hint)
    if walk.leaves_room and not any(hasattr(item, "read") for item in every.values()):  # a file object is read once
        walk = _Walk(network, layers, walk.most, len(walk.images))
        failed |= walk.run_all({number: every[number] for number in every.keys() - failed}, read)
    left_out = [_left_out(every[number], number, failed[number]) for number in sorted(failed)]
    report = walk.report(left_out, asked or {})
    if patches_from is None:
        return fitted(report, most)
    source = _patch_source(walk, patches_from, read, on_patch_error, progress)
    return with_patches(_fitted_for(report, for_maps, most), source, most)


def _fitted_for(report: Report, for_maps: int, most: int) -> Report:
    """The report within ``for_maps`` bytes, or within ``most`` if no four maps of each layer fit there."""
    try:
        return fitted(report, for_maps)
    except UsageError:
        return fitted(report, most)


def _patch_source(
    walk: _Walk, given: Sequence[Any], read: Callable[[Any], Input], on_error: OnError | None, progress: Progress | None
) -> PatchSource:
    """The patches of images, or those that were ranked before, for the layers of a report."""
    ranked = [each.result() if isinstance(each, PatchTally) else each for each in given]
    if any(isinstance(each, Patches) for each in ranked):
        return _given_patches(walk, ranked, read)
    return _Ranking(walk, given, read, on_error, progress or (lambda *_: None)).source()


def _given_patches(walk: _Walk, found: Sequence[Any], read: Callable[[Any], Input]) -> PatchSource:
    """Patches that were ranked before.

    Raises:
        UsageError: an image has no path, two are of one layer, or one is of a layer that the report does not have.
    """
    names = [tap.name for tap in walk.capture.taps.taps]
    numbers: dict[str, int] = {}
    images: dict[int, tuple[str, str | None]] = {}
    layers: dict[str, Ranked] = {}
    for each in found:
        if not isinstance(each, Patches):
            raise UsageError(f"patches_from must be images, or all Patches, but got one {type(each).__name__}.")
        if each.layer not in names or each.layer in layers:
            fault = "given twice" if each.layer in layers else "not of the report"
            raise UsageError(f"The patches of {shown(each.layer)} are {fault}.", hint="Choose its layers with layers=.")
        for name, path, digest in zip(each.images, each.paths, each.digests, strict=True):
            if path is None:
                what = f"The image {name} of the patches is no file, so they cannot be cut out of it."
                raise UsageError(what, hint="Give patches_from the images themselves.")
            images[numbers.setdefault(path, len(numbers))] = (name, digest)
        layers[each.layer] = Ranked(each, tuple(numbers[str(path)] for path in each.paths))
    lacking = dict.fromkeys((name for name in names if name not in layers), "No patches of this layer were given.")

    def again(ranked: Ranked, image: int) -> Array:
        return pixels_again(ranked.patches, image, read(ranked.patches.paths[image]))

    return PatchSource(layers, lacking, images, len(numbers), again, jpeg_bytes)


class _Ranking:
    """Runs images through the network of a report, and ranks the units of its layers."""

    def __init__(
        self,
        walk: _Walk,
        items: Sequence[Any],
        read: Callable[[Any], Input],
        on_error: OnError | None,
        progress: Progress,
    ) -> None:
        self.plan, self.items, self.on_error, self.progress = walk.capture, list(items), on_error, progress
        self.read_item = read
        self.tallies: dict[str, PatchTally] = {}
        self.reasons: dict[str, str] = {}
        self.digests: dict[int, str] = {}
        self.failed: dict[int, KernelvizError] = {}
        self.counted: dict[int, list[str]] = {}

    def source(self) -> PatchSource:
        """The ranked units of all layers whose receptive fields are known."""
        from kernelviz.network.capture import module_of
        from kernelviz.network.model import uses_all_processors

        listed = ImageList()  # each image is kept once for all layers
        for tap in self.plan.taps.taps:
            try:
                check_field(tap.field, tap.name, tap.lost)
            except UsageError as error:
                self.reasons[tap.name] = f"{error.what} {error.why}".strip()
            else:
                tally = self.tallies[tap.name] = PatchTally(PATCHES)
                tally.images.listed = listed
        passes: Passes[Any, Input, ReadImage[Any]] = Passes(
            read=self._read, ready=self._ready, plan=self._plan, on_map=self._add, after=self._after, failed=self._fail,
            batch_size=1, to_the_end=False, exclusive=uses_all_processors(module_of(self.plan.network)),
            progress=self.progress,
        )  # fmt: skip
        passes.run(self.items, len(self.items))
        layers = {
            name: Ranked(tally.result(), tally.numbers) for name, tally in self.tallies.items() if len(tally.images)
        }
        unread = dict.fromkeys(self.tallies.keys() - layers.keys(), "None of the images for patches could be shown.")
        longest = max(layers.values(), key=lambda each: len(each.numbers), default=None)
        names = {
            number: name for ranked in layers.values()
            for number, name in zip(ranked.numbers, ranked.patches.images, strict=True)
        }  # fmt: skip
        images = {number: (names[number], self.digests.get(number)) for number in sorted(names)}
        count = 0 if longest is None else len(longest.numbers)
        return PatchSource(layers, self.reasons | unread, images, count, self._again, jpeg_bytes, tuple(self._notes()))

    def _read(self, item: Any) -> Input:
        return self.read_item(item)

    def _ready(self, number: int, item: Any, given: Input) -> ReadImage[Any]:
        if hasattr(item, "read") and given.image is not None:
            self.items[number] = given.image  # a file object is read once
        self.digests[number] = digest_of(given)
        return ReadImage(number, item, given)

    def _plan(self, given: Input) -> CapturePlan | KernelvizError:
        return self.plan if given.size == self.plan.input_size else another_size(given.size, self.plan.input_size)

    def _add(self, each: ReadImage[Any], maps: FeatureMaps) -> None:
        tally = self.tallies.get(str(maps.layer))
        if tally is not None:
            tally.add(maps, each.number)
            self.counted.setdefault(each.number, []).append(str(maps.layer))

    def _after(self, each: ReadImage[Any], _classes: object) -> None:
        self.counted.pop(each.number, None)

    def _fail(self, number: int, _item: object, error: KernelvizError) -> None:
        self.failed[number] = error
        if self.on_error:
            self.on_error(number, error)

    def _notes(self) -> Iterator[str]:
        """The images that are left out, and those that failed after some layers had counted them."""
        for number in sorted(self.failed):
            name, reason = _left_out(self.items[number], number, self.failed[number])
            layers = self.counted.get(number)
            yield (
                f"{name}: it failed later, but counts in the patches of {', '.join(layers)}" if layers
                else f"left out of the patches: {naming(name, reason)}"
            )  # fmt: skip

    def _again(self, ranked: Ranked, image: int) -> Array:
        return pixels_again(ranked.patches, image, self.read_item(self.items[ranked.numbers[image]]))


def _left_out(item: object, number: int, error: KernelvizError) -> tuple[str, str]:
    """The name of an image that is left out and the reason, neither with the path."""
    path = name_of(item, number)
    name, reason = Path(path).name, error.what
    if name != path:
        for text in (path, shown(path)):
            reason = reason.replace(text, shown(name))
    return name, reason


@dataclass
class _ShownLayer:
    """What is kept of one layer so far."""

    maps: list[ReportMaps] = field(default_factory=list)
    units: list[UnitTerms | None] = field(default_factory=list)
    shown: tuple[int, ...] = ()
    outputs: int = 0
    slices: int = 1
    live: LiveSums | None = None
    reads_input: bool = False
    unknown: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What is captured of images of one size, and what is known of the network without running it."""

    capture: CapturePlan
    trace: Trace
    makers: Mapping[str, tuple[Maker, ...]]
    convolutions: Mapping[str, ConvLayer]
    quotas: Mapping[str, int]
    notes: tuple[str, ...]


class _Walk:
    """The forward passes of all images, and what is kept of their layers."""

    def __init__(self, network: Any, layers: Sequence[str] | None, most: int, count: int) -> None:
        self.network, self.patterns, self.most, self.count = network, layers, most, count
        self.plan: _Plan | None = None
        self.reached = False  # whether an image has come to the network
        self.layers: dict[str, _ShownLayer] = {}
        self.images: list[ReportImage] = []

    def rejects(self, error: KernelvizError) -> bool:
        """Whether an error is about the choice of layers or the network, not about one image."""
        return self.plan is None and self.reached and isinstance(error, UsageError)

    @property
    def capture(self) -> CapturePlan:
        """What is captured."""
        if self.plan is None:
            raise ValueError("no image has run")
        return self.plan.capture

    @property
    def leaves_room(self) -> bool:
        """Whether maps were left out for images that failed."""
        return len(self.images) < self.count and any(len(each.shown) < each.outputs for each in self.layers.values())

    def run_all(
        self,
        items: Mapping[int, object],
        read: Callable[[Any], Input],
        on_error: OnError | None = None,
        progress: Progress | None = None,
    ) -> dict[int, KernelvizError]:
        """Run each image; return the errors of those of several that fail, by their number.

        Raises:
            KernelvizError: the only image failed, or what failed is not about one image.
        """
        failed: dict[int, KernelvizError] = {}
        for number, item in sorted(items.items()):
            name = name_in(name_of(item, number))
            if progress:
                progress(name, number, len(items))
            try:
                self.run(read(item), name)
            except KernelvizError as error:
                if len(items) == 1 or isinstance(error, DiskFullError | UnknownLayerError) or self.rejects(error):
                    raise
                failed[number] = error
                if on_error:
                    on_error(number, error)
        return failed

    def run(self, given: Input, name: str) -> None:
        """Run one image through the network, and keep what is shown of it.

        Raises:
            KernelvizError: there are no such layers, the forward pass failed, the input is a vector, or it has another size
                than the first.
        """
        from kernelviz.network.terms import run_layers

        self.reached = True
        if len(given.size) < 2:
            what = f"A report shows the inputs as pictures, but the input is {shape_text(given.size)}."
            raise UsageError(what, hint="Choose a network of images (C, H, W) or signals (C, L).")
        plan = self.plan = self.plan or _plan(self.network, given, self.patterns, self.most, self.count)
        if given.size != plan.capture.input_size:
            raise another_size(given.size, plan.capture.input_size)
        exact, done = _is_exact(given), len(self.images)
        try:
            scores = run_layers(
                plan.capture, given, lambda maps, run: self._keep(maps, run, plan.quotas[str(maps.layer)], exact=exact)
            )
        except KernelvizError:
            for layer in self.layers.values():  # nothing of this image
                del layer.maps[done:], layer.units[done:]
            raise
        self.images.append(_image(given, name, scores, exact=exact))

    def _keep(self, maps: FeatureMaps, run: LayerRun | KernelvizError | None, quota: int, *, exact: bool) -> None:
        """Keep what is shown of one layer of one image."""
        name = str(maps.layer)
        layer = self.layers.setdefault(name, _ShownLayer())
        if not layer.maps:
            layer.shown = chosen_channels(maps, quota)
            layer.outputs = len(maps.values)
            layer.slices = maps.values.shape[1] if maps.values.ndim == 4 else 1
            layer.notes = tuple(note for note in maps.notes if not note.startswith("receptive field unknown"))
        layer.maps.append(report_maps(maps, layer.shown))
        layer.units.append(None)
        if isinstance(run, KernelvizError):
            layer.unknown = run.what
        elif run is not None:
            layer.reads_input = run.reads_input
            layer.live = layer.live or _live(run, layer.shown)
            if layer.live is None or not exact:
                most = POINTWISE_TERMS if run.pointwise else TERMS
                layer.units[-1] = run.terms(run.extremes(layer.shown), most)

    def report(self, failed: Sequence[tuple[str, str]], asked: Recipe) -> Report:
        """The report of all images so far."""
        from kernelviz.network.model import source_of

        if self.plan is None:
            raise ValueError("no image has run")
        plan, source = self.plan, source_of(self.network)
        layers = tuple(_layer(self.network, plan, tap, self.layers[tap.name]) for tap in plan.capture.taps.taps)
        facts = source.preprocessing_entry() or {}
        seen = any(image.offset is not None for image in self.images)
        return Report(
            label=source.short_label, input_size=plan.capture.input_size, images=tuple(self.images), layers=layers,
            recipe=recipe_of(source, self.images, plan.capture.input_size, asked), source=source,
            mean=tuple(facts.get("mean", ())) if seen else (), std=tuple(facts.get("std", ())) if seen else (),
            notes=(*source.notes, *plan.notes), failed=tuple(failed), renderer=report_page,
        )  # fmt: skip


def _layer(network: Any, plan: _Plan, tap: Tap, gathered: _ShownLayer) -> ReportLayer:
    """One layer of a report, with its kernels."""
    from kernelviz.network.kernels import read_kernels
    from kernelviz.network.tracing.trace import row_of
    from kernelviz.network.units import ONLY_FIRST_RUN

    convolution = plan.convolutions.get(tap.module)
    title = tap.module or type(plan.capture.observed.network).__name__
    rows = [layer for layer in plan.trace.layers if layer.name == title]
    traced = rows[0] if rows else row_of(plan.capture.observed, tap.module)
    if tap.run:
        traced = replace(traced, field=None, lost=ONLY_FIRST_RUN)
    kernels, notes = None, list(gathered.notes)
    if convolution is not None and convolution.expert is not None:
        notes.append("the network mixes its kernels for every image")
    elif convolution is not None:
        try:
            kernels = report_kernels(read_kernels(network, title), gathered.shown)
        except KernelvizError as error:
            notes.append(f"its kernels cannot be shown: {error.what}")
    return ReportLayer(
        name=tap.name, traced=traced, outputs=gathered.outputs, size=gathered.maps[0].levels.shape[1:],
        shown=gathered.shown, maps=tuple(gathered.maps), conv=_sort_of(convolution), kernels=kernels,
        inputs=convolution.in_channels if convolution else None, slices=gathered.slices,
        units=_units(gathered.units), live=gathered.live, unknown=gathered.unknown, notes=tuple(notes),
        makers=_makers_of(plan, tap), reads_input=gathered.reads_input,
    )  # fmt: skip


def _makers_of(plan: _Plan, tap: Tap) -> tuple[Maker, ...]:
    """The makers of a layer's inputs by the names of the report's layers."""
    if tap.run or tap.part:
        return ()
    names = {each.module: each.name for each in plan.capture.taps.taps if not (each.run or each.part)}
    found = (maker for maker in plan.makers.get(tap.module, ()) if maker.layer in names)
    return tuple(replace(maker, layer=names[maker.layer]) for maker in found)


def _plan(network: Any, given: Input, layers: Sequence[str] | None, most: int, images: int) -> _Plan:
    """Find what is shown, and how much of it, for images of the size of ``given``.

    Raises:
        KernelvizError: there is no such layer, or none with a map.
    """
    from kernelviz.network.convolutions import list_layers
    from kernelviz.network.makers import makers_of
    from kernelviz.network.selection import without_expert
    from kernelviz.network.tracing.trace import as_trace, with_sure_sizes

    capture = _capture_plan(network, given, layers)
    trace = as_trace(network, capture.observed, given.size)
    trace = with_sure_sizes(trace, capture.observed, capture.module, given.further)
    convolutions = {
        without_expert(layer.name) if layer.expert is not None else layer.name: layer for layer in list_layers(network)
    }
    taps, exact = capture.taps.taps, _is_exact(given)
    notes = []
    if layers is None and len(taps) == 1 and taps[0].module in convolutions:
        notes.append("the network has one convolution; its other layers are shown if they are named")
    sizes = [_sizes(tap, convolutions.get(tap.module), given.size, exact=exact) for tap in taps]
    counts = quotas(sizes, most, images=images, pixels=int(np.prod(given.size[1:])))
    if lacking := len(capture.taps.without):
        notes.append(f"{counted(lacking, 'layer')} {inflected(lacking, 'has', 'have')} no map")
    return _Plan(
        capture, trace, makers_of(capture, given), convolutions,
        {tap.name: count for tap, count in zip(taps, counts, strict=True)},
        tuple(notes),
    )  # fmt: skip


def _capture_plan(network: Any, given: Input, layers: Sequence[str] | None) -> CapturePlan:
    """The chosen layers, else the first run of each convolution, else what ``features`` draws."""
    from kernelviz.network.capture import make_taps

    facts: dict[str, Any] = {"batch": given.batch, "further": given.further}
    if layers:
        plan = make_taps(network, given.size, layers, **facts)
        plan.check_complete()
        return plan
    try:
        plan = make_taps(network, given.size, kind="conv", **facts)
    except UsageError:  # no convolution has a map
        plan = make_taps(network, given.size, **facts)
    plan.check_complete()
    taps = tuple(tap for tap in plan.taps.taps if tap.run == 0)
    if not taps:
        raise KernelvizError("No layer of this network has a map.", hint="`kernelviz layers MODEL` lists its layers.")
    return replace(plan, taps=replace(plan.taps, taps=taps))


def _sizes(tap: Tap, convolution: ConvLayer | None, input_size: Sequence[int], *, exact: bool) -> LayerSizes:
    """What a shown channel of a layer consists of."""
    channels, *sides = tap.layout.size
    values = int(np.prod(sides))
    if convolution is None:
        return LayerSizes(channels, values)
    inputs = convolution.in_channels // convolution.groups
    shape = (convolution.out_channels, inputs, *convolution.kernel_size)
    taps = int(np.prod(convolution.kernel_size))
    terms = min(inputs, POINTWISE_TERMS if taps == 1 else TERMS)
    reads_image = (
        exact and convolution.groups == 1 and inputs == input_size[0] and min(sides) * 2 >= min(input_size[1:])
    )
    weights = inputs * taps if reads_image else 0
    return LayerSizes(channels, values, tile_of(shape, convolution.groups, convolution), terms, taps, weights)


def _live(run: LayerRun, shown: Sequence[int]) -> LiveSums | None:
    """What the page needs to work out values itself; None if the layer does not read the image, or not plainly."""
    record = run.record
    plain = run.reads_image and run.in_float32 and run.zeros and not record.transposed and len(record.kernel_size) == 2
    if not plain or record.groups > 1:
        return None
    return LiveSums(*run.weights(shown), run.stride, run.dilation, run.around)


def _units(units: Sequence[UnitTerms | None]) -> tuple[UnitTerms, ...]:
    """The units of each image, none of them if no image has any."""
    some = next((each for each in units if each is not None), None)
    if some is None:
        return ()
    none = some.only(np.zeros(len(some.at), bool))
    return tuple(none if each is None else each for each in units)


def _sort_of(convolution: ConvLayer | None) -> Conv | None:
    if convolution is None:
        return None
    if convolution.transposed:
        return "transposed"
    if convolution.depthwise:
        return "depthwise"
    if convolution.groups > 1:
        return "grouped"
    return "pointwise" if set(convolution.kernel_size) == {1} else "dense"


def _is_exact(given: Input) -> bool:
    """Whether the network's input is made of 8-bit pixels alone."""
    image = given.image
    return image is not None and given.seen is not None and image.values is None and given.size[0] in (1, 3)


def _image(given: Input, name: str, scores: Sequence[ClassScore], *, exact: bool) -> ReportImage:
    image, seen = given.image, given.seen
    if image is not None and seen is not None:
        return ReportImage(
            image.name, seen.pixels, image.sha256, seen.offset, seen.scale, exact, tuple(scores),
            (*image.notes, *seen.notes),
        )  # fmt: skip
    from kernelviz.records import as_array
    from kernelviz.views.pixels import tensor_picture

    pixels, note = tensor_picture(as_array(given.batch[0]))
    return ReportImage(name, pixels, digest_of(given), top=tuple(scores), notes=(note,))


def digest_of(given: Input) -> str:
    """The SHA-256 of an image, or of the values of a tensor."""
    from kernelviz.records import as_array

    if given.image is not None:
        return given.image.sha256
    return sha256(np.ascontiguousarray(as_array(given.batch[0]), np.float32).tobytes()).hexdigest()


def another_size(size: Sequence[int], first: Sequence[int]) -> UsageError:
    """The error about an input of another size than that of the first image."""
    one, other = (" × ".join(map(str, each)) for each in (size, first))
    return UsageError(f"The input is {one}, that of the first image {other}.")


def recipe_of(
    source: Source, images: Sequence[ReportImage], input_size: Sequence[int], asked: Recipe
) -> dict[str, Any]:
    """The recipe of a report; it contains no path."""
    from kernelviz.drawing.sheets import image_facts, source_facts

    facts = [{"name": image.name, "sha256": image.sha256} for image in images]
    return {
        **source_facts("report", source),
        "layer": None,
        **image_facts(facts[0] if len(facts) == 1 else facts, source),  # type: ignore[arg-type]
        "input_size": list(input_size),
        **({"asked": dict(asked)} if asked else {}),
    }
