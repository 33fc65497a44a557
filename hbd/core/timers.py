"""Deadlines of many things in one heap."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

SPARE: Final = 64
"""So many entries more than twice the timers there are may stand in the heap."""


class Timer:
    """Something with a deadline of its own; None is never."""

    __slots__ = ("deadline", "scheduled")

    def __init__(self) -> None:
        self.deadline: int | None = None
        self.scheduled: int | None = None
        """Where it stands in the heap; owned by Timers."""


class Timers:
    """A heap that is touched only when a deadline moves closer or has come.

    Most deadlines move away (a reply puts off the next heartbeat): the entry stays where it is and
    is put in its new place when it comes up. One that moves closer leaves an entry behind; before
    they are more than half of the heap, they are swept out.
    """

    __slots__ = ("_heap", "_left_behind", "_ties")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._left_behind = 0
        self._ties = count()

    def __len__(self) -> int:
        """How many entries there are, those left behind included."""
        return len(self._heap)

    def schedule(self, timer: Timer) -> None:
        """Take note that the timer's deadline has changed."""
        deadline = timer.deadline
        if deadline is not None and (timer.scheduled is None or deadline < timer.scheduled):
            if timer.scheduled is not None:
                self._left_behind += 1
            timer.scheduled = deadline
            heappush(self._heap, (deadline, next(self._ties), timer))
            if 2 * self._left_behind > len(self._heap) + SPARE:
                self._sweep()

    def _sweep(self) -> None:
        standing = {timer: at for at, _, timer in self._heap if at == timer.scheduled}
        self._heap = [(at, next(self._ties), timer) for timer, at in standing.items()]
        heapify(self._heap)
        self._left_behind = 0

    def first(self) -> int | None:
        """Give the earliest deadline, or an earlier moment at which there may be nothing to do."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: int) -> Timer | None:
        """Take out one timer whose deadline has come."""
        while self._heap and self._heap[0][0] <= now:
            at, _, timer = heappop(self._heap)
            if at != timer.scheduled:
                self._left_behind -= 1
                continue
            timer.scheduled = None
            if timer.deadline is not None and timer.deadline <= now:
                return timer
            self.schedule(timer)
        return None
