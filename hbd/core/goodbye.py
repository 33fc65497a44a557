"""Planned stops: who says goodbye has left, if it does not come back at once."""

from __future__ import annotations

from typing import Final, NamedTuple

from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.wire.hbd_tlv import HbdTlv, Reason

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

    @property
    def fact(self) -> Fact:
        """What it said, as evidence."""
        return Fact(Cause.GOODBYE, f"it said goodbye (reason: {self.reason})")


def read(said: HbdTlv, now: int) -> Goodbye:
    """Take what a peer's TLV says."""
    known = {reason.value: reason.name.lower() for reason in Reason}
    hold = min(said.hold_s * SECOND, LONGEST)
    return Goodbye(now, now + hold, known.get(said.reason, "unknown"))
