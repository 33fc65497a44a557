"""What has come in, and when, by the kernel's stamp on the wall clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hbd.core.address import Address


class Arrivals(NamedTuple):
    """Datagrams that were received together, column by column; at least one."""

    octets: memoryview
    """Each begins a stride after the one before; they are there until the next are received."""
    stride: int
    lengths: list[int]
    names: bytes
    """Where each came from, one after the other: its place, which is its socket address in one and
    the same form."""
    stamps: Sequence[int | None]
    """When the kernel received each: wall clock, nanoseconds since 1970."""
    ttls: Sequence[int | None]
    address_of: Callable[[bytes], Address]
    """Reads a place."""
    longer: dict[int, bytes]
    """Those that do not fit into a stride, by their index."""

    @property
    def places(self) -> list[bytes]:
        return list(map(self.place, range(len(self.lengths))))

    def place(self, at: int) -> bytes:
        size = len(self.names) // len(self.lengths)
        return self.names[at * size : (at + 1) * size]

    def datagram(self, at: int) -> bytes:
        if at in self.longer:
            return self.longer[at]
        begin = at * self.stride
        return self.octets[begin : begin + self.lengths[at]].tobytes()


class Requests(NamedTuple):
    """Datagrams to a reflector that were received together, column by column; at least one."""

    octets: memoryview
    """Each begins a stride after the one before; there is no more of it than that."""
    stride: int
    lengths: list[int]
    places: list[bytes]
    """Where each came from,"""
    ways: list[bytes]
    """and with what a reply goes back from where it was sent to; each of one and the same length,
    but for those to which nothing goes back."""
    stamps: Sequence[int | None]
    """When the kernel received each: wall clock, nanoseconds since 1970."""
    ttls: Sequence[int | None]


def arrived(stamp: int | None, since: int, now: int, wall: int) -> int:
    """Give the monotonic moment of a stamp, between when all was last read and now.

    So no step of the wall clock makes anything old or young. Without a stamp it has just come.
    """
    return now if stamp is None else max(since, min(now - (wall - stamp), now))
