"""Hundreds of peers of all kinds in one daemon: one table, one uplink, one stop."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import seen
import toys
from brokers import Mosquitto
from programs import missing, until
from topology import ROOT

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(reason := missing(mosquitto="mosquitto", mosquitto_sub="mosquitto-clients")),
        reason=str(reason),
    ),
]

THERE = "10.99.0.2"
SLOW = {"interval": "1s", "timeout": "500ms", "retries": 3}
DETECTION = 1 + 4 * 0.5
HEARD = {"protocol": "plain", "expect": "1s", "grace": 2.5, "rise": 1}
ASKS = {"protocol": "tcp", "port": 7001, "send": "PING", "expect_reply": "PONG"}
RACK = "10.50.9"
NETWORK = "10.50.0.0/16"


def fleet():
    """650 peers: 200 of STAMP, 200 plain, 200 of TCP, 50 of MQTT."""
    kinds = (("stamp", {}, 200), ("plain", HEARD, 200), ("tcp", ASKS, 200),
             ("mqtt", {"protocol": "mqtt"}, 50))  # fmt: skip
    return [
        {"name": f"{kind}{n}", "address": f"10.50.{number}.{n}", **way, "labels": {"kind": kind}}
        for number, (kind, way, count) in enumerate(kinds, start=1)
        for n in range(1, count + 1)
    ]


def rack():
    """One of each behind a gateway that speaks STAMP."""
    inside = {"via": "gw", "labels": {"rack": "9"}}
    return [
        {"name": "gw", "address": f"{RACK}.1", **SLOW},
        {"name": "board", "address": f"{RACK}.2", **HEARD, **inside},
        {"name": "db", "address": f"{RACK}.3", **ASKS, **inside},
        {"name": "broker", "address": f"{RACK}.4", "protocol": "mqtt", **inside},
    ]


@contextlib.contextmanager
def senders(host, addresses):
    """Boards that send a text once a second, each from its own address."""
    with contextlib.ExitStack() as stack:
        boards = []
        with host.inside():
            for address in addresses:
                board = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                board.bind((address, 0))
                board.connect(("10.99.0.1", 12345))
                boards.append(board)
        ending = threading.Event()

        def send():
            while not ending.is_set():
                for board in boards:
                    with contextlib.suppress(OSError):  # while nobody listens yet
                        board.send(b"alive")
                    ending.wait(0.9 / len(boards))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


@contextlib.contextmanager
def world(pair):
    """All that answers or sends, in the other host; gives the broker."""
    pair.there.ip(f"addr add 10.50.0.1/{NETWORK.rpartition('/')[2]} dev lo")
    pair.here.ip(f"route add {NETWORK} via {THERE}")
    pair.run(pair.there, listen=["0.0.0.0:862"], accept="any").ready()
    addresses = [one["address"] for one in [*fleet(), *rack()] if one.get("protocol") == "plain"]
    with (
        Mosquitto(pair.there, "0.0.0.0") as broker,  # noqa: S104 - in a namespace
        toys.replying(pair.there, "0.0.0.0", 7001, b"PONG"),  # noqa: S104
        senders(pair.there, addresses),
    ):
        yield broker


def table(monitor):
    """What `hbd status` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "hbd", "status"],
        cwd=ROOT, env=os.environ | {"RUNTIME_DIRECTORY": str(monitor.runtime)},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    return done.stdout


def test_side_by_side(pair):
    """All kinds are up together; a rack falls behind its gateway; our uplink is nobody's fault."""
    peers = [*fleet(), *rack()]
    with world(pair) as broker:
        monitor = pair.run(pair.here, peers=peers, defaults=SLOW, start_grace="5s")
        names = {one["name"] for one in peers}
        up = lambda: {n for n, state in monitor.states().items() if state == "up"}  # noqa: E731
        monitor.until(lambda: up() == names, 30)
        listed = table(monitor)
        assert f"{len(peers)} peers: {len(peers)} up" in listed
        assert {word for word in listed.split() if word in ("stamp", "plain", "tcp", "mqtt")} == {
            "stamp", "plain", "tcp", "mqtt",
        }  # fmt: skip
        time.sleep(3)
        assert monitor.count() < len(peers) + 100  # nobody fell meanwhile
        assert up() == names

        since = monitor.count()
        pair.there.nft(
            f"table ip rack {{ chain i {{ type filter hook input priority 0;"
            f" ip daddr {RACK}.0/24 drop; }};"
            f" chain o {{ type filter hook output priority 0; ip saddr {RACK}.0/24 drop; }}; }}"
        )
        seen.falls(monitor, "gw", "silent", "rack cut: its gateway", DETECTION, since=since)
        for name in ("board", "db", "broker"):
            told = monitor.told(name, since, state="unreachable")
            assert (told["HBD_CAUSE"], told["HBD_LABEL_RACK"]) == ("parent-down", "9")
        pair.there.nft("delete table ip rack")
        monitor.until(lambda: up() == names, 20)
        fell = {n for n in names if "down" in [state for state, _ in monitor.changes(n, since)]}
        assert fell == {"gw"}

        since = monitor.count()
        pair.there.block("input", "iifname vb drop")
        pair.there.block("output", "oifname vb drop", table="block2")
        monitor.until(lambda: set(monitor.states().values()) == {"unknown"}, 20)
        told = {change for name in names for change in monitor.changes(name, since)}
        assert told == {("unknown", "own-uplink")}
        pair.there.unblock()
        pair.there.unblock("block2")
        monitor.until(lambda: up() == names, 30)

        lines, began = broker.count(), time.monotonic()
        monitor.process.terminate()
        assert monitor.process.wait(10) == 0
        assert time.monotonic() - began < 3
        goodbyes = lambda: sum("DISCONNECT" in x.words for x in broker.lines()[lines:])  # noqa: E731
        until(lambda: goodbyes() == 51)


def test_connections_leave_room_for_questions(pair):
    """Where descriptors run out, the rest of the peers is unknown, and hbd answers questions."""
    peers = [{"name": f"p{n}", "address": THERE, **ASKS} for n in range(100)]
    with toys.replying(pair.there, THERE, 7001, b"PONG"):
        monitor = pair.run(pair.here, peers=peers, wrap=("prlimit", "--nofile=100:120"))
        monitor.until(lambda: len(monitor.states()) == len(peers), 20)
        states = list(monitor.states().values())
        assert set(states) == {"up", "unknown"}
        assert 30 < states.count("up") < 56
        told = monitor.find(lambda entry: entry.get("HBD_CAUSE") == "send-blocked")
        assert "Too many open files" in told["HBD_EVIDENCE"]
        assert "100 peers" in table(monitor)
        assert len(list(Path(f"/proc/{monitor.process.pid}/fd").iterdir())) <= 60
