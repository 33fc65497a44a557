import os
import socket

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


def test_missing_systemd_is_no_error(tmp_path):
    """Without a socket, or with a dead one, nothing happens and nothing is raised."""
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "x"}):
        notifier = Notifier(environ)
        notifier.ready()
        notifier.status("x")
        notifier.store(99_999, "closed")
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
