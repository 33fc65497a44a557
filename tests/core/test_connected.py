"""Rounds over a connection: the same rule, whatever becomes of the connection."""

from functools import partial
from itertools import pairwise

import pytest

from hbd.core.inquiry import Method, is_worthwhile
from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.session import Fact
from hbd.core.stream import KeepAliveSession, TcpSession
from tests.simulation.world import START, WAN, Link, World, peer

A, B = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
DELAY = MILLISECOND


class Server:
    """A server behind connections that are opened when a heartbeat finds none."""

    def __init__(self, world, host, *, send=b"ping"):
        self.world, self.host, self.send = world, host, send
        self.mode = "answers"
        self.is_open = False
        self.opened = []
        self.asked = []
        world.links[host] = Link()

    def ask(self, path):
        """Do what a connection does with a heartbeat."""
        world, session = self.world, path.stream
        if not self.is_open:
            self.opened.append(world.now)
            session.opened()
            self.is_open = self.mode not in ("refuses", "drops")
        octets = world.fleet.compose(path, world.now, world.wall)
        assert octets == self.send
        self.asked.append(world.now)
        if self.mode in ("answers", "answers and closes"):
            world.arrive(world.now + 2 * DELAY, partial(self.answer, path))
        if self.mode == "answers and closes":
            world.arrive(world.now + 3 * DELAY, partial(self.end, path, Cause.CLOSED))
        if self.mode in ("refuses", "closes"):
            cause = Cause.REFUSED if self.mode == "refuses" else Cause.CLOSED
            world.arrive(world.now + 2 * DELAY, partial(self.end, path, cause))
        if self.mode in ("hangs", "drops"):
            cause = Cause.HUNG if self.mode == "hangs" else Cause.CONNECT_TIMEOUT
            path.bad = Fact(cause, "as the connection tells")

    def answer(self, path, at):
        if isinstance(path.stream, KeepAliveSession):
            answers = [one._replace(rtt=DELAY) for one in path.stream.acknowledged()]
        else:
            answers = path.stream.feed(b"pong").answers
        for answer in answers:
            self.world.fleet.answered(path, answer, at)

    def end(self, path, cause, _at):
        self.is_open = False
        self.world.fleet.broken(path, Fact(cause, f"{cause} by the peer"), witness=True)


def world_of(*, send=b"ping", timing=TIMING, seed=1, span=10 * SECOND, beside=True):
    world = World(seed)
    plain = world._asked
    world._asked = lambda settings, address: (
        plain(settings, address)
        if settings.protocol == "stamp"
        else TcpSession(settings)
        if settings.send
        else KeepAliveSession()
    )
    server = Server(world, A, send=send)
    ask = world._send
    world._send = lambda path: server.ask(path) if path.address == A else ask(path)
    world.watch(peer(A, protocol="tcp", port=7, timing=timing, send=send or None))
    if beside:
        world.watch(peer(B, timing=TIMING))
    world.run(span)
    return world, server


def down_of(world):
    return next(event for event in world.changes_of(A) if event.state is State.DOWN)


@pytest.mark.parametrize("send", [b"ping", b""])
def test_one_connection_is_held(send):
    """A heartbeat each interval over one connection, with or without octets of ours."""
    world, server = world_of(send=send, span=60 * SECOND)
    assert (world.states_of(A), len(server.opened)) == ([State.UP], 1)
    gaps = [after - before for before, after in pairwise(server.asked)]
    # A kernel asks no connection on which something has come within a second.
    shortest, longest = (0.9 * SECOND, SECOND) if send else (SECOND, SECOND + 10 * DELAY)
    assert shortest <= min(gaps) <= max(gaps) <= longest
    rtt = world.path(A).last_rtt
    assert rtt == (2 * DELAY if send else DELAY)


def test_kernel_is_not_asked_before_it_can_ask():
    """A parent that is only held and has just answered is not asked for its child's sake."""
    world, server = world_of(send=b"", timing=Timing(5 * SECOND, SECOND, 0, 2))
    path = world.path(A)
    assert path.ask_early(path.last_life + SECOND - 1)
    assert path.deadline > path.last_life + SECOND
    path.ask_early(path.last_life + SECOND)
    assert path.deadline == path.last_life + SECOND
    assert len(server.opened) == 1


@pytest.mark.parametrize("mode", ["refuses", "closes", "hangs", "drops"])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_nothing_but_a_missed_last_retransmission_is_a_verdict(mode, retries):
    """However its connection ends, it is down when its last retransmission is missed."""
    causes = {
        "refuses": Cause.REFUSED,
        "closes": Cause.CLOSED,
        "hangs": Cause.HUNG,
        "drops": Cause.CONNECT_TIMEOUT,
    }
    timing = Timing(SECOND, 200 * MILLISECOND, retries, 2)
    world, server = world_of(timing=timing)
    world.run(server.asked[-1] + 10 * MILLISECOND - world.now)
    before = len(server.asked)
    if mode == "refuses":
        server.end(world.path(A), Cause.RESET, world.now)
    server.mode = mode
    world.run(10 * SECOND)
    down = down_of(world)
    asked = [at for at in server.asked[before:] if at < down.at]
    assert len(asked) == 1 + retries
    assert down.at == asked[-1] + timing.timeout
    assert down.cause is causes[mode]
    assert down.detection <= timing.detection


def test_broken_connection_that_is_there_again_is_no_change():
    """A connection that is reset between heartbeats: the next opens another, and nobody is told."""
    world, server = world_of()
    for _ in range(20):
        server.end(world.path(A), Cause.RESET, world.now)
        world.run(SECOND)
    assert world.states_of(A) == [State.UP]
    assert len(server.opened) >= 19


def test_server_that_closes_after_each_answer_is_asked_no_more_often():
    """A connection for each heartbeat, one an interval: its end makes none sooner."""
    world, server = world_of()
    server.mode = "answers and closes"
    before = len(server.asked)
    world.run(100 * SECOND)
    assert world.states_of(A) == [State.UP]
    assert 99 <= len(server.asked) - before <= 112


def test_down_it_is_tried_every_three_seconds():
    """A server that refuses is tried at probe spacing, and up after `rise` answers."""
    world, server = world_of()
    server.mode = "refuses"
    server.is_open = False
    world.run(60 * SECOND)
    gaps = {after - before for before, after in pairwise(server.asked[-10:])}
    assert gaps == {TIMING.probe}
    server.mode = "answers"
    back = world.now
    world.run(10 * SECOND)
    up = world.changes_of(A)[-1]
    assert up.state is State.UP
    assert up.at - back <= TIMING.probe + TIMING.rise * TIMING.timeout


def test_refusal_is_a_witness():
    """A server that refuses shows that our uplink is sound, and is down for itself."""
    world, server = world_of()
    server.mode = "refuses"
    server.is_open = False
    world.links[B].dead.append((world.now, 10**18))
    world.run(10 * SECOND)
    assert (world.state(A), world.state(B)) == (State.DOWN, State.DOWN)


def test_kernel_that_asks_is_no_witness():
    """A connection that is only held is not asked for another's sake: its kernel would not."""
    world, server = world_of(send=b"", timing=Timing(20 * SECOND, SECOND, 3, 2))
    world.links[B].dead.append((world.now, 10**18))
    before = len(server.asked)
    world.run(5 * SECOND)
    down = world.changes_of(B)[-1]
    assert (down.state, len(down.evidence)) == (State.DOWN, 2)
    assert len(server.asked) == before


def test_octets_of_ours_can_be_asked_for_another():
    """One with a heartbeat of its own in the connection is asked at once, and is a witness."""
    world, server = world_of(timing=Timing(60 * SECOND, SECOND, 3, 2), span=90 * SECOND)
    world.links[B].dead.append((world.now, 10**18))
    before = len(server.asked)
    world.run(5 * SECOND)
    down = world.changes_of(B)[-1]
    assert (down.state, len(down.evidence)) == (State.DOWN, 1)
    assert len(server.asked) > before


def test_own_stall_is_forgiven():
    """We did not run: what was answered meanwhile is read, and nobody is down."""
    for seed in range(5):
        world, _ = world_of(seed=seed)
        world.stalls.append((world.now, world.now + 30 * SECOND))
        world.run(60 * SECOND)
        assert world.states_of(A) == [State.UP]


def test_rtt_counts_from_when_the_octets_left():
    """What waited for the connection has its RTT from when that was open."""
    world, server = world_of()
    path = world.path(A)
    server.mode = "waits"
    world.run(server.asked[-1] + SECOND - world.now)
    assert path.asked is not None
    at = world.now
    path.left(at)
    server.answer(path, at + 3 * DELAY)
    assert path.last_rtt == 3 * DELAY


def test_never_up_before_an_answer():
    """An open connection is no life; an answer is."""
    world = World(1)
    server = Server(world, A)
    server.mode = "hangs"
    world._asked = lambda settings, _: TcpSession(settings)
    world._send = server.ask
    world.watch(peer(A, protocol="tcp", port=7, timing=TIMING, send=b"ping"))
    world.run(10 * SECOND)
    assert State.UP not in world.states_of(A)
    assert world.state(A) is State.DOWN
    assert world.now > START


def test_what_a_connection_shows_is_not_probed():
    """A service that lets no connection come about is asked by echo alone: TCP it is asked by, and
    of a connection nothing can die on the way."""
    world, server = world_of(beside=False)
    world.links[A].egress = WAN
    server.mode, server.is_open = "drops", False
    world.run(10 * SECOND)
    assert world.fleet.peers[A].cause is Cause.CONNECT_TIMEOUT
    assert {probe.method for _, probe in world.probes} == {Method.ECHO}


@pytest.mark.parametrize(
    ("cause", "unexplained"),
    [(Cause.CONNECT_TIMEOUT, True), (Cause.KEEPALIVE_FAILED, True), (Cause.REFUSED, False)],
)
def test_who_answers_nothing_is_inquired_into(cause, unexplained):
    """A refusal says it all; a connection that nobody answers does not."""
    world, _ = world_of()
    (path,) = world.fleet.peers[A].paths
    path.bad = Fact(cause, "as the connection tells")
    assert is_worthwhile(path) is unexplained
