"""Suspect yourself first: stalls, suspend, and a wall clock that is none."""

from random import Random

import pytest

from hbd.core.clock import STALL, WORK, Clock
from hbd.core.events import Stalled, StateChanged, Woke
from hbd.core.model import MILLISECOND, SECOND, Limits, State, Timing
from hbd.core.path import Step
from tests.simulation.world import START, Link, NumberSession, World, peer

A, B = "10.0.0.1", "10.0.0.2"
HOUR = 3_600 * SECOND
YEAR = 365 * 24 * HOUR


def world_of(seed=1, timing=None, **options):
    world = World(seed, **options)
    world.watch(peer(A, timing=timing), peer(B, timing=timing))
    world.run(10 * SECOND)
    return world


def stall(world, span, after=0):
    world.stalls.append((world.now + after, world.now + after + span))


def failures(world):
    return [e for e in world.of_kind(StateChanged) if e.state is not State.UP]


@pytest.mark.parametrize("span", [SECOND // 10, SECOND, 10 * SECOND, 5 * HOUR])
def test_stall_is_forgiven(span):
    """We did not run, for a tenth of a second up to hours: no verdict, and one entry."""
    for seed in range(10):
        world = world_of(seed)
        stall(world, span, after=world.dice.randrange(SECOND))
        world.run(span + 20 * SECOND)
        assert failures(world) == [], seed
        stalls = world.of_kind(Stalled)
        assert len(stalls) <= 1
        if span > SECOND:
            assert span - SECOND <= stalls[0].duration <= span


def test_to_ask_for_how_long_there_is_time_promises_no_turn():
    """Only who goes to sleep until then is late after it."""
    for asks, told in (("free_until", 0), ("next_deadline", 1)):
        world = world_of()
        fleet, now = world.fleet, world.now
        fleet.turn(now, world.wall)
        fleet.advance()
        until = getattr(fleet, asks)()
        assert now < until <= now + SECOND
        fleet.outputs()
        fleet.turn(until + SECOND, world.wall)
        assert len([e for e in fleet.outputs() if isinstance(e, Stalled)]) == told


def test_a_stall_before_the_doubt_moves_the_verdict():
    """Where no retransmission follows, lateness in the first half of the timeout counts, too."""
    world = world_of(timing=Timing(SECOND, 500 * MILLISECOND, 0, 2))
    (path,) = world.fleet.peers[A].paths
    now, late = world.now, 80 * MILLISECOND
    path.asked, path.deadline = None, now
    assert path.advance(now, path.lateness) is Step.ASK
    path.compose(now, now, world.wall)
    assert path.advance(path.deadline + late, path.lateness + late) is Step.DOUBT
    assert path.deadline == now + path.timing.timeout + late


def test_stall_is_told_from_a_tenth_of_a_second_on():
    """A stall of exactly 100 ms is told, one nanosecond less is not."""
    for span, told in ((100 * MILLISECOND - 1, 0), (100 * MILLISECOND, 1)):
        world = world_of()
        deadline = world.fleet.next_deadline()
        world.stalls.append((deadline, deadline + span))
        world.run(5 * SECOND)
        assert len(world.of_kind(Stalled)) == told


def test_deadlines_move_by_any_lateness():
    """A verdict comes as much later as we were late, to the nanosecond."""
    took = []
    for span in (0, 1, 70 * MILLISECOND, 10 * SECOND):
        world = world_of()
        world.links[A].dead.append((world.now, world.now + 10**18))
        while world.path(A).missed < 2:
            world.run(MILLISECOND)
        deadline = world.fleet.next_deadline()
        if span:
            world.stalls.append((deadline, deadline + span))
        world.run(30 * SECOND)
        took.append((world.late, world.changes_of(A)[-1].at))
    assert [late for late, _ in took] == [0, 1, 70 * MILLISECOND, 10 * SECOND]
    assert {at - late for late, at in took} == {took[0][1]}


def test_no_burst_follows_a_stall():
    """After an hour of stall not more heartbeats go out than in any other second."""
    world = world_of()
    stall(world, HOUR)
    world.run(HOUR)
    world.run(SECOND)
    assert len([at for at, _, _ in world.sent if at >= START + HOUR]) <= 4


def test_replies_that_waited_in_the_kernel_count():
    """Replies that arrived while we did not run are read before deadlines are looked at."""
    world = world_of()
    before = world.path(A).figures.received
    while world.path(A).asked is None:
        world.run(MILLISECOND // 10)
    stall(world, 10 * SECOND)
    world.run(12 * SECOND)
    path = world.path(A)
    assert path.figures.received > before
    assert (path.figures.late, path.figures.window.unanswered() - len(path.unanswered)) == (0, 0)


def test_stall_during_the_grace_prolongs_it():
    """The grace is of time in which we run."""
    world = World(1, start_grace=10 * SECOND)
    world.watch(peer(A))
    world.links[A].dead.append((START, START + 10**18))
    world.run(2 * SECOND)
    stall(world, 60 * SECOND)
    world.run(60 * SECOND + 7 * SECOND)
    assert world.state(A) is State.UNKNOWN
    world.run(3 * SECOND)
    assert world.state(A) is State.DOWN


@pytest.mark.parametrize("step", [-10 * YEAR, -HOUR, HOUR, 10 * YEAR])
def test_wall_clock_steps_change_nothing(step):
    """Steps of any size, either way, at any moment: no verdict, no stall, the RTT as before."""
    world = world_of(seed=step % 7)
    for _ in range(50):
        world.run(world.dice.randrange(SECOND))
        world.wall_step += step // 50
    world.run(20 * SECOND)
    assert failures(world) == []
    assert world.of_kind(Stalled) == []
    assert set(world.path(A).figures.window.rtts()) == {2 * MILLISECOND}


def test_wall_clock_step_does_not_hide_a_failure():
    """A peer that dies at a step is down in time."""
    world = world_of()
    world.wall_step -= 10 * YEAR
    world.links[A].dead.append((world.now, world.now + 10**18))
    world.run(10 * SECOND)
    assert world.changes_of(A)[-1].detection <= Timing().detection


def test_events_carry_the_wall_clock_for_people():
    """`since` is the wall clock of the change, `at` the monotonic one."""
    world = world_of()
    world.wall_step += YEAR
    world.links[A].dead.append((world.now, world.now + 10**18))
    world.run(10 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.since - down.at == world.wall - world.now


def test_suspend_is_no_fault_of_peers():
    """Suspended for hours, everything in question lost: one wake entry, no verdict."""
    for seed in range(20):
        world = world_of(seed, start_grace=10 * SECOND)
        world.run(world.dice.randrange(SECOND))
        world.suspend(8 * HOUR)
        for link in world.links.values():  # the network comes back 6 s after us
            link.dead.append((world.now, world.now + 6 * SECOND))
        world.run(30 * SECOND)
        assert failures(world) == [], seed
        (woke,) = world.of_kind(Woke)
        assert woke.duration == 8 * HOUR


def test_grace_begins_anew_after_suspend():
    """A peer that is gone after the wake is down when the new grace ends, not before."""
    world = world_of(start_grace=10 * SECOND)
    world.suspend(HOUR)
    woke = world.now
    for link in world.links.values():
        link.dead.append((world.now, world.now + 9 * SECOND))
    world.links[A].dead.append((world.now, world.now + 10**18))
    world.run(30 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert down.at - woke >= 10 * SECOND


def test_what_was_in_question_at_suspend_is_no_loss():
    """Heartbeats annulled by a suspend are not lost by the path."""
    world = World(1)
    world.watch(peer(A, limits=Limits(max_loss=0.0)), link=Link(delay=100 * MILLISECOND))
    world.run(10 * SECOND)
    while world.path(A).asked is None:
        world.run(MILLISECOND)
    world.suspend(HOUR)
    world.run(20 * SECOND)
    assert set(world.states_of(A)) == {State.UP}
    assert world.path(A).loss(world.fleet.clock.now) == 0.0


def test_suspend_while_all_is_quiet_asks_over_an_interval():
    """After a wake, first heartbeats are spread over an interval."""
    world = World(2)
    world.watch(*(peer(f"10.0.1.{n}") for n in range(100)))
    world.run(10 * SECOND)
    world.suspend(HOUR)
    begin = world.now
    world.run(SECOND)
    first = {}
    for at, to, _ in world.sent:
        if at >= begin:
            first.setdefault(to, at)
    assert len(first) == 100
    assert max(first.values()) - min(first.values()) > SECOND // 2


# -- the clock itself -------------------------------------------------------------------------


def test_clock_stands_still_while_late():
    """Ten stalls: own time is monotonic time less all of them."""
    clock = Clock(1_000, 0)
    dice = Random(1)  # noqa: S311 - to be replayed
    real, late = 1_000, 0
    for _ in range(10):
        promised = clock.promise(clock.now + dice.randrange(1, 100))
        lateness = STALL + dice.randrange(50)
        real = promised + lateness
        late += lateness
        assert clock.turn(real, 0) == lateness
        assert clock.now == real - late


def test_early_turn_is_not_late():
    """A datagram wakes us before the deadline: nothing moves, and the promise is renewed."""
    clock = Clock(1_000, 0)
    clock.promise(2_000)
    assert clock.turn(1_500, 0) == 0
    assert clock.promise(2_000) == 2_000


def test_moment_of_a_reply_is_never_later_than_now():
    """A reply that came during a stall counts as of now; one before it, as of when it came."""
    clock = Clock(1_000, 0)
    clock.promise(2_000)
    clock.turn(2_000 + STALL, 0)
    assert clock.now == 2_000
    assert clock.at(1_800) == 1_800
    assert clock.at(2_000) == 2_000
    assert clock.at(4_000) == 2_000


def test_moment_after_this_turn_began_counts_as_of_it():
    """What comes while we work is of this turn's moment: own time goes on with the next."""
    clock = Clock(1_000, 0)
    clock.promise(2_000)
    clock.turn(2_000, 0)
    assert clock.at(2_005) == clock.now == 2_000


def test_lateness_before_the_last_turn_is_counted_once():
    """Moments since the last turn are told by the lag before this one's lateness."""
    clock = Clock(1_000, 0)
    clock.promise(2_000)
    clock.turn(2_000 + STALL, 0)
    clock.promise(2_600)  # own time
    clock.turn(2_600 + 3 * STALL, 0)
    assert clock.now == 2_600
    assert clock.at(2_500 + STALL) == 2_500
    assert clock.at(2_600 + STALL) == clock.at(2_600 + 2 * STALL) == 2_600


@pytest.mark.parametrize("interval", [50 * MILLISECOND, SECOND])
def test_a_busy_monitor_sends_as_often(interval):
    """Turns that take 20 ms delay heartbeats but make them no fewer, and nobody is down."""
    world = World(1, tick=MILLISECOND, session=lambda *_: NumberSession())
    timing = Timing(interval, 10 * MILLISECOND, 3, 2)
    world.watch(*(peer(f"10.0.1.{n}", timing=timing) for n in range(50)))
    world.run(5 * SECOND)
    before = world.heartbeats
    world.work = 20 * MILLISECOND
    world.run(20 * SECOND)
    assert world.heartbeats - before >= 0.95 * 50 * 20 * SECOND / (0.95 * interval)
    assert failures(world) == []
    assert world.fleet.lag_share() > 0.1
    (told,) = world.of_kind(Stalled)
    assert told.duration > SECOND
    assert told.in_pieces


def test_lateness_costs_no_looks_at_what_is_owed():
    """Where every turn is late, a silent path is looked at once a heartbeat, not once a turn."""
    world = World(1, tick=MILLISECOND, session=lambda *_: NumberSession())
    world.watch(*(peer(f"10.0.1.{n}") for n in range(50)), link=Link(dead=[(START, 10**18)]))
    world.run(5 * SECOND)
    looks, step = 0, world.fleet._steps.step

    def counted(path):
        nonlocal looks
        looks += 1
        step(path)

    world.fleet._steps.step = counted
    before = world.heartbeats
    world.work = 20 * MILLISECOND
    world.run(60 * SECOND)
    assert looks <= 2 * (world.heartbeats - before) + 50


def test_a_late_loop_owes_no_burst():
    """A path that could not be asked for nine intervals is asked once, not nine times."""
    world = World(1)
    timing = Timing(10 * MILLISECOND, 10 * MILLISECOND, 3, 2)
    world.watch(peer(A, timing=timing))
    world.run(SECOND)
    stall(world, 95 * MILLISECOND)
    at = world.now + 95 * MILLISECOND
    world.run(105 * MILLISECOND)
    assert len([sent for sent in world.sent_to(A) if sent >= at]) <= 3


def test_lateness_moves_a_deadline_that_is_not_the_next():
    """What makes any turn late moves the deadline of every heartbeat in question."""
    world = World(5)
    fast = Timing(50 * MILLISECOND, 50 * MILLISECOND, 3, 2)
    world.watch(peer(A), peer(B), peer("10.0.0.3", timing=fast))
    world.run(10 * SECOND)
    world.links[A].dead.append((world.now, world.now + 10**18))
    while world.path(A).missed < 3:
        world.run(MILLISECOND)
    due, deadline = world.path(A).deadline, world.fleet.next_deadline()
    assert deadline < due
    world.stalls.append((deadline, deadline + 50 * MILLISECOND))
    world.run(SECOND)
    assert world.late == 50 * MILLISECOND
    assert world.changes_of(A)[-1].at == due + world.late


def test_promise_is_later_than_this_turn():
    """What is due already is due a nanosecond, or a tick, from now."""
    assert Clock(1_000, 0).promise(10) == 1_001
    assert Clock(1_000, 0, tick=50).promise(1_001) == 1_050
    assert Clock(1_000, 0, tick=50).promise(1_070) == 1_070


def test_no_promise_is_never_broken():
    """With nothing to do there is no lateness."""
    clock = Clock(1_000, 0)
    assert clock.promise(None) is None
    assert clock.turn(10**18, 0) == 0


def test_what_anybody_may_send_us_excuses_no_work_that_we_did_not_do():
    """A turn of many datagrams took no time: being late after it is lateness, all of it."""
    world = World(1)
    world.watch(peer(A))
    world.run(10 * SECOND)
    fleet, late = world.fleet, 30 * MILLISECOND
    before, real = fleet.clock.lateness, fleet.next_deadline()
    fleet.turn(real, 0)
    for _ in range(1_000):
        fleet.receive(b"?", (A, 862), real)
    fleet.ended(real + MILLISECOND)
    assert fleet.next_deadline() == real + 1
    fleet.turn(real + 1 + late, 0)
    assert fleet.clock.lateness == before + late - MILLISECOND + 1


def test_to_tell_what_happened_is_our_own_work():
    """Entries that are written in a turn take their time, and nobody is owed anything for it."""
    world = World(1)
    world.watch(peer(A))
    world.run(10 * SECOND)
    fleet, took = world.fleet, 3 * MILLISECOND
    before, real = fleet.clock.lateness, fleet.next_deadline()
    fleet.turn(real, 0)
    fleet.did(took // WORK)
    fleet.ended(real + took + MILLISECOND)
    assert fleet.next_deadline() == real + 1
    fleet.turn(real + took + MILLISECOND, 0)
    assert fleet.clock.lateness == before + MILLISECOND
