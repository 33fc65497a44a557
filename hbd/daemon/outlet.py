"""By which way a path's datagrams leave: what leaves alike shares a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hbd.net.sockaddr import family_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from hbd.core.address import Address
    from hbd.core.model import PeerSettings


class Outlet(NamedTuple):
    """What a socket that sends is bound to."""

    family: socket.AddressFamily
    interface: str | None
    source: str | None
    dscp: int | None
    is_bfd: bool
    """It has a port from BFD's range (RFC 5881 4)."""


def ways_used(settings: Iterable[PeerSettings]) -> set[tuple[Any, ...]]:
    """Give all that outlets for these peers may have beside their family."""
    return {(one.interface, one.source, one.dscp, one.protocol == "bfd") for one in settings}


def outlet_of(settings: PeerSettings, target: Address) -> Outlet:
    """Give that of a peer's heartbeats to an address."""
    return Outlet(
        family_of(target),
        settings.interface,
        settings.source,
        settings.dscp,
        settings.protocol == "bfd",
    )
