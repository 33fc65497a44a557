"""What is said of a cause is right for the protocol in which it can occur."""

import re
from dataclasses import replace

import pytest

from hbd.core.events import StateChanged
from hbd.core.model import (
    SECOND,
    BfdAuth,
    BfdOptions,
    Cause,
    Expectation,
    PeerSettings,
    State,
    TlsOptions,
)
from hbd.report.causes import CAUSES, STATES, explanation
from hbd.report.dialects import DIALECTS
from hbd.report.verdicts import state_changed
from hbd.report.ways import TRANSPORTS, dialect, is_authenticated, judged

ID = "0" * 32

STAMP = PeerSettings("db1", ("10.0.0.11",))
EXPECT = Expectation(5 * SECOND)

PEERS = {
    "stamp": STAMP,
    "plain": replace(STAMP, protocol="plain", port=12345, send=b"heartbeat"),
    "tcp": replace(STAMP, protocol="tcp", port=6379),
    "mqtt": replace(STAMP, protocol="mqtt", port=1883),
    "bfd": replace(STAMP, protocol="bfd", port=3784),
    "stamp told": replace(STAMP, expect=EXPECT, key="fleet"),
    "plain told": replace(STAMP, protocol="plain", port=12345, expect=EXPECT),
    "tcp told": replace(STAMP, protocol="tcp", port=0, expect=EXPECT),
}

CONNECTED = {Cause.RESET, Cause.CLOSED, Cause.KEEPALIVE_FAILED}
NETWORK = {
    *(Cause.REJECTED, Cause.HOST_UNREACHABLE, Cause.NET_UNREACHABLE, Cause.ROUTING_LOOP),
    *(Cause.FILTERED, Cause.SILENT),
}
ANY = {
    *(Cause.PATH_DOWN, Cause.PARENT_DOWN, Cause.PAUSED, Cause.UNRESOLVED),
    *(Cause.SEND_BLOCKED, Cause.OWN_LINK, Cause.NO_ROUTE, Cause.OWN_UPLINK),
}
MEASURED = {Cause.LOSSY, Cause.SLOW, Cause.TOO_TIGHT}
MQTT = {cause for cause in Cause if cause.startswith("mqtt-")}
BFD = {cause for cause in Cause if cause.startswith("bfd-")}
STREAM = NETWORK | CONNECTED | MEASURED | {Cause.REFUSED, Cause.TLS, Cause.BAD_REPLY}

CAN_OCCUR = {
    "stamp": ANY | NETWORK | MEASURED
    | {Cause.PORT_CLOSED, Cause.MTU, Cause.AUTH, Cause.BAD_REPLY, Cause.ONE_WAY, Cause.GOODBYE},
    "plain": ANY | NETWORK - {Cause.FILTERED, Cause.SILENT} | {Cause.PORT_CLOSED, Cause.UNWATCHED},
    "tcp": ANY | STREAM | {Cause.CONNECT_TIMEOUT, Cause.HUNG},
    "mqtt": ANY | STREAM | MQTT | {Cause.CONNECT_TIMEOUT, Cause.HUNG},
    "bfd": ANY | NETWORK | BFD
    | {Cause.PORT_CLOSED, Cause.AUTH, Cause.BAD_REPLY, Cause.OWN_STALL},
    "stamp told": ANY | {Cause.SILENT, Cause.FILTERED, Cause.AUTH, Cause.BAD_REPLY, Cause.GOODBYE},
    "plain told": ANY | NETWORK | {Cause.PORT_CLOSED, Cause.BAD_REPLY},
    "tcp told": ANY | CONNECTED | {Cause.SILENT, Cause.FILTERED, Cause.BAD_REPLY},
}  # fmt: skip

PAIRS = [(who, cause) for who, causes in CAN_OCCUR.items() for cause in sorted(causes)]


def change(cause, state=State.DOWN, previous=State.UP, address="10.0.0.11", **more):
    given = {
        "at": 0,
        "since": 0,
        "peer": "db1",
        "labels": (),
        "previous": previous,
        "previous_cause": None,
        "state": state,
        "cause": cause,
        "address": address,
        "evidence": ("10.0.0.11: what was seen",),
        "duration": 0,
        "detection": None,
        "rtt": None,
        "loss": None,
    }
    return StateChanged(**given | more)


def message(who, cause, **more):
    return sentence_of(change(cause, **more), PEERS[who])


def sentence_of(event, settings):
    """Give what is said of the cause, but not how long the state before it lasted."""
    return state_changed(event, ID, settings).message.partition("; was ")[0]


def test_no_cause_lacks_a_row_and_none_is_without_a_protocol():
    """Each cause has a row and can occur; each dialect has rows of causes that can occur in it."""
    assert set(CAUSES) == set(Cause)
    assert set().union(*CAN_OCCUR.values()) == set(Cause)
    assert set(DIALECTS) == {*TRANSPORTS, "told"}
    for who, settings in PEERS.items():
        if dialect(settings) != "told":
            assert set(DIALECTS[who]) <= CAN_OCCUR[who]
    told = set().union(*(causes for who, causes in CAN_OCCUR.items() if who.endswith("told")))
    assert set(DIALECTS["told"]) <= told


@pytest.mark.parametrize(("who", "cause"), PAIRS)
@pytest.mark.parametrize("address", [None, "10.0.0.11"])
def test_each_cause_reads_well_in_each_protocol(who, cause, address):
    """Message, meaning, advice and the rest are whole sentences, without gap or placeholder."""
    entry = state_changed(change(cause, address=address), ID, PEERS[who])
    meaning, advice = entry.value("HBD_MEANING"), entry.value("HBD_ADVICE")
    apart, commands = entry.value("HBD_APART"), entry.value("HBD_COMMANDS")
    assert re.fullmatch(r"nothing\.|[A-Z].*\.", apart)
    assert all(len(command.split()) > 1 for command in commands.splitlines())
    for text in (entry.message, meaning, advice, apart, commands.replace(" = :", "=")):
        assert not re.search(r"[{}]|  | [,.;:)]|\( |\)\)|None", text), text
    assert re.fullmatch(r"[A-Zh].*\.", meaning)
    assert re.fullmatch(r"([A-Z]|hbd |ip ).*[.?]", advice)


@pytest.mark.parametrize(("who", "cause"), PAIRS)
def test_nobody_is_told_of_a_service_that_the_peer_does_not_run(who, cause):
    """Of a broker, a router or a toy no text speaks as of hbd, nor of another's transport."""
    entry = state_changed(change(cause), ID, PEERS[who])
    told = ("HBD_MEANING", "HBD_ADVICE", "HBD_APART", "HBD_COMMANDS")
    text = "\n".join([entry.message, *(entry.value(name) for name in told)])
    protocol = PEERS[who].protocol
    if protocol != "stamp":
        assert not re.search(r"\b(its|start|hung) hbd|hbd there|peers: or accept:", text)
        assert not re.search(r"hbd ping|ssh \S+ systemctl status hbd|HBD_EVENT=refused", text)
    if protocol != "mqtt":
        assert not re.search("broker|MQTT|[Mm]osquitto", text)
    if protocol != "bfd":
        assert not re.search("BFD|BIRD|FRR|birdc|vtysh", text)
    other = "TCP" if TRANSPORTS[protocol] == "UDP" else "UDP"
    assert not re.search(rf"\b{other}\b", text)


@pytest.mark.parametrize(
    ("who", "cause", "sentence"),
    [
        (
            "stamp",
            Cause.FILTERED,
            "filtered on 10.0.0.11 (host is alive, heartbeats to UDP 862 vanish)",
        ),
        (
            "mqtt",
            Cause.FILTERED,
            "filtered on 10.0.0.11 (host is alive, heartbeats to TCP 1883 vanish)",
        ),
        ("bfd", Cause.FILTERED, "filtered on 10.0.0.11 (host is alive, no BFD packets come)"),
        (
            "plain told",
            Cause.FILTERED,
            "filtered on 10.0.0.11 (host is alive, its heartbeats do not come)",
        ),
        (
            "plain",
            Cause.PORT_CLOSED,
            "port closed on 10.0.0.11 (host answers, nothing listens on UDP 12345)",
        ),
        (
            "bfd",
            Cause.PORT_CLOSED,
            "port closed on 10.0.0.11 (host answers, nothing listens on UDP 3784)",
        ),
        (
            "mqtt",
            Cause.REFUSED,
            "connection refused on 10.0.0.11 (host answers, nothing listens on TCP 1883)",
        ),
        ("tcp", Cause.CONNECT_TIMEOUT, "no connection on 10.0.0.11 (TCP 6379 does not answer)"),
        ("tcp", Cause.BAD_REPLY, "bad reply on 10.0.0.11 (it answers, but not with expect_reply:)"),
        (
            "tcp",
            Cause.HUNG,
            "hung on 10.0.0.11 (its kernel acknowledges, the program does not answer)",
        ),
        ("mqtt", Cause.TLS, "TLS failed on 10.0.0.11 (what was seen)"),
        (
            "mqtt",
            Cause.MQTT_PASSWORD,
            "the broker refuses us on 10.0.0.11: wrong user name or password",
        ),
        (
            "bfd",
            Cause.BFD_EXPIRED,
            "it does not hear us on 10.0.0.11 (its BFD detection time expired)",
        ),
        ("bfd", Cause.SILENT, "silent on 10.0.0.11 (no BFD packets come)"),
        ("stamp told", Cause.SILENT, "silent on 10.0.0.11 (its heartbeats do not come)"),
        ("stamp told", Cause.AUTH, "wrong key on 10.0.0.11 (its heartbeats fail the check)"),
    ],
)
def test_message_of_a_cause_in_its_protocol(who, cause, sentence):
    """What a cause is called by each protocol."""
    assert message(who, cause) == f"db1 is down: {sentence}"


def test_a_peer_that_was_switched_off_has_left():
    """AdminDown is told as a leave, and the way back as one."""
    left = change(Cause.BFD_ADMIN_DOWN, State.LEFT, duration=60 * SECOND)
    assert state_changed(left, ID, PEERS["bfd"]).message == (
        "db1 has left: switched off by its administrator on 10.0.0.11 (BFD AdminDown);"
        " was up for 1min"
    )
    back = {"previous_cause": Cause.BFD_ADMIN_DOWN, "evidence": (), "duration": 5 * SECOND}
    assert message("bfd", None, state=State.UP, previous=State.LEFT, **back) == (
        "db1 is up again: BFD session with 10.0.0.11; it had left for 5s (bfd-admin-down)"
    )


def test_what_is_our_own_fault_and_what_nobody_can_know_are_unknown():
    """Our own stall and a peer that is only sent to are told as such."""
    assert message("bfd", Cause.OWN_STALL, state=State.UNKNOWN) == (
        "db1 is unknown: it gave us up because hbd did not run (10.0.0.11: what was seen)"
    )
    assert message("plain", Cause.UNWATCHED, state=State.UNKNOWN) == (
        "db1 is unknown: it is only sent to, nothing tells whether it lives"
    )


@pytest.mark.parametrize(
    ("who", "first", "again", "well"),
    [
        (
            "tcp",
            "first reply from 10.0.0.11",
            "10.0.0.11 answers",
            "10.0.0.11 answers as it should",
        ),
        (
            "plain told",
            "first heartbeat from 10.0.0.11",
            "heartbeats come from 10.0.0.11",
            "heartbeats come from 10.0.0.11 as they should",
        ),
        (
            "bfd",
            "BFD session with 10.0.0.11",
            "BFD session with 10.0.0.11",
            "BFD session with 10.0.0.11 as it should be",
        ),
    ],
)
def test_up_is_told_by_what_shows_it(who, first, again, well):
    """A reply, a heartbeat of the peer's or a session: what makes it up stands in the message."""
    told = {"state": State.UP, "evidence": ()}
    new = message(who, None, previous=State.UNKNOWN, first=True, **told)
    assert new == f"db1 is up: {first}"
    assert message(who, None, previous=State.DOWN, **told) == f"db1 is up again: {again}"
    assert message(who, None, previous=State.DEGRADED, **told) == f"db1 is up again: {well}"


def test_a_peer_that_comes_from_anywhere_has_no_address_in_its_messages():
    """Who is known by its key is not said to be somewhere."""
    van = replace(PEERS["stamp told"], addresses=())
    up = change(None, State.UP, State.UNKNOWN, "anywhere", first=True, evidence=())
    assert state_changed(up, ID, van).message == "db1 is up: first heartbeat"
    down = change(Cause.SILENT, address="anywhere")
    assert sentence_of(down, van) == "db1 is down: silent (its heartbeats do not come)"


def test_texts_that_the_catalog_inserts_are_short():
    """journalctl before 2022 inserts fields of at most 256 octets, name included."""
    rows = [explanation(State.DOWN, cause, PEERS[who]) for who, cause in PAIRS]
    for told in (*rows, *CAUSES.values(), *STATES.values()):
        assert len(f"HBD_MEANING={told.meaning}".encode()) <= 256
        assert len(f"HBD_ADVICE={told.advice}".encode()) <= 256
        assert len(f"HBD_APART={told.apart}".encode()) <= 256


def test_commands_that_the_catalog_inserts_are_short():
    """A long command stays out of the entry; there is always one that explains more."""
    long = replace(PEERS["stamp"], name="n" * 100, addresses=("a" * 60 + "." + "b" * 60,))
    for cause in CAN_OCCUR["stamp"]:
        entry = state_changed(change(cause, peer=long.name, address=None), ID, long)
        commands = entry.value("HBD_COMMANDS")
        assert commands
        assert len(f"HBD_COMMANDS={commands}".encode()) <= 256
    silent = state_changed(change(Cause.SILENT, peer=long.name, address=None), ID, long)
    assert silent.value("HBD_COMMANDS") == f"hbd explain {long.name}"


def test_what_a_stranger_said_is_in_no_command():
    """Evidence may hold anything; the commands are the same without it."""
    told = change(Cause.CLOSED, evidence=("10.0.0.11: $(reboot)",))
    entries = [state_changed(event, ID, PEERS["tcp"]) for event in (told, change(Cause.CLOSED))]
    assert len({entry.value("HBD_COMMANDS") for entry in entries}) == 1


@pytest.mark.parametrize(
    ("who", "way", "rule"),
    [
        (
            "mqtt",
            "asked",
            (
                "asked every 1s (while down every 3s), 500ms to answer, 3 retransmissions:"
                " down at most 3s after the last good reply"
            ),
        ),
        ("plain told", "told", "watched: something every 5s, down after 7s 500ms of silence"),
        (
            "bfd",
            "agreed",
            (
                "as agreed by BFD (we ask for a packet every 1s both ways,"
                " it gives us up after 3 missed): not agreed yet"
            ),
        ),
        (
            "plain",
            "unwatched",
            "not at all: a heartbeat every 1s, down only where the host refuses it",
        ),
    ],
)
def test_each_way_has_its_rule(who, way, rule):
    """How a peer is judged is said by the way in which it is watched."""
    assert PEERS[who].way == way
    assert judged(PEERS[who]) == rule


def test_what_was_agreed_is_said_once_it_is_known():
    """A BFD session that is up has a detection time, in the rule."""
    assert judged(PEERS["bfd"], 900_000_000).endswith("down after 900ms of silence")


@pytest.mark.parametrize(
    ("settings", "is_so"),
    [
        (PEERS["stamp"], False),
        (PEERS["stamp told"], True),
        (PEERS["plain told"], False),
        (PEERS["bfd"], False),
        (replace(PEERS["bfd"], bfd=BfdOptions(auth=BfdAuth.KEYED_SHA1)), True),
        (PEERS["mqtt"], False),
        (replace(PEERS["mqtt"], tls=TlsOptions()), True),
    ],
)
def test_who_proves_who_it_is_is_authenticated(settings, is_so):
    """A key, an authenticated BFD session or TLS: nobody else can pass for the peer."""
    assert is_authenticated(settings) is is_so
