"""Faults by class, of peers that speak by themselves: senders that beat, and BFD neighbours.

Beside them, on each egress, two peers that are asked: so that somebody can be a witness.
"""

from __future__ import annotations

from functools import partial

from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from tests.simulation.classes import (
    BACKUP,
    HOUR,
    PEERS,
    YEAR,
    Referee,
    Scenario,
    Tally,
    quick_world,
)
from tests.simulation.speakers import agreed, told, watch_router, watch_sender
from tests.simulation.world import LAN, Link, own_link, peer

JITTER = 0.2
"""A sender's period differs from what is expected by up to so much of it."""

TOLD = ((2, 1.5, 1), (5, 1.5, 2), (3, 3.0, 1), (4, 4.0, 2), (6, 2.5, 3))
"""Seconds that are expected, grace, rise."""

PATIENT = ((3, 3.0, 1), (4, 4.0, 2), (2, 3.0, 1), (2, 5.0, 1))
"""Whose silence tells something even where a short cut of our uplink began it."""

AGREED = ((1_000, 3), (3_000, 3), (5_000, 3), (2_000, 5), (2_500, 4))
"""Milliseconds, multiplier."""


class Speaking(Referee):
    """Knows of each speaker when it was heard last, and when it was dead."""

    jitter = JITTER

    def was_dead_since(self, name: str, begin: int, end: int) -> bool:
        return any(died < end and back > begin for died, back in self.dead.get(name, ()))

    def _see_down(self, event) -> None:
        path = self.world.path(event.peer)
        if not hasattr(path, "heard"):
            assert event.peer in self.dead, self.words(event)
            return
        last = path.last_reply_real
        # A neighbour that was cut off may say so when it is heard again.
        since = 0 if last is None else last - (path.patience if path.session.greeting else 0)
        if not self.was_dead_since(event.peer, since, event.at):
            self.tally.false += 1
            return
        if event.detection is None or event.previous is not State.UP:
            return
        late = self.world.late_since(last)
        took = event.detection - late
        self.tally.detections.append((took, path.patience))
        assert took <= path.patience, self.words(event)
        # It is the time without a sign of life that counts, and nothing else: no sooner, either.
        is_exact = late or event.cause is not Cause.SILENT
        assert is_exact or took == path.patience, self.words(event)

    def _see_up(self, event) -> None:
        path = self.world.path(event.peer)
        if not hasattr(path, "heard"):
            return
        back = max(
            (end for _, end in self.dead.get(event.peer, ()) if end <= event.at), default=None
        )
        if back is None:
            return
        link, session = self.world.links[event.peer], path.session
        longest = max(session.expected * (1 + self.jitter) * path.timing.rise, session.greeting)
        formula = int(longest) + 2 * (link.delay + link.spread)
        took = event.at - back - self.world.late_since(back)
        self.tally.recoveries.append((took, formula))
        assert took <= formula, self.words(event)


class Company(Scenario):
    """Twelve peers that speak, behind two egresses, and two that are asked behind each."""

    peace = 4 * HOUR

    def __init__(self, name: str, seed: int, watch, kinds, **options) -> None:
        self.world = quick_world(seed, **options)
        self.tally = Tally(name, seed)
        self.dice = self.world.dice
        self.names = [f"10.0.0.{n}" for n in range(PEERS)]
        self.steady = []
        for number, egress in enumerate((LAN, LAN, BACKUP, BACKUP)):
            one = peer(f"10.0.1.{number}", timing=Timing(10 * SECOND, 200 * MILLISECOND, 3, 1))
            self.world.watch(one, link=Link(egress=egress))
        for number, one in enumerate(self.names):
            egress = LAN if number < 2 * PEERS // 3 else BACKUP
            delay = self.dice.randrange(100_000, 20 * MILLISECOND)
            link = Link(egress=egress, delay=delay, spread=5 * MILLISECOND)
            watch(self.world, one, kinds[number % len(kinds)], link)
        self.world.run(40 * SECOND)
        self.referee = Speaking(self.world, self.tally)


class Senders(Company):
    """Peers that are told about."""

    rest = 45 * SECOND

    def __init__(self, name: str, seed: int, kinds=TOLD, **options) -> None:
        super().__init__(name, seed, _watch_sender, kinds, **options)


class Routers(Company):
    """BFD neighbours."""

    rest = 30 * SECOND

    def __init__(self, name: str, seed: int, kinds=AGREED, **options) -> None:
        super().__init__(name, seed, _watch_router, kinds, **options)


def _watch_sender(world, name, kind, link) -> None:
    seconds, grace, rise = kind
    timing = Timing(retries=0, rise=rise)
    # It may be late by a quarter of what grace leaves, the network's jitter included.
    jitter = min(JITTER, (grace - 1) / 4 - 0.02)
    watch_sender(world, told(name, seconds * SECOND, grace, timing=timing), link, jitter=jitter)


def _watch_router(world, name, kind, link) -> None:
    span, multiplier = kind
    settings = agreed(name, span * MILLISECOND, multiplier)
    watch_router(world, settings, link, multiplier=multiplier)


# -- faults ---------------------------------------------------------------------------------------


def _die(scenario: Company, *, is_calm: bool = True) -> None:
    world, dice = scenario.world, scenario.dice
    longest = max(world.path(name).patience for name in scenario.names) + 3 * SECOND
    scenario.referee.is_calm = is_calm
    for name in scenario.victims():
        begin = scenario.moment(5 * SECOND)
        span = dice.randrange(2 * world.path(name).patience)
        scenario.referee.kill(name, begin, begin + span)
    forever = dice.choice(scenario.names[1:-1])
    scenario.referee.kill(forever, world.now, world.now + longest)
    world.run(longest - 1)
    assert world.state(forever) is State.DOWN, f"{forever}, seed {world.seed}"


def _die_while_late(scenario: Company) -> None:
    """The loop is late again and again, and the wall clock steps."""
    dice, world = scenario.dice, scenario.world
    for _ in range(100):
        begin = scenario.moment(30 * SECOND)
        world.stalls.append((begin, begin + dice.randrange(200 * MILLISECOND)))
    world.stalls.sort()
    for _ in range(10):
        step = dice.randrange(-10 * YEAR, 10 * YEAR)
        world.after(dice.randrange(30 * SECOND), partial(setattr, world, "wall_step", step))
    # A stall of ours takes part of a router's patience, and what it does then is its own affair.
    scenario.referee.is_calm = False
    _die(scenario, is_calm=False)


def _stall(scenario: Company) -> None:
    """We do not run, for 0.1 s up to some minutes, while some die: only those are down."""
    dice, world = scenario.dice, scenario.world
    span = int(SECOND * 10 ** dice.uniform(-1, 2))
    begin = scenario.moment(5 * SECOND)
    world.stalls.append((begin, begin + span))
    scenario.referee.is_calm = False
    for name in dice.sample(scenario.names[1:-1], 2):
        died = scenario.moment(5 * SECOND)
        scenario.referee.kill(name, died, died + span + 10 * SECOND)
    world.run(span + 20 * SECOND)


def _suspend(scenario: Company) -> None:
    dice, world = scenario.dice, scenario.world
    world.run(dice.randrange(10 * SECOND))
    world.suspend(dice.randrange(12 * 3_600 * SECOND))
    for key in (LAN, BACKUP):
        world.cuts[key] = [(world.now, world.now + dice.randrange(4 * SECOND))]
    world.run(20 * SECOND)


def _cut(scenario: Company, least: float = -1.0) -> None:
    """Our uplink is cut, or our link, for any time: nobody is down for it."""
    dice, world = scenario.dice, scenario.world
    begin, span = scenario.moment(5 * SECOND), int(SECOND * 10 ** dice.uniform(least, 1.5))
    key = dice.choice((LAN, BACKUP))
    if dice.random() < 0.7:
        world.cuts[key] = [(begin, begin + span)]
    else:
        world.after(begin - world.now, lambda: world.faults.update({key: own_link(key.interface)}))
        world.after(begin + span - world.now, lambda: world.faults.pop(key))
    world.run(span + 10 * SECOND)


def _lose(scenario: Company) -> None:
    """One heartbeat of each is lost, which is no DOWN to who waits for more than two."""
    for name in scenario.victims():
        scenario.world.links[name].lost_in_turn = 1
    scenario.world.run(10 * SECOND)


def _told(name, fault, kinds=TOLD, **options):
    return f"told-{name}", lambda seed, hours: Senders(f"told-{name}", seed, kinds, **options).run(
        hours, fault
    )


def _agreed(name, fault, **options):
    return f"agreed-{name}", lambda seed, hours: Routers(f"agreed-{name}", seed, **options).run(
        hours, fault
    )


CLASSES = dict(
    (
        _told("deaths", _die),
        _told("late", _die_while_late),
        _told("stalls", _stall),
        _told("suspends", _suspend, start_grace=10 * SECOND),
        _told("cuts", _cut, PATIENT),
        _told("long-cuts", partial(_cut, least=0.9)),
        _told("loss", _lose, PATIENT),
        _agreed("deaths", _die),
        _agreed("late", _die_while_late),
        _agreed("stalls", _stall),
        _agreed("suspends", _suspend, start_grace=10 * SECOND),
        _agreed("cuts", _cut),
        _agreed("loss", _lose),
    )
)
