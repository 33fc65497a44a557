"""Hosts that speak by themselves: senders that beat, and routers with a BFD session each."""

from __future__ import annotations

from functools import partial

from hbd.core.bfd import BfdSession
from hbd.core.model import MILLISECOND, SECOND, BfdOptions, Expectation, PeerSettings, Timing
from hbd.core.session import Fact
from hbd.wire import bfd
from tests.simulation.world import Link, World, peer


class Sender:
    """Beats every interval, up to a share of it sooner or later; nobody answers it."""

    def __init__(
        self,
        world: World,
        host: str,
        interval: int,
        jitter: float = 0.0,
        first: int | None = None,
    ) -> None:
        self.world, self.host = world, host
        self.interval, self.jitter = interval, jitter
        self.payload = b"heartbeat"
        self.key = ("plain", 12345, host)
        self.heard_at: list[int] = []
        """When our daemon's kernel got its heartbeats."""
        self.heard: list[bytes] = []
        """What reached it of ours."""
        world.hosts.append(self)
        if first is None:
            self.left_alone(world.now, 0)
        else:
            world.arrive(world.now + first, self._beat)

    def left_alone(self, at: int, _span: int) -> None:
        """Go on with some beat of many that nobody has heard."""
        self.world.arrive(at + self.world.dice.randrange(self.interval), self._beat)

    def hear(self, datagram: bytes, _at: int) -> None:
        self.heard.append(datagram)

    def _beat(self, at: int) -> None:
        world, link = self.world, self.world.links[self.host]
        early = self.jitter * (2 * world.dice.random() - 1)
        world.arrive(at + int(self.interval * (1 + early)), self._beat)
        if not is_lost(world, link, at):
            late = world.dice.randrange(link.spread) if link.spread else 0
            world.arrive(at + link.delay + late, partial(self._arrive, self.payload))

    def _arrive(self, payload: bytes, at: int) -> None:
        if self.world.keep:
            self.heard_at.append(at)
        for path in self.world.fleet.known_by(self.key):
            self.world.fleet.heard(path, payload, at, 64, source=(self.host, 0))


class Router:
    """The other end of a BFD session; it keeps its own time, whether we run or not."""

    def __init__(self, world: World, host: str, interval: int, multiplier: int = 3) -> None:
        self.world, self.host = world, host
        self.interval = interval
        self.options = BfdOptions(multiplier=multiplier)
        self.states: list[tuple[int, bfd.State]] = []
        self.sent: list[tuple[int, bfd.Packet]] = []
        world.hosts.append(self)
        self.begin(world.now)

    def left_alone(self, at: int, span: int) -> None:
        """Go on after so long a time in which nobody was heard."""
        self.looks_at = None
        if span >= self.session.patience and self.session.expire():
            self._note(at)
        self._send(at)

    def begin(self, at: int) -> None:
        """Start, or start again with nothing remembered."""
        discriminator = 1 + self.world.dice.getrandbits(31)
        dice = self.world.dice
        self.session = BfdSession(self.options, self.interval, dice, discriminator, None)
        self.heard_at = self.last_sent = at
        self.looks_at = None
        self._note(at)
        self._plan(at, at + dice.randrange(SECOND))

    def adopt(self, interval: int, multiplier: int) -> None:
        self.options = BfdOptions(multiplier=multiplier)
        timing = Timing(interval=interval)
        self.session.adopt(PeerSettings("us", (), timing=timing, bfd=self.options))
        self._plan_next(self.world.now)

    def admin_down(self, *, on: bool) -> None:
        """What its operator does at this moment."""
        self.session.pause(on=on)
        self._note(self.world.now)
        self._send(self.world.now)

    def hear(self, datagram: bytes, at: int) -> None:
        if self.world.links[self.host].is_dead(at):
            return
        if bfd.addressee(datagram) not in (0, self.session.discriminator):
            return
        heard = self.session.read(datagram, at, 255, at - self.heard_at)
        if isinstance(heard, Fact):
            return
        self.heard_at = at
        self._note(at)
        self._expect(at)
        if heard.reply:
            self._send(at)

    # -- its time -----------------------------------------------------------------------------

    def _plan_next(self, at: int) -> None:
        spacing = self.session.spacing()
        if spacing is not None:
            self._plan(at, max(self.last_sent + spacing, at))

    def _plan(self, at: int, due: int) -> None:
        self.due = due
        self.world.arrive(due, self._beat)
        self._expect(at)

    def _beat(self, at: int) -> None:
        if at == self.due:
            self._send(at)

    def _expect(self, at: int) -> None:
        if self.session.state in (bfd.State.INIT, bfd.State.UP) and self.looks_at is None:
            self.looks_at = max(self.heard_at + self.session.patience, at)
            self.world.arrive(self.looks_at, self._look)

    def _look(self, at: int) -> None:
        if at != self.looks_at:
            return
        self.looks_at = None
        if at >= self.heard_at + self.session.patience and self.session.expire():
            self._note(at)
            self._send(at)
        else:
            self._expect(at)

    def _send(self, at: int) -> None:
        datagram = self.session.compose(at)
        if self.world.keep:
            self.sent.append((at, bfd.parse(datagram)))
        self.last_sent = at
        self._plan_next(at)
        world, link = self.world, self.world.links[self.host]
        if not is_lost(world, link, at):
            late = world.dice.randrange(link.spread) if link.spread else 0
            world.arrive(at + link.delay + late, partial(self._arrive, datagram))

    def _arrive(self, datagram: bytes, at: int) -> None:
        mine = bfd.addressee(datagram)
        key = ("bfd", mine) if mine else ("bfd", False, self.host)
        for path in self.world.fleet.known_by(key):
            self.world.fleet.heard(path, datagram, at, 255, source=(self.host, 3784))

    def _note(self, at: int) -> None:
        if not self.states or self.states[-1][1] is not self.session.state:
            self.states.append((at, self.session.state))


def is_lost(world: World, link: Link, at: int) -> bool:
    """Whether what a host sends at this moment never reaches us."""
    if link.is_dead(at) or world.is_cut(link.egress, at):
        return True
    if link.lost_in_turn:
        link.lost_in_turn -= 1
        return True
    return bool(link.loss) and world.dice.random() < link.loss


def told(name: str, interval: int = SECOND, grace: float = 1.5, **settings) -> PeerSettings:
    """Settings of a peer that sends plain datagrams."""
    payload = settings.pop("payload", None)
    expect = Expectation(interval, grace, payload)
    timing = settings.pop("timing", Timing(retries=0, rise=1))
    return peer(name, protocol="plain", port=12345, expect=expect, timing=timing, **settings)


def agreed(name: str, interval: int = 100 * MILLISECOND, multiplier: int = 3, **settings):
    """Settings of a BFD neighbour."""
    timing = Timing(interval, interval, multiplier - 1, 1)
    options = BfdOptions(multiplier=multiplier)
    return peer(name, protocol="bfd", port=3784, timing=timing, bfd=options, **settings)


def watch_sender(world: World, settings: PeerSettings, link: Link | None = None, **how) -> Sender:
    """Watch a peer that sends, and let it send as it is expected to."""
    world.links[settings.name] = link or Link()
    sender = Sender(world, settings.name, how.pop("interval", settings.expect.interval), **how)
    world.links[settings.name].host = sender
    world.watch(settings, link=world.links[settings.name])
    return sender


def watch_router(world: World, settings: PeerSettings, link: Link | None = None, **how) -> Router:
    """Watch a BFD neighbour that is there."""
    world.links[settings.name] = link or Link()
    interval = how.pop("interval", settings.timing.interval)
    router = Router(world, settings.name, interval, **how)
    world.links[settings.name].host = router
    world.watch(settings, link=world.links[settings.name])
    return router
