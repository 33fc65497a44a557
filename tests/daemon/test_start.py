"""Starting and stopping: what is there already, what cannot be had, who else runs."""

import os
import signal
import socket
import threading
import time

import pytest
from running import NOBODY, PORT, peer, until

pytestmark = pytest.mark.slow


def test_start_and_stop_are_told(daemon, net):
    """An entry at the start says what is watched and answered, one at the stop how long."""
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"], node="m1").start()
    entry = one.entry("start")
    assert entry["MESSAGE"].endswith(
        f"started on m1: watching 1 peer, answering on {net(2)} port {PORT}"
    )
    assert (entry["PRIORITY"], entry["HBD_COUNT"], entry["HBD_NODE"]) == ("6", "1", "m1")
    assert "HBD_DURATION_USEC" not in entry
    one.stop()
    (entry,) = one.entries("stop")
    assert int(entry["HBD_DURATION_USEC"]) > 0
    assert [entry["HBD_OCCASION"] for entry in one.entries("snapshot")] == ["start", "stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop_it(daemon, net, number):
    """SIGTERM and SIGINT (Ctrl-C) end it with 0."""
    one = daemon(peers=[peer("a", net(1))]).start()
    one.process.send_signal(number)
    assert one.process.wait(5) == 0
    assert len(one.entries("stop")) == 1
    one.process = None


def test_signal_right_after_the_start(daemon, net):
    """A SIGTERM at any moment after the first entry is heeded."""
    for _ in range(3):
        one = daemon(peers=[peer("a", net(1))]).launch()
        until(lambda one=one: one.log.read_bytes())
        one.stop()


def test_text_for_people(daemon, net):
    """Under --log text each entry is a line with time, priority and message."""
    one = daemon(peers=[peer("a", net(1))]).start(log="text")
    until(lambda: "a is down" in one.log.read_text())
    one.stop()
    lines = one.log.read_text().splitlines()
    assert all(line[10] == "T" and line[19] == "Z" for line in lines)
    assert any("Z error: a is down: port closed on " in line for line in lines)


def test_no_peers_at_all(daemon):
    """An empty list of peers is no error; hbd status says so with 0."""
    one = daemon(peers=[]).start()
    done = one.hbd("status")
    assert done.returncode == 0
    assert "0 peers" in done.stdout


def test_a_bare_list_is_the_peers(daemon, reflector, net):
    """A YAML list is the list of peers; a bare string is name and address."""
    one = daemon()
    reflector(net(1))
    one.file.write_text(f"- {net(1)}\n- {{name: b, address: {net(1)}, port: {PORT}}}\n")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("0.0.0.0", 862))  # noqa: S104 - as the default does
    except OSError:
        pytest.skip("port 862 is taken, or not for us")
    one.start()
    one.wait("b", "up")
    assert [view["name"] for view in one.status()["peers"]] == [net(1), "b"]


def test_included_files(daemon, reflector, net):
    """Peers of included files are watched; a file's defaults hold for that file alone."""
    reflector(net(1))
    one = daemon()
    one.configure(peers=[peer("a", net(1))], include=str(one.directory / "more/*.yaml"))
    (one.directory / "more").mkdir()
    (one.directory / "more/1.yaml").write_text(
        "defaults: {interval: 300ms, timeout: 100ms}\n"
        f"peers: [{{name: b, address: {net(1)}, port: {PORT}}}]\n"
    )
    (one.directory / "more/2.yaml").write_text(f"- {{name: c, address: {net(1)}, port: {PORT}}}\n")
    one.start()
    for name in "abc":
        one.wait(name, "up")
    intervals = [view["interval_ms"] for view in one.status()["peers"]]
    assert intervals[:2] == [200.0, 300.0]


# -- side by side ------------------------------------------------------------------------------


def test_two_daemons_watch_each_other(daemon, net):
    """Two daemons in directories of their own answer each other, and see a restart."""
    left, right = net(1), net(2)
    prefix = [f"{net(0)}/24", "127.0.0.1"]
    one = daemon(peers=[peer("right", right)], listen=[f"{left}:{PORT}"], accept=prefix).start()
    two = daemon(peers=[peer("left", left)], listen=[f"{right}:{PORT}"], accept=prefix).start()
    one.wait("right", "up")
    two.wait("left", "up")
    assert one.status()["pid"] != two.status()["pid"]
    two.stop()
    one.wait("right", "down", "port-closed")
    two.start()
    one.wait("right", "up")
    up = one.entry("state", peer="right", state="up", previous_state="down")
    assert up["PRIORITY"] == "5"
    assert up["MESSAGE"].startswith(f"right is up again: {right} answers; was down for ")


def test_datagrams_one_by_one_will_do(daemon, net):
    """A daemon that may not send or receive many at once watches and is watched like another."""
    one, two = daemon(), daemon()
    one.configure(listen=[f"{net(1)}:{PORT}"], accept="any", peers=[peer("two", net(2))])
    two.configure(listen=[f"{net(2)}:{PORT}"], accept="any", peers=[peer("one", net(1))])
    two.start()
    one.start(without=["sendmmsg", "recvmmsg"])
    one.wait("two", "up")
    two.wait("one", "up")
    one.beats("two")
    two.beats("one")
    assert one.peer("two")["loss_percent"] == 0.0


def test_a_quick_restart_is_an_event_not_an_outage(daemon, net):
    """A peer that answers again before it is down, but as another incarnation, has restarted."""
    timing = {"interval": "1s", "timeout": "500ms", "retries": 5}
    two = daemon(peers=[], listen=[f"{net(2)}:{PORT}"], accept="any").start()
    one = daemon(peers=[peer("two", net(2), **timing)]).start()
    one.beats("two", 1)
    two.stop()
    two.start()
    entry = one.entry("restarted")
    assert entry["HBD_PEER"] == "two"
    assert entry["PRIORITY"] == "6"
    assert one.entries(peer="two", state="down") == []


def test_a_second_daemon_in_the_same_directory_is_refused(daemon, net):
    """The second daemon ends with 71 and says what is taken; the first does not notice."""
    one = daemon(peers=[peer("a", net(1))]).start()
    first, one.process, log = one.process, None, one.log
    stored = one.directory / "state/peers.jsonl"
    inode = stored.stat().st_ino
    one.log = one.directory / "second"
    for taken, name in (("RUNTIME_DIRECTORY", "run/io.hbd"), ("STATE_DIRECTORY", "state")):
        status, said = one.refuses_to_start()
        assert status == 71
        assert str(one.directory / name) in said
        assert said.splitlines()[-1].startswith("hbd: cannot start: ")
        one.environment[taken] = str(one.directory / "another")
    one.process, one.log = first, log
    assert one.status()["pid"] == first.pid
    assert one.entries("stop") == []
    assert stored.stat().st_ino == inode


def test_a_stale_socket_is_replaced(daemon, net):
    """The socket that a killed daemon left is no obstacle."""
    one = daemon(peers=[peer("a", net(1))]).start()
    one.kill()
    assert (one.directory / "run/io.hbd").exists()
    assert one.hbd("status").returncode == 3
    one.start()
    one.stop()
    assert not (one.directory / "run/io.hbd").exists()


# -- what cannot be had ------------------------------------------------------------------------


def test_a_port_that_is_taken(daemon, net):
    """A taken port ends the start with 71, naming address, port and what to do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((net(1), PORT))
        status, said = daemon(peers=[], listen=[f"{net(1)}:{PORT}"]).refuses_to_start()
    assert status == 71
    assert f"cannot listen on {net(1)}:{PORT}: Address already in use" in said
    assert f"sport = :{PORT}" in said
    assert "`listen:`" in said


def test_an_address_that_is_not_ours(daemon):
    """A foreign address ends the start with 71 and says so."""
    status, said = daemon(peers=[], listen=[f"192.0.2.1:{PORT}"]).refuses_to_start()
    assert status == 71
    assert "192.0.2.1" in said
    assert "not on this machine" in said


@pytest.mark.root
def test_an_ordinary_user_is_told_about_listen(daemon, net):
    """Who may not bind a privileged port is told about `listen:`; his own port works."""
    one = daemon()
    os.chown(one.directory, NOBODY, NOBODY)
    one.configure(peers=[peer("a", net(1))], listen=[f"{net(1)}:862"])
    status, said = one.refuses_to_start(user=NOBODY)
    assert status == 71
    assert "`listen:`" in said
    assert "1024" in said
    one.configure(peers=[peer("a", net(1))], listen=[f"{net(1)}:{PORT}"], accept="any")
    one.log.write_text("")
    one.start(user=NOBODY)
    one.wait("a", "up")
    assert one.hbd("pause", "a", user=NOBODY).returncode in (0, 77)
    assert one.hbd("pause", "a").returncode == 0
    assert one.files()["a"] == ("paused", "paused")


@pytest.mark.root
def test_directories_that_may_not_be_written(daemon, reflector, net):
    """Without a place for socket and states it watches all the same, and says what is missing."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))])
    one.launch(user=NOBODY)
    one.entry("state", peer="a", state="up")
    warnings = [entry["MESSAGE"] for entry in one.entries("weather")]
    assert any("RUNTIME_DIRECTORY" in text for text in warnings)
    assert any("states" in text for text in warnings)
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 1.5


def test_a_socket_that_could_not_be_made_is_made_later(daemon, reflector, net):
    """Started where no socket can be made, it can be asked, and shows states, once one can."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))])
    in_the_way = one.directory / "run"
    in_the_way.touch()
    one.launch()
    one.entry("state", peer="a", state="up")
    in_the_way.unlink()
    until(one.answers)
    until(lambda: one.files().get("a") == ("up", ""), seconds=20)


def test_a_socket_path_that_is_too_long(daemon, net):
    """A path beyond what a socket may have is said in words, and commands say it, too."""
    one = daemon(peers=[peer("a", net(1))])
    one.environment["RUNTIME_DIRECTORY"] = str(one.directory / ("x" * 120))
    one.launch()
    until(lambda: one.entries("weather"))
    assert "too long" in one.entries("weather")[0]["MESSAGE"]
    done = one.hbd("status")
    assert done.returncode == 3
    assert done.stderr.startswith("hbd: no daemon answers at ")
    assert "AF_UNIX path too long: start it with systemctl start hbd, or set" in done.stderr


def test_ipv6_on_loopback(daemon, net):
    """::1 is watched and answered as any other."""
    one = daemon(peers=[peer("six", "::1"), peer("four", net(1))])
    port = 20_000 + os.getpid() % 10_000
    one.configure(
        peers=[peer("six", "::1") | {"port": port}], listen=[f"[::1]:{port}"], accept="peers"
    )
    one.start()
    view = one.wait("six", "up")
    assert view["paths"][0]["address"] == "::1"
    assert one.entry("state", peer="six")["HBD_ADDRESS"] == "::1"


# -- log readers -------------------------------------------------------------------------------


def test_nobody_reads_its_log(daemon, reflector, net):
    """A full pipe on standard error holds up no heartbeat, and what is lost is said."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1)), *(peer(f"n{n}", net(n)) for n in range(2, 120))])
    read, write = os.pipe()
    log, one.log = one.log, type("Pipe", (), {"open": lambda *_: os.fdopen(write, "wb")})()
    one.launch()
    one.log = log
    log.write_text("")
    until(one.answers)
    until(lambda: one.status()["summary"]["down"] == 118)
    one.beats("a", 5)
    assert one.peer("a")["loss_percent"] == 0.0
    lines = []
    with os.fdopen(read, "rb") as pipe:
        reader = threading.Thread(target=lambda: lines.extend(pipe))
        reader.start()
        one.stop()
        reader.join(5)
    assert sum(b'"HBD_STATE":"down"' in line for line in lines) >= 118
