"""One datagram after the other to a reflector: answered in as many octets, or refused for one
reason that changes nothing."""

from random import Random

from hbd.core.address import host_of, is_unicast
from hbd.core.rate import Buckets, Rate
from hbd.core.reflector import Reflector
from hbd.core.station import Station
from hbd.wire import ntp, ports, stamp, tlv
from tests.fuzz.draws import Draws
from tests.fuzz.targets import _asking
from tests.fuzz.targets._asking import (
    ALLOWED,
    DESTINATIONS,
    KEY,
    OWN,
    PORT,
    ROAMING,
    SOURCES,
    STEPS,
    WALL,
    datagram,
    keys_of,
)

REASONS = {
    *("short", "loop", "no-port", "multicast", "unknown-source"),
    *("rate", "overload", "hmac", "multiplier", "too-long", "replay"),
}

seeds = _asking.seeds


def run(octets):
    draws = Draws(octets)
    reflector = Reflector({PORT}, OWN, ALLOWED.__contains__, Station("us", 2, Random(1)))  # noqa: S311
    reflector.visitors.buckets = Buckets(Rate(per_second=2, burst=6), Rate(per_second=4, burst=12))
    reflector.admission.keys = keys_of
    rules = draws.octet()
    if rules & 1:
        reflector.admission.roaming = {"laptop": (ROAMING,)}
    if rules & 2:
        reflector.admission.accepts = lambda _: True
    now, proven, last = 0, set(), None
    while draws:
        way = draws.pick(SOURCES), draws.pick(DESTINATIONS)
        asked, key = last = datagram(draws, last)
        now += draws.pick(STEPS)
        reflection = _ask(reflector, asked, key, way, (now, draws.octet()))
        if reflection and reflection.sender.key:
            once = reflection.sender.known_by or host_of(way[0]), asked
            assert once not in proven
            proven.add(once)


def _ask(reflector, asked, key, way, moment):
    (source, destination), (now, ttl) = way, moment
    before, answered = _state(reflector), reflector.answered
    dropped = reflector.dropped.copy()
    reflection = reflector.answer(
        asked,
        source=source,
        destination=destination,
        ttl=ttl or None,
        received=WALL + now,
        now=now,
        wall=WALL + now,
    )
    if reflection is None:
        (reason,) = (reflector.dropped - dropped).elements()
        assert reason in REASONS
        assert (_state(reflector), reflector.answered) == (before, answered)
        return None
    assert (reflector.dropped, reflector.answered) == (dropped, answered + 1)
    host = host_of(source)
    assert source[1] not in {0, PORT, ports.STAMP}
    assert source[:2] not in OWN
    assert is_unicast(source[0])
    assert is_unicast(destination)
    assert reflector.admission.accepts(host) or (
        key is ROAMING and reflection.sender.known_by == "laptop"
    )
    assert key is KEY or key is ROAMING or not keys_of(host)
    assert len(asked) <= (stamp.LONGEST_IPV6 if ":" in source[0] else stamp.LONGEST_IPV4)
    _look_at(reflection, asked, ttl)
    return reflection


def _look_at(reflection, asked, ttl):
    reply, key = reflection.reply, reflection.sender.key
    assert key is None or stamp.is_signed(asked, key)
    assert len(reply) == len(asked)
    read = stamp.parse_reply(reply) if key is None else stamp.parse_reply_auth(reply, key)
    said = stamp.parse_request(asked) if key is None else stamp.parse_request_auth(asked, key)
    assert (read.sender_sequence, read.sender_timestamp) == (said.sequence, said.timestamp)
    assert (read.sender_estimate, read.ssid or 0) == (said.estimate, said.ssid)
    assert read.sender_ttl == (ttl or 255)
    assert not ntp.is_ptp(read.estimate)
    assert read.sequence == reflection.session.accepted - 1
    told, rest = tlv.split(read.tlvs)
    wanted, left = tlv.split(said.tlvs)
    assert [(one.kind, len(one.value)) for one in told] == [
        (one.kind, len(one.value)) for one in wanted
    ]
    assert rest[1:] == left[1:]


def _state(reflector):
    return (
        {key: (one.accepted, one.heard) for key, one in reflector.visitors.sessions.items()},
        dict(reflector.visitors.requests_from),
    )
