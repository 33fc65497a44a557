"""Where heartbeats were lost: on the way there or on the way back (RFC 8762 4.3.1).

A stateful reflector numbers its replies. Of the heartbeats between two that were answered, those
that its numbers leave out did not reach it; of the others that were lost, the reply was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOST: Final = -1
ANNULLED: Final = -2

MODULUS: Final = 256
"""Of what a reflector has not counted one octet is kept: fewer get lost between two replies."""


class Directions(NamedTuple):
    """Fractions of what went each way between the first and the last reply looked at."""

    out: float
    """Of the heartbeats we sent: those that did not reach the reflector."""
    back: float
    """Of the replies it sent: those that did not reach us."""


class _Gap(NamedTuple):
    """What lies between two heartbeats that were answered one after the other."""

    lost: int
    annulled: int
    uncounted: int

    @property
    def adds_up(self) -> bool:
        return self.uncounted <= self.lost + self.annulled

    @property
    def is_clear(self) -> bool:
        """Whether it is known where each was lost; nobody knows how far an annulled one went."""
        return not self.lost or (not self.annulled and self.adds_up)


def split(fates: Iterable[int], lost: int) -> Directions | None:
    """Tell how much was lost each way; None where most of what was `lost` cannot be told.

    A fate of a heartbeat, in the order sent, is LOST or ANNULLED, or of an answered one how many
    up to it the reflector has not counted, modulo 256. What does not add up is left out: it began
    to count anew, it counted a duplicate, it counts what others send as well.
    """
    if not lost:
        return Directions(0.0, 0.0)
    gaps = list(_gaps(fates))
    clear = [gap for gap in gaps if gap.is_clear]
    told = sum(gap.lost for gap in clear)
    odd = sum(not gap.adds_up for gap in gaps)
    if not clear or told < lost - told + odd:
        return None
    sent = told + len(clear)
    unheard = sum(gap.uncounted for gap in clear if gap.lost)
    return Directions(unheard / sent, (told - unheard) / (sent - unheard))


def _gaps(fates: Iterable[int]) -> Iterator[_Gap]:
    before = None
    lost = annulled = 0
    for fate in fates:
        if fate == LOST:
            lost += 1
        elif fate == ANNULLED:
            annulled += 1
        else:
            if before is not None:
                yield _Gap(lost, annulled, (fate - before) % MODULUS)
            before, lost, annulled = fate, 0, 0
