"""When each of many datagrams leaves, as far as can be known before."""

from __future__ import annotations

from hbd.core.model import MICROSECOND


class Pen:
    """How long it takes to write and to send many: each is to say when it leaves."""

    def __init__(self) -> None:
        self.lead = self.step = 0
        """From the first to be written to the first that leaves; from each to the next."""

    def measure(self, writing: int, sending: int, count: int) -> None:
        """Learn from so many, written and sent in so long: one exception tells nothing."""
        self.lead += (min(writing, 2 * self.lead + MICROSECOND * count) - self.lead) // 8
        step = sending // count
        self.step += (min(step, 2 * self.step + MICROSECOND) - self.step) // 8
