"""Heartbeats that were sent and have no reply yet."""

from hbd.core.awaited import Awaited, Heartbeat
from hbd.core.inquiry import Inquiry, Method, Probe
from hbd.core.model import MILLISECOND
from tests.simulation.world import World, peer

TIMEOUT = 500 * MILLISECOND


def test_a_heartbeat_is_in_time_until_its_timeout_is_over():
    """A reply may be in time up to a nanosecond before it would be missed."""
    awaited = Awaited({7: Heartbeat(sent=1_000, sent_real=1_000, token=0)})
    assert awaited.in_time(1_000 + TIMEOUT - 1, TIMEOUT) == [7]
    assert awaited.in_time(1_000 + TIMEOUT, TIMEOUT) == []


def test_a_heartbeat_that_is_to_die_on_the_way_is_never_in_time():
    """What was sent for the sake of evidence is no heartbeat that may still be answered."""
    world = World(5)
    world.watch(peer("10.0.0.1"))
    (path,) = world.fleet.peers["10.0.0.1"].paths
    sent = Heartbeat(sent=0, sent_real=0, token=0)
    awaited = Awaited({1: sent, 2: sent._replace(probe=Probe(Inquiry(path, 0), Method.HOP, 1))})
    assert awaited.in_time(1, TIMEOUT) == [1]
