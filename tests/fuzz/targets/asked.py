"""Replies to heartbeats by STAMP: genuine ones, bent ones and whatever else may come back."""

from random import Random

from hbd.core.model import SECOND, PeerSettings, ReflectorKind, StampOptions, State, Tlv
from hbd.core.reflector import Reflector
from hbd.core.session import Answer, Fact
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.wire import stamp
from hbd.wire.auth import Key
from tests.fuzz.draws import Draws, piece
from tests.fuzz.seeds import DATAGRAMS
from tests.fuzz.targets._asking import WALL

KEY, OLD = Key(b"of the fleet"), Key(b"of the fleet until now")


LONGEST = 512


def seeds():
    bent = [
        bytes([form, kind, 3, 0, at, 0, 7, 64])
        for form in range(8)
        for kind in range(3)
        for at in (3, 12, 15, 24, 40, 44, 48, 53)
    ]
    return [*bent, *(bytes([form, 0, 0]) + piece(one) for one in DATAGRAMS for form in (0, 1))]


def run(octets):
    draws = Draws(octets)
    form = draws.octet()
    keys = Keys(KEY, (OLD, KEY)) if form & 1 else None
    options = StampOptions(
        tlv=(Tlv.AUTO, Tlv.ON, Tlv.OFF, Tlv.AUTO)[form >> 1 & 3],
        reflector=(ReflectorKind.AUTO, ReflectorKind.STATELESS)[form >> 3 & 1],
        echo_timestamp=not form >> 4 & 1,
        trust_goodbye=bool(form >> 5 & 1),
        ssid=(None, 0, 9, None)[form >> 6],
    )
    settings = PeerSettings("db1", ("192.0.2.2",), stamp=options)
    dice = Random(1)  # noqa: S311 - to be replayed
    session = StampSession(settings, Station("monitor", 7, dice), keys)
    reflector = Reflector({8620}, (), lambda _: True, Station("db1", 2, dice))
    if keys:
        reflector.admission.keys = lambda _: (KEY,)
    sequence = 0
    while draws:
        sequence += 1
        now = sequence * SECOND  # at one moment there would soon be too many
        wall = WALL + now
        heartbeat, token = session.compose(sequence, wall, State.UP)
        reflection = reflector.answer(
            heartbeat,
            source=("192.0.2.1", 50_000),
            destination="192.0.2.2",
            ttl=64,
            received=wall,
            now=now,
            wall=wall + 1_000,
        )
        genuine = reflection.reply
        reply = _returned(heartbeat, genuine, draws, keyed=session.is_keyed)
        answer = _read(session, reply, is_genuine=reply == genuine)
        is_it = answer and (answer.sequence, answer.token or token) == (sequence, token)
        assert is_it or reply != genuine
        if is_it:
            session.accepted(answer, token)
        assert session.recognises(heartbeat, sequence, token)
        session.recognises(reply, sequence, token)


def _returned(heartbeat, genuine, draws, *, keyed):
    kind = draws.octet()
    reply = (_bent(genuine, draws), draws.piece(), heartbeat, genuine)[kind & 3]
    if not (kind & 4 and keyed and len(reply) >= stamp.AUTH_SIZE):
        return reply
    signed = bytearray(reply)
    stamp.seal(memoryview(signed)[: stamp.AUTH_SIZE], KEY)
    return bytes(signed)


def _read(session, reply, *, is_genuine):
    before = session._is_hbd, session._without, session.silent, session.seen
    found = session.read(reply)
    assert (session._is_hbd, session._without, session.silent, session.seen) == before
    if isinstance(found, Fact):
        assert not is_genuine
        assert found.text.isprintable()
        assert len(found.text) < 100
        return None
    assert isinstance(found, Answer)
    assert session.claims(reply)
    assert 0 <= found.sequence < 1 << 32
    assert 0 <= found.dwell <= stamp.LONGEST_DWELL
    assert not session.is_keyed or any(stamp.is_signed(reply, key) for key in (KEY, OLD))
    if found.goodbye is not None:
        assert session.is_keyed or session._options.trust_goodbye
    return found


def _bent(reply, draws):
    bent = bytearray(reply)
    for _ in range(draws.octet() % 4):
        at, octet = draws.number(2), draws.octet()
        if at < len(bent):
            bent[at] = octet
    cut = draws.octet()
    return bytes(bent[:-cut] if cut < 128 and cut else bent)
