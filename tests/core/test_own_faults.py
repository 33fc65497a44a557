"""What is told of a fault of our own: one entry, with what is known of it."""

from functools import partial
from itertools import pairwise

import pytest

from hbd.core.events import StateChanged, Storm
from hbd.core.model import MILLISECOND, SECOND, Cause, Leaving, State, Timing
from hbd.core.session import Fact
from hbd.core.verdicts import AT_ONCE
from tests.simulation.speakers import agreed, watch_router
from tests.simulation.world import LAN, WAN, Link, NumberSession, World, own_link, peer

A, B, C = "10.0.0.1", "10.0.0.2", "198.51.100.1"


def world_of(**egresses):
    """Peers that answer, each on an egress."""
    world = World(1)
    for name, egress in zip((A, B, C), egresses.values(), strict=False):
        world.watch(peer(name), link=Link(egress=egress))
    world.run(10 * SECOND)
    return world


def test_the_storm_says_whether_the_next_hop_answers():
    """What the shell knows of the next hop stands in the one entry about our uplink."""
    world = world_of(a=WAN, b=WAN)
    words = "the next hop 192.0.2.1 answers"
    world.fleet.examined = partial(world.fleet.examined, next_hop=lambda: words)
    for name in (A, B):
        world.links[name].dead.append((world.now, 10**18))
    world.run(60 * SECOND)
    (storm,) = world.of_kind(Storm)
    assert storm.cause is Cause.OWN_UPLINK
    assert storm.evidence[0].endswith(f"; {words}")


def test_what_did_not_leave_is_not_counted_as_sent():
    """A heartbeat that our own machine refused is neither sent nor lost."""
    world = world_of(a=WAN)
    path = world.path(A)
    sent, loss = path.figures.sent, path.loss(world.now)
    world.fleet.compose(path, world.now, world.wall)
    for _ in range(2):
        world.fleet.send_failed(path, Fact(Cause.SEND_BLOCKED, "EPERM"))
    assert (path.figures.sent, path.loss(world.now)) == (sent, loss)


def test_a_router_that_named_the_mtu_is_not_forgotten():
    """What it said stays the evidence where our kernel refuses the next ones by its word."""
    path = world_of(a=WAN).path(A)
    router, kernel = (Fact(Cause.MTU, words) for words in ("from 10.9.0.1", "EMSGSIZE"))
    for known, told in ((None, kernel), (router, router)):
        path.icmp = known
        World(1).fleet.send_failed(path, kernel)
        assert path.icmp == told


@pytest.mark.parametrize(
    ("egress", "ttl", "is_doubted"), [(LAN, 63, True), (LAN, 64, False), (WAN, 63, False)]
)
def test_a_distant_host_that_is_on_our_link_now_is_doubted(egress, ttl, is_doubted):
    """Who answered through routers cannot be a neighbour: our own route may be wrong."""
    path = world_of(a=egress).path(A)
    path.reply_ttl = ttl
    path.refused(Fact(Cause.HOST_UNREACHABLE, "no answer to ARP"))
    assert any("is that right?" in fact for fact in path.evidence(path.failure())) is is_doubted
    path.refused(Fact(Cause.PORT_CLOSED, "it is there"))
    assert path.evidence(path.failure()) == ["it is there"]


def test_many_are_told_a_slice_a_turn():
    """Of a thousand peers behind our own fault each is told once, the first five aloud, in turns
    that are short; none is down meanwhile, and who is watched no more is not told."""
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(1_000)]
    world = World(1, tick=MILLISECOND, session=lambda *_: NumberSession())
    world.watch(*(peer(name) for name in names[:-1]), link=Link())
    world.watch(peer("child", "198.51.100.9", via=names[900]), link=Link(egress=WAN))
    world.watch(peer(names[-1]))
    world.run(10 * SECOND)
    world.events.clear()
    world.cuts[LAN] = world.cuts[WAN] = [(world.now, 10**18)]
    while not world.of_kind(Storm):
        world.run(MILLISECOND)
    world.apply(*(peer(name) for name in names[:-1]), peer("child", "198.51.100.9", via=names[900]))
    world.run(20 * SECOND)
    told = [event for event in world.of_kind(StateChanged) if event.peer != "child"]
    assert sorted(event.peer for event in told) == sorted(names[:-1])
    assert [event.quiet for event in told] == [False] * 5 + [True] * 994
    assert {(event.state, event.cause) for event in told} == {(State.UNKNOWN, Cause.OWN_UPLINK)}
    moments = [event.at for event in told]
    assert max(moments.count(at) for at in set(moments)) <= AT_ONCE
    assert max(moments) - min(moments) < 20 * MILLISECOND
    assert world.state("child") is State.UNKNOWN


def test_who_is_due_first_is_told_first():
    """Each is told no later than its own silence would have been a verdict; who has one waits."""
    slow = Timing(2 * SECOND, 500 * MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(1_000)]
    world = World(1)
    down, *others = names
    world.watch(peer(down), link=Link())
    world.watch(*(peer(name) for name in others[::2]), link=Link())
    world.watch(*(peer(name, timing=slow) for name in others[1::2]), link=Link())
    world.run(10 * SECOND)
    world.links[down].dead.append((world.now, 10**18))
    world.run(5 * SECOND)
    assert world.state(down) is State.DOWN
    world.events.clear()
    world.cuts[LAN] = [(world.now, 10**18)]
    world.run(20 * SECOND)
    told = [event.peer for event in world.of_kind(StateChanged)]
    due = {name: world.path(name).last_life + world.path(name).patience for name in others}
    assert told == [*sorted(others, key=due.__getitem__), down]


def test_the_next_slice_waits_for_nothing_else():
    """Where nothing else is due for an hour, the last of many is told as soon as turns allow."""
    rare = Timing(3_600 * SECOND, 500 * MILLISECOND)
    world = World(1, tick=MILLISECOND)
    world.watch(*(peer(f"10.0.{n // 250}.{n % 250}", timing=rare) for n in range(500)))
    world.run(3_700 * SECOND)
    world.watch(peer("10.9.0.1"))
    world.run(5 * SECOND)
    world.events.clear()
    world.cuts[LAN] = [(world.now, 10**18)]
    world.run(20 * SECOND)
    moments = [event.at for event in world.of_kind(StateChanged)]
    assert len(moments) == 501
    assert max(moments) - min(moments) <= 10 * MILLISECOND


def many(count=1_000, *, timing=None):
    """Peers that are up and behind one egress; their names too."""
    world = World(1, tick=MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(count)]
    world.watch(*(peer(name, timing=timing) for name in names), link=Link())
    world.run(10 * SECOND)
    return world, names


def until_storm(world):
    """Cut it until the first few are told of that."""
    world.cuts[LAN] = [(world.now, 10**18)]
    while not world.of_kind(Storm):
        world.run(MILLISECOND)


def test_what_is_said_of_none_yet_is_not_held_against_it():
    """Our fault is over before all are told of it: who was silent in it is not down by that."""
    world, names = many(timing=Timing(SECOND, 500 * MILLISECOND, 1))
    until_storm(world)
    world.cuts.clear()
    assert sum(world.path(name).state is State.UP for name in names) > len(names) // 2
    world.fleet._verdicts.witnessed(world.path(names[0]), world.now)
    world.run(20 * SECOND)
    assert {event.state for event in world.of_kind(StateChanged)} == {State.UP, State.UNKNOWN}
    assert {world.state(name) for name in names} == {State.UP}


def test_who_leaves_by_another_way_meanwhile_is_judged():
    """Its route moves before it is told of our fault, which is none of its new egress."""
    world, names = many()
    until_storm(world)
    moved = next(name for name in names if world.path(name).state is State.UP)
    world.links[moved] = Link(egress=WAN)
    world.fleet.examined(world.path(moved), WAN, None)
    world.path(moved).egress.fault_at = world.now  # of one of its own, which is over
    world.run(5 * SECOND)
    assert world.states_of(moved) == [State.UP]
    assert world.state(names[-1]) is State.UNKNOWN


def test_the_end_of_a_fault_is_seen_to_a_slice_a_turn():
    """Of a thousand peers that are judged anew a few begin in one turn."""
    world, names = many()
    world.cuts[LAN] = [(world.now, 10**18)]
    world.run(10 * SECOND)
    paths = [world.path(name) for name in names]
    assert all(path.judged and path.state is State.UNKNOWN for path in paths)
    world.cuts.clear()
    begun = [0]
    turn = world.turn

    def turn_and_count():
        turn()
        begun.append(sum(not path.judged for path in paths))

    world.turn = turn_and_count
    world.run(5 * SECOND)
    # One slice when the fault is over and one as the turn goes on; who is heard is not among them.
    assert 0 < max(after - before for before, after in pairwise(begun)) < 3 * AT_ONCE
    assert {world.state(name) for name in names} == {State.UP}


def test_who_is_removed_before_it_is_judged_anew_is_not_watched_any_more():
    """A reload falls between the end of a fault and what comes of that for the last of many."""
    world = World(1, tick=MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(300)]
    world.watch(*(peer(name) for name in names), link=Link())
    watch_router(world, agreed(C, 300 * MILLISECOND, 3), multiplier=3)
    world.run(10 * SECOND)
    path = world.path(C)
    world.cuts[LAN] = [(world.now, 10**18)]
    world.run(5 * SECOND)
    world.links[C].dead.append((world.now, 10**18))
    world.cuts.clear()
    while path.egress.fault is not None:
        world.run(MILLISECOND // 10)
    assert path.judged
    world.apply(*(peer(name) for name in names))
    sent = len(world.sent_to(C))
    world.run(10 * SECOND)
    assert path.deadline is None
    assert len(world.sent_to(C)) == sent


def test_those_with_which_all_is_well_end_a_fault():
    """Who is asked with others, and answers, before it is told of it, is not told of it."""
    timing = Timing(20 * SECOND, 100 * MILLISECOND, 1)
    world = World(1, tick=MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(1_000)]
    world.watch(*(peer(name, timing=timing) for name in names), link=Link(delay=MILLISECOND // 10))
    world.run(45 * SECOND)
    world.events.clear()
    volleys = {world.path(name).volley for name in names}
    last = max((v for v in volleys if not v.is_asked), key=lambda volley: max(volley.moments))
    answer = {path.peer.name for path in last.paths}
    last.next = last.deadline = world.fleet.clock.now + 3 * MILLISECOND
    world.fleet._timers.schedule(last)
    egress = world.path(names[0]).egress
    world.fleet._verdicts._egress_fault([egress], Fact(Cause.OWN_UPLINK, "all are silent"))
    world.run(5 * MILLISECOND)
    assert egress.fault is None
    world.run(SECOND)
    told = {event.peer for event in world.of_kind(StateChanged) if event.state is State.UNKNOWN}
    assert told == set(names) - answer


def test_many_that_are_due_at_one_moment_are_told_of_one_fault():
    """Those whose verdict is due before they are told of it are told of it, in their turn."""
    world = World(1, tick=MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(400)]
    world.watch(*(peer(name) for name in names), link=Link())
    world.run(6 * SECOND)
    for volley in {world.path(name).volley for name in names}:
        if not volley.is_asked:
            volley.next = volley.deadline = world.now + SECOND
            world.fleet._timers.schedule(volley)
    world.events.clear()
    world.cuts[LAN] = [(world.now, 10**18)]
    world.run(6 * SECOND)
    (storm,) = world.of_kind(Storm)
    assert storm.count == len(names)
    assert sum(not event.quiet for event in world.of_kind(StateChanged)) == 5


def test_what_counts_for_nothing_ends_no_fault():
    """A reply that has come before, of one that is not told of the fault yet."""
    timing = Timing(20 * SECOND, 100 * MILLISECOND, 1)
    world = World(1, tick=MILLISECOND)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(600)]
    world.watch(*(peer(name, timing=timing) for name in names), link=Link())
    world.run(45 * SECOND)
    late = max(map(world.path, names), key=lambda path: path.last_life)
    came, arrive = [], world.arrive
    world.arrive = lambda *reply: came.append(reply)
    late.volley.next = late.volley.deadline = world.now
    world.fleet._timers.schedule(late.volley)
    world.run(MILLISECOND)
    world.arrive = arrive
    for reply in came:
        arrive(*reply)
    world.run(100 * MILLISECOND)
    assert late.volley is not None
    egress = late.egress
    world.fleet._verdicts._egress_fault([egress], Fact(Cause.OWN_UPLINK, "all are silent"))
    arrive(world.now + 1, came[-1][1])
    world.run(MILLISECOND)
    assert egress.fault is not None


def test_who_is_heard_as_a_fault_is_found_is_told_of_it():
    """That it was heard in the same turn, before, says nothing against the fault."""
    world, names = many(300)
    verdicts, paths = world.fleet._verdicts, [world.path(name) for name in names]
    for path in paths:
        path.last_life = world.fleet.clock.now
    verdicts._egress_fault([paths[0].egress], own_link(LAN.interface))
    while verdicts.is_telling:
        verdicts.tell_some()
    assert {path.state for path in paths} == {State.UNKNOWN}


@pytest.mark.parametrize("retries", [0, 1])
def test_who_begins_anew_in_a_fault_is_not_judged_by_what_it_missed_in_it(retries):
    """The machine wakes behind an uplink that is still cut, and that comes back a little later."""
    rare = Timing(60 * SECOND, 500 * MILLISECOND, retries)
    world = World(1, start_grace=SECOND, tick=MILLISECOND)
    world.watch(*(peer(f"10.0.1.{n}") for n in range(20)), peer(A, timing=rare), link=Link())
    world.run(200 * SECOND)
    path = world.path(A)
    world.cuts[LAN] = [(world.now, 10**18)]
    while path.fault is None:
        world.run(10 * MILLISECOND)
    world.suspend(60 * SECOND)
    asked = len(world.sent_to(A))
    while len(world.sent_to(A)) <= asked + retries:
        world.run(10 * MILLISECOND)
    world.cuts.clear()
    world.run(200 * SECOND)
    assert State.DOWN not in world.states_of(A)
    assert world.state(A) is State.UP


def test_a_fault_that_comes_again_is_held_for_all():
    """The next fault comes before all are free of the one before: none is judged in it."""
    world, names = many()
    world.faults[LAN] = own_link(LAN.interface)
    world.run(10 * SECOND)
    path = world.path(names[0])
    world.fleet._verdicts.witnessed(path, world.now)
    world.fleet._verdicts._blame_ourselves(path, world.faults[LAN])
    assert path.egress.fault == world.faults[LAN]
    now, paths = world.now, [world.path(name) for name in names]
    world.run(100 * MILLISECOND)
    assert sum(path.judge_from > now for path in paths) < 3 * AT_ONCE
    world.run(20 * SECOND)
    assert {world.path(name).fault for name in names} == {world.faults[LAN]}
    assert {event.state for event in world.of_kind(StateChanged)} == {State.UP, State.UNKNOWN}


def test_a_child_is_not_judged_by_what_its_parent_was():
    """A child whose deadline falls between two slices is unknown with its parent, never down."""
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(1_000)]
    world = World(1, tick=MILLISECOND, session=lambda *_: NumberSession())
    world.watch(*(peer(name) for name in names), link=Link())
    world.watch(peer(C, via=names[-1]), peer("198.51.100.2"), link=Link(egress=WAN))
    world.run(10 * SECOND)
    world.cuts[LAN] = [(world.now, 10**18)]
    while not world.of_kind(Storm):
        world.run(MILLISECOND)
    path = world.path(C)
    assert world.state(names[-1]) is State.UP
    path.first_missed = path.egress.last_answer
    path.missed = path.timing.retries + 1
    path.witnessed = True
    world.fleet.examined(path, None, None)
    world._carry_out()
    assert world.states_of(C) == [State.UP, State.UNKNOWN]


def test_an_interface_that_is_down_is_one_storm():
    """What is on the link and what is behind its gateway go together, in one entry."""
    world = world_of(a=LAN, b=LAN, c=WAN)
    world.faults[LAN] = world.faults[WAN] = own_link(LAN.interface)
    world.run(20 * SECOND)
    (storm,) = world.of_kind(Storm)
    assert (storm.cause, storm.count) == (Cause.OWN_LINK, 3)
    assert storm.common == f"egress {LAN.interface}"
    assert {world.state(name) for name in (A, B, C)} == {State.UNKNOWN}
    world.faults.clear()
    world.run(20 * SECOND)
    assert {world.state(name) for name in (A, B, C)} == {State.UP}


def test_an_interface_that_is_up_again_may_pass_nothing_yet():
    """A switch that starts forwards nothing for half a minute: nobody is down for it, and who is
    silent when the others answer is."""
    world = world_of(a=LAN, b=LAN, c=LAN)
    world.cuts[LAN] = [(world.now, world.now + 40 * SECOND)]
    world.links[C].dead.append((world.now, 10**18))
    world.faults[LAN] = own_link(LAN.interface)
    world.run(10 * SECOND)
    world.faults.clear()
    world.run(25 * SECOND)
    assert {world.state(name) for name in (A, B, C)} == {State.UNKNOWN}
    world.run(25 * SECOND)
    assert [world.state(name) for name in (A, B, C)] == [State.UP, State.UP, State.DOWN]
    down = [event.peer for event in world.of_kind(StateChanged) if event.state is State.DOWN]
    assert down == [C]


def test_an_uplink_that_answers_for_a_moment_is_not_over_it():
    """One reply, and then everybody is silent again: that is held against nobody either."""
    world = world_of(a=LAN, b=LAN)
    world.cuts[LAN] = [(world.now, world.now + 20 * SECOND)]
    world.run(10 * SECOND)
    while State.UP not in (states := {name: world.state(name) for name in (A, B)}).values():
        world.run(MILLISECOND)
    assert State.UNKNOWN in states.values()
    world.cuts[LAN].append((world.now, 10**18))
    world.run(30 * SECOND)
    assert {world.state(name) for name in (A, B)} == {State.UNKNOWN}
    assert State.DOWN not in {*world.states_of(A), *world.states_of(B)}


@pytest.mark.parametrize(
    ("timing", "waits"),
    [(Timing(200 * MILLISECOND, 100 * MILLISECOND, 2), 900), (Timing(), 0)],
    ids=["fast", "default"],
)
def test_the_kernel_may_have_to_ask_for_a_neighbour_first(timing, waits):
    """With its link up again a path waits for the second in which nothing need leave us, where its
    heartbeats would all fall into that, and only there."""
    world = World(1)
    for name, dscp in ((A, 0), (B, 46)):  # so each is asked by itself
        world.watch(peer(name, timing=timing, leaving=Leaving(dscp=dscp)), link=Link(egress=LAN))
    world.run(10 * SECOND)
    world.faults[LAN] = own_link(LAN.interface)
    world.cuts[LAN] = [(world.now, world.now + 10 * SECOND)]
    world.run(10 * SECOND)
    world.faults.clear()
    while world.path(A).egress.fault is not None:
        world.run(MILLISECOND)
    path = next(path for path in map(world.path, (A, B)) if not path.judged)  # the other answered
    over, sent = world.now, path.figures.sent
    world.links[path.address].dead.append((over, over + SECOND))
    while path.figures.sent == sent:
        world.run(MILLISECOND)
    assert 0 <= world.now - over - waits * MILLISECOND <= timing.interval
    world.run(10 * SECOND)
    assert world.states_of(path.address) == [State.UP, State.UNKNOWN, State.UP]


@pytest.mark.parametrize("is_uplink", [False, True], ids=["down", "own-uplink"])
def test_who_has_long_been_silent_is_looked_at_after_each_third_probe(is_uplink):
    """Of ten thousand behind a silent uplink each would cost as much again as its probe."""
    world = World(1)
    for name in (A, B):
        world.watch(peer(name), link=Link(egress=WAN))
    world.run(10 * SECOND)
    for name in (A, B) if is_uplink else (A,):
        world.links[name].dead.append((world.now, 10**18))
    world.run(60 * SECOND)
    looks, path = [], world.path(A)
    examined, sent = world.fleet.examined, path.figures.sent
    world.fleet.examined = lambda path, *found: looks.append(path) or examined(path, *found)
    world.run(30 * path.timing.probe)
    assert path.figures.sent - sent == 30
    assert looks.count(path) == 10


@pytest.mark.parametrize("phase", range(3))
@pytest.mark.parametrize("interval", [SECOND, 60 * SECOND])
@pytest.mark.parametrize("is_uplink", [False, True], ids=["down", "own-uplink"])
def test_own_link_is_seen_by_who_has_long_been_silent(is_uplink, interval, phase):
    """It is looked at after each third probe, whatever else was asked of it in between."""
    world = World(1)
    timing = Timing(interval, 500 * MILLISECOND, 3, 2)
    for name in (A, B):
        world.watch(peer(name, timing=timing), link=Link(egress=WAN))
    world.run(3 * timing.interval)
    world.links[A].dead.append((world.now, 10**18))
    if is_uplink:
        world.links[B].dead.append((world.now, 10**18))
    world.run(200 * timing.probe + phase * timing.probe)
    assert world.state(A) is (State.UNKNOWN if is_uplink else State.DOWN)
    world.links[B].dead.append((world.now, 10**18))  # it is not what makes us look
    world.faults[WAN] = own_link(WAN.interface)
    world.fleet.resolved(world.path(B), ())
    world.path(B).deadline = None
    world.run(3 * timing.probe + timing.timeout + 1)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.UNKNOWN, Cause.OWN_LINK)
