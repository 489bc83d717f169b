"""Many images through one network: read ahead of the pass, in batches, each map handed on; memory does not grow."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kernelviz.errors import KernelvizError
from kernelviz.files.images import read_image
from kernelviz.records import Image, check_positive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kernelviz.network.catching import Input, Tapped
    from kernelviz.network.models import Model
    from kernelviz.records import FeatureMaps

    OnMap = Callable[[FeatureMaps], object]
    OnError = Callable[["FailedImage"], object]

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Images read before they are needed, besides those of the next batch."""


@dataclass(frozen=True)
class FailedImage:
    """An image that could not be taken: its place in the order given (from 0), what it is called, and why."""

    number: int
    name: str
    error: KernelvizError


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
    """What the chosen layers give for each of many images; the images are read ahead in a thread, while others pass.

    Args:
        network: A ``Model``, or any module that takes one batch of images.
        images: Paths or whatever ``read_image`` takes, ``Image`` values, or ready tensors (C, H, W); of any number, taken
            one after the other.
        layers: As ``capture_features`` takes them.
        on_map: Called with each ``FeatureMaps`` inside the pass, in this thread; nothing is kept. A
            ``KernelvizError`` of it counts as the image's.
        on_error: Called with each image that could not be taken; the others go on.
        progress: Called with a label, how many images are done, and how many there are (0 where that is not known).
        batch_size: How many images of one size pass at once. One by one, the maps are bit for bit those of
            ``capture_features``; in larger batches within rounding.
        kind: As ``capture_features`` takes it.
        tap: As ``capture_features`` takes it.
        input_size: Side, or (H, W), of the input where it is not the model's own.
        crop: Whether images are cropped as the model's preprocessing says; None for its own rule.

    Returns:
        The images that could not be taken.

    Raises:
        UnknownLayerError: no such layer.
        UsageError: a layer that was named has no map; a batch size below 1.
    """
    from kernelviz.network.features import as_input

    check_positive("batch size", batch_size)
    total = len(images) if isinstance(images, Sized) else 0
    passes = _Passes(network, on_map, on_error, {"layers": layers, "kind": kind, "tap": tap})
    tell = progress or (lambda *_: None)
    done = 0

    def read(item: object) -> Input:
        image = item if isinstance(item, Image) or hasattr(item, "detach") else read_image(item)
        return as_input(network, image, input_size=input_size, crop=crop)

    ahead = read_ahead(images, read, AHEAD + batch_size)
    for group in grouped(passes.good(ahead), batch_size, lambda each: each.given.size):
        tell("images", done, total)
        passes.run(group)
        done = group[-1].number + 1
    tell("images", total or done, total)
    return tuple(passes.failures)


@dataclass(frozen=True)
class _Read:
    """An image that was read, with its place among those given."""

    number: int
    item: object
    given: Input


class _Passes:
    """The passes of all images, and what failed of them."""

    def __init__(self, network: Any, on_map: OnMap, on_error: OnError | None, choices: dict[str, Any]) -> None:
        self.network, self.on_map, self.on_error, self.choices = network, on_map, on_error, choices
        self.failures: list[FailedImage] = []
        self.tapped: dict[tuple[int, ...], Tapped] = {}

    def good(self, ahead: Iterable[tuple[object, Future[Input]]]) -> Iterator[_Read]:
        """The images that could be read."""
        for number, (item, future) in enumerate(ahead):
            try:
                yield _Read(number, item, future.result())
            except KernelvizError as error:
                self.fail(number, item, error)

    def run(self, group: Sequence[_Read]) -> None:
        """Pass images of one size through the network."""
        from kernelviz.network.features import make_taps, run_each

        first = group[0].given
        if first.size not in self.tapped:
            self.tapped[first.size] = make_taps(self.network, first.size, batch=first.batch, **self.choices)
        given = [each.given for each in group]
        found = run_each(self.tapped[first.size], given, lambda _, maps: self.on_map(maps), to_the_end=False)
        for each, result in zip(group, found, strict=True):
            if isinstance(result, KernelvizError):
                self.fail(each.number, each.item, result)

    def fail(self, number: int, item: object, error: KernelvizError) -> None:
        """Keep and tell an image that could not be taken."""
        self.failures.append(FailedImage(number, name_of(item, number), error))
        if self.on_error is not None:
            self.on_error(self.failures[-1])


def name_of(item: object, number: int) -> str:
    """What an image is called in messages: its path, its name, or its number."""
    if isinstance(item, str | os.PathLike):
        return os.fsdecode(item)
    return item.name if isinstance(item, Image) else f"image {number}"


def read_ahead(
    items: Iterable[Item], work: Callable[[Item], Result], depth: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Each item with the finished work on it, in their order; a thread does the work of up to ``depth`` items ahead."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="kernelviz-read")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    source = iter(items)
    try:
        while True:
            while len(waiting) <= depth:
                try:
                    item = next(source)
                except StopIteration:
                    break
                waiting.append((item, pool.submit(work, item)))
            if not waiting:
                return
            first = waiting.popleft()
            first[1].exception()  # waits
            yield first
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def grouped(items: Iterable[Item], size: int, key: Callable[[Item], object]) -> Iterator[list[Item]]:
    """Items that follow one another and have the same key, up to ``size`` of them at once."""
    group: list[Item] = []
    for item in items:
        if group and (len(group) == size or key(group[0]) != key(item)):
            yield group
            group = []
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
