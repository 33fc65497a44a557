"""The figures in the evidence of a peer that answers, but not well."""

from hbd.core.model import MILLISECOND, SECOND, Limits, Timing
from tests.simulation.world import Link, World, peer

A = "10.0.0.1"
QUICK = Timing(100 * MILLISECOND, 50 * MILLISECOND, 10, 2)


def evidence(limits, lost=0, **link):
    world = World(1)
    world.watch(peer(A, timing=QUICK, limits=limits), link=Link(**link))
    world.run(20 * SECOND)
    for _ in range(lost):
        world.links[A].lost_in_turn = 1
        world.run(200 * MILLISECOND)
    return world.fleet.peers[A].evidence


def test_loss_is_told_with_its_limit():
    """Evidence of loss has what was lost, of how many, and what is allowed."""
    assert evidence(Limits(max_loss=0.05), lost=6) == (
        f"{A}: loss 6 % of the last 100, above max_loss 5 %",
    )


def test_slowness_is_told_with_its_limit():
    """Evidence of a slow path has the median and what is allowed."""
    limits = Limits(max_rtt=20 * MILLISECOND)
    assert evidence(limits, delay=15 * MILLISECOND) == (
        f"{A}: RTT median 30 ms, above max_rtt 20 ms",
    )
