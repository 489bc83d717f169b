"""Tallies of many images, gathered by any engine: the same bits whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from inspect import signature
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from kernelviz.distributed.engines import Chunk, ChunkItem, Engine, InThisProcess, chunk_length, make_chunks, run_chunks
from kernelviz.errors import BrokenPassError, KernelvizError, UsageError
from kernelviz.notebook import record_repr
from kernelviz.streaming import FailedImage, Passes, PlansBySize, ReadImage, check_several, name_of
from kernelviz.views.gathered import Gathered, ImageList

if TYPE_CHECKING:
    from kernelviz.network.inputs import Input
    from kernelviz.network.model import Model
    from kernelviz.records import FeatureMaps


class Tally(Protocol):
    """What gathers the maps of one layer: ``ChannelTally``, ``CovarianceTally``, ``ContactSheet``, ``PatchTally``.

    Other classes need these three methods, and must be importable by the workers.
    """

    def add(self, maps: FeatureMaps, *, place: int | None = None) -> None:
        """Add the maps of the image at this place."""

    def merge(self, other: Self) -> None:
        """Add everything that another tally has."""

    def fresh(self) -> Self:
        """An empty tally, to be merged into this one."""


@dataclass(frozen=True)
class Gathering:
    """What ``gather_many`` returns: by name and layer the tallies of all images, and the images that failed.

    Example:
        >>> tallies = {"statistics": kernelviz.ChannelTally, "patches": kernelviz.PatchTally}
        >>> images = [torch.rand(3, 16, 16) for _ in range(5)]
        >>> gathering = kernelviz.gather_many(torch.nn.Conv2d(3, 8, 3), images, "Conv2d", tallies=tallies)
        >>> list(gathering.tallies), gathering.failed
        (['statistics', 'patches'], ())
        >>> gathering["patches"]["Conv2d"].result().values.shape
        (8, 8)
    """

    tallies: Mapping[str, Mapping[str, Any]]
    failed: tuple[FailedImage, ...]

    __repr__ = record_repr

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        """The tallies of one name, by layer."""
        return self.tallies[name]


class TallyTotals:
    """The tallies of all images that were merged, by key; what is known of the images is kept once for all of them."""

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self.listed = ImageList(paths)
        self.tallies: dict[Any, Any] = {}

    def share(self, tally: Any) -> Any:
        """Let an empty tally keep its images in the common list."""
        if isinstance(getattr(tally, "images", None), Gathered):
            tally.images.listed = self.listed
        return tally

    def add(self, key: Any, tally: Any) -> None:
        """Add an empty tally."""
        self.tallies[key] = self.share(tally)

    def fresh(self) -> dict[Any, Any]:
        """Empty tallies for a chunk, with a common list of images of their own."""
        return fresh_tallies(self.tallies)

    def copies_in(self, parts: Mapping[Any, Any]) -> dict[Any, tuple[int, ...]]:
        """For each tally that counts copies of an image once, the places of those that are in the totals already."""
        found = {
            key: self.tallies[key].copies_in(part)
            for key, part in parts.items()
            if key in self.tallies and hasattr(part, "copies_in")
        }
        return {key: places for key, places in found.items() if places}

    def merge(self, parts: Mapping[Any, Any]) -> None:
        """Add the tallies of a chunk."""
        for key, part in parts.items():
            if key not in self.tallies:
                self.add(key, part.fresh())
            self.tallies[key].merge(part)


def fresh_tallies(tallies: Mapping[Any, Any], copies: Mapping[Any, tuple[int, ...]] | None = None) -> dict[Any, Any]:
    """Empty tallies with a common list of images; ``copies`` are places that a tally does not count."""
    totals = TallyTotals()
    for key, tally in tallies.items():
        known = (copies or {}).get(key)
        totals.add(key, tally.fresh(known) if known else tally.fresh())
    return totals.tallies


def without_copies(chunk: Chunk, parts: Mapping[Any, Any], copies: Mapping[Any, tuple[int, ...]]) -> Chunk:
    """The chunk to be done again, without counting copies of images of earlier chunks."""
    return replace(chunk, payload=fresh_tallies(parts, copies), alone=False)


@dataclass(frozen=True)
class _Answer:
    """The tallies of a chunk by name and layer, and its images that failed."""

    tallies: Mapping[tuple[str, str], Any]
    failed: tuple[FailedImage, ...]


@dataclass(frozen=True)
class _Work:
    """What a worker does, as it is sent to its process."""

    network: Any
    factories: Mapping[str, Callable[[], Any]]
    choices: Mapping[str, Any]
    batch_size: int
    input_size: int | Sequence[int] | None
    crop: bool | None
    device: str | None = None

    def __call__(self) -> _Worker:
        """The worker, in its process."""
        network = self.network
        if self.device is not None:
            from kernelviz.network.model import use_device

            network = network.to(use_device(self.device))
        return _Worker(replace(self, network=network))


@dataclass
class _Worker:
    """Works on chunks; what was traced of the network is kept from one to the next."""

    work: _Work
    plans: PlansBySize = field(init=False)
    exclusive: bool = field(init=False)

    def __post_init__(self) -> None:
        from kernelviz.network.capture import module_of
        from kernelviz.network.model import uses_all_processors

        work = self.work
        self.plans = PlansBySize(work.network, work.input_size, dict(work.choices))
        self.exclusive = uses_all_processors(module_of(work.network))

    def __call__(self, chunk: Chunk) -> _Answer | KernelvizError:
        """Gather the maps of a chunk; an error is one of the whole run."""
        totals = TallyTotals()
        for key, tally in (chunk.payload or {}).items():
            totals.add(key, tally)
        failed: list[FailedImage] = []

        def on_map(each: ReadImage[ChunkItem], maps: FeatureMaps) -> None:
            for name, factory in self.work.factories.items():
                key = name, maps.layer or ""
                if key not in totals.tallies:
                    totals.add(key, factory())
                totals.tallies[key].add(maps, place=each.number)

        def fail(number: int, item: ChunkItem, error: KernelvizError) -> None:
            failed.append(FailedImage(number, name_of(item.value, number), sendable(error)))

        passes: Passes[ChunkItem, Input, ReadImage[ChunkItem]] = Passes(
            read=self._read, ready=ReadImage, plan=self.plans.plan, on_map=on_map, after=lambda *_: None, failed=fail,
            batch_size=self.work.batch_size, to_the_end=False, exclusive=self.exclusive, progress=lambda *_: None,
            number_of=lambda _, item: item.place,
        )  # fmt: skip
        try:
            passes.run(chunk.items, 0)
        except KernelvizError as error:
            return sendable(error)
        return _Answer(totals.tallies, tuple(sorted(failed, key=lambda each: each.number)))

    def _read(self, item: ChunkItem) -> Input:
        from kernelviz.files.images import read_image
        from kernelviz.network.inputs import as_input
        from kernelviz.records import Image

        if item.error is not None:
            raise item.error
        image = item.value if isinstance(item.value, Image) or hasattr(item.value, "detach") else read_image(item.value)
        return as_input(self.work.network, image, input_size=self.work.input_size, crop=self.work.crop)


def sendable(error: KernelvizError) -> KernelvizError:
    """An error without what it holds of the network: maps and traces do not travel."""
    if isinstance(error, BrokenPassError):
        plain = type(error)(error.what, error.why, error.hint)
        plain.missing = error.missing
        return plain
    return error


def gather_many(
    network: Model | Any,
    images: Iterable[object],
    layers: str | Sequence[str] | None = None,
    *,
    tallies: Mapping[str, Callable[[], Any]],
    engine: Engine | None = None,
    on_error: Callable[[FailedImage], object] | None = None,
    progress: Callable[[str, int, int], object] | None = None,
    batch_size: int = 1,
    kind: str = "all",
    tap: Literal["output", "input"] = "output",
    input_size: int | Sequence[int] | None = None,
    crop: bool | None = None,
) -> Gathering:
    """Gather the maps of many images in tallies, in this process, in several, or on several machines.

    The result is the same to the last bit whatever the engine, if its workers use as many threads as this process; with
    other numbers of threads, maps themselves differ in their last bits.

    Args:
        network: A ``Model``, or any module that takes one batch of images. Another engine pickles it.
        images: Any number of paths or other arguments of ``read_image``, ``Image`` values, or tensors (C, H, W). Paths
            must be readable by all workers.
        layers: As ``capture_features`` takes them.
        tallies: By a name of your choice what makes an empty tally: a class, or a ``functools.partial`` of one, as
            ``partial(PatchTally, 16)``. One is made for each layer.
        engine: ``InThisProcess()``, the default; ``kernelviz.distributed.Ray(workers=4)``; or anything with the method
            of ``Engine``.
        on_error: Called with each image that failed, in order; the others continue.
        progress: Called with a label, the number of images merged, and the number of images (0 if it is not known).
        batch_size: As ``capture_many`` takes it.
        kind: As ``capture_features`` takes it.
        tap: As ``capture_features`` takes it.
        input_size: Side, or (H, W), of the input; by default the model's own.
        crop: Whether images are cropped as the model's preprocessing specifies; None for its own rule.

    Returns:
        The tallies by name and layer, and the images that failed, in their order.

    Raises:
        UnknownLayerError: there is no such layer.
        UsageError: a named layer has no map, the batch size is below 1, ``images`` is a single path, image or tensor,
            ``tallies`` does not map names to what makes a ``Tally``, or ``engine`` is no engine.
        KernelvizError: a tally rejects the maps of all images, or workers crash whatever they work on.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        >>> images = [torch.rand(3, 16, 16) for _ in range(5)]
        >>> gathering = kernelviz.gather_many(network, images, "1", tallies={"statistics": kernelviz.ChannelTally})
        >>> statistics = gathering["statistics"]["1"].result()
        >>> statistics.values, statistics.mean.shape
        (980, (8,))
    """
    from kernelviz.records import check_positive

    check_positive("batch size", batch_size)
    check_several(images)
    engine = InThisProcess() if engine is None else engine
    _check_engine(engine)
    undecided = any(getattr(tally, "undecided", False) for tally in _made(tallies))
    work = _Work(
        network, tallies, {"layers": layers, "kind": kind, "tap": tap}, batch_size, input_size, crop,
        getattr(engine, "device", None),
    )  # fmt: skip
    paths = images if isinstance(images, list | tuple) and all(isinstance(each, str) for each in images) else ()
    totals = TallyTotals(paths)
    total = len(images) if isinstance(images, Sized) else 0
    source: Iterable[object] = images
    if undecided:
        source = _choose_first(work, source, totals)
    failed: list[FailedImage] = []
    report = progress or (lambda *_: None)

    def merge(chunk: Chunk, answer: _Answer) -> Chunk | None:
        if copies := totals.copies_in(answer.tallies):
            return without_copies(chunk, answer.tallies, copies)
        totals.merge(answer.tallies)
        for each in answer.failed:
            failed.append(each)
            if on_error is not None:
                on_error(each)
        report("images", chunk.items[-1].place + 1, total)
        return None

    report("images", 0, total)
    run_chunks(engine, work, make_chunks(source, chunk_length(batch_size), totals.fresh), merge)
    if not totals.tallies:
        PlansBySize(network, input_size, dict(work.choices)).check()
    found: dict[str, dict[str, Any]] = {name: {} for name in tallies}
    for (name, layer), tally in totals.tallies.items():
        found[name][layer] = tally
    return Gathering(found, tuple(failed))


def _check_engine(engine: object) -> None:
    """Reject a class or a name as the engine.

    Raises:
        UsageError: it is none.
    """
    if isinstance(engine, type) or not callable(getattr(engine, "map_chunks", None)):
        what = f"The engine must have a method map_chunks, but got {engine!r}."
        raise UsageError(what, hint="For example engine=kernelviz.distributed.Ray(workers=4)")


def _made(tallies: object) -> list[Any]:
    """One tally of each name, with the methods that are called later, perhaps in other processes.

    Raises:
        UsageError: ``tallies`` is no mapping to what makes a tally, or what it makes is none.
    """
    if not isinstance(tallies, Mapping) or not tallies or not all(callable(make) for make in tallies.values()):
        what = "The tallies must map names to classes, or to functions that make a tally."
        raise UsageError(what, hint='For example tallies={"statistics": kernelviz.ChannelTally}')
    found = []
    for name, make in tallies.items():
        if not _takes(make):
            what = f"The tally {name!r} cannot be made without arguments."
            raise UsageError(what, hint="For example functools.partial(kernelviz.PatchTally, 16)")
        tally = make()
        calls: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
            "add": ((None,), {"place": 0}), "merge": ((tally,), {}), "fresh": ((), {})
        }  # fmt: skip
        for method, (positional, named) in calls.items():
            own = getattr(tally, method, None)
            if not callable(own) or not _takes(own, *positional, **named):
                what = f"The tally {name!r} cannot be used: {type(tally).__name__} has no suitable method {method}."
                hint = "It must have add(maps, *, place), merge(other), and fresh(), which returns an empty one."
                raise UsageError(what, hint=hint)
        found.append(tally)
    return found


def _takes(function: Callable[..., object], *positional: object, **named: object) -> bool:
    """Whether a function can be called with these arguments, as far as its signature is known."""
    try:
        known = signature(function)
    except ValueError:
        return True
    try:
        known.bind(*positional, **named)
    except TypeError:
        return False
    return True


def _choose_first(work: _Work, images: Iterable[object], totals: TallyTotals) -> Iterable[Any]:
    """Let the first image that does not fail choose what all workers gather, as the channels of a contact sheet."""
    source, tried = iter(images), []
    worker = replace(work, device=None)()
    for place, image in enumerate(source):
        tried.append(image)
        answer = worker(Chunk(0, (ChunkItem(place, image),)))
        if isinstance(answer, KernelvizError):
            raise answer
        if answer.tallies:
            for key, tally in answer.tallies.items():
                if hasattr(tally, "channels"):
                    totals.add(key, tally.fresh())
            break
    return chain(tried, source)
