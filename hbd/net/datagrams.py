"""What our sockets have in common, above all the sender's and the reflector's."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Final

from hbd.core.model import SECOND
from hbd.net import linux

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hbd.core.address import Address

BUFFER: Final = 8 << 20
"""Octets either way. What goes to a neighbour that is off takes room until ARP or ND has given up,
for seconds: of hundreds that are off no other may find none."""
HEARTBEAT: Final = 832
"""Octets; so many of a receive buffer are taken by one, of any length that is usual."""

LARGEST: Final = 65535
"""No UDP datagram is longer."""

MAX_TTL: Final = 255

TRIES: Final = 4
"""How often a send that may have met another destination's error is tried.

Two would do, but for an error that comes in between, from the core beside ours.
"""

CONTROL: Final = socket.CMSG_SPACE(16) + socket.CMSG_SPACE(20) + socket.CMSG_SPACE(4)
"""Octets of control messages: a timespec, a packet info and a TTL."""

_TIMESPEC: Final = struct.Struct("=qq")
_INT: Final = struct.Struct("=i")
_MEMINFO: Final = struct.Struct(linux.SK_MEMINFO_FORMAT)


def open_socket(family: socket.AddressFamily) -> socket.socket:
    """Return a new UDP socket of one family only."""
    opened = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def mark(opened: socket.socket, dscp: int) -> None:
    """Send with this DSCP, whatever is sent."""
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def measure(opened: socket.socket) -> None:
    """Send at full TTL, receive with kernel stamps and TTL, by large buffers, never block."""
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, MAX_TTL)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, MAX_TTL)
        opened.setsockopt(socket.IPPROTO_IP, linux.IP_RECVTTL, 1)
    opened.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPNS, 1)
    opened.settimeout(0)
    try:
        opened.setsockopt(socket.SOL_SOCKET, linux.SO_RCVBUFFORCE, BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, linux.SO_SNDBUFFORCE, BUFFER)
    except PermissionError:
        # Granted up to net.core.rmem_max and wmem_max.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)


def taken(
    opened: socket.socket, limit: int
) -> Iterator[tuple[bytes, list[tuple[int, int, bytes]], Address]]:
    """Take up to so many datagrams one by one, each with its control messages and its source."""
    count = 0
    # A pending ICMP error comes out before the datagrams, and only once: go on after it.
    for _ in range(2 * limit):
        if count == limit:
            break
        try:
            datagram, ancillary, _, source = opened.recvmsg(LARGEST, CONTROL)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno not in linux.SOFT:
                raise
            continue
        count += 1
        yield datagram, ancillary, source


def drops(opened: socket.socket) -> int:
    """Count the datagrams the kernel dropped at this socket so far: its buffer was full."""
    meminfo = opened.getsockopt(socket.SOL_SOCKET, linux.SO_MEMINFO, _MEMINFO.size)
    return int(_MEMINFO.unpack(meminfo)[linux.SK_MEMINFO_DROPS])


def nanoseconds(timespec: bytes) -> int:
    """Read an SCM_TIMESTAMPNS message: wall clock, nanoseconds since 1970."""
    seconds, fraction = _TIMESPEC.unpack(timespec)
    return int(seconds * SECOND + fraction)


def integer(value: bytes) -> int:
    """Read an IP_TTL or IPV6_HOPLIMIT message."""
    return int(_INT.unpack(value)[0])
