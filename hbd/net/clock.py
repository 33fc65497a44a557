"""Where the daemon's loop reads its clocks; `batch` also notes when datagrams left. Nanoseconds."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from hbd.core.model import MICROSECOND, SECOND

SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
"""Made by systemd-timesyncd once it has set the clock, gone when it stops.

adjtimex(2) would know of chrony too, but ProtectClock= and SystemCallFilter=@system-service
both forbid it; and it is no one's verdict: it only fills the error estimate of RFC 8762 4.2.1.
"""

ROOT_DISTANCE_MAX: Final = 5 * SECOND
"""timesyncd.conf(5): RootDistanceMaxSec=, the worst server that is followed."""

UNSYNCHRONISED_ERROR: Final = 16 * SECOND
"""The kernel's own bound of a clock that nobody sets (linux/timex.h NTP_PHASE_LIMIT)."""

MOMENT: Final = 10 * MICROSECOND
"""A look at a clock takes a fiftieth of that;"""
LOOKS: Final = 5
"""and the last look counts, however long it takes."""


class Clock:
    """The machine's clocks."""

    def __init__(self, synchronised: Path = SYNCHRONISED) -> None:
        self._synchronised = synchronised

    def now(self) -> int:
        """Monotonic time; stands still while the machine is suspended."""
        return time.monotonic_ns()

    def wall(self) -> int:
        """Nanoseconds since 1970, as the kernel's receive stamps: it may step."""
        return time.time_ns()

    def both(self) -> tuple[int, int]:
        """Monotonic time and the wall clock of one moment.

        Where we were stopped between the looks, it would be two: then we look again.
        """
        for _ in range(LOOKS):
            now, wall = time.monotonic_ns(), time.time_ns()
            if time.monotonic_ns() - now < MOMENT:
                break
        return now, wall

    def boottime_gap(self) -> int:
        """BOOTTIME minus MONOTONIC: grows by the length of each suspend, else by noise only."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()

    def synchronised(self) -> tuple[bool, int]:
        """Whether the wall clock follows a reference, and the most it may be wrong by."""
        if os.access(self._synchronised, os.F_OK):
            return True, ROOT_DISTANCE_MAX
        return False, UNSYNCHRONISED_ERROR
