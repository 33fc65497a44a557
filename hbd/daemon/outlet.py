"""By which way a path's datagrams leave: what leaves alike shares a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hbd.net.sockaddr import family_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from hbd.core.address import Address
    from hbd.core.model import Leaving, PeerSettings


class Outlet(NamedTuple):
    """What a socket that sends is bound to."""

    family: socket.AddressFamily
    leaving: Leaving
    is_bfd: bool
    """It has a port from BFD's range (RFC 5881 4)."""

    @property
    def way(self) -> tuple[Leaving, bool]:
        """What of it does not depend on where a peer is."""
        return self.leaving, self.is_bfd


def ways_used(settings: Iterable[PeerSettings]) -> set[tuple[Leaving, bool]]:
    """Give those of all outlets that these peers may have."""
    return {(one.leaving, one.protocol == "bfd") for one in settings}


def outlet_of(settings: PeerSettings, target: Address) -> Outlet:
    """Give that of a peer's heartbeats to an address."""
    return Outlet(family_of(target), settings.leaving, settings.protocol == "bfd")
