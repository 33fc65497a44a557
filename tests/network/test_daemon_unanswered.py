"""Peers that are there, but whose replies come too late: told by a real daemon."""

import re

import figures
import pytest
from topology import ADDRESS, DETECTION, MARGIN, PROBE, Fake, peer, stateless

pytestmark = [pytest.mark.root, pytest.mark.slow]

PORT = 8001


@pytest.fixture
def far(lab):
    """A reflector on host a whose replies may be late, and a monitor of it."""
    address = ADDRESS["a4"]
    watched = [peer("far", address, port=PORT), peer("b4")]
    with Fake(lab.hosts["a"], address, PORT, stateless) as fake, lab.watch(watched) as monitor:
        monitor.all_up()
        yield fake, monitor


def longer(evidence):
    """Give the peers with the setting that would do, as the evidence has it."""
    found = re.search(r"`timeout: ([\w.]+)` with `interval: ([\w.]+)` would do", evidence)
    timing = dict(zip(("timeout", "interval"), found.groups(), strict=True))
    return [peer("far", ADDRESS["a4"], port=PORT, **timing), peer("b4")]


def test_replies_that_always_come_late_are_told_as_too_tight(far):
    """Each round is saved by a late reply: degraded, until the timeout is as the evidence says."""
    fake, monitor = far
    since = monitor.count()
    fake.delay = 0.15
    verdict = monitor.told("far", since, state="degraded", seconds=15)
    figures.note("replies after 150 ms, not 100", verdict, ("degraded", "too-tight"), 20 * 0.2)
    assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == ("too-tight", "4")
    assert "above timeout 100 ms" in verdict["HBD_EVIDENCE"]
    assert monitor.status("far")["paths"][0]["cause"] == "too-tight"
    monitor.reload(peers=longer(verdict["HBD_EVIDENCE"]))
    monitor.told("far", since, state="up")
    assert [state for state, _ in monitor.changes("far", since)] == ["degraded", "up"]
    assert monitor.changes("b4", since) == []


def test_replies_that_come_after_all_life_are_told_as_too_tight(far):
    """Down at the deadline; what comes later says why, and what to set: with that it is up."""
    fake, monitor = far
    since = monitor.count()
    fake.delay = 0.7
    verdict = monitor.told("far", since, state="down")
    assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
    refined = monitor.told("far", since, cause="too-tight", seconds=2 * PROBE + MARGIN)
    detection = {"HBD_DETECTION_USEC": verdict["HBD_DETECTION_USEC"]}
    figures.note(
        "replies after 700 ms, not 400", refined | detection, ("down", "too-tight"), DETECTION
    )
    assert (refined["HBD_STATE"], refined["PRIORITY"]) == ("down", "6")
    assert re.search(r"replies come after 7\d\d ms, later than timeout", refined["HBD_EVIDENCE"])
    assert monitor.status("far")["paths"][0]["cause"] == "too-tight"
    monitor.reload(peers=longer(refined["HBD_EVIDENCE"]))
    monitor.told("far", since, state="up", seconds=15)
    assert monitor.changes("b4", since) == []
