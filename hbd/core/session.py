"""What a protocol is to the detector: octets on one side, facts on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from hbd.core.model import Cause, PeerSettings, State
    from hbd.wire.hbd_tlv import HbdTlv


class Fact(NamedTuple):
    """A cause and the words that prove it."""

    cause: Cause
    text: str


class Answer(NamedTuple):
    """What a session reads out of a reply."""

    sequence: int
    """Of the heartbeat that is answered, modulo 2**32."""
    token: int | None
    """What the heartbeat carried and the reply must bring back; None where that is not asked."""
    dwell: int
    """How long the reflector held it, nanoseconds; 0 where it does not say."""
    asked: int | None = None
    """When that heartbeat was sent, our own time; where somebody is to know."""
    incarnation: int | None = None
    goodbye: HbdTlv | None = None
    """What a peer says that stops, where that is to be believed."""
    rtt: int | None = None
    """Where somebody else has measured it, nanoseconds."""
    uncounted: int | None = None
    """How many heartbeats up to this one the reflector has not counted, modulo 2**32.

    None where it is not known to count at all.
    """


class Session(Protocol):
    """Request and reply, as octets."""

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings; they apply from the next heartbeat."""

    def compose(
        self, sequence: int, wall: int, state: State, *, padded: bool = True
    ) -> tuple[bytes, int]:
        """Give the octets of a heartbeat and its token."""

    def read(self, datagram: bytes) -> Answer | Fact:
        """Give what a datagram answers, or why it is no reply."""

    def accepted(self, answer: Answer, token: int) -> None:
        """Take note of a reply that was found to be of the heartbeat with this token."""

    def claims(self, datagram: bytes) -> bool:
        """Whether the datagram may be of this session rather than of another to that address."""

    def recognises(self, payload: bytes, sequence: int, token: int) -> bool:
        """Whether octets that an ICMP error returned are the beginning of that heartbeat."""


class Heard(NamedTuple):
    """What a session makes of something that the peer sent by itself."""

    is_up: bool = True
    """Whether it is life; else the peer is there, but not (yet) as agreed."""
    reply: bool = False
    """Whether our next heartbeat is due at once."""
    fault: Fact | None = None
    """The peer itself says that it is not up, and why; or that it was us."""


class Beats(Protocol):
    """Heartbeats that nobody answers, both ways or one; times in nanoseconds."""

    @property
    def expected(self) -> int:
        """How often the peer is to be heard."""

    @property
    def patience(self) -> int:
        """After so long a silence it is down."""

    @property
    def greeting(self) -> int:
        """So long it may take at first until it is heard, where that has to be agreed upon."""

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings."""

    def spacing(self) -> int | None:
        """How long until our next heartbeat, jitter included; None: we send none."""

    @property
    def grain(self) -> int:
        """By less than so much it may come sooner: what is due together is one wake-up."""

    def compose(self, real: int) -> bytes:
        """Give the octets of a heartbeat that is sent at this moment (monotonic)."""

    def read(self, datagram: bytes, real: int, ttl: int | None, silent_for: int) -> Heard | Fact:
        """Take what has come, after a silence of so long; or say why it counts for nothing."""

    def keys(self, hosts: Collection[str]) -> tuple[Hashable, ...]:
        """By what something that comes is known to be for this session."""

    def expire(self) -> bool:
        """The peer was silent for longer than our patience; tell whether it is to know at once."""

    def pause(self, *, on: bool) -> bool:
        """An operator took the peer out of judgement, or back; or we stop.

        Tells whether the peer is to know at once, and begins anew after it.
        """

    def restart(self) -> bool:
        """The peer is another machine now; tell whether anything was agreed with that before."""

    def recognises(self, payload: bytes, sequence: int, token: int) -> bool:
        """Whether octets that an ICMP error returned are the beginning of a heartbeat of ours."""
