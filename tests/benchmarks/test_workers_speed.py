"""How many images two workers do, compared with processes that know nothing of each other."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

import kernelviz as kv
from kernelviz.distributed import InThisProcess, Ray, gather_many
from kernelviz.network.freed_memory import keep_freed_memory
from kernelviz.threads import processors

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

MODEL = "tf_efficientnet_lite0"
IMAGES = 384
ROUNDS = 5
WORKERS = 2


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """JPEGs of 320 × 240 pixels."""
    directory = tmp_path_factory.mktemp("photos")
    numbers = np.random.default_rng(0)
    found = []
    for number in range(IMAGES):
        coarse = Image.fromarray(numbers.integers(0, 255, (15, 20, 3), dtype=np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(directory / f"{number:03d}.jpg", quality=90)
        found.append(str(directory / f"{number:03d}.jpg"))
    return found


def rates(engine, model, images, *, skipped):
    """Images per second after the first chunks, the seconds until the first, and this process's time for an image."""
    marks = []

    def mark(_label, done, _total):
        marks.append((done, time.perf_counter(), time.process_time()))

    gather_many(model, images, tallies={"statistics": kv.ChannelTally}, engine=engine, progress=mark)
    first, last = marks[skipped], marks[-1]
    count = last[0] - first[0]
    return count / (last[1] - first[1]), marks[1][1] - marks[0][1], (last[2] - first[2]) / count


def run_alone(connection: Connection, images, processors):
    """One process of its own, with one thread on some processors: whenever it is told, it runs all images."""
    os.sched_setaffinity(0, processors)
    torch.set_num_threads(1)
    keep_freed_memory()  # as the workers do, and the command
    model = kv.load_model(MODEL)
    rates(InThisProcess(), model, images, skipped=1)
    connection.send("ready")
    while connection.recv():
        connection.send(rates(InThisProcess(), model, images, skipped=1)[0])


@pytest.fixture
def alone(paths):
    """Processes that know nothing of each other, each with the processors that a worker has here."""
    context, every = multiprocessing.get_context("spawn"), sorted(os.sched_getaffinity(0))
    share, ends, processes = len(every) // WORKERS, [], []
    for number in range(WORKERS):
        own, other = context.Pipe()
        chosen = every[number * share : (number + 1) * share]
        processes.append(context.Process(target=run_alone, args=(other, paths, chosen), daemon=True))
        processes[-1].start()
        ends.append(own)
    assert [end.recv() for end in ends] == ["ready"] * WORKERS
    yield ends
    for end, process in zip(ends, processes, strict=True):
        end.send("")
        process.join()


def together(ends):
    """The images per second of some processes at a time."""
    for end in ends:
        end.send("run")
    return sum(end.recv() for end in ends)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to some processors")
@pytest.mark.skipif(processors() < WORKERS, reason="there are fewer processors than workers")
def test_two_workers_do_as_many_images_as_two_processes(paths, alone):
    """At least 0.9 of the images a second of two processes that have a processor each; the start is printed apart."""
    model = kv.load_model(MODEL)
    shares, of_one, driver = [], [], []
    with Ray(workers=WORKERS) as engine:
        start = rates(engine, model, paths, skipped=WORKERS)[1]
        for number in range(ROUNDS):
            several, _, own = rates(engine, model, paths, skipped=WORKERS)
            shares.append(several / together(alone))
            of_one.append(several / (WORKERS * together([alone[number % WORKERS]])))
            driver.append(own)
    share = statistics.median(shares)
    print(
        f"\n{WORKERS} workers: {share:.2f} of {WORKERS} processes, {statistics.median(of_one):.2f} of {WORKERS} × one"
    )
    print(f"{1000 * statistics.median(driver):.2f} ms of the driver an image; the first chunk after {start:.0f} s")
    assert share >= 0.9
    assert statistics.median(driver) <= 0.2e-3
    assert start <= 20
