"""The Session-Reflector: answers the heartbeats of others (RFC 8762 4.3), and refuses the rest.

Open mode reflects whatever looks like a request, so what keeps it from being an amplifier, a loop
or a tool against third parties is the order of rules in `Reflector.answer`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hbd.core.address import host_of, is_unicast
from hbd.core.model import SECOND
from hbd.core.rate import Buckets, remember
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.hbd_tlv import HbdTlv

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hbd.core.address import Address
    from hbd.wire.auth import Key

LONGEST_IPV4: Final = 1472
LONGEST_IPV6: Final = 1452
"""The payloads of an Ethernet frame: a longer reply would leave in fragments."""

IDLE: Final = 900 * SECOND
"""A session unheard for so long begins anew (REFWAIT, RFC 5357 4.2)."""

REFUSED: Final = 1_024
"""So many refused sources are told about, then they are only counted: they may be invented."""

UNKNOWN_TTL: Final = 255
"""Where the TTL of the request could not be read (RFC 5357 4.2.1)."""


@dataclass(slots=True)
class _Session:
    accepted: int
    heard: int


class Reflector:
    """Turns requests into replies; keeps sessions, counts, and no clock.

    `ports` are those we answer on: nothing from such a port is a request. `own` are the socket
    addresses of reflectors: ours, and those of peers where they are known. `accepts` says of an
    address whether it is answered. These, `estimate` (16 bits, Z=0: the error of our wall clock)
    and `announcement` may be replaced at any time and end no session.
    """

    def __init__(
        self,
        ports: Collection[int],
        own: Collection[tuple[str, int]],
        accepts: Callable[[str], bool],
        *,
        node: int,
        incarnation: int,
    ) -> None:
        self.ports = ports
        self.own = own
        self.accepts = accepts
        self.keys: Callable[[str], Collection[Key]] = lambda _: ()
        """The keys of which an address must have used one; none: it is answered in open mode."""
        self.roaming: Mapping[str, Collection[Key]] = {}
        """By name: the keys with which anybody is answered who is not accepted otherwise."""
        self.known_by: str | None = None
        """By which of these the last request was signed,"""
        self.is_of_host = False
        """and whether by a key of the host it came from, if it has any."""
        self.is_signed = False
        self.goodbye: HbdTlv | None = None
        """What the last request said of its sender's stop."""
        self.estimate = ntp.UNKNOWN_ERROR
        self.announcement = HbdTlv(
            flags=hbd_tlv.REFLECTOR | hbd_tlv.STATEFUL,
            state=hbd_tlv.Seen.UNKNOWN,
            reason=hbd_tlv.Reason.NONE,
            incarnation=incarnation,
            node=node,
            interval_usec=0,
            hold_s=0,
            accepted=0,
        )
        self.answered = 0
        self.dropped: Counter[str] = Counter()
        self.requests_from: OrderedDict[str, int] = OrderedDict()
        """When, monotonic, each source address last sent a request that was answered."""
        self._understood: Final[Mapping[int, tlv.Answer]] = {
            tlv.EXTRA_PADDING: bytes,
            hbd_tlv.TYPE: self._announce,
        }
        self._accepted = 0
        """Requests of the session that is answered."""
        self._buckets = Buckets()
        self._sessions: OrderedDict[tuple[str, int, int, str], _Session] = OrderedDict()
        self._refused: set[str] = set()
        self._newly_refused: list[str] = []

    @property
    def announcement(self) -> HbdTlv:
        """What hbds are told; `accepted` is filled in for each session."""
        return hbd_tlv.parse(self._announcement)

    @announcement.setter
    def announcement(self, words: HbdTlv) -> None:
        self._announcement = words.pack()

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
    ) -> bytes | None:
        """Reply to a datagram in as many octets, or count in `dropped` why not.

        `destination` is the address in the datagram's header. `received` and `wall`, the moment of
        sending, are nanoseconds since 1970, `now` is monotonic.
        """
        host = host_of(source)
        is_known = self.accepts(host)
        reason = (
            _too_short(datagram)
            or self._wrong_way(source, destination)
            or (None if is_known or self.roaming else self._stranger(host))
            or self._buckets.refuses((host, destination), now)
        )
        key = None
        if reason is None:
            keys = self.keys(host) if is_known else ()
            key = _signing(datagram, keys)
            self.is_of_host = is_known and (key is not None or not keys)
            self.known_by, roaming = self._roaming_key(datagram) if self.roaming else (None, None)
            key = key or roaming
            if key is None:
                reason = "hmac" if keys else None if is_known else self._stranger(host)
        # A replay window has its place here, before a session is touched.
        reason = (
            reason
            or _corrupt(datagram, authenticated=key is not None)
            or _too_long(datagram, source)
        )
        if reason is not None:
            self.dropped[reason] += 1
            return None
        self.answered += 1
        self.is_signed, self.goodbye = key is not None, None
        remember(self.requests_from, host, now)
        ssid = stamp.ssid(datagram, authenticated=key is not None)
        session = self._session((host, source[1], ssid, destination), now)
        sequence = (session.accepted - 1) % ntp.WORD
        return stamp.pack_reply(
            datagram,
            sequence=sequence,
            timestamp=ntp.ntp_from_unix(wall),
            estimate=self.estimate,
            receive_timestamp=ntp.ntp_from_unix(received),
            ttl=UNKNOWN_TTL if ttl is None else ttl,
            tlvs=self._tlvs(datagram, session, sequence, key),
            key=key,
        )

    def refused(self) -> list[str]:
        """Drain the source addresses that were refused for the first time."""
        drained, self._newly_refused = self._newly_refused, []
        return drained

    def _wrong_way(self, source: Address, destination: str) -> str | None:
        """Nothing tells a reply from a request but where it comes from (RFC 8762 4.2, 4.3)."""
        port = source[1]
        if port == stamp.PORT or port in self.ports or source[:2] in self.own:
            return "loop"
        if port == 0:  # nobody can be answered there
            return "no-port"
        if not (is_unicast(source[0]) and is_unicast(destination)):
            return "multicast"
        return None

    def _roaming_key(self, datagram: bytes) -> tuple[str | None, Key | None]:
        for name, keys in self.roaming.items():
            key = _signing(datagram, keys)
            if key is not None:
                return name, key
        return None, None

    def _stranger(self, host: str) -> str:
        if host not in self._refused and len(self._refused) < REFUSED:
            self._refused.add(host)
            self._newly_refused.append(host)
        return "unknown-source"

    def _session(self, key: tuple[str, int, int, str], now: int) -> _Session:
        session = self._sessions.get(key)
        if session is None or now - session.heard > IDLE:
            session = _Session(accepted=0, heard=now)
        session.accepted += 1
        session.heard = now
        remember(self._sessions, key, session)
        return session

    def _tlvs(self, datagram: bytes, session: _Session, sequence: int, key: Key | None) -> bytes:
        region = datagram[stamp.OPEN_SIZE if key is None else stamp.AUTH_SIZE :]
        if not region:
            return region
        self._accepted = session.accepted
        if key is None:
            return tlv.reflect(region, self._understood)
        asked = int.from_bytes(datagram[:4], "big")
        return tlv.reflect_signed(region, self._understood, key, asked=asked, answered=sequence)

    def _announce(self, value: bytes) -> bytes | None:
        """Give our words for an hbd's; others use the type of hbd's TLV for theirs."""
        if not hbd_tlv.is_ours(value):
            return None
        if hbd_tlv.says_goodbye(value):
            self.goodbye = hbd_tlv.parse(value)
        return hbd_tlv.with_accepted(self._announcement, self._accepted)


def _signing(datagram: bytes, keys: Collection[Key]) -> Key | None:
    """Give the key that a request is signed with, of these."""
    for key in keys:
        if stamp.is_signed(datagram, key):
            return key
    return None


def _too_short(datagram: bytes) -> str | None:
    return "short" if len(datagram) < stamp.OPEN_SIZE else None


def _corrupt(datagram: bytes, *, authenticated: bool) -> str | None:
    estimate = stamp.estimate(datagram, authenticated=authenticated)
    return None if ntp.multiplier(estimate) else "multiplier"


def _too_long(datagram: bytes, source: Address) -> str | None:
    longest = LONGEST_IPV6 if ":" in source[0] else LONGEST_IPV4
    return "too-long" if len(datagram) > longest else None
