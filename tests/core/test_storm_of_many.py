"""Thousands of peers that change together: one entry says what they share, the rest is quiet."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest

from hbd.core.events import FlappingChanged, StateChanged, Storm
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.news import FAILED
from tests.simulation.world import EgressKey, Link, NumberSession, World, peer

GW = "10.0.0.1"
TIMING = Timing(60 * SECOND, 500 * MILLISECOND, 3, 2)
FAR = EgressKey("eth1", "10.0.0.254")
AMS = (("env", "prod"), ("site", "ams"))


def far_apart(number):
    return f"10.{number // 250}.{number % 250}.1"


def on_any(number):
    return EgressKey(f"eth{number % 7}")


class Factor(NamedTuple):
    """What many peers share."""

    settings: dict
    address: Callable[[int], str] = far_apart
    egress: Callable[[int], EgressKey] = on_any


FACTORS = {
    "egress eth1 via 10.0.0.254": Factor({}, egress=lambda _: FAR),
    "via 10.0.0.1": Factor({"via": GW}),
    "subnet fd00::/64": Factor({}, address=lambda number: f"fd00::{number + 1:x}"),
    "label site=ams": Factor({"labels": AMS[1:]}),
    "label env=prod, label site=ams": Factor({"labels": AMS}),
    "egress eth1 via 10.0.0.254, via 10.0.0.1, subnet fd00::/64, label site=ams": Factor(
        {"via": GW, "labels": AMS[1:]},
        address=lambda number: f"fd00::{number + 1:x}",
        egress=lambda _: FAR,
    ),
    "nothing that hbd knows of": Factor({}),
}


def world_of(count, factor, timing=TIMING):
    """Many peers and, on each egress, one that stays: a fault is not our own. Their names too."""
    world = World(1, session=lambda *_: NumberSession(), keep=False)
    world.watch(peer(GW, timing=timing))
    for number, egress in enumerate(dict.fromkeys(map(factor.egress, range(count)))):
        world.watch(peer(f"192.0.2.{number}"), link=Link(egress=egress))
    names = [factor.address(number) for number in range(count)]
    for number, name in enumerate(names):
        world.links[name] = Link(egress=factor.egress(number))
    world.watch(*(peer(name, timing=timing, **factor.settings) for name in names))
    world.run(2 * timing.interval)
    return world, names


def kill(world, *names, span=10**18):
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


def revive(world, *names):
    for name in names:
        world.links[name].dead.clear()


def told(world, state, since=0):
    """The changes to a state, and the entries of their storms."""
    events = [event for event in world.events[since:] if event.__class__ in (StateChanged, Storm)]
    events = [event for event in events if event.state is state]
    return (
        [event for event in events if isinstance(event, StateChanged)],
        [event for event in events if isinstance(event, Storm)],
        events,
    )


def check_storm(world, state, count, common, since=0):
    """Five as usual; at the sixth one entry for all; the rest quiet; the total at the end."""
    changes, (begin, end), events = told(world, state, since)
    assert len(changes) == len({change.peer for change in changes}) == count
    assert [change.quiet for change in changes] == [False] * 5 + [True] * (count - 5)
    assert (events.index(begin), events.index(end)) == (5, count + 1)
    assert (begin.over, begin.count) == (False, 6)
    assert begin.common.endswith(common)  # five of the first six may share something by chance
    assert (end.over, end.count, end.common) == (True, count, common)
    assert changes[5].at - changes[0].at <= TIMING.detection


def check_in_time(world, names):
    """Nobody's verdict was later than the formula."""
    changes = [e for e in world.of_kind(StateChanged) if e.state in FAILED and e.peer in names]
    assert max(change.detection for change in changes) <= TIMING.detection


def lose(world, names, factor):
    """They fail at once, with what lies between; give what they change to."""
    since = len(world.events)
    kill(world, *names)
    if "via" in factor.settings:
        kill(world, GW)
    world.run(2 * TIMING.interval)
    return since, State.UNREACHABLE if "via" in factor.settings else State.DOWN


@pytest.mark.slow
@pytest.mark.parametrize("common", FACTORS)
def test_storm_names_what_many_share(common):
    """Five hundred peers lost at once are one entry with what they share, and so is their return;
    each verdict is in time, and what lies between is told beside it."""
    factor = FACTORS[common]
    world, names = world_of(500, factor)
    since, state = lose(world, names, factor)
    check_storm(world, state, 500, common, since)
    check_in_time(world, set(names))
    since = len(world.events)
    revive(world, GW, *names)
    world.run(4 * TIMING.interval)
    _, (begin, end), events = told(world, State.UP, since)
    assert [event.quiet for event in events if event not in (begin, end)].count(False) == 5
    assert (events.index(begin), events[-1]) == (5, end)
    assert {world.state(name) for name in (GW, *names)} == {State.UP}
    assert begin.common.startswith(common) or state is State.UNREACHABLE
    assert end.count in (500, 501)


@pytest.mark.slow
def test_ten_thousand_at_once_are_five_entries_and_one():
    """Of ten thousand at once, by any number of ways, none is left out."""
    factor = Factor({"via": GW, "labels": AMS})
    world, names = world_of(10_000, factor)
    since, state = lose(world, names, factor)
    check_storm(world, state, 10_000, f"via {GW}, label env=prod, label site=ams", since)


def test_one_stray_does_not_hide_what_the_others_share():
    """Most of a storm share a label: it is named, with how many they are."""
    world, names = world_of(99, Factor({"labels": AMS[1:]}, egress=lambda _: FAR))
    stray = "203.0.113.1"
    world.watch(peer(stray, timing=TIMING), link=Link(egress=EgressKey("eth9")))
    world.watch(peer("203.0.113.2"), link=Link(egress=EgressKey("eth9")))
    world.run(2 * TIMING.interval)
    kill(world, stray, *names)
    world.run(2 * TIMING.interval)
    (_, end) = told(world, State.DOWN)[1]
    assert end.common == "egress eth1 via 10.0.0.254 (99 of 100), label site=ams (99 of 100)"


def test_what_few_share_is_not_common():
    """Two sites of the same size share their egress, and neither's label is named."""
    world = World(1)
    names = {site: [f"10.9.{net}.{n}" for n in range(20)] for net, site in enumerate(("a", "b"))}
    world.watch(peer(GW))
    for site, some in names.items():
        world.watch(*(peer(name, labels=(("site", site),)) for name in some))
    world.run(10 * SECOND)
    kill(world, *names["a"], *names["b"])
    world.run(20 * SECOND)
    assert [storm.common for storm in told(world, State.DOWN)[1]][-1] == "egress eth0"


def test_storms_that_cross_are_told_apart():
    """Half of a site fails while the other half returns: two storms, each with its own total."""
    world, names = world_of(400, Factor({"labels": AMS[1:]}))
    first, second = names[:200], names[200:]
    lose(world, first, Factor({}))
    since = len(world.events)
    revive(world, *first)
    kill(world, *second)
    world.run(2 * TIMING.interval)
    for state in (State.UP, State.DOWN):
        check_storm(world, state, 200, "label site=ams", since)


def test_slow_peer_makes_no_storm_of_what_was_long_ago():
    """Five that failed in five minutes and one that is judged slowly are six failures."""
    quick = Timing(SECOND, 500 * MILLISECOND, 3, 2)
    for slow_at in (0, 5):
        world = World(1)
        names = [f"10.0.1.{n}" for n in range(6)]
        timings = [Timing(100 * SECOND, SECOND, 3, 2) if n == slow_at else quick for n in range(6)]
        pairs = zip(names, timings, strict=True)
        world.watch(peer(GW), *(peer(name, timing=timing) for name, timing in pairs))
        world.run(200 * SECOND)
        for name in names:
            kill(world, name)
            world.run(20 * SECOND)
        world.run(200 * SECOND)
        assert {world.state(name) for name in names} == {State.DOWN}
        assert told(world, State.DOWN)[1] == []


@pytest.mark.slow
def test_own_uplink_of_thousands_is_one_entry():
    """Our uplink is cut: one entry with all of them, five as usual, the rest quiet; when it is
    back, one storm of those that are up again, and nobody was down."""
    world = World(1, session=lambda *_: NumberSession(), keep=False)
    names = [far_apart(number) for number in range(2_000)]
    world.watch(*(peer(name, timing=TIMING) for name in names), link=Link(egress=FAR))
    world.watch(peer("192.0.2.1"))
    world.run(2 * TIMING.interval)
    since = len(world.events)
    world.cuts[FAR] = [(world.now, world.now + 100 * SECOND)]
    world.run(90 * SECOND)
    changes, (storm,), _ = told(world, State.UNKNOWN, since)
    assert (storm.cause, storm.count, storm.common) == (Cause.OWN_UPLINK, 2_000, f"egress {FAR}")
    assert [change.quiet for change in changes] == [False] * 5 + [True] * 1_995
    assert world.state("192.0.2.1") is State.UP
    world.run(4 * TIMING.interval)
    check_storm(world, State.UP, 2_000, f"egress {FAR}", since)
    assert told(world, State.DOWN) == ([], [], [])


def test_uplink_that_comes_and_goes_does_not_tell_of_each_peer_that_it_flaps():
    """All behind one uplink flap with it: so much is told aloud as of other storms."""
    quick = Timing(SECOND, 500 * MILLISECOND, 3, 2)
    world = World(1, session=lambda *_: NumberSession())
    names = [f"10.0.1.{n}" for n in range(100)]
    world.watch(*(peer(name, timing=quick) for name in names))
    world.run(10 * SECOND)
    for _ in range(10):
        kill(world, *names, span=5 * SECOND)
        world.run(12 * SECOND)
    flapping = [event for event in world.of_kind(FlappingChanged) if event.flapping]
    assert {event.peer for event in flapping} == set(names)
    assert 0 < [event.quiet for event in flapping].count(False) <= 5


class Busy(World):
    """It takes its time for everything it does: nearly as long as is allowed for."""

    did = 0

    @property
    def work(self):
        did, self.did = self.did, self.heartbeats + len(self.events)
        return (self.did - did) * 80_000

    @work.setter
    def work(self, _):
        pass


def test_own_work_in_a_storm_delays_no_verdict():
    """A thousand fall silent within a moment and take us a second and more to deal with."""
    timing = Timing(SECOND, 500 * MILLISECOND, 3, 2)
    world = Busy(3, keep=False)
    names = [far_apart(number) for number in range(1, 1_001)]
    world.watch(*(peer(name, timing=timing) for name in [GW, *names]))
    world.run(10 * SECOND)
    before = world.heartbeats
    kill(world, *names)
    world.run(4 * SECOND)
    assert (world.heartbeats - before) * 80_000 > 150 * MILLISECOND
    changes = [e for e in world.of_kind(StateChanged) if e.state is State.DOWN]
    assert {change.peer for change in changes} == set(names)
    assert max(change.detection for change in changes) <= timing.detection + 100 * MILLISECOND
    assert 4 * world.fleet.clock.lateness < world.late > 50 * MILLISECOND


def test_of_many_that_are_due_at_once_some_wait_for_the_next_turn():
    """What comes is read in between; all are asked in the end, and in their order."""
    world = World(1, session=lambda *_: NumberSession())
    names = [far_apart(number) for number in range(500)]
    world.watch(*(peer(name, timing=TIMING) for name in names))
    world.run(2 * TIMING.interval)
    due = world.now + SECOND
    for number, name in enumerate(names):
        world.path(name).deadline = due - 500 + number
        world.fleet._timers.schedule(world.path(name))
    world.stalls.append((world.now + 1, due))
    world.work, begun = MILLISECOND, len(world.sent)
    world.run(5 * SECOND)
    sent = world.sent[begun:]
    assert [host for _, host, _ in sent[:500]] == names
    assert list(Counter(at for at, *_ in sent[:500]).values()) == [200, 200, 100]
