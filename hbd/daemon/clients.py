"""Peers that connect to us by TCP, and beat over their connection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from hbd.core.address import host_of
from hbd.core.model import MILLISECOND, Cause
from hbd.core.session import Fact
from hbd.net.descriptors import RESERVED, claim
from hbd.net.tcp import End
from hbd.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hbd.core.fleet import Fleet
    from hbd.core.path import Path
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.listening import Connection, Listener

READ: Final = 1 << 20
"""Octets taken from a client in a turn; who sends more"""
REST: Final = 50 * MILLISECOND
"""has to wait for so long: a flood of words says no more than one."""

ACCEPTED: Final = 64
"""Clients taken in a turn, of each listener."""

CONNECTIONS: Final = 4
"""Of one peer at a time, the newest: who begins anew cannot always end the one before."""


class Clients:
    """Their connections: taken, read, and ended for those that are no peers any more."""

    def __init__(
        self, fleet: Fleet, clock: Clock, poller: Poller, refuse: Callable[[str], None]
    ) -> None:
        """`refuse` is told of each host that is no peer."""
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._refuse: Final = refuse
        self._connections: dict[Path, list[Connection]] = {}
        """The oldest first."""
        self._resting: dict[Connection, int] = {}
        """Those that are not read at present, and since when."""
        self._descriptors: Final = claim() + RESERVED // 2
        """From this one on they are not for clients; connections of ours are stopped before."""

    def accept(self, listener: Listener) -> None:
        """Take those that have connected."""
        for client in listener.accept(ACCEPTED):
            paths = self._fleet.known_by(("tcp", None, host_of(client.source)))
            has_room = client.fileno() < self._descriptors
            if paths and has_room:
                self._take(paths[0], client)
                continue
            if has_room:
                self._refuse(host_of(client.source))
            else:
                self._fleet.dropped["tcp-no-room"] += 1
            client.close()

    def _take(self, path: Path, client: Connection) -> None:
        connections = self._connections.setdefault(path, [])
        connections.append(client)
        if len(connections) > CONNECTIONS:
            self._end(path, connections[0])
        self._watch(path, client)

    def _watch(self, path: Path, client: Connection) -> None:
        self._poller.watch(client.fileno(), partial(self._read, path, client), first=True)

    def wake(self, now: int) -> None:
        """Read on where it was enough for a while; a silence wakes us, if nothing else does."""
        for path in self._connections if self._resting else ():
            for client in self._connections[path]:
                if now - self._resting.get(client, now) >= REST:
                    del self._resting[client]
                    self._watch(path, client)

    def _read(self, path: Path, client: Connection) -> None:
        taken = client.read(READ)
        if taken is None:
            return
        if isinstance(taken, End):
            self._end(path, client)
            words = f"{taken.words} at {moment(self._clock.wall())}"
            is_theirs = taken.cause in (Cause.CLOSED, Cause.RESET)
            self._fleet.broken(path, Fact(taken.cause, words), witness=is_theirs)
            return
        for one in self._fleet.known_by(("tcp", None, host_of(client.source))):
            self._fleet.heard(one, taken, self._clock.now())
        if len(taken) == READ:
            self._poller.unwatch(client.fileno())
            self._resting[client] = self._clock.now()

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Close the connections of peers that are no more."""
        for path in self._connections.keys() - set(paths):
            for client in list(self._connections[path]):
                self._end(path, client)
            del self._connections[path]

    def _end(self, path: Path, client: Connection) -> None:
        self._connections[path].remove(client)
        self._resting.pop(client, None)
        self._poller.unwatch(client.fileno())
        client.close()
