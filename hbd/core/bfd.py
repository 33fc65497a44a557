"""The BFD session of one path (RFC 5880 6.8; single hop RFC 5881, multihop RFC 5883).

Asynchronous mode, both roles Active, neither echo nor demand of our own. The owner of the path
keeps the time: it sends what compose() gives every spacing() and at once where read() says so, and
calls expire() when nothing was accepted for `patience`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.core.bfd_auth import Authentication
from hbd.core.bfd_timing import SLOW_USEC, Offer, Silence
from hbd.core.bfd_words import BROKEN_RULES, COMPLAINTS, UNKNOWN_COMPLAINT
from hbd.core.model import MICROSECOND, MILLISECOND, Cause
from hbd.core.session import Fact, Heard
from hbd.wire import bfd
from hbd.wire.bfd import Diag, Packet, State
from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from hbd.core.model import BfdOptions, Dice, PeerSettings

JITTER: Final = 0.25
GRAIN: Final = 20
"""Within a twentieth of the interval a packet may come sooner, to leave with those of others."""
LEAST_JITTER_OF_ONE: Final = 0.10
"""With a multiplier of 1, a packet that is only just late would be a missed one (6.8.7)."""

TRANSITIONS: Final[dict[State, dict[State, State]]] = {
    State.ADMIN_DOWN: {},
    State.DOWN: {State.DOWN: State.INIT, State.INIT: State.UP},
    State.INIT: {State.ADMIN_DOWN: State.DOWN, State.INIT: State.UP, State.UP: State.UP},
    State.UP: {State.ADMIN_DOWN: State.DOWN, State.DOWN: State.DOWN},
}
"""Our state, the state in a packet, our next state (RFC 5880 6.8.6)."""


class BfdSession:
    """One session. Its discriminator is random, not 0, and no other session's (6.8.1)."""

    __slots__ = (
        "_auth",
        "_dice",
        "_is_multihop",
        "_min_ttl",
        "_multiplier",
        "_offer",
        "_owes_final",
        "_remote_demand",
        "_remote_discriminator",
        "_remote_min_rx",
        "_remote_min_tx",
        "_remote_multiplier",
        "_silence",
        "diag",
        "discriminator",
        "remote_state",
        "state",
    )

    def __init__(
        self,
        options: BfdOptions,
        interval: int,
        dice: Dice,
        discriminator: int,
        secret: bytes | None,
    ) -> None:
        """Begin Down; the secret, 1..20 octets, goes with `options.auth`."""
        self.discriminator: Final = discriminator
        self._dice: Final = dice
        self._auth: Final = Authentication(options, secret, dice)
        self._multiplier = options.multiplier
        self._is_multihop: Final = options.multihop
        self._min_ttl = options.min_ttl
        self._offer: Final = Offer(interval // MICROSECOND)
        self._silence: Final = Silence()
        self.state = State.DOWN
        self.diag: int = Diag.NONE
        self.remote_state = State.DOWN
        """What the peer said last."""
        self._remote_discriminator = 0
        self._remote_demand = False
        self._remote_min_rx = 1
        self._remote_min_tx = 0
        self._remote_multiplier = 0
        """0: nothing was heard yet."""
        self._owes_final = False

    def adopt(self, settings: PeerSettings) -> None:
        """Take another interval, multiplier and TTL; ask spacing() anew, from the last one sent.

        The multiplier goes with the next packet, the interval by a Poll Sequence where the session
        is Up (6.8.3, 6.8.12). Another authentication takes another session.
        """
        self._multiplier = settings.bfd.multiplier
        self._min_ttl = settings.bfd.min_ttl
        self._offer.want(settings.timing.interval // MICROSECOND, is_up=self.state is State.UP)

    # -- timing -------------------------------------------------------------------------------

    @property
    def expected(self) -> int:
        """How often the peer is to send, as agreed, nanoseconds.

        Before its first packet: as we would, were we in its place.
        """
        if self._remote_multiplier == 0:
            return self._offer.desired_tx * MICROSECOND
        return max(self._offer.rx, self._remote_min_tx) * MICROSECOND

    @property
    def patience(self) -> int:
        """The Detection Time (6.8.4): nanoseconds without an accepted packet that are enough."""
        return (self._remote_multiplier or self._multiplier) * self.expected

    @property
    def greeting(self) -> int:
        """So long it may take to come up: three packets at the pace of sessions that are not."""
        return 3 * max(self._offer.desired_tx, SLOW_USEC) * MICROSECOND

    def spacing(self) -> int | None:
        """Roll the nanoseconds from one scheduled packet to the next (6.8.7).

        None: none is due, as the peer wants none. A Final in between changes nothing of it. What
        is left of the jitter is `grain`.
        """
        pace = self._pace()
        if pace is None:
            return None
        least = LEAST_JITTER_OF_ONE if self._multiplier == 1 else 0.0
        return int(pace * (1.0 - least - (JITTER - 1 / GRAIN - least) * self._dice.random()))

    @property
    def grain(self) -> int:
        """By less than so many nanoseconds a scheduled packet may come sooner than that."""
        return max((self._pace() or 0) // GRAIN, 1)

    def _pace(self) -> int | None:
        """Give the nanoseconds from packet to packet without jitter; None: the peer wants none."""
        if self._remote_min_rx == 0:
            return None
        is_hushed = self._remote_demand and self.state is self.remote_state is State.UP
        if is_hushed and not self._offer.is_polling:
            return None
        return max(self._offer.tx, self._remote_min_rx) * MICROSECOND

    # -- packets ------------------------------------------------------------------------------

    def compose(self, real: int) -> bytes:
        """Give the packet to send at this moment: the Final that is owed, else a scheduled one."""
        pace = None if self.state is State.ADMIN_DOWN else self._pace()
        # One packet more may be lost or late: then ours were missing first.
        bears = max(self._multiplier - 1, 1)
        self._silence.broken(real, None if pace is None else bears * pace)
        poll = self._offer.is_polling and not self._owes_final
        content = Packet(
            diag=self.diag,
            state=self.state,
            poll=poll,
            final=self._owes_final,
            control_plane_independent=False,
            demand=False,
            multiplier=self._multiplier,
            my_discriminator=self.discriminator,
            your_discriminator=self._remote_discriminator,
            desired_min_tx_usec=self._offer.desired_tx,
            required_min_rx_usec=self._offer.required_rx,
        )
        if poll:
            self._offer.polled()
        self._owes_final = False
        return self._auth.pack(content)

    def read(self, datagram: bytes, real: int, ttl: int | None, silent_for: int) -> Heard | Fact:
        """Take a packet (6.8.6); a Fact tells why it was dropped, and then nothing has changed.

        `ttl` is the TTL or hop limit it came with, where known; `silent_for` the nanoseconds since
        the last packet that was not dropped, whatever its state.
        """
        try:
            packet = bfd.parse(datagram)
        except WireError as error:
            return Fact(Cause.BAD_REPLY, BROKEN_RULES[error.reason])
        is_long_silent = silent_for >= 2 * self.patience
        refusal = self._refusal(packet, ttl) or self._auth.refusal(
            datagram, packet, is_long_silent=is_long_silent
        )
        if refusal is not None:
            return refusal
        pace = self._pace()
        self._learn(packet)
        if self.state is State.ADMIN_DOWN:
            return Heard(is_up=False)
        is_changed = self._move(TRANSITIONS[self.state].get(packet.state), Diag.SIGNALED_DOWN)
        self._owes_final |= packet.poll
        return Heard(
            is_up=self.state is State.UP,
            reply=is_changed or packet.poll or self._is_hastened(pace),
            fault=self._complaint(packet, real),
        )

    def keys(self, hosts: Collection[str]) -> tuple[Hashable, ...]:
        """By our discriminator; before the peer knows it, by its address (6.3)."""
        first = tuple(("bfd", self._is_multihop, host) for host in hosts)
        return (("bfd", self.discriminator), *first)

    def recognises(self, payload: bytes, sequence: int, token: int) -> bool:
        """Whether octets returned by an ICMP error begin like a packet of this session."""
        del sequence, token
        mine = self.discriminator.to_bytes(4, "big")
        return payload[4:8] == mine and payload[0] >> 5 == bfd.VERSION

    def _refusal(self, packet: Packet, ttl: int | None) -> Fact | None:
        # What came with an unknown TTL came at least with 1.
        if (1 if ttl is None else ttl) < self._min_ttl:
            found = "an unknown TTL" if ttl is None else f"TTL {ttl}"
            return _bad(f"packets with {found}, less than {self._min_ttl}: from too far away")
        yours = packet.your_discriminator
        if yours not in (0, self.discriminator):
            return _bad(f"packets for another session (your discriminator {yours:#010x})")
        return None

    def _is_hastened(self, before: int | None) -> bool:
        """Whether the peer wants packets more often: the next must not wait as long (6.8.3)."""
        pace = self._pace()
        return pace is not None and (before is None or pace < before)

    # -- the state ----------------------------------------------------------------------------

    def expire(self) -> bool:
        """Nothing was accepted for `patience` (6.8.4); True: compose() and send at once."""
        self._remote_discriminator = 0
        if self.state not in (State.INIT, State.UP):
            return False
        return self._move(State.DOWN, Diag.EXPIRED)

    def pause(self, *, on: bool) -> bool:
        """Go AdminDown, or from there Down; True: compose() and send at once.

        The peer is sure to learn of it if packets go on for its Detection Time (6.8.16).
        """
        if on:
            self._move(State.ADMIN_DOWN, Diag.ADMIN_DOWN)
            self._owes_final = False
        elif self.state is State.ADMIN_DOWN:
            self._move(State.DOWN, Diag.NONE)
        return True

    def restart(self) -> bool:
        """Begin anew, with another machine, of which nothing is known yet."""
        self.remote_state = State.DOWN
        self._remote_discriminator = self._remote_min_tx = self._remote_multiplier = 0
        self._remote_min_rx, self._remote_demand = 1, False
        self._owes_final = False
        self._auth.restart()
        if self.state is not State.ADMIN_DOWN:
            self._move(State.DOWN, Diag.NONE)
        return True

    def _learn(self, packet: Packet) -> None:
        self._remote_discriminator = packet.my_discriminator
        self.remote_state = packet.state
        self._remote_demand = packet.demand
        self._remote_min_rx = packet.required_min_rx_usec
        self._remote_min_tx = packet.desired_min_tx_usec
        self._remote_multiplier = packet.multiplier
        self._auth.accepted(packet)
        self._offer.heard(final=packet.final)

    def _move(self, state: State | None, diag: int) -> bool:
        """Go to this state, with this reason if it is a way down; say whether that is a change."""
        if state is None or state is self.state:
            return False
        self.state = state
        if state is State.UP:
            self.diag = Diag.NONE
        elif state is not State.INIT:
            self.diag = diag  # and Init still tells why the session before it failed
        self._offer.settle(is_up=state is State.UP)
        return True

    def _complaint(self, packet: Packet, real: int) -> Fact | None:
        """Say what is wrong in the peer's own words."""
        if packet.state is State.ADMIN_DOWN:
            words = f"the router says: administratively down (diag {packet.diag})"
            return Fact(Cause.BFD_ADMIN_DOWN, words)
        if packet.state is not State.DOWN:
            return None
        cause, reason = COMPLAINTS.get(packet.diag, UNKNOWN_COMPLAINT)
        words = f"the router says: {reason} (diag {packet.diag})"
        silence = self._silence.blamed(real) if packet.diag == Diag.EXPIRED else None
        if silence is None:
            return Fact(cause, words)
        gap = f"we ourselves sent nothing for {silence // MILLISECOND} ms"
        return Fact(Cause.OWN_STALL, f"{words}; {gap}")


def _bad(words: str) -> Fact:
    return Fact(Cause.BAD_REPLY, words)
