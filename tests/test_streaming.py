"""Images on their way through a network: what is done when, and what becomes of those that fail."""

import threading
from dataclasses import dataclass

import pytest

from kernelviz.errors import KernelvizError
from kernelviz.streaming import Passes, ReadImage
from kernelviz.threads import grouped, read_ahead


def test_reading_goes_ahead_but_not_far():
    """The work is done in another thread, in order, and no more of it than was requested."""
    begun = []

    def work(item):
        begun.append((item, threading.current_thread() is threading.main_thread()))
        if item == 5:
            raise KernelvizError("five")
        return item * 2

    ahead = read_ahead(iter(range(100)), work, 3)
    results = [next(ahead) for _ in range(7)]
    assert [item for item, _ in results] == list(range(7))
    assert [future.result() for item, future in results if item != 5] == [0, 2, 4, 6, 8, 12]
    with pytest.raises(KernelvizError, match="five"):
        results[5][1].result()
    ahead.close()
    assert len(begun) <= 10
    assert not any(in_main for _, in_main in begun)


def test_exclusive_reading_pauses_during_forward_passes():
    """Some are read at once by several threads; not one more is begun until all of these are used."""
    begun, meeting = [], threading.Barrier(2, timeout=10)

    def work(item):
        begun.append(item)
        if item < 2:
            meeting.wait()
        return -item

    ahead = read_ahead(iter(range(10)), work, 3, exclusive=True)
    for used in range(10):
        item, future = next(ahead)
        assert (item, future.result()) == (used, -used)
        assert sorted(begun) == list(range(min(10, 4 * (used // 4 + 1))))
    assert not list(ahead)


def test_groups_hold_one_kind():
    """Runs of one key, cut at the size."""
    assert list(grouped("aaabba", 2, str)) == [["a", "a"], ["a"], ["b", "b"], ["a"]]


@dataclass(frozen=True)
class Given:
    """What a network takes: here its size alone."""

    size: int


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_fails_is_reported_with_its_number_and_its_item(exclusive, monkeypatch):
    """In reading, in getting ready, for its size, in the forward pass and after it; all others reach the end, in order."""
    expected, ended, passed = [], [], []

    def read(item):
        if item == "unread":
            raise KernelvizError("read")
        return Given(5 if item == "odd" else 3)

    def ready(number, item, given):
        if item == "unready":
            raise KernelvizError("ready")
        return None if item == "skipped" else ReadImage(number, item, given)

    def run_each(plan, given, _on_map, *, to_the_end):
        passed.append((plan, len(given), to_the_end))
        return [()] * len(given)

    def after(each, _classes):
        if each.item == "late":
            raise KernelvizError("after")
        ended.append(each.item)

    monkeypatch.setattr("kernelviz.network.capture.run_each", run_each)
    progress = []
    Passes(
        read=read, ready=ready, plan=lambda given: KernelvizError("size") if given.size == 5 else "taps",
        on_map=lambda *_: None, after=after, failed=lambda number, item, error: expected.append((number, item, error.what)),
        batch_size=2, to_the_end=True, exclusive=exclusive,
        progress=lambda *numbers: progress.append(numbers),
    ).run(["a", "unread", "skipped", "b", "unready", "odd", "late", "c"], 8)  # fmt: skip
    assert sorted(expected) == [
        (1, "unread", "read"),
        (4, "unready", "ready"),
        (5, "odd", "size"),
        (6, "late", "after"),
    ]
    assert ended == ["a", "b", "c"]
    assert passed == [("taps", 2, True), ("taps", 2, True)]
    assert progress == [("images", done, 8) for done in (0, 4, 6, 8)]
