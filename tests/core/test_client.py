"""The text of a client in a stream of octets, in whatever pieces that comes."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hbd.core.client import ClientSession
from hbd.core.model import SECOND, Cause, Expectation, PeerSettings
from hbd.core.session import Fact, Heard


def session(payload):
    expect = Expectation(SECOND, payload=payload)
    settings = PeerSettings("a", ("192.0.2.1",), protocol="tcp", expect=expect)
    return ClientSession(settings, Random(1))  # noqa: S311 - no key


def heard(told, *pieces):
    """For each piece whether it is life."""
    return [isinstance(told.read(piece, 0, None, 0), Heard) for piece in pieces]


def test_anything_is_life_where_nothing_is_expected():
    """Without a text whatever comes is life."""
    assert heard(session(None), b"x", b"\0\0") == [True, True]


def test_a_text_in_pieces():
    """A text is life when its last octet has come, once."""
    assert heard(session(b"beat\n"), b"be", b"a", b"t", b"\n") == [False, False, True, False]


def test_several_at_once():
    """Several texts at once are life, and what follows them may begin the next."""
    assert heard(session(b"beat\n"), b"beat\nbeat\nbe", b"at\n", b"\n") == [True, True, False]


def test_another_text_says_so():
    """What does not hold the text is a bad reply."""
    told = session(b"beat").read(b"boot", 0, None, 0)
    assert isinstance(told, Fact)
    assert told.cause is Cause.BAD_REPLY


@given(st.lists(st.binary(max_size=5)), st.binary(min_size=1, max_size=3))
def test_pieces_do_not_matter(pieces, payload):
    """The text is found in pieces exactly where it is in the whole, and nothing piles up."""
    told = session(payload)
    found = any(heard(told, *pieces))
    wanted = payload.rstrip(b"\r\n\0")
    assert found == (wanted in b"".join(pieces) and bool(pieces))
    assert len(told._tail) < max(len(payload), 1)
