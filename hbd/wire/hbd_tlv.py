"""What hbds tell each other beside STAMP: an experimental TLV of one length in both directions.

A reflector that does not know it gives it back with U=1 or not at all, and the heartbeat counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Final

from hbd.wire import ntp, tlv
from hbd.wire.errors import WireError

TYPE: Final = 250
"""Of the experimental range, where others live too: the magic tells hbd's from theirs."""
MAGIC: Final = b"hbd1"
VERSION: Final = 1
LENGTH: Final = 40

# flags
REFLECTOR: Final = 0x01
"""Written by a reflector: a request that came back as it was does not have it."""
STATEFUL: Final = 0x02
GOODBYE: Final = 0x04
MAINTENANCE: Final = 0x08
STARTING: Final = 0x10
DEGRADED: Final = 0x20
"""These three are reserved: nobody says them yet."""


class Seen(IntEnum):
    """The writer's state of the reader."""

    UNKNOWN = 0
    DOWN = 1
    SUSPECT = 2
    UP = 3
    ADMIN_DOWN = 4


class Reason(IntEnum):
    """Why the writer leaves."""

    NONE = 0
    STOP = 1
    RESTART = 2
    REBOOT = 3
    SHUTDOWN = 4
    MAINTENANCE = 5


_FNV_BASIS: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3

_MARK: Final = MAGIC + bytes([VERSION])
_VALUE: Final = Struct(">4sBBBBQQIII4x")
_FLAGS: Final = 5
ACCEPTED: Final = 32
"""Where the number of those accepted is in the value; nothing comes after it."""
ASKED: Final = bytes([TYPE, 0, LENGTH]) + _MARK
"""What stands between the flags of a TLV of ours and our own;"""
ANSWERED: Final = bytes([0, TYPE, 0, LENGTH])
"""and the header of one that a reflector has understood."""
SIZE: Final = len(ANSWERED) + LENGTH


@dataclass(frozen=True, slots=True)
class HbdTlv:
    """One side's words to the other; numbers of later versions may stand in state and reason."""

    flags: int
    state: int
    reason: int
    incarnation: int
    """64 bits, another one after each start of the writer."""
    node: int
    """64 bits, node_id of the writer's name."""
    interval_usec: int
    """How often the writer sends to the reader; 0: not at all."""
    hold_s: int
    """How long a goodbye or a maintenance is to hold."""
    accepted: int
    """How many of the reader's packets the writer accepted in this session, modulo 2^32."""

    def pack(self) -> bytes:
        """Write the value, 40 octets without the header."""
        return _VALUE.pack(
            MAGIC,
            VERSION,
            self.flags,
            self.state,
            self.reason,
            self.incarnation,
            self.node,
            self.interval_usec,
            self.hold_s,
            self.accepted,
        )


def is_ours(value: bytes) -> bool:
    """Tell hbd's value from what others put into a TLV of this type; WireError `length`."""
    if not value.startswith(_MARK):
        return False
    if len(value) != LENGTH:
        raise WireError("length")
    return True


def says_goodbye(value: bytes) -> bool:
    """Tell whether a packed value says that its writer stops."""
    return bool(value[_FLAGS] & GOODBYE)


def with_accepted(value: bytes, accepted: int) -> bytes:
    """Put another count, modulo 2^32, into a packed value: cheaper than to pack all of it again."""
    return value[:ACCEPTED] + (accepted % ntp.WORD).to_bytes(4, "big") + value[ACCEPTED + 4 :]


def parse(value: bytes) -> HbdTlv:
    """Read 40 octets; WireError `foreign` or `length`."""
    if not is_ours(value):
        raise WireError("foreign")
    _magic, _version, *fields = _VALUE.unpack(value)
    return HbdTlv(*fields)


def from_reply(region: bytes) -> HbdTlv | None:
    """Find the words of an hbd reflector in a reply's TLVs; None from any other reflector.

    With a key, tlv.verifies comes first.
    """
    for found in tlv.understood_by_reflector(region):
        if found.kind != TYPE:
            continue
        try:
            words = parse(found.value)
        except WireError:
            continue
        if words.flags & REFLECTOR:
            return words
    return None


def node_id(name: str) -> int:
    """Give a name as 64 bits (FNV-1a, RFC 9923): to notice wrong wiring, not to trust."""
    number = _FNV_BASIS
    for octet in name.encode():
        number = (number ^ octet) * _FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return number
