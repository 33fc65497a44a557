"""Verdicts and their entries, as seen from outside: when, why, and in which order."""

import signal
import time
from itertools import pairwise

import pytest
import reflectors as manners
from running import DETECTION, MARGIN, PORT, peer, until

pytestmark = pytest.mark.slow

UP = "37d9351fc0e84b4da269304e00d9b0b1"


# -- entries -----------------------------------------------------------------------------------


def test_the_life_of_a_peer_in_entries(daemon, reflector, net):
    """First up at info, down at err, up again at notice, each with all its fields, once each."""
    asked = reflector(net(1))
    reflector(net(2))
    labels = {"site": "ams", "Role_x": "db"}
    peers = [peer("a", net(1), labels=labels), peer("witness", net(2))]
    one = daemon(peers=peers).start()
    one.beats("a", 5)
    asked.behave = manners.silent
    one.wait("a", "down", "filtered")
    asked.behave = manners.plain
    one.wait("a", "up")
    until(lambda: len(one.entries("state", peer="a")) == 3)
    one.beats("a", 5)
    first, down, up = one.entries("state", peer="a")
    for entry in (first, down, up):
        assert entry["MESSAGE_ID"] == UP
        assert entry["SYSLOG_IDENTIFIER"] == "hbd"
        assert entry["HBD_LABEL_SITE"] == "ams"
        assert entry["HBD_LABEL_ROLE_X"] == "db"
        assert entry["HBD_ADDRESS"] == net(1)
        assert len(entry["HBD_EVENT_ID"]) == 32
        assert entry["HBD_SINCE"].endswith("+00:00")
        assert all(isinstance(value, str) for value in entry.values())
    assert first["MESSAGE"] == f"a is up: first reply from {net(1)}"
    assert (first["PRIORITY"], down["PRIORITY"], up["PRIORITY"]) == ("6", "3", "5")
    assert (first["HBD_PREVIOUS_STATE"], first["HBD_STATE"]) == ("unknown", "up")
    assert (down["HBD_PREVIOUS_STATE"], down["HBD_STATE"]) == ("up", "down")
    assert (up["HBD_PREVIOUS_STATE"], up["HBD_STATE"]) == ("down", "up")
    assert (down["HBD_CAUSE"], up["HBD_PREVIOUS_CAUSE"]) == ("filtered", "filtered")
    assert "HBD_CAUSE" not in up
    assert down["MESSAGE"].startswith(f"a is down: filtered on {net(1)} (host is alive, ")
    assert "; was up for " in down["MESSAGE"]
    assert up["MESSAGE"].startswith(f"a is up again: {net(1)} answers; was down for ")
    assert 700_000 < int(down["HBD_DURATION_USEC"]) < 20_000_000
    assert 300_000 <= int(down["HBD_DETECTION_USEC"]) < (DETECTION + MARGIN) * 1e6
    assert "HBD_DETECTION_USEC" not in up
    assert 0 < int(down["HBD_RTT_USEC"]) < 100_000
    assert float(down["HBD_LOSS_PERCENT"]) > 0
    assert down["HBD_EVIDENCE"]
    assert down["HBD_ADVICE"]
    assert len({entry["HBD_EVENT_ID"] for entry in (first, down, up)}) == 3


def test_state_files_follow(daemon, reflector, net):
    """peers/STATE/NAME moves with the state and holds the cause, readable by everybody."""
    asked = reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    until(lambda: one.files() == {"a": ("up", "")})
    asked.behave = manners.echo
    until(lambda: one.files() == {"a": ("down", "bad-reply")})
    file = one.directory / "run/peers/down/a"
    assert file.stat().st_mode & 0o777 == 0o644
    one.hbd("pause", "a")
    until(lambda: one.files() == {"a": ("paused", "paused")})


# -- times -------------------------------------------------------------------------------------


def test_detection_from_outside(daemon, reflector, net):
    """Down comes at most interval + (retries + 1) x timeout after the last good reply."""
    asked = reflector(net(1))
    reflector(net(2))
    one = daemon(peers=[peer("a", net(1)), peer("witness", net(2))]).start()
    took = []
    for _ in range(2):
        asked.behave = manners.plain
        one.wait("a", "up")
        one.beats("a", 2)
        asked.behave = manners.silent
        last = max(request.at for request in asked.requests[:-1])
        until(lambda: one.peer("a")["state"] == "down")
        took.append(time.monotonic() - last)
    told = [int(e["HBD_DETECTION_USEC"]) / 1e6 for e in one.entries("state", state="down")]
    assert min(told) >= 3 * 0.1
    assert max(told) <= DETECTION + 0.2
    assert max(took) <= DETECTION + 0.2 + MARGIN


def test_the_dead_are_asked_sparingly_and_rise_quickly(daemon, reflector, net):
    """A path that is down is asked every 3 s; its return is seen within 3 s + rise x timeout."""
    asked = reflector(net(1))
    reflector(net(2))
    one = daemon(peers=[peer("a", net(1)), peer("witness", net(2))]).start()
    one.wait("a", "up")
    asked.behave = manners.silent
    one.wait("a", "down")
    sent = len(asked.requests)
    until(lambda: len(asked.requests) >= sent + 2)
    times = [request.at for request in asked.requests[sent - 1 :]]
    assert min(b - a for a, b in pairwise(times)) > 2.9
    asked.behave = manners.plain
    back = time.monotonic()
    one.wait("a", "up")
    assert time.monotonic() - back < 3 + 2 * 0.1 + MARGIN
    seen = [request.at for request in asked.requests if request.at > back]
    assert 0.05 < seen[1] - seen[0] < 0.1 + 0.1


def test_no_verdict_before_start_grace(daemon, net):
    """Within start_grace nothing is called down; after it what is silent is."""
    one = daemon(peers=[peer("a", net(1))], start_grace="2s").launch()
    began = time.monotonic()
    until(one.answers)
    while time.monotonic() - began < 1.8:
        assert one.state("a")[0] == "unknown"
        time.sleep(0.1)
    one.wait("a", "down", seconds=3)


def test_one_lost_heartbeat_is_no_alarm(daemon, reflector, net):
    """Losing every third heartbeat changes no state where no limit is given."""
    reflector(net(1), manners.Lossy(3))
    one = daemon(peers=[peer("a", net(1))]).start()
    until(lambda: one.peer("a")["sent"] > 15)
    assert one.states("a") == ["up"]
    assert 20 < one.peer("a")["loss_percent"] < 45


# -- degraded ----------------------------------------------------------------------------------


def test_loss_above_the_limit(daemon, reflector, net):
    """Above max_loss the peer is degraded, below half of it it is up again."""
    asked = reflector(net(1), manners.Lossy(2))
    timing = {"interval": "50ms", "timeout": "25ms"}
    one = daemon(peers=[peer("a", net(1), max_loss="10%", **timing)]).start()
    one.wait("a", "degraded", "lossy")
    asked.behave = manners.plain
    entry = one.entry("state", peer="a", state="degraded")
    assert entry["PRIORITY"] == "4"
    assert "max_loss" in entry["MESSAGE"]
    assert one.hbd("status", "a").returncode == 1
    one.wait("a", "up", seconds=15)
    up = one.entry("state", peer="a", previous_state="degraded")
    assert "up again" in up["MESSAGE"]
    assert up["HBD_PREVIOUS_CAUSE"] == "lossy"


def test_rtt_above_the_limit(daemon, reflector, net):
    """Above max_rtt the peer is degraded, and up again when it is quick."""
    asked = reflector(net(1), delay=0.05)
    timing = {"interval": "100ms", "timeout": "90ms"}
    one = daemon(peers=[peer("a", net(1), max_rtt="20ms", **timing)]).start()
    view = one.wait("a", "degraded", "slow")
    assert 45 < view["rtt_ms"]["mean"] < 100
    assert "max_rtt" in one.entry("state", peer="a", state="degraded")["MESSAGE"]
    asked.delay = 0.0
    one.wait("a", "up")


def test_late_replies_are_counted_and_are_life(daemon, reflector, net):
    """A reply after its timeout, but soon enough, keeps the peer up and counts as late."""
    reflector(net(1), delay=0.15)
    one = daemon(peers=[peer("a", net(1))]).start()
    view = until(lambda: (v := one.peer("a"))["late"] >= 3 and v)
    assert view["state"] == "up"
    assert view["loss_percent"] < 50
    assert one.states("a") == ["up"]


def test_one_of_two_addresses_fails(daemon, reflector, net):
    """The peer is degraded for path-down, naming the address; it is down when both fail."""
    first, second = reflector(net(1)), reflector(net(2))
    reflector(net(3))
    one = daemon(peers=[peer("a", [net(1), net(2)]), peer("witness", net(3))]).start()
    until(lambda: [path["state"] for path in one.peer("a")["paths"]] == ["up", "up"])
    second.behave = manners.silent
    view = one.wait("a", "degraded", "path-down")
    assert net(2) in view["evidence"][0]
    assert [path["state"] for path in view["paths"]] == ["up", "down"]
    assert one.entry("state", peer="a", state="degraded")["HBD_ADDRESS"] == net(2)
    first.behave = manners.silent
    one.wait("a", "down", "filtered")
    first.behave = second.behave = manners.plain
    one.wait("a", "up")
    assert one.states("a")[:3] == ["up", "degraded", "down"]
    assert one.states("a")[-1] == "up"


# -- what lies between -------------------------------------------------------------------------


def test_behind_a_parent_that_falls(daemon, reflector, net):
    """What is behind a gateway that fell is unreachable, never down; both come back."""
    gateway, child = reflector(net(1)), reflector(net(2))
    reflector(net(3))
    slower = {"interval": "400ms", "timeout": "200ms"}
    peers = [peer("gw", net(1)), peer("db", net(2), via="gw", **slower), peer("witness", net(3))]
    one = daemon(peers=peers).start()
    one.wait("gw", "up")
    one.wait("db", "up")
    gateway.behave = child.behave = manners.silent
    one.wait("gw", "down", "filtered")
    view = one.wait("db", "unreachable", "parent-down")
    assert "via gw: down" in view["evidence"][0]
    entry = one.entry("state", peer="db", state="unreachable")
    assert entry["PRIORITY"] == "4"
    assert "gw" in entry["MESSAGE"]
    assert one.hbd("wait", "db", "--for", "down", "--timeout", "1s").returncode == 0
    gateway.behave = child.behave = manners.plain
    one.wait("gw", "up")
    one.wait("db", "up")
    assert "down" not in one.states("db")


def test_behind_a_parent_that_falls_later(daemon, reflector, net):
    """A child that was called down before its slower gateway fell is then unreachable."""
    gateway, child = reflector(net(1)), reflector(net(2))
    reflector(net(3))
    slower = {"interval": "800ms", "timeout": "400ms"}
    peers = [peer("gw", net(1), **slower), peer("db", net(2), via="gw"), peer("witness", net(3))]
    one = daemon(peers=peers).start()
    one.wait("gw", "up")
    one.wait("db", "up")
    gateway.behave = child.behave = manners.silent
    one.wait("db", "unreachable", "parent-down")
    assert one.state("gw") == ("down", "filtered")
    assert one.states("db") in (["up", "down", "unreachable"], ["up", "unreachable"])


def test_a_child_that_falls_alone_is_down(daemon, reflector, net):
    """While the parent answers, a silent child is down, not unreachable."""
    reflector(net(1))
    child = reflector(net(2))
    one = daemon(peers=[peer("gw", net(1)), peer("db", net(2), via="gw")]).start()
    one.wait("gw", "up")
    one.wait("db", "up")
    child.behave = manners.silent
    one.wait("db", "down", "filtered")
    assert one.states("db") == ["up", "down"]


# -- our own side ------------------------------------------------------------------------------


def test_everything_falls_silent_at_once(daemon, reflector, net):
    """Nobody is blamed where all fall silent together: unknown, own-uplink, one entry at err."""
    asked = [reflector(net(host)) for host in (1, 2, 3)]
    one = daemon(peers=[peer(f"p{host}", net(host)) for host in (1, 2, 3)]).start()
    for host in (1, 2, 3):
        one.wait(f"p{host}", "up")
    for each in asked:
        each.behave = manners.silent
    for host in (1, 2, 3):
        one.wait(f"p{host}", "unknown", "own-uplink")
    storm = one.entry("storm")
    assert (storm["PRIORITY"], storm["HBD_COUNT"]) == ("3", "3")
    assert "lo" in storm["HBD_COMMON"]
    assert one.entry("state", peer="p1", state="unknown")["PRIORITY"] == "4"
    assert one.hbd("status").returncode == 1
    asked[0].behave = manners.plain
    one.wait("p1", "up")
    one.wait("p2", "down", "filtered")
    assert one.states("p1") == ["up", "unknown", "up"]
    assert one.states("p2") == ["up", "unknown", "down"]


def test_one_that_still_answers_is_a_witness(daemon, reflector, net):
    """Where another still answers, the silent ones are down."""
    asked = [reflector(net(host)) for host in (1, 2, 3)]
    one = daemon(peers=[peer(f"p{host}", net(host)) for host in (1, 2, 3)]).start()
    for host in (1, 2, 3):
        one.wait(f"p{host}", "up")
    for each in asked[:2]:
        each.behave = manners.silent
    for host in (1, 2):
        one.wait(f"p{host}", "down", "filtered")
    assert one.state("p3")[0] == "up"
    assert one.entries(cause="own-uplink") == []


def test_a_lonely_peer_is_down_with_a_doubt(daemon, reflector, net):
    """Where no other peer was up, the evidence says that peer and uplink cannot be told apart."""
    asked = reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    asked.behave = manners.silent
    view = one.wait("a", "down", "filtered")
    assert any("cannot be told apart" in fact for fact in view["evidence"])


def test_answers_with_faults_are_no_silence(daemon, reflector, net):
    """Where all peers answer wrongly at once, they are to blame, not our uplink."""
    asked = [reflector(net(host)) for host in (1, 2)]
    one = daemon(peers=[peer(f"p{host}", net(host)) for host in (1, 2)]).start()
    for host in (1, 2):
        one.wait(f"p{host}", "up")
    for each in asked:
        each.behave = manners.hello
    for host in (1, 2):
        view = one.wait(f"p{host}", "down", "bad-reply")
        assert not any("cannot be told apart" in fact for fact in view["evidence"])
    assert one.entries(cause="own-uplink") == []


# -- many at once ------------------------------------------------------------------------------


def test_a_storm_is_one_entry(daemon, net):
    """Of twenty that fail at once five are told as usual; a storm entry names what is common."""
    two = daemon(peers=[], accept="any")
    two.configure(peers=[], accept="any", listen=[f"{net(host)}:{PORT}" for host in range(1, 21)])
    two.start()
    labels = {"rack": "7"}
    peers = [peer(f"p{host}", net(host), labels=labels) for host in range(1, 21)]
    other = daemon(peers=[], accept="any", listen=[f"{net(99)}:{PORT}"]).start()
    assert other.status()["peers"] == []
    one = daemon(peers=[*peers, peer("witness", net(99))]).start()
    until(lambda: one.status()["summary"]["up"] == 21)
    two.stop()
    until(lambda: one.status()["summary"]["down"] == 20)
    over = until(lambda: [e for e in one.entries("storm") if "over" in e["MESSAGE"]])[0]
    begun = next(e for e in one.entries("storm") if "over" not in e["MESSAGE"])
    downs = one.entries("state", state="down")
    assert len(downs) == 20
    assert sorted(entry["PRIORITY"] for entry in downs) == ["3"] * 5 + ["6"] * 15
    assert begun["PRIORITY"] == "3"
    assert int(begun["HBD_COUNT"]) == 6
    assert over["HBD_COUNT"] == "20"
    assert over["PRIORITY"] == "6"
    assert over["HBD_COMMON"]
    assert one.state("witness")[0] == "up"


# -- we or they do not run ---------------------------------------------------------------------


def test_a_stopped_reflector_is_silent(daemon, net):
    """A peer whose daemon hangs is down, silent or filtered, and up when it goes on."""
    two = daemon(peers=[], accept="any", listen=[f"{net(1)}:{PORT}"]).start()
    three = daemon(peers=[], accept="any", listen=[f"{net(2)}:{PORT}"]).start()
    assert three.process
    one = daemon(peers=[peer("two", net(1)), peer("three", net(2))]).start()
    one.wait("two", "up")
    one.wait("three", "up")
    two.process.send_signal(signal.SIGSTOP)
    view = one.wait("two", "down")
    assert view["cause"] in ("silent", "filtered")
    two.process.send_signal(signal.SIGCONT)
    one.wait("two", "up")
    assert one.states("two") == ["up", "down", "up"]


@pytest.mark.parametrize("seconds", [2, 4])
def test_a_stall_of_ours_blames_nobody(daemon, reflector, net, seconds):
    """Stopped for seconds, it makes one stall entry, sends no burst and calls nobody down."""
    asked = [reflector(net(host)) for host in (1, 2, 3)]
    one = daemon(peers=[peer(f"p{host}", net(host)) for host in (1, 2, 3)]).start()
    for host in (1, 2, 3):
        one.wait(f"p{host}", "up")
    one.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    resumed = time.monotonic()
    one.process.send_signal(signal.SIGCONT)
    for host in (1, 2, 3):
        one.beats(f"p{host}", 3)
    (entry,) = [e for e in one.entries("stall") if int(e["HBD_DURATION_USEC"]) > 1_000_000]
    assert (seconds - 0.5) * 1e6 < int(entry["HBD_DURATION_USEC"]) < (seconds + 1) * 1e6
    assert entry["PRIORITY"] == "6"
    assert [one.states(f"p{host}") for host in (1, 2, 3)] == [["up"]] * 3
    for each in asked:
        burst = [r for r in each.requests if resumed <= r.at < resumed + 0.15]
        assert len(burst) <= 3


def test_short_stops_again_and_again(daemon, reflector, net):
    """Six stops of 0.3 s, longer than a round, call nobody down."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1), interval="100ms", timeout="50ms")]).start()
    one.wait("a", "up")
    for _ in range(6):
        one.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        one.process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    one.beats("a")
    assert one.states("a") == ["up"]


def test_a_broadcast_address_is_no_peer(daemon):
    """The address of a whole subnet looks like a host's; the evidence says what it may be, at
    warning from the start."""
    one = daemon(peers=[peer("all", "127.255.255.255")]).start()
    (fact,) = one.wait("all", "unknown", "no-route")["evidence"]
    assert fact.endswith(": a prohibit route, or the broadcast address of a link (EACCES)")
    assert one.entry("state", peer="all", cause="no-route")["PRIORITY"] == "4"
