"""Ray Core as an engine: actors on this machine or on a cluster, and the chunks on their way to and from them."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import platform
import time
import traceback
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kernelviz.distributed.engines import WorkerLostError
from kernelviz.distributed.gathering import sendable
from kernelviz.distributed.packing import PACKAGE, Shared, unpack
from kernelviz.distributed.ray_runtime import PROBED, Runtime, is_initialized, value_of
from kernelviz.distributed.signals import uninterrupted
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.network.freed_memory import keep_freed_memory
from kernelviz.threads import processors, share_processors
from kernelviz.version import __version__
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kernelviz.distributed.engines import Chunk, Worker


WORKER_BYTES = 700 * 10**6
"""What a worker takes: Python, torch, timm, and the maps of a usual network."""
IN_FLIGHT = 2  # chunks of a worker: one that it works on, and one that waits for it
DIRECT = 8 * 2**20
"""Bytes of an answer up to which it is sent to this process, and not kept in memory that ends with Ray; see ``Shared``."""
AHEAD = 4  # chunks per worker by which one may be ahead of the oldest that is not done
PATIENCE = 120.0  # seconds until something has been waited for too long
GONE = 600.0  # seconds until a worker that is started again is given up though nothing speaks against it
OFTEN = 15.0  # seconds after which a wait for workers is reported
SILENT = 30.0  # seconds without an answer that are reported

_log = logging.getLogger("kernelviz")


class Ray:
    """An engine whose workers are Ray actors, each with a copy of the network.

    Without an ``address``, Ray is started on this machine, reachable from this machine alone, and ends with the work; with
    one, an existing cluster is used and left running. Ray must be installed: ``pip install "kernelviz[ray]"``. In a program
    that has called ``ray.init()`` itself, that connection is used.

    As a context manager it keeps the workers from one call to the next.

    Args:
        address: ``auto`` or HOST:PORT of an existing cluster.
        workers: The number of workers; by default as many as there are processors, or GPUs if they need some.
        threads: Torch threads of each worker. With one, the result is that of one process with one thread.
        gpus_per_worker: GPUs of each worker: 1 puts one on each GPU, and the network onto it.
        shared: Paths that every machine must see, as a folder of images.
        notice: Called with lines about workers that ended or are waited for; by default they are logged.

    Raises:
        UsageError: Ray is not installed, or there are fewer processors or GPUs than the workers need.
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        *,
        threads: int = 1,
        gpus_per_worker: float = 0,
        shared: Sequence[str] = (),
        notice: Callable[[str], object] | None = None,
    ) -> None:
        if find_spec("ray") is None:
            raise UsageError("Ray is not installed.", hint='Type `pip install "kernelviz[ray]"`.')
        for name, value in (("workers", workers), ("threads", threads)):
            if value is not None and value < 1:
                raise UsageError(f"The number of {name} must be at least 1, but got {value}.")
        self.address, self.threads, self.gpus_per_worker = address, threads, gpus_per_worker
        self.workers = workers if workers is not None or address else self._most_here()
        self.shared, self.notice = tuple(shared), notice or _log.warning
        if address is None:
            self._check_here()
        self._runtime = Runtime(address)
        self._depth = 0
        self._actors: list[_Handle] = []

    @property
    def device(self) -> str | None:
        """Where workers put the network; None leaves it where it is."""
        return "cuda" if self.gpus_per_worker else None

    def _most_here(self) -> int:
        if not self.gpus_per_worker:
            return max(1, processors() // self.threads)
        from kernelviz.network.model import gpu_count

        return int(gpu_count() // self.gpus_per_worker)

    def _check_here(self) -> None:
        """Check that this machine has what the workers need, which would otherwise be waited for.

        Raises:
            UsageError: it has not.
        """
        most, workers = self._most_here(), self.workers or 0
        if workers <= most and most:
            return
        if self.gpus_per_worker:
            from kernelviz.network.model import gpu_count

            there = f"One GPU each: this machine has {counted(gpu_count(), 'GPU')}."
        else:
            there = f"{counted(self.threads, 'thread')} each: this machine has {counted(processors(), 'processor')}."
        hint = f"Type --workers {most}." if most else "Give --device cpu."
        raise UsageError(f"There is no room for {counted(workers, 'worker')}.", there, hint)

    def __enter__(self) -> Self:
        """Keep the workers, which start with the first chunks, until the end of the context."""
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and Ray if it was started here."""
        self._depth -= 1
        if not self._depth:
            with uninterrupted():
                self._end()

    def map_chunks(self, make_worker: Callable[[], Worker], chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with the answer of a worker, as they come.

        If a process ends, a ``WorkerLostError`` is the answer of the chunk that it worked on; one that waited behind it is
        done again.

        Raises:
            UsageError: the cluster has not the resources, versions or files that the workers need.
            KernelvizError: the workers do not start.
        """
        with self:
            shared = self._start(make_worker)
            self._make_actors()
            flow = _Flow(self, chunks, shared)
            try:
                yield from flow.answers()
            finally:
                flow.cancel()

    def _end(self) -> None:
        """End the workers, and Ray if it was started here; none of its processes is left."""
        actors, self._actors = self._actors, []
        runtime, self._runtime = self._runtime, Runtime(self.address)
        runtime.end([actor.handle for actor in actors], [actor.pid for actor in actors if actor.pid])

    def _start(self, make_worker: Callable[[], Worker]) -> Shared:
        """Pack what workers do, and start Ray if need be."""
        with uninterrupted():
            own = is_initialized()  # by the user, or by an earlier call
            if own:
                self._runtime.use()
            else:
                self._runtime.load()
            shared = Shared(make_worker, self._runtime.stack)
            if not own:
                workers = self.workers or 1
                if self.address is None:
                    self._check_memory(workers)
                self._runtime.start(
                    processors=workers * self.threads, gpus=math.ceil(workers * self.gpus_per_worker),
                    memory=2 * shared.size,
                )  # fmt: skip
            return shared

    def _check_memory(self, workers: int) -> None:
        """Give notice if the workers probably take more memory than there is: Ray ends the largest then."""
        free = _free_memory()
        if free is not None and workers * WORKER_BYTES > free:
            need = f"{counted(workers, 'worker')} of about {WORKER_BYTES / 1e9:.1f} GB"
            self.notice(f"{need} may need more memory than the {free / 1e9:.1f} GB that are free")

    def _make_actors(self) -> None:
        """Make the workers, unless they were kept.

        Raises:
            UsageError: there are no resources for them, or a worker has other versions or does not see a file.
            KernelvizError: they do not start.
        """
        if self._actors:
            return
        import ray

        self.workers = self._count(ray)
        kind = ray.remote(
            num_cpus=self.threads, num_gpus=self.gpus_per_worker, max_restarts=-1, max_task_retries=0,
            runtime_env={"env_vars": {"RAY_max_direct_call_object_size": str(DIRECT)}},
        )(_Actor)  # fmt: skip
        share = processors() // self.workers if self.address is None else None
        actors = [_Handle(kind.remote(self.threads, str(Path.cwd()), share)) for _ in range(self.workers)]
        self._check_actors(ray, actors)
        self._actors = actors
        self._runtime.note_processes()

    def _count(self, ray: Any) -> int:
        """The number of workers: as requested, or as many as there are free resources for.

        Raises:
            UsageError: there are not enough; Ray would wait for them without an end.
        """
        wanted = {"CPU": self.threads, "GPU": self.gpus_per_worker}
        free = ray.available_resources()
        most = min(int(free.get(name, 0) // need) for name, need in wanted.items() if need)
        workers = self.workers or most
        if most < max(1, workers):
            whole = ray.cluster_resources()
            there = ", ".join(
                f"{free.get(name, 0):g} of {whole.get(name, 0):g} {name}s are free"
                for name, need in wanted.items()
                if need
            )
            what = f"The cluster has no room for {counted(max(1, workers), 'worker')}."
            raise UsageError(what, f"{there}.", f"Type --workers {most}." if most else "Wait until others have ended.")
        return workers

    def _check_actors(self, ray: Any, actors: Sequence[_Handle]) -> None:
        """Wait until all workers have started, and compare their machines with this one."""
        waiting = {actor.handle.facts.remote(self.shared): actor for actor in actors}
        count, began, noticed = len(waiting), time.monotonic(), 0.0
        while waiting:
            ready = self._runtime.finished(list(waiting))
            for each in ready:
                actor = waiting.pop(each)
                try:
                    facts = value_of(each)
                    actor.pid = _pid_here(facts)
                except ray.exceptions.RayError as error:
                    self._runtime.check_ending()
                    why = " ".join(str(error).strip().splitlines()[-1:])[:300]
                    hint = "Each machine needs kernelviz and the packages of this one."
                    raise KernelvizError("A worker did not start.", why, hint) from None
                _check_facts(facts, self.shared)
            waited = time.monotonic() - began
            if not ready and waited > PATIENCE:
                what = f"{count - len(waiting)} of {counted(count, 'worker')} started in {waited:.0f} s."
                raise KernelvizError(what, hint="Give fewer --workers.")
            if not ready and waited > noticed + OFTEN:
                noticed = waited
                self.notice(f"waiting for workers: {count - len(waiting)} of {count} have started")


@dataclass(eq=False)
class _Handle:
    """An actor, and how many chunks it has.

    After its process ended it is started again ``since`` some time; ``probe`` is a call that it answers once it is there.
    ``suspect`` is the chunk that it worked on then. ``reading`` is the call by which it reads what workers do, and
    ``has_read`` is the key of what it read last.
    """

    handle: Any
    load: int = 0
    reading: Any = None
    has_read: str = ""
    pid: int | None = None
    since: float | None = None
    probe: Any = None
    suspect: Chunk | None = None


@dataclass(frozen=True)
class _Sent:
    """A chunk that an actor has, and what it counts in the load of the actor."""

    chunk: Chunk
    actor: _Handle
    load: int


class _Flow:
    """The chunks that are on their way to and from the actors."""

    def __init__(self, engine: Ray, chunks: Iterable[Chunk], shared: Shared) -> None:
        import ray

        self.ray, self.engine, self.shared = ray, engine, shared
        self.chunks = iter(chunks)
        self.actors, self.finished = engine._actors, engine._runtime.finished  # noqa: SLF001  (its own other half)
        self.sent: dict[Any, _Sent] = {}
        self.held: deque[Chunk] = deque()  # to be worked on alone
        self.next: Chunk | None = None

    def answers(self) -> Iterator[tuple[Chunk, Any]]:
        """Yield chunks with their answers until there are no more.

        Raises:
            KernelvizError: no worker can be started again.
        """
        answered = time.monotonic()
        while True:
            self._look_after()
            self._share()
            self._send()
            if not (self.sent or self.held or self.next):
                return
            others = [each for actor in self.actors for each in (actor.probe, actor.reading) if each is not None]
            if not (self.sent or others):
                time.sleep(PROBED / 10)
            ready = list(set(self.finished([*self.sent, *others])) & self.sent.keys())
            del others
            while ready:
                answered = time.monotonic()
                reference = ready.pop()
                sent = self.sent[reference]
                found = self._answer(reference, sent)
                sent.actor.load -= sent.load
                del self.sent[reference], reference  # a large answer is in shared memory as long as it is referred to
                if found is not None:
                    yield sent.chunk, found[0]
            if (quiet := time.monotonic() - answered) > SILENT:
                answered = time.monotonic()
                self.engine.notice(f"no answer for {quiet:.0f} s; {counted(len(self.sent), 'chunk')} on their way")

    def _look_after(self) -> None:
        """Ask actors that are started again whether they are there; a call before that would fail, and seem to end them.

        Raises:
            KernelvizError: none can be started again.
        """
        for actor in list(self.actors):
            if actor.probe is not None and self.finished([actor.probe], 0):
                probe, actor.probe = actor.probe, None
                try:
                    actor.pid = _pid_here(value_of(probe))
                except self.ray.exceptions.RayError as error:
                    over = isinstance(error, self.ray.exceptions.ActorDiedError)
                    if over or time.monotonic() - (actor.since or 0) > PATIENCE:
                        self.actors.remove(actor)
                    else:
                        time.sleep(PROBED / 10)  # it fails at once while there is no process
                else:
                    actor.since = None
            elif actor.probe is not None and time.monotonic() - (actor.since or 0) > GONE:
                self.actors.remove(actor)  # nothing has room for it any more
            if actor.since is not None and actor.probe is None and actor in self.actors:
                with uninterrupted():
                    actor.probe = actor.handle.facts.remote(())
        if not self.actors:
            self.engine._runtime.check_ending()  # noqa: SLF001  (its own other half)
            raise KernelvizError("No worker could be started again.", hint="Give fewer --workers.")

    def _share(self) -> None:
        """Let the workers read what they do, and drop it once all that are there have read it.

        Raises:
            KernelvizError: a worker cannot read it.
        """
        for actor in self.actors:
            if actor.reading is not None and self.finished([actor.reading], 0):
                reading, actor.reading = actor.reading, None
                try:
                    error = self._value(reading)
                except self.ray.exceptions.RayError:
                    self._note_end(actor)
                else:
                    if error is not None:
                        raise error
                    actor.has_read = self.shared.key
            if actor.since is not None:
                actor.has_read = ""
            elif actor.has_read != self.shared.key and actor.reading is None:
                with uninterrupted():
                    packed = self.shared.reference()
                    actor.reading = actor.handle.read.remote(self.shared.key, self.shared.digest, packed)
        if all(actor.reading is None for actor in self.actors):
            self.shared.drop()

    def _value(self, reference: Any) -> Any:
        """What a call that has finished returned.

        Raises:
            KernelvizError: Ray could not send it; a worker returns its own exceptions.
            RayError: the worker has ended.
        """
        try:
            return value_of(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise KernelvizError("A worker failed.", " ".join(str(error).splitlines()[-1:])[:300]) from None

    def _answer(self, reference: Any, sent: _Sent) -> tuple[Any] | None:
        """The answer in a tuple; None if the chunk is done again.

        Raises:
            KernelvizError: the answer cannot be sent.
        """
        actor = sent.actor
        try:
            answer = self._value(reference)
        except self.ray.exceptions.RayError as error:
            lost = WorkerLostError(f"A worker process exited unexpectedly: {type(error).__name__}.")
        else:
            if not isinstance(answer, _NotRead):
                return (answer,)
            actor.has_read = ""  # it was started again while it had no chunk
            self.held.append(sent.chunk)
            return None
        self._note_end(actor)
        if sent.chunk is actor.suspect:
            return (lost,)
        self.held.append(sent.chunk)
        return None

    def _note_end(self, actor: _Handle) -> None:
        """Note that the process of an actor has ended, and on which chunk it worked."""
        if actor.since is not None:
            return
        actor.since = time.monotonic()
        chunks = [each.chunk for each in self.sent.values() if each.actor is actor]  # in the order of sending
        actor.suspect = chunks[0] if chunks else None
        if chunks and not chunks[0].alone:
            number = counted(sum(len(chunk.items) for chunk in chunks), "image is", "images are")
            self.engine.notice(f"a worker exited unexpectedly; its {number} processed again")

    def _send(self) -> None:
        """Give chunks to actors that have room; one that is to be alone to an actor that has nothing else."""
        while (chunk := self._peek()) is not None:
            if chunk.alone:
                self.held.append(chunk)
                self.next = None
                continue
            actor = min(self._feedable(), key=lambda each: each.load, default=None)
            if actor is None or actor.load >= IN_FLIGHT or chunk.number >= self._oldest() + AHEAD * len(self.actors):
                break
            self.next = None
            self._give(chunk, actor, 1)
        for actor in self.actors:
            if self.held and not actor.load and actor.since is None:
                self._give(self.held.popleft(), actor, IN_FLIGHT)  # nothing may wait behind it

    def _feedable(self) -> list[_Handle]:
        """The actors that may get more: all but the least busy one, if a chunk waits for one that is free."""
        there = sorted((actor for actor in self.actors if actor.since is None), key=lambda each: each.load)
        return there[1:] if self.held else there

    def _peek(self) -> Chunk | None:
        if self.next is None:
            self.next = next(self.chunks, None)
        return self.next

    def _oldest(self) -> int:
        """The number of the oldest chunk that is not done."""
        known = [each.chunk.number for each in self.sent.values()] + [chunk.number for chunk in self.held]
        return min([*known, *([self.next.number] if self.next else [])])

    def _give(self, chunk: Chunk, actor: _Handle, load: int) -> None:
        with uninterrupted():
            reference = actor.handle.work.remote(self.shared.key, chunk)
        actor.load += load
        self.sent[reference] = _Sent(chunk, actor, load)

    def cancel(self) -> None:
        """Forget what is on its way; the workers may be kept for another call, which counts its own chunks alone."""
        for reference, sent in self.sent.items():
            sent.actor.load -= sent.load
            with contextlib.suppress(Exception), uninterrupted():
                self.ray.cancel(reference)
        self.sent.clear()
        for actor in self.actors:
            actor.reading = None
        self.shared.drop()


class _NotRead:
    """What a worker returns that has not read what to do."""


class _Actor:
    """What runs in the process of a worker."""

    def __init__(self, threads: int, directory: str, share: int | None = None) -> None:
        from kernelviz.network.model import use_device

        if share is not None:
            share_processors(share)
        use_device("cpu", threads)  # Ray sets the environment alone
        keep_freed_memory()
        with contextlib.suppress(OSError):
            os.chdir(directory)  # names of images may be relative to it
        self.key = ""
        self.worker: Worker | None = None

    @staticmethod
    def facts(shared: Sequence[str]) -> dict[str, Any]:
        """The versions and the machine of this process, and which of some paths it does not see."""
        missing = [path for path in shared if not os.path.lexists(path)]
        return {**_versions(), "machine": platform.node(), "pid": os.getpid(), "missing": missing}

    def read(self, key: str, digest: str, packed: Any) -> KernelvizError | None:
        """Read what to do, the network included, from shared memory; ``key`` is what calls of ``work`` name it by.

        An exception is returned: Ray would log those that it raises itself.
        """
        try:
            if self.worker is None or self.key != key:
                self.worker, self.key = unpack(digest, packed)(), key
        except Exception as error:  # noqa: BLE001  (code of the user raises anything)
            return _failure(error)
        return None

    def work(self, key: str, chunk: Chunk) -> Any:
        """Work on a chunk, or return that what to do was not read. An exception is returned, as by ``read``."""
        if self.worker is None or self.key != key:
            return _NotRead()
        try:
            return self.worker(chunk)
        except Exception as error:  # noqa: BLE001  (code of the user raises anything)
            return _failure(error)


def _failure(error: Exception) -> KernelvizError:
    """An exception of a worker, which may not be importable elsewhere; a note has its traceback from the user's code on."""
    if isinstance(error, KernelvizError):
        return sendable(error)
    frames, own = [], 0
    step = error.__traceback__
    while step is not None:
        frames.append(step)
        if step.tb_frame.f_code.co_filename.startswith(f"{PACKAGE}{os.sep}"):
            own = len(frames)
        step = step.tb_next
    last = traceback.extract_tb(frames[-1])[0]
    message = " ".join("".join(traceback.format_exception_only(error)).split())[:300]
    shown = traceback.format_exception(type(error), error, [*frames, frames[0]][own])
    failure = KernelvizError("A worker failed.", f"{message} ({Path(last.filename).name}, line {last.lineno})")
    failure.add_note("In the worker:\n" + "".join(shown).rstrip())
    return failure


@cache
def _hash_of_package() -> str:
    """The hash of the source files of this package: a version under development has several."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda each: each.relative_to(PACKAGE).as_posix()):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).digest())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    """The versions that all workers must have, since numbers and pickles depend on them."""
    found = {
        "kernelviz": f"{__version__} ({_hash_of_package()[:12]})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }
    for name in ("torch", "timm"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _pid_here(facts: Mapping[str, Any]) -> int | None:
    """The process of a worker on this machine; None on another one, where the number means another process."""
    return int(facts["pid"]) if facts["machine"] == platform.node() else None


def _check_facts(facts: Mapping[str, Any], shared: Sequence[str]) -> None:
    """Check that a worker has the versions of this process, and sees the paths that this process sees.

    Raises:
        UsageError: it has not, or does not.
    """
    machine = facts["machine"]
    for name, here in _versions().items():
        if facts.get(name) != here:
            what = f"A worker on {machine} has {name} {facts.get(name)}, but this process {here}."
            raise UsageError(what, hint="Install the same versions everywhere.")
    for path in shared:
        if path in facts["missing"] and os.path.lexists(path):
            what = f"{path} is not seen from {machine}."
            raise UsageError(what, hint="Use a folder that all machines share.")


def _free_memory() -> int | None:
    """Bytes of memory that are free; None if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None
