"""Being told: when silence is a verdict, and whose fault it is."""

from itertools import pairwise

import pytest

from hbd.core.clock import STALL
from hbd.core.events import Storm
from hbd.core.fleet import Restored
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    Cause,
    Expectation,
    PeerSettings,
    StampOptions,
    State,
    Timing,
)
from hbd.core.peer import Pause
from hbd.core.session import Fact
from tests.simulation.speakers import Sender, told, watch_sender
from tests.simulation.world import LAN, START, Link, World, own_link, peer

A, B, C, ASKED, ASKED_TOO = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9", "10.0.0.8"
HOUR = 3_600 * SECOND
YEAR = 365 * 24 * HOUR
OFTEN = Timing(SECOND, 100 * MILLISECOND, 3, 2)


def world_of(settings=None, *, beside=True, seed=1, jitter=0.0, span=10 * SECOND, **options):
    """One peer that sends, and two beside it that are asked."""
    world = World(seed, **options)
    sender = watch_sender(world, settings or told(A), jitter=jitter)
    if beside:
        world.watch(peer(ASKED, timing=OFTEN), peer(ASKED_TOO, timing=OFTEN))
    world.run(span)
    return world, sender


def kill(world, *hosts, span=10**18, after=0):
    for host in hosts:
        world.links[host].dead.append((world.now + after, world.now + after + span))


def last_of(world, name=A):
    return world.changes_of(name)[-1]


def failures(world):
    return [event for event in world.events if getattr(event, "state", None) is State.DOWN]


# -- silence --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "grace"), [(1, 1.5), (1, 1.01), (5, 1.5), (5, 2.0), (1, 3.0), (2, 10.0), (1, 100.0)]
)
def test_it_is_down_after_grace_times_what_is_expected(seconds, grace):
    """Down when nothing came for grace x expect, not a nanosecond before."""
    world, sender = world_of(told(A, seconds * SECOND, grace), span=20 * SECOND)
    kill(world, A)
    patience = int(seconds * SECOND * grace)
    world.run(sender.heard_at[-1] + patience - 1 - world.now)
    assert world.state(A) is State.UP
    world.run(1)
    down = last_of(world)
    assert (down.state, down.cause, down.detection) == (State.DOWN, Cause.SILENT, patience)
    assert down.evidence[0] == f"{A}: nothing came for {patience / SECOND:g} s"


def test_it_is_not_asked():
    """Who is only told about gets no datagram, and its witness is asked before the verdict."""
    world, sender = world_of()
    kill(world, A)
    world.run(20 * SECOND)
    assert world.sent_to(A) == sender.heard == []
    doubt = sender.heard_at[-1] + SECOND + SECOND // 8
    assert doubt in world.sent_to(ASKED)


def test_first_heartbeat_makes_it_up():
    """At start one heartbeat makes it up, as the first verdict, which is no news."""
    world, sender = world_of()
    (up,) = world.changes_of(A)
    assert (up.at, up.state, up.first) == (sender.heard_at[0], State.UP, True)


@pytest.mark.parametrize("rise", [1, 2, 4])
def test_it_is_up_again_after_rise_heartbeats(rise):
    """The rise-th heartbeat in a row makes it up again."""
    world, sender = world_of(told(A, timing=Timing(retries=0, rise=rise)))
    kill(world, A, span=20 * SECOND)
    world.run(20 * SECOND)
    before = len(sender.heard_at)
    world.run(20 * SECOND)
    assert last_of(world).state is State.UP
    assert last_of(world).at == sender.heard_at[before + rise - 1]


def test_silence_while_rising_begins_anew():
    """A silence on the way up sets the count to 0."""
    world, sender = world_of(told(A, timing=Timing(retries=0, rise=3)))
    kill(world, A, span=20 * SECOND)
    world.run(20 * SECOND)
    while world.path(A).rising < 2:
        world.run(10 * MILLISECOND)
    kill(world, A, span=5 * SECOND)
    world.run(5 * SECOND)
    assert world.path(A).rising == 0
    before = len(sender.heard_at)
    world.run(5 * SECOND)
    assert last_of(world).at == sender.heard_at[before + 2]


def test_peer_that_never_came_is_down_after_the_grace():
    """A peer that was never heard is down when start_grace ends, not before."""
    world = World(1, start_grace=10 * SECOND)
    watch_sender(world, told(A), link=Link(dead=[(0, 10**18)]))
    world.run(10 * SECOND - 1)
    assert world.changes_of(A) == []
    world.run(1)
    assert (last_of(world).state, last_of(world).detection) == (State.DOWN, None)


def test_patience_longer_than_the_grace_is_waited_for():
    """Where grace x expect is longer than start_grace, that is how long it takes."""
    world = World(1, start_grace=10 * SECOND)
    watch_sender(world, told(A, 20 * SECOND), link=Link(dead=[(0, 10**18)]))
    begun = world.path(A).heard
    world.run(60 * SECOND)
    assert last_of(world).at == begun + 30 * SECOND


@pytest.mark.parametrize("jitter", [0.1, 0.4])
def test_jitter_within_the_grace_is_no_down(jitter):
    """A sender whose period differs by less than grace allows is never down."""
    for seed in range(5):
        world, _ = world_of(seed=seed, jitter=jitter, span=200 * SECOND)
        assert world.states_of(A) == [State.UP], seed


# -- what counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"heartbeat", bytes(60), b"\xff" * 1500])
def test_anything_counts_where_nothing_certain_is_expected(payload):
    """With payload: any, whatever comes is life."""
    world, sender = world_of()
    sender.payload = payload
    world.run(60 * SECOND)
    assert world.states_of(A) == [State.UP]


@pytest.mark.parametrize("payload", [b"alive", b"alive\n", b"alive\r\n", b"alive\0", b"alive\0\0"])
def test_the_very_text_counts(payload):
    """The text that is expected is life, whatever program has ended its line or its string."""
    world, sender = world_of(told(A, payload=b"alive"))
    sender.payload = payload
    world.run(60 * SECOND)
    assert world.state(A) is State.UP


@pytest.mark.parametrize("payload", [b"", b"Alive", b"alive!", b" alive", b"aliv", bytes(60)])
def test_another_text_is_no_life_and_the_cause(payload):
    """What is not the text that is expected is no life, and the evidence says both."""
    world, sender = world_of(told(A, payload=b"alive"))
    sender.payload = b"alive"
    world.run(5 * SECOND)
    sender.payload = payload
    world.run(60 * SECOND)
    down = last_of(world)
    assert (down.state, down.cause) == (State.DOWN, Cause.BAD_REPLY)
    assert down.detection == 1500 * MILLISECOND
    assert down.evidence == (f"{A}: sends {len(payload)} octets, not the payload `alive`",)
    assert world.fleet.dropped["bad-reply"] > 50


# -- suspect yourself first -----------------------------------------------------------------------


@pytest.mark.parametrize("span", [STALL, SECOND, 10 * SECOND, 5 * HOUR])
def test_own_stall_is_forgiven(span):
    """We did not run, for a tenth of a second up to hours; what waited in the socket has stamps
    of that time: nobody is down, and who died meanwhile is, as much later as we were late."""
    for seed in range(5 if span < HOUR else 1):
        world, sender = world_of(told(A, 2 * SECOND), seed=seed)
        other = watch_sender(world, told(B))
        world.run(5 * SECOND)
        begin = world.now + world.dice.randrange(SECOND)
        world.stalls.append((begin, begin + span))
        kill(world, B, after=span // 2)
        world.run(span + 20 * SECOND)
        assert world.states_of(A) == [State.UP], seed
        assert last_of(world, B).state is State.DOWN
        took = last_of(world, B).at - other.heard_at[-1]
        assert took <= 1500 * MILLISECOND + world.late_since(other.heard_at[-1]), seed
        assert any(begin <= at < begin + span for at in sender.heard_at) or span < 10 * SECOND


def test_suspend_is_forgiven():
    """What the machine slept through is held against nobody, nor what its network needs then."""
    world, _ = world_of(start_grace=10 * SECOND)
    world.suspend(8 * HOUR)
    kill(world, A, ASKED, ASKED_TOO, span=9 * SECOND)
    world.run(30 * SECOND)
    assert failures(world) == []


@pytest.mark.parametrize("step", [-10 * YEAR, HOUR, 10 * YEAR])
def test_wall_clock_steps_change_nothing(step):
    """Steps of any size change no verdict and no deadline."""
    world, sender = world_of()
    world.wall_step = step
    world.run(10 * SECOND)
    kill(world, A)
    world.wall_step = -step
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP, State.DOWN]
    assert last_of(world).at == sender.heard_at[-1] + 1500 * MILLISECOND


def test_drops_of_our_own_are_one_patience_more():
    """What our own kernel dropped in that silence may be of it: once it is waited for once more."""
    for drops, times in ((0, 1), (1, 2)):
        world, sender = world_of()
        kill(world, A)
        for n in range(drops):
            world.after(n * 50 * MILLISECOND, world.fleet.unheard_some)
        world.run(20 * SECOND)
        assert last_of(world).at == sender.heard_at[-1] + times * 1500 * MILLISECOND


def test_each_silence_is_waited_for_once_more():
    """Drops in another silence, after it was heard again, count as the first did."""
    world, sender = world_of()
    for _ in range(2):
        world.run(sender.heard_at[-1] + SECOND + 1 - world.now)
        kill(world, A, span=1600 * MILLISECOND)
        world.after(SECOND, world.fleet.lost_some)
        world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP]


def test_what_we_lost_is_no_excuse_once_it_was_heard():
    """Unknown by our own fault, then heard, then dead: down when it is due."""
    world, sender = world_of()
    kill(world, A, span=9 * SECOND)
    for n in range(180):
        world.after(n * 50 * MILLISECOND, world.fleet.unheard_some)
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP, State.UNKNOWN, State.UP]
    kill(world, A)
    world.run(20 * SECOND)
    down = last_of(world)
    assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND)


def test_who_cannot_be_asked_is_not_judged_while_we_lose_what_comes():
    """As long as more comes than we can read, silence is our own fault; then it is judged."""
    world, _ = world_of()
    kill(world, A)
    for n in range(200):
        world.after(n * 50 * MILLISECOND, world.fleet.unheard_some)
    world.run(9 * SECOND)
    assert world.states_of(A) == [State.UP, State.UNKNOWN]
    assert last_of(world).cause is Cause.OWN_STALL
    world.run(20 * SECOND)
    assert world.states_of(A) == [State.UP, State.UNKNOWN, State.DOWN]


def test_what_is_read_late_makes_nobody_older():
    """Heartbeats that came before the last one that was read take no time from the peer."""
    world, _ = world_of()
    path = world.path(A)
    heard = path.heard
    world.fleet.heard(path, b"heartbeat", world.now - 5 * SECOND)
    assert path.heard == heard


def test_drops_before_the_silence_change_nothing():
    """Drops before it was heard last are no reason to wait."""
    world, _ = world_of()
    world.fleet.lost_some()
    world.run(SECOND)
    kill(world, A)
    world.run(20 * SECOND)
    assert last_of(world).detection == 1500 * MILLISECOND


# -- witnesses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_own_uplink_is_no_down(seed):
    """Everything silent, told of different periods and asked: unknown, and up again after it."""
    world, _ = world_of(seed=seed, jitter=0.05)
    for name, seconds, grace in ((B, 3, 1.5), (C, 2, 4.0)):
        watch_sender(world, told(name, seconds * SECOND, grace), jitter=0.05)
    world.run(world.dice.randrange(10 * SECOND, 20 * SECOND))
    world.cuts[LAN] = [(world.now, world.now + 30 * SECOND)]
    world.run(29 * SECOND)
    assert failures(world) == []
    assert {world.fleet.peers[name].cause for name in (A, B, C, ASKED)} == {Cause.OWN_UPLINK}
    world.run(30 * SECOND)
    assert failures(world) == []
    assert {world.state(name) for name in (A, B, C, ASKED)} == {State.UP}


def world_that_is_cut(*, ago, seed=1, **settings):
    """Our uplink fails after a heartbeat, until so long before the verdict over who sent it."""
    world = World(seed)
    sender = watch_sender(world, told(A, **settings))
    watch_sender(world, told(B, 50 * MILLISECOND, 40.0))  # is heard as soon as it can be
    world.run(10 * SECOND)
    due = sender.heard_at[-1] + 1500 * MILLISECOND
    world.cuts[LAN] = [(world.now, due - ago * MILLISECOND)]
    return world, due


@pytest.mark.parametrize("ago", [3, 20, 60])
def test_cut_that_ends_just_before_the_verdict_is_no_down(ago):
    """Our uplink is back milliseconds before the verdict, too late to hear the peer: no DOWN."""
    for seed in range(5):
        world, _ = world_that_is_cut(ago=ago, seed=seed)
        world.run(20 * SECOND)
        assert failures(world) == [], seed


def test_dead_peer_is_judged_one_patience_after_such_a_cut():
    """A peer that is silent after it, too, is down one patience later; and only once later."""
    world, due = world_that_is_cut(ago=60)
    kill(world, A)
    world.run(20 * SECOND)
    down = last_of(world)
    assert (down.state, down.at) == (State.DOWN, due + 1500 * MILLISECOND)


@pytest.mark.parametrize("seed", range(20))
def test_uplink_that_fails_while_the_peer_is_a_little_late_is_no_down(seed):
    """Others were heard after its heartbeat was expected, and then nobody: that is no witness."""
    world, sender = world_of(seed=seed)
    watch_sender(world, told(B, 50 * MILLISECOND, 10.0))
    world.run(5 * SECOND)
    late = world.dice.randrange(100 * MILLISECOND)
    world.cuts[LAN] = [(sender.heard_at[-1] + SECOND + late - 1, world.now + 30 * SECOND)]
    kill(world, A, span=2 * SECOND)  # it is late by a little more than that
    world.run(20 * SECOND)
    assert failures(world) == []


def test_others_that_were_not_due_are_no_reason_to_wait():
    """Two are told about; one dies: where the other is heard only just before, that is no doubt."""
    for seed in range(20):
        world, sender = world_of(beside=False, seed=seed)
        watch_sender(world, told(B))
        world.run(10 * SECOND)
        kill(world, A)
        world.run(10 * SECOND)
        down = last_of(world)
        assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND), seed
        assert [e for e in world.of_kind(Storm) if e.cause is not None] == []


def test_lonely_peer_is_down_with_the_doubt_in_its_evidence():
    """Where nobody else was to be heard, peer and uplink cannot be told apart, and that is said."""
    world, _ = world_of(beside=False)
    kill(world, A)
    world.run(10 * SECOND)
    down = last_of(world)
    assert (down.state, down.detection) == (State.DOWN, 1500 * MILLISECOND)
    assert "cannot be told apart" in down.evidence[1]


def test_told_peer_is_a_witness_for_one_that_is_asked():
    """A heartbeat that comes by itself shows that our uplink is sound."""
    world = World(1)
    watch_sender(world, told(B, 100 * MILLISECOND))
    world.watch(peer(ASKED, timing=OFTEN))
    world.run(10 * SECOND)
    kill(world, ASKED)
    world.run(10 * SECOND)
    down = last_of(world, ASKED)
    assert (down.state, len(down.evidence)) == (State.DOWN, 1)


def test_silent_told_peer_is_held_against_our_uplink_when_an_asked_one_is_judged():
    """Both silent: unknown, not down; the told one was heard often enough to tell."""
    world = World(1)
    watch_sender(world, told(B, 100 * MILLISECOND, 20.0))
    world.watch(peer(ASKED, timing=OFTEN))
    world.run(10 * SECOND)
    kill(world, ASKED, B)
    world.run(10 * SECOND)
    assert failures(world) == []
    assert {world.fleet.peers[name].cause for name in (B, ASKED)} == {Cause.OWN_UPLINK}


def test_many_that_fall_silent_at_once_are_judged_in_time():
    """Witnesses are asked only so often; who falls silent in between is in time all the same."""
    world = World(1)
    world.watch(peer(ASKED, timing=Timing(10 * SECOND, 100 * MILLISECOND, 3, 2)))
    names = [f"10.0.1.{n}" for n in range(50)]
    senders = [watch_sender(world, told(name)) for name in names]
    world.run(10 * SECOND)
    kill(world, *names)
    world.run(10 * SECOND)
    for name, sender in zip(names, senders, strict=True):
        down = last_of(world, name)
        assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND)
    assert len(world.sent_to(ASKED)) < 200


def test_two_that_fall_silent_at_once_are_both_judged_in_time():
    """For the second nobody is asked again so soon; who was asked for the first counts."""
    world = World(1)
    world.watch(peer(ASKED, timing=Timing(10 * SECOND, 100 * MILLISECOND, 3, 2)))
    senders = [
        watch_sender(world, told(name), first=SECOND // 2 + n * 8 * MILLISECOND)
        for n, name in enumerate((A, B))
    ]
    world.run(10 * SECOND)
    kill(world, A, B)
    world.run(10 * SECOND)
    for name, sender in zip((A, B), senders, strict=True):
        down = last_of(world, name)
        assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND)


def test_cut_early_in_a_long_silence_delays_nothing():
    """Our uplink was sound for the last interval and more: the verdict comes when it is due."""
    world, sender = world_of(told(A, SECOND, 10.0), beside=False)
    watch_sender(world, told(B, 50 * MILLISECOND, 100.0))
    world.run(5 * SECOND)
    kill(world, A)
    world.cuts[LAN] = [(world.now, world.now + 3 * SECOND)]
    world.run(20 * SECOND)
    down = last_of(world)
    assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 10 * SECOND)


def test_lone_dead_peer_is_down_after_the_link_is_back():
    """Who died while our link was down is down after it, though nothing else ends the fault."""
    world, _ = world_of(beside=False)
    world.faults[LAN] = own_link("eth0")
    kill(world, A)
    world.run(20 * SECOND)
    assert world.state(A) is State.UNKNOWN
    world.faults.clear()
    world.run(10 * SECOND)
    assert world.state(A) is State.DOWN


def test_interface_down_is_our_own_link():
    """With our interface down it is unknown, and up with the first heartbeat after it."""
    world, sender = world_of()
    world.faults[LAN] = own_link("eth0")
    world.run(20 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.UNKNOWN, Cause.OWN_LINK)
    world.faults.clear()
    before = len(sender.heard_at)
    world.run(20 * SECOND)
    assert failures(world) == []
    assert last_of(world).at == sender.heard_at[before]


# -- via ------------------------------------------------------------------------------------------


def test_asked_child_of_a_silent_told_parent_is_unreachable():
    """A gateway that is told about explains the silence behind it."""
    world, _ = world_of(told(A, 500 * MILLISECOND))
    world.watch(peer(B, via=A))
    world.run(10 * SECOND)
    kill(world, A, B)
    world.run(10 * SECOND)
    assert world.states_of(B) == [State.UP, State.UNREACHABLE]
    assert last_of(world, B).evidence[0] == f"via {A}: down (silent)"


def test_parent_in_doubt_explains_the_silence_behind_it():
    """A parent that is late by more than its margin when the child is judged: never down first."""
    world, sender = world_of()
    watch_sender(world, told(B, 100 * MILLISECOND, 12.5, via=A))
    world.run(5 * SECOND)
    world.run(sender.heard_at[-1] + SECOND + 1 - world.now)
    kill(world, A, B)
    world.run(10 * SECOND)
    assert (world.states_of(B), world.states_of(A)) == (
        [State.UP, State.UNREACHABLE],
        [State.UP, State.DOWN],
    )


def test_told_child_of_a_silent_asked_parent_is_unreachable():
    """So does one that is asked, for a board behind it; and the parent is asked at once."""
    world = World(1)
    world.watch(peer(ASKED), peer(A, timing=Timing(HOUR, 200 * MILLISECOND, 3, 2)))
    sender = watch_sender(world, told(B, 5 * SECOND, via=A))
    world.run(HOUR)
    kill(world, A, B)
    world.run(30 * SECOND)
    assert world.states_of(B) == [State.UP, State.UNREACHABLE]
    assert sender.heard_at[-1] + 5625 * MILLISECOND in world.sent_to(A)


def test_child_that_speaks_has_no_parent():
    """A board that is heard is up although its gateway is down."""
    world, _ = world_of(told(A, via=ASKED))
    kill(world, ASKED)
    world.run(20 * SECOND)
    assert (world.state(ASKED), world.state(A)) == (State.DOWN, State.UP)


# -- people ---------------------------------------------------------------------------------------


def test_pause_measures_and_does_not_judge():
    """Paused it is not down; when the pause ends it is what it is."""
    world, _ = world_of()
    world.fleet.pause(A, Pause(world.wall + HOUR, "", "root"))
    kill(world, A)
    world.run(20 * SECOND)
    assert world.state(A) is State.PAUSED
    world.fleet.resume(A)
    world.run(1)
    assert world.state(A) is State.DOWN


def reload(world, settings):
    known = {name: one.settings for name, one in world.fleet.peers.items()}
    world.apply(*(known | {settings.name: settings}).values())


def test_reload_changes_what_is_expected_and_keeps_the_state():
    """Other expect, grace, payload, send: the same path, up all along, judged by the new rule."""
    world, sender = world_of()
    path = world.path(A)
    for changed in (
        told(A, 3 * SECOND),
        told(A, SECOND, 2.5),
        told(A, SECOND, payload=b"alive"),
        told(A, SECOND, payload=b"alive", send=b"hello"),
        told(A, SECOND, 2.0, payload=b"alive"),
    ):
        sender.payload = changed.expect.payload or b"heartbeat"
        reload(world, changed)
        world.run(10 * SECOND)
        assert (world.path(A) is path, world.states_of(A)) == (True, [State.UP])
    assert set(sender.heard) == {b"hello"}
    assert 9 <= len(sender.heard) <= 12
    kill(world, A)
    world.run(10 * SECOND)
    assert last_of(world).at == sender.heard_at[-1] + 2 * SECOND


def test_reload_gives_the_new_patience_from_then_on():
    """A shorter one does not condemn what the longer one allowed."""
    world, _ = world_of(told(A, 20 * SECOND), span=100 * SECOND)
    kill(world, A)
    world.run(15 * SECOND)
    reload(world, told(A, SECOND))
    at = world.fleet.clock.now
    world.run(10 * SECOND)
    assert last_of(world).at == at + 1500 * MILLISECOND


def test_state_from_before_the_start_is_kept_until_it_is_known():
    """After a restart it is as it was until it was heard or its patience is over."""
    world = World(1, start_grace=10 * SECOND)
    watch_sender(world, told(A), link=Link(dead=[(0, 10**18)]))
    world.fleet.restore(A, Restored(State.UP, None, world.wall - HOUR))
    world.run(10 * SECOND - 1)
    assert (world.state(A), world.changes_of(A)) == (State.UP, [])
    world.run(1)
    assert world.state(A) is State.DOWN


# -- sending too ----------------------------------------------------------------------------------


def test_it_is_sent_to_where_a_text_is_given():
    """With send: and expect:, it gets a heartbeat each interval and is judged by its own."""
    timing = Timing(2 * SECOND, SECOND, 0, 1)
    world, sender = world_of(told(A, send=b"ping", timing=timing), span=100 * SECOND)
    assert set(sender.heard) == {b"ping"}
    assert 49 <= len(sender.heard) <= 57
    kill(world, A)
    world.run(10 * SECOND)
    assert last_of(world).at == sender.heard_at[-1] + 1500 * MILLISECOND
    world.run(100 * SECOND)
    assert 52 <= world.path(A).figures.sent - len(sender.heard) <= 62


def test_our_own_beats_are_no_look_at_others():
    """A beat of ours between the last look and the verdict does not hide that we heard nobody."""
    timing = Timing(20 * MILLISECOND, 20 * MILLISECOND, 0, 1)
    world, _ = world_that_is_cut(ago=60, send=b"ping", timing=timing)
    world.run(20 * SECOND)
    assert failures(world) == []


def test_one_beat_that_did_not_leave_is_no_fault_later():
    """What our firewall kept back once explains nothing after a beat that left."""
    timing = Timing(200 * MILLISECOND, 100 * MILLISECOND, 0, 1)
    world, sender = world_of(told(A, send=b"ping", timing=timing))
    kill(world, A)
    world.run(100 * MILLISECOND)
    world.fleet.send_failed(world.path(A), Fact(Cause.SEND_BLOCKED, "EPERM"))
    world.run(20 * SECOND)
    down = last_of(world)
    assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND)


def test_refused_heartbeats_are_evidence():
    """Where it is silent and refuses what we send, the cause is its closed port."""
    world, _ = world_of(told(A, send=b"ping"))
    kill(world, A)
    send = world._send

    def refuse(path):
        send(path)
        if path.address == A:
            fact = Fact(Cause.PORT_CLOSED, "ICMP port unreachable")
            assert world.fleet.icmp((A, 12345), b"ping", fact, witness=True)

    world._send = refuse
    world.run(10 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.PORT_CLOSED)


# -- anywhere -------------------------------------------------------------------------------------


def roaming():
    return PeerSettings(
        "van",
        addresses=(),
        key="fleet",
        expect=Expectation(SECOND),
        timing=Timing(retries=0, rise=1),
        stamp=StampOptions(ssid=7),
    )


def world_of_roaming(seed=1):
    world = World(seed)
    world.watch(peer(ASKED, timing=OFTEN))
    known = [one.settings for one in world.fleet.peers.values()]
    world.fleet.apply([*known, roaming()])
    world.links["192.0.2.7"] = Link()
    sender = Sender(world, "192.0.2.7", SECOND)
    sender.key = ("anywhere", "fleet", 7)
    return world, sender


def test_peer_that_may_be_anywhere_is_known_by_its_key():
    """It is up wherever it comes from, and down when it comes from nowhere."""
    world, sender = world_of_roaming()
    world.run(10 * SECOND)
    assert world.states_of("van") == [State.UP]
    kill(world, "192.0.2.7")
    world.run(10 * SECOND)
    down = last_of(world, "van")
    assert (down.state, down.at) == (State.DOWN, sender.heard_at[-1] + 1500 * MILLISECOND)
    assert len(down.evidence) == 1


def test_its_egress_is_that_of_where_it_came_from():
    """So our own uplink is no fault of one that may be anywhere."""
    world, _ = world_of_roaming()
    world.run(10 * SECOND)
    world.cuts[LAN] = [(world.now, world.now + 20 * SECOND)]
    world.run(40 * SECOND)
    assert failures(world) == []
    assert world.state("van") is State.UP


def test_one_that_never_came_from_anywhere_is_judged():
    """Nothing is known of where it is: it is down all the same."""
    world, _ = world_of_roaming()
    kill(world, "192.0.2.7")
    world.run(10 * SECOND)
    down = last_of(world, "van")
    assert down.state is State.DOWN
    assert START + 1500 * MILLISECOND <= down.at <= START + 2500 * MILLISECOND
    assert "cannot be told apart" in down.evidence[1]


def test_who_is_only_heard_is_judged_though_nothing_of_ours_leaves():
    """That our own firewall keeps back what we send says nothing of what we hear."""
    world = World(1)
    watch_sender(world, told(A, send=b"hello"))
    send = world._send

    def send_and_fail(path):
        send(path)
        world.fleet.send_failed(path, Fact(Cause.SEND_BLOCKED, "EPERM"))

    world._send = send_and_fail
    world.run(20 * SECOND)
    assert world.state(A) is State.UP
    world.links[A].dead.append((world.now, 10**18))
    world.run(20 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


# -- only sending ---------------------------------------------------------------------------------


class Refusing:
    """A world with one peer that is only sent to, and whose host may refuse."""

    def __init__(self, retries=3, beside=10 * SECOND, interval=SECOND):
        self.world = world = World(1)
        timing = Timing(interval, interval // 2, retries, 2)
        world.watch(peer(ASKED, timing=Timing(beside, 100 * MILLISECOND, 3, 2)))
        self.refuses = False
        self.spacing = 0
        """So long after a refusal the host gives no other one;"""
        self.tokens = self.refused_at = 0
        """unless it has some left, of six."""
        self.is_witness = True
        self.fault = None
        self.sent = []
        world.links[A] = Link(host=self)
        world.watch(peer(A, protocol="plain", port=12345, timing=timing), link=world.links[A])
        send, self.world._send = world._send, self.send
        self._send = send

    def send(self, path):
        self._send(path)
        if path.address == A:
            self.sent.append(self.world.now)
            if self.fault is not None:
                self.world.fleet.send_failed(path, self.fault)

    def hear(self, datagram, _at):
        assert datagram == b"heartbeat"
        if self.refuses and self.may_refuse():
            fact = Fact(Cause.PORT_CLOSED, f"ICMP port unreachable from {A}")
            assert self.world.fleet.icmp((A, 12345), datagram, fact, witness=self.is_witness)

    def may_refuse(self):
        """As Linux does: one a second, and six at once (icmp(7), icmp_ratelimit)."""
        if not self.spacing:
            return True
        now = self.world.now
        self.tokens = min(self.tokens + now - self.refused_at, 6 * self.spacing)
        self.refused_at = now
        is_allowed = self.tokens >= self.spacing
        self.tokens -= self.spacing * is_allowed
        return is_allowed


def test_who_never_answers_is_unknown_and_unwatched():
    """No verdict on one that is only sent to, and a heartbeat each interval."""
    one = Refusing()
    one.world.run(100 * SECOND)
    (change,) = one.world.changes_of(A)
    assert (change.state, change.cause) == (State.UNKNOWN, Cause.UNWATCHED)
    assert 99 <= len(one.sent) <= 112
    gaps = [after - before for before, after in pairwise(one.sent)]
    assert 0.9 * SECOND <= min(gaps) < 0.92 * SECOND
    assert 0.98 * SECOND < max(gaps) <= SECOND


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_refused_often_enough_it_is_down(retries):
    """Retries + 1 refusals in a row are a verdict, when the last had its interval; not one less."""
    one = Refusing(retries)
    one.world.run(10 * SECOND)
    one.refuses = True
    before = len(one.sent)
    while one.world.state(A) is State.UNKNOWN:
        one.world.run(10 * MILLISECOND)
        assert len(one.sent) - before <= retries + 2
    down = last_of(one.world)
    assert (down.state, down.cause) == (State.DOWN, Cause.PORT_CLOSED)
    assert down.at == one.sent[before + retries + 1]
    assert down.evidence == (f"{A}: ICMP port unreachable from {A}",)
    one.refuses = False
    one.world.run(5 * SECOND)
    assert one.world.state(A) is State.DOWN  # it may have had no refusal left
    one.world.run(10 * SECOND)
    assert one.world.fleet.peers[A].cause is Cause.UNWATCHED


@pytest.mark.parametrize("interval", [SECOND, 500 * MILLISECOND, 100 * MILLISECOND])
def test_who_may_refuse_but_once_a_second_is_down_all_along(interval):
    """Linux limits its ICMP errors: that none comes once is no end of the outage."""
    one = Refusing(interval=interval)
    one.spacing = SECOND
    one.world.run(10 * SECOND)
    one.refuses = True
    one.world.run(600 * SECOND)
    assert [event.state for event in one.world.changes_of(A)] == [State.UNKNOWN, State.DOWN]


def test_others_are_asked_at_the_first_refusal():
    """Who refuses may be our own side: somebody beyond it has answered by the verdict."""
    one = Refusing(beside=HOUR)
    one.world.run(HOUR)
    one.refuses, one.is_witness = True, False
    asked = len(one.world.sent_to(ASKED))
    one.world.run(10 * SECOND)
    assert len(one.world.sent_to(ASKED)) > asked
    down = last_of(one.world)
    assert (down.state, len(down.evidence)) == (State.DOWN, 1)


def test_one_refusal_in_between_is_none():
    """One heartbeat that is taken begins the count anew."""
    one = Refusing()
    one.world.run(10 * SECOND)
    for _ in range(10):
        one.refuses = True
        one.world.run(2500 * MILLISECOND)
        one.refuses = False
        one.world.run(1200 * MILLISECOND)
    assert {event.state for event in one.world.changes_of(A)} == {State.UNKNOWN}


def test_what_we_could_not_send_is_our_own_fault():
    """Heartbeats that our own firewall keeps back make it unknown by that."""
    one = Refusing()
    one.world.run(10 * SECOND)
    one.fault = Fact(Cause.SEND_BLOCKED, "EPERM")
    one.world.run(10 * SECOND)
    assert (one.world.state(A), one.world.fleet.peers[A].cause) == (
        State.UNKNOWN,
        Cause.SEND_BLOCKED,
    )
    one.fault = None
    one.world.run(10 * SECOND)
    assert one.world.fleet.peers[A].cause is Cause.UNWATCHED
