"""Engines run work on chunks of images in any number of processes; what they return is merged in order, exactly once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

from kernelviz.errors import KernelvizError
from kernelviz.storage.uris import Credentials, kept

CHUNK = 32
"""The number of consecutive images of a chunk, which ``CovarianceTally`` sums before it joins them with others."""
_MOST_ROUNDS = 2  # in which the images of a chunk run alone
_MOST_LOST = 24  # chunks without an answer in a row: what ends the processes is no image


class WorkerLostError(KernelvizError):
    """The process that worked on a chunk crashed: returned by an engine in place of an answer."""

    code = "worker-lost"


@dataclass(frozen=True)
class ChunkItem:
    """An image of a chunk: its place among all images, and the image; ``error`` if it is known that it fails."""

    place: int
    value: Any
    error: KernelvizError | None = None


@dataclass(frozen=True)
class Chunk:
    """Consecutive images, the argument of a worker; chunks can be pickled.

    ``number`` counts the chunks. While one that is ``alone`` is worked on, no other may wait behind it in its process:
    it may end it. ``payload`` is for the worker.
    """

    number: int
    items: tuple[ChunkItem, ...]
    payload: Any = None
    alone: bool = False


Worker = Callable[[Chunk], Any]


class Engine(Protocol):
    """What runs workers.

    ``make_worker`` can be pickled; it is called once in each process, and what it returns is called with one chunk after
    the other. ``chunks`` is to be consumed as workers become free. Each chunk is yielded with its answer, in any order; in
    place of an answer a ``WorkerLostError`` if the process crashed.
    """

    def map_chunks(self, make_worker: Callable[[], Worker], chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with the answer of a worker."""


class InThisProcess:
    """The engine of one process: chunk after chunk, here.

    Example:
        >>> engine = kernelviz.InThisProcess()
        >>> images = [torch.rand(3, 16, 16) for _ in range(5)]
        >>> tallies = {"statistics": kernelviz.ChannelTally}
        >>> gathering = kernelviz.gather_many(torch.nn.Conv2d(3, 8, 3), images, "Conv2d", tallies=tallies, engine=engine)
        >>> gathering["statistics"]["Conv2d"].result().values
        980
    """

    def __repr__(self) -> str:
        return "InThisProcess()"

    def map_chunks(self, make_worker: Callable[[], Worker], chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with the answer of a worker."""
        worker = make_worker()
        for chunk in chunks:
            yield chunk, worker(chunk)


def chunk_length(batch_size: int) -> int:
    """The number of images of a chunk: a multiple of 32 that holds a batch. Batches end where chunks do."""
    return CHUNK * -(-batch_size // CHUNK)


def make_chunks(values: Iterable[Any], length: int, payload: Callable[[], Any]) -> Iterator[Chunk]:
    """Chunks of so many images; ``payload`` is called for each when it is made."""
    source = enumerate(values)
    number = 0
    while items := tuple(ChunkItem(place, value) for place, value in islice(source, length)):
        yield Chunk(number, items, payload())
        number += 1


@dataclass
class _Suspect:
    """A chunk that ended processes: its images run alone, to find those that do."""

    chunk: Chunk
    left: int
    guilty: set[int]


class _InOrder:
    """Chunks on their way through an engine, and the answers that wait for those before them."""

    def __init__(self, chunks: Iterable[Chunk], merge: Callable[[Chunk, Any], Chunk | None]) -> None:
        self.source = iter(chunks)
        self.merge = merge
        self.urgent: deque[Chunk] = deque()
        self.answers: dict[int, tuple[Chunk, Any]] = {}
        self.suspects: dict[int, _Suspect] = {}
        self.rounds: Counter[int] = Counter()
        self.next = 0
        self.lost = 0
        self.made = 0  # chunks that came from the source
        self.taken = 0  # answers

    def supply(self) -> Iterator[Chunk]:
        """The chunks to work on, first those that are to be done again."""
        while True:
            if self.urgent:
                yield self.urgent.popleft()
            elif (chunk := next(self.source, None)) is not None:
                self.made += 1
                yield chunk
            else:
                return

    def take(self, chunk: Chunk, answer: Any) -> None:
        """Take an answer, and merge all that follow each other.

        Raises:
            KernelvizError: the answer is an error that ends the run, or processes crash whatever they work on.
        """
        self.taken += 1
        if chunk.number < self.next:  # it was merged already
            return
        lost = isinstance(answer, WorkerLostError)
        self.lost = self.lost + 1 if lost else 0
        if self.lost > _MOST_LOST:
            raise KernelvizError("The worker processes crash repeatedly.", answer.what, "Give fewer --workers.")
        if isinstance(answer, BaseException) and not lost:
            raise answer
        if chunk.number in self.suspects:
            self._judge(self.suspects[chunk.number], chunk, answer if lost else None)
        elif lost:
            self.rounds[chunk.number] += 1
            if self.rounds[chunk.number] > _MOST_ROUNDS:
                first, last = chunk.items[0].place, chunk.items[-1].place
                what = f"The images {first:,} to {last:,} crash their process together, though each alone does not."
                raise KernelvizError(what, answer.what, "Give fewer --workers, or a smaller --batch-size.")
            self.suspects[chunk.number] = _Suspect(chunk, len(chunk.items), set())
            self.urgent += [replace(chunk, items=(item,), alone=True) for item in chunk.items]
        else:
            self.answers.setdefault(chunk.number, (chunk, answer))
        while self.next in self.answers:
            again = self.merge(*self.answers.pop(self.next))
            if again is not None:
                self.urgent.append(again)
                return
            self.next += 1

    def check_whole(self) -> None:
        """Check that all chunks were merged.

        Raises:
            KernelvizError: the engine did not take them all, or dropped one.
        """
        if self.urgent or self.suspects or self.answers or self.next < self.made or next(self.source, None) is not None:
            what = "The engine did not yield an answer for each chunk."
            hint = "map_chunks must take all chunks, and yield each of them with its answer."
            raise KernelvizError(what, f"That of chunk {self.next} is missing.", hint)

    def _judge(self, suspect: _Suspect, part: Chunk, error: WorkerLostError | None) -> None:
        """Note whether an image ended its process; after the last of its chunk, do the chunk again without these."""
        suspect.left -= 1
        if error is not None:
            suspect.guilty.add(part.items[0].place)
        if suspect.left:
            return
        del self.suspects[part.number]
        items = tuple(
            replace(item, error=_ends_workers()) if item.place in suspect.guilty else item
            for item in suspect.chunk.items
        )
        self.urgent.append(replace(suspect.chunk, items=items))


def _ends_workers() -> KernelvizError:
    what = "The worker process crashes on this image."
    return WorkerLostError(what, "It crashed in a chunk, and on the image alone.", "Run it in one process.")


@dataclass(frozen=True)
class _WithCredentials:
    """Makes a worker in a process that opens URIs with the credentials of this one."""

    make_worker: Callable[[], Worker]
    credentials: Credentials

    def __call__(self) -> Worker:
        self.credentials.keep()
        return self.make_worker()


def run_chunks(
    engine: Engine,
    make_worker: Callable[[], Worker],
    chunks: Iterable[Chunk],
    merge: Callable[[Chunk, Any], Chunk | None],
) -> None:
    """Let an engine work on all chunks, and merge their answers in the order of the chunks, each exactly once.

    ``merge`` returns None, or the chunk as it is to be done again. If the process of a chunk crashed, its images run alone;
    those whose process crashes then are reported as failed, and the chunk is done again without them.

    Raises:
        KernelvizError: a worker returned an error that ends the run, processes crash whatever they work on, or the engine
            did not answer for each chunk.
    """
    state = _InOrder(chunks, merge)
    make_worker = _WithCredentials(make_worker, kept())
    with engine if isinstance(engine, AbstractContextManager) else nullcontext():
        while True:
            taken = state.taken
            for chunk, answer in engine.map_chunks(make_worker, state.supply()):
                state.take(chunk, answer)
            if not state.urgent or state.taken == taken:  # the last answer can bring chunks that are to be done again
                break
    state.check_whole()
