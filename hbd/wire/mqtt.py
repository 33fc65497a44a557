"""MQTT 3.1.1 (OASIS, 29 October 2014), as much of it as a client needs that only asks for life.

Numbers in comments are sections of the standard.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14

HEARTBEAT: Final = bytes([PINGREQ << 4, 0])
GOODBYE: Final = bytes([DISCONNECT << 4, 0])

LONGEST_TEXT: Final = 0xFFFF
LONGEST_KEEP_ALIVE: Final = 0xFFFF
"""Seconds."""

ACCEPTED: Final = 0
LAST_RETURN_CODE: Final = 5
"""3.2.2.3: those above are reserved."""

_PROTOCOL: Final = b"\0\4MQTT\4"  # 3.1.2.1, 3.1.2.2
_FLAGS_AND_KEEP_ALIVE: Final = Struct(">BH")
_CONNACK: Final = Struct(">BB")
_LENGTH_OCTETS: Final = 4

# 3.1.2.3
_CLEAN_SESSION: Final = 0x02
_WILL: Final = 0x04
_WILL_QOS_SHIFT: Final = 3
_WILL_RETAIN: Final = 0x20
_PASSWORD: Final = 0x40
_USERNAME: Final = 0x80

_RETAIN: Final = 0x01  # 3.3.1.3

_EXPECTED: Final = {CONNACK: _CONNACK.size, PINGRESP: 0}
"""What a broker may send to a client that subscribes to nothing, and its exact remaining length."""


class Will(NamedTuple):
    """What the broker publishes when the connection ends without a DISCONNECT (3.1.2.5)."""

    topic: str
    message: bytes
    qos: int
    retain: bool


class ConnAck(NamedTuple):
    """The broker's answer to CONNECT."""

    code: int
    """0: accepted; 1..5: why not (3.2.2.3)."""


class PingResp(NamedTuple):
    """The broker's answer to PINGREQ."""


Packet = ConnAck | PingResp


def pack_connect(
    client_id: str,
    keep_alive: int,
    *,
    username: str | None = None,
    password: bytes | None = None,
    will: Will | None = None,
) -> bytes:
    """Write a CONNECT; `keep_alive` in seconds, 0..65535.

    The session is always a clean one: nothing of it is to outlive the connection. ValueError for a
    text of more than 65535 octets, and for a password without a user name (3.1.2.9).
    """
    if password is not None and username is None:
        raise ValueError("a password without a user name")
    flags, payload = _CLEAN_SESSION, _text(client_id.encode())
    if will is not None:
        flags |= _WILL | will.qos << _WILL_QOS_SHIFT | (_WILL_RETAIN if will.retain else 0)
        payload += _text(will.topic.encode()) + _text(will.message)
    if username is not None:
        flags |= _USERNAME
        payload += _text(username.encode())
    if password is not None:
        flags |= _PASSWORD
        payload += _text(password)
    body = _PROTOCOL + _FLAGS_AND_KEEP_ALIVE.pack(flags, keep_alive) + payload
    return bytes([CONNECT << 4]) + _remaining_length(len(body)) + body


def _text(octets: bytes) -> bytes:
    if len(octets) > LONGEST_TEXT:
        raise ValueError(f"a text of {len(octets)} octets")
    return len(octets).to_bytes(2, "big") + octets


def _remaining_length(length: int) -> bytes:
    """2.2.3: seven bits an octet, the lowest first; the eighth says that more follow."""
    octets = bytearray()
    while True:
        length, low = length >> 7, length & 0x7F
        octets.append(low | (0x80 if length else 0))
        if not length:
            return bytes(octets)


class Parser:
    """Reads what a broker sends, in whatever pieces; between two of them it keeps one packet."""

    __slots__ = ("_is_accepted", "_packet", "_skipped")

    LONGEST: Final = 1 + _LENGTH_OCTETS + _CONNACK.size
    """Octets that it keeps at most."""

    def __init__(self) -> None:
        self._packet = bytearray()
        self._is_accepted = False
        self._skipped = 0
        """Octets of a PUBLISH that are still to come: some brokers subscribe their clients."""

    def read(self, octets: bytes) -> Iterator[Packet]:
        """Give the packets that these octets complete.

        WireError, after the packets before it: `type`, what is no CONNACK and no PINGRESP, nor,
        once we are accepted, a PUBLISH that wants no answer; `flags`, `length` or `return-code`,
        what is malformed. Nothing can be read after that.
        """
        packet, at = self._packet, 0
        while at < len(octets):
            if self._skipped:
                skipped = min(self._skipped, len(octets) - at)
                self._skipped, at = self._skipped - skipped, at + skipped
                continue
            packet.append(octets[at])
            at += 1
            if len(packet) == 1:
                self._check_header(packet[0])
                continue
            header = _header_size(packet)
            if header is None:
                continue
            kind, length = packet[0] >> 4, _length(packet[1:header])
            if kind == PUBLISH:
                self._skipped = length
                packet.clear()
                continue
            if length != _EXPECTED[kind]:
                raise WireError("length")
            if len(packet) == header + _EXPECTED[kind]:
                whole = bytes(packet[header:])
                packet.clear()
                yield self._connack(whole) if kind == CONNACK else PingResp()

    def _check_header(self, octet: int) -> None:
        if self._is_accepted and octet & ~_RETAIN == PUBLISH << 4:
            return  # 3.3.1.2: QoS 0
        if octet >> 4 not in _EXPECTED:
            raise WireError("type")
        if octet & 0x0F:
            raise WireError("flags")  # 2.2.2: reserved, must be 0

    def _connack(self, body: bytes) -> ConnAck:
        flags, code = _CONNACK.unpack(body)
        if flags & 0xFE:
            raise WireError("flags")  # 3.2.2.1: all but Session Present are reserved
        if code > LAST_RETURN_CODE:
            raise WireError("return-code")
        self._is_accepted = code == ACCEPTED
        return ConnAck(code)


def _header_size(packet: bytearray) -> int | None:
    """Count the octets of a fixed header; None until its last one is there."""
    for at, octet in enumerate(packet[1 : 1 + _LENGTH_OCTETS], 2):
        if octet < 0x80:  # noqa: PLR2004 - no more octets of the length follow
            return at
    if len(packet) > _LENGTH_OCTETS:
        raise WireError("length")
    return None


def _length(octets: bytearray) -> int:
    # More octets than needed are not forbidden before MQTT 5.
    return sum((octet & 0x7F) << 7 * at for at, octet in enumerate(octets))
