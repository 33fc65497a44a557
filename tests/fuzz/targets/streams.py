"""Octets of a connection, in any pieces, between our heartbeats: TCP, MQTT, keep-alive."""

from hbd.core.asked import THAW
from hbd.core.model import PeerSettings
from hbd.core.mqtt import SHOWN as SHOWN_OF_BROKER
from hbd.core.mqtt import MqttSession
from hbd.core.stream import SHOWN, KeepAliveSession, TcpSession
from hbd.wire import mqtt
from tests.fuzz.draws import Draws, piece

LONGEST = 4_096


def seeds():
    answers = b"\0+" + piece(b"PONG") + b"\1\2" + piece(b"+PO") + b"\2" + piece(b"NG\r\n+PONG")
    return [
        answers[1:],
        b"\1" + b"\1\2" + piece(b"\x20\2\0\0") + b"\1\2" + piece(b"\xd0\0"),
        b"\1" + b"\1" * 40 + b"\2" + piece(b"\x20\2\0\0" + b"\xd0\0" * 40),
        b"\1\2" + piece(b"\x20\2\0\4"),
        b"\1\2" + piece(b"\x10\x1e\0\4MQTT"),
        b"\2\1\1\2" + piece(b"whatever"),
    ]


def run(octets):
    draws = Draws(octets)
    kind = draws.octet() % 4
    settings = PeerSettings("a", ("192.0.2.2",), protocol="tcp", send=b"PING")
    if kind == 0:
        wanted = draws.piece()[:512]
        settings = PeerSettings(
            "a", ("192.0.2.2",), protocol="tcp", send=b"PING", expect_reply=wanted or None
        )
        session = TcpSession(settings)
    elif kind == 1:
        session = MqttSession(settings, "monitor", None)
    else:
        session = KeepAliveSession()
    _talk(session, draws)


def _talk(session, draws):
    waiting, number = set(), 0
    while draws:
        match draws.octet() % 8:
            case 0:
                session.opened()
                waiting.clear()
            case 1 | 3 | 4:
                number += 1
                waiting.add(number)
                session.compose(number)
            case 5:
                for _ in range(40):
                    number += 1
                    waiting.add(number)
                    session.compose(number)
            case _:
                _feed(session, draws.piece(), waiting)


def _feed(session, octets, waiting):
    reading = session.feed(octets)
    for answer in reading.answers:
        waiting.remove(answer.sequence)  # was asked in this connection, and is answered once
    assert len(session._outstanding) <= THAW
    for fact in filter(None, (reading.fault, reading.stray)):
        assert fact.text.isprintable()
        assert len(fact.text) < 500
    if isinstance(session, TcpSession):
        assert reading.fault is None
        assert len(session._tail) <= max(len(session._expected) - 1, 0)
        assert len(session._stray) <= SHOWN
    if isinstance(session, MqttSession):
        assert len(session._said) <= SHOWN_OF_BROKER
        assert len(session._waiting) <= THAW
        assert reading.write == mqtt.HEARTBEAT * (len(reading.write) // 2)
        if reading.fault:
            session.opened()
            waiting.clear()
