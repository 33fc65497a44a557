import json
from dataclasses import replace

import pytest

from hbd.core.events import FlappingChanged, Restarted, Stalled, StateChanged, Storm, Woke
from hbd.core.model import SECOND, Cause, PeerSettings, State
from hbd.report import messages, verdicts
from hbd.report.causes import CAUSES, STATES
from hbd.report.kinds import KINDS, Kind
from hbd.report.snapshot import SNAPSHOT_LIMIT, snapshot
from hbd.report.tally import tally
from hbd.report.verdicts import entry_of, state_changed
from hbd.report.words import duration, in_words, moment, one_line

ID = "0123456789abcdef0123456789abcdef"
TEN = 1795341900 * SECOND  # 2026-11-22T10:05:00Z
DAY = 86_400 * SECOND
DB1 = PeerSettings("db1", ("10.0.0.11",))

DOWN = StateChanged(
    at=0,
    since=TEN,
    peer="db1",
    labels=(("site", "ams"),),
    previous=State.UP,
    previous_cause=None,
    state=State.DOWN,
    cause=Cause.PORT_CLOSED,
    address="10.0.0.11",
    evidence=("10.0.0.11: ICMP port unreachable from 10.0.0.11", "TTL 64"),
    duration=3 * DAY + 4 * 3600 * SECOND + 7 * SECOND,
    detection=3 * SECOND,
    rtt=210_000,
    loss=0.01,
)
UP = DOWN._replace(
    previous=State.DOWN,
    previous_cause=Cause.SILENT,
    state=State.UP,
    cause=None,
    evidence=(),
    duration=303 * SECOND,
)


def test_entry_of_a_peer_that_went_down_is_as_the_contract_shows_it():
    """A change to down carries the words, the priority and every field of the contract."""
    entry = state_changed(DOWN, ID, DB1)
    assert entry.message == (
        "db1 is down: port closed on 10.0.0.11 (host answers, nothing listens on UDP 862);"
        " was up for 3d 4h"
    )
    assert entry.priority == 3
    assert entry.message_id == KINDS[Kind.STATE].message_id
    assert entry.event_id == ID
    fields = dict(entry.fields)
    assert fields.pop("HBD_MEANING")
    assert fields.pop("HBD_ADVICE")
    assert fields.pop("HBD_APART")
    assert fields.pop("HBD_COMMANDS").splitlines() == [
        "ssh 10.0.0.11 systemctl status hbd",
        "ssh 10.0.0.11 ss -lnu sport = :862",
    ]
    assert fields == {
        "HBD_EVENT": "state",
        "HBD_EVENT_ID": ID,
        "HBD_SINCE": "2026-11-22T10:05:00.000000+00:00",
        "HBD_PEER": "db1",
        "HBD_STATE": "down",
        "HBD_PREVIOUS_STATE": "up",
        "HBD_CAUSE": "port-closed",
        "HBD_ADDRESS": "10.0.0.11",
        "HBD_DURATION_USEC": "273607000000",
        "HBD_DETECTION_USEC": "3000000",
        "HBD_RTT_USEC": "210",
        "HBD_LOSS_PERCENT": "1.0",
        "HBD_LABEL_SITE": "ams",
        "HBD_EVIDENCE": "10.0.0.11: ICMP port unreachable from 10.0.0.11\nTTL 64",
    }


@pytest.mark.parametrize(
    ("event", "priority"),
    [
        (DOWN, 3),
        (DOWN._replace(first=True), 3),
        (DOWN._replace(quiet=True), 6),
        (DOWN._replace(previous=State.DOWN), 6),
        (DOWN._replace(state=State.UNREACHABLE, cause=Cause.PARENT_DOWN), 4),
        (DOWN._replace(state=State.DEGRADED, cause=Cause.LOSSY), 4),
        (DOWN._replace(state=State.UNKNOWN, cause=Cause.OWN_UPLINK), 4),
        (DOWN._replace(state=State.UNKNOWN, cause=Cause.SEND_BLOCKED), 4),
        (DOWN._replace(state=State.UNKNOWN, cause=Cause.OWN_STALL), 4),
        (DOWN._replace(state=State.UNKNOWN, previous=State.UNKNOWN, cause=Cause.OWN_LINK), 4),
        (DOWN._replace(state=State.UNKNOWN, cause=Cause.UNRESOLVED), 6),
        (DOWN._replace(state=State.UNKNOWN, cause=Cause.UNWATCHED), 6),
        (DOWN._replace(state=State.PAUSED, cause=Cause.PAUSED), 6),
        (DOWN._replace(state=State.LEFT, cause=Cause.GOODBYE), 5),
        (DOWN._replace(state=State.LEFT, cause=Cause.BFD_ADMIN_DOWN), 5),
        (UP, 5),
        (UP._replace(first=True, previous=State.UNKNOWN), 6),
        (UP._replace(quiet=True), 6),
    ],
)
def test_priority_is_that_of_the_contract(event, priority):
    """Each change has the priority that the contract gives it."""
    assert state_changed(event, ID, DB1).priority == priority


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (UP, "db1 is up again: 10.0.0.11 answers; was down for 5min 3s (silent)"),
        (
            UP._replace(first=True, previous=State.UNKNOWN),
            "db1 is up: first reply from 10.0.0.11",
        ),
        (
            UP._replace(previous=State.UNKNOWN, previous_cause=Cause.UNRESOLVED, first=True),
            "db1 is up: first reply from 10.0.0.11; was unknown for 5min 3s (unresolved)",
        ),
        (
            DOWN._replace(
                previous=State.DOWN,
                previous_cause=Cause.FILTERED,
                cause=Cause.SILENT,
            ),
            "db1 is still down: silent on 10.0.0.11 (nothing at all answers)",
        ),
        (
            DOWN._replace(
                previous=State.UNKNOWN,
                state=State.UNKNOWN,
                cause=Cause.UNRESOLVED,
                evidence=("db1.example: does not resolve",),
            ),
            "db1 is unknown: its name has no address (db1.example: does not resolve)",
        ),
        (
            DOWN._replace(state=State.DEGRADED, cause=Cause.LOSSY, loss=0.12),
            "db1 is degraded: loss on 10.0.0.11 is over max_loss (12 %); was up for 3d 4h",
        ),
        (
            DOWN._replace(state=State.LEFT, cause=Cause.GOODBYE, address=None),
            "db1 has left: it said goodbye; was up for 3d 4h",
        ),
        (
            UP._replace(previous=State.LEFT, previous_cause=Cause.GOODBYE),
            "db1 is up again: 10.0.0.11 answers; it had left for 5min 3s (goodbye)",
        ),
        (
            DOWN._replace(state=State.PAUSED, cause=Cause.PAUSED, evidence=("root, until 12:00",)),
            "db1 is paused: maintenance (root, until 12:00); was up for 3d 4h",
        ),
        (
            DOWN._replace(first=True, previous=State.UNKNOWN, duration=10 * SECOND),
            "db1 is down: port closed on 10.0.0.11 (host answers, nothing listens on UDP 862)",
        ),
    ],
)
def test_message_says_peer_fact_and_past(event, message):
    """The message of a change reads as a sentence about the peer."""
    assert state_changed(event, ID, DB1).message == message


def test_port_of_the_peer_stands_in_the_message():
    """The port in the words is the peer's own."""
    assert "UDP 8862" in state_changed(DOWN, ID, replace(DB1, port=8862)).message


def test_every_state_and_cause_is_explained():
    """The tables are complete."""
    assert set(CAUSES) == set(Cause)
    assert set(STATES) == set(State)
    assert set(verdicts.PRIORITIES) == set(State)


def test_every_kind_has_an_id_of_its_own():
    """Each kind of event has one fixed id, 32 hexadecimal digits."""
    ids = [text.message_id for text in KINDS.values()]
    assert set(KINDS) == set(Kind)
    assert len(set(ids)) == len(ids)
    assert all(len(text) == 32 and int(text, 16) for text in ids)


@pytest.mark.parametrize(
    ("event", "message", "priority"),
    [
        (
            FlappingChanged(0, TEN, "db1", (), State.DOWN, flapping=True, changes=7),
            (
                "db1 is flapping: it changes its state again and again (now down);"
                " see journalctl HBD_PEER=db1"
            ),
            4,
        ),
        (
            FlappingChanged(0, TEN, "db1", (), State.UP, flapping=True, changes=0, quiet=True),
            (
                "db1 is flapping: it changes its state again and again (now up);"
                " see journalctl HBD_PEER=db1"
            ),
            6,
        ),
        (
            FlappingChanged(0, TEN, "db1", (), State.UP, flapping=False, changes=31),
            "db1 is steady again (up) after 31 changes",
            6,
        ),
        (
            Storm(0, TEN, State.DOWN, None, 6, "subnet 10.0.0.0/24", over=False),
            "storm: 6 peers are down at once, in common subnet 10.0.0.0/24; look there first",
            3,
        ),
        (
            Storm(0, TEN, State.PAUSED, None, 6, "label site=ams", over=False),
            "storm: 6 peers are paused at once, in common label site=ams",
            6,
        ),
        (
            Storm(
                0,
                TEN,
                State.UNKNOWN,
                Cause.OWN_UPLINK,
                12,
                "egress eth0",
                over=False,
                evidence=("the next hop answers",),
            ),
            (
                "storm: 12 peers are unknown at once, in common egress eth0:"
                " our own uplink is silent (the next hop answers)"
            ),
            3,
        ),
        (
            Storm(0, TEN, State.UNKNOWN, Cause.OWN_LINK, 1, "egress eth0", over=False),
            (
                "storm: 1 peer is unknown at once, in common egress eth0:"
                " our own interface cannot send"
            ),
            3,
        ),
        (
            Storm(0, TEN, State.DOWN, None, 120, "via gw", over=True),
            "storm over: 120 peers are down, in common via gw",
            6,
        ),
        (
            Stalled(0, TEN, 2_300_000_000),
            "hbd did not run for 2s 300ms: deadlines were moved, no peer is judged by it",
            6,
        ),
        (
            Stalled(0, TEN, 1_200_000_000, in_pieces=True),
            (
                "hbd was late by 1s 200ms in all, a little in many turns: deadlines were moved,"
                " no peer is judged by it"
            ),
            6,
        ),
        (
            Woke(0, TEN, 3600 * SECOND),
            "this machine was suspended for 1h: start_grace begins anew",
            6,
        ),
        (
            Restarted(0, TEN, "db1", (), "10.0.0.11", 77),
            "db1 was restarted: 10.0.0.11 answers as a new incarnation",
            6,
        ),
        (
            Restarted(0, TEN, "db1", (), "10.0.0.11", 77, returned=True),
            "db1 is several machines: at 10.0.0.11 they answer in turn",
            4,
        ),
    ],
)
def test_entries_of_other_events(event, message, priority):
    """Each event of the detector has its sentence and its priority."""
    entry = entry_of(event, ID)
    assert (entry.message, entry.priority) == (message, priority)
    assert entry.event_id == ID
    assert entry.value("HBD_SINCE") == "2026-11-22T10:05:00.000000+00:00"


def test_reload_tells_names_and_count():
    """A reload names what it added, removed and changed, and counts it."""
    entry = messages.reloaded(ID, TEN, added=["b", "a"], removed=[], changed=["c"])
    assert entry.message == "configuration reloaded: added a, b; changed c"
    assert entry.value("HBD_COUNT") == "3"
    assert entry.priority == 5
    entry = messages.reloaded(
        ID, TEN, added=[f"p{n}" for n in range(10_000)], removed=[], changed=[]
    )
    assert "p0, p1, p10, p100, p1000 and 9995 more" in entry.message
    assert len(entry.value("HBD_EVIDENCE").splitlines()) == 16


def test_refusals_say_what_to_do():
    """A refused reload and a refused source name the next step."""
    entry = messages.reload_refused(ID, TEN, ["/etc/hbd.yaml:3:1: unknown key", "other"])
    assert entry.message == (
        "configuration refused, the old one stays in use: /etc/hbd.yaml:3:1: unknown key"
        " (and 1 more: see hbd check)"
    )
    entry = messages.refused_source(ID, TEN, "10.0.0.5", places="peers: or accept:")
    assert entry.message == "heartbeats from 10.0.0.5 refused: add it to peers: or accept:"
    entry = messages.refused_key(ID, TEN, "10.0.0.5")
    assert entry.message == (
        "heartbeats from 10.0.0.5 refused: its key is another than ours, or one end has none:"
        " give both ends the same `key:`"
    )


def test_start_stop_and_lost_entries():
    """Start, stop and lost entries are told with their figures."""
    entry = messages.started(
        ID, TEN, version="1", node="m", peers=1, listening=["0.0.0.0:862"], unwatched=5 * SECOND
    )
    assert entry.message == "hbd 1 started on m: watching 1 peer, answering on 0.0.0.0:862"
    assert entry.value("HBD_DURATION_USEC") == "5000000"
    assert "after 2d" in messages.stopped(ID, TEN, node="m", ran=2 * DAY).message
    assert messages.entries_lost(ID, TEN, 37).message.startswith("37 entries were lost")
    assert messages.weather(ID, TEN, "the disk is full").priority == 4


def test_a_stall_in_pieces_is_marked():
    """A report counts a stall as unknown time, but not what was a little late in many turns."""
    assert entry_of(Stalled(0, TEN, SECOND), ID).value("HBD_IN_PIECES") is None
    assert entry_of(Stalled(0, TEN, SECOND, in_pieces=True), ID).value("HBD_IN_PIECES") == "1"


def test_snapshot_holds_every_peer_once_in_bounded_entries():
    """The entries of a snapshot hold every peer once and none is larger than readers take."""
    peers = [(f"peer-{n}", State.UP, None, TEN, 3 * SECOND) for n in range(3000)]
    entries = list(snapshot(lambda: ID, TEN, peers, "start"))
    rows = [row for entry in entries for row in json.loads(entry.value("HBD_SNAPSHOT"))]
    assert [row[0] for row in rows] == [name for name, *_ in peers]
    assert rows[0] == ["peer-0", "up", None, TEN // 1000, 3_000_000]
    assert len(entries) > 1
    assert all(len(entry.value("HBD_SNAPSHOT")) <= SNAPSHOT_LIMIT + 200 for entry in entries)
    assert entries[0].message == "snapshot at start: 3000 peers: 3000 up"
    assert [entry.message for entry in snapshot(lambda: ID, TEN, [], "stop")] == [
        "snapshot at stop: 0 peers"
    ]


def test_summary_lists_what_occurs():
    """The summary counts every state, and names only those that occur, up first."""
    counts = tally([State.DOWN, *[State.UP] * 10])
    assert list(counts.values()) == [10, 0, 1, 0, 0, 0, 0]
    assert in_words(counts) == "11 peers: 10 up, 1 down"
    assert in_words(tally([])) == "0 peers"


@pytest.mark.parametrize(
    ("nanoseconds", "words"),
    [
        (0, "0s"),
        (250_000, "250us"),
        (240_000_000, "240ms"),
        (1_500_000_000, "1s 500ms"),
        (12_400_000_000, "12s"),
        (303 * SECOND, "5min 3s"),
        (3600 * SECOND + 5 * SECOND, "1h"),
        (3 * DAY + 4 * 3600 * SECOND, "3d 4h"),
        (-1, "0s"),
    ],
)
def test_duration_in_words(nanoseconds, words):
    """A duration has at most the two largest units."""
    assert duration(nanoseconds) == words


def test_moment_has_microseconds_and_utc():
    """A moment is UTC with six digits of a second."""
    assert moment(TEN + 1_234) == "2026-11-22T10:05:00.000001+00:00"


def test_one_line_shows_controls_and_cuts():
    """Line breaks and terminal controls do not reach a terminal, and length is bounded."""
    assert one_line("a\n\x1b[31m\u202eb", 100) == "a\\n\\x1b[31m\\u202eb"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
