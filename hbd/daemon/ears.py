"""Where peers that send by themselves are heard: plain datagrams, BFD, clients that connect."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.config.model import Listen
from hbd.core.address import host_of
from hbd.core.admission import REFUSED
from hbd.core.arrival import arrived
from hbd.core.model import MILLISECOND, Way
from hbd.daemon.binding import BindError, open_at
from hbd.daemon.clients import Clients
from hbd.daemon.poller import Pool
from hbd.net.listening import Listener
from hbd.net.reflecting import ReflectorSocket
from hbd.net.resolver import numeric
from hbd.wire import bfd, ports

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from hbd.config.model import Configuration
    from hbd.core.fleet import Fleet
    from hbd.core.model import PeerSettings
    from hbd.core.path import Path
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.reflecting import Request

BATCH: Final = 256
BATCHES: Final = 8
"""So many datagrams of a socket in a turn, about 20 ms: a flood leaves the rest of it its time."""

NEAREST: Final = 10 * MILLISECOND
"""A turn in so long is soon enough to hear anybody, and to answer;"""
NEAR: Final = 50 * MILLISECOND
"""for those who send seldom so long is soon enough,"""
PARTS: Final = 20
"""if it is so small a part of the time between two heartbeats of any of them,"""
UNREAD: Final = 64
"""and no more than so many come in it: the smallest buffer of a socket has room for 256."""

LONGEST: Final = 512
"""Octets of a plain datagram that are looked at; the rest is of no use."""

WILDCARDS: Final = ("0.0.0.0", "::")  # noqa: S104 - who may speak is decided by address


class Ear(NamedTuple):
    """What is listened on, and for which protocol."""

    protocol: str
    listen: Listen


class Opened(NamedTuple):
    """What is open and not in use yet."""

    ears: dict[Ear, ReflectorSocket]
    listeners: dict[Listen, Listener]


class Ears:
    """The sockets that only hear."""

    def __init__(self, fleet: Fleet, clock: Clock, poller: Poller) -> None:
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._poller: Final = poller
        self._sockets: dict[Ear, ReflectorSocket] = {}
        self._ears: dict[ReflectorSocket, Ear] = {}
        """The same, by socket."""
        self._pool: Final = Pool[ReflectorSocket](poller)
        self._listeners: dict[Listen, Listener] = {}
        self._clients: Final = Clients(fleet, clock, poller, partial(self._refuse, "tcp"))
        self.near = NEAREST
        """A turn in so long is soon enough for what is heard here: it has the kernel's stamp."""
        self._is_behind = False
        """More had come than could be read in a turn."""
        self._refused: set[tuple[str, str]] = set()
        self._newly_refused: list[tuple[str, str]] = []

    # -- opening ------------------------------------------------------------------------------

    def going(self, configuration: Configuration) -> list[ReflectorSocket]:
        """Give the sockets that are needed no more with this configuration."""
        ears = wanted(configuration.peers)
        return [bound for ear, bound in self._sockets.items() if ear not in ears]

    def open(
        self, configuration: Configuration, warn: Callable[[str], None], *, shared: bool = False
    ) -> Opened:
        """Open what this configuration wants and is not open yet.

        BindError leaves everything as it was. A listener that goes makes room before: clients that
        connect to it meanwhile are refused.
        """
        opened = Opened({}, {})
        clients = configuration.listen_tcp
        going = [listen for listen in self._listeners if listen not in clients]
        try:
            for ear in wanted(configuration.peers).difference(self._sockets):
                hearing = _open_ear(ear, warn, shared=shared)
                if hearing is not None:
                    opened.ears[ear] = hearing
            self._close_listeners(going)
            for listen in set(clients).difference(self._listeners):
                listening = _open_listener(listen, warn)
                if listening is not None:
                    opened.listeners[listen] = listening
        except BindError:
            for bound in opened.ears.values():
                bound.close()
            for accepting in opened.listeners.values():
                accepting.close()
            for listen in set(going).difference(self._listeners):
                self._watch_listener(listen, Listener(listen.address, listen.port))
            raise
        return opened

    def adopt(self, configuration: Configuration, opened: Opened) -> None:
        """Use what was opened, and close what is needed no more."""
        self.near = _near(configuration.peers)
        for ear in set(self._sockets).difference(wanted(configuration.peers)):
            closing = self._sockets.pop(ear)
            del self._ears[closing]
            self._pool.remove(closing)
            closing.close()
        for ear, bound in opened.ears.items():
            self._sockets[ear] = bound
            self._ears[bound] = ear
            self._pool.add(bound)
        for listen, listening in opened.listeners.items():
            self._watch_listener(listen, listening)

    def _watch_listener(self, listen: Listen, listening: Listener) -> None:
        self._listeners[listen] = listening
        accept = partial(self._clients.accept, listening)
        self._poller.watch(listening.fileno(), accept, first=True)

    def _close_listeners(self, listens: Iterable[Listen]) -> None:
        for listen in listens:
            closing = self._listeners.pop(listen)
            self._poller.unwatch(closing.fileno())
            closing.close()

    def keep_only(self, paths: Iterable[Path]) -> None:
        """Close the connections of peers that are no more."""
        self._clients.keep_only(paths)

    def drops(self) -> int:
        """Count what the kernel has dropped for want of room."""
        return sum(bound.drops() for bound in self._sockets.values())

    def listen(self, patience: int) -> None:
        """Let a datagram wake us, or wait for the next turn where that is near: in `patience`."""
        self._pool.wake(on=patience > self.near or self._is_behind)

    # -- datagrams ----------------------------------------------------------------------------

    def drain(self, drained: int, now: int, wall: int) -> bool:
        """Take what has arrived until this moment; False if there is still more.

        `drained`: when everything was taken last.
        """
        empty = True
        for bound, _ in self._pool.ready():
            ear = self._ears[bound]
            for _ in range(BATCHES):
                requests = bound.receive(BATCH)
                for request in requests:
                    if request.is_unicast:
                        self._hear(ear, request, arrived(request.stamp, drained, now, wall))
                    else:
                        self._fleet.dropped[f"{ear.protocol}-multicast"] += 1
                if len(requests) < BATCH:
                    break
            else:
                empty = False
        self._clients.wake(now)
        self._is_behind = not empty
        return empty

    def _hear(self, ear: Ear, request: Request, real: int) -> None:
        host = host_of(request.source)
        paths = self._fleet.known_by(_key(ear, host, request.datagram))
        known = [p for p in paths if any(host_of(target) == host for target in p.targets)]
        if not known and ear.protocol == "bfd" and self._fleet.known_by(_first_key(ear, host)):
            self._fleet.dropped["bfd-other-session"] += 1  # the one before our start, or a reload
        elif not known:
            self._refuse(ear.protocol, host)
        datagram = request.datagram if ear.protocol == "bfd" else request.datagram[:LONGEST]
        if len(known) > 1 and ear.protocol == "bfd":
            known = _from_there(known, request.destination)
        for path in known:
            self._fleet.heard(path, datagram, real, request.ttl, request.source)

    def _refuse(self, protocol: str, host: str) -> None:
        self._fleet.dropped[f"{protocol}-unknown-source"] += 1
        if (protocol, host) not in self._refused and len(self._refused) < REFUSED:
            self._refused.add((protocol, host))
            self._newly_refused.append((protocol, host))

    def refused(self) -> list[tuple[str, str]]:
        """Drain the sources, by protocol, that were refused for the first time."""
        drained, self._newly_refused = self._newly_refused, []
        return drained


def wanted(peers: Iterable[PeerSettings]) -> set[Ear]:
    """Give what must be listened on for these peers."""
    ports = {(peer.protocol, peer.port) for peer in peers if _is_heard(peer)}
    return {Ear(protocol, Listen(host, port)) for protocol, port in ports for host in WILDCARDS}


def _is_heard(peer: PeerSettings) -> bool:
    return peer.protocol == "bfd" or (peer.protocol == "plain" and peer.way is Way.TOLD)


def _near(peers: Iterable[PeerSettings]) -> int:
    """Give how long what these peers send may lie unread; what a turn judges it has read before."""
    expected = [
        peer.timing.interval if peer.expect is None else peer.expect.interval
        for peer in peers
        if _is_heard(peer)
    ]
    if not expected:
        return NEAREST
    soon = min(NEAR, min(expected) // PARTS, int(UNREAD / sum(1 / span for span in expected)))
    return max(soon, NEAREST)


def _key(ear: Ear, host: str, datagram: bytes) -> Hashable:
    if ear.protocol != "bfd":
        return ear.protocol, ear.listen.port, host
    discriminator = bfd.addressee(datagram)
    return ("bfd", discriminator) if discriminator else _first_key(ear, host)


def _first_key(ear: Ear, host: str) -> Hashable:
    """By what a BFD session is known before its peer knows our discriminator."""
    return "bfd", ear.listen.port == ports.BFD_MULTIHOP, host


def _from_there(paths: list[Path], local: str) -> list[Path]:
    """Of BFD sessions with one address give those that we have from this address of ours.

    A packet without our discriminator tells them apart by nothing else (RFC 5883 4).
    """
    sources = [path.peer.settings.leaving.source for path in paths]
    hosts = [None if source is None else numeric(source, 0) for source in sources]
    ours = [path for path, host in zip(paths, hosts, strict=True) if host and host[0] == local]
    return ours or [path for path, source in zip(paths, sources, strict=True) if source is None]


def _open_ear(ear: Ear, warn: Callable[[str], None], *, shared: bool) -> ReflectorSocket | None:
    address, port = ear.listen.address, ear.listen.port
    key = "port" if ear.protocol == "plain" else "protocol"
    return open_at(ear.listen, lambda: ReflectorSocket(address, port, shared=shared), warn, key)


def _open_listener(listen: Listen, warn: Callable[[str], None]) -> Listener | None:
    return open_at(listen, lambda: Listener(listen.address, listen.port), warn, "listen_tcp")
