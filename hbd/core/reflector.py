"""The Session-Reflector: answers the heartbeats of others (RFC 8762 4.3), and refuses the rest.

Open mode reflects whatever looks like a request, so what keeps it from being an amplifier, a loop
or a tool against third parties is the order of rules in `_admit` and `_sender`. Who may ask is in
`admission`, what is remembered of them in `visitors`, and how most are answered in `familiar`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.address import host_of, is_unicast
from hbd.core.admission import Admission
from hbd.core.rate import remember
from hbd.core.replay import Guard, Signed, Standing
from hbd.core.visitors import Visitors
from hbd.wire import hbd_tlv, ntp, ports, stamp, tlv
from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hbd.core.address import Address
    from hbd.core.admission import Sender
    from hbd.core.station import Station
    from hbd.core.visitors import Session
    from hbd.wire.auth import Key
    from hbd.wire.hbd_tlv import HbdTlv

UNKNOWN_TTL: Final = 255
"""Where the TTL of the request could not be read (RFC 5357 4.2.1)."""

ANSWERING: Final = frozenset({7, 13, 17, 19, 37})
"""Ports of services that answer whatever they get (RFC 862 to 868): what comes from there answers
us, or was invented so that they would."""


class Reflection(NamedTuple):
    """A request that was answered."""

    reply: bytes
    sender: Sender
    session: Session
    is_believed: bool
    """Whether it is of now, neither recorded nor our own, as far as a key can tell."""
    goodbye: HbdTlv | None
    """What it says of its sender's stop."""


class Reflector:
    """Turns requests into replies; keeps sessions, counts, and no clock.

    `ports` are those we answer on: nothing from such a port is a request. `own` are the socket
    addresses of reflectors: ours, and those of peers where they are known. `accepts` says of an
    address whether it is answered (see Admission). These and `is_own` may be replaced at any time
    and end no session; `station` says what is said of us.
    """

    def __init__(
        self,
        ports: Collection[int],
        own: Collection[tuple[str, int]],
        accepts: Callable[[str], bool],
        station: Station,
    ) -> None:
        self.ports = ports
        self.own = own
        self.admission: Final = Admission(accepts)
        self.visitors: Final = Visitors()
        self.is_own: Callable[[Address, int], bool] = lambda _source, _ssid: False
        """Whether a session is ours, with whoever has an address: such a request has come back."""
        self.station: Final = station
        self.answered = 0
        self.dropped: Counter[str] = Counter()
        self._guard: Final = Guard(station.incarnation)

    def answer(
        self,
        datagram: bytes,
        *,
        source: Address,
        destination: str,
        ttl: int | None,
        received: int,
        now: int,
        wall: int,
    ) -> Reflection | None:
        """Reply to a datagram in as many octets, or count in `dropped` why not.

        `destination` is the address in the datagram's header. `received` and `wall`, the moment of
        sending, are nanoseconds since 1970, `now` is monotonic.
        """
        admitted = self._admit(datagram, source, destination, received=received, now=now, wall=wall)
        if isinstance(admitted, str):
            self.dropped[admitted] += 1
            return None
        sender, is_believed = admitted
        host, key = host_of(source), sender.key
        self.answered += 1
        if is_believed:
            remember(self.visitors.requests_from, host, now)
        ssid = stamp.ssid(datagram, authenticated=key is not None)
        session = self.visitors.count((host, source[1], ssid, destination), now)
        sequence = (session.accepted - 1) % ntp.WORD
        tlvs, goodbye = self._tlvs(datagram, session, sequence, key)
        reply = stamp.pack_reply(
            datagram,
            sequence=sequence,
            timestamp=ntp.ntp_from_unix(wall),
            estimate=self.station.estimate,
            receive_timestamp=ntp.ntp_from_unix(received),
            ttl=UNKNOWN_TTL if ttl is None else ttl,
            tlvs=tlvs,
            key=key,
        )
        return Reflection(reply, sender, session, is_believed, goodbye)

    def _admit(
        self,
        datagram: bytes,
        source: Address,
        destination: str,
        *,
        received: int,
        now: int,
        wall: int,
    ) -> tuple[Sender, bool] | str:
        """Give who has sent a request, and whether that is believed; or why it is not answered."""
        sender = self._sender(datagram, source, destination, now, wall)
        if isinstance(sender, str):
            return sender
        key, standing = sender.key, Standing.NEW
        malformed = _malformed(datagram, source, authenticated=key is not None)
        if key is not None:
            if malformed is not None:
                return malformed
            standing = self._standing(datagram, source, sender.known_by, key, received)
            if standing is Standing.REPLAYED:
                return "replay"
        # Only now: who has no key takes no tokens from a host that has, by sending in its name.
        reason = self.visitors.buckets.refuses((host_of(source), destination), now) or malformed
        return reason or (sender, standing is Standing.NEW)

    def _sender(
        self, datagram: bytes, source: Address, destination: str, now: int, wall: int
    ) -> Sender | str:
        """Give who has sent a request, or why it is none that is answered."""
        if len(datagram) < stamp.OPEN_SIZE:
            return "short"
        wrong_way = self._wrong_way(source, destination)
        if wrong_way is not None:
            return wrong_way
        sender = self.admission.admit(datagram, host_of(source), now)
        if isinstance(sender, str):
            return sender
        is_reply = stamp.is_reply(datagram, wall, authenticated=sender.key is not None)
        return "loop" if is_reply else sender

    def _wrong_way(self, source: Address, destination: str) -> str | None:
        """Nothing tells a reply from a request but where it comes from (RFC 8762 4.2, 4.3)."""
        port = source[1]
        if port in ANSWERING or port == ports.STAMP or port in self.ports or source[:2] in self.own:
            return "loop"
        if port == 0:  # nobody can be answered there
            return "no-port"
        if not (is_unicast(source[0]) and is_unicast(destination)):
            return "multicast"
        return None

    def _standing(
        self, datagram: bytes, source: Address, known_by: str | None, key: Key, wall: int
    ) -> Standing:
        """Tell whether a signed request is of now, as far as that can be told."""
        request = stamp.parse_verified(datagram)
        unix_from = ntp.unix_from_ptp if ntp.is_ptp(request.estimate) else ntp.unix_from_ntp
        said = Signed(
            request.sequence,
            unix_from(request.timestamp, wall),
            ntp.is_synchronised(request.estimate & self.station.estimate),
            partial(_incarnation, request, key),
        )
        standing = self._guard.look(known_by or host_of(source), request.ssid, said, wall)
        is_new = standing is Standing.NEW
        return Standing.DOUBTFUL if is_new and self.is_own(source, request.ssid) else standing

    def _tlvs(
        self, datagram: bytes, session: Session, sequence: int, key: Key | None
    ) -> tuple[bytes, HbdTlv | None]:
        """Give the TLVs of a reply, and the goodbye that those of the request say."""
        region = datagram[stamp.OPEN_SIZE if key is None else stamp.AUTH_SIZE :]
        if not region:
            return region, None
        goodbyes: list[HbdTlv] = []
        understood: dict[int, tlv.Answer] = {
            tlv.EXTRA_PADDING: bytes,
            hbd_tlv.TYPE: partial(self._announce, session, goodbyes),
        }
        if key is None:
            tlvs = tlv.reflect(region, understood)
        else:
            asked = int.from_bytes(datagram[:4], "big")
            tlvs = tlv.reflect_signed(region, understood, key, asked=asked, answered=sequence)
        return tlvs, goodbyes[-1] if goodbyes else None

    def _announce(self, session: Session, goodbyes: list[HbdTlv], value: bytes) -> bytes | None:
        """Give our words for an hbd's; others use the type of hbd's TLV for theirs."""
        if not hbd_tlv.is_ours(value):
            return None
        if hbd_tlv.says_goodbye(value):
            goodbyes.append(hbd_tlv.parse(value))
        return hbd_tlv.with_accepted(self.station.answer, session.accepted)


def _malformed(datagram: bytes, source: Address, *, authenticated: bool) -> str | None:
    if not ntp.multiplier(stamp.estimate(datagram, authenticated=authenticated)):
        return "multiplier"
    longest = stamp.LONGEST_IPV6 if ":" in source[0] else stamp.LONGEST_IPV4
    return "too-long" if len(datagram) > longest else None


def _incarnation(request: stamp.Request, key: Key) -> int | None:
    """Give that of the hbd that sent a request, where it says so under an HMAC."""
    if not tlv.verifies(key, request.sequence, request.tlvs):
        return None
    said = (each.value for each in tlv.split(request.tlvs)[0] if each.kind == hbd_tlv.TYPE)
    with suppress(WireError, StopIteration):
        return hbd_tlv.parse(next(said)).incarnation
    return None
