"""TLVs after a STAMP base packet, and the rules for both ends (RFC 8972 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from hbd.wire.auth import MAC_SIZE
from hbd.wire.errors import WireError

if TYPE_CHECKING:
    from hbd.wire.auth import Key

UNRECOGNISED: Final = 0x80
"""U. A sender sets it, a reflector that understands clears it; one that only copies leaves it."""
MALFORMED: Final = 0x40
INTEGRITY: Final = 0x20

RESERVED: Final = 0
"""No type; some reflectors fill the space of TLVs with zeros."""
EXTRA_PADDING: Final = 1
HMAC: Final = 8

Answer = Callable[[bytes], bytes | None]
"""A value for a value as long; None: not understood, WireError: of a wrong length."""

_HEADER: Final = Struct(">BBH")
HEADER_SIZE: Final = _HEADER.size
_SEQUENCE: Final = Struct(">I")


@dataclass(frozen=True, slots=True)
class Tlv:
    """One whole TLV."""

    flags: int
    kind: int
    value: bytes


def pack(kind: int, value: bytes, flags: int = UNRECOGNISED) -> bytes:
    """Write one TLV, header included, with the flags a sender gives it."""
    return _HEADER.pack(flags, kind, len(value)) + value


def split(region: bytes) -> tuple[list[Tlv], bytes]:
    """Take the whole TLVs off a region, and give back the rest.

    The rest is empty, or begins with a type of 0 or with a TLV that is cut off.
    """
    tlvs, end_of_last = [], 0
    for start, flags, kind, end in _walk(region):
        if end > len(region):
            break
        tlvs.append(Tlv(flags, kind, region[start + _HEADER.size : end]))
        end_of_last = end
    return tlvs, region[end_of_last:]


def reflect(region: bytes, understood: Mapping[int, Answer]) -> bytes:
    """Answer a sender's TLVs in as many octets: flags, and the values that are understood.

    After a malformed one the rest is copied as it is.
    """
    reply = bytearray(region)
    for start, _flags, kind, end in _walk(region):
        value = slice(start + _HEADER.size, end)
        answer = understood.get(kind)
        unrecognised = 0 if answer else UNRECOGNISED
        if end > len(region):
            reply[start] = unrecognised | MALFORMED
            break
        try:
            answered = answer(region[value]) if answer else None
        except WireError:
            reply[start] = unrecognised | MALFORMED
            break
        if answered is None:
            reply[start] = UNRECOGNISED
        else:
            reply[start], reply[value] = 0, answered
    return bytes(reply)


def reflect_signed(
    region: bytes, understood: Mapping[int, Answer], key: Key, *, asked: int, answered: int
) -> bytes:
    """Answer TLVs of authenticated mode: I on all if their HMAC fails, else a fresh HMAC.

    `asked` and `answered` are the Sequence Numbers of request and reply (RFC 8972 4.8).
    """
    tlvs, _ = split(region)
    if all(found.kind == EXTRA_PADDING for found in tlvs):
        return reflect(region, understood)  # nothing there that needs protection
    if not verifies(key, asked, region):
        spoilt = bytearray(region)
        for start, flags, _kind, _end in _walk(region):
            spoilt[start] = flags | INTEGRITY
        return bytes(spoilt)
    reply = reflect(region, {**understood, HMAC: bytes})
    start = next(start for start, _, kind, _ in _walk(region) if kind == HMAC)
    end = start + _HEADER.size + MAC_SIZE
    return reply[:start] + sign(key, answered, reply[:start], flags=0) + reply[end:]


def understood_by_reflector(region: bytes) -> list[Tlv]:
    """Choose what a sender may read of a reply: U is skipped, M ends it, I anywhere spoils all."""
    tlvs, _ = split(region)
    if any(tlv.flags & INTEGRITY for tlv in tlvs):
        return []
    readable = []
    for tlv in tlvs:
        if tlv.flags & MALFORMED:
            break
        if not tlv.flags & UNRECOGNISED:
            readable.append(tlv)
    return readable


def sign(key: Key, sequence: int, preceding: bytes, flags: int = UNRECOGNISED) -> bytes:
    """Write the HMAC TLV that follows `preceding` in a packet of this Sequence Number."""
    return pack(HMAC, key.sign(_SEQUENCE.pack(sequence) + preceding), flags)


def verifies(key: Key, sequence: int, region: bytes) -> bool:
    """Check the HMAC TLV: the only one, with nothing behind but Extra Padding (RFC 8972 4.8)."""
    tlvs, _ = split(region)
    after = len(region)  # octets that are no TLV are counted in, and spoil it
    while tlvs and tlvs[-1].kind == EXTRA_PADDING:
        after -= _HEADER.size + len(tlvs.pop().value)
    if not tlvs or [found for found in tlvs if found.kind == HMAC] != tlvs[-1:]:
        return False
    preceding = region[: after - _HEADER.size - MAC_SIZE]
    return key.verifies(_SEQUENCE.pack(sequence) + preceding, tlvs[-1].value)


def _walk(region: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Give offset, flags, type and end of each TLV; the last may end beyond the region."""
    start = 0
    while start + _HEADER.size <= len(region):
        flags, kind, length = _HEADER.unpack_from(region, start)
        if kind == RESERVED:
            return
        end = start + _HEADER.size + length
        yield start, flags, kind, end
        start = end
