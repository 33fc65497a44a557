"""What a broker sends: in whatever pieces it comes, it is the same packets and the same error."""

from hbd.wire import mqtt
from hbd.wire.errors import WireError
from tests.fuzz.draws import Draws

REASONS = {"type", "flags", "length", "return-code"}


def seeds():
    accepted, refused, pong = b"\x20\x02\x00\x00", b"\x20\x02\x01\x05", b"\xd0\x00"
    return [
        b"\x02" + accepted + pong,
        b"\x01\x01" + refused,
        b"\x03\x03" + accepted + pong + pong,
        b"\x01" + b"\x20\x82\x80\x80\x00\x00\x00" + b"\xd0\x80\x80\x80\x00",
        b"\x07HTTP/1.1 400 Bad Request\r\n",
    ]


def run(octets):
    draws = Draws(octets)
    sizes = [draws.octet() % 8 + 1 for _ in range(draws.octet() % 4 + 1)]
    said = draws.rest()
    whole, pieces = _read([said]), _read(_cut(said, sizes))
    assert whole == pieces
    packets, reason = whole
    assert reason is None or reason in REASONS
    assert len(packets) <= len(said) // 2
    assert all(mqtt.ACCEPTED <= one.code <= mqtt.LAST_RETURN_CODE for one in packets if one)


def _cut(said, sizes):
    at, turn = 0, 0
    while at < len(said):
        size = sizes[turn % len(sizes)]
        yield said[at : at + size]
        at, turn = at + size, turn + 1


def _read(pieces):
    parser = mqtt.Parser()
    packets = []
    try:
        for piece in pieces:
            packets.extend(parser.read(piece))
            assert len(parser._packet) <= mqtt.Parser.LONGEST
    except WireError as error:
        return packets, error.reason
    return packets, None
