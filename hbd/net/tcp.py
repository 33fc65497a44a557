"""What TCP connections have in common: options, how they end, what the kernel knows of them."""

from __future__ import annotations

import errno
import os
import socket
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.core import icmp
from hbd.core.model import MILLISECOND, Cause
from hbd.net import linux
from hbd.net.icmp import ANCILLARY, icmp_error
from hbd.net.sockaddr import family_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.address import Address

COARSE: Final = 20 * MILLISECOND
"""The kernel keeps its times of TCP in ticks, of ten milliseconds at the most: two may differ by
this and be the same."""

ASKED_AFTER_S: Final = 1
"""The kernel asks no connection on which something has come within so many seconds."""

# linux/tcp.h, struct tcp_info: new fields are only ever added at its end.
_UNACKED_AT: Final = 24  # __u32 tcpi_unacked, in segments
_LAST_ACK_AT: Final = 56  # __u32 tcpi_last_ack_recv, in milliseconds
_RTT_AT: Final = 68  # __u32 tcpi_rtt, in microseconds
_INFO_SIZE: Final = 72
_FIELD: Final = Struct("=I")
_LINGER: Final = Struct("=ii")

_BY_ICMP: Final = "no {} to {}: so says ICMP, or nobody answers ARP or ND"
_CONNECTING: Final = {
    errno.ECONNREFUSED: (Cause.REFUSED, "connection refused by {}"),
    errno.ETIMEDOUT: (Cause.CONNECT_TIMEOUT, "no answer to SYN from {}"),
}
_RESET: Final = (Cause.RESET, "connection reset by {}")
_ENDS: Final = {
    errno.ECONNRESET: _RESET,
    errno.EPIPE: _RESET,
    errno.ECONNABORTED: _RESET,
    errno.ENOTCONN: _RESET,  # before we had read why
    errno.ETIMEDOUT: (
        Cause.KEEPALIVE_FAILED,
        "{} acknowledged nothing until the kernel gave the connection up",
    ),
    errno.EHOSTUNREACH: (Cause.HOST_UNREACHABLE, _BY_ICMP.format("way", "{}")),
    errno.EHOSTDOWN: (Cause.HOST_UNREACHABLE, _BY_ICMP.format("way", "{}")),
    errno.ENONET: (Cause.HOST_UNREACHABLE, _BY_ICMP.format("way", "{}")),
    errno.ENETUNREACH: (Cause.NET_UNREACHABLE, _BY_ICMP.format("route", "{}")),
    # ICMP of a firewall, or that there is no TCP (icmp_err_convert, tab_unreach).
    errno.EACCES: (Cause.REJECTED, "ICMP: traffic to {} is prohibited"),
    errno.ENOPROTOOPT: (Cause.REJECTED, "ICMP: {} speaks no TCP"),
}


class TlsError(OSError):
    """The handshake, the certificate or a record is wrong, in OpenSSL's words."""


class End(NamedTuple):
    """How a connection ended, or why there is none."""

    cause: Cause
    words: str
    offender: str | None = None
    """Who has said so by ICMP."""


class TcpInfo(NamedTuple):
    """What the kernel knows of a connection that is established."""

    last_ack_age_ns: int
    """How long ago the peer's kernel last acknowledged anything; in whole milliseconds."""
    rtt_ns: int
    """Smoothed, of data and of the handshake."""
    unacked: int
    """Segments on their way or lost; those of keep-alive are not counted."""


class KeepAlive(NamedTuple):
    """When an idle connection is probed, and given up (tcp(7))."""

    idle_s: int
    interval_s: int
    probes: int


def open_socket(address: Address) -> socket.socket:
    """Return a new TCP socket for such an address, of one family only, that never blocks."""
    opened = socket.socket(family_of(address), socket.SOCK_STREAM)
    opened.settimeout(0)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def said_by_icmp(opened: socket.socket, address: Address, ours: str) -> End | None:
    """Say what somebody on the way, or there, has said about a SYN; None if nobody did.

    `ours`: from where it was sent.
    """
    try:
        payload, ancillary, *_ = opened.recvmsg(1, ANCILLARY, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    error = icmp_error(payload, ancillary, address)
    if error is None or error.origin == "local" or error.offender in (None, ours):
        return None  # our own kernel, which got no answer to ARP or ND
    if (error.origin, error.type, error.code) in icmp.PORT_UNREACHABLE:
        # A host refuses a connection by a reset.
        words = f"ICMP port unreachable from {error.offender}, about {spelled(address)}"
        return End(Cause.REJECTED, words, error.offender)
    report = icmp.Report(error.origin, error.type, error.code, str(error.offender), is_own=False)
    fact = icmp.read(report, address[0], None)
    if fact is None:
        return None
    return End(fact.cause, f"{fact.text}, about {spelled(address)}", error.offender)


def end_by_reset(opened: socket.socket) -> None:
    """Have the kernel keep nothing of a connection once it is closed."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(1, 0))


def keep_alive(opened: socket.socket, times: KeepAlive) -> None:
    """Let the kernel probe the connection while nothing else goes over it."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, times.idle_s)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, times.interval_s)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, times.probes)


def ask(opened: socket.socket) -> None:
    """Let the kernel probe an idle connection, with keep-alive, now.

    At once, where nothing has come for a second; else as soon as that is so. It goes on until
    `keep_alive` is called again: the option rearms its timer (tcp_sock_set_keepidle).
    """
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ASKED_AFTER_S)


def info(opened: socket.socket) -> TcpInfo:
    """Ask the kernel."""
    octets = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    unacked, last_ack, rtt = (
        int(_FIELD.unpack_from(octets, at)[0]) for at in (_UNACKED_AT, _LAST_ACK_AT, _RTT_AT)
    )
    return TcpInfo(last_ack * MILLISECOND, rtt * 1_000, unacked)


def take(recv: Callable[[int], bytes], limit: int, address: Address) -> bytes | End | None:
    """Read what is there, at most so much; None while there is nothing."""
    try:
        octets = recv(limit)
    except BlockingIOError:
        return None
    except OSError as error:
        return ending(error, address)
    return octets or End(Cause.CLOSED, f"closed by {spelled(address)}")


def ending(error: OSError, address: Address, *, connecting: bool = False) -> End:
    """Say what an error means; one that is no weather is raised again."""
    if isinstance(error, TlsError):
        return End(Cause.TLS, str(error))
    number = error.errno or 0
    known = (_CONNECTING.get(number) if connecting else None) or _ENDS.get(number)
    if known is not None:
        cause, words = known
        return End(cause, words.format(spelled(address)))
    if number not in linux.WEATHER:
        raise error
    return End(Cause.SEND_BLOCKED, f"{os.strerror(number)}, to {spelled(address)}")


def spelled(address: Address) -> str:
    """Write 10.0.0.1:1883 or [fe80::1%eth0]:1883."""
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    host, port = socket.getnameinfo(address, flags)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
