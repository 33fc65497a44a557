"""Peers that are there, but whose replies come too late or not at all: told by a real daemon."""

import contextlib
import re
import socket

import figures
import pytest
from topology import ADDRESS, DETECTION, MARGIN, PROBE, Daemon, Fake, peer, peers, stateless

pytestmark = [pytest.mark.root, pytest.mark.slow]

PORT = 8001
LISTEN = ["0.0.0.0:862", "[::]:862"]
MONITOR = {"name": "m", "address": ["10.1.0.1", "fd01::1"]}


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


@pytest.fixture
def both(lab):
    """An hbd on host a that watches the monitor, too, and the monitor: each up to the other."""
    lab.stop("a")
    try:
        with (
            Daemon(lab.hosts["a"], listen=LISTEN, accept="any", peers=[MONITOR]) as host,
            lab.watch(peers("a4", "a6", "b4"), listen=LISTEN) as monitor,
        ):
            monitor.all_up()
            host.all_up()
            host.until(lambda: [p["state"] for p in host.status("m")["paths"]] == ["up", "up"])
            yield host, monitor
    finally:
        lab.start("a")


@contextlib.contextmanager
def keeping_out(lab, _daemon):
    """The firewall of host a lets nothing in but replies."""
    with lab.ruled(lab.hosts["a"], "input", "udp dport 862 drop"):
        yield


@contextlib.contextmanager
def losing_replies(lab, _daemon):
    """What host a answers is lost on the way, what it asks is not."""
    rules = (f"ip saddr {ADDRESS['a4']}", f"ip6 saddr {ADDRESS['a6']}")
    with lab.ruled(lab.router, "forward", *(f"{rule} udp sport 862 drop" for rule in rules)):
        yield


@contextlib.contextmanager
def not_listing(_lab, daemon):
    """The hbd on host a answers others, not us."""
    daemon.reload(listen=LISTEN, accept=["192.0.2.0/24"], peers=[MONITOR])
    yield


@pytest.mark.parametrize("make", [keeping_out, losing_replies, not_listing])
def test_peer_that_asks_but_does_not_answer_is_one_way(lab, both, make):
    """Its own heartbeats reach us: the verdict says so in time, and what may be the matter."""
    host, monitor = both
    since = monitor.count()
    with make(lab, host):
        for name in ("a4", "a6"):
            verdict = monitor.told(name, since, state="down")
            figures.note(make.__name__.replace("_", " "), verdict, ("down", "one-way"), DETECTION)
            assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == ("one-way", "3")
            assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
            assert "or it does not list us" in verdict["HBD_EVIDENCE"]
    assert monitor.changes("b4", since) == []


def test_peer_that_ceases_to_ask_is_filtered(lab, both):
    """First one way only, then no heartbeat at all: the cause becomes the more modest one."""
    host, monitor = both
    since = monitor.count()
    with keeping_out(lab, host):
        monitor.told("a4", since, cause="one-way")
        lab.hosts["a"].block("output", "udp dport 862 drop", table="mute")
        try:
            monitor.told("a4", since, cause="filtered", seconds=5 * PROBE)
        finally:
            lab.hosts["a"].unblock("mute")
    assert monitor.changes("a4", since)[:2] == [("down", "one-way"), ("down", "filtered")]


def test_requests_to_our_own_reflector_are_no_ones_life(lab):
    """Of a peer on this very machine our own heartbeats are the requests: they show nothing."""
    watched = [peer("self", "10.1.0.1"), peer("b4")]
    with lab.watch(watched, listen=LISTEN, accept="any") as monitor:
        since = monitor.all_up().count()
        with lab.ruled(lab.monitor, "input", "iifname lo udp sport 862 drop"):
            verdict = monitor.told("self", since, state="down")
        assert verdict["HBD_CAUSE"] == "filtered"


def test_replies_from_another_address_are_told(lab):
    """A host that answers by its other address is no firewall: the evidence names the address."""
    host, asked, other = lab.hosts["a"], ADDRESS["a4"], "10.11.0.77"
    host.ip(f"addr replace {other}/24 dev uplink")
    with host.inside():
        by_other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    by_other.bind((other, PORT))

    def answer(request):
        by_other.sendto(stateless(request), fake.requests[-1][1])

    watched = [peer("far", asked, port=PORT), peer("b4")]
    with by_other, Fake(host, asked, PORT, answer) as fake, lab.watch(watched) as monitor:
        verdict = monitor.told("far", cause="bad-reply")
        figures.note("replies from another address", verdict, ("down", "bad-reply"), DETECTION)
        first = verdict["HBD_EVIDENCE"].splitlines()[0]
        assert f"replies come from {other} instead; `address: {other}`" in first
    host.ip(f"addr flush dev uplink to {other}")
