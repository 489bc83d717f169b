"""In how many processes, and where, a command does its images, as it was requested."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kernelviz.cli import loading, terminal
from kernelviz.errors import UsageError
from kernelviz.storage.uris import is_uri
from kernelviz.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from kernelviz.cli.session import Report
    from kernelviz.cli.terminal import Progress
    from kernelviz.distributed import Ray


@dataclass(frozen=True)
class WorkerChoices:
    """The number of processes, the address of a cluster, and what each process uses; one process if neither is given."""

    workers: int | None
    address: str | None
    per_process: int | None
    device: str

    @property
    def several(self) -> bool:
        """Whether other processes run the images."""
        return self.workers is not None or self.address is not None

    @property
    def threads(self) -> int | None:
        """Torch threads, here and in each process: one unless chosen, since several processes use all processors."""
        return 1 if self.several and self.per_process is None else self.per_process

    def check(self) -> None:
        """Reject what cannot be done, before anything is loaded; what needs torch to be known, ``check_device`` rejects.

        Raises:
            UsageError: Ray is not installed, no cluster answers, or there are fewer processors than workers.
        """
        if not self.several:
            return
        option = "--workers" if self.address is None else "--ray"
        if find_spec("ray") is None:
            what = f"{option} needs Ray, which is not installed."
            raise UsageError(what, hint='Type `pip install "kernelviz[ray]"`.')
        if self.address is not None:
            from kernelviz.distributed.cluster_address import find_cluster

            find_cluster(self.address)
        elif self.device == "cpu":
            self._make(())

    def check_device(self, progress: Progress) -> None:
        """Reject more workers than there are processors or GPUs, or a device that is not there, before a model is loaded.

        Raises:
            UsageError: there are not as many.
        """
        if self.several and self.address is None:
            device = loading.find_device(self.device, self.threads, progress)
            self._make((), gpu=device.startswith("cuda"))

    def quiet(self, report: Report) -> AbstractContextManager[None]:
        """Keep stdout for the paths and documents of this command, and with ``-v`` show what Ray reports on stderr."""
        return _output_of_ray(shown=report.verbose) if self.several else nullcontext()

    def engine(self, report: Report, paths: Sequence[str], output: Path) -> Ray | None:
        """The engine for these images, once the device of the network is known; None for this process.

        Raises:
            UsageError: there are fewer processors or GPUs than workers.
        """
        if not self.several:
            return None
        shared: list[str] = []
        if self.address is not None:
            first = [path for path in paths if path != "-" and ":" not in path][:1]
            folder = [] if is_uri(output) else [str(_existing(output))]
            shared = [os.path.abspath(path) for path in (*first, *folder)]  # noqa: PTH100  (not resolved)
        gpu = report.source is not None and report.source.device.startswith("cuda")
        engine = self._make(shared, gpu=gpu)
        engine.notice = report.inform
        each = "on one GPU each" if gpu else f"of {counted(engine.threads, 'thread')} each"
        many = "workers" if engine.workers is None else counted(engine.workers, "worker")
        report.inform(f"{many} {each}; the numbers are those of --threads {engine.threads}")
        return engine

    def _make(self, shared: Sequence[str], *, gpu: bool = False) -> Ray:
        from kernelviz.distributed import Ray

        return Ray(
            self.address, self.workers, threads=self.threads or 1, gpus_per_worker=1 if gpu else 0, shared=shared
        )


@contextmanager
def _output_of_ray(*, shown: bool) -> Iterator[None]:
    log, handler = logging.getLogger("kernelviz"), logging.StreamHandler()
    level = log.level
    with terminal.foreign_output(shown=shown):
        try:
            if shown:
                log.addHandler(handler)
                log.setLevel(logging.INFO)
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


def _existing(path: Path) -> Path:
    """A directory, or the next one above it that exists."""
    return next((each for each in (path, *path.parents) if each.is_dir()), path)
