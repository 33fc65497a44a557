"""What ICMP errors mean: evidence for a cause (RFC 792, RFC 1812 5.2.7.1, RFC 4443 3)."""

from __future__ import annotations

from typing import Final, NamedTuple

from hbd.core.model import Cause
from hbd.core.session import Fact

PORT_UNREACHABLE: Final = {("icmp", 3, 3), ("icmp6", 1, 4)}

_PROHIBITED: Final = "ICMP administratively prohibited"
_MEANINGS: Final = {
    ("icmp", 3, 0): (Cause.NET_UNREACHABLE, "ICMP network unreachable"),
    ("icmp", 3, 1): (Cause.HOST_UNREACHABLE, "ICMP host unreachable"),
    ("icmp", 3, 2): (Cause.REJECTED, "ICMP protocol unreachable"),
    ("icmp", 3, 4): (Cause.MTU, "ICMP fragmentation needed"),
    ("icmp", 3, 6): (Cause.NET_UNREACHABLE, "ICMP network unknown"),
    ("icmp", 3, 7): (Cause.HOST_UNREACHABLE, "ICMP host unknown"),
    ("icmp", 3, 9): (Cause.REJECTED, _PROHIBITED),
    ("icmp", 3, 10): (Cause.REJECTED, _PROHIBITED),
    ("icmp", 3, 13): (Cause.REJECTED, _PROHIBITED),
    ("icmp", 11, 0): (Cause.ROUTING_LOOP, "ICMP time exceeded"),
    ("icmp6", 1, 0): (Cause.NET_UNREACHABLE, "ICMPv6 no route"),
    ("icmp6", 1, 1): (Cause.REJECTED, "ICMPv6 administratively prohibited"),
    ("icmp6", 1, 3): (Cause.HOST_UNREACHABLE, "ICMPv6 address unreachable"),
    ("icmp6", 1, 5): (Cause.REJECTED, "ICMPv6 source address failed policy"),
    ("icmp6", 1, 6): (Cause.REJECTED, "ICMPv6 reject route"),
    ("icmp6", 2, 0): (Cause.MTU, "ICMPv6 packet too big"),
    ("icmp6", 3, 0): (Cause.ROUTING_LOOP, "ICMPv6 hop limit exceeded"),
}


class Report(NamedTuple):
    """An ICMP error as the kernel tells it."""

    origin: str
    """`icmp` or `icmp6`."""
    type: int
    code: int
    offender: str
    """Who says so."""
    is_own: bool
    """The offender is an address of ours: our kernel got no answer to ARP or ND."""
    is_on_link: bool = False
    """The offender is a neighbour of ours."""
    mtu: int | None = None
    """Octets that the next link takes, where that is the error; some routers say 0."""


def read(report: Report, destination: str, gateway: str | None) -> Fact | None:
    """Give what an error about a heartbeat to `destination` proves; None if it proves nothing."""
    kind = report.origin, report.type, report.code
    if kind in PORT_UNREACHABLE:
        words = f"ICMP port unreachable from {report.offender}"
        is_peer = report.offender == destination
        return Fact(Cause.PORT_CLOSED if is_peer else Cause.REJECTED, words)
    if kind not in _MEANINGS:
        return None
    cause, words = _MEANINGS[kind]
    if report.is_own and cause is Cause.HOST_UNREACHABLE:
        return no_neighbour(destination, gateway)
    narrow = f": its next link takes {report.mtu} octets" if report.mtu else ""
    return Fact(cause, f"{words} from {report.offender}{narrow}")


def no_neighbour(destination: str, gateway: str | None) -> Fact:
    """Say that our own kernel finds nobody at the next address to send to."""
    asked = f"the next hop {gateway}" if gateway else f"{destination}, which is on our link,"
    return Fact(Cause.HOST_UNREACHABLE, f"{asked} does not answer ARP or ND: switched off?")


def is_first_hop(report: Report, destination: str, gateway: str | None) -> bool:
    """Whether it comes from the router that we send to.

    That may speak by another address than we know it by: VRRP, or an IPv6 route to fe80::.
    """
    if report.is_own or report.offender == destination:
        return False
    return report.offender == gateway or report.is_on_link


def is_witness(report: Report, destination: str, gateway: str | None) -> bool:
    """Whether it comes from beyond our first hop, and so shows that our side is sound."""
    return not report.is_own and not is_first_hop(report, destination, gateway)
