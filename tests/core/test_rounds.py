"""What is measured of a path for the advisor: rounds, by how much of them was missed."""

from dataclasses import replace

import pytest

from hbd.core.model import MILLISECOND, SECOND, State, Timing
from hbd.core.peer import Pause
from tests.simulation.world import Link, World, peer

A, B = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
UPSET = 30 * SECOND


def world_of(timing=TIMING, **link):
    """Two peers that are up; one is looked at, the other is its witness."""
    world = World(1)
    world.watch(peer(A, timing=timing), link=Link(**link))
    world.watch(peer(B))
    world.run(10 * SECOND)
    return world


def missed(world):
    """How many rounds with one heartbeat missed, with two, and so on."""
    return world.path(A).rounds.ended[1:]


def test_rounds_are_counted_by_what_was_missed():
    """One round that missed one heartbeat, two that missed three, the rest none."""
    world = world_of()
    for count in (1, 3, 3):
        world.links[A].lost_in_turn = count
        world.run(UPSET)
    assert missed(world) == [1, 0, 2]
    assert 80 < world.path(A).rounds.ended[0] < 110


def test_every_round_of_a_path_that_is_up_is_counted():
    """The reply that makes a path up ends no round of one that was; each one after it does."""
    world = world_of()
    assert world.path(A).rounds.ended == [world.path(A).figures.received - 1]


def test_what_is_late_was_missed():
    """A late reply ends a round in which one was missed; the reply to the next ends none."""
    world = world_of(delay=300 * MILLISECOND)
    path = world.path(A)
    sent, rounds = path.figures.sent, sum(path.rounds.ended)
    world.run(UPSET)
    rounds = sum(path.rounds.ended) - rounds
    assert path.rounds.ended[2:] == []
    assert rounds > 15
    assert abs(path.figures.sent - sent - 2 * rounds) <= 2
    assert abs(path.rounds.overdue - path.rounds.ended[1]) <= 1


def test_false_down_is_a_round_of_which_all_was_missed():
    """Four lost in turn: down, and the first probe is answered, so it may have been loss."""
    world = world_of()
    world.links[A].lost_in_turn = 4
    world.run(UPSET)
    assert world.states_of(A) == [State.UP, State.DOWN, State.UP]
    assert missed(world) == [0, 0, 0, 1]


def test_reply_that_comes_after_the_verdict_ends_the_round_that_failed():
    """All of a round was missed, and then its first heartbeat is answered after all."""
    world = world_of(Timing(2 * SECOND, 500 * MILLISECOND, 1, 2))
    link, sent = world.links[A], len(world.sent_to(A))
    link.delay = 600 * MILLISECOND
    while len(world.sent_to(A)) == sent:
        world.run(10 * MILLISECOND)
    link.delay, link.lost_in_turn = MILLISECOND, 1
    world.run(1_100 * MILLISECOND)
    assert (world.state(A), missed(world)) == (State.DOWN, [])
    world.run(200 * MILLISECOND)
    assert missed(world) == [0, 1]


def test_outage_is_no_loss():
    """What still lasts when the first probe is sent is an outage: its round tells nothing."""
    world = world_of()
    before = world.path(A).rounds.ended[0]
    world.links[A].lost_in_turn = 5
    world.run(UPSET)
    assert world.states_of(A) == [State.UP, State.DOWN, State.UP]
    assert missed(world) == []
    assert world.path(A).rounds.ended[0] > before


def test_replies_while_rising_are_no_rounds():
    """Between down and up nothing is counted but the round that failed."""
    world = world_of(replace(TIMING, rise=10))
    world.links[A].lost_in_turn = 4
    while world.state(A) is not State.DOWN:
        world.run(10 * MILLISECOND)
    before = sum(world.path(A).rounds.ended)
    while world.state(A) is not State.UP:
        world.run(MILLISECOND)
    assert sum(world.path(A).rounds.ended) == before + 1


def test_nothing_is_measured_before_it_was_up():
    """A peer that is down from the start, and then answers, has lost nothing."""
    world = World(1, start_grace=0)
    world.watch(peer(B))
    world.watch(peer(A, timing=TIMING))
    world.links[A].lost_in_turn = 4
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.DOWN, State.UP]
    assert missed(world) == []


def test_what_a_suspend_ends_is_not_measured():
    """After a wake-up nobody knows how long a peer was silent."""
    world = world_of()
    world.links[A].lost_in_turn = 4
    while world.state(A) is not State.DOWN:
        world.run(10 * MILLISECOND)
    world.suspend(UPSET)
    world.run(UPSET)
    assert missed(world) == []


def test_pause_is_not_measured():
    """During maintenance neither what is missed nor what is late counts."""
    world = world_of()
    world.fleet.pause(A, Pause(world.wall + 3_600 * SECOND, "disk", "ann"))
    before = list(world.path(A).rounds.ended)
    world.links[A].lost_in_turn = 2
    world.run(UPSET)
    world.links[A].delay = 300 * MILLISECOND
    world.run(UPSET)
    assert (world.path(A).rounds.ended, world.path(A).rounds.overdue) == (before, 0)


@pytest.mark.parametrize("change", [{"timeout": 400 * MILLISECOND}, {"retries": 4}])
def test_other_timeout_or_retries_are_measured_anew(change):
    """What was counted with another timeout or other retries counts no more."""
    world = world_of(delay=300 * MILLISECOND)
    world.links[A].lost_in_turn = 4
    while world.state(A) is not State.DOWN:
        world.run(10 * MILLISECOND)
    world.apply(peer(A, timing=replace(TIMING, **change)), peer(B))
    assert (world.path(A).rounds.ended, world.path(A).rounds.overdue) == ([0], 0)
    world.links[A].delay = MILLISECOND
    world.run(UPSET)
    assert missed(world) == []


def test_other_changes_keep_what_was_measured():
    """Interval, rise and labels say nothing of the network."""
    world = world_of()
    before = list(world.path(A).rounds.ended)
    timing = replace(TIMING, interval=2 * SECOND, rise=5)
    world.apply(peer(A, timing=timing, labels=(("x", "y"),)), peer(B))
    assert world.path(A).rounds.ended == before
