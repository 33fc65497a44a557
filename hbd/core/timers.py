"""Deadlines of many things in one heap."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count


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
    is put in its new place when it comes up.
    """

    __slots__ = ("_heap", "_ties")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._ties = count()

    def schedule(self, timer: Timer) -> None:
        """Take note that the timer's deadline has changed."""
        deadline = timer.deadline
        if deadline is not None and (timer.scheduled is None or deadline < timer.scheduled):
            timer.scheduled = deadline
            heappush(self._heap, (deadline, next(self._ties), timer))

    def first(self) -> int | None:
        """Give the earliest deadline, or an earlier moment at which there may be nothing to do."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: int) -> Timer | None:
        """Take out one timer whose deadline has come."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, timer = heappop(heap)
            if at != timer.scheduled:
                continue
            timer.scheduled = None
            if timer.deadline is not None and timer.deadline <= now:
                return timer
            self.schedule(timer)
        return None
