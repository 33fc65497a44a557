"""Planned stops: who says goodbye has left, if it does not come back at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.wire.hbd_tlv import HbdTlv, Reason

if TYPE_CHECKING:
    from hbd.core.session import Answer

RETURN: Final = 5 * SECOND
"""A signal does not tell a restart from a stop: for so long nothing is said of a peer that goes."""

HOLD: Final = 3_600 * SECOND
"""How long ours is to hold: as long as a pause, where nobody says how long that is to be."""

LONGEST: Final = 24 * 3_600 * SECOND
"""And how long any may: then silence is silence again."""


class Goodbye(NamedTuple):
    """A peer said that it stops."""

    at: int
    until: int
    reason: str

    def is_newer(self, answer: Answer | None) -> bool:
        """Whether it was said after somebody asked for this answer, which is no return then."""
        return answer is not None and answer.asked is not None and answer.asked <= self.at

    @property
    def fact(self) -> Fact:
        """What it said, as evidence."""
        return Fact(Cause.GOODBYE, f"it said goodbye (reason: {self.reason})")


def recalled(since: int, now: int) -> Goodbye:
    """Give what is known of one from before the start: its peer has left since then."""
    return Goodbye(since, max(since + HOLD, now), "told before hbd started")


def read(said: HbdTlv, now: int) -> Goodbye:
    """Take what a peer's TLV says."""
    known = {reason.value: reason.name.lower() for reason in Reason}
    hold = min(said.hold_s * SECOND, LONGEST)
    return Goodbye(now, now + hold, known.get(said.reason, "unknown"))
