"""The reflector on real sockets: answers the heartbeats of others."""

from __future__ import annotations

from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from hbd.config.model import Accept, Listen
from hbd.core.address import host_of
from hbd.core.model import SECOND
from hbd.daemon.binding import BindError, open_at
from hbd.net.reflecting import ReflectorSocket
from hbd.wire import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hbd.core.address import Address
    from hbd.core.reflector import Reflector
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.reflecting import Request

BATCH: Final = 32
"""Requests answered at a time: more would make the last wait and its timestamp old."""
BATCHES: Final = 4
"""So many in a turn, about a millisecond: a flood leaves the rest of the turn its time."""

LATEST: Final = 1 * SECOND
"""No request waits longer in a socket that is read in every turn: a stamp from before is a step of
the wall clock."""


class Heard(NamedTuple):
    """A request that was answered."""

    host: str
    real: int
    """When it came, monotonic."""
    key: str | None
    """The name of the key that was its only credential."""
    ssid: int | None


class Mirror:
    """The reflector's sockets, and who is answered."""

    def __init__(self, reflector: Reflector, clock: Clock, poller: Poller) -> None:
        self.reflector: Final = reflector
        self.sockets: dict[Listen, ReflectorSocket] = {}
        self.heard: Callable[[Heard], None] = lambda _: None
        """Called with each request that was answered."""
        self._clock: Final = clock
        self._poller: Final = poller

    def open(
        self,
        listens: Iterable[Listen],
        kept: dict[Listen, int],
        warn: Callable[[str], None],
        *,
        shared: bool = False,
    ) -> dict[Listen, ReflectorSocket]:
        """Open what is listened on and not open yet; BindError leaves everything as it was.

        `kept` are sockets that systemd kept over a restart, with the requests in their queues.
        """
        opened: dict[Listen, ReflectorSocket] = {}
        try:
            for listen in listens:
                if listen in self.sockets or listen in opened:
                    continue
                bound = self._bind(listen, kept.get(listen), warn, shared=shared)
                if bound is not None:
                    opened[listen] = bound
        except BindError:
            for bound in opened.values():
                bound.close()
            raise
        return opened

    def _bind(
        self, listen: Listen, kept: int | None, warn: Callable[[str], None], *, shared: bool
    ) -> ReflectorSocket | None:
        address, port = listen.address, listen.port
        return open_at(listen, lambda: ReflectorSocket(address, port, fd=kept, shared=shared), warn)

    def adopt(self, listens: Iterable[Listen], opened: dict[Listen, ReflectorSocket]) -> None:
        """Use what was opened, and close what is listened on no more."""
        for listen in set(self.sockets).difference(listens):
            closing = self.sockets.pop(listen)
            self._poller.unwatch(closing.fileno())
            closing.close()
        for listen, bound in opened.items():
            self.sockets[listen] = bound
            self._poller.watch(bound.fileno(), partial(self._answer, bound), first=True)
        self.reflector.ports = {listen.port for listen in self.sockets}

    def replace(self, listens: Collection[Listen], warn: Callable[[str], None]) -> list[Listen]:
        """Listen on these instead; give the new ones. BindError leaves everything as it was.

        A wildcard and one address may follow each other on a port: what goes shares it meanwhile
        (systemd too holds it open for a moment).
        """
        going = [bound for listen, bound in self.sockets.items() if listen not in listens]
        for bound in going:
            bound.share(on=True)
        try:
            opened = self.open(listens, {}, warn, shared=bool(going))
        except BindError:
            for bound in going:
                bound.share(on=False)
            raise
        self.adopt(listens, opened)
        return list(opened)

    def _tell(self, request: Request, now: int, wall: int) -> None:
        real = now if request.stamp is None else min(now, now - (wall - request.stamp))
        name = self.reflector.signed_by
        is_signed = name is not None
        told = Heard(
            host_of(request.source),
            max(real, now - LATEST),
            name,
            stamp.ssid(request.datagram, authenticated=is_signed) if is_signed else None,
        )
        self.heard(told)

    def drops(self) -> int:
        """Count the requests the kernel has dropped for want of room."""
        return sum(bound.drops() for bound in self.sockets.values())

    def close(self) -> None:
        self.adopt((), {})

    def _answer(self, bound: ReflectorSocket) -> None:
        reflector, clock = self.reflector, self._clock
        for _ in range(BATCHES):
            requests = bound.receive(BATCH)
            now = clock.now()
            for request in requests:
                if not request.is_unicast:
                    reflector.dropped["multicast"] += 1
                    continue
                wall = clock.wall()
                reply = reflector.answer(
                    request.datagram,
                    source=request.source,
                    destination=request.destination,
                    ttl=request.ttl,
                    received=wall if request.stamp is None else request.stamp,
                    now=now,
                    wall=wall,
                )
                if reply is not None:
                    bound.send(reply, request)
                    self._tell(request, now, wall)
            if len(requests) < BATCH:
                return


def accepts(
    accept: Accept | tuple[IPv4Network | IPv6Network, ...], targets: Iterable[Address]
) -> Callable[[str], bool]:
    """Give the rule of who is answered: anybody, those in some prefixes, or our own targets."""
    if accept is Accept.ANY:
        return lambda _: True
    if accept is Accept.PEERS:
        return {host_of(target) for target in targets}.__contains__
    prefixes = tuple(accept)

    @lru_cache(maxsize=4096)
    def is_within(host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        return any(address in prefix for prefix in prefixes)

    return is_within
