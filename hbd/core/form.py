"""Where heartbeats and replies have what changes each time, in both modes of STAMP; for volleys."""

from __future__ import annotations

import sys
from functools import lru_cache
from struct import Struct, calcsize
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hbd.wire import ntp

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable


class Form(NamedTuple):
    """Where heartbeats and replies of a mode have what volleys write and read, in octets.

    Both begin with a sequence number of their own.
    """

    t1: int
    """In a heartbeat;"""
    ssid: int
    """in a reply, too."""
    t3: int
    t2: int
    """In a reply alone,"""
    echoed: int
    token: int
    """with the number and T1 of the heartbeat."""
    same: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    """What is the same in all replies as a rule, from where to where: Error Estimate and SSID; the
    TTL that we arrive with, and what has to be zero; of an hbd its TLV up to the number of our
    heartbeats."""

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
        at = self.t1 // 4
        words[at :: size // 4], words[at + 1 :: size // 4] = halves[0::2], halves[1::2]
        pairs[self.ssid // 2 :: size // 2] = memoryview(ssids)
        return octets

    def date(self, replies: memoryview, size: int, moments: array[int]) -> None:
        """Write the T3 of replies of so many octets, one after the other, that have no HMAC."""
        words = replies.cast("I")
        halves = memoryview(_in_network_order(moments)).cast("B").cast("I")
        at = self.t3 // 4
        words[at :: size // 4], words[at + 1 :: size // 4] = halves[0::2], halves[1::2]

    def told(self, reply: bytes) -> int:
        """Give the hash of all that is the same in each: whoever has it need not keep the octets.

        Of 2**64 replies that say something new one would be taken for the same; and who could make
        it is who can answer anyhow.
        """
        return hash(tuple(reply[begin:end] for begin, end in self.same))

    def is_ptp(self, reply: bytes) -> bool:
        """Whether timestamps of the reflector are in the format of PTP."""
        begin, _ = self.same[0]
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
    fields = [(0, "I"), (form.t3, "Q"), (form.t2, "Q"), (form.echoed, "I"), (form.token, "Q")]
    fields += [(begin, f"{end - begin}s") for begin, end in form.same]
    layout = ">"
    for begin, code in sorted(fields):
        layout += f"{begin - calcsize(layout)}x{code}"
    return Struct(layout)


OPEN: Final = Form(4, 14, 4, 16, 24, 28, ((12, 16), (40, 44), (44, 80)))
BARE: Final = Form(4, 14, 4, 16, 24, 28, ((12, 16), (40, 44), (44, 44)))
"""Open mode where nobody is told anything, as every STAMP reflector answers."""
KEYED: Final = Form(16, 26, 16, 32, 48, 64, ((24, 28), (80, 96), (112, 148)))
