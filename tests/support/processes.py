"""Processes that tests start: signals mean what they mean in a terminal, and none of them outlives its test."""

from __future__ import annotations

import contextlib
import signal
import subprocess


def _default_signals():
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@contextlib.contextmanager
def started_processes():
    """A function as ``subprocess.Popen``; processes that still run at the end of the block are killed.

    A signal that was ignored when the tests were started (by ``nohup``, or by a shell that starts jobs in the
    background) would stay ignored in the new process.
    """
    processes = []

    def start(command, **choices):
        processes.append(subprocess.Popen(command, preexec_fn=_default_signals, **choices))  # noqa: PLW1509
        return processes[-1]

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
