"""Our half of a BFD session's timing, and the Poll Sequence that changes it (RFC 5880 6.5, 6.8.3).

Intervals are microseconds, as on the wire. A change while the session is Up is told with Poll until
a Final answers. Until then, what would make the other time us out, or us the other, waits: a longer
interval of ours, a shorter one of theirs. While it is not Up nothing waits for a Final, and none is
asked for.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from hbd.core.model import SECOND

SLOW_USEC: Final = 1_000_000
"""The shortest interval at which a session that is not Up sends."""

STALL_MEMORY: Final = 5 * SECOND
"""So long after a silence of ours a peer that timed us out is believed to have done it for that."""


class Poll(Enum):
    """How far a Poll Sequence is."""

    NONE = "none"
    DUE = "due"
    """The next scheduled packet carries the first Poll."""
    SENT = "sent"
    ENDED = "ended"
    """A Final came. The next sequence waits for a packet without one, so that a second Final to
    this sequence is not taken for the first to that (6.8.3, choice 3)."""


class Offer:
    """The intervals that we offer, and those in force until the other has agreed."""

    __slots__ = ("_wanted", "desired_tx", "poll", "required_rx", "rx", "tx")

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.desired_tx = self.tx = max(wanted, SLOW_USEC)
        """Offered and in force: how often we send, if the other bears it."""
        self.required_rx = self.rx = wanted
        """Offered and in force: how often we bear to be sent to."""
        self.poll = Poll.NONE

    @property
    def is_polling(self) -> bool:
        """Whether scheduled packets carry Poll."""
        return self.poll in (Poll.DUE, Poll.SENT)

    def want(self, wanted: int, *, is_up: bool) -> None:
        """Offer another interval from the next packet on, or after the Poll Sequence under way."""
        self._wanted = wanted
        self.settle(is_up=is_up)

    def settle(self, *, is_up: bool) -> None:
        """Offer what is wanted in this state of the session, if it may be offered now."""
        if not is_up:
            self.desired_tx = self.tx = max(self._wanted, SLOW_USEC)
            self.required_rx = self.rx = self._wanted
            self.poll = Poll.NONE
        elif self.poll is Poll.NONE and {self.desired_tx, self.required_rx} != {self._wanted}:
            self.desired_tx = self.required_rx = self._wanted
            self.tx = min(self.tx, self._wanted)
            self.rx = max(self.rx, self._wanted)
            self.poll = Poll.DUE

    def polled(self) -> None:
        """Note that a packet with Poll goes out."""
        self.poll = Poll.SENT

    def heard(self, *, final: bool) -> None:
        """Note an accepted packet: a Final ends the sequence and puts the offer in force."""
        if final and self.poll is Poll.SENT:
            self.tx, self.rx = self.desired_tx, self.required_rx
            self.poll = Poll.ENDED
        elif not final and self.poll is Poll.ENDED:
            self.poll = Poll.NONE
            self.settle(is_up=True)


class Silence:
    """What the peer had to bear of our silence; nanoseconds of the monotonic clock."""

    __slots__ = ("_before", "_borne", "_last_sent")

    def __init__(self) -> None:
        self._last_sent = 0
        self._borne: int | None = None
        """For how long after our last packet the peer bears to hear nothing; None: for ever."""
        self._before: tuple[int, int] | None = None
        """A silence that was as long as it bears, and when it ended."""

    def broken(self, real: int, borne: int | None) -> None:
        """Note a packet of ours, after which the peer bears so long a silence."""
        if (span := self._unbearable(real)) is not None:
            self._before = span, real
        self._last_sent, self._borne = real, borne

    def blamed(self, real: int) -> int | None:
        """Give the silence for which the peer may have timed us out just now, if there was one."""
        if (span := self._unbearable(real)) is not None:
            return span
        if self._before is None or real - self._before[1] > STALL_MEMORY:
            return None
        return self._before[0]

    def _unbearable(self, real: int) -> int | None:
        span = real - self._last_sent
        return span if self._borne is not None and span >= self._borne else None
