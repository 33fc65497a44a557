"""A world in virtual time: a fleet, the network between, hosts that answer or do not.

Everything that chance decides comes from one seed; a failure replays from it.
"""

from __future__ import annotations

from ast import literal_eval
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import exp, log
from random import Random

from hbd.core.arrival import Arrivals
from hbd.core.asked import Asked
from hbd.core.bfd import BfdSession
from hbd.core.egress import EgressKey
from hbd.core.events import StateChanged
from hbd.core.fleet import Fleet
from hbd.core.inquiry import Method, Probe
from hbd.core.model import MILLISECOND, SECOND, Cause, PeerSettings, State, Timing, Way
from hbd.core.outputs import Ask, AskAll, Examine, Tell
from hbd.core.plain import PlainSession
from hbd.core.session import Answer, Fact
from hbd.core.stamp import StampSession
from hbd.core.station import Station
from hbd.wire import hbd_tlv, ntp, stamp, tlv

START = 1_000 * SECOND
WALL = 1_700_000_000 * SECOND
LAN = EgressKey("eth0")
WAN = EgressKey("eth0", "10.0.0.254")
CALM = 3_600
"""Seconds of peace, on average, that each simulated fault of a peer stands for."""


class NumberSession:
    """The cheapest protocol there can be: a sequence number, and the same back."""

    def adopt(self, _settings):
        pass

    def compose(self, sequence, _wall, _state, *, padded=True):  # noqa: ARG002 - it has none
        return sequence.to_bytes(8, "big"), sequence

    def read(self, datagram):
        if len(datagram) != 8:
            return Fact(Cause.BAD_REPLY, "not a number")
        sequence = int.from_bytes(datagram, "big")
        return Answer(sequence & 0xFFFFFFFF, sequence, 0)

    def accepted(self, answer, token):
        pass

    def claims(self, _datagram):
        return True

    def recognises(self, payload, sequence, _token):
        return payload == sequence.to_bytes(8, "big")


class Air:
    """Loses round trips one by one, and in bursts (the model of Gilbert and Elliott, in time)."""

    def __init__(self, dice: Random, loss: float, bad: float = 0.0, burst: int = 1) -> None:
        """`loss` while it is good, everything while it is bad.

        `bad`: that share of the time, `burst` nanoseconds at a time on average.
        """
        self.dice = dice
        self.loss = loss
        self.bad = bad
        self.memory = burst * (1 - bad)
        self.is_bad = False
        self.at = START

    def loses(self, now: int) -> bool:
        """Whether what is sent now is lost; nothing may be asked of before."""
        self.is_bad = self.dice.random() < self._chance(now - self.at)
        self.at = now
        return self.is_bad or self.dice.random() < self.loss

    def answered(self, now: int, interval: int) -> int:
        """Give how many rounds are answered from now on until one is not."""
        if self.loses(now):
            return 0
        turns = self._chance(0.95 * interval)
        spoils = turns + (1 - turns) * self.loss
        self.is_bad = self.dice.random() < turns / spoils
        return 1 + geometric(self.dice, spoils)

    def _chance(self, span: float) -> float:
        """That it is bad, so long after it was looked at."""
        return self.bad + (self.is_bad - self.bad) * exp(-span / self.memory)


HBD = hbd_tlv.HbdTlv(hbd_tlv.REFLECTOR, 0, 0, 7, 0, 0, 0, 0).pack()
"""What reflectors say."""


@dataclass(eq=False)
class Link:
    """What lies between us and one host, and how the host behaves."""

    egress: EgressKey = LAN
    delay: int = MILLISECOND
    spread: int = 0
    """Each way takes delay plus up to so much more: datagrams overtake each other."""
    loss: float = 0.0
    """Of each direction."""
    lost_in_turn: int = 0
    """So many heartbeats, from now on, are lost one after another."""
    corrupt_in_turn: int = 0
    """So many replies, from now on, are spoilt."""
    duplicates: float = 0.0
    corrupts: float = 0.0
    dead: list[tuple[int, int]] = field(default_factory=list)
    """Spans in which nothing comes back."""
    host: object = None
    """Who hears there what we send, `hear(datagram, at)`; None: a reflector."""
    echoes: bool = False
    """Whether the host answers ICMP echo, even where it answers no heartbeat."""
    routers: tuple[str, ...] = ()
    """Who says so when a heartbeat dies on the way, in their order."""
    air: Air | None = None
    """What loses round trips, instead of `loss`."""
    skips: bool = False
    """Rounds answered at once are only counted, so that each round begins with a loss."""
    skipped: int = 0
    """Rounds that were only counted,"""
    skipped_span: float = 0.0
    """and how long they would have taken, nanoseconds."""

    def is_dead(self, now: int) -> bool:
        return any(begin <= now < end for begin, end in self.dead)

    @property
    def round_trip_loss(self) -> float:
        return 1 - (1 - self.loss) ** 2


class World:
    """Runs a fleet against links; keeps every event."""

    def __init__(
        self, seed: int, *, start_grace: int = 0, tick: int = 0, session=None, keep: bool = True
    ) -> None:
        self.seed = seed
        self.dice = dice(seed)
        self.now = START
        self.wall_step = 0
        self.links: dict[str, Link] = {}
        self.faults: dict[EgressKey, Fact] = {}
        self.cuts: dict[EgressKey, list[tuple[int, int]]] = {}
        """Spans in which nothing comes back by an egress, and nobody tells us why."""
        self.events: list = []
        self.sent: list[tuple[int, str, bytes]] = []
        self.received: list[tuple[int, str]] = []
        self.keep = keep
        """Whether every heartbeat and reply is remembered."""
        self.heartbeats = 0
        self.probes: list[tuple[int, Probe]] = []
        """What was sent for evidence, and when."""
        self.last_sent: dict = {}
        """When that left each path which is in question, or was last."""
        self.stalls: list[tuple[int, int]] = []
        """Spans in which we do not run, the next one first."""
        self.work = 0
        """How long each of our turns takes,"""
        self.leaving = 0
        """and how long it is until all of a volley have left."""
        self.late = 0
        """How late we have been, all in all,"""
        self.lateness: list[tuple[int, int]] = [(START, 0)]
        """and until when how much of it."""
        self.changes: list[tuple[int, int, object]] = []
        self.hosts: list = []
        """Those that do something by themselves."""
        self.watchers: list = []
        """Called with each event, as it happens."""
        self._arrivals: list = []
        self._promised: int | None = None
        self._unhurried: list = []
        """Paths that miss something and are looked at last: no verdict hangs on it."""
        self._read = START
        """When all that had come was taken."""
        self._ties = count()
        self.station = Station("monitor", 1, dice(seed + 1))
        self._asked = session or (lambda settings, _: StampSession(settings, self.station))
        self.fleet = Fleet(
            now=self.now,
            wall=self.wall,
            dice=dice(seed + 2),
            session=self._session,
            start_grace=start_grace,
            tick=tick,
            station=self.station,
            place_of=place_of,
        )
        self.reflect = reflect_as_hbd if session is None else lambda datagram, _: datagram
        """How hosts answer a datagram at a wall clock time."""

    def _session(self, settings: PeerSettings, address: str):
        match settings.way:
            case Way.TOLD | Way.UNWATCHED:
                return PlainSession(settings, self.dice)
            case Way.AGREED:
                discriminator = 1 + self.dice.getrandbits(31)
                interval = settings.timing.interval
                return BfdSession(settings.bfd, interval, self.dice, discriminator, None)
        return self._asked(settings, address)

    @property
    def wall(self) -> int:
        return WALL + self.now - START + self.wall_step

    def watch(self, *settings: PeerSettings, link: Link | None = None) -> None:
        """Add peers; each address gets a link, of its own unless one is given."""
        known = [peer.settings for peer in self.fleet.peers.values()]
        self.apply(*known, *settings, link=link)

    def apply(self, *settings: PeerSettings, link: Link | None = None):
        """Take over settings as a reload does; new addresses resolve to themselves."""
        change = self.fleet.apply(settings)
        for one in settings:
            for path in self.fleet.peers[one.name].paths:
                if not path.targets:
                    self.resolve(path, path.address, link=link)
        self._carry_out()
        return change

    def resolve(self, path, *hosts: str, link: Link | None = None) -> None:
        for host in hosts:
            self.links.setdefault(host, link or Link())
        self.fleet.resolved(path, tuple((host, path.peer.settings.port) for host in hosts))

    def at(self, moment: int, change) -> None:
        """Call `change` at a moment after the start."""
        heappush(self.changes, (START + moment, next(self._ties), change))

    def after(self, span: int, change) -> None:
        """Call `change` in so long."""
        self.at(self.now - START + span, change)

    def run(self, span: int) -> None:
        """Let time pass."""
        end = self.now + span
        while True:
            moment = self._next_moment()
            if moment is None or moment > end:
                break
            self.now = max(moment, self.now)
            while self.changes and self.changes[0][0] <= self.now:
                heappop(self.changes)[2]()
            self.turn()
        self.now = max(self.now, end)

    def _next_moment(self) -> int | None:
        deadline = self._promised = self.fleet.next_deadline()
        moments = [deadline] if deadline is not None else []
        if self._arrivals:
            moments.append(self._arrivals[0][0])
        if self.changes:
            moments.append(self.changes[0][0])
        if not moments:
            return None
        moment = min(moments)
        while self.stalls and self.stalls[0][1] <= moment:
            self.stalls.pop(0)
        if self.stalls and self.stalls[0][0] <= moment:
            return self.stalls[0][1]
        return moment

    def turn(self) -> None:
        """One turn of the loop: read before you judge."""
        fleet = self.fleet
        if self._promised is not None and self.now > self._promised:
            self.late += self.now - self._promised
            self.lateness.append((self.now, self.late))
        fleet.turn(self.now, self.wall)
        while self._arrivals and self._arrivals[0][0] <= self.now:
            at, _, take = heappop(self._arrivals)
            take(at)
        self._read = self.now
        fleet.advance()
        self._carry_out()
        self.now += self.work
        fleet.ended(self.now)

    def arrive(self, at: int, take) -> None:
        """Call `take(at)` for something that happens out there at that moment.

        It is only heard of when we run; but then in order, and with its moment.
        """
        heappush(self._arrivals, (at, next(self._ties), take))

    def _receive(self, source, datagram: bytes, at: int) -> None:
        if self.keep:
            self.received.append((at, source[0]))
        stamp = at + self.fleet.clock.wall - self.fleet.clock.real
        stride = max(len(datagram), 400)
        octets = memoryview(datagram.ljust(stride, b"\0"))
        arrivals = Arrivals(
            octets, stride, [len(datagram)], place_of(source), [stamp], [None], address_of, {}
        )
        self.fleet.receive_all(arrivals, self._read, self.fleet.clock.real)

    def suspend(self, span: int) -> None:
        """The machine sleeps: monotonic time stands still, what was under way is lost."""
        self._arrivals.clear()
        for host in self.hosts:
            host.left_alone(self.now, span)
        self.wall_step += span
        self.fleet.suspended(span)

    def _carry_out(self) -> None:
        self._carry_out_all()
        while self._unhurried:
            self._examine(self._unhurried.pop(0))
            self._carry_out_all()

    def _carry_out_all(self) -> None:
        while outputs := self.fleet.outputs():
            for output in outputs:
                match output:
                    case Ask(path):
                        self._send(path)
                    case AskAll():
                        self._send_all(output)
                    case Examine(path) if path.is_missing and not path.is_exhausted:
                        self._unhurried.append(path)
                    case Examine(path):
                        self._examine(path)
                    case Probe():
                        self._probe(output)
                    case Tell():
                        for event in self.fleet.told(output):
                            self._tell(event)
                    case _:
                        self._tell(output)

    def _tell(self, event) -> None:
        self.events.append(event)
        for watcher in self.watchers:
            watcher(event)

    def _examine(self, path) -> None:
        if path.target is None:
            return  # removed meanwhile
        fault = self.faults.get(path.egress.key) if path.is_missing and path.egress else None
        if fault is not None and fault.cause is Cause.OWN_LINK:
            self.fleet.examined(path, None, fault)  # as the daemon looks at that first
            return
        key = self.links[path.target[0]].egress
        fault = self.faults.get(key)
        is_led = fault is None or fault.cause is not Cause.NO_ROUTE
        self.fleet.examined(path, key if is_led else None, fault)

    def _probe(self, probe: Probe) -> None:
        path, method, ttl = probe.path, probe.method, probe.ttl
        target, now = path.target, self.now
        link, octets = self.links[target[0]], b""
        if self.keep:
            self.probes.append((now, probe))
        if method in (Method.HOP, Method.SMALL):
            octets = self.fleet.compose_probe(probe, now, self.wall)
        if self.is_cut(link.egress):
            return
        back = now + 2 * link.delay
        if method is Method.ECHO and link.echoes:
            found = partial(self.fleet.found, probe, "ICMP echo", alive=True)
            self.arrive(back, lambda _: found())
        if method is Method.HOP and ttl <= len(link.routers):
            router = link.routers[ttl - 1]
            fact = Fact(Cause.ROUTING_LOOP, f"ICMP time exceeded from {router}")
            told = partial(self.fleet.icmp, target, octets, fact, offender=router, witness=ttl > 1)
            self.arrive(back, lambda _: told())

    def _send_all(self, ask: AskAll) -> None:
        octets, size, places = self.fleet.compose_all(ask, self.now, self.wall)
        paths = ask.volley.paths
        ask.volley.left(self.now, [(len(paths), self.now + self.leaving)])
        assert places == b"".join(place_of(path.target) for path in paths)
        for at, path in enumerate(paths):
            skips = self.links[path.target[0]].skips
            self._carry(path, octets[at * size :][:size], begins_round=skips)

    def _send(self, path) -> None:
        link = self.links[path.target[0]]
        begins_round = link.skips and path.missed == 0 and path.state is State.UP
        datagram = self.fleet.compose(path, self.now, self.wall)
        self._carry(path, datagram, begins_round=begins_round)

    def _carry(self, path, datagram: bytes, *, begins_round: bool) -> None:
        target = path.target
        link, dice, now = self.links[target[0]], self.dice, self.now
        self.heartbeats += 1
        if not isinstance(path, Asked) or path.asked == path.sequence - 1:
            self.last_sent[path] = now  # else it was asked for the sake of another one
        if self.keep:
            self.sent.append((now, target[0], datagram))
        if (link.dead and link.is_dead(now)) or self.is_cut(link.egress):
            return
        if link.host is not None:
            if not link.loss or dice.random() >= link.loss:
                late = dice.randrange(link.spread) if link.spread else 0
                self.arrive(now + link.delay + late, partial(link.host.hear, datagram))
            return
        if self._is_lost(link, path.timing, begins_round=begins_round):
            return
        spoilt = link.corrupt_in_turn > 0
        link.corrupt_in_turn -= spoilt
        copies = 2 if link.duplicates and dice.random() < link.duplicates else 1
        for _ in range(copies):
            spread = link.spread
            back = now + 2 * link.delay + (dice.randrange(2 * spread) if spread else 0)
            reply = self.reflect(datagram, self.wall)
            if spoilt or (link.corrupts and dice.random() < link.corrupts):
                reply = spoil(reply, dice)
            self.arrive(back, partial(self._receive, target, reply))

    def is_cut(self, egress: EgressKey, at: int | None = None) -> bool:
        if egress in self.faults:
            return True
        moment = self.now if at is None else at
        return any(begin <= moment < end for begin, end in self.cuts.get(egress, ()))

    def late_since(self, moment: int) -> int:
        """How late we have been since then."""
        before = bisect_right(self.lateness, (moment, self.late)) - 1
        return self.late - self.lateness[before][1]

    def _falls(self, link: Link) -> bool:
        if link.air is not None:
            return link.air.loses(self.now)
        if link.lost_in_turn:
            link.lost_in_turn -= 1
            return True
        dice = self.dice
        return bool(link.loss) and (dice.random() < link.loss or dice.random() < link.loss)

    def _is_lost(self, link: Link, timing: Timing, *, begins_round: bool) -> bool:
        """Whether it is lost in the air, or is the one that is lost after some that are skipped."""
        if not begins_round:
            return self._falls(link)
        if link.air is not None:
            answered = link.air.answered(self.now, timing.interval)
        else:
            answered = geometric(self.dice, link.round_trip_loss)
        self._skip(link, timing, answered)
        return True

    def _skip(self, link: Link, timing: Timing, answered: int) -> None:
        """Count so many rounds that were answered at once, before the one that now begins.

        Each takes 0.9 to 1 interval; the sum of many is as good as normal.
        """
        spacing = 0.95 * timing.interval
        deviation = 0.1 * timing.interval / 12**0.5 * answered**0.5
        link.skipped += answered
        link.skipped_span += answered * spacing + self.dice.gauss(0, 1) * deviation

    # -- what happened ------------------------------------------------------------------------

    def changes_of(self, name: str) -> list[StateChanged]:
        return [e for e in self.events if isinstance(e, StateChanged) and e.peer == name]

    def states_of(self, name: str) -> list[State]:
        return [event.state for event in self.changes_of(name)]

    def state(self, name: str) -> State:
        return self.fleet.peers[name].state

    def of_kind(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def path(self, name: str):
        """The first path of a peer."""
        return self.fleet.peers[name].paths[0]

    def sent_to(self, host: str) -> list[int]:
        return [at for at, to, _ in self.sent if to == host]

    def replies_from(self, host: str) -> list[int]:
        return [at for at, source in self.received if source == host]


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - to be replayed, not to be secret


def geometric(dice: Random, chance: float) -> int:
    """How many failures come before the first success."""
    answered = 0
    if chance < 1:
        answered = int(log(1.0 - dice.random()) / log(1.0 - chance))
    return answered


def place_of(address) -> bytes:
    return repr(address).encode().ljust(64)  # all of one length


def address_of(place: bytes):
    return literal_eval(place.decode())


def reflect_as_hbd(datagram: bytes, wall: int) -> bytes:
    """Answer as an hbd that does not count."""
    reply = reflect(datagram, wall)
    base, region = reply[: stamp.OPEN_SIZE], reply[stamp.OPEN_SIZE :]
    return base + (tlv.reflect(region, {hbd_tlv.TYPE: lambda _: HBD}) if region else b"")


def reflect(datagram: bytes, wall: int, key=None) -> bytes:
    """Answer as a plain stateless RFC 8762 reflector does."""
    stamp_now = ntp.ntp_from_unix(wall)
    return stamp.pack_reply(
        datagram,
        sequence=int.from_bytes(datagram[:4], "big"),
        timestamp=stamp_now,
        estimate=1,
        receive_timestamp=stamp_now,
        ttl=64,
        key=key,
    )


def spoil(reply: bytes, dice: Random) -> bytes:
    """Flip a bit of what the sender checks."""
    octets = bytearray(reply)
    first, last = (24, 36) if len(octets) > 36 else (0, len(octets))
    octets[dice.randrange(first, last)] ^= 1 << dice.randrange(8)
    return bytes(octets)


def peer(name: str, *addresses: str, timing: Timing | None = None, **settings) -> PeerSettings:
    """Settings of a peer whose address, unless given, is its name."""
    return PeerSettings(
        name=name, addresses=addresses or (name,), timing=timing or Timing(), **settings
    )


def own_link(interface: str) -> Fact:
    return Fact(Cause.OWN_LINK, f"{interface} is down")
