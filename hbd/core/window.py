"""The last 100 heartbeats of a path: which were answered, how fast, and which were counted."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from hbd.core.directions import ANNULLED, LOST, MODULUS
from hbd.core.model import WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

MICROSECOND: Final = 1_000
_LONGEST: Final = 2**32 - 2  # microseconds that a slot can hold: 71 minutes
_ANNULLED: Final = 2**32 - 1
_EMPTY: Final = array("I", [0] * WINDOW)


class Window:
    """RTTs by sequence number. Four octets a heartbeat: there may be 65,535 windows.

    And one more octet for each, of what the reflector has not counted, once it is known to count.
    """

    __slots__ = ("_first", "_next", "_slots", "_uncounted")

    def __init__(self) -> None:
        self._slots = _EMPTY[:]
        self._uncounted: bytearray | None = None
        self._first = 0
        self._next = 0

    def restart(self, sequence: int) -> None:
        """Begin empty but for this heartbeat and those after it."""
        self._first = sequence

    def sent(self, sequence: int) -> None:
        self._slots[sequence % WINDOW] = 0
        self._next = sequence + 1

    def answered(self, sequence: int, rtt: int, uncounted: int | None = None) -> None:
        """Note a reply after `rtt` nanoseconds; to a heartbeat that has left it changes nothing.

        `uncounted` as in session.Answer.
        """
        if not self._next - WINDOW <= sequence < self._next:
            return
        self._slots[sequence % WINDOW] = min(max(rtt // MICROSECOND, 1), _LONGEST)
        if uncounted is None:
            self._uncounted = None
            return
        if self._uncounted is None:  # all others had 0: else it would be known already
            self._uncounted = bytearray(WINDOW)
        self._uncounted[sequence % WINDOW] = uncounted % MODULUS

    def annulled(self, sequence: int) -> None:
        """Hold a heartbeat of the last 100 against nobody."""
        self._slots[sequence % WINDOW] = _ANNULLED

    def was_answered(self, sequence: int) -> bool:
        """Whether the heartbeat is one of the last 100 and no reply to it is awaited any more."""
        recent = self._next - WINDOW <= sequence < self._next
        return recent and self._slots[sequence % WINDOW] != 0

    def __len__(self) -> int:
        return min(self._next - self._first, WINDOW)

    @property
    def is_full(self) -> bool:
        return self._next - self._first >= WINDOW

    def measured(self) -> int:
        """How many heartbeats show something: all but those that were annulled."""
        if self.is_full:
            return WINDOW - self._slots.count(_ANNULLED)
        return sum(1 for rtt in self._ordered() if rtt != _ANNULLED)

    def unanswered(self) -> int:
        """How many heartbeats have no reply, those still in question included."""
        if self.is_full:
            return self._slots.count(0)
        return sum(1 for rtt in self._ordered() if rtt == 0)

    def rtts(self, last: int = WINDOW) -> list[int]:
        """RTTs in nanoseconds of the last so many heartbeats that were answered, oldest first."""
        return [rtt * MICROSECOND for rtt in self._ordered() if 0 < rtt < _ANNULLED][-last:]

    def fates(self) -> Iterator[int] | None:
        """Tell what became of each heartbeat, as directions.split reads it; oldest first.

        None where the reflector is not known to count.
        """
        if self._uncounted is None:
            return None
        start = self._start
        uncounted = self._uncounted[start:] + self._uncounted[:start]
        return (
            LOST if rtt == 0 else ANNULLED if rtt == _ANNULLED else count
            for rtt, count in zip(self._ordered(), uncounted, strict=False)
        )

    def _ordered(self) -> list[int]:
        start = self._start
        return (self._slots[start:] + self._slots[:start]).tolist()[: len(self)]

    @property
    def _start(self) -> int:
        return max(self._first, self._next - WINDOW) % WINDOW
