"""Where the kernel would send a datagram: routes, links, neighbours. rtnetlink(7), by hand.

Each question is answered within the call that asks it: the kernel replies before send() returns.
It says by itself when a route may be another, so that not every heartbeat has to ask.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from hbd.core.model import ANYHOW, MILLISECOND, SECOND
from hbd.net import linux

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hbd.core.address import Address
    from hbd.core.model import Leaving

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ERROR: Final = struct.Struct("=i")
_ATTRIBUTE: Final = struct.Struct("=HH")  # rtattr: length, type
_INDEX: Final = struct.Struct("=I")
_PORT: Final = struct.Struct("!H")
_FAMILY: Final = struct.Struct("=H")
# rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_ROUTE: Final = struct.Struct("=8BI")
# ndmsg: family, index, state, flags, type
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
# ifinfomsg: family, type, index, flags, change
_LINK: Final = struct.Struct("=BxHiII")
# nda_cacheinfo: ticks since confirmed, since used, since updated
_CONFIRMED: Final = struct.Struct("=I")

CLOCK_TICK: Final = 10 * MILLISECOND
"""The kernel's USER_HZ is 100 wherever Linux runs on what Debian runs on."""

_WORDS: Final = {
    errno.EINVAL: "a blackhole route",
    errno.EACCES: "a prohibit route",
}

_STATES: Final = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}
"""linux/neighbour.h NUD_*, as ip-neighbour(8) names them."""

KEPT: Final = 2 * SECOND
"""So long each route is believed of which no change is told: an ICMP redirect tells nobody."""
SETTLED: Final = 50 * MILLISECOND
"""So long after a change nothing is believed for longer than a turn: of a route that goes the
kernel tells just before it is gone."""
KNOWN: Final = 1 << 14
"""So many of them are remembered meanwhile."""

_CHANGES: Final = (
    linux.RTMGRP_LINK
    | linux.RTMGRP_IPV4_IFADDR
    | linux.RTMGRP_IPV4_ROUTE
    | linux.RTMGRP_IPV4_RULE
    | linux.RTMGRP_IPV6_IFADDR
    | linux.RTMGRP_IPV6_ROUTE
    | linux.RTMGRP_IPV6_RULE
    | linux.RTMGRP_NEXTHOP
)
"""What is told of that may change a route."""
_FEW: Final = 64
"""Changes that are read at once; of more it is told in the next turn that there are some."""

_LONGEST_NAME: Final = 15
_ANSWER: Final = 65536


class NoRouteError(OSError):
    """The kernel has no way to a destination; errno and strerror say why."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way a datagram would take."""

    interface: str
    index: int
    gateway: str | None
    """None when the destination is on the link."""
    source: str | None
    """The address of ours it would be sent from."""
    is_local: bool
    """The destination is this machine."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What is known of a host on a link."""

    state: str
    """As `ip neighbour` names it."""
    confirmed: int | None
    """How long ago it last answered ARP or ND, nanoseconds."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: switched on by us, and connected to something."""

    up: bool
    carrier: bool


class Routes:
    """Questions to the kernel's tables, none of which needs a privilege.

    Each is asked once until `forget` is called: where many paths fail at once, most ask the same.
    Where something leads is asked again when that may have changed.
    """

    def __init__(self) -> None:
        self.link: Final = cache(self._link)
        """Return the state of an interface; None when there is none of that name."""
        self.neighbour: Final = cache(self._neighbour)
        """Return what the kernel knows of one neighbour; None if nothing."""
        self._index: Final = cache(self._index_of)
        self._name: Final = cache(self._name_of)
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._sequence = 0
        self._changes = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        # That there are any is enough: the smallest buffer, or a router's thousands would be read.
        self._changes.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        self._changes.bind((0, _CHANGES))
        self._ways: dict[tuple[object, ...], tuple[int, Route]] = {}
        """Routes that were asked for, and when: by how they were."""
        self._now = self._asked_at = 0
        self._may_be_known = False
        """Whether anything was asked since all was forgotten."""
        self._changed_at = -SETTLED

    def close(self) -> None:
        self._socket.close()
        self._changes.close()

    def forget(self, now: int) -> None:
        """A turn begins: what was answered so far need not be true any more."""
        self.link.cache_clear()  # of a lost carrier it is told up to a second later
        self.neighbour.cache_clear()
        self._now = now
        if not self._may_be_known:
            return
        if self._has_changed():
            self._changed_at = now
        is_settled = now - self._changed_at >= SETTLED
        if is_settled and now - self._asked_at < KEPT:
            return
        for asked in (self._index, self._name):
            asked.cache_clear()
        self._ways.clear()
        self._may_be_known = False

    def _has_changed(self) -> bool:
        """Whether it was told, since this was asked last, that something may lead elsewhere now."""
        changed = False
        for _ in range(_FEW):
            try:
                self._changes.recv(1)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # there were more than it could hold
                    raise
            changed = True
        return changed

    def lookup(self, address: Address, leaving: Leaving = ANYHOW, *, is_kept: bool = True) -> Route:
        """Return the route of a heartbeat, or raise NoRouteError.

        `is_kept`: it may be asked for again soon; of thousands that are not, none is remembered.
        """
        way = address, leaving
        asked_at, route = self._ways.get(way, (0, None))
        if is_kept and route is not None and self._now - asked_at < KEPT:
            return route
        route = self._asked(*way)
        if is_kept:
            if len(self._ways) >= KNOWN:
                self._ways.clear()
            self._ways[way] = self._now, route
        return route

    def _asked(self, address: Address, leaving: Leaving) -> Route:
        self._may_be_known, self._asked_at = True, self._now
        named = leaving.interface
        index = _scope(address) if named is None else self._index(named)
        question = _route_question(address, index, leaving.source, leaving.dscp)
        try:
            answer = self._ask(linux.RTM_GETROUTE, question)
        except _RefusedError as error:
            words = _WORDS.get(error.number) or os.strerror(error.number)
            raise NoRouteError(error.number, words) from None
        return self._route(answer, _family(address[0]), leaving.source)

    def _route(self, answer: bytes, family: int, source: str | None) -> Route:
        """Read an rtmsg; the kernel does not repeat the source that was asked for."""
        kind = answer[7]
        found = dict(_attributes(answer, _ROUTE.size))
        (index,) = _INDEX.unpack(found[linux.RTA_OIF])
        return Route(
            self._name(index),
            index,
            _gateway(found, family),
            _text(family, found.get(linux.RTA_PREFSRC)) or source,
            kind == linux.RTN_LOCAL,
        )

    def _link(self, interface: str) -> Link | None:
        """Ask by RTM_GETLINK.

        The ioctl SIOCGIFFLAGS is cheaper, but its IFF_RUNNING may lag a second behind the carrier.
        """
        try:
            _, flags = self._named(interface)
        except _RefusedError:
            return None
        return Link(up=bool(flags & linux.IFF_UP), carrier=bool(flags & linux.IFF_LOWER_UP))

    def _index_of(self, interface: str) -> int:
        try:
            return self._named(interface)[0]
        except _RefusedError:
            raise NoRouteError(errno.ENODEV, f"no interface {interface}") from None

    def _named(self, interface: str) -> tuple[int, int]:
        """Give an interface's index and flags.

        Like its name by the socket there is: if_nametoindex(3) opens another, and where it gets
        none that looks as if there was no such interface.
        """
        if not 0 < len(interface.encode()) <= _LONGEST_NAME:
            raise _RefusedError(errno.ENODEV)
        name = _attribute(linux.IFLA_IFNAME, interface.encode() + b"\0")
        answer = self._ask(linux.RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + name)
        _, _, index, flags, _ = _LINK.unpack_from(answer)
        return index, flags

    def _name_of(self, index: int) -> str:
        try:
            answer = self._ask(linux.RTM_GETLINK, _LINK.pack(0, 0, index, 0, 0))
        except _RefusedError:
            raise NoRouteError(errno.ENODEV, "the interface is gone") from None
        name = dict(_attributes(answer, _LINK.size))[linux.IFLA_IFNAME]
        return os.fsdecode(name.rstrip(b"\0"))

    def _neighbour(self, index: int, address: str) -> Neighbour | None:
        family = _family(address)
        question = _NEIGHBOUR.pack(family, index, 0, 0, 0)
        try:
            answer = self._ask(
                linux.RTM_GETNEIGH, question + _attribute(linux.NDA_DST, _packed(address))
            )
        except _RefusedError:
            return None
        _, _, state, _, _ = _NEIGHBOUR.unpack_from(answer)
        known = dict(_attributes(answer, _NEIGHBOUR.size)).get(linux.NDA_CACHEINFO)
        confirmed = None if known is None else _CONFIRMED.unpack_from(known)[0] * CLOCK_TICK
        return Neighbour(_STATES.get(state, "none"), confirmed)

    def _ask(self, kind: int, question: bytes) -> bytes:
        """Return the one message that answers, without its header."""
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        length = _HEADER.size + len(question)
        header = _HEADER.pack(length, kind, linux.NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + question)
        while True:
            message = self._socket.recv(_ANSWER)
            length, kind, _, sequence, _ = _HEADER.unpack_from(message)
            if sequence == self._sequence:
                break
        if kind == linux.NLMSG_ERROR:
            (number,) = _ERROR.unpack_from(message, _HEADER.size)
            raise _RefusedError(-number)
        return message[_HEADER.size : length]


class _RefusedError(Exception):
    """The kernel's NLMSG_ERROR."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


def _route_question(address: Address, index: int, source: str | None, dscp: int | None) -> bytes:
    """Ask as the sender's socket would: rules may look at protocol, port, source and DSCP."""
    destination = _packed(address[0])
    head, tail = _about(_family(address[0]), address[1], index, source, dscp)
    return head + destination + tail


@lru_cache(256)
def _about(
    family: int, port: int, index: int, source: str | None, dscp: int | None
) -> tuple[bytes, bytes]:
    """Give what such a question has before the destination, and after it."""
    size = len(_packed("::" if family == socket.AF_INET6 else "0.0.0.0"))  # noqa: S104 - no bind
    attributes = _attribute(linux.RTA_IP_PROTO, bytes([socket.IPPROTO_UDP]))
    attributes += _attribute(linux.RTA_DPORT, _PORT.pack(port))
    source_bits = 0
    if source is not None:
        packed = _packed(source)
        source_bits = 8 * len(packed)
        attributes += _attribute(linux.RTA_SRC, packed)
    if index:
        attributes += _attribute(linux.RTA_OIF, _INDEX.pack(index))
    tos = (dscp or 0) << 2
    route = _ROUTE.pack(family, 8 * size, source_bits, tos, 0, 0, 0, 0, 0)
    return route + _ATTRIBUTE.pack(_ATTRIBUTE.size + size, linux.RTA_DST), attributes


def _scope(address: Address) -> int:
    """Return the index of the interface that a link-local address names, 0 for any."""
    return 0 if len(address) == 2 else address[3]  # noqa: PLR2004 - Python's IPv4 address


def _gateway(found: dict[int, bytes], family: int) -> str | None:
    """Return the next hop; that of an IPv4 route may be an IPv6 address (RFC 5549)."""
    via = found.get(linux.RTA_VIA)
    if via is not None:
        (family,) = _FAMILY.unpack_from(via)
        return _text(family, via[_FAMILY.size :])
    return _text(family, found.get(linux.RTA_GATEWAY))


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def _attributes(message: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Read those that begin there."""
    last = len(message) - _ATTRIBUTE.size
    while at <= last:
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        yield kind, message[at + _ATTRIBUTE.size : at + length]
        at += max((length + 3) & ~3, _ATTRIBUTE.size)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    """Return an address in network order; a %scope is left out, the index says it."""
    return socket.inet_pton(_family(address), address.partition("%")[0])


def _text(family: int, packed: bytes | None) -> str | None:
    return None if packed is None else socket.inet_ntop(family, packed)
