"""Many images on their way through a network: read ahead in a thread, passed in batches; this starts without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kernelviz.errors import KernelvizError
from kernelviz.threads import AHEAD, Item, Result, grouped, read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from kernelviz.network.capture import Input, Tapped
    from kernelviz.records import ClassScore, FeatureMaps


Each = TypeVar("Each", bound="ReadImage[Any]")


@dataclass(frozen=True)
class ReadImage(Generic[Item]):
    """An image that was read: its place among those given, what was given, and what the network takes for it."""

    number: int
    item: Item
    given: Input


@dataclass(frozen=True)
class Passes(Generic[Item, Result, Each]):
    """How many images go through a network: read ahead in a thread, then in batches of one size, each that fails told.

    ``read`` is done ahead; ``ready`` makes of an image's number, item and what was read what the other functions get, or
    None where it is not to be passed; ``tapped`` is what is to be caught, or why the network does not take such images.
    Each map goes to ``on_map`` inside the pass, the first classes to ``after`` behind it. A ``KernelvizError`` of any of
    these but ``tapped`` is the image's own, and goes to ``failed``. Where reading ``takes_turns`` with passing, some images
    are read at once, then passed.
    """

    read: Callable[[Item], Result]
    ready: Callable[[int, Item, Result], Each | None]
    tapped: Callable[[Input], Tapped | KernelvizError]
    on_map: Callable[[Each, FeatureMaps], object]
    after: Callable[[Each, tuple[ClassScore, ...]], object]
    failed: Callable[[int, Item, KernelvizError], object]
    batch_size: int
    to_the_end: bool
    takes_turns: bool
    progress: Callable[[str, int, int], object]

    def run(self, items: Iterable[Item], total: int) -> None:
        """Pass them all; ``total`` is how many they are, 0 where that is not known."""
        done = 0
        ahead = read_ahead(items, self.read, AHEAD + self.batch_size, takes_turns=self.takes_turns)
        for group in grouped(self._good(ahead), self.batch_size, lambda each: each.given.size):
            self.progress("images", done, total)
            self._pass(group)
            done = group[-1].number + 1
        self.progress("images", total or done, total)

    def _good(self, ahead: Iterable[tuple[Item, Future[Result]]]) -> Iterator[Each]:
        """The images that could be read and are to be passed."""
        for number, (item, future) in enumerate(ahead):
            try:
                each = self.ready(number, item, future.result())
            except KernelvizError as error:
                self.failed(number, item, error)
            else:
                if each is not None:
                    yield each

    def _pass(self, group: Sequence[Each]) -> None:
        """Pass images of one size through the network."""
        from kernelviz.network.capture import run_each

        given = [each.given for each in group]
        tapped = self.tapped(given[0])
        found = (
            [tapped] * len(group)
            if isinstance(tapped, KernelvizError)
            else run_each(tapped, given, lambda at, maps: self.on_map(group[at], maps), to_the_end=self.to_the_end)
        )
        for each, result in zip(group, found, strict=True):
            try:
                if isinstance(result, KernelvizError):
                    raise result
                self.after(each, result)
            except KernelvizError as error:
                self.failed(each.number, each.item, error)
