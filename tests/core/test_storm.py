"""Flapping and storms: what is told aloud."""

from hbd.core.events import FlappingChanged, StateChanged, Storm
from hbd.core.flapping import Flapping
from hbd.core.model import MILLISECOND, SECOND, State, Timing
from hbd.core.peer import Peer
from hbd.core.storm import ALOUD, StormWatch
from tests.simulation.world import EgressKey, Link, World, peer

A, B = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
DETECTION = TIMING.detection


def kill(world, *names, span=10**18):
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


def flapper():
    one = Peer(peer(A, timing=TIMING), 0, 0)
    one.state = State.UP
    return one, Flapping(one, one.state, 0)


def flap(one, flapping, times, begin=0):
    """Change the state once in each of so many detection times; give when flapping began."""
    began = []
    for number in range(times):
        one.state = State.DOWN if one.state is State.UP else State.UP
        if flapping.change(one.state, begin + number * DETECTION + DETECTION // 2):
            began.append(number)
    return began


def test_flapping_begins_at_30_percent():
    """Six changes among twenty pairs of samples are flapping."""
    one, flapping = flapper()
    assert flap(one, flapping, 20) == [6]
    assert flapping.is_flapping


def test_five_changes_are_no_flapping():
    """Five changes, then peace: never flapping."""
    one, flapping = flapper()
    assert flap(one, flapping, 5) == []
    flapping.sample(100 * DETECTION)
    assert flapping.judge() is False


def test_flapping_ends_below_15_percent():
    """It ends when only two of twenty differ, at a deadline of its own."""
    one, flapping = flapper()
    flap(one, flapping, 20)
    ended = None
    while ended is None:
        now = flapping.deadline
        flapping.sample(now)
        if flapping.judge():
            ended = now
    assert flapping.deadline is None
    # The last change is seen by sample 20; with sample 38 only two of twenty still differ.
    assert ended == (20 + 18) * DETECTION


def test_of_a_peer_that_is_gone_nothing_is_told_any_more():
    """A reload may remove it between its verdict and the words for it; nothing of it is kept."""
    world = World(1)
    world.watch(peer(A, timing=TIMING), peer(B, timing=TIMING))
    world.run(10 * SECOND)
    kill(world, A)
    told, world.fleet.told = [], lambda tell: told.append(tell) or []
    world.run(10 * SECOND)
    (tell,) = told
    assert tell.verdict.state is State.DOWN
    del world.fleet.told
    world.apply(peer(B, timing=TIMING))
    assert world.fleet.told(tell) == []
    assert not any(one.name == A for one in world.fleet._news._flapping)


def test_two_changes_within_one_sample_are_not_seen():
    """Down and up again between two samples: the sampled state has not changed."""
    one, flapping = flapper()
    for number in range(50):
        for state in (State.DOWN, State.UP):
            one.state = state
            assert flapping.change(state, number * DETECTION + 1) is False


def test_changes_are_counted_while_flapping():
    """The exact count is kept from the beginning of the flapping on."""
    one, flapping = flapper()
    flap(one, flapping, 7)
    assert flapping.changes == 0
    flap(one, flapping, 10, begin=7 * DETECTION)
    assert flapping.changes == 10


def test_flapping_in_a_fleet():
    """A flapping peer: its first failure aloud, then one entry, single changes quiet, one end."""
    world = World(1)
    world.watch(peer(A, timing=TIMING), peer(B))
    for _ in range(20):
        world.run(4 * SECOND)
        kill(world, A, span=5 * SECOND)
        world.run(6 * SECOND)
    world.run(200 * SECOND)
    changes = [e.quiet for e in world.changes_of(A)]
    assert changes[:3] == [False, False, False]
    assert True in changes
    first, last = world.of_kind(FlappingChanged)
    assert (first.flapping, last.flapping) == (True, False)
    assert last.changes == changes.count(True)
    assert world.fleet.is_flapping(world.fleet.peers[A]) is False


def test_the_first_verdict_is_no_change():
    """Who comes up at the start has changed from nothing; who falls then has changed once."""
    world = World(1)
    world.watch(peer(A, timing=TIMING), peer(B))
    world.run(60 * SECOND)
    assert not world.fleet._news._flapping
    kill(world, A)
    world.run(60 * SECOND)
    (flapping,) = world.fleet._news._flapping.values()
    flapping.sample(world.now)
    assert flapping._differs.bit_count() == 1


def test_flapping_shows_also_where_detection_is_quick():
    """Who falls and rises every ten seconds flaps, whatever its timing."""
    world = World(1)
    world.watch(peer(A, timing=Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)), peer(B))
    for _ in range(10):
        world.run(4 * SECOND)
        kill(world, A, span=5 * SECOND)
        world.run(6 * SECOND)
    assert world.fleet.is_flapping(world.fleet.peers[A])


def test_first_failure_is_never_delayed():
    """Before it flaps, a peer's failure is told at its deadline, aloud."""
    world = World(1)
    world.watch(peer(A, timing=TIMING), peer(B))
    world.run(10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    down = world.changes_of(A)[-1]
    assert (down.state, down.quiet) == (State.DOWN, False)
    assert down.detection <= DETECTION


def fleet_of(count, subnet="10.0.1", seed=1, **settings):
    world = World(seed)
    world.watch(peer(A))
    world.watch(*(peer(f"{subnet}.{n}", **settings) for n in range(count)))
    world.run(10 * SECOND)
    return world, [f"{subnet}.{n}" for n in range(count)]


def test_five_changes_together_are_no_storm():
    """Five peers that fail together are five entries."""
    world, names = fleet_of(5)
    kill(world, *names)
    world.run(20 * SECOND)
    downs = [e for e in world.of_kind(StateChanged) if e.state is State.DOWN]
    assert [e.quiet for e in downs] == [False] * 5
    assert world.of_kind(Storm) == []


def test_sixth_change_is_a_storm():
    """At the sixth change one entry says what they have in common; the rest are quiet; a last
    entry gives the total."""
    world, names = fleet_of(20, via=A, labels=(("site", "ams"),))
    kill(world, *names)
    world.run(20 * SECOND)
    downs = [e for e in world.of_kind(StateChanged) if e.state is State.DOWN]
    assert [e.quiet for e in downs] == [False] * 5 + [True] * 15
    begin, end = world.of_kind(Storm)
    assert (begin.over, begin.count, begin.state) == (False, 6, State.DOWN)
    common = "egress eth0, via 10.0.0.1, subnet 10.0.1.0/24, label site=ams"
    assert begin.common == end.common == common
    assert (end.over, end.count) == (True, 20)
    assert world.events.index(begin) == world.events.index(downs[5]) - 1


def test_storm_is_over_one_detection_time_after_its_last_change():
    """The last entry comes one detection time after the last change."""
    world, names = fleet_of(10)
    kill(world, *names)
    world.run(20 * SECOND)
    downs = [e for e in world.of_kind(StateChanged) if e.state is State.DOWN]
    assert world.of_kind(Storm)[-1].at - downs[-1].at == DETECTION


def told_late(world, told):
    """Put into words, all at once, what was to be told until now."""
    del world.fleet.told
    for tell in told:
        world.events += world.fleet.told(tell)


def test_what_is_told_late_is_judged_by_when_it_happened():
    """With much to tell, failures far apart are no storm, and one that flaps is said to."""
    world, names = fleet_of(7)
    flapper = names.pop()
    told, world.fleet.told = [], lambda tell: told.append(tell) or []
    for name in names:
        kill(world, name)
        world.run(10 * SECOND)
    for _ in range(8):
        kill(world, flapper, span=8 * SECOND)
        world.run(20 * SECOND)
    told_late(world, told)
    assert world.of_kind(Storm) == []
    assert [event.flapping for event in world.of_kind(FlappingChanged)] == [True]
    quiet = [e.quiet for e in world.of_kind(StateChanged) if e.peer in names]
    assert not any(quiet)


def test_six_changes_far_apart_are_no_storm():
    """Six peers that fail in six different detection times are no storm."""
    world, names = fleet_of(6)
    for name in names:
        kill(world, name)
        world.run(10 * SECOND)
    assert world.of_kind(Storm) == []


def test_first_verdicts_of_up_are_no_storm():
    """Hundreds of peers that come up at the start are no news."""
    world, _ = fleet_of(200)
    assert world.of_kind(Storm) == []


def test_storm_names_only_what_all_share():
    """Of peers in two subnets behind two egresses only the label is common."""
    world = World(1)
    world.watch(peer(A))
    world.watch(*(peer(f"10.0.1.{n}", labels=(("role", "db"),)) for n in range(4)))
    link = Link(egress=EgressKey("eth1"))
    others = [f"10.0.2.{n}" for n in range(4)]
    world.watch(*(peer(name, labels=(("role", "db"),)) for name in others))
    world.watch(peer("10.0.3.1"), link=link)
    for name in others:
        world.links[name].egress = EgressKey("eth1")
    world.run(10 * SECOND)
    for name in others:  # the way is learnt anew where a heartbeat is missed
        world.links[name].lost_in_turn = 1
    world.run(10 * SECOND)
    kill(world, *(f"10.0.1.{n}" for n in range(4)), *others)
    world.run(20 * SECOND)
    assert world.of_kind(Storm)[-1].common == "label role=db"


def test_storm_with_nothing_in_common_says_so():
    """Peers that share nothing: the entry says that."""
    world = World(1)
    names = [f"10.0.{n}.1" for n in range(8)]
    for number, name in enumerate(names):
        world.watch(peer(name), link=Link(egress=EgressKey(f"eth{number}")))
    world.run(10 * SECOND)
    kill(world, *names)
    world.run(20 * SECOND)
    assert world.of_kind(Storm)[0].common == "nothing that hbd knows of"


def test_storm_that_spreads_has_less_in_common():
    """What is common at the sixth change may be common no more at the last."""
    world, names = fleet_of(7, labels=(("site", "ams"),))
    others = [f"10.0.2.{n}" for n in range(4)]
    world.watch(*(peer(name, labels=(("site", "fra"),)) for name in others))
    world.run(10 * SECOND)
    kill(world, *names)
    world.run(2 * SECOND)
    kill(world, *others)
    world.run(20 * SECOND)
    begin, end = [storm for storm in world.of_kind(Storm) if storm.state is State.DOWN]
    assert begin.common == "egress eth0, subnet 10.0.1.0/24, label site=ams"
    assert end.common == "egress eth0"


def test_a_storm_is_of_peers():
    """Who changes to and fro is one of them, however often; the next storm knows nothing of it."""
    watch = StormWatch(State.DOWN)
    for site in ("ams", "fra"):
        labels = (("site", site),)
        peers = [
            Peer(peer(f"{site}{n}", timing=TIMING, labels=labels), 0, 0) for n in range(ALOUD + 1)
        ]
        assert not any(watch.change(peers[0], 0, 0) for _ in range(ALOUD + 1))
        assert [watch.change(one, 0, 0) for one in peers[1:]] == [False] * (ALOUD - 1) + [True]
        watch.change(peers[0], 1, 1)
        assert (watch.count, watch.common) == (ALOUD + 1, f"label site={site}")
        watch.end()
    watch.change(peers[0], 10 * DETECTION, 10 * DETECTION)
    assert watch.common == "nothing that hbd knows of"
