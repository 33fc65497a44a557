"""Deadlines of many things, in two heaps."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

SPARE: Final = 64
"""So many entries more than twice the timers there are may stand in the heaps."""


class Timer:
    """Something with a deadline of its own; None is never."""

    __slots__ = ("deadline", "scheduled", "stands_in")

    is_elsewhere = False
    """Whether another timer stands for it."""

    def __init__(self) -> None:
        self.deadline: int | None = None
        self.scheduled: int | None = None
        """Where it stands in a heap; owned by Timers."""
        self.stands_in: Heap | None = None
        """In which; owned by Timers."""

    @property
    def owed_from(self) -> int | None:
        """All our lateness when its deadline was set; None: what comes after does not move it."""
        return None


Entry = tuple[int, int, Timer]
Heap = list[Entry]


class Timers:
    """Heaps that are touched only when a deadline moves closer or has come.

    Most deadlines move away: the entry stays where it is and is put in its new place when it comes
    up. One that moves closer leaves an entry behind; before they are more than half, they are swept
    out. What is owed to us stands in a heap of its own, by a time that stands still while we are
    late: the more we had to do, the more of those deadlines would have to be moved.
    """

    __slots__ = ("_left_behind", "_owed", "_own", "_ties")

    def __init__(self) -> None:
        self._own: Heap = []
        self._owed: Heap = []
        self._left_behind = 0
        self._ties = count()

    def __len__(self) -> int:
        """How many entries there are, those left behind included."""
        return len(self._own) + len(self._owed)

    def schedule(self, timer: Timer) -> None:
        """Take note that the timer's deadline has changed."""
        deadline = timer.deadline
        if deadline is None:
            return
        heap, at = self._place(timer, deadline)
        is_elsewhere = timer.scheduled is not None
        if timer.scheduled is not None and timer.scheduled <= at and timer.stands_in is heap:
            return
        timer.scheduled, timer.stands_in = at, heap
        heappush(heap, (at, next(self._ties), timer))
        if is_elsewhere:
            self._left_behind += 1
            self._tidy()

    def forget(self, timer: Timer) -> None:
        """Take note that the timer is gone for good: its deadline may have been hours away."""
        timer.deadline = None
        if timer.scheduled is not None:
            timer.scheduled = timer.stands_in = None
            self._left_behind += 1
            self._tidy()

    def _tidy(self) -> None:
        if 2 * self._left_behind > len(self) + SPARE:
            self._sweep()

    def _place(self, timer: Timer, deadline: int) -> tuple[Heap, int]:
        since = timer.owed_from
        return (self._own, deadline) if since is None else (self._owed, deadline - since)

    def _sweep(self) -> None:
        for heap in (self._own, self._owed):
            heap[:] = {entry[2]: entry for entry in heap if _stands(heap, entry)}.values()
            heapify(heap)
        self._left_behind = 0

    def first(self, lateness: int = 0) -> int | None:
        """Give the earliest deadline; `lateness`: all of ours so far."""
        owed = self.first_owed(lateness)
        own = self._own[0][0] if self._own else None
        return owed if own is None else own if owed is None else min(own, owed)

    def first_owed(self, lateness: int = 0) -> int | None:
        """Give the earliest of those that are owed to us."""
        for heap in (self._own, self._owed):
            while heap and not self._is_due(heap, heap[0]):
                self._move(heap)
        return self._owed[0][0] + lateness if self._owed else None

    def due(self, now: int, lateness: int = 0) -> Timer | None:
        """Take out one timer whose deadline has come; `lateness`: all of ours so far."""
        own, owed = (self._own, now), (self._owed, now - lateness)
        if self._owed and self._own and self._owed[0][0] + lateness < self._own[0][0]:
            # The earlier first: with more to do than can be done none waits for ever.
            return self._due(*owed) or self._due(*own)
        return self._due(*own) or self._due(*owed)

    def _due(self, heap: Heap, moment: int) -> Timer | None:
        while heap and heap[0][0] <= moment:
            if self._is_due(heap, heap[0]):
                timer = heappop(heap)[2]
                timer.scheduled = timer.stands_in = None
                return timer
            self._move(heap)
        return None

    def _is_due(self, heap: Heap, entry: Entry) -> bool:
        """Whether an entry stands where its timer's deadline is, or that is closer even."""
        at, _, timer = entry
        if timer.is_elsewhere or timer.deadline is None or not _stands(heap, entry):
            return False
        place, moment = self._place(timer, timer.deadline)
        return place is heap and moment <= at

    def _move(self, heap: Heap) -> None:
        """Put the first entry where its timer's deadline is now, if it has one."""
        entry = heappop(heap)
        if not _stands(heap, entry):
            self._left_behind -= 1
            return
        timer = entry[2]
        timer.scheduled = timer.stands_in = None
        if not timer.is_elsewhere:
            self.schedule(timer)


def _stands(heap: Heap, entry: Entry) -> bool:
    """Whether an entry is not one that was left behind."""
    at, _, timer = entry
    return timer.stands_in is heap and timer.scheduled == at
