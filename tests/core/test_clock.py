"""The clock that stands still while we are late."""

from __future__ import annotations

import pytest

from hbd.core.clock import STALL, Clock, Lag
from hbd.core.model import MILLISECOND, SECOND

NOW = 1_000 * SECOND


def test_time_spent_on_the_start_does_not_count():
    """What was asked for before the loop began is due as long after its first turn."""
    clock = Clock(NOW, 0)
    clock.skip(NOW + SECOND, SECOND)
    assert clock.now == NOW
    assert clock.promise(NOW + 5) == NOW + SECOND + 5
    assert clock.turn(NOW + SECOND + 5, SECOND) == 0
    assert clock.now == NOW + 5


def test_lateness_within_a_tick_is_the_timers_and_beyond_it_is_ours():
    """A turn one tick late is on time; one nanosecond more, and all of it is counted."""
    clock = Clock(NOW, 0, tick=MILLISECOND)
    due = clock.promise(NOW + SECOND)
    assert clock.turn(due + MILLISECOND, 0) == 0
    assert clock.now == due + MILLISECOND
    due = clock.promise(clock.now + SECOND)
    assert clock.lateness == 0
    assert clock.turn(due + MILLISECOND + 1, 0) == MILLISECOND + 1
    assert clock.lateness == MILLISECOND + 1


def test_a_stall_stops_our_own_time_and_what_is_less_is_only_added_up():
    """From 100 ms on our own time has not gone on."""
    clock = Clock(NOW, 0)
    due = clock.promise(NOW + SECOND)
    clock.turn(due + STALL - 1, 0)
    assert (clock.now, clock.lateness) == (due + STALL - 1, STALL - 1)
    due = clock.promise(clock.now + SECOND)
    clock.turn(due + STALL, 0)
    assert (clock.now, clock.lateness) == (due, STALL - 1)


@pytest.mark.parametrize(("late", "counted"), [(7, 0), (30, 0), (31, 1), (99, 69)])
def test_our_own_work_is_no_lateness(late, counted):
    """As long as it may have taken we ran; what is more, or a stall, was not work alone."""
    clock = Clock(NOW, 0)
    due = clock.promise(NOW + SECOND)
    busy_until = due + 30 * MILLISECOND
    assert clock.turn(due + late * MILLISECOND, 0, busy_until) == late * MILLISECOND
    assert clock.lateness == counted * MILLISECOND
    due = clock.promise(clock.now + SECOND)
    clock.turn(due + STALL, 0, due + STALL)
    assert clock.now == due


def test_work_that_was_done_in_time_explains_no_lateness():
    """It was over before the next turn was due: who kept us from that was somebody else."""
    clock = Clock(NOW, 0)
    due = clock.promise(NOW + SECOND)
    clock.turn(due + 40 * MILLISECOND, 0, due)
    assert clock.lateness == 40 * MILLISECOND


def test_what_came_in_a_stall_came_while_our_time_stood_however_late_it_is_read():
    """A moment in the last stall is that at which our time stood; one before it is as long ago."""
    clock = Clock(NOW, 0)
    due = clock.promise(NOW + SECOND)
    clock.turn(due + 5 * SECOND, 0)
    stood = clock.now
    for _ in range(3):
        assert clock.at(due + 2 * SECOND) == clock.at(due + 5 * SECOND) == stood == due
        assert clock.at(due - 7) == due - 7
        clock.turn(clock.promise(clock.now + SECOND), 0)
    assert clock.at(clock.real - 7) == clock.now - 7


def test_what_came_before_several_stalls_is_as_old_as_it_was():
    """Volleys look at it when they are asked, and by then we may have stood still again."""
    clock = Clock(NOW, 0)
    moments = {}
    for _ in range(8):
        due = clock.promise(clock.now + SECOND)
        clock.turn(due + 5 * SECOND, 0)
        moments |= {due - 7: clock.at(due - 7), due + SECOND: clock.at(due + SECOND)}
    assert {real: clock.at(real) for real in moments} == moments


def test_overload_is_told_once_a_minute_with_all_that_was_lost():
    """More than a tenth of ten seconds, in pieces too small to be told: then of each minute."""
    lag, real, told = Lag(NOW), NOW, []
    for turn in range(1, 13_000):
        real = NOW + turn * 10 * MILLISECOND
        lost = lag.add(real, 2 * MILLISECOND)
        if lost:
            told.append((real - NOW, lost))
    assert told == [(10 * SECOND, 2 * SECOND), (70 * SECOND, 12 * SECOND)]
    assert lag.share(real) == pytest.approx(0.2)


def test_what_was_lost_in_good_times_is_not_told_later():
    """An entry of overload counts what was lost since it began."""
    lag, real, told = Lag(NOW), NOW, []
    for turn in range(4_000):
        real += 10 * MILLISECOND
        told.append(lag.add(real, MILLISECOND if turn < 3_000 else 5 * MILLISECOND))
    assert [lost for lost in told if lost] == [5 * SECOND]


@pytest.mark.parametrize("late", [MILLISECOND, STALL])
def test_no_overload_is_told_of_a_tenth_or_of_what_has_an_entry_of_its_own(late):
    """A tenth is no overload, and stalls have been told."""
    lag = Lag(NOW)
    assert not any(lag.add(NOW + turn * 10 * late, late) for turn in range(1, 13_000))
    assert lag.share(NOW + 12_999 * 10 * late) == pytest.approx(0.1)


def test_lag_is_of_the_last_seconds():
    """What was lost half a minute ago is over."""
    lag = Lag(NOW)
    lag.add(NOW + 5 * SECOND, 5 * SECOND)
    assert lag.share(NOW + 5 * SECOND) == 0.5
    for second in range(6, 36):
        lag.add(NOW + second * SECOND, 0)
    assert lag.share(NOW + 35 * SECOND) == 0.0
