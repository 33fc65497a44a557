"""Reloads when something is not as it should be: sockets, names, processes, upgrades."""

import os
import pickle
import resource
import signal
import sys
import tracemalloc
from pathlib import Path

import pytest
from running import PORT, peer, until

import hbd
from hbd.config.__main__ import SLICE, named
from hbd.config.model import Configuration, Loaded
from hbd.core.model import SECOND, PeerSettings
from hbd.daemon import loading
from hbd.daemon.loading import Answer, is_whole, taken_in
from hbd.daemon.reloading import KEPT

pytestmark = pytest.mark.slow

VERSION = hbd.__version__.encode()


def test_one_address_follows_the_wildcard_on_its_port(daemon, net):
    """listen: may change from 0.0.0.0 to one address of the same port, and back, in a reload."""
    port = 18_963  # of this test alone: a wildcard meets whoever listens on an address
    itself = peer("self", net(1), port=port)
    one = daemon(listen=[f"0.0.0.0:{port}"], accept="any", peers=[itself]).start()
    one.wait("self", "up")
    for listen in (f"{net(1)}:{port}", f"0.0.0.0:{port}"):
        one.configure(listen=[listen], accept="any", peers=[itself])
        assert one.hbd("reload").returncode == 0
        answered = one.status()["reflector"]["answered"]
        until(lambda before=answered: one.status()["reflector"]["answered"] > before)
    assert one.entries("state", peer="self", state="down") == []


def test_a_new_node_name_is_taken_over(daemon, net):
    """node: changes with a reload."""
    one = daemon(node="before", peers=[peer("a", net(1))]).start()
    one.configure(node="after", peers=[peer("a", net(1))])
    assert one.hbd("reload").returncode == 0
    assert one.status()["node"] == "after"


def test_a_renamed_peer_with_a_host_name_is_asked_at_once(daemon):
    """A peer whose address is a host name is resolved at once under its new name too."""
    one = daemon(listen=[f"127.0.0.1:{PORT}"], peers=[peer("x", "localhost")]).start()
    one.wait("x", "up")
    one.configure(listen=[f"127.0.0.1:{PORT}"], peers=[peer("y", "localhost")])
    assert one.hbd("reload").returncode == 0
    one.wait("y", "up")


def test_no_process_for_a_reload_refuses_it_and_nothing_more(daemon, net):
    """A daemon that cannot start a process refuses the reload and goes on."""
    one = daemon(peers=[peer("a", net(1))]).start()
    limits = resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE)
    descriptors = len(list(Path(f"/proc/{one.process.pid}/fd").iterdir()))
    resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, (descriptors, limits[1]))
    one.process.send_signal(signal.SIGHUP)
    assert "try again" in one.entry("reload-refused")["MESSAGE"]
    resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, limits)
    assert one.hbd("reload").returncode == 0


def test_the_process_that_reads_is_there_for_the_next_and_goes(daemon, net):
    """A reload soon after another needs no new process; killed meanwhile, it is replaced."""
    one = daemon(peers=[peer("a", net(1))]).start()
    children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
    readers = []
    for number in range(4):
        one.configure(peers=[peer("a", net(1)), peer(f"b{number}", net(2))])
        assert one.reload()["added"] == [f"b{number}"]
        readers.append(int(children.read_text()))
        if number == 1:
            os.kill(readers[-1], signal.SIGKILL)
    assert readers[0] == readers[1] != readers[2] == readers[3]
    until(lambda: children.read_text() == "", KEPT / SECOND + 5)


def test_a_reload_of_many_is_whole(daemon, net):
    """More peers than are taken in at a time: in order, one removed, no other's file touched."""
    count = 2 * SLICE + 1
    peers = [peer(f"p{n}", net(1), port=20_000 + n) for n in range(count)]
    one = daemon(peers=peers).start()
    until(lambda: one.status()["summary"]["down"] == count, 30)
    directory = one.directory / "run/peers/down"
    until(lambda: sum(file.stat().st_size > 0 for file in directory.glob("*")) == count)
    written = {file.name: file.stat().st_mtime_ns for file in directory.iterdir()}
    kept = [*reversed(peers[2:]), peer("p0", net(1), port=20_000, labels={"x": "y"})]
    one.configure(peers=kept)
    change = one.reload()
    assert [change[what] for what in ("added", "removed", "changed")] == [[], ["p1"], ["p0"]]
    assert [view["name"] for view in one.status()["peers"]] == [each["name"] for each in kept]
    until(lambda: not (directory / "p1").exists())
    del written["p1"]
    assert {file.name: file.stat().st_mtime_ns for file in directory.iterdir()} == written


ADDRESS = "192.0.2.1"


def outcome_of(output, in_use=lambda _: None):
    """What all steps of taking it in come to."""
    *steps, outcome = taken_in("hbd.yaml", Answer.of(output), in_use)
    assert steps == [None] * len(steps)
    return outcome


def said(*pieces):
    """What the process that reads a configuration writes: the peers are in these pieces."""
    head = Loaded(Configuration("hbd.yaml"))
    return headed(
        b"".join(pickle.dumps(one) for one in (head, *(tuple(named(piece)) for piece in pieces)))
    )


def headed(octets):
    return b"%s %d\n%s" % (VERSION, len(octets), octets)


@pytest.mark.parametrize(
    "output",
    [
        b"99.0 5\n" + pickle.dumps([]),
        b"99.0\n" + pickle.dumps([]),
        VERSION + b"\n" + pickle.dumps([]),
        headed(b"cos\nno_such_thing\n."),
        headed(b"chbd.core.model\nState\n(S'of the future'\ntR."),
        headed(b"h\1."),
        headed(b""),
    ],
)
def test_what_another_version_says_is_no_configuration(output):
    """After an upgrade under a running daemon a reload says to restart it."""
    (problem,) = outcome_of(output)
    assert "restart" in problem.text


@pytest.mark.parametrize("kept", [0, 1, len(VERSION), len(VERSION) + 2, -1])
def test_what_ends_early_is_no_configuration(kept):
    """A process that was killed while it read has said nothing: the reload can be tried again."""
    whole = said([PeerSettings("a", (ADDRESS,))], [])
    (problem,) = outcome_of(whole[:kept])
    assert problem.text == "the process that reads it ended early; try again"


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import os; os.kill(os.getpid(), 9)", "by signal 9"),
        ("raise SystemExit(1)", "with 1"),
    ],
)
def test_a_start_whose_reader_ends_early_may_be_tried_again(monkeypatch, program, how):
    """It was killed, or lacks PyYAML for the moment: that is no mistake in the file."""
    monkeypatch.setattr(loading, "COMMAND", (sys.executable, "-c", program))
    with pytest.raises(OSError, match=f"reads /etc/hbd.yaml ended early .{how}.; try again"):
        loading.load_now("/etc/hbd.yaml")


def test_what_has_come_is_not_copied_at_each_piece_that_comes():
    """The settings of 65,535 peers are megabytes, and come in pieces between two heartbeats."""
    come = bytearray(headed(bytes(4_000_000))[:-1])
    tracemalloc.start()
    try:
        assert not is_whole(come)
        come += b"\0"
        tracemalloc.reset_peak()
        assert is_whole(come)
        before, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before < 10_000


def test_what_this_version_says_is():
    """The same version's outcome is taken as it is, its peers in their order."""
    peers = [PeerSettings(name, (ADDRESS,)) for name in ("a", "b", "c")]
    loaded = Loaded(Configuration("hbd.yaml", peers=tuple(peers)))
    assert outcome_of(said(peers[:2], peers[2:], [])) == loaded


def test_what_is_cut_off_is_no_configuration():
    """A peer that may be missing at the end is not taken for a removed one."""
    peers = [PeerSettings(name, (ADDRESS,)) for name in ("a", "b")]
    (problem,) = outcome_of(said(peers))
    assert "restart" in problem.text


def test_a_peer_with_the_same_settings_keeps_the_very_ones():
    """So a reload of thousands sees at a glance whose are others."""
    before = {name: PeerSettings(name, (ADDRESS,)) for name in ("a", "b")}
    read = [PeerSettings("a", (ADDRESS,)), PeerSettings("b", (ADDRESS,), port=863)]
    first, second = outcome_of(said(read, []), before.get).configuration.peers
    assert first is before["a"]
    assert second == read[1]
