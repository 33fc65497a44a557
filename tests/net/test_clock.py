import time

from hbd.core.model import SECOND
from hbd.net.clock import Clock


def test_time_is_in_nanoseconds():
    """now() is the monotonic clock and wall() the time of day, both in nanoseconds."""
    clock = Clock()
    before, since = time.monotonic_ns(), time.time_ns()
    now, wall = clock.now(), clock.wall()
    assert before <= now <= time.monotonic_ns()
    assert since <= wall <= time.time_ns()


def test_the_gap_of_a_suspend_stands_still_while_awake():
    """BOOTTIME minus MONOTONIC does not move, but by the time between two readings."""
    clock = Clock()
    assert abs(clock.boottime_gap() - clock.boottime_gap()) < SECOND // 10
    assert clock.boottime_gap() > -SECOND // 10


def test_a_clock_is_synchronised_when_timesyncd_says_so(tmp_path):
    """The mark of systemd-timesyncd sets S; without it the error is the kernel's worst."""
    mark = tmp_path / "synchronized"
    clock = Clock(mark)
    assert clock.synchronised() == (False, 16 * SECOND)
    mark.touch()
    assert clock.synchronised() == (True, 5 * SECOND)
