"""Loss, RTT, and what they make of a peer that answers."""

from random import Random

import pytest

from hbd.core.model import MILLISECOND, SECOND, Cause, Limits, State, Timing
from hbd.core.session import Fact
from hbd.core.window import Window
from tests.simulation.world import Link, NumberSession, World, peer

A, B = "10.0.0.1", "10.0.0.2"
QUICK = Timing(100 * MILLISECOND, 50 * MILLISECOND, 10, 2)


def world_of(limits, seed=1, **link):
    world = World(seed)
    world.watch(peer(A, timing=QUICK, limits=limits), link=Link(**link))
    world.watch(peer(B))
    world.run(20 * SECOND)
    return world


def lose(world, count):
    """Lose so many of the next heartbeats, not one after another."""
    for _ in range(count):
        world.links[A].lost_in_turn = 1
        world.run(200 * MILLISECOND)


def test_window_counts_the_last_hundred():
    """What was lost more than a hundred heartbeats ago is forgotten."""
    window = Window()
    for sequence in range(150):
        window.sent(sequence)
        if sequence not in {49, 50}:
            window.answered(sequence, 2_000_000)
    assert (len(window), window.unanswered(), window.is_full) == (100, 1, True)


def test_window_holds_rtts_in_order():
    """RTTs come back oldest first, to the microsecond."""
    window = Window()
    for sequence in range(250):
        window.sent(sequence)
        window.answered(sequence, sequence * 1_000_000 + 999)
    assert window.rtts(3) == [247_000_000, 248_000_000, 249_000_000]
    assert len(window.rtts()) == 100


def test_window_takes_no_reply_to_what_has_left_it():
    """A reply to a heartbeat that is not among the last hundred changes nothing."""
    window = Window()
    for sequence in range(150):
        window.sent(sequence)
    window.answered(49, 5_000)
    window.answered(150, 5_000)
    assert window.unanswered() == 100
    window.answered(50, 5_000)
    assert window.unanswered() == 99


@pytest.mark.parametrize("count", [0, 1, 60, 100, 101, 250])
@pytest.mark.parametrize("counts", [False, True])
def test_a_sample_is_what_is_told_piece_by_piece(count, counts):
    """RTTs by length, and how many are unanswered or show something, of a window of any age."""
    dice, window = Random(count), Window()  # noqa: S311 - the same in each run
    for sequence in range(count):
        window.sent(sequence)
        match dice.randrange(4):
            case 0:
                window.annulled(sequence)
            case 1 | 2:
                uncounted = dice.randrange(300) if counts else None
                window.answered(sequence, dice.randrange(10**9), uncounted)
    rtts = window.rtts()
    sample = [rtt // 1000 for rtt in sorted(rtts)], window.unanswered(), window.measured()
    assert window.sample() == sample
    assert window.last_rtt() == (rtts[-1] if rtts else None)
    window.restart(count)
    assert (window.sample(), window.last_rtt()) == (([], 0, 0), None)


def test_window_never_takes_an_answer_for_none():
    """An RTT below a microsecond is an answer, and one above 71 minutes too."""
    window = Window()
    window.sent(0)
    window.sent(1)
    window.answered(0, 0)
    window.answered(1, 10**15)
    assert window.unanswered() == 0


def test_window_begins_empty_at_up():
    """After a restart only that heartbeat and those after it count."""
    window = Window()
    for sequence in range(250):
        window.sent(sequence)
    window.restart(249)
    window.answered(249, 1_000_000)
    window.sent(250)
    assert (len(window), window.unanswered(), window.rtts()) == (2, 1, [1_000_000])


def test_loss_is_none_before_the_first_is_decided():
    """A figure that is not known is None, never 0."""
    world = World(1)
    world.watch(peer(A))
    assert world.path(A).loss(world.fleet.clock.now) is None


def test_heartbeat_in_question_is_not_lost_yet():
    """What may still be answered in time counts neither as lost nor as decided."""
    world = world_of(Limits())
    world.links[A].delay = 20 * MILLISECOND
    world.run(20 * SECOND)
    while world.path(A).asked is None:
        world.run(MILLISECOND)
    assert world.path(A).loss(world.fleet.clock.now) == 0.0


def test_late_reply_corrects_the_loss():
    """Later replies are late, not lost, while their heartbeat is among the last hundred."""
    world = World(1)
    world.watch(peer(A, timing=QUICK), link=Link(delay=35 * MILLISECOND))
    world.watch(peer(B))
    world.run(20 * SECOND)
    path = world.path(A)
    assert path.figures.late > 0
    assert path.loss(world.fleet.clock.now) < 0.02


def test_lossy_above_its_limit():
    """Six of the last hundred lost at a limit of 5 %: degraded; five: not."""
    world = world_of(Limits(max_loss=0.05))
    lose(world, 5)
    world.run(SECOND)
    assert world.state(A) is State.UP
    lose(world, 1)
    world.run(SECOND)
    event = world.changes_of(A)[-1]
    assert (event.state, event.cause) == (State.DEGRADED, Cause.LOSSY)


def test_lossy_until_below_half_of_its_limit():
    """Degraded by loss ends below half the limit: at 2 of the last hundred, not at 3."""
    world = world_of(Limits(max_loss=0.05))
    lose(world, 6)
    world.run(SECOND)
    assert world.state(A) is State.DEGRADED
    unanswered = []
    while world.state(A) is State.DEGRADED:
        unanswered.append(world.path(A).figures.window.unanswered())
        world.run(10 * MILLISECOND)
    assert min(unanswered[:-11]) == 3
    assert world.path(A).figures.window.unanswered() == 2


def test_one_of_the_first_is_no_alarm():
    """Right after up, one lost heartbeat of three is not 33 % loss."""
    world = World(1)
    world.watch(peer(A, timing=QUICK, limits=Limits(max_loss=0.05)))
    world.links[A].lost_in_turn = 2
    world.run(SECOND)
    assert set(world.states_of(A)) == {State.UP}


def test_loss_window_starts_empty_at_up():
    """Heartbeats lost while it was down are no loss of a path that is up again."""
    world = world_of(Limits(max_loss=0.05))
    world.links[A].dead.append((world.now, world.now + 60 * SECOND))
    world.run(63 * SECOND)
    assert world.states_of(A) == [State.UP, State.DOWN, State.UP]
    assert world.path(A).loss(world.fleet.clock.now) == 0.0


def test_lossy_before_down_is_not_lossy_after():
    """A path that was lossy, then down, is up without a word of loss: its window is empty."""
    world = world_of(Limits(max_loss=0.05))
    lose(world, 6)
    world.run(SECOND)
    world.links[A].dead.append((world.now, world.now + 60 * SECOND))
    world.run(64 * SECOND)
    assert world.states_of(A) == [State.UP, State.DEGRADED, State.DOWN, State.UP]


def test_slow_by_the_median_of_twenty():
    """Ten of twenty RTTs above the limit are slow, nine are not; over below 80 % of it."""
    world = world_of(Limits(max_rtt=20 * MILLISECOND), delay=5 * MILLISECOND)
    path = world.path(A)
    world.links[A].delay = 11 * MILLISECOND
    while world.state(A) is State.UP:
        slow = [rtt for rtt in path.figures.window.rtts(20) if rtt > 20 * MILLISECOND]
        world.run(10 * MILLISECOND)
    assert len(slow) == 9
    assert world.changes_of(A)[-1].cause is Cause.SLOW
    world.links[A].delay = 9 * MILLISECOND  # 18 ms: below the limit, above 80 % of it
    world.run(20 * SECOND)
    assert world.state(A) is State.DEGRADED
    world.links[A].delay = 7 * MILLISECOND
    world.run(20 * SECOND)
    assert world.state(A) is State.UP


def test_no_limit_unless_given():
    """Without limits neither loss nor RTT degrades."""
    world = world_of(Limits(), loss=0.1, delay=20 * MILLISECOND)
    assert set(world.states_of(A)) == {State.UP}


def test_what_did_not_leave_us_is_no_loss():
    """A heartbeat that we could not send is no loss on the path: no verdict by a fault of ours."""
    world = world_of(Limits(max_loss=0.0))
    send = world._send

    def fail(path):
        send(path)
        if path.address == A:
            world.fleet.send_failed(path, Fact(Cause.SEND_BLOCKED, "EPERM"))
            world._send = send

    world.links[A].lost_in_turn = 1
    world.path(A).leave()  # who is asked together with others is sent to elsewhere
    world._send = fail
    world.run(10 * SECOND)
    assert set(world.states_of(A)) == {State.UP}
    assert world.path(A).loss(world.fleet.clock.now) == 0.0


def test_dwell_time_is_not_rtt():
    """The time the reflector held a heartbeat is no part of the RTT."""

    class Holding(NumberSession):
        def read(self, datagram):
            return super().read(datagram)._replace(dwell=3 * MILLISECOND)

    world = World(1, session=lambda *_: Holding())
    world.watch(peer(A), link=Link(delay=4 * MILLISECOND))
    world.run(2 * SECOND)
    assert world.path(A).figures.window.rtts(1) == [5 * MILLISECOND]


def test_impossible_dwell_time_is_ignored():
    """A reflector that claims to have held it for longer than the RTT is not believed."""

    class Lying(NumberSession):
        def read(self, datagram):
            return super().read(datagram)._replace(dwell=SECOND)

    world = World(1, session=lambda *_: Lying())
    world.watch(peer(A), link=Link(delay=4 * MILLISECOND))
    world.run(2 * SECOND)
    assert world.path(A).figures.window.rtts(1) == [8 * MILLISECOND]


def test_window_tells_what_the_last_heartbeats_came_to():
    """A letter each, the oldest first; those that may still be answered are left out."""
    window = Window()
    for sequence, rtt in enumerate((1_000, 2_001_000, 2_000_000, None, 5_000, None)):
        window.sent(sequence)
        if rtt is not None:
            window.answered(sequence, rtt, uncounted=sequence)
    window.annulled(4)
    assert window.recent(2 * MILLISECOND, 1) == ".s.x-"
    assert window.recent(2 * MILLISECOND, 0) == ".s.x-x"
    assert Window().recent(2 * MILLISECOND, 0) == ""


def test_window_tells_of_the_outage_before_it_began_anew():
    """What was lost before a path came up again is seen, but not counted as loss of today."""
    window = Window()
    for sequence in range(150):
        window.sent(sequence)
        if sequence >= 120:
            window.answered(sequence, 1_000)
    window.restart(120)
    assert window.recent(MILLISECOND, 0) == 70 * "x" + 30 * "."
    assert window.unanswered() == 0
