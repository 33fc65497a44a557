"""DOWN needs a witness: what is judged when our own side may be at fault."""

from itertools import pairwise

import pytest

from hbd.core.asked import Asked
from hbd.core.egress import Egress, EgressKey
from hbd.core.events import StateChanged, Storm
from hbd.core.fleet import Restored
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.peer import Peer
from hbd.core.session import Fact
from hbd.core.volleys import TOGETHER
from tests.simulation.world import LAN, START, WAN, Link, NumberSession, World, own_link, peer

TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
FOREVER = 10**18


def world_of(*names, timings=(), egress=LAN, seed=1, **options):
    world = World(seed, **options)
    for name in names or (A, B, C):
        timing = dict(timings).get(name, TIMING)
        world.watch(peer(name, timing=timing), link=Link(egress=egress))
    return world


def cut(world, *names, span=FOREVER):
    """Let nothing come back from these hosts for so long."""
    for name in names:
        world.links[name].dead.append((world.now, world.now + span))


def own_faults(world):
    return [storm for storm in world.of_kind(Storm) if storm.cause is not None]


def test_all_silent_is_our_own_uplink():
    """When everything on an egress falls silent, every peer is unknown and one storm is told."""
    world = world_of()
    world.run(10 * SECOND)
    cut(world, A, B, C)
    world.run(60 * SECOND)
    (storm,) = own_faults(world)
    assert (storm.cause, storm.count, storm.common) == (Cause.OWN_UPLINK, 3, "egress eth0")
    assert {world.state(name) for name in (A, B, C)} == {State.UNKNOWN}
    assert not any(e.state is State.DOWN for e in world.of_kind(StateChanged))


def test_own_uplink_is_told_by_the_deadline():
    """The first verdict of our own fault comes within one detection time of the cut."""
    world = world_of()
    world.run(10 * SECOND)
    at = world.now
    cut(world, A, B, C)
    world.run(60 * SECOND)
    assert own_faults(world)[0].at - at <= TIMING.detection


def test_those_down_before_are_unknown_too():
    """A peer that was down before our uplink failed is unknown with the rest."""
    world = world_of()
    world.run(10 * SECOND)
    cut(world, A)
    world.run(10 * SECOND)
    assert world.state(A) is State.DOWN
    cut(world, B, C)
    world.run(10 * SECOND)
    last = world.changes_of(A)[-1]
    assert (last.state, last.cause) == (State.UNKNOWN, Cause.OWN_UPLINK)


def test_witness_makes_it_down():
    """One other peer that answers is enough: the silent ones are down."""
    world = world_of()
    world.run(10 * SECOND)
    cut(world, A, B)
    world.run(10 * SECOND)
    assert (world.state(A), world.state(B)) == (State.DOWN, State.DOWN)
    assert own_faults(world) == []


def test_witness_with_a_long_interval_is_asked_at_once():
    """When a path starts to miss, others are asked at that moment, however long their interval."""
    hour = Timing(3600 * SECOND, 500 * MILLISECOND, 3, 2)
    world = world_of(A, B, timings=((B, hour),))
    world.run(3600 * SECOND)
    asked_before = len(world.sent_to(B))
    cut(world, A)
    world.run(5 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert world.sent_to(B)[asked_before] == down.at - TIMING.retries * TIMING.timeout


def test_three_witnesses_are_asked():
    """Of many, three are asked, and others the next time."""
    world = world_of(*(f"10.0.0.{n}" for n in range(1, 9)))
    hour = Timing(3600 * SECOND, 500 * MILLISECOND, 3, 2)
    world = world_of(
        *(f"10.0.0.{n}" for n in range(1, 9)),
        timings=[(f"10.0.0.{n}", hour) for n in range(2, 9)],
    )
    world.run(3600 * SECOND)
    chosen = []
    for _ in range(2):
        at = world.now
        world.links[A].lost_in_turn = 1
        world.run(2 * SECOND)
        chosen.append({to for when, to, _ in world.sent if when > at and to != A})
    assert [len(names) for names in chosen] == [3, 3]
    assert chosen[0] != chosen[1]


def test_those_that_fall_with_a_suspect_are_asked_last():
    """Neither its other address, nor who lies behind it, nor who is silent too is asked about a
    peer while there are others: without retransmissions there is no second time."""
    once = Timing(SECOND, 500 * MILLISECOND, 0, 2)
    for seed in range(10):
        world = World(seed)
        silent = [f"10.0.1.{n}" for n in range(6)]
        world.watch(peer("gw", A, B, timing=once))
        world.watch(*(peer(name, via="gw", timing=TIMING) for name in silent))
        world.watch(*(peer(f"10.0.2.{n}", timing=TIMING) for n in range(3)))
        world.run(10 * SECOND)
        cut(world, A, B, *silent)
        world.run(20 * SECOND)
        assert own_faults(world) == [], seed
        assert world.state("gw") is State.DOWN


def test_witnesses_are_asked_no_more_than_fifty_times_a_second():
    """However many start to miss at once, those that are up are not flooded."""
    world = world_of(*(f"10.0.{n // 200}.{n % 200}" for n in range(400)))
    world.run(10 * SECOND)
    names = list(world.fleet.peers)
    cut(world, *names[1:])
    before = len(world.sent)
    span = 3 * SECOND // 2
    world.run(span)
    regular = 400 * (1 + span // TIMING.timeout)
    assert len(world.sent) - before <= regular + 3 * 50 * span // SECOND


def test_witness_in_question_is_asked_again_at_the_suspects_pace():
    """A witness whose own heartbeat is lost is asked again with the suspect's timing."""
    slow = Timing(20 * SECOND, 20 * SECOND, 3, 2)
    world = world_of(A, B, timings=((B, slow),))
    world.run(60 * SECOND)
    cut(world, A)
    world.links[B].lost_in_turn = 1
    world.run(4 * SECOND)
    assert world.state(A) is State.DOWN
    assert own_faults(world) == []


def test_other_egress_is_still_judged():
    """A peer behind another egress is down while ours is at fault."""
    world = world_of(A, B)
    for name in ("10.9.0.1", "10.9.0.2"):
        world.watch(peer(name), link=Link(egress=EgressKey("eth1")))
    world.run(10 * SECOND)
    cut(world, A, B, "10.9.0.1")
    world.run(10 * SECOND)
    assert (world.state(A), world.state("10.9.0.1")) == (State.UNKNOWN, State.DOWN)


def test_gateway_and_lan_are_two_egresses():
    """Behind one interface, the LAN and what lies beyond the gateway do not witness each other."""
    world = world_of(A, B)
    world.watch(peer("192.0.2.1"), peer("192.0.2.2"), link=Link(egress=WAN))
    world.run(10 * SECOND)
    cut(world, "192.0.2.1", "192.0.2.2")
    world.run(10 * SECOND)
    assert world.state("192.0.2.1") is State.UNKNOWN
    assert world.state(A) is State.UP


def test_one_reply_ends_it():
    """A reply from one peer ends the fault; a peer still silent is down one detection later."""
    world = world_of()
    world.run(10 * SECOND)
    cut(world, A)
    cut(world, B, C, span=20 * SECOND)
    world.run(40 * SECOND)
    assert [world.state(name) for name in (A, B, C)] == [State.DOWN, State.UP, State.UP]
    ended = min(world.changes_of(name)[-1].at for name in (B, C))
    took = world.changes_of(A)[-1].at - ended
    assert TIMING.detection <= took <= TIMING.detection + TIMING.timeout


def test_lonely_peer_is_down_and_the_evidence_says_so():
    """Where no other peer was up: down, and peer and uplink cannot be told apart."""
    world = world_of(A)
    world.run(10 * SECOND)
    cut(world, A)
    world.run(10 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert "cannot be told apart" in down.evidence[1]
    assert down.detection <= TIMING.detection


def test_all_paths_of_the_only_peer_are_one_voice():
    """A machine of two addresses that is off is down with a doubt: its own silence on both proves
    no fault of ours."""
    world = World(1)
    world.watch(peer("two", A, B, timing=TIMING))
    world.run(10 * SECOND)
    cut(world, A, B)
    world.run(10 * SECOND)
    down = world.changes_of("two")[-1]
    assert down.state is State.DOWN
    assert any("cannot be told apart" in fact for fact in down.evidence)
    assert own_faults(world) == []
    assert down.detection <= TIMING.detection


def test_other_path_of_a_peer_is_a_witness_when_it_answers():
    """One address of a machine answers: the other is down without a doubt."""
    world = World(1)
    world.watch(peer("two", A, B, timing=TIMING))
    world.run(10 * SECOND)
    cut(world, A)
    world.run(10 * SECOND)
    degraded = world.changes_of("two")[-1]
    assert (degraded.state, degraded.cause) == (State.DEGRADED, Cause.PATH_DOWN)
    assert not world.path("two").lonely


def test_evidence_of_a_witnessed_verdict_does_not_say_lonely():
    """Where another peer answered, the verdict is not weakened."""
    world = world_of(A, B)
    world.run(10 * SECOND)
    cut(world, A)
    world.run(10 * SECOND)
    assert len(world.changes_of(A)[-1].evidence) == 1


def test_icmp_from_beyond_the_first_hop_is_a_witness():
    """An ICMP error from beyond the first hop shows that our side is sound."""
    for witness, state in ((True, State.DOWN), (False, State.UNKNOWN)):
        world = world_of(A, B)
        world.run(10 * SECOND)
        cut(world, A, B)
        fact = Fact(Cause.HOST_UNREACHABLE, "from 192.0.2.9")
        begin = world.now
        while world.state(A) is State.UP and world.state(B) is State.UP:
            world.run(10 * MILLISECOND)
            asked = [entry for entry in world.sent if entry[0] > begin and entry[1] == B]
            for at, to, datagram in asked:
                if world.now - at < 10 * MILLISECOND:
                    world.fleet.icmp((to, 862), datagram, fact, witness=witness)
        assert state in (world.state(A), world.state(B))


def test_interface_down_is_our_own_link():
    """With the interface down, every peer of it is unknown by own-link, with one storm."""
    world = world_of()
    world.run(10 * SECOND)
    world.faults[LAN] = own_link("eth0")
    world.run(20 * SECOND)
    (storm,) = own_faults(world)
    assert (storm.cause, storm.count) == (Cause.OWN_LINK, 3)
    assert {world.fleet.peers[name].cause for name in (A, B, C)} == {Cause.OWN_LINK}
    del world.faults[LAN]
    world.run(10 * SECOND)
    assert {world.state(name) for name in (A, B, C)} == {State.UP}
    assert not any(e.state is State.DOWN for e in world.of_kind(StateChanged))


def test_dead_peer_gets_its_verdict_after_the_link_is_back():
    """A host that died while our link was down is down one detection time after it is back."""
    world = world_of()
    world.run(10 * SECOND)
    world.faults[LAN] = own_link("eth0")
    cut(world, A)
    world.run(20 * SECOND)
    del world.faults[LAN]
    back = world.now
    world.run(10 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert TIMING.detection <= down.at - back <= TIMING.probe + TIMING.detection + TIMING.timeout


def test_lone_dead_peer_is_down_after_the_link_is_back():
    """So is the only peer there is: nothing else could end the fault."""
    world = world_of(A)
    world.run(10 * SECOND)
    world.faults[LAN] = own_link("eth0")
    cut(world, A)
    world.run(20 * SECOND)
    assert world.state(A) is State.UNKNOWN
    del world.faults[LAN]
    world.run(20 * SECOND)
    assert world.state(A) is State.DOWN


def test_no_route_is_of_one_path():
    """Where one destination has no route, only its peer is unknown."""
    world = world_of()
    world.run(10 * SECOND)
    world.links[A].egress = EgressKey("eth9")
    world.faults[EgressKey("eth9")] = Fact(Cause.NO_ROUTE, "network is unreachable")
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.NO_ROUTE
    assert world.state(B) is State.UP
    world.links[A].egress = LAN
    world.run(10 * SECOND)
    assert world.state(A) is State.UP


def test_what_we_could_not_send_is_no_verdict_against_the_peer():
    """Heartbeats that our own firewall refuses make the peer unknown by send-blocked."""
    world = world_of(A, B)
    world.run(10 * SECOND)
    refused = Fact(Cause.SEND_BLOCKED, "EPERM")
    send = world._send

    def refuse(path):
        send(path)
        if path.address == A:
            world.fleet.send_failed(path, refused)

    world._send = refuse
    cut(world, A)
    world.run(10 * SECOND)
    assert (world.state(A), world.fleet.peers[A].cause) == (State.UNKNOWN, Cause.SEND_BLOCKED)
    world._send = send
    back = world.now
    world.run(20 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert down.at - back >= TIMING.detection


def test_round_is_repeated_once_when_we_lost_datagrams():
    """Drops of our own during a round: it is asked once more, then judged."""
    took = []
    for drops in (False, True):
        world = world_of(A, B)
        world.run(10 * SECOND)
        cut(world, A)
        if drops:
            world.at(11 * SECOND, world.fleet.lost_some)
        world.run(20 * SECOND)
        took.append(world.changes_of(A)[-1])
    assert [down.state for down in took] == [State.DOWN, State.DOWN]
    assert took[1].at - took[0].at == (TIMING.retries + 1) * TIMING.timeout


def test_drops_before_the_round_change_nothing():
    """Drops of our own before the heartbeat in question was sent do not repeat its round."""
    world = world_of(A, B)
    world.run(10 * SECOND)
    world.fleet.lost_some()
    cut(world, A)
    world.run(20 * SECOND)
    assert world.changes_of(A)[-1].detection <= TIMING.detection


def test_retries_0_needs_a_witness_too_and_gets_one():
    """Without retransmissions others are asked in time for the verdict: no false own-uplink."""
    rare = Timing(10 * SECOND, 500 * MILLISECOND, 0, 2)
    for seed in range(20):
        world = world_of(A, B, timings=((A, rare), (B, rare)), seed=seed)
        world.run(30 * SECOND)
        cut(world, A)
        world.run(30 * SECOND)
        down = world.changes_of(A)[-1]
        assert (down.state, own_faults(world)) == (State.DOWN, []), seed
        assert down.detection <= rare.detection


def test_retries_0_all_silent_is_own_uplink():
    """Without retransmissions, everything silent is still our own uplink."""
    rare = Timing(10 * SECOND, 500 * MILLISECOND, 0, 2)
    world = world_of(A, B, timings=((A, rare), (B, rare)))
    world.run(30 * SECOND)
    cut(world, A, B)
    world.run(30 * SECOND)
    assert {world.state(name) for name in (A, B)} == {State.UNKNOWN}


def test_witness_too_far_away_to_answer_by_the_deadline_is_none():
    """A path whose replies take longer than the suspect's verdict cannot witness against it."""
    quick = Timing(50 * MILLISECOND, 10 * MILLISECOND, 3, 2)
    far = Timing(2 * SECOND, 2 * SECOND, 3, 2)
    for seed in range(20):
        world = world_of(A, B, timings=((A, quick), (B, far)), seed=seed)
        world.links[B].delay = 300 * MILLISECOND
        world.run(20 * SECOND)
        cut(world, A)
        world.run(20 * SECOND)
        assert own_faults(world) == [], seed
        assert world.states_of(B) == [State.UP], seed
        assert world.state(A) is State.DOWN


def test_egress_may_change():
    """A path whose route changes is judged with those of its new egress."""
    world = world_of()
    world.run(10 * SECOND)
    world.links[A].egress = EgressKey("eth1")
    cut(world, A)
    world.run(10 * SECOND)
    before, egress = world.path(B).egress, world.path(A).egress
    assert egress.key == EgressKey("eth1")
    assert world.path(A) not in before.paths
    world.links[C].egress = egress.key
    world.links[C].lost_in_turn = 1  # the way is learnt anew where a heartbeat is missed
    world.run(5 * SECOND)
    assert world.path(C).egress is egress
    assert not before.others_up(world.path(B))


def test_who_is_heard_though_its_interface_failed_leaves_by_another():
    """After an interface failed, who is heard still is judged by the way that it has now; who is
    not heard, or misses something, keeps the one that is to blame."""
    world = world_of()
    world.run(10 * SECOND)
    failed = world.now
    cut(world, B)
    world.run(1_600 * MILLISECOND)
    assert world.path(B).is_missing
    for name in (A, B):
        world.links[name].egress = EgressKey("eth1")
    world.fleet.failed_before("eth0", world.now)
    world.fleet.failed_before("eth9", failed)
    world.turn()
    assert world.fleet.interfaces() == {"eth0"}
    world.fleet.failed_before("eth0", failed)
    world.turn()
    assert world.fleet.interfaces() == {"eth0", "eth1"}
    assert world.path(A).egress.key == EgressKey("eth1")
    assert world.path(B).egress.key == LAN
    world.links[C].egress = EgressKey("eth1")
    world.links[B].dead.clear()
    world.run(10 * SECOND)
    world.fleet.failed_before("eth0", failed)
    world.turn()
    assert world.fleet.interfaces() == {"eth1"}


def test_name_that_answers_elsewhere_is_no_witness():
    """A name whose IPv4 address answers says nothing of the way that its IPv6 address has."""
    world = world_of(B, C)
    world.fleet.apply([peer("db", timing=TIMING), peer(B), peer(C)])
    db = world.path("db")
    world.resolve(db, A, link=Link(egress=LAN))
    world.resolve(db, A, "10.1.0.1", link=Link(egress=WAN))
    world.run(10 * SECOND)
    assert (db.target[0], db.egress.key) == (A, LAN)
    cut(world, A, B, C)
    world.run(20 * SECOND)
    assert (db.target[0], db.egress.key) == ("10.1.0.1", WAN)
    assert db not in world.path(B).egress.paths
    assert world.states_of("db") == [State.UP]
    (storm,) = own_faults(world)
    assert storm.cause is Cause.OWN_UPLINK
    assert {world.state(name) for name in (B, C)} == {State.UNKNOWN}


@pytest.mark.parametrize("seed", range(10))
def test_own_fault_at_any_moment_is_no_down(seed):
    """Cuts of our uplink at random moments, long or short, are never a DOWN."""
    world = world_of(*(f"10.0.0.{n}" for n in range(1, 7)), seed=seed)
    dice = world.dice
    names = list(world.fleet.peers)
    for _ in range(20):
        world.run(dice.randrange(5, 20) * SECOND + dice.randrange(SECOND))
        cut(world, *names, span=dice.randrange(20 * SECOND))
        world.run(20 * SECOND)
    assert not any(e.state is State.DOWN for e in world.of_kind(StateChanged))
    assert world.now > START


def test_fault_that_ends_after_the_last_retransmission_is_no_down():
    """Answers that come only after the last retransmission was sent do not prove that it could
    arrive: the round is asked once more, so a cut that ends in its last moment is no DOWN."""
    world = world_of()
    world.run(10 * SECOND)
    before = len(world.sent_to(A))
    cut(world, A, B, C)
    while len(world.sent_to(A)) < before + 1 + TIMING.retries or world.path(A).missed < 3:
        world.run(MILLISECOND)
    last = world.path(A).last_sent
    for name in (A, B, C):
        world.links[name].dead.clear()
    world.watch(peer("10.0.0.9"), link=Link())  # answers before A's deadline
    world.run(20 * SECOND)
    assert not any(e.state is State.DOWN for e in world.of_kind(StateChanged))
    assert last < world.replies_from(A)[-1]


def test_round_asked_again_is_judged():
    """A peer that is silent in the repeated round too is down: one round later, no more."""
    often = Timing(600 * SECOND, 200 * MILLISECOND, 20, 2)
    world = world_of(A, B, timings=((B, often),))
    world.run(600 * SECOND)
    cut(world, A, B)
    while world.path(A).missed < TIMING.retries:
        world.run(MILLISECOND)
    world.links[B].dead.clear()
    world.run(20 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert down.detection <= TIMING.detection + (TIMING.retries + 1) * TIMING.timeout


@pytest.mark.parametrize("tenths", range(60, 95, 3))
def test_network_that_comes_up_during_the_grace_is_no_down(tenths):
    """Our network is up only some seconds after the start, whichever: nobody is down for that."""
    patient = Timing(SECOND, 500 * MILLISECOND, 20, 2)
    for seed in range(3):
        names = (A, B, C)
        world = world_of(*names, timings=((C, patient),), seed=seed, start_grace=10 * SECOND)
        for name in names:
            world.fleet.restore(name, Restored(State.UP, None, 0))
        cut(world, *names, span=tenths * SECOND // 10)
        world.run(30 * SECOND)
        assert not any(e.state is State.DOWN for e in world.of_kind(StateChanged)), seed


def test_round_is_repeated_only_once():
    """Drops of our own in the repeated round, too: then it is judged all the same."""
    world = world_of(A, B)
    world.run(10 * SECOND)
    cut(world, A)
    for tenth in range(100):
        world.at(10 * SECOND + tenth * SECOND // 10, world.fleet.lost_some)
    world.run(20 * SECOND)
    down = world.changes_of(A)[-1]
    assert down.state is State.DOWN
    assert down.detection <= TIMING.detection + (TIMING.retries + 1) * TIMING.timeout


def test_those_down_are_no_witnesses():
    """Where the only other path was down before, a silent peer is lonely: down, not unknown."""
    world = world_of(A, B)
    world.run(10 * SECOND)
    cut(world, B)
    world.run(20 * SECOND)
    cut(world, A)
    world.run(10 * SECOND)
    down = world.changes_of(A)[-1]
    assert (down.state, len(down.evidence)) == (State.DOWN, 2)


def test_those_down_are_not_asked_to_witness():
    """A path that is down is probed every 3 s, whatever others miss (RFC 8085)."""
    world = world_of()
    world.links[A].loss = 0.3
    cut(world, B)
    world.run(60 * SECOND)
    gaps = [b - a for a, b in pairwise(world.sent_to(B)[5:])]
    assert min(gaps) == TIMING.probe


def test_who_has_missed_everything_is_no_witness():
    """A path whose own verdict is due is not asked about another."""
    world = world_of()
    world.run(10 * SECOND)
    egress, suspect, silent = world.path(A).egress, world.path(A), world.path(B)
    silent.missed = TIMING.retries + 1
    assert egress.witnesses(suspect) == [world.path(C)]
    world.path(C).give(State.UNKNOWN)  # nor is one that was not up
    assert egress.witnesses(suspect) == []


def test_those_likely_to_answer_are_asked_first():
    """Of many, those heard since the suspect is in question; of its own machine, behind it or
    silent themselves only where there are no others."""
    world = World(1)
    world.watch(peer("gw", A, B, timing=TIMING), peer("behind", C, via="gw"))
    others = [f"10.0.2.{n}" for n in range(8)]
    world.watch(*(peer(name) for name in others))
    world.run(10 * SECOND)
    (suspect, second), (child,) = (world.fleet.peers[name].paths for name in ("gw", "behind"))
    suspect.first_missed = world.now + TIMING.timeout
    heard, missing = [world.path(name) for name in others[5:]], world.path(others[0])
    for later, path in enumerate(heard):
        path.last_life = world.now + 1 + later
    missing.missed = 1
    egress = suspect.egress
    assert egress.witnesses(suspect) == heard[::-1]
    good = [world.path(name) for name in others[1:]]
    for path in good[1:]:
        path.give(State.UNKNOWN)
    chosen = egress.witnesses(suspect)
    assert chosen[0] is good[0]
    assert set(chosen[1:]) <= {second, child, missing}
    for doubtful in (second, child, missing):
        for path in {second, child, missing} - {doubtful}:
            path.give(State.UNKNOWN)
        assert egress.witnesses(suspect) == [good[0], doubtful]
        for path in (second, child, missing):
            path.give(State.UP)


@pytest.mark.parametrize("is_restored", [False, True])
def test_witnesses_are_found_without_a_look_at_all(is_restored):
    """Of ten thousand paths behind one egress a miss looks at a hundred at most."""
    looks = 0

    class Counted(Asked):
        @property
        def is_exhausted(self):
            nonlocal looks
            looks += 1
            return True

    egress, one = Egress(LAN), Peer(peer(A), 0, 0)
    for number in range(10_000):
        path = Counted(f"{number}", one, NumberSession())
        path.was_up = is_restored
        egress.take(path)
    suspect = Asked(B, Peer(peer(B), 0, 0), NumberSession())
    assert egress.others_up(suspect) is is_restored
    assert egress.witnesses(suspect) == []
    assert looks <= 100


def test_restored_paths_were_up_until_their_verdict():
    """Who was up when we last ran tells something by its silence, also when it is asked anew."""
    world = world_of(start_grace=60 * SECOND)
    for name in (A, B):
        world.fleet.restore(name, Restored(State.UP, None, 0))
    world.fleet.restore(C, Restored(State.DOWN, Cause.SILENT, 0))
    cut(world, A, B, C)
    world.run(10 * SECOND)
    assert [world.path(name).was_up for name in (A, B, C)] == [True, True, False]
    egress = world.path(C).egress
    assert egress.others_up(world.path(C))
    for name in (A, B):
        world.path(name).give(State.DOWN)
    assert not egress.others_up(world.path(C))


def test_those_behind_a_fault_that_is_over_are_not_all_asked_at_once():
    """When a reply ends our fault, the others are asked over an interval, not in one burst."""
    names = [f"10.0.1.{n}" for n in range(100)]
    world = world_of(*names)
    world.run(10 * SECOND)
    cut(world, *names, span=60 * SECOND)
    world.run(60 * SECOND)
    begin = world.now
    world.run(20 * SECOND)
    assert {world.state(name) for name in names} == {State.UP}
    moments = [at for at, _, _ in world.sent if at >= begin]
    assert max(moments.count(at) for at in set(moments)) <= TOGETHER


def test_witness_of_a_later_probe_counts_when_the_grace_ends():
    """Our network came up in time to ask a dead peer again: it is down when the grace ends."""
    world = world_of(start_grace=10 * SECOND)
    cut(world, A)
    cut(world, B, C, span=3 * SECOND)
    world.run(11 * SECOND)
    down = world.changes_of(A)[-1]
    assert (down.state, down.at) == (State.DOWN, START + 10 * SECOND)


def in_step(timeout, retries):
    """Four peers whose timing leaves little time to ask others, each from some moment on."""
    timing = Timing(max(50 * MILLISECOND, 2 * timeout), timeout, retries, 2)
    return [peer(f"10.0.0.{n}", timing=timing) for n in range(1, 5)]


@pytest.mark.parametrize("retries", [0, 1, 2])
@pytest.mark.parametrize("timeout", [10 * MILLISECOND, 100 * MILLISECOND, 500 * MILLISECOND])
def test_peers_that_fall_silent_together_have_a_witness(timeout, retries):
    """Whoever was asked for the first has answered for the next, a few milliseconds later."""
    for seed in range(10):
        world = World(seed)
        slow = Timing(10 * SECOND, 5 * SECOND, 3, 2)
        world.watch(*in_step(timeout, retries), peer("10.0.0.9", timing=slow))
        world.run(15 * SECOND)
        cut(world, *(f"10.0.0.{n}" for n in range(1, 4)))
        world.run(5 * SECOND)
        assert own_faults(world) == [], seed
        assert [world.state(f"10.0.0.{n}") for n in range(1, 4)] == [State.DOWN] * 3


@pytest.mark.parametrize("retries", [0, 1, 2])
@pytest.mark.parametrize("timeout", [10 * MILLISECOND, 20 * MILLISECOND, 100 * MILLISECOND])
def test_what_was_answered_before_the_uplink_failed_is_no_witness(timeout, retries):
    """Replies that came just before are no reason to call anybody down."""
    for seed in range(20):
        world = World(seed)
        link = Link(egress=WAN, delay=2 * MILLISECOND)
        world.watch(*in_step(timeout, retries), link=link)
        world.run(15 * SECOND + seed * 7 * MILLISECOND)
        world.cuts[WAN] = [(world.now, FOREVER)]
        world.run(5 * SECOND)
        assert {event.state for event in world.of_kind(StateChanged)} == {State.UP, State.UNKNOWN}


def test_others_count_that_have_answered_of_late():
    """Since its own reply was to come, but no longer ago than others are asked anew."""
    timing = Timing(SECOND, 500 * MILLISECOND, 0, 2)
    world = World(1)
    world.watch(peer(A, timing=timing), link=Link(delay=MILLISECOND))
    world.run(10 * SECOND)
    path = world.path(A)
    sent, rtt = path.last_sent, path.last_rtt
    assert path._others_count_from(sent + 5 * MILLISECOND) == sent + rtt
    assert path._others_count_from(sent + 250 * MILLISECOND) == sent + 230 * MILLISECOND
    assert path._others_count_from(sent) == sent
