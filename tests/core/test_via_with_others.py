"""What lies between, together with pauses, goodbyes, sessions and rounds that are begun again."""

import pytest

from hbd.core.model import MILLISECOND, SECOND, State, Timing
from hbd.core.peer import Pause
from tests.core.test_goodbye import NOW, said
from tests.simulation.speakers import agreed, told, watch_router, watch_sender
from tests.simulation.world import EgressKey, Link, World, peer

GW, MID, DB, WITNESS = "10.0.0.1", "10.1.0.1", "10.1.0.2", "10.0.0.9"
QUICK = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
FREED = [State.UP, State.UNREACHABLE, State.UP]


def cut(world, *names, span=10**18):
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


def pause(world, name):
    world.fleet.pause(name, Pause(world.wall + 36_000 * SECOND, "", "op"))


def world_of(seed, child=None):
    """A gateway, who lies behind it, and somebody beside it."""
    world = World(seed)
    world.watch(peer(GW), peer(DB, via=GW, timing=child), peer(WITNESS))
    world.run(10 * SECOND)
    return world


@pytest.mark.parametrize("timing", [Timing(), QUICK])
def test_all_behind_a_dead_gateway_are_unreachable(timing):
    """A host behind a router behind the gateway: both leave by that, and it is to blame."""
    world, behind = World(3), EgressKey("eth0", GW)
    world.watch(peer(GW), peer(WITNESS))
    world.watch(peer(MID, via=GW, timing=timing), peer(DB, via=MID), link=Link(egress=behind))
    world.run(20 * SECOND)
    cut(world, GW, MID, DB)
    world.run(100 * SECOND)
    states = [world.state(name) for name in (GW, MID, DB)]
    assert states == [State.DOWN, State.UNREACHABLE, State.UNREACHABLE]


def test_paused_parent_that_speaks_by_itself_and_falls_hides_its_child():
    """What it said before the pause, or before it fell, is no word of now."""
    world = World(3)
    watch_sender(world, told(GW, 5 * SECOND))
    world.watch(peer(DB, via=GW), peer(WITNESS))
    world.run(20 * SECOND)
    pause(world, GW)
    cut(world, GW, DB)
    world.run(120 * SECOND)
    assert world.state(DB) is State.UNREACHABLE


@pytest.mark.parametrize("seed", range(4))
def test_pausing_a_router_that_is_down_frees_nobody_behind_it(seed):
    """An operator's word about a router brings nobody back."""
    world = World(seed)
    watch_router(world, agreed(GW, SECOND))
    world.watch(peer(DB, via=GW, timing=QUICK), peer(WITNESS))
    world.run(20 * SECOND + world.dice.randrange(SECOND))
    cut(world, GW, DB)
    world.run(30 * SECOND)
    assert world.state(DB) is State.UNREACHABLE
    pause(world, GW)
    world.run(30 * SECOND)
    assert world.state(DB) is State.UNREACHABLE


@pytest.mark.parametrize("seed", range(20))
def test_child_of_a_paused_parent_that_is_rebooted_is_never_down(seed):
    """As without the pause: it has its own time once its parent is up, not while that rises."""
    world = world_of(seed)
    pause(world, GW)
    span = 60 * SECOND + world.dice.randrange(3 * SECOND)
    cut(world, GW, span=span)
    cut(world, DB, span=span + SECOND)
    world.run(100 * SECOND)
    assert world.states_of(DB) == FREED


@pytest.mark.parametrize("seed", [38, 40, 47, 77, 100, 122, 123])  # where it comes in time for that
@pytest.mark.parametrize("what", ["witness", "loss"])
def test_parent_that_is_asked_once_more_still_hides_its_child(what, seed):
    """What it missed before its round was begun again it has missed."""
    world = world_of(seed)
    world.run(world.dice.randrange(SECOND))
    cut(world, GW, DB)

    def act():
        if what == "loss":
            world.fleet.lost_some()
        else:
            world.links[WITNESS].lost_in_turn = 3

    world.after(world.dice.randrange(2 * SECOND), act)
    world.run(20 * SECOND)
    assert State.DOWN not in world.states_of(DB)


@pytest.mark.parametrize("seed", range(30))
def test_child_of_a_parent_that_restarts_with_a_goodbye_has_its_time(seed):
    """A parent that is back is up at once, and whoever lies behind it is free by that."""
    world = world_of(seed, QUICK)
    world.path(GW).incarnation = NOW
    span = 3 * SECOND + world.dice.randrange(1_800 * MILLISECOND)
    cut(world, GW, span=span)
    cut(world, DB, span=span + 300 * MILLISECOND)
    world.fleet.goodbye(world.path(GW), said())
    world.run(30 * SECOND)
    assert world.states_of(DB) == FREED


def test_who_beats_by_itself_and_leaves_is_no_witness():
    """Its silence is as it said, and no fault of our own uplink."""
    world = World(3)
    watch_sender(world, told(DB))
    world.watch(peer(GW))
    world.run(20 * SECOND)
    cut(world, DB)
    world.fleet.goodbye(world.path(DB), said())
    world.run(SECOND)
    cut(world, GW)
    world.run(60 * SECOND)
    assert (world.state(DB), world.state(GW)) == (State.LEFT, State.DOWN)


def test_one_answer_of_a_parent_that_is_down_is_no_sign_for_its_paused_child():
    """What the parent answered while it did not rise is not held against the child."""
    world = world_of(3)
    pause(world, DB)
    cut(world, GW, DB)
    world.run(60 * SECOND)
    world.links[GW].dead.clear()
    while world.path(GW).rising < 1:
        world.run(MILLISECOND)
    cut(world, GW)
    world.run(20 * SECOND)
    world.fleet.resume(DB)
    world.run(60 * SECOND)
    assert (world.state(GW), world.state(DB)) == (State.DOWN, State.UNREACHABLE)


def test_a_name_whose_first_address_dies_is_asked_at_the_next_before_its_verdict():
    """With one retransmission that is the one which goes there."""
    world, timing = World(1), Timing(SECOND, 500 * MILLISECOND, 1, 2)
    world.watch(peer(WITNESS))
    world.fleet.apply([peer(WITNESS), peer("h", "h.example", timing=timing)])
    path = world.path("h")
    world.resolve(path, "10.2.0.1", "10.2.0.2")
    world.run(20 * SECOND)
    cut(world, path.target[0])
    world.run(30 * SECOND)
    assert State.DOWN not in world.states_of("h")
