"""What a timing is good for: how many false DOWN a day, and how few retries would do.

A path that is asked is down when all of a round was missed. Three chances tell how often that is:
that the first heartbeat of a round is missed, that the second is where the first was, and that any
later one is where the one before it was. Where loss is independent all three are the same; where it
comes in bursts the later ones are greater, and where a little of both comes together the last is
the greatest. Deeper than that a burst is as likely to go on as it was before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import JITTER, MOST_RETRIES, SECOND
from hbd.core.spans import roomy

if TYPE_CHECKING:
    from hbd.core.model import Timing

DAY: Final = 86_400 * SECOND
ONE_A_YEAR: Final = 1 / 365
"""So many false DOWN a day nobody minds."""

ENOUGH_MISSED: Final = 10
ENOUGH_ROUNDS: Final = 10_000
"""Of fewer rounds with fewer misses nothing is concluded: what follows is worth as little."""

DOUBT: Final = 10
"""So many imagined heartbeats, missed as often as the one before: two in a row are no burst yet."""

MOSTLY: Final = 0.5
"""From this share of late replies among what was missed on it is the timeout that is to blame."""


class Chances(NamedTuple):
    """That a heartbeat is missed: the first of a round, the second, and any after these."""

    first: float
    second: float
    further: float

    def fail(self, retries: int) -> float:
        """That a round fails: all of it is missed."""
        if retries == 0:
            return self.first
        return self.first * self.second * self.further ** (retries - 1)


ORDINARY: Final = Chances(0.001, 0.001, 0.001)
"""Assumed where nothing is measured: one round trip in a thousand, independent of each other.

Modest on purpose: with one per cent the usual three retries every 200 ms would be called unsafe.
What is unsafe at one in a thousand, retries of 0 or 1 at most intervals, is so on any network.
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a path has shown of itself while it was up, with one timeout and number of retries."""

    timeout: int
    retries: int
    rounds: tuple[int, ...]
    """How many ended with no heartbeat missed, with one missed, and so on."""
    overdue: int = 0
    """How many of those missed were answered after all."""
    slowest: int | None = None
    """The greatest RTT of late, nanoseconds."""

    @property
    def is_enough(self) -> bool:
        """Whether anything can be concluded from it."""
        return self.at_least(1) >= ENOUGH_MISSED or self.at_least(0) >= ENOUGH_ROUNDS

    def at_least(self, missed: int) -> int:
        """Give the number of rounds in which so many heartbeats were missed, or more."""
        return sum(self.rounds[missed:])

    @property
    def late(self) -> float:
        """The share of what was missed that came after all; never quite everything."""
        missed = sum(missed * rounds for missed, rounds in enumerate(self.rounds))
        return min(self.overdue, missed) / (missed + 1)

    def chances(self, timeout: int) -> Chances:
        """Give the chances with that timeout.

        With a longer one that even the slowest reply meets, none is late. With a shorter one more
        of a burst is met than this tells.
        """
        lost = 1 - self.late
        first = (self.at_least(1) + 0.5) / (self.at_least(0) + 1)
        # Loss does not avoid whom it has just hit. What is late does: it ends the round, and then
        # only what was lost at first can be missed twice.
        least = first * lost
        second = max(self._chance(range(1, 2), least * lost), least * lost)
        further = max(self._chance(range(2, self.retries + 1), second), least)
        is_longer = self.slowest is not None and timeout > max(self.timeout, self.slowest)
        return Chances(least if is_longer else first, second, further)

    def _chance(self, before: range, expected: float) -> float:
        """That one more is missed where so many were; near `expected` where few are counted."""
        asked = sum(self.at_least(missed) for missed in before)
        missed = sum(self.at_least(missed + 1) for missed in before)
        return (missed + DOUBT * expected) / (asked + DOUBT)


class Advice(NamedTuple):
    """What to expect of a timing, and a better one."""

    expected: float
    """False DOWN a day."""
    better: Timing | None
    """The smallest that expects no more than one a year; None where none does."""
    then: float
    """What that one expects, a day."""


def false_downs_a_day(chances: Chances, timing: Timing) -> float:
    """How many a path is good for.

    A round begins an interval after the last, less half of the jitter; after one that has failed
    the path has to be probed and to rise first.
    """
    fails = chances.fail(timing.retries)
    apart = (1 - JITTER / 2) * timing.interval
    return DAY * fails / (apart + fails * (timing.probe + timing.rise * timing.timeout))


def advise(timing: Timing, measured: Measured | None = None) -> Advice | None:
    """Give advice on a timing that expects more than one false DOWN a year; else None.

    By what was measured, where that is enough; else by what is ordinary on any network.
    """
    if measured is None or not measured.is_enough:
        return _advice(timing, timing, ORDINARY, ORDINARY)
    longer = replace(timing, timeout=_longer(timing, measured))
    now, then = (measured.chances(each.timeout) for each in (timing, longer))
    return _advice(timing, longer, now, then)


def _advice(timing: Timing, longer: Timing, now: Chances, then: Chances) -> Advice | None:
    expected = false_downs_a_day(now, timing)
    if expected <= ONE_A_YEAR:
        return None
    then = Chances(*map(max, then, ORDINARY))  # or whoever follows it would be advised again
    for retries in range(MOST_RETRIES + 1):
        better = replace(longer, retries=retries)
        would = false_downs_a_day(then, better)
        if would <= ONE_A_YEAR:
            return Advice(expected, better, would)
    return Advice(expected, None, would)


def _longer(timing: Timing, measured: Measured) -> int:
    """Give the timeout, or a longer one within the interval where replies are mostly late."""
    if measured.slowest is None or measured.late < MOSTLY:
        return timing.timeout
    return max(timing.timeout, min(roomy(measured.slowest), timing.interval))
