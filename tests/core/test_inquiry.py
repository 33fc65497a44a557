"""Evidence that is asked for: what is sent for it, when, and what is made of the answers."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from hbd.core.inquiry import (
    AFRESH,
    AGAIN,
    FARTHEST,
    PATIENCE,
    SPACING,
    TOGETHER,
    Inquiry,
    Method,
    Probe,
    can_be_asked,
    hops_away,
)
from hbd.core.model import MILLISECOND, SECOND, Cause, StampOptions, State, Timing
from hbd.core.path import Reception, Step
from hbd.core.peer import Pause
from hbd.core.session import Fact
from tests.simulation.world import WAN, Link, World, peer, reflect

A, B = "10.0.0.1", "10.0.0.2"
ROUTERS = ("10.0.0.254", "10.9.0.1", "10.9.1.1", "10.9.2.1")


def world_of(*settings, link=None, **options):
    """A world of peers that are up."""
    world = World(5, **options)
    world.watch(settings[0], link=link)
    world.watch(*settings[1:])
    world.run(10 * SECOND)
    assert all(world.state(one.name) is State.UP for one in settings)
    return world


def kill(world, *hosts):
    for host in hosts:
        world.links[host].dead.append((world.now, world.now + 10**9 * SECOND))


def until_asked(world, method):
    """Let time pass until a probe has just left; give it."""
    for _ in range(500):
        if found := probes(world, method):
            return found[-1][1]
        world.run(10 * MILLISECOND)
    raise AssertionError(method)


def evidence(world, name=A):
    return world.fleet.peers[name].evidence


def probes(world, method):
    return [(at, probe) for at, probe in world.probes if probe.method is method]


def test_nothing_is_asked_of_those_that_answer():
    """One lost heartbeat in a row, or none: no probe leaves."""
    world = world_of(peer(A), peer(B))
    world.links[A].lost_in_turn = 1
    world.run(60 * SECOND)
    assert world.probes == []


def test_a_host_that_answers_otherwise_is_filtered_by_its_deadline():
    """Echo is asked for at the second miss, so the verdict itself has the cause."""
    world = world_of(peer(A), peer(B), link=Link(echoes=True))
    kill(world, A)
    world.run(5 * SECOND)
    (down,) = [event for event in world.changes_of(A) if event.state is State.DOWN]
    assert down.cause is Cause.FILTERED
    assert down.evidence[0] == f"{A}: the host answers ICMP echo, but no heartbeat"


def test_what_is_known_is_told_once():
    """What the host answers stands in the words on the cause; beside it, what it does not."""
    world = world_of(peer(A), peer(B), link=Link(echoes=True))
    kill(world, A)
    world.run(10 * SECOND)
    assert evidence(world) == (
        f"{A}: the host answers ICMP echo, but no heartbeat",
        f"{A}: no answer to TCP",
    )


def test_no_verdict_waits_for_evidence():
    """The verdict comes at its deadline, what is found out later refines its cause."""
    alone, asked = (world_of(peer(A), peer(B), link=Link(echoes=e, delay=d)) for e, d in
                    ((False, MILLISECOND), (True, MILLISECOND)))  # fmt: skip
    for world in (alone, asked):
        kill(world, A)
    asked.links[A].delay = 600 * MILLISECOND  # what comes back now comes after the deadline
    for world in (alone, asked):
        world.run(10 * SECOND)
    downs = [[e for e in w.changes_of(A) if e.state is State.DOWN] for w in (alone, asked)]
    assert [event.cause for event in downs[0]] == [Cause.SILENT]
    assert [event.cause for event in downs[1]] == [Cause.SILENT, Cause.FILTERED]
    assert downs[0][0].at == downs[1][0].at
    assert downs[1][1].is_refinement


def test_silence_names_what_was_asked():
    """Where nothing answers, the evidence says what was tried."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.SILENT
    assert evidence(world)[1] == f"{A}: no answer to ICMP echo nor to TCP"


def test_what_may_still_be_answered_is_not_called_unanswered():
    """The verdict comes while answers are awaited: what did not answer is told when none can."""
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
    world = world_of(peer(A, timing=quick), peer(B), link=Link(echoes=True))
    kill(world, A)
    world.run(SECOND)
    assert world.state(A) is State.DOWN
    assert world.fleet.is_inquiring(world.fleet.peers[A])
    assert not any("no answer to" in fact for fact in evidence(world))
    world.run(PATIENCE)
    assert any("no answer to" in fact for fact in evidence(world))


def test_an_answer_that_comes_when_none_is_awaited_is_of_no_account():
    """Somebody may keep it back for an hour."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    probe = until_asked(world, Method.ECHO)
    world.run(2 * PATIENCE)
    assert not world.fleet.is_inquiring(probe.path.peer)
    world.fleet.found(probe, "ICMP echo", alive=True)
    assert world.fleet.peers[A].cause is Cause.SILENT


def test_a_peer_that_is_removed_meanwhile_is_no_business_any_more():
    """What is found out of a peer that a reload has removed is told of nobody."""
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
    world = world_of(peer(A, timing=quick), peer(B))
    kill(world, A)
    probe = until_asked(world, Method.CONNECT)
    world.run(SECOND)
    gone = world.fleet.peers[A]
    assert gone.state is State.DOWN
    assert world.fleet.is_inquiring(gone)
    world.fleet.apply([peer(B)])
    before = len(world.changes_of(A))
    world.fleet.found(probe, "TCP port 862", alive=True)
    world.run(2 * PATIENCE)
    assert len(world.changes_of(A)) == before


def test_only_what_was_asked_is_unanswered():
    """A peer that is asked by TCP all the time is not probed so, and that is not told either."""
    world = world_of(peer(A))
    inquiry = Inquiry(world.fleet.peers[A].paths[0], world.now)
    inquiry.ask(Probe(inquiry, Method.ECHO), world.now)
    inquiry.is_closed = True
    assert list(inquiry.lines(Cause.SILENT)) == ["no answer to ICMP echo"]


def test_what_could_not_be_asked_is_said():
    """A probe that the kernel forbids is evidence of nothing, in words."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    probe = until_asked(world, Method.ECHO)
    world.fleet.found(probe, "ICMP echo is forbidden here", alive=False)
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.SILENT
    assert evidence(world)[1:3] == (
        f"{A}: ICMP echo is forbidden here",
        f"{A}: no answer to TCP",
    )


def test_what_is_explained_is_not_inquired_into():
    """An ICMP error about a heartbeat says it all."""
    world = world_of(peer(A), peer(B))
    closed = Fact(Cause.PORT_CLOSED, "ICMP port unreachable")
    kill(world, A)
    world.run(1200 * MILLISECOND)
    datagram = [d for _, to, d in world.sent if to == A][-1]
    assert world.fleet.icmp((A, 862), datagram, closed, witness=True)
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.PORT_CLOSED
    assert world.probes == []


def test_a_paused_peer_is_not_inquired_into():
    """Who is taken out of judgement needs no evidence."""
    world = world_of(peer(A), peer(B))
    world.fleet.pause(A, Pause(world.wall + 3600 * SECOND, "", "root"))
    kill(world, A)
    world.run(20 * SECOND)
    assert world.probes == []


def test_a_path_that_stays_silent_is_inquired_into_once_a_minute():
    """Silence does not make us louder."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(10 * SECOND + 3 * AGAIN)
    times = [at for at, _ in probes(world, Method.ECHO)]
    assert len(times) == 4
    assert all(later - at >= AGAIN for at, later in pairwise(times))


def test_what_an_inquiry_showed_does_not_hold_for_ever():
    """A host that answered echo, and no longer does, is not called filtered for good."""
    world = world_of(peer(A), peer(B), link=Link(echoes=True))
    kill(world, A)
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.FILTERED
    world.links[A].echoes = False
    world.run(AGAIN - 15 * SECOND)
    assert world.fleet.peers[A].cause is Cause.FILTERED
    world.run(15 * SECOND)
    assert world.fleet.peers[A].cause is Cause.SILENT


def test_what_an_inquiry_showed_is_void_after_a_reply():
    """The next silence is a new one."""
    world = world_of(peer(A), peer(B), link=Link(echoes=True))
    world.links[A].dead.append((world.now, world.now + 30 * SECOND))
    world.run(50 * SECOND)
    assert world.state(A) is State.UP
    world.links[A].echoes = False
    kill(world, A)
    world.run(4 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


def test_an_answer_after_the_path_was_heard_is_of_no_account():
    """What was asked in a silence that is over says nothing of the next one."""
    world = world_of(peer(A), peer(B), link=Link(echoes=True))
    world.links[A].lost_in_turn = 2
    path = until_asked(world, Method.ECHO).path
    world.run(2 * SECOND)
    assert path.inquiry is None


def test_probes_are_paced_however_many_miss():
    """A thousand peers that fall silent at once get no more than a hundred probes a second."""
    names = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1_000)]
    world = world_of(peer(B), *map(peer, names), keep=True)
    kill(world, *names)
    world.run(30 * SECOND)
    times = [at for at, _ in world.probes]
    assert len(times) > 1_000
    assert max(Counter(times).values()) <= TOGETHER
    assert all(later - at >= SPACING for at, later in pairwise(sorted(set(times))))
    assert SECOND // SPACING * TOGETHER == 100


def test_a_question_of_an_operator_comes_before_the_queue():
    """`hbd explain` waits for its own peer's evidence, not for that of a thousand others."""
    names = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1_000)]
    world = world_of(peer(B), *map(peer, names))
    kill(world, *names)
    world.run(10 * SECOND)
    missing = (p for p in world.fleet.peers.values() if p.paths[0].is_missing)
    last = next(p for p in missing if p.paths[0].inquiry is None)
    world.fleet.inquire(last)
    assert world.fleet.is_inquiring(last)
    world.run(PATIENCE + 10 * SPACING)
    assert not world.fleet.is_inquiring(last)
    assert any("no answer to ICMP echo" in fact for fact in last.evidence)


def test_a_question_about_one_that_answers_is_none():
    """There is nothing to find out, and nobody waits for it."""
    world = world_of(peer(A), peer(B))
    world.fleet.inquire(world.fleet.peers[A])
    assert not world.fleet.is_inquiring(world.fleet.peers[A])


def test_a_question_again_and_again_is_one_in_five_seconds():
    """Anybody may ask; the host is left in peace."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(10 * SECOND)
    before = len(probes(world, Method.ECHO))
    for _ in range(100):
        world.fleet.inquire(world.fleet.peers[A])
        world.run(AFRESH // 50)
    assert len(probes(world, Method.ECHO)) == before + 2


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ({}, True),
        ({"missed": 0}, False),
        ({"target": None}, False),
        ({"deadline": None}, False),
        ({"send_error": Fact(Cause.NO_ROUTE, "no route")}, False),
    ],
)
def test_who_can_be_asked(fault, asked):
    """One that misses something, is watched, and to which datagrams leave."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(3 * SECOND)
    (path,) = world.fleet.peers[A].paths
    for name, value in fault.items():
        setattr(path, name, value)
    assert can_be_asked(path) is asked


def test_an_answer_in_the_next_silence_is_of_no_account():
    """What was asked in one silence, and is answered in the next, says nothing of that."""
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
    world = world_of(peer(A, timing=quick), peer(B))
    world.links[A].lost_in_turn = 2
    probe = until_asked(world, Method.ECHO)
    path = probe.path
    world.run(300 * MILLISECOND)
    assert not path.is_missing
    kill(world, A)
    while not path.is_missing:
        world.run(10 * MILLISECOND)
    world.fleet.found(probe, "ICMP echo", alive=True)
    assert path.inquiry is None
    while path.missed < quick.retries:
        world.run(10 * MILLISECOND)
    world.run(SPACING)
    assert len(probes(world, Method.ECHO)) == 2  # the second into this silence
    world.fleet.found(probe, "ICMP echo", alive=True)
    world.run(2 * PATIENCE)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


def test_each_silence_is_inquired_into_by_itself():
    """One that begins while answers to the last one's probes are awaited: its cause is known."""
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
    world = world_of(peer(A, timing=quick), peer(B), link=Link(echoes=True))
    world.links[A].lost_in_turn = 2
    path = until_asked(world, Method.ECHO).path
    world.run(300 * MILLISECOND)
    assert not path.is_missing
    kill(world, A)
    world.run(SECOND)
    down = world.changes_of(A)[-1]
    assert (down.state, down.cause) == (State.DOWN, Cause.FILTERED)
    assert len(probes(world, Method.ECHO)) == 2


def test_a_path_that_only_loses_is_left_in_peace():
    """Two missed in a row, now and then, are no new silence each time that is to be explained."""
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, 3, 2)
    world = world_of(peer(A, timing=quick), peer(B), link=Link(echoes=True))
    for _ in range(6):
        world.links[A].lost_in_turn = 2
        world.run(quick.detection)
    assert world.state(A) is State.UP
    assert world.path(A).rounds.ended[2] == 6
    assert len(probes(world, Method.ECHO)) == 2


@pytest.mark.parametrize(
    ("retries", "first"), [(3, []), (1, [(State.DOWN, Cause.SILENT)])], ids=["in-time", "few"]
)
def test_a_silence_goes_on_after_a_fault_of_ours_as_another(retries, first):
    """What could not be answered then says nothing of it: it is inquired into anew, in time.

    With few retries it is inquired into when all was missed.
    """
    quick = Timing(200 * MILLISECOND, 100 * MILLISECOND, retries, 2)
    patient = Timing(200 * MILLISECOND, 150 * MILLISECOND, retries, 2)
    world = world_of(peer(A, timing=quick), peer(B, timing=patient))
    (path,), egress = world.fleet.peers[A].paths, world.links[A].egress
    kill(world, A)
    while path.asked is None or world.now - path.last_sent < quick.timeout // 2:
        world.run(MILLISECOND)
    world.cuts[egress] = [(world.now, world.now + SECOND)]
    while world.fleet.peers[A].cause is not Cause.OWN_UPLINK:
        world.run(MILLISECOND)
    world.cuts.clear()
    world.links[A].echoes = True
    world.run(PATIENCE - 500 * MILLISECOND)
    assert probes(world, Method.ECHO)[0][0] > world.now - PATIENCE  # may still be answered
    changes = [(event.state, event.cause) for event in world.changes_of(A)]
    ours = changes.index((State.UNKNOWN, Cause.OWN_UPLINK))
    assert changes[ours + 1 :] == [*first, (State.DOWN, Cause.FILTERED)]


def test_an_answer_after_a_change_of_ours_is_of_no_account():
    """A silence that a change of the configuration has ended is explained no more."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    probe = until_asked(world, Method.ECHO)
    path = probe.path
    path.ask_anew(world.fleet.clock.now)
    assert not path.is_missing
    world.fleet.found(probe, "ICMP echo", alive=True)
    assert path.inquiry is None


def test_who_misses_nothing_when_its_turn_comes_is_not_asked():
    """It was wanted a moment ago, and has waited for its turn."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    (path,) = world.fleet.peers[A].paths
    while not path.is_missing:
        world.run(MILLISECOND)
    world.fleet.inquire(world.fleet.peers[A])
    assert world.fleet.is_inquiring(world.fleet.peers[A])
    path.ask_anew(world.fleet.clock.now)
    world.run(10 * SPACING)
    assert world.probes == []
    assert not world.fleet.is_inquiring(world.fleet.peers[A])


def test_nothing_is_asked_of_a_peer_that_is_gone():
    """A reload that removes a peer ends its inquiry."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    until_asked(world, Method.ECHO)
    before = len(world.probes)
    world.apply(peer(B))
    world.run(200 * SECOND)
    assert all(probe.path.peer.name == A for _, probe in world.probes)
    assert len(world.probes) <= before + 1


# -- the way there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "hops"), [(None, None), (255, 1), (254, 2), (64, 1), (61, 4), (128, 1), (30, 3)]
)
def test_hops_are_counted_from_the_next_usual_ttl(ttl, hops):
    """Datagrams begin with 32, 64, 128 or 255."""
    assert hops_away(ttl) == hops


def far(routers, ttl, **options):
    """A peer behind routers, and one that is beside it."""
    link = Link(egress=WAN, routers=routers)
    world = World(5)
    world.watch(peer(A, **options), link=link)
    world.watch(peer(B), link=Link(egress=WAN))
    world.run(10 * SECOND)
    world.fleet.peers[A].paths[0].reply_ttl = ttl
    return world


def test_the_last_hop_that_answers_is_told():
    """Heartbeats with a small TTL show how far they get, against the hops of better days."""
    world = far(ROUTERS[:2], 251)
    kill(world, A)
    world.run(10 * SECOND)
    assert [probe.ttl for _, probe in probes(world, Method.HOP)] == [1, 2, 3, 4]
    assert evidence(world)[-1] == (
        f"{A}: the last router that answers is hop 2 (10.9.0.1);"
        " when the peer answered it was 5 hops away"
    )
    assert world.fleet.peers[A].cause is Cause.SILENT


def test_where_the_distance_is_not_known_sixteen_hops_are_asked():
    """A peer that has never answered may be anywhere."""
    world = far((), None)
    kill(world, A)
    world.run(10 * SECOND)
    ttls = [probe.ttl for _, probe in probes(world, Method.HOP)]
    assert ttls == list(range(1, FARTHEST))
    assert evidence(world)[-1] == f"{A}: no router on the way answers"


def test_answers_are_awaited_from_the_last_probe_on():
    """The last of many probes has as much time as the first."""
    world = far((), None)
    kill(world, A)
    while len(asked := probes(world, Method.HOP)) < FARTHEST - 1:
        world.run(SPACING)
    last, suspect = asked[-1][0], world.fleet.peers[A]
    world.run(last + PATIENCE - SPACING // 2 - world.now)
    assert world.fleet.is_inquiring(suspect)
    world.run(SPACING)
    assert not world.fleet.is_inquiring(suspect)


def test_a_probe_takes_no_heartbeats_place():
    """A heartbeat that leaves in the same turn as a probe, after it, is awaited from then on."""
    world = far(ROUTERS, 251)
    (path,) = world.fleet.peers[A].paths
    now, later = world.now, world.now + 5 * MILLISECOND
    path.asked, path.deadline = None, now
    assert path.advance(now, path.lateness) is Step.ASK
    path.compose_probe(Probe(Inquiry(path, now), Method.HOP, 1), now, now, world.wall)
    path.compose(later, later, world.wall)
    assert path.deadline == later + path.timing.timeout
    assert path.unanswered[path.asked].probe is None


def test_there_is_no_way_to_a_host_on_the_link():
    """Without a next hop there is nothing between us."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(10 * SECOND)
    assert probes(world, Method.HOP) == []


def test_what_is_asked_for_is_no_witness():
    """A firewall of our own that drops all replies lets echoes and ICMP errors in: our fault."""
    world = World(5)
    world.watch(peer(A), peer(B), link=Link(egress=WAN, routers=ROUTERS[:3], echoes=True))
    world.run(10 * SECOND)
    for name in (A, B):
        world.fleet.peers[name].paths[0].reply_ttl = 252
    kill(world, A, B)
    world.run(10 * SECOND)
    assert probes(world, Method.HOP)
    assert {(world.state(name), world.fleet.peers[name].cause) for name in (A, B)} == {
        (State.UNKNOWN, Cause.OWN_UPLINK)
    }
    assert "does a firewall of ours drop UDP?" in evidence(world)[0]


def test_a_lonely_peer_is_down_with_the_doubt_that_remains():
    """That its host answers otherwise shows the uplink sound, not that the firewall is theirs."""
    told = {}
    for echoes in (True, False):
        world = World(5)
        world.watch(peer(A), link=Link(echoes=echoes))
        world.run(10 * SECOND)
        kill(world, A)
        world.run(10 * SECOND)
        assert world.state(A) is State.DOWN
        told[echoes] = next(fact for fact in evidence(world) if "told apart" in fact)
    assert "a firewall there and one of our own" in told[True]
    assert "this peer and our own uplink" in told[False]


def test_heartbeats_that_die_on_the_way_are_no_loss():
    """Nothing is missed that was not to arrive."""
    world = far(ROUTERS, 251)
    path = world.fleet.peers[A].paths[0]
    world.links[A].dead.append((world.now, world.now + 20 * SECOND))
    world.run(15 * SECOND)
    sent = path.figures.sent
    assert sent == len([1 for _, to, _ in world.sent if to == A])
    world.run(60 * SECOND)
    assert world.state(A) is State.UP
    assert path.loss(world.fleet.clock.now) == 0.0


def test_what_dies_on_the_way_is_no_loss_of_a_path_that_stays_up():
    """Of a path that misses two in a row, and is asked about then, two are lost."""
    world = far(ROUTERS, 251)
    (path,) = world.fleet.peers[A].paths
    world.links[A].lost_in_turn = 2
    world.run(20 * SECOND)
    assert probes(world, Method.HOP)
    assert 0 < path.loss(world.fleet.clock.now) <= 2 / (path.figures.sent - 2)


def test_a_heartbeat_that_was_to_die_and_is_answered_is_life():
    """It has arrived after all: the way is shorter than it was."""
    world = far((), 250)
    kill(world, A)
    path = until_asked(world, Method.HOP).path
    sequence, heartbeat = next((s, h) for s, h in path.unanswered.items() if h.probe is not None)
    datagram = path.session.compose(sequence, world.wall, State.UP)[0]
    answer = path.session.read(reflect(datagram, world.wall))
    reception, _ = path.take(
        answer._replace(token=heartbeat.token), world.fleet.clock.now, world.now
    )
    assert reception is Reception.LIFE
    assert path.figures.received == path.figures.sent - len(
        [1 for h in path.unanswered.values() if h.probe is None]
    )


# -- padding ----------------------------------------------------------------------------------


def padded(**options):
    settings = peer(A)
    return replace(settings, stamp=StampOptions(size=1400, **options))


def only_small(world, limit=200):
    """From now on only small heartbeats are answered."""
    path = world.fleet.peers[A].paths[0]
    kill(world, A)

    def answer(probe):
        datagram = path.compose_probe(probe, world.fleet.clock.now, world.now, world.wall)
        assert len(datagram) < limit
        return reflect(datagram, world.wall)

    return answer


@pytest.mark.parametrize("echoes", [False, True])
def test_small_heartbeats_that_pass_show_the_mtu(echoes):
    """Only the small size is answered: the padding does not get through, whatever else does."""
    world = World(5)
    world.watch(padded(), link=Link(echoes=echoes))
    world.watch(peer(B))
    world.run(10 * SECOND)
    answer = only_small(world)
    probe = until_asked(world, Method.SMALL)
    egress, before = probe.path.egress, world.fleet.clock.now
    egress.last_answer = -1
    world.fleet.receive(answer(probe), (A, 862), world.now)
    assert egress.last_answer >= before  # it has come through all that is ours
    world.run(2 * SECOND)
    last = world.fleet.peers[A]
    assert (last.state, last.cause) == (State.DOWN, Cause.MTU)
    beside = [f"{A}: the host answers ICMP echo"] if echoes else []
    first, *others = evidence(world)
    assert first == f"{A}: heartbeats without padding are answered, none of 1400 octets is"
    assert [fact for fact in others if "host answers" in fact] == beside


def test_small_heartbeats_are_no_life():
    """What was to be borne is the padding: a small heartbeat that passes makes nobody up."""
    world = World(5)
    world.watch(padded())
    world.watch(peer(B))
    world.run(10 * SECOND)
    answer = only_small(world)
    world.run(10 * SECOND)
    assert world.state(A) is State.DOWN
    for _ in range(5):
        ((_, probe), *_) = probes(world, Method.SMALL)
        world.fleet.receive(answer(probe), (A, 862), world.now)
        world.run(SECOND)
    assert world.state(A) is State.DOWN


def test_a_small_heartbeat_of_the_last_silence_is_of_no_account():
    """That it was answered says nothing of what keeps the next ones."""
    world = World(5)
    world.watch(padded())
    world.watch(peer(B))
    world.run(10 * SECOND)
    world.links[A].lost_in_turn = 3
    path = until_asked(world, Method.SMALL).path
    ((_, probe),) = probes(world, Method.SMALL)
    datagram = path.compose_probe(probe, world.fleet.clock.now, world.now, world.wall)
    while path.is_missing:
        world.run(10 * MILLISECOND)
    kill(world, A)
    while len(probes(world, Method.SMALL)) < 2:
        world.run(10 * MILLISECOND)
    world.fleet.receive(reflect(datagram, world.wall), (A, 862), world.now)
    world.run(2 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.DOWN, Cause.SILENT)


def test_what_is_not_padded_is_not_asked_without():
    """There is nothing to leave out."""
    world = world_of(peer(A), peer(B))
    kill(world, A)
    world.run(10 * SECOND)
    assert probes(world, Method.SMALL) == []
