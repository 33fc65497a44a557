"""How datagrams to a path leave us: by which interface and router, and whether these work."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final

from hbd.core import icmp
from hbd.core.address import host_of
from hbd.core.asked import Asked
from hbd.core.egress import EgressKey
from hbd.core.model import SECOND, Cause
from hbd.core.session import Fact
from hbd.net.resolver import numeric
from hbd.net.routes import NoRouteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hbd.core.address import Address
    from hbd.core.fleet import Fleet
    from hbd.core.path import Path
    from hbd.net.clock import Clock
    from hbd.net.icmp import IcmpError
    from hbd.net.routes import Route, Routes

EXAMINED: Final = 200
"""Of each kind on which no verdict hangs so many are looked up in one turn at the most."""
SHARE: Final = 2
"""Who misses nothing is looked up for half as long as the turn has taken, however late that is: it
may be asked together with others then, and only that ends an overload of heartbeats one by one."""

LINKS_SPACING: Final = 1 * SECOND
"""How often our interfaces are looked at, whether anybody misses anything or not."""

NEVER_ASKED: Final = ("none", "noarp", "permanent")
"""Neighbours that the kernel sends to without ARP or ND."""


class Examiner:
    """Asks the kernel how paths leave, and tells the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        routes: Routes,
        requested_at: Callable[[str], int | None],
    ) -> None:
        """`requested_at`: when, monotonic, a host last sent our reflector a request."""
        self._fleet: Final = fleet
        self._clock: Final = clock
        self._routes: Final = routes
        self._requested_at: Final = requested_at
        self._well: OrderedDict[Path, None] = OrderedDict()
        """Those to be looked up that miss nothing,"""
        self._missing: OrderedDict[Path, None] = OrderedDict()
        """and that do, where it is looked again before the verdict."""
        self._refused_by: dict[str, int] = {}
        """When a next hop last sent an ICMP error about a heartbeat."""
        self._failed: dict[str, int] = {}
        """When each interface of ours was first seen to have failed;"""
        self._links_checked = 0
        """when all were looked at last."""

    def check_links(self, now: int) -> None:
        """See who is heard though its interface has failed: routes have changed in time."""
        if now - self._links_checked < LINKS_SPACING:
            return
        self._links_checked = now
        self._failed = {
            interface: self._failed.get(interface, now)
            for interface in self._fleet.interfaces()
            if self._link_fault(interface) is not None
        }
        for interface, since in self._failed.items():
            self._fleet.failed_before(interface, since)

    def forget(self, now: int) -> None:
        """Let what the kernel said before be looked up anew."""
        self._routes.forget(now)

    def want(self, path: Path) -> None:
        """Look how it leaves when there is time."""
        (self._missing if path.is_missing else self._well)[path] = None

    @property
    def has_work(self) -> bool:
        return bool(self._well or self._missing)

    def work(self, began: int, until: int | None) -> int:
        """Look how some paths leave on which no verdict hangs; give how many.

        In a turn that began at this moment, to be done `until` then if that is known.
        """
        if not self.has_work:
            return 0
        now = self._clock.now()
        of_well = None if until is None else max(until, now + (now - began) // SHARE)
        return self._work_off(self._well, of_well) + self._work_off(self._missing, until)

    def _work_off(self, waiting: OrderedDict[Path, None], until: int | None) -> int:
        done = 0
        while waiting and done < EXAMINED:
            path, _ = waiting.popitem(last=False)
            if path.is_missing and waiting is self._well:
                self._missing[path] = None
            elif not path.is_exhausted:  # else that was looked at for its verdict
                self.examine(path)
            done += 1
            if until is not None and self._clock.now() >= until:
                break
        return done

    def examine(self, path: Path) -> None:
        """Look how it leaves, and tell the fleet, which gives a verdict then if one is due."""
        if path.target is None or path.deadline is None:
            return  # removed since it was asked for
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
                    settings.leaving,
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
        self._fleet.examined(path, key, fault, next_hop)

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
        requested_at = self._requested_at(host_of(path.target))
        if requested_at is not None:
            self._fleet.asked_us(path, requested_at)

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

    def hear(self, error: IcmpError, offender: str) -> None:
        """Take an ICMP error about a heartbeat, and who sent it."""
        host = error.destination[0]
        is_own, is_on_link = self._place(offender)
        report = icmp.Report(
            error.origin,
            error.type,
            error.code,
            offender,
            is_own=is_own and offender != host,
            is_on_link=is_on_link,
            mtu=error.mtu,
        )
        gateway = self._gateway(error.destination)
        fact = icmp.read(report, host, gateway)
        if fact is None:
            return
        witness = icmp.is_witness(report, host, gateway)
        is_ours = self._fleet.icmp(
            error.destination, error.payload, fact, witness=witness, offender=offender
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
        for path in self._fleet.known_by(destination):
            if path.egress is not None:
                return path.egress.key.gateway
        return None
