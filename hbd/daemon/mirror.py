"""The reflector on real sockets: answers the heartbeats of others."""

from __future__ import annotations

from array import array
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from hbd.config.model import Accept, Listen
from hbd.core.address import host_of
from hbd.core.arrival import arrived
from hbd.core.familiar import Familiar
from hbd.core.form import OPEN
from hbd.daemon.binding import BindError, open_at
from hbd.daemon.pen import Pen
from hbd.net.reflecting import ReflectorSocket
from hbd.wire import ntp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from hbd.core.address import Address
    from hbd.core.arrival import Requests
    from hbd.core.reflector import Reflection, Reflector
    from hbd.daemon.poller import Poller
    from hbd.net.clock import Clock
    from hbd.net.reflecting import Request

BATCH: Final = 64
"""Requests answered at a time: more would make the last wait and its timestamp old."""
BATCHES: Final = 8
"""So many in a turn, up to 20 ms: a flood leaves the rest of the turn its time."""


MANY: Final = 16
"""From so many that leave together it shows what each takes: one alone takes the whole call."""


class Answered(NamedTuple):
    """A request that was answered, as far as it tells who is alive."""

    source: Address
    real: int
    """When it came, monotonic."""
    reflection: Reflection


class Mirror:
    """The reflector's sockets, and who is answered."""

    def __init__(
        self,
        reflector: Reflector,
        clock: Clock,
        poller: Poller,
        heard: Callable[[Answered], None],
    ) -> None:
        """`heard`: is told of each request that was answered and is believed, but familiar ones."""
        self.reflector: Final = reflector
        self.familiar: Final = Familiar(reflector)
        self.sockets: dict[Listen, ReflectorSocket] = {}
        self._heard: Final = heard
        self.is_behind = False
        """Requests were left unread in a turn, or lay unread while we did not run."""
        self._emptied: dict[ReflectorSocket, int] = {}
        """When all was read of each."""
        self._clock: Final = clock
        self._poller: Final = poller
        self._pen: Final = Pen()
        self._dated: int | None = None
        """When the first of some replies was dated, just before it left."""

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
            del self._emptied[closing]
            self._poller.unwatch(closing.fileno())
            closing.close()
        for listen, bound in opened.items():
            self.sockets[listen] = bound
            self._emptied[bound] = self._clock.now()
            self._poller.watch(bound.fileno(), partial(self._answer, bound), first=True)
        self.reflector.ports = {listen.port for listen in self.sockets}

    def going(self, listens: Collection[Listen]) -> list[ReflectorSocket]:
        """Give the sockets that are needed no more where these are listened on."""
        return [bound for listen, bound in self.sockets.items() if listen not in listens]

    def drops(self) -> int:
        """Count the requests the kernel has dropped for want of room."""
        return sum(bound.drops() for bound in self.sockets.values())

    def _answer(self, bound: ReflectorSocket) -> None:
        for _ in range(BATCHES):
            count = 0
            for requests, singly in bound.arrivals(BATCH):
                self._answer_all(bound, requests, singly)
                count += len(requests.places)
            if count < BATCH:
                self._emptied[bound] = self._clock.now()
                return
        self.is_behind = True

    def _answer_all(
        self, bound: ReflectorSocket, requests: Requests, singly: Callable[[], list[Request]]
    ) -> None:
        now, since = self._clock.now(), self._emptied[bound]
        told: list[Answered] = []

        def answer_one(at: int) -> Reflection | None:
            return self._answer_one(singly()[at], now, since, told)

        found = self.familiar.answer(requests, answer_one, now=now, wall=self._clock.wall())
        replies, places, ways = _to_send(found, requests)
        self._dated = None
        bound.send_many(replies, places, ways, self._date if self.familiar.knew_all else None)
        if self._dated is not None and len(replies) >= MANY:
            self._pen.measure(0, self._clock.now() - self._dated, len(replies))
        for answered in told:
            self._heard(answered)

    def _date(self, replies: memoryview, size: int) -> None:
        """Have the T3 of each say when it leaves, and rather too early than too late."""
        now, wall = self._clock.both()
        self._dated = self._dated or now
        first = ntp.ntp_from_unix(wall)
        each = max((self._pen.step * 3 // 4 << 32) // ntp.SECOND, 1)
        moments = range(first, first + len(replies) // size * each, each)
        if moments.stop < ntp.STAMPS:
            OPEN.date(replies, size, array("Q", moments))

    def _answer_one(
        self, request: Request, now: int, since: int, told: list[Answered]
    ) -> Reflection | None:
        datagram, source, destination, _, ttl, stamped, is_unicast = request
        if not is_unicast:
            self.reflector.dropped["multicast"] += 1
            return None
        wall = self._clock.wall()
        reflection = self.reflector.answer(
            datagram,
            source=source,
            destination=destination,
            ttl=ttl,
            received=wall if stamped is None else stamped,
            now=now,
            wall=wall,
        )
        if reflection is not None and reflection.is_believed:
            told.append(Answered(source, arrived(stamped, since, now, wall), reflection))
        return reflection


def _to_send(
    found: list[bytes | None], requests: Requests
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Give the replies, and the places and the ways of those to whom there is one."""
    if None not in found:
        return cast("list[bytes]", found), requests.places, requests.ways
    replies = [reply for reply in found if reply is not None]
    places, ways = compress(requests.places, found), compress(requests.ways, found)
    return replies, list(places), list(ways)


def accepts(
    accept: Accept | tuple[IPv4Network | IPv6Network, ...], targets: Iterable[Address]
) -> Callable[[str], bool]:
    """Give the rule of who is answered: anybody, those in some prefixes, or our own targets."""
    if accept is Accept.ANY:
        return lambda _: True
    if accept is Accept.PEERS:
        return dict.fromkeys(map(host_of, targets)).__contains__  # half as large as a set
    prefixes = tuple(accept)

    @lru_cache(maxsize=4096)
    def is_within(host: str) -> bool:
        address = ip_address(host.partition("%")[0])
        return any(address in prefix for prefix in prefixes)

    return is_within
