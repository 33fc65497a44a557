"""What all our sessions, and our reflector, say of us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.goodbye import HOLD
from hbd.core.model import SECOND
from hbd.wire import hbd_tlv, ntp, tlv
from hbd.wire.hbd_tlv import HbdTlv, Reason, Seen

if TYPE_CHECKING:
    from hbd.core.model import Dice

REFLECTOR: Final = hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL


class Station:
    """Our name, our start, our clock, and whether we stop; `dice` are those of all sessions."""

    __slots__ = (
        "_estimate",
        "_node",
        "_reason",
        "_words",
        "answer",
        "dice",
        "incarnation",
        "name",
        "version",
    )

    def __init__(self, name: str, incarnation: int, dice: Dice) -> None:
        self.incarnation: Final = incarnation
        self.dice: Final = dice
        self._estimate = ntp.UNKNOWN_ERROR
        self.version = 0
        """Another one whenever what is said is another."""
        self._reason = Reason.NONE
        self._words: dict[tuple[Seen, int], bytes] = {}
        self.call(name)

    @property
    def estimate(self) -> int:
        """The Error Estimate of our clock, as it goes on the wire: 16 bits, Z=0."""
        return self._estimate

    @estimate.setter
    def estimate(self, estimate: int) -> None:
        self._estimate = estimate
        self.version += 1

    def call(self, name: str) -> None:
        """Take another name from now on."""
        self.name = name
        self._node = hbd_tlv.node_id(name)
        self._say_anew()

    @property
    def is_leaving(self) -> bool:
        return self._reason is not Reason.NONE

    def leave(self, reason: Reason) -> None:
        """From now on each heartbeat, and each reply, says goodbye."""
        self._reason = reason
        self._say_anew()

    def _say_anew(self) -> None:
        self._words.clear()
        self.answer: bytes = self._said(REFLECTOR, Seen.UNKNOWN, 0).pack()
        """What our reflector says to hbds; the count of those accepted is of each session."""
        self.version += 1

    def tlv(self, seen: Seen, interval: int) -> bytes:
        """Give our TLV for a peer that we see so and ask every `interval` nanoseconds."""
        words = self._words.get((seen, interval))
        if words is None:
            words = tlv.pack(hbd_tlv.TYPE, self._said(0, seen, interval // 1_000).pack())
            self._words[seen, interval] = words
        return words

    def _said(self, flags: int, seen: Seen, interval_usec: int) -> HbdTlv:
        return HbdTlv(
            flags=flags | (hbd_tlv.GOODBYE if self.is_leaving else 0),
            state=seen,
            reason=self._reason,
            incarnation=self.incarnation,
            node=self._node,
            interval_usec=interval_usec,
            hold_s=HOLD // SECOND if self.is_leaving else 0,
            accepted=0,
        )
