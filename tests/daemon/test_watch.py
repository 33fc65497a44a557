"""`hbd status --watch` and the table in a real terminal, with a real daemon."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from running import network, peer, until
from terminals import Terminal

pytestmark = pytest.mark.slow

STATUS = (sys.executable, "-m", "hbd", "status")
WATCH = (*STATUS, "--watch")


@pytest.fixture(scope="module")
def fleet(shared):
    """A daemon with forty peers, one of them down."""
    make_daemon, make_reflector = shared
    net = network()
    make_reflector(net(1))
    peers = [peer("bad", net(2)), *(peer(f"p{n:02}", net(1)) for n in range(39))]
    daemon = make_daemon(peers=peers, node="monitor-1").start()
    daemon.wait("bad", "down")
    until(lambda: daemon.status()["summary"]["up"] == 39)
    return daemon


@pytest.fixture
def terminal():
    """Make terminals; they are closed after the test."""
    made = []

    def make(daemon, *words, **more):
        made.append(Terminal(daemon, *words, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def is_as_before(terminal):
    return terminal.has_cursor and not terminal.is_alternate and terminal.has_modes_as_before()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10), (10, 6)])
def test_the_screen_is_filled_and_never_wrapped(fleet, terminal, columns, lines):
    """The worst stand first, below who tells it and when; the rest is counted."""
    one = terminal(fleet, *WATCH, columns=columns, lines=lines)
    one.until("\nbad")
    shown = one.read(1.2).shown()
    assert shown[0].startswith("monitor-1"[: columns - 2])
    assert len(shown) == lines
    assert any(line.startswith("… and") for line in shown)
    assert one.wraps == 0
    assert one.is_alternate
    assert not one.has_cursor


def test_it_is_drawn_over_and_not_cleared(fleet, terminal):
    """No redraw erases what it is about to draw, so that nothing flickers."""
    one = terminal(fleet, *WATCH)
    one.until("as of")
    one.sent = b""
    one.read(2.5)
    assert one.sent.count(b"\x1b[H") >= 2
    for drawn in one.sent.split(b"\x1b[H")[1:]:
        assert b"\x1b[2J" not in drawn
        assert drawn.find(b"\x1b[J") == len(drawn) - len(b"\x1b[J")


def test_a_resize_is_seen_at_once(fleet, terminal):
    """More lines show more peers, fewer columns drop some."""
    one = terminal(fleet, *WATCH, lines=12)
    one.until("RTT")
    one.resize(38, 30)
    one.until("p20")
    assert "RTT" not in one.read(0.2).text()
    assert one.wraps == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131)]
)
def test_the_terminal_is_left_as_it_was(fleet, terminal, number, status):
    """However it is ended, the cursor is back, keys show, and the screen is the one before."""
    one = terminal(fleet, *WATCH)
    one.until("as of")
    assert not is_as_before(one)
    one.process.send_signal(number)
    assert one.end() == status
    assert is_as_before(one)
    assert b"Traceback" not in one.sent


def test_ctrl_c_and_ctrl_z_as_they_are_typed(fleet, terminal):
    """Stopped, the shell has its terminal as it was; going on, it is drawn again."""
    shell = ("bash", "--norc", "--noprofile", "--noediting", "-i")
    one = terminal(fleet, *shell, PS1="> ")
    one.type(f"{sys.executable} -m hbd status --watch bad\n".encode())
    one.until("as of").type(b"\x1a")
    one.until("Stopped")
    assert is_as_before(one)
    one.type(b"fg\n")
    one.until("as of")
    assert one.is_alternate
    assert not one.has_cursor
    one.type(b"\x03")
    until(lambda: not one.read(0.05).is_alternate)
    one.type(b"echo was $?\n")
    one.until("was 130").type(b"exit\n")
    one.end()


def test_it_outlives_a_restart_and_says_what_it_does_not_know(daemon, reflector, net, terminal):
    """Without the daemon the last table stays, dim, with why and since when; then it goes on."""
    reflector(net(1))
    one = daemon(peers=[peer("good", net(1))]).start()
    one.wait("good", "up")
    screen = terminal(one, *WATCH)
    screen.until("good +up")
    one.stop()
    screen.until(r"hbd has not answered since \S+ \(\d+s\): no daemon\s+answers\s+at\s")
    (shown,) = re.findall(r"\(\d+s\)", screen.text())
    screen.until("good +up")
    assert screen.style_of("good ") == "2"
    until(lambda: set(re.findall(r"\(\d+s\)", screen.read(0.1).text())) - {shown})
    one.start()
    screen.until(r"^\S+, as of \d\d:\d\d:\d\d \(now\)")
    assert screen.style_of("good ") != "2"
    os.kill(one.process.pid, signal.SIGSTOP)
    screen.until(r"does\s+not\s+answer")
    os.kill(one.process.pid, signal.SIGCONT)
    screen.until(r"\(now\)")
    assert screen.process.poll() is None
    assert screen.wraps == 0


def test_a_peer_that_a_reload_removes_ends_it_with_words(daemon, net, terminal):
    """Of a named peer there is nothing to show any more; of a pattern, perhaps again."""
    one = daemon(peers=[peer("a1", net(1)), peer("b1", net(1))]).start()
    named, like = terminal(one, *WATCH, "a1"), terminal(one, *WATCH, "a*")
    named.until("a1 ")
    like.until("a1 ")
    one.configure([peer("b1", net(1))])
    one.reload()
    assert named.end() == 69
    assert is_as_before(named)
    assert b"hbd: no peer a1 in the configuration" in named.sent
    like.until("no peer is like a")
    one.configure([peer("a2", net(1))])
    one.reload()
    like.until("a2 ")


def test_without_a_terminal_it_prints(daemon, net):
    """In a pipe each table follows the one before; a daemon that is gone is told of once."""
    one = daemon(peers=[peer("a", net(1))]).start()
    watching = subprocess.Popen(
        WATCH, cwd="/", env=one.environment, stdout=subprocess.PIPE, text=True
    )
    time.sleep(1.8)
    one.stop()
    time.sleep(3.2)
    watching.send_signal(signal.SIGTERM)
    out, _ = watching.communicate(timeout=5)
    assert out.count("PEER") >= 2
    assert out.count("as of") == out.count("PEER")
    assert out.count("hbd has not answered since") == 1
    assert "\x1b" not in out


def test_watching_nobody_ends_at_once(daemon, fleet, terminal):
    """Without a daemon, or such a peer, there is nothing to wait for."""
    assert daemon().hbd("status", "--watch").returncode == 3
    one = terminal(fleet, *WATCH, "nosuch*")
    assert one.end() == 69
    assert not one.sent.startswith(b"\x1b")


def test_the_table_in_a_terminal(fleet, terminal):
    """It has colours unless NO_COLOR is set, and ends as it does elsewhere."""
    coloured = terminal(fleet, *STATUS, lines=60)
    plain = terminal(fleet, *STATUS, lines=60, NO_COLOR="1")
    assert (coloured.end(), plain.end()) == (2, 2)
    assert b"\x1b[31mdown" in coloured.sent
    assert b"\x1b" not in plain.sent
    assert coloured.wraps == plain.wraps == 0
    assert plain.shown()[1].split()[:3] == ["bad", "down", "port-closed"]
    assert plain.shown()[-1] == "40 peers: 39 up, 1 down"


def test_output_that_takes_no_such_letters(fleet):
    """Where only ASCII can be written, all is."""
    done = fleet.hbd("status", "p00", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert done.stderr == ""
