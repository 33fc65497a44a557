"""A world in virtual time: a fleet, the network between, hosts that answer or do not.

Everything that chance decides comes from one seed; a failure replays from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

from hbd.core.egress import EgressKey
from hbd.core.events import StateChanged
from hbd.core.fleet import Ask, Examine, Fleet
from hbd.core.model import MILLISECOND, SECOND, Cause, PeerSettings, State, Timing
from hbd.core.path import Fact
from hbd.core.stamp import StampSession, Station
from hbd.wire import ntp, stamp

START = 1_000 * SECOND
WALL = 1_700_000_000 * SECOND
LAN = EgressKey("eth0")


@dataclass
class Link:
    """What lies between us and one address, and how the host behind it behaves."""

    egress: EgressKey = LAN
    delay: int = MILLISECOND
    spread: int = 0
    """Each way takes delay plus up to so much more: datagrams overtake each other."""
    loss: float = 0.0
    """Of each direction."""
    duplicates: float = 0.0
    corrupts: float = 0.0
    dead: list[tuple[int, int]] = field(default_factory=list)
    """Spans in which nothing comes back."""
    answers: int = 0
    """How many replies have arrived."""
    last_sent_answered: int = -1

    def is_dead(self, now: int) -> bool:
        return any(begin <= now < end for begin, end in self.dead)


class World:
    """Runs a fleet against links; keeps every event."""

    def __init__(self, seed: int, *, start_grace: int = 0, tick: int = 0) -> None:
        self.seed = seed
        self.dice = Random(seed)
        self.now = START
        self.wall_step = 0
        self.links: dict[str, Link] = {}
        self.faults: dict[EgressKey, Fact] = {}
        self.events: list = []
        self.sent: list[tuple[int, str, bytes]] = []
        self.received: list[tuple[int, str]] = []
        self.keep = True
        """Whether every heartbeat and reply is remembered."""
        self.stalls: list[tuple[int, int]] = []
        """Spans in which we do not run."""
        self.changes: list[tuple[int, object]] = []
        self._arrivals: list = []
        self._ties = count()
        station = Station("monitor", 1, Random(seed + 1))
        self.fleet = Fleet(
            now=self.now,
            wall=self.wall,
            dice=Random(seed + 2),
            session=lambda settings: StampSession(settings, station),
            start_grace=start_grace,
            tick=tick,
        )

    @property
    def wall(self) -> int:
        return WALL + self.now - START + self.wall_step

    def watch(self, *settings: PeerSettings, link: Link | None = None) -> None:
        """Add peers; each address gets a link, of its own unless one is given."""
        known = [peer.settings for peer in self.fleet.peers.values()]
        self.fleet.apply([*known, *settings])
        for one in settings:
            for path in self.fleet.peers[one.name].paths:
                self.links.setdefault(path.address, link or Link())
                self.fleet.resolved(path, ((path.address, one.port),))
        self._carry_out()

    def at(self, moment: int, change) -> None:
        """Call `change` at a moment after the start."""
        self.changes.append((START + moment, change))
        self.changes.sort(key=lambda entry: entry[0])

    def run(self, span: int) -> None:
        """Let time pass."""
        end = self.now + span
        while True:
            moment = self._next_moment()
            if moment is None or moment > end:
                break
            self.now = max(moment, self.now)
            while self.changes and self.changes[0][0] <= self.now:
                self.changes.pop(0)[1]()
            self._turn()
        self.now = end

    def _next_moment(self) -> int | None:
        deadline = self.fleet.next_deadline()
        moments = [deadline] if deadline is not None else []
        if self._arrivals:
            moments.append(self._arrivals[0][0])
        if self.changes:
            moments.append(self.changes[0][0])
        if not moments:
            return None
        moment = min(moments)
        for begin, end in self.stalls:
            if begin <= moment < end:
                return end
        return moment

    def _turn(self) -> None:
        fleet = self.fleet
        fleet.turn(self.now, self.wall)
        while self._arrivals and self._arrivals[0][0] <= self.now:
            at, _, address, port, datagram = heappop(self._arrivals)
            if self.keep:
                self.received.append((at, address))
            fleet.receive(datagram, (address, port), at)
        fleet.advance()
        self._carry_out()

    def _carry_out(self) -> None:
        while outputs := self.fleet.outputs():
            for output in outputs:
                match output:
                    case Ask(path):
                        self._send(path)
                    case Examine(path):
                        key = self.links[path.address].egress
                        self.fleet.examined(path, key, self.faults.get(key))
                    case _:
                        self.events.append(output)

    def _send(self, path) -> None:
        link, dice, now = self.links[path.address], self.dice, self.now
        datagram = self.fleet.compose(path, now, self.wall)
        if self.keep:
            self.sent.append((now, path.address, datagram))
        if link.is_dead(now) or link.egress in self.faults:
            return
        if link.loss and (dice.random() < link.loss or dice.random() < link.loss):
            return
        copies = 2 if dice.random() < link.duplicates else 1
        for _ in range(copies):
            there = now + link.delay + (dice.randrange(link.spread) if link.spread else 0)
            back = there + link.delay + (dice.randrange(link.spread) if link.spread else 0)
            reply = reflect(datagram, self.wall)
            if dice.random() < link.corrupts:
                reply = spoil(reply, dice)
            heappush(self._arrivals, (back, next(self._ties), path.address, path.target[1], reply))
            link.answers += 1
            link.last_sent_answered = max(link.last_sent_answered, now)

    # -- what happened ------------------------------------------------------------------------

    def changes_of(self, name: str) -> list[StateChanged]:
        return [e for e in self.events if isinstance(e, StateChanged) and e.peer == name]

    def states_of(self, name: str) -> list[State]:
        return [event.state for event in self.changes_of(name)]

    def state(self, name: str) -> State:
        return self.fleet.peers[name].state

    def sent_to(self, address: str) -> list[int]:
        return [at for at, to, _ in self.sent if to == address]

    def replies_from(self, address: str) -> list[int]:
        return [at for at, source in self.received if source == address]


def reflect(datagram: bytes, wall: int) -> bytes:
    """Answer as a plain stateless RFC 8762 reflector does."""
    stamp_now = ntp.ntp_from_unix(wall)
    return stamp.pack_reply(
        datagram,
        sequence=int.from_bytes(datagram[:4], "big"),
        timestamp=stamp_now,
        estimate=1,
        receive_timestamp=stamp_now,
        ttl=64,
    )


def spoil(reply: bytes, dice: Random) -> bytes:
    """Flip a bit of what the sender checks."""
    octets = bytearray(reply)
    octets[dice.randrange(24, 36)] ^= 1 << dice.randrange(8)
    return bytes(octets)


def peer(name: str, *addresses: str, timing: Timing | None = None, **settings) -> PeerSettings:
    """Settings of a peer whose address, unless given, is its name."""
    return PeerSettings(
        name=name, addresses=addresses or (name,), timing=timing or Timing(), **settings
    )


def own_link(interface: str) -> Fact:
    return Fact(Cause.OWN_LINK, f"{interface} is down")
