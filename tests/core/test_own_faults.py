"""What is told of a fault of our own: one entry, with what is known of it."""

from functools import partial

from hbd.core.events import Storm
from hbd.core.model import SECOND, Cause, State
from tests.simulation.world import LAN, WAN, Link, World, own_link, peer

A, B, C = "10.0.0.1", "10.0.0.2", "198.51.100.1"


def world_of(**egresses):
    """Peers that answer, each on an egress."""
    world = World(1)
    for name, egress in zip((A, B, C), egresses.values(), strict=False):
        world.watch(peer(name), link=Link(egress=egress))
    world.run(10 * SECOND)
    return world


def test_the_storm_says_whether_the_next_hop_answers():
    """What the shell knows of the next hop stands in the one entry about our uplink."""
    world = world_of(a=WAN, b=WAN)
    words = "the next hop 192.0.2.1 answers"
    world.fleet.examined = partial(world.fleet.examined, next_hop=words)
    for name in (A, B):
        world.links[name].dead.append((world.now, 10**18))
    world.run(60 * SECOND)
    (storm,) = world.of_kind(Storm)
    assert storm.cause is Cause.OWN_UPLINK
    assert storm.evidence[0].endswith(f"; {words}")


def test_an_interface_that_is_down_is_one_storm():
    """What is on the link and what is behind its gateway go together, in one entry."""
    world = world_of(a=LAN, b=LAN, c=WAN)
    world.faults[LAN] = world.faults[WAN] = own_link(LAN.interface)
    world.run(20 * SECOND)
    (storm,) = world.of_kind(Storm)
    assert (storm.cause, storm.count) == (Cause.OWN_LINK, 3)
    assert storm.common == f"egress {LAN.interface}"
    assert {world.state(name) for name in (A, B, C)} == {State.UNKNOWN}
    world.faults.clear()
    world.run(20 * SECOND)
    assert {world.state(name) for name in (A, B, C)} == {State.UP}
