"""Engines for tests: what Ray does with chunks, in this process and in an order of chance."""

from __future__ import annotations

import pickle
import random
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from multiprocessing import get_context

from kernelviz.distributed import WorkerLostError


class Shuffled:
    """Works on some chunks at once and answers in any order; everything travels as bytes.

    Chunks with one of the ``deadly`` places end their process, each time; of those with one of ``frail``, the first time.
    """

    device = None
    threads = 1

    def __init__(self, seed=0, workers=2, *, deadly=(), frail=()):
        self.chance, self.workers, self.deadly, self.frail = random.Random(seed), workers, set(deadly), set(frail)
        self.lost = 0
        self.seen = []

    def map_chunks(self, make_worker, chunks):
        """Yield each chunk with the answer of a worker."""
        workers = [pickle.loads(pickle.dumps(make_worker))() for _ in range(self.workers)]
        chunks = iter(chunks)
        waiting = []
        while True:
            waiting += islice(chunks, 3 * self.workers - len(waiting))
            if not waiting:
                return
            chunk = waiting.pop(self.chance.randrange(len(waiting)))
            places = {item.place for item in chunk.items if item.error is None}
            self.seen.append(sorted(places))
            if places & (self.deadly | self.frail):
                self.frail -= places
                self.lost += 1
                yield chunk, WorkerLostError("The process of a worker ended.")
            else:
                sent = pickle.loads(pickle.dumps(chunk))
                yield chunk, pickle.loads(pickle.dumps(self.chance.choice(workers)(sent)))


class Futures:
    """The standard library as an engine, as Dask's client could be one: it has ``submit`` and ``as_completed`` too."""

    def __init__(self, workers=2):
        self.workers = workers

    def map_chunks(self, make_worker, chunks):
        """Yield each chunk with the answer of a worker; two wait for each process."""
        chunks = iter(chunks)
        with ProcessPoolExecutor(self.workers, get_context("spawn"), _begin, (make_worker,)) as pool:
            sent = {pool.submit(_work, chunk): chunk for chunk in islice(chunks, 2 * self.workers)}
            while sent:
                done = next(as_completed(sent))
                yield sent.pop(done), done.result()
                sent |= {pool.submit(_work, chunk): chunk for chunk in islice(chunks, 1)}


_made = []


def _begin(make_worker):
    _made.append(make_worker())


def _work(chunk):
    return _made[0](chunk)
