"""Faults by class: worlds that make them, and a referee who holds the detector to its promises.

A fault of one peer stands for an hour or more of peace before it, on average: in peace nothing
happens, so it is only counted. Each class is replayed by its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import NamedTuple

from hbd.core.egress import EgressKey
from hbd.core.events import StateChanged
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from tests.simulation.world import LAN, Link, NumberSession, World, own_link, peer

HOUR = 3_600 * SECOND
DAY = 24 * HOUR
YEAR = 365 * DAY
BACKUP = EgressKey("eth1")
PEERS = 12


class Row(NamedTuple):
    """False DOWN as the advisor has predicted them, and as they came."""

    words: str
    predicted: float
    seen: int

    @property
    def ratio(self) -> float:
        return self.predicted / max(self.seen, 1)

    def __str__(self) -> str:
        return (
            f"  {self.words:<72} {self.predicted:>7.1f} predicted {self.seen:>5} seen"
            f"   {self.ratio:.2f}"
        )


@dataclass
class Tally:
    """What a class has shown."""

    name: str
    seed: int
    peer_time: float = 0.0
    """Nanoseconds, times peers."""
    heartbeats: int = 0
    expected: float = 0.0
    """False DOWN by the formula of the rule."""
    false: int = 0
    detections: list[tuple[int, int]] = field(default_factory=list)
    """From the last good reply to the verdict, less our lateness; and the formula."""
    recoveries: list[tuple[int, int]] = field(default_factory=list)
    """From the host's return to up, less our lateness; and the formula."""
    rows: list[Row] = field(default_factory=list)
    """Where false DOWN are predicted one by one."""

    @property
    def hours(self) -> float:
        return self.peer_time / HOUR

    def line(self) -> str:
        """The published figures."""
        line = (
            f"{self.name:<15} seed {self.seed:<4} {self.hours:>10,.0f} peer-hours"
            f" {self.heartbeats:>12,} heartbeats   false DOWN {self.expected:>6.1f} expected"
            f" {self.false:>5} seen   {_spread('detection', self.detections)}"
            f"   {_spread('recovery', self.recoveries)}"
        )
        return "\n".join([line, *map(str, self.rows)])


def _spread(what: str, times: list[tuple[int, int]]) -> str:
    if not times:
        return f"{what} -"
    shares = sorted(took / formula for took, formula in times)
    p50, p99 = (shares[int(len(shares) * part)] for part in (0.5, 0.99))
    return f"{what} p50 {p50:.0%} p99 {p99:.0%} max {shares[-1]:.1%} of formula ({len(shares)})"


class Referee:
    """Sees every event as it happens and knows what is true."""

    def __init__(self, world: World, tally: Tally) -> None:
        self.world = world
        self.tally = tally
        self.dead: dict[str, list[tuple[int, int]]] = {}
        """Spans in which a peer was really dead."""
        self.is_calm = True
        """Nothing but hosts that die and return: recovery must keep its formula."""
        world.watchers.append(self.see)

    def kill(self, name: str, begin: int, end: int) -> None:
        self.dead.setdefault(name, []).append((begin, end))
        for path in self.world.fleet.peers[name].paths:
            for target in path.targets:
                self.world.links[target[0]].dead.append((begin, end))

    def forget(self) -> None:
        """All have returned, and were seen to."""
        for spans in (*self.dead.values(), *(link.dead for link in self.world.links.values())):
            spans[:] = [span for span in spans if span[1] > self.world.now]

    def was_dead(self, name: str, moment: int) -> bool:
        return any(begin <= moment < end for begin, end in self.dead.get(name, ()))

    def see(self, event) -> None:
        if not isinstance(event, StateChanged) or event.is_refinement:
            return
        if event.state is State.DOWN:
            self._see_down(event)
        elif event.previous is State.DOWN and event.state is State.UP and self.is_calm:
            self._see_up(event)

    def _see_down(self, event) -> None:
        world, one = self.world, self.world.fleet.peers[event.peer]
        paths = [path for path in one.paths if path.target is not None]
        timing = one.settings.timing
        now = world.fleet.clock.now
        assert all(now >= path.last_sent + path.timing.timeout for path in paths), self.words(event)
        if not self.was_dead(event.peer, min(world.last_sent[path] for path in paths)):
            self.tally.false += 1
            return
        if event.detection is None or event.previous is not State.UP:
            return
        took = event.detection - world.late_since(event.at - event.detection)
        self.tally.detections.append((took, timing.detection))
        assert took <= timing.detection, self.words(event)

    def _see_up(self, event) -> None:
        world, timing = self.world, self.world.fleet.peers[event.peer].settings.timing
        spans = self.dead.get(event.peer, [])
        back = max((end for _, end in spans if end <= event.at), default=None)
        if back is None:
            return
        took = event.at - back - world.late_since(back)
        formula = timing.probe + timing.rise * timing.timeout
        self.tally.recoveries.append((took, formula))
        assert took <= formula, self.words(event)

    def words(self, event) -> str:
        return f"{self.tally.name}, seed {self.tally.seed}: {event}"


# -- loss: false DOWN against the binomial figure ---------------------------------------------


def false_downs_per_span(timing: Timing, p: float) -> float:
    """How many false DOWN a nanosecond a peer is good for whose round trips fail with chance p.

    A round begins with a regular heartbeat and fails with chance p^(r+1), when it and r
    retransmissions are lost. What follows the last heartbeat of a round that was answered is
    0.95 interval on average, the next round; so rounds, and with them possible failures, come

        E[D] = 0.95 I  +  sum over j = 0..r of p^j (1-p) j T  +  p^(r+1) (r T + V)

    apart: j heartbeats lost before an answer take j timeouts T; a failed round takes r T until its
    last heartbeat and V from there to the heartbeat whose reply makes the path up again. V is one
    probe spacing P, then `rise` answers in a row, T apart; a miss on the way begins again at P:

        V = P + sum over k = 1..rise-1 of (1-p)^k T  +  (1 - (1-p)^rise) V
    """
    r, T, I, P = timing.retries, timing.timeout, timing.interval, timing.probe  # noqa: N806, E741
    q = 1 - p
    V = (P + T * sum(q**k for k in range(1, timing.rise))) / q**timing.rise  # noqa: N806
    apart = 0.95 * I + sum(p**j * q * j * T for j in range(r + 1)) + p ** (r + 1) * (r * T + V)
    return p ** (r + 1) / apart


LOSS = (  # retries and the loss of round trips: two failed rounds in ten thousand
    (0, 0.0002),
    (1, 0.0145),
    (2, 0.06),
    (3, 0.12),
)


def loss(seed: int, hours: float) -> Tally:
    """Independent loss, at each number of retries a quarter of the time."""
    tally = Tally("loss", seed)
    for number, (retries, p) in enumerate(LOSS):
        timing = Timing(10 * SECOND, 500 * MILLISECOND, retries, 2)
        _lose(tally, seed + 10 * number, timing, p, hours / len(LOSS))
    return tally


def loss1(seed: int, hours: float) -> Tally:
    """One round trip in a hundred, and the timing that everybody has by default."""
    tally = Tally("loss1", seed)
    _lose(tally, seed, Timing(), 0.01, hours)
    return tally


def _lose(tally: Tally, seed: int, timing: Timing, p: float, hours: float) -> None:
    before, world = tally.peer_time, quick_world(seed)
    run_skipping(world, with_witnesses(world, timing, 1 - sqrt(1 - p)), tally, hours)
    tally.expected += (tally.peer_time - before) * false_downs_per_span(timing, p)


def with_witnesses(world: World, timing: Timing, link_loss: float = 0.0) -> list[Link]:
    """Watch twelve peers until they are up; give their links.

    Each with a witness of its own, so that they do not ask each other out of turn.
    """
    names = [f"10.0.1.{n}" for n in range(PEERS)]
    for n, name in enumerate(names):
        egress = EgressKey(f"eth{n}")
        world.watch(peer(name, timing=timing), link=Link(egress=egress, loss=link_loss))
        witness = peer(f"10.0.0.{n}", timing=Timing(HOUR, SECOND))
        world.watch(witness, link=Link(egress=egress))
    world.run(60 * SECOND)
    return [world.links[name] for name in names]


def run_skipping(world: World, links: list[Link], tally: Tally, hours: float) -> None:
    """Run so many peer-hours; rounds that are answered at once are only counted."""
    referee = Referee(world, tally)
    begin, sent, span = world.now, world.heartbeats, 0.0
    for link in links:
        link.skips = True
    while span < hours * HOUR:
        world.run(60 * SECOND)
        span = len(links) * (world.now - begin) + sum(link.skipped_span for link in links)
    tally.peer_time += span
    tally.heartbeats += world.heartbeats - sent + sum(link.skipped for link in links)
    assert referee.dead == {}


def check_loss(tally: Tally) -> None:
    """Within 4.5 standard deviations: a sound detector fails once in 150,000 seeds."""
    assert abs(tally.false - tally.expected) <= 4.5 * sqrt(tally.expected + 1), tally.line()


# -- all other classes: faults one after another ----------------------------------------------

TIMINGS = (
    Timing(SECOND, 500 * MILLISECOND, 3, 2),
    Timing(2 * SECOND, 300 * MILLISECOND, 2, 1),
    Timing(10 * SECOND, SECOND, 4, 3),
    Timing(5 * SECOND, 5 * SECOND, 2, 2),
    Timing(3 * SECOND, 200 * MILLISECOND, 5, 5),
)
SHORT = (
    Timing(4 * SECOND, 800 * MILLISECOND, 0, 2),
    Timing(4 * SECOND, 800 * MILLISECOND, 1, 2),
)
REST = 45 * SECOND
"""After a fault, so long until the next: the longest detection and recovery fit in."""


def quick_world(seed: int, **options) -> World:
    return World(seed, session=lambda *_: NumberSession(), keep=False, **options)


class Scenario:
    """Twelve peers of different timings behind two egresses, and one fault after another."""

    rest = REST
    well = frozenset({(State.UP, None)})
    """States and causes there may be after it."""
    peace = HOUR
    """Before a fault, on average."""

    def __init__(self, name: str, seed: int, *, timings=TIMINGS, real: bool = False, **options):
        self.world = World(seed, keep=False, **options) if real else quick_world(seed, **options)
        self.tally = Tally(name, seed)
        self.dice = self.world.dice
        self.names = [f"10.0.0.{n}" for n in range(PEERS)]
        for number, one in enumerate(self.names):
            timing = timings[number % len(timings)]
            egress = LAN if number < 2 * PEERS // 3 else BACKUP
            delay = self.dice.randrange(100_000, 40 * MILLISECOND)
            self.world.watch(peer(one, timing=timing), link=Link(egress=egress, delay=delay))
        self.world.run(15 * SECOND)
        self.referee = Referee(self.world, self.tally)

    @property
    def links(self) -> list[Link]:
        return list(self.world.links.values())

    def moment(self, within: int = 10 * SECOND) -> int:
        return self.world.now + self.dice.randrange(within)

    def victims(self) -> list[str]:
        """Some peers, but never all of an egress."""
        chosen = self.dice.sample(self.names, self.dice.randrange(1, PEERS // 2))
        return [name for name in chosen if name not in (self.names[0], self.names[-1])]

    def run(self, hours: float, fault) -> Tally:
        """Let `fault(self)` happen again and again until so many peer-hours are over."""
        world, tally = self.world, self.tally
        begin, sent, calm = world.now, world.heartbeats, 0.0
        while tally.hours < hours:
            fault(self)
            world.run(self.rest)
            world.events.clear()
            calm += sum(self.dice.expovariate(1.0) for _ in self.names) * self.peace
            tally.peer_time = calm + len(self.names) * (world.now - begin)
            self.referee.forget()
            states = {(one.state, one.cause) for one in world.fleet.peers.values()}
            assert states <= self.well, f"{tally.name}, seed {tally.seed}: {states} after a rest"
        tally.heartbeats = world.heartbeats - sent
        return tally


def deaths(seed: int, hours: float) -> Tally:
    """Hosts die and return: detection and recovery within their formulas."""
    return Scenario("deaths", seed, timings=TIMINGS + SHORT).run(hours, _die)


def _die(scenario: Scenario) -> None:
    world, longest = scenario.world, 40 * SECOND
    victims = scenario.victims()
    for name in victims:
        begin = scenario.moment()
        scenario.referee.kill(name, begin, begin + scenario.dice.randrange(longest))
    forever = scenario.dice.choice(scenario.names[1:-1])
    begin = scenario.moment()
    scenario.referee.kill(forever, begin, begin + longest)
    world.run(longest)
    formula = world.fleet.peers[forever].settings.timing.detection
    assert world.state(forever) is State.DOWN or formula > longest - 10 * SECOND, (
        f"{forever} is not down, seed {world.seed}"
    )
    world.run(10 * SECOND)


def bursts(seed: int, hours: float) -> Tally:
    """Bursts of loss shorter than the retransmissions are no DOWN."""

    def fault(scenario):
        for name in scenario.victims():
            timing = scenario.world.fleet.peers[name].settings.timing
            begin = scenario.moment()
            span = scenario.dice.randrange(timing.retries * timing.timeout)
            scenario.world.links[name].dead.append((begin, begin + span))
        scenario.world.run(20 * SECOND)

    return Scenario("bursts", seed).run(hours, fault)


def delays(seed: int, hours: float) -> Tally:
    """Delays above the timeout, but below a round, replies out of order: no DOWN."""

    def fault(scenario):
        before = {}
        for name in scenario.victims():
            timing, link = (
                scenario.world.fleet.peers[name].settings.timing,
                scenario.world.links[name],
            )
            before[name] = link.delay
            most = timing.retries * timing.timeout // 4
            link.delay = scenario.dice.randrange(timing.timeout // 4, most)
            link.spread = scenario.dice.randrange(1, most)
        scenario.world.run(scenario.dice.randrange(5, 20) * SECOND)
        for name, delay in before.items():
            scenario.world.links[name].delay = delay
            scenario.world.links[name].spread = 0
        scenario.world.run(20 * SECOND)

    scenario = Scenario("delays", seed)
    # The last 20 RTTs of a peer that is asked seldom may be of before the rest.
    scenario.well |= {(State.DEGRADED, Cause.TOO_TIGHT)}
    return scenario.run(hours, fault)


def weather(seed: int, hours: float) -> Tally:
    """Real STAMP datagrams: duplicated, reordered, spoilt and lost, a few at a time; no DOWN."""
    scenario = Scenario("weather", seed, real=True)
    for link in scenario.links:
        link.duplicates = 0.1
        link.spread = 50 * MILLISECOND

    def fault(scenario):
        for name in scenario.victims():
            retries = scenario.world.fleet.peers[name].settings.timing.retries
            lost = scenario.dice.randrange(retries)
            link = scenario.world.links[name]
            link.lost_in_turn, link.corrupt_in_turn = lost, retries - lost
        scenario.world.run(20 * SECOND)

    return scenario.run(hours, fault)


def stalls(seed: int, hours: float) -> Tally:
    """We do not run for 0.1 s to hours, while some die and others do not: only those are down."""

    def fault(scenario):
        dice, world = scenario.dice, scenario.world
        span = int(SECOND * 10 ** dice.uniform(-1, 4.2))
        begin = scenario.moment()
        world.stalls.append((begin, begin + span))
        for name in dice.sample(scenario.names[1:-1], 2):
            died = scenario.moment()
            scenario.referee.kill(name, died, died + span + 20 * SECOND)
        world.run(span + 40 * SECOND)

    scenario = Scenario("stalls", seed, timings=TIMINGS + SHORT)
    scenario.referee.is_calm = False
    return scenario.run(hours, fault)


def late(seed: int, hours: float) -> Tally:
    """A loop that is late again and again, by a little: detection moves by exactly that."""

    def fault(scenario):
        dice, world = scenario.dice, scenario.world
        for _ in range(200):
            begin = scenario.moment(60 * SECOND)
            world.stalls.append((begin, begin + dice.randrange(200 * MILLISECOND)))
        world.stalls.sort()
        _die(scenario)

    return Scenario("late", seed, timings=TIMINGS + SHORT).run(hours, fault)


def steps(seed: int, hours: float) -> Tally:
    """The wall clock steps by up to ten years while hosts die and return."""

    def fault(scenario):
        for _ in range(20):
            step = scenario.dice.randrange(-10 * YEAR, 10 * YEAR)
            when = scenario.moment(60 * SECOND) - scenario.world.now
            scenario.world.after(when, lambda step=step: _step(scenario.world, step))
        _die(scenario)

    return Scenario("steps", seed, timings=TIMINGS + SHORT).run(hours, fault)


def _step(world: World, step: int) -> None:
    world.wall_step = step


def suspends(seed: int, hours: float) -> Tally:
    """The machine sleeps; the network is back some seconds after it."""

    def fault(scenario):
        dice, world = scenario.dice, scenario.world
        world.run(dice.randrange(10 * SECOND))
        world.suspend(dice.randrange(12 * HOUR))
        for key in (LAN, BACKUP):
            world.cuts[key] = [(world.now, world.now + dice.randrange(8 * SECOND))]
        world.run(40 * SECOND)

    return Scenario("suspends", seed, start_grace=10 * SECOND).run(hours, fault)


def cuts(seed: int, hours: float) -> Tally:
    """Our uplink is cut, or our link, for any time: those behind it are not judged."""
    return Scenario("cuts", seed).run(hours, _cut)


def _cut(scenario: Scenario) -> None:
    dice, world = scenario.dice, scenario.world
    begin, span = scenario.moment(), int(SECOND * 10 ** dice.uniform(-1, 1.7))
    key = dice.choice((LAN, BACKUP))
    if dice.random() < 0.5:
        world.cuts[key] = [(begin, begin + span)]
    else:
        world.after(begin - world.now, lambda: world.faults.update({key: own_link("eth0")}))
        world.after(begin + span - world.now, lambda: world.faults.pop(key))
    world.run(span + 20 * SECOND)


def paths(seed: int, hours: float) -> Tally:
    """Peers with two paths, and names with three addresses, of which some are dead."""
    scenario = Scenario("paths", seed)
    world = scenario.world
    known = [one.settings for one in world.fleet.peers.values()]
    world.fleet.apply([*known, *(peer(f"name{n}") for n in range(4))])
    for n in range(4):
        hosts = [f"10.1.{n}.{m}" for m in range(3)]
        world.resolve(world.path(f"name{n}"), *hosts)
    world.watch(*(peer(f"two{n}", f"10.2.{n}.1", f"10.2.{n}.2") for n in range(4)))
    world.run(15 * SECOND)
    scenario.names += [f"name{n}" for n in range(4)] + [f"two{n}" for n in range(4)]
    for one in known[1:-1]:
        scenario.names.remove(one.name)

    def fault(scenario):
        dice = scenario.dice
        for one in world.fleet.peers.values():
            hosts = [target[0] for path in one.paths for target in path.targets]
            if len(hosts) == 1:
                continue
            if dice.random() < 0.2:
                begin = scenario.moment()
                scenario.referee.kill(one.name, begin, begin + 20 * SECOND)
                continue
            spared = dice.choice(hosts)
            for host in hosts:
                if host != spared:
                    begin = scenario.moment()
                    world.links[host].dead.append((begin, begin + dice.randrange(20 * SECOND)))
        world.run(40 * SECOND)

    scenario.referee.is_calm = False
    return scenario.run(hours, fault)


def busy(seed: int, hours: float) -> Tally:
    """Every turn costs us up to 90 ms, more than some timeouts, while hosts die and return."""

    def fault(scenario):
        world = scenario.world
        world.work = scenario.dice.randrange(90 * MILLISECOND)
        for name in scenario.victims():
            begin = scenario.moment()
            scenario.referee.kill(name, begin, begin + 20 * SECOND)
        world.run(30 * SECOND)
        world.work = 0

    hasty = Timing(SECOND, 50 * MILLISECOND, 0, 2), Timing(200 * MILLISECOND, 20 * MILLISECOND)
    scenario = Scenario("busy", seed, timings=TIMINGS + hasty)
    scenario.referee.is_calm = False
    for link in scenario.links:
        link.delay = min(link.delay, 9 * MILLISECOND)
    return scenario.run(hours, fault)


CLASSES = {
    one.__name__: one
    for one in (
        loss, loss1, bursts, delays, weather, deaths, stalls, late, busy, steps, suspends, cuts,
        paths,
    )
}  # fmt: skip
"""Of peers that are asked; of others in `speaking`."""


def check(tally: Tally) -> None:
    """No false DOWN but by loss, and there as many as the rule or the advisor lets expect."""
    if tally.rows:
        assert all(0.5 <= row.ratio <= 2 for row in tally.rows), tally.line()
    elif tally.name in ("loss", "loss1"):
        check_loss(tally)
    else:
        assert tally.false == 0, tally.line()
