"""How rounds end, counted for the advisor: with nothing missed, with one heartbeat, and so on."""

from __future__ import annotations


class Rounds:
    """Of one path while it is up, with one timeout and one number of retries."""

    __slots__ = ("ended", "has_failed", "overdue")

    def __init__(self) -> None:
        self.ended = [0]
        """How many ended with no heartbeat missed, with one missed, and so on."""
        self.overdue = 0
        """How many of those missed were answered after all."""
        self.has_failed = False
        """Whether in the last round all was missed, and it may have been loss for all we know."""

    def end(self, missed: int) -> None:
        """A reply ended a round after so many heartbeats were missed."""
        if missed >= len(self.ended):
            self.ended += [0] * (missed + 1 - len(self.ended))
        self.ended[missed] += 1
        self.has_failed = False
