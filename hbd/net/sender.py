"""The socket from which heartbeats go out, and where replies and ICMP errors come back."""

from __future__ import annotations

import errno
import os
import socket
from struct import Struct
from typing import TYPE_CHECKING, Final

from hbd.core.address import Address
from hbd.core.arrival import Arrivals
from hbd.core.model import ANYHOW
from hbd.net import batch, icmp, linux
from hbd.net.datagrams import (
    HEARTBEAT,
    LARGEST,
    TRIES,
    drops,
    integer,
    mark,
    measure,
    nanoseconds,
    open_socket,
    taken,
)
from hbd.net.resolver import numeric
from hbd.net.sockaddr import SIZES, Destinations, address_of, octets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from hbd.core.model import Leaving
    from hbd.net.batch import Gone
    from hbd.net.icmp import IcmpError

Received = tuple[bytes, Address, int | None, int | None]
"""A datagram, its source, when the kernel received it, and its TTL.

That is on the wall clock: nanoseconds since 1970.
"""

_TTL: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT),
}
_EXPECTED: Final = {
    family: batch.Expected((socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 16), (*kind, 4))
    for family, kind in _TTL.items()
}
_DESTINATIONS: Final = Destinations()
_INT: Final = Struct("=i")
# A timespec and a TTL; the error queue delivers both beside the error.
_ANCILLARY: Final = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(4)


class SenderSocket:
    """One unconnected UDP socket with a port of its own, for any number of destinations.

    Construction raises OSError: no such interface or source address, no IPv6.
    """

    def __init__(
        self,
        family: socket.AddressFamily,
        leaving: Leaving = ANYHOW,
        *,
        forbidden_ports: Collection[int] = (),
        ports: range | None = None,
    ) -> None:
        """`ports`: of which its own must be; None: any that the kernel picks."""
        self._socket = _bound(family, leaving, forbidden_ports, ports)
        measure(self._socket)
        _hear_errors(self._socket)
        if leaving.dscp is not None:
            mark(self._socket, leaving.dscp)
        # Looked up once: to get at the family of a socket takes as long as to read a datagram.
        self._expected: Final = _EXPECTED[family]
        self._inbox = batch.inbox(family)
        self._outbox = batch.outbox(family)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """The port that replies come back to."""
        return int(self._socket.getsockname()[1])

    def send(self, datagram: bytes, address: Address, ttl: int | None = None) -> int | None:
        """Send, and return None; else the errno that is this datagram's own.

        `ttl`: of a datagram that is to die on the way; None: the full one.

        With IP_RECVERR an ICMP error of one destination fails the next send to any other, which
        then sends nothing. So an errno that ICMP may have left is believed only when it repeats;
        the ICMP error itself stays in the queue for errors().
        """
        refusal = None
        for _ in range(TRIES):
            try:
                if ttl is None:
                    self._socket.sendto(datagram, address)
                else:
                    self._socket.sendmsg([datagram], self._dying_at(ttl), 0, address)
            except OSError as error:
                if error.errno not in linux.WEATHER:
                    raise
                refusal = error.errno
                if refusal not in linux.SOFT:
                    break
            else:
                return None
        return refusal

    def _dying_at(self, ttl: int) -> list[tuple[int, int, bytes]]:
        kind = _TTL[self._socket.family]
        return [(*kind, _INT.pack(ttl))]

    def send_many(self, datagrams: list[bytes], addresses: list[Address]) -> dict[int, int]:
        """Send each to its address, in order; give, by index, the errnos that are their own."""
        if self._outbox is None:
            refusals = enumerate(map(self.send, datagrams, addresses))
            return {index: refusal for index, refusal in refusals if refusal is not None}
        _DESTINATIONS.use(len(addresses))
        names = list(map(_DESTINATIONS.__getitem__, addresses))
        return self._outbox.send(self.fileno(), datagrams, names)

    def send_alike(
        self, octets: bytes | bytearray, size: int, places: bytes, gone: list[Gone]
    ) -> dict[int, int]:
        """Send as send_many does datagrams of one size, one after the other, to `octets_of`.

        In `gone` it is noted when how many of them had left, if not when all had.
        """
        if self._outbox is not None and len(octets) <= batch.ROOM:
            return self._outbox.send_alike(self.fileno(), octets, size, places, gone)
        each = SIZES[self._socket.family]
        datagrams = [bytes(octets[at : at + size]) for at in range(0, len(octets), size)]
        addresses = [address_of(places[at : at + each]) for at in range(0, len(places), each)]
        return self.send_many(datagrams, addresses)

    def arrivals(self, limit: int) -> Iterator[Arrivals]:
        """Take up to so many datagrams, as many at a time as there are."""
        inbox = self._inbox
        if inbox is None:
            while limit > 0 and (received := self.receive(min(limit, batch.SLOTS))):
                yield _columns(received)
                limit -= len(received)
            return
        expected = self._expected
        for count in inbox.fill(self.fileno(), limit):
            if inbox.has(expected, count):
                stamps: Sequence[int | None] = inbox.stamps(count)
                ttls: Sequence[int | None] = inbox.integers(expected.values[1], count)
            else:
                stamps, ttls = zip(*map(_stamp_and_ttl, inbox.messages(count)), strict=True)
            lengths = inbox.lengths(count)
            longer = {}
            if max(lengths) > batch.STRIDE:
                whole = list(inbox.datagrams(count))
                longer = {at: whole[at] for at in range(count) if lengths[at] > batch.STRIDE}
            yield Arrivals(
                inbox.octets(count),
                batch.STRIDE,
                lengths,
                inbox.joined_names(count),
                stamps,
                ttls,
                address_of,
                longer,
            )

    def receive(self, limit: int) -> list[Received]:
        """Take up to so many datagrams."""
        inbox = self._inbox
        if inbox is None:
            return [_received(*one) for one in taken(self._socket, limit)]
        received: list[Received] = []
        expected, sources = self._expected, _DESTINATIONS.sources
        for count in inbox.fill(self.fileno(), limit):
            datagrams, names = inbox.datagrams(count), inbox.names(count)
            addresses = map(sources.__getitem__, names)
            if inbox.has(expected, count):
                ttls = inbox.integers(expected.values[1], count)
                received += zip(datagrams, addresses, inbox.stamps(count), ttls, strict=True)
            else:
                received += map(_received, datagrams, inbox.messages(count), addresses)
        return received

    def errors(self, limit: int) -> list[IcmpError]:
        """Take up to so many errors from the error queue."""
        errors: list[IcmpError] = []
        for _ in range(limit):
            try:
                payload, ancillary, _, destination = self._socket.recvmsg(
                    LARGEST, _ANCILLARY + icmp.ANCILLARY, socket.MSG_ERRQUEUE
                )
            except BlockingIOError:
                break
            error = icmp.icmp_error(payload, ancillary, destination)
            if error is not None:
                errors.append(error)
        return errors

    @property
    def room(self) -> int:
        """How many heartbeats may lie unread; SO_RCVBUF says twice what was granted."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // HEARTBEAT

    def drops(self) -> int:
        """Count the datagrams the kernel has dropped at this socket for want of buffer."""
        return drops(self._socket)


def _bound(
    family: socket.AddressFamily,
    leaving: Leaving,
    forbidden_ports: Collection[int],
    ports: range | None,
) -> socket.socket:
    """Return a socket bound to a port the kernel picks, though to none of the forbidden ones."""
    interface, source, _ = leaving
    local = ("", 0) if source is None else numeric(source, 0)
    if local is None:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL), source)
    refused = []
    try:
        while True:
            opened = open_socket(family)
            refused.append(opened)
            if interface is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            if ports is not None:
                _bind_within(opened, local, ports)
                return refused.pop()
            opened.bind(local)
            if opened.getsockname()[1] not in forbidden_ports:
                return refused.pop()
            # Kept open until then, so that the kernel cannot pick the same port again.
    finally:
        for opened in refused:
            opened.close()


def _bind_within(opened: socket.socket, local: Address, ports: range) -> None:
    """Bind to a free port of these, the last first: the kernel gives out others from the first."""
    for port in reversed(ports):
        try:
            opened.bind((local[0], port, *local[2:]))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _hear_errors(opened: socket.socket) -> None:
    """Ask for ICMP errors, and never fragment: a path too narrow is one of them.

    What the kernel believes of a path's MTU is not heeded: by an ICMP error that quotes an echo
    reply of its own anybody can make it believe that, and no padded heartbeat would leave.
    """
    icmp.hear_icmp(opened, on=True)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, linux.IPV6_MTU_DISCOVER, linux.PMTUDISC_PROBE)
    else:
        opened.setsockopt(socket.IPPROTO_IP, linux.IP_MTU_DISCOVER, linux.PMTUDISC_PROBE)


def _received(
    datagram: bytes, ancillary: list[tuple[int, int, bytes]], source: Address
) -> Received:
    return datagram, source, *_stamp_and_ttl(ancillary)


def _stamp_and_ttl(ancillary: list[tuple[int, int, bytes]]) -> tuple[int | None, int | None]:
    stamp = ttl = None
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == linux.SO_TIMESTAMPNS:
            stamp = nanoseconds(value)
        elif (level, kind) in _TTL.values():
            ttl = integer(value)
    return stamp, ttl


def _columns(received: Sequence[Received]) -> Arrivals:
    datagrams, sources, stamps, ttls = zip(*received, strict=True)
    lengths, stride = list(map(len, datagrams)), batch.STRIDE
    octets = b"".join(datagram[:stride].ljust(stride, b"\0") for datagram in datagrams)
    names = b"".join(map(octets_of, sources))
    longer = {at: whole for at, whole in enumerate(datagrams) if len(whole) > stride}
    return Arrivals(memoryview(octets), stride, lengths, names, stamps, ttls, address_of, longer)
