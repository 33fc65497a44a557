"""BFD neighbours in the detector: what a session that comes and goes is to a verdict."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hbd.core.events import Storm
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.outputs import Examine
from hbd.core.peer import TOLD, Pause
from hbd.core.session import Fact
from hbd.wire import bfd
from tests.simulation.speakers import Router, agreed, told, watch_router, watch_sender
from tests.simulation.world import LAN, START, Link, World, own_link, peer

A, B = "10.0.0.1", "10.0.0.2"
FAST = 100 * MILLISECOND
DETECTION = 3 * FAST
HOUR = 3_600 * SECOND

seeds = pytest.mark.parametrize("seed", range(5))


def world_of(*names, seed=1, interval=FAST, multiplier=3, span=10 * SECOND, **options):
    """Neighbours that are there."""
    world = World(seed, **options)
    routers = [
        watch_router(world, agreed(name, interval, multiplier), multiplier=multiplier)
        for name in names or (A, B)
    ]
    world.run(span)
    return world, *routers


def kill(world, *hosts, span=10**18):
    for host in hosts:
        world.links[host].dead.append((world.now, world.now + span))


def cut(world, span):
    world.cuts[LAN] = [(world.now, world.now + span)]


class Spied:
    """A session of which it is known after what silence it was spoken to."""

    def __init__(self, session):
        self.session, self.silences = session, []

    def __getattr__(self, name):
        return getattr(self.session, name)

    def read(self, datagram, real, ttl, silent_for):
        self.silences.append(silent_for)
        return self.session.read(datagram, real, ttl, silent_for)


def last_of(world, name=A):
    return world.changes_of(name)[-1]


def failures(world):
    return [event for event in world.events if getattr(event, "state", None) is State.DOWN]


# -- up and down ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_it_comes_up_and_nothing_on_the_way_is_a_failure(seed):
    """Without any grace: up with the first Up, within three seconds, and no word before is DOWN."""
    world, router, _ = world_of(seed=seed)
    (up,) = world.changes_of(A)
    assert (up.state, up.first) == (State.UP, True)
    assert up.at < START + 3 * SECOND
    assert router.session.state is bfd.State.UP


@seeds
@pytest.mark.parametrize(
    ("interval", "multiplier"), [(50, 3), (100, 3), (300, 3), (300, 1), (1000, 5)]
)
def test_silence_is_detected_exactly_at_the_detection_time(seed, interval, multiplier):
    """Down when nothing came for what was agreed, not a nanosecond before."""
    interval *= MILLISECOND
    world, *_ = world_of(seed=seed, interval=interval, multiplier=multiplier)
    kill(world, A)
    world.run(10 * SECOND)
    down = next(event for event in world.changes_of(A) if event.state is State.DOWN)
    assert (down.cause, down.detection) == (Cause.SILENT, multiplier * interval)
    assert down.evidence[0] == f"{A}: nothing came for {multiplier * interval / SECOND:g} s"
    assert world.state(B) is State.UP
    assert failures(world) == [down]


@seeds
def test_packets_of_many_sessions_leave_together_and_none_too_soon(seed):
    """Of what is due within a twentieth of the interval all leaves in one turn (RFC 5880 6.8.7)."""
    names = [f"10.0.1.{number}" for number in range(60)]
    world, *_ = world_of(*names, seed=seed, interval=SECOND)
    begun = world.now
    world.run(10 * SECOND)
    sent = [(at, host) for at, host, _ in world.sent if at > begun]
    assert len(sent) > 600
    assert len({at for at, _ in sent}) <= 210
    gaps = [
        after - before
        for name in names
        for before, after in pairwise([at for at, to in sent if to == name])
    ]
    assert all(3 * SECOND <= 4 * gap <= 4 * SECOND for gap in gaps)
    assert len(set(gaps)) == 4


@seeds
def test_silence_just_after_it_came_up_is_detected_as_fast(seed):
    """The time that a greeting may take is over with it."""
    world, *_ = world_of(seed=seed, span=MILLISECOND)
    while world.state(A) is not State.UP:
        world.run(10 * MILLISECOND)
    world.run(500 * MILLISECOND)
    kill(world, A)
    world.run(10 * SECOND)
    assert failures(world)[0].detection == DETECTION


def test_session_that_hears_but_is_not_up_goes_on():
    """Our Detection Time is one without any packet: a router that stays Down has not expired."""
    world = World(1)
    router = watch_router(world, agreed(A))
    router.hear = lambda *_: None
    world.run(20 * SECOND)
    assert world.state(A) is State.DOWN
    states = set()
    for _ in range(400):
        world.run(50 * MILLISECOND)
        states.add(world.path(A).session.state)
    assert states == {bfd.State.INIT}


def test_what_is_agreed_is_the_slower_of_both():
    """The router sends every 400 ms, five times: that is the detection time, not our own."""
    world = World(1)
    watch_router(world, agreed(A, FAST, 3), interval=400 * MILLISECOND, multiplier=5)
    world.run(10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    assert last_of(world).detection == 2 * SECOND


def test_the_router_is_told_of_our_verdict():
    """Our session is Down when our verdict is: the router hears that it is not heard."""
    world, router, _ = world_of()
    world.links[A].lost_in_turn = 10
    world.run(2 * SECOND)
    (down,) = failures(world)
    left = next(at for at, state in router.states[1:] if state is bfd.State.DOWN)
    assert 0 < left - down.at <= 2 * MILLISECOND


@seeds
def test_it_comes_back(seed):
    """A router that is back is up within three seconds."""
    world, *_ = world_of(seed=seed)
    kill(world, A, span=20 * SECOND)
    world.run(20 * SECOND)
    back = world.now
    world.run(10 * SECOND)
    assert last_of(world).state is State.UP
    assert last_of(world).at - back < 3 * SECOND


# -- its own word ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diag", "cause"),
    [
        (bfd.Diag.NONE, Cause.BFD_NO_DIAGNOSTIC),
        (bfd.Diag.EXPIRED, Cause.BFD_EXPIRED),
        (bfd.Diag.ECHO_FAILED, Cause.BFD_ECHO_FAILED),
        (bfd.Diag.FORWARDING_RESET, Cause.BFD_FORWARDING_RESET),
        (bfd.Diag.PATH_DOWN, Cause.BFD_PATH_DOWN),
        (bfd.Diag.CONCATENATED_DOWN, Cause.BFD_CONCATENATED_DOWN),
        (bfd.Diag.REVERSE_DOWN, Cause.BFD_REVERSE_DOWN),
    ],
)
def test_a_router_that_says_down_is_judged_at_once(diag, cause):
    """The router's own word is a verdict as soon as it comes, with its diagnostic as the cause."""
    world, router, _ = world_of()
    world.after(SECOND, lambda: say_down(router, diag))
    at = world.now + SECOND
    world.run(SECOND + 10 * MILLISECOND)
    down = failures(world)[0]
    assert (down.at, down.cause) == (at + world.links[A].delay, cause)
    assert f"(diag {diag})" in down.evidence[0]


def say_down(router, diag):
    router.session._move(bfd.State.DOWN, diag)
    router._send(router.world.now)


def say(world, router, state, diag=bfd.Diag.NONE):
    router.session._move(state, diag)
    router.session._remote_discriminator = world.path(A).session.discriminator
    router._send(world.now)
    world.run(2 * MILLISECOND)


def test_a_router_that_changes_its_mind_all_the_time_is_told_of_once_a_second():
    """Sixty changes at once, then one a second; the last one is told when it may be."""
    world, router, _ = world_of()
    router.hear = lambda *_: None
    began, before = world.now, len(world.changes_of(A))
    for _ in range(1_000):
        say(world, router, bfd.State.DOWN, bfd.Diag.CONCATENATED_DOWN)
        say(world, router, bfd.State.INIT)
        say(world, router, bfd.State.UP)
    told = len(world.changes_of(A)) - before
    assert TOLD.depth // TOLD.cost == 60
    assert 60 <= told <= 60 + (world.now - began) // TOLD.cost
    assert world.state(B) is State.UP
    kill(world, A)
    world.run(TOLD.cost + DETECTION)
    assert last_of(world).state is State.DOWN


def test_a_flood_of_goodbyes_is_looked_into_once_a_turn():
    """However often in a turn a router says that it is off, its way is looked up once."""
    world, router, _ = world_of()
    router.session._move(bfd.State.ADMIN_DOWN, bfd.Diag.ADMIN_DOWN)
    router.session._remote_discriminator = world.path(A).session.discriminator
    said = router.session.compose(world.now)
    for _ in range(2):
        for _ in range(100):
            world.fleet.heard(world.path(A), said, world.now, 255)
        outputs = world.fleet.outputs()
        assert [one.path for one in outputs if isinstance(one, Examine)] == [world.path(A)]


def use_up(world):
    """Let nothing more of a peer be told for now; give when."""
    while world.fleet.peers[A].may_be_told(world.fleet.clock.now):
        continue
    return world.now


def test_a_change_that_may_not_be_told_yet_is_told_as_soon_as_it_may():
    """What is so a second later is told then, though nothing comes."""
    world, *_ = world_of()
    at = use_up(world)
    kill(world, A)
    world.run(TOLD.cost - MILLISECOND)
    assert (world.path(A).state, world.state(A)) == (State.DOWN, State.UP)
    world.run(TOLD.cost)
    assert world.state(A) is State.DOWN
    assert at + TOLD.cost <= last_of(world).at <= at + TOLD.cost + DETECTION + 10 * MILLISECOND


def test_an_operator_and_a_better_known_cause_wait_for_nothing():
    """However much was told of a peer, it is paused at once, and its cause may change."""
    world, *_ = world_of()
    one = world.fleet.peers[A]
    kill(world, A)
    world.run(10 * SECOND)
    use_up(world)
    world.path(A).refused(Fact(Cause.PORT_CLOSED, "port closed"))
    assert (one.state, one.cause) == (State.DOWN, Cause.SILENT)
    world.fleet._verdicts.refresh(one)
    assert (one.state, one.cause) == (State.DOWN, Cause.PORT_CLOSED)
    use_up(world)
    world.fleet.pause(A, Pause(world.wall + HOUR, "", ""))
    assert world.state(A) is State.PAUSED
    world.fleet.resume(A)
    assert world.state(A) is State.UNKNOWN


def test_a_router_that_repeats_our_own_word_is_not_judged_for_it():
    """`Neighbor signaled session down` is what we said: it has the time to come up again."""
    world, router, _ = world_of()
    world.after(SECOND, lambda: say_down(router, bfd.Diag.SIGNALED_DOWN))
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP]


def test_a_router_that_does_repeat_it_and_never_comes_up_is_down():
    """It has three seconds from when it was last up, and then that is the cause."""
    world, router, _ = world_of()
    world.after(SECOND, lambda: say_down(router, bfd.Diag.SIGNALED_DOWN))
    world.run(SECOND + 1)
    heard = world.path(A).heard
    router.hear = lambda *_: None
    world.run(10 * SECOND)
    down = failures(world)[0]
    assert down.cause is Cause.BFD_SIGNALED_DOWN
    assert down.at == heard + 3 * SECOND


def test_router_that_does_not_hear_us_says_so():
    """Only our direction fails: down at the router's word, not at any silence."""
    world, router, _ = world_of()
    router.hear = lambda *_: None
    world.run(SECOND)
    (down,) = failures(world)
    assert down.cause is Cause.BFD_EXPIRED
    at = next(at for at, state in router.states[1:] if state is bfd.State.DOWN)
    assert down.at == at + world.links[A].delay


@pytest.mark.parametrize("seed", range(20))
def test_administratively_down_is_left_and_back(seed):
    """A router that was shut down on purpose has left; when it is taken back, it is up."""
    world, router, _ = world_of(seed=seed)
    world.after(SECOND, lambda: router.admin_down(on=True))
    world.run(30 * SECOND)
    left = last_of(world)
    assert (left.state, left.cause) == (State.LEFT, Cause.BFD_ADMIN_DOWN)
    assert left.at == START + 11 * SECOND + world.links[A].delay
    world.after(SECOND, lambda: router.admin_down(on=False))
    world.run(5 * SECOND)
    assert world.states_of(A) == [State.UP, State.LEFT, State.UP]


def test_router_that_is_taken_back_and_never_comes_up_is_down():
    """It has a greeting's time from its first word, then it is down with that as the cause."""
    world, router, _ = world_of()
    world.after(SECOND, lambda: router.admin_down(on=True))
    world.run(30 * SECOND)
    router.hear = lambda *_: None
    world.after(SECOND, lambda: router.admin_down(on=False))
    at = world.now + SECOND + world.links[A].delay
    world.run(20 * SECOND)
    assert (last_of(world).state, last_of(world).cause) == (State.DOWN, Cause.BFD_NO_DIAGNOSTIC)
    assert last_of(world).at == at + 3 * SECOND


@seeds
def test_restarted_router_is_up_again(seed):
    """A router that begins anew is up again within seconds, whatever happened in between."""
    world, router, _ = world_of(seed=seed)
    world.after(SECOND, lambda: router.begin(world.now))
    world.run(10 * SECOND)
    assert last_of(world).state is State.UP
    assert {event.state for event in world.changes_of(A)} <= {State.UP, State.DOWN}
    assert world.states_of(B) == [State.UP]


# -- timers ---------------------------------------------------------------------------------------


@seeds
@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1), (1, 20), (20, 1)])
@pytest.mark.parametrize("who", ["we", "the router"])
def test_new_timers_take_nobody_down(seed, before, after, who):
    """A reload here or a reconfiguration there: up all along, then the new detection time."""
    world, router, _ = world_of(seed=seed, interval=before * FAST)
    path = world.path(A)
    if who == "we":
        known = {name: one.settings for name, one in world.fleet.peers.items()}
        world.after(SECOND, lambda: world.apply(*(known | {A: agreed(A, after * FAST)}).values()))
    else:
        world.after(SECOND, lambda: router.adopt(after * FAST, 3))
    world.run(30 * SECOND)
    assert (world.states_of(A), world.path(A)) == ([State.UP], path)
    kill(world, A)
    world.run(30 * SECOND)
    assert failures(world)[0].detection == 3 * max(before, after) * FAST


def test_a_poll_is_answered_at_once():
    """The Final does not wait for the next packet."""
    world, router, _ = world_of(interval=10 * FAST)
    finals, hear = [], router.hear

    def note(datagram, at):
        if bfd.parse(datagram).final:
            finals.append(at)
        hear(datagram, at)

    router.hear = note
    world.after(SECOND, lambda: router.adopt(12 * FAST, 3))
    world.run(5 * SECOND)
    polls = [at for at, packet in router.sent if packet.poll and at > START + 10 * SECOND]
    assert finals[0] == polls[0] + 2 * world.links[A].delay


def test_a_router_that_is_not_up_is_a_witness():
    """Whatever it says, something came from beyond our own side."""
    world = World(1)
    router = watch_router(world, agreed(A))
    router.hear = lambda *_: None
    world.watch(peer(B))
    world.run(10 * SECOND)
    kill(world, B)
    world.run(10 * SECOND)
    down = last_of(world, B)
    assert (down.state, len(down.evidence)) == (State.DOWN, 1)


# -- suspect yourself first -----------------------------------------------------------------------


@seeds
@pytest.mark.parametrize("span", [150, 250, 290, 310, 500, 2_000, 60_000])
def test_own_stall_is_never_a_down(seed, span):
    """We did not run: where the router gave us up for it, that is said, and it is up again."""
    world, router, _ = world_of(seed=seed)
    begin = world.now + world.dice.randrange(SECOND)
    world.stalls.append((begin, begin + span * MILLISECOND))
    world.run(span * MILLISECOND + 10 * SECOND)
    assert failures(world) == []
    assert world.state(A) is State.UP
    if span > 500:
        lost = [event for event in world.changes_of(A) if event.state is State.UNKNOWN]
        assert [event.cause for event in lost] == [Cause.OWN_STALL]
        assert "we ourselves sent nothing for" in lost[0].evidence[0]
        assert bfd.State.DOWN in [state for at, state in router.states if at > begin]


def test_router_that_dies_in_our_stall_is_down():
    """It is not heard again: it gets its verdict when it had its time."""
    world, *_ = world_of()
    world.stalls.append((world.now, world.now + 5 * SECOND))
    kill(world, A)
    world.run(20 * SECOND)
    assert (world.state(A), world.state(B)) == (State.DOWN, State.UP)


def test_router_that_gave_us_up_and_dies_is_down():
    """Unknown by our own stall is not for ever."""
    world, *_ = world_of()
    world.stalls.append((world.now, world.now + 5 * SECOND))
    world.run(5 * SECOND + 1)
    assert world.fleet.peers[A].cause is Cause.OWN_STALL
    kill(world, A)
    world.run(20 * SECOND)
    assert world.state(A) is State.DOWN


@pytest.mark.parametrize("work", [5, 20, 60, 90])
def test_a_late_loop_is_no_down_and_detects(work):
    """Every turn takes milliseconds: nobody is down for it; silence is seen, that much later."""
    world, *_ = world_of()
    world.work = work * MILLISECOND
    world.run(60 * SECOND)
    assert failures(world) == []
    kill(world, A)
    world.run(10 * SECOND)
    down = failures(world)[0]
    late = world.late_since(down.at - down.detection)
    assert DETECTION <= down.detection <= DETECTION + late


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("span", [100, 200, 250, 300, 350, 500, 1_000, 5_000, 60_000])
def test_own_uplink_is_never_a_down(seed, span):
    """Our uplink fails for any time, the router gives us up or not: unknown at most, then up."""
    world, *_ = world_of(A, B, "10.0.0.3", seed=seed)
    world.run(world.dice.randrange(SECOND))
    cut(world, span * MILLISECOND)
    world.run(span * MILLISECOND + 10 * SECOND)
    assert failures(world) == []
    assert {one.state for one in world.fleet.peers.values()} == {State.UP}
    faults = [storm.cause for storm in world.of_kind(Storm) if storm.cause is not None]
    assert faults == [Cause.OWN_UPLINK] or span <= 350


@seeds
@pytest.mark.parametrize("ago", [3, 15, 40, 80])
def test_cut_that_ends_just_before_the_verdict_is_no_down(seed, ago):
    """Others are heard again just before it, and this router has given us up: no DOWN."""
    world, router = world_of(A, seed=seed)
    watch_sender(world, told(B, 10 * MILLISECOND, 100.0))
    world.run(SECOND)
    due = world.path(A).heard + DETECTION
    world.cuts[LAN] = [(world.now, due - ago * MILLISECOND)]
    world.links[A].lost_in_turn = 2  # no luck either
    world.run(10 * SECOND)
    assert failures(world) == []
    assert world.state(A) is State.UP
    assert router.session.state is bfd.State.UP


@pytest.mark.parametrize("seed", range(40))
def test_router_that_loses_us_as_we_come_back_is_no_down(seed):
    """Its packets reach us first, then its word that ours did not: that was our uplink, too."""
    world, *_ = world_of(A, B, "10.0.0.3", seed=seed, interval=SECOND, span=20 * SECOND)
    for link in world.links.values():
        link.spread = 5 * MILLISECOND
    world.run(world.dice.randrange(SECOND))
    cut(world, 2 * SECOND + world.dice.randrange(1_500) * MILLISECOND)
    world.run(20 * SECOND)
    assert failures(world) == []


def test_router_that_was_dead_and_is_administratively_down_has_left():
    """Its first word after a silence is that it is down on purpose: so it is, at once."""
    world, router, _ = world_of()
    kill(world, A, span=20 * SECOND)
    world.run(10 * SECOND)
    assert world.state(A) is State.DOWN
    world.after(SECOND, lambda: router.admin_down(on=True))
    world.run(20 * SECOND)
    back = min(at for at, _ in router.sent if at >= START + 30 * SECOND)
    assert (last_of(world).state, last_of(world).at) == (State.LEFT, back + world.links[A].delay)


def test_our_own_word_that_comes_back_is_no_cause():
    """Silent it was; that the router then repeats our Down explains nothing."""
    world, router, _ = world_of()
    world.links[A].lost_in_turn = 5
    world.run(600 * MILLISECOND)
    router.hear = lambda *_: None
    world.run(20 * SECOND)
    assert router.session.diag == bfd.Diag.SIGNALED_DOWN
    assert {event.cause for event in world.changes_of(A) if event.state is State.DOWN} == {
        Cause.SILENT
    }


def test_fault_of_our_uplink_is_no_excuse_for_long():
    """A router that does not hear us long after it is down for that."""
    world, router, _ = world_of()
    cut(world, 5 * SECOND)
    world.run(15 * SECOND)
    router.hear = lambda *_: None
    world.run(5 * SECOND)
    assert [event.cause for event in failures(world)] == [Cause.BFD_EXPIRED]


def test_the_routers_own_word_tells_more_than_an_icmp_error():
    """What it says of itself is the cause, whatever the way says."""
    path = world_of()[0].path(A)
    path.bad = Fact(Cause.BFD_PATH_DOWN, "it says so")
    path.icmp = Fact(Cause.HOST_UNREACHABLE, "a router says so")
    assert path.failure() == path.bad


def test_dead_router_is_down_after_our_uplink_is_back():
    """Who does not come back with the others is down, a greeting later."""
    world, *_ = world_of()
    cut(world, 10 * SECOND)
    kill(world, A)
    world.run(10 * SECOND)
    assert world.state(A) is State.UNKNOWN
    world.run(10 * SECOND)
    back = last_of(world, B).at
    assert last_of(world).state is State.DOWN
    assert last_of(world).at - back <= 3 * SECOND + FAST


def test_interface_down_is_our_own_link():
    """With our interface down all are unknown, and up again after it."""
    world, *_ = world_of()
    world.faults[LAN] = own_link("eth0")
    world.run(10 * SECOND)
    assert {world.fleet.peers[name].cause for name in (A, B)} == {Cause.OWN_LINK}
    world.faults.clear()
    world.run(10 * SECOND)
    assert failures(world) == []
    assert {world.state(name) for name in (A, B)} == {State.UP}


@seeds
def test_suspend_is_forgiven(seed):
    """We slept, and the routers gave us up long ago: nobody is down for it."""
    world, *_ = world_of(seed=seed, start_grace=10 * SECOND)
    world.suspend(8 * HOUR)
    cut(world, 4 * SECOND)
    world.run(30 * SECOND)
    assert failures(world) == []
    assert {world.state(name) for name in (A, B)} == {State.UP}


# -- other machines -------------------------------------------------------------------------------


def test_for_the_peer_time_goes_on_while_we_do_not_run():
    """It may be at any sequence number after a pause of ours: it spoke on (RFC 5880 6.8.1)."""
    world, *_ = world_of()
    path = world.path(A)
    spied = path.session = Spied(path.session)
    world.run(SECOND)
    assert max(spied.silences) <= FAST
    world.stalls.append((world.now, world.now + 60 * SECOND))
    world.links[A].dead.append((world.now, world.now + 60 * SECOND))
    world.run(90 * SECOND)
    assert 60 * SECOND <= max(spied.silences) < 62 * SECOND
    spied.silences.clear()
    world.suspend(HOUR)
    world.run(5 * SECOND)
    assert max(spied.silences) > HOUR


def test_a_name_that_moves_is_another_router():
    """What was agreed with the machine before is forgotten; the one after it was never down."""
    world, *_ = world_of()
    other = "10.0.0.9"
    world.links[other] = Link()
    world.links[other].host = Router(world, other, FAST)
    world.resolve(world.path(A), other)
    world.run(20 * SECOND)
    assert State.DOWN not in world.states_of(A)
    assert world.state(A) is State.UP


def test_of_the_addresses_of_a_name_the_one_that_speaks_is_answered():
    """Nobody is at the first: as with a peer that is asked, the second will do."""
    world = World(1)
    world.links[A] = world.links[B] = Link()
    router = Router(world, B, FAST)
    world.links[A], world.links[B] = Link(dead=[(0, 10**20)]), Link(host=router)
    world.fleet.apply([replace(agreed("r1"), addresses=("r1.example",))])
    world.resolve(world.fleet.peers["r1"].paths[0], A, B)
    world.run(20 * SECOND)
    assert world.state("r1") is State.UP
    assert world.fleet.peers["r1"].paths[0].target == (B, 3784)
    assert world.states_of("r1") == [State.UP]


def test_a_name_that_is_not_known_is_unresolved_after_a_pause_too():
    """Nothing can be missed of whom nobody knows where it is."""
    world = World(1)
    world.fleet.apply([replace(agreed("r1"), addresses=("r1.example",))])
    (path,) = world.fleet.peers["r1"].paths
    world.fleet.resolved(path, (), "no such name")
    world.fleet.pause("r1", Pause(world.wall + HOUR, "", "root"))
    world.run(20 * SECOND)
    world.fleet.resume("r1")
    world.run(20 * SECOND)
    peer = world.fleet.peers["r1"]
    assert (peer.state, peer.cause) == (State.UNKNOWN, Cause.UNRESOLVED)


# -- people ---------------------------------------------------------------------------------------


@seeds
def test_pause_tells_the_router_and_resume_brings_it_up(seed):
    """Paused, the router sees AdminDown at once; after it both are up, and nothing was down."""
    world, router, _ = world_of(seed=seed)
    world.after(SECOND, lambda: world.fleet.pause(A, Pause(world.wall + HOUR, "", "root")))
    world.run(SECOND + 2 * world.links[A].delay)
    assert router.session.remote_state is bfd.State.ADMIN_DOWN
    assert router.states[-1][1] is bfd.State.DOWN
    world.run(20 * SECOND)
    assert world.state(A) is State.PAUSED
    assert router.session.state is bfd.State.DOWN
    world.after(SECOND, lambda: world.fleet.resume(A))
    world.run(10 * SECOND)
    assert world.states_of(A) == [State.UP, State.PAUSED, State.UNKNOWN, State.UP]
    assert router.session.state is bfd.State.UP


@pytest.mark.parametrize("timing", [Timing(), Timing(200 * MILLISECOND, FAST, 3, 2)])
@pytest.mark.parametrize("why", ["paused", "admin-down"])
@seeds
def test_who_is_down_by_will_and_speaks_hides_nobody_behind_it(why, timing, seed):
    """AdminDown is no failure of the way (RFC 5882 4.2): what dies behind it has a verdict."""
    world, router, _ = world_of(seed=seed)
    world.watch(peer("10.0.0.3", via=A, timing=timing))
    world.run(5 * SECOND)
    if why == "paused":
        world.after(SECOND, lambda: world.fleet.pause(A, Pause(world.wall + HOUR, "", "root")))
    else:
        world.after(SECOND, lambda: router.admin_down(on=True))
    world.run(20 * SECOND)
    kill(world, "10.0.0.3")
    world.run(30 * SECOND)
    assert world.state(A) is (State.PAUSED if why == "paused" else State.LEFT)
    assert world.states_of("10.0.0.3") == [State.UP, State.DOWN]
    kill(world, A)
    world.run(30 * SECOND)
    assert world.state("10.0.0.3") is State.DOWN


def test_what_is_behind_one_that_is_down_by_will_and_gone_is_unreachable():
    """Once its operator's word is all that is left, it hides what is silent behind it."""
    world, router, _ = world_of()
    world.watch(peer("10.0.0.3", via=A))
    world.run(5 * SECOND)
    world.after(SECOND, lambda: router.admin_down(on=True))
    world.run(10 * SECOND)
    kill(world, A, span=40 * SECOND)
    kill(world, "10.0.0.3")
    world.run(30 * SECOND)
    assert world.state("10.0.0.3") is State.UNREACHABLE
    world.run(30 * SECOND)  # it says so again
    assert (world.state(A), world.state("10.0.0.3")) == (State.LEFT, State.DOWN)


def test_resumed_and_silent_is_down():
    """A router that died in the pause is down a greeting after it."""
    world, *_ = world_of()
    world.after(SECOND, lambda: world.fleet.pause(A, Pause(world.wall + HOUR, "", "root")))
    world.run(2 * SECOND)
    kill(world, A)
    world.run(20 * SECOND)
    world.after(SECOND, lambda: world.fleet.resume(A))
    world.run(10 * SECOND)
    assert last_of(world).state is State.DOWN


def test_new_path_of_a_paused_peer_is_paused():
    """A session that a reload begins while the peer is paused says so, and ends with the pause."""
    world, *_ = world_of()
    one = world.fleet.peers[A].settings
    world.fleet.pause(A, Pause(world.wall + 10 * SECOND, "", "root"))
    world.fleet.apply([one], replaced=[A])
    world.resolve(world.path(A), A)
    assert world.path(A).session.state is bfd.State.ADMIN_DOWN
    world.run(11 * SECOND)
    assert world.fleet.peers[A].pause is None
    assert world.path(A).session.state is not bfd.State.ADMIN_DOWN


def test_paths_that_a_reload_ends_are_known_before():
    """Whoever is removed, moved, or needs another session is told that we go; nobody else."""
    world, *_ = world_of()
    a, b = (world.fleet.peers[name].settings for name in (A, B))
    fleet, paths = world.fleet, {name: world.path(name) for name in (A, B)}
    slower = replace(b, timing=replace(b.timing, interval=SECOND))
    assert fleet.going([a, slower]) == []
    assert fleet.going([a]) == [paths[B]]
    assert fleet.going([a, b], replaced=[A]) == [paths[A]]
    assert fleet.going([a, replace(b, addresses=("10.0.0.9",))]) == [paths[B]]
    assert fleet.going([a, replace(b, bfd=replace(b.bfd, multihop=True))]) == [paths[B]]
