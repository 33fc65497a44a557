"""Replies that come, but always too late."""

from dataclasses import replace
from functools import partial

import pytest

from hbd.core.fleet import Restored
from hbd.core.model import MILLISECOND, SECOND, Cause, Limits, State, Timing
from hbd.core.session import Fact
from hbd.core.spans import shown, timeout_for
from hbd.core.window import Window
from tests.simulation.world import START, WALL, Link, World, peer, reflect

A, B = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
PROBE = TIMING.probe
SILENT = (State.DOWN, Cause.SILENT)
DOWN = (State.DOWN, Cause.TOO_TIGHT)
DEGRADED = (State.DEGRADED, Cause.TOO_TIGHT)


def world_of(rtt=2 * MILLISECOND, timing=TIMING, limits=None, **options):
    """A world in which A answers after so long."""
    world = World(1, **options)
    settings = peer(A, timing=timing, limits=limits or Limits())
    world.watch(settings, link=Link(delay=rtt // 2))
    world.watch(peer(B))
    world.run(30 * SECOND)
    return world


def slow_down(world, rtt):
    world.links[A].delay = rtt // 2


def kill(world, span=10**18):
    world.links[A].dead.append((world.now, world.now + span))


def told(world):
    return [(event.state, event.cause) for event in world.changes_of(A)]


def answer_by_hand(world, datagram, at):
    world.arrive(at, partial(world._receive, (A, 862), reflect(datagram, world.wall)))


@pytest.mark.parametrize(
    ("latest", "interval", "words"),
    [
        (1, SECOND, "`timeout: 10ms` would do"),
        (20 * MILLISECOND, 30 * MILLISECOND, "`timeout: 30ms` would do"),
        (20 * MILLISECOND + 1, SECOND, "`timeout: 35ms` would do"),
        (467 * MILLISECOND, SECOND, "`timeout: 750ms` would do"),
        (620 * MILLISECOND, SECOND, "`timeout: 950ms` would do"),
        (640 * MILLISECOND, SECOND, "`timeout: 1s` would do"),
        (700 * MILLISECOND, SECOND, "`timeout: 1.5s` with `interval: 1.5s` would do"),
        (4200 * MILLISECOND, SECOND, "`timeout: 6.5s` with `interval: 6.5s` would do"),
        (40 * SECOND, 90 * SECOND, "`timeout: 60s` would do"),
    ],
)
def test_timeout_that_would_do(latest, interval, words):
    """Half as long again as the latest reply, and rounded up to what a person would write."""
    assert timeout_for(latest, interval) == words


def test_spans_are_shown_in_seconds_from_one_second_on():
    """A measured span has three digits and the unit that suits it."""
    assert [shown(span * MILLISECOND) for span in (30, 999, 1000, 4234)] == [
        "30 ms",
        "999 ms",
        "1 s",
        "4.23 s",
    ]


# -- down -----------------------------------------------------------------------------------------


def test_replies_after_all_life_refine_the_cause():
    """The verdict comes at its deadline; with the next missed probe it is told why."""
    world = world_of()
    slow_down(world, 4200 * MILLISECOND)
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT, DOWN]
    down, refined = world.changes_of(A)[1:]
    assert down.detection <= TIMING.detection
    assert refined.at - down.at <= 3 * PROBE
    came = f"{A}: replies come after 4.2 s, later than timeout 500 ms"
    advice = "`timeout: 6.5s` with `interval: 6.5s` would do"
    assert world.fleet.peers[A].evidence == (f"{came}; {advice}",)


def test_what_the_evidence_says_does():
    """With the timeout and the interval of the evidence the peer comes up and stays so."""
    world = world_of()
    slow_down(world, 4200 * MILLISECOND)
    world.run(60 * SECOND)
    longer = Timing(6500 * MILLISECOND, 6500 * MILLISECOND, 3, 2)
    world.apply(peer(A, timing=longer), peer(B))
    world.run(600 * SECOND)
    assert told(world)[3:] == [(State.UP, None)]


def test_first_verdict_knows_of_late_replies():
    """What came too late before a verdict may be given is told with it."""
    world = world_of(rtt=4200 * MILLISECOND, start_grace=10 * SECOND)
    assert told(world) == [DOWN]


def test_late_life_that_does_not_get_it_up_again():
    """A reply after the timeout does not end the misses: a path that is down stays so, and why."""
    world = world_of()
    kill(world, 5 * SECOND)
    slow_down(world, 1800 * MILLISECOND)
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT, DOWN]


@pytest.mark.parametrize("rtt", [800, 4200])
def test_late_replies_that_cease_are_no_cause(rtt):
    """Nothing late for three probes: the path is silent, as any other."""
    world = world_of()
    kill(world, 4 * SECOND)
    slow_down(world, rtt * MILLISECOND)
    world.run(60 * SECOND)
    kill(world)
    world.run(4 * PROBE + TIMING.life + SECOND)
    assert told(world)[-1] == SILENT


def test_one_lost_reply_does_not_change_the_cause():
    """A late reply that is lost for once does not make the path a silent one."""
    world = world_of()
    slow_down(world, 4200 * MILLISECOND)
    world.run(60 * SECOND)
    world.links[A].lost_in_turn = 1
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT, DOWN]


def test_late_life_of_a_path_that_was_up_does_not_explain_its_silence():
    """A host that answered late and now not at all is silent."""
    world = world_of(rtt=800 * MILLISECOND)
    kill(world)
    world.run(3 * SECOND)
    assert told(world)[-1] == SILENT


def test_late_reply_to_an_old_heartbeat_is_no_cause():
    """One that was overtaken by a reply in time says nothing of the silence that follows."""
    world = world_of()
    world.links[A].lost_in_turn = 1
    before = len(world.sent_to(A))
    while len(world.sent_to(A)) == before:
        world.run(MILLISECOND)
    at, _, datagram = next(one for one in reversed(world.sent) if one[1] == A)
    answer_by_hand(world, datagram, at + 2100 * MILLISECOND)
    world.run(at + 2200 * MILLISECOND - world.now)
    assert world.path(A).late is not None
    kill(world)
    world.run(3 * SECOND)
    assert told(world)[-1] == SILENT


def test_peer_that_thaws_is_not_too_late():
    """A backlog answered at once, all of it late, is told as no cause: the next is in time."""
    world = world_of()
    kill(world, 20 * SECOND)
    world.run(20 * SECOND + 2500 * MILLISECOND - (world.now - world.links[A].dead[0][0]))
    for _, host, datagram in world.sent[-40:]:
        if host == A:
            answer_by_hand(world, datagram, world.now)
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT, (State.UP, None)]


@pytest.mark.parametrize(
    ("fact", "stands"),
    [(Cause.HUNG, False), (Cause.AUTH, True), (Cause.KEEPALIVE_FAILED, True)],
)
def test_late_reply_against_other_evidence(fact, stands):
    """It answers something: that makes `hung` wrong, and nothing else."""
    world = world_of()
    slow_down(world, 4200 * MILLISECOND)
    world.run(60 * SECOND)
    world.path(A).bad = Fact(fact, "")
    assert world.path(A).failure().cause is (fact if stands else Cause.TOO_TIGHT)


def test_icmp_error_tells_more_than_a_late_reply():
    """Causes are given in the order of the table."""
    world = world_of()
    slow_down(world, 4200 * MILLISECOND)
    world.run(60 * SECOND)
    world.path(A).refused(Fact(Cause.PORT_CLOSED, ""))
    assert world.path(A).failure().cause is Cause.PORT_CLOSED


# -- degraded -------------------------------------------------------------------------------------


def test_tight_by_the_median_of_twenty():
    """Ten of twenty RTTs above the timeout are tight, nine are not; over below 80 % of it."""
    world = world_of()
    path = world.path(A)
    slow_down(world, 600 * MILLISECOND)
    while world.state(A) is State.UP and world.now < START + 60 * SECOND:
        late = [rtt for rtt in path.figures.window.rtts(20) if rtt > TIMING.timeout]
        world.run(10 * MILLISECOND)
    assert len(late) == 9
    assert told(world)[1:] == [DEGRADED]
    assert world.fleet.peers[A].evidence == (
        f"{A}: RTT median 600 ms, above timeout 500 ms; `timeout: 900ms` would do",
    )
    slow_down(world, 420 * MILLISECOND)  # below the timeout, above 80 % of it
    world.run(60 * SECOND)
    assert told(world)[1:] == [DEGRADED]
    slow_down(world, 380 * MILLISECOND)
    world.run(60 * SECOND)
    assert told(world)[1:] == [DEGRADED, (State.UP, None)]


def test_tight_evidence_is_of_the_latest_replies():
    """The timeout that would do is made of the p99, not of the median."""
    world = world_of(rtt=600 * MILLISECOND)
    world.links[A].spread = 100 * MILLISECOND
    world.run(200 * SECOND)
    figures = world.path(A).figures
    assert figures.median_rtt < 720 * MILLISECOND < 750 * MILLISECOND < figures.p99_rtt
    world.apply(peer(A, timing=replace(TIMING, retries=4)), peer(B))
    (evidence,) = world.fleet.peers[A].evidence
    assert evidence.endswith("`timeout: 1.5s` with `interval: 1.5s` would do")


def test_longer_timeout_ends_it_at_once():
    """A reload with the timeout of the evidence makes the peer up, with no reply in between."""
    world = world_of(rtt=600 * MILLISECOND)
    assert told(world)[1:] == [DEGRADED]
    world.apply(peer(A, timing=replace(TIMING, timeout=900 * MILLISECOND)), peer(B))
    assert told(world)[1:] == [DEGRADED, (State.UP, None)]
    world.run(60 * SECOND)
    assert told(world)[1:] == [DEGRADED, (State.UP, None)]


def test_timeout_that_is_hardly_longer_does_not_end_it():
    """A timeout that the median is not well below is too small still."""
    world = world_of(rtt=600 * MILLISECOND)
    world.apply(peer(A, timing=replace(TIMING, timeout=650 * MILLISECOND)), peer(B))
    assert told(world)[1:] == [DEGRADED]
    assert "not below four fifths of timeout 650 ms" in world.fleet.peers[A].evidence[0]


def test_tight_before_down_is_not_tight_after():
    """A path whose replies were late, then none, is up without a word of it."""
    world = world_of(rtt=800 * MILLISECOND)
    slow_down(world, 2 * MILLISECOND)
    kill(world, 20 * SECOND)
    world.run(40 * SECOND)
    assert told(world)[1:] == [DEGRADED, SILENT, (State.UP, None)]


def test_too_tight_is_told_before_loss_and_slowness():
    """Where each heartbeat is late, that is the cause, whatever the limits say."""
    limits = Limits(max_loss=0.05, max_rtt=100 * MILLISECOND)
    world = world_of(limits=limits)
    slow_down(world, 600 * MILLISECOND)
    world.run(60 * SECOND)
    assert told(world)[-1] == DEGRADED
    assert any("max_rtt" in fact for fact in world.fleet.peers[A].evidence)


def test_replies_in_time_are_not_weighed(monkeypatch):
    """Of a path whose replies are in time, and that has no limits, nothing is computed."""
    world = world_of()

    def rtts(*_):
        raise AssertionError

    monkeypatch.setattr(Window, "rtts", rtts)
    world.run(60 * SECOND)
    assert told(world) == [(State.UP, None)]


@pytest.mark.parametrize(
    ("stored", "rtt", "later"),
    [
        (DEGRADED, 600, []),
        (DEGRADED, 2, [(State.UP, None)]),
        (DOWN, 2, [(State.UP, None)]),
    ],
)
def test_restored_tightness(stored, rtt, later):
    """Stored as degraded it stays so until twenty replies tell; stored as down it is up at once."""
    world = World(1)
    world.fleet.apply([peer(A, timing=TIMING)])
    world.fleet.restore(A, Restored(*stored, WALL - SECOND))
    world.apply(peer(A, timing=TIMING), link=Link(delay=rtt * MILLISECOND // 2))
    world.run(5 * SECOND)
    if stored == DEGRADED:
        words = f"{A}: RTT above timeout before the start"
        assert world.fleet.peers[A].evidence[0].startswith(words)
        assert told(world) == []
    world.run(60 * SECOND)
    assert told(world) == later
