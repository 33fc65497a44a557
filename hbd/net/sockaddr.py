"""Socket addresses as the kernel reads and writes them: struct sockaddr_in and sockaddr_in6."""

from __future__ import annotations

import socket
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hbd.core.address import Address

ROUNDS: Final = 1000
"""Who was not sent to among so many times as many as there are is forgotten."""

# Family and interface are in the machine's order of octets, port and flow label in the network's.
_IPV4: Final = Struct("=H2s4s8x")
_IPV6: Final = Struct("=H2s4s16sI")

SIZES: Final = {socket.AF_INET: _IPV4.size, socket.AF_INET6: _IPV6.size}


def family_of(address: Address) -> socket.AddressFamily:
    """Tell the family of an address by Python's form of it."""
    return socket.AF_INET if len(address) == 2 else socket.AF_INET6  # noqa: PLR2004 - host, port


def octets_of(address: Address) -> bytes:
    """Write an address; OSError if its host is not numeric."""
    host, port = address[:2]
    if ":" not in host:
        host_octets = socket.inet_pton(socket.AF_INET, host)
        return _IPV4.pack(socket.AF_INET, port.to_bytes(2, "big"), host_octets)
    flow, scope = address[2:] or (0, 0)
    return _IPV6.pack(
        socket.AF_INET6,
        port.to_bytes(2, "big"),
        flow.to_bytes(4, "big"),
        socket.inet_pton(socket.AF_INET6, host),
        scope,
    )


def address_of(octets: bytes) -> Address:
    """Read an address, as the socket module does, but never with a %scope."""
    if len(octets) == _IPV4.size:
        family, port, host = _IPV4.unpack(octets)
        return socket.inet_ntop(family, host), int.from_bytes(port, "big")
    family, port, flow, host, scope = _IPV6.unpack(octets)
    return (
        socket.inet_ntop(family, host),
        int.from_bytes(port, "big"),
        int.from_bytes(flow, "big"),
        scope,
    )


class Sources(dict[bytes, "Address"]):
    """Addresses by their octets; one that is not among them is read and not remembered."""

    def __missing__(self, octets: bytes) -> Address:
        return address_of(octets)


class Destinations(dict["Address", bytes]):
    """The octets of those that are sent to at present, and in `sources` the way back."""

    def __init__(self) -> None:
        self.sources: Final = Sources()
        self._used = 0

    def __missing__(self, address: Address) -> bytes:
        octets = self[address] = octets_of(address)
        read = address_of(octets)
        self.sources[octets] = address if address == read else read
        return octets

    def use(self, count: int) -> None:
        """Before so many are looked up: forget, now and then, who is not sent to any more."""
        self._used += count
        if self._used > ROUNDS * len(self):
            self.clear()
            self.sources.clear()
            self._used = 0
