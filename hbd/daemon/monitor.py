"""The fleet on real sockets: sends what it asks, tells it what arrived and how things stand."""

from __future__ import annotations

import errno
import os
from collections import Counter, OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final

from hbd.core import icmp
from hbd.core.address import host_of
from hbd.core.asked import Asked
from hbd.core.connected import Connected
from hbd.core.egress import EgressKey
from hbd.core.inquiry import Method, Probe
from hbd.core.model import MILLISECOND, SECOND, Cause, PeerSettings
from hbd.core.outputs import Ask, AskAll, Examine
from hbd.core.session import Fact
from hbd.daemon.ears import Ears
from hbd.daemon.inquirer import Inquirer
from hbd.daemon.outlet import outlet_of, ways_used
from hbd.daemon.pen import Pen
from hbd.daemon.senders import Senders
from hbd.daemon.streams import Streams
from hbd.net.resolver import numeric
from hbd.net.routes import NoRouteError, Route, Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hbd.core.address import Address
    from hbd.core.events import Event
    from hbd.core.fleet import Fleet
    from hbd.core.outputs import Tell
    from hbd.core.path import Path
    from hbd.daemon.outlet import Outlet
    from hbd.daemon.poller import Poller
    from hbd.net.batch import Gone
    from hbd.net.clock import Clock
    from hbd.net.icmp import IcmpError

BATCH: Final = 256
"""ICMP errors taken from a socket in one turn,"""
LIMIT: Final = 40 * 256
"""and datagrams: that empties a buffer of eight megabytes."""

EXAMINED: Final = 200
"""Paths looked up in one turn, of those on which no verdict hangs,"""
FEW: Final = 4
"""and at the least, whatever is due."""

DROPS_SPACING: Final = 50 * MILLISECOND
"""How often the kernel is asked what it dropped."""

LINKS_SPACING: Final = 1 * SECOND
"""How often our interfaces are looked at, whether anybody misses anything or not."""

FAREWELLS: Final = 3
"""RFC 5880 6.8.16 has AdminDown said for a Detection Time; who stops has not the time."""

OWN_LINK: Final = {errno.ENETDOWN, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL}
NO_ROUTE: Final = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EACCES,  # a prohibit route
    errno.EINVAL,  # a blackhole route
    errno.ENOKEY,  # WireGuard without a session,
    errno.EDESTADDRREQ,  # or without an endpoint
}
FORBIDDEN: Final = "a prohibit route, or the broadcast address of a link (EACCES)"
NEVER_ASKED: Final = ("none", "noarp", "permanent")
"""Neighbours that the kernel sends to without ARP or ND."""
NO_ROOM: Final = {
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.EADDRINUSE,  # no port is left
}
IPV6_OFF: Final = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}


class Monitor:
    """Carries the fleet's outputs to the network and the network's words to the fleet."""

    def __init__(self, fleet: Fleet, clock: Clock, poller: Poller, routes: Routes) -> None:
        self.fleet: Final = fleet
        self.weather: Counter[str] = Counter()
        """Sends that failed, by the name of the errno."""
        self.requests_dropped: Callable[[], int] = lambda: 0
        """How many requests to our reflector the kernel dropped."""
        self.requested_at: Callable[[str], int | None] = lambda _: None
        """When, monotonic, a host last sent our reflector a request that was answered."""
        self.drops = self._unheard = 0
        """Datagrams that the kernel dropped at our sockets for want of room."""
        self._clock: Final = clock
        self._routes: Final = routes
        self.streams: Final = Streams(fleet, clock, poller)
        self.ears: Final = Ears(fleet, clock, poller)
        self._inquirer: Final = Inquirer(fleet, clock, poller)
        self.senders: Final = Senders(poller, fleet.have_room)
        self._pen: Final = Pen()
        self._unhurried: OrderedDict[Path, None] = OrderedDict()
        self._refused_by: dict[str, int] = {}
        """When a next hop last sent an ICMP error about a heartbeat."""
        self._drained = clock.now()
        self._drops_checked = 0
        self._failed: dict[str, int] = {}
        """When each interface of ours was first seen to have failed;"""
        self._links_checked = 0
        """when all were looked at last."""

    def farewell(self, paths: Iterable[Path]) -> None:
        """Tell those that keep a session with us that we go."""
        for path in paths:
            if path.target is not None and path.pause(self.fleet.clock.now, on=True):
                for _ in range(FAREWELLS):
                    self.send(path)

    def keep_only(self, settings: Iterable[PeerSettings]) -> None:
        """Close the sockets by which no peer of these leaves any more."""
        used = ways_used(settings)
        self.senders.keep_only(used)
        self._inquirer.keep_only(used)
        paths = [path for peer in self.fleet.peers.values() for path in peer.paths]
        self.streams.keep_only(paths)
        self.ears.keep_only(paths)

    # -- what arrived -------------------------------------------------------------------------

    def drain(self, now: int, wall: int) -> bool:
        """Take everything that has arrived until this moment; False if there is still more.

        A reply counts from its kernel stamp, which is on the wall clock: it is held between the
        end of the last drain and when it was read, so that no step of that clock makes it old or
        young. That may be after `now`: replies come while we read.
        """
        self._routes.forget(now)
        empty = True
        for sender, has_error in self.senders.ready():
            for error in sender.errors(BATCH) if has_error else ():
                self._take_error(error)
            taken = 0
            for arrivals in sender.arrivals(LIMIT):
                self.fleet.receive_all(arrivals, self._drained, self._clock.now())
                taken += len(arrivals.lengths)
            empty = empty and taken < LIMIT
        if not self.ears.drain(self._drained, now, wall):
            self.fleet.unheard_some()
        self.streams.look()
        self._drained = now
        self._check_drops(now)
        self._check_links(now)
        return empty

    def _check_drops(self, now: int) -> None:
        if now - self._drops_checked < DROPS_SPACING:
            return
        self._drops_checked = now
        drops = self.senders.drops()
        if drops > self.drops:
            self.fleet.lost_some()
        unheard = self.ears.drops() + self.requests_dropped()
        if unheard > self._unheard:
            self.fleet.unheard_some()
        self.drops, self._unheard = drops, unheard

    def _check_links(self, now: int) -> None:
        """See who is heard though its interface has failed: routes have changed in time."""
        if now - self._links_checked < LINKS_SPACING:
            return
        self._links_checked = now
        self._failed = {
            interface: self._failed.get(interface, now)
            for interface in self.fleet.interfaces()
            if self._link_fault(interface) is not None
        }
        for interface, since in self._failed.items():
            self.fleet.failed_before(interface, since)

    def _take_error(self, error: IcmpError) -> None:
        if error.origin == "local" or error.offender is None:
            self.weather[errno.errorcode.get(error.errno, "other")] += 1
            return
        host = error.destination[0]
        is_own, is_on_link = self._place(error.offender)
        report = icmp.Report(
            error.origin,
            error.type,
            error.code,
            error.offender,
            is_own=is_own and error.offender != host,
            is_on_link=is_on_link,
            mtu=error.mtu,
        )
        gateway = self._gateway(error.destination)
        fact = icmp.read(report, host, gateway)
        if fact is None:
            return
        witness = icmp.is_witness(report, host, gateway)
        is_ours = self.fleet.icmp(
            error.destination, error.payload, fact, witness=witness, offender=error.offender
        )
        if is_ours and gateway is not None and icmp.is_first_hop(report, host, gateway):
            self._refused_by[gateway] = self._clock.now()

    def _place(self, address: str) -> tuple[bool, bool]:
        """Tell whether an address is ours, and whether it is a neighbour's."""
        target = numeric(address, 0)
        try:
            route = None if target is None else self._routes.lookup(target)
        except NoRouteError:
            route = None
        if route is None:
            return False, False
        return route.is_local, route.gateway is None and not route.is_local

    def _gateway(self, destination: Address) -> str | None:
        for path in self.fleet.known_by(destination):
            if path.egress is not None:
                return path.egress.key.gateway
        return None

    # -- what is to be done -------------------------------------------------------------------

    def carry_out(self, tell: Callable[[Event | Tell], None]) -> None:
        """Do what the fleet wants until it wants no more."""
        while outputs := self.fleet.outputs():
            for output in outputs:
                match output:
                    case AskAll():
                        self._send_all(output)
                    case Ask():
                        self.send(output.path)
                    case Probe():
                        self._probe(output)
                    case Examine() if output.path.is_exhausted:
                        self._examine(output.path)
                    case Examine():
                        self._unhurried[output.path] = None
                    case _:
                        tell(output)

    def listen(self, patience: int) -> None:
        """Wake for replies where one may change a verdict; all others lie until the next turn.

        So does what peers send by themselves, where that turn is near. `patience`: in so long.
        """
        self.senders.wake(on=self.fleet.waits_for_replies)
        self.ears.listen(patience)

    @property
    def has_unexamined(self) -> bool:
        return bool(self._unhurried)

    def examine_some(self, until: int | None) -> None:
        """Look how some paths leave on which no verdict hangs: done by then, if it is known."""
        for done in range(min(len(self._unhurried), EXAMINED)):
            if done >= FEW and until is not None and self._clock.now() >= until:
                return
            path, _ = self._unhurried.popitem(last=False)
            if not path.is_exhausted:  # else that was looked at for its verdict
                self._examine(path)

    def send(self, path: Path) -> None:
        """Send a heartbeat to the path's target now."""
        target = path.target
        if target is None or path.deadline is None:
            return  # removed, or unresolved, since it was asked for
        outlet = outlet_of(path.peer.settings, target)
        datagram = b""
        if isinstance(path, Connected):
            refusal = self.streams.send(path)
        else:
            datagram = self.fleet.compose(path, *self._clock.both())
            try:
                refusal = self.senders.open(outlet).send(datagram, target)
            except OSError as error:
                refusal = _known(error)
        if refusal is not None:
            self._refused(path, refusal, outlet, len(datagram))

    def _send_all(self, ask: AskAll) -> None:
        """Send a heartbeat to each of many that leave by the same socket."""
        first = next((path for path in ask.volley.paths if path is not None), None)
        if first is None or first.target is None:
            return  # all have left since it was asked for
        outlet = outlet_of(first.peer.settings, first.target)
        try:
            sender = self.senders.open(outlet)
        except OSError:
            for each in filter(None, list(ask.volley.paths)):
                each.leave()  # who is asked by itself is told what that means
            return
        clock, pen = self._clock, self._pen
        began, wall = clock.both()
        # The first leaves when all are written, each other one a little after the one before.
        octets, size, places = self.fleet.compose_all(
            ask, began + pen.lead, wall + pen.lead, pen.step
        )
        written = clock.now()
        gone: list[Gone] = []
        refusals = sender.send_alike(octets, size, places, gone)
        ended, count = clock.now(), len(octets) // size
        ask.volley.left(written, [*gone, (count, ended)])
        pen.measure(written - began, ended - written, count)
        for index, refusal in refusals.items():
            path = ask.volley.paths[index]
            if path is not None:
                self._refused(path, refusal, outlet, size)

    def _refused(self, path: Path, refusal: int, outlet: Outlet, size: int) -> None:
        self.weather[errno.errorcode.get(refusal, str(refusal))] += 1
        if refusal in OWN_LINK | NO_ROUTE and outlet.interface is not None:
            # Bound to an interface that is gone: a new one has another index.
            self.senders.close(outlet)
        if refusal != errno.ECONNREFUSED:
            self.fleet.send_failed(path, _fault(refusal, path, outlet, size))
        if refusal in NO_ROOM:
            self.fleet.lost_some()

    def _probe(self, probe: Probe) -> None:
        path = probe.path
        match probe.method:
            case Method.ECHO:
                self._inquirer.echo(probe)
            case Method.CONNECT:
                self._inquirer.connect(probe)
            case _ if path.target is not None:
                datagram = self.fleet.compose_probe(probe, *self._clock.both())
                sender = self.senders.get(outlet_of(path.peer.settings, path.target))
                if sender is not None:  # else no heartbeat leaves either
                    sender.send(datagram, path.target, probe.ttl)

    def _examine(self, path: Path) -> None:
        if path.target is None or path.deadline is None:
            return  # removed since it was asked for
        if isinstance(path, Connected) and path.is_exhausted:
            self.streams.notice(path)
        settings = path.peer.settings
        key, fault, next_hop = None, None, None
        if path.is_missing and path.egress is not None:
            # First the way by which it answered last: with that interface down another route may
            # lead nowhere.
            fault = self._link_fault(path.egress.key.interface)
        if fault is None:
            try:
                route = self._routes.lookup(
                    path.target,
                    interface=settings.interface,
                    source=settings.source,
                    dscp=settings.dscp,
                    # Who misses something is looked at again before its verdict.
                    is_kept=path.is_missing,
                )
            except NoRouteError as error:
                # A send that was refused tells more: a source address that is not ours, say.
                words = f"no route to {path.target[0]}: {error.strerror}"
                fault = path.send_error or Fact(Cause.NO_ROUTE, words)
            else:
                key = EgressKey(route.interface, route.gateway)
                fault = self._link_fault(route.interface)
                if path.is_exhausted:
                    self._look_beside(path, route)
                    next_hop = partial(self._next_hop, path, route)
                    self._look_for_requests(path, route)
        self.fleet.examined(path, key, fault, next_hop)

    def _look_beside(self, path: Path, route: Route) -> None:
        """A neighbour that answers no ARP or ND is off, whatever the error queue has lost."""
        if path.target is None or route.gateway is not None or path.icmp is not None:
            return
        if route.is_local:
            return  # we need not ask ourselves where we are
        neighbour = self._routes.neighbour(route.index, path.target[0])
        if neighbour is not None and neighbour.state == "failed":
            path.refused(icmp.no_neighbour(path.target[0], None))

    def _look_for_requests(self, path: Path, route: Route) -> None:
        """See whether a STAMP peer asks us, though it does not answer."""
        if not isinstance(path, Asked) or path.peer.settings.protocol != "stamp":
            return
        if path.target is None or route.is_local:  # what comes from there is our own
            return
        requested_at = self.requested_at(host_of(path.target))
        if requested_at is not None:
            self.fleet.asked_us(path, requested_at)

    def _next_hop(self, path: Path, route: Route) -> str | None:
        """Say whether the router that we send to answers; None where there is none."""
        if route.gateway is None:
            return None
        if self._refused_by.get(route.gateway, -1) > (path.last_reply_real or 0):
            return f"the next hop {route.gateway} answers (ICMP)"
        neighbour = self._routes.neighbour(route.index, route.gateway)
        if neighbour is None or neighbour.confirmed is None or neighbour.state in NEVER_ASKED:
            return f"whether the next hop {route.gateway} answers is not known"
        if neighbour.state in ("failed", "incomplete"):
            return f"the next hop {route.gateway} does not answer ARP or ND"
        ago = f"{neighbour.confirmed / SECOND:.1f} s ago"
        if self._clock.now() - neighbour.confirmed > (path.last_reply_real or 0):
            return f"the next hop {route.gateway} answers (ARP or ND, {ago})"
        # The kernel asks again only after half a minute or so.
        return f"the next hop {route.gateway} last answered ARP or ND {ago}, before the silence"

    def _link_fault(self, interface: str) -> Fact | None:
        link = self._routes.link(interface)
        if link is None:
            return Fact(Cause.OWN_LINK, f"our interface {interface} is gone")
        if not link.up:
            return Fact(Cause.OWN_LINK, f"our interface {interface} is down")
        if not link.carrier:
            return Fact(Cause.OWN_LINK, f"our interface {interface} has no carrier")
        return None


def _known(error: OSError) -> int:
    """Give the errno of a socket that could not be opened, if it is one to expect."""
    if error.errno not in OWN_LINK | NO_ROUTE | NO_ROOM | IPV6_OFF | {errno.EPERM}:
        raise error
    return error.errno


def _fault(refusal: int, path: Path, outlet: Outlet, size: int) -> Fact:
    """Say why a heartbeat of `size` octets did not leave."""
    words = f"{os.strerror(refusal)} ({errno.errorcode.get(refusal, refusal)})"
    address = path.target[0] if path.target is not None else path.address
    bound = outlet.interface or outlet.source or "the interface"
    too_long = f"{size} octets at once are more than our interface takes, or a router on the way"
    no_address = refusal == errno.EADDRNOTAVAIL and outlet.source is not None
    rows = (
        (no_address, Cause.OWN_LINK, f"source: {outlet.source} is no address of this machine"),
        (refusal in OWN_LINK, Cause.OWN_LINK, f"cannot send by {bound}: {words}"),
        (refusal == errno.EACCES, Cause.NO_ROUTE, f"no route to {address}: {FORBIDDEN}"),
        (refusal in NO_ROUTE, Cause.NO_ROUTE, f"no route to {address}: {words}"),
        (refusal in IPV6_OFF, Cause.NO_ROUTE, f"no route to {address}: no IPv6 on this machine"),
        (refusal == errno.EMSGSIZE, Cause.MTU, too_long),
        (
            refusal == errno.EPERM,
            Cause.SEND_BLOCKED,
            f"our own firewall refuses to send to {address}: {words}",
        ),
    )
    otherwise = Fact(Cause.SEND_BLOCKED, f"this machine cannot send to {address}: {words}")
    return next((Fact(cause, told) for so, cause, told in rows if so), otherwise)
