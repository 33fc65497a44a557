"""BFD control packets (RFC 5880 4.1), open and with keyed SHA1 (4.4).

Intervals are microseconds, as on the wire. What follows the packet's own Length is ignored, as BIRD
and FRR do. Simple passwords and keyed MD5 are recognised, so that they can be named; nothing more.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from hbd.wire.errors import WireError

VERSION: Final = 1
SIZE: Final = 24
SHA1_SECTION: Final = 28
SHA1_SIZE: Final = SIZE + SHA1_SECTION
LONGEST_SECRET: Final = 20
"""It stands where the SHA1 goes (RFC 5880 4.4)."""
MOST: Final = 0xFFFFFFFF
"""The longest interval, the highest discriminator and sequence number."""

_AUTH_HEADER: Final = 2
_PACKET: Final = Struct(">BBBBIIIII")
_SHA1: Final = Struct(">BBBxI")
_HASH: Final = slice(SIZE + _SHA1.size, SHA1_SIZE)

_POLL: Final = 0x20
_FINAL: Final = 0x10
_CONTROL_PLANE_INDEPENDENT: Final = 0x08
_AUTHENTICATED: Final = 0x04
_DEMAND: Final = 0x02
_MULTIPOINT: Final = 0x01


class State(IntEnum):
    """Of a session; two bits on the wire."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diag(IntEnum):
    """Why a session changed its state last; others may come in, of five bits."""

    NONE = 0
    EXPIRED = 1
    ECHO_FAILED = 2
    SIGNALED_DOWN = 3
    FORWARDING_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_DOWN = 6
    ADMIN_DOWN = 7
    REVERSE_DOWN = 8


class AuthKind(IntEnum):
    """How a packet is authenticated; others may come in, of eight bits."""

    PASSWORD = 1
    KEYED_MD5 = 2
    METICULOUS_MD5 = 3
    KEYED_SHA1 = 4
    METICULOUS_SHA1 = 5


SHA1_KINDS: Final = frozenset((AuthKind.KEYED_SHA1, AuthKind.METICULOUS_SHA1))
_STATES: Final = tuple(State)


class Auth(NamedTuple):
    """What an authentication section says; the hash is verified apart from it."""

    kind: int
    key_id: int = 0
    sequence: int = 0
    """Read of the SHA1 kinds only."""


class Packet(NamedTuple):
    """What a control packet says."""

    diag: int
    state: State
    poll: bool
    final: bool
    control_plane_independent: bool
    demand: bool
    multiplier: int
    my_discriminator: int
    your_discriminator: int
    """0 while the other's is not known."""
    desired_min_tx_usec: int
    required_min_rx_usec: int
    """0: no periodic packets, please."""
    required_min_echo_rx_usec: int = 0
    """0: no echo packets, please."""
    auth: Auth | None = None


def pack(packet: Packet, secret: bytes | None = None) -> bytes:
    """Write 24 octets, or 52 with a SHA1 section; ValueError for other kinds of authentication.

    The secret is of 1..20 octets and belongs to `packet.auth`; neither goes without the other.
    """
    auth = packet.auth
    if auth is None and secret is None:
        return _pack_plain(packet, 0, SIZE)
    if auth is None or secret is None or auth.kind not in SHA1_KINDS:
        raise ValueError("authentication takes a SHA1 kind and a secret")
    section = _SHA1.pack(auth.kind, SHA1_SECTION, auth.key_id, auth.sequence)
    signed = _pack_plain(packet, _AUTHENTICATED, SHA1_SIZE) + section
    return signed + _hash(signed, secret)


def parse(datagram: bytes) -> Packet:
    """Read a packet by the rules of RFC 5880 6.8.6 that need no session; WireError.

    Its reasons: `short` (less than 24 octets), `version`, `length` (less than its header),
    `truncated` (less came than Length says), `multiplier` (0), `multipoint`, `discriminator`
    (its own is 0), `your-discriminator` (0, and the state is neither Down nor AdminDown),
    `auth-length` (the section does not fit its kind or the packet).
    """
    if len(datagram) < SIZE:
        raise WireError("short")
    (first, second, multiplier, length, mine, yours, tx, rx, echo) = _PACKET.unpack_from(datagram)
    if first >> 5 != VERSION:
        raise WireError("version")
    if length < (SIZE + _AUTH_HEADER if second & _AUTHENTICATED else SIZE):
        raise WireError("length")
    if length > len(datagram):
        raise WireError("truncated")
    if multiplier == 0:
        raise WireError("multiplier")
    if second & _MULTIPOINT:
        raise WireError("multipoint")
    if mine == 0:
        raise WireError("discriminator")
    state = _STATES[second >> 6]
    if yours == 0 and state > State.DOWN:
        raise WireError("your-discriminator")
    return Packet(
        diag=first & 0x1F,
        state=state,
        poll=second & _POLL != 0,
        final=second & _FINAL != 0,
        control_plane_independent=second & _CONTROL_PLANE_INDEPENDENT != 0,
        demand=second & _DEMAND != 0,
        multiplier=multiplier,
        my_discriminator=mine,
        your_discriminator=yours,
        desired_min_tx_usec=tx,
        required_min_rx_usec=rx,
        required_min_echo_rx_usec=echo,
        auth=_parse_auth(datagram[SIZE:length]) if second & _AUTHENTICATED else None,
    )


def addressee(datagram: bytes) -> int | None:
    """Read Your Discriminator alone, to find the session; 0: none; None: too short for BFD."""
    return int.from_bytes(datagram[8:12], "big") if len(datagram) >= SIZE else None


def verifies(datagram: bytes, secret: bytes) -> bool:
    """Check the SHA1 hash of a datagram that parse() has read as of a SHA1 kind (6.7.4).

    It covers all of the packet with the secret in the place of the hash; constant time.
    """
    from hmac import compare_digest  # noqa: PLC0415 - OpenSSL: only who has secrets pays for it

    signed, tail = datagram[: _HASH.start], datagram[_HASH.stop : datagram[3]]
    return compare_digest(_hash(signed, secret, tail), datagram[_HASH])


def _pack_plain(packet: Packet, authenticated: int, length: int) -> bytes:
    flags = (
        (_POLL if packet.poll else 0)
        | (_FINAL if packet.final else 0)
        | (_CONTROL_PLANE_INDEPENDENT if packet.control_plane_independent else 0)
        | (_DEMAND if packet.demand else 0)
        | authenticated
    )
    return _PACKET.pack(
        VERSION << 5 | packet.diag,
        packet.state << 6 | flags,
        packet.multiplier,
        length,
        packet.my_discriminator,
        packet.your_discriminator,
        packet.desired_min_tx_usec,
        packet.required_min_rx_usec,
        packet.required_min_echo_rx_usec,
    )


def _parse_auth(section: bytes) -> Auth:
    """Read what is in the packet behind its 24 octets, at least two of them."""
    kind, length = section[0], section[1]
    if kind in SHA1_KINDS:
        if length != SHA1_SECTION or length > len(section):
            raise WireError("auth-length")
        _, _, key_id, sequence = _SHA1.unpack_from(section)
        return Auth(kind, key_id, sequence)
    if not _AUTH_HEADER <= length <= len(section):
        raise WireError("auth-length")
    return Auth(kind, int.from_bytes(section[_AUTH_HEADER:length][:1], "big"))


def _hash(signed: bytes, secret: bytes, tail: bytes = b"") -> bytes:
    from hashlib import sha1  # noqa: PLC0415 - as above

    # Weak for signatures, but the only hash that BFD speakers share (RFC 5880 6.7).
    return sha1(signed + secret.ljust(LONGEST_SECRET, b"\0") + tail).digest()  # noqa: S324
