"""The sockets that heartbeats leave by, and their replies come back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hbd.daemon.poller import Pool
from hbd.net.sender import SenderSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hbd.core.model import Leaving
    from hbd.daemon.outlet import Outlet
    from hbd.daemon.poller import Poller

BFD_PORTS: Final = range(49_152, 65_536)
"""RFC 5881 4. One port for all sessions of an outlet, as FRR has it: they are told apart by their
discriminators."""

LOOKS: Final = 20
"""So often it is asked what was dropped where something came, before all sockets are asked."""


class Senders:
    """One for each outlet, opened when it is first needed."""

    def __init__(self, poller: Poller, have_room: Callable[[int], None]) -> None:
        """`have_room` is told how many replies each may hold unread."""
        self.forbidden_ports: Collection[int] = ()
        """Ports no heartbeat may come from: those of reflectors (RFC 8762 4.1 and loops)."""
        self._have_room: Final = have_room
        self._sockets: dict[Outlet, SenderSocket] = {}
        self._pool: Final = Pool[SenderSocket](poller)
        self._drops: dict[SenderSocket, int] = {}
        """Datagrams that the kernel dropped at each for want of room."""
        self._heard: set[SenderSocket] = set()
        """Those that had something since drops were counted last."""
        self._drops_of_closed = 0
        self._looks = 0

    def get(self, outlet: Outlet) -> SenderSocket | None:
        """Give the socket of an outlet, if there is one."""
        return self._sockets.get(outlet)

    def open(self, outlet: Outlet) -> SenderSocket:
        """Give the socket of an outlet; OSError as SenderSocket says."""
        sender = self._sockets.get(outlet)
        if sender is None:
            sender = SenderSocket(
                outlet.family,
                outlet.leaving,
                forbidden_ports=self.forbidden_ports,
                ports=BFD_PORTS if outlet.is_bfd else None,
            )
            self._sockets[outlet] = sender
            self._pool.add(sender)
            self._have_room(sender.room)
        return sender

    def close(self, outlet: Outlet) -> None:
        """Close the socket of an outlet, if there is one."""
        sender = self._sockets.pop(outlet, None)
        if sender is not None:
            self._pool.remove(sender)
            self._heard.discard(sender)
            self._drops_of_closed += self._drops.pop(sender, 0)
            sender.close()

    def keep_only(self, used: Collection[tuple[Leaving, bool]]) -> None:
        """Close the sockets by which nothing leaves any more."""
        for outlet in [outlet for outlet in self._sockets if outlet.way not in used]:
            self.close(outlet)

    def wake(self, *, on: bool) -> None:
        """Whether what arrives wakes us, or waits for the next turn."""
        self._pool.wake(on=on)

    def ready(self) -> Iterator[tuple[SenderSocket, bool]]:
        """Give those that have something, and whether an error is among it."""
        for sender, has_error in self._pool.ready():
            self._heard.add(sender)
            yield sender, has_error

    def drops(self) -> int:
        """Count what the kernel has dropped for want of room.

        That is nearly always where there is something to read; all are asked now and then.
        """
        self._looks = (self._looks + 1) % LOOKS
        for sender in self._heard if self._looks else self._sockets.values():
            self._drops[sender] = sender.drops()
        self._heard.clear()
        return self._drops_of_closed + sum(self._drops.values())
