"""Heartbeats in a TCP connection: what is an answer, and to what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbd.core.model import Cause, PeerSettings
from hbd.core.stream import SHOWN, KeepAliveSession, Reading, TcpSession, shown

NOTHING = Reading([])


def session_with(**options):
    return TcpSession(PeerSettings("db", ("10.0.0.1",), protocol="tcp", send=b"PING", **options))


def sequences(step):
    return [answer.sequence for answer in step.answers]


def test_a_heartbeat_is_what_is_to_be_sent():
    """`send` goes out with each heartbeat, and nothing before or after."""
    session = session_with()
    assert session.greeting == b""
    assert session.compose(7) == session.compose(8) == b"PING"
    assert session.closing() == b""


def test_anything_answers_where_nothing_is_expected():
    """Without `expect_reply` any octets answer, once."""
    session = session_with()
    session.compose(7)
    assert sequences(session.feed(b"\0")) == [7]
    assert session.feed(b"more of it") == NOTHING


def test_the_expected_reply_answers():
    """Only `expect_reply` is an answer, in however many pieces it comes."""
    session = session_with(expect_reply=b"PONG")
    session.compose(7)
    assert sequences(session.feed(b"+PO")) == []
    assert sequences(session.feed(b"N")) == []
    assert sequences(session.feed(b"G\r\n")) == [7]
    session.compose(8)
    assert sequences(session.feed(b"+PONG\r\n")) == [8]


def test_what_was_an_answer_is_none_again():
    """The octets of one answer are no beginning of the next."""
    session = session_with(expect_reply=b"aba")
    session.compose(1)
    assert sequences(session.feed(b"aba")) == [1]
    session.compose(2)
    assert sequences(session.feed(b"ba")) == []
    assert sequences(session.feed(b"ba")) == [2]


def test_one_answer_is_to_all_before_it():
    """A server that reads two heartbeats at once and replies once does not fall behind."""
    session = session_with(expect_reply=b"PONG")
    session.compose(1)
    session.compose(2)
    assert sequences(session.feed(b"PONG")) == [1, 2]
    session.compose(3)
    assert sequences(session.feed(b"PONG")) == [3]
    assert session.feed(b"PONG") == NOTHING


def test_another_reply_is_told():
    """What came instead of an answer is the cause if none follows, and the connection stays."""
    session = session_with(expect_reply=b"PONG")
    session.compose(1)
    session.feed(b"-LOADING ")
    step = session.feed(b"dataset\r\n")
    assert step.fault is None
    assert step.stray.cause is Cause.BAD_REPLY
    assert step.stray.text == r"answers `-LOADING dataset\r\n`, not `PONG`"
    session.feed(b"PONG")
    session.compose(2)
    assert session.feed(b"no").stray.text == "answers `no`, not `PONG`"


def test_chatter_between_heartbeats_is_no_fault():
    """What a server says where nothing was asked is no bad reply, and no answer to what follows."""
    session = session_with(expect_reply=b"PONG")
    assert session.feed(b"220 welcome\r\n") == NOTHING
    assert session.feed(b"PONG") == NOTHING
    session.compose(1)
    assert sequences(session.feed(b"PONG")) == [1]


def test_a_new_connection_knows_nothing_of_the_old():
    """Neither heartbeats nor half replies outlive their connection."""
    session = session_with(expect_reply=b"PONG")
    session.compose(1)
    session.feed(b"PO")
    session.opened()
    assert sequences(session.feed(b"NGPONG")) == []
    session.compose(2)
    assert session.feed(b"NG").stray.text == "answers `NG`, not `PONG`"
    assert sequences(session.feed(b"PONG")) == [2]


def test_new_settings_apply_from_the_next_heartbeat():
    """A connection goes on with another heartbeat and another reply."""
    session = session_with(expect_reply=b"PONG")
    session.compose(1)
    settings = PeerSettings("db", ("10.0.0.1",), protocol="tcp", send=b"?", expect_reply=b"!")
    session.adopt(settings)
    assert session.greeting == b""
    assert session.compose(2) == b"?"
    assert sequences(session.feed(b"!")) == [1, 2]


@given(st.lists(st.binary(max_size=2_000), max_size=20), st.binary(min_size=1, max_size=8))
def test_any_octets_are_answers_or_not(pieces, expected):
    """Any octets in any pieces answer if and only if the reply is in them; memory is bounded."""
    session = session_with(expect_reply=expected)
    session.compose(1)
    answered = False
    for piece in pieces:
        step = session.feed(piece)
        assert step.fault is None
        answered = answered or bool(step.answers)
        assert len(session._tail) < len(expected)
        assert len(session._stray) <= SHOWN
    assert answered is (expected in b"".join(pieces))


@pytest.mark.parametrize("make", [session_with, KeepAliveSession])
def test_heartbeats_of_a_silent_peer_do_not_pile_up(make):
    """Of those without an answer only the newest thousand are kept."""
    session = make()
    for sequence in range(5_000):
        session.compose(sequence)
    assert sequences(session.feed(b"at last")) == list(range(4_000, 5_000))


def test_sequence_wraps_at_32_bits():
    """An answer's number is that of the heartbeat, modulo 2**32."""
    session = session_with()
    session.compose(2**32 + 5)
    [answer] = session.feed(b"PONG").answers
    assert (answer.sequence, answer.token, answer.dwell) == (5, None, 0)


def test_keep_alive_sends_nothing():
    """The kernel's keep-alive needs no octets; its acknowledgement answers what waits for one."""
    session = KeepAliveSession()
    assert session.greeting == session.compose(1) == session.compose(2) == session.closing() == b""
    assert [answer.sequence for answer in session.acknowledged()] == [1, 2]
    assert session.acknowledged() == []


def test_what_a_kept_connection_says_is_life():
    """Whatever a server says of its own accord shows that it is alive."""
    session = KeepAliveSession()
    session.compose(1)
    assert sequences(session.feed(b"news")) == [1]
    session.compose(2)
    session.opened()
    assert session.feed(b"news") == NOTHING


def test_strangers_words_are_shown_in_print():
    """Evidence is short printable ASCII, whatever was sent."""
    assert shown(b"\x1b[2J\0`\xff" + b"a" * 100) == r"\x1b[2J\x00`\xff" + "a" * 33
