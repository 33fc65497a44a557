"""The commands: what they print, and how they end."""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from running import NOBODY, PORT, network, peer, until

import hbd
from hbd.report.client import RemoteError

pytestmark = pytest.mark.slow

WRITTEN = (
    "run",
    "check",
    "reload",
    "status",
    "explain",
    "wait",
    "pause",
    "resume",
    "ping",
    "keygen",
    "web",
)


@pytest.fixture(scope="module")
def fleet(shared):
    """A daemon with a peer in each of the common states."""
    make_daemon, make_reflector = shared
    net = network()
    make_reflector(net(1))
    make_reflector(net(3))
    peers = [
        peer("good", net(1), labels={"site": "ams", "Role": "db"}),
        peer("bad", net(2)),
        peer("half", [net(3), net(4)]),
        peer("behind", net(5), via="bad"),
        peer("rest", net(6)),
    ]
    daemon = make_daemon(peers=peers, listen=[f"{net(1)}:{PORT + 1}"], node="monitor-1").start()
    assert daemon.hbd("pause", "rest", "--reason", "new disk").returncode == 0
    daemon.wait("bad", "down")
    daemon.wait("half", "degraded")
    daemon.wait("good", "up")
    daemon.wait("behind", "unreachable")
    return daemon


@pytest.mark.parametrize("command", WRITTEN)
def test_every_command_has_help_with_an_example(daemon, command):
    """The help of a command says how it is used, with an example, on one screen."""
    done = daemon().hbd(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: hbd {command}")
    assert "example" in done.stdout
    assert f"  hbd {command}" in done.stdout or f"sudo hbd {command}" in done.stdout
    assert len(done.stdout.splitlines()) <= 24
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_program_explains_itself_on_one_screen(daemon):
    """`hbd --help` names every command within 80 columns and about 40 lines."""
    done = daemon().hbd("--help")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 40
    assert all(len(line) <= 80 for line in lines)
    for command in WRITTEN:
        assert re.search(rf"^ +{command} +\S", done.stdout, re.MULTILINE), command


def test_version(daemon):
    """`hbd --version` prints the version."""
    done = daemon().hbd("--version")
    assert (done.returncode, done.stdout) == (0, f"hbd {hbd.__version__}\n")


ASKING = [
    ("status",),
    ("status", "--json"),
    ("explain", "x"),
    ("wait", "x", "--timeout", "1s"),
    ("pause", "x"),
    ("resume", "x"),
    ("reload",),
]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_without_a_daemon_every_command_says_so(daemon, words):
    """Status 3 where nobody answers, with where it looked and what to do."""
    nowhere = daemon()
    done = nowhere.hbd(*words)
    assert done.returncode == 3
    assert done.stderr.startswith("hbd: ")
    assert str(nowhere.directory / "run/io.hbd") in done.stderr
    assert "systemctl start hbd" in done.stderr
    assert done.stdout == ""


USAGE = [
    (),
    ("stauts",),
    ("status", "--jason"),
    ("status", "--json", "--watch"),
    ("status", "--state", "sideways"),
    ("status", "--state", ","),
    ("status", "--label", "site"),
    ("status", 101 * "*"),
    ("status", *(f"{number}*" for number in range(33))),
    ("explain",),
    ("wait",),
    ("wait", "x", "--for", "sideways"),
    ("wait", "x", "--timeout", "5"),
    ("pause",),
    ("pause", "--label", "site"),
    ("pause", "x", "--for", "soon"),
    ("resume",),
    ("ping",),
    ("ping", "127.0.0.1", "-c", "0"),
    ("ping", "127.0.0.1", "-c", "many"),
    ("ping", "127.0.0.1", "--port", "70000"),
    ("ping", "127.0.0.1", "-i", "1ms"),
    ("run", "--log", "xml"),
    ("check", "a", "b"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_is_64(daemon, words):
    """Wrong usage ends with 64 and a line on standard error that begins with `hbd: `."""
    done = daemon().hbd(*words)
    assert done.returncode == 64, done
    assert done.stderr.startswith("hbd: ")
    assert "--help" in done.stderr or "write" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "words",
    [
        ("status", "nosuch"),
        ("status", "good", "nosuch"),
        ("explain", "nosuch"),
        ("wait", "nosuch"),
        ("wait", "nosuch", "--timeout", "1s"),
        ("pause", "nosuch"),
        ("pause", "--label", "site=nowhere"),
        ("resume", "nosuch"),
    ],
    ids=" ".join,
)
def test_no_such_peer_is_69(fleet, words):
    """A peer that is not configured ends with 69 and its name."""
    done = fleet.hbd(*words)
    assert done.returncode == 69
    assert done.stderr.startswith("hbd: no peer ")
    assert ("nosuch" if "nosuch" in words else "site=nowhere") in done.stderr


@pytest.mark.parametrize(
    ("peers", "status"),
    [
        (("good",), 0),
        (("rest",), 0),
        (("good", "rest"), 0),
        (("half",), 1),
        (("good", "half"), 1),
        (("bad",), 2),
        (("behind",), 2),
        (("half", "bad"), 2),
        ((), 2),
    ],
)
def test_status_follows_the_plug_in_convention(fleet, peers, status):
    """`hbd status` ends with 0 for up and paused, 1 for degraded, 2 for down and unreachable."""
    assert fleet.hbd("status", *peers).returncode == status
    assert fleet.hbd("status", *peers, "--json").returncode == status


def test_explain_ends_as_status(fleet):
    """`hbd explain` ends as `hbd status` of that peer."""
    names = ("good", "half", "bad", "behind", "rest")
    assert [fleet.hbd("explain", name).returncode for name in names] == [0, 1, 2, 2, 0]


def test_status_is_a_table_with_the_worst_first(fleet):
    """The table has a line for each peer, the worst first, and a summary."""
    done = fleet.hbd("status")
    header, *rows, blank, summary = done.stdout.splitlines()
    assert header.split() == [
        *("PEER", "STATE", "CAUSE", "SINCE", "RTT", "LOSS", "RECENT", "ADDRESS", "LABELS"),
    ]
    assert [row.split()[:3] for row in rows] == [
        ["bad", "down", "port-closed"],
        ["behind", "unreachable", "parent-down"],
        ["half", "degraded", "path-down"],
        ["rest", "paused", "-"],
        ["good", "up", "-"],
    ]
    assert blank == ""
    assert summary == "5 peers: 1 up, 1 degraded, 1 down, 1 unreachable, 1 paused"
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_status_of_named_peers_shows_them_alone(fleet):
    """Named peers are the only rows."""
    rows = fleet.hbd("status", "good", "bad").stdout.splitlines()
    assert [row.split()[0] for row in rows[1:3]] == ["bad", "good"]
    assert rows[3] == ""


def is_moment(value):
    return datetime.fromisoformat(value).tzinfo == UTC and value.endswith("+00:00")


def test_json_has_a_peer_a_line(fleet):
    """What `hbd status --json` prints can be searched line by line."""
    first, *lines, last = fleet.hbd("status", "--json").stdout.splitlines()
    assert first.endswith('"peers": [')
    names = [json.loads(line.removesuffix(","))["name"] for line in lines]
    assert names == [peer["name"] for peer in fleet.status()["peers"]]
    assert last == "]}"
    assert len(fleet.hbd("status", "--json", "good").stdout.splitlines()) == 3


def test_json_has_the_promised_keys_and_types(fleet):
    """`hbd status --json` has every key of the contract, with its type."""
    done = fleet.hbd("status", "--json")
    status = json.loads(done.stdout)
    assert done.stderr == ""
    assert status["version"] == 1
    assert status["node"] == "monitor-1"
    assert status["pid"] == fleet.process.pid
    assert is_moment(status["started"])
    assert status["config"] == str(fleet.file)
    assert status["summary"] == {
        "up": 1, "degraded": 1, "down": 1, "unreachable": 1, "unknown": 0, "paused": 1, "left": 0,
    }  # fmt: skip
    assert isinstance(status["reflector"]["answered"], int)
    assert all(isinstance(count, int) for count in status["reflector"]["dropped"].values())
    counters = (
        *(status["weather"], status["replies_dropped"], status["kernel_dropped"]),
        *(status["journal"], status["store"], status["files"], status["reflector"]["unsent"]),
        {"clients_refused": status["clients_refused"]},
    )
    assert all(isinstance(count, int) for counter in counters for count in counter.values())
    assert status["journal"].keys() == {"waiting", "lost"}
    views = {view["name"]: view for view in status["peers"]}
    assert list(views) == ["good", "bad", "half", "behind", "rest"]
    for view in views.values():
        assert is_moment(view["since"])
        assert view["flapping"] is False
        assert view["restored"] is False
        assert view["protocol"] == "stamp"
        assert view["interval_ms"] == 200.0
        assert isinstance(view["interval_ms"], float)
        assert (view["timeout_ms"], view["retries"]) == (100.0, 2)
        assert isinstance(view["evidence"], list)
        assert set(view["rtt_ms"]) == {"last", "min", "mean", "p99", "max"}
        for key in ("sent", "received", "late", "duplicate"):
            assert isinstance(view[key], int)
        for path in view["paths"]:
            assert {"address", "state", "cause"} <= set(path)
            assert all(isinstance(count, int) for count in [*path["rounds"], path["overdue"]])
    good, bad, half = views["good"], views["bad"], views["half"]
    assert (good["state"], good["cause"], good["via"]) == ("up", None, None)
    assert good["labels"] == {"site": "ams", "Role": "db"}
    assert good["loss_percent"] == 0.0
    assert good["loss_out_percent"] is None
    assert good["loss_in_percent"] is None
    assert good["rtt_ms"]["min"] <= good["rtt_ms"]["mean"] <= good["rtt_ms"]["max"]
    assert views["behind"]["via"] == "bad"
    assert set(bad["rtt_ms"].values()) == {None}
    assert (bad["sent"] > 0, bad["received"]) == (True, 0)
    assert re.fullmatch(r"\S+: ICMP port unreachable from \S+", bad["evidence"][0])
    assert [path["state"] for path in half["paths"]] == ["up", "down"]
    assert [path["cause"] for path in half["paths"]] == [None, "port-closed"]


def test_explain_names_cause_evidence_and_next_step(fleet):
    """`hbd explain` names the peer, its state and cause, the evidence and what to do."""
    text = fleet.hbd("explain", "bad").stdout
    assert text.startswith("bad is down: port closed on ")
    assert "Cause: port-closed, since " in text
    assert "ICMP port unreachable" in text
    assert "What to do: Start hbd there" in text
    assert "500ms after the last good reply" in " ".join(text.split())
    address = fleet.peer("bad")["paths"][0]["address"]
    assert text.endswith(
        f"\nNext:\n  ssh {address} systemctl status hbd\n  ssh {address} ss -lnu sport = :{PORT}\n"
    )


def test_explain_of_a_peer_that_is_up_is_short(fleet):
    """Where nothing is wrong nothing is explained: since when, the paths, the figures, the rule."""
    text = fleet.hbd("explain", "good").stdout
    assert text.startswith("good is up since ")
    assert not re.search("What to do|To tell apart|Evidence|Next", text)


def test_explain_of_one_address_among_several_has_the_cause_of_that_one(fleet):
    """Of a peer with a failing address it is said why that fails and what to do about it."""
    answer = json.loads(fleet.hbd("explain", "half", "--json").stdout)
    failing = answer["peer"]["paths"][1]["address"]
    assert answer["words"] == f"no answer on {failing}, though it answers on another address"
    assert "nothing listens on the port" in answer["meaning"]
    assert answer["advice"].startswith("Start hbd there")
    assert answer["commands"][0] == f"ssh {failing} systemctl status hbd"


def test_explain_of_a_peer_behind_another_leads_there(fleet):
    """Who is unreachable is explained by the parent: that is the next to look at."""
    answer = json.loads(fleet.hbd("explain", "behind", "--json").stdout)
    assert answer["commands"] == ["hbd explain bad"]


def test_explain_json_has_its_version(fleet):
    """`hbd explain --json` has a version and the peer as status has it."""
    answer = json.loads(fleet.hbd("explain", "bad", "--json").stdout)
    assert answer["version"] == 1
    assert answer["peer"]["cause"] == "port-closed"
    assert answer["advice"]
    assert answer["apart"]
    assert [command.split()[0] for command in answer["commands"]] == ["ssh", "ssh"]
    assert set(answer) == {
        *("version", "peer", "words", "meaning", "judged", "apart", "advice", "commands"),
    }  # fmt: skip


def test_explain_of_a_paused_peer_names_who_and_why(fleet):
    """A pause is explained by who asked for it, the reason, and until when."""
    text = fleet.hbd("explain", "rest").stdout
    assert "paused by " in text
    assert "new disk" in text
    assert "until" in text


def test_watch_redraws_until_interrupted(fleet):
    """`hbd status --watch` draws again and again and ends at Ctrl-C."""
    watching = subprocess.Popen(
        [sys.executable, "-m", "hbd", "status", "--watch"],
        env=fleet.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(1.6)
    watching.send_signal(signal.SIGINT)
    out, errors = watching.communicate(timeout=5)
    assert out.count(b"PEER") >= 2
    assert errors == b""
    assert watching.returncode == 130


def bash(fleet, line):
    """Run a line of the shell, in which `hbd` is ours; give what it printed and what it said."""
    done = subprocess.run(
        ["bash", "-c", f'hbd() {{ {sys.executable} -m hbd "$@"; }}; {line}'],
        env=fleet.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


def test_a_closed_pipe_is_told_by_the_exit_status_alone(fleet):
    """`hbd status --json | head -1` ends quietly, and as any program does that is not read on."""
    out, errors = bash(fleet, "hbd status --json | head -1; echo ${PIPESTATUS[0]}")
    first, status = out.splitlines()
    assert first.endswith(', "peers": [')
    assert status in ("141", "2")  # or head had not ended yet when all was written
    assert errors == ""
    assert bash(fleet, "{ sleep 0.1; hbd status; echo $? >&2; } | true") == ("", "141\n")


# -- wait --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("good", "up"),
        ("half", "up"),
        ("half", "degraded"),
        ("bad", "down"),
        ("behind", "down"),
        ("behind", "unreachable"),
        ("rest", "paused"),
    ],
)
def test_wait_returns_at_once_where_the_state_is_right(fleet, name, state):
    """Up includes degraded, down includes unreachable."""
    done = fleet.hbd("wait", name, "--for", state)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("name", "state"), [("good", "down"), ("bad", "up"), ("rest", "up")])
def test_wait_ends_at_its_timeout(fleet, name, state):
    """Status 1 at the timeout, not before it and not long after."""
    began = time.monotonic()
    done = fleet.hbd("wait", name, "--for", state, "--timeout", "500ms")
    took = time.monotonic() - began
    assert done.returncode == 1
    assert name in done.stderr
    assert "timed out" in done.stderr
    assert 0.5 <= took < 2.5


@pytest.mark.root
@pytest.mark.parametrize("words", [("wait", "good"), ("status",)])
def test_socket_that_may_not_be_opened(daemon, net, words):
    """Who may not open the socket gets 77 and what would help, however the daemon is asked."""
    one = daemon(peers=[peer("good", net(1))]).start()
    (one.directory / "run").chmod(0o700)
    done = one.hbd(*words, user=NOBODY)
    assert done.returncode == 77
    assert done.stderr == "hbd: not permitted to open the control socket: try sudo\n"


def test_wait_sees_a_change_and_outlives_a_restart(daemon, reflector, net):
    """Who waits for up sees it, though the daemon is stopped and started meanwhile."""
    one = daemon(peers=[peer("later", net(1))]).start()
    one.wait("later", "down")
    waiting = subprocess.Popen(
        [sys.executable, "-m", "hbd", "wait", "later", "--timeout", "20s"],
        env=one.environment,
        stderr=subprocess.PIPE,
    )
    time.sleep(0.6)
    one.stop()
    time.sleep(0.3)
    one.start()
    assert waiting.poll() is None
    reflector(net(1))
    _, errors = waiting.communicate(timeout=10)
    assert (waiting.returncode, errors) == (0, b"")


def test_wait_believes_no_state_from_before_the_start(daemon, reflector, net):
    """What was up before a crash is waited for until a verdict says so; what is not, is not."""
    kept, gone = reflector(net(1)), reflector(net(2))
    one = daemon(peers=[peer("kept", net(1)), peer("gone", net(2))]).start()
    one.wait("kept", "up")
    one.wait("gone", "up")
    one.kill()
    answers, kept.behave = kept.behave, lambda _: []
    gone.behave = lambda _: []
    one.configure(peers=[peer("kept", net(1)), peer("gone", net(2))], start_grace="2s")
    one.start()
    assert one.peer("kept")["restored"] is True
    done = one.hbd("wait", "gone", "--timeout", "500ms")
    assert done.returncode == 1
    assert done.stderr.startswith("hbd: gone was up before the daemon started, with no verdict")
    waiting = [
        subprocess.Popen(
            [sys.executable, "-m", "hbd", "wait", name, "--timeout", "20s"], env=one.environment
        )
        for name in ("kept", "gone")
    ]
    kept.behave = answers
    assert waiting[0].wait(15) == 0
    one.wait("gone", "down")
    assert waiting[1].poll() is None
    waiting[1].kill()
    waiting[1].wait()


def test_wait_for_who_is_removed_meanwhile_ends(daemon, net):
    """A reload that removes the peer says so at once; who waits for another goes on."""
    one = daemon(peers=[peer("a", net(1)), peer("b", net(2))]).start()
    waiting = [
        subprocess.Popen(
            [sys.executable, "-m", "hbd", "wait", name, "--timeout", "20s"],
            env=one.environment,
            stderr=subprocess.PIPE,
        )
        for name in ("a", "b")
    ]
    time.sleep(0.6)
    one.configure(peers=[peer("b", net(2))])
    one.reload()
    _, errors = waiting[0].communicate(timeout=10)
    assert waiting[0].returncode == 69
    assert errors == b"hbd: no peer a in the configuration; see hbd status\n"
    assert waiting[1].poll() is None
    waiting[1].kill()
    waiting[1].communicate()


def test_wait_with_no_time_tells_how_it_is(fleet):
    """`--timeout 0s` asks whether it is so now."""
    assert fleet.hbd("wait", "good", "--timeout", "0s").returncode == 0
    assert fleet.hbd("wait", "bad", "--timeout", "0s").returncode == 1


# -- who may -----------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("words", [("reload",), ("pause", "good"), ("resume", "rest")])
def test_changes_need_rights(fleet, words):
    """Another user is refused with 77 and told what would help; questions are answered."""
    done = fleet.hbd(*words, user=NOBODY)
    assert done.returncode == 77
    assert done.stderr.startswith("hbd: not permitted: ")
    assert "sudo" in done.stderr
    assert "hbd" in done.stderr.removeprefix("hbd:")
    assert fleet.hbd("status", "good", user=NOBODY).returncode == 0
    assert fleet.state("rest")[0] == "paused"


# -- ping --------------------------------------------------------------------------------------


def test_ping_counts_as_ping_does(daemon, reflector, net):
    """All answered: 0, a line for each reply, and a summary."""
    reflector(net(1))
    done = daemon().hbd("ping", "-c", "3", "-i", "20ms", "--port", PORT, net(1))
    assert done.returncode == 0
    assert done.stdout.count(f"reply from {net(1)}: seq=") == 3
    assert "3 heartbeats sent, 3 answered, 0 % lost" in done.stdout
    assert "rtt min/mean/max = " in done.stdout


def test_ping_of_nobody_names_the_cause(daemon, net):
    """None answered: 2, and what ICMP said."""
    done = daemon().hbd("ping", "-c", "2", "-i", "20ms", "--port", PORT, net(1))
    assert done.returncode == 2
    assert "port-closed" in done.stdout
    assert "2 heartbeats sent, 0 answered, 100 % lost" in done.stdout


def test_ping_of_some(daemon, reflector, net):
    """Some answered: 1; the JSON has both."""
    reflector(net(1))
    words = ("ping", "-c", "2", "-i", "20ms", "--port", PORT, "--json", net(1), net(2))
    done = daemon().hbd(*words)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["version"] == 1
    assert [target["received"] for target in answer["targets"]] == [2, 0]
    assert answer["targets"][1]["rtt_ms"] == {"min": None, "mean": None, "max": None}


def test_ping_of_a_name_that_does_not_resolve(daemon):
    """A name without an address is said in words."""
    done = daemon().hbd("ping", "-c", "1", "no.such.name.invalid")
    assert done.returncode not in (0, 1)
    assert done.stderr.startswith("hbd: no.such.name.invalid does not resolve")


def test_ping_ends_at_ctrl_c_with_its_summary(daemon, reflector, net):
    """Without -c it goes on until Ctrl-C and then sums up."""
    reflector(net(1))
    pinging = subprocess.Popen(
        [sys.executable, "-m", "hbd", "ping", "-i", "50ms", "--port", str(PORT), net(1)],
        env=daemon().environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = pinging.stdout.readline()
    pinging.send_signal(signal.SIGINT)
    out, errors = pinging.communicate(timeout=5)
    assert first.startswith("reply from")
    assert re.search("1 heartbeat sent|[0-9] heartbeats sent", out)
    assert (pinging.returncode, errors) == (0, "")


# -- pause -------------------------------------------------------------------------------------


@pytest.fixture
def pair(daemon, reflector, net):
    """Two peers that are up, and the first one's reflector."""
    first, _ = reflector(net(1)), reflector(net(2))
    labels = [{"site": "ams", "rack": "1"}, {"site": "ams"}]
    peers = [peer(f"p{n}", net(n), labels=labels[n - 1]) for n in (1, 2)]
    one = daemon(peers=peers).start()
    one.wait("p1", "up")
    one.wait("p2", "up")
    return one, first


def test_a_paused_peer_is_measured_but_not_judged(pair):
    """A paused peer goes on being asked, gets no DOWN, and its verdict when it is resumed."""
    one, first = pair
    done = one.hbd("pause", "p1", "--reason", "new disk")
    assert done.returncode == 0
    assert re.fullmatch(r"p1 paused until \S+ \S+\n", done.stdout)
    end = datetime.fromisoformat(one.peer("p1")["paused_until"])
    assert 3_500 < (end - datetime.now(UTC)).total_seconds() < 3_600
    one.beats("p1")
    first.behave = lambda _: []
    time.sleep(1.2)
    assert one.state("p1") == ("paused", "paused")
    assert one.entries(peer="p1", state="down") == []
    paused = one.entry("state", peer="p1", state="paused")
    assert paused["PRIORITY"] == "6"
    assert "new disk" in paused["HBD_EVIDENCE"]
    assert one.hbd("resume", "p1").stdout == "p1 is judged again\n"
    one.wait("p1", "down", "filtered")
    assert one.hbd("resume", "p1").stdout == "p1 was not paused\n"


def test_pause_ends_by_itself(pair):
    """After --for the peer is judged again."""
    one, _ = pair
    began = time.monotonic()
    assert one.hbd("pause", "p1", "--for", "1s").returncode == 0
    assert one.state("p1")[0] == "paused"
    one.wait("p1", "up")
    assert 0.8 < time.monotonic() - began < 3


def test_pause_by_label(pair):
    """--label pauses all peers that have it; several labels, those that have all."""
    one, _ = pair
    done = one.hbd("pause", "--label", "site=ams", "--label", "rack=1")
    assert done.stdout.startswith("p1 paused")
    assert one.state("p2")[0] == "up"
    assert one.hbd("pause", "--label", "site=ams").returncode == 0
    assert one.status()["summary"]["paused"] == 2


def test_pause_of_those_named_that_have_a_label(pair):
    """Names and labels mean for pause whom they mean for status."""
    one, _ = pair
    done = one.hbd("pause", "p*", "--label", "rack=1")
    assert done.stdout.startswith("p1 paused")
    assert one.state("p2")[0] == "up"
    done = one.hbd("pause", "p2", "--label", "rack=1")
    words = "no peer of those named with label rack=1 in the configuration; see hbd status"
    assert (done.returncode, done.stderr) == (69, f"hbd: {words}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("wait", "p1", "--timeout", "99999999999999h"),
        ("pause", "p1", "--for", "9999999999999999d"),
        ("pause", "p1", "--reason", "x" * 100_000),
        ("ping", "-c", "1", "-i", "9999999999999h", "127.0.0.1"),
    ],
    ids=["timeout", "pause", "reason", "interval"],
)
def test_what_is_too_long_is_said(pair, words):
    """Nobody waits for so long, nor reads so much: usage, in one line."""
    one, _ = pair
    done = one.hbd(*words)
    assert done.returncode == 64, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert one.peer("p1")["state"] != "paused"


@pytest.mark.parametrize("command", ["pause", "status"])
def test_a_label_has_one_value(pair, command):
    """No peer has two values of one label; who asks for both is told."""
    one, _ = pair
    done = one.hbd(command, "--label", "rack=1", "--label", "rack=2")
    words = "no peer has both rack=1 and rack=2; write one of them"
    assert (done.returncode, done.stderr) == (64, f"hbd: {words}\n")


def test_pause_survives_a_restart(pair):
    """A pause goes on after a restart, also after a crash, with its reason and its end."""
    one, first = pair
    one.hbd("pause", "p1", "--for", "30min", "--reason", "new disk")
    until_then = one.peer("p1")["paused_until"]
    one.stop()
    first.behave = lambda _: []
    one.start()
    view = one.peer("p1")
    assert (view["state"], view["paused_until"]) == ("paused", until_then)
    assert "new disk" in view["evidence"][0]
    time.sleep(0.5)
    one.kill()
    one.start()
    assert one.state("p1")[0] == "paused"
    assert one.peer("p1")["paused_until"] == until_then


def test_pause_that_ended_while_nobody_ran(pair):
    """A pause that was over before the start is no pause any more."""
    one, _ = pair
    one.hbd("pause", "p1", "--for", "1s")
    one.stop()
    time.sleep(1.0)
    one.start()
    one.wait("p1", "up")


# -- check -------------------------------------------------------------------------------------


def test_check_is_silent_about_a_good_file(daemon, net):
    """A good file: 0, and how many peers and paths it has."""
    one = daemon(peers=[peer("a", net(1)), peer("b", [net(2), net(3)])])
    done = one.hbd("check", one.file)
    assert done.returncode == 0
    assert "2 peers, 3 paths" in done.stdout


def test_check_and_run_and_reload_say_the_same_mistakes(daemon, net):
    """All mistakes at once, the same from check, run and reload, each with its place."""
    one = daemon(peers=[peer("a", net(1))]).start()
    good = one.file.read_text()
    one.file.write_text("peers:\n  - {name: a, adress: 127.1.1.1, interval: 5}\nlisten: yes\n")
    checked = one.hbd("check", one.file)
    reloaded = one.hbd("reload")
    assert (checked.returncode, reloaded.returncode) == (78, 78)
    mistakes = checked.stderr.splitlines()
    assert len(mistakes) >= 3
    assert all(re.match(rf"{one.file}:\d+:\d+: ", line) for line in mistakes)
    assert any("address" in line for line in mistakes)
    assert reloaded.stderr.splitlines() == [f"hbd: {line}" for line in mistakes]
    entry = one.entry("reload-refused")
    assert entry["HBD_EVIDENCE"].splitlines() == mistakes
    one.stop()
    one.log.write_text("")
    status, said = one.refuses_to_start()
    assert status == 78
    assert said.splitlines() == [f"hbd: {line}" for line in mistakes]
    one.file.write_text(good)


def test_a_file_that_is_not_there_is_said(daemon):
    """A missing configuration is 78, with its name."""
    one = daemon()
    status, said = one.refuses_to_start()
    assert status == 78
    assert str(one.file) in said
    assert one.hbd("check", one.file).returncode == 78


def test_the_socket_answers_while_many_ask(fleet):
    """Fifty askers at once all get their answer."""
    asking = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"""
from pathlib import Path
from hbd.report.client import Client
for _ in range(5): Client(Path({str(fleet.directory / "run/io.hbd")!r})).call("Status")
""",
            ],
            env=fleet.environment,
        )
        for _ in range(10)
    ]
    assert [one.wait(30) for one in asking] == [0] * 10
    until(lambda: fleet.state("good")[0] == "up")


def test_what_is_known_is_explained_without_asking_the_peer(daemon, net):
    """Explain with `known` answers at once and sends nothing for it; a wrong one is refused."""
    one = daemon(peers=[peer("dead", net(2))])
    one.start()
    one.wait("dead", "down", "port-closed")
    began = time.monotonic()
    told = one.client.call("Explain", peer="dead", known=True)
    assert time.monotonic() - began < 1.0
    assert (told["peer"]["cause"], bool(told["commands"])) == ("port-closed", True)
    with pytest.raises(RemoteError, match="InvalidParameter: parameter=known"):
        one.client.call("Explain", peer="dead", known="yes")


def test_reloads_are_counted(daemon, net):
    """Status says how many reloads were taken, how many refused, and which the last one was."""
    one = daemon(peers=[peer("a", net(2))])
    one.start()
    assert one.status()["reloads"] == {"done": 0, "refused": 0, "last_refused": False}
    one.reload()
    assert one.status()["reloads"] == {"done": 1, "refused": 0, "last_refused": False}
    one.file.write_text("peers: [")
    one.reload()
    assert one.status()["reloads"] == {"done": 1, "refused": 1, "last_refused": True}
