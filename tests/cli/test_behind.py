"""Work behind the pass: told in order, bounded in number and in bytes."""

from __future__ import annotations

import threading
import time

import pytest

from kernelviz import threads
from kernelviz.threads import Behind


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_follows_comes_in_order(exclusive):
    """Though the first piece takes longest, it is told first, and with what it gave."""
    told = []
    with Behind() as pieces:
        pieces.exclusive = exclusive
        for number in range(6):
            pieces.hand(
                lambda number=number: time.sleep(0.05 - number / 100) or number, lambda it: told.append(it.result())
            )
    assert told == list(range(6))


@pytest.mark.parametrize(
    ("size", "most"),
    [(0, threads.WAITING), (threads.LARGE, threads.ROOM // threads.LARGE), (threads.ROOM, 1), (threads.ROOM + 1, 0)],
)
@pytest.mark.parametrize("exclusive", [False, True])
def test_what_waits_is_bounded(size, most, exclusive):
    """No more pieces wait than may, and no more bytes: a large one is done before the next is made."""
    open_pieces, seen = set(), []
    with Behind() as pieces:
        pieces.exclusive = exclusive
        for number in range(threads.WAITING + 6):
            open_pieces.add(number)
            pieces.hand(lambda: time.sleep(0.01), lambda _, number=number: open_pieces.discard(number), size=size)
            seen.append(len(open_pieces))
    assert max(seen) == most
    assert not open_pieces


def test_a_large_piece_is_done_where_it_is_made():
    """In the caller's thread; a small one in another."""
    where = {}

    def work(name):
        where[name] = threading.get_native_id()

    work("own")
    with Behind() as pieces:
        pieces.hand(lambda: work("large"), lambda it: it.result(), size=threads.LARGE + 1)
        pieces.hand(lambda: work("small"), lambda it: it.result(), size=1)
    assert where["large"] == where["own"] != where["small"]


def test_in_turns_all_is_done_at_once():
    """Nothing is begun until no more may wait; then all is, and nothing is left."""
    begun, told = [], []
    with Behind() as pieces:
        pieces.exclusive = True
        for number in range(threads.WAITING):
            pieces.hand(lambda number=number: begun.append(number), lambda _, number=number: told.append(number))
        assert not begun
        pieces.hand(lambda: begun.append(-1), lambda _: told.append(-1))
        assert sorted(begun) == told == list(range(threads.WAITING))
    assert told[-1] == begun[-1] == -1


@pytest.mark.parametrize("size", [0, threads.ROOM + 1])
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_failed_piece_is_told_to_what_follows(size, exclusive):
    """Its error is in its future, be it done in a thread or at once; the others are done."""
    told = []

    def fail():
        raise OSError(28, "No space left on device")

    with Behind() as pieces:
        pieces.exclusive = exclusive
        pieces.hand(fail, lambda it: told.append(type(it.exception())), size=size)
        pieces.hand(lambda: None, lambda it: told.append(it.exception()))
    assert told == [OSError, None]


def test_after_an_error_nothing_more_is_begun():
    """What waits for a thread when the caller fails is left out; what runs is finished."""
    begun, go = [], threading.Event()

    def work():
        begun.append(1)
        go.wait(10)

    def run():
        with Behind() as pieces:
            for _ in range(threads.THREADS + 2):
                pieces.hand(work, lambda _: None)
            threading.Timer(0.05, go.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(begun) == threads.THREADS
