"""How rounds end, counted for the advisor: with nothing missed, with one heartbeat, and so on."""

from __future__ import annotations


class Rounds:
    """Of one path while it is up, with one timeout and one number of retries."""

    __slots__ = ("_ended", "clean", "has_failed", "overdue")

    def __init__(self) -> None:
        self.clean = 0
        """How many ended with no heartbeat missed,"""
        self._ended: tuple[int, ...] = ()
        """and with one missed, with two, and so on."""
        self.overdue = 0
        """How many of those missed were answered after all."""
        self.has_failed = False
        """Whether in the last round all was missed, and it may have been loss for all we know."""

    @property
    def ended(self) -> list[int]:
        """How many ended with no heartbeat missed, with one missed, and so on."""
        return [self.clean, *self._ended]

    def end(self, missed: int) -> None:
        """A reply ended a round after so many heartbeats were missed."""
        ended = self.ended + [0] * (missed - len(self._ended))
        ended[missed] += 1
        self.clean, *others = ended
        self._ended = tuple(others)
        self.has_failed = False
