"""STAMP test packets (RFC 8762 4.2, 4.3; SSID: RFC 8972 3), open and authenticated.

The mode is configuration and never guessed: 112 octets in open mode are a base packet and TLVs.
Both modes carry the same fields in the same order, at other offsets. Timestamps are raw 64-bit
integers and Error Estimates raw 16-bit ones; hbd.wire.ntp reads both.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, calcsize
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.wire import ntp, tlv
from hbd.wire.auth import MAC_SIZE
from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hbd.wire.auth import Key


class Places(NamedTuple):
    """Where fields of a mode begin, in octets, after the sequence number that comes first.

    A request has the first three; what it has where the others are in a reply must be zero.
    """

    timestamp: int
    estimate: int
    ssid: int
    receive_timestamp: int
    sender_sequence: int
    sender_timestamp: int
    sender_estimate: int
    sender_ttl: int
    end: int
    """Of all that, and of what the HMAC covers where there is one;"""
    size: int
    """of the base packet: TLVs follow it."""


OPEN: Final = Places(4, 12, 14, 16, 24, 28, 36, 40, end=44, size=44)
"""RFC 8762 4.2.1, 4.3.1."""
AUTH: Final = Places(16, 24, 26, 32, 48, 64, 72, 80, end=96, size=96 + MAC_SIZE)
"""RFC 8762 4.2.2, 4.3.2."""

OPEN_SIZE: Final = OPEN.size
AUTH_SIZE: Final = AUTH.size

SEAL_SIZE: Final = tlv.HEADER_SIZE + MAC_SIZE
"""Octets of an HMAC TLV;"""
_SEAL_HEAD: Final = tlv.pack(tlv.HMAC, bytes(MAC_SIZE), flags=0)[:-MAC_SIZE]
"""and what it begins with where a reflector has written it."""

LONGEST_IPV4: Final = 1472
LONGEST_IPV6: Final = 1452
"""The payloads of an Ethernet frame: what is longer would leave in fragments."""

SHORTEST_REPLY: Final = 38
"""TWAMP-Light reflectors may leave out what follows the Session-Sender Error Estimate or TTL."""

LONGEST_DWELL: Final = 3600 * ntp.SECOND
"""Nobody keeps a request for an hour; some reflectors mix up their timestamps."""

THESE_DAYS: Final = 86_400 * ntp.SECOND
"""So far apart clocks may be that nobody has set right."""


def reader(fields: Iterable[tuple[int, str]], size: int) -> Struct:
    """Give what reads and writes fields, by where each begins and how `struct` has it.

    All octets between them, up to so many, are padding.
    """
    layout = ">"
    for begin, code in sorted(fields):
        layout += f"{begin - calcsize(layout)}x{code}"
    return Struct(f"{layout}{size - calcsize(layout)}x")


class _Layout(NamedTuple):
    size: int
    request: Struct
    reply: Struct


def _layout(places: Places) -> _Layout:
    """Give that of a mode, but for the HMAC."""
    fields = list(zip((0, *places[:8]), "IQHHQIQHB", strict=True))
    return _Layout(places.size, reader(fields[:4], places.end), reader(fields, places.end))


_OPEN: Final = _layout(OPEN)
_AUTH: Final = _layout(AUTH)


@dataclass(frozen=True, slots=True)
class Request:
    """What a Session-Sender says."""

    sequence: int
    timestamp: int
    estimate: int
    ssid: int
    """0: none."""
    tlvs: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a Session-Reflector says; None where it does not say it."""

    sequence: int
    timestamp: int
    estimate: int
    ssid: int | None
    """None from a reflector without RFC 8972."""
    receive_timestamp: int | None
    sender_sequence: int
    sender_timestamp: int
    sender_estimate: int
    sender_ttl: int | None
    """The TTL or Hop Limit of the request when it arrived."""
    tlvs: bytes


def pack_request(
    sequence: int, timestamp: int, estimate: int, ssid: int, tlvs: bytes = b""
) -> bytes:
    """Write 44 octets and the TLVs."""
    return _OPEN.request.pack(sequence, timestamp, estimate, ssid) + tlvs


def pack_request_auth(
    sequence: int, timestamp: int, estimate: int, ssid: int, tlvs: bytes = b"", *, key: Key
) -> bytes:
    """Write 112 octets and the TLVs."""
    return _signed(_AUTH.request.pack(sequence, timestamp, estimate, ssid), key) + tlvs


def parse_request(datagram: bytes) -> Request:
    """Read 44 octets or more; WireError `short` or `multiplier`."""
    return _parse_request(_OPEN, datagram)


def parse_request_auth(datagram: bytes, key: Key) -> Request:
    """Read 112 octets or more; WireError `short`, `hmac` or `multiplier`."""
    _authenticate(datagram, key)
    return parse_verified(datagram)


def parse_verified(datagram: bytes) -> Request:
    """Read a request of authenticated mode whose HMAC is known to be right; WireError as above."""
    return _parse_request(_AUTH, datagram)


def ssid(request: bytes, *, authenticated: bool = False) -> int:
    """Read the SSID alone, of a whole request."""
    at = (AUTH if authenticated else OPEN).ssid
    return request[at] << 8 | request[at + 1]


def estimate(request: bytes, *, authenticated: bool = False) -> int:
    """Read the Error Estimate alone, of a whole request."""
    at = (AUTH if authenticated else OPEN).estimate
    return request[at] << 8 | request[at + 1]


def is_reply(datagram: bytes, wall: int, *, authenticated: bool = False) -> bool:
    """Tell whether what should be a request has a T2 of these days: then somebody answered it.

    `wall`: nanoseconds since 1970. Nothing else tells them apart, and a T2 must be zero in a
    request; but TWAMP has random octets there (RFC 5357 4.1.2), of which one in 40,000 is refused.
    """
    at = (AUTH if authenticated else OPEN).receive_timestamp
    moment = int.from_bytes(datagram[at : at + 8], "big")
    return moment != 0 and any(
        abs(unix_from(moment, wall) - wall) < THESE_DAYS
        for unix_from in (ntp.unix_from_ntp, ntp.unix_from_ptp)
    )


def is_signed(datagram: bytes, key: Key) -> bool:
    """Check the HMAC of a request or a reply; False as well for what is too short for one."""
    if len(datagram) < AUTH_SIZE:
        return False
    # Octets that must be zero are covered as they were received (RFC 8762 4.4).
    return key.verifies(datagram[: AUTH.end], datagram[AUTH.end : AUTH_SIZE])


def seal(packet: memoryview, key: Key) -> None:
    """Write the HMACs of 112 octets, and of TLVs if there are any: an HMAC TLV is the last one."""
    packet[AUTH.end : AUTH_SIZE] = key.sign(packet[: AUTH.end])
    if len(packet) > AUTH_SIZE:
        packet[-MAC_SIZE:] = key.sign(_told(packet.tobytes()))


def is_sealed(reply: bytes, key: Key) -> bool:
    """Check both HMACs of a reply with TLVs, the last of which is an HMAC TLV."""
    is_last = reply[-SEAL_SIZE:-MAC_SIZE] == _SEAL_HEAD
    macs = reply[AUTH.end : AUTH_SIZE] + reply[-MAC_SIZE:]
    return is_last and key.verifies_both(reply[: AUTH.end], _told(reply), macs)


def _told(packet: bytes) -> bytes:
    """What the HMAC TLV at the end covers (RFC 8972 4.8)."""
    return packet[:4] + packet[AUTH_SIZE:-SEAL_SIZE]


def pack_reply(
    request: bytes,
    *,
    sequence: int,
    timestamp: int,
    estimate: int,
    receive_timestamp: int,
    ttl: int,
    tlvs: bytes | None = None,
    key: Key | None = None,
) -> bytes:
    """Answer a request datagram in exactly as many octets; with a key in authenticated mode.

    Without TLVs, its own are copied; ValueError if those given are not as long.
    """
    layout = _OPEN if key is None else _AUTH
    *sender, ssid = layout.request.unpack_from(request)
    base = layout.reply.pack(sequence, timestamp, estimate, ssid, receive_timestamp, *sender, ttl)
    base = base if key is None else _signed(base, key)
    reply = base + (request[layout.size :] if tlvs is None else tlvs)
    if len(reply) != len(request):
        raise ValueError(f"a reply of {len(reply)} octets to a request of {len(request)}")
    return reply


def parse_reply(datagram: bytes) -> Reply:
    """Read 38 octets or more, as TWAMP-Light reflectors may send them; WireError `short`.

    A multiplier of 0 is not held against a reply: what counts is what it brings back.
    """
    if len(datagram) < SHORTEST_REPLY:
        raise WireError("short")
    return _parse_reply(_OPEN, datagram.ljust(OPEN_SIZE, b"\0"))


def parse_reply_auth(datagram: bytes, key: Key) -> Reply:
    """Read 112 octets or more; WireError `short` or `hmac`."""
    _authenticate(datagram, key)
    return _parse_reply(_AUTH, datagram)


def dwell(reply: Reply) -> int | None:
    """Count the nanoseconds the reflector kept the request, T3 - T2; None if that cannot be."""
    if reply.receive_timestamp is None:
        return None
    span = ntp.elapsed(reply.receive_timestamp, reply.timestamp, ptp=ntp.is_ptp(reply.estimate))
    return span if 0 <= span <= LONGEST_DWELL else None


def _signed(base: bytes, key: Key) -> bytes:
    return base + key.sign(base)


def _authenticate(datagram: bytes, key: Key) -> None:
    if len(datagram) < AUTH_SIZE:
        raise WireError("short")
    if not is_signed(datagram, key):
        raise WireError("hmac")


def _parse_request(layout: _Layout, datagram: bytes) -> Request:
    if len(datagram) < layout.size:
        raise WireError("short")
    sequence, timestamp, estimate, ssid = layout.request.unpack_from(datagram)
    if ntp.multiplier(estimate) == 0:
        raise WireError("multiplier")
    return Request(sequence, timestamp, estimate, ssid, datagram[layout.size :])


def _parse_reply(layout: _Layout, datagram: bytes) -> Reply:
    (sequence, timestamp, estimate, ssid, receive_timestamp, *sender, ttl) = (
        layout.reply.unpack_from(datagram)
    )
    sender_sequence, sender_timestamp, sender_estimate = sender
    return Reply(
        sequence=sequence,
        timestamp=timestamp,
        estimate=estimate,
        ssid=ssid or None,
        receive_timestamp=receive_timestamp or None,
        sender_sequence=sender_sequence,
        sender_timestamp=sender_timestamp,
        sender_estimate=sender_estimate,
        sender_ttl=ttl or None,  # no datagram arrives with 0: it means unknown
        tlvs=datagram[layout.size :],
    )
