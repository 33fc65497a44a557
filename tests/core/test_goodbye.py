"""Planned stops, in virtual time: a peer that says goodbye has left, if it does not come back."""

from dataclasses import replace

import pytest

from hbd.core.fleet import Restored
from hbd.core.goodbye import LONGEST, RETURN
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.wire.hbd_tlv import GOODBYE, HbdTlv, Reason
from tests.simulation.world import Link, World, peer

A, A2, B = "10.0.0.1", "10.0.1.1", "10.0.0.2"
NOW, LATER = 7, 8
"""Incarnations."""
HOUR = 3_600 * SECOND


def said(**differs):
    words = HbdTlv(GOODBYE, 3, Reason.STOP, NOW, 0, 0, 3_600, 0)
    return replace(words, **differs)


def world_of(*settings):
    """A world of peers that are up, and known by their incarnation."""
    world = World(5)
    world.watch(*settings)
    world.run(10 * SECOND)
    for one in settings:
        for path in world.fleet.peers[one.name].paths:
            path.incarnation = NOW
    return world


def path_of(world, name=A):
    return world.fleet.peers[name].paths[0]


def stop(world, *hosts, back=10**9 * SECOND, **differs):
    """The hosts say goodbye and are silent from now on; tell whether they were believed."""
    for host in hosts:
        world.links[host].dead.append((world.now, world.now + back))
    return [world.fleet.goodbye(path_of(world, host), said(**differs)) for host in hosts]


def test_who_says_goodbye_has_left_when_it_does_not_return():
    """Nothing is said for five seconds, then the peer has left; it was never down."""
    world = world_of(peer(A), peer(B))
    began = world.fleet.clock.now
    assert stop(world, A) == [True]
    world.run(began + RETURN - 1 - world.now)
    assert world.state(A) is State.UP
    world.run(10 * MILLISECOND)
    assert world.states_of(A) == [State.UP, State.LEFT]
    last = world.fleet.peers[A]
    assert (last.cause, last.evidence) == (
        Cause.GOODBYE,
        (f"{A}: it said goodbye (reason: stop)",),
    )


@pytest.mark.parametrize("timing", [Timing(), Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)])
def test_what_lies_behind_who_says_goodbye_is_not_down(timing):
    """A router that is rebooted says so, and nobody behind it can be told to be down."""
    world = world_of(peer(A), peer(A2, via=A, timing=timing), peer(B))
    stop(world, A)
    world.links[A2].dead.append((world.now, 10**18))
    world.run(60 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT]
    assert world.states_of(A2) == [State.UP, State.UNREACHABLE]


@pytest.mark.parametrize("back", [1, 3, 4])
def test_a_quick_restart_is_nothing(back):
    """Who answers again within five seconds was up all along."""
    world = world_of(peer(A), peer(B))
    stop(world, A, back=back * SECOND)
    world.run(60 * SECOND)
    assert world.states_of(A) == [State.UP]
    assert path_of(world).goodbye is None


def test_a_reply_that_was_under_way_is_no_return():
    """What the peer answered before it said goodbye may be read after it."""
    world = World(5)
    world.watch(peer(A), peer(B))
    world.links[A].delay = 200 * MILLISECOND
    world.run(10 * SECOND)
    path = path_of(world)
    path.incarnation = NOW
    while path.asked is None:
        world.run(MILLISECOND)
    received = path.figures.received
    stop(world, A)
    world.run(SECOND)
    assert path.figures.received == received + 1
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT]


def test_a_heartbeat_of_its_own_is_a_return():
    """Whoever asks us again is back, and its silence is silence."""
    world = world_of(peer(A), peer(B))
    stop(world, A)
    world.run(2 * SECOND)
    world.fleet.returned(path_of(world))
    world.run(10 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


@pytest.mark.parametrize("early", [20, 100, 200, 299])
def test_a_return_at_the_last_moment_is_one(early):
    """Whoever asks us again, though it does not answer yet, is not judged by what came before."""
    world = world_of(peer(A), peer(B))
    timing = path_of(world).timing
    away = RETURN - early * MILLISECOND
    stop(world, A, back=away + timing.timeout)
    world.run(away)
    world.fleet.returned(path_of(world))
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP]


def test_a_goodbye_holds_as_long_as_it_says():
    """After that the peer is judged like any other."""
    world = world_of(peer(A), peer(B))
    stop(world, A, hold_s=600)
    world.run(590 * SECOND)
    assert world.state(A) is State.LEFT
    world.run(20 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


@pytest.mark.slow
def test_no_goodbye_holds_for_more_than_a_day():
    """Whatever the peer says."""
    world = world_of(peer(A))
    stop(world, A, hold_s=2**32 - 1)
    world.run(LONGEST - HOUR)
    assert world.state(A) is State.LEFT
    world.run(HOUR + 10 * SECOND)
    assert world.state(A) is State.DOWN


def test_a_goodbye_of_another_incarnation_was_recorded():
    """Somebody replays what the peer said before it was started last: it is counted, no more."""
    world = world_of(peer(A), peer(B))
    assert stop(world, A, incarnation=LATER) == [False]
    world.run(5 * SECOND)
    assert world.state(A) is State.DOWN
    assert world.fleet.dropped["goodbye"] == 1


def test_a_goodbye_is_of_the_whole_machine():
    """Said on one path, it explains the silence of the others."""
    world = world_of(peer(A, A, A2), peer(B))
    world.links[A2].dead.append((world.now, world.now + 10**9 * SECOND))
    stop(world, A)
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT]


def test_all_may_leave_at_once():
    """Goodbyes of all explain the silence of all: that is no fault of our uplink."""
    world = world_of(peer(A), peer(B))
    assert stop(world, A, B) == [True, True]
    world.run(10 * SECOND)
    assert {world.state(name) for name in (A, B)} == {State.LEFT}


def test_of_who_has_left_there_is_no_doubt():
    """Where no other peer is up its own word is enough."""
    world = world_of(peer(A))
    stop(world, A)
    world.run(10 * SECOND)
    assert world.fleet.peers[A].evidence == (f"{A}: it said goodbye (reason: stop)",)


def test_who_leaves_is_no_witness():
    """The silence of one that said so tells nothing of the silence of another."""
    world = world_of(peer(A), peer(B))
    stop(world, A)
    world.links[B].dead.append((world.now, world.now + 10**9 * SECOND))
    world.run(10 * SECOND)
    assert (world.state(A), world.state(B)) == (State.LEFT, State.DOWN)


def test_who_has_left_is_up_when_it_answers():
    """Its return is told, with how long it was away."""
    world = world_of(peer(A), peer(B))
    stop(world, A, back=60 * SECOND)
    world.run(80 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT, State.UP]


def test_one_loss_while_it_returns_is_no_alarm():
    """It has answered once and the next heartbeat is lost: it is back, and was not down."""
    world = world_of(peer(A), peer(B))
    stop(world, A, back=60 * SECOND)
    world.run(30 * SECOND)
    assert world.state(A) is State.LEFT
    while path_of(world).goodbye is not None:
        world.run(MILLISECOND)
    world.links[A].lost_in_turn = 1
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT, State.UP]


def test_what_was_sent_while_it_started_is_held_against_nobody():
    """Its own first heartbeat reaches us while one of ours is out that came too early."""
    world = world_of(peer(A), peer(B))
    stop(world, A, back=60 * SECOND)
    world.run(50 * SECOND)
    while path_of(world).asked is None:
        world.run(MILLISECOND)
    world.run(100 * MILLISECOND)
    world.links[A].dead.clear()
    world.fleet.returned(path_of(world))
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT, State.UP]


def test_a_restart_of_ours_recalls_who_has_left():
    """For as long as a goodbye holds where nobody says for how long; then silence is silence."""
    world = World(5, start_grace=10 * SECOND)
    world.fleet.apply([peer(A), peer(B)])
    world.fleet.restore(A, Restored(State.LEFT, Cause.GOODBYE, world.wall - 60 * SECOND))
    for name in (A, B):
        world.resolve(world.path(name), name)
    world.links[A].dead.append((0, 10**9 * SECOND))
    world.run(HOUR - 61 * SECOND)
    assert (world.state(A), world.states_of(A)) == (State.LEFT, [])
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.DOWN]


def test_who_was_restored_as_gone_and_answers_is_up():
    """A goodbye of before the start ends as any does."""
    world = World(5)
    world.fleet.apply([peer(A), peer(B)])
    world.fleet.restore(A, Restored(State.LEFT, Cause.GOODBYE, world.wall - 60 * SECOND))
    for name in (A, B):
        world.resolve(world.path(name), name)
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP]


def test_an_address_that_is_added_to_who_has_left_is_gone_too():
    """The peer said goodbye, not one of its addresses."""
    world = world_of(peer("a", A), peer(B))
    world.links[A].dead.append((world.now, 10**9 * SECOND))
    world.fleet.goodbye(path_of(world, "a"), said())
    world.run(20 * SECOND)
    world.links[A2] = Link(dead=[(0, 10**9 * SECOND)])
    world.apply(peer("a", A, A2), peer(B))
    world.run(60 * SECOND)
    assert world.states_of("a")[-1] is State.LEFT
