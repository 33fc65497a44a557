"""Thousands of peers lost at once, and back at once: who is not among them notices nothing."""

import signal
import time

import pytest
from running import PORT, peer, until
from test_load import processor

pytestmark = pytest.mark.slow

MANY = 3_000
"""Ten thousand are in the journal of the container."""
FAR = PORT + 8
PACE = {"interval": "2s", "timeout": "500ms", "retries": 2, "labels": {"site": "ams"}}
DETECTION = 2 + 3 * 0.5
USUAL = {"interval": "1s", "timeout": "500ms", "retries": 3}
LIVE = 40


def many(net):
    """Give as many addresses of loopback."""
    block = net(1).split(".")[1]
    return [f"127.{block}.{number // 250}.{1 + number % 250}" for number in range(MANY)]


def told(one, state, since):
    """Give what was told of the many: their changes of state and the storms, in order."""
    return [
        entry
        for entry in one.entries()[since:]
        if entry.get("HBD_STATE") == state != entry.get("HBD_PREVIOUS_STATE")
        if entry["HBD_EVENT"] == "storm" or entry.get("HBD_PEER", "").startswith("p")
    ]


def wait_for_all(one, state, since=0):
    """Wait until a storm towards that state is over; give all that was told of it."""
    over = f"storm over: {MANY} peers are {state}".encode()
    until(lambda: over in one.log.read_bytes(), 60)
    return told(one, state, since)


def check_storm(entries):
    """One storm: five as usual, one entry for all, the rest at info, the total."""
    kinds = [entry["HBD_EVENT"] for entry in entries]
    assert kinds == ["state"] * 5 + ["storm"] + ["state"] * (MANY - 5) + ["storm"]
    changes = [entry for entry in entries if entry["HBD_EVENT"] == "state"]
    assert len({entry["HBD_PEER"] for entry in changes}) == MANY
    assert len({entry["HBD_EVENT_ID"] for entry in entries}) == MANY + 2
    usual = changes[0]["PRIORITY"]
    assert [e["PRIORITY"] for e in changes] == [usual] * 5 + ["6"] * (MANY - 5)
    begin, end = entries[5], entries[-1]
    assert (begin["HBD_COUNT"], begin["PRIORITY"]) == ("6", usual)
    assert end["HBD_COUNT"] == str(MANY)
    for entry in (begin, end):
        assert entry["HBD_COMMON"] == "egress lo, label site=ams"


def unanswered(one):
    """Of the live peers: how many heartbeats are without a reply, and how many replies were late;
    nobody's state may have changed."""
    views = [view for view in one.status()["peers"] if view["name"].startswith("live")]
    assert {view["state"] for view in views} == {"up"}
    return sum(v["sent"] - v["received"] for v in views), sum(v["late"] for v in views)


def test_thousands_at_once(daemon, net, capsys):
    """3,000 peers fail and return together: one storm each way, no verdict before its time or
    later than our own lateness makes it, and those on another reflector notice nothing."""
    live = [peer(f"live{n}", net(1 + n), **USUAL) for n in range(LIVE)]
    doomed = [{"name": f"p{n}", "address": a, "port": FAR} | PACE for n, a in enumerate(many(net))]
    daemon(peers=[], listen=[f"{one['address']}:{PORT}" for one in live], accept="any").start()
    far = daemon(peers=[], listen=[f"0.0.0.0:{FAR}"], accept="any").start()
    one = daemon()
    one.configure(peers=[*live, *doomed])
    one.launch()
    until(one.answers, 30)
    time.sleep(2)  # to ask a daemon of so many costs it a part of a second
    until(lambda: one.status()["summary"]["up"] == MANY + LIVE, 40)
    used = [processor(one.process.pid)]
    far.process.send_signal(signal.SIGSTOP)
    downs = wait_for_all(one, "down")
    used.append(processor(one.process.pid))
    lost = unanswered(one)
    began = len(one.entries())
    far.process.send_signal(signal.SIGCONT)
    ups = wait_for_all(one, "up", began)
    used.append(processor(one.process.pid))
    check_storm(downs)
    check_storm(ups)
    took = sorted(int(e["HBD_DETECTION_USEC"]) / 1e6 for e in downs if "HBD_DETECTION_USEC" in e)
    late = sum(int(entry["HBD_DURATION_USEC"]) / 1e6 for entry in one.entries("stall"))
    with capsys.disabled():
        print(
            f"\n{MANY} peers lost at once: verdict after p50 {took[MANY // 2]:.2f}, p99"
            f" {took[-MANY // 100]:.2f}, max {took[-1]:.2f} s of {DETECTION}, we were late by"
            f" {late:.2f}; processor {used[1] - used[0]:.1f} s for the fall,"
            f" {used[2] - used[1]:.1f} s for the return"
        )
    assert took[0] >= 3 * 0.5
    assert len(one.entries("state", peer="live0")) == 1
    waiting = 2 * LIVE  # their replies are on the way
    for moment in (lost, unanswered(one)):
        assert moment[0] <= waiting
        assert moment[1] == 0
