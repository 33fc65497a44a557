"""The socket where others' heartbeats come in and our replies go out."""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from functools import cache, lru_cache, partial
from itertools import chain, repeat, starmap
from operator import eq
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core.arrival import Requests
from hbd.net import batch, linux
from hbd.net.datagrams import (
    drops,
    integer,
    measure,
    nanoseconds,
    open_socket,
    taken,
)
from hbd.net.resolver import numeric
from hbd.net.sockaddr import address_of, family_of, octets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hbd.core.address import Address

# ip(7) struct in_pktinfo: interface, local address to reply from, destination in the header.
_PKTINFO: Final = struct.Struct("=i4s4s")
# ipv6(7) struct in6_pktinfo: destination, interface.
_PKTINFO6: Final = struct.Struct("=16si")

# Of an in_pktinfo the addresses alone: with these, or with an in6_pktinfo, a reply goes back. What
# stands before them in a control message is always the same, and so is what follows.
_ADDRESSES: Final = struct.Struct("=4x8s")
_MESSAGE: Final = batch.message(socket.IPPROTO_IP, linux.IP_PKTINFO, bytes(_PKTINFO.size))
_MESSAGE6: Final = batch.message(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(_PKTINFO6.size))
_HEADS: Final = {socket.AF_INET: _MESSAGE[:20], socket.AF_INET6: _MESSAGE6[:16]}
_PADDING: Final = bytes(4)

_LINK_LOCAL: Final = socket.inet_pton(socket.AF_INET6, "fe80::")[:2]

_EXPECTED: Final = {
    socket.AF_INET: batch.Expected(
        (socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 16),
        (socket.IPPROTO_IP, linux.IP_PKTINFO, _PKTINFO.size),
        (socket.IPPROTO_IP, socket.IP_TTL, 4),
    ),
    socket.AF_INET6: batch.Expected(
        (socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 16),
        (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.size),
        (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, 4),
    ),
}

REMEMBERED: Final = 4096
"""Addresses that were read or written last: who asks once asks again."""


class Request(NamedTuple):
    """A datagram that came to a reflector's socket, and where it came in."""

    datagram: bytes
    source: Address
    destination: str
    """The address it was sent to."""
    interface: int
    """The index of the interface it came in by."""
    ttl: int | None
    stamp: int | None
    """When the kernel received it: wall clock, nanoseconds since 1970."""
    is_unicast: bool
    """It was sent to us alone, not to a group or a whole subnet."""


class ReflectorSocket:
    """A UDP socket bound to one address and port, by us or by whoever kept it for us.

    `shared`: beside a socket that shares its port for the moment. Construction raises OSError: the
    address is not ours or taken, the port is privileged; with EINVAL when the socket passed is not
    bound to that address and port, and it is left open.
    """

    def __init__(
        self, address: str, port: int, *, fd: int | None = None, shared: bool = False
    ) -> None:
        local = numeric(address, port)
        if local is None:
            raise OSError(errno.EADDRNOTAVAIL, "not a numeric address", address)
        self._socket = _bound(local, shared=shared) if fd is None else _adopted(fd, local)
        measure(self._socket)
        family = self._socket.family
        if family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, linux.IP_PKTINFO, 1)
        control = _PKTINFO6 if family == socket.AF_INET6 else _PKTINFO
        # Looked up once: to get at the family of a socket takes as long as to read a datagram.
        self._expected: Final = _EXPECTED[family]
        self._head: Final = _HEADS[family]
        self._inbox = batch.inbox(family)
        self._outbox = batch.outbox(family, socket.CMSG_SPACE(control.size))
        self.unsent: Counter[str] = Counter()
        """Replies that could not be sent, by the name of the errno."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def share(self, *, on: bool) -> None:
        """Let another socket that asks for it, with `shared`, have the same port."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(on))

    def receive(self, limit: int) -> list[Request]:
        """Take up to so many datagrams."""
        inbox = self._inbox
        if inbox is None:
            return [_request(*one) for one in taken(self._socket, limit)]
        requests: list[Request] = []
        expected = self._expected
        for count in inbox.fill(self.fileno(), limit):
            if inbox.has(expected, count):
                requests += _requests(inbox, expected, count)
            else:
                requests += _unexpected(inbox, count)
        return requests

    def arrivals(self, limit: int) -> Iterator[tuple[Requests, Callable[[], list[Request]]]]:
        """Take up to so many datagrams, as many at a time as there are; and each by itself.

        Both are there until the next are received.
        """
        inbox = self._inbox
        if inbox is None:
            requests = self.receive(limit)
            if requests:
                yield _columns(requests), partial(list, requests)
            return
        expected = self._expected
        for count in inbox.fill(self.fileno(), limit):
            if inbox.has(expected, count):
                columns = _read_columns(inbox, expected, count)
                yield columns, cache(partial(_requests, inbox, expected, count))
            else:
                requests = list(_unexpected(inbox, count))
                yield _columns(requests), partial(list, requests)

    def send(self, datagram: bytes, request: Request) -> bool:
        """Reply from the very address that was asked; False, and counted, when it cannot go out."""
        control = _reply_from(request.destination, request.interface)
        return self._send(datagram, control, request.source)

    def _send(self, datagram: bytes, control: tuple[int, int, bytes], to: Address) -> bool:
        try:
            self._socket.sendmsg([datagram], [control], 0, to)
        except OSError as error:
            if error.errno not in linux.WEATHER:
                raise
            self.unsent[errno.errorcode[error.errno]] += 1
            return False
        return True

    def send_many(
        self,
        replies: list[bytes],
        places: list[bytes],
        ways: list[bytes],
        finish: batch.Finish | None = None,
    ) -> None:
        """Send a reply to each of these places in order, as `send` does; `finish` as in Outbox."""
        controls = [self._head + way + _PADDING for way in ways]
        if self._outbox is None:
            for reply, place, message in zip(replies, places, controls, strict=True):
                [control] = batch.messages(memoryview(message))
                self._send(reply, control, _address_of(place))
            return
        refused = self._outbox.send(self.fileno(), replies, places, controls, finish)
        for number in refused.values():
            self.unsent[errno.errorcode[number]] += 1

    def drops(self) -> int:
        """Count the datagrams the kernel has dropped at this socket for want of buffer."""
        return drops(self._socket)


def _bound(local: Address, *, shared: bool) -> socket.socket:
    opened = open_socket(family_of(local))
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        opened.bind(local)
        # Only to get past one of ours that is about to go: from now on it is ours alone.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        opened.close()
        raise
    return opened


def _adopted(fd: int, local: Address) -> socket.socket:
    adopted = socket.socket(fileno=fd)
    is_bound = adopted.type == socket.SOCK_DGRAM and adopted.getsockname() == local
    if is_bound and _one_family(adopted):
        return adopted
    adopted.detach()
    raise OSError(errno.EINVAL, f"socket {fd} is not bound to {local[0]} port {local[1]} alone")


def _one_family(adopted: socket.socket) -> bool:
    """Tell a socket that takes in IPv4 as ::ffff:0:0/96 too, which cannot be undone once bound."""
    return adopted.family != socket.AF_INET6 or bool(
        adopted.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    )


_address_of: Final = lru_cache(REMEMBERED)(address_of)
_octets_of: Final = lru_cache(REMEMBERED)(octets_of)
_host: Final = lru_cache(REMEMBERED)(socket.inet_ntop)


def _requests(inbox: batch.Inbox, expected: batch.Expected, count: int) -> list[Request]:
    """Read what is in an inbox, where all control messages are as expected."""
    _, pktinfo, ttl = expected.values
    if inbox.family == socket.AF_INET:
        interfaces, ours, asked = zip(*inbox.fields(_PKTINFO, pktinfo, count), strict=True)
        destinations = list(map(_host, repeat(inbox.family), asked))
        is_unicast = list(map(eq, asked, ours))
    else:
        asked, interfaces = zip(*inbox.fields(_PKTINFO6, pktinfo, count), strict=True)
        destinations = list(map(_host, repeat(inbox.family), asked))
        is_unicast = [not destination.startswith("ff") for destination in destinations]
    columns = zip(
        inbox.datagrams(count),
        map(_address_of, inbox.names(count)),
        destinations,
        interfaces,
        inbox.integers(ttl, count),
        inbox.stamps(count),
        is_unicast,
        strict=True,
    )
    return list(map(partial(tuple.__new__, Request), columns))


def _unexpected(inbox: batch.Inbox, count: int) -> Iterable[Request]:
    """Read what is in an inbox, whatever control messages there are."""
    sources = map(_address_of, inbox.names(count))
    return map(_request, inbox.datagrams(count), inbox.messages(count), sources)


def _read_columns(inbox: batch.Inbox, expected: batch.Expected, count: int) -> Requests:
    _, pktinfo, ttl = expected.values
    if inbox.family == socket.AF_INET:
        ways = list(chain.from_iterable(inbox.fields(_ADDRESSES, pktinfo, count)))
    else:
        ways = list(starmap(_way6, inbox.fields(_PKTINFO6, pktinfo, count)))
    return Requests(
        inbox.octets(count),
        batch.STRIDE,
        inbox.lengths(count),
        list(inbox.names(count)),
        ways,
        inbox.stamps(count),
        inbox.integers(ttl, count),
    )


def _columns(requests: list[Request]) -> Requests:
    datagrams, stride = [request.datagram for request in requests], batch.STRIDE
    octets = b"".join(datagram[:stride].ljust(stride, b"\0") for datagram in datagrams)
    return Requests(
        memoryview(octets),
        stride,
        list(map(len, datagrams)),
        *ways_back(requests),
        [request.stamp for request in requests],
        [request.ttl for request in requests],
    )


def ways_back(requests: Iterable[Request]) -> tuple[list[bytes], list[bytes]]:
    """Give where these came from, and with what replies go back, as Requests has both.

    There is nothing for what was not sent to us alone: nobody replies to that.
    """
    places, ways = [], []
    for request in requests:
        places.append(_octets_of(request.source))
        _, kind, value = _reply_from(request.destination, request.interface)
        way = value[4:] if kind == linux.IP_PKTINFO else value
        ways.append(way if request.is_unicast else b"")
    return places, ways


def _request(datagram: bytes, ancillary: list[tuple[int, int, bytes]], source: Address) -> Request:
    stamp = ttl = None
    destination, interface, is_unicast = "", 0, False
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET:
            stamp = nanoseconds(value)
        elif level == socket.IPPROTO_IP and kind == linux.IP_PKTINFO:
            interface, ours, asked = _PKTINFO.unpack(value)
            destination, is_unicast = socket.inet_ntop(socket.AF_INET, asked), asked == ours
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            asked, interface = _PKTINFO6.unpack(value)
            destination = socket.inet_ntop(socket.AF_INET6, asked)
            is_unicast = not destination.startswith("ff")
        else:
            ttl = integer(value)
    return Request(datagram, source, destination, interface, ttl, stamp, is_unicast)


def _reply_from(destination: str, interface: int) -> tuple[int, int, bytes]:
    """Return the control message that makes the asked address the source of the reply.

    The interface is left to the routing table, but where the address means nothing without it.
    """
    if ":" not in destination:
        asked = socket.inet_pton(socket.AF_INET, destination)
        return socket.IPPROTO_IP, linux.IP_PKTINFO, _PKTINFO.pack(0, asked, asked)
    return _reply_from6(socket.inet_pton(socket.AF_INET6, destination), interface)


def _reply_from6(asked: bytes, interface: int) -> tuple[int, int, bytes]:
    by = interface if asked.startswith(_LINK_LOCAL) else 0
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(asked, by)


@lru_cache(REMEMBERED)
def _way6(asked: bytes, interface: int) -> bytes:
    return _reply_from6(asked, interface)[2]
