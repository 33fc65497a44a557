"""Reload, restart, pause: what a peer keeps, and what it is told about."""

import gc
import re
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from hbd.core.events import StateChanged
from hbd.core.fleet import Restored
from hbd.core.model import (
    MILLISECOND,
    MOMENT,
    SECOND,
    Cause,
    Limits,
    StampOptions,
    State,
    Timing,
    Tlv,
)
from hbd.core.path import Path
from hbd.core.peer import Pause
from hbd.core.session import Answer, Fact
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.daemon.status import view
from hbd.wire import hbd_tlv, stamp, tlv
from hbd.wire.auth import Key
from tests.simulation.world import START, WALL, EgressKey, Link, World, peer, reflect

A, B, A2 = "10.0.0.1", "10.0.0.2", "10.0.1.1"
HOUR = 3_600 * SECOND
SPELL = 300 * SECOND
YEAR = 365 * 24 * HOUR
QUICK = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)


def world_of(*settings, **options):
    world = World(options.pop("seed", 1), **options)
    world.watch(*(settings or (peer(A), peer(B))))
    return world


def kill(world, *names, span=10**18):
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


COUNTED = ("sent", "received", "late", "duplicate")


# -- reload -----------------------------------------------------------------------------------


def test_reload_says_what_changed():
    """Added, removed and changed peers are told apart by name."""
    world = world_of()
    change = world.apply(peer(B, timing=QUICK), peer("10.0.0.3"))
    assert change == (["10.0.0.3"], [A], [B])
    assert list(world.fleet.peers) == [B, "10.0.0.3"]


def test_order_is_that_of_the_new_settings():
    """New peers stand where the configuration has them, and so do those that have moved in it."""
    world = world_of(peer(A), peer(B))
    world.apply(peer("10.0.0.3"), peer(B), peer("10.0.0.4"), peer(A))
    assert list(world.fleet.peers) == ["10.0.0.3", B, "10.0.0.4", A]


def test_what_was_counted_on_a_path_that_goes_stays_the_peers():
    """Another port, or an address less, takes nothing from what the peer was sent."""
    world = world_of(peer(A, A, A2), peer(B))
    world.run(10 * SECOND)
    before = view(world.fleet, world.fleet.peers[A])
    world.apply(peer(A), peer(B))
    after = view(world.fleet, world.fleet.peers[A])
    assert [after[name] for name in COUNTED] == [before[name] for name in COUNTED]
    assert after["sent"] > world.path(A).figures.sent > 0
    world.apply(replace(peer(A), port=9_000), peer(B))
    assert view(world.fleet, world.fleet.peers[A])["sent"] == after["sent"]


def test_a_reload_leaves_those_it_does_not_change_alone():
    """Of a hundred peers one changes and one goes: no path, deadline or state of others does."""
    settings = [peer(f"10.0.0.{number}") for number in range(1, 101)]
    world = world_of(*settings)
    world.run(30 * SECOND)
    others = [world.fleet.peers[one.name] for one in settings[2:]]

    def facts():
        return [(one, one.settings, path, path.deadline) for one in others for path in one.paths]

    before = facts()
    change = world.apply(peer(A, timing=QUICK), *(replace(one) for one in settings[2:]))
    assert change == ([], [B], [A])
    assert facts() == before
    assert list(world.fleet.peers.values())[1:] == others


def test_what_reloads_remove_leaves_no_deadline_behind():
    """A thousand peers that are asked once an hour, or paused, come and go: no timer is left."""
    world = world_of()
    rare = Timing(HOUR, SECOND, 3, 2)
    for number in range(1_000):
        other = f"10.1.{number // 250}.{number % 250}"
        world.apply(peer(A), peer(B), peer(other, timing=rare))
        world.fleet.pause(other, Pause(world.wall + YEAR, "", ""))
    world.apply(peer(A), peer(B))
    assert len(world.fleet._timers) < 100


def test_what_a_reload_removes_goes_without_the_collector():
    """No cycle of references holds it: the daemon never looks for one in what has lived long."""
    world = world_of(peer(A, via=B), peer(B), peer(A2))
    kill(world, A2)
    world.run(30 * SECOND)
    gc.collect()
    gc.disable()
    try:
        world.apply(peer(B))
        world.run(30 * SECOND)
        world.last_sent.clear()
        world.probes.clear()
        left = [one.address for one in gc.get_objects() if isinstance(one, Path)]
    finally:
        gc.enable()
    assert left == [B]


LATE = {
    "an answer": lambda fleet, path, now: fleet.answered(
        path, Answer(path.sequence - 1, None, 0), now
    ),
    "a datagram of its own": lambda fleet, path, now: fleet.heard(path, b"", now),
    "the end of a connection": lambda fleet, path, _: fleet.broken(
        path, Fact(Cause.RESET, "reset"), witness=True
    ),
    "its addresses": lambda fleet, path, _: fleet.resolved(path, ((A, 862),)),
}


@pytest.mark.parametrize("state", [State.UP, State.DOWN])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
@pytest.mark.parametrize("stays", [True, False])
def test_what_comes_of_a_path_that_was_removed_is_of_nobody(late, state, stays):
    """It is asked no more and judged no more, whether its peer is still there or not."""
    world = world_of(peer(A), peer(B))
    if state is State.DOWN:
        kill(world, A)
        world.run(30 * SECOND)
    path = world.path(A)
    while path.asked is None:
        world.run(MILLISECOND)
    world.apply(peer(B), *([peer(A, A2)] if stays else []))
    world.sent.clear()
    since = len(world.changes_of(A))
    late(world.fleet, path, world.now)
    world.run(30 * SECOND)
    assert world.sent_to(A) == []
    assert path.deadline is None
    assert all(change.state is not State.DOWN for change in world.changes_of(A)[since:])


def test_reload_without_change_misses_no_heartbeat():
    """A reload of the same settings, a hundred times a second, changes nothing at all."""
    calm, busy = world_of(), world_of()
    calm.run(30 * SECOND)
    for _ in range(3000):
        busy.run(10 * MILLISECOND)
        busy.apply(peer(A), peer(B))
    assert [at for at, *_ in calm.sent] == [at for at, *_ in busy.sent]
    assert calm.events == busy.events


def test_change_of_timing_keeps_state_and_counters():
    """Timing applies from the next heartbeat; state, since and counters stay."""
    world = world_of()
    world.run(30 * SECOND)
    path, since, sent = world.path(A), world.fleet.peers[A].since, world.path(A).figures.sent
    world.apply(peer(A, timing=QUICK), peer(B))
    assert world.path(A) is path
    assert (world.state(A), world.fleet.peers[A].since, path.figures.sent) == (
        State.UP,
        since,
        sent,
    )
    world.run(10 * SECOND)
    assert path.figures.sent - sent > 45
    assert len(world.changes_of(A)) == 1


def test_shorter_interval_does_not_wait_for_the_longer_one():
    """From an hour to a second: the next heartbeat comes within a second."""
    world = world_of(peer(A, timing=Timing(HOUR, 500 * MILLISECOND)), peer(B))
    world.run(2 * HOUR)
    at = world.now
    world.apply(peer(A), peer(B))
    world.run(SECOND)
    assert [s for s in world.sent_to(A) if s >= at]


def test_shorter_interval_does_not_ask_all_at_once():
    """Two hundred peers from an hour to a second: the next heartbeats are spread over a second."""
    names = [f"10.0.1.{number}" for number in range(200)]
    rare = Timing(HOUR, 500 * MILLISECOND)
    world = world_of(*(peer(name, timing=rare) for name in names))
    world.run(HOUR + HOUR // 2)
    before = len(world.sent)
    world.apply(*(peer(name) for name in names))
    at = world.now
    world.run(SECOND)
    tenths = [(sent - at) // (SECOND // 10) for sent, *_ in world.sent[before:]]
    assert len(tenths) >= 200
    assert all(5 <= tenths.count(tenth) <= 50 for tenth in range(9))


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_reload_while_a_heartbeat_is_in_question(retries):
    """New timing while a peer is missing: still a verdict, never before a deadline."""
    after = Timing(2 * SECOND, 700 * MILLISECOND, retries, 2)
    for missed in (0, 1, 2, 3):
        world = world_of()
        world.run(10 * SECOND)
        kill(world, A)
        while world.path(A).missed < missed:
            world.run(MILLISECOND)
        world.apply(peer(A, timing=after), peer(B))
        world.run(20 * SECOND)
        downs = [e for e in world.changes_of(A) if e.state is State.DOWN]
        assert len(downs) == 1
        last = max(at for at in world.sent_to(A) if at < downs[0].at)
        assert downs[0].at - last >= min(after.timeout, Timing().timeout)
        assert downs[0].detection <= Timing().detection + after.detection


@pytest.mark.parametrize("how", ["ssid", "key"])
def test_new_session_while_a_heartbeat_is_in_question(how):
    """A reply that the new options or key refuse is held against nobody: it is asked anew."""
    station = Station("monitor", 1, Random(1))  # noqa: S311 - to be replayed
    both = old, new = Key(b"old" * 8), Key(b"new" * 8)
    keys = Keys(old, (old,))
    world = World(1, session=lambda one, _: StampSession(one, station, keys if one.key else None))
    world.reflect = lambda datagram, wall: reflect(
        datagram, wall, key=next((key for key in both if stamp.is_signed(datagram, key)), None)
    )
    timing = Timing(SECOND, 500 * MILLISECOND, 0, 2)
    before = peer(A, timing=timing, key="k" if how == "key" else None, stamp=StampOptions(ssid=5))
    world.watch(before, peer(B), link=Link(delay=100 * MILLISECOND))
    world.run(10 * SECOND)
    while world.path(A).asked is None:
        world.run(MILLISECOND)
    at = world.now
    if how == "key":
        keys.sign, keys.accept = new, (new,)
        change = world.fleet.apply([before, peer(B)], {"k"})
    else:
        change = world.apply(replace(before, stamp=StampOptions(ssid=6)), peer(B))
    assert change.changed == [A]
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP]
    assert world.path(A).loss(world.fleet.clock.now) == 0.0
    assert world.fleet.dropped["bad-reply"] == 1
    assert at in world.sent_to(A)


def test_new_interval_is_told_from_the_next_heartbeat():
    """hbd's TLV carries the interval of now, not that of before the reload."""
    world = world_of()
    world.apply(peer(A, stamp=StampOptions(tlv=Tlv.ON)), peer(B))
    world.run(10 * SECOND)
    world.apply(peer(A, timing=QUICK, stamp=StampOptions(tlv=Tlv.ON)), peer(B))
    world.run(10 * SECOND)
    last = [datagram for _, to, datagram in world.sent if to == A][-1]
    ((found,), _) = tlv.split(last[stamp.OPEN_SIZE :])
    assert hbd_tlv.parse(found.value).interval_usec == 200_000


def test_new_path_changes_the_peer_only_by_a_verdict():
    """A path that is added is unknown, and the peer up, until the path is judged."""
    world = world_of()
    world.run(10 * SECOND)
    world.apply(peer(A, A, A2), peer(B))
    kill(world, A2)
    assert (world.state(A), world.fleet.peers[A].paths[1].state) == (State.UP, State.UNKNOWN)
    at = world.now
    world.run(10 * SECOND)
    event = world.changes_of(A)[-1]
    assert (event.state, event.cause, event.address) == (State.DEGRADED, Cause.PATH_DOWN, A2)
    assert event.at - at <= Timing().detection


def test_all_paths_replaced_keep_the_state_until_a_verdict():
    """A peer that moves to another address stays up until the new path is judged."""
    world = world_of(peer("db", A), peer(B))
    world.run(10 * SECOND)
    world.apply(peer("db", A2), peer(B))
    kill(world, A2)
    world.run(SECOND)
    assert world.states_of("db") == [State.UP]
    world.run(10 * SECOND)
    assert world.states_of("db") == [State.UP, State.DOWN]


@pytest.mark.parametrize("change", [{"port": 863}, {"protocol": "plain"}, {"key": "k"}])
def test_port_protocol_and_key_make_another_path(change):
    """A path is its address, port, protocol and key."""
    world = world_of()
    world.run(10 * SECOND)
    before = world.path(A)
    world.apply(replace(peer(A), **change), peer(B))
    assert world.path(A) is not before
    assert world.state(A) is State.UP


@pytest.mark.parametrize("change", [{"via": B}, {"labels": (("site", "ams"),)}])
def test_labels_and_via_keep_the_path(change):
    """Labels and via are no part of a path."""
    world = world_of()
    world.run(10 * SECOND)
    before = world.path(A)
    world.apply(replace(peer(A), **change), peer(B))
    assert world.path(A) is before


def test_removed_path_that_was_down_makes_the_peer_up():
    """Removing the failing path of a degraded peer is a verdict: up."""
    world = world_of(peer(A, A, A2), peer(B))
    kill(world, A2)
    world.run(10 * SECOND)
    assert world.state(A) is State.DEGRADED
    world.apply(peer(A), peer(B))
    assert world.state(A) is State.UP


def test_removed_peer_is_asked_no_more():
    """After its removal nothing is sent to a peer, and its replies count for nothing."""
    world = world_of()
    world.run(10 * SECOND)
    world.apply(peer(B))
    at = world.now
    world.run(20 * SECOND)
    assert max(world.sent_to(A)) < at
    assert all(path.peer.name == B for path in world.path(B).egress.paths)
    assert not world.fleet.known_by((A, 862))


def test_reload_while_down_probes_at_the_new_spacing():
    """A path that is down takes over a new interval for its probes, too."""
    world = world_of(peer(A, timing=Timing(HOUR, SECOND)), peer(B))
    kill(world, A)
    world.run(2 * HOUR)
    world.apply(peer(A), peer(B))
    at = world.now
    world.run(30 * SECOND)
    probes = [s for s in world.sent_to(A) if s >= at]
    first, *others = [after - before for before, after in pairwise(probes)]
    assert 3 * SECOND <= first < 3 * SECOND + MOMENT
    assert set(others) == {3 * SECOND}


# -- restart ----------------------------------------------------------------------------------


def restored(state, cause=None, pause=None):
    return Restored(state, cause, WALL - HOUR, pause)


def test_restored_state_lasts_until_the_first_verdict():
    """After a restart a peer keeps its state and since; an equal verdict makes no entry."""
    world = world_of()
    world.fleet.restore(A, restored(State.UP))
    one = world.fleet.peers[A]
    assert (one.state, one.since, one.restored) == (State.UP, WALL - HOUR, True)
    world.run(10 * SECOND)
    assert world.changes_of(A) == []
    assert (one.since, one.restored) == (WALL - HOUR, False)


def test_another_verdict_than_the_restored_one_is_told():
    """A peer stored as up that is silent is down, from up, with the duration of an hour."""
    world = world_of(start_grace=10 * SECOND)
    world.fleet.restore(A, restored(State.UP))
    kill(world, A)
    world.run(20 * SECOND)
    (down,) = world.changes_of(A)
    assert (down.previous, down.state) == (State.UP, State.DOWN)
    assert down.duration == HOUR + down.at - START


def test_state_from_the_future_lasted_no_negative_time():
    """A wall clock that is behind what was stored makes no duration below 0."""
    world = world_of()
    world.fleet.restore(A, Restored(State.DOWN, Cause.SILENT, WALL + YEAR))
    world.run(2 * SECOND)
    (up,) = world.changes_of(A)
    assert up.duration == up.at - START


def test_restored_down_that_answers_is_up_at_once():
    """A peer stored as down is up with its first reply."""
    world = world_of()
    world.fleet.restore(A, restored(State.DOWN, Cause.SILENT))
    world.run(2 * SECOND)
    (up,) = world.changes_of(A)
    assert (up.previous, up.previous_cause, up.state) == (State.DOWN, Cause.SILENT, State.UP)


def first_words(world):
    return [(event.state, event.first) for event in world.changes_of("db")]


def test_a_name_that_resolves_late_is_up_for_the_first_time():
    """Until then nothing was known of it; that it is up is no news."""
    world = World(1)
    world.watch(peer(B))
    world.fleet.apply([peer("db", "db.example"), peer(B)])
    path = world.fleet.peers["db"].paths[0]
    world.fleet.resolved(path, (), "does not resolve")
    world.run(20 * SECOND)
    world.resolve(path, A)
    world.run(20 * SECOND)
    assert first_words(world) == [(State.UNKNOWN, True), (State.UP, True)]


def test_who_was_known_before_its_name_did_not_resolve_is_up_again():
    """Of a peer that was down when hbd stopped it is news that it answers."""
    world = World(1)
    world.watch(peer(B))
    world.fleet.apply([peer("db", "db.example"), peer(B)])
    world.fleet.restore("db", restored(State.DOWN, Cause.SILENT))
    path = world.fleet.peers["db"].paths[0]
    world.fleet.resolved(path, (), "does not resolve")
    world.run(20 * SECOND)
    world.resolve(path, A)
    world.run(20 * SECOND)
    assert first_words(world) == [(State.UNKNOWN, True), (State.UP, False)]


def test_half_a_verdict_does_not_replace_a_restored_one():
    """Stored as degraded by a path: up is not told before that path is judged."""
    world = world_of(peer(A, A, A2), peer(B), start_grace=10 * SECOND)
    world.fleet.restore(A, restored(State.DEGRADED, Cause.PATH_DOWN))
    kill(world, A2)
    world.run(30 * SECOND)
    assert world.changes_of(A) == []
    assert world.fleet.peers[A].restored is False


def test_restored_lossy_stays_until_the_window_tells():
    """Stored as lossy: not up before a hundred heartbeats show it."""
    world = world_of(peer(A, limits=Limits(max_loss=0.05)), peer(B))
    world.fleet.restore(A, restored(State.DEGRADED, Cause.LOSSY))
    world.run(90 * SECOND)
    assert world.changes_of(A) == []
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP]


def test_restored_peer_is_a_witness_that_was_up():
    """All silent after a restart, all stored as up: our uplink, not everybody."""
    world = world_of(start_grace=10 * SECOND)
    for name in (A, B):
        world.fleet.restore(name, restored(State.UP))
    kill(world, A, B)
    world.run(30 * SECOND)
    assert {world.fleet.peers[name].cause for name in (A, B)} == {Cause.OWN_UPLINK}


def test_unknown_is_nothing_to_restore():
    """A stored unknown is a fresh start."""
    world = world_of()
    world.fleet.restore(A, restored(State.UNKNOWN))
    assert world.fleet.peers[A].restored is False
    world.run(2 * SECOND)
    assert world.changes_of(A)[0].first


# -- pause ------------------------------------------------------------------------------------


def test_pause_gives_no_verdict_and_keeps_measuring():
    """A paused peer that dies is paused; when resumed it is down."""
    world = world_of()
    world.run(10 * SECOND)
    world.fleet.pause(A, Pause(world.wall + HOUR, "disk", "alice"))
    kill(world, A)
    before = world.path(A).figures.sent
    world.run(60 * SECOND)
    assert world.states_of(A) == [State.UP, State.PAUSED]
    (told,) = world.changes_of(A)[-1].evidence
    assert re.fullmatch(r"paused by alice until \d{4}-\d\d-\d\dT[\d:]{8}\+00:00: disk", told)
    assert world.path(A).figures.sent > before
    assert world.fleet.resume(A)
    world.run(SECOND)
    assert world.states_of(A)[-1] is State.DOWN


def test_pause_expires():
    """A pause ends at its time, to the nanosecond."""
    world = world_of()
    world.run(10 * SECOND)
    until = world.now + SPELL
    world.fleet.pause(A, Pause(world.wall + SPELL, "", "alice"))
    world.run(2 * SPELL)
    assert [e.at for e in world.changes_of(A)][-1] == until
    assert world.states_of(A) == [State.UP, State.PAUSED, State.UP]


@pytest.mark.parametrize("how", ["stall", "suspend"])
def test_pause_ends_on_time_although_we_did_not_run(how):
    """A pause is over when it should be, although we did not run for half of it."""
    world = world_of()
    world.run(10 * SECOND)
    world.fleet.pause(A, Pause(world.wall + SPELL, "", "alice"))
    until = world.wall + SPELL
    if how == "stall":
        world.stalls.append((world.now + SECOND, world.now + SPELL // 2))
    else:
        world.suspend(SPELL // 2)
    while world.state(A) is not State.UP:
        world.run(SECOND)
    assert abs(world.wall - until) <= 2 * SECOND


def test_pause_survives_a_restart():
    """A stored pause goes on to its end; one whose time is over does not."""
    for until, state in ((HOUR, State.PAUSED), (-1, State.UP)):
        world = world_of()
        pause = Pause(WALL + until, "", "alice")
        world.fleet.restore(A, restored(State.PAUSED, Cause.PAUSED, pause))
        world.run(30 * SECOND)
        assert world.state(A) is state


def test_a_pause_that_ended_while_nobody_ran_is_over_at_once():
    """Though no verdict follows for long, nothing is said to be paused that is judged."""
    world = world_of(start_grace=HOUR)
    pause = Pause(WALL - 60 * SECOND, "", "alice")
    world.fleet.restore(A, restored(State.PAUSED, Cause.PAUSED, pause))
    assert world.state(A) is State.UNKNOWN
    assert world.fleet.peers[A].pause is None


def test_pause_survives_a_reload():
    """A reload, with or without change, does not end a pause."""
    world = world_of()
    world.run(10 * SECOND)
    world.fleet.pause(A, Pause(world.wall + HOUR, "", "alice"))
    world.apply(peer(A, timing=QUICK), peer(B))
    world.run(60 * SECOND)
    assert world.state(A) is State.PAUSED


def test_pause_ends_by_the_wall_clock_within_a_minute():
    """A wall clock that was years behind when the pause was set, or restored, is set right."""
    world = world_of()
    world.wall_step -= 50 * YEAR
    world.run(10 * SECOND)
    world.fleet.pause(A, Pause(world.wall + 50 * YEAR + SPELL, "", "alice"))
    world.wall_step += 50 * YEAR
    world.run(SPELL - SECOND)
    assert world.state(A) is State.PAUSED
    world.wall_step += HOUR
    world.run(60 * SECOND)
    assert world.state(A) is State.UP


def test_pause_lasts_until_its_time_however_far_the_clock_steps_back():
    """A pause until noon ends at noon, also where the clock was an hour fast when it was set."""
    world = world_of()
    world.run(10 * SECOND)
    world.fleet.pause(A, Pause(world.wall + SPELL, "", "alice"))
    world.wall_step -= HOUR
    world.run(HOUR + SPELL - 1)
    assert world.state(A) is State.PAUSED
    world.run(1)
    assert world.state(A) is State.UP


def test_resume_without_pause_is_nothing():
    """There is nothing to end."""
    world = world_of()
    world.run(10 * SECOND)
    assert world.fleet.resume(A) is False
    assert world.states_of(A) == [State.UP]


def test_end_of_a_pause_without_a_verdict_is_told():
    """A peer that was never judged is unknown again when its pause ends, and that is an entry."""
    world = world_of(start_grace=10 * SECOND)
    kill(world, A)
    world.fleet.pause(A, Pause(world.wall + 2 * SECOND, "", "alice"))
    world.run(5 * SECOND)
    assert world.states_of(A) == [State.PAUSED, State.UNKNOWN]


# -- several paths, names ---------------------------------------------------------------------


def test_peer_is_up_if_all_paths_are():
    """Degraded if a path is down, down if all are, with the cause that stands highest."""
    world = world_of(peer(A, A, A2), peer(B))
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP]
    kill(world, A2)
    world.run(10 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DEGRADED, Cause.PATH_DOWN)
    kill(world, A)
    world.run(10 * SECOND)
    assert world.state(A) is State.DOWN
    closed = Fact(Cause.PORT_CLOSED, "ICMP port unreachable from 10.0.1.1")
    world.run(5 * SECOND)
    datagram = [d for at, to, d in world.sent if to == A2][-1]
    world.fleet.icmp((A2, 862), datagram, closed, witness=True)
    world.run(0)
    last = world.fleet.peers[A]
    assert (last.state, last.cause) == (State.DOWN, Cause.PORT_CLOSED)
    assert last.evidence[0] == f"{A2}: {closed.text}"
    assert last.evidence[1].startswith(f"{A}: no reply")


def test_unknown_path_does_not_degrade():
    """A path without route beside one that answers: the peer is up."""
    world = world_of(peer(A, A, A2), peer(B))
    world.links[A2].egress = EgressKey("eth1")
    world.faults[EgressKey("eth1")] = Fact(Cause.NO_ROUTE, "no route")
    world.run(20 * SECOND)
    assert set(world.states_of(A)) == {State.UP}


def test_down_and_unknown_paths_are_unknown():
    """One path down, one that cannot be judged: unknown, with its cause."""
    world = world_of(peer(A, A, A2), peer(B))
    world.links[A2].egress = EgressKey("eth1")
    world.faults[EgressKey("eth1")] = Fact(Cause.NO_ROUTE, "no route")
    kill(world, A)
    world.run(20 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.UNKNOWN, Cause.NO_ROUTE)


def resolver_world(retries=3):
    timing = Timing(SECOND, 500 * MILLISECOND, retries, 2)
    world = World(1)
    world.fleet.apply([peer("db", timing=timing), peer(B)])
    world.resolve(world.path(B), B)
    return world


def test_name_without_address_is_unresolved():
    """A name that does not resolve: unknown, with the resolver's words; nothing is sent."""
    world = resolver_world()
    world.fleet.resolved(world.path("db"), (), "no such name")
    world.run(20 * SECOND)
    (event,) = world.changes_of("db")
    assert (event.state, event.cause) == (State.UNKNOWN, Cause.UNRESOLVED)
    assert event.evidence == ("db: no such name",)
    world.resolve(world.path("db"), A)
    world.run(5 * SECOND)
    assert world.state("db") is State.UP


def test_last_good_address_is_kept():
    """A resolver that fails later says nothing of the peer."""
    world = resolver_world()
    world.resolve(world.path("db"), A)
    world.run(10 * SECOND)
    world.fleet.resolved(world.path("db"), (), "timed out")
    world.run(20 * SECOND)
    assert world.states_of("db") == [State.UP]


def test_resolver_that_fails_is_no_cause_while_an_address_is_kept():
    """A silent peer with an address, and no verdict yet, is not unresolved."""
    world = World(1, start_grace=10 * SECOND)
    world.fleet.apply([peer("db"), peer(B)])
    world.resolve(world.path(B), B)
    world.resolve(world.path("db"), A)
    kill(world, A)
    world.run(SECOND)
    world.fleet.resolved(world.path("db"), (), "timed out")
    world.run(SECOND)
    assert world.states_of("db") == []


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_first_address_that_answers_is_kept(retries):
    """Of three addresses the first two are dead: the third makes the name up, and is kept."""
    world = resolver_world(retries)
    world.resolve(world.path("db"), A, A2, "10.0.2.1")
    kill(world, A, A2)
    world.run(60 * SECOND)
    assert world.state("db") is State.UP
    assert world.path("db").target == ("10.0.2.1", 862)
    at = world.now
    world.run(60 * SECOND)
    assert {to for when, to, _ in world.sent if when > at} == {"10.0.2.1", B}


def test_name_that_moves_while_a_heartbeat_is_in_question():
    """The reply from the address of before is lost to us: nobody is down for that."""
    world = resolver_world(retries=0)
    world.resolve(world.path("db"), A, link=Link(delay=100 * MILLISECOND))
    world.run(10 * SECOND)
    while world.path("db").asked is None:
        world.run(MILLISECOND)
    at = world.now
    world.resolve(world.path("db"), A2)
    world.run(10 * SECOND)
    assert world.states_of("db") == [State.UP]
    assert world.path("db").loss(world.fleet.clock.now) == 0.0
    assert world.sent_to(A2)[0] - at <= 1  # turns are at different moments


def test_address_that_is_gone_from_the_name_is_left():
    """A name that moves is asked at its new address."""
    world = resolver_world()
    world.resolve(world.path("db"), A)
    world.run(10 * SECOND)
    world.resolve(world.path("db"), A2)
    at = world.now
    world.run(10 * SECOND)
    assert max(world.sent_to(A)) <= at
    assert world.states_of("db") == [State.UP]


# -- causes -----------------------------------------------------------------------------------


def icmp(world, name, cause, text="x"):
    datagram = [d for _, to, d in world.sent if to == name][-1]
    world.fleet.icmp((name, 862), datagram, Fact(cause, text), witness=False)
    world._carry_out()


def test_cause_is_refined_at_most_three_times():
    """Later evidence refines the cause in three entries an outage; more is shown, and no entry."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    causes = [Cause.PORT_CLOSED, Cause.REJECTED, Cause.HOST_UNREACHABLE, Cause.NET_UNREACHABLE]
    for cause in (*causes, Cause.REJECTED):
        icmp(world, A, cause)
    refined = [e for e in world.changes_of(A) if e.is_refinement]
    assert [e.cause for e in refined if not e.unsaid] == causes[:3]
    assert [e.cause for e in refined if e.unsaid] == [causes[3], Cause.REJECTED]
    assert world.fleet.peers[A].cause is Cause.REJECTED
    assert refined[0].previous_cause is Cause.SILENT


def test_what_is_shown_of_a_cause_is_bounded_too():
    """A router may say another thing a thousand times a second; the last of it is told in time."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    since = len(world.changes_of(A))
    for number in range(1_001):
        icmp(world, A, Cause.PORT_CLOSED if number % 2 else Cause.REJECTED)
    assert 10 < len(world.changes_of(A)) - since < 100
    world.run(3 * SECOND)
    assert world.fleet.peers[A].cause is world.changes_of(A)[-1].cause is Cause.REJECTED


def test_refinements_begin_anew_with_each_outage():
    """The next outage may be refined three times, too."""
    world = world_of()
    world.run(10 * SECOND)
    for _ in range(2):
        kill(world, A, span=20 * SECOND)
        world.run(10 * SECOND)
        for cause in (Cause.PORT_CLOSED, Cause.REJECTED, Cause.HOST_UNREACHABLE, Cause.MTU):
            icmp(world, A, cause)
        world.run(30 * SECOND)
    assert len([e for e in world.changes_of(A) if e.is_refinement and not e.unsaid]) == 6


def test_icmp_is_no_verdict_and_hastens_none():
    """An ICMP error before the deadline changes nothing but the cause at the deadline."""
    took = []
    for told in (False, True):
        world = world_of()
        world.run(10 * SECOND)
        kill(world, A)
        while world.path(A).missed < 2:
            world.run(MILLISECOND)
        if told:
            icmp(world, A, Cause.PORT_CLOSED)
        assert world.state(A) is State.UP
        world.run(10 * SECOND)
        took.append(world.changes_of(A)[1])
    assert took[0].at == took[1].at
    assert [event.cause for event in took] == [Cause.SILENT, Cause.PORT_CLOSED]


def test_icmp_must_match_a_heartbeat_newer_than_the_last_good_reply():
    """What returns other octets, or an answered heartbeat's, counts for nothing."""
    world = world_of()
    world.run(10 * SECOND)
    datagram = [d for _, to, d in world.sent if to == A][-1]
    for octets in (datagram, b"", datagram[:11], bytes(44)):
        world.fleet.icmp((A, 862), octets, Fact(Cause.PORT_CLOSED, "x"), witness=True)
    assert world.fleet.dropped["icmp"] == 4
    assert world.path(A).icmp is None


def test_icmp_about_an_older_heartbeat_is_no_evidence():
    """An error about a lost heartbeat, when a newer one has been answered, is of the past."""
    world = world_of()
    world.run(10 * SECOND)
    world.links[A].lost_in_turn = 1
    before = len(world.sent)
    world.run(5 * SECOND)
    lost = next(datagram for _, to, datagram in world.sent[before:] if to == A)
    world.fleet.icmp((A, 862), lost, Fact(Cause.PORT_CLOSED, "x"), witness=True)
    assert world.fleet.dropped["icmp"] == 1
    assert world.path(A).icmp is None


def test_good_reply_forgets_the_evidence():
    """Evidence is of the time since the last good reply."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A, span=SECOND)
    while world.path(A).missed < 1:
        world.run(MILLISECOND)
    icmp(world, A, Cause.PORT_CLOSED)
    assert world.path(A).icmp is not None
    world.run(5 * SECOND)
    assert world.path(A).icmp is None


def test_bad_replies_are_a_cause():
    """A peer that answers nonsense is down by bad-reply, and each is counted."""
    world = world_of()
    world.run(10 * SECOND)
    world.links[A].corrupts = 1.0
    world.run(20 * SECOND)
    event = next(e for e in world.changes_of(A) if e.state is State.DOWN)
    assert event.cause is Cause.BAD_REPLY
    assert world.fleet.dropped["bad-reply"] > 4


def test_a_bad_reply_shows_that_the_port_is_open():
    """A closed port where something else has come to listen is a bad reply from then on."""
    world = world_of()
    world.run(10 * SECOND)
    kill(world, A, span=5 * SECOND)
    while world.path(A).missed < 1:
        world.run(MILLISECOND)
    icmp(world, A, Cause.PORT_CLOSED)
    world.run(4 * SECOND)
    world.links[A].corrupts = 1.0
    world.run(10 * SECOND)
    told = [(event.state, event.cause) for event in world.changes_of(A)[-2:]]
    assert told == [(State.DOWN, Cause.PORT_CLOSED), (State.DOWN, Cause.BAD_REPLY)]


def test_datagrams_from_nowhere_are_counted():
    """A datagram from an address that is asked nothing is dropped by name."""
    world = world_of()
    world.run(SECOND)
    world.fleet.receive(b"x" * 44, ("192.0.2.77", 862), world.now)
    assert world.fleet.dropped["unknown-source"] == 1


def test_duplicates_are_counted_and_nothing_else():
    """Each reply twice: all counted once, the rest as duplicate."""
    world = World(1)
    world.watch(peer(A), link=Link(duplicates=1.0))
    world.run(60 * SECOND)
    path = world.path(A)
    assert path.figures.duplicate == path.figures.received == path.figures.sent
    assert world.fleet.dropped["duplicate"] == path.figures.duplicate
    assert all(isinstance(e, StateChanged) for e in world.events)


def test_what_a_peer_answers_when_it_thaws_is_late_and_no_bad_reply():
    """Replies to heartbeats that are forgotten are late: no evidence against the peer."""
    world = World(1)
    world.watch(peer(A), peer(B))
    world.run(10 * SECOND)
    at = world.now
    world.links[A].dead.append((at, at + 30 * SECOND))
    world.run(30 * SECOND)
    (path,) = world.fleet.peers[A].paths
    frozen = [datagram for when, to, datagram in world.sent if to == A and when >= at]
    for datagram in frozen[:-1]:
        world.fleet.receive(reflect(datagram, world.wall), (A, 862), world.now)
    assert path.bad is None
    assert world.fleet.peers[A].cause is Cause.SILENT
    assert path.figures.late > 0


def test_a_pause_that_ends_just_after_a_wake_tells_nothing_of_before_it():
    """Whoever was off when we went to sleep, and paused, may be up when we wake."""
    world = World(5, start_grace=10 * SECOND)
    world.watch(peer(A), peer(B))
    world.run(20 * SECOND)
    world.fleet.pause(A, Pause(world.wall + 30 * SECOND, "", ""))
    world.links[A].dead.append((world.now, 10**18))
    world.run(29_900 * MILLISECOND)
    world.suspend(3_600 * SECOND)
    world.links[A].dead.clear()
    world.run(30 * SECOND)
    assert world.states_of(A) == [State.UP, State.PAUSED, State.UP]


def test_of_several_addresses_that_is_named_which_is_back():
    """The other one was up all along."""
    world = World(3)
    world.watch(peer("two", A, A2), peer(B))
    world.run(200 * SECOND)
    for host in (A, A2):
        world.links[host].dead.append((world.now, world.now + 20 * SECOND))
        world.run(60 * SECOND)
    told = [(event.state, event.address) for event in world.changes_of("two")]
    assert told[-4:] == [
        (State.DEGRADED, A),
        (State.UP, A),
        (State.DEGRADED, A2),
        (State.UP, A2),
    ]


def by_icmp(world, fact):
    datagram = [datagram for _, to, datagram in world.sent if to == A][-1]
    assert world.fleet.icmp((A, 862), datagram, fact, witness=False)


def by_reply(world, fact):
    world.fleet.broken(world.path(A), fact, witness=False)


@pytest.mark.parametrize(
    ("cause", "say"),
    [
        (Cause.PORT_CLOSED, by_icmp),
        (Cause.ROUTING_LOOP, by_icmp),
        (Cause.MQTT_PASSWORD, by_reply),
    ],
)
def test_what_was_said_once_is_not_the_cause_for_good(cause, say):
    """A daemon that is stopped is told by its host, until that is switched off too."""
    world, fact = world_of(), Fact(cause, "always the same words")
    world.run(20 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    for _ in range(100):
        world.run(3 * SECOND)
        say(world, fact)
        world.run(MILLISECOND)
        assert world.fleet.peers[A].cause is cause
    world.run(50 * SECOND)
    assert world.fleet.peers[A].cause is cause
    world.run(30 * SECOND)
    assert world.fleet.peers[A].cause is Cause.SILENT
    assert world.state(A) is State.DOWN
