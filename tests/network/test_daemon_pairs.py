"""Two faults at once, made for real: each peer is held to what is its own."""

import time

import pytest
from test_daemon_own_side import cut_beyond_next_hop, own_storms, switched_off, when
from topology import ANEW, DETECTION, MARGIN, PROBE, peer, peers

pytestmark = [pytest.mark.root, pytest.mark.slow]

RETURN = PROBE + 1 + MARGIN


def states(monitor, name, since):
    """What was told, without the cause that becomes known better."""
    told = [state for state, _ in monitor.changes(name, since)]
    return list(dict.fromkeys(told))


def filtering(lab, name):
    return lab.ruled(lab.hosts[name], "input", "udp dport 862 drop")


def test_child_is_filtered_while_its_parent_is_down(lab):
    """Behind a parent that is off a silent child is unreachable; when that is back, and it is not,
    it is down; when its parent falls once more, it stays so."""
    with lab.watch([*peers("c4", "b4"), peer("e4", via="c4")]) as monitor:
        since = monitor.all_up().count()
        with filtering(lab, "e"):
            with lab.off(lab.hosts["c"]):
                monitor.told("c4", since, state="down")
                monitor.told("e4", since, state="unreachable")
            monitor.told("c4", since, state="up", seconds=RETURN)
            down = monitor.told("e4", since, state="down", seconds=RETURN)
            assert when(down) > when(monitor.told("c4", since, state="up"))
            again = monitor.count()
            with lab.off(lab.hosts["c"]):
                monitor.told("c4", again, state="down")
                time.sleep(2 * DETECTION)
            monitor.told("c4", again, state="up", seconds=RETURN)
            assert [state for state in states(monitor, "e4", again) if state != "down"] == []
        monitor.told("e4", since, state="up", seconds=RETURN)
        assert states(monitor, "b4", since) == []


def test_uplink_is_cut_while_a_peer_is_paused(lab):
    """A pause outlasts our own fault without a word; ended in it, the peer is unknown as well."""
    with lab.watch(peers("a4", "b4", "r4", "d4", "f4")) as monitor:
        since = monitor.all_up().count()
        for name in ("a4", "b4"):
            monitor.call("Pause", peers=[name])
            monitor.told(name, since, state="paused")
        since = monitor.count()
        with switched_off(lab):
            monitor.told("r4", since, state="unknown", cause="own-link")
            monitor.call("Resume", peers=["b4"])
            monitor.told("b4", since, state="unknown", cause="own-link")
            (storm,) = own_storms(monitor, since)
            assert storm["PRIORITY"] == "3"
        for name in ("r4", "b4"):
            monitor.told(name, since, state="up", seconds=RETURN)
        assert states(monitor, "a4", since) == []
        monitor.call("Resume", peers=["a4"])
        monitor.told("a4", since, state="up")
        assert [states(monitor, name, since) for name in ("d4", "f4")] == [[], []]


def test_peer_dies_while_our_uplink_is_cut(lab):
    """Who died meanwhile is unknown like all, and down one detection time after our fault is over;
    behind our other interface a peer that dies in the same moment is down at once."""
    with lab.watch(peers("a4", "b4", "c4", "d4", "f4")) as monitor:
        since = monitor.all_up().count()
        with cut_beyond_next_hop(lab), lab.stopped("d"):
            monitor.told("d4", since, state="down", cause="port-closed")
            for name in ("a4", "b4", "c4"):
                monitor.told(name, since, state="unknown", cause="own-uplink")
            lab.stop("a")
        try:
            first = when(monitor.told("b4", since, state="up", seconds=RETURN))
            dead = monitor.told("a4", since, state="down")
            assert dead["HBD_CAUSE"] == "port-closed"
            assert (when(dead) - first).total_seconds() <= 0.2 + ANEW + DETECTION + MARGIN
            assert states(monitor, "a4", since) == ["unknown", "down"]
            assert states(monitor, "c4", since) == ["unknown", "up"]
        finally:
            lab.start("a")
        monitor.told("a4", since, state="up", seconds=RETURN)


def test_child_dies_while_our_link_to_its_parent_is_down(lab):
    """A parent that cannot be asked is unknown by our own fault, and so is its silent child, though
    that is reached by another interface; known again and alive, the parent leaves it down."""
    with lab.watch([*peers("a4", "d4"), peer("f4", via="a4")]) as monitor:
        since = monitor.all_up().count()
        with filtering(lab, "f"):
            with switched_off(lab):
                monitor.told("a4", since, state="unknown", cause="own-link")
                monitor.told("f4", since, state="unknown", cause="own-link")
            monitor.told("a4", since, state="up", seconds=RETURN)
            monitor.told("f4", since, state="down", seconds=RETURN)
        monitor.told("f4", since, state="up", seconds=RETURN)
        assert states(monitor, "d4", since) == []


def test_host_that_comes_and_goes_flaps(lab):
    """Its first failure is told in time and aloud; soon one entry says that it flaps, and single
    changes are quiet from then on."""
    with lab.watch(peers("a4", "b4")) as monitor:
        since = monitor.all_up().count()
        while not (flapping := of_flapping(monitor, since)):
            assert len(monitor.changes("a4", since)) <= 16
            come_and_go(lab, monitor)
        assert [(entry["PRIORITY"], entry["HBD_FLAPPING"]) for entry in flapping] == [("4", "1")]
        begun = monitor.entries().index(flapping[0])
        assert monitor.status("a4")["flapping"]
        come_and_go(lab, monitor)
        changes = [entry for entry in monitor.entries()[since:] if entry["HBD_EVENT"] == "state"]
        assert {entry["HBD_PEER"] for entry in changes} == {"a4"}
        assert int(changes[0]["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
        assert changes[0]["PRIORITY"] == "3"
        later = monitor.entries()[begun + 2 :]  # the next is the change by which it began
        quiet = [entry["PRIORITY"] for entry in later if entry in changes]
        assert len(quiet) >= 2
        assert set(quiet) == {"6"}


def of_flapping(monitor, since):
    return [entry for entry in monitor.entries()[since:] if entry["HBD_EVENT"] == "flapping"]


def come_and_go(lab, monitor):
    """Be away for one sample of the state, and back for one."""
    since = monitor.count()
    with filtering(lab, "a"):
        down = when(monitor.told("a4", since, state="down")).timestamp()
        time.sleep(max(0.0, down + PROBE - 0.5 - time.time()))
    up = when(monitor.told("a4", since, state="up", seconds=RETURN)).timestamp()
    time.sleep(max(0.0, up + PROBE - 0.5 - time.time()))
