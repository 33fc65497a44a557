"""Requests to a reflector: strangers' octets, with what a stranger, a peer or a thief would add."""

from hbd.core.model import SECOND
from hbd.wire import ntp, ports, stamp, tlv
from hbd.wire.auth import Key
from tests.fuzz.draws import piece
from tests.fuzz.seeds import DATAGRAMS

WALL = 1_700_000_000 * SECOND
PORT, OWN_PORT = 8620, 9000
KEY, ROAMING = Key(b"of peers"), Key(b"of who may come from anywhere")
PEER, KEYED, STRANGER = "192.0.2.2", "192.0.2.3", "192.0.2.66"
SOURCES = (
    (PEER, 50_000),
    (KEYED, 50_001),
    (STRANGER, 50_002),
    (PEER, PORT),
    (PEER, ports.STAMP),
    (PEER, OWN_PORT),
    (PEER, 0),
    ("fd00::2", 50_000, 0, 0),
    ("fe80::2", 50_000, 0, 3),
    ("fe80::2", OWN_PORT, 0, 3),
    ("224.0.0.1", 50_000),
    ("ff02::1", 50_000, 0, 3),
    ("255.255.255.255", 50_000),
)
OWN = {(PEER, OWN_PORT), ("fe80::2", OWN_PORT)}
"""Where reflectors are, beside those with a port of ours."""
DESTINATIONS = ("192.0.2.1", "fd00::1", "224.0.0.5", "0.0.0.0", "ff02::5")  # noqa: S104 - data
STEPS = (0, 1, SECOND, 901 * SECOND)
"""From one request to the next."""
ALLOWED = {PEER, KEYED, "fd00::2", "fe80::2%3"}


def keys_of(host):
    return (KEY,) if host == KEYED else ()


def datagram(draws, last=None):
    """One that came, and which key it was signed with, if any; or the last one over again."""
    form = draws.octet()
    if last is not None and form & 4:
        return last
    octets = draws.piece()
    key = (None, KEY, ROAMING)[form // 8 % 3]
    if form & 1:
        at, head = WALL + draws.number(2), draws.octet()
        begin = (head, ntp.ntp_from_unix(at), 0x8A03, draws.octet())
        if key is None:
            return stamp.pack_request(*begin, octets), None
        octets = stamp.pack_request_auth(*begin, octets, key=key)
    if key is None or len(octets) < stamp.AUTH_SIZE:
        return octets, None
    if form & 2:
        number = int.from_bytes(octets[:4], "big")
        octets += tlv.sign(key, number, octets[stamp.AUTH_SIZE :])
    signed = bytearray(octets)
    stamp.seal(memoryview(signed)[: stamp.AUTH_SIZE], key)
    return bytes(signed), key


def seeds():
    return sorted({*_captured(), *_signed()})


def _signed():
    """Numbers that come in any order, and recorded ones."""
    for rules, source, form in ((0, 1, 9), (1, 2, 17), (3, 0, 17)):
        for numbers in ((1, 2, 2), (2, 1, 1), (9, 1, 9), (255, 0, 255)):
            came = (
                bytes([source, 0, form, 0, 0, 0, at, number, 0, 0, 1])
                for at, number in enumerate(numbers)
            )
            yield bytes([rules]) + b"".join(came) + bytes([source, 0, 4, 0, 1] * 2)


def _captured():
    for number, octets in enumerate(DATAGRAMS):
        for form in (0, 8, 10):
            yield bytes([0, 0, 0, form]) + piece(octets) + bytes([number % 9, 0, 2])
        yield bytes([0, 1, 1, 1]) + piece(octets[44:]) + bytes(9)
        yield bytes([0, 1, 0, 11]) + piece(octets[112:]) + bytes(9)
