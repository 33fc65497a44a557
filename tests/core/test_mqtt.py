"""A client of a broker: PINGREQ out, PINGRESP back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.core.model import MILLISECOND, SECOND, Cause, MqttOptions, PeerSettings, Timing, Will
from hbd.core.mqtt import MqttSession, keep_alive
from hbd.core.stream import Reading

BROKER = PeerSettings("broker", ("10.0.0.1",), port=1883, protocol="mqtt")
PING, PONG = b"\xc0\0", b"\xd0\0"
ACCEPTED = bytes.fromhex("20020000")


def session_for(settings=BROKER, node="monitor", password=None, **where):
    return MqttSession(settings, node, password, **where)


def connected(settings=BROKER):
    session = session_for(settings)
    session.opened()
    assert session.feed(ACCEPTED) == Reading([])
    return session


def sequences(step):
    return [answer.sequence for answer in step.answers]


def client_id(session):
    octets = session.greeting
    return octets[14 : 14 + octets[13]].decode()


def test_a_connection_begins_with_connect_and_ends_with_disconnect():
    """CONNECT carries what the settings say; DISCONNECT keeps the broker from publishing a will."""
    will = Will("hosts/monitor", b"dead", qos=1, retain=True)
    options = MqttOptions(username="user", client_id="me", will=will)
    session = session_for(replace(BROKER, mqtt=options), password=b"secret")
    assert session.greeting == (
        bytes.fromhex("1031 00044d515454 04 ee 0003")
        + b"\0\2me\0\x0dhosts/monitor\0\4dead\0\4user\0\6secret"
    )
    assert session.closing() == b"\xe0\0"


def test_heartbeats_wait_for_connack():
    """What is asked before the broker has accepted us goes out when it has, in order."""
    session = session_for()
    session.opened()
    assert session.compose(1) == session.compose(2) == b""
    assert session.feed(ACCEPTED[:3]) == Reading([])
    assert session.feed(ACCEPTED[3:]) == Reading([], write=PING + PING)
    assert session.compose(3) == PING
    assert sequences(session.feed(PONG + PONG + PONG)) == [1, 2, 3]


def test_each_pingresp_answers_the_oldest_heartbeat():
    """Several may be out at a time: a broker answers each of them, in order."""
    session = connected()
    assert [session.compose(sequence) for sequence in (7, 8, 9)] == [PING] * 3
    assert sequences(session.feed(PONG[:1])) == []
    assert sequences(session.feed(PONG[1:] + PONG)) == [7, 8]
    [answer] = session.feed(PONG).answers
    assert (answer.sequence, answer.token, answer.dwell) == (9, None, 0)


@pytest.mark.parametrize(
    ("code", "cause", "words"),
    [
        (1, Cause.MQTT_VERSION, "CONNACK 1: unacceptable protocol version"),
        (2, Cause.MQTT_CLIENT_ID, "CONNACK 2: identifier rejected"),
        (3, Cause.MQTT_UNAVAILABLE, "CONNACK 3: server unavailable"),
        (4, Cause.MQTT_PASSWORD, "CONNACK 4: bad user name or password"),
        (5, Cause.MQTT_NOT_AUTHORIZED, "CONNACK 5: not authorised"),
    ],
)
def test_a_refusal_is_a_cause_of_its_own(code, cause, words):
    """Each return code of CONNACK is a cause in the standard's words; no heartbeat goes out."""
    session = session_for()
    session.opened()
    session.compose(1)
    assert session.feed(bytes([0x20, 2, 0, code])) == Reading([], fault=(cause, words))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"SSH-2.0-x\r\n", "no MQTT 3.1.1 (type); it began with `SSH-2.0-`"),
        (PONG, "a PINGRESP that nobody asked for"),
        (ACCEPTED + ACCEPTED, "a second CONNACK"),
        (ACCEPTED + PONG, "a PINGRESP that nobody asked for"),
        (b"\x20\2\0\x84", r"no MQTT 3.1.1 (return-code); it began with ` \x02\x00\x84`"),
    ],
    ids=["ssh", "early", "twice", "unasked", "MQTT 5"],
)
def test_what_no_broker_says_is_a_bad_reply(octets, words):
    """A program that is no broker is told by what it said first."""
    session = session_for()
    session.opened()
    assert session.feed(octets) == Reading([], fault=(Cause.BAD_REPLY, words))


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_nothing_of_our_own_is_shown(size):
    """A service that sends our CONNECT back, however much at once, is told without its octets."""
    settings = replace(BROKER, mqtt=MqttOptions(username="u", client_id="h"))
    session = session_for(settings, password=b"secret")
    session.opened()
    words = "it sends back what we send: no broker, but an echo service"
    fault = session.feed(session.greeting[:size]).fault
    assert fault == (Cause.BAD_REPLY, words)


def test_few_words_of_a_stranger_are_shown():
    """What stands before our own CONNECT hides none of it: eight octets are shown."""
    settings = replace(BROKER, mqtt=MqttOptions(username="u", client_id="h"))
    session = session_for(settings, password=b"secret")
    session.opened()
    fault = session.feed(b">" + session.greeting).fault
    assert fault.text == r"no MQTT 3.1.1 (type); it began with `>\x10\x18\x00\x04MQT`"


def test_nothing_follows_a_fault():
    """The first fault is the one told; nothing is written and nothing more is read."""
    session = session_for()
    session.opened()
    session.compose(1)
    assert session.feed(bytes.fromhex("20020005") + PONG).fault.cause is Cause.MQTT_NOT_AUTHORIZED
    session.opened()
    session.compose(2)
    assert session.feed(ACCEPTED + b"?").write == b""


def test_a_broker_is_not_remembered_word_by_word():
    """However much a broker says, only its first words are kept."""
    session = connected()
    for sequence in range(100):
        session.compose(sequence)
        session.feed(PONG)
    assert len(session._said) == 8


def test_answers_before_a_fault_count():
    """What was answered before the broker broke the rules was answered."""
    session = connected()
    session.compose(1)
    step = session.feed(PONG + b"?")
    assert (sequences(step), step.fault.cause) == ([1], Cause.BAD_REPLY)


def test_a_new_connection_knows_nothing_of_the_old():
    """Neither heartbeats nor half packets nor an acceptance outlive their connection."""
    session = connected()
    session.compose(1)
    session.feed(PONG[:1])
    session.opened()
    assert session.compose(2) == b""
    assert session.feed(ACCEPTED).write == PING
    assert sequences(session.feed(PONG)) == [2]


def test_heartbeats_of_a_frozen_broker_do_not_pile_up():
    """Of those without an answer the newest thousand are kept, and still answered rightly."""
    session = connected()
    for sequence in range(3_000):
        assert session.compose(sequence) == PING
    assert sequences(session.feed(PONG * 2_500)) == list(range(2_000, 2_500))
    assert len(session._outstanding) == 500
    session = session_for()
    for sequence in range(3_000):
        session.compose(sequence)
    assert session.feed(ACCEPTED).write == PING * 1_000
    assert sequences(session.feed(PONG)) == [2_000]


def test_client_id_is_one_of_each_connection():
    """The default client id is allowed everywhere, always the same, and nobody else's."""
    same = [client_id(session_for()) for _ in range(2)]
    assert same[0] == same[1]
    assert len(same[0]) == 20
    assert same[0].startswith("hbd-")
    others = [
        session_for(node="other"),
        session_for(replace(BROKER, name="other")),
        session_for(address="10.0.0.1"),
        session_for(address="10.0.0.2"),
    ]
    assert len({same[0], *map(client_id, others)}) == 5


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [
        (Timing(), 3),
        (Timing(50 * MILLISECOND, 50 * MILLISECOND, 0, 1), 3),
        (Timing(5 * SECOND, 500 * MILLISECOND, 3), 7),
        (Timing(5 * SECOND, 501 * MILLISECOND, 3), 8),
        (Timing(100_000 * SECOND), 65_535),
    ],
    ids=["default", "fast", "whole", "rounded up", "longest"],
)
def test_the_broker_gives_us_up_no_sooner_than_we_it(timing, seconds):
    """Keep Alive is the detection time in whole seconds, and not less than probes are apart."""
    assert keep_alive(timing) == seconds
    assert session_for(replace(BROKER, timing=timing)).greeting[10:12] == seconds.to_bytes(2, "big")


def test_new_settings_that_connect_says_wait_for_the_next_one():
    """Settings that CONNECT says make another greeting; the connection that is goes on."""
    session = connected()
    before = session.greeting
    session.adopt(replace(BROKER, labels=(("rack", "b"),)))
    assert session.greeting == before
    session.adopt(replace(BROKER, mqtt=MqttOptions(username="user")))
    assert session.compose(1) == PING
    assert b"user" in session.greeting


@given(st.lists(st.one_of(st.binary(max_size=9), st.sampled_from([ACCEPTED, PONG])), max_size=9))
def test_any_octets_are_a_step(pieces):
    """Any octets give answers to what was asked, or a fault, never an exception."""
    session = session_for()
    session.opened()
    for last, piece in enumerate(pieces):
        session.compose(last)
        step = session.feed(piece)
        assert all(answer.sequence <= last for answer in step.answers)
        if step.fault is not None:
            assert step.write == b""
            break
