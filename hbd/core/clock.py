"""The fleet's own clock: it stands still while we are late.

Nothing was asked while we did not run, so nothing was owed: every deadline moves by our lateness,
and no burst of late heartbeats follows. One clock that does not count our lateness does both.
"""

from __future__ import annotations


class Clock:
    """Monotonic time less all lateness, in nanoseconds.

    Turns are never closer than a tick, and lateness within a tick is not counted: a timer is not
    more exact than that, and what is due within one is done in one turn.
    """

    __slots__ = ("_lag", "_lag_before", "_promised", "_tick", "now", "real", "wall")

    def __init__(self, real: int, wall: int, tick: int = 0) -> None:
        self.real = real
        """Monotonic time of this turn."""
        self.wall = wall
        """Wall clock of this turn; for people only."""
        self.now = real
        """Our own time of this turn."""
        self._tick = tick
        self._lag = self._lag_before = 0
        self._promised: int | None = None

    def turn(self, real: int, wall: int) -> int:
        """Begin a turn of the loop; give how late it is."""
        late = 0 if self._promised is None else real - self._promised
        late = late if late > self._tick else 0
        self._promised = None
        self._lag_before = self._lag
        self._lag += late
        self.real = real
        self.wall = wall
        self.now = real - self._lag
        return late

    def skip(self, real: int, wall: int) -> None:
        """Let time pass that does not count: nothing was asked yet when we were starting."""
        self._lag += real - self.real
        self._lag_before = self._lag
        self.real = real
        self.wall = wall

    def at(self, real: int) -> int:
        """Our own time of a moment since the last turn; at the most now."""
        return min(real - self._lag_before, self.now)

    def wall_at(self, real: int) -> int:
        return self.wall - (self.real - real)

    def promise(self, deadline: int | None) -> int | None:
        """Say when the next turn is due, monotonic; never sooner than a tick from this one."""
        if deadline is None:
            self._promised = None
        else:
            self._promised = max(deadline + self._lag, self.real + max(self._tick, 1))
        return self._promised
