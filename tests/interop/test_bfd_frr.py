"""hbd as a BFD neighbour of FRR."""

import contextlib
import os
import time
from pathlib import Path

import bfd_scenes
import live_figures
import namespaces
import programs
import pytest
from bfd_lan import PEER, Hbd, Lan, bfd
from routers import Frr
from sessions import Neighbour
from test_harness import HERE, THERE

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason := programs.missing(vtysh="frr")), reason=str(reason)),
]


@pytest.fixture
def kind():
    return Frr


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """Give FRR and two hbds."""
    with namespaces.network() as net:
        made = Lan(net, tmp_path_factory.mktemp("frr"))
        with contextlib.closing(made):
            made.start(Frr)
            yield made


class TestFaults(bfd_scenes.Faults):
    """On a LAN."""


class TestTimers(bfd_scenes.Timers):
    """On the same LAN."""


class TestSessions(bfd_scenes.Sessions):
    """Each on a cable of its own."""


class TestDetection(bfd_scenes.Detection):
    """On cables that are cut one by one."""


def test_shutdown(lan):
    """FRR's `shutdown` is AdminDown: the peer has left, until `no shutdown`."""
    lan.up()
    since = lan.marks()
    lan.router.reconfigure(shutdown=True)
    lan.seen("shutdown", since, "left", "bfd-admin-down")
    time.sleep(2)
    for seat in lan.seats:
        assert seat.hbd.state(PEER) == ("left", "bfd-admin-down")
        assert lan.router.session(seat.address).state == "shutdown"
    lan.router.reconfigure(shutdown=False)
    lan.up()


def test_five_hundred(tmp_path):
    """Five hundred sessions with one FRR come up and stay up; what they cost is printed."""
    there = [f"10.99.{1 + n // 250}.{1 + n % 250}" for n in range(500)]
    # Multihop, though it is one: else FRR has one session with an address.
    options = {"interval": "1s", "multihop": True}
    peers = [bfd(f"r{n}", address, **options) for n, address in enumerate(there)]
    neighbours = [Neighbour(HERE, local=address) for address in there]
    with namespaces.network() as net:
        one, other = net.host("here"), net.host("there")
        addresses = [f"{address}/16" for address in (THERE, *there)]
        net.link((one, "va", [f"{HERE}/16"]), (other, "vb", addresses))
        with (
            Frr(other, *neighbours, tx=1000, rx=1000) as router,
            Hbd(one, tmp_path / "hbd", *peers) as hbd,
        ):
            began = time.monotonic()
            while len(hbd.up_now()) < len(peers):
                assert time.monotonic() - began < 30, hbd.tail()
                time.sleep(0.5)
            time.sleep(1)
            before = [cpu(pid) for pid in (hbd.process.pid, router.pid)], len(hbd.entries("state"))
            time.sleep(5)
            after = [cpu(pid) for pid in (hbd.process.pid, router.pid)], len(hbd.entries("state"))
            ours, its = (100 * (b - a) / 5 for a, b in zip(before[0], after[0], strict=True))
            live_figures.say(
                f"500 sessions with FRR at 1 s: hbd {ours:.1f} %, bfdd {its:.1f} % of a core"
            )
            assert after[1] == before[1]
            assert all(seen.state == "up" for seen in router.sessions())


def cpu(pid):
    """Give the seconds that a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
