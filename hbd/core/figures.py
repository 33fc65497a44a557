"""What is counted and measured on a path, and whether that is over a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.directions import split
from hbd.core.model import WINDOW
from hbd.core.window import Window

if TYPE_CHECKING:
    from hbd.core.directions import Directions
    from hbd.core.model import Limits

RTTS_FOR_SLOW: Final = 20
"""`slow` is judged by the median of so many RTTs."""


class Counts(NamedTuple):
    """Heartbeats and replies."""

    sent: int = 0
    received: int = 0
    late: int = 0
    duplicate: int = 0

    def plus(self, figures: Figures) -> Counts:
        """Give them with those of a path."""
        return Counts(
            self.sent + figures.sent,
            self.received + figures.received,
            self.late + figures.late,
            self.duplicate + figures.duplicate,
        )


NOTHING: Final = Counts()
"""What peers that have lost no path have together."""


class Figures:
    """Counters since the path is watched; loss and RTT of its last 100 heartbeats.

    `waiting` is how many of the unanswered ones may still be answered in time.
    """

    __slots__ = ("duplicate", "late", "lossy", "received", "sent", "slow", "tight", "window")

    def __init__(self) -> None:
        self.window = Window()
        self.sent = self.received = self.late = self.duplicate = 0
        self.lossy = self.slow = False
        self.tight = False
        """Replies come, but always after the timeout."""

    def loss(self, waiting: int) -> float | None:
        """The lost of the last 100 heartbeats, a fraction; None before the first is decided."""
        unanswered, measured = self.window.counts()
        return (unanswered - waiting) / (measured - waiting) if measured > waiting else None

    def directions(self, waiting: int) -> Directions | None:
        """Tell loss on the way there from loss on the way back; None where that is not known."""
        return self.split(self.window.unanswered() - waiting)

    def split(self, lost: int) -> Directions | None:
        """Do so where it is known that so many were lost."""
        window = self.window
        return split(window.fates(), lost) if window.is_counted else None

    @property
    def p99_rtt(self) -> int | None:
        """Of those of the last 100 that were answered."""
        rtts = sorted(self.window.rtts())
        return rtts[-1 - len(rtts) // 100] if rtts else None

    @property
    def median_rtt(self) -> int | None:
        """Of the last 20 that were answered; None of fewer."""
        rtts = self.window.rtts(RTTS_FOR_SLOW)
        return sorted(rtts)[RTTS_FOR_SLOW // 2] if len(rtts) == RTTS_FOR_SLOW else None

    def weigh(self, limits: Limits, waiting: int) -> bool:
        """Judge loss and RTT by the limits; tell whether that verdict is another."""
        before = self.lossy, self.slow
        if limits.max_loss is not None:
            self.lossy = self._is_lossy(limits.max_loss, waiting)
        if limits.max_rtt is not None:
            self.slow = self._is_above(limits.max_rtt, was=self.slow)
        return before != (self.lossy, self.slow)

    def weigh_timeout(self, timeout: int) -> bool:
        """Judge whether replies are in time; tell whether that verdict is another."""
        before, self.tight = self.tight, self._is_above(timeout, was=self.tight)
        return before is not self.tight

    def are_calm(self, limits: Limits) -> bool:
        """Whether nothing can go over a limit while all is answered, and within `max_rtt`."""
        if self.tight or self.lossy or self.slow:
            return False
        if limits.max_rtt is None:
            return True
        # Of fewer RTTs than tell the next one may show that they were above it.
        rtts = self.window.rtts(RTTS_FOR_SLOW)
        return len(rtts) == RTTS_FOR_SLOW or max(rtts, default=0) <= limits.max_rtt

    def _is_lossy(self, limit: float, waiting: int) -> bool:
        # Against a full window even where it is not full yet: one of the first three is no alarm.
        lost = (self.window.unanswered() - waiting) / WINDOW
        if not self.lossy:
            return lost > limit
        return not self.window.is_full or lost >= limit / 2

    def _is_above(self, limit: int, *, was: bool) -> bool:
        median = self.median_rtt
        return was if median is None else median > (limit * 4 // 5 if was else limit)

    def adopt(self, limits: Limits, timeout: int) -> None:
        """Without a limit nothing is over it, and a longer timeout may do."""
        self.tight = self.tight and self._is_above(timeout, was=True)
        self.lossy = self.lossy and limits.max_loss is not None
        self.slow = self.slow and limits.max_rtt is not None
