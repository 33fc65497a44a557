"""What comes by itself: BFD, plain texts, and the heartbeats of others in any form."""

from random import Random

from hbd.core.bfd import BfdSession
from hbd.core.model import (
    MILLISECOND,
    SECOND,
    BfdAuth,
    BfdOptions,
    Expectation,
    PeerSettings,
    Timing,
)
from hbd.core.plain import PlainSession
from hbd.core.session import Fact, Heard
from hbd.wire import bfd
from hbd.wire.bfd import Auth, AuthKind, Packet, State
from tests.fuzz.draws import Draws, piece
from tests.fuzz.seeds import PACKETS

SECRET = b"hbdsecret"
MINE, YOURS = 0xC2F98093, 7
AUTHS = tuple(BfdAuth)
KINDS = (None, AuthKind.KEYED_SHA1, AuthKind.METICULOUS_SHA1)
INTERVALS = (0, 1, 50_000, 100_000, 1_000_000, bfd.MOST)


LONGEST = 512


def seeds():
    conversation = b"".join(bytes([3, state, 0, 3, 2, 2, 0, 1, 0, 255]) for state in (1, 2, 3, 3))
    return [
        *(bytes([form]) + conversation for form in range(8)),
        *(bytes([form, 1]) + piece(one) + b"\xff\0" for form in range(8) for one in PACKETS),
        b"\x08\0\4beat\0\4beat\r\n\0\3bea\0\0",
    ]


def run(octets):
    draws = Draws(octets)
    form = draws.octet()
    if form & 8:
        _plain(draws)
    else:
        _bfd(form, draws)


def _plain(draws):
    wanted = draws.piece()
    expect = Expectation(SECOND, payload=wanted or None)
    session = PlainSession(PeerSettings("a", ("192.0.2.2",), protocol="plain", expect=expect), None)
    while draws:
        said = draws.piece()
        found = session.read(said, 0, 64, 0)
        assert isinstance(found, Fact) == bool(
            wanted and said.rstrip(b"\r\n\0") != wanted.rstrip(b"\r\n\0")
        )
        assert isinstance(found, Heard) or (found.text.isprintable() and len(found.text) < 250)
        session.recognises(said, 1, 1)


def _bfd(form, draws):
    auth = AUTHS[form % 3]
    options = BfdOptions(
        auth=auth, multihop=bool(form & 4), min_ttl=200, multiplier=form >> 4 or 3, key_id=7
    )
    dice = Random(1)  # noqa: S311 - to be replayed
    secret = None if auth is BfdAuth.NONE else SECRET
    session = BfdSession(options, 100 * MILLISECOND, dice, MINE, secret)
    settings = PeerSettings("r", ("192.0.2.2",), protocol="bfd", timing=Timing(), bfd=options)
    real = 0
    while draws:
        real += draws.octet() * 10 * MILLISECOND
        match draws.octet() % 8:
            case 0:
                session.expire()
            case 1:
                _read(session, draws.piece(), real, draws)
            case 2:
                session.pause(on=bool(draws.octet() & 1))
            case 4:
                session.adopt(settings)
            case _:
                _read(session, _packet(form, draws), real, draws)
        _look_at(session, real)


def _packet(form, draws):
    """What a router may say that has our secret."""
    flags = draws.octet()
    kind = KINDS[form % 3] if not flags & 0x80 else None
    said = Packet(
        diag=draws.octet() & 31,
        state=State(draws.octet() & 3),
        poll=bool(flags & 1),
        final=bool(flags & 2),
        control_plane_independent=bool(flags & 4),
        demand=bool(flags & 8),
        multiplier=draws.octet(),
        my_discriminator=YOURS,
        your_discriminator=0 if flags & 16 else MINE,
        desired_min_tx_usec=draws.pick(INTERVALS),
        required_min_rx_usec=draws.pick(INTERVALS),
        auth=kind and Auth(kind, 7, draws.octet() if not flags & 32 else bfd.MOST),
    )
    return bfd.pack(said, SECRET if kind else None)


def _read(session, datagram, real, draws):
    ttl, silent_for = draws.octet() or None, draws.octet() * SECOND
    before = _state(session)
    found = session.read(datagram, real, ttl, silent_for)
    if isinstance(found, Fact):
        assert _state(session) == before
        assert found.text.isprintable()
        assert len(found.text) < 150
        return
    packet = bfd.parse(datagram)
    assert (ttl or 1) >= 200
    assert packet.your_discriminator in {0, MINE}
    assert (packet.auth is None) == (session._auth._secret is None)
    assert packet.auth is None or bfd.verifies(datagram, SECRET)
    assert found.is_up == (session.state is State.UP)
    assert found.fault is None or found.fault.text.isprintable()
    assert session.remote_state is packet.state


def _look_at(session, real):
    assert session.patience > 0
    assert session.greeting > 0
    spacing = session.spacing()
    assert spacing is None or spacing > 0
    sent = session.compose(real)
    packet = bfd.parse(sent)
    assert (packet.state, packet.my_discriminator) == (session.state, MINE)
    assert not (packet.poll and packet.final)
    assert session.recognises(sent, 0, 0)
    session.recognises(sent[:9], 0, 0)


def _state(session):
    kept = {
        name: getattr(session, name)
        for name in BfdSession.__slots__
        if name not in {"_auth", "_offer", "_silence", "_dice"}
    }
    auth = session._auth
    return kept, auth._sequence, auth._received, _slots(session._offer), _slots(session._silence)


def _slots(of):
    return {name: repr(getattr(of, name)) for name in type(of).__slots__}
