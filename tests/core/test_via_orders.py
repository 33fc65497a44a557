"""Whatever befalls a parent and those behind it, and in whatever order: the same verdicts."""

from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.peer import Pause
from hbd.core.session import Fact
from tests.simulation.world import LAN, EgressKey, NumberSession, World, own_link, peer

GATEWAYS = ("10.0.0.1", "10.0.0.2")
GW, DB, FAR, WITNESS = "gw", "10.0.1.1", "10.0.1.2", "10.0.0.9"
HOSTS = (*GATEWAYS, DB, FAR)
WIRE = EgressKey("eth1")
LONG = 25 * SECOND
"""All that happened before has led to verdicts."""

TIMINGS = [
    Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2),
    Timing(SECOND, 500 * MILLISECOND, 3, 2),
    Timing(SECOND, 500 * MILLISECOND, 0, 1),
    Timing(3 * SECOND, SECOND, 1, 2),
]


@dataclass
class Truth:
    """What is so out there, and what is to be said of it once it has been so for long."""

    dead: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    is_cut: bool = False
    """Our own interface towards the gateway."""
    leads_all: bool = False
    """All others are behind that interface too."""
    outlived: set[str] = field(default_factory=set)
    """Who is silent while its parent has answered."""

    def answers(self, name):
        if self.is_cut and (self.leads_all or name == GW):
            return False
        return name not in self.dead and not (name == GW and self.dead.issuperset(GATEWAYS))

    def settle(self):
        """It has been so for long."""
        if self.is_cut and self.leads_all:
            self.outlived.clear()  # a fault of ours makes void what was known
        for name, parent in ((DB, GW), (FAR, DB)):
            if self.answers(name):
                self.outlived.discard(name)
            elif self.answers(parent):
                self.outlived.add(name)

    def state(self, name):
        return State.PAUSED if name in self.paused else self.measured(name)

    def measured(self, name):
        if name == GW:
            return self.gateway()
        parent = GW if name == DB else DB
        if self.answers(name):
            return State.UP
        if (self.is_cut and self.leads_all) or self.known(parent) is State.UNKNOWN:
            return State.UNKNOWN
        return State.DOWN if name in self.outlived else State.UNREACHABLE

    def known(self, name):
        """Of one that is paused only what its own paths say."""
        return State.PAUSED if name == DB and name in self.paused else self.measured(name)

    def gateway(self):
        if self.is_cut:
            return State.UNKNOWN
        dead = len(self.dead.intersection(GATEWAYS))
        return (State.UP, State.DEGRADED, State.DOWN)[dead]


class Scene:
    """The world, and the truth about it."""

    def __init__(self, timings, seed, wire):
        self.world = world = World(seed, session=lambda *_: NumberSession(), keep=False)
        gw, db, far = timings
        world.watch(peer(WITNESS), peer("10.0.0.8"))
        world.watch(peer(GW, *GATEWAYS, timing=gw))
        for address in GATEWAYS:
            world.links[address].egress = wire
        world.watch(peer(DB, via=GW, timing=db), peer(FAR, via=DB, timing=far))
        self.truth = Truth(leads_all=wire == LAN)
        self.wire = wire
        world.run(LONG)

    def happen(self, event):
        what, who = event
        getattr(self, what)(who)

    def kill(self, host):
        self.truth.dead.add(host)
        self.world.links[host].dead[:] = [(0, 10**18)]

    def heal(self, host):
        self.truth.dead.discard(host)
        self.world.links[host].dead.clear()

    def cut(self, _):
        self.truth.is_cut = True
        self.world.faults[self.wire] = own_link(self.wire.interface)

    def join(self, _):
        self.truth.is_cut = False
        self.world.faults.pop(self.wire, None)

    def pause(self, name):
        self.truth.paused.add(name)
        self.world.fleet.pause(name, Pause(self.world.wall + 3600 * SECOND, "", "root"))

    def resume(self, name):
        self.truth.paused.discard(name)
        self.world.fleet.resume(name)

    def check(self):
        """It has been so for long: the states are what they must be."""
        self.world.run(LONG)
        self.truth.settle()
        names = (GW, DB, FAR)
        expected = {name: self.truth.state(name) for name in names}
        assert {name: self.world.state(name) for name in names} == expected
        for name in names:
            if expected[name] is State.UNKNOWN:
                assert self.world.fleet.peers[name].cause is Cause.OWN_LINK


EVENTS = [
    *(("kill", host) for host in HOSTS),
    *(("heal", host) for host in HOSTS),
    ("cut", None),
    ("join", None),
    *(("pause", name) for name in (GW, DB)),
    *(("resume", name) for name in (GW, DB)),
]
TOGETHER = st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3)
PACES = st.tuples(*[st.sampled_from(TIMINGS)] * 3)
WIRES = st.sampled_from([LAN, WIRE])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(PACES, st.integers(0, 9), WIRES, st.lists(TOGETHER, min_size=1, max_size=5))
def test_states_are_what_they_must_be(timings, seed, wire, story):
    """Events in any order, some at the same moment: who answers is up, who is silent with its
    parent is unreachable or unknown with it, whom its parent outlived is down."""
    scene = Scene(timings, seed, wire)
    for events in story:
        for event in events:
            scene.happen(event)
        scene.check()


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    PACES,
    st.integers(0, 9),
    WIRES,
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 4_000)), max_size=12),
)
def test_quick_events_leave_nobody_behind(timings, seed, wire, story):
    """However close events follow each other: once everything answers, everybody is up, and who
    then falls behind a parent that answers is down."""
    scene = Scene(timings, seed, wire)
    for event, span in story:
        scene.happen(event)
        scene.world.run(span * MILLISECOND)
    for host in HOSTS:
        scene.heal(host)
    for name in (GW, DB):
        scene.resume(name)
    scene.join(None)
    scene.check()
    for host in (DB, FAR):
        scene.kill(host)
    scene.check()


def dies(_world):
    """There is nothing more to it."""


def says_goodbye(world):
    """Its farewell is the last that was heard of it."""
    for path in world.fleet.peers[GW].paths:
        world.after(20 * MILLISECOND, lambda path=path: path.misbehaved(Fact(Cause.GOODBYE, "bye")))


def is_paused(world):
    world.fleet.pause(GW, Pause(world.wall + 3600 * SECOND, "", "root"))


@pytest.mark.parametrize(
    ("how", "state"),
    [(dies, State.DOWN), (says_goodbye, State.LEFT), (is_paused, State.PAUSED)],
)
@pytest.mark.parametrize("wire", [LAN, WIRE])
def test_one_fault_is_one_story_in_any_order(how, state, wire):
    """Parent, child and grandchild fall silent in one moment and return in one moment: whoever
    has its deadline first, the two behind are unreachable for the same span."""
    for number, timings in enumerate(product(TIMINGS, repeat=3)):
        scene = Scene(timings, number, wire)
        world = scene.world
        since = len(world.events)
        began = world.now
        for host in HOSTS:
            scene.kill(host)
        how(world)
        world.run(LONG)
        assert world.state(GW) is state
        for host in HOSTS:
            scene.heal(host)
        world.run(LONG)
        for name, timing, parent in zip((DB, FAR), timings[1:], timings, strict=False):
            check_span(world, name, since, began + timing.detection, parent)


def check_span(world, name, since, by, parent):
    """Not up in one piece; if first said to be down, then for the parent's detection time."""
    told = [event for event in world.events[since:] if getattr(event, "peer", None) == name]
    states = [event.state for event in told if not event.is_refinement]
    assert states[-2:] == [State.UNREACHABLE, State.UP]
    assert states[:-2] in ([], [State.DOWN])
    assert told[0].at <= by
    if states[:-2]:
        assert told[1].duration <= parent.detection
