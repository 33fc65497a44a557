"""Faults of our own side, made for real: nobody is down by them, and one entry says so."""

import contextlib
from datetime import datetime
from typing import NamedTuple

import figures
import pytest
from topology import ANEW, DETECTION, MARGIN, PROBE, peers

pytestmark = [pytest.mark.root, pytest.mark.slow]

BEHIND_ONE = ("a4", "a6", "b4", "b6")
BEHIND_TWO = ("d4", "f4")


@contextlib.contextmanager
def switched_off(lab):
    with lab.off(lab.monitor, "one"):
        yield


@contextlib.contextmanager
def cable_pulled(lab):
    lab.switch.ip("link set p-m-one down")
    try:
        yield
    finally:
        lab.switch.ip("link set p-m-one up")


@contextlib.contextmanager
def removed(lab):
    lab.monitor.ip("link del one")
    try:
        yield
    finally:
        lab.plug_monitor("one")
        lab.route_monitor()


@contextlib.contextmanager
def cut_beyond_next_hop(lab):
    with lab.ruled(lab.router, "forward", 'iifname "north" drop'):
        lab.monitor.ip("neigh flush dev one")
        yield


@contextlib.contextmanager
def next_hop_dead(lab):
    lab.switch.ip("link set p-r-north down")
    lab.monitor.ip("neigh flush dev one")
    try:
        yield
    finally:
        lab.switch.ip("link set p-r-north up")


@contextlib.contextmanager
def next_hop_just_dead(lab):
    """Before the kernel has asked again."""
    lab.switch.ip("link set p-r-north down")
    try:
        yield
    finally:
        lab.switch.ip("link set p-r-north up")


class Case(NamedTuple):
    """A fault of everything behind one of our interfaces."""

    name: str
    cause: str
    make: object
    evidence: str
    storms: int
    """One for an interface, one for each next hop."""


CASES = [
    Case("our interface down", "own-link", switched_off, "our interface one is down", 1),
    Case("our cable pulled", "own-link", cable_pulled, "our interface one has no carrier", 1),
    Case("our interface removed", "own-link", removed, "our interface one is gone", 1),
    Case("cut beyond the next hop", "own-uplink", cut_beyond_next_hop, " answers (", 2),
    Case("next hop dead", "own-uplink", next_hop_dead, "does not answer ARP or ND", 2),
    Case("next hop dead, just now", "own-uplink", next_hop_just_dead, "before the silence", 2),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_a_fault_of_ours_condemns_nobody(lab, case):
    """All behind it are unknown, one entry at err says why, and others are judged all the while.

    Afterwards one reply ends it, and who is dead is told one detection time later.
    """
    watched = (*BEHIND_ONE, "c4", *BEHIND_TWO)
    with lab.watch(peers(*watched)) as monitor, contextlib.ExitStack() as later:
        monitor.all_up()
        later.enter_context(lab.stopped("c"))
        monitor.told("c4", state="down")
        since = monitor.count()
        with case.make(lab):
            for name in (*BEHIND_ONE, "c4"):
                verdict = monitor.told(name, since, state="unknown")
                if name == "c4":  # it was down before
                    del verdict["HBD_DETECTION_USEC"]
                else:
                    assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
                figures.note(case.name, verdict, ("unknown", case.cause), DETECTION)
                assert verdict["HBD_CAUSE"] == case.cause
                assert case.evidence in verdict["HBD_EVIDENCE"]
            with lab.stopped("d"):
                other = monitor.told("d4", since, state="down")
                figures.note(f"{case.name}, hbd stopped", other, ("down", "port-closed"), DETECTION)
        storms = own_storms(monitor, since)
        assert [storm["PRIORITY"] for storm in storms] == ["3"] * case.storms
        assert all(case.evidence in storm["MESSAGE"] for storm in storms)
        for name in BEHIND_ONE:
            monitor.told(name, since, state="up", seconds=PROBE + 1 + MARGIN)
        dead = monitor.told("c4", since, state="down")
        assert dead["HBD_CAUSE"] == "port-closed"
        first = min(when(monitor.told(name, since, state="up")) for name in ("a4", "b4"))
        # Each of those behind it begins at a moment of its interval.
        assert (when(dead) - first).total_seconds() <= 0.2 + ANEW + DETECTION + MARGIN
        for name in BEHIND_ONE:
            assert [state for state, _ in monitor.changes(name, since)] == ["unknown", "up"]
        assert own_storms(monitor, since) == storms


def own_storms(monitor, since):
    return [
        entry
        for entry in monitor.entries()[since:]
        if entry.get("HBD_EVENT") == "storm" and "HBD_CAUSE" in entry
    ]


def when(entry):
    return datetime.fromisoformat(entry["HBD_SINCE"])


@contextlib.contextmanager
def routes_deleted(lab):
    lab.monitor.ip("route del 10.11.0.0/16")
    lab.monitor.ip("-6 route del fd11::/64")
    try:
        yield
    finally:
        lab.route_monitor()


@contextlib.contextmanager
def routes_unreachable(lab):
    lab.monitor.ip("route replace unreachable 10.11.0.2/32")
    lab.monitor.ip("-6 route replace unreachable fd11::2/128")
    try:
        yield
    finally:
        lab.monitor.ip("route del unreachable 10.11.0.2/32")
        lab.monitor.ip("-6 route del unreachable fd11::2/128")


@contextlib.contextmanager
def address_deleted(lab):
    lab.monitor.ip("addr del 10.1.0.1/24 dev one")
    try:
        yield
    finally:
        lab.monitor.ip("addr add 10.1.0.1/24 dev one")
        lab.route_monitor()


@contextlib.contextmanager
def address6_deleted(lab):
    """The route stays: heartbeats leave from an address whose replies go elsewhere."""
    lab.monitor.ip("addr del fd01::1/64 dev one")
    try:
        yield
    finally:
        lab.monitor.ip("addr add fd01::1/64 dev one nodad")


def sending_blocked(lab):
    return lab.ruled(
        lab.monitor, "output", "ip daddr 10.11.0.2 udp dport 862 drop", "ip6 daddr fd11::2 drop"
    )


SINGLE = [
    ("our firewall blocks sending", "send-blocked", sending_blocked, ("a4", "a6"), ("c4", "c6")),
    ("our route deleted", "no-route", routes_deleted, ("a4", "a6"), ("c4", "c6")),
    ("our route unreachable", "no-route", routes_unreachable, ("a4", "a6"), ("c4", "c6")),
    ("our address deleted", "no-route", address_deleted, ("a4", "b4"), ("a6", "d4")),
    ("our IPv6 address deleted", "own-uplink", address6_deleted, ("a6", "b6"), ("a4", "d6")),
]


@pytest.mark.parametrize("row", SINGLE, ids=[row[0].replace(" ", "-") for row in SINGLE])
def test_what_we_cannot_send_is_held_against_nobody(lab, row):
    """A peer that we cannot send to is unknown, at warning, until it answers again."""
    fault, cause, make, ill, well = row
    with lab.watch(peers(*ill, *well)) as monitor:
        since = monitor.all_up().count()
        with make(lab):
            for name in ill:
                verdict = monitor.told(name, since, state="unknown")
                figures.note(fault, verdict, ("unknown", cause), DETECTION)
                assert (verdict["HBD_CAUSE"], verdict["PRIORITY"]) == (cause, "4")
                assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN
            assert all(monitor.changes(name, since) == [] for name in well)
        for name in ill:
            monitor.told(name, since, state="up")
            assert [state for state, _ in monitor.changes(name, since)] == ["unknown", "up"]


def test_a_peer_alone_on_its_egress_is_down_with_a_doubt(lab):
    """Where no other peer was up, the evidence says that peer and uplink cannot be told apart."""
    with lab.watch(peers("d4", "a4")) as monitor:
        since = monitor.all_up().count()
        with lab.ruled(lab.hosts["d"], "input", "udp dport 862 drop"):
            verdict = monitor.told("d4", since, state="down")
    figures.note("alone, host drops heartbeats", verdict, ("down", "filtered"), DETECTION)
    assert "cannot be told apart" in verdict["HBD_EVIDENCE"]
    assert int(verdict["HBD_DETECTION_USEC"]) / 1e6 <= DETECTION + MARGIN


def test_who_was_behind_a_router_and_is_on_our_link_by_a_wrong_route_is_doubted(lab):
    """A netmask of ours that is too wide makes distant peers neighbours that do not answer: the
    evidence asks for our route."""
    with lab.watch(peers("a4", "r4", "d4")) as monitor:
        since = monitor.all_up().count()
        lab.monitor.ip("route replace 10.11.0.0/16 dev one")
        try:
            verdict = monitor.told("a4", since, cause="host-unreachable")
            assert "2 hops away, and our route says now that it is on" in verdict["HBD_EVIDENCE"]
        finally:
            lab.route_monitor()
        monitor.told("a4", since, state="up")
