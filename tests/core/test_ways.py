"""How a path leads to its peer, where that changes or is not the same for all its addresses."""

import pytest

from hbd.core.events import Storm
from hbd.core.fleet import Restored
from hbd.core.model import MILLISECOND, SECOND, Cause, Leaving, State, Timing
from hbd.core.session import Fact
from tests.simulation.world import LAN, START, WAN, EgressKey, Link, World, own_link, peer

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
NAME, V4, V6 = "db.example", "192.0.2.1", "2001:db8::1"
E4, E6 = EgressKey("eth0", "10.0.0.254"), EgressKey("eth0", "fe80::1")
ETH1 = EgressKey("eth1")
FOREVER = 10**18


def cut(world, *hosts, span=FOREVER):
    for host in hosts:
        world.links[host].dead.append((world.now, world.now + span))


def states(world, name):
    return [(event.state, event.cause) for event in world.changes_of(name)]


def world_of_a_name(retries, *, others=(), no_route=False):
    """A name with an address of either family, and peers of IPv4."""
    world = World(3)
    world.links[V4], world.links[V6] = Link(egress=E4), Link(egress=E6)
    world.watch(*(peer(f"192.0.2.{n}") for n in (10, 11, 12)), link=Link(egress=E4))
    if others:
        world.watch(*map(peer, others), link=Link(egress=E6))
    name = peer(NAME, timing=Timing(SECOND, 500 * MILLISECOND, retries))
    world.fleet.apply([*(one.settings for one in world.fleet.peers.values()), name])
    world.resolve(world.path(NAME), V4, V6)
    if no_route:
        world.faults[E6] = Fact(Cause.NO_ROUTE, f"no route to {V6}")
    world.run(30 * SECOND)
    world.events.clear()
    return world


@pytest.mark.parametrize("retries", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("way", [{}, {"no_route": True}, {"others": ["2001:db8::10"]}])
def test_a_name_is_judged_by_how_it_answered_last(retries, way):
    """That it is tried at another address, where we have no way or nobody else, blames nobody."""
    world = world_of_a_name(retries, **way)
    cut(world, V4, V6)
    world.run(600 * SECOND)
    assert states(world, NAME) == [(State.DOWN, Cause.SILENT)]
    assert world.of_kind(Storm) == []


@pytest.mark.parametrize("retries", [2, 3])
def test_an_uplink_takes_no_name_with_it(retries):
    """While our IPv4 fails a name whose other address never answers is unknown, not down."""
    world = world_of_a_name(retries, others=["2001:db8::10", "2001:db8::11"])
    cut(world, V6)
    world.cuts[E4] = [(world.now, world.now + 60 * SECOND)]
    world.run(120 * SECOND)
    assert states(world, NAME) == [(State.UNKNOWN, Cause.OWN_UPLINK), (State.UP, None)]


@pytest.mark.parametrize("retries", [1, 2, 3])
def test_an_interface_that_is_down_is_told_wherever_a_name_is_tried(retries):
    """That by which it answered last has no carrier: so it is said, whatever is asked meanwhile."""
    world = world_of_a_name(retries)
    world.faults[E4] = own_link("eth0")
    cut(world, V4, V6)
    world.run(120 * SECOND)
    assert states(world, NAME) == [(State.UNKNOWN, Cause.OWN_LINK)]


@pytest.mark.parametrize(
    "leaving", [Leaving(interface="eth1"), Leaving(source="10.9.9.9"), Leaving(dscp=46)]
)
def test_a_reload_that_changes_the_way_changes_whose_witness_it_is(leaving):
    """Whoever leaves by another interface since a reload says nothing of the one before."""
    world = World(3)
    world.watch(*map(peer, (A, B, C)))
    world.run(20 * SECOND)
    world.events.clear()
    world.links[C] = Link(egress=ETH1)
    world.apply(peer(A), peer(B), peer(C, leaving=leaving))
    world.run(10 * SECOND)
    assert world.path(C).egress.key == ETH1
    world.cuts[LAN] = [(world.now, FOREVER)]
    world.run(30 * SECOND)
    assert states(world, A) == states(world, B) == [(State.UNKNOWN, Cause.OWN_UPLINK)]
    assert states(world, C) == []


def test_a_route_that_moves_to_where_nobody_is():
    """Who was up on the old egress says nothing of the new one: the peer is down, with a doubt."""
    world = World(3)
    world.watch(*map(peer, (A, B, C)))
    world.run(20 * SECOND)
    world.events.clear()
    world.links[A].egress = ETH1
    cut(world, A)
    world.run(600 * SECOND)
    assert states(world, A) == [(State.DOWN, Cause.SILENT)]
    assert "cannot be told apart" in " ".join(world.fleet.peers[A].evidence)


@pytest.mark.parametrize("first", [Fact(Cause.NO_ROUTE, "no route"), own_link("eth0")])
def test_a_way_that_is_back_may_not_carry_yet(first):
    """Where nothing passes just after our route is back, nobody is down."""
    names = [f"198.51.100.{n}" for n in range(1, 6)]
    world = World(3)
    world.watch(*map(peer, names), link=Link(egress=WAN))
    world.run(20 * SECOND)
    world.faults[WAN] = first
    world.run(10 * SECOND)
    world.faults.clear()
    world.cuts[WAN] = [(world.now, world.now + 30 * SECOND)]
    world.run(60 * SECOND)
    assert {state for name in names for state, _ in states(world, name)} == {
        State.UP,
        State.UNKNOWN,
    }
    assert {world.state(name) for name in names} == {State.UP}


def test_a_peer_without_a_route_does_not_count_as_up():
    """Where the only other peer has no route, whoever falls silent is down, with the doubt."""
    world = World(3)
    world.watch(peer(A), peer(B, timing=Timing(600 * SECOND, 5 * SECOND, 3)))
    world.run(601 * SECOND)
    world.path(B).give(State.UNKNOWN, Fact(Cause.NO_ROUTE, "a prohibit route"))
    cut(world, A, B)
    world.run(20 * SECOND)
    assert states(world, A)[-1] == (State.DOWN, Cause.SILENT)
    assert "cannot be told apart" in " ".join(world.fleet.peers[A].evidence)


@pytest.mark.parametrize(
    "known", [(State.UP, None), (State.UNKNOWN, Cause.OWN_UPLINK), (State.UNKNOWN, Cause.NO_ROUTE)]
)
def test_a_fault_of_ours_outlasts_a_restart(known):
    """Who was up before it, and is silent at the start, is not down for it."""
    names = [f"198.51.100.{n}" for n in range(1, 4)]
    world = World(3, start_grace=10 * SECOND)
    world.fleet.apply(list(map(peer, names)))
    for name in names:
        world.fleet.restore(name, Restored(*known, world.wall - 60 * SECOND))
    world.cuts[WAN] = [(0, START + 60 * SECOND)]
    for name in names:
        world.resolve(world.path(name), name, link=Link(egress=WAN))
    world.run(90 * SECOND)
    assert State.DOWN not in {state for name in names for state, _ in states(world, name)}
    assert {world.state(name) for name in names} == {State.UP}
