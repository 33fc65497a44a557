"""What survives a restart: no event is repeated, none is lost, none is invented."""

import time
from collections import Counter
from random import Random

import pytest
from running import peer, until

pytestmark = pytest.mark.slow


def test_a_restart_repeats_nothing(daemon, reflector, net):
    """Peers keep state and since; until the first verdict they are restored; no entry is made."""
    reflector(net(1))
    one = daemon(peers=[peer("good", net(1)), peer("bad", net(2))]).start()
    good, bad = one.wait("good", "up"), one.wait("bad", "down")
    until(lambda: one.files().get("bad") == ("down", "port-closed"))
    one.stop()
    one.configure(peers=[peer("good", net(1)), peer("bad", net(2))], start_grace="1s")
    one.start()
    view = one.peer("bad")
    assert view["restored"] is True
    assert (view["state"], view["cause"], view["since"]) == ("down", "port-closed", bad["since"])
    assert one.files()["bad"] == ("down", "port-closed")
    assert "bad" in [row.split()[0] for row in one.hbd("status").stdout.splitlines() if "?" in row]
    for name, before in (("good", good), ("bad", bad)):
        until(lambda name=name: one.peer(name)["restored"] is False)
        assert one.peer(name)["since"] == before["since"]
    assert (one.states("good"), one.states("bad")) == (["up"], ["down"])


def test_names_are_queued_for_units_at_each_change_and_each_start(daemon, reflector, net):
    """Who follows a peer hears of it once it changed, and of every peer after a crash."""
    queue = (one := daemon()).directory / "run-changed"
    queue.mkdir()

    def queued(*names):
        until(lambda: sorted(entry.name for entry in queue.iterdir()) == sorted(names))
        for name in names:
            (queue / name).unlink()

    far = reflector(net(1))
    one.configure(peers=[peer("a", net(1)), peer("b", net(2))])
    one.start()
    until(
        lambda: (
            {name: state for name, (state, _) in one.files().items()} == {"a": "up", "b": "down"}
        )
    )
    queued("a", "b")
    far.behave = lambda _: []
    until(lambda: one.files().get("a", ("",))[0] == "down")
    queued("a")
    one.kill()
    one.start()
    queued("a", "b")


def test_the_time_in_between_is_unknown(daemon, net):
    """The start entry says for how long nobody watched."""
    one = daemon(peers=[peer("a", net(1))]).start()
    one.stop()
    time.sleep(1.0)
    one.start()
    _, second = until(lambda: len(told := one.entries("start")) == 2 and told)
    assert 900_000 < int(second["HBD_DURATION_USEC"]) < 5_000_000
    time.sleep(0.3)
    one.kill()
    time.sleep(0.5)
    one.start()
    *_, third = until(lambda: len(told := one.entries("start")) == 3 and told)
    assert 400_000 < int(third["HBD_DURATION_USEC"]) < 15_000_000


def test_what_changed_meanwhile_is_told_once(daemon, reflector, net):
    """Another verdict than before the restart makes one entry, with how long the old state was."""
    asked = reflector(net(1))
    one = daemon(peers=[peer("falls", net(1)), peer("rises", net(2))]).start()
    one.wait("falls", "up")
    one.wait("rises", "down")
    one.stop()
    asked.behave = lambda _: []
    reflector(net(2))
    one.start()
    one.wait("falls", "down", "filtered")
    one.wait("rises", "up")
    assert one.states("falls") == ["up", "down"]
    assert one.states("rises") == ["down", "up"]
    falls = one.entry("state", peer="falls", state="down")
    assert (falls["PRIORITY"], falls["HBD_PREVIOUS_STATE"]) == ("3", "up")
    assert int(falls["HBD_DURATION_USEC"]) > 400_000
    rises = one.entry("state", peer="rises", state="up")
    assert (rises["PRIORITY"], rises["HBD_PREVIOUS_CAUSE"]) == ("5", "port-closed")


def test_a_peer_that_was_removed_meanwhile_is_forgotten(daemon, net):
    """Its file goes, and when it comes back it begins anew."""
    one = daemon(peers=[peer("a", net(1)), peer("b", net(2))]).start()
    one.wait("a", "down")
    one.wait("b", "down")
    one.stop()
    one.configure(peers=[peer("b", net(2))])
    one.start()
    until(lambda: set(one.files()) == {"b"})
    one.stop()
    one.configure(peers=[peer("a", net(1)), peer("b", net(2))], start_grace="2s")
    one.start()
    assert one.peer("a")["restored"] is False
    assert one.state("a")[0] == "unknown"


def test_a_new_process_is_another_sender(daemon, reflector, net):
    """A new process sends from another port with another session id."""
    asked = reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    one.stop()
    one.start()
    one.beats("a", 1)
    assert len({request.source for request in asked.requests}) == 2
    assert len({request.datagram[14:16] for request in asked.requests}) == 2


def test_a_state_directory_full_of_rubbish(daemon, reflector, net):
    """Files that are not to be read cost the memory of states, not the start."""
    reflector(net(1))
    one = daemon(peers=[peer("a", net(1))]).start()
    one.wait("a", "up")
    one.stop()
    for file in (one.directory / "state").iterdir():
        file.write_bytes(b"\0\xff{]garbage\n" * 100)
    one.start()
    one.wait("a", "up")
    file = one.directory / "state/peers.jsonl"
    [told] = one.entries("weather")
    assert told["MESSAGE"].startswith(f"100 lines of {file} cannot be read")


def test_files_of_states_that_cannot_be_written_are_told_of(daemon, net):
    """Who follows them would wait for nothing; the peers are watched all the same."""
    one = daemon(peers=[peer("a", net(1))])
    run = one.directory / "run"
    run.mkdir()
    (run / "peers").touch()
    one.start()
    told = one.entry("weather")["MESSAGE"]
    assert told.startswith(f"cannot keep files of states in {run}/peers: Not a directory; ")
    one.wait("a", "down")


def test_crashes_at_any_moment(daemon, reflector, net):
    """Twenty kill -9: every change is told, and told twice only under the same event id."""
    asked = reflector(net(1))
    dice = Random(7)  # noqa: S311 - when it is killed, the same each time
    timing = {"interval": "50ms", "timeout": "30ms", "retries": 1, "rise": 1}
    one = daemon(peers=[peer("still", net(2)), peer("a", net(1))], defaults=timing)
    one.start()
    one.wait("a", "up")
    good = asked.behave
    for number in range(20):
        asked.behave = (lambda _: []) if number % 2 == 0 else good
        time.sleep(dice.uniform(0.0, 0.4))
        one.kill()
        one.start()
        one.wait("a", "down" if number % 2 == 0 else "up")
    assert one.states("a")[-1] == "up"
    one.stop()
    first_of = {}
    for entry in one.entries("state", peer="a"):
        first_of.setdefault(entry["HBD_EVENT_ID"], entry)
    told = [(e["HBD_PREVIOUS_STATE"], e["HBD_STATE"]) for e in first_of.values()]
    told = [(before, after) for before, after in told if before != after]  # no better known cause
    assert told[0] == ("unknown", "up")
    assert told[1:] == [("up", "down"), ("down", "up")] * 10
    ids = Counter(entry["HBD_EVENT_ID"] for entry in one.entries("state"))
    assert max(ids.values()) <= 2
    still = {entry["HBD_EVENT_ID"] for entry in one.entries("state", peer="still")}
    assert len(still) == 1
