"""A peer that does not answer, but whose own heartbeats reach us."""

from hbd.core.model import MILLISECOND, SECOND, Cause, State, Timing
from hbd.core.session import Fact
from tests.simulation.world import World, peer

A, B = "10.0.0.1", "10.0.0.2"
TIMING = Timing(SECOND, 500 * MILLISECOND, 3, 2)
PROBE = TIMING.probe
SILENT = (State.DOWN, Cause.SILENT)
ONE_WAY = (State.DOWN, Cause.ONE_WAY)


class Asking:
    """A host that asks us every so often; as the daemon does, we look when something is missed."""

    def __init__(self, world, spacing):
        self.world, self.spacing = world, spacing
        self.last = None
        self.ends = None
        self._examined = world.fleet.examined
        world.fleet.examined = self.examined
        self.ask()

    def ask(self):
        if self.ends is None or self.world.now < self.ends:
            self.last = self.world.now
            self.world.after(self.spacing, self.ask)

    def examined(self, path, *route):
        if path.address == A and self.last is not None:
            self.world.fleet.asked_us(path, self.last)
        self._examined(path, *route)


def world_of(spacing):
    world = World(1)
    world.watch(peer(A, timing=TIMING), peer(B, timing=TIMING))
    asking = Asking(world, spacing)
    world.run(10 * SECOND)
    return world, asking


def kill(world, span=10**18):
    world.links[A].dead.append((world.now, world.now + span))


def told(world):
    return [(event.state, event.cause) for event in world.changes_of(A)]


def test_verdict_knows_of_requests():
    """Who asks us faster than we judge is not silent: the verdict says so, at its deadline."""
    world, _ = world_of(200 * MILLISECOND)
    kill(world)
    world.run(60 * SECOND)
    assert told(world)[1:] == [ONE_WAY]
    verdict = world.changes_of(A)[-1]
    assert verdict.detection <= TIMING.detection
    facts = f"{A}: its own heartbeats reach us, ours are not answered"
    assert verdict.evidence == (f"{facts}: its firewall, or it does not list us",)


def test_later_request_refines_the_cause():
    """A request after the verdict is one more entry, with the next missed probe."""
    world, asking = world_of(8 * SECOND)
    asking.last = None
    kill(world)
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT, ONE_WAY]
    down, refined = world.changes_of(A)[1:]
    assert refined.at - down.at <= 8 * SECOND + PROBE


def test_request_before_the_first_miss_is_no_evidence():
    """What reached us before anything was missed may have been its last word."""
    world, asking = world_of(MILLISECOND)
    while not world.path(A).is_missing:
        world.links[A].lost_in_turn = 1
        world.run(MILLISECOND)
    asking.ends = asking.last = world.path(A).first_missed
    kill(world)
    world.run(60 * SECOND)
    assert told(world)[1:] == [SILENT]


def test_requests_that_cease_are_no_evidence():
    """Nothing for three probes: it is silent now."""
    world, asking = world_of(200 * MILLISECOND)
    kill(world)
    world.run(60 * SECOND)
    asking.ends = world.now
    world.run(4 * PROBE + SECOND)
    assert told(world)[1:] == [ONE_WAY, SILENT]


def test_requests_of_an_earlier_silence_are_no_evidence():
    """A reply ends it: what came before says nothing of the next silence."""
    world, asking = world_of(200 * MILLISECOND)
    kill(world, 5 * SECOND)
    world.run(5 * SECOND)
    asking.ends = world.now
    while world.state(A) is not State.UP:
        world.run(100 * MILLISECOND)
    kill(world)
    world.run(3 * SECOND)
    assert told(world)[1:] == [ONE_WAY, (State.UP, None), SILENT]


def test_reply_newer_than_the_request_tells_more():
    """While a path that is down is heard again, it is not told that it does not answer."""
    world, asking = world_of(200 * MILLISECOND)
    kill(world, 5 * SECOND)
    world.run(5 * SECOND)
    asking.ends = world.now
    while not world.path(A).rising:
        world.run(MILLISECOND)
    assert world.path(A).failure().cause is Cause.SILENT


def test_other_evidence_tells_more_than_a_request():
    """Causes are given in the order of the table; and late replies are replies."""
    world, _ = world_of(200 * MILLISECOND)
    path = world.path(A)
    kill(world)
    world.run(60 * SECOND)
    path.refused(Fact(Cause.REJECTED, ""))
    assert path.failure().cause is Cause.REJECTED
    path.icmp, path.bad = None, Fact(Cause.AUTH, "")
    assert path.failure().cause is Cause.AUTH
    path.bad = None
    world.links[A].dead.clear()
    world.links[A].delay = 2100 * MILLISECOND
    world.run(30 * SECOND)
    assert world.fleet.peers[A].cause is Cause.TOO_TIGHT
