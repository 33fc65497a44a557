"""The Session-Sender of one path (RFC 8762 4.2, RFC 8972 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.form import BARE, KEYED, OPEN
from hbd.core.model import Cause, ReflectorKind, State, Tlv
from hbd.core.session import Answer, Fact
from hbd.wire import hbd_tlv, ntp, stamp, tlv
from hbd.wire.errors import WireError
from hbd.wire.hbd_tlv import HbdTlv
from hbd.wire.hbd_tlv import Seen as Said

if TYPE_CHECKING:
    from hbd.core.form import Form
    from hbd.core.model import PeerSettings, StampOptions
    from hbd.core.station import Station
    from hbd.wire.auth import Key
    from hbd.wire.stamp import Reply

NOISE_BITS: Final = 12
"""The lowest bits of T1, below a microsecond, are random: a forger must guess them."""

WITH_TLV: Final = 1
"""The lowest bit of T1 remembers whether the heartbeat carried our TLV."""

GIVE_UP_AFTER: Final = 3
"""So many replies without our TLV show that the reflector is not hbd;"""
TRY_AGAIN_EVERY: Final = 10
"""then every tenth heartbeat still asks."""

_EMPTY_TLV: Final = tlv.pack(tlv.EXTRA_PADDING, b"")

SEEN: Final = {
    State.UNKNOWN: Said.UNKNOWN,
    State.UP: Said.UP,
    State.DOWN: Said.DOWN,
}
"""What we say of a path."""


@dataclass(slots=True)
class Keys:
    """What authenticates paths: one key signs, any of them is accepted.

    Sessions that run see it when others take their place.
    """

    sign: Key
    accept: tuple[Key, ...]


class Template(NamedTuple):
    """A heartbeat of a path that is up, as long as our station says the same."""

    octets: bytes
    """All of it but sequence number, T1 and HMACs,"""
    mark: int
    """and the last bit of T1."""
    form: Form


class Seen(NamedTuple):
    """What is the same in all replies of a reflector as a rule."""

    same: int
    """Of that what its Form names."""
    length: int
    counts: bool
    """Whether the reflector is known to count."""


class StampSession:
    """Heartbeats and replies of one path: in open mode, or with keys in authenticated mode."""

    __slots__ = (
        "_brings_ssid",
        "_counts",
        "_is_hbd",
        "_keys",
        "_random_ssid",
        "_said",
        "_settings",
        "_without",
        "seen",
        "silent",
        "station",
    )

    def __init__(self, settings: PeerSettings, station: Station, keys: Keys | None = None) -> None:
        self._keys: Final = keys
        self.station: Final = station
        self._random_ssid: Final = 1 + station.dice.getrandbits(32) % 0xFFFF
        self._is_hbd: bool | None = None
        """Whether the reflector fills in our TLV, once that is known."""
        self._without = 0
        """Replies that brought our TLV back as it was, or not at all."""
        self.silent = 0
        """Heartbeats since the last reply."""
        self.seen: Seen | None = None
        """What was in the last reply that is the same in each; of Volleys."""
        self._said = b""
        """The reply that was read last, until it is known whether it is one."""
        self._counts = False
        """Whether the reflector is known to count, whatever its number is."""
        self._brings_ssid = False
        """Whether the reflector is known to bring our SSID back; not all do (RFC 8972 3)."""
        self._settings = settings

    def adopt(self, settings: PeerSettings) -> None:
        """Take over new settings; what else was learnt of the reflector stays."""
        self._settings = settings
        self.seen, self._brings_ssid = None, False

    @property
    def _options(self) -> StampOptions:
        return self._settings.stamp

    @property
    def ssid(self) -> int:
        """By what replies are known to be of this session; 0: it has none on the wire."""
        told = self._options.ssid
        return self._random_ssid if told is None else told

    def template(self) -> Template | None:
        """Give that of a path that is up; None where each heartbeat may be another."""
        options, station = self._options, self.station
        is_told = options.tlv is Tlv.ON or (options.tlv is Tlv.AUTO and self._is_hbd is True)
        if station.is_leaving:
            return None
        tlvs = station.tlv(SEEN[State.UP], self._settings.timing.interval) if is_told else b""
        octets = self._write(0, 0, tlvs, options.size or 0)
        form = KEYED if self._keys is not None else OPEN if is_told else BARE
        return Template(octets, WITH_TLV if is_told else 0, form)

    def compose(
        self, sequence: int, wall: int, state: State, *, padded: bool = True
    ) -> tuple[bytes, int]:
        """Give a heartbeat for this moment, and its T1."""
        station = self.station
        timestamp = ntp.ntp_from_unix(wall) >> NOISE_BITS << NOISE_BITS
        timestamp |= station.dice.getrandbits(NOISE_BITS) & ~WITH_TLV
        tlvs = b""
        if self._carries_tlv(sequence):
            timestamp |= WITH_TLV
            tlvs = station.tlv(SEEN[state], self._settings.timing.interval)
        if state is State.DOWN:
            self._brings_ssid = False  # another reflector may come in its place
        self.silent += 1
        size = (self._options.size or 0) if padded else 0
        return self._write(sequence & 0xFFFFFFFF, timestamp, tlvs, size), timestamp

    def _write(self, sequence: int, timestamp: int, tlvs: bytes, size: int) -> bytes:
        estimate, ssid, keys = self.station.estimate, self.ssid, self._keys
        if keys is None:
            tlvs += _pad(size, stamp.OPEN_SIZE + len(tlvs))
            return stamp.pack_request(sequence, timestamp, estimate, ssid, tlvs)
        # Whatever tells something is covered by the HMAC TLV; padding comes before it.
        length = stamp.AUTH_SIZE + len(tlvs) + (stamp.SEAL_SIZE if tlvs else 0)
        told, tlvs = bool(tlvs), tlvs + _pad(size, length)
        if told:
            tlvs += tlv.sign(keys.sign, sequence, tlvs)
        return stamp.pack_request_auth(sequence, timestamp, estimate, ssid, tlvs, key=keys.sign)

    def _carries_tlv(self, sequence: int) -> bool:
        match self._options.tlv:
            case Tlv.ON:
                return True
            case Tlv.OFF:
                return False
        if not self._options.echo_timestamp:
            return False  # what mixes up timestamps is no hbd
        if self.station.is_leaving:
            return True  # a goodbye is said once, and to an hbd or to nobody
        if self.silent >= GIVE_UP_AFTER and sequence % 2:
            return False  # perhaps it is the TLV that does not get through
        return self._is_hbd is not False or sequence % TRY_AGAIN_EVERY == 0

    @property
    def may_tell(self) -> bool:
        """Whether our TLV is tried at times where the reflector does not understand it."""
        return self._options.tlv is Tlv.AUTO

    @property
    def is_keyed(self) -> bool:
        return self._keys is not None

    def seal(self, heartbeat: memoryview) -> None:
        """Sign what was made from the template."""
        if self._keys is not None:
            stamp.seal(heartbeat, self._keys.sign)

    def vouches(self, reply: bytes) -> bool:
        """Whether a reply is signed, with its TLVs."""
        keys = () if self._keys is None else self._keys.accept
        return any(stamp.is_sealed(reply, key) for key in keys)

    def claims(self, datagram: bytes) -> bool:
        """Whether its SSID is ours, or it has none."""
        return self._ssid_of(datagram) in (b"", b"\0\0", self.ssid.to_bytes(2, "big"))

    @property
    def _places(self) -> stamp.Places:
        return stamp.OPEN if self._keys is None else stamp.AUTH

    def _ssid_of(self, datagram: bytes) -> bytes:
        at = self._places.ssid
        return datagram[at : at + 2]

    def recognises(self, payload: bytes, sequence: int, token: int) -> bool:
        """Whether octets returned by an ICMP error hold sequence number and T1 of a heartbeat."""
        begins = payload[:4] == (sequence & 0xFFFFFFFF).to_bytes(4, "big")
        at = self._places.timestamp
        return begins and payload[at : at + 8] == token.to_bytes(8, "big")

    def read(self, datagram: bytes) -> Answer | Fact:
        """Read a reply, be it of 38, 41, 44 octets or more: not all reflectors send all fields."""
        try:
            reply, words = self._parse(datagram)
        except WireError as error:
            if error.reason == "hmac":
                return Fact(Cause.AUTH, "replies that fail the HMAC: it does not have our key")
            return _bad(f"replies of {len(datagram)} octets, which is no STAMP of this mode")
        if reply.ssid not in (None, self.ssid):
            return _bad(f"replies of another session (SSID {reply.ssid})")
        if reply.ssid is None and self._brings_ssid:
            return _bad("replies without our SSID, which it brought back before")
        if reply.sender_timestamp == 0 and reply.sender_estimate == 0:
            return _bad("sends our own heartbeats back: no reflector, but an echo service")
        self._said = datagram
        return Answer(
            sequence=reply.sender_sequence,
            token=reply.sender_timestamp if self._options.echo_timestamp else None,
            dwell=stamp.dwell(reply) or 0,
            incarnation=words.incarnation if words is not None else None,
            uncounted=self._uncounted(reply, words),
            goodbye=words if words is not None and self._believes(words) else None,
        )

    def _believes(self, words: HbdTlv) -> bool:
        """Whether they say goodbye, and nobody else can have said it."""
        is_safe = self._keys is not None or self._options.trust_goodbye
        return is_safe and bool(words.flags & hbd_tlv.GOODBYE)

    def _uncounted(self, reply: Reply, words: HbdTlv | None) -> int | None:
        """A stateless reflector repeats our numbers, a stateful one may by chance (RFC 8762 4)."""
        kind = self._options.reflector
        if kind is ReflectorKind.STATELESS:
            return None
        uncounted = (reply.sender_sequence - reply.sequence) % ntp.WORD
        says_so = words is not None and bool(words.flags & hbd_tlv.STATEFUL)
        self._counts = says_so or kind is ReflectorKind.STATEFUL
        return uncounted if uncounted or self._counts else None

    def _parse(self, datagram: bytes) -> tuple[Reply, HbdTlv | None]:
        """Read a reply and hbd's words in it; WireError."""
        if self._keys is None:
            reply = stamp.parse_reply(datagram)
            return reply, hbd_tlv.from_reply(reply.tlvs)
        for key in self._keys.accept:
            if stamp.is_signed(datagram, key):
                reply = stamp.parse_reply_auth(datagram, key)
                sound = tlv.verifies(key, reply.sequence, reply.tlvs)
                return reply, hbd_tlv.from_reply(reply.tlvs) if sound else None
        raise WireError("hmac" if len(datagram) >= stamp.AUTH_SIZE else "short")

    def accepted(self, answer: Answer, token: int) -> None:
        """Learn from a reply to the heartbeat with this token whether the reflector is hbd."""
        was_silent, self.silent = self.silent > GIVE_UP_AFTER, 0
        self._brings_ssid |= self._ssid_of(self._said) == self.ssid.to_bytes(2, "big") != b"\0\0"
        self._learn(answer)
        if answer.incarnation is not None:
            self._is_hbd, self._without = True, 0
        elif was_silent and not token & WITH_TLV:
            # It was the TLV that did not get through; or an hbd that was down is back.
            self._is_hbd = None if self._is_hbd else False
        elif token & WITH_TLV:
            self._without += 1
            if self._without >= GIVE_UP_AFTER:
                self._is_hbd = False

    def _learn(self, answer: Answer) -> None:
        """See by what the next reply is known to say nothing new."""
        said, self._said, self.seen = self._said, b"", None
        form = self._form_of(said, answer)
        if form is None or answer.token is None or answer.goodbye is not None:
            return
        if answer.uncounted and not self._counts:
            return  # where the next one shows no more of that, it is not known to count
        if not form.is_ptp(said):
            self.seen = Seen(form.hash(said), len(said), answer.uncounted is not None)

    def _form_of(self, said: bytes, answer: Answer) -> Form | None:
        """Give that of the next reply where it is known: of an hbd, or who is told nothing."""
        if answer.incarnation is not None:
            return OPEN if self._keys is None else KEYED
        is_no_hbd = self._is_hbd is False and self._without >= GIVE_UP_AFTER
        is_told_nothing = self._options.tlv is Tlv.OFF or is_no_hbd
        if self._keys is not None or not is_told_nothing or len(said) != stamp.OPEN_SIZE:
            return None
        return BARE if BARE.dwell(said) == answer.dwell else None  # else it mixes up timestamps


def _pad(size: int, length: int) -> bytes:
    """Give what makes octets of this length as many as are wanted."""
    missing = size - length - len(_EMPTY_TLV)
    return tlv.pack(tlv.EXTRA_PADDING, bytes(missing)) if missing >= 0 else b""


def _bad(words: str) -> Fact:
    return Fact(Cause.BAD_REPLY, words)
