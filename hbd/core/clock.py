"""The fleet's own clock: it stands still while we do not run.

Nothing was asked while we did not run, so nothing was owed: every deadline moves by a stall, and
no burst of late heartbeats follows. One clock that does not count stalls does both. Lateness below
that is no stall: time to send goes on in it, or the more we had to do the less we would send. It is
added up, and the deadlines of heartbeats in question move by it (`Timers`); but for what our own
work may have taken, for then we ran: nobody else's fault looks like that.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from hbd.core.model import MILLISECOND, SECOND

STALL: Final = 100 * MILLISECOND
"""From this lateness on we did not run, and an entry says so."""

KEPT: Final = 64
"""So many stalls are remembered: what came before them is often looked at long after."""

SPAN: Final = 10 * SECOND
"""Lateness is added up over so long;"""
OVERLOAD: Final = 0.1
"""and above this share of it told, where it was made of many small pieces,"""
OVERLOAD_SPACING: Final = 60 * SECOND
"""no more often than so."""

WORK: Final = MILLISECOND // 10
"""What is done for one path in a turn, or told of it, takes so long if nothing is in the way."""
ALIKE: Final = 16
"""For so many of a volley it takes as long."""


class _Stall(NamedTuple):
    until: int
    """Monotonic."""
    lag: int
    """Of all stalls before."""
    stood_at: int
    """Our own time meanwhile."""


class Clock:
    """Monotonic time less all stalls, in nanoseconds.

    Turns are never closer than a tick, and lateness within a tick is not counted: a timer is not
    more exact than that, and what is due within one is done in one turn.
    """

    __slots__ = ("_lag", "_promised", "_stalls", "_tick", "lateness", "now", "real", "wall")

    def __init__(self, real: int, wall: int, tick: int = 0) -> None:
        self.real = real
        """Monotonic time of this turn."""
        self.wall = wall
        """Wall clock of this turn; for people only."""
        self.now = real
        """Our own time of this turn."""
        self.lateness = 0
        """All lateness that was no stall, and not our own work: our own time went on in it."""
        self._tick = tick
        self._lag = 0
        self._stalls = deque([_Stall(real, 0, real)], KEPT)
        self._promised: int | None = None

    def turn(self, real: int, wall: int, busy_until: int = 0) -> int:
        """Begin a turn of the loop; give how late it is.

        `busy_until`: how long the work of the last one may have gone on. Until then we ran, and so
        did who receives for us: nobody is owed anything for it.
        """
        work = 0 if self._promised is None else max(busy_until - self._promised, 0)
        late = 0 if self._promised is None else real - self._promised
        late = late if late > self._tick else 0
        self._promised = None
        if late >= STALL:
            self._stalls.append(_Stall(real, self._lag, real - self._lag - late))
            self._lag += late
        else:
            self.lateness += max(late - work, 0)
        self.real = real
        self.wall = wall
        self.now = real - self._lag
        return late

    def skip(self, real: int, wall: int) -> None:
        """Let time pass that does not count: nothing was asked yet when we were starting."""
        self._stalls.append(_Stall(real, self._lag, self.now))
        self._lag += real - self.real
        self.real = real
        self.wall = wall

    def at(self, real: int) -> int:
        """Our own time of a moment; at the most now."""
        lag, stood_at = self._lag, self.now
        for stall in reversed(self._stalls):
            if real > stall.until:
                break
            _, lag, stood_at = stall
        return min(real - lag, stood_at)

    def moment(self, deadline: int | None) -> int | None:
        """Give when that is, monotonic; never sooner than a tick from this turn."""
        if deadline is None:
            return None
        return max(deadline + self._lag, self.real + max(self._tick, 1))

    def promise(self, deadline: int | None) -> int | None:
        """Say when the next turn is due, and give that: from then on it is late."""
        self._promised = self.moment(deadline)
        return self._promised


class Lag:
    """How much time our lateness has cost in the last 10 to 20 seconds."""

    __slots__ = ("_before", "_begin", "_late", "_late_before", "_small", "_told", "_untold")

    def __init__(self, real: int) -> None:
        self._begin = self._before = real
        """When this span began, and the one before."""
        self._late = self._late_before = 0
        self._small = 0
        """Of it, in pieces that are no stalls."""
        self._untold = 0
        """In such pieces since the last entry, or since all was well."""
        self._told = real - OVERLOAD_SPACING

    def add(self, real: int, late: int) -> int:
        """Count the lateness of a turn; give what is to be told of many small pieces, or 0."""
        self._late += late
        self._small += late if late < STALL else 0
        span = real - self._begin
        if span < SPAN:
            return 0
        is_overload = self._small > OVERLOAD * span
        self._untold = self._untold + self._small if is_overload else 0
        self._before, self._late_before = self._begin, self._late
        self._begin, self._late, self._small = real, 0, 0
        if not is_overload or real - self._told < OVERLOAD_SPACING:
            return 0
        self._told = real
        lost, self._untold = self._untold, 0
        return lost

    def share(self, real: int) -> float:
        """Give the share of that time, 0 to 1."""
        return (self._late_before + self._late) / max(real - self._before, SPAN)


class Work:
    """How much was done in this turn, and how long that may have taken: no lateness of ours."""

    __slots__ = ("busy_until", "done")

    def __init__(self) -> None:
        self.done = 0
        """How many things, for a path or by what it was told of,"""
        self.busy_until = 0
        """and until when that may have gone on, monotonic."""

    def begin(self) -> None:
        """Another turn begins."""
        self.done = self.busy_until = 0

    def end(self, began: int, ended: int) -> None:
        """All of the turn that began at this moment was done by that one.

        No more than what was done can have taken, for we may have been stopped meanwhile; and no
        more than it took, for anybody can send us what is done with in no time.
        """
        self.busy_until = min(began + self.done * WORK, ended)
