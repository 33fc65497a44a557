"""RTT, loss and state of a peer, minute by minute, for the last hours: bounded, and in memory only.

The daemon keeps no more than the last 100 heartbeats. What was before hbd web started is not known.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hbd.report.words import WORST_FIRST

if TYPE_CHECKING:
    from hbd.web.view import View

LONGEST: Final = 6 * 60
"""Minutes that are kept."""
CELLS: Final = 8_000_000
"""Minutes of all peers together, 20 octets each: of very many peers fewer hours are kept."""
"""So many heartbeats the daemon's figures are of."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What was seen within one minute; None is not known."""

    number: int
    """Minutes since 1970."""
    state: str
    """The worst."""
    least: float | None
    """RTTs, milliseconds."""
    mean: float | None
    most: float | None
    loss: float | None
    """Percent, the highest seen."""


class Track:
    """The minutes of one peer: a ring, the cell of a minute is its number modulo the length."""

    __slots__ = ("_count", "_least", "_loss", "_mean", "_minutes", "_most", "_received", "_state")

    def __init__(self, minutes: int) -> None:
        unknown = array("f", [math.nan]) * minutes
        self._minutes = array("I", [0]) * minutes
        self._state = bytearray(minutes)
        self._count = array("H", [0]) * minutes
        self._least, self._mean = unknown[:], unknown[:]
        self._most, self._loss = unknown[:], unknown[:]
        self._received: int | None = None

    def note(self, view: View, minute: int) -> bool:
        """Take what is told of the peer now; give whether a heartbeat was answered since."""
        cell = minute % len(self._minutes)
        if self._minutes[cell] != minute:
            self._clear(cell, minute)
        # The worst state of a minute: the first in WORST_FIRST.
        self._state[cell] = max(self._state[cell], len(WORST_FIRST) - WORST_FIRST.index(view.state))
        if view.loss is not None:
            self._loss[cell] = _most(self._loss[cell], view.loss)
        before, self._received = self._received, view.received
        fresh = 0 if before is None else view.received - before
        if fresh > 0 and view.rtt is not None:
            rtt = view.rtt
            # Of one reply its RTT is known; of more the figures of the daemon's window.
            one = fresh == 1
            self._add(cell, *((rtt.last,) * 3 if one else (rtt.least, rtt.mean, rtt.most)))
        return fresh > 0

    def minutes(self, last: int) -> list[Minute]:
        """Give what is known of the minutes up to `last`, in order; those without are left out."""
        length = len(self._minutes)
        numbers = range(last - length + 1, last + 1)
        return [self._minute(n % length) for n in numbers if self._minutes[n % length] == n]

    def _clear(self, cell: int, minute: int) -> None:
        self._minutes[cell], self._state[cell], self._count[cell] = minute, 0, 0
        for figures in (self._least, self._mean, self._most, self._loss):
            figures[cell] = math.nan

    def _add(self, cell: int, least: float, mean: float, most: float) -> None:
        count = self._count[cell] = min(self._count[cell] + 1, 65_535)
        before = self._mean[cell]
        self._mean[cell] = mean if math.isnan(before) else before + (mean - before) / count
        self._least[cell] = -_most(-self._least[cell], -least)
        self._most[cell] = _most(self._most[cell], most)

    def _minute(self, cell: int) -> Minute:
        return Minute(
            self._minutes[cell],
            WORST_FIRST[len(WORST_FIRST) - self._state[cell]],
            _known(self._least[cell]),
            _known(self._mean[cell]),
            _known(self._most[cell]),
            _known(self._loss[cell]),
        )


def length_for(peers: int) -> int:
    """How many minutes are kept of each of so many peers."""
    return max(min(LONGEST, CELLS // max(peers, 1)), 60)


def _most(known: float, new: float) -> float:
    return new if math.isnan(known) else max(known, new)


def _known(figure: float) -> float | None:
    return None if math.isnan(figure) else figure
