import os
import socket
from pathlib import Path

import pytest

from hbd.report.notify import Notifier, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """PID 1's end and the environment that names it."""
    name = str(tmp_path / "notify")
    address = name if request.param == "path" else f"\0{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
        end.bind(address)
        yield end, {"NOTIFY_SOCKET": address.replace("\0", "@")}


def received(end):
    found = []
    while True:
        try:
            found.append(end.recv(4096).decode())
        except BlockingIOError:
            return found


def test_states_of_the_service_are_told(systemd):
    """Each state arrives as sd_notify(3) words it, a status in one line."""
    end, environ = systemd
    notifier = Notifier(environ)
    notifier.ready()
    notifier.status("12 peers\nREADY=0")
    notifier.reloading(42)
    notifier.watchdog()
    notifier.remove("udp:0")
    notifier.stopping()
    notifier.close()
    assert received(end) == [
        "READY=1",
        "STATUS=12 peers READY=0",
        "RELOADING=1\nMONOTONIC_USEC=42",
        "WATCHDOG=1",
        "FDSTOREREMOVE=1\nFDNAME=udp_0",
        "STOPPING=1",
    ]


def test_socket_is_stored_with_its_name(systemd):
    """A descriptor passes to PID 1 and is the same open file there."""
    end, environ = systemd
    notifier = Notifier(environ)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        notifier.store(udp.fileno(), "reflector\n[::]:862")
        message, fds, _, _ = socket.recv_fds(end, 4096, 4)
        assert message == b"FDSTORE=1\nFDNAME=reflector_[__]_862\nFDPOLL=0"
        with socket.socket(fileno=fds[0]) as stored:
            assert stored.getsockname() == udp.getsockname()
    notifier.close()


def test_stuck_systemd_blocks_nothing_and_misses_nothing_important(systemd):
    """A stuck PID 1 costs no time; what it must know follows when it reads again."""
    end, environ = systemd
    notifier = Notifier(environ)
    for number in range(2000):
        notifier.status(f"{number}")
    notifier.stopping()
    waiting = received(end)
    assert len(waiting) < 2000
    assert "STOPPING=1" not in waiting
    notifier.watchdog()
    assert received(end) == ["STOPPING=1", "WATCHDOG=1"]
    notifier.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def stuck(environ):
    """A notifier whose systemd reads nothing at present."""
    notifier = Notifier(environ)
    for number in range(2000):
        notifier.status(f"{number}")
    return notifier


def test_stuck_systemd_gets_the_newest_of_each_state(systemd):
    """However much waits, READY=1, RELOADING=1 and STOPPING=1 arrive, in the right order."""
    end, environ = systemd
    notifier = stuck(environ)
    notifier.ready()
    for number in range(50):
        notifier.remove(f"udp-{number}")
        notifier.reloading(number)
        notifier.ready()
    notifier.stopping()
    received(end)
    found = []
    while True:
        notifier.watchdog()
        more = received(end)
        found += more
        if more == ["WATCHDOG=1"]:
            break
    states = [one for one in found if not one.startswith(("FDSTORE", "WATCHDOG"))]
    assert states == ["RELOADING=1\nMONOTONIC_USEC=49", "READY=1", "STOPPING=1"]
    notifier.close()


def test_stuck_systemd_stores_the_socket_that_was_meant(systemd):
    """A socket closed since is still stored, unless it was taken back; no descriptor leaks."""
    end, environ = systemd
    before = descriptors()
    notifier = stuck(environ)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as other:
        udp.bind(("127.0.0.1", 0))
        name = udp.getsockname()
        notifier.store(udp.fileno(), "meant")
        notifier.store(other.fileno(), "taken back")
        notifier.remove("taken back")
    received(end)
    notifier.watchdog()
    message, fds, _, _ = socket.recv_fds(end, 4096, 4)
    assert message == b"FDSTORE=1\nFDNAME=meant\nFDPOLL=0"
    with socket.socket(fileno=fds[0]) as stored:
        assert stored.getsockname() == name
    assert received(end) == ["FDSTOREREMOVE=1\nFDNAME=taken back", "WATCHDOG=1"]
    notifier.close()
    assert descriptors() == before


def test_missing_systemd_is_no_error(tmp_path):
    """Without a socket, or with a dead one, nothing happens and nothing is raised."""
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "x"}):
        notifier = Notifier(environ)
        notifier.ready()
        notifier.status("x")
        with socket.socket() as stored:
            notifier.store(stored.fileno(), "x")
        notifier.close()
        notifier.close()


def test_watchdog_interval_is_for_this_process_only():
    """The interval counts in nanoseconds, and only if it is meant for us."""
    own = str(os.getpid())
    assert watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": own}) == 30 * 10**9
    assert watchdog_interval({"WATCHDOG_USEC": "30000000"}) == 30 * 10**9
    assert watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    for usec in ("", "0", "-1", "soon", "²"):
        assert watchdog_interval({"WATCHDOG_USEC": usec, "WATCHDOG_PID": own}) is None
