"""Where heartbeats and replies have what changes each time, in both modes of STAMP; for volleys."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.wire import hbd_tlv, ntp, stamp
from hbd.wire.stamp import Places, reader

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable
    from struct import Struct


class Form(NamedTuple):
    """Where heartbeats and replies of a mode have what volleys write and read."""

    places: Places
    told: int
    """So many octets of the TLV of an hbd are the same in all its replies."""

    @property
    def same(self) -> tuple[tuple[int, int], ...]:
        """What is the same in all replies as a rule, from where to where.

        Error Estimate and SSID; the TTL that we arrive with, and what has to be zero; of an hbd
        its TLV up to the number of our heartbeats.
        """
        places = self.places
        return (
            (places.estimate, places.ssid + 2),
            (places.sender_ttl, places.end),
            (places.size, places.size + self.told),
        )

    def write(
        self,
        template: bytes,
        sequences: array[int],
        tokens: array[int],
        ssids: array[int],
    ) -> bytearray:
        """Give heartbeats, one after the other, but for their HMACs.

        Their size is in words of 32 bits; SSIDs are in network order.
        """
        count, size = len(sequences), len(template)
        octets = bytearray(template * count)
        pairs, words = memoryview(octets).cast("H"), memoryview(octets).cast("I")
        words[0 :: size // 4] = memoryview(_in_network_order(sequences))
        halves = memoryview(_in_network_order(tokens)).cast("B").cast("I")
        at = self.places.timestamp // 4
        words[at :: size // 4], words[at + 1 :: size // 4] = halves[0::2], halves[1::2]
        pairs[self.places.ssid // 2 :: size // 2] = memoryview(ssids)
        return octets

    def date(self, replies: memoryview, size: int, moments: array[int]) -> None:
        """Write the T3 of replies of so many octets, one after the other, that have no HMAC."""
        words = replies.cast("I")
        halves = memoryview(_in_network_order(moments)).cast("B").cast("I")
        at = self.places.timestamp // 4
        words[at :: size // 4], words[at + 1 :: size // 4] = halves[0::2], halves[1::2]

    def hash(self, reply: bytes) -> int:
        """Give the hash of all that is the same in each: whoever has it need not keep the octets.

        Of 2**64 replies that say something new one would be taken for the same; and who could make
        it is who can answer anyhow.
        """
        return hash(tuple(reply[begin:end] for begin, end in self.same))

    def is_ptp(self, reply: bytes) -> bool:
        """Whether timestamps of the reflector are in the format of PTP."""
        begin = self.places.estimate
        return ntp.is_ptp(int.from_bytes(reply[begin : begin + 2], "big"))

    def dwell(self, reply: bytes) -> int:
        """Give how long the reflector says it held a heartbeat, as volleys reckon: nanoseconds."""
        _, t3, _, t2, *_ = self.reader(memoryview(reply), 0)
        return int((t3 - t2) * ntp.SECOND >> 32)

    @property
    def reader(self) -> Callable[[memoryview, int], tuple[Any, ...]]:
        """Give what reads the fields of a reply that begins there, as they follow each other.

        Its own number, T3, the first of those that are the same, T2, the number and T1 of the
        heartbeat, and the others that are the same.
        """
        return _layout(self).unpack_from


def _in_network_order(numbers: array[int]) -> array[int]:
    numbers = numbers[:]
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


@lru_cache
def _layout(form: Form) -> Struct:
    places = form.places
    fields = [
        (0, "I"),
        (places.timestamp, "Q"),
        (places.receive_timestamp, "Q"),
        (places.sender_sequence, "I"),
        (places.sender_timestamp, "Q"),
        *((begin, f"{end - begin}s") for begin, end in form.same),
    ]
    return reader(fields, form.same[-1][1])


_TOLD: Final = len(hbd_tlv.ANSWERED) + hbd_tlv.ACCEPTED

OPEN: Final = Form(stamp.OPEN, _TOLD)
BARE: Final = Form(stamp.OPEN, 0)
"""Open mode where nobody is told anything, as every STAMP reflector answers."""
KEYED: Final = Form(stamp.AUTH, _TOLD)
