"""A peer's line of `hbd status --json`: JSON, though it is written by hand."""

import json
from random import Random

import pytest

from hbd.core.fleet import Fleet
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    Cause,
    Expectation,
    Limits,
    PeerSettings,
    State,
    Timing,
)
from hbd.core.peer import Pause
from hbd.core.roster import Change
from hbd.core.station import Station
from hbd.daemon import status
from hbd.daemon.sessions import Sessions
from hbd.net.sockaddr import octets_of
from hbd.report import varlink

NOW = 10**15
WALL = 1_795_341_900 * SECOND + 1_234_567

STRANGE = 'a "name" \\ with\nmore ü than \x1b letters'


@pytest.fixture
def fleet():
    dice = Random(1)  # noqa: S311 - the same in each run
    station = Station("here", 1, dice)
    return Fleet(
        now=NOW,
        wall=WALL,
        dice=dice,
        session=Sessions(station, {}, {}),
        start_grace=0,
        tick=1,
        station=station,
        place_of=octets_of,
    )


def view(fleet, settings):
    """What is told of a peer, which is on one line."""
    fleet.apply([settings])
    (peer,) = fleet.peers.values()
    text = status.written(fleet, peer)
    assert "\n" not in text
    assert status.view(fleet, peer) == json.loads(text)
    return json.loads(text)


def test_words_of_others_come_back_as_they_are(fleet):
    """Names, labels and evidence may have quotes, controls and any letter."""
    labels = (("site", STRANGE), ("role", "db"))
    settings = PeerSettings(STRANGE, (STRANGE,), labels=labels, via=STRANGE)
    fleet.apply([settings])
    peer = fleet.peers[STRANGE]
    peer.state, peer.cause, peer.evidence = State.DOWN, Cause.BAD_REPLY, (STRANGE, "more")
    told = view(fleet, settings)
    assert (told["name"], told["via"], told["labels"]) == (STRANGE, STRANGE, dict(labels))
    assert (told["state"], told["cause"]) == ("down", "bad-reply")
    assert told["evidence"] == [STRANGE, "more"]
    assert told["paths"][0]["address"] == STRANGE


def test_what_is_not_known_is_null(fleet):
    """Of a peer that was asked nothing yet no figure is 0 that is not counted."""
    told = view(fleet, PeerSettings("new", ("192.0.2.1", "192.0.2.2")))
    assert set(told["rtt_ms"].values()) == {None}
    assert [told[f"loss{way}_percent"] for way in ("", "_out", "_in")] == [None] * 3
    assert (told["cause"], told["via"], told["paused_until"]) == (None, None, None)
    assert (told["labels"], told["evidence"]) == ({}, [])
    assert [told[key] for key in ("sent", "received", "late", "duplicate")] == [0] * 4
    assert len(told["paths"]) == 2
    for path in told["paths"]:
        for key in ("target", "cause", "egress", "hops", "last_reply_s_ago", "loss_percent"):
            assert path[key] is None
        assert (path["missed"], path["rounds"], path["overdue"]) == (0, [0], 0)


def fields(kind):
    """Give the names of a type's fields, or of what a method gives, as the interface has them."""
    _, _, rest = varlink.DESCRIPTION.partition(f"\n{kind}")
    return {line.strip().partition(":")[0] for line in rest.partition("\n)")[0].splitlines()[1:]}


def test_the_interface_describes_what_is_told(fleet):
    """Each key of a peer and of a path stands in the description, and nothing else does."""
    told = view(fleet, PeerSettings("p", ("192.0.2.1",)))
    assert fields("type Peer (") == {*told, "recent"}
    assert fields("type Path (") == set(told["paths"][0])
    assert fields("method Reload() -> (") == {*Change._fields, "warnings"}


def test_times_have_their_units(fleet):
    """Durations are milliseconds with microseconds after the point, moments ISO 8601."""
    timing = Timing(1500 * MILLISECOND, 20_250_000, 0, 2)
    told = view(fleet, PeerSettings("p", ("192.0.2.1",), timing=timing))
    assert (told["interval_ms"], told["timeout_ms"], told["retries"]) == (1500.0, 20.25, 0)
    assert told["since"] == "2026-11-22T10:05:00.001234+00:00"
    fleet.pause("p", Pause(WALL + SECOND, "work", "me"))
    paused = status.view(fleet, fleet.peers["p"])
    assert paused["paused_until"] == "2026-11-22T10:05:01.001234+00:00"


def test_who_is_not_asked_has_no_timeout(fleet):
    """Of a peer that beats by itself it is told how often; it has no rounds."""
    expect = Expectation(3 * SECOND)
    told = view(fleet, PeerSettings("p", ("192.0.2.1",), protocol="plain", expect=expect))
    assert (told["way"], told["protocol"]) == ("told", "plain")
    assert (told["interval_ms"], told["timeout_ms"], told["retries"]) == (3000.0, None, None)
    assert (told["paths"][0]["rounds"], told["paths"][0]["overdue"]) == (None, None)


def test_figures_are_of_the_last_heartbeats(fleet):
    """RTTs are milliseconds, losses percent; of heartbeats without a reply only those count."""
    settings = PeerSettings("p", ("192.0.2.1",))
    fleet.apply([settings])
    window = fleet.peers["p"].paths[0].figures.window
    for sequence in range(4):
        window.sent(sequence)
        window.answered(sequence, (sequence + 1) * 1_501_000)
    window.sent(4)
    told = view(fleet, settings)
    assert told["rtt_ms"] == {
        "last": 6.004,
        "min": 1.501,
        "mean": 3.752,
        "p99": 6.004,
        "max": 6.004,
    }
    assert told["loss_percent"] == told["paths"][0]["loss_percent"] == 20.0


def test_what_the_last_heartbeats_came_to_is_told_to_who_asks(fleet):
    """It is of the path whose loss is told, and nothing else of the line changes."""
    limits = Limits(max_rtt=2 * MILLISECOND)
    settings = PeerSettings("p", ("192.0.2.1", "192.0.2.2"), limits=limits)
    fleet.apply([settings])
    peer = fleet.peers["p"]
    for path, rtts in zip(peer.paths, ([1, 1, 1], [1, 3, None]), strict=True):
        for sequence, rtt in enumerate(rtts):
            path.figures.window.sent(sequence)
            if rtt is not None:
                path.figures.window.answered(sequence, rtt * MILLISECOND)
    told = json.loads(status.written(fleet, peer, recent=True))
    assert told.pop("recent") == ".sx"
    assert told == json.loads(status.written(fleet, peer))


def test_without_a_limit_half_the_timeout_is_slow(fleet):
    """A reply that took more than half the timeout is shown before it is too late."""
    settings = PeerSettings("p", ("192.0.2.1",), timing=Timing(timeout=100 * MILLISECOND))
    fleet.apply([settings])
    window = fleet.peers["p"].paths[0].figures.window
    for sequence, rtt in enumerate((50, 51)):
        window.sent(sequence)
        window.answered(sequence, rtt * MILLISECOND)
    told = json.loads(status.written(fleet, fleet.peers["p"], recent=True))
    assert told["recent"] == ".s"


def test_of_who_is_not_asked_no_heartbeats_are_told(fleet):
    """A peer that beats by itself has none of ours that could be answered."""
    expect = Expectation(3 * SECOND)
    fleet.apply([PeerSettings("p", ("192.0.2.1",), protocol="plain", expect=expect)])
    told = json.loads(status.written(fleet, fleet.peers["p"], recent=True))
    assert told["recent"] == ""
