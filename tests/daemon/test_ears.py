"""When what peers send by themselves is read."""

import pytest

from hbd.config.model import Configuration
from hbd.core.model import MILLISECOND, SECOND, Expectation
from hbd.daemon.ears import NEAR, NEAREST, Ears, Opened
from hbd.daemon.poller import Poller
from hbd.net.clock import Clock
from tests.simulation.world import Timing, World, peer


def bfd(interval):
    return peer(f"10.0.0.{interval % 250}", protocol="bfd", port=3784, timing=Timing(interval))


def told(interval):
    expect = Expectation(interval)
    return peer("10.0.1.1", protocol="plain", port=9000, expect=expect, timing=Timing(50_000_000))


@pytest.mark.parametrize(
    ("peers", "near"),
    [
        ([], NEAREST),
        ([peer("10.0.0.1")], NEAREST),
        ([bfd(SECOND)], 50 * MILLISECOND),
        ([bfd(SECOND), bfd(300 * MILLISECOND)], 15 * MILLISECOND),
        ([bfd(50 * MILLISECOND), bfd(SECOND)], NEAREST),
        ([told(60 * SECOND)], NEAR),
        ([bfd(SECOND)] * 3_200, 20 * MILLISECOND),
        ([bfd(SECOND)] * 10_000, NEAREST),
        ([told(500 * MILLISECOND), bfd(10 * SECOND)], 25 * MILLISECOND),
    ],
)
def test_what_is_sent_seldom_may_lie_unread_for_a_while(peers, near):
    """A twentieth of the time between two heartbeats of any is soon enough, up to a limit."""
    ears = Ears(World(1).fleet, Clock(), Poller())
    ears.adopt(Configuration("hbd.yaml", peers=tuple(peers)), Opened({}, {}))
    assert ears.near == pytest.approx(near, abs=1)
