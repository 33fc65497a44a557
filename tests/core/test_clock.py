"""The clock that stands still while we are late."""

from __future__ import annotations

from hbd.core.clock import Clock
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
    """A turn one tick late is on time; one nanosecond more, and all of it is forgiven."""
    clock = Clock(NOW, 0, tick=MILLISECOND)
    due = clock.promise(NOW + SECOND)
    assert clock.turn(due + MILLISECOND, 0) == 0
    assert clock.now == due + MILLISECOND
    due = clock.promise(clock.now + SECOND)
    assert clock.turn(due + MILLISECOND + 1, 0) == MILLISECOND + 1
    assert clock.now == due
