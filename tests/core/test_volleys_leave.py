"""A volley takes milliseconds to leave."""

import pytest

from hbd.core.model import MICROSECOND, MILLISECOND, SECOND, State
from hbd.core.steps import HELD
from tests.simulation.world import Link, World, peer

MANY, FEW, SILENT = 1_024, 8, 30
TOLD_APART = 100 * MICROSECOND
LEAVES = 3 * MILLISECOND


def world_of(count, missed, silent=1):
    """Peers that are asked together; and silent ones, at the end of the timeout after so many."""
    world = World(1)
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(count)]
    world.watch(*map(peer, names), link=Link())
    lost = [f"192.0.2.{n}" for n in range(silent)]
    world.watch(*map(peer, lost))
    world.run(10 * SECOND)
    for name in lost:
        world.links[name].dead.append((world.now, 10**18))
    paths = [world.path(name) for name in lost]
    while not (paths[0].missed == missed and paths[0].asked is not None):
        world.run(MILLISECOND)
    return world, paths


def volley_due(world, moment):
    """Have the largest volley be due at a moment; give one of those that are asked with it."""
    paths = [path for one in world.fleet.peers.values() for path in one.paths]
    resting = [path for path in paths if path.volley and not path.volley.is_asked]
    path = max(resting, key=lambda each: len(each.volley.paths))
    path.volley.next = path.volley.deadline = moment
    world.fleet._timers.schedule(path.volley)
    return path


@pytest.mark.parametrize("missed", range(1, 4))
def test_what_is_owed_does_not_wait_for_a_volley(missed):
    """It leaves once the retransmission has, or the verdict was given, that was due meanwhile."""
    world, (silent,) = world_of(MANY, missed)
    owed = silent.deadline
    path = volley_due(world, owed - 500 * MICROSECOND)
    world.run(owed - world.now)
    assert len(path.volley.paths) >= MANY // 8
    if missed < silent.timing.retries:
        assert world.sent_to(silent.address)[-1] == owed
    else:
        assert [event.at for event in world.changes_of(silent.address)][-1] == owed
        assert world.state(silent.address) is State.DOWN
    assert world.sent_to(path.address)[-1] < owed - 500 * MILLISECOND
    world.run(TOLD_APART)
    assert owed < world.sent_to(path.address)[-1] < owed + TOLD_APART


def test_it_is_held_no_longer_than_a_few_milliseconds():
    """Where something is owed all the time it is asked nonetheless."""
    world, paths = world_of(MANY, 1, SILENT)
    due = paths[0].deadline - TOLD_APART
    for number, path in enumerate(paths):
        path.deadline = due + number * 2 * TOLD_APART
        world.fleet._timers.schedule(path)
    path = volley_due(world, due)
    world.run(due + 2 * HELD - world.now)
    assert world.sent_to(path.address)[-1] == due + HELD


@pytest.mark.parametrize(("count", "after"), [(MANY, 5 * MILLISECOND), (FEW, 0)])
def test_it_is_not_held_for_what_it_does_not_hold_up(count, after):
    """What is owed later than it has left, or would wait for a few alone, is no reason."""
    world, (silent,) = world_of(count, 1)
    due = silent.deadline - after
    path = volley_due(world, due)
    world.run(due - world.now)
    assert world.sent_to(path.address)[-1] == due


def test_each_has_its_whole_timeout():
    """It begins when that heartbeat has left, not when the first of its volley did."""
    world = World(1)
    world.leaving = LEAVES
    names = [f"10.0.{n // 250}.{n % 250}" for n in range(MANY)]
    world.watch(*map(peer, names), link=Link(delay=2 * LEAVES))
    world.run(10 * SECOND)
    volley = volley_due(world, world.now + MILLISECOND).volley
    silent = [path.address for path in volley.paths[::50]]
    for name in silent:
        world.links[name] = Link(dead=[(world.now, 10**18)])
    world.run(100 * MILLISECOND)
    left = [volley.lefts[world.path(name).rank] for name in silent]
    world.run(SECOND - 100 * MILLISECOND)
    again = [
        next(at for at in world.sent_to(name) if at > moment)
        for name, moment in zip(silent, left, strict=True)
    ]
    assert again == [moment + volley.timeout for moment in left]
    assert max(again) - min(again) > LEAVES // 2
