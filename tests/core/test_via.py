"""What lies between: `via`."""

from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.peer import Pause
from hbd.core.session import Fact
from hbd.core.volleys import TOGETHER
from tests.simulation.world import LAN, WAN, EgressKey, Link, NumberSession, World, own_link, peer

GW, DB, WITNESS = "10.0.0.1", "10.0.0.2", "10.0.0.9"
QUICK = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)


def world_of(child=None, **options):
    world = World(options.pop("seed", 1), **options)
    world.watch(peer(GW, timing=QUICK), peer(DB, via=GW, timing=child), peer(WITNESS))
    world.run(10 * SECOND)
    return world


def cut(world, *names, span=10**18):
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


def states(world, name):
    return [event.state for event in world.changes_of(name)]


def test_child_of_a_silent_parent_is_unreachable():
    """A child whose parent is down at the child's deadline is unreachable, not down."""
    world = world_of()
    cut(world, GW, DB)
    world.run(10 * SECOND)
    assert states(world, DB) == [State.UP, State.UNREACHABLE]
    last = world.changes_of(DB)[-1]
    assert last.cause is Cause.PARENT_DOWN
    assert last.evidence[0] == f"via {GW}: down (silent)"


def test_child_of_a_parent_that_answers_is_down():
    """The parent answers: the child is down."""
    world = world_of()
    cut(world, DB)
    world.run(10 * SECOND)
    assert states(world, DB) == [State.UP, State.DOWN]


def test_parent_is_asked_at_once():
    """When a child misses, its parent is asked in the same moment."""
    rare = Timing(3600 * SECOND, 500 * MILLISECOND, 3, 2)
    world = World(1)
    world.watch(peer(GW, timing=rare), link=Link(egress=EgressKey("eth1")))  # so: no witness
    world.watch(peer(DB, via=GW))
    world.run(3600 * SECOND)
    at = world.now
    world.links[DB].lost_in_turn = 1
    world.run(3 * SECOND)
    first_miss = next(s for s in world.sent_to(DB) if s > at) + Timing().timeout
    assert next(s for s in world.sent_to(GW) if s > at) == first_miss


def test_parent_is_not_flooded_by_its_children():
    """A hundred children that miss at once do not make a hundred questions to the parent."""
    world = World(1)
    world.watch(peer(GW), *(peer(f"10.0.1.{n}", via=GW) for n in range(100)))
    world.run(10 * SECOND)
    before = len(world.sent_to(GW))
    cut(world, *(f"10.0.1.{n}" for n in range(100)))
    world.run(5 * SECOND)
    assert len(world.sent_to(GW)) - before <= 5 * 50
    assert world.state(GW) is State.UP


def test_child_moves_to_unreachable_when_the_parent_falls_later():
    """The child is judged first: down; when its parent falls too, it is unreachable."""
    world = World(1)
    world.watch(peer(GW), peer(DB, via=GW, timing=QUICK), peer(WITNESS))
    world.run(10 * SECOND)
    cut(world, GW, DB)
    world.run(10 * SECOND)
    assert states(world, DB) == [State.UP, State.DOWN, State.UNREACHABLE]


def test_child_falls_with_its_parent_at_the_same_moment():
    """A parent that misses as well by the child's deadline: unreachable at once, never down."""
    world = World(1)
    world.watch(peer(GW), peer(DB, via=GW), peer(WITNESS))
    world.run(10 * SECOND)
    cut(world, GW, DB)
    world.run(10 * SECOND)
    assert states(world, DB) == [State.UP, State.UNREACHABLE]
    assert states(world, GW) == [State.UP, State.DOWN]


def test_next_hop_that_is_the_parent_explains_the_silence_behind_it():
    """Peers behind a gateway that is their parent, and dead, are unreachable: no fault of ours."""
    world = World(1)
    behind = EgressKey("eth0", GW)
    world.watch(peer(GW), peer(WITNESS))
    children = [f"10.0.1.{number}" for number in range(3)]
    for name in children:
        world.watch(peer(name, via=GW), link=Link(egress=behind))
    world.run(10 * SECOND)
    cut(world, GW, *children)
    world.run(10 * SECOND)
    for name in children:
        assert states(world, name) == [State.UP, State.UNREACHABLE]
    assert states(world, GW) == [State.UP, State.DOWN]
    world.links[GW].dead.clear()
    for name in children[:2]:
        world.links[name].dead.clear()
    world.run(10 * SECOND)
    assert [world.state(name) for name in children] == [State.UP, State.UP, State.DOWN]


def test_parent_that_lost_two_datagrams_frees_its_child_when_it_answers():
    """A parent that only stumbled: the child is judged anew, one detection time later."""
    world = World(1)
    patient = Timing(1 * SECOND, 500 * MILLISECOND, 10, 2)
    world.watch(peer(GW, timing=patient), peer(DB, via=GW), peer(WITNESS))
    world.run(10 * SECOND)
    cut(world, GW, DB)
    while world.state(DB) is not State.UNREACHABLE:
        world.run(10 * MILLISECOND)
    world.links[GW].dead.clear()
    world.run(10 * SECOND)
    assert states(world, GW) == [State.UP]
    assert states(world, DB) == [State.UP, State.UNREACHABLE, State.DOWN]


def test_child_that_fell_before_its_parent_stays_down():
    """A child that is down while its parent answers stays down when the parent falls later."""
    world = world_of()
    cut(world, DB)
    world.run(20 * SECOND)
    cut(world, GW)
    world.run(20 * SECOND)
    assert states(world, DB) == [State.UP, State.DOWN]


def test_child_that_answers_has_no_parent():
    """A child that answers is up although its parent is down."""
    world = world_of()
    cut(world, GW)
    world.run(20 * SECOND)
    assert (world.state(GW), world.state(DB)) == (State.DOWN, State.UP)


def test_parent_unknown_makes_the_child_unknown():
    """Where the parent is unknown by a fault of ours, so is the silent child."""
    world = world_of()
    world.links[GW].egress = EgressKey("eth1")
    world.faults[EgressKey("eth1")] = own_link("eth1")
    cut(world, DB)
    world.run(20 * SECOND)
    last = world.changes_of(DB)[-1]
    assert (last.state, last.cause) == (State.UNKNOWN, Cause.OWN_LINK)


def test_child_gets_one_detection_time_when_the_parent_is_known_again():
    """A child unknown with its parent is not condemned in the moment the parent answers."""
    world = world_of()
    blocked = Fact(Cause.SEND_BLOCKED, "EPERM")
    world.links[GW].egress = EgressKey("eth1")
    world.faults[EgressKey("eth1")] = blocked
    cut(world, DB, span=21 * SECOND)
    world.run(20 * SECOND)
    assert world.state(DB) is State.UNKNOWN
    world.links[GW].egress = LAN
    world.run(20 * SECOND)
    assert states(world, DB) == [State.UP, State.UNKNOWN, State.UP]


def test_children_are_free_when_the_parent_is_back():
    """When the parent answers again, the child gets one detection time to do so too."""
    world = world_of()
    cut(world, GW, span=20 * SECOND)
    cut(world, DB)
    world.run(20 * SECOND)
    world.run(20 * SECOND)
    assert states(world, DB) == [State.UP, State.UNREACHABLE, State.DOWN]
    back = world.changes_of(GW)[-1]
    took = world.changes_of(DB)[-1].at - back.at
    assert Timing().detection <= took <= Timing().detection + Timing().timeout


def test_child_stays_unreachable_while_its_parent_rises():
    """What a child misses while its parent is not yet up again is not held against it."""
    world = World(1)
    rising = Timing(1 * SECOND, 500 * MILLISECOND, 3, 20)
    world.watch(peer(GW, timing=rising), peer(DB, via=GW), peer(WITNESS))
    world.run(10 * SECOND)
    cut(world, GW, span=20 * SECOND)
    cut(world, DB, span=25 * SECOND)
    world.run(60 * SECOND)
    assert states(world, GW) == [State.UP, State.DOWN, State.UP]
    assert states(world, DB) == [State.UP, State.UNREACHABLE, State.UP]


def test_freed_child_is_not_blamed_for_what_was_known_of_its_parent():
    """What was said of a child while its parent was down does not tell why it is silent after."""
    world = world_of()
    cut(world, GW, span=20 * SECOND)
    cut(world, DB)
    world.run(15 * SECOND)
    _, _, datagram = next(sent for sent in reversed(world.sent) if sent[1] == DB)
    said = Fact(Cause.HOST_UNREACHABLE, "ICMP host unreachable from 10.0.0.8")
    assert world.fleet.icmp((DB, 862), datagram, said, witness=False)
    world.run(20 * SECOND)
    last = world.changes_of(DB)[-1]
    assert (last.state, last.cause) == (State.DOWN, Cause.SILENT)


def test_freed_children_do_not_all_ask_at_once():
    """Children of a parent that is back are asked over an interval, not in one burst."""
    world = World(1)
    world.watch(peer(GW), peer(WITNESS), *(peer(f"10.0.1.{n}", via=GW) for n in range(100)))
    names = [GW, *(f"10.0.1.{n}" for n in range(100))]
    world.run(10 * SECOND)
    cut(world, *names, span=60 * SECOND)
    world.run(60 * SECOND)
    begin = world.now
    world.run(20 * SECOND)
    assert {world.state(name) for name in names} == {State.UP}
    back = world.changes_of(GW)[-1].at
    moments = [at for at, to, _ in world.sent if begin <= at and to != GW]
    assert max(moments.count(at) for at in set(moments)) <= TOGETHER
    assert back > begin


def test_a_chain_of_any_length_is_judged():
    """Of fifteen hundred silent peers behind each other all are unknown with the first."""
    chain = [f"10.1.{n // 250}.{n % 250}" for n in range(1_500)]
    world = World(1, session=lambda *_: NumberSession())
    world.watch(peer(GW), link=Link(egress=EgressKey("eth1")))
    behind = zip([GW, *chain], chain, strict=False)
    world.watch(*(peer(name, via=via) for via, name in behind), link=Link(dead=[(0, 10**18)]))
    world.watch(peer(WITNESS))
    world.run(20 * SECOND)
    world.faults[EgressKey("eth1")] = own_link("eth1")
    world.run(20 * SECOND)
    assert {world.state(name) for name in (GW, *chain)} == {State.UNKNOWN}


def test_paused_and_silent_parent_leaves_the_child_unreachable():
    """Maintenance of the gateway: what lies behind it is unreachable, not down."""
    world = world_of()
    world.fleet.pause(GW, Pause(world.wall + 3600 * SECOND, "", "root"))
    cut(world, GW, DB)
    world.run(20 * SECOND)
    assert (world.state(GW), world.state(DB)) == (State.PAUSED, State.UNREACHABLE)


def test_paused_parent_that_answers_leaves_the_child_down():
    """A pause alone excuses nobody."""
    world = world_of()
    world.fleet.pause(GW, Pause(world.wall + 3600 * SECOND, "", "root"))
    cut(world, DB)
    world.run(20 * SECOND)
    assert world.state(DB) is State.DOWN


def test_grandchildren_are_unreachable_too():
    """A chain of three: all behind the silent one are unreachable."""
    world = World(1)
    far = "10.0.0.3"
    world.watch(
        peer(GW, timing=QUICK),
        peer(DB, via=GW, timing=QUICK),
        peer(far, via=DB, timing=QUICK),
        peer(WITNESS),
    )
    world.run(10 * SECOND)
    cut(world, GW, DB, far)
    world.run(10 * SECOND)
    assert [world.state(name) for name in (GW, DB, far)] == [
        State.DOWN,
        State.UNREACHABLE,
        State.UNREACHABLE,
    ]
    assert world.links[GW] is not Link()


def test_own_uplink_with_children_is_one_storm():
    """Our own fault is one storm entry, though gateway and children change together."""
    world = World(1)
    names = [GW, *(f"10.0.1.{n}" for n in range(20))]
    world.watch(peer(GW), *(peer(name, via=GW) for name in names[1:]))
    world.run(10 * SECOND)
    cut(world, *names)
    world.run(10 * SECOND)
    storms = [e for e in world.events if type(e).__name__ == "Storm"]
    changes = [e for e in world.events if getattr(e, "state", None) is State.UNKNOWN]
    assert len(storms) == 1
    assert [e.quiet for e in changes if e not in storms].count(False) == 5


def pause(world, name):
    world.fleet.pause(name, Pause(world.wall + 3600 * SECOND, "", "root"))


def test_paused_parent_that_falls_later_takes_its_child_along():
    """The child is judged first: down; when its paused parent is silent too, it is unreachable."""
    slow = Timing(3 * SECOND, 1 * SECOND, 3, 2)
    world = World(1)
    world.watch(peer(GW, timing=slow), peer(DB, via=GW, timing=QUICK), peer(WITNESS))
    world.run(20 * SECOND)
    pause(world, GW)
    cut(world, GW, DB)
    world.run(20 * SECOND)
    assert states(world, DB) == [State.UP, State.DOWN, State.UNREACHABLE]


def test_paused_parent_that_answers_again_frees_its_child():
    """A pause does not hide from those behind it that the parent is back."""
    world = world_of()
    pause(world, GW)
    cut(world, GW, span=20 * SECOND)
    cut(world, DB)
    world.run(20 * SECOND)
    assert world.state(DB) is State.UNREACHABLE
    world.run(20 * SECOND)
    assert (world.state(GW), world.state(DB)) == (State.PAUSED, State.DOWN)


def test_paused_parent_that_we_cannot_ask_leaves_its_child_unknown():
    """A pause does not make the parent's silence its own, where our side is at fault."""
    world = world_of()
    pause(world, GW)
    world.links[GW].egress = EgressKey("eth1")
    world.faults[EgressKey("eth1")] = own_link("eth1")
    cut(world, DB)
    world.run(20 * SECOND)
    last = world.changes_of(DB)[-1]
    assert (last.state, last.cause) == (State.UNKNOWN, Cause.OWN_LINK)


def test_children_that_are_quicker_than_their_parent_follow_it():
    """All behind it are silent first: that looks like our uplink until the parent is down."""
    world = World(3)
    world.watch(peer(GW), link=Link(egress=LAN))
    children = ["10.1.0.1", "10.1.0.2"]
    behind = [peer(name, via=GW, timing=QUICK) for name in children]
    world.watch(*behind, link=Link(egress=EgressKey("eth0", GW)))
    world.run(60 * SECOND)
    cut(world, GW, *children)
    world.run(15 * SECOND)
    assert [world.state(name) for name in (GW, *children)] == [
        State.DOWN,
        State.UNREACHABLE,
        State.UNREACHABLE,
    ]


def test_a_paused_child_is_free_when_its_parent_is_back():
    """What it missed behind a parent that was off is not held against it after the pause."""
    world = world_of()
    pause = Pause(world.wall + 3600 * SECOND, "maintenance", "op")
    for name in (GW, DB):
        world.fleet.pause(name, pause)
    cut(world, GW, DB)
    world.run(60 * SECOND)
    world.links[GW].dead.clear()
    while not world.fleet.peers[GW].is_heard:
        world.run(MILLISECOND)
    world.links[DB].dead.clear()
    for name in (GW, DB):
        world.fleet.resume(name)
    world.run(30 * SECOND)
    assert State.DOWN not in states(world, DB)
    assert world.state(DB) is State.UP


def test_a_child_waits_for_the_first_verdict_on_its_parent():
    """Of whom nothing is known yet may be to blame."""
    world = World(3)
    slow = Timing(10 * SECOND, 5 * SECOND, 3)
    world.watch(peer(GW, timing=slow), peer(WITNESS), peer(DB, via=GW))
    cut(world, GW, DB)
    world.run(60 * SECOND)
    assert states(world, DB) == [State.UNREACHABLE]


def test_a_parent_that_is_not_watched_hides_nobody():
    """What is only sent to says nothing: who lies behind it is judged by itself."""
    world = World(3)
    world.watch(peer(GW, protocol="plain"), link=Link(dead=[(0, 10**18)]))
    world.watch(peer(WITNESS), peer(DB, via=GW))
    world.run(20 * SECOND)
    cut(world, DB)
    world.run(20 * SECOND)
    assert states(world, DB) == [State.UP, State.DOWN]


def test_evidence_of_an_unreachable_child_names_no_doubt_that_is_none():
    """Others were up where it leads: what is to blame is the parent."""
    world = World(3)
    world.watch(peer(GW), link=Link(egress=LAN))
    children = [f"198.51.100.{n}" for n in range(3)]
    world.watch(*(peer(name, via=GW) for name in children), link=Link(egress=WAN))
    world.run(60 * SECOND)
    cut(world, GW, *children)
    world.run(20 * SECOND)
    assert world.state(children[0]) is State.UNREACHABLE
    assert "no other peer was up" not in " ".join(world.fleet.peers[children[0]].evidence)
