"""Many images through one network: read ahead, run in batches, each map reported at once; memory use is bounded."""

from __future__ import annotations

import os
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from kernelviz.errors import KernelvizError, UsageError
from kernelviz.notebook import record_repr
from kernelviz.storage.uris import resolved, without_credentials
from kernelviz.threads import AHEAD, Item, Result, grouped, read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from kernelviz.network.capture import CapturePlan
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.records import Array, ClassScore, FeatureMaps
    from kernelviz.views.patches import Crop, Patches, Place

    OnMap = Callable[[FeatureMaps], object]
    OnError = Callable[["FailedImage"], object]


Each = TypeVar("Each", bound="ReadImage[Any]")


@dataclass(frozen=True)
class ReadImage(Generic[Item]):
    """An image that was read: its index, the item as given, and the input of the network."""

    number: int
    item: Item
    given: Input


@dataclass(frozen=True)
class Passes(Generic[Item, Result, Each]):
    """Runs many images through a network: reads them ahead in a thread, then runs batches of images of one size.

    ``read`` runs ahead. ``ready`` takes an image's number, item and the result of ``read``, and returns the argument of the
    other functions, or None to skip the image. ``plan`` returns the tensors to capture, or why the network does not take
    such images. ``on_map`` is called with each map during the forward pass, ``after`` with the first classes afterwards. A
    ``KernelvizError`` of any of these but ``plan`` fails that image alone, and is reported to ``failed``. If
    ``exclusive``, reading and forward passes do not overlap: some images are read, then run. ``number_of`` returns the
    number of an image, given its index and the item; a batch ends after each ``span`` of numbers.
    """

    read: Callable[[Item], Result]
    ready: Callable[[int, Item, Result], Each | None]
    plan: Callable[[Input], CapturePlan | KernelvizError]
    on_map: Callable[[Each, FeatureMaps], object]
    after: Callable[[Each, tuple[ClassScore, ...]], object]
    failed: Callable[[int, Item, KernelvizError], object]
    batch_size: int
    to_the_end: bool
    exclusive: bool
    progress: Callable[[str, int, int], object]
    number_of: Callable[[int, Item], int] = lambda at, _: at
    span: int | None = None

    def run(self, items: Iterable[Item], total: int) -> None:
        """Run all images; ``total`` is their number, 0 if it is not known."""
        done = 0
        ahead = read_ahead(items, self.read, AHEAD + self.batch_size, exclusive=self.exclusive)
        for group in grouped(self._good(ahead), self.batch_size, self._kind):
            self.progress("images", done, total)
            self._pass(group)
            done = group[-1].number + 1
        self.progress("images", total or done, total)

    def _kind(self, each: Each) -> object:
        """What images of one batch have in common."""
        return each.given.size, self.span and each.number // self.span

    def _good(self, ahead: Iterable[tuple[Item, Future[Result]]]) -> Iterator[Each]:
        """The images that could be read and are not skipped."""
        for at, (item, future) in enumerate(ahead):
            number = self.number_of(at, item)
            try:
                each = self.ready(number, item, future.result())
            except KernelvizError as error:
                self.failed(number, item, error)
            else:
                if each is not None:
                    yield each

    def _pass(self, group: Sequence[Each]) -> None:
        """Run images of one size through the network."""
        from kernelviz.network.capture import run_each

        given = [each.given for each in group]
        plan = self.plan(given[0])
        found = (
            [plan] * len(group)
            if isinstance(plan, KernelvizError)
            else run_each(plan, given, lambda at, maps: self.on_map(group[at], maps), to_the_end=self.to_the_end)
        )
        for each, result in zip(group, found, strict=True):
            try:
                if isinstance(result, KernelvizError):
                    raise result
                self.after(each, result)
            except KernelvizError as error:
                self.failed(each.number, each.item, error)


@dataclass(frozen=True)
class FailedImage:
    """An image that failed: its index in the given order, its name, and the error.

    Example:
        >>> tally = kernelviz.ChannelTally()
        >>> failed = kernelviz.capture_many(torch.nn.Conv2d(3, 8, 3), ["missing.jpg"], on_map=tally.add)
        >>> for image in failed:
        ...     print(image.name, image.error.what)
        missing.jpg There is no file missing.jpg.
    """

    number: int
    name: str
    error: KernelvizError

    __repr__ = record_repr


def capture_many(
    network: Model | Any,
    images: Iterable[object],
    layers: str | Sequence[str] | None = None,
    *,
    on_map: OnMap,
    on_error: OnError | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    batch_size: int = 1,
    kind: str = "all",
    tap: Literal["output", "input"] = "output",
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> tuple[FailedImage, ...]:
    """The outputs of the chosen layers for each of many images; a thread reads images ahead during the forward passes.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        images: Any number of paths or other arguments of ``read_image``, ``Image`` values, or tensors (C, H, W).
        layers: As ``capture_features`` takes them.
        on_map: Called with each ``FeatureMaps`` during the forward pass, in this thread; nothing is kept. A
            ``KernelvizError`` that it raises fails that image alone.
        on_error: Called with each image that failed; the others continue.
        progress: Called with a label, the number of images done, and the number of images (0 if it is not known).
        batch_size: The number of images of one size that run at once. With 1, the maps are bit for bit those of
            ``capture_features``; in larger batches they are equal up to rounding.
        kind: As ``capture_features`` takes it.
        tap: As ``capture_features`` takes it.
        input_size: Side, or (H, W), of the input; by default the model's own.
        crop: Whether images are cropped as the model's preprocessing specifies; None for its own rule.

    Returns:
        The images that failed, in their order, including those for which ``on_map`` failed: their further maps are dropped.

    Raises:
        UnknownLayerError: there is no such layer.
        UsageError: a named layer has no map, the batch size is below 1, ``images`` is a single path, image or tensor, or
            no image is a tensor and the preprocessing of the network is unknown.

    Example:
        >>> largest = {}
        >>> def note(maps):
        ...     largest[maps.layer] = max(largest.get(maps.layer, 0), maps.values.max())
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> kernelviz.capture_many(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)), images, "0", on_map=note)
        ()
        >>> list(largest)
        ['0']
    """
    from kernelviz.files.images import read_image
    from kernelviz.network.capture import module_of
    from kernelviz.network.inputs import UnknownPreprocessingError, as_input
    from kernelviz.network.model import uses_all_processors
    from kernelviz.records import Image, check_positive

    check_positive("batch size", batch_size)
    check_several(images)
    has_tensors = not isinstance(images, Sequence) or any(map(is_tensor, images))
    failures: list[FailedImage] = []
    chosen = PlansBySize(network, input_size, {"layers": layers, "kind": kind, "tap": tap})

    def read(item: object) -> Input:
        image = item if isinstance(item, Image) or is_tensor(item) else read_image(item)
        return as_input(network, image, input_size=input_size, crop=crop)

    def fail(number: int, item: object, error: KernelvizError) -> None:
        if isinstance(error, UnknownPreprocessingError) and not has_tensors:
            raise error  # which every image that can be read would fail with
        failures.append(FailedImage(number, name_of(item, number), error))
        if on_error is not None:
            on_error(failures[-1])

    passes: Passes[object, Input, ReadImage[object]] = Passes(
        read=read, ready=ReadImage, plan=chosen.plan, on_map=lambda _, maps: on_map(maps), after=lambda *_: None,
        failed=fail, batch_size=batch_size, to_the_end=False, exclusive=uses_all_processors(module_of(network)),
        progress=progress or (lambda *_: None),
    )  # fmt: skip
    passes.run(images, len(images) if isinstance(images, Sized) else 0)
    chosen.check()
    return tuple(sorted(failures, key=lambda each: each.number))


def check_several(images: object) -> None:
    """Reject a single image: a path would be iterated letter by letter, a tensor row by row.

    Raises:
        UsageError: ``images`` is a single image.
    """
    from kernelviz.records import Image

    one = isinstance(images, str | bytes | os.PathLike | Image) or getattr(images, "ndim", 0) in (2, 3)
    if one:
        what = f"The images must be several, but got one {type(images).__name__}."
        raise UsageError(what, hint="Give a list of images, or use `capture_features` for one.")


def crop_patches(
    network: Model | Any,
    patches: Patches,
    images: Iterable[object] | None = None,
    channels: str | Sequence[int] | None = None,
    *,
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
    progress: Callable[[str, int, int], object] | None = None,
) -> Patches:
    """Cut out what the units of some channels read of their images; only images that are shown are read again.

    Args:
        network: The network that the patches are from: it determines how images are resized and cropped.
        patches: The result of a ``PatchTally``.
        images: The images that were added, in any order: paths, ``Image`` values, or tensors in the order in which they
            were added. By default the files that the patches name.
        channels: Numbers, or a string like ``0-3,7``; by default the most prominent ones.
        input_size: As for ``capture_many``.
        crop: As for ``capture_many``.
        progress: Called with a label, the number of images done, and the number of images.

    Returns:
        The patches with their ``crops``.

    Raises:
        UsageError: an image is missing, is read in another size, or there is no such channel.
        KernelvizError: an image cannot be read, or is no longer that of the tally.

    Example:
        >>> tally = kernelviz.PatchTally(patches=2)
        >>> network = torch.nn.Conv2d(3, 4, 5, padding=2)
        >>> images = [torch.rand(3, 16, 16) for _ in range(3)]
        >>> kernelviz.capture_many(network, images, on_map=tally.add)
        ()
        >>> patches = kernelviz.crop_patches(network, tally.result(), images, channels="0-1")
        >>> figure = kernelviz.plot_patches(patches, "0-1")
    """
    from kernelviz.files.images import read_image
    from kernelviz.network.inputs import as_input
    from kernelviz.records import Image

    places = patches.places_of(patches.chosen(channels))
    found = _images_of(patches, images, {image for image, _, _ in places})

    def read(image: int) -> Input:
        item = found[image]
        given = item if isinstance(item, Image) or is_tensor(item) else read_image(item)
        return as_input(network, given, input_size=input_size, crop=crop)

    return cut_patches(patches, places, read, progress or (lambda *_: None))


def cut_patches(
    patches: Patches, places: Sequence[Place], read: Callable[[int], Input], progress: Callable[[str, int, int], object]
) -> Patches:
    """The patches with the crops of some units; ``read`` returns the input of the network for the index of an image.

    Raises:
        UsageError: an image is read in another size.
        KernelvizError: an image is no longer that of the tally.
    """
    crops: dict[Place, Crop] = dict(patches.crops)
    images = list(dict.fromkeys(image for image, _, _ in places))
    for done, image in enumerate(images):
        progress("patches", done, len(images))
        pixels = pixels_again(patches, image, read(image))
        crops |= {place: patches.cut(place, pixels) for place in places if place[0] == image}
    progress("patches", len(images), len(images))
    return replace(patches, crops=crops)


def pixels_again(patches: Patches, image: int, given: Input) -> Array:
    """The pixels (H, W, 3) of the image with this index in the patches, which was read again as ``given``.

    Raises:
        UsageError: it has another size than the inputs of the patches.
        KernelvizError: it is no longer that of the tally.
    """
    name = patches.images[image]
    if given.image is not None and patches.digests[image] not in (None, given.image.sha256):
        raise KernelvizError(f"The image {name} has changed since its maps were captured.", hint="Run it again.")
    if patches.input_size not in (None, given.size):
        sides, own = (" × ".join(map(str, size)) for size in (given.size, patches.input_size))
        what = f"The patches are of inputs of {own}, but {name} is read as {sides}."
        raise UsageError(what, hint="Give the input_size of the tally.")
    return seen_pixels(given)


def seen_pixels(given: Input) -> Array:
    """The pixels (H, W, 3) of an input; those of a tensor from its smallest to its largest value."""
    if given.seen is not None:
        return given.seen.pixels
    from kernelviz.records import as_array
    from kernelviz.views.pixels import tensor_picture

    return tensor_picture(as_array(given.batch[0]))[0]


def _images_of(patches: Patches, images: Iterable[object] | None, wanted: set[int]) -> dict[int, object]:
    """The image of each index, found by its path, its contents or its position.

    Raises:
        UsageError: one of those that are ``wanted`` is missing.
    """
    from kernelviz.records import Image

    if images is None:
        found: dict[int, object] = {at: path for at, path in enumerate(patches.paths) if path is not None}
    else:
        items = list(images)
        paths = {path: at for at, path in enumerate(patches.paths) if path is not None}
        digests = {digest: at for at, digest in enumerate(patches.digests) if digest is not None}
        found = {}
        for item in items:
            at = digests.get(item.sha256) if isinstance(item, Image) else None
            at = paths.get(resolved(item)) if isinstance(item, str | os.PathLike) else at
            found |= {} if at is None else {at: item}
        if len(items) == len(patches.images):
            found |= {at: item for at, item in enumerate(items) if is_tensor(item)}
    if missing := sorted(wanted - found.keys()):
        what = f"The image {patches.images[missing[0]]} is missing."
        raise UsageError(what, hint="Give all images that were added to the tally.")
    return found


class PlansBySize:
    """The tensors to capture from a network, for each image size."""

    def __init__(self, network: Any, input_size: int | Sequence[int] | None, choices: dict[str, Any]) -> None:
        self.network, self.input_size, self.choices = network, input_size, choices
        self.known: dict[tuple[int, ...], CapturePlan | KernelvizError] = {}

    def plan(self, given: Input) -> CapturePlan | KernelvizError:
        """The tensors to capture for inputs of this size, or why the network does not take them.

        Raises:
            UsageError: the choice of layers is wrong for every image.
        """
        from kernelviz.network.capture import make_taps

        if given.size not in self.known:
            try:
                self.known[given.size] = make_taps(self.network, given.size, batch=given.batch, **self.choices)
            except UsageError:
                raise
            except KernelvizError as error:
                self.known[given.size] = error
        return self.known[given.size]

    def check(self) -> None:
        """If no image reached the network, check the choice of layers with a blank image, if the input size is known.

        Raises:
            UsageError: there are no such layers.
        """
        from kernelviz.network.capture import blank, make_taps
        from kernelviz.network.model import Model
        from kernelviz.network.preprocessing import input_size_of

        if not self.known and isinstance(self.network, Model):
            size = (self.network.input_size[0], *input_size_of(self.network, self.input_size))
            make_taps(self.network, size, batch=blank(size), **self.choices)


def is_tensor(item: object) -> bool:
    """Whether an image is a tensor; open files have a method ``detach`` too."""
    return hasattr(item, "detach") and hasattr(item, "ndim")


def name_of(item: object, number: int) -> str:
    """The name of an image in messages: its path, its name, or its number."""
    from kernelviz.records import Image

    if isinstance(item, str | os.PathLike):
        return without_credentials(os.fsdecode(item))
    return item.name if isinstance(item, Image) else f"image {number}"
