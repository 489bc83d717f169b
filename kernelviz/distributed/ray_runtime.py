"""Ray as this process uses it: started here until the end of the work, or a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelviz.distributed.cluster_address import connects, find_cluster
from kernelviz.distributed.signals import own_handler_of_sigterm, set_handler, uninterrupted
from kernelviz.errors import KernelvizError, UsageError
from kernelviz.files.scratch import scratch_folder
from kernelviz.storage.uris import without_credentials
from kernelviz.threads import no_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


STORE = 128 * 2**20
"""Bytes of shared memory for answers on their way, besides the network; Ray's default is 30 % of the memory."""
LINGER = 2.0  # seconds in which processes end by themselves
AWAY = 20.0  # seconds after which the head of a cluster has ended; it may be started again meanwhile
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


class Runtime:
    """Ray, from its import until ``end``.

    Ray's compiled client ends this process without an exception if it needs the raylet of this machine and that has ended,
    and a minute after the head (``gcs_server``) has. So a connection to both is tried before each wait, and nothing is kept
    in the shared memory, which the raylet manages.

    Args:
        address: that of a cluster, as ``Ray`` takes it; None starts Ray on this machine.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.stack = ExitStack()  # what is undone when Ray has ended
        self._processes: list[Any] = []
        self._head = self._raylet = self._gone = ""  # where they listen, and which has ended
        self._tried = self._answered = 0.0
        self._is_connected = False

    @property
    def is_local(self) -> bool:
        """Whether Ray is started here."""
        return self.address is None

    def load(self) -> None:
        """Import ray with the environment of this use, which lasts until ``end``.

        Raises:
            UsageError: it was imported for another use, or there is no cluster.
        """
        if _imported != [self.is_local] and (_imported or "ray" in sys.modules):
            what = "Ray was imported before for another use, which it does not forget."
            raise UsageError(what, hint="Start a new process, or call ray.init() and then use Ray().")
        self._cluster = "local" if self.address is None else find_cluster(self.address)
        variables = dict(_LOCAL if self.is_local else _CLUSTER)
        # Ray's client takes the process with this number for the raylet; by default its parent, which in a container may be
        # process 1, which it takes for none. Without a raylet it ends this process at any failed call.
        variables["RAY_RAYLET_PID"] = str(os.getpid())
        if self.is_local:
            self._folder = self.stack.enter_context(scratch_folder("kv-"))
            variables["RAY_AUTH_TOKEN_PATH"] = str(self._folder.secret("token", _token()))
        self.stack.enter_context(_environment(variables))
        import ray

        self._is_connected = True
        _imported[:] = [self.is_local]
        self.stack.enter_context(_messages_logged(ray))
        self.stack.callback(ray.shutdown)

    def use(self) -> None:
        """Use the connection of the user's program: what Ray prints about its processes is on stderr until ``end``."""
        if not self._is_connected:
            import ray

            self._is_connected = True
            self.stack.enter_context(_messages_on_stderr(ray))

    def start(self, *, processors: int, gpus: int, memory: int) -> None:
        """Start Ray with these resources and bytes of shared memory, or join the cluster.

        Raises:
            UsageError: the cluster cannot be joined.
            KernelvizError: Ray does not start.
        """
        import ray

        choices: dict[str, Any] = {"address": self._cluster, "log_to_driver": False, "configure_logging": False}
        if self.is_local:  # Ray lets everybody write into its own folder, so that is inside of one that is private
            choices |= {
                "num_cpus": processors, "include_dashboard": False, "object_store_memory": STORE + memory,
                "_temp_dir": str(self._folder.path / "r"), **({"num_gpus": gpus} if gpus else {}),
            }  # fmt: skip
        choices["job_config"] = _job_config()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with no_warnings(), _program_without_credentials(ray), own_handler_of_sigterm():
                context = ray.init(**choices)
        except Exception as error:  # Ray raises this very class if one of its processes does not start
            why = " ".join(str(error).split())[:300]
            if self.is_local:
                hint = "Check that the temporary folder (TMPDIR) is not full."
                raise KernelvizError("Ray could not be started.", why, hint) from error
            hint = (
                "It must have the versions of Ray and Python of this process and, if it takes tokens, the token of Ray."
            )
            raise UsageError(f"The Ray cluster at {self._cluster} cannot be joined.", why, hint) from error
        finally:
            set_handler(signal.SIGTERM, handler)
        self._watch(context.address_info)

    def _watch(self, addresses: Mapping[str, Any]) -> None:
        self._head, self._raylet = str(addresses["gcs_address"]), str(addresses["raylet_socket_name"])
        self._answered = time.monotonic()

    def note_processes(self) -> None:
        """Note the processes of a Ray that was started here: those of its raylet are unknown once that has ended."""
        if not self._head or not self.is_local:
            return
        import ray

        node = ray._private.worker._global_node  # noqa: SLF001  (there is no public list)
        started = {} if node is None else node.all_processes
        self._processes += with_children(each.process.pid for several in started.values() for each in several)

    def finished(self, references: Sequence[Any], seconds: float = PROBED) -> list[Any]:
        """Those of some calls that have finished, within some seconds, as soon as there is one.

        Raises:
            KernelvizError: Ray has ended.
        """
        if what := self._lost():
            hint = "Start it again; with --skip-existing the command keeps the pictures that are there."
            raise KernelvizError("Ray ended unexpectedly.", what, hint)
        import ray

        with uninterrupted():
            return list(ray.wait(list(references), num_returns=1, timeout=seconds)[0]) if references else []

    def check_ending(self, seconds: float = LINGER) -> None:
        """Wait some seconds for Ray to end, when no worker is left: workers end first in a Ray that is stopped.

        Raises:
            KernelvizError: it has ended.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.finished([])
            time.sleep(PROBED / 10)

    def _lost(self) -> str:
        """Which part of Ray has ended; empty if all run."""
        now = time.monotonic()
        if self._head and not self._gone and now - self._tried >= PROBED / 2:
            self._tried = now
            if Path(self._raylet).is_absolute() and not connects(socket.AF_UNIX, self._raylet):
                self._gone = "Its raylet, which runs the workers of this machine, does not answer."
            elif connects(socket.AF_INET, self._head):
                self._answered = now
            elif now - self._answered >= (0 if self.is_local else AWAY):
                self._gone = f"Its head at {self._head} does not answer."
        return self._gone

    def end(self, handles: Sequence[Any], pids: Iterable[int]) -> None:
        """End workers, by their handles and their processes on this machine, and Ray if it was started here."""
        self.note_processes()
        workers = with_children(pids) if self.is_local else []
        if self.is_local and self._lost():  # the others would try for minutes to reach what has ended
            for worker in workers:
                with contextlib.suppress(Exception):  # it has ended already
                    worker.terminate()  # it deletes its temporary files
            end_processes(workers, LINGER)
            end_processes(self._processes, 0)
        elif handles and not self._lost():
            import ray

            for handle in handles:
                with contextlib.suppress(Exception):  # it has ended already
                    ray.kill(handle)
        self.stack.close()
        end_processes([*self._processes, *workers], LINGER)


def is_initialized() -> bool:
    """Whether this process uses Ray already: by the user's own ``ray.init()``, or by ``Runtime``."""
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def value_of(reference: Any) -> Any:
    """What a call that has finished returned."""
    import ray

    with uninterrupted():
        return ray.get(reference)


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


@contextmanager
def _messages_on_stderr(ray: Any) -> Iterator[None]:
    """Let Ray print what it reports about its processes on stderr: stdout is for the results of the user's program."""
    worker = ray._private.worker  # noqa: SLF001  (there is no public setting)
    before = worker.print_to_stdstream

    def print_on_stderr(data: Mapping[str, Any], *given: Any, **named: Any) -> None:
        before({**data, "is_err": True}, *given, **named)

    worker.print_to_stdstream = print_on_stderr
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@cache
def _token() -> str:
    """The secret that this process shares with its Ray: one, since Ray reads it once in a process."""
    return secrets.token_hex(32)


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


def with_children(pids: Iterable[int]) -> list[Any]:
    """Processes and all that they have started, as objects that know them from later ones of the same number."""
    import psutil  # type: ignore[import-untyped]  # which Ray brings along

    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def end_processes(processes: Sequence[Any], seconds: float) -> None:
    """Wait some seconds until processes have ended, and end those that have not."""
    if not processes:
        return
    import psutil

    for process in psutil.wait_procs(processes, seconds)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, LINGER)
