"""Ray Core as an engine: actors on this machine or on a cluster. The only module that imports ray, when it is used."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import pickle
import platform
import secrets
import signal
import site
import socket
import sys
import sysconfig
import threading
import time
import traceback
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kernelviz.distributed.engines import WorkerLostError
from kernelviz.distributed.gathering import sendable
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.files.scratch import scratch_folder
from kernelviz.network.freed_memory import keep_freed_memory
from kernelviz.storage.uris import without_credentials
from kernelviz.threads import no_warnings, processors, share_processors
from kernelviz.version import __version__
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import FrameType, ModuleType

    from kernelviz.distributed.engines import Chunk, Worker


STORE = 128 * 2**20
"""Bytes of shared memory for answers on their way, besides the network; Ray's default is 30 % of the memory."""
WORKER_BYTES = 700 * 10**6
"""What a worker takes: Python, torch, timm, and the maps of a usual network."""
IN_FLIGHT = 2  # chunks of a worker: one that it works on, and one that waits for it
AHEAD = 4  # chunks per worker by which one may be ahead of the oldest that is not done
PATIENCE = 120.0  # seconds until something has been waited for too long
GONE = 600.0  # seconds until a worker that is started again is given up though nothing speaks against it
LINGER = 2.0  # seconds in which workers end by themselves
REACHED = 5.0  # seconds in which a cluster answers
OFTEN = 15.0  # seconds after which a wait for workers is reported
AWAY = 20.0  # seconds after which the head of a cluster has ended; it may be started again meanwhile
SILENT = 30.0  # seconds without an answer that are reported
CONNECTED = 2.0  # seconds in which a process of Ray accepts a connection
PROBED = 0.5  # seconds that one call of Ray may wait: signals are kept until it returns

_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # else errors of chunks that are not waited for are logged
}
_LOCAL = {
    **_CLUSTER,
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # binds to loopback: it means that there is this machine alone
}

_log = logging.getLogger("kernelviz")
_imported: list[bool] = []  # whether ray was imported for this machine alone, once it was


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
        self._stack = ExitStack()
        self._depth = 0
        self._ray: _StartedRay | None = None
        self._processes: list[Any] = []  # of Ray and of its workers on this machine
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
            with _uninterrupted():
                self._end()

    def _end(self) -> None:
        """End the workers, and Ray if it was started here; none of its processes is left."""
        actors, self._actors = self._actors, []
        started, self._ray = self._ray, None
        processes, self._processes = self._processes, []
        workers = _with_children(_pids(actors)) if self.address is None else []
        if (
            self.address is None and started is not None and started.lost()
        ):  # the others would try for minutes to reach it
            for worker in workers:
                with contextlib.suppress(Exception):  # it has ended already
                    worker.terminate()  # it deletes its temporary files
            _end_processes(workers, LINGER)
            _end_processes(processes, 0)
        elif actors:
            import ray

            for actor in actors:
                with contextlib.suppress(Exception):  # it has ended already
                    ray.kill(actor.handle)
        self._stack.close()
        _end_processes([*processes, *workers], LINGER)

    def map_chunks(self, make_worker: Callable[[], Worker], chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Any]]:
        """Yield each chunk with the answer of a worker, as they come.

        If a process ends, a ``WorkerLostError`` is the answer of the chunk that it worked on; one that waited behind it is
        done again.

        Raises:
            UsageError: the cluster has not the resources, versions or files that the workers need.
            KernelvizError: the workers do not start.
        """
        with self:
            work = self._put(make_worker)
            self._make_actors()
            flow = _Flow(self, chunks, work)
            try:
                yield from flow.answers()
            finally:
                flow.cancel()

    def _put(self, make_worker: Callable[[], Worker]) -> tuple[str, list[Any]]:
        """The hash of what workers do, and a reference to it in the memory that they share; starts Ray if need be."""
        with _uninterrupted():
            own = "ray" in sys.modules and _is_initialized()  # by the user, or by an earlier call
            if not own:
                self._import()
            import ray

            packed = _packed(make_worker, self._stack)
            if not own:
                self._initialize(ray, 2 * packed.nbytes)
            return hashlib.sha256(packed).hexdigest(), [ray.put(packed)]

    def _import(self) -> None:
        """Import ray with the environment of this use, which lasts until the end of the context.

        Raises:
            UsageError: it was imported for another use, or there is no cluster.
        """
        local = self.address is None
        if _imported != [local] and (_imported or "ray" in sys.modules):
            what = "Ray was imported before for another use, which it does not forget."
            raise UsageError(what, hint="Start a new process, or call ray.init() and then use Ray().")
        self._cluster = "local"
        if self.address is not None:
            self._cluster = find_cluster(self.address)
        variables = dict(_LOCAL if local else _CLUSTER)
        if local:
            self._folder = self._stack.enter_context(scratch_folder("kv-"))
            variables["RAY_AUTH_TOKEN_PATH"] = str(self._folder.secret("token", _token()))
        self._stack.enter_context(_environment(variables))
        import ray

        _imported[:] = [local]
        self._stack.enter_context(_messages_logged(ray))
        self._stack.callback(ray.shutdown)

    def _initialize(self, ray: Any, more: int) -> None:
        """Start Ray, with ``more`` bytes of shared memory, or reach the cluster.

        Raises:
            UsageError: there is no cluster.
            KernelvizError: Ray does not start.
        """
        local, workers = self.address is None, self.workers or 1
        choices: dict[str, Any] = {"address": self._cluster, "log_to_driver": False, "configure_logging": False}
        if local:  # Ray lets everybody write into its own folder, so that is inside of one that is private
            self._check_memory(workers)
            gpus = {"num_gpus": math.ceil(workers * self.gpus_per_worker)} if self.gpus_per_worker else {}
            choices |= {
                "num_cpus": workers * self.threads, "include_dashboard": False,
                "object_store_memory": STORE + more, "_temp_dir": str(self._folder.path / "r"), **gpus,
            }  # fmt: skip
        choices["job_config"] = _job_config()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with no_warnings(), _program_without_credentials(ray), _own_handler_of_sigterm():
                context = ray.init(**choices)
        except Exception as error:  # Ray raises this very class if one of its processes does not start
            why = " ".join(str(error).split())[:300]
            if local:
                hint = "Check that the temporary folder (TMPDIR) is not full."
                raise KernelvizError("Ray could not be started.", why, hint) from error
            hint = (
                "It must have the versions of Ray and Python of this process and, if it takes tokens, the token of Ray."
            )
            raise UsageError(f"The Ray cluster at {self._cluster} cannot be joined.", why, hint) from error
        finally:
            _set_handler(signal.SIGTERM, handler)
        self._ray = _StartedRay(context.address_info, patience=0 if local else AWAY)

    def _finished(self, references: Sequence[Any], seconds: float = PROBED) -> list[Any]:
        """Those of some calls that have finished, within some seconds, as soon as there is one.

        Raises:
            KernelvizError: Ray has ended.
        """
        if self._ray is not None and (what := self._ray.lost()):
            hint = "Start it again; with --skip-existing the command keeps the pictures that are there."
            raise KernelvizError("Ray ended unexpectedly.", what, hint)
        import ray

        with _uninterrupted():
            return list(ray.wait(list(references), num_returns=1, timeout=seconds)[0]) if references else []

    def _check_memory(self, workers: int) -> None:
        """Notice if the workers probably take more memory than there is: Ray ends the largest then."""
        free = _free_memory()
        if free is not None and workers * WORKER_BYTES > free:
            need = f"{counted(workers, 'worker')} of about {WORKER_BYTES / 1e9:.1f} GB"
            self.notice(f"{need} may need more memory than the {free / 1e9:.1f} GB that are free")

    def _make_actors(self) -> None:
        """Make the workers, once there are the resources for them.

        Raises:
            UsageError: there are not, or a worker has other versions or does not see a file.
            KernelvizError: they do not start.
        """
        if self._actors:
            return
        import ray

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
        self.workers = workers
        kind = ray.remote(
            num_cpus=self.threads, num_gpus=self.gpus_per_worker, max_restarts=-1, max_task_retries=0
        )(_Actor)  # fmt: skip
        share = processors() // workers if self.address is None else None
        actors = [_Handle(kind.remote(self.threads, str(Path.cwd()), share)) for _ in range(workers)]
        self._actors = actors
        self._check_actors(ray, actors)
        if self._ray is not None and self.address is None:
            self._processes = _with_children(_pids_of_ray(ray))

    def _check_actors(self, ray: Any, actors: Sequence[_Handle]) -> None:
        """Wait until all workers have started, and compare their machines with this one."""
        waiting = {actor.handle.facts.remote(self.shared): actor for actor in actors}
        count, began, noticed = len(waiting), time.monotonic(), 0.0
        while waiting:
            ready = self._finished(list(waiting))
            for each in ready:
                actor = waiting.pop(each)
                try:
                    facts = _value(ray, each)
                    actor.pid = _pid_here(facts)
                except ray.exceptions.RayError as error:
                    why = " ".join(str(error).strip().splitlines()[-1:])[:300]
                    hint = "Each machine needs kernelviz and the packages of this one."
                    raise KernelvizError("A worker did not start.", why, hint) from error
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
    ``suspect`` is the chunk that it worked on then.
    """

    handle: Any
    load: int = 0
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

    def __init__(self, engine: Ray, chunks: Iterable[Chunk], work: tuple[str, list[Any]]) -> None:
        import ray

        self.ray, self.engine, self.work = ray, engine, work
        self.chunks = iter(chunks)
        self.actors, self.finished = engine._actors, engine._finished  # noqa: SLF001  (its own other half)
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
            self._send()
            if not (self.sent or self.held or self.next):
                return
            probes = [actor.probe for actor in self.actors if actor.probe is not None]
            if not (self.sent or probes):
                time.sleep(PROBED / 10)
            ready = self.finished([*self.sent, *probes])
            for reference in set(ready) & self.sent.keys():
                answered = time.monotonic()
                sent = self.sent[reference]
                found = self._answer(reference, sent)
                sent.actor.load -= sent.load
                del self.sent[reference]
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
                    actor.pid = _pid_here(_value(self.ray, probe))
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
                with _uninterrupted():
                    actor.probe = actor.handle.facts.remote(())
        if not self.actors:
            raise KernelvizError("No worker could be started again.", hint="Give fewer --workers.")

    def _answer(self, reference: Any, sent: _Sent) -> tuple[Any] | None:
        """The answer in a tuple; None if the chunk is done again.

        Raises:
            KernelvizError: the answer cannot be sent.
        """
        errors = self.ray.exceptions
        try:
            return (_value(self.ray, reference),)
        except errors.RayTaskError as error:  # Ray could not send the answer: a worker returns its own exceptions
            raise KernelvizError("A worker failed.", " ".join(str(error).splitlines()[-1:])[:300]) from None
        except errors.RayError as error:
            lost = WorkerLostError(f"A worker process exited unexpectedly: {type(error).__name__}.")
        actor = sent.actor
        if actor.since is None:
            actor.since = time.monotonic()
            chunks = [each.chunk for each in self.sent.values() if each.actor is actor]  # in the order of sending
            actor.suspect = chunks[0]
            if not sent.chunk.alone:
                count = sum(len(chunk.items) for chunk in chunks)
                number = counted(count, "image is", "images are")
                self.engine.notice(f"a worker exited unexpectedly; its {number} processed again")
        if sent.chunk is actor.suspect:
            return (lost,)
        self.held.append(sent.chunk)
        return None

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
        with _uninterrupted():
            reference = actor.handle.work.remote(*self.work, chunk)
        actor.load += load
        self.sent[reference] = _Sent(chunk, actor, load)

    def cancel(self) -> None:
        """Forget what is on its way; the workers may be kept for another call, which counts its own chunks alone."""
        for reference, sent in self.sent.items():
            sent.actor.load -= sent.load
            with contextlib.suppress(Exception), _uninterrupted():
                self.ray.cancel(reference)
        self.sent.clear()


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
        self.digest = ""
        self.worker: Worker | None = None

    @staticmethod
    def facts(shared: Sequence[str]) -> dict[str, Any]:
        """The versions and the machine of this process, and which of some paths it does not see."""
        missing = [path for path in shared if not os.path.lexists(path)]
        return {**_versions(), "machine": platform.node(), "pid": os.getpid(), "missing": missing}

    def work(self, digest: str, reference: Sequence[Any], chunk: Chunk) -> Any:
        """Work on a chunk; what to do, the network included, is read from shared memory when its hash is another one.

        An exception is returned: Ray would log those that it raises itself.
        """
        try:
            if self.worker is None or self.digest != digest:
                self.worker, self.digest = _unpacked(digest, reference)(), digest
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
        if step.tb_frame.f_code.co_filename.startswith(f"{_PACKAGE}{os.sep}"):
            own = len(frames)
        step = step.tb_next
    last = traceback.extract_tb(frames[-1])[0]
    message = " ".join("".join(traceback.format_exception_only(error)).split())[:300]
    shown = traceback.format_exception(type(error), error, [*frames, frames[0]][own])
    failure = KernelvizError("A worker failed.", f"{message} ({Path(last.filename).name}, line {last.lineno})")
    failure.add_note("In the worker:\n" + "".join(shown).rstrip())
    return failure


class _SearchPath(list[str]):
    """The directories that Ray puts in front of ``sys.path`` in workers: of those it adds, the ones this process has.

    Ray adds the current directory in any case. A file ``torch.py`` there would be run instead of torch.
    """

    def extend(self, directories: Iterable[str]) -> None:
        here = {os.path.abspath(each) for each in sys.path}  # noqa: PTH100  ("" is the current directory)
        super().extend(each for each in directories if os.path.abspath(each) in here)  # noqa: PTH100


def _job_config() -> Any:
    """The settings of Ray for this program, whose workers import from where this process does."""
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _SearchPath()  # noqa: SLF001  (there is no public setting)
    return config


@contextmanager
def _program_without_credentials(ray: Any) -> Iterator[None]:
    """Let Ray know the command line without the credentials of URIs: a cluster lists it for all of its users."""
    utils = ray._private.utils  # noqa: SLF001  (there is no public setting)
    find = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: " ".join(map(without_credentials, sys.argv))
    try:
        yield
    finally:
        utils.get_entrypoint_name = find


def _packed(make_worker: Callable[[], Worker], stack: ExitStack) -> Any:
    """What workers do, as an array of bytes, which they read from shared memory without a copy.

    Modules that are not installed, as a file with a network, are packed by their content until the end of the ``stack``;
    if that cannot be, by their names.

    Raises:
        UsageError: it holds something that cannot be packed.
    """
    import numpy as np
    from ray import cloudpickle

    own = ExitStack()
    for module in _own_modules():
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            own.callback(cloudpickle.unregister_pickle_by_value, module)
    try:
        try:
            packed = cloudpickle.dumps(make_worker)
        except _UNPACKABLE:
            own.close()
            packed = cloudpickle.dumps(make_worker)
    except _UNPACKABLE as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError("The network cannot be sent to other processes.", why, "Use one process.") from error
    finally:
        stack.push(own.pop_all())
    return np.frombuffer(packed, np.uint8)


def _unpacked(digest: str, reference: Sequence[Any]) -> Callable[[], Worker]:
    """What ``_packed`` made, from shared memory.

    Raises:
        ValueError: it is not what was sent.
    """
    import ray
    from ray import cloudpickle

    packed = ray.get(reference[0])
    if hashlib.sha256(packed).hexdigest() != digest:
        raise ValueError("The network arrived damaged.")
    make_worker: Callable[[], Worker] = cloudpickle.loads(packed)
    return make_worker


_UNPACKABLE = (TypeError, AttributeError, NotImplementedError, pickle.PicklingError, RuntimeError)


def _own_modules() -> list[ModuleType]:
    """The modules that are not installed; those of ``__main__`` are always packed by their content."""
    places = {
        str(_PACKAGE), *sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages(),
        *(each for each in sys.path if each and any(Path(each).glob("*.dist-info"))),  # of `pip install --target`
    }  # fmt: skip
    installed = tuple(f"{each}{os.sep}" for place in places for each in {place, os.path.realpath(place)})
    return [
        module
        for name, module in list(sys.modules.items())
        if name not in ("__main__", "__mp_main__")
        and getattr(module, "__name__", None) == name
        and (file := getattr(module, "__file__", None))
        and not file.startswith(installed)
        and not os.path.realpath(file).startswith(installed)
    ]


_PACKAGE = Path(__file__).resolve().parents[1]


def _versions() -> dict[str, str]:
    """The versions that all workers must have, since numbers and pickles depend on them."""
    found = {"kernelviz": __version__, "Python": ".".join(platform.python_version_tuple()[:2])}
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


@cache
def _token() -> str:
    """The secret that this process shares with its Ray: one, since Ray reads it once in a process."""
    return secrets.token_hex(32)


def _is_initialized() -> bool:
    import ray

    return bool(ray.is_initialized())


def find_cluster(address: str) -> str:
    """HOST:PORT of a cluster that answers; ``auto`` is ``RAY_ADDRESS``, or what ``ray start`` noted on this machine.

    Ray itself would wait for minutes where none answers, and for ``auto`` try any Ray process of this machine as well, such
    as the private one of another program.

    Raises:
        UsageError: there is none.
    """
    found = _noted_cluster() if address == "auto" else address
    host, _, port = found.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        why = "Ray's clients with ray:// are not supported." if found.startswith("ray://") else ""
        hint = "For example --ray 10.0.0.1:6379, as `ray start --head` prints it."
        raise UsageError(f"--ray takes auto or HOST:PORT, but got {found}.", why, hint)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACHED) as connection:
            is_server = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except (OSError, OverflowError) as error:
        why = f"{error}.".replace("timed out.", f"It does not answer within {REACHED:.0f} s.")
    else:
        if is_server:
            return found
        why = "What answers there is another program."
    hint = "Type `ray start --head` there, which prints the HOST:PORT to give, or give --workers alone."
    raise UsageError(f"There is no Ray cluster at {found}.", why, hint)


def _noted_cluster() -> str:
    base = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108  (Ray's rule)
    with contextlib.suppress(OSError), (Path(base) / "ray" / "ray_current_cluster").open(encoding="utf-8") as file:
        if not os.environ.get("RAY_ADDRESS"):
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid not in (os.geteuid(), 0):
                why = f"Another user has written {file.name}, and a cluster could run code here."
                raise UsageError(
                    "There is no Ray cluster of yours at auto.", why, "If you trust it, give its HOST:PORT."
                )
            return file.read().strip()
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    hint = "Type `ray start --head`, or give its HOST:PORT."
    raise UsageError("There is no Ray cluster at auto.", "RAY_ADDRESS is not set, and none was started here.", hint)


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # with empty settings (RFC 9113)


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether a server answers the beginning of HTTP/2, which gRPC uses, with its settings.

    Raises:
        OSError: it does not answer in time.
    """
    connection.sendall(_PREFACE)
    answer = b""
    while len(answer) < 4 and (part := connection.recv(9)):
        answer += part
    return answer[3:4] == b"\x04"


def _free_memory() -> int | None:
    """Bytes of memory that are free; None if unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore them afterwards: Ray and its processes read them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _messages_logged(ray: Any) -> Iterator[None]:
    """Log what Ray reports about its processes, which it prints on stdout even with ``log_to_driver=False``."""
    worker = ray._private.worker  # noqa: SLF001  (there is no public setting)
    before = worker.print_to_stdstream

    def log(data: Mapping[str, Any], *_: object, **__: object) -> None:
        for line in data["lines"]:
            _log.info("Ray: %s", line)

    worker.print_to_stdstream = log
    try:
        yield
    finally:
        worker.print_to_stdstream = before


class _StartedRay:
    """The Ray that this process has started or reached, as far as it can be asked whether it still runs.

    Its client ends this process without a word soon after its raylet has ended, and a minute after its head has.
    """

    def __init__(self, addresses: Mapping[str, Any], *, patience: float) -> None:
        self.patience = patience
        self.head, self.raylet = str(addresses["gcs_address"]), str(addresses["raylet_socket_name"])
        self.answered = self.asked = time.monotonic()
        self.found = ""

    def lost(self) -> str:
        """Which of its processes has ended; empty if they run."""
        now = time.monotonic()
        if not self.found and now - self.asked >= PROBED / 2:
            self.asked = now
            if Path(self.raylet).is_absolute() and not _connects(socket.AF_UNIX, self.raylet):
                self.found = "Its raylet, which runs the workers of this machine, does not answer."
            elif _connects(socket.AF_INET, self.head):
                self.answered = now
            elif now - self.answered >= self.patience:
                self.found = f"Its head at {self.head} does not answer."
        return self.found


def _connects(family: int, address: str) -> bool:
    """Whether something listens at the path of a socket, or at HOST:PORT."""
    try:
        if family == socket.AF_INET:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), CONNECTED).close()
        else:
            with socket.socket(family) as connection:
                connection.settimeout(CONNECTED)
                connection.connect(address)
    except OSError:
        return False
    return True


def _pids(actors: Iterable[_Handle]) -> list[int]:
    return [actor.pid for actor in actors if actor.pid]


def _pids_of_ray(ray: Any) -> list[int]:
    """The processes that Ray has started in this process, besides workers; none if it has joined a cluster."""
    started = ray._private.worker._global_node.all_processes  # noqa: SLF001  (there is no public list)
    return [each.process.pid for several in started.values() for each in several]


def _with_children(pids: Iterable[int]) -> list[Any]:
    """Processes and all that they have started, as objects that know them from later ones of the same number."""
    import psutil  # type: ignore[import-untyped]  # which Ray brings along

    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def _end_processes(processes: Sequence[Any], seconds: float) -> None:
    """Wait some seconds until processes have ended, and end those that have not."""
    if not processes:
        return
    import psutil

    for process in psutil.wait_procs(processes, seconds)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, LINGER)


def _value(ray: Any, reference: Any) -> Any:
    """What a call that has finished returned."""
    with _uninterrupted():
        return ray.get(reference)


_SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep signals until the end; only the main thread gets them.

    So Ray is either not started or ended whole, and its compiled functions, which know no exception but
    ``KeyboardInterrupt``, return before a handler raises one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept: list[int] = []

    def keep(number: int, _: FrameType | None) -> None:
        kept.append(number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, keep)
    try:
        yield
    finally:
        for number, handler in before.items():
            _set_handler(number, handler)
        for kept_one in kept[:1]:
            signal.raise_signal(kept_one)


@contextmanager
def _own_handler_of_sigterm() -> Iterator[None]:
    """Install the handler of SIGTERM again whenever Ray installs one, which would end this process but not all of Ray."""
    install, own = signal.signal, signal.getsignal(signal.SIGTERM)

    def install_own(number: int, handler: Any) -> Any:
        return install(number, own if number == signal.SIGTERM and own is not None else handler)

    signal.signal = install_own  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = install


def _set_handler(number: int, handler: Any) -> None:
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(number, handler)
