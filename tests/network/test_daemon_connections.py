"""Peers that are asked over connections, and what the way there does to these; by a real daemon."""

import contextlib
import re
import socket
import subprocess
import threading

import pytest
from topology import ADDRESS, FAST, PATIENCE, peer

pytestmark = [pytest.mark.root, pytest.mark.slow]

PORT = 7777
TIMING = {**FAST, "interval": "500ms", "timeout": "300ms", "rise": 1}


def echo(accepted):
    with accepted, contextlib.suppress(OSError):
        while octets := accepted.recv(4096):
            accepted.sendall(octets)


@contextlib.contextmanager
def serving(host, address):
    """Echo whatever connections bring, in a namespace."""
    with host.inside():
        listener = socket.create_server((address, PORT))

    accepted, threads = [], []

    def accept():
        with listener, contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])
                threads.append(threading.Thread(target=echo, args=accepted[-1:]))
                threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        for one in accepted:
            with contextlib.suppress(OSError):  # who is gone has closed it
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def local_port(lab, address):
    """Give the port of ours that a held connection is from."""
    with lab.monitor.inside():
        shown = subprocess.run(
            ["ss", "-Htn", "state", "established", "dst", f"{address}:{PORT}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return re.search(r":(\d+)\s+\S+:7777", shown)[1]


@pytest.mark.parametrize("how", [{"send": "hello"}, {}], ids=["send", "held"])
def test_a_connection_that_a_firewall_forgot_is_no_outage(lab, how):
    """The host and its service are well: the last attempt is by a new connection, which passes."""
    settings = {"protocol": "tcp", "port": PORT, **TIMING, **how}
    watched = [peer("a", ADDRESS["a4"], **settings), peer("b4")]
    with serving(lab.hosts["a"], ADDRESS["a4"]), lab.watch(watched) as monitor:
        monitor.all_up()
        since, port = monitor.count(), local_port(lab, ADDRESS["a4"])
        lab.hosts["a"].block("input", f"tcp sport {port} drop", "there")
        lab.hosts["a"].block("output", f"tcp dport {port} drop", "back")
        try:
            monitor.until(lambda: local_port(lab, ADDRESS["a4"]) != port, PATIENCE)
            before = monitor.status("a")["received"]
            monitor.until(lambda: monitor.status("a")["received"] > before + 3, PATIENCE)
        finally:
            lab.hosts["a"].unblock("there")
            lab.hosts["a"].unblock("back")
        assert monitor.changes("a", since) == []


@pytest.mark.parametrize("how", [{"send": "hello"}, {}], ids=["send", "held"])
def test_a_host_that_is_cut_off_is_down_for_what_its_old_connection_shows(lab, how):
    """The new attempt hides nothing: the connection that was held had acknowledged nothing."""
    settings = {"protocol": "tcp", "port": PORT, **TIMING, **how}
    watched = [peer("a", ADDRESS["a4"], **settings), peer("b4")]
    with serving(lab.hosts["a"], ADDRESS["a4"]), lab.watch(watched) as monitor:
        monitor.all_up()
        since = monitor.count()
        lab.hosts["a"].block("input", f"tcp dport {PORT} drop")
        try:
            verdict = monitor.told("a", since, state="down")
        finally:
            lab.hosts["a"].unblock()
        assert verdict["HBD_CAUSE"] == "keepalive-failed"
        monitor.told("a", since, state="up")


def test_a_firewall_that_prohibits_is_no_host_that_is_off(lab):
    """What rejects by ICMP is told as that, and who it was."""
    settings = {"protocol": "tcp", "port": PORT, **TIMING}
    with lab.watch([peer(name, ADDRESS[f"{name}4"], **settings) for name in "ab"]) as monitor:
        for name in "ab":  # nobody else is there to be a witness
            rule = f"tcp dport {PORT} reject with icmpx type admin-prohibited"
            lab.hosts[name].block("input", rule)
        try:
            verdicts = [monitor.told(name, state="down", cause="rejected") for name in "ab"]
        finally:
            for name in "ab":
                lab.hosts[name].unblock()
        for name, verdict in zip("ab", verdicts, strict=True):
            assert f"from {ADDRESS[f'{name}4']}" in verdict["HBD_EVIDENCE"]


def test_who_is_heard_needs_no_heartbeat_of_ours(lab):
    """A firewall of ours that keeps back what we send says nothing of whom we only hear."""
    beats = {"protocol": "plain", "port": PORT, "expect": "500ms", "send": "hello"}
    with (
        lab.watch([peer("a", ADDRESS["a4"], **beats), peer("b4")]) as monitor,
        lab.hosts["a"].inside(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.bind((ADDRESS["a4"], 0))

        def beat():
            sender.sendto(b"beat", ("10.1.0.1", PORT))
            return monitor.states().get("a") == "up"

        monitor.until(beat)
        since = monitor.count()
        lab.monitor.block("output", f"udp dport {PORT} drop")
        try:
            verdict = monitor.told("a", since, state="down")
        finally:
            lab.monitor.unblock()
        assert verdict["HBD_CAUSE"] in ("silent", "filtered")
