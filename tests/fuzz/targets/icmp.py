"""ICMP errors: what came back of a datagram is a stranger's, the rest is our kernel's."""

import socket
import struct
from random import Random

from hbd.core import icmp as meanings
from hbd.core.bfd import BfdSession
from hbd.core.model import SECOND, BfdOptions, Expectation, PeerSettings, State
from hbd.core.plain import PlainSession
from hbd.core.stamp import Keys, StampSession
from hbd.core.station import Station
from hbd.net import linux
from hbd.net.icmp import icmp_error
from hbd.wire.auth import Key
from tests.fuzz.draws import Draws, piece
from tests.fuzz.targets._asking import WALL

ERROR = struct.Struct(linux.EXTENDED_ERROR_FORMAT)
DESTINATION = ("192.0.2.2", 862)
QUEUES = (
    (socket.IPPROTO_IP, linux.IP_RECVERR),
    (socket.IPPROTO_IPV6, linux.IPV6_RECVERR),
    (socket.IPPROTO_IP, linux.IP_RECVERR + 1),
)


def _sessions():
    dice = Random(1)  # noqa: S311 - to be replayed
    station = Station("monitor", 7, dice)
    settings = PeerSettings("a", ("192.0.2.2",))
    expect = Expectation(SECOND)
    yield StampSession(settings, station)
    yield StampSession(settings, station, Keys(Key(b"k"), (Key(b"k"),)))
    yield PlainSession(PeerSettings("a", (), protocol="plain", expect=expect), dice)
    yield PlainSession(PeerSettings("a", (), protocol="plain", send=b"beat"), dice)
    yield BfdSession(BfdOptions(), SECOND, dice, 7, None)


SESSIONS = tuple(_sessions())
HEARTBEATS = [session.compose(9, WALL, State.UP) for session in SESSIONS[:2]]


def seeds():
    ipv4 = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes([192, 0, 2, 9]))
    ipv6 = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, bytes(15) + b"\1", 0)
    kinds = [(0, kind, code, 2) for kind, code in ((3, 3), (3, 4), (11, 0), (3, 13), (3, 1))]
    kinds += [(1, kind, code, 3) for kind, code in ((1, 4), (2, 0), (3, 0), (1, 3))]
    return [
        bytes([way, kind, code, origin]) + piece(ipv6 if way else ipv4) + HEARTBEATS[0][0][:28]
        for way, kind, code, origin in kinds
    ]


def run(octets):
    draws = Draws(octets)
    way, kind, code, origin = QUEUES[draws.octet() % 3], *draws.octets(3).ljust(3, b"\0")
    offender = draws.piece()[:28].ljust(28, b"\0")
    payload = draws.rest()
    value = ERROR.pack(90, origin, kind, code, 1_400, 0) + offender
    found = icmp_error(payload, [(*way, value)], DESTINATION)
    assert (found is None) == (way is QUEUES[2])
    if found is None:
        return
    assert (found.payload, found.mtu) == (payload, 1_400)
    if found.offender is not None:
        said = found.origin, kind, code, found.offender
        report = meanings.Report(*said, is_own=bool(kind & 1), mtu=found.mtu)
        meaning = meanings.read(report, DESTINATION[0], None)
        assert meaning is None or meaning.text.isprintable()
    for session, (heartbeat, token) in zip(SESSIONS, HEARTBEATS, strict=False):
        begins = heartbeat.startswith(payload) and len(payload) >= 28
        assert session.recognises(payload, 9, token) or not begins
    for session in SESSIONS[2:]:
        session.recognises(payload, 9, 9)
