"""When a path is asked, and when it is down (the rule of verdicts)."""

from itertools import pairwise

import pytest

from hbd.core.asked import FRESH
from hbd.core.events import StateChanged
from hbd.core.model import MILLISECOND, MOMENT, SECOND, Cause, State, Timing
from hbd.core.path import Step
from tests.simulation.world import START, Link, NumberSession, World, peer, reflect

TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
A, B = "10.0.0.1", "10.0.0.2"


def world_of(*timings, seed=1, **options):
    """A world of peers 10.0.0.1, 10.0.0.2, ... that all answer."""
    world = World(seed, **options)
    for number, timing in enumerate(timings or (TIMING, TIMING), start=1):
        world.watch(peer(f"10.0.0.{number}", timing=timing), link=Link())
    return world


def kill(world, host, after=0):
    world.links[host].dead.append((world.now + after, world.now + 10**18))


def run_to_down(world, name=A):
    """Let time pass until the peer is down; give that event."""
    for _ in range(100):
        if world.state(name) is State.DOWN:
            return world.changes_of(name)[-1]
        world.run(100 * MILLISECOND)
    raise AssertionError(world.events)


def test_heartbeats_are_an_interval_apart_shortened_by_up_to_a_tenth():
    """Regular heartbeats are 0.9 to 1 interval apart, and all of that range is used."""
    world = world_of()
    world.run(600 * SECOND)
    sent = world.sent_to(A)
    gaps = [after - before for before, after in pairwise(sent)]
    assert 0.9 * SECOND <= min(gaps) < 0.91 * SECOND
    assert 0.99 * SECOND < max(gaps) <= SECOND


def test_first_heartbeats_are_spread_over_an_interval():
    """A thousand peers begin at as many moments of the first interval, evenly."""
    world = World(3)
    world.watch(*(peer(f"10.0.{n // 250}.{n % 250}", timing=TIMING) for n in range(1000)))
    world.run(SECOND - 1)
    first = [world.sent_to(name)[0] - START for name in world.fleet.peers]
    tenths = [sum(1 for at in first if at // (SECOND // 10) == tenth) for tenth in range(10)]
    assert all(60 <= count <= 140 for count in tenths)
    assert sum(tenths) == 1000


@pytest.mark.parametrize("retries", [0, 1, 3, 20])
def test_path_is_down_when_its_last_retransmission_is_missed(retries):
    """A silent path is down when its last retransmission is missed, not a nanosecond before."""
    timing = Timing(SECOND, 100 * MILLISECOND, retries, 2)
    world = world_of(timing, Timing(SECOND // 20, SECOND // 20))
    world.run(10 * SECOND)
    before = len(world.sent_to(A))
    kill(world, A)
    down = run_to_down(world)
    asked = [at for at in world.sent_to(A)[before:] if at < down.at]
    assert len(asked) == 1 + retries
    assert down.at == asked[-1] + timing.timeout
    assert all(after - first == timing.timeout for first, after in pairwise(asked))


def test_path_is_up_a_nanosecond_before_its_last_deadline():
    """One nanosecond before the last retransmission is missed the path is up."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A)
    down = run_to_down(world)
    again = world_of()
    again.run(10 * SECOND)
    kill(again, A)
    again.run(down.at - 1 - again.now)
    assert again.state(A) is State.UP
    again.run(1)
    assert again.state(A) is State.DOWN


def test_detection_takes_at_most_its_formula():
    """From the last good reply to DOWN: interval + (retries + 1) x timeout at most."""
    for seed in range(30):
        world = world_of(seed=seed)
        world.run(5 * SECOND)
        kill(world, A, after=world.dice.randrange(SECOND))
        down = run_to_down(world)
        assert down.detection == down.at - world.replies_from(A)[-1]
        assert down.detection <= TIMING.detection == 3 * SECOND, seed


def test_three_lost_heartbeats_are_no_alarm():
    """With three retries, three heartbeats lost in a row change no state; the fourth does."""
    for lost, last in ((3, State.UP), (4, State.DOWN)):
        world = world_of()
        world.run(10 * SECOND)
        world.links[A].lost_in_turn = lost
        world.run(3 * SECOND)
        assert world.state(A) is last


def test_reply_ends_the_round():
    """After a retransmission is answered, the next heartbeat follows one interval after it."""
    world = world_of()
    world.run(10 * SECOND)
    world.links[A].lost_in_turn = 2
    before = len(world.sent_to(A))
    world.run(5 * SECOND)
    regular, first, second, following = world.sent_to(A)[before : before + 4]
    assert (first - regular, second - first) == (TIMING.timeout, TIMING.timeout)
    assert 0.9 * SECOND <= following - second <= SECOND
    assert world.path(A).missed == 0


def test_no_regular_heartbeat_while_one_is_in_question():
    """With a timeout as long as the interval, the next heartbeat waits for reply or timeout."""
    timing = Timing(SECOND, SECOND, 3, 2)
    world = world_of(timing)
    world.links[A].delay = 490 * MILLISECOND
    world.run(20 * SECOND)
    for at, later in pairwise(world.sent_to(A)):
        assert later - at >= 980 * MILLISECOND


def test_late_reply_is_life_but_counted():
    """A reply after the timeout and within twice the interval keeps the path up, and is late."""
    world = world_of()
    world.links[A].delay = 400 * MILLISECOND  # there and back: 0.8 s, timeout 0.5 s
    world.run(60 * SECOND)
    assert world.path(A).state is State.UP
    assert State.DOWN not in world.states_of(A)
    assert world.path(A).figures.late > 20
    assert world.path(A).figures.late == world.path(A).figures.received


@pytest.mark.parametrize(("excess", "counts"), [(0, True), (1, False)])
def test_life_ends_at_twice_the_interval(excess, counts):
    """A reply to a heartbeat sent 2 s ago is life at an interval of 1 s; a nanosecond more, not."""
    timing = Timing(SECOND, 300 * MILLISECOND, 3, 2)
    assert timing.life == 2 * SECOND
    world = world_of(timing, start_grace=10 * SECOND)
    world.links[A].lost_in_turn = 10**6
    world.run(SECOND)
    at, _, datagram = world.sent[0]
    world.run(at + timing.life + excess - world.now)
    world.fleet.turn(world.now, world.wall)
    world.fleet.receive(reflect(datagram, world.wall), (A, 862), world.now)
    world.fleet.advance()
    path = world.path(A)
    assert (path.figures.late, path.figures.received) == (1, 1)
    assert (path.state is State.UP) is counts


def test_life_is_at_least_a_whole_round():
    """With short intervals, life is (retries + 1) x timeout."""
    assert Timing(100 * MILLISECOND, 100 * MILLISECOND, 3).life == 400 * MILLISECOND


def test_down_path_is_probed_every_three_seconds_at_most():
    """A path that is down is asked every max(interval, 3 s), RFC 8085."""
    for interval, spacing in ((SECOND, 3 * SECOND), (10 * SECOND, 10 * SECOND)):
        world = world_of(Timing(interval, 500 * MILLISECOND, 3, 2))
        kill(world, A)
        world.run(120 * SECOND)
        probes = world.sent_to(A)[6:]
        gaps = {after - before for before, after in pairwise(probes)}
        assert gaps == {spacing}


def test_who_is_down_is_asked_in_turns_that_others_share():
    """Of hundreds that are down each would wake us twice in three seconds: few turns do for all."""
    world = World(5, session=lambda *_: NumberSession())
    world.watch(*(peer(f"10.0.1.{n}", timing=TIMING) for n in range(200)))
    world.watch(peer(B, timing=TIMING))
    world.run(5 * SECOND)
    for number in range(200):
        kill(world, f"10.0.1.{number}", after=number * 7 * MILLISECOND)
    world.run(600 * SECOND)  # what else is asked of them is over
    began, turns, turn = world.now, [], world.turn
    world.turn = lambda: turn() if turns.append(world.now) is None else None
    world.run(30 * SECOND)
    probes = [at for at, host, _ in world.sent if host != B and at > began]
    assert len(probes) == 200 * 10
    of_b = sum(1 for at, host, _ in world.sent if host == B and at >= began)
    assert len(turns) <= 2 * 30 * SECOND // MOMENT + 3 * of_b
    assert len(set(probes)) <= 30 * SECOND // MOMENT


@pytest.mark.parametrize("interval", [SECOND, 600 * SECOND])
@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("late", [0, 3 * MILLISECOND, 2 * SECOND])
def test_who_is_down_is_asked_on_schedule_unless_we_are_very_late(interval, retries, late):
    """A little lateness of ours moves no probe; more than that does, and none follows too soon."""
    timing = Timing(interval, 510 * MILLISECOND, retries, 2)
    world = world_of(timing, TIMING)
    kill(world, A)
    path = world.path(A)
    world.run(4 * timing.probe)
    assert path.state is State.DOWN
    while path.asked is not None:
        world.run(MILLISECOND)
    due, moment = path.deadline, MOMENT
    assert due % moment == 0
    path.doubted = False  # whatever was before
    assert path.advance(due + late, 0) is Step.ASK
    assert path.doubted
    assert path.deadline % moment == 0
    assert 0 <= path.deadline - (due + late + timing.timeout) < moment
    assert path.advance(path.deadline, 0) is Step.EXHAUSTED
    assert path.deadline == due + timing.probe + max(0, late - late % moment - moment)


def test_short_timeouts_are_not_made_much_longer():
    """Where peers answer within milliseconds, who is down is back as soon as is promised."""
    timing = Timing(50 * MILLISECOND, 10 * MILLISECOND, 3, 2)
    assert max(timing.together(moment) - moment for moment in range(0, 10**8, 999_983)) < 10**7
    assert timing.together(7 * 10**7) == 7 * 10**7


def test_path_comes_up_after_rise_replies_in_a_row():
    """The first reply to a probe is followed at timeout spacing; the rise-th makes it up."""
    timing = Timing(SECOND, 500 * MILLISECOND, 3, 4)
    world = world_of(timing)
    world.links[A].dead.append((START, START + 20 * SECOND))
    world.run(40 * SECOND)
    up = world.changes_of(A)[-1]
    assert up.state is State.UP
    rising = [at for at in world.sent_to(A) if START + 20 * SECOND <= at < up.at]
    assert len(rising) == timing.rise
    gaps = {after - before for before, after in pairwise(rising)}
    assert gaps == {timing.timeout}
    assert world.replies_from(A)[timing.rise - 1] == up.at
    assert up.at - (START + 20 * SECOND) <= timing.probe + timing.rise * timing.timeout


def test_miss_while_rising_begins_anew_at_probe_spacing():
    """A heartbeat missed while rising sets the count to 0; the next follows at probe spacing."""
    world = world_of()
    link = world.links[A]
    link.dead.append((START, START + 20 * SECOND))
    world.run(20 * SECOND)
    while not world.path(A).rising:
        world.run(MILLISECOND)
    first = world.sent_to(A)[-1]
    link.lost_in_turn = 1
    world.run(10 * SECOND)
    missed, again, second = [at for at in world.sent_to(A) if at > first][:3]
    assert missed - first == TIMING.timeout
    assert again - missed == TIMING.probe
    assert second - again == TIMING.timeout
    assert world.changes_of(A)[-1].at == second + 2 * link.delay


def test_at_start_one_reply_makes_a_peer_up():
    """The first reply makes it up, at info: a first verdict of up is no news."""
    world = world_of()
    world.run(SECOND)
    (up,) = world.changes_of(A)
    assert (up.state, up.first, up.detection) == (State.UP, True, None)
    assert up.at == world.replies_from(A)[0]


def test_no_down_before_the_start_grace():
    """A peer that never answered is down when the grace of 10 s ends, not before."""
    world = world_of(start_grace=10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND - 1)
    assert world.states_of(A) == []
    world.run(1)
    (down,) = world.changes_of(A)
    assert (down.state, down.cause, down.detection) == (State.DOWN, Cause.SILENT, None)


def test_grace_is_no_grace_for_up():
    """During the grace a peer that answers is up at once."""
    world = world_of(start_grace=10 * SECOND)
    world.run(SECOND)
    assert world.states_of(A) == [State.UP]


def test_deadline_is_of_the_moment_of_sending():
    """A heartbeat that leaves 5 ms after its turn began has its whole timeout from then on."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A)
    late = 5 * MILLISECOND
    world._send = lambda path: world.fleet.compose(path, world.now + late, world.wall)
    path = world.path(A)
    while path.asked is None:
        world.run(MILLISECOND // 10)
    sent = path.unanswered[path.asked].sent
    assert path.last_sent == sent
    assert path.deadline == sent + TIMING.timeout


def test_next_deadline_is_always_later():
    """Whatever is due, the next deadline is later than now."""
    world = world_of()
    for _ in range(200):
        world.fleet.turn(world.now, world.wall)
        world.fleet.advance()
        deadline = world.fleet.next_deadline()
        assert deadline > world.now
        world.now = deadline


def test_unanswered_heartbeats_are_bounded():
    """A silent path remembers only as many heartbeats as a late reply may tell something of."""
    world = world_of(Timing(SECOND // 20, SECOND // 100, 20, 2))
    world.run(2 * SECOND)
    kill(world, A)
    world.run(600 * SECOND)
    path = world.path(A)
    assert len(path.unanswered) <= FRESH + 1


def test_slow_but_up_path_remembers_at_most_a_window():
    """A path that is up remembers at most the last hundred heartbeats without reply."""
    world = world_of(Timing(SECOND // 20, SECOND // 100, 20, 2))
    world.links[A].loss = 0.2
    world.run(100 * SECOND)
    assert world.states_of(A) == [State.UP]
    assert 20 < len(world.path(A).unanswered) <= 100


def test_every_change_says_what_was_before():
    """Each event's previous state is the state of the event before it."""
    world = world_of()
    world.links[A].loss = 0.6
    world.run(600 * SECOND)
    changes = [e for e in world.changes_of(A) if isinstance(e, StateChanged)]
    assert len(changes) > 5
    state = State.UNKNOWN
    for change in changes:
        assert change.previous is state
        state = change.state
