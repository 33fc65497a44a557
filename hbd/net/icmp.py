"""ICMP errors, as the error queue of a socket tells them: ip(7) IP_RECVERR, linux/errqueue.h."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.net import linux

if TYPE_CHECKING:
    from hbd.core.address import Address

_EXTENDED_ERROR: Final = struct.Struct(linux.EXTENDED_ERROR_FORMAT)
_FAMILY: Final = struct.Struct("=H")
_ORIGINS: Final = {
    linux.SO_EE_ORIGIN_LOCAL: "local",
    linux.SO_EE_ORIGIN_ICMP: "icmp",
    linux.SO_EE_ORIGIN_ICMP6: "icmp6",
}
_QUEUED: Final = {
    (socket.IPPROTO_IP, linux.IP_RECVERR),
    (socket.IPPROTO_IPV6, linux.IPV6_RECVERR),
}

ANCILLARY: Final = socket.CMSG_SPACE(_EXTENDED_ERROR.size + 28)
"""Room for one error and a sockaddr_in6."""


class IcmpError(NamedTuple):
    """What the error queue says of one datagram of ours."""

    destination: Address
    """Where that datagram was sent."""
    errno: int
    origin: str
    """`icmp`, `icmp6`, or `local`: our own kernel refused it."""
    type: int
    code: int
    offender: str | None
    """Who says so: an address of our own if a neighbour does not answer."""
    payload: bytes
    """As much of that datagram as came back."""
    mtu: int | None
    """Of the narrow link, where that is the error."""


def hear_icmp(opened: socket.socket, *, on: bool) -> None:
    """Have the kernel keep the ICMP errors about what this socket sends, in its error queue."""
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, linux.IPV6_RECVERR, int(on))
    else:
        opened.setsockopt(socket.IPPROTO_IP, linux.IP_RECVERR, int(on))


def icmp_error(
    payload: bytes, ancillary: list[tuple[int, int, bytes]], destination: Address
) -> IcmpError | None:
    """Read what recvmsg(MSG_ERRQUEUE) returned; None when no error is in it."""
    for level, kind, value in ancillary:
        if (level, kind) in _QUEUED:
            number, origin, icmp_type, code, extra, _ = _EXTENDED_ERROR.unpack_from(value)
            return IcmpError(
                destination,
                number,
                _ORIGINS.get(origin, "local"),
                icmp_type,
                code,
                _address(value[_EXTENDED_ERROR.size :]),
                payload,
                extra if number == errno.EMSGSIZE else None,
            )
    return None


def _address(sockaddr: bytes) -> str | None:
    """Read the address of a sockaddr_in or sockaddr_in6; None for AF_UNSPEC."""
    (family,) = _FAMILY.unpack_from(sockaddr)
    if family == socket.AF_INET:
        return socket.inet_ntop(family, sockaddr[4:8])
    if family == socket.AF_INET6:
        return socket.inet_ntop(family, sockaddr[8:24])
    return None
