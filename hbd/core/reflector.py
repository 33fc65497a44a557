"""The Session-Reflector: answers the heartbeats of others (RFC 8762 4.3), and refuses the rest.

Open mode reflects whatever looks like a request, so what keeps it from being an amplifier, a loop
or a tool against third parties is the order of rules in `Reflector.answer`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from struct import Struct
from typing import TYPE_CHECKING, Final

from hbd.core import rate
from hbd.core.address import host_of, is_unicast
from hbd.core.model import SECOND
from hbd.core.rate import Buckets, Rate, remember, spend
from hbd.core.replay import Guard, Signed, Standing
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.errors import WireError
from hbd.wire.hbd_tlv import HbdTlv

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hbd.core.address import Address
    from hbd.core.arrival import Requests
    from hbd.core.rate import Bucket
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


TRIED_AT_ONCE: Final = 20_000
TRIED: Final = Rate(per_second=20_000, burst=TRIED_AT_ONCE)
"""Keys tried for those that may roam and are not known by one yet: a few percent of a core."""

ANSWERING: Final = frozenset({7, 13, 17, 19, 37})
"""Ports of services that answer whatever they get (RFC 862 to 868): what comes from there answers
us, or was invented so that they would."""

NO_TIME: Final = bytes(8)
"""In the place of T2, of a request that no reflector has written to."""
PLAIN: Final = stamp.OPEN_SIZE
TOLD: Final = PLAIN + len(hbd_tlv.ANSWERED) + hbd_tlv.LENGTH
"""Octets of a request without TLVs, and of one that has hbd's alone."""

_PLAIN: Final = Struct(">IQH2sQ12s2s2xB3x")
_TOLD: Final = Struct(f"{_PLAIN.format}36sI4x")
"""Replies to them: number, T3, estimate and SSID, T2; number, T1, estimate and TTL of the request;
hbd's TLV up to the count of those accepted, and that."""


@dataclass(slots=True, eq=False)
class _Session:
    key: tuple[str, int, int, str]
    """Host and port that ask, SSID, and our address that is asked."""
    host: str
    """The first of these: one look into memory less for each request."""
    bucket: Bucket
    accepted: int
    heard: int
    spelling: bytes | None = None
    """If it is familiar, how the kernel has it: where from, with what a reply leaves, SSID."""


class Reflector:
    """Turns requests into replies; keeps sessions, counts, and no clock.

    `ports` are those we answer on: nothing from such a port is a request. `own` are the socket
    addresses of reflectors: ours, and those of peers where they are known. `accepts` says of an
    address whether it is answered. These, `keys`, `is_heeded`, `estimate` (16 bits, Z=0: the error
    of our wall clock) and `announcement` may be replaced at any time and end no session.
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
        self.is_believed = True
        """Whether it is of now, and not recorded, as far as a key can tell."""
        self.is_own: Callable[[Address, int], bool] = lambda _source, _ssid: False
        """Whether a session is ours, with whoever has an address: such a request has come back."""
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
        self.is_heeded: Callable[[str], bool] = lambda _: False
        """Whether a request from an address means more than that it is to be answered."""
        self._buckets = Buckets()
        self._sessions: OrderedDict[tuple[str, int, int, str], _Session] = OrderedDict()
        self._guard: Final = Guard(incarnation)
        self._session: _Session
        """The one that was answered last."""
        self.knew_all = False
        """Whether all that came together last was familiar."""
        self._familiar: dict[bytes, _Session] = {}
        """Those that are answered without being asked again who they are,"""
        self._rules: tuple[object, ...] = ()
        """as long as these rules hold by which that was decided."""
        self._roamed: OrderedDict[str, str] = OrderedDict()
        """By host: the name of the roaming key by which it was known last."""
        self._named: Mapping[str, Collection[Key]] = {}
        self._names: dict[Key, str] = {}
        """The names of these by their keys."""
        self._tried_full_at = 0
        """When as many roaming keys may be tried at once as ever: see `rate.spend`."""
        self._refused: set[str] = set()
        self._newly_refused: list[str] = []
        self._mistaken: dict[str, Collection[Key]] = {}
        """By host: its keys here, if any, when it was told that another one signed."""
        self._newly_mistaken: list[str] = []

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
        host, key = host_of(source), None
        reason = _too_short(datagram) or self._wrong_way(source, destination)
        if reason is None:
            reason, key = self._recognise(datagram, host, now)
        reason = reason or _is_answered(datagram, wall, authenticated=key is not None)
        ssid = stamp.ssid(datagram, authenticated=key is not None) if reason is None else 0
        session_key = (host, source[1], ssid, destination)
        if reason is None and key is not None:
            self.is_believed = not self.is_own(source, ssid)
            reason = _corrupt(datagram, authenticated=True) or self._replayed(
                datagram, key, self.known_by or host, received
            )
        # Only now: who has no key takes no tokens from a host that has, by sending in its name.
        reason = (
            reason
            or self._buckets.refuses((host, destination), now)
            or _corrupt(datagram, authenticated=key is not None)
            or _too_long(datagram, source)
        )
        if reason is not None:
            self.dropped[reason] += 1
            return None
        self.answered += 1
        self.is_signed, self.goodbye = key is not None, None
        if key is None:
            self.is_believed = True
        if self.is_believed:
            remember(self.requests_from, host, now)
        session = self._session = self._count(session_key, now)
        sequence = (session.accepted - 1) % ntp.WORD
        return stamp.pack_reply(
            datagram,
            sequence=sequence,
            timestamp=ntp.ntp_from_unix(wall),
            estimate=self.estimate,
            receive_timestamp=ntp.ntp_from_unix(received),
            ttl=UNKNOWN_TTL if ttl is None else ttl,
            tlvs=self._tlvs(datagram, sequence, key),
            key=key,
        )

    def answer_all(
        self, requests: Requests, answer_one: Callable[[int], bytes | None], *, now: int, wall: int
    ) -> list[bytes | None]:
        """Reply to what came together just as `answer` would, one by one in order.

        `answer_one` calls it for the one at an index, and notes what is to be told of it. It is
        spared a familiar one: who asks without a key what it asked before in the same session,
        plain or with hbd's TLV, gets the reply of before but for numbers and times. Whatever such
        a request says beside them, but a goodbye, is nothing to us.
        """
        self._look_at_rules()
        familiar, requests_from, grants = self._familiar, self.requests_from, self._buckets.grants
        is_crowded, awake, granted = self._is_crowded(), now - IDLE, 0
        is_calm = self._buckets.have(len(requests.lengths), now)
        estimate, t3 = self.estimate, ntp.ntp_from_unix(wall)
        words = hbd_tlv.ANSWERED + self._announcement[: hbd_tlv.ACCEPTED]
        replies: list[bytes | None] = []
        fields = _layout(requests.stride).iter_unpack(requests.octets)
        columns = zip(fields, *requests[2:], strict=True)
        for (
            asked,
            error,
            ssid,
            t2_asked,
            mark,
            flags,
        ), length, place, way, stamped, ttl in columns:
            spelling = place + way + ssid
            session = familiar.get(spelling)
            if (
                session is None
                or length not in (TOLD, PLAIN)
                or (length == TOLD and (mark != hbd_tlv.ASKED or flags & hbd_tlv.GOODBYE))
                or not error[1]
                or t2_asked != NO_TIME
                or session.heard < awake
                or not (is_calm and grants(session.bucket, now))
            ):
                reply = answer_one(len(replies))
                replies.append(reply)
                if reply is not None:
                    self._get_to_know(spelling)
                continue
            granted += 1
            sequence = session.accepted % ntp.WORD
            session.accepted += 1
            session.heard = requests_from[session.host] = now
            if is_crowded:
                self._renew(session)
            t2 = t3 if stamped is None else ntp.ntp_from_unix(stamped)
            hops = UNKNOWN_TTL if ttl is None else ttl
            if length == TOLD:
                accepted = session.accepted % ntp.WORD
                reply = _TOLD.pack(
                    sequence, t3, estimate, ssid, t2, asked, error, hops, words, accepted
                )
            else:
                reply = _PLAIN.pack(sequence, t3, estimate, ssid, t2, asked, error, hops)
            replies.append(reply)
        self.knew_all = granted == len(replies)
        self.answered += granted
        self._buckets.charge(granted, now)
        return replies

    def _look_at_rules(self) -> None:
        """Let nobody be familiar any more where that may be decided otherwise now."""
        rules = self.ports, self.own, self.accepts, self.keys, self.is_heeded
        if rules != self._rules:
            self._familiar.clear()
            self._rules = rules

    def _get_to_know(self, spelling: bytes) -> None:
        """Take note of how the request was spelt that was answered last, if its like is familiar.

        A goodbye makes all strangers: whatever comes next from that host says that it is back.
        """
        session = self._session
        if self.goodbye is not None:
            self._familiar.clear()
        elif not self.is_signed and not self.is_heeded(session.host):
            self._lose_sight_of(session)
            session.spelling = spelling
            self._familiar[spelling] = session

    def _lose_sight_of(self, session: _Session) -> None:
        if session.spelling is not None:
            self._familiar.pop(session.spelling, None)

    def _is_crowded(self) -> bool:
        """Whether it matters by now who is forgotten first: where there is room, nobody is."""
        most = max(len(self._sessions), len(self._buckets), len(self.requests_from))
        return most > rate.TABLE // 2

    def _renew(self, session: _Session) -> None:
        """Make all that is remembered of it the newest."""
        self._sessions.move_to_end(session.key)
        self._buckets.renew(session.bucket)
        remember(self.requests_from, session.host, session.heard)

    def refused(self) -> list[str]:
        """Drain the source addresses that were refused for the first time."""
        drained, self._newly_refused = self._newly_refused, []
        return drained

    def mistaken(self) -> list[str]:
        """Drain the hosts that sign with another key than they have here, or where one has none.

        Once for each key: whoever sends in their name could fill the journal otherwise.
        """
        drained, self._newly_mistaken = self._newly_mistaken, []
        return drained

    def _wrong_way(self, source: Address, destination: str) -> str | None:
        """Nothing tells a reply from a request but where it comes from (RFC 8762 4.2, 4.3)."""
        port = source[1]
        if port in ANSWERING or port == stamp.PORT or port in self.ports or source[:2] in self.own:
            return "loop"
        if port == 0:  # nobody can be answered there
            return "no-port"
        if not (is_unicast(source[0]) and is_unicast(destination)):
            return "multicast"
        return None

    def _recognise(self, datagram: bytes, host: str, now: int) -> tuple[str | None, Key | None]:
        """Give why whoever has an address is not answered; else the key that signed, if one did."""
        is_known = self.accepts(host)
        if not (is_known or self.roaming):
            return self._stranger(host), None
        keys = self.keys(host) if is_known else ()
        key = _signing(datagram, keys)
        self.is_of_host = is_known and (key is not None or not keys)
        self.known_by, reason = None, None
        if key is None:
            self.known_by, key, reason = self._roaming_key(datagram, host, now)
        elif self.roaming:
            self.known_by = self._name_of(key)
        if key is None and reason is not None:
            return reason, None
        if key is None and keys:
            return self._unsigned(host, keys), None
        if key is None and not is_known:
            return self._stranger(host), None
        if key is None and _looks_signed(datagram):
            return self._unsigned(host, ()), None
        return None, key

    def _name_of(self, key: Key) -> str | None:
        """Give the name by which a host's own key may roam, if it may."""
        if self._named is not self.roaming:
            self._named = self.roaming
            self._names = {key: name for name, keys in self.roaming.items() for key in keys}
        return self._names.get(key)

    def _roaming_key(
        self, datagram: bytes, host: str, now: int
    ) -> tuple[str | None, Key | None, str | None]:
        """Give the name of the roaming key that signed, and the key; or why it is not looked for.

        Who has been known by one costs little. To try all of thousands for a stranger costs more
        than anybody may have us do.
        """
        if not self.roaming or len(datagram) < stamp.AUTH_SIZE:
            return None, None, None
        last = self._roamed.get(host, "")
        key = _signing(datagram, self.roaming.get(last, ()))
        if key is not None:
            return last, key, None
        # Only who has none of them takes anything from what may be tried.
        full_at = spend(self._tried_full_at, now, TRIED, min(len(self.roaming), TRIED_AT_ONCE))
        if full_at is None:
            return None, None, "overload"
        for name, keys in self.roaming.items():
            key = _signing(datagram, keys)
            if key is not None:
                remember(self._roamed, host, name)
                return name, key, None
        self._tried_full_at = full_at
        return None, None, None

    def _replayed(self, datagram: bytes, key: Key, who: str, wall: int) -> str | None:
        """Refuse a signed request that has come before; note whether it is believed."""
        request = stamp.parse_verified(datagram)
        unix_from = ntp.unix_from_ptp if ntp.is_ptp(request.estimate) else ntp.unix_from_ntp
        said = Signed(
            request.sequence,
            unix_from(request.timestamp, wall),
            ntp.is_synchronised(request.estimate & self.estimate),
            partial(_incarnation, request, key),
        )
        standing = self._guard.look(who, request.ssid, said, wall)
        self.is_believed &= standing is Standing.NEW
        return "replay" if standing is Standing.REPLAYED else None

    def _unsigned(self, host: str, keys: Collection[Key]) -> str:
        has_room = host in self._mistaken or len(self._mistaken) < REFUSED
        if has_room and self._mistaken.get(host) != keys:
            self._mistaken[host] = keys
            self._newly_mistaken.append(host)
        return "hmac"

    def _stranger(self, host: str) -> str:
        if host not in self._refused and len(self._refused) < REFUSED:
            self._refused.add(host)
            self._newly_refused.append(host)
        return "unknown-source"

    def _count(self, key: tuple[str, int, int, str], now: int) -> _Session:
        """Give the session that has one more request, from which a token was taken."""
        bucket = self._buckets[key[0], key[3]]
        session = self._sessions.get(key)
        if session is None:
            session = _Session(key, key[0], bucket, accepted=0, heard=now)
        elif now - session.heard > IDLE:
            session.accepted = 0
        session.accepted += 1
        session.heard, session.bucket = now, bucket
        forgotten = remember(self._sessions, key, session)
        if forgotten is not None:
            self._lose_sight_of(forgotten)
        return session

    def _tlvs(self, datagram: bytes, sequence: int, key: Key | None) -> bytes:
        region = datagram[stamp.OPEN_SIZE if key is None else stamp.AUTH_SIZE :]
        if not region:
            return region
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
        return hbd_tlv.with_accepted(self._announcement, self._session.accepted)


@lru_cache(maxsize=8)
def _layout(stride: int) -> Struct:
    """Give what is read of requests, each a stride after the one before.

    Number and T1 as they are, estimate and SSID; what is T2 in a reply; of hbd's TLV the mark and
    the flags.
    """
    return Struct(f">12s2s2s8s21x8sB{stride - 54}x")


def _incarnation(request: stamp.Request, key: Key) -> int | None:
    """Give that of the hbd that sent a request, where it says so under an HMAC."""
    if not tlv.verifies(key, request.sequence, request.tlvs):
        return None
    said = (each.value for each in tlv.split(request.tlvs)[0] if each.kind == hbd_tlv.TYPE)
    with suppress(WireError, StopIteration):
        return hbd_tlv.parse(next(said)).incarnation
    return None


def _signing(datagram: bytes, keys: Collection[Key]) -> Key | None:
    """Give the key that a request is signed with, of these."""
    for key in keys:
        if stamp.is_signed(datagram, key):
            return key
    return None


def _too_short(datagram: bytes) -> str | None:
    return "short" if len(datagram) < stamp.OPEN_SIZE else None


def _looks_signed(datagram: bytes) -> bool:
    """Whether it is a request of authenticated mode: in open mode it had no time and no error."""
    return len(datagram) >= stamp.AUTH_SIZE and datagram[4:16] == bytes(12)


def _is_answered(datagram: bytes, wall: int, *, authenticated: bool) -> str | None:
    return "loop" if stamp.is_reply(datagram, wall, authenticated=authenticated) else None


def _corrupt(datagram: bytes, *, authenticated: bool) -> str | None:
    estimate = stamp.estimate(datagram, authenticated=authenticated)
    return None if ntp.multiplier(estimate) else "multiplier"


def _too_long(datagram: bytes, source: Address) -> str | None:
    longest = LONGEST_IPV6 if ":" in source[0] else LONGEST_IPV4
    return "too-long" if len(datagram) > longest else None
