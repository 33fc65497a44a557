"""The fleet on real sockets: sends what it asks, tells it what arrived and how things stand."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Final

from hbd.core.connected import Connected
from hbd.core.inquiry import Method, Probe
from hbd.core.model import MILLISECOND
from hbd.core.outputs import Ask, AskAll, Examine
from hbd.daemon.ears import Ears
from hbd.daemon.examiner import Examiner
from hbd.daemon.inquirer import Inquirer
from hbd.daemon.outlet import outlet_of, ways_used
from hbd.daemon.pen import Pen
from hbd.daemon.refusals import NO_ROOM, NO_ROUTE, OWN_LINK, fault, known
from hbd.daemon.senders import Senders
from hbd.daemon.streams import Streams
from hbd.net.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hbd.core.events import Event
    from hbd.core.fleet import Fleet
    from hbd.core.model import PeerSettings
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

DROPS_SPACING: Final = 50 * MILLISECOND
"""How often the kernel is asked what it dropped."""

FAREWELLS: Final = 3
"""RFC 5880 6.8.16 has AdminDown said for a Detection Time; who stops has not the time."""


class Monitor:
    """Carries the fleet's outputs to the network and the network's words to the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        clock: Clock,
        poller: Poller,
        *,
        requests_dropped: Callable[[], int],
        requested_at: Callable[[str], int | None],
    ) -> None:
        """Of our reflector: how many requests to it the kernel dropped; and see Examiner."""
        self.fleet: Final = fleet
        self.weather: Counter[str] = Counter()
        """Sends that failed, by the name of the errno."""
        self.drops = self._unheard = 0
        """Datagrams that the kernel dropped at our sockets for want of room."""
        self._clock: Final = clock
        self._requests_dropped: Final = requests_dropped
        self.examiner: Final = Examiner(fleet, clock, Routes(), requested_at)
        self.streams: Final = Streams(fleet, clock, poller)
        self.ears: Final = Ears(fleet, clock, poller)
        self._inquirer: Final = Inquirer(fleet, clock, poller)
        self.senders: Final = Senders(poller, fleet.have_room)
        self._pen: Final = Pen()
        self._drained = clock.now()
        self._drops_checked = 0

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
        self.examiner.forget(now)
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
        self.examiner.check_links(now)
        return empty

    def _check_drops(self, now: int) -> None:
        if now - self._drops_checked < DROPS_SPACING:
            return
        self._drops_checked = now
        drops = self.senders.drops()
        if drops > self.drops:
            self.fleet.lost_some()
        unheard = self.ears.drops() + self._requests_dropped()
        if unheard > self._unheard:
            self.fleet.unheard_some()
        self.drops, self._unheard = drops, unheard

    def _take_error(self, error: IcmpError) -> None:
        if error.origin == "local" or error.offender is None:
            self.weather[errno.errorcode.get(error.errno, "other")] += 1
        else:
            self.examiner.hear(error, error.offender)

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
                        self.examiner.want(output.path)
                    case _:
                        tell(output)

    def listen(self, patience: int) -> None:
        """Wake for replies where one may change a verdict; all others lie until the next turn.

        So does what peers send by themselves, where that turn is near. `patience`: in so long.
        """
        self.senders.wake(on=self.fleet.waits_for_replies)
        self.ears.listen(patience)

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
                refusal = known(error)
        if refusal is not None:
            self._refused(path, refusal, outlet, len(datagram))

    def _examine(self, path: Path) -> None:
        """Look at once: a verdict hangs on it."""
        if isinstance(path, Connected) and path.target is not None and path.deadline is not None:
            self.streams.notice(path)
        self.examiner.examine(path)

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
        if refusal in OWN_LINK | NO_ROUTE and outlet.leaving.interface is not None:
            # Bound to an interface that is gone: a new one has another index.
            self.senders.close(outlet)
        if refusal != errno.ECONNREFUSED:
            self.fleet.send_failed(path, fault(refusal, path, outlet, size))
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
