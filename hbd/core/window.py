"""The last 100 heartbeats of a path: which were answered, how fast, and which were counted."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.directions import ANNULLED, LOST, MODULUS
from hbd.core.model import MICROSECOND, WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST: Final = 2**24 - 2
"""Microseconds that a slot can hold, 16.8 s: what takes longer is not more exact.

The eight bits above them hold how many heartbeats up to it the reflector has not counted.
"""
_RTT: Final = 2**24 - 1
_COUNT: Final = 24
_ANNULLED: Final = 2**32 - 1
_EMPTY: Final = array("I", [0] * WINDOW)


class Sample(NamedTuple):
    """What the last 100 heartbeats came to."""

    rtts: list[int]
    """Of those that were answered, in microseconds, the shortest first."""
    unanswered: int
    """How many have no reply, those still in question included."""
    measured: int
    """How many show something: all but those that were annulled."""


class Window:
    """RTTs by sequence number. Four octets a heartbeat: there may be 65,535 windows."""

    __slots__ = ("_first", "_next", "is_counted", "slots")

    def __init__(self) -> None:
        self.slots: Final = _EMPTY[:]
        self.is_counted = False
        """Whether the reflector is known to count."""
        self._first = 0
        self._next = 0

    def restart(self, sequence: int) -> None:
        """Begin empty but for this heartbeat and those after it."""
        self._first = sequence

    def sent(self, sequence: int) -> None:
        self.slots[sequence % WINDOW] = 0
        self._next = sequence + 1

    def answered(self, sequence: int, rtt: int, uncounted: int | None = None) -> None:
        """Note a reply after `rtt` nanoseconds; to a heartbeat that has left it changes nothing.

        `uncounted` as in session.Answer.
        """
        if not self._next - WINDOW <= sequence < self._next:
            return
        short = min(max(rtt // MICROSECOND, 1), LONGEST)
        self.is_counted = uncounted is not None  # if all others had 0, it was not known before
        self.slots[sequence % WINDOW] = (uncounted or 0) % MODULUS << _COUNT | short

    def go_on(self, following: int) -> None:
        """The slots have been filled up to the heartbeat before this one."""
        self._next = following

    def annulled(self, sequence: int) -> None:
        """Hold a heartbeat of the last 100 against nobody."""
        self.slots[sequence % WINDOW] = _ANNULLED

    def was_answered(self, sequence: int) -> bool:
        """Whether the heartbeat is one of the last 100 and no reply to it is awaited any more."""
        recent = self._next - WINDOW <= sequence < self._next
        return recent and self.slots[sequence % WINDOW] != 0

    def __len__(self) -> int:
        return min(self._next - self._first, WINDOW)

    @property
    def is_full(self) -> bool:
        return self._next - self._first >= WINDOW

    def measured(self) -> int:
        """How many heartbeats show something: all but those that were annulled."""
        return self.counts()[1]

    def unanswered(self) -> int:
        """How many heartbeats have no reply, those still in question included."""
        return self.counts()[0]

    def counts(self) -> tuple[int, int]:
        """How many are unanswered, and how many are measured."""
        slots = self._known()
        return slots.count(0), len(slots) - slots.count(_ANNULLED)

    def rtts(self, last: int = WINDOW) -> list[int]:
        """RTTs in nanoseconds of the last so many heartbeats that were answered, oldest first."""
        rtts = [slot & _RTT for slot in self._ordered() if 0 < slot < _ANNULLED]
        return [rtt * MICROSECOND for rtt in rtts[-last:]]

    def sample(self) -> Sample:
        """Give all that is told of it, for less than it costs piece by piece."""
        slots = sorted(self._known())
        if slots and 0 < slots[0] <= slots[-1] <= _RTT:
            return Sample(slots, 0, len(slots))  # nearly always: all answered, and all counted
        unanswered, measured = bisect_left(slots, 1), bisect_left(slots, _ANNULLED)
        rtts = slots[unanswered:measured]
        if rtts and rtts[-1] > _RTT:
            rtts = sorted(slot & _RTT for slot in rtts)
        return Sample(rtts, unanswered, measured)

    def last_rtt(self) -> int | None:
        """Give that of the last heartbeat that was answered, nanoseconds."""
        for sequence in range(self._next - 1, max(self._first, self._next - WINDOW) - 1, -1):
            slot = self.slots[sequence % WINDOW]
            if 0 < slot < _ANNULLED:
                return (slot & _RTT) * MICROSECOND
        return None

    def rtt(self, sequence: int) -> int:
        """Give that of one of the last 100 heartbeats, which was answered."""
        return (self.slots[sequence % WINDOW] & _RTT) * MICROSECOND

    def recent(self, slow: int, waiting: int) -> str:
        """Tell what the last 100 heartbeats came to, the oldest first, in one letter each.

        `.` answered, `s` answered after more than `slow` nanoseconds, `x` not answered, `-` held
        against nobody. The last `waiting` of those without a reply may still get it: they are left
        out. Those from before it began anew are not: a reader wants to see the outage that ended.
        """
        limit = slow // MICROSECOND
        text = "".join(
            [
                "x"
                if not slot
                else "-"
                if slot == _ANNULLED
                else "s"
                if slot & _RTT > limit
                else "."
                for slot in self._since(max(0, self._next - WINDOW))
            ]
        )
        for _ in range(waiting):
            before, _, after = text.rpartition("x")
            text = before + after
        return text

    def fates(self) -> Iterator[int]:
        """Tell what became of each heartbeat, as directions.split reads it; oldest first."""
        for slot in self._ordered():
            yield LOST if slot == 0 else ANNULLED if slot == _ANNULLED else slot >> _COUNT

    def _known(self) -> list[int]:
        """Give the slots that say something, in any order."""
        return self.slots.tolist() if self.is_full else self._ordered()

    def _ordered(self) -> list[int]:
        return self._since(max(self._first, self._next - WINDOW))

    def _since(self, first: int) -> list[int]:
        start = first % WINDOW
        return (self.slots[start:] + self.slots[:start]).tolist()[: self._next - first]


def fill(slots: array[int], sequence: int, fates: Sequence[int]) -> None:
    """Write slots of heartbeats that were sent one after the other, from this one on."""
    at = sequence % WINDOW
    room = WINDOW - at
    written = array("I", fates)
    slots[at : at + len(fates)] = written[:room]
    slots[: max(len(fates) - room, 0)] = written[room:]
