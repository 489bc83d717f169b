"""Work that hangs is given up in time, work that goes on is not."""

from __future__ import annotations

import threading
import time

import pytest

from kernelviz.network.weights.request import GivenUpError, StalledError, StallTimeout


def test_the_result_and_the_error_come_out():
    """What the work returns or raises is what the caller gets."""
    stall_timeout = StallTimeout(5)
    assert stall_timeout.wait_for(lambda _: 42) == 42
    with pytest.raises(ZeroDivisionError):
        stall_timeout.wait_for(lambda _: 1 / 0)


def test_one_deadline_over_several_pieces():
    """The second piece of work has only what the first has left."""
    stall_timeout = StallTimeout(0.6)
    stall_timeout.wait_for(lambda _: time.sleep(0.4))
    start = time.monotonic()
    with pytest.raises(StalledError):
        stall_timeout.wait_for(lambda _: time.sleep(2))
    assert time.monotonic() - start < 1


def test_what_arrives_puts_the_deadline_off():
    """Steps that come in time may take longer in all, and are told in the caller's own thread."""
    expected = []

    def work(beat):
        for step in range(6):
            time.sleep(0.1)
            beat(step, 6)

    StallTimeout(0.4).wait_for(work, lambda done, _: expected.append((done, threading.current_thread())))
    assert expected == [(step, threading.main_thread()) for step in range(6)]


def test_work_that_is_given_up_ends_at_its_next_step():
    """A thread that nobody waits for does not go on."""
    ended, released = threading.Event(), threading.Event()

    def work(beat):
        released.wait(10)
        try:
            beat(1, 2)
        except GivenUpError:
            ended.set()

    with pytest.raises(StalledError):
        StallTimeout(0.1).wait_for(work)
    released.set()
    assert ended.wait(5)


def test_the_clock_rests_between_pieces_of_work():
    """What the caller does between two waits is not counted against the wait."""
    stall_timeout = StallTimeout(0.3)
    time.sleep(0.4)
    assert stall_timeout.wait_for(lambda _beat: "first") == "first"
    time.sleep(0.4)
    assert stall_timeout.wait_for(lambda _beat: "second") == "second"
