"""Every manner of answering that was seen of STAMP reflectors, and what hbd says of it."""

import pytest
import reflectors as manners
from running import network, peer, until

pytestmark = pytest.mark.slow

GOOD = {
    "plain": manners.plain,
    "with-ssid": manners.with_ssid,
    "without-tlvs": manners.without_tlvs,
    "zero-filled": manners.zero_filled,
    "38-octets": manners.of_38_octets,
    "41-octets": manners.of_41_octets,
    "truncated": manners.truncated,
    "flag-u": manners.with_flags(0x80),
    "flag-m": manners.with_flags(0x40),
    "flag-i": manners.with_flags(0x20),
    "no-flags": manners.with_flags(0),
    "all-flags": manners.with_flags(0xFF),
    "ptp": manners.in_ptp,
    "no-idea-of-time": manners.no_idea_of_time,
    "clock-runs-backwards": manners.clock_runs_backwards,
    "stateful": manners.Stateful(),
    "twice": manners.twice,
    "swapped-but-told": manners.swapped,
}

BAD = {
    "echo": (manners.echo, "bad-reply", "echo service"),
    "swapped": (manners.swapped, "bad-reply", "`echo_timestamp: off`"),
    "hello": (manners.hello, "bad-reply", "replies of 24 octets"),
    "37-octets": (manners.of_37_octets, "bad-reply", "replies of 37 octets"),
    "empty": (manners.empty, "bad-reply", "replies of 0 octets"),
    "another-session": (manners.another_session, "bad-reply", "another session"),
    "another-timestamp": (manners.another_timestamp, "bad-reply", "timestamp"),
    "another-sequence": (manners.another_sequence, "bad-reply", "never asked"),
    "silent": (manners.silent, "filtered", "but no heartbeat"),
    "other-port": (manners.plain, "bad-reply", "replies come from port 18621, not 18620"),
    "other-address": (manners.plain, "bad-reply", "replies come from 127."),
    "replay": (manners.Replay(), "filtered", "but no heartbeat"),
}


@pytest.fixture(scope="module")
def watching(shared):
    """One daemon that watches them all."""
    make_daemon, make_reflector = shared
    net = network()
    peers = []
    for host, (name, behave) in enumerate(GOOD.items(), 1):
        make_reflector(net(host), behave)
        more = {"echo_timestamp": False} if name == "swapped-but-told" else {}
        peers.append(peer(name, net(host), **more))
    for host, (name, (behave, *_)) in enumerate(BAD.items(), 101):
        elsewhere = {"other-port": (net(host), 18_621), "other-address": (net(100), 18_620)}
        make_reflector(net(host), behave, answer_from=elsewhere.get(name))
        peers.append(peer(name, net(host)))
    timing = {"interval": "500ms", "timeout": "250ms", "retries": 2}
    return make_daemon(peers=peers, defaults=timing).start()


@pytest.mark.parametrize("name", GOOD)
def test_reflector_that_brings_the_timestamp_back_is_up(watching, name):
    """A reply of whatever length and manner counts if it brings back sequence and timestamp."""
    view = until(lambda: (v := watching.peer(name))["received"] >= 5 and v)
    assert view["state"] == "up"
    assert view["loss_percent"] == 0.0
    assert view["rtt_ms"]["max"] >= view["rtt_ms"]["min"] > 0


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_reply_is_named(watching, name):
    """What does not answer this very heartbeat is no life, and the evidence says what it is."""
    _, cause, words = BAD[name]
    view = watching.wait(name, "down", cause)
    assert words in view["evidence"][0]
    assert name == "replay" or view["received"] == 0
    entry = watching.entry("state", peer=name, state="down")
    assert entry["HBD_CAUSE"] == cause
    assert entry["MESSAGE"].startswith(f"{name} is down: ")


def test_duplicates_are_counted_once_each(watching):
    """The second copy of a reply is a duplicate, not a reply."""
    view = until(lambda: (v := watching.peer("twice"))["duplicate"] >= 4 and v)
    assert abs(view["received"] - view["duplicate"]) <= 1
    assert view["received"] <= view["sent"]


def test_unknown_figures_are_null(watching):
    """A peer that never answered has no RTT, and all of its heartbeats are lost."""
    view = watching.wait("silent", "down")
    assert set(view["rtt_ms"].values()) == {None}
    assert view["loss_percent"] == 100.0
    assert view["loss_out_percent"] is None
