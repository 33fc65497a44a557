"""Another configuration while it runs: what changes, and what does not notice."""

import signal
import socket
import time
from itertools import pairwise
from pathlib import Path

import pytest
from running import PORT, peer, until

pytestmark = pytest.mark.slow


def test_reload_names_what_changed(daemon, reflector, net):
    """Added, removed and changed peers stand in the answer, the entry, the status and the files."""
    for host in (1, 2, 3):
        reflector(net(host))
    one = daemon(peers=[peer("stays", net(1)), peer("goes", net(2)), peer("turns", net(3))]).start()
    for name in ("stays", "goes", "turns"):
        one.wait(name, "up")
    turned = peer("turns", net(3), interval="300ms", timeout="100ms")
    one.configure(peers=[peer("stays", net(1)), turned, peer("comes", net(2))])
    done = one.hbd("reload")
    assert done.returncode == 0
    for words in ("1 added: comes", "1 removed: goes", "1 changed: turns"):
        assert words in done.stdout
    entry = one.entry("reload")
    assert entry["MESSAGE"] == ("configuration reloaded: added comes; removed goes; changed turns")
    assert (entry["PRIORITY"], entry["HBD_COUNT"]) == ("5", "3")
    assert [view["name"] for view in one.status()["peers"]] == ["stays", "turns", "comes"]
    assert one.peer("turns")["interval_ms"] == 300.0
    one.wait("comes", "up")
    until(lambda: set(one.files()) == {"stays", "turns", "comes"})
    assert one.entries(peer="goes", state="down") == []


def test_unchanged_peers_do_not_notice_a_reload(daemon, reflector, net):
    """An unchanged peer keeps state, since and counters, and misses no heartbeat, ten times."""
    asked = reflector(net(1))
    one = daemon(peers=[peer("a", net(1), interval="100ms", timeout="50ms")]).start()
    one.beats("a")
    before = one.peer("a")
    port = {request.source for request in asked.requests}
    for number in range(10):
        extra = peer("b", net(2 + number % 2))
        one.configure(peers=[peer("a", net(1), interval="100ms", timeout="50ms"), extra])
        assert isinstance(one.reload(), dict)
    one.beats("a")
    after = one.peer("a")
    assert after["since"] == before["since"]
    assert after["sent"] > before["sent"]
    assert after["loss_percent"] == 0.0
    assert {request.source for request in asked.requests} == port
    times = [request.at for request in asked.requests]
    assert max(b - a for a, b in pairwise(times)) < 0.25
    assert len(one.entries("state", peer="a")) == 1


def test_new_timing_and_labels_keep_state_since_and_counters(daemon, reflector, net):
    """Timing, limits, labels and via may change without a verdict and without a loss of figures."""
    reflector(net(1))
    reflector(net(2))
    one = daemon(peers=[peer("a", net(1)), peer("gw", net(2))]).start()
    one.beats("a")
    one.wait("gw", "up")
    before = one.peer("a")
    changed = peer(
        "a", net(1), interval="100ms", timeout="80ms", labels={"x": "y"}, max_loss="5%", via="gw"
    )
    one.configure(peers=[changed, peer("gw", net(2))])
    assert one.reload()["changed"] == ["a"]
    after = one.peer("a")
    assert (after["state"], after["since"]) == ("up", before["since"])
    assert after["sent"] >= before["sent"]
    assert (after["labels"], after["via"], after["interval_ms"]) == ({"x": "y"}, "gw", 100.0)
    assert len(one.entries("state", peer="a")) == 1
    began, sent = time.monotonic(), one.peer("a")["sent"]
    until(lambda: one.peer("a")["sent"] >= sent + 20)
    assert time.monotonic() - began < 3.5  # at the old interval it would take 4


def test_shorter_timing_applies_from_the_next_heartbeat(daemon, reflector, net):
    """A peer asked once an hour is asked at its new pace at once."""
    reflector(net(1))
    slow = {"interval": "1h", "timeout": "100ms"}
    one = daemon(peers=[peer("a", net(1), interval="1s", timeout="100ms")]).start()
    one.wait("a", "up")
    one.configure(peers=[peer("a", net(1), **slow)])
    one.reload()
    one.configure(peers=[peer("a", net(1))])
    one.reload()
    one.beats("a", 4, seconds=4)


def test_a_new_path_changes_its_peer_only_by_a_verdict(daemon, reflector, net):
    """An added path is unknown at first; the peer is degraded when it is down, not before."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    since = one.peer("a")["since"]
    one.configure(peers=[peer("a", [net(1), net(2)])])
    assert one.reload()["changed"] == ["a"]
    view = one.peer("a")
    assert (view["state"], view["since"]) == ("up", since)
    one.wait("a", "degraded", "path-down")
    one.configure(peers=[peer("a", net(1))])
    one.reload()
    one.wait("a", "up")
    one.entry("state", peer="a", previous_state="degraded")
    states = [entry["HBD_STATE"] for entry in one.entries("state", peer="a")]
    assert states == ["up", "degraded", "up"]


def test_a_replaced_address_gets_its_own_verdict(daemon, reflector, net):
    """A peer whose only address is another one is down only when that one is."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    one.configure(peers=[peer("a", net(2))])
    one.reload()
    one.wait("a", "down", "port-closed")
    assert one.entry("state", peer="a", state="down")["HBD_ADDRESS"] == net(2)


def test_sighup_reloads(daemon, net):
    """SIGHUP does what hbd reload does."""
    one = daemon(peers=[peer("a", net(1))]).start()
    one.configure(peers=[peer("b", net(1))])
    one.process.send_signal(signal.SIGHUP)
    assert "added b; removed a" in one.entry("reload")["MESSAGE"]


def test_a_storm_of_sighups_is_served(daemon, net):
    """Many SIGHUPs in a row leave the newest configuration in use."""
    one = daemon(peers=[peer("a", net(1))]).start()
    for number in range(20):
        one.configure(peers=[peer(f"a{number}", net(1))])
        one.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    until(lambda: [view["name"] for view in one.status()["peers"]] == ["a19"])


def test_a_bad_file_changes_nothing(daemon, reflector, net):
    """Mistakes are printed with 78 and logged; the old configuration stays in use."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    before = one.peer("a")
    one.file.write_text("peers: [{name: a, adress: 127.0.0.1}, {name: a, address: 127.0.0.2}]")
    done = one.hbd("reload")
    assert done.returncode == 78
    assert f"hbd: {one.file}:1:" in done.stderr
    assert "did you mean address?" in done.stderr
    entry = one.entry("reload-refused")
    assert entry["PRIORITY"] == "4"
    assert "the old one stays in use" in entry["MESSAGE"]
    one.process.send_signal(signal.SIGHUP)
    until(lambda: len(one.entries("reload-refused")) == 2)
    one.beats("a")
    assert one.peer("a")["since"] == before["since"]
    one.file.unlink()
    assert str(one.file) in one.reload()[0]
    assert one.state("a") == ("up", None)


# -- listen: -----------------------------------------------------------------------------------


def is_answered(address, port):
    """Whether a heartbeat to the address comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        asking.connect((address, port))
        asking.send(bytes(12) + b"\0\1" + bytes(30))
        try:
            return len(asking.recv(100)) == 44
        except (TimeoutError, ConnectionRefusedError):
            return False


def test_listen_may_change(daemon, net):
    """New addresses answer at once, those left out no more, those that stay throughout."""
    stays, goes, comes = (f"{net(n)}:{PORT}" for n in (1, 2, 3))
    one = daemon(peers=[], listen=[stays, goes], accept="any").start()
    assert is_answered(net(1), PORT)
    assert is_answered(net(2), PORT)
    one.configure(peers=[], listen=[stays, comes], accept="any")
    assert isinstance(one.reload(), dict)
    assert [is_answered(net(n), PORT) for n in (1, 2, 3)] == [True, False, True]
    one.configure(peers=[], listen=[])
    one.reload()
    assert [is_answered(net(n), PORT) for n in (1, 2, 3)] == [False] * 3


def test_listen_that_cannot_be_bound_refuses_the_reload(daemon, net):
    """One address that is taken: nothing of the new configuration is used."""
    one = daemon(peers=[peer("a", net(9))], listen=[f"{net(1)}:{PORT}"], accept="any").start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((net(3), PORT))
        listen = [f"{net(n)}:{PORT}" for n in (2, 3)]
        one.configure(peers=[peer("b", net(9))], listen=listen, accept="any")
        done = one.hbd("reload")
    assert done.returncode == 78
    line = 1 + one.file.read_text()[: one.file.read_text().index(listen[1])].count("\n")
    assert f"{one.file}:{line}:" in done.stderr
    assert f"cannot listen on {net(3)}:{PORT}: Address already in use" in done.stderr
    assert [view["name"] for view in one.status()["peers"]] == ["a"]
    assert is_answered(net(1), PORT)
    assert not is_answered(net(2), PORT)


def test_accept_may_change(daemon, net):
    """Who is answered follows the configuration in use."""
    one = daemon(peers=[peer("a", "127.0.0.1")], listen=[f"{net(1)}:{PORT}"]).start()
    assert is_answered(net(1), PORT)
    one.configure(peers=[], listen=[f"{net(1)}:{PORT}"])
    one.reload()
    assert not is_answered(net(1), PORT)
    one.configure(peers=[], listen=[f"{net(1)}:{PORT}"], accept=["127.0.0.0/8"])
    one.reload()
    assert is_answered(net(1), PORT)


def test_reloads_leave_no_file_descriptors_behind(daemon, net):
    """After many reloads, good and bad, as many files are open as before."""
    one = daemon(peers=[peer("a", net(1))], listen=[f"{net(2)}:{PORT}"]).start()
    one.wait("a", "down")
    one.reload()
    until(lambda: len(one.entries("reload")) == 1)
    children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
    until(lambda: children.read_text() == "")
    fds = Path(f"/proc/{one.process.pid}/fd")
    before = len(list(fds.iterdir()))
    good = one.file.read_text()
    for number in range(6):
        one.file.write_text(good if number % 2 else "peers: 3")
        one.reload()
    until(lambda: children.read_text() == "" and len(list(fds.iterdir())) <= before)
